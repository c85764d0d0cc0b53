from datetime import UTC, datetime, timedelta

import pytest

from panelica_async import NotFoundError, PanelicaClient
from panelica_async.models import Account, AccountRole, AccountStatus, Domain
from tests.operations.conftest import PASSWORD


async def test_accounts_list(panel: PanelicaClient, account: Account) -> None:
    root, acme = await panel.accounts.list().collect()
    assert (root.username, root.role) == ("root", AccountRole.ROOT)
    assert acme == account
    page = await panel.accounts.list(limit=1, sort="username", order="desc")
    assert [listed.username for listed in page.items] == ["root"]


async def test_accounts_create(panel: PanelicaClient) -> None:
    plan = (await panel.plans.list()).items[0]
    account = await panel.accounts.create(
        username="acme",
        email="owner@example.com",
        password=PASSWORD,
        plan_id=plan.id,
        role="reseller",
        full_name="Acme",
    )
    assert (account.username, account.email, account.plan_id) == ("acme", "owner@example.com", plan.id)
    assert (account.role, account.status) == (AccountRole.RESELLER, AccountStatus.ACTIVE)
    assert account.domain_count == 0
    assert account.created_at is not None
    assert abs(account.created_at - datetime.now(UTC)) < timedelta(minutes=5)
    assert PASSWORD not in repr(account)


async def test_accounts_update(panel: PanelicaClient, account: Account) -> None:
    plan = (await panel.plans.list()).items[1]
    changed = await panel.accounts.update(account.id, plan_id=plan.id, email="new@example.com")
    assert (changed.plan_id, changed.plan_name, changed.email) == (plan.id, plan.name, "new@example.com")
    assert changed.username == "acme"


async def test_accounts_delete(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    assert await panel.accounts.delete(account.id) is None
    with pytest.raises(NotFoundError):
        await panel.accounts.get(account.id)
    assert await panel.domains.list().collect() == []


async def test_accounts_suspend(panel: PanelicaClient, account: Account, domain: Domain) -> None:
    done = await panel.accounts.suspend(account.id, reason="unpaid invoice")
    assert done.message == "Account suspended"
    assert (await panel.accounts.get(account.id)).status is AccountStatus.SUSPENDED
    assert (await panel.domains.get(domain.id)).status == "suspended"


async def test_accounts_unsuspend(panel: PanelicaClient, account: Account) -> None:
    await panel.accounts.suspend(account.id)
    assert (await panel.accounts.unsuspend(account.id)).message == "Account unsuspended"
    assert (await panel.accounts.get(account.id)).status is AccountStatus.ACTIVE
