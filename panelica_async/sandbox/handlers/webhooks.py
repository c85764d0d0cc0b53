"""Webhooks, and the deliveries of their events: HTTP calls to this machine, signed, retried, and logged.

A handler emits an event, which adds a delivery for each subscribed webhook. `Deliveries` sends it once the call is
committed. It contacts only destinations of the type `http` on a loopback address, because a test must never reach a
real address. All others are logged as `not_delivered`.

On current panels, webhooks have the fields of the published reference (evidence: webhooks, webhook-destinations).

Guesses: every event of the form `noun.verb_words` is accepted, because panels have more than the known ones (evidence:
webhook-events); an event without a known category is listed under its noun; a test is delivered as `webhook.test`. On
panels: an update takes every field of a create and `active`; the destination is not checked. Everything about
deliveries (evidence: webhook-deliveries): the message, the headers and their signature, which only this sandbox uses;
2xx is success; the pause doubles with each retry, up to an hour.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import sqlite3
import time
from typing import Any

import aiohttp
import attrs
from yarl import URL

from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    acknowledgement,
    create,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handle_update,
    handles,
    select_page,
)
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.store import Store, new_id, timestamp
from panelica_async.sandbox.validation import check_value, one_of

_DAY = 86400
_DESTINATION_SCHEMAS = {
    "http": "HttpDestination",
    "telegram": "TelegramDestination",
    "slack": "SlackDestination",
    "discord": "DiscordDestination",
}
_EVENT_FORM = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
# The defaults of the panel (evidence: webhooks).
_DEFAULTS = {"retry_count": 3, "retry_delay_seconds": 60, "timeout_seconds": 30}
_FIELDS = ("name", "destination_type", "destination_config", "events", *_DEFAULTS)
# The reference's example requests 20 deliveries.
_DEFAULT_LOG_LIMIT = 20
_PENDING, _SUCCESS, _FAILED = "pending", "success", "failed"
# The status for destinations that the sandbox never contacts.
_NOT_DELIVERED = "not_delivered"
_MAX_PAUSE = 3600.0
_MAX_RETRIES = 10
_MAX_CONCURRENT = 20
_SECRET_SETTING = "webhook_secret"  # noqa: S105 - the name of a setting

handle_list("webhook", "webhooks.list", "GET /v1/webhooks")
handle_get("webhook", "GET /v1/webhooks/{id}")
handle_update("webhook", "PATCH /v1/webhooks/{id}", fields=[*_FIELDS, "active"])
handle_delete("webhook", "DELETE /v1/webhooks/{id}", message="Webhook deleted")


@handles("webhooks.create")
def create_webhook(call: ApiCall) -> ApiReply:
    """Add a webhook; its destination must have the form that its type requires."""
    body = call.body
    kind = one_of(body["destination_type"], tuple(_DESTINATION_SCHEMAS), "destination_type")
    schema = {"$ref": f"#/components/schemas/{_DESTINATION_SCHEMAS[kind]}"}
    check_value(call.document.validator(schema), body["destination_config"], "destination_config")
    if not all(_EVENT_FORM.fullmatch(event) for event in body["events"]):
        raise bad_request("events: must have a form such as domain.created")
    return ApiReply(create(call, "webhook", **{**_DEFAULTS, **call.fields(*_FIELDS)}))


@handles("POST /v1/webhooks")
def create_webhook_on_panel(call: ApiCall) -> ApiReply:
    """Add a webhook."""
    fields = call.fields(*_FIELDS, "active")
    return ApiReply(create(call, "webhook", **{**_DEFAULTS, **fields}))


@handles("webhooks.events")
def webhook_events(call: ApiCall) -> ApiReply:
    """Return the events of the specification's catalog by category."""
    categories: dict[str, list[dict[str, str]]] = {}
    for event in call.document.catalog.get("webhook_events", ()):
        noun = event["name"].partition(".")[0]
        category = event["category"] or f"{noun.upper() if noun == 'ssl' else noun.capitalize()} Events"
        row = {"type": event["name"], "description": event["description"]}
        categories.setdefault(category, []).append(row)
    return ApiReply({"categories": [{"name": name, "events": rows} for name, rows in categories.items()]})


@handles("webhooks.stats")
def webhook_stats(call: ApiCall) -> ApiReply:
    """Return the counts of webhooks and of the deliveries of the last 24 hours."""
    row = call.store.connection.execute(
        "SELECT count(*) AS total, coalesce(sum(status = 'success'), 0) AS successful,"
        " coalesce(sum(status = 'failed'), 0) AS failed,"
        " avg(CASE WHEN status_code > 0 THEN response_time_ms END) AS time"
        " FROM webhook_deliveries WHERE created_at > ?",
        (call.now - _DAY,),
    ).fetchone()
    return ApiReply(
        {
            "total_webhooks": call.store.value("SELECT count(*) FROM webhooks"),
            "active_webhooks": call.store.value("SELECT count(*) FROM webhooks WHERE active"),
            "total_deliveries_24h": row["total"],
            "successful_deliveries_24h": row["successful"],
            "failed_deliveries_24h": row["failed"],
            "avg_response_time_ms": row["time"],
            "success_rate_24h": 100 * row["successful"] / row["total"] if row["total"] else None,
        }
    )


@handles("webhooks.logs")
def webhook_logs(call: ApiCall) -> ApiReply:
    """Return the deliveries of one webhook."""
    webhook = get(call, "webhook")
    page = select_page(call, "webhook_delivery", {"_webhook_id": webhook["id"]}, limit=_DEFAULT_LOG_LIMIT)
    return ApiReply({"data": page.rows, "total": page.total, "page": page.number, "limit": page.limit})


@handles("webhooks.test", "POST /v1/webhooks/{id}/test")
def test_webhook(call: ApiCall) -> ApiReply:
    """Send a test event with the name of the webhook."""
    webhook = get(call, "webhook")
    _add_delivery(call.store, webhook["id"], "webhook.test", {"webhook_id": webhook["id"], "name": webhook["name"]})
    return acknowledgement("Test event sent")


# Deliveries


def emit(store: Store, event_type: str, data: dict[str, Any]) -> None:
    """Add a delivery for each active webhook that subscribed to an event.

    Args:
        store: The state.
        event_type: The event, such as `domain.created`.
        data: The object that the event is about, in the form of the reference.
    """
    webhooks = store.connection.execute(
        "SELECT w.id FROM webhooks AS w, json_each(w.events) AS e WHERE w.active AND e.value = ?", (event_type,)
    )
    for row in webhooks.fetchall():
        _add_delivery(store, row["id"], event_type, data)


def _add_delivery(store: Store, webhook_id: str, event_type: str, data: dict[str, Any]) -> None:
    """Add a delivery of an event to a webhook; `Deliveries` sends it once the call is committed."""
    event_id, delivery_id = f"evt_{new_id()}", new_id()
    payload = {"id": event_id, "type": event_type, "created_at": timestamp(store.now()), "data": data}
    store.execute(
        "INSERT INTO webhook_deliveries VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?)",
        delivery_id, webhook_id, event_type, event_id, _PENDING, store.now(),
    )  # fmt: skip
    store.execute("INSERT INTO webhook_payloads VALUES (?, ?)", delivery_id, json.dumps(payload, ensure_ascii=False))


def webhook_secret(store: Store) -> str:
    """Return the secret that signs deliveries; create it if there is none."""
    secret = store.setting(_SECRET_SETTING)
    if secret is None:
        secret = f"whsec_{secrets.token_hex(24)}"
        store.set_setting(_SECRET_SETTING, secret)
    return secret


def _signature(secret: str, sent_at: str, body: bytes) -> str:
    """Return the signature of a delivery: `sha256=` and the HMAC, in hex, of the timestamp, a dot and the body."""
    return f"sha256={hmac.new(secret.encode(), f'{sent_at}.'.encode() + body, hashlib.sha256).hexdigest()}"


class Deliveries:
    """Sends pending deliveries in the background.

    Args:
        store: The state, with the deliveries.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = webhook_secret(store)
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def send_pending(self) -> None:
        """Start every pending delivery that is not in progress."""
        sql = (
            "SELECT d.id, d.event_type, d.retry_count, w.destination_type, w.destination_config,"
            " w.retry_count AS retries, w.retry_delay_seconds AS pause, w.timeout_seconds AS timeout, p.body"
            " FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id"
            " JOIN webhook_payloads AS p ON p.delivery_id = d.id WHERE d.status = ?"
        )
        for row in self._store.connection.execute(sql, (_PENDING,)).fetchall():
            delivery = _Delivery.from_row(row)
            if delivery.id not in self._tasks:
                self._tasks[delivery.id] = asyncio.create_task(self._deliver(delivery))

    async def stop(self) -> None:
        """Cancel deliveries in progress; they stay pending until the next start."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def _deliver(self, delivery: "_Delivery") -> None:
        try:
            await self._deliver_or_give_up(delivery)
        finally:
            del self._tasks[delivery.id]

    async def _deliver_or_give_up(self, delivery: "_Delivery") -> None:
        if not delivery.is_local:
            self._record(delivery, _NOT_DELIVERED, 0, 0, 0)
            return
        for retry in range(delivery.retries_done, delivery.max_retries + 1):
            async with self._slots:
                status, milliseconds = await self._send(delivery)
            if 200 <= status < 300:
                self._record(delivery, _SUCCESS, status, milliseconds, retry)
                return
            is_last = retry == delivery.max_retries
            self._record(delivery, _FAILED if is_last else _PENDING, status, milliseconds, retry)
            if not is_last:
                await asyncio.sleep(min(delivery.pause * 2**retry, _MAX_PAUSE))

    async def _send(self, delivery: "_Delivery") -> tuple[int, int]:
        """Call the destination once; return its status, 0 if it did not answer, and the time in milliseconds."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        sent_at = str(self._store.now())
        headers = {
            "Content-Type": "application/json",
            "X-Sandbox-Event": delivery.event_type,
            "X-Sandbox-Delivery": delivery.id,
            "X-Sandbox-Timestamp": sent_at,
            "X-Sandbox-Signature": _signature(self._secret, sent_at, delivery.body),
        }
        started = time.perf_counter()
        try:
            async with self._session.request(
                delivery.method,
                delivery.url,
                data=delivery.body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=delivery.timeout),
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError):
            status = 0
        return status, round((time.perf_counter() - started) * 1000)

    def _record(self, delivery: "_Delivery", outcome: str, status: int, milliseconds: int, retries: int) -> None:
        self._store.execute(
            "UPDATE webhook_deliveries SET status = ?, status_code = ?, response_time_ms = ?, retry_count = ?"
            " WHERE id = ?",
            outcome, status, milliseconds, retries, delivery.id,
        )  # fmt: skip


@attrs.frozen(kw_only=True)
class _Delivery:
    """A delivery to send."""

    id: str
    event_type: str
    body: bytes = attrs.field(repr=False)
    url: str
    """Empty if the destination is not called over HTTP."""
    method: str
    timeout: float
    """Seconds to wait for the answer."""
    pause: float
    """Seconds before the first retry."""
    max_retries: int
    """How often to send it again, at most."""
    retries_done: int
    """How often an earlier process has sent it again."""

    @classmethod
    def from_row(cls, row: sqlite3.Row) -> "_Delivery":
        """Return the delivery of a row of the query in `send_pending`."""
        config: dict[str, Any] = json.loads(row["destination_config"])
        return cls(
            id=row["id"],
            event_type=row["event_type"],
            body=row["body"].encode(),
            url=str(config.get("url", "")) if row["destination_type"] == "http" else "",
            method=str(config.get("method", "POST")).upper(),
            timeout=row["timeout"],
            pause=row["pause"],
            max_retries=max(0, min(row["retries"], _MAX_RETRIES)),
            retries_done=row["retry_count"],
        )

    @property
    def is_local(self) -> bool:
        """Whether the destination is an HTTP address on this machine."""
        try:
            url = URL(self.url)
            host = url.host or ""
            return url.scheme in {"http", "https"} and (
                host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
            )
        except ValueError:
            return False
