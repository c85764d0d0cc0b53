"""Turns the operations of the specification into what the templates need: arguments, results, wire forms."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import attrs

from codegen.arguments import Argument, arguments_of, require_argument
from codegen.spec import ResourceFile, Specification
from codegen.text import fits, sentence
from codegen.yaml_nodes import Node, SpecError


@attrs.frozen(kw_only=True)
class Wire:
    """Method, path, and where each argument goes under which name; mirrors `panelica_async.core.operation.Wire`."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Mapping[str, str]
    wrapped: tuple[str, ...] = ()
    items: str | None = None


def reference_wire(method: str, path: str, arguments: Sequence[Argument], items: str | None) -> Wire:
    """Return the wire form of the published reference."""
    for argument in arguments:
        if argument.place == "path":
            path = path.replace(f"{{{argument.wire_name}}}", f"{{{argument.name}}}")
    return Wire(
        method=method,
        path=path,
        query={argument.name: argument.wire_name for argument in arguments if argument.place == "query"},
        body={argument.name: argument.wire_name for argument in arguments if argument.place == "body"},
        # The page envelope calls its rows `data`, which every decoder opens anyway.
        items=None if items == "data" else items,
    )


def panel_wire(reference: Wire, operation: Node, arguments: Sequence[Argument]) -> Wire | None:
    """Return the wire form of current panels, or None when they do not have the operation."""
    if "x-panel" not in operation:
        return reference
    panel: Node = operation["x-panel"]
    if panel.get("absent"):
        return None
    path: str = panel.get("path", reference.path)
    in_path = re.findall(r"\{([^}]*)\}", path)
    for field in ("rename", "query", "body", "omit", "wrap"):
        for name in panel.get(field, ()):
            require_argument(name, arguments, panel.where(field), operation)
    for name in in_path:
        require_argument(name, arguments, panel.where("path"), operation)
    places = dict.fromkeys(reference.query, "query") | dict.fromkeys(reference.body, "body")
    places |= dict.fromkeys(panel.get("query", ()), "query") | dict.fromkeys(panel.get("body", ()), "body")
    places |= dict.fromkeys(panel.get("omit", ()), "nowhere") | dict.fromkeys(in_path, "path")
    for argument in arguments:
        if argument.name not in places:
            problem = f"`x-panel` does not say where `{argument.name}` goes"
            raise SpecError(operation.where("x-panel"), problem, "Put it into `path`, `query`, `body` or `omit`")
    names = {**reference.query, **reference.body, **panel.get("rename", {})}
    return Wire(
        method=panel.get("method", reference.method),
        path=path,
        query={name: names.get(name, name) for name, place in places.items() if place == "query"},
        body={name: names.get(name, name) for name, place in places.items() if place == "body"},
        wrapped=tuple(panel.get("wrap", ())),
        items=panel.get("items", reference.items),
    )


@attrs.frozen
class Result:
    """What a generated method returns."""

    kind: Literal["nothing", "model", "pages", "object"]
    description: str
    model: str | None = None
    items: str | None = None
    """Key of the rows in a reply that is an object."""

    @property
    def annotation(self) -> str:
        """Type in the signature."""
        names = {"nothing": "None", "model": f"{self.model}", "pages": f"Paginator[{self.model}]"}
        return names.get(self.kind, "dict[str, Any]")


@attrs.frozen
class Guard:
    """An argument whose absence would mean everything, and the one that says so on purpose."""

    argument: str
    replaces: str
    reason: str


@attrs.frozen
class NaturalKey:
    """Arguments that identify what a create makes, and the list that finds it."""

    lookup: str
    fields: dict[str, str]
    """Argument to field of a row."""
    prefixed: tuple[str, ...]
    """Arguments before which the panel may put a prefix."""
    local: tuple[str, ...]
    """Arguments that are the part of an address before the @."""


@attrs.frozen(kw_only=True)
class OperationSource:
    """An operation as the templates see it."""

    name: str
    method_name: str
    namespace: tuple[str, ...]
    http_method: str
    path: str
    summary: str
    """First line of the docstring."""
    description: str
    scope: str | None
    signed: bool
    repeat: str
    natural_key: NaturalKey | None
    shown_by: str | None
    """Operation that reads what this one has made or changed."""
    destructive: bool
    asynchronous: bool
    errors: tuple[str, ...]
    arguments: tuple[Argument, ...]
    guard: Guard | None
    result: Result
    reference: Wire
    panel: Wire | None

    @property
    def constant(self) -> str:
        """Name of the module constant that holds the operation."""
        return constant_of(self.name)

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
    def choices(self) -> dict[str, tuple[str, ...]]:
        """Arguments that take one of a closed set of values, and the sets."""
        return {argument.name: argument.choices for argument in self.arguments if argument.choices}

    @property
    def not_empty(self) -> list[str]:
        """Arguments that cannot be right when empty."""
        return [argument.name for argument in self.arguments if argument.not_empty]

    @property
    def lists(self) -> list[str]:
        """Arguments that take several values."""
        return [argument.name for argument in self.arguments if argument.is_list]

    @property
    def models(self) -> set[str]:
        """Every model that the method's signature names."""
        named = {self.result.model} if self.result.model else set()
        return named.union(*(argument.models for argument in self.arguments))


def constant_of(operation: str) -> str:
    """Return the name of the module constant that holds an operation."""
    return operation.replace(".", "_").upper()


def operations_of(resource: ResourceFile, specification: Specification) -> tuple[OperationSource, ...]:
    """Return the operations of one resource file in the order they are written."""
    operations: dict[str, OperationSource] = {}
    for path, method, item, node in resource.operations():
        operation = _operation(path, method, item, node, specification)
        operation = attrs.evolve(operation, shown_by=_shown_by(operation, operations.values()))
        operations[operation.name] = operation
        key = operation.natural_key
        if key is not None and operations[key.lookup].result.kind != "pages":
            where = node["x-natural-key"].where("lookup")
            raise SpecError(where, f"`{key.lookup}` is no list", "Name the list that finds the object")
    return tuple(operations.values())


def _shown_by(operation: OperationSource, earlier: Iterable[OperationSource]) -> str | None:
    """Return what reads the result of a write: what gets one of it, or else lists them."""
    if operation.repeat == "read" or operation.natural_key is not None or operation.result.kind != "model":
        return None
    readers = {
        reader.result.kind: reader.name
        for reader in earlier
        if (reader.repeat, reader.namespace, reader.result.model)
        == ("read", operation.namespace, operation.result.model)
    }
    return readers.get("model") or readers.get("pages")


def _operation(path: str, method: str, item: Node, node: Node, specification: Specification) -> OperationSource:
    name: str = node["operationId"]
    *namespace, method_name = name.split(".")
    arguments = arguments_of(path, item, node, specification)
    result = _result(node, specification)
    reference = reference_wire(method.upper(), path, arguments, result.items)
    return OperationSource(
        name=name,
        method_name=method_name,
        namespace=tuple(namespace),
        http_method=method.upper(),
        path=path,
        summary=_summary(method.upper(), path, node),
        description=node.get("description", ""),
        scope=node["x-scope"],
        signed=node.get("security") != [],
        repeat=node["x-repeat"],
        natural_key=_natural_key(node, arguments, result, specification),
        shown_by=None,
        destructive=node.get("x-destructive", False),
        asynchronous=node.get("x-async", False),
        errors=tuple(status for status in node["responses"] if not status.startswith("2")),
        arguments=arguments,
        guard=_guard(node, arguments),
        result=result,
        reference=reference,
        panel=panel_wire(reference, node, arguments),
    )


def _summary(method: str, path: str, node: Node) -> str:
    text = sentence(node["summary"])
    # An abbreviation keeps its capitals.
    text = text[0].lower() + text[1:] if text[1:2].islower() else text
    line = f"{method} {path}: {text}"
    if not fits(line, 8):
        where = node.where("summary")
        raise SpecError(
            where, "the summary is too long for one line with its path", "Shorten it; details go to `description`"
        )
    return line


def _natural_key(
    node: Node, arguments: Sequence[Argument], result: Result, specification: Specification
) -> NaturalKey | None:
    if "x-natural-key" not in node:
        return None
    key: Node = node["x-natural-key"]
    fields: Node = key["fields"]
    row = specification.document["components"]["schemas"].get(result.model, {}).get("properties", {})
    for name, field in fields.items():
        require_argument(name, arguments, key.where("fields"), node)
        if field not in row:
            problem = f"`{node['operationId']}` replies with no `{field}`, so rows of its list have none either"
            raise SpecError(fields.where(name), problem, "Name a field of what it creates")
    special = {place: tuple(key.get(place, ())) for place in ("prefixed", "local")}
    for place, names in special.items():
        for name in names:
            if name not in fields:
                problem = f"`{place}` names `{name}`, which is not under `fields`"
                raise SpecError(key.where(place), problem, "Name it there, or correct the name")
    return NaturalKey(lookup=key["lookup"], fields=dict(fields), **special)


def _guard(node: Node, arguments: Sequence[Argument]) -> Guard | None:
    if "x-guard" not in node:
        return None
    guard: Node = node["x-guard"]
    require_argument(guard["replaces"], arguments, guard.where("replaces"), node)
    if any(argument.name == guard["argument"] for argument in arguments):
        problem = f"`{node['operationId']}` has an argument `{guard['argument']}` already"
        raise SpecError(guard.where("argument"), problem, "Give that of the guard another name")
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
            raise SpecError(
                where, f"`{name}` is paginated, but replies with no list of a schema", "Reply with an array of a `$ref`"
            )
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
