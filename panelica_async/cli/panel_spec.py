"""`panelica spec diff` and `stubs`: compare what a panel lists about itself, and write types for its fields."""

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal

import attrs
from rich.text import Text

from panelica_async._version import __version__
from panelica_async.api.panel_spec import Catalogue, CatalogueEndpoint, CatalogueField, Fields, key_of, read_catalogue
from panelica_async.cli.command import ExitCode
from panelica_async.cli.connection import connect
from panelica_async.cli.format import plural
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.cli.output import Output
from panelica_async.core.reply import unwrap
from panelica_async.errors import ConfigurationError

_UNLISTED = frozenset({"GET /v1/api-spec", "GET /v1/postman-collection"})
"""What no panel lists about itself (evidence: api-spec-gaps)."""
_TYPES = {
    **dict.fromkeys(("string", "uuid", "date-time"), "str"),
    **dict.fromkeys(("integer", "int", "int64"), "int"),
    **dict.fromkeys(("number", "float", "float64"), "float"),
    **dict.fromkeys(("boolean", "bool"), "bool"),
    "array": "list[Any]",
    "object": "dict[str, Any]",
}


async def show_differences(
    connection: ConnectionOptions, state: StateDirectory, output: Output, against: Path | None
) -> ExitCode:
    """Show how a panel differs from what this package knows, or from a saved catalogue."""
    before, names = _known()
    if against is not None:
        before = _saved(against)
    async with connect(connection, state) as panel:
        after = await panel.client.spec.load()
    found = _differences(before, after, names)
    if output.json:
        output.document({"panel_version": after.panel_version, "endpoints": len(after.endpoints), "differences": found})
    else:
        for one in found:
            output.results.print(Text.assemble((f"{one.kind:<7}", "bold"), str(one)), soft_wrap=True)
    output.say(f"{plural(len(found), 'difference')} in {plural(len(after.endpoints), 'endpoint')}.")
    if after.unreadable:
        output.say(f"The catalogue has {plural(after.unreadable, 'more row')} that cannot be read as an endpoint.")
    return ExitCode.FAILED if found else ExitCode.OK


async def write_stubs(
    connection: ConnectionOptions, state: StateDirectory, output: Output, destination: Path | None
) -> ExitCode:
    """Write a module with a `TypedDict` for each body and each reply that a panel declares."""
    _, names = _known()
    async with connect(connection, state) as panel:
        catalogue = await panel.client.spec.load()
    text = "".join(f"{line}\n" for line in _stub_lines(catalogue, names))
    if output.json:
        output.document({"panel_version": catalogue.panel_version, "module": text})
    elif destination is None:
        output.stream.write(text)
    else:
        destination.write_text(text, encoding="utf-8")  # noqa: ASYNC240 - nothing else runs
        output.say(f"Wrote {destination}.")
    return ExitCode.OK


_Kind = Literal["new", "gone", "scope", "fields"]


@attrs.frozen(kw_only=True)
class _Difference:
    """One way in which a panel differs from what is known."""

    kind: _Kind
    method: str
    path: str
    operation: str | None
    """Name of its method on the client."""
    before: str
    after: str

    def __str__(self) -> str:
        change = f"{self.before} is now {self.after}" if self.kind == "scope" else self.before or self.after
        return f"{self.method} {self.path}  {': '.join(part for part in (self.operation, change) if part)}"


def _differences(before: Catalogue, after: Catalogue, names: Mapping[str, str]) -> list[_Difference]:
    """Return the differences between two catalogues: new endpoints, those that are gone, then scopes and fields."""
    return [
        _Difference(
            kind=kind,
            method=endpoint.method,
            path=endpoint.path,
            operation=names.get(endpoint.key),
            before=old,
            after=new,
        )
        for kind, endpoint, old, new in _compared(before.endpoints, after.endpoints)
    ]


def _compared(
    before: Mapping[str, CatalogueEndpoint], after: Mapping[str, CatalogueEndpoint]
) -> Iterator[tuple[_Kind, CatalogueEndpoint, str, str]]:
    """Yield each difference with its endpoint, and what was before and is after it."""
    for key, endpoint in after.items():
        if key not in before and key not in _UNLISTED:
            yield "new", endpoint, "", endpoint.summary
    for key, endpoint in before.items():
        if key not in after and key not in _UNLISTED:
            yield "gone", endpoint, endpoint.summary, ""
    for key, old in before.items():
        if (new := after.get(key)) is None:
            continue
        if set(old.scopes) != set(new.scopes):
            yield "scope", old, _scopes(old), _scopes(new)
        if changes := [*_changed(old.query, new.query), *_changed(old.body, new.body)]:
            yield "fields", old, "", ", ".join(changes)


def _scopes(endpoint: CatalogueEndpoint) -> str:
    return " or ".join(endpoint.scopes) or "no scope"


def _changed(old: Fields | None, new: Fields | None) -> Iterator[str]:
    """Yield how declared fields have changed."""
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


def _known() -> tuple[Catalogue, Mapping[str, str]]:
    """Return what this package knows of current panels, and the name of each endpoint on the client."""
    endpoints: dict[str, CatalogueEndpoint] = {}
    names: dict[str, str] = {}
    for row in json.loads(files("panelica_async").joinpath("panel_endpoints.json").read_text("utf-8")):
        body = row.get("json", row.get("form"))
        endpoint = CatalogueEndpoint(
            method=row["method"],
            path=row["path"],
            category=row["category"],
            summary=row["summary"],
            scopes=tuple(row["scopes"]),
            roles=tuple(row.get("roles", ())),
            query=_fields(row["query"]) if "query" in row else None,
            body=None if body is None else _fields(body),
        )
        endpoints[endpoint.key] = endpoint
        names[endpoint.key] = row["id"]
    return Catalogue(endpoints=endpoints), names


def _fields(required: Mapping[str, bool]) -> Fields:
    return {name: CatalogueField(name=name, type="", required=needed) for name, needed in required.items()}


def _saved(file: Path) -> Catalogue:
    try:
        return read_catalogue(unwrap(json.loads(file.read_text("utf-8"))).data)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"{file} cannot be read as a catalogue: {reason}",
            hint=f"Save one with `panelica api GET /v1/api-spec > {file}`.",
        ) from None


def _stub_lines(catalogue: Catalogue, names: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the module of `spec stubs`."""
    version = f" {catalogue.panel_version}" if catalogue.panel_version else ""
    yield f'"""Fields that a panel{version} declares. Written by `panelica spec stubs`, panelica_async {__version__}.'
    yield ""
    yield "Unpack them into a call: `await panel.cron_jobs.create(**CronJobsCreate(...))`."
    yield '"""'
    yield ""
    yield "from typing import Any, Literal, NotRequired, TypedDict"
    for endpoint in catalogue.endpoints.values():
        name = names.get(key_of(endpoint.method, endpoint.path))
        base = _class_name(name or f"{endpoint.method.lower()}_{endpoint.path}")
        call = f"`panel.{name}`" if name else "`panel.request`"
        sent = {**(endpoint.query or {}), **(endpoint.body or {})}
        for class_name, fields, use in ((base, sent, "takes"), (f"{base}Reply", endpoint.reply, "replies with")):
            if fields:
                yield from ("", "")
                yield from _typed_dict(
                    class_name, fields, f"What {endpoint} {use}; {call}.", is_reply=fields is not sent
                )


def _typed_dict(class_name: str, fields: Fields, summary: str, *, is_reply: bool) -> Iterator[str]:
    types = {
        name: _type(field) if field.required or is_reply else f"NotRequired[{_type(field)}]"
        for name, field in fields.items()
    }
    if all(name.isidentifier() and not keyword.iskeyword(name) for name in types):
        yield f"class {class_name}(TypedDict{', total=False' if is_reply else ''}):"
        yield f"    {json.dumps(summary)}"
        yield ""
        for name, kind in types.items():
            yield f"    {name}: {kind}"
        return
    members = ", ".join(f"{json.dumps(name)}: {kind}" for name, kind in types.items())
    yield f"# {summary}"
    yield f'{class_name} = TypedDict("{class_name}", {{{members}}}{", total=False" if is_reply else ""})'


def _type(field: CatalogueField) -> str:
    if field.choices:
        return f"Literal[{', '.join(json.dumps(choice) for choice in field.choices)}]"
    return _TYPES.get(field.type.lower(), "Any")


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", name))
