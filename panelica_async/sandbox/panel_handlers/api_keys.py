"""API keys, with the fields of the published reference (evidence: api-keys).

Guesses: an owner that may manage keys sees all of them; a change takes name, scopes, tier and addresses; a new key may
do no more than the reference says, so any scopes are granted.
"""

from panelica_async.catalog import TIERS
from panelica_async.sandbox.auth import is_scope
from panelica_async.sandbox.handlers import api_keys
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted
from panelica_async.sandbox.panel_errors import invalid, missing
from panelica_async.sandbox.panel_handlers.base import handles
from panelica_async.sandbox.store import Row

_CHANGEABLE = ("name", "scopes", "rate_limit_tier", "ip_whitelist")

handles("GET /v1/api-keys")(api_keys.list_keys)
handles("POST /v1/api-keys")(api_keys.create)


@handles("GET /v1/api-keys/{key_id}")
def get_key(call: ApiCall) -> ApiReply:
    """Return one key without its secret."""
    return ApiReply(_key(call))


@handles("PATCH /v1/api-keys/{key_id}")
def update(call: ApiCall) -> ApiReply:
    """Change a key; its secret stays."""
    key, changes = _key(call), call.fields(*_CHANGEABLE)
    if changes.get("rate_limit_tier", key["rate_limit_tier"]) not in TIERS:
        raise invalid(call.endpoint.operation, [("rate_limit_tier", "oneof")])
    if not all(is_scope(str(scope)) for scope in changes.get("scopes", ())):
        raise invalid(call.endpoint.operation, [("scopes", "oneof")])
    call.store.update("api_key", key["id"], changes)
    return ApiReply(_key(call))


@handles("DELETE /v1/api-keys/{key_id}")
def delete(call: ApiCall) -> ApiReply:
    """Delete a key, which is refused from then on."""
    call.store.delete("api_key", _key(call)["id"])
    return accepted("API key deleted")


@handles("POST /v1/api-keys/{key_id}/regenerate")
def regenerate(call: ApiCall) -> ApiReply:
    """Replace the secret; only this reply shows it."""
    return api_keys.regenerate_key(call, _key(call))


def _key(call: ApiCall) -> Row:
    key = call.store.find("api_key", call.path["key_id"])
    if key is None:
        raise missing("api_key", call.path["key_id"])
    return key
