"""What a reply holds, with or without an envelope around it.

Panels answer `{"status": "success", "data": …}`, the published reference shows bare objects and arrays
(panel-facts B.1, G.5). Both are accepted everywhere. An object is taken for an envelope when, and only when,

1. its `status` is `success` or `error`, and it has `data`; or
2. its `status` is `success` or `error`, and every other key belongs to an envelope or to an error
   (`message`, `error`, `code`, `request_id`, …); or
3. it has no `status`, it has `data`, and every other key belongs to an envelope (`total`, `page`, …).

So a domain whose `status` is `active`, a health reply (`healthy`, `ok`), a service whose `status` is `error`,
a delivery `{"id": …, "status": "success"}` and an object with other fields beside `data` stay what they are.
"""

from collections.abc import Mapping
from typing import Any

from attrs import define

from panelica_async.core.json_codec import JsonValue
from panelica_async.errors import DecodeError

_ENVELOPE_KEYS = frozenset({"status", "data", "message", "total", "page", "limit", "request_id"})
_ERROR_KEYS = frozenset(
    {"error", "code", "details", "required_scope", "available_scopes", "retry_after", "reset_at", "window"}
)


@define
class Envelope:
    """A reply taken apart.

    Attributes:
        data: What the reply is about; None when it only confirms.
        message: What the panel says besides, if anything.
        total: Number of items on all pages, if the panel says.
        page: Number of this page, from 1, if the panel says.
        limit: Items on a page, if the panel says.
        failed: Whether the body reports an error, whatever the HTTP status.
        request_id: Id to quote to the panel's support, if the envelope has one.
    """

    data: Any
    message: str | None = None
    total: int | None = None
    page: int | None = None
    limit: int | None = None
    failed: bool = False
    request_id: str | None = None


def unwrap(payload: JsonValue) -> Envelope:
    """Take the envelope off a decoded reply, if it has one; the module says how that is told."""
    if not isinstance(payload, dict) or not _is_envelope(payload):
        return Envelope(payload)
    message, request_id = payload.get("message"), payload.get("request_id")
    return Envelope(
        data=payload.get("data"),
        message=message if isinstance(message, str) else None,
        total=_count(payload.get("total")),
        page=_count(payload.get("page")),
        limit=_count(payload.get("limit")),
        # "An HTTP 200 whose JSON says "status":"error" is an error" (panel-facts B.1).
        failed=payload.get("status") == "error",
        request_id=request_id if isinstance(request_id, str) else None,
    )


def items(data: JsonValue, key: str | None = None, *, endpoint: str = "") -> list[Any]:
    """Return the rows of a list reply.

    Args:
        data: `Envelope.data`. None is an empty list. Guess: Go servers write an empty slice as null, or leave
            it out.
        key: Key that holds the rows on some panels, as in `data.files` (panel-facts B.1).
        endpoint: Method and path, for the error.

    Raises:
        DecodeError: There is no list.
    """
    json_path = "$"
    if key is not None and isinstance(data, Mapping):
        json_path = f"$.{key}"
        if key not in data:
            raise DecodeError(f"expected a list, found an object without {key}", endpoint=endpoint)
        data = data[key]
    if data is None:
        return []
    if isinstance(data, list):
        return data
    if isinstance(data, Mapping):
        found = f"an object with {', '.join(data) or 'no keys'}"
    else:
        found = f"a {type(data).__name__}"
    raise DecodeError(f"expected a list, found {found}", endpoint=endpoint, json_path=json_path)


def _is_envelope(payload: Mapping[str, JsonValue]) -> bool:
    status = payload.get("status")
    if status == "success" or status == "error":
        return "data" in payload or payload.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS
    return "data" in payload and "status" not in payload and payload.keys() <= _ENVELOPE_KEYS


def _count(value: JsonValue) -> int | None:
    # "Numbers may come as text" (panel-facts B.3).
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if type(value) is int and value >= 0 else None
