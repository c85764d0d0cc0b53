"""Merges the files of `spec/` into one OpenAPI document and checks the conventions of `spec/README.md`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from openapi_spec_validator import OpenAPIV31SpecValidator

from codegen.problems import Location, SpecError
from codegen.source import Node, read

METHODS = ("get", "put", "post", "patch", "delete")
_COMMON_ERRORS = {"401": "Unauthorized", "403": "Forbidden", "429": "RateLimited", "500": "ServerError"}
_OWN_ERRORS = {"400": "BadRequest", "404": "NotFound", "409": "Conflict"}
_OPERATION_EXTENSIONS = {
    "x-scope", "x-repeat", "x-natural-key", "x-destructive", "x-async", "x-paginated", "x-errors", "x-inferred",
    "x-panel", "x-guard",
}  # fmt: skip
_PANEL_FIELDS = {"source", "method", "path", "rename", "query", "body", "omit", "wrap", "items", "absent"}
_REPEATS = ("read", "idempotent", "natural-key", "unsafe")
_NOT_RESOURCES = ("openapi", "facts")


@attrs.frozen
class ResourceFile:
    """One resource: a file of the specification."""

    name: str
    tag: Node
    paths: Node
    schemas: Node

    def operations(self) -> Iterator[tuple[str, str, Node, Node]]:
        """Yield path, method, path item and operation."""
        for path, item in self.paths.items():
            for method in METHODS:
                if method in item:
                    yield path, method, item, item[method]


@attrs.frozen
class Specification:
    """The whole specification, merged and checked."""

    resources: tuple[ResourceFile, ...]
    shared: Node
    """The root file: shared parameters, schemas and responses."""
    facts: Node
    document: dict[str, Any]
    """The merged OpenAPI document."""

    def schema(self, reference: str) -> Node:
        """Return the schema a `$ref` names."""
        name = reference.rsplit("/", 1)[-1]
        found = self.document["components"]["schemas"][name]
        assert isinstance(found, Node)
        return found


def load(root: Path) -> Specification:
    """Read, merge and check the files below `root`; raises `SpecError` at the first fault."""
    root = root.resolve()
    if not (root / "openapi.yaml").is_file():
        raise SpecError(
            Location(Path(root.name) / "openapi.yaml", 1),
            "the file is missing",
            "It holds the head of the document",
        )
    shared = read(root / "openapi.yaml", root)
    facts = read(root / "facts.yaml", root) if (root / "facts.yaml").is_file() else Node(shared.location)
    resources = tuple(_resource(path, root) for path in sorted(root.glob("*.yaml")) if path.stem not in _NOT_RESOURCES)
    specification = Specification(resources, shared, facts, _merge(shared, facts, resources))
    _check_references(specification)
    for resource in resources:
        for path, _, _, operation in resource.operations():
            _check_operation(operation, path)
    _check_names(resources)
    _check_namespaces(resources)
    for error in OpenAPIV31SpecValidator(specification.document).iter_errors():
        where = _locate(specification.document, list(error.absolute_path))
        raise SpecError(where, f"not valid OpenAPI 3.1: {error.message}", "Compare with the other files of the folder")
    return specification


def _resource(path: Path, root: Path) -> ResourceFile:
    document = read(path, root)
    for key in document:
        if key not in {"tag", "paths", "components"}:
            raise SpecError(document.where(key), f"unknown key `{key}`", "A resource has `tag`, `paths`, `components`")
    for key in ("tag", "paths"):
        if not isinstance(document.get(key), Node):
            raise SpecError(document.where(key), f"`{key}` is missing", "spec/README.md lists what a resource holds")
    empty = Node(document.location)
    return ResourceFile(
        path.stem, document["tag"], document["paths"], document.get("components", empty).get("schemas", empty)
    )


def _merge(shared: Node, facts: Node, resources: tuple[ResourceFile, ...]) -> dict[str, Any]:
    document = dict(shared)
    paths, schemas = Node(shared.location), Node(shared.location)
    for name, schema in shared["components"].get("schemas", {}).items():
        _add(schemas, name, schema, shared.where("components"))
    for resource in resources:
        for path, item in resource.paths.items():
            _add(paths, path, item, resource.paths.where(path))
        for name, schema in resource.schemas.items():
            _add(schemas, name, schema, resource.schemas.where(name))
        for _, _, _, operation in resource.operations():
            operation["tags"] = [resource.tag["name"]]
            _expand_errors(operation)
    document["tags"] = [dict(resource.tag) for resource in resources]
    document["paths"] = paths
    document["components"] = {**shared["components"], "schemas": schemas}
    document["x-facts"] = facts
    return document


def _add(target: Node, key: str, value: Any, where: Location) -> None:
    if key in target:
        raise SpecError(where, f"`{key}` is defined at {target.where(key)} too", "Keep one of the two")
    target[key] = value
    target.lines[key] = where.line


def _expand_errors(operation: Node) -> None:
    names = {} if operation.get("security") == [] else dict(_COMMON_ERRORS)
    for status in operation.get("x-errors", ()):
        if str(status) not in _OWN_ERRORS:
            raise SpecError(
                operation.where("x-errors"),
                f"`x-errors` holds {status}",
                f"It takes {', '.join(_OWN_ERRORS)}",
            )
        names[str(status)] = _OWN_ERRORS[str(status)]
    for status in sorted(names):
        operation.get("responses", {}).setdefault(status, {"$ref": f"#/components/responses/{names[status]}"})


def _check_operation(operation: Node, path: str) -> None:
    if not isinstance(operation.get("operationId"), str):
        raise SpecError(operation.where(), f"an operation of {path} has no `operationId`", "Give it its Python name")
    _check_fields(operation)
    _check_repeat(operation)
    if not any(str(status).startswith("2") for status in operation["responses"]):
        name = operation["operationId"]
        raise SpecError(operation.where("responses"), f"`{name}` has no success response", "Add a 200, 201 or 204")


def _check_fields(operation: Node) -> None:
    for key in operation:
        if key.startswith("x-") and key not in _OPERATION_EXTENSIONS:
            raise SpecError(operation.where(key), f"unknown field `{key}`", "spec/README.md lists the x- fields")
    for key in ("summary", "x-scope", "x-repeat", "responses"):
        if key not in operation:
            name = operation["operationId"]
            raise SpecError(operation.where(), f"`{name}` has no `{key}`", "spec/README.md says what it takes")
    for key in operation.get("x-panel", ()):
        if key not in _PANEL_FIELDS:
            where = operation["x-panel"].where(key)
            raise SpecError(where, f"unknown field `{key}` in `x-panel`", "spec/README.md lists its fields")


def _check_repeat(operation: Node) -> None:
    repeat, where = operation["x-repeat"], operation.where("x-repeat")
    if repeat not in _REPEATS:
        raise SpecError(where, f"`x-repeat` is {repeat!r}", f"It takes {', '.join(_REPEATS)}")
    if (repeat == "natural-key") != ("x-natural-key" in operation):
        raise SpecError(
            where,
            f"`{operation['operationId']}` must have both or neither of `x-repeat: natural-key` and `x-natural-key`",
            "`x-natural-key` is {fields: [...], lookup: <operationId>}",
        )


def _check_names(resources: tuple[ResourceFile, ...]) -> None:
    seen: dict[str, Location] = {}
    for resource in resources:
        for _, _, _, operation in resource.operations():
            name, where = operation["operationId"], operation.where("operationId")
            if name in seen:
                raise SpecError(
                    where, f"`{name}` is defined at {seen[name]} too", "Give one of them another operationId"
                )
            seen[name] = where
    for resource in resources:
        for _, _, _, operation in resource.operations():
            lookup = operation.get("x-natural-key", {}).get("lookup")
            if lookup is not None and lookup not in seen:
                raise SpecError(
                    operation.where("x-natural-key"),
                    f"there is no operation `{lookup}`",
                    "Name an existing list",
                )


def _check_namespaces(resources: tuple[ResourceFile, ...]) -> None:
    owners: dict[str, str] = {}
    for resource in resources:
        for _, _, _, operation in resource.operations():
            top, dot, _ = operation["operationId"].partition(".")
            owner = owners.setdefault(top, resource.name) if dot else resource.name
            if owner != resource.name:
                raise SpecError(
                    operation.where("operationId"),
                    f"`{top}` belongs to {owner}.yaml",
                    f"Move the operation to {owner}.yaml",
                )


def _check_references(specification: Specification) -> None:
    def walk(value: Any) -> None:
        if isinstance(value, dict):
            reference = value.get("$ref")
            if (
                isinstance(reference, str)
                and isinstance(value, Node)
                and not _resolves(specification.document, reference)
            ):
                raise SpecError(
                    value.where("$ref"),
                    f"`{reference}` names nothing",
                    "Define it, or correct the name after #/components/",
                )
            for child in value.values():
                walk(child)
        elif isinstance(value, list):
            for child in value:
                walk(child)

    walk(specification.document)


def _resolves(document: dict[str, Any], reference: str) -> bool:
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(value, dict) or part not in value:
            return False
        value = value[part]
    return reference.startswith("#/")


def _locate(document: dict[str, Any], path: list[Any]) -> Location:
    value: Any = document
    where = document["components"]["schemas"].location
    for part in path:
        if isinstance(value, Node) and part in value:
            where = value.where(part)
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            break
    assert isinstance(where, Location)
    return where
