"""Turns the parameters and the body of an operation into the arguments of a Python method."""

import keyword
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from codegen.checks import check_distinct
from codegen.spec import Specification
from codegen.yaml_nodes import Location, Node, SpecError

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
    """Models that the annotation names."""

    @property
    def is_positional(self) -> bool:
        """Path parameters are positional, everything else is keyword-only."""
        return self.place == "path"


def arguments_of(path: str, item: Node, operation: Node, specification: Specification) -> tuple[Argument, ...]:
    """Return the arguments of an operation: those of the path in its order, then the others in file order."""
    found = [
        *_parameters(item, specification),
        *_parameters(operation, specification),
        *_body(operation, specification),
    ]
    check_distinct([one.name for one in found], operation)
    in_path = [one for one in found if one.place == "path"]
    in_path.sort(key=lambda one: path.index(f"{{{one.wire_name}}}"))
    return (*in_path, *(one for one in found if one.place != "path"))


def require_argument(name: str, arguments: Sequence[Argument], where: Location, operation: Node) -> None:
    """Raise `SpecError` unless the operation has an argument of this name."""
    names = [one.name for one in arguments]
    if name not in names:
        problem = f"`{operation['operationId']}` has no argument `{name}`"
        raise SpecError(where, problem, f"Use one of: {', '.join(names)}" if names else "It takes no arguments")


def _parameters(node: Node, specification: Specification) -> Iterator[Argument]:
    for entry in node.get("parameters", ()):
        parameter = specification.resolve(entry)
        found = argument(
            parameter["name"],
            parameter["in"],
            parameter["schema"],
            description=parameter["description"],
            required=parameter.get("required", False),
            specification=specification,
        )
        if any("Mapping" in kind for kind in found.annotation.split(" | ")):
            problem = f"`{found.name}` is an object, which does not fit into a {found.place}"
            raise SpecError(parameter.where("schema"), problem, "Put it into the body")
        yield found


def _body(operation: Node, specification: Specification) -> Iterator[Argument]:
    if "requestBody" not in operation:
        return
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    for name, schema in body["properties"].items():
        if schema.get("x-argument", True):
            yield argument(
                name,
                "body",
                schema,
                description=schema["description"],
                required=name in body.get("required", ()),
                specification=specification,
            )


def argument(
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
        is_list="array" in _kinds(schema),
        models=frozenset(models),
    )


def _annotation(schema: Node, specification: Specification, models: set[str]) -> str:
    """Return the type of an argument, and add the models it names."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        models.add(name)
        is_enum = "x-known-values" in specification.resolve(schema)
        return f"{name} | {'str' if is_enum else 'Mapping[str, Any]'}"
    if "anyOf" in schema:
        names = [option["$ref"].rsplit("/", 1)[-1] for option in schema["anyOf"]]
        models.update(names)
        return " | ".join([*names, "Mapping[str, Any]"])
    if "enum" in schema:
        literal = f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
        if "x-enum" not in schema:
            return literal
        models.add(_open_enum(schema, specification))
        return f"{schema['x-enum']} | {literal}"
    types = [_type(kind, schema, specification, models) for kind in _kinds(schema) if kind != "null"]
    return " | ".join([*types, "None"] if "null" in _kinds(schema) else types)


def _open_enum(schema: Node, specification: Specification) -> str:
    """Return the open enum of the replies that a closed one of a request goes with."""
    name: str = schema["x-enum"]
    known = specification.document["components"]["schemas"].get(name, {}).get("x-known-values", ())
    if missing := [value for value in schema["enum"] if value not in known]:
        remedy = f"Add it to the `x-known-values` of `{name}`, or name another open enum"
        raise SpecError(schema.where("x-enum"), f"`{name}` lacks the value `{missing[0]}`", remedy)
    return name


def _type(kind: str, schema: Node, specification: Specification, models: set[str]) -> str:
    if kind == "array":
        return f"Sequence[{_annotation(schema['items'], specification, models)}]"
    if kind == "string" and schema.get("format") == "date-time":
        return "datetime"
    if kind == "string" and schema.get("format") == "binary":
        return FILE
    return _TYPES[kind]


def _kinds(schema: Node) -> list[str]:
    kinds: str | list[str] = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds
