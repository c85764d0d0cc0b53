"""The checks of `spec` and `panel`: the conventions of each file, then names, references, scopes and paths."""

import difflib
import json
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from openapi_spec_validator import OpenAPIV31SpecValidator

from codegen.text import fits, opening
from codegen.yaml_nodes import Location, Node, SpecError, read

_CLIENT_MEMBERS = {
    "base_url",
    "clock_skew",
    "close",
    "dialect",
    "learn_dialect",
    "request",
    "rotate_key",
    "spec",
    "stats",
    "subscribe",
    "with_options",
}
"""Members of `PanelicaClient` that are not generated."""
SHARED_GROUP = "shared"
"""Module of the schemas that the root file defines."""
PANEL_SUFFIX = "_panel"
"""Suffix of the name of a module that has what only current panels have of a resource."""
_RESERVED_MODULES = {SHARED_GROUP, "panel_registry", "registry"}
"""Generated modules that do not belong to a resource."""
IMPORTED = {
    "Any", "Fence", "FileSource", "Final", "Guard", "Literal", "Mapping", "Model", "NaturalKey",
    "OpenEnum", "Operation", "Paginator", "ReadBack", "Refusal", "Repeat", "Resource", "Sequence", "UNSET", "Unset",
    "Wire", "namespace",
}  # fmt: skip
"""Names that generated modules import besides their models."""


# Conventions of one file

Kind = Literal["root", "catalog", "resource", "panel-file", "dialect"]
_CONVENTIONS = Path(__file__).with_name("conventions.yaml")


def check_file(document: Node, kind: Kind) -> None:
    """Raise `SpecError` for the first line of a file that breaks a convention."""
    errors = [_spec_error(error, document) for error in _validator(kind).iter_errors(document)]
    if errors:
        raise min(errors, key=lambda error: error.location.line)


@cache
def _validator(kind: Kind) -> Draft202012Validator:
    conventions = {**read(_CONVENTIONS), "$ref": f"#/$defs/{kind}"}
    return Draft202012Validator(conventions, format_checker=FormatChecker(["regex"]))


def _spec_error(error: ValidationError, document: Node) -> SpecError:
    # The types of both depend on `error.validator`, which type hints cannot express.
    schema: Any = error.schema
    instance: Any = error.instance
    where = document.locate(error.absolute_path)
    subject, remedy = _subject(error, document), schema.get("description", "See spec/README.md for the conventions")
    if "propertyNames" in error.absolute_schema_path:
        where = document.locate([*error.absolute_path, instance])
        return SpecError(where, f"`{instance}` does not belong here", remedy)
    match error.validator:
        case "required":
            missing = next(name for name in schema["required"] if name not in instance)
            remedy = schema.get("properties", {}).get(missing, {}).get("description", remedy)
            problem = f"`{subject}` has no `{missing}`"
        case "additionalProperties":
            unknown = next(name for name in instance if name not in schema["properties"])
            where = instance.where(unknown)
            problem = f"`{subject}` has the unknown field `{unknown}`"
        case "minItems" | "minProperties":
            problem = f"`{subject}` is empty"
        case "maxProperties":
            problem = f"`{subject}` holds more than {schema['maxProperties']}"
        case "uniqueItems":
            problem = f"`{subject}` names something twice"
        case "not":
            problem = f"`{subject}` does not belong here"
        case _:
            problem = f"`{subject}` is {_describe(instance)}"
    return SpecError(where, problem, remedy)


def _subject(error: ValidationError, document: Node) -> str:
    """Return the name to show: `operationId` or `name` if there is one, otherwise the key."""
    instance: Any = error.instance
    keys = [part for part in error.absolute_path if isinstance(part, str)]
    names = (instance.get("operationId"), instance.get("name")) if isinstance(instance, dict) else ()
    return next((name for name in names if isinstance(name, str)), keys[-1] if keys else document.location.file.name)


def _describe(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)


# References, names and lengths across files


def check_openapi(root: Node) -> None:
    """Check that the root file is valid OpenAPI; in the other files, the conventions allow nothing else."""
    for error in OpenAPIV31SpecValidator(root).iter_errors():
        where = root.locate(error.absolute_path)
        raise SpecError(where, f"not valid OpenAPI 3.1: {error.message}", "See the OpenAPI specification")


def check_references(document: Node) -> None:
    """Check that every reference has a target, and that no resource refers to `Error`, which has no model."""
    for node in nodes_of(document):
        if "$ref" not in node:
            continue
        reference = node["$ref"]
        try:
            resolve(document, reference)
        except (AttributeError, KeyError, TypeError):
            remedy = "Define it, or correct the name after #/components/"
            raise SpecError(node.where("$ref"), f"`{reference}` does not exist", remedy) from None
        if reference == "#/components/schemas/Error" and node.location.file.stem != "openapi":
            raise SpecError(node.where("$ref"), "`Error` is not a model", "Name the statuses of errors in `x-errors`")


def resolve(document: Node, reference: str) -> Any:
    """Return the target of a reference; raises `KeyError` or `TypeError` if there is none."""
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


def referenced_name(node: Mapping[str, Any]) -> str:
    """Return the name of the schema that a node refers to."""
    name: str = node["$ref"].rpartition("/")[2]
    return name


def check_distinct(names: Sequence[str], operation: Node) -> None:
    """Check that no two arguments of an operation have the same name."""
    for name in names:
        if names.count(name) > 1:
            problem = f"`{operation['operationId']}` has two arguments `{name}`"
            raise SpecError(operation.where("operationId"), problem, "Rename one of them")


def check_paths(document: Node) -> None:
    """Check that placeholders and path parameters match."""
    for path, item in document["paths"].items():
        placeholders = set(re.findall(r"\{([^}]*)\}", path))
        for operation in (item[method] for method in item if method != "parameters"):
            nodes = [*item.get("parameters", ()), *operation.get("parameters", ())]
            parameters = [resolve(document, node["$ref"]) if "$ref" in node else node for node in nodes]
            name, where = operation["operationId"], operation.where("operationId")
            check_distinct([parameter["name"] for parameter in parameters], operation)
            named = {parameter["name"] for parameter in parameters if parameter["in"] == "path"}
            for missing in sorted(placeholders - named):
                problem = f"`{name}` has no parameter for the placeholder `{{{missing}}}` of its path"
                raise SpecError(where, problem, "Add it under `parameters`")
            for extra in sorted(named - placeholders):
                problem = f"`{name}` has the path parameter `{extra}`, but its path has no `{{{extra}}}`"
                raise SpecError(where, problem, "Add the placeholder, or send the parameter `in: query`")


def check_scopes(document: Node) -> None:
    """Check that a key can have every scope that an operation needs."""
    known = {scope["name"] for scope in document["x-catalog"].get("scopes", ())}
    for item in document["paths"].values():
        for method in item:
            if method != "parameters" and (scope := item[method]["x-scope"]) is not None:
                check_scope(scope, known, item[method].where("x-scope"))


def check_scope(scope: str, known: AbstractSet[str], where: Location) -> None:
    """Check that a key can have a scope."""
    if scope not in known:
        close = difflib.get_close_matches(scope, sorted(known), n=1)
        remedy = f"Did you mean `{close[0]}`? If not, add it" if close else "Add it"
        raise SpecError(where, f"unknown scope `{scope}`", f"{remedy} to `scopes` in catalog.yaml")


def check_schemas(document: Node) -> None:
    """Check schemas, and texts that become docstrings of modules and classes."""
    schemas: Node = document["components"]["schemas"]
    for tag in document["tags"]:
        _check_opening(tag, indent=8)
    check_schema_names(schemas)
    for name, schema in schemas.items():
        _check_opening(schema, indent=4)
        _check_properties(name, schema.get("properties", {}))
    check_required(document)


def check_schema_names(schemas: Node) -> None:
    """Check that no schema has the name of something that generated modules import, or of a constant of Python."""
    for name in schemas:
        if name in IMPORTED or keyword.iskeyword(name):
            raise SpecError(schemas.where(name), f"generated code uses the name `{name}`", "Choose another name")


def check_required(document: Node) -> None:
    """Check that every required property is defined."""
    for node in nodes_of(document):
        properties, required = node.get("properties"), node.get("required")
        if isinstance(properties, Node) and isinstance(required, list):
            for name in sorted(set(required) - properties.keys()):
                where = node.where("required")
                raise SpecError(where, f"`required` names `{name}`, which is not under `properties`", "Define it there")


def _check_properties(name: str, properties: Mapping[str, Node]) -> None:
    owners = {field: field for field in properties}
    for owner, field in properties.items():
        _check_opening(field, indent=4)
        for alias in field.get("x-aliases", ()):
            if alias in owners:
                problem = f"both `{owner}` and `{owners[alias]}` of `{name}` go by `{alias}`"
                raise SpecError(field.where("x-aliases"), problem, "Remove the alias from one")
            owners[alias] = owner


def _check_opening(node: Node, indent: int) -> None:
    first = opening(node["description"], indent)
    if not fits(first, indent):
        problem = f"the first sentence has {len(first)} characters, too many for a line"
        raise SpecError(node.where("description"), problem, "Shorten it, or make it two sentences")


def check_operations(operations: Mapping[str, Sequence[Node]]) -> None:
    """Check the operations of the resource files against each other."""
    names: dict[str, Location] = {}
    owners: dict[str, str] = {}
    for resource, nodes in operations.items():
        for node in nodes:
            name, where = node["operationId"], node.where("operationId")
            if name in names:
                problem = f"`{name}` is already defined at {names[name]}"
                raise SpecError(where, problem, "Rename one of them")
            names[name] = where
            top = name.partition(".")[0]
            owner = owners.setdefault(top, resource)
            if owner != resource:
                raise SpecError(where, f"`{top}` belongs to {owner}.yaml", f"Move the operation to {owner}.yaml")
    check_names(names)
    for nodes in operations.values():
        earlier: set[str] = set()
        for node in nodes:
            _check_natural_key(node, earlier)
            earlier.add(node["operationId"])


def check_module_name(name: str, where: Location) -> None:
    """Check that a generated module can have the name of a file, or of an attribute of the client."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise SpecError(where, f"`{name}` is not the name of a module", "Name it like `api_keys`")
    if name in _RESERVED_MODULES or name.endswith(PANEL_SUFFIX):
        raise SpecError(where, f"`{name}` is the name of another generated module", "Choose another name")


def check_names(names: Mapping[str, Location]) -> None:
    """Check that every operationId can be an attribute path of the client."""
    for name, where in names.items():
        _check_name(name, where)
        for other in names:
            if other.startswith(f"{name}."):
                problem = f"`{name}` cannot be both a method and the namespace of `{other}`"
                raise SpecError(where, problem, "Rename one of them")


def _check_name(name: str, where: Location) -> None:
    parts = name.split(".")
    for part in parts:
        if keyword.iskeyword(part):
            raise SpecError(where, f"`{part}` is a Python keyword", "Choose another operationId")
    if parts[0] in _CLIENT_MEMBERS:
        raise SpecError(where, f"the client already has a member `{parts[0]}`", "Choose another operationId")
    if len(parts) > 1:
        check_module_name(parts[0], where)


def _check_natural_key(operation: Node, earlier: AbstractSet[str]) -> None:
    """Check the natural key of an operation against the operations above it in its file."""
    key: Node | None = operation.get("x-natural-key")
    if (operation["x-repeat"] == "natural-key") != (key is not None):
        name = operation["operationId"]
        problem = f"`{name}` must have both or neither of `x-repeat: natural-key` and `x-natural-key`"
        remedy = "`x-natural-key` is {lookup: operationId of a list, fields: {argument: field of a row, …}}"
        raise SpecError(operation.where("x-repeat"), problem, remedy)
    if key is not None and key["lookup"] not in earlier:
        problem = f"`{operation['operationId']}` looks up `{key['lookup']}`, which this file does not define above it"
        raise SpecError(key.where("lookup"), problem, "Name the list that finds the object, and define it first")


def nodes_of(value: Any) -> Iterator[Node]:
    """Yield every mapping in a value, the outer before the inner."""
    if isinstance(value, Node):
        yield value
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from nodes_of(child)
