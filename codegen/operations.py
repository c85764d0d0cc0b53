"""Prepares the operations of the specification for the templates: operation, arguments and result."""

from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from codegen.arguments import Argument, arguments_of, require_argument
from codegen.bridge import Bridge
from codegen.spec import ResourceFile, Specification
from codegen.text import fits, sentence
from codegen.yaml_nodes import Node, SpecError
from panelica_async.core.operation import Dialect, Guard, NaturalKey, Operation, Repeat, Wire


@attrs.frozen
class Result:
    """What a generated method returns."""

    kind: Literal["nothing", "model", "pages", "object", "untyped", "upload", "file"]
    description: str
    model: str | None = None
    items: str | None = None
    """Key of the rows in a reply that is an object."""

    @property
    def annotation(self) -> str:
        """Type in the signature."""
        if self.kind == "pages":
            return f"Paginator[{self.model}]"
        return self.model or {"nothing": "None", "untyped": "Any", "file": "bytes"}.get(self.kind, "dict[str, Any]")


@attrs.frozen(kw_only=True)
class OperationSource:
    """An operation as the templates see it."""

    operation: Operation
    path: str
    """Path as the specification writes it."""
    summary: str
    """First line of the docstring."""
    description: str
    destructive: bool
    """Whether it removes or overwrites data."""
    asynchronous: bool
    """Whether the panel replies before the work is done."""
    errors: tuple[str, ...]
    arguments: tuple[Argument, ...]
    result: Result
    roles: tuple[str, ...] = ()
    """Roles of which the owner of the key needs one."""

    @property
    def name(self) -> str:
        """Name with its namespaces, such as `dns.records.list`."""
        return self.operation.name

    @property
    def method_name(self) -> str:
        """Name of the method."""
        return self.name.rpartition(".")[2]

    @property
    def namespace(self) -> tuple[str, ...]:
        """Names of the attributes that lead to the method."""
        return tuple(self.name.split(".")[:-1])

    @property
    def constant(self) -> str:
        """Name of the module constant that holds the operation."""
        return constant_of(self.operation)

    @property
    def panel(self) -> Wire | None:
        """Wire form on current panels; None when they do not serve the operation."""
        return self.operation.wires.get("panel")

    @property
    def is_panel_only(self) -> bool:
        """Whether the published reference lacks it."""
        return "reference" not in self.operation.wires

    @property
    def positional(self) -> tuple[Argument, ...]:
        """Arguments of the path, in its order."""
        return tuple(argument for argument in self.arguments if argument.is_positional)

    @property
    def keywords(self) -> tuple[Argument, ...]:
        """The other arguments, required ones first."""
        rest = [argument for argument in self.arguments if not argument.is_positional]
        return tuple(sorted(rest, key=lambda argument: not argument.required))

    @property
    def models(self) -> set[str]:
        """Every model that the method's signature names."""
        named = {self.result.model} if self.result.model else set()
        return named.union(*(argument.models for argument in self.arguments))


def constant_of(operation: Operation) -> str:
    """Return the name of the module constant that holds an operation."""
    return operation.name.replace(".", "_").upper()


def operations_of(resource: ResourceFile, specification: Specification, bridge: Bridge) -> tuple[OperationSource, ...]:
    """Return the operations of one resource file, in file order."""
    sources: dict[str, OperationSource] = {}
    for path, method, item, node in resource.operations():
        source = _source(path, method, item, node, specification, bridge, sources)
        sources[source.name] = source
    return tuple(sources.values())


def _source(
    path: str,
    method: str,
    item: Node,
    node: Node,
    specification: Specification,
    bridge: Bridge,
    earlier: dict[str, OperationSource],
) -> OperationSource:
    arguments = arguments_of(path, item, node, specification)
    result = _result(node, specification)
    entry, repeat = bridge.entry(node), Repeat(node["x-repeat"])
    operation = Operation(
        name=node["operationId"],
        wires=_wires(method.upper(), path, node, arguments, result, bridge),
        repeat=repeat,
        natural_key=_natural_key(node, arguments, result, specification, earlier),
        shown_by=shown_by(node["operationId"], repeat, result, earlier.values()),
        signed=node.get("security") != [],
        choices={argument.name: argument.choices for argument in arguments if argument.choices},
        not_empty=frozenset(argument.name for argument in arguments if argument.not_empty),
        lists=frozenset(argument.name for argument in arguments if argument.is_list),
        guard=_guard(node, arguments),
        absence=entry.get("absent"),
        instead=entry.get("instead"),
    )
    return OperationSource(
        operation=operation,
        path=path,
        summary=_summary(method.upper(), path, node),
        description=node.get("description", ""),
        destructive=node.get("x-destructive", False),
        asynchronous=node.get("x-async", False),
        errors=tuple(status for status in node["responses"] if not status.startswith("2")),
        arguments=arguments,
        result=result,
    )


def _wires(
    method: str, path: str, node: Node, arguments: Sequence[Argument], result: Result, bridge: Bridge
) -> dict[Dialect, Wire]:
    """Return how the operation travels in each dialect that has it."""
    scopes = () if node["x-scope"] is None else (node["x-scope"],)
    reference = _reference_wire(method, path, arguments, result.items, scopes)
    panel = bridge.wire(node, reference, result.model, is_list=result.kind == "pages")
    return {"reference": reference} if panel is None else {"reference": reference, "panel": panel}


def _reference_wire(
    method: str, path: str, arguments: Sequence[Argument], items: str | None, scopes: tuple[str, ...]
) -> Wire:
    for argument in arguments:
        if argument.place == "path":
            path = path.replace(f"{{{argument.wire_name}}}", f"{{{argument.name}}}")
    return Wire(
        method=method,
        path=path,
        query={argument.name: argument.wire_name for argument in arguments if argument.place == "query"},
        body={argument.name: argument.wire_name for argument in arguments if argument.place == "body"},
        # In the page envelope, rows are in `data`, which every decoder unwraps.
        items=None if items == "data" else items,
        scopes=scopes,
    )


def _summary(method: str, path: str, node: Node) -> str:
    text = sentence(node["summary"])
    # An abbreviation keeps its capitals.
    text = text[0].lower() + text[1:] if text[1:2].islower() else text
    line = f"{method} {path}: {text}"
    if not fits(line, 8):
        problem = "the summary and the path are too long for one line"
        raise SpecError(node.where("summary"), problem, "Shorten the summary; details go into `description`")
    return line


def _natural_key(
    node: Node,
    arguments: Sequence[Argument],
    result: Result,
    specification: Specification,
    earlier: dict[str, OperationSource],
) -> NaturalKey | None:
    if "x-natural-key" not in node:
        return None
    key: Node = node["x-natural-key"]
    fields: Node = key["fields"]
    row = specification.document["components"]["schemas"].get(result.model, {}).get("properties", {})
    for name, field in fields.items():
        require_argument(name, arguments, key.where("fields"), node)
        if field not in row:
            problem = f"`{node['operationId']}` replies without `{field}`, so the rows of its list lack it too"
            raise SpecError(fields.where(name), problem, "Name a field of what it creates")
    special = {place: frozenset(key.get(place, ())) for place in ("prefixed", "local")}
    for place, names in special.items():
        for name in sorted(names - fields.keys()):
            problem = f"`{place}` names `{name}`, which is not under `fields`"
            raise SpecError(key.where(place), problem, "Name it there, or correct the name")
    lookup = earlier[key["lookup"]]
    if lookup.result.kind != "pages":
        raise SpecError(key.where("lookup"), f"`{lookup.name}` is not a list", "Name the list that finds the object")
    return NaturalKey(lookup=lookup.operation, fields=dict(fields), **special)


def shown_by(name: str, repeat: Repeat, result: Result, earlier: Iterable[OperationSource]) -> Operation | None:
    """Return the operation that reads the result of a write: the one that gets it, otherwise the one that lists it."""
    if repeat in {Repeat.READ, Repeat.NATURAL_KEY} or result.kind != "model":
        return None
    namespace = tuple(name.split(".")[:-1])
    readers = {
        reader.result.kind: reader.operation
        for reader in earlier
        if (reader.operation.repeat, reader.namespace, reader.result.model) == (Repeat.READ, namespace, result.model)
    }
    return readers.get("model") or readers.get("pages")


def _guard(node: Node, arguments: Sequence[Argument]) -> Guard | None:
    if "x-guard" not in node:
        return None
    guard: Node = node["x-guard"]
    require_argument(guard["replaces"], arguments, guard.where("replaces"), node)
    if any(argument.name == guard["argument"] for argument in arguments):
        problem = f"`{node['operationId']}` already has an argument `{guard['argument']}`"
        raise SpecError(guard.where("argument"), problem, "Rename the argument of the guard")
    return Guard(**guard)


def _result(node: Node, specification: Specification) -> Result:
    name, (status, *_) = node["operationId"], node["responses"]
    response, where = node["responses"][status], node["responses"].where(status)
    description = response["description"]
    if "content" not in response:
        return Result("nothing", description)
    schema = response["content"]["application/json"]["schema"]
    if node.get("x-paginated"):
        model, key = _rows(schema, specification)
        if model is None:
            problem = f"`{name}` is paginated, but does not reply with a list of a schema"
            raise SpecError(where, problem, "Reply with an array of a `$ref`")
        return Result("pages", description, model, key)
    if "$ref" in schema and "properties" in specification.resolve(schema):
        return Result("model", description, _name(schema))
    if schema.get("type") == "object" and "properties" not in schema:
        return Result("object", description)
    if schema.get("type") == "array":
        raise SpecError(where, f"`{name}` replies with a list", "Add `x-paginated: true`")
    raise SpecError(where, f"`{name}` replies with neither a schema of `components` nor a list", "Reply with a `$ref`")


def _rows(schema: Node, specification: Specification) -> tuple[str | None, str | None]:
    """Return the model of the rows of a list, and the key that holds them in a reply that is an object."""
    lists = {None: schema, **specification.resolve(schema).get("properties", {})}
    for key, value in lists.items():
        if value.get("type") == "array" and "properties" in specification.resolve(value["items"]):
            return _name(value["items"]), key
    return None, None


def _name(schema: Node) -> str:
    name: str = schema["$ref"].rsplit("/", 1)[-1]
    return name
