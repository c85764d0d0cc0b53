"""Records events, and a delivery for each webhook that subscribed to them."""

import json
from typing import Any

from panelica_async.sandbox.store import Store, new_id, timestamp

PENDING, SUCCESS, FAILED = "pending", "success", "failed"
NOT_DELIVERED = "not_delivered"
"""For destinations that the sandbox never contacts."""


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
    """Record a delivery of an event to a webhook; `deliveries` sends it once the call is committed.

    Guess: the envelope of the message.
    """
    event_id, delivery_id = f"evt_{new_id()}", new_id()
    payload = {"id": event_id, "type": event_type, "created_at": timestamp(store.now()), "data": data}
    store.execute(
        "INSERT INTO webhook_deliveries VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?)",
        delivery_id, webhook_id, event_type, event_id, PENDING, store.now(),
    )  # fmt: skip
    store.execute("INSERT INTO webhook_payloads VALUES (?, ?)", delivery_id, json.dumps(payload, ensure_ascii=False))
