"""Webhook events, and their deliveries: HTTP calls to this machine, signed, repeated, and logged with their results.

A handler emits an event, which adds a delivery for each webhook that subscribed to it. `Deliveries` sends them once the
call is committed. It contacts only destinations of the type `http` on a loopback address, because a test must never
reach a real address. All others are logged as `not_delivered`.

It is not known what a panel sends (evidence: webhook-deliveries). All of this is guessed: the headers and their
signature, which only this sandbox uses; 2xx is success; the pause doubles with each repetition and ends at an hour.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import secrets
import sqlite3
import time
from typing import Any

import aiohttp
import attrs
from yarl import URL

from panelica_async.sandbox.store import Store, new_id, timestamp

PENDING, SUCCESS, FAILED = "pending", "success", "failed"
NOT_DELIVERED = "not_delivered"
"""For destinations that the sandbox never contacts."""

EVENT_HEADER = "X-Sandbox-Event"
DELIVERY_HEADER = "X-Sandbox-Delivery"
TIMESTAMP_HEADER = "X-Sandbox-Timestamp"
SIGNATURE_HEADER = "X-Sandbox-Signature"

_LONGEST_PAUSE = 3600.0
_MOST_REPETITIONS = 10
_MOST_AT_ONCE = 20
_SECRET = "webhook_secret"  # noqa: S105 - the name of a setting


def emit(store: Store, event_type: str, data: dict[str, Any]) -> None:
    """Record a delivery for each active webhook that subscribed to an event.

    Args:
        store: The state.
        event_type: The event, such as `domain.created`.
        data: The object concerned, as the API shows it.
    """
    webhooks = store.connection.execute(
        "SELECT w.id FROM webhooks AS w, json_each(w.events) AS e WHERE w.active AND e.value = ?", (event_type,)
    )
    for row in webhooks.fetchall():
        deliver(store, row["id"], event_type, data)


def deliver(store: Store, webhook_id: str, event_type: str, data: dict[str, Any]) -> None:
    """Record a delivery of an event to a webhook; `Deliveries` sends it once the call is committed.

    Guess: the envelope of the message.
    """
    event_id, delivery_id = f"evt_{new_id()}", new_id()
    payload = {"id": event_id, "type": event_type, "created_at": timestamp(store.now()), "data": data}
    store.execute(
        "INSERT INTO webhook_deliveries VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?)",
        delivery_id, webhook_id, event_type, event_id, PENDING, store.now(),
    )  # fmt: skip
    store.execute("INSERT INTO webhook_payloads VALUES (?, ?)", delivery_id, json.dumps(payload, ensure_ascii=False))


def webhook_secret(store: Store) -> str:
    """Return the secret that signs deliveries; create it if there is none."""
    secret = store.setting(_SECRET)
    if secret is None:
        secret = f"whsec_{secrets.token_hex(24)}"
        store.set_setting(_SECRET, secret)
    return secret


def signature(secret: str, stamp: str, body: bytes) -> str:
    """Return the signature of a delivery: `sha256=` and the hex HMAC of timestamp, a dot and the body."""
    return f"sha256={hmac.new(secret.encode(), f'{stamp}.'.encode() + body, hashlib.sha256).hexdigest()}"


class Deliveries:
    """Sends pending deliveries in the background.

    Args:
        store: The state, with the deliveries.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._secret = webhook_secret(store)
        self._slots = asyncio.Semaphore(_MOST_AT_ONCE)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._session: aiohttp.ClientSession | None = None

    def send_pending(self) -> None:
        """Start every pending delivery that is not in progress."""
        sql = (
            "SELECT d.id, d.event_type, d.retry_count, w.destination_type, w.destination_config,"
            " w.retry_count AS repetitions, w.retry_delay_seconds AS pause, w.timeout_seconds AS timeout, p.body"
            " FROM webhook_deliveries AS d JOIN webhooks AS w ON w.id = d.webhook_id"
            " JOIN webhook_payloads AS p ON p.delivery_id = d.id WHERE d.status = ?"
        )
        for row in self._store.connection.execute(sql, (PENDING,)).fetchall():
            delivery = _Delivery.of(row)
            if delivery.id in self._tasks:
                continue
            self._tasks[delivery.id] = asyncio.create_task(self._deliver(delivery))

    async def stop(self) -> None:
        """Cancel deliveries in progress; they stay pending for the next start."""
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
        if not delivery.is_reachable:
            self._note(delivery, NOT_DELIVERED, 0, 0, 0)
            return
        for repetition in range(delivery.done, delivery.repetitions + 1):
            async with self._slots:
                status, milliseconds = await self._send(delivery)
            if 200 <= status < 300:
                self._note(delivery, SUCCESS, status, milliseconds, repetition)
                return
            is_last = repetition == delivery.repetitions
            self._note(delivery, FAILED if is_last else PENDING, status, milliseconds, repetition)
            if not is_last:
                await asyncio.sleep(min(delivery.pause * 2**repetition, _LONGEST_PAUSE))

    async def _send(self, delivery: "_Delivery") -> tuple[int, int]:
        """Call the destination once; return its status, 0 if it did not answer, and the time in milliseconds."""
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        stamp = str(self._store.now())
        headers = {
            "Content-Type": "application/json",
            EVENT_HEADER: delivery.event_type,
            DELIVERY_HEADER: delivery.id,
            TIMESTAMP_HEADER: stamp,
            SIGNATURE_HEADER: signature(self._secret, stamp, delivery.body),
        }
        begun = time.perf_counter()
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
        return status, round((time.perf_counter() - begun) * 1000)

    def _note(self, delivery: "_Delivery", outcome: str, status: int, milliseconds: int, repetitions: int) -> None:
        self._store.execute(
            "UPDATE webhook_deliveries SET status = ?, status_code = ?, response_time_ms = ?, retry_count = ?"
            " WHERE id = ?",
            outcome, status, milliseconds, repetitions, delivery.id,
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
    """Seconds before the first repetition."""
    repetitions: int
    done: int
    """Repetitions that an earlier process made."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> "_Delivery":
        config: dict[str, Any] = json.loads(row["destination_config"])
        return cls(
            id=row["id"],
            event_type=row["event_type"],
            body=row["body"].encode(),
            url=str(config.get("url", "")) if row["destination_type"] == "http" else "",
            method=str(config.get("method", "POST")).upper(),
            timeout=row["timeout"],
            pause=row["pause"],
            repetitions=min(row["repetitions"], _MOST_REPETITIONS),
            done=row["retry_count"],
        )

    @property
    def is_reachable(self) -> bool:
        """Whether the destination is on this machine."""
        try:
            url = URL(self.url)
            host = url.host or ""
            return url.scheme in {"http", "https"} and (
                host == "localhost" or ipaddress.ip_address(host.partition("%")[0]).is_loopback
            )
        except ValueError:
            return False
