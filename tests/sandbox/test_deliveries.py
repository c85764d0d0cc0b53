"""Webhook deliveries arrive, are signed, are repeated, and are logged with their results."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from tests.conftest import until
from tests.sandbox.receiver import Receiver
from tests.sandbox.signed_client import Clock, SignedClient


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
async def test_failed_delivery_is_repeated(panel: SignedClient, receiver: Receiver, status: int) -> None:
    receiver.answers.extend([status, status])
    webhook = await hook(panel, receiver.url)
    await panel.account()
    (row,) = await settled(panel, webhook)
    assert (row["status"], row["status_code"], row["retry_count"]) == ("success", 200, 2)
    # The same event under the same id, so that the receiver recognises the repetition.
    assert len({(call.body, call.headers["X-Sandbox-Delivery"]) for call in receiver.received}) == 1


async def test_delivery_fails_after_its_repetitions(panel: SignedClient, receiver: Receiver) -> None:
    receiver.answers.extend([500] * 9)
    webhook = await hook(panel, receiver.url, retry_count=2)
    await panel.account()
    (row,) = await settled(panel, webhook)
    assert (row["status"], row["status_code"], row["retry_count"]) == ("failed", 500, 2)
    assert len(receiver.received) == 3
    stats = await panel.ok("GET", "/v1/webhooks/stats")
    assert (stats["total_deliveries_24h"], stats["failed_deliveries_24h"], stats["success_rate_24h"]) == (1, 1, 0)


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
