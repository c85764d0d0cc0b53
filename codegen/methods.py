"""A generated method, as the templates use it: its operation, its arguments and its result."""

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs

from codegen.checks import check_distinct, referenced_name
from codegen.spec import Specification
from codegen.yaml_nodes import Location, Node, SpecError
from panelica_async.core.operation import Operation, Wire

_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "Mapping[str, Any]"}
FILE = "FileSource"
"""Type of an argument that is a file."""
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
    choices: tuple[str, ...]
    not_empty: bool
    is_list: bool
    models: frozenset[str]
    """Models in the annotation."""

    @property
    def is_positional(self) -> bool:
        """Path parameters are positional, everything else is keyword-only."""
        return self.place == "path"


@attrs.frozen
class Result:
    """What a generated method returns."""

    kind: Literal["nothing", "model", "pages", "object", "untyped", "upload", "file"]
    description: str
    model: str | None = None
    items: str | None = None
    """Key of the rows, if the reply is an object."""

    @property
    def annotation(self) -> str:
        """Type in the signature."""
        if self.kind == "pages":
            return f"Paginator[{self.model}]"
        return self.model or {"nothing": "None", "untyped": "Any", "file": "bytes"}.get(self.kind, "dict[str, Any]")


@attrs.frozen(kw_only=True)
class GeneratedMethod:
    """An operation and the method to generate for it."""

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
    def panel_wire(self) -> Wire | None:
        """The wire on current panels; None if they do not serve the operation."""
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
        """The keyword arguments, required ones first."""
        keywords = [argument for argument in self.arguments if not argument.is_positional]
        return tuple(sorted(keywords, key=lambda argument: not argument.required))

    @property
    def models(self) -> set[str]:
        """Every model in the method's signature."""
        of_result = {self.result.model} if self.result.model else set()
        return of_result.union(*(argument.models for argument in self.arguments))


def constant_of(operation: Operation) -> str:
    """Return the name of the module constant that holds an operation."""
    return operation.name.replace(".", "_").upper()


def arguments_of(
    operation: Node, path: str, parameters: Iterable[Node], body: Mapping[str, Any] | None, specification: Specification
) -> tuple[Argument, ...]:
    """Return the arguments of an operation: those of the path in its order, then the others in file order.

    Args:
        operation: The operation.
        path: Its path.
        parameters: Its own parameters and those of its path, without references.
        body: Schema of its body.
        specification: The published reference, which has the schemas that parameters and fields refer to.
    """
    arguments = [
        *_parameters(path, parameters, specification),
        *_fields(path, body or Node(operation.where()), specification),
    ]
    check_distinct([argument.name for argument in arguments], operation)
    in_path = [argument for argument in arguments if argument.is_positional]
    in_path.sort(key=lambda argument: path.index(f"{{{argument.wire_name}}}"))
    return (*in_path, *(argument for argument in arguments if not argument.is_positional))


def _parameters(path: str, parameters: Iterable[Node], specification: Specification) -> Iterator[Argument]:
    for parameter in parameters:
        argument = _argument(
            parameter["name"],
            parameter["in"],
            parameter["schema"],
            description=parameter.get("description") or default_description(parameter["name"], path),
            required=parameter.get("required", False),
            specification=specification,
        )
        if any("Mapping" in type_name for type_name in argument.annotation.split(" | ")):
            problem = f"`{argument.name}` is an object, which does not fit into a {argument.place}"
            raise SpecError(parameter.where("schema"), problem, "Put it into the body")
        yield argument


def _fields(path: str, body: Mapping[str, Any], specification: Specification) -> Iterator[Argument]:
    for name, schema in body.get("properties", {}).items():
        if schema.get("x-argument", True):
            yield _argument(
                name,
                "body",
                schema,
                description=schema.get("description") or default_description(name, path),
                required=name in body.get("required", ()),
                specification=specification,
            )


def default_description(name: str, path: str) -> str:
    """Return a description for an argument or a field without one; for an `id`, the path says of what."""
    words = name.split("_")
    if name == "id":
        before = re.search(r"([a-z-]+)/\{id\}", path)
        plural = before[1].replace("-", " ") if before else ""
        return f"Id of the {_singular(plural) if plural.endswith('s') else 'object'}."
    if words[-1] == "id":
        return f"Id of the {' '.join(words[:-1])}."
    return f"{' '.join(words).capitalize()}."


def _singular(plural: str) -> str:
    return f"{plural.removesuffix('ies')}y" if plural.endswith("ies") else plural.removesuffix("s")


def require_argument(name: str, arguments: Sequence[Argument], where: Location, operation: Node) -> None:
    """Raise `SpecError` unless the operation has an argument of this name."""
    names = [argument.name for argument in arguments]
    if name not in names:
        problem = f"`{operation['operationId']}` has no argument `{name}`"
        raise SpecError(where, problem, f"Use one of: {', '.join(names)}" if names else "It takes no arguments")


def _argument(
    name: str, place: Place, schema: Node, *, description: str, required: bool, specification: Specification
) -> Argument:
    """Return the argument for a parameter, or for a field of the body."""
    models: set[str] = set()
    return Argument(
        name=f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_"),
        wire_name=name,
        place=place,
        annotation=_annotation(schema, specification, models),
        required=required,
        description=description,
        choices=tuple(schema.get("enum", ())),
        not_empty=place != "path" and (schema.get("minLength", 0) > 0 or schema.get("minItems", 0) > 0),
        is_list="array" in _json_types(schema),
        models=frozenset(models),
    )


def _annotation(schema: Node, specification: Specification, models: set[str]) -> str:
    """Return the annotation of an argument, and add the models in it to `models`."""
    if "$ref" in schema:
        name = referenced_name(schema)
        models.add(name)
        is_enum = "x-known-values" in specification.resolve(schema)
        return f"{name} | {'str' if is_enum else 'Mapping[str, Any]'}"
    if "anyOf" in schema:
        names = [referenced_name(option) for option in schema["anyOf"]]
        models.update(names)
        return " | ".join([*names, "Mapping[str, Any]"])
    if "enum" in schema:
        literal = f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
        if "x-enum" not in schema:
            return literal
        models.add(_matching_open_enum(schema, specification))
        return f"{schema['x-enum']} | {literal}"
    types = [_python_type(kind, schema, specification, models) for kind in _json_types(schema) if kind != "null"]
    return " | ".join([*types, "None"] if "null" in _json_types(schema) else types)


def _matching_open_enum(schema: Node, specification: Specification) -> str:
    """Return the open enum of replies that corresponds to a closed enum of a request."""
    name: str = schema["x-enum"]
    known = specification.document["components"]["schemas"].get(name, {}).get("x-known-values", ())
    if missing := [value for value in schema["enum"] if value not in known]:
        remedy = f"Add it to the `x-known-values` of `{name}`, or name another open enum"
        raise SpecError(schema.where("x-enum"), f"`{name}` lacks the value `{missing[0]}`", remedy)
    return name


def _python_type(kind: str, schema: Node, specification: Specification, models: set[str]) -> str:
    if kind == "array":
        return f"Sequence[{_annotation(schema['items'], specification, models)}]"
    if kind == "string" and schema.get("format") == "date-time":
        return "datetime"
    if kind == "string" and schema.get("format") == "binary":
        return FILE
    return _TYPES[kind]


def _json_types(schema: Node) -> list[str]:
    kinds: str | list[str] = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds
