"""Reads and merges the files of the reference in `spec/` into one OpenAPI document; no path may occur twice."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from codegen.checks import (
    check_file,
    check_module_name,
    check_openapi,
    check_operations,
    check_paths,
    check_references,
    check_schemas,
    check_scopes,
    resolve,
)
from codegen.yaml_nodes import Location, Node, SpecError, read

METHODS = ("get", "put", "post", "patch", "delete")
_ERRORS = {
    "400": "BadRequest",
    "401": "Unauthorized",
    "403": "Forbidden",
    "404": "NotFound",
    "409": "Conflict",
    "429": "RateLimited",
    "500": "ServerError",
}
"""Names of the error responses in the root file, by status."""
_SIGNED_ERRORS = {"401", "403", "429", "500"}
_ROOT, _CATALOG = "openapi", "catalog"


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
    catalog: Node
    document: Node
    """The merged OpenAPI document."""

    def resolve(self, node: Node) -> Node:
        """Return the target of a `$ref`, or the node itself."""
        target: Node = resolve(self.document, node["$ref"]) if "$ref" in node else node
        return target


def load(root: Path) -> Specification:
    """Read, merge and check the files of a folder; raises `SpecError` for the first problem."""
    root = root.resolve()
    shared, catalog = _read_required(root, _ROOT), _read_required(root, _CATALOG)
    check_file(shared, "root")
    check_file(catalog, "catalog")
    resources = tuple(_read_resource(path) for path in spec_files(root, root) if path.stem not in {_ROOT, _CATALOG})
    document = _merge(shared, catalog, resources)
    check_references(shared)
    check_openapi(shared)
    check_references(document)
    check_paths(document)
    check_schemas(document)
    check_scopes(document)
    check_operations({resource.name: [entry[-1] for entry in resource.operations()] for resource in resources})
    return Specification(resources, shared, catalog, document)


def _read_required(root: Path, name: str) -> Node:
    path = root / f"{name}.yaml"
    if not path.is_file():
        raise SpecError(
            Location(Path(root.name) / path.name, 1), "the file is missing", "See spec/README.md for what it holds"
        )
    return read(path)


def spec_files(folder: Path, root: Path) -> Iterator[Path]:
    """Yield the files of a folder in order, after checking that a generated module can have the name of each."""
    for path in sorted(folder.glob("*.y*ml")):
        where = Location(path.relative_to(root.parent), 1)
        if path.suffix != ".yaml":
            raise SpecError(where, "the name of the file does not end in .yaml", "Rename it")
        check_module_name(path.stem, where)
        yield path


def _read_resource(path: Path) -> ResourceFile:
    document = read(path)
    check_file(document, "resource")
    schemas = document["components"]["schemas"] if "components" in document else Node(document.location)
    return ResourceFile(path.stem, document["tag"], document["paths"], schemas)


def _merge(shared: Node, catalog: Node, resources: tuple[ResourceFile, ...]) -> Node:
    _check_unique_paths(resources)
    paths, schemas = Node(shared.location), Node(shared.location)
    _add_unique(schemas, shared["components"]["schemas"])
    for resource in resources:
        _add_unique(paths, resource.paths)
        _add_unique(schemas, resource.schemas)
        for _, _, item, operation in resource.operations():
            operation["tags"] = [resource.tag["name"]]
            operation["responses"] = _responses(operation, item, shared)
    document, components = Node.like(shared), Node.like(shared["components"])
    components["schemas"] = schemas
    document.update(tags=[resource.tag for resource in resources], paths=paths, components=components)
    document["x-catalog"] = catalog
    return document


def _check_unique_paths(resources: Iterable[ResourceFile]) -> None:
    defined: dict[str, Location] = {}
    for resource in resources:
        for path in resource.paths:
            # Paths that differ only in the names of their placeholders are the same.
            template, where = re.sub(r"{[^}]*}", "{}", path), resource.paths.where(path)
            if template in defined:
                raise SpecError(where, f"`{path}` is already defined at {defined[template]}", "Keep one of them")
            defined[template] = where


def _add_unique(target: Node, entries: Node) -> None:
    for key, value in entries.items():
        if key in target:
            raise SpecError(
                entries.where(key), f"`{key}` is already defined at {target.where(key)}", "Keep one of them"
            )
        target.put(key, value, entries.where(key))


def _responses(operation: Node, path_item: Node, shared: Node) -> Node:
    """Return the responses of an operation: its success, its own errors, and those that all such calls have.

    A signed call can fail because of its key or quota, a call with a query or a body because of its input.
    """
    is_signed = operation.get("security") != []
    statuses = {str(status) for status in operation.get("x-errors", ())}
    if is_signed:
        statuses |= _SIGNED_ERRORS
    if "requestBody" in operation or any(
        _is_query_parameter(node, shared) for node in _parameters(operation, path_item)
    ):
        statuses.add("400")
    responses = Node.like(operation["responses"])
    for response in responses.values():
        # If the root file has no headers, the replies of the API have none.
        if is_signed and (headers := shared["components"].get("headers")):
            names = [name for name in headers if name != "Retry-After"]
            response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
    responses.update({status: {"$ref": f"#/components/responses/{_ERRORS[status]}"} for status in sorted(statuses)})
    return responses


def _parameters(operation: Node, path_item: Node) -> list[Node]:
    return [*path_item.get("parameters", ()), *operation.get("parameters", ())]


def _is_query_parameter(parameter: Node, shared: Node) -> bool:
    if "$ref" not in parameter:
        return bool(parameter["in"] == "query")
    name = parameter["$ref"].rpartition("/")[2]
    # Unknown names are reported by `check_references`.
    target = shared["components"].get("parameters", {}).get(name, {})
    return bool(target.get("in") == "query")
