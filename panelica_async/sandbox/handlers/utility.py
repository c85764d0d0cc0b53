"""Calls about the API itself."""

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles
from panelica_async.sandbox.postman import collection
from panelica_async.sandbox.store import timestamp

_VERSION = "1.0.27"


@handles("health")
def health(call: ApiCall) -> ApiReply:
    """Return the health of the API; the only call without a key."""
    seconds = call.now - int(call.store.setting("booted_at") or call.now)
    uptime = f"{seconds // 86400}d {seconds % 86400 // 3600}h {seconds % 3600 // 60}m"
    return ApiReply({"status": "healthy", "version": _VERSION, "uptime": uptime})


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


@handles("postman_collection")
def postman_collection(call: ApiCall) -> ApiReply:
    """Return the Postman collection, made from the specification."""
    return ApiReply(collection(call.document))
