"""`panel.spec`: the panel's own catalogue of endpoints and fields, read, and compared with what we know.

A panel may send anything (evidence: api-spec, api-spec-bodies). Entries that are not endpoints are skipped and counted;
texts are shortened and cleaned. Catalogues can be compared with each other, and with what this package knows of current
panels.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import files
from typing import Any, Literal, cast

import attrs

from panelica_async.api.resource import Resource
from panelica_async.api.runner import decode_reply
from panelica_async.core.address import PUBLIC_PREFIX
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Operation, Repeat, Wire
from panelica_async.core.redaction import one_line
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import DecodeError
from panelica_async.transport.call import Reply

MAX_ENDPOINTS = 5_000
"""A catalogue with more endpoints is refused; a panel has about 400."""
_MAX_FIELDS = 500
_MAX_CHOICES = 200
_MAX_TEXT_LENGTH = 200
_METHODS = frozenset({"GET", "PUT", "POST", "PATCH", "DELETE"})
_PATH = re.compile(r"/[!-~]{1,300}")
_NAME = re.compile(r"[A-Za-z_][\w.\[\]-]{0,79}", re.ASCII)
_SCOPE = re.compile(r"[\w*.-]{1,60}:[\w*.-]{1,60}", re.ASCII)
_PLACEHOLDER = re.compile(r"\{[^}]*\}")
_SERVICE_ACTIONS = ("start", "stop", "restart")
"""What `{action}` stands for (evidence: api-spec-gaps)."""
_NEVER_LISTED = frozenset({"GET /v1/api-spec", "GET /v1/postman-collection"})
"""Endpoints that no panel lists, although it has them (evidence: api-spec-gaps)."""


@attrs.frozen(kw_only=True)
class CatalogueField:
    """A field that an endpoint takes."""

    name: str
    type: str
    required: bool = False
    choices: tuple[str, ...] = ()
    """The values that the panel accepts; empty if it accepts any."""


Fields = Mapping[str, CatalogueField]


@attrs.frozen(kw_only=True)
class CatalogueEndpoint:
    """An endpoint that a panel lists."""

    method: str
    path: str
    category: str = ""
    summary: str = ""
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    query: Fields | None = None
    """Parameters of the query; None if the panel declares none."""
    body: Fields | None = None
    """Fields of the body; None if the panel does not declare them, empty if it takes no body."""
    reply: Fields | None = None
    """Fields of the reply, or of its rows."""

    @property
    def key(self) -> str:
        """Method and path without the names of the placeholders, which differ between catalogues."""
        return key_of(self.method, self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@attrs.frozen(kw_only=True)
class Catalogue:
    """What a panel lists about itself."""

    version: str | None = None
    panel_version: str | None = None
    endpoints: Mapping[str, CatalogueEndpoint] = attrs.field(repr=False, factory=dict[str, CatalogueEndpoint])
    """Endpoints by their `key`, in the panel's order."""
    unreadable: int = 0
    """How many entries are not endpoints."""

    def check(self, operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> None:
        """Check the arguments of a call against the fields that the panel declares, if it does.

        Raises:
            ValueError: A field is unknown to the panel or missing, or has another value than the panel takes.
        """
        endpoint = self.endpoints.get(key_of(wire.method, wire.path))
        if endpoint is None or wire.others is None:
            return
        declared, names = (endpoint.query, wire.query) if wire.others == "query" else (endpoint.body, wire.body)
        if declared is None:
            return
        named = {*wire.query, *wire.body, *wire.placeholders}
        passed = {
            names.get(argument, argument): value
            for argument, value in arguments.items()
            if value is not UNSET and (argument in names or argument not in named)
        }
        for name, value in passed.items():
            if name not in declared:
                if name not in names.values():
                    raise ValueError(f"{operation.name}: {_unknown_field(name, declared)}")
            elif (choices := declared[name].choices) and isinstance(value, str) and value not in choices:
                hint = _suggestion(value, choices)
                raise ValueError(f"{operation.name}: {name} must be one of {', '.join(choices)}, not {value!r}{hint}")
        for name, field in declared.items():
            if field.required and name not in passed:
                raise ValueError(f"{operation.name}: this panel requires {name}")


class PanelSpec(Resource):
    """The catalogue of this panel, and the checks of `**fields` against it."""

    @property
    def catalogue(self) -> Catalogue | None:
        """The loaded catalogue; None before `load`."""
        return self._runner.knowledge.catalogue

    async def load(self) -> Catalogue:
        """GET /v1/api-spec: load the panel's own catalogue, and check `**fields` against it from then on.

        If the panel declares the fields of an endpoint, a call with an unknown or missing field, or with a value that
        the panel does not accept, raises `ValueError` before anything is sent. The client and its variants share the
        catalogue; load it again after the panel was updated.

        Works without a key; not signed, and not counted against the quota. Read-only; retried after a lost reply, 429,
        502, 503 and 504, but not after 500.

        Returns:
            The endpoints of the panel.

        Raises:
            DecodeError: the reply is not a catalogue.
            NotFoundError: the server does not list its endpoints.
        """
        runner = self._runner
        # Not an operation with a dialect: this works before the dialect is known.
        call = runner.prepare_raw("api_spec", PreparedRequest("GET", "/v1/api-spec"), Repeat.READ, signed=False)

        def read(reply: Reply) -> Catalogue:
            try:
                return read_catalogue(decode_reply(call, reply).data)
            except ValueError as error:
                raise DecodeError(str(error), endpoint=call.endpoint) from None

        runner.knowledge.catalogue = await runner.run(call, read)
        return runner.knowledge.catalogue

    def unload(self) -> None:
        """Forget the catalogue; `**fields` are sent unchecked again."""
        self._runner.knowledge.catalogue = None


def key_of(method: str, path: str) -> str:
    """Return method and path without the names of the placeholders."""
    return f"{method} {_PLACEHOLDER.sub('{}', path)}"


def _unknown_field(name: str, declared: Fields) -> str:
    if not declared:
        return f"this panel takes no fields here, and {name} was passed"
    return f"this panel takes no field {name}{_suggestion(name, declared) or '; it takes ' + ', '.join(declared)}"


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def read_catalogue(data: object) -> Catalogue:
    """Return the catalogue in the reply of a panel.

    Raises:
        ValueError: It is not a catalogue, or has too many endpoints.
    """
    if not isinstance(data, dict):
        raise ValueError("expected an object with endpoints")  # noqa: TRY004 - it came from the panel
    values = cast("dict[str, object]", data)
    entries = values.get("endpoints")
    if not isinstance(entries, list):
        raise ValueError("expected a list of endpoints")  # noqa: TRY004 - it came from the panel
    rows = cast("list[object]", entries)
    if len(rows) > MAX_ENDPOINTS:
        raise ValueError(f"expected at most {MAX_ENDPOINTS:,} endpoints, got {len(rows):,}")
    endpoints: dict[str, CatalogueEndpoint] = {}
    unreadable = 0
    for row in rows:
        endpoint = _read_endpoint(row)
        unreadable += endpoint is None
        if endpoint is not None:
            endpoints.update((one.key, one) for one in _split_actions(endpoint))
    return Catalogue(
        version=_read_text(values.get("version")) or None,
        panel_version=_read_text(values.get("panel_version")) or None,
        endpoints=endpoints,
        unreadable=unreadable,
    )


def _split_actions(endpoint: CatalogueEndpoint) -> Iterator[CatalogueEndpoint]:
    """Yield an endpoint, or one per action if its path ends in `{action}`."""
    before, action, after = endpoint.path.partition("/{action}")
    if not action or after:
        yield endpoint
        return
    for name in _SERVICE_ACTIONS:
        yield attrs.evolve(endpoint, path=f"{before}/{name}")


def _read_endpoint(row: object) -> CatalogueEndpoint | None:
    entry = _as_object(row)
    method, path = str(entry.get("method", "")).upper(), str(entry.get("path", "")).removeprefix(PUBLIC_PREFIX)
    if method not in _METHODS or not _PATH.fullmatch(path):
        return None
    auth, request, response = (_as_object(entry.get(name)) for name in ("auth", "request", "response"))
    # Older copies of the catalogue have the scopes outside `auth`.
    scopes = auth.get("scopes", entry.get("scopes"))
    return CatalogueEndpoint(
        method=method,
        path=path,
        category=_read_text(entry.get("category")),
        summary=_read_text(entry.get("summary")),
        scopes=tuple(_read_texts(scopes, _SCOPE.fullmatch)),
        roles=tuple(_read_texts(auth.get("roles"), _NAME.fullmatch)),
        query=_read_fields(request.get("query_params")) or None,
        body=_read_body(request.get("body")),
        reply=_read_fields(response.get("fields")) or None,
    )


def _read_body(value: object) -> Fields | None:
    body = _as_object(value)
    if body.get("content_type") == "none":
        return {}
    return _read_fields(body.get("fields")) or None


def _read_fields(value: object) -> Fields:
    fields: dict[str, CatalogueField] = {}
    for entry in map(_as_object, _as_list(value)[:_MAX_FIELDS]):
        name = str(entry.get("name", ""))
        if _NAME.fullmatch(name):
            fields[name] = CatalogueField(
                name=name,
                type=_read_text(entry.get("type")),
                required=entry.get("required") is True,
                choices=tuple(_read_texts(entry.get("enum"), bool)),
            )
    return fields


def _as_object(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _as_list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _read_texts(value: object, fits: Callable[[str], object]) -> Iterator[str]:
    for item in _as_list(value)[:_MAX_CHOICES]:
        text = _read_text(item)
        if text and fits(text):
            yield text


def _read_text(value: object) -> str:
    return one_line(value[:_MAX_TEXT_LENGTH]) if isinstance(value, str) else ""


def known_catalogue() -> Catalogue:
    """Return what this package knows of current panels; types of fields are missing."""
    rows = json.loads(files("panelica_async").joinpath("panel_endpoints.json").read_text("utf-8"))
    endpoints = (
        CatalogueEndpoint(
            method=row["method"],
            path=row["path"],
            category=row["category"],
            summary=row["summary"],
            scopes=tuple(row["scopes"]),
            roles=tuple(row.get("roles", ())),
            query=_known_fields(row.get("query")),
            body=_known_fields(row.get("json", row.get("form"))),
        )
        for row in rows
    )
    return Catalogue(endpoints={endpoint.key: endpoint for endpoint in endpoints})


def _known_fields(required: Mapping[str, bool] | None) -> Fields | None:
    if required is None:
        return None
    return {name: CatalogueField(name=name, type="", required=is_required) for name, is_required in required.items()}


@attrs.frozen
class Difference:
    """One way in which two catalogues differ."""

    kind: Literal["new", "gone", "scope", "fields"]
    endpoint: CatalogueEndpoint
    before: str
    after: str


def compare(before: Catalogue, after: Catalogue) -> Iterator[Difference]:
    """Yield the differences between two catalogues: new endpoints, those that are gone, then scopes and fields.

    Fields are compared where both catalogues declare them.
    """
    for key, endpoint in after.endpoints.items():
        if key not in before.endpoints and key not in _NEVER_LISTED:
            yield Difference("new", endpoint, "", endpoint.summary)
    for key, endpoint in before.endpoints.items():
        if key not in after.endpoints and key not in _NEVER_LISTED:
            yield Difference("gone", endpoint, endpoint.summary, "")
    for key, old in before.endpoints.items():
        if (new := after.endpoints.get(key)) is None:
            continue
        if set(old.scopes) != set(new.scopes):
            yield Difference("scope", old, _scope_text(old), _scope_text(new))
        if changes := [*_field_changes(old.query, new.query), *_field_changes(old.body, new.body)]:
            yield Difference("fields", old, "", ", ".join(changes))


def _scope_text(endpoint: CatalogueEndpoint) -> str:
    return " or ".join(endpoint.scopes) or "no scope"


def _field_changes(old: Fields | None, new: Fields | None) -> Iterator[str]:
    """Yield the changes between the declared fields of two catalogues, as text."""
    if old is None or new is None:
        return
    for name, field in new.items():
        if name not in old:
            yield f"new {name}{' (required)' if field.required else ''}"
        elif field.required != old[name].required:
            yield f"{name} is {'required' if field.required else 'optional'}"
        elif old[name].choices and field.choices and set(field.choices) != set(old[name].choices):
            yield f"{name} is one of {', '.join(field.choices)}"
    for name in old:
        if name not in new:
            yield f"no {name}"
