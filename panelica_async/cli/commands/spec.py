"""`panelica spec`: searches and compares the endpoints of the reference, of current panels and of your panel."""

import json
import keyword
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer
from rich.text import Text

from panelica_async._version import __version__
from panelica_async.cli.command import Command, ExitCode, Group, command
from panelica_async.cli.connection import connect
from panelica_async.cli.format import plural
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.cli.output import Output
from panelica_async.core.reply import unwrap
from panelica_async.errors import ConfigurationError, NotFoundError, PanelicaError

if TYPE_CHECKING:
    from panelica_async.api.panel_spec import Catalogue, CatalogueField, Difference, Fields

# Functions import `panel_spec` when they run, so that `--help` does not load the modules that make calls.
# ruff: noqa: PLC0415

_TYPES = {
    **dict.fromkeys(("string", "uuid", "date-time"), "str"),
    **dict.fromkeys(("integer", "int", "int64"), "int"),
    **dict.fromkeys(("number", "float", "float64"), "float"),
    **dict.fromkeys(("boolean", "bool"), "bool"),
    "array": "list[Any]",
    "object": "dict[str, Any]",
}

spec: typer.Typer = typer.Typer(
    cls=Group,
    help="Find operations of the API, and compare them with those of a panel.",
    no_args_is_help=True,
    epilog="Example: panelica spec search cron",
)


@spec.command(cls=Command, epilog="Example: panelica spec search mailbox password")
@command
async def search(
    words: Annotated[
        list[str], typer.Argument(metavar="WORDS", help="Words to find; an operation must contain all of them.")
    ],
    output: Output,
) -> ExitCode:
    """Find operations by words in their name, summary, category and path.

    The operations are those of the published reference and those that current panels list about themselves. Each is
    shown with the line that calls it.

    Exit code 0 means that operations were found, 1 that there are none.
    """
    matches = [entry for entry in _entries() if entry.contains(words)]
    if output.json:
        output.print_json({"operations": matches})
    else:
        for entry in matches:
            output.results.print(Text.assemble((entry.id, "bold"), f"  {entry.summary}"), soft_wrap=True)
            for line in entry.lines():
                output.results.print(Text(f"    {line}"), soft_wrap=True)
    output.say(
        f"{plural(len(matches), 'operation')} found." if matches else "No operation contains all of these words."
    )
    return ExitCode.OK if matches else ExitCode.FAILED


@spec.command(cls=Command, epilog="Example: panelica spec diff --base-url panel.example.com")
@command
async def diff(
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Compare with a catalogue in this file, saved with `panelica api GET /v1/api-spec`.",
        ),
    ] = None,
) -> ExitCode:
    """Compare the endpoints that a panel lists about itself with those that this package knows.

    Shows endpoints that are new or gone, and those whose scopes or fields have changed. Fields are compared where both
    sides declare them.

    Exit code 0 means that nothing differs, 1 that something does.
    """
    from panelica_async.api.panel_spec import compare, known_catalogue

    before = known_catalogue() if against is None else _read_catalogue_file(against)
    after = await _load_catalogue(connection, state)
    names = _names_by_endpoint()
    differences = [*compare(before, after)]
    if output.json:
        rows = [_difference_data(difference, names) for difference in differences]
        output.print_json(
            {"panel_version": after.panel_version, "endpoints": len(after.endpoints), "differences": rows}
        )
    else:
        for difference in differences:
            line = Text.assemble((f"{difference.kind:<7}", "bold"), _difference_line(difference, names))
            output.results.print(line, soft_wrap=True)
    output.say(f"{plural(len(differences), 'difference')} in {plural(len(after.endpoints), 'endpoint')}.")
    if after.unreadable:
        output.say(f"The catalogue has {plural(after.unreadable, 'more row')} that cannot be read as an endpoint.")
    return ExitCode.FAILED if differences else ExitCode.OK


@spec.command(cls=Command, epilog="Example: panelica spec stubs --base-url panel.example.com --output panel_fields.py")
@command
async def stubs(
    connection: ConnectionOptions,
    state: StateDirectory,
    output: Output,
    destination: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", dir_okay=False, help="Write to this file instead of standard output."
        ),
    ] = None,
) -> ExitCode:
    """Write types for the fields that a panel declares.

    The result is a Python module with a `TypedDict` for each body and each reply.
    """
    catalogue = await _load_catalogue(connection, state)
    text = "".join(f"{line}\n" for line in _stub_lines(catalogue, _names_by_endpoint()))
    if destination is not None:
        destination.write_text(text, encoding="utf-8")
        output.say(f"Wrote {destination}.")
    if output.json:
        output.print_json({"panel_version": catalogue.panel_version, "module": text})
    elif destination is None:
        output.stream.write(text)
    return ExitCode.OK


async def _load_catalogue(connection: ConnectionOptions, state: StateDirectory) -> "Catalogue":
    """Return what the panel lists about itself.

    Raises:
        PanelicaError: The server has no catalogue, as in the published reference, or cannot be reached.
    """
    async with connect(connection, state) as panel:
        try:
            return await panel.client.spec.load()
        except NotFoundError as error:
            hint = (
                "Pass --dialect panel: the embedded sandbox then lists its endpoints, as current panels do."
                if connection.sandbox
                else "Check --base-url: only current panels have a catalogue. To look up what the published reference "
                "offers, run `panelica spec search`."
            )
            message = f"{panel.name} has no catalogue of its endpoints: GET /v1/api-spec is answered with 404"
            raise PanelicaError(message, hint=hint) from error


@attrs.frozen(kw_only=True)
class _Endpoint:
    """The endpoint of an operation, and the scopes and roles that it requires."""

    method: str
    path: str
    scopes: list[str]
    """Scopes, one of which the key needs; if there are none, any key will do."""
    roles: list[str]
    """Roles, one of which the owner of the key needs."""

    def __str__(self) -> str:
        scopes = f"scope {' or '.join(self.scopes)}" if self.scopes else "no scope"
        roles = f", role {' or '.join(self.roles)}" if self.roles else ""
        return f"{self.method} {self.path}  ({scopes}{roles})"


@attrs.frozen(kw_only=True)
class _Entry:
    """An operation, as the search sees and shows it."""

    id: str
    """Its name on the client."""
    summary: str
    category: str
    reference: _Endpoint | None
    """Its endpoint in the published reference."""
    panel: _Endpoint | None
    """Its endpoint on current panels."""
    is_method: bool
    """Whether the client has a method of this name; a WebSocket has none."""
    call: str | None
    """Line of Python that calls it."""
    note: str | None = None

    def contains(self, words: list[str]) -> bool:
        """Return whether the operation contains each word, in any case."""
        endpoints = [f"{endpoint.method} {endpoint.path}" for endpoint in (self.reference, self.panel) if endpoint]
        text = " ".join([self.id, self.summary, self.category, *endpoints]).lower()
        return all(word.lower() in text for word in words)

    def lines(self) -> Iterator[str]:
        """Yield the lines to show below its name."""
        if self.reference is None:
            yield f"{self.panel}  on current panels only"
        elif self.panel is None:
            yield f"{self.reference}  in the published reference only"
        elif self.reference == self.panel:
            yield str(self.panel)
        else:
            yield f"published reference: {self.reference}"
            yield f"current panels:      {self.panel}"
        yield from (line for line in (self.call, self.note) if line)


def _entries() -> list[_Entry]:
    """Return every operation, by name."""
    document = _read_package_json("openapi.json")
    panel = {row["id"]: row for row in _read_package_json("panel_endpoints.json")}
    shared_parameters = document["components"].get("parameters", {})
    entries = [
        _reference_entry(path, method, item, shared_parameters, panel.pop(item[method]["operationId"], None))
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    ]
    return sorted([*entries, *map(_panel_entry, panel.values())], key=lambda entry: entry.id)


def _read_package_json(name: str) -> Any:
    """Return the content of a JSON file of the package."""
    return json.loads(files("panelica_async").joinpath(name).read_text("utf-8"))


def _names_by_endpoint() -> Mapping[str, str]:
    """Return the name that each known endpoint has on the client, by the key of the endpoint."""
    from panelica_async.api.panel_spec import key_of

    return {key_of(row["method"], row["path"]): row["id"] for row in _read_package_json("panel_endpoints.json")}


def _reference_entry(
    path: str,
    method: str,
    item: Mapping[str, Any],
    shared_parameters: Mapping[str, Any],
    row: Mapping[str, Any] | None,
) -> _Entry:
    """Return an operation of the published reference.

    Args:
        path: Its path in the published reference.
        method: Its HTTP method there.
        item: The path item of the document.
        shared_parameters: Parameters that several operations share, by name.
        row: Its endpoint on current panels, if they have one.
    """
    operation = item[method]
    nodes = [*item.get("parameters", ()), *operation.get("parameters", ())]
    parameters = [shared_parameters[node["$ref"].rpartition("/")[2]] if "$ref" in node else node for node in nodes]
    required = [node for node in parameters if node.get("required")]
    positional = [node["name"] for node in required if node["in"] == "path"]
    keywords = [node["name"] for node in required if node["in"] == "query"]
    content = operation.get("requestBody", {}).get("content", {})
    keywords += content.get("application/json", {}).get("schema", {}).get("required", ())
    arguments = [*map(_variable, positional), *(f"{_variable(name)}={_variable(name)}" for name in keywords)]
    scope = operation["x-scope"]
    return _Entry(
        id=operation["operationId"],
        summary=operation["summary"],
        category=operation["tags"][0],
        reference=_Endpoint(method=method.upper(), path=path, scopes=[] if scope is None else [scope], roles=[]),
        panel=None if row is None else _endpoint(row),
        call=f"await panel.{operation['operationId']}({', '.join(arguments)})",
        is_method=True,
    )


def _panel_entry(row: Mapping[str, Any]) -> _Entry:
    """Return an operation that only current panels serve."""
    is_websocket = row.get("websocket", False)
    is_writing = row["method"] in {"POST", "PUT", "PATCH"}
    note = "The fields of its body are not known." if is_writing and not {"json", "form"} & row.keys() else None
    return _Entry(
        id=row["id"],
        summary=row["summary"],
        category=row["category"],
        reference=None,
        panel=_endpoint(row),
        call=None if is_websocket else _panel_call(row),
        is_method=not is_websocket,
        note="A WebSocket; the client cannot open it." if is_websocket else note,
    )


def _endpoint(row: Mapping[str, Any]) -> _Endpoint:
    return _Endpoint(method=row["method"], path=row["path"], scopes=row["scopes"], roles=row.get("roles", []))


def _panel_call(row: Mapping[str, Any]) -> str:
    """Return the line that calls an operation with its required arguments."""
    arguments = [_variable(name) for name in re.findall(r"{(\w+)}", row["path"])]
    for place in ("query", "json", "form"):
        required = [_variable(name) for name, is_required in row.get(place, {}).items() if is_required]
        arguments += [f"{name}={name}" for name in required]
    return f"await panel.{row['id']}({', '.join(arguments)})"


def _variable(name: str) -> str:
    """Return a name as a Python identifier."""
    return f"{name}_" if keyword.iskeyword(name) else name


def _read_catalogue_file(file: Path) -> "Catalogue":
    """Read a catalogue saved with `panelica api`."""
    from panelica_async.api.panel_spec import read_catalogue

    try:
        return read_catalogue(unwrap(json.loads(file.read_text("utf-8"))).data)
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(
            f"{file} cannot be read as a catalogue: {reason}",
            hint=f"Save one with `panelica api GET /v1/api-spec > {file}`.",
        ) from None


def _difference_data(difference: "Difference", names: Mapping[str, str]) -> dict[str, Any]:
    endpoint = difference.endpoint
    return {
        "kind": difference.kind,
        "method": endpoint.method,
        "path": endpoint.path,
        "operation": names.get(endpoint.key),
        "before": difference.before,
        "after": difference.after,
    }


def _difference_line(difference: "Difference", names: Mapping[str, str]) -> str:
    before, after = difference.before, difference.after
    change = f"{before} is now {after}" if difference.kind == "scope" else before or after
    name = names.get(difference.endpoint.key)
    return f"{difference.endpoint}  {': '.join(part for part in (name, change) if part)}"


def _stub_lines(catalogue: "Catalogue", names: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of the module of `spec stubs`."""
    version = f" {catalogue.panel_version}" if catalogue.panel_version else ""
    yield f'"""Fields that a panel{version} declares. Written by `panelica spec stubs`, panelica_async {__version__}.'
    yield ""
    yield "Unpack them into a call: `await panel.cron_jobs.create(**CronJobsCreate(...))`."
    yield '"""'
    yield ""
    yield "from typing import Any, Literal, NotRequired, TypedDict"
    for endpoint in catalogue.endpoints.values():
        name = names.get(endpoint.key)
        base = _class_name(name or f"{endpoint.method.lower()}_{endpoint.path}")
        call = f"`panel.{name}`" if name else "`panel.request`"
        sent = {**(endpoint.query or {}), **(endpoint.body or {})}
        for class_name, fields, use in ((base, sent, "takes"), (f"{base}Reply", endpoint.reply, "replies with")):
            if fields:
                yield from ("", "")
                yield from _typed_dict(
                    class_name, fields, f"What {endpoint} {use}; {call}.", is_reply=fields is not sent
                )


def _typed_dict(class_name: str, fields: "Fields", summary: str, *, is_reply: bool) -> Iterator[str]:
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


def _type(field: "CatalogueField") -> str:
    if field.choices:
        return f"Literal[{', '.join(json.dumps(choice) for choice in field.choices)}]"
    return _TYPES.get(field.type.lower(), "Any")


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in re.findall(r"[A-Za-z0-9]+", name))
