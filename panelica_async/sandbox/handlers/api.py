"""The API itself: its health, the key of the caller with its rate limit, API keys.

On current panels, keys have the fields of the published reference (evidence: api-keys). A new secret of a key replaces
the old one at once.

Guesses: a key belongs to the owner of the key that created it, and lasts for a hundred years at most. On panels: the
version; an owner that may manage keys sees all of them, and a new key is granted any scopes; a change takes name,
scopes, tier and addresses.
"""

from panelica_async.catalog import TIERS
from panelica_async.sandbox import rules
from panelica_async.sandbox.auth import ENVIRONMENTS, Grants, create_key, is_scope, new_secret
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handles,
)
from panelica_async.sandbox.messages import bad_request, invalid
from panelica_async.sandbox.store import Row, timestamp, uptime

API_VERSION = "1.0.0"
_PANEL_VERSION = "1.0.27"

_DAY = 86400
_MOST_DAYS = 36_500
_SLOWEST_TIER = next(iter(TIERS))
_SHOWN_ON_CREATION = ("id", "name", "key_prefix", "scopes", "rate_limit_tier", "expires_at", "created_at")
_KEY_FIELDS = ("name", "scopes", "rate_limit_tier", "ip_whitelist")

handle_list("api_key", "api_keys.list", "GET /v1/api-keys")
handle_get("api_key", "GET /v1/api-keys/{key_id}")
handle_delete("api_key", "DELETE /v1/api-keys/{key_id}", done="API key deleted")


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
