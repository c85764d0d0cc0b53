from panelica_async import PanelicaClient
from panelica_async.models import Account


async def test_plans_list(panel: PanelicaClient, account: Account) -> None:
    plans = await panel.plans.list().collect()
    assert [plan.name for plan in plans] == ["Starter", "Standard", "Business"]
    assert (plans[0].max_domains, plans[2].max_domains) == (10, -1)
    assert "8.4" in (plans[0].php_versions or [])


async def test_plans_create(panel: PanelicaClient) -> None:
    plan = await panel.plans.create(name="Mini", slug="mini", max_domains=1, disk_space_mb=512, php_versions=["8.4"])
    assert (plan.name, plan.slug, plan.max_domains, plan.disk_space_mb) == ("Mini", "mini", 1, 512)
    assert (plan.php_versions, plan.user_count) == (["8.4"], 0)
    assert plan in await panel.plans.list().collect()


async def test_plans_update(panel: PanelicaClient) -> None:
    plan = await panel.plans.create(name="Mini", max_domains=1, max_databases=2)
    changed = await panel.plans.update(plan.id, max_domains=0, bandwidth_mb=-1)
    assert (changed.max_domains, changed.max_databases, changed.bandwidth_mb) == (0, 2, -1)
