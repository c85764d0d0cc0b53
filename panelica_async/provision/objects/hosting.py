"""The hosting of a site: the account of its owner, the domain, and what the account's hosting plan allows."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Self

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.redaction import first_few
from panelica_async.models.accounts import Account
from panelica_async.models.plans import Plan
from panelica_async.provision.manifest import Owner
from panelica_async.provision.manifest.fields import canonical_spelling, php_version
from panelica_async.provision.objects.base import (
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    or_unset,
    printable,
    without_none,
)
from panelica_async.provision.objects.snapshot import Listing, Snapshot, canonical_address, is_hosting_account

_MAX_PLANS_NAMED: Final = 10
"""How many plans a reason names."""
_MAX_VERSIONS_NAMED: Final = 20
"""How many PHP versions a reason names."""
_LIMIT_FIELDS: Final[Mapping[StepKind, str]] = {
    StepKind.DOMAIN: "max_domains",
    StepKind.DATABASE: "max_databases",
    StepKind.MAILBOX: "max_email_accounts",
    StepKind.FTP_USER: "max_ftp_accounts",
}
"""Field of a plan that limits how many objects there may be, by their kind."""
_WEB_SERVERS: Final = {"nginx_only": "nginx", "nginx_apache": "apache"}
"""What current panels call the web servers of the reference (evidence: domains-create)."""


@attrs.frozen(kw_only=True)
class AccountStep(Step):
    """Creates the account of an owner, unless it exists."""

    kind = StepKind.ACCOUNT
    operation = "accounts.create"
    listing = Listing.ACCOUNTS
    password_needed = True

    owner: Owner

    @property
    def key(self) -> str:
        """User name in lower case."""
        return self.owner.username.lower()

    @property
    def password(self) -> str | None:
        """The owner's password in the manifest, if any."""
        return self.owner.password

    @property
    def arguments(self) -> dict[str, Any]:
        """User name, e-mail address, and the plan by name, whose id is looked up when the call is made."""
        return without_none(username=self.owner.username, email=self.owner.email, plan=self.owner.plan)

    def match(self, view: View) -> Match:
        """Find the account by its user name; administrators never match."""
        account = view.snapshot.accounts_by_name.get(self.key)
        if account is not None:
            return self._compare(account, view.snapshot)
        if self.owner.email is None:
            return Match.different(f"there is no account {self.owner.username!r}; add an e-mail address to create it")
        # An e-mail address is unique on the panel, in any case (evidence: accounts-create).
        holder = view.snapshot.accounts_by_email.get(canonical_address(self.owner.email))
        if holder is not None:
            return Match.different(
                f"the e-mail address {self.owner.email} belongs to the account {printable(holder.username)!r}"
            )
        problem = _plan_problem(self.owner.plan, view.snapshot) if self.owner.plan else None
        return Match.absent() if problem is None else Match.different(problem)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the account."""
        plans = _find_plans(self.owner.plan, view.snapshot) if self.owner.plan else ()
        account = await panel.accounts.create(
            username=self.owner.username,
            email=self.owner.email or "",
            password=password,
            plan_id=or_unset(plans[0].id if plans else None),
        )
        return NewObject(account.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete an account with everything in it."""
        await panel.accounts.delete(object_id)

    def _compare(self, account: Account, snapshot: Snapshot) -> Match:
        name = printable(account.username)
        if not is_hosting_account(account):
            return Match.different(
                f"the account {name!r} is not a hosting account: its role is {printable(account.role)}"
            )
        email = self.owner.email
        if email and account.email and canonical_address(account.email) != canonical_address(email):
            return Match.different(f"the account {name!r} has the e-mail address {printable(account.email)}")
        if self.owner.plan and not _has_plan(account, self.owner.plan, snapshot):
            plan = _plan_name(account, snapshot)
            current = f"the plan {printable(plan)}" if plan else "no plan"
            problem = _plan_problem(self.owner.plan, snapshot)
            return Match.different(problem or f"the account {name!r} has {current}, not {self.owner.plan}")
        return Match.same(account.id)


@attrs.frozen(kw_only=True)
class DomainStep(Step):
    """Creates the domain of a site; its DNS zone comes with it."""

    kind = StepKind.DOMAIN
    operation = "domains.create"
    listing = Listing.DOMAINS

    account: AccountStep
    php_version: str | None = None
    web_server: str | None = None

    @property
    def key(self) -> str:
        """The domain."""
        return self.site

    @property
    def parents(self) -> tuple[Step, ...]:
        """The account."""
        return (self.account,)

    @property
    def arguments(self) -> dict[str, Any]:
        """Domain, PHP version and web server."""
        return without_none(domain=self.site, php_version=self.php_version, web_server=self.web_server)

    def match(self, view: View) -> Match:
        """Find the domain by its name and compare owner, PHP version and web server."""
        domain = view.snapshot.domains_by_name.get(self.site)
        if domain is None:
            return Match.absent()
        if domain.user_id is None or domain.user_id != view.ids.get(self.account.id):
            holder = view.snapshot.accounts_by_id.get(domain.user_id or "")
            return Match.different(
                f"the domain belongs to {repr(printable(holder.username)) if holder else 'another account'}"
            )
        version = domain.php_version and canonical_spelling(php_version, domain.php_version)
        if self.php_version and version and version != self.php_version:
            return Match.different(f"the domain runs PHP {printable(version)}, not {self.php_version}")
        servers = {_WEB_SERVERS.get(name or "", name) for name in (domain.web_server, self.web_server)}
        if servers == {"nginx", "apache"}:
            return Match.different(f"the domain is served by {printable(domain.web_server)}, not {self.web_server}")
        return Match.same(domain.id)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the domain."""
        domain = await panel.domains.create(
            domain=self.site,
            user_id=view.id_of(self.account),
            php_version=or_unset(self.php_version),
            web_server=or_unset(self.web_server),
        )
        return NewObject(domain.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete a domain with everything in it."""
        await panel.domains.delete(object_id)


@attrs.frozen(kw_only=True)
class ContentStep(Step):
    """A step whose object belongs to a domain."""

    domain: DomainStep

    @property
    def parents(self) -> tuple[Step, ...]:
        """The domain and its account."""
        return (self.domain, *self.domain.parents)

    @classmethod
    def of_key(cls, key: str, domain: DomainStep) -> Self:
        """Return the step of an object in a domain of which only the natural key is known.

        Raises:
            ValueError: No list shows objects of this kind by name.
        """
        raise ValueError(f"no list shows a {cls.kind} by name")


class Allowances:
    """Checks objects to be created against the plans of their accounts, in the order they are created.

    Only objects that the lists show are counted, so an account may have less room than it seems, never more. An unknown
    plan, or a limit that a plan does not show, allows everything.

    Args:
        snapshot: What exists.
        ids: Object ids of the steps whose object exists, by id of the step; may grow.
    """

    def __init__(self, snapshot: Snapshot, ids: Mapping[str, str | None]) -> None:
        self._snapshot = snapshot
        self._ids = ids
        self._existing = Counter(_objects_by_account(snapshot))
        """Objects that exist, by id of the account and kind."""
        self._planned: Counter[tuple[str, StepKind]] = Counter()
        """Objects to be created, by the account's step and kind."""
        self._plans: dict[str, Plan | None] = {}
        """Plans of the accounts looked up so far, by the account's step."""

    def claim(self, step: Step) -> str | None:
        """Count an object to create, unless its account may not have it.

        Returns:
            Why the account may not have it, or None when it is counted.
        """
        account = next((parent for parent in step.parents if isinstance(parent, AccountStep)), None)
        plan = self._plan_of(account) if account is not None else None
        if account is None or plan is None:
            return None
        if isinstance(step, DomainStep) and not _offers(plan, step.php_version):
            versions = ", ".join(map(printable, (plan.php_versions or [])[:_MAX_VERSIONS_NAMED]))
            return f"the plan {printable(plan.name)} offers PHP {versions}, not {step.php_version}"
        if step.kind not in _LIMIT_FIELDS:
            return None
        limit: int | None = getattr(plan, _LIMIT_FIELDS[step.kind])
        used = self._planned[account.id, step.kind] + self._existing[self._ids.get(account.id) or "", step.kind]
        # -1 is unlimited (evidence: plans-unlimited). Guess: so are other negative numbers; 0 is none, as for cron.
        if limit is not None and 0 <= limit <= used:
            taken = ", and all of them are taken" if limit else ""
            return f"the plan {printable(plan.name)} allows {account.key!r} {limit or 'no'} {step.kind.plural}{taken}"
        self._planned[account.id, step.kind] += 1
        return None

    def _plan_of(self, account: AccountStep) -> Plan | None:
        """Return the plan that an account has or will get, if it is known."""
        if account.id not in self._plans:
            self._plans[account.id] = self._find_plan(account)
        return self._plans[account.id]

    def _find_plan(self, account: AccountStep) -> Plan | None:
        row = self._snapshot.accounts_by_id.get(self._ids.get(account.id) or "")
        name_or_id = account.owner.plan if row is None else row.plan_id or row.plan_name
        plans = _find_plans(name_or_id, self._snapshot) if name_or_id else ()
        return plans[0] if len(plans) == 1 else None


def _find_plans(name_or_id: str, snapshot: Snapshot) -> tuple[Plan, ...]:
    """Return the plan with an id, or those with a name, which several owners of plans may use."""
    by_id = tuple(plan for plan in snapshot.plans if plan.id == name_or_id)
    return by_id or tuple(plan for plan in snapshot.plans if _plan_key(plan.name) == _plan_key(name_or_id))


def _has_plan(account: Account, name_or_id: str, snapshot: Snapshot) -> bool:
    plans = _find_plans(name_or_id, snapshot)
    is_named = account.plan_id == name_or_id or _plan_key(account.plan_name or "") == _plan_key(name_or_id)
    return is_named or account.plan_id in {plan.id for plan in plans}


def _plan_name(account: Account, snapshot: Snapshot) -> str | None:
    """Return the name of an account's plan, or its id if no list names it; None if it has none."""
    names = (plan.name for plan in snapshot.plans if plan.id == account.plan_id)
    return account.plan_name or next(names, account.plan_id)


def _plan_problem(name_or_id: str, snapshot: Snapshot) -> str | None:
    """Return why an account cannot be created with a plan, or None when it can."""
    plans = _find_plans(name_or_id, snapshot)
    if not plans:
        names = first_few(sorted({printable(plan.name) for plan in snapshot.plans}), _MAX_PLANS_NAMED)
        return f"there is no plan {name_or_id!r}; the panel has {names or 'none'}"
    if len(plans) > 1:
        ids = ", ".join(printable(plan.id) for plan in plans[:_MAX_PLANS_NAMED])
        return f"there are {len(plans)} plans {name_or_id!r}; use the id of one: {ids}"
    return None


def _plan_key(name: str) -> str:
    """Return a plan's name for comparison, which ignores case and variants of spaces and letters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _offers(plan: Plan, version: str | None) -> bool:
    offered = [canonical_spelling(php_version, each) for each in plan.php_versions or ()]
    return not version or not offered or version in offered


def _objects_by_account(snapshot: Snapshot) -> Iterator[tuple[str, StepKind]]:
    """Yield the account and the kind of each existing object whose account is known."""
    owners = {domain.id: domain.user_id for domain in snapshot.domains}
    owners_by_name = {name: domain.user_id for name, domain in snapshot.domains_by_name.items()}
    objects: list[tuple[str | None, StepKind]] = [(owner, StepKind.DOMAIN) for owner in owners.values()]
    # Current panels list a database once for each of its users (evidence: databases-list).
    databases = {
        (row.type, row.name.lower()): row.user_id or owners.get(row.domain_id or "") for row in snapshot.databases
    }
    objects += [(owner, StepKind.DATABASE) for owner in databases.values()]
    for address, mailbox in snapshot.mailboxes_by_address.items():
        domain = address.rpartition("@")[2]
        objects.append((owners.get(mailbox.domain_id or "") or owners_by_name.get(domain), StepKind.MAILBOX))
    objects += [(user.user_id or owners.get(user.domain_id or ""), StepKind.FTP_USER) for user in snapshot.ftp_users]
    yield from ((owner, kind) for owner, kind in objects if owner is not None)
