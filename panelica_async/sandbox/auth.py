"""API keys: creates and finds keys, checks signatures and scopes (evidence: auth-codes).

Guesses (evidence: auth-unknown): the order of the checks; the code UNAUTHORIZED for a key that is unknown, revoked or
expired; 403 for an address that is not on the key's whitelist; a timestamp exactly 300 s off is still accepted.
"""

import ipaddress
import json
import re
import secrets

import attrs

from panelica_async.catalog import SCOPES, TIERS
from panelica_async.core.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from panelica_async.sandbox.messages import ApiError, HttpRequest, bad_request, forbidden
from panelica_async.sandbox.store import Row, Store, new_id, root_id

ENVIRONMENTS = ("live", "test")
MAX_CLOCK_SKEW = 300
"""Seconds by which a timestamp may be off (evidence: clock-window)."""

_ROOT_KEY_SETTING = "root_key_id"
# Pairing the mobile app creates mk_… keys (evidence: key-forms).
_KEY_FORM = re.compile(r"(?:pk_(?:live|test)|mk)_\w+", re.ASCII)
_TIMESTAMP_FORM = re.compile(r"[0-9]{1,12}")
_SIGNATURE_FORM = re.compile(r"[0-9a-f]{64}")
_MISSING_HEADER_CODES = {
    KEY_HEADER: "MISSING_API_KEY",
    TIMESTAMP_HEADER: "MISSING_TIMESTAMP",
    SIGNATURE_HEADER: "MISSING_SIGNATURE",
}
_FAMILIES = frozenset(scope.partition(":")[0] for scope in SCOPES)
_VERBS = frozenset({"read", "write", "delete"})


@attrs.frozen
class Credentials:
    """An API key with its secret."""

    api_key: str
    api_secret: str = attrs.field(repr=False)
    key_id: str


@attrs.frozen(kw_only=True)
class Key:
    """A valid API key, with what its requests are checked against."""

    id: str
    user_id: str
    api_secret: str = attrs.field(repr=False)
    scopes: tuple[str, ...]
    rate_limit_tier: str
    ip_whitelist: tuple[str, ...]

    def allows(self, address: str | None) -> bool:
        """Return whether the key may be used from an address; an empty whitelist allows every address."""
        if not self.ip_whitelist:
            return True
        return address is not None and any(
            ipaddress.ip_address(address) in ipaddress.ip_network(entry, strict=False) for entry in self.ip_whitelist
        )


@attrs.frozen(kw_only=True)
class Grants:
    """What a key may do, how often, and from where."""

    scopes: tuple[str, ...] = attrs.field(converter=tuple[str, ...])
    tier: str
    ip_whitelist: tuple[str, ...] = attrs.field(converter=tuple[str, ...])

    def columns(self) -> Row:
        """Return the columns of the table that hold them.

        Raises:
            ApiError: 400, a scope, the tier or an address is invalid.
        """
        for scope in self.scopes:
            if not is_scope(scope):
                raise bad_request(f"scopes: {scope!r} is not a scope, such as dns:read or dns:*")
        if self.tier not in TIERS:
            raise bad_request(f"rate_limit_tier: {self.tier!r} is not one of {', '.join(TIERS)}")
        for address in self.ip_whitelist:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError:
                raise bad_request(f"ip_whitelist: {address!r} is neither an address nor a network") from None
        return {
            "scopes": list(self.scopes),
            "rate_limit_tier": self.tier,
            "ip_whitelist": list(self.ip_whitelist),
        }


def create_key(
    store: Store,
    grants: Grants,
    *,
    user_id: str,
    name: str,
    expires_at: int | None = None,
    environment: str = "live",
    api_key: str | None = None,
    api_secret: str | None = None,
) -> Credentials:
    """Add a key. A half that is not provided is generated.

    Raises:
        ApiError: 400, a scope, the tier or an address is invalid.
    """
    credentials = Credentials(
        api_key or f"pk_{environment}_{secrets.token_hex(16)}", api_secret or new_secret(environment), new_id()
    )
    store.insert(
        "api_key",
        {
            "id": credentials.key_id,
            "user_id": user_id,
            "name": name,
            "api_key": credentials.api_key,
            "api_secret": credentials.api_secret,
            **grants.columns(),
            "expires_at": expires_at,
            "created_at": store.now(),
        },
    )
    return credentials


def ensure_root_key(store: Store, grants: Grants, *, api_key: str | None, api_secret: str | None) -> Credentials:
    """Give the sandbox's own key these grants, create it if the database has none, and return it.

    Raises:
        ApiError: 400, a scope, the tier or an address is invalid.
    """
    key_id = store.setting(_ROOT_KEY_SETTING)
    if key_id is None or not store.exists("api_key", id=key_id):
        credentials = create_key(
            store, grants, user_id=root_id(store), name="Sandbox", api_key=api_key, api_secret=api_secret
        )
        store.set_setting(_ROOT_KEY_SETTING, credentials.key_id)
        return credentials
    halves = {"api_key": api_key, "api_secret": api_secret}
    replaced = {name: half for name, half in halves.items() if half is not None}
    store.update("api_key", key_id, {**grants.columns(), **replaced})
    row = store.connection.execute("SELECT api_key, api_secret FROM api_keys WHERE id = ?", (key_id,)).fetchone()
    return Credentials(row["api_key"], row["api_secret"], key_id)


def new_secret(environment: str) -> str:
    """Return a new secret half, `sk_live_…` or `sk_test_…`."""
    return f"sk_{environment}_{secrets.token_hex(24)}"


def is_api_key(text: str) -> bool:
    """Return whether a text has the form of an API key."""
    return _KEY_FORM.fullmatch(text) is not None


def is_scope(text: str) -> bool:
    """Return whether a text is a scope: a known one, one like `domains:*`, or `*:read`, `*:write` or `*:delete`."""
    family, _, verb = text.partition(":")
    return text in SCOPES or (verb == "*" and family in _FAMILIES) or (family == "*" and verb in _VERBS)


def require_scope(granted: tuple[str, ...], alternatives: tuple[str, ...]) -> None:
    """Raise unless one of the granted scopes covers an alternative (evidence: scope-alternatives, scope-wildcards).

    Guess: of several alternatives, the error names the first.

    Raises:
        ApiError: 403, with the missing scope and the granted ones.
    """
    if alternatives and not any(_covers(scope, required) for scope in granted for required in alternatives):
        raise ApiError(
            403,
            "apiErrors.external.insufficientScope",
            "Insufficient scope",
            f"the key lacks {' or '.join(alternatives)}",
            fields={"required_scope": alternatives[0], "available_scopes": list(granted)},
        )


def require_role(store: Store, key: Key, roles: tuple[str, ...]) -> None:
    """Raise unless the owner of the key has one of these roles, if there are any.

    Raises:
        ApiError: 403, the owner has another role.
    """
    if roles and role_of(store, key.user_id) not in roles:
        raise forbidden(f"the owner of the key must be {' or '.join(roles)}", message="Role not allowed")


def role_of(store: Store, user_id: str) -> str:
    """Return the role of an account."""
    return str(store.value("SELECT role FROM accounts WHERE id = ?", user_id))


def _covers(granted: str, required: str) -> bool:
    """Return whether a granted scope, such as `domains:*`, includes a required one."""
    family, _, verb = granted.partition(":")
    required_family, _, required_verb = required.partition(":")
    return family in {"*", required_family} and verb in {"*", required_verb}


def authenticate(request: HttpRequest, prefix: str, store: Store) -> Key:
    """Return the key that signed a request.

    Args:
        request: The request as received.
        prefix: Public prefix of its path, which the signature does not cover.
        store: The state, with the keys.

    Raises:
        ApiError: 401, the request is not signed by a valid key; 403, the sender's address is not on its whitelist.
    """
    key = identify(request, store)
    if not verify(
        key.api_secret,
        request.headers[SIGNATURE_HEADER],
        request.method,
        request.raw_path,
        request.raw_query,
        request.body,
        prefix=prefix,
        timestamp=request.headers[TIMESTAMP_HEADER],
        content_type=request.headers.get("Content-Type", ""),
    ):
        raise ApiError(401, "INVALID_SIGNATURE", "Invalid signature")
    if not key.allows(request.remote):
        raise forbidden(f"{request.remote} is not on the whitelist of the key", message="Address not allowed")
    return key


def identify(request: HttpRequest, store: Store) -> Key:
    """Return the key that the headers of a request name, without checking the signature.

    Raises:
        ApiError: 401, a header is missing or malformed, the timestamp is off, or the key is not valid.
    """
    for header, code in _MISSING_HEADER_CODES.items():
        if not request.headers.get(header):
            raise ApiError(401, code, "Authentication required", f"the header {header} is missing")
    api_key = request.headers[KEY_HEADER]
    if not is_api_key(api_key):
        raise ApiError(401, "INVALID_KEY_FORMAT", "Invalid API key format")
    timestamp = request.headers[TIMESTAMP_HEADER]
    if not _TIMESTAMP_FORM.fullmatch(timestamp) or abs(int(timestamp) - store.now()) > MAX_CLOCK_SKEW:
        raise ApiError(
            401, "INVALID_TIMESTAMP", "Invalid timestamp", f"more than {MAX_CLOCK_SKEW} s off, or not a number"
        )
    if not _SIGNATURE_FORM.fullmatch(request.headers[SIGNATURE_HEADER]):
        raise ApiError(401, "INVALID_SIGNATURE", "Invalid signature")
    row = store.connection.execute("SELECT * FROM api_keys WHERE api_key = ?", (api_key,)).fetchone()
    if row is None:
        raise ApiError(401, "UNAUTHORIZED", "Invalid API key")
    if row["revoked"]:
        raise ApiError(401, "UNAUTHORIZED", "API key revoked")
    if row["expires_at"] is not None and row["expires_at"] <= store.now():
        raise ApiError(401, "UNAUTHORIZED", "API key expired")
    return Key(
        id=row["id"],
        user_id=row["user_id"],
        api_secret=row["api_secret"],
        scopes=tuple(json.loads(row["scopes"])),
        rate_limit_tier=row["rate_limit_tier"],
        ip_whitelist=tuple(json.loads(row["ip_whitelist"])),
    )
