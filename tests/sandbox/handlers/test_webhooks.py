import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.spec import shipped_document
from tests.sandbox.signed_client import Clock, SignedClient

HTTP = {
    "name": "Domain Alerts",
    "destination_type": "http",
    "destination_config": {"url": "https://example.com/webhook", "method": "POST"},
    "events": ["domain.created", "domain.deleted"],
}


async def test_webhook_logs_the_events_it_subscribes_to(panel: SignedClient, box: Sandbox, clock: Clock) -> None:
    created = await panel.ok("POST", "/v1/webhooks", HTTP)
    assert created == {
        "id": created["id"],
        **HTTP,
        "retry_count": 3,
        "retry_delay_seconds": 60,
        "timeout_seconds": 30,
        "active": True,
        "created_at": "2026-03-07T12:00:00Z",
    }
    users = await panel.ok("POST", "/v1/webhooks", {**HTTP, "events": ["user.created", "user.deleted"]})
    john = await panel.account()
    await panel.domain("one.example", john["id"])
    await panel.domain("two.example", john["id"])
    await panel.refused(409, "POST", "/v1/domains", {"domain": "two.example", "user_id": john["id"]})
    clock.advance(10)
    await panel.ok("DELETE", f"/v1/accounts/{john['id']}")
    assert await panel.ok("POST", f"/v1/webhooks/{created['id']}/test") == {"message": "Test event sent"}

    async def log(webhook: dict) -> list[str]:
        return [row["event_type"] for row in (await panel.ok("GET", f"/v1/webhooks/{webhook['id']}/logs"))["data"]]

    assert await log(users) == ["user.created", "user.deleted"]
    assert await log(created) == ["domain.created"] * 2 + ["domain.deleted"] * 2 + ["webhook.test"]

    page = await panel.ok("GET", f"/v1/webhooks/{created['id']}/logs?page=2&limit=2")
    assert (page["total"], page["page"], page["limit"]) == (5, 2, 2)
    assert [row["event_type"] for row in page["data"]] == ["domain.deleted"] * 2
    (row, _) = page["data"]
    assert row["event_id"].startswith("evt_")
    assert (row["status"], row["status_code"], row["retry_count"]) == ("not_delivered", None, 0)
    assert row["created_at"] == "2026-03-07T12:00:10Z"

    stats = await panel.ok("GET", "/v1/webhooks/stats")
    assert (stats["total_webhooks"], stats["active_webhooks"]) == (2, 2)
    assert (stats["total_deliveries_24h"], stats["failed_deliveries_24h"], stats["success_rate_24h"]) == (7, 0, 0)
    box.database.execute("UPDATE webhook_deliveries SET status = 'success', status_code = 200, response_time_ms = 5")
    box.database.execute("UPDATE webhook_deliveries SET status = 'failed' WHERE event_type = 'webhook.test'")
    box.database.execute("UPDATE webhooks SET active = 0 WHERE id = ?", (users["id"],))
    stats = await panel.ok("GET", "/v1/webhooks/stats")
    assert (stats["active_webhooks"], stats["successful_deliveries_24h"]) == (1, 6)
    assert stats["success_rate_24h"] == pytest.approx(600 / 7)
    await panel.account("jane")
    assert await log(users) == ["user.created", "user.deleted"]
    clock.advance(86400)
    assert (await panel.ok("GET", "/v1/webhooks/stats"))["total_deliveries_24h"] == 0
    assert [row["id"] for row in await panel.ok("GET", "/v1/webhooks")] == [created["id"], users["id"]]


async def test_webhook_stats_without_deliveries_are_zero(panel: SignedClient) -> None:
    stats = await panel.ok("GET", "/v1/webhooks/stats")
    assert (stats["total_deliveries_24h"], stats["avg_response_time_ms"], stats["success_rate_24h"]) == (0, None, None)


@pytest.mark.parametrize("example", ["http", "telegram", "slack", "discord"])
async def test_webhook_accepts_destinations_of_the_reference(panel: SignedClient, example: str) -> None:
    examples = shipped_document().content["paths"]["/v1/webhooks"]["post"]["requestBody"]["content"]
    body = examples["application/json"]["examples"][example]["value"]
    created = await panel.ok("POST", "/v1/webhooks", body)
    assert {name: created[name] for name in body} == body


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("destination_type", "pigeon"),
        ("destination_type", "telegram"),
        ("destination_config", {}),
        ("events", []),
        ("events", ["domain created"]),
        ("retry_count", -1),
    ],
)
async def test_webhook_when_invalid_is_rejected(panel: SignedClient, field: str, value: object) -> None:
    await panel.refused(400, "POST", "/v1/webhooks", {**HTTP, field: value})
    assert panel.count("webhooks") == 0


async def test_webhook_when_unknown_is_404(panel: SignedClient) -> None:
    await panel.refused(404, "GET", "/v1/webhooks/gone/logs")
    await panel.refused(404, "POST", "/v1/webhooks/gone/test")


async def test_events_are_listed_by_category(panel: SignedClient) -> None:
    categories = (await panel.ok("GET", "/v1/webhooks/events"))["categories"]
    assert categories[0] == {
        "name": "User Events",
        "events": [
            {"type": "user.created", "description": "Triggered when a new user is created"},
            {"type": "user.deleted", "description": "Triggered when a user is deleted"},
        ],
    }
    types = {event["type"] for category in categories for event in category["events"]}
    assert types >= {
        "backup.failed",
        "security.ip_blocked",
        "ssl.expiring_soon",
    }
