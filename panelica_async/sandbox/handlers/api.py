"""The API itself: its health, the key of the caller, API keys, webhooks, the Postman collection.

A new secret of a key replaces the old one at once.

Guesses: a key belongs to the owner of the key that created it, and lasts for a hundred years at most; any event of the
form `noun.verb_words` is accepted, since panels have more than the known ones (evidence: webhook-events), and shown by
its noun if it has no known category; a test of a webhook is delivered as `webhook.test`.
"""

import json
import re
from typing import Any

from panelica_async.catalog import TIERS
from panelica_async.sandbox import rules
from panelica_async.sandbox.auth import ENVIRONMENTS, create_key, new_secret
from panelica_async.sandbox.deliveries import deliver
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles, listed, select
from panelica_async.sandbox.messages import bad_request
from panelica_async.sandbox.spec import Endpoint, Json
from panelica_async.sandbox.store import Row, new_id, timestamp, uptime
from panelica_async.sandbox.validation import check

_PANEL_VERSION = "1.0.27"

_DAY = 86400
_MOST_DAYS = 36_500
_SLOWEST_TIER = next(iter(TIERS))
_SHOWN_ON_CREATION = ("id", "name", "key_prefix", "scopes", "rate_limit_tier", "expires_at", "created_at")

_DESTINATIONS = {
    "http": "HttpDestination",
    "telegram": "TelegramDestination",
    "slack": "SlackDestination",
    "discord": "DiscordDestination",
}
_EVENT = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")

# The defaults of the panel (evidence: webhooks).
WEBHOOK_DEFAULTS = {"retry_count": 3, "retry_delay_seconds": 60, "timeout_seconds": 30}

# The reference's example asks for 20 deliveries.
_LOGS_LIMIT = 20

_POSTMAN_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

# METHOD + decoded path + ["?" + raw query] + TIMESTAMP + BODY, DELETE without its body (evidence: signed-text).
# Dynamic variables, such as {{$guid}}, have another value on each use, so the value that is signed is put into
# the request. The text is signed as bytes, one character of the string each, because a path may not decode to UTF-8.
_SIGNING_SCRIPT = r"""
const bytes = (text) => unescape(encodeURIComponent(text));
const hexadecimal = (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase();
const escaped = (text) => Array.from(bytes(text), (byte) => "%" + hexadecimal(byte)).join("");
const decoded = (text) => text.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));

let url = pm.variables.replaceIn(pm.request.url.toString());
url = /^https?:\/\//i.test(url) ? url : "https://" + url;
url = url.replace(/[\u0000-\u0020"'<>\\^`{|}\u007f-\u{10ffff}]+/gu, escaped).replace(/%(?![0-9a-f]{2})/gi, "%25");
url = url.replace(/#.*$/, "").replace(/^(https?:\/\/[^?]*?)\/{2,}v1\//i, "$1/v1/");
pm.request.url.update(url);

let body = "";
if (pm.request.body && pm.request.body.mode === "raw") {
  body = pm.variables.replaceIn(pm.request.body.toString());
  pm.request.body.update({mode: "raw", raw: body});
}

const [, target] = url.match(/^https?:\/\/[^\/?]+(?:\/api\/external(?=\/))?(.*)$/i);
const [path, query] = target.split(/\?(.*)/s);
const timestamp = Math.floor(Date.now() / 1000).toString();
const signed = decoded(path) + (query ? "?" + query : "");
const text = pm.request.method + signed + timestamp + (pm.request.method === "DELETE" ? "" : bytes(body));
const secret = CryptoJS.enc.Utf8.parse(pm.variables.get("api_secret"));
const signature = CryptoJS.HmacSHA256(CryptoJS.enc.Latin1.parse(text), secret).toString();
pm.request.headers.upsert({key: "X-API-Key", value: pm.variables.get("api_key")});
pm.request.headers.upsert({key: "X-Timestamp", value: timestamp});
pm.request.headers.upsert({key: "X-Signature", value: signature});
"""


@handles("health")
def health(call: ApiCall) -> ApiReply:
    """Return the health of the API; the only call without a key."""
    seconds = uptime(call.store)
    shown = f"{seconds // 86400}d {seconds % 86400 // 3600}h {seconds % 3600 // 60}m"
    return ApiReply({"status": "healthy", "version": _PANEL_VERSION, "uptime": shown})


@handles("me")
def me(call: ApiCall) -> ApiReply:
    """Return the key that signed the call."""
    key = call.store.get("api_key", call.caller.key.id)
    owner = call.store.get("account", call.caller.key.user_id)
    return ApiReply(
        {
            "key_id": key["id"],
            "key_prefix": key["key_prefix"],
            "name": key["name"],
            "scopes": key["scopes"],
            "rate_limit_tier": key["rate_limit_tier"],
            "user": {"id": owner["id"], "username": owner["username"], "role": owner["role"]},
            "status": key["status"],
            "expires_at": key["expires_at"],
        }
    )


@handles("rate_limit")
def rate_limit(call: ApiCall) -> ApiReply:
    """Return the rate limit and its usage, including this call."""
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


@handles("api_keys.list")
def list_api_keys(call: ApiCall) -> ApiReply:
    """Return the keys without their secrets."""
    return ApiReply(listed(call, "api_key"))


@handles("api_keys.create")
def create_api_key(call: ApiCall) -> ApiReply:
    """Create a key; only this reply shows both halves."""
    body, now = call.body, call.now
    if body.get("expires_in", 1) > _MOST_DAYS:
        raise bad_request(f"expires_in: must be at most {_MOST_DAYS} days")
    credentials = create_key(
        call.store,
        user_id=call.caller.key.user_id,
        name=body["name"],
        scopes=body["scopes"],
        tier=body.get("rate_limit_tier", _SLOWEST_TIER),
        ip_whitelist=body.get("ip_whitelist", ()),
        created_at=now,
        expires_at=now + body["expires_in"] * _DAY if "expires_in" in body else None,
        environment=rules.one_of(body.get("environment", ENVIRONMENTS[0]), ENVIRONMENTS, "environment"),
    )
    row = call.store.get("api_key", credentials.key_id)
    shown = {name: row[name] for name in _SHOWN_ON_CREATION}
    return ApiReply({**shown, "api_key": credentials.api_key, "api_secret": credentials.api_secret})


@handles("api_keys.regenerate")
def regenerate_api_key(call: ApiCall) -> ApiReply:
    """Replace the secret; the old one is rejected from the next request on."""
    return replace_secret(call, get(call, "api_key"))


def replace_secret(call: ApiCall, key: Row) -> ApiReply:
    """Replace the secret of a key."""
    environment = "test" if key["key_prefix"].startswith("pk_test_") else "live"
    secret = new_secret(environment)
    call.store.update("api_key", key["id"], {"api_secret": secret})
    return ApiReply({"api_secret": secret})


@handles("webhooks.list")
def list_webhooks(call: ApiCall) -> ApiReply:
    """Return all webhooks."""
    return ApiReply(listed(call, "webhook"))


@handles("webhooks.create")
def create_webhook(call: ApiCall) -> ApiReply:
    """Add a webhook; its destination must have the form that its type requires."""
    body = call.body
    kind = rules.one_of(body["destination_type"], tuple(_DESTINATIONS), "destination_type")
    schema = {"$ref": f"#/components/schemas/{_DESTINATIONS[kind]}"}
    check(call.document.validator(schema), body["destination_config"], "destination_config")
    if not all(_EVENT.fullmatch(event) for event in body["events"]):
        raise bad_request("events: such as domain.created")
    webhook_id = new_id()
    call.store.insert(
        "webhook",
        {
            "id": webhook_id,
            "created_at": call.now,
            **WEBHOOK_DEFAULTS,
            **call.fields("name", "destination_type", "destination_config", "events", *WEBHOOK_DEFAULTS),
        },
    )
    return ApiReply(call.store.get("webhook", webhook_id))


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


@handles("webhooks.test")
def test_webhook(call: ApiCall) -> ApiReply:
    """Send a test event with the name of the webhook."""
    return send_test_event(call, get(call, "webhook"))


def send_test_event(call: ApiCall, webhook: Row) -> ApiReply:
    """Send a test event to a webhook."""
    deliver(call.store, webhook["id"], "webhook.test", {"webhook_id": webhook["id"], "name": webhook["name"]})
    return accepted("Test event sent")


@handles("postman_collection")
def postman_collection(call: ApiCall) -> ApiReply:
    """Return the Postman collection of the document, format 2.1: a folder for each tag, and a script that signs."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for endpoint in call.document.endpoints:
        folders.setdefault(endpoint.tag, []).append(_postman_request(endpoint))
    script = {"type": "text/javascript", "exec": _SIGNING_SCRIPT.strip().splitlines()}
    return ApiReply(
        {
            "info": {"name": call.document.content["info"]["title"], "schema": _POSTMAN_SCHEMA},
            "item": [{"name": tag, "item": requests} for tag, requests in folders.items()],
            "event": [{"listen": "prerequest", "script": script}],
            "variable": [
                {"key": "base_url", "value": "https://panel.example.com:8443/api/external"},
                {"key": "api_key", "value": ""},
                {"key": "api_secret", "value": ""},
            ],
        }
    )


def _postman_request(endpoint: Endpoint) -> dict[str, Any]:
    path = re.sub(r"\{(\w+)\}", r":\1", endpoint.path)
    request: dict[str, Any] = {
        "method": endpoint.method,
        "header": [{"key": "Content-Type", "value": "application/json"}] if endpoint.body else [],
        "url": {
            "raw": "{{base_url}}" + path,
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "query": [_postman_parameter(parameter) for parameter in endpoint.query],
            "variable": [{"key": name, "value": ""} for name in re.findall(r"\{(\w+)\}", endpoint.path)],
        },
    }
    if endpoint.body_example is not None:
        request["body"] = {"mode": "raw", "raw": json.dumps(endpoint.body_example, indent=2)}
    return {"name": endpoint.summary, "request": request}


def _postman_parameter(parameter: Json) -> dict[str, Any]:
    value = str(parameter.get("example", ""))
    return {"key": parameter["name"], "value": value, "disabled": not parameter.get("required", False)}
