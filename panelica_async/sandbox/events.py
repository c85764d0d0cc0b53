"""Events and their deliveries to webhooks.

Nothing is contacted: every delivery succeeds. Guesses: status 200, an answer after 50 to 249 ms.
"""

from zlib import crc32

from panelica_async.sandbox.store import Store, new_id

_SUCCESS = 200


def emit(store: Store, event_type: str) -> None:
    """Log a delivery to each active webhook that asks for an event."""
    webhooks = store.connection.execute(
        "SELECT w.id FROM webhooks AS w, json_each(w.events) AS e WHERE w.active AND e.value = ?", (event_type,)
    )
    for row in webhooks.fetchall():
        deliver(store, row["id"], event_type)


def deliver(store: Store, webhook_id: str, event_type: str) -> None:
    """Log a delivery of an event to a webhook."""
    event_id = f"evt_{new_id()}"
    store.execute(
        "INSERT INTO webhook_deliveries VALUES (?, ?, ?, ?, 'success', ?, ?, 0, ?)",
        new_id(),
        webhook_id,
        event_type,
        event_id,
        _SUCCESS,
        50 + crc32(event_id.encode()) % 200,
        store.now(),
    )
