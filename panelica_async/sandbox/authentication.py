"""Who sends a request: the checks of panel-facts A.5, in its order.

Guesses: that order; the code UNAUTHORIZED for a key that is unknown, revoked or expired; 403 FORBIDDEN for an
address that is not on the key's whitelist; exactly 300 s off still counts as in time.
"""

import re

from panelica_async.core.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify
from panelica_async.sandbox.auth import Key, find_key
from panelica_async.sandbox.exchange import Request
from panelica_async.sandbox.messages import ApiError, forbidden
from panelica_async.sandbox.store import Store

WINDOW_SECONDS = 300

# "mobile app pairing makes mk_… keys" (panel-facts A.4).
_KEY = re.compile(r"(?:pk_(?:live|test)|mk)_\w+", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_MISSING = {
    KEY_HEADER: "MISSING_API_KEY",
    TIMESTAMP_HEADER: "MISSING_TIMESTAMP",
    SIGNATURE_HEADER: "MISSING_SIGNATURE",
}


def is_key(text: str) -> bool:
    """Tell whether a text has the form of an API key."""
    return _KEY.fullmatch(text) is not None


def authenticate(request: Request, prefix: str, store: Store) -> Key:
    """Return the key that signed a request.

    Args:
        request: The request as it came.
        prefix: Public prefix of its path, which is not signed.
        store: Where the keys are.

    Raises:
        ApiError: 401, or 403 when the sender's address is not on the key's whitelist.
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
    if not key.admits(request.remote):
        raise forbidden(f"{request.remote} is not on the whitelist of the key", message="Address not allowed")
    return key


def identify(request: Request, store: Store) -> Key:
    """Return the key a request names, by its headers alone; the signature is for `authenticate` to check.

    Raises:
        ApiError: 401, a header is missing or malformed, the timestamp is off, or the key cannot be used.
    """
    for header, code in _MISSING.items():
        if not request.headers.get(header):
            raise ApiError(401, code, "Authentication required", f"the header {header} is missing")
    api_key = request.headers[KEY_HEADER]
    if not is_key(api_key):
        raise ApiError(401, "INVALID_KEY_FORMAT", "Invalid API key format")
    stamp = request.headers[TIMESTAMP_HEADER]
    if not _TIMESTAMP.fullmatch(stamp) or abs(int(stamp) - store.now()) > WINDOW_SECONDS:
        raise ApiError(
            401, "INVALID_TIMESTAMP", "Invalid timestamp", f"more than {WINDOW_SECONDS} s off, or not a number"
        )
    if not _SIGNATURE.fullmatch(request.headers[SIGNATURE_HEADER]):
        raise ApiError(401, "INVALID_SIGNATURE", "Invalid signature")
    return _usable(find_key(store, api_key), store.now())


def _usable(key: Key | None, now: int) -> Key:
    if key is None:
        raise ApiError(401, "UNAUTHORIZED", "Invalid API key")
    if key.revoked:
        raise ApiError(401, "UNAUTHORIZED", "API key revoked")
    if key.expires_at is not None and key.expires_at <= now:
        raise ApiError(401, "UNAUTHORIZED", "API key expired")
    return key
