"""A list that must not be empty must not be null either: panels would take it for everything."""

import pytest

from panelica_async import PanelicaClient


async def test_restoring_null_domains_is_refused(panel: PanelicaClient) -> None:
    with pytest.raises(ValueError, match=r"backups\.restore: domain_ids must be a list, not NoneType"):
        await panel.backups.restore("id", domain_ids=None)  # type: ignore[arg-type]  # the mistake in question


async def test_another_list_may_be_null(panel: PanelicaClient) -> None:
    plan = next(plan for plan in await panel.plans.list().collect() if plan.name == "Starter")
    with pytest.raises(Exception, match="400"):
        # The embedded panel does not take null here; what matters is that it is asked.
        await panel.plans.update(plan.id, php_versions=None)  # type: ignore[arg-type]  # typed as never null
