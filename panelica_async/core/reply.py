"""Reads a reply: removes its envelope, finds the list or object, and recognises a failure sent with a 200.

`unwrap` removes the envelope, `unwrap_list` and `find_object` find the requested rows or object in the data, and
`translate_reply` gives their fields the names of the published reference.

Panels answer `{"status": "success", "data": …}`, the published reference shows bare objects and arrays
(evidence: envelope). Both are accepted everywhere. An object is taken for an envelope when, and only when,

1. its `status` is `success` or `error`, in any case, and it has `data`; or
2. its `status` is `success` or `error`, and every other key belongs to an envelope or to an error
   (`message`, `error`, `code`, `request_id`, …); or
3. it has no `status`, it has `data`, and every other key belongs to an envelope (`total`, `page`, …), or to an error
   that is null or empty.

Guess: a flag `success`, `ok` or `status` says the same, as text or as 0 and 1 too, so does `"status": "ok"` beside
`data`, and what is wrapped twice is unwrapped twice. A word in `result` counts like one in `status`, and a number in
`status` from 200 to 599 is an HTTP status. Beside `data`, a whole number in `code` other than 0 and 200 to 299 is an
error.

The length of a list stands beside its rows, or in `pagination` or `meta` there. Guess: the names of other panels and
frameworks for the same figures are read too; the reference has only `total`, `page` and `limit`.

A reply reports a failure, whatever the HTTP status, when it is an envelope whose `status` is `error`. Guess: so does an
object with `success: false`, one without id and name whose `status` is `error` or `fail` and that says more, and one
without a status that holds an error and no data. A write that failed must not pass for one whose reply shows little.

So a domain whose `status` is `active`, a health reply (`healthy`, `ok`), a service whose `status` is `error`,
a delivery `{"id": …, "status": "success"}` and an object with other fields beside `data` stay what they are.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast, get_origin

from attrs import define, evolve, field

from panelica_async.core.json_codec import JsonValue
from panelica_async.core.model import Model, fields_of, json_names, unwrap_optional
from panelica_async.core.operation import Wire
from panelica_async.core.redaction import first_few, shorten
from panelica_async.errors import DecodeError

_TOTAL = ("total", "total_count", "total_items")
_PAGE = ("page", "current_page")
_LIMIT = ("limit", "per_page", "page_size")
_LAST_PAGE = ("total_pages", "last_page")
_HAS_MORE = ("has_more", "has_next")
_NEXT = ("next", "next_page", "next_page_url", "next_cursor")
_KEYS_SHOWN = 10
_COUNT = re.compile(r"[0-9]{1,18}")
_PAGINATION = ("meta", "pagination")
_ROWS = ("data", "items", "rows", "results", "list")
_SUCCESS, _ERROR = "success", "error"
_FAILED = frozenset({_ERROR, "fail", "failed", "failure"})
_ERRORS = ("error", "errors")
_FLAGS = ("success", "ok")
_FLAG_VALUES = {"true": True, "1": True, "false": False, "0": False}
_ENVELOPE_KEYS = frozenset(
    {"status", "data", "message", "msg", "request_id", "links", "previous", "prev", "has_previous", "count"}
    | {*_TOTAL, *_PAGE, *_LIMIT, *_LAST_PAGE, *_HAS_MORE, *_NEXT, *_PAGINATION}
)
_ERROR_KEYS = frozenset(
    {
        *_FLAGS,
        "result",
        "statusCode",
        "status_code",
        *_ERRORS,
        "code",
        "details",
        "required_scope",
        "available_scopes",
        "retry_after",
        "reset_at",
        "window",
    }
)
_DECISIVE_KEYS = frozenset({"data", *_FLAGS})
"""Without one of these, an object with an id is no envelope, whatever else it has."""
_PLAIN_KEYS = frozenset({"status", "data", "message", "request_id"})
"""An envelope with no other keys says nothing about a list and holds nothing beside its data."""
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_ANY_OBJECT = frozenset({"object", "item", "result", "record", "resource"})
_OTHER_NAMES = {"Account": "user"}
"""What panels call a kind otherwise: the id of an account is a `user_id`."""


@define
class Envelope:
    """A reply taken apart.

    Attributes:
        data: What the reply is about; None when it only confirms.
        other_fields: Other keys of the envelope, such as the id of a new object.
        message: What the panel says besides, if anything.
        total: Number of items on all pages, if the panel says.
        page: Number of this page, from 1, if the panel says.
        limit: Items on a page, if the panel says.
        last_page: Number of the last page, if the panel says.
        has_more: Whether more pages follow, if the panel says.
        failed: Whether the body reports an error, whatever the HTTP status.
        request_id: Id to quote to the panel's support, if the envelope has one.
    """

    data: Any = field(repr=False)
    other_fields: Mapping[str, Any] = field(default=_NOTHING, repr=False, eq=False)
    message: str | None = None
    total: int | None = None
    page: int | None = None
    limit: int | None = None
    last_page: int | None = None
    has_more: bool | None = None
    failed: bool = False
    request_id: str | None = None


def unwrap(payload: JsonValue) -> Envelope:
    """Return a decoded reply as an envelope, by the rules in the docstring of this module."""
    if not isinstance(payload, dict) or ("id" in payload and _DECISIVE_KEYS.isdisjoint(payload)):
        return Envelope(payload)
    outcome = _outcome(payload)
    has_failed = _reports_failure(payload, outcome)
    if not has_failed and not _is_envelope(payload, outcome):
        return Envelope(payload)
    inner = payload.get("data")
    if isinstance(inner, dict) and _wraps_again(inner) and not has_failed:
        payload = {**payload, **inner}
    message, request_id = payload.get("message"), payload.get("request_id")
    more: dict[str, Any] = {}
    if not payload.keys() <= _PLAIN_KEYS:
        more = _read_figures(_figures(payload))
        more["other_fields"] = {name: value for name, value in payload.items() if name not in _ENVELOPE_KEYS}
    return Envelope(
        data=payload.get("data"),
        message=message if isinstance(message, str) else None,
        failed=has_failed,
        request_id=request_id if isinstance(request_id, str) else None,
        **more,
    )


def unwrap_list(envelope: Envelope, key: str | None = None, *, endpoint: str = "") -> Envelope:
    """Return the envelope of a list with the rows as its data.

    Args:
        envelope: The reply. No data is an empty list. Guess: Go servers write an empty slice as null, or leave it out.
        key: Key that holds the rows on some panels, as in `data.files` (evidence: envelope-list-keys). Guess: where it
            is missing or unknown, rows stand under the last word of the path, or under `items` or another such name.
        endpoint: Method and path.

    Raises:
        DecodeError: There is no list.
    """
    data: JsonValue = envelope.data
    rows, json_path = data, "$"
    if isinstance(data, dict):
        if key not in data:
            guesses = [name for name in _row_names(endpoint) if name in data]
            # A count may have the name of the rows.
            key = next((name for name in guesses if isinstance(data[name], list)), guesses[0] if guesses else key)
        if key is not None:
            if key not in data:
                raise DecodeError(f"expected a list, found an object without {key}", endpoint=endpoint)
            rows, json_path = data[key], f"$.{key}"
            # What stands beside the object counts for more than what stands in it.
            within = _read_figures(_figures(data)).items()
            envelope = evolve(envelope, **{name: value for name, value in within if getattr(envelope, name) is None})
    if rows is None or isinstance(rows, list):
        return evolve(envelope, data=rows or [])
    found = type(rows).__name__
    if isinstance(rows, dict):
        found = f"an object with {shorten(first_few(list(rows), _KEYS_SHOWN)) or 'no keys'}"
    raise DecodeError(f"expected a list, found {found}", endpoint=endpoint, json_path=json_path)


def _row_names(endpoint: str) -> tuple[str, ...]:
    """Return what the rows of an endpoint may be called: `email-accounts` also `email_accounts` and `accounts`."""
    last = endpoint.rpartition("/")[2]
    return last, last.replace("-", "_"), last.rpartition("-")[2], *_ROWS


def _is_envelope(payload: Mapping[str, JsonValue], outcome: str | None) -> bool:
    if outcome in {_SUCCESS, _ERROR}:
        return "data" in payload or payload.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS
    if "data" not in payload or outcome not in {None, "ok"}:
        return False
    said = {name: value for name, value in payload.items() if name not in _ENVELOPE_KEYS}
    return said.keys() <= _ERROR_KEYS and all(map(_is_no_error, said.values()))


def _is_no_error(value: JsonValue) -> bool:
    """Return whether a value says that there is no error: nothing, zero, or the HTTP status of a success."""
    return not value or (type(value) is int and 200 <= value < 300)


def _wraps_again(data: Mapping[str, JsonValue]) -> bool:
    """Return whether the data of an envelope is an envelope, and no object of which `status` and `data` are fields."""
    return "data" in data and _outcome(data) == _SUCCESS and data.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS


def _reports_failure(payload: Mapping[str, JsonValue], outcome: str | None) -> bool:
    if outcome is None:
        code = payload.get("code")
        has_code = "data" in payload and type(code) is int and not _is_no_error(code)
        has_error = has_code or any(payload.get(name) for name in _ERRORS)
        return has_error and not payload.get("data") and payload.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS
    if _flag(payload) is False or (outcome == _ERROR and _is_envelope(payload, outcome)):
        # A 200 can report a failure (evidence: envelope-error-200).
        return True
    if outcome not in _FAILED or "id" in payload or "name" in payload:
        return False
    return any(payload.get(name) for name in ("message", "data", *_ERRORS))


def _outcome(payload: Mapping[str, JsonValue]) -> str | None:
    """Return how a reply says that it went, in lower case; None when it says nothing."""
    said = payload.get("status")
    flag = _flag(payload)
    if flag is None and isinstance(said, bool):
        flag = said
    if flag is not None:
        return _SUCCESS if flag else _ERROR
    if said is None and isinstance(payload.get("result"), str):
        said = payload["result"]
    if type(said) is int and 200 <= said < 600:
        return "ok" if said < 400 else _ERROR
    return said.lower() if isinstance(said, str) else None if said is None else ""


def _flag(payload: Mapping[str, JsonValue]) -> bool | None:
    """Return the flag of a reply, which may come as text or as 0 and 1."""
    for name in _FLAGS:
        if name in payload and (flag := _FLAG_VALUES.get(str(payload[name]).lower())) is not None:
            return flag
    return None


def _read_figures(figures: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Return what an envelope says about a list, by the names of `Envelope`."""
    return {
        "total": _count(figures, _TOTAL),
        "page": _count(figures, _PAGE),
        "limit": _count(figures, _LIMIT),
        "last_page": _count(figures, _LAST_PAGE),
        "has_more": _has_more(figures),
    }


def _figures(payload: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return an envelope with what stands in `pagination` or `meta`, which is about the list and counts for more."""
    figures = payload
    for name in _PAGINATION:
        part = figures.get(name)
        if isinstance(part, dict):
            # A null says nothing.
            figures = {**figures, **{key: value for key, value in part.items() if value is not None or key in _NEXT}}
    return figures


def _count(figures: Mapping[str, JsonValue], names: tuple[str, ...]) -> int | None:
    """Return the first of several figures that is a count."""
    for name in names:
        value = figures.get(name)
        # Numbers may come as text (evidence: numbers-as-text). Longer ones are no counts, and too long for int().
        if isinstance(value, str) and _COUNT.fullmatch(value):
            return int(value)
        if type(value) is int and value >= 0:
            return value
    return None


def _has_more(figures: Mapping[str, JsonValue]) -> bool | None:
    for name in _HAS_MORE:
        # Flags may come as text, as numbers do (evidence: numbers-as-text).
        if (said := _FLAG_VALUES.get(str(figures.get(name)).lower())) is not None:
            return said
    links = figures.get("links")
    following = {**figures, **links} if isinstance(links, dict) else figures
    for name in _NEXT:
        if name in following:
            # An address, a number or a cursor; null, false and an empty text say that there is none.
            return bool(following[name])
    return None


def find_object(data: JsonValue, kind: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the object in the data of a reply, wherever it is.

    Guess: it may stand under the name of its kind, as `data.backup` does for WordPress (evidence: wordpress), or under
    a word for any object. What stands under another name is another object, such as the zone of a new domain.
    """
    if not isinstance(data, dict) or "id" in data:
        return data
    ids = {"id", *json_names(kind).get("id", ())}
    if not ids.isdisjoint(data):
        return data
    inner = [name for name, value in data.items() if _is_name_of(kind, name) and _has_one_of(ids, value)]
    return data if len(inner) != 1 or _is_part(inner[0], data, kind, arguments) else data[inner[0]]


def _has_one_of(ids: set[str], value: object) -> bool:
    return isinstance(value, dict) and not ids.isdisjoint(cast("dict[str, Any]", value))


def _is_part(name: str, shown: Mapping[str, Any], kind: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether an object within another is a part of it, such as its owner, whose id is not its own."""
    names = {*arguments, *(name for several in json_names(kind).values() for name in several)}
    if f"{name}_id" in names:
        return True
    if any(name in json_names(kind)[field.name] and _holds_object(field.type) for field in fields_of(kind)):
        return True
    return not names.isdisjoint(shown.keys() - {name, "message", "status"})


def _holds_object(type_: Any) -> bool:
    inner = unwrap_optional(type_) or type_
    return get_origin(inner) is dict or (isinstance(inner, type) and issubclass(inner, Model))


def _is_name_of(kind: Any, name: str) -> bool:
    """Return whether a name is that of a kind: `email_account` and `account` of `EmailAccount`; or of any object."""
    if name in _ANY_OBJECT or name == _OTHER_NAMES.get(kind.__name__):
        return True
    return re.sub("[A-Z]", r"_\g<0>", kind.__name__).lower().endswith(f"_{name}")


def translate_reply(data: object, wire: Wire, kind: type[Model]) -> Any:
    """Return what a reply shows, an object or several, under the names and with the values of the contract."""
    if isinstance(data, list):
        return [translate_reply(row, wire, kind) for row in cast("list[object]", data)]
    if not isinstance(data, dict):
        return data
    row = cast("dict[str, Any]", data)
    found, names = row.copy(), json_names(kind)
    for attribute, there in wire.reply_fields.items():
        if row.get(there) is None or attribute not in names:
            continue
        # A name that also belongs to another field keeps its value.
        if not any(there in several for several in names.values()):
            del found[there]
        found[names[attribute][0]] = row[there]
    for attribute, values in wire.reply_values.items():
        for name in names.get(attribute, ()):
            if name in found:
                found[name] = _renamed(found[name], values)
    return found


def _renamed(value: object, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in cast("list[object]", value)]
    return value
