"""Turns the operations of the specification into what the templates need: arguments, results, wire forms."""

import keyword
from typing import Any, Literal

import attrs

from codegen.problems import SpecError
from codegen.source import Node
from codegen.specification import ResourceFile, Specification
from codegen.wires import Wire, panel_wire, reference_wire

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
Place = Literal["path", "query", "body"]


@attrs.frozen(kw_only=True)
class Argument:
    """A parameter of a generated method."""

    name: str
    wire_name: str
    place: Place
    annotation: str
    required: bool
    description: str
    choices: tuple[str, ...] = ()
    not_empty: bool = False
    models: frozenset[str] = frozenset()
    is_list: bool = False

    @property
    def is_positional(self) -> bool:
        """Path parameters are positional, everything else is keyword-only."""
        return self.place == "path"


@attrs.frozen
class Result:
    """What a generated method returns."""

    kind: Literal["nothing", "model", "pages", "object"]
    model: str = ""
    description: str = ""
    items: str | None = None
    """Key of the rows in a reply that is an object."""


@attrs.frozen
class Guard:
    """An argument whose absence would mean everything, and the one that says so on purpose."""

    argument: str
    replaces: str
    reason: str


@attrs.frozen(kw_only=True)
class OperationSource:
    """An operation as the templates see it."""

    name: str
    method_name: str
    namespace: tuple[str, ...]
    http_method: str
    path: str
    summary: str
    description: str
    scope: str | None
    signed: bool
    repeat: str
    natural_key: Node | None
    destructive: bool
    asynchronous: bool
    errors: tuple[str, ...]
    inferred: str | None
    arguments: tuple[Argument, ...]
    guard: Guard | None
    result: Result
    reference: Wire
    panel: Wire | None

    @property
    def constant(self) -> str:
        """Name of the module constant that holds the operation."""
        return "_" + self.name.replace(".", "_").upper()

    @property
    def positional(self) -> tuple[Argument, ...]:
        """Arguments of the path, in its order."""
        return tuple(argument for argument in self.arguments if argument.is_positional)

    @property
    def keywords(self) -> tuple[Argument, ...]:
        """The other arguments, required ones first."""
        rest = [argument for argument in self.arguments if not argument.is_positional]
        return tuple(sorted(rest, key=lambda argument: not argument.required))


def operations_of(resource: ResourceFile, specification: Specification) -> tuple[OperationSource, ...]:
    """Return the operations of one resource file in the order they are written."""
    return tuple(
        _operation(path, method, item, node, specification) for path, method, item, node in resource.operations()
    )


def _operation(path: str, method: str, item: Node, node: Node, specification: Specification) -> OperationSource:
    name: str = node["operationId"]
    *namespace, method_name = name.split(".")
    arguments = _arguments(path, item, node, specification)
    result = _result(node, specification)
    reference = reference_wire(method.upper(), path, arguments, result.items)
    guard = Guard(**node["x-guard"]) if "x-guard" in node else None
    return OperationSource(
        name=name,
        method_name=method_name,
        namespace=tuple(namespace),
        http_method=method.upper(),
        path=path,
        summary=node["summary"],
        description=node.get("description", ""),
        scope=node["x-scope"],
        signed=node.get("security") != [],
        repeat=node["x-repeat"],
        natural_key=node.get("x-natural-key"),
        destructive=node.get("x-destructive", False),
        asynchronous=node.get("x-async", False),
        errors=tuple(str(status) for status in node["responses"] if not str(status).startswith("2")),
        inferred=node.get("x-inferred"),
        arguments=arguments,
        guard=guard,
        result=result,
        reference=reference,
        panel=panel_wire(reference, node, arguments),
    )


def _arguments(path: str, item: Node, node: Node, specification: Specification) -> tuple[Argument, ...]:
    found: list[Argument] = []
    for raw in [*item.get("parameters", ()), *node.get("parameters", ())]:
        parameter = raw
        if "$ref" in raw:
            parameter = specification.shared["components"]["parameters"][raw["$ref"].rsplit("/", 1)[-1]]
        if parameter["in"] not in {"path", "query"}:
            raise SpecError(parameter.where("in"), f"a parameter in `{parameter['in']}`", "Use path or query")
        required = parameter.get("required", False)
        found.append(_argument(parameter["name"], parameter["in"], parameter, parameter["schema"], required))
    schema = node.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    for name, value in schema.get("properties", {}).items():
        if value.get("x-argument", True):
            found.append(_argument(name, "body", value, value, name in schema.get("required", ())))
    names = [argument.name for argument in found]
    if len(set(names)) < len(names):
        raise SpecError(node.where(), f"two arguments of `{node['operationId']}` have one name", "Rename one of them")
    in_path = [argument for argument in found if argument.place == "path"]
    for argument in in_path:
        if f"{{{argument.wire_name}}}" not in path:
            raise SpecError(node.where(), f"`{argument.name}` is not in {path}", f"Add {{{argument.name}}} to the path")
    in_path.sort(key=lambda argument: path.index(f"{{{argument.wire_name}}}"))
    if len(in_path) != path.count("{"):
        raise SpecError(node.where(), f"a placeholder of {path} has no parameter", "Add it under `parameters`")
    return (*in_path, *(argument for argument in found if argument.place != "path"))


def _argument(name: str, place: Place, described: Node, schema: Node, required: bool) -> Argument:
    if "description" not in described:
        raise SpecError(described.where(), f"`{name}` has no description", "Say what it is, with its unit")
    annotation, models = _annotation(schema)
    return Argument(
        name=f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_"),
        wire_name=name,
        place=place,
        annotation=annotation,
        required=required,
        description=described["description"],
        choices=tuple(schema.get("enum", ())),
        not_empty=place != "path" and schema.get("minLength", 0) > 0,
        models=frozenset(models),
        is_list=schema.get("type") == "array",
    )


def _annotation(schema: Node) -> tuple[str, set[str]]:
    """Return the type of an argument, and the models it names."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"{name} | Mapping[str, Any]", {name}
    if "oneOf" in schema:
        names = [option["$ref"].rsplit("/", 1)[-1] for option in schema["oneOf"]]
        return " | ".join([*names, "Mapping[str, Any]"]), set(names)
    if "enum" in schema:
        return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]", set()
    kinds = schema.get("type", "object")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    parts, models = [], set()
    for kind in kinds:
        if kind == "null":
            continue
        if kind == "array":
            inner, inner_models = _annotation(schema["items"])
            parts.append(f"Sequence[{inner}]")
            models |= inner_models
        else:
            parts.append(_SCALARS.get(kind, "Mapping[str, Any]"))
    return " | ".join([*parts, *(["None"] if "null" in kinds else [])]), models


def _result(node: Node, specification: Specification) -> Result:
    response = next(value for status, value in node["responses"].items() if str(status).startswith("2"))
    description = response.get("description", "")
    schema = response.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return Result("nothing", description=description)
    if node.get("x-paginated"):
        rows, key = _rows(schema, specification)
        if rows is None or "$ref" not in rows["items"]:
            raise SpecError(
                node.where("x-paginated"), "the reply is no list of a model", "Reply with an array of a $ref"
            )
        return Result("pages", rows["items"]["$ref"].rsplit("/", 1)[-1], description, key)
    if "$ref" in schema:
        return Result("model", schema["$ref"].rsplit("/", 1)[-1], description)
    if schema.get("type") == "object" and "properties" not in schema:
        return Result("object", description=description)
    raise SpecError(
        node.where("responses"), "the reply is neither a model nor a list", "Name the schema under components"
    )


def _rows(schema: Node, specification: Specification) -> tuple[Any, str | None]:
    if schema.get("type") == "array":
        return schema, None
    target = specification.schema(schema["$ref"]) if "$ref" in schema else schema
    for key, value in target.get("properties", {}).items():
        if value.get("type") == "array":
            return value, key
    return None, None
