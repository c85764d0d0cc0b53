from tests.sandbox.handlers.test_objects import JOB
from tests.sandbox.panel_client import PanelClient


async def test_cron_job_keeps_fields_an_update_leaves_out(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    job = await current_panel.data("POST", "/v1/cron-jobs", {"domain_id": domain["id"], **JOB, "hour": "3"})
    assert (job["minute"], job["hour"], job["enabled"], job["last_run"]) == ("*", "3", True, None)
    changed = await current_panel.data("PATCH", f"/v1/cron-jobs/{job['id']}", {"minute": "*/5"})
    assert changed == {**job, "minute": "*/5"}
    assert await current_panel.data("GET", f"/v1/cron-jobs/{job['id']}/logs") == []
    await current_panel.data("POST", f"/v1/cron-jobs/{job['id']}/run")
    [run] = await current_panel.data("GET", f"/v1/cron-jobs/{job['id']}/logs")
    assert run["executed_at"] == (await current_panel.data("GET", f"/v1/cron-jobs/{job['id']}"))["last_run"] is not None


async def test_domain_without_wordpress_is_no_site(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    assert await current_panel.data("GET", "/v1/wordpress") == []
    assert (await current_panel.call("POST", f"/v1/wordpress/{domain['id']}/auto-login")).status == 404
