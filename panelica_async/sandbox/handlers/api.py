"""The API itself: its health, the key of the caller, API keys, webhooks. `deliveries` sends what webhooks subscribe to.

On current panels, keys and webhooks have the fields of the published reference (evidence: api-keys, webhooks,
webhook-destinations). A new secret of a key replaces the old one at once.

Guesses: a key belongs to the owner of the key that created it, and lasts for a hundred years at most; any event of the
form `noun.verb_words` is accepted, since panels have more than the known ones (evidence: webhook-events), and shown by
its noun if it has no known category; a test of a webhook is delivered as `webhook.test`. On panels: the version; an
owner that may manage keys sees all of them, and a new key is granted any scopes; a change of a key takes name, scopes,
tier and addresses, one of a webhook every field of a create and `active`; the destination of a webhook is not checked.
"""

import re

from panelica_async.catalog import TIERS
from panelica_async.sandbox import rules
from panelica_async.sandbox.auth import ENVIRONMENTS, Grants, create_key, is_scope, new_secret
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
from panelica_async.sandbox.messages import bad_request, invalid
from panelica_async.sandbox.store import Row, timestamp, uptime
from panelica_async.sandbox.validation import check

API_VERSION = "1.0.0"
_PANEL_VERSION = "1.0.27"

_DAY = 86400
_MOST_DAYS = 36_500
_SLOWEST_TIER = next(iter(TIERS))
_SHOWN_ON_CREATION = ("id", "name", "key_prefix", "scopes", "rate_limit_tier", "expires_at", "created_at")
_KEY_FIELDS = ("name", "scopes", "rate_limit_tier", "ip_whitelist")

_DESTINATIONS = {
    "http": "HttpDestination",
    "telegram": "TelegramDestination",
    "slack": "SlackDestination",
    "discord": "DiscordDestination",
}
_EVENT = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
# The defaults of the panel (evidence: webhooks).
_WEBHOOK_DEFAULTS = {"retry_count": 3, "retry_delay_seconds": 60, "timeout_seconds": 30}
_WEBHOOK_FIELDS = ("name", "destination_type", "destination_config", "events", *_WEBHOOK_DEFAULTS)
# The reference's example asks for 20 deliveries.
_LOGS_LIMIT = 20

handle_list("api_key", "api_keys.list", "GET /v1/api-keys")
handle_get("api_key", "GET /v1/api-keys/{key_id}")
handle_delete("api_key", "DELETE /v1/api-keys/{key_id}", done="API key deleted")
handle_list("webhook", "webhooks.list", "GET /v1/webhooks")
handle_get("webhook", "GET /v1/webhooks/{id}")
handle_update("webhook", "PATCH /v1/webhooks/{id}", fields=[*_WEBHOOK_FIELDS, "active"])
handle_delete("webhook", "DELETE /v1/webhooks/{id}", done="Webhook deleted")


@handles("health")
def health(call: ApiCall) -> ApiReply:
    """Return the health of the API; the only call without a key."""
    seconds = uptime(call.store)
    shown = f"{seconds // 86400}d {seconds % 86400 // 3600}h {seconds % 3600 // 60}m"
    return ApiReply({"status": "healthy", "version": _PANEL_VERSION, "uptime": shown})


@handles("GET /health")
def health_on_panel(call: ApiCall) -> ApiReply:
    """Return the health of the API; not signed, and without an envelope (evidence: address-health)."""
    health = {"service": "panelica-external-api", "status": "ok", "version": API_VERSION}
    return ApiReply({**health, "timestamp": timestamp(call.now)})


@handles("me")
def me(call: ApiCall) -> ApiReply:
    """Return the key that signed the call."""
    owner = get(call, "account", call.caller.key.user_id)
    user = {name: owner[name] for name in ("id", "username", "role")}
    key = _signing_key(call)
    return ApiReply({"key_id": call.caller.key.id, **key, "user": user})


@handles("GET /v1/me")
def me_on_panel(call: ApiCall) -> ApiReply:
    """Return the key that signed the call (evidence: me)."""
    return ApiReply({"user_id": call.caller.key.user_id, **_signing_key(call)})


def _signing_key(call: ApiCall) -> Row:
    key = get(call, "api_key", call.caller.key.id)
    return {name: key[name] for name in ("name", "key_prefix", "scopes", "rate_limit_tier", "status", "expires_at")}


@handles("rate_limit", "GET /v1/rate-limit")
def rate_limit(call: ApiCall) -> ApiReply:
    """Return the rate limit and its usage, including this call (evidence: rate-limit-endpoint)."""
    limits = call.caller.limits
    minute, hour = limits.usage("minute"), limits.usage("hour")
    return ApiReply(
        {
            "tier": limits.tier.name,
            "requests_per_minute": limits.tier.requests_per_minute,
            "requests_per_hour": limits.tier.requests_per_hour,
            "burst_size": limits.tier.burst,
            "current_minute_usage": minute.used,
            "current_hour_usage": hour.used,
            "reset_at": timestamp(minute.reset_at),
        }
    )


@handles("api_keys.create", "POST /v1/api-keys")
def create_api_key(call: ApiCall) -> ApiReply:
    """Create a key; only this reply shows both halves."""
    body = call.body
    if body.get("expires_in", 1) > _MOST_DAYS:
        raise bad_request(f"expires_in: must be at most {_MOST_DAYS} days")
    tier, addresses = body.get("rate_limit_tier", _SLOWEST_TIER), body.get("ip_whitelist", ())
    credentials = create_key(
        call.store,
        Grants(scopes=body["scopes"], tier=tier, ip_whitelist=addresses),
        user_id=call.caller.key.user_id,
        name=body["name"],
        expires_at=call.now + body["expires_in"] * _DAY if "expires_in" in body else None,
        environment=rules.one_of(body.get("environment", ENVIRONMENTS[0]), ENVIRONMENTS, "environment"),
    )
    row = get(call, "api_key", credentials.key_id)
    shown = {name: row[name] for name in _SHOWN_ON_CREATION}
    return ApiReply({**shown, "api_key": credentials.api_key, "api_secret": credentials.api_secret})


@handles("PATCH /v1/api-keys/{key_id}")
def update_api_key(call: ApiCall) -> ApiReply:
    """Change a key; its secret stays."""
    key, changes = get(call, "api_key"), call.fields(*_KEY_FIELDS)
    if changes.get("rate_limit_tier", key["rate_limit_tier"]) not in TIERS:
        raise invalid(call.endpoint.operation, [("rate_limit_tier", "oneof")])
    if not all(is_scope(str(scope)) for scope in changes.get("scopes", ())):
        raise invalid(call.endpoint.operation, [("scopes", "oneof")])
    call.store.update("api_key", key["id"], changes)
    return ApiReply(get(call, "api_key"))


@handles("api_keys.regenerate", "POST /v1/api-keys/{key_id}/regenerate")
def regenerate_api_key(call: ApiCall) -> ApiReply:
    """Replace the secret; only this reply shows the new one, and the old one is rejected from the next request on."""
    key = get(call, "api_key")
    secret = new_secret("test" if key["key_prefix"].startswith("pk_test_") else "live")
    call.store.update("api_key", key["id"], {"api_secret": secret})
    return ApiReply({"api_secret": secret})


@handles("webhooks.create")
def create_webhook(call: ApiCall) -> ApiReply:
    """Add a webhook; its destination must have the form that its type requires."""
    body = call.body
    kind = rules.one_of(body["destination_type"], tuple(_DESTINATIONS), "destination_type")
    schema = {"$ref": f"#/components/schemas/{_DESTINATIONS[kind]}"}
    check(call.document.validator(schema), body["destination_config"], "destination_config")
    if not all(_EVENT.fullmatch(event) for event in body["events"]):
        raise bad_request("events: such as domain.created")
    return ApiReply(create(call, "webhook", **{**_WEBHOOK_DEFAULTS, **call.fields(*_WEBHOOK_FIELDS)}))


@handles("POST /v1/webhooks")
def create_webhook_on_panel(call: ApiCall) -> ApiReply:
    """Add a webhook."""
    fields = call.fields(*_WEBHOOK_FIELDS, "active")
    return ApiReply(create(call, "webhook", **{**_WEBHOOK_DEFAULTS, **fields}))


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
