"""API keys. A new secret replaces the old one at once. Guess: a key belongs to the owner of the key that created it."""

from panelica_async.catalog import TIERS
from panelica_async.sandbox import rules
from panelica_async.sandbox.auth import ENVIRONMENTS, create_key, new_secret
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles, rows
from panelica_async.sandbox.store import Row

_DAY = 86400
_SLOWEST_TIER = next(iter(TIERS))
_SHOWN_ON_CREATION = ("id", "name", "key_prefix", "scopes", "rate_limit_tier", "expires_at", "created_at")


@handles("api_keys.list")
def list_keys(call: ApiCall) -> ApiReply:
    """Return the keys without their secrets."""
    return ApiReply(rows(call, "api_key"))


@handles("api_keys.create")
def create(call: ApiCall) -> ApiReply:
    """Create a key; only this reply shows both halves."""
    body, now = call.body, call.now
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
def regenerate(call: ApiCall) -> ApiReply:
    """Replace the secret; the old one is rejected from the next request on."""
    return regenerate_key(call, call.store.get("api_key", call.path["id"]))


def regenerate_key(call: ApiCall, key: Row) -> ApiReply:
    """Replace the secret of a key."""
    environment = "test" if key["key_prefix"].startswith("pk_test_") else "live"
    secret = new_secret(environment)
    call.store.update("api_key", key["id"], {"api_secret": secret})
    return ApiReply({"api_secret": secret})
