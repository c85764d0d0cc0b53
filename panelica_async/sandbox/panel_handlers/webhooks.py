"""Webhooks, with the fields of the published reference (evidence: webhooks, webhook-destinations).

Guesses: the destination is not checked; a change takes every field of a create, and `active`.
"""

from typing import Any

from panelica_async.sandbox.events import deliver
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import missing
from panelica_async.sandbox.panel_handlers.base import handles
from panelica_async.sandbox.store import Row, new_id

# The defaults of the panel (evidence: webhooks).
_TIMING = {"retry_count": 3, "retry_delay_seconds": 60, "timeout_seconds": 30}
_FIELDS = ("name", "destination_type", "destination_config", "events", *_TIMING, "active")


@handles("GET /v1/webhooks")
def list_webhooks(call: ApiCall) -> ApiReply:
    """Return all webhooks."""
    return ApiReply(call.store.rows("SELECT * FROM temp.webhook"))


@handles("POST /v1/webhooks")
def create(call: ApiCall) -> ApiReply:
    """Add a webhook."""
    row: dict[str, Any] = {"id": new_id(), "created_at": call.now, **_TIMING, **call.fields(*_FIELDS)}
    call.store.insert("webhook", row)
    return ApiReply(call.store.get("webhook", row["id"]))


@handles("GET /v1/webhooks/{id}")
def get_webhook(call: ApiCall) -> ApiReply:
    """Return one webhook."""
    return ApiReply(_webhook(call))


@handles("PATCH /v1/webhooks/{id}")
def update(call: ApiCall) -> ApiReply:
    """Change a webhook."""
    call.store.update("webhook", _webhook(call)["id"], call.fields(*_FIELDS))
    return ApiReply(_webhook(call))


@handles("DELETE /v1/webhooks/{id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete a webhook with its deliveries."""
    call.store.delete("webhook", _webhook(call)["id"])
    return accepted("Webhook deleted")


@handles("POST /v1/webhooks/{id}/test")
def test(call: ApiCall) -> ApiReply:
    """Send a test event with the name of the webhook."""
    webhook = _webhook(call)
    deliver(call.store, webhook["id"], "webhook.test", {"webhook_id": webhook["id"], "name": webhook["name"]})
    return accepted("Test event sent")


def _webhook(call: ApiCall) -> Row:
    webhook = call.store.find("webhook", call.path["id"])
    if webhook is None:
        raise missing("webhook", call.path["id"])
    return webhook
