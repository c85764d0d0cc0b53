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

Guess: a flag `success`, `ok` or `status`, as a boolean, as text or as 0 and 1, says the same as a `status`, and so does
`"status": "ok"` beside `data`; an envelope inside an envelope is removed, too. A word in `result` counts as `status`,
and a number from 200 to 599 in `status` is an HTTP status. Beside `data`, a whole number in `code` is an error unless
it is 0 or from 200 to 299.

The length of a list stands beside its rows, or in `pagination` or `meta` there. Guess: the names that other panels and
frameworks use for it are read as well; the reference has only `total`, `page` and `limit`.

A reply reports a failure, whatever the HTTP status, when it is an envelope whose `status` is `error`. Guess: so does an
object with `success: false`; one without id and name whose `status` is `error` or `fail`, with a message, an error or
data; and one without a status that has an error and no data. A failed write must not be taken for a thin reply.

So these are no envelopes: a domain whose `status` is `active`, a health reply (`healthy`, `ok`), a service whose
`status` is `error`, a delivery `{"id": …, "status": "success"}`, and an object with other fields beside `data`.
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
_COUNT_TEXT = re.compile(r"[0-9]{1,18}")
_PAGINATION = ("meta", "pagination")
_COMMON_ROW_KEYS = ("data", "items", "rows", "results", "list")
_SUCCESS, _ERROR = "success", "error"
_FAILURE_WORDS = frozenset({_ERROR, "fail", "failed", "failure"})
_ERROR_FIELDS = ("error", "errors")
_SUCCESS_FLAGS = ("success", "ok")
_FLAG_VALUES = {"true": True, "1": True, "false": False, "0": False}
_ENVELOPE_KEYS = frozenset(
    {"status", "data", "message", "msg", "request_id", "links", "previous", "prev", "has_previous", "count"}
    | {*_TOTAL, *_PAGE, *_LIMIT, *_LAST_PAGE, *_HAS_MORE, *_NEXT, *_PAGINATION}
)
_ERROR_KEYS = frozenset(
    {
        *_SUCCESS_FLAGS,
        "result",
        "statusCode",
        "status_code",
        *_ERROR_FIELDS,
        "code",
        "details",
        "required_scope",
        "available_scopes",
        "retry_after",
        "reset_at",
        "window",
    }
)
_DECISIVE_KEYS = frozenset({"data", *_SUCCESS_FLAGS})
"""Without one of these, an object with an id is never an envelope."""
_PLAIN_KEYS = frozenset({"status", "data", "message", "request_id"})
"""An envelope with only these keys says nothing about a list, and has no other fields."""
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
_GENERIC_NAMES = frozenset({"object", "item", "result", "record", "resource"})
_PANEL_NAMES = {"Account": "user"}
"""Other names of models on panels: an account is a user there."""


@define
class Envelope:
    """A decoded reply, with its data apart from its envelope.

    Attributes:
        data: The object, list or other content of the reply; None if it only confirms.
        other_fields: Further keys beside the data, such as the id of a new object.
        message: Message of the panel, if there is one.
        total: Number of items on all pages, if the panel says.
        page: Number of this page, from 1, if the panel says.
        limit: Items per page, if the panel says.
        last_page: Number of the last page, if the panel says.
        has_more: Whether more pages follow, if the panel says.
        failed: Whether the body reports an error, whatever the HTTP status.
        request_id: Id to quote to the panel's support, if the envelope has one.
    """

    data: Any = field(repr=False)
    other_fields: Mapping[str, Any] = field(default=_NO_FIELDS, repr=False, eq=False)
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
    if isinstance(inner, dict) and _is_inner_envelope(inner) and not has_failed:
        payload = {**payload, **inner}
    message, request_id = payload.get("message"), payload.get("request_id")
    further: dict[str, Any] = {}
    if not payload.keys() <= _PLAIN_KEYS:
        further = _read_pagination(_with_pagination(payload))
        further["other_fields"] = {name: value for name, value in payload.items() if name not in _ENVELOPE_KEYS}
    return Envelope(
        data=payload.get("data"),
        message=message if isinstance(message, str) else None,
        failed=has_failed,
        request_id=request_id if isinstance(request_id, str) else None,
        **further,
    )


def unwrap_list(envelope: Envelope, key: str | None = None, *, endpoint: str = "") -> Envelope:
    """Return the envelope of a list, with the rows as its data.

    Args:
        envelope: The reply. No data is an empty list. Guess: Go servers write an empty slice as null, or omit it.
        key: Key of the rows on some panels, as in `data.files` (evidence: envelope-list-keys). Guess: if it is missing
            or unknown, the rows are under the last word of the path, or under a common name such as `items`.
        endpoint: Method and path.

    Raises:
        DecodeError: The reply contains no list.
    """
    data: JsonValue = envelope.data
    rows, json_path = data, "$"
    if isinstance(data, dict):
        if key not in data:
            guesses = [name for name in _row_keys(endpoint) if name in data]
            # A count may have the same name as the rows.
            key = next((name for name in guesses if isinstance(data[name], list)), guesses[0] if guesses else key)
        if key is not None:
            if key not in data:
                raise DecodeError(f"expected a list, found an object without {key}", endpoint=endpoint)
            rows, json_path = data[key], f"$.{key}"
            # Values beside the object take precedence over those inside it.
            inner = _read_pagination(_with_pagination(data)).items()
            envelope = evolve(envelope, **{name: value for name, value in inner if getattr(envelope, name) is None})
    if rows is None or isinstance(rows, list):
        return evolve(envelope, data=rows or [])
    found = type(rows).__name__
    if isinstance(rows, dict):
        found = f"an object with {shorten(first_few(list(rows), _KEYS_SHOWN)) or 'no keys'}"
    raise DecodeError(f"expected a list, found {found}", endpoint=endpoint, json_path=json_path)


def _row_keys(endpoint: str) -> tuple[str, ...]:
    """Return possible keys of the rows: `email-accounts`, `email_accounts`, `accounts`, and common names."""
    last = endpoint.rpartition("/")[2]
    return last, last.replace("-", "_"), last.rpartition("-")[2], *_COMMON_ROW_KEYS


def _is_envelope(payload: Mapping[str, JsonValue], outcome: str | None) -> bool:
    if outcome in {_SUCCESS, _ERROR}:
        return "data" in payload or payload.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS
    if "data" not in payload or outcome not in {None, "ok"}:
        return False
    others = {name: value for name, value in payload.items() if name not in _ENVELOPE_KEYS}
    return others.keys() <= _ERROR_KEYS and all(map(_means_no_error, others.values()))


def _means_no_error(value: JsonValue) -> bool:
    """Return whether the value of an error field means that there is no error: empty, zero, or a 2xx status."""
    return not value or (type(value) is int and 200 <= value < 300)


def _is_inner_envelope(data: Mapping[str, JsonValue]) -> bool:
    """Return whether the data of an envelope is an envelope, and not an object with fields `status` and `data`."""
    return "data" in data and _outcome(data) == _SUCCESS and data.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS


def _reports_failure(payload: Mapping[str, JsonValue], outcome: str | None) -> bool:
    if outcome is None:
        code = payload.get("code")
        has_code = "data" in payload and type(code) is int and not _means_no_error(code)
        has_error = has_code or any(payload.get(name) for name in _ERROR_FIELDS)
        return has_error and not payload.get("data") and payload.keys() <= _ENVELOPE_KEYS | _ERROR_KEYS
    if _success_flag(payload) is False or (outcome == _ERROR and _is_envelope(payload, outcome)):
        # A 200 can report a failure (evidence: envelope-error-200).
        return True
    if outcome not in _FAILURE_WORDS or "id" in payload or "name" in payload:
        return False
    return any(payload.get(name) for name in ("message", "data", *_ERROR_FIELDS))


def _outcome(payload: Mapping[str, JsonValue]) -> str | None:
    """Return the outcome that a reply states, in lower case; None if it states none."""
    status = payload.get("status")
    flag = _success_flag(payload)
    if flag is None and isinstance(status, bool):
        flag = status
    if flag is not None:
        return _SUCCESS if flag else _ERROR
    if status is None and isinstance(payload.get("result"), str):
        status = payload["result"]
    if status is None:
        return None
    if type(status) is int and 200 <= status < 600:
        return "ok" if status < 400 else _ERROR
    return status.lower() if isinstance(status, str) else ""


def _success_flag(payload: Mapping[str, JsonValue]) -> bool | None:
    """Return the success flag of a reply, which may be text or a number; None if it has none."""
    for name in _SUCCESS_FLAGS:
        if name in payload and (flag := _FLAG_VALUES.get(str(payload[name]).lower())) is not None:
            return flag
    return None


def _read_pagination(fields: Mapping[str, JsonValue]) -> dict[str, Any]:
    """Return what a reply says about a list, as attributes of `Envelope`."""
    return {
        "total": _first_count(fields, _TOTAL),
        "page": _first_count(fields, _PAGE),
        "limit": _first_count(fields, _LIMIT),
        "last_page": _first_count(fields, _LAST_PAGE),
        "has_more": _has_more(fields),
    }


def _with_pagination(payload: Mapping[str, JsonValue]) -> Mapping[str, JsonValue]:
    """Return the fields of a reply together with those in `pagination` or `meta`, which take precedence."""
    fields = payload
    for name in _PAGINATION:
        part = fields.get(name)
        if isinstance(part, dict):
            # A null says nothing, except that no page follows.
            fields = {**fields, **{key: value for key, value in part.items() if value is not None or key in _NEXT}}
    return fields


def _first_count(fields: Mapping[str, JsonValue], names: tuple[str, ...]) -> int | None:
    """Return the first of several fields that is a count."""
    for name in names:
        value = fields.get(name)
        # Numbers may be text (evidence: numbers-as-text). Longer text is not a count, and too long for int().
        if isinstance(value, str) and _COUNT_TEXT.fullmatch(value):
            return int(value)
        if type(value) is int and value >= 0:
            return value
    return None


def _has_more(fields: Mapping[str, JsonValue]) -> bool | None:
    for name in _HAS_MORE:
        # Flags may be text, as numbers may (evidence: numbers-as-text).
        if (flag := _FLAG_VALUES.get(str(fields.get(name)).lower())) is not None:
            return flag
    links = fields.get("links")
    all_fields = {**fields, **links} if isinstance(links, dict) else fields
    for name in _NEXT:
        if name in all_fields:
            # An address, a number or a cursor; null, false or empty text if no page follows.
            return bool(all_fields[name])
    return None


def find_object(data: JsonValue, kind: Any, arguments: Mapping[str, Any]) -> Any:
    """Return the object in the data of a reply: the data itself, or an object inside it.

    Guess: the object may be under the name of its kind, like `data.backup` for WordPress (evidence: wordpress), or
    under a generic name. Under any other name there is another object, such as the zone of a new domain.
    """
    if not isinstance(data, dict) or "id" in data:
        return data
    ids = {"id", *json_names(kind).get("id", ())}
    if not ids.isdisjoint(data):
        return data
    inner = [name for name, value in data.items() if _is_name_of(kind, name) and _has_id(value, ids)]
    return data if len(inner) != 1 or _is_field(inner[0], data, kind, arguments) else data[inner[0]]


def _has_id(value: object, id_names: set[str]) -> bool:
    return isinstance(value, dict) and not id_names.isdisjoint(cast("dict[str, Any]", value))


def _is_field(name: str, data: Mapping[str, Any], kind: Any, arguments: Mapping[str, Any]) -> bool:
    """Return whether the object under a name is a field of the data, such as its owner, and not the object itself."""
    known_names = {*arguments, *(name for names in json_names(kind).values() for name in names)}
    if f"{name}_id" in known_names:
        return True
    if any(name in json_names(kind)[field.name] and _holds_object(field.type) for field in fields_of(kind)):
        return True
    return not known_names.isdisjoint(data.keys() - {name, "message", "status"})


def _holds_object(type_: Any) -> bool:
    inner = unwrap_optional(type_) or type_
    return get_origin(inner) is dict or (isinstance(inner, type) and issubclass(inner, Model))


def _is_name_of(kind: Any, name: str) -> bool:
    """Return whether a name fits a kind of object: `email_account` or `account` fits `EmailAccount`."""
    if name in _GENERIC_NAMES or name == _PANEL_NAMES.get(kind.__name__):
        return True
    return re.sub("[A-Z]", r"_\g<0>", kind.__name__).lower().endswith(f"_{name}")


def translate_reply(data: object, wire: Wire, kind: type[Model]) -> Any:
    """Return the object or the rows of a reply with the names and values of the published reference."""
    if isinstance(data, list):
        return [translate_reply(row, wire, kind) for row in cast("list[object]", data)]
    if not isinstance(data, dict):
        return data
    row = cast("dict[str, Any]", data)
    translated, names = row.copy(), json_names(kind)
    for field_name, panel_name in wire.reply_fields.items():
        if row.get(panel_name) is None or field_name not in names:
            continue
        # Keep the value of a name that also belongs to another field.
        if not any(panel_name in known_names for known_names in names.values()):
            del translated[panel_name]
        translated[names[field_name][0]] = row[panel_name]
    for field_name, values in wire.reply_values.items():
        for name in names.get(field_name, ()):
            if name in translated:
                translated[name] = _rename_values(translated[name], values)
    return translated


def _rename_values(value: object, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list | tuple):
        return [_rename_values(item, names) for item in cast("list[object]", value)]
    return value
