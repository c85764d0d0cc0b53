"""What hosting plans allow their accounts: how many objects of a kind, and which PHP versions."""

from collections import Counter
from collections.abc import Iterator, Mapping

from panelica_async.models.plans import Plan
from panelica_async.provision.manifest.fields import as_wanted, php_version
from panelica_async.provision.objects import AccountStep, DomainStep, Step, StepKind, find_plans, shown
from panelica_async.provision.snapshot import Snapshot

_LIMITS: Mapping[StepKind, str] = {
    StepKind.DOMAIN: "max_domains",
    StepKind.DATABASE: "max_databases",
    StepKind.MAILBOX: "max_email_accounts",
    StepKind.FTP_USER: "max_ftp_accounts",
}
"""Kinds that a plan limits, with the field of the plan."""
_VERSIONS = 20
"""How many PHP versions a reason names."""


class Allowances:
    """Checks objects to be created against the plans of their accounts, in the order they are created.

    Only what the lists show is counted, so that an account may have less room than is known, never more.
    A plan that is not known, or a limit that it does not show, allows everything.

    Args:
        snapshot: What exists.
        ids: Object ids of the steps whose object exists, by id of the step; may grow.
    """

    def __init__(self, snapshot: Snapshot, ids: Mapping[str, str | None]) -> None:
        self._snapshot = snapshot
        self._ids = ids
        self._used = Counter(_objects_of_accounts(snapshot))
        """Objects that exist, by id of the account and kind."""
        self._wanted: Counter[tuple[str, StepKind]] = Counter()
        """Objects to be created, by the account's step and kind."""
        self._plans: dict[str, Plan | None] = {}
        """Plans of accounts as far as they were asked for, by the account's step."""

    def claim(self, step: Step) -> str | None:
        """Count an object that is to be created, unless its account may not have it.

        Returns:
            Why the account may not have it, or None when it is counted.
        """
        account = next((parent for parent in step.parents if isinstance(parent, AccountStep)), None)
        plan = self._plan_of(account) if account is not None else None
        if account is None or plan is None:
            return None
        if isinstance(step, DomainStep) and not _offers(plan, step.php_version):
            versions = ", ".join(map(shown, (plan.php_versions or [])[:_VERSIONS]))
            return f"the plan {shown(plan.name)} offers PHP {versions}, not {step.php_version}"
        if step.kind not in _LIMITS:
            return None
        limit: int | None = getattr(plan, _LIMITS[step.kind])
        used = self._wanted[account.id, step.kind] + self._used[self._ids.get(account.id) or "", step.kind]
        # -1 is unlimited (evidence: plans-unlimited). Guess: so are other negative numbers; 0 is none, as for cron.
        if limit is not None and 0 <= limit <= used:
            taken = ", and all of them are taken" if limit else ""
            return f"the plan {shown(plan.name)} allows {account.key!r} {limit or 'no'} {step.kind.plural}{taken}"
        self._wanted[account.id, step.kind] += 1
        return None

    def _plan_of(self, account: AccountStep) -> Plan | None:
        """Return the plan that an account has or is to get, if it is known."""
        if account.id not in self._plans:
            self._plans[account.id] = self._find_plan(account)
        return self._plans[account.id]

    def _find_plan(self, account: AccountStep) -> Plan | None:
        row = self._snapshot.accounts_by_id.get(self._ids.get(account.id) or "")
        name_or_id = account.owner.plan if row is None else row.plan_id or row.plan_name
        plans = find_plans(name_or_id, self._snapshot) if name_or_id else ()
        return plans[0] if len(plans) == 1 else None


def _offers(plan: Plan, version: str | None) -> bool:
    offered = [as_wanted(php_version, each) for each in plan.php_versions or ()]
    return not version or not offered or version in offered


def _objects_of_accounts(snapshot: Snapshot) -> Iterator[tuple[str, StepKind]]:
    """Yield the account and the kind of each object that exists and whose account is known."""
    owners = {domain.id: domain.user_id for domain in snapshot.domains}
    names = {name: domain.user_id for name, domain in snapshot.domains_by_name.items()}
    found: list[tuple[str | None, StepKind]] = [(owner, StepKind.DOMAIN) for owner in owners.values()]
    # Current panels list a database once for each of its users (evidence: databases-list).
    databases = {
        (row.type, row.name.lower()): row.user_id or owners.get(row.domain_id or "") for row in snapshot.databases
    }
    found += [(owner, StepKind.DATABASE) for owner in databases.values()]
    for address, mailbox in snapshot.mailboxes_by_address.items():
        domain = address.rpartition("@")[2]
        found.append((owners.get(mailbox.domain_id or "") or names.get(domain), StepKind.MAILBOX))
    found += [(user.user_id or owners.get(user.domain_id or ""), StepKind.FTP_USER) for user in snapshot.ftp_users]
    yield from ((owner, kind) for owner, kind in found if owner is not None)
