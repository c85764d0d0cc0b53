"""Checks a request as the panel does, without code from the package or urllib (evidence: signed-text).

METHOD + PATH + ["?" + RAWQUERY] + TIMESTAMP + BODY, without separators; lower-case hex HMAC-SHA256
"""

import hashlib
import time

from tests.support.raw_server import RawRequest

PREFIX = "/api/external"
# Seconds (evidence: clock-window).
_WINDOW = 300


def accepts(request: RawRequest, secret: str, *, prefix: str = PREFIX) -> bool:
    """Return whether the panel would accept the signature of a request made with a secret."""
    names = ("X-API-Key", "X-Timestamp", "X-Signature")
    if any(len(request.headers.getall(name, [])) != 1 for name in names):
        return False
    if not request.timestamp.isdecimal() or abs(int(request.timestamp) - time.time()) > _WINDOW:
        return False
    return request.signature == hexdigest(secret, string_to_sign(request, prefix=prefix))


def string_to_sign(request: RawRequest, *, prefix: str = PREFIX) -> bytes:
    """Return what is signed: the path decoded and without the prefix, the query as sent, no body of DELETE or forms."""
    raw_path, question_mark, raw_query = request.target.encode("latin-1").partition(b"?")
    assert raw_path.startswith(prefix.encode() + b"/v1/")
    path = percent_decoded(raw_path[len(prefix) :])
    # Go's r.URL.RawQuery is empty for a lone question mark: none is signed.
    query = question_mark + raw_query if raw_query else b""
    is_form = request.headers.get("Content-Type", "").startswith("multipart/")
    body = b"" if request.method == "DELETE" or is_form else request.body
    return request.method.encode() + path + query + request.timestamp.encode() + body


def hexdigest(secret: str, message: bytes) -> str:
    """Return the signature of a message: HMAC (RFC 2104) by hand, of SHA-256."""
    key = secret.encode()
    key = (hashlib.sha256(key).digest() if len(key) > 64 else key).ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + message).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).hexdigest()


def percent_decoded(text: bytes) -> bytes:
    """Replace %XX by its byte; a plus stays a plus."""
    first, *rest = text.split(b"%")
    return first + b"".join(bytes([int(part[:2], 16)]) + part[2:] for part in rest)


def path_of(request: RawRequest) -> str:
    """Return the path as a handler of the panel sees it."""
    return percent_decoded(request.target.removeprefix(PREFIX).partition("?")[0].encode()).decode()


def query_of(request: RawRequest) -> list[tuple[str, str]]:
    """Return the query as a handler of the panel sees it, with a plus read as a space."""
    query = request.target.partition("?")[2]
    pairs = [pair.partition("=") for pair in query.split("&")] if query else []
    return [(_decoded(name), _decoded(value)) for name, _, value in pairs]


def _decoded(text: str) -> str:
    return percent_decoded(text.replace("+", " ").encode()).decode()
