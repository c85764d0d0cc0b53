from panelica_async import PanelicaClient
from panelica_async.models import DeliveryStatus, Domain, HttpDestination, TelegramDestination, Webhook
from panelica_async.sandbox import Sandbox
from tests.conftest import until
from tests.sandbox.receiver import Receiver


async def create(panel: PanelicaClient, *events: str, url: str = "https://example.com/webhook") -> Webhook:
    return await panel.webhooks.create(
        name="Alerts",
        destination_type="http",
        destination_config=HttpDestination(url=url, method="POST"),
        events=events or ["domain.created"],
    )


async def delivered(box: Sandbox) -> None:
    pending = "SELECT count(*) FROM webhook_deliveries WHERE status = 'pending'"
    await until(lambda: box.database.execute(pending).fetchone()[0] == 0)


async def test_webhooks_list(panel: PanelicaClient) -> None:
    assert await panel.webhooks.list().collect() == []
    webhook = await create(panel)
    assert await panel.webhooks.list().collect() == [webhook]


async def test_webhooks_create(panel: PanelicaClient) -> None:
    webhook = await panel.webhooks.create(
        name="Alerts",
        destination_type="telegram",
        destination_config=TelegramDestination(bot_token="12:hush", chat_id="-100", parse_mode="HTML"),
        events=["domain.created", "backup.failed"],
        retry_count=5,
        retry_delay_seconds=10,
        timeout_seconds=20,
    )
    assert (webhook.name, webhook.destination_type, webhook.active) == ("Alerts", "telegram", True)
    assert webhook.destination_config == {"bot_token": "12:hush", "chat_id": "-100", "parse_mode": "HTML"}
    assert webhook.events == ["domain.created", "backup.failed"]
    assert (webhook.retry_count, webhook.retry_delay_seconds, webhook.timeout_seconds) == (5, 10, 20)
    assert "hush" not in repr(webhook)
    plain = await panel.webhooks.create(
        name="Plain", destination_type="http", destination_config={"url": "https://example.com"}, events=["a.b"]
    )
    assert plain.destination_config == {"url": "https://example.com"}


async def test_webhooks_events(panel: PanelicaClient) -> None:
    catalog = await panel.webhooks.events()
    known = [event for category in catalog.categories or [] for event in category.events]
    assert {event.type for event in known} >= {"user.created", "domain.deleted", "backup.failed"}
    assert all(category.name for category in catalog.categories or [])


async def test_webhooks_stats(panel: PanelicaClient, box: Sandbox) -> None:
    async with Receiver() as receiver:
        webhook = await create(panel, url=receiver.url)
        await panel.webhooks.test(webhook.id)
        await delivered(box)
    stats = await panel.webhooks.stats()
    assert (stats.total_webhooks, stats.active_webhooks, stats.total_deliveries_24h) == (1, 1, 1)
    assert (stats.successful_deliveries_24h, stats.failed_deliveries_24h, stats.success_rate_24h) == (1, 0, 100.0)
    assert stats.avg_response_time_ms is not None


async def test_webhooks_logs(panel: PanelicaClient, box: Sandbox) -> None:
    async with Receiver() as receiver:
        webhook = await create(panel, "user.created", url=receiver.url)
        for number in range(5):
            name = f"user{number}"
            await panel.accounts.create(username=name, email=f"{name}@example.com", password="correct horse")
        await delivered(box)
    page = await panel.webhooks.logs(webhook.id, page=2, limit=2)
    assert (page.total, page.page, page.limit, len(page.items)) == (5, 2, 2, 2)
    deliveries = await panel.webhooks.logs(webhook.id, limit=2).collect()
    assert len({delivery.id for delivery in deliveries}) == 5
    assert {delivery.event_type for delivery in deliveries} == {"user.created"}
    assert {delivery.status for delivery in deliveries} == {DeliveryStatus.SUCCESS}


async def test_webhooks_test(panel: PanelicaClient, domain: Domain) -> None:
    webhook = await create(panel)
    assert (await panel.webhooks.test(webhook.id)).message == "Test event sent"
    [delivery] = await panel.webhooks.logs(webhook.id).collect()
    assert delivery.event_type == "webhook.test"
