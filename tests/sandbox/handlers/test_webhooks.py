"""Webhooks: subscriptions, and deliveries that are signed, retried and logged with their results."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.spec import shipped_document
from tests.conftest import until
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.receiver import Receiver
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


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as receiver:
        yield receiver


async def hook(panel: SignedClient, url: str, **fields: Any) -> str:
    body = {
        "name": "Alerts",
        "destination_type": "http",
        "destination_config": {"url": url},
        "events": ["user.created", "user.deleted", "domain.created", "domain.deleted"],
        "retry_delay_seconds": 0,
        **fields,
    }
    return str((await panel.ok("POST", "/v1/webhooks", body))["id"])


async def log(panel: SignedClient, webhook: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (await panel.ok("GET", f"/v1/webhooks/{webhook}/logs"))["data"]
    return rows


async def settled(panel: SignedClient, webhook: str) -> list[dict[str, Any]]:
    """Return the log once nothing in it is pending."""
    pending = "SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'"
    await until(lambda: panel.box.database.execute(pending).fetchone()[0] == 0)
    return await log(panel, webhook)


async def test_delivery_arrives_with_the_object_and_a_signature(panel: SignedClient, receiver: Receiver) -> None:
    webhook = await hook(panel, receiver.url)
    account = await panel.account()
    (row,) = await settled(panel, webhook)
    (call,) = receiver.received
    assert call.data["type"] == "user.created"
    assert call.data["id"] == row["event_id"]
    assert (call.data["data"]["id"], call.data["data"]["username"]) == (account["id"], "john")
    assert "password" not in call.data["data"]
    stamp = call.headers["X-Sandbox-Timestamp"]
    expected = hmac.new(panel.box.webhook_secret.encode(), f"{stamp}.".encode() + call.body, hashlib.sha256)
    assert call.headers["X-Sandbox-Signature"] == f"sha256={expected.hexdigest()}"
    assert call.headers["X-Sandbox-Delivery"] == row["id"]
    assert (row["status"], row["status_code"], row["retry_count"]) == ("success", 200, 0)


async def test_every_event_is_delivered_once(panel: SignedClient, receiver: Receiver) -> None:
    webhook = await hook(panel, receiver.url)
    account = await panel.account()
    await panel.domain("one.example", account["id"])
    await panel.ok("DELETE", f"/v1/accounts/{account['id']}")
    await panel.ok("POST", f"/v1/webhooks/{webhook}/test")
    await settled(panel, webhook)
    types = sorted(call.data["type"] for call in receiver.received)
    assert types == ["domain.created", "domain.deleted", "user.created", "user.deleted", "webhook.test"]


async def test_refused_call_delivers_nothing(panel: SignedClient, receiver: Receiver) -> None:
    await panel.account()
    webhook = await hook(panel, receiver.url)
    await panel.refused(
        409, "POST", "/v1/accounts", {"username": "john", "email": "b@b.example", "password": "long one 1"}
    )
    assert await log(panel, webhook) == []
    assert receiver.received == []


@pytest.mark.parametrize("status", [302, 400, 404, 500, 503])
async def test_failed_delivery_is_retried(panel: SignedClient, receiver: Receiver, status: int) -> None:
    receiver.answers.extend([status, status])
    webhook = await hook(panel, receiver.url)
    await panel.account()
    (row,) = await settled(panel, webhook)
    assert (row["status"], row["status_code"], row["retry_count"]) == ("success", 200, 2)
    # The same event under the same id, so that the receiver recognises the retry.
    assert len({(call.body, call.headers["X-Sandbox-Delivery"]) for call in receiver.received}) == 1


async def test_delivery_fails_after_its_retries(panel: SignedClient, receiver: Receiver) -> None:
    receiver.answers.extend([500] * 9)
    webhook = await hook(panel, receiver.url, retry_count=2)
    await panel.account()
    (row,) = await settled(panel, webhook)
    assert (row["status"], row["status_code"], row["retry_count"]) == ("failed", 500, 2)
    assert len(receiver.received) == 3
    stats = await panel.ok("GET", "/v1/webhooks/stats")
    assert (stats["total_deliveries_24h"], stats["failed_deliveries_24h"], stats["success_rate_24h"]) == (1, 1, 0)


async def test_delivery_with_negative_retries_is_sent_once(current_panel: PanelClient, receiver: Receiver) -> None:
    destination = {"destination_config": {"url": receiver.url}, "events": ["user.created"]}
    await current_panel.data("POST", "/v1/webhooks", {**HTTP, **destination, "retry_count": -1})
    await current_panel.account()
    await until(lambda: current_panel.count("webhook_deliveries WHERE status = 'success'") == 1)


async def test_delivery_to_a_missing_destination_fails(panel: SignedClient) -> None:
    async with Receiver() as gone:
        url = gone.url
    webhook = await hook(panel, url, retry_count=1)
    await panel.account()
    (row,) = await settled(panel, webhook)
    assert (row["status"], row["status_code"], row["response_time_ms"]) == ("failed", None, None)


@pytest.mark.parametrize(
    "config",
    [
        {"url": "https://hooks.example.com/x"},
        {"url": "http://192.0.2.1/x"},
        {"url": "http://127.0.0.1.example.com/x"},
        {"url": "http://localhost.example/x"},
        {"url": "ftp://127.0.0.1/x"},
        {"url": "http://[::ffff:192.0.2.1]/x"},
        {"url": "no address"},
        {"url": "http://[/"},
    ],
)
async def test_other_machines_are_not_contacted(panel: SignedClient, config: dict[str, str]) -> None:
    webhook = await hook(panel, "", destination_config=config)
    await panel.account()
    (row,) = await settled(panel, webhook)
    assert (row["status"], row["status_code"]) == ("not_delivered", None)
    stats = await panel.ok("GET", "/v1/webhooks/stats")
    assert (stats["successful_deliveries_24h"], stats["failed_deliveries_24h"]) == (0, 0)


async def test_chat_services_are_not_contacted(panel: SignedClient) -> None:
    chat = {"bot_token": "12:hush", "chat_id": "-100"}
    webhook = await hook(panel, "", destination_type="telegram", destination_config=chat)
    await panel.account()
    assert [row["status"] for row in await settled(panel, webhook)] == ["not_delivered"]


async def test_method_of_the_destination_is_used(panel: SignedClient, receiver: Receiver) -> None:
    webhook = await hook(panel, "", destination_config={"url": receiver.url, "method": "put"})
    await panel.account()
    await settled(panel, webhook)
    assert [call.method for call in receiver.received] == ["PUT"]


async def test_pending_deliveries_survive_a_restart(tmp_path: Path, receiver: Receiver, clock: Clock) -> None:
    database = tmp_path / "panel.db"
    async with aiohttp.ClientSession() as session:
        receiver.hangs = True
        async with Sandbox(tier="enterprise", db=database, clock=clock) as box:
            panel = SignedClient(box, session, clock)
            webhook = await hook(panel, receiver.url)
            await panel.account()
            await until(lambda: len(receiver.received) == 1)
            assert [row["status"] for row in await log(panel, webhook)] == ["pending"]
        receiver.hangs = False
        async with Sandbox(tier="enterprise", db=database, clock=clock) as box:
            panel = SignedClient(box, session, clock)
            assert [row["status"] for row in await settled(panel, webhook)] == ["success"]
    assert len({call.headers["X-Sandbox-Delivery"] for call in receiver.received}) == 1
