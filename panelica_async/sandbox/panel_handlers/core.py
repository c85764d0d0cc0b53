"""The API itself and the key that signs. What the panel lists about itself is in `api_spec`.

Guess: the versions.
"""

from panelica_async.sandbox.handlers import utility
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply
from panelica_async.sandbox.panel_handlers.base import handles
from panelica_async.sandbox.postman import collection
from panelica_async.sandbox.store import timestamp

_API_VERSION = "1.0.0"


@handles("GET /health")
def health(call: ApiCall) -> ApiReply:
    """Return the health of the API; not signed, and without an envelope (evidence: address-health)."""
    return ApiReply(
        {
            "service": "panelica-external-api",
            "status": "ok",
            "timestamp": timestamp(call.now),
            "version": _API_VERSION,
        }
    )


@handles("GET /v1/me")
def me(call: ApiCall) -> ApiReply:
    """Return the key that signed the call (evidence: me)."""
    key = call.store.get("api_key", call.caller.key.id)
    fields = ("name", "key_prefix", "scopes", "rate_limit_tier", "status", "expires_at")
    return ApiReply({"user_id": call.caller.key.user_id, **{name: key[name] for name in fields}})


@handles("GET /v1/rate-limit")
def rate_limit(call: ApiCall) -> ApiReply:
    """Return limits and usage of the key; the fields are those of the reference (evidence: rate-limit-endpoint)."""
    return utility.rate_limit(call)


@handles("GET /v1/postman-collection")
def postman_collection(call: ApiCall) -> ApiReply:
    """Return the endpoints as a Postman collection."""
    return ApiReply(collection(call.document))
