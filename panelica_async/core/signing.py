"""Signs requests for the client, and verifies signatures for the sandbox.

    METHOD + PATH + ["?" + RAWQUERY] + TIMESTAMP + BODY, without separators; lower-case hex HMAC-SHA256

The path is percent-decoded and starts at `/v1`, the query stays byte for byte as sent (evidence: signed-text).
"""

import hashlib
import hmac
from urllib.parse import unquote

from multidict import istr

from panelica_async.errors import ConfigurationError

# As `istr`, whose case multidict does not have to fold at each lookup.
KEY_HEADER = istr("X-API-Key")
TIMESTAMP_HEADER = istr("X-Timestamp")
SIGNATURE_HEADER = istr("X-Signature")

# Pairing the mobile app makes mk_… keys (evidence: key-forms).
_KEY_PREFIXES = ("pk_", "mk_")
_SECRET_PREFIXES = ("sk_",)
_BLOCK_LENGTH = 64
"""Bytes in a block of SHA-256."""
_CREDENTIALS_HINT = "api_key is the public half (pk_…), api_secret the half that was shown once (sk_…)."


def signed_path(raw_path: str, prefix: str = "") -> str:
    """Turn the path on the wire into the path that is signed.

    Args:
        raw_path: Path as sent, percent-encoded, without query.
        prefix: Public prefix that the panel's web server removes, such as `/api/external`; empty if there is none.

    Returns:
        The percent-decoded path without the prefix. `+` stays `+`; bytes that are not UTF-8 become surrogate
        escapes, which `string_to_sign` turns back into the same bytes.
    """
    if prefix and raw_path.startswith(f"{prefix}/"):
        raw_path = raw_path[len(prefix) :]
    # A space is sent as %20 and signed as a space (evidence: signed-path).
    return unquote(raw_path, errors="surrogateescape") if "%" in raw_path else raw_path


def string_to_sign(
    method: str, path: str, raw_query: str, timestamp: str, body: bytes, *, content_type: str = ""
) -> bytes:
    """Assemble the bytes whose HMAC is the signature.

    Args:
        method: HTTP method in any case.
        path: Path from `signed_path`.
        raw_query: Query as sent, without its `?`; empty when there is none.
        timestamp: Unix seconds in decimal, as in the header.
        body: Body as sent.
        content_type: Content-Type header of the request, if it has one.
    """
    query = f"?{raw_query}" if raw_query else ""
    target = f"{method.upper()}{path}{query}{timestamp}".encode("utf-8", "surrogateescape")
    return target + body if body and signs_body(method, content_type) else target


def signs_body(method: str, content_type: str) -> bool:
    """Return whether the body of a request is signed.

    The body of DELETE and of multipart is sent, but not signed (evidence: signed-body).
    """
    return method.upper() != "DELETE" and not content_type.lower().startswith("multipart/")


class Signer:
    """Signs requests with one API key.

    Args:
        api_key: Public half of the key, `pk_live_…`.
        api_secret: Secret half, `sk_live_…`. It is kept only inside the state of the hash.

    Raises:
        ConfigurationError: One of them is empty or not plain ASCII, or they are swapped.
    """

    __slots__ = ("_inner", "_outer", "api_key")

    def __init__(self, api_key: str, api_secret: str) -> None:
        _check_credential("api_key", api_key, other_prefixes=_SECRET_PREFIXES)
        _check_credential("api_secret", api_secret, other_prefixes=_KEY_PREFIXES)
        self.api_key: str = api_key
        # The two halves of HMAC (RFC 2104): copying them takes half the time of copying an object of `hmac`.
        key = api_secret.encode("ascii")
        block = (key if len(key) <= _BLOCK_LENGTH else hashlib.sha256(key).digest()).ljust(_BLOCK_LENGTH, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def __repr__(self) -> str:
        return f"<Signer {self.api_key[:8]}…>"

    def headers(
        self,
        method: str,
        raw_path: str,
        raw_query: str,
        body: bytes,
        *,
        timestamp: int,
        content_type: str = "",
    ) -> dict[str, str]:
        """Return the three headers that authenticate a request.

        Args:
            method: HTTP method.
            raw_path: Path as sent, percent-encoded, without the prefix of the address.
            raw_query: Query as sent, without its `?`.
            body: Body as sent.
            timestamp: Unix time in whole seconds; the panel refuses one that is more than 300 s off.
            content_type: Content-Type header of the request, if it has one.
        """
        seconds = str(timestamp)
        path = signed_path(raw_path) if "%" in raw_path else raw_path
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(string_to_sign(method, path, raw_query, seconds, body, content_type=content_type))
        outer.update(inner.digest())
        return {KEY_HEADER: self.api_key, TIMESTAMP_HEADER: seconds, SIGNATURE_HEADER: outer.hexdigest()}


def verify(
    api_secret: str,
    signature: str,
    method: str,
    raw_path: str,
    raw_query: str,
    body: bytes,
    *,
    prefix: str,
    timestamp: str,
    content_type: str = "",
) -> bool:
    """Return whether a signature matches a request, in constant time.

    Args:
        api_secret: Secret half of the key that the request names.
        signature: X-Signature header as received.
        method: HTTP method.
        raw_path: Path as received, percent-encoded.
        raw_query: Query as received, without its `?`.
        body: Body as received.
        prefix: Public prefix to remove from the path, if the path has it.
        timestamp: X-Timestamp header as received; its age is not checked.
        content_type: Content-Type header as received.
    """
    message = string_to_sign(
        method, signed_path(raw_path, prefix), raw_query, timestamp, body, content_type=content_type
    )
    expected = hmac.new(api_secret.encode(), message, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape"))


def _check_credential(name: str, value: object, *, other_prefixes: tuple[str, ...]) -> None:
    """Refuse an invalid credential in an error that does not quote it."""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}", hint=_CREDENTIALS_HINT)
    if not value:
        raise ConfigurationError(f"{name} is missing", hint=_CREDENTIALS_HINT)
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ConfigurationError(
            f"{name} contains characters that no credential has (spaces, line breaks, control or non-ASCII characters)",
            hint="Copy it again without quotes, spaces or line breaks around it.",
        )
    if value.startswith(("'", '"')):
        problem = f"{name} starts with a quote, which belongs to the file or command that it comes from"
        raise ConfigurationError(problem, hint="Remove the quotes: Docker's --env-file, for one, passes them on.")
    if value.startswith(other_prefixes):
        raise ConfigurationError(
            f"{name} starts with {value[:3]!r}: api_key and api_secret are swapped", hint=_CREDENTIALS_HINT
        )
