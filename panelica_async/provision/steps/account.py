"""The account that owns a site."""

from typing import Any, ClassVar

import attrs

from panelica_async.client.client import PanelicaClient
from panelica_async.errors import BadRequestError, ConflictError, ResponseError
from panelica_async.models.accounts import Account
from panelica_async.models.plans import Plan
from panelica_async.provision.manifest import Owner
from panelica_async.provision.snapshot import Listing, Snapshot, is_hosting_account
from panelica_async.provision.steps.base import (
    ABSENT,
    Match,
    Step,
    StepKind,
    View,
    different,
    equal,
    given,
    without_none,
)


@attrs.frozen(kw_only=True)
class AccountStep(Step):
    """Creates the account of an owner, unless it exists."""

    kind = StepKind.ACCOUNT
    operation = "accounts.create"
    listing = Listing.ACCOUNTS
    password_needed = True
    # A taken e-mail address is answered with 400 (panel-facts D.2).
    duplicate_errors: ClassVar[tuple[type[ResponseError], ...]] = (ConflictError, BadRequestError)

    owner: Owner

    @property
    def key(self) -> str:
        """User name in lower case."""
        return self.owner.username.lower()

    @property
    def password(self) -> str | None:
        """The owner's password, if the manifest gives one."""
        return self.owner.password

    @property
    def arguments(self) -> dict[str, Any]:
        """The plan is still by name: its id is looked up when the call is made."""
        return without_none(username=self.owner.username, email=self.owner.email, plan=self.owner.plan)

    def match(self, view: View) -> Match:
        """Find the account by its user name; administrators are never taken for it."""
        account = view.snapshot.accounts_by_name.get(self.key)
        if account is not None:
            return self._compare(account, view.snapshot)
        if self.owner.email is None:
            return different(f"there is no account {self.owner.username!r}; give an e-mail address to have it created")
        # "Email unique across the panel", compared in any case (panel-facts D.2).
        holder = view.snapshot.accounts_by_email.get(self.owner.email.lower())
        if holder is not None:
            return different(f"the e-mail address {self.owner.email} belongs to the account {holder.username!r}")
        if self.owner.plan and _find_plan(self.owner.plan, view.snapshot) is None:
            known = ", ".join(sorted(plan.name for plan in view.snapshot.plans)) or "none"
            return different(f"there is no plan {self.owner.plan!r}; the panel has {known}")
        return ABSENT

    async def create(self, panel: PanelicaClient, view: View, password: str) -> str | None:
        """Create the account."""
        plan = _find_plan(self.owner.plan, view.snapshot) if self.owner.plan else None
        account = await panel.accounts.create(
            username=self.owner.username,
            email=self.owner.email or "",
            password=password,
            plan_id=given(plan.id if plan else None),
        )
        return account.id

    def _compare(self, account: Account, snapshot: Snapshot) -> Match:
        if not is_hosting_account(account):
            return different(f"the account {account.username!r} is no hosting account, but has the role {account.role}")
        if self.owner.email and account.email and not _same(account.email, self.owner.email):
            return different(f"the account {account.username!r} has the e-mail address {account.email}")
        if self.owner.plan and (account.plan_id or account.plan_name):
            plan = _find_plan(self.owner.plan, snapshot)
            if not (plan and plan.id == account.plan_id) and not _same(account.plan_name, self.owner.plan):
                has = account.plan_name or account.plan_id
                return different(f"the account {account.username!r} has the plan {has}, not {self.owner.plan}")
        return equal(account.id)


def _same(have: str | None, want: str) -> bool:
    return have is not None and have.lower() == want.lower()


def _find_plan(name_or_id: str, snapshot: Snapshot) -> Plan | None:
    for plan in snapshot.plans:
        if plan.id == name_or_id or _same(plan.name, name_or_id):
            return plan
    return None
