"""Webhooks; `sandbox.deliveries` sends what they subscribe to.

On current panels, they have the fields of the published reference (evidence: webhooks, webhook-destinations).

Guesses: any event of the form `noun.verb_words` is accepted, since panels have more than the known ones (evidence:
webhook-events), and shown by its noun if it has no known category; a test is delivered as `webhook.test`. On panels: a
change takes every field of a create and `active`; the destination is not checked.
"""

import re

from panelica_async.sandbox import rules
from panelica_async.sandbox.deliveries import deliver
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    accepted,
    create,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handle_update,
    handles,
    select,
)
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.validation import check

_DAY = 86400
_DESTINATIONS = {
    "http": "HttpDestination",
    "telegram": "TelegramDestination",
    "slack": "SlackDestination",
    "discord": "DiscordDestination",
}
_EVENT = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
# The defaults of the panel (evidence: webhooks).
_DEFAULTS = {"retry_count": 3, "retry_delay_seconds": 60, "timeout_seconds": 30}
_FIELDS = ("name", "destination_type", "destination_config", "events", *_DEFAULTS)
# The reference's example asks for 20 deliveries.
_LOGS_LIMIT = 20

handle_list("webhook", "webhooks.list", "GET /v1/webhooks")
handle_get("webhook", "GET /v1/webhooks/{id}")
handle_update("webhook", "PATCH /v1/webhooks/{id}", fields=[*_FIELDS, "active"])
handle_delete("webhook", "DELETE /v1/webhooks/{id}", done="Webhook deleted")


@handles("webhooks.create")
def create_webhook(call: ApiCall) -> ApiReply:
    """Add a webhook; its destination must have the form that its type requires."""
    body = call.body
    kind = rules.one_of(body["destination_type"], tuple(_DESTINATIONS), "destination_type")
    schema = {"$ref": f"#/components/schemas/{_DESTINATIONS[kind]}"}
    check(call.document.validator(schema), body["destination_config"], "destination_config")
    if not all(_EVENT.fullmatch(event) for event in body["events"]):
        raise bad_request("events: such as domain.created")
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
        shown = {"type": event["name"], "description": event["description"]}
        categories.setdefault(category, []).append(shown)
    return ApiReply({"categories": [{"name": name, "events": found} for name, found in categories.items()]})


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
    found = select(call, "webhook_delivery", {"_webhook_id": webhook["id"]}, limit=_LOGS_LIMIT)
    return ApiReply({"data": found.rows, "total": found.total, "page": found.page, "limit": found.limit})


@handles("webhooks.test", "POST /v1/webhooks/{id}/test")
def test_webhook(call: ApiCall) -> ApiReply:
    """Send a test event with the name of the webhook."""
    webhook = get(call, "webhook")
    deliver(call.store, webhook["id"], "webhook.test", {"webhook_id": webhook["id"], "name": webhook["name"]})
    return accepted("Test event sent")
