"""Merges the files of `spec/` into one OpenAPI document; everything after this may trust it to keep the conventions."""

from collections.abc import Iterator
from pathlib import Path

import attrs
from openapi_spec_validator import OpenAPIV31SpecValidator

from codegen.checks import check_operations, check_paths, check_references, check_schemas, resolve
from codegen.conventions import check_file
from codegen.problems import Location, SpecError
from codegen.source import Node, read

METHODS = ("get", "put", "post", "patch", "delete")
_COMMON_ERRORS = {"401": "Unauthorized", "403": "Forbidden", "429": "RateLimited", "500": "ServerError"}
_OWN_ERRORS = {"400": "BadRequest", "404": "NotFound", "409": "Conflict"}
_ROOT, _FACTS = "openapi", "facts"
SHARED_GROUP = "shared"
"""Module of the schemas that the root file defines."""


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
    document: Node
    """The merged OpenAPI document."""

    def resolve(self, node: Node) -> Node:
        """Return what a `$ref` names, or the node itself."""
        found: Node = resolve(self.document, node["$ref"]) if "$ref" in node else node
        return found


def load(root: Path) -> Specification:
    """Read, merge and check the files of a folder; raises `SpecError` at the first fault."""
    root = root.resolve()
    shared, facts = _shared_file(root, _ROOT), _shared_file(root, _FACTS)
    check_file(shared, "root")
    check_file(facts, "facts")
    resources = tuple(_resource(path) for path in _resource_files(root))
    document = _merge(shared, facts, resources)
    check_references(document)
    check_paths(document)
    check_schemas(document)
    check_operations({resource.name: [entry[-1] for entry in resource.operations()] for resource in resources})
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        where = document.locate(error.absolute_path)
        raise SpecError(where, f"not valid OpenAPI 3.1: {error.message}", "Correct it by the OpenAPI specification")
    return Specification(resources, shared, facts, document)


def _shared_file(root: Path, name: str) -> Node:
    path = root / f"{name}.yaml"
    if not path.is_file():
        raise SpecError(
            Location(Path(root.name) / path.name, 1), "the file is missing", "spec/README.md says what it holds"
        )
    return read(path)


def _resource_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.glob("*.y*ml")):
        if path.suffix != ".yaml" or not path.stem.isidentifier() or path.stem == SHARED_GROUP:
            where = Location(Path(root.name) / path.name, 1)
            raise SpecError(where, "the file has no name for a module", "Name it like `api_keys.yaml`")
        if path.stem not in {_ROOT, _FACTS}:
            yield path


def _resource(path: Path) -> ResourceFile:
    document = read(path)
    check_file(document, "resource")
    schemas = document["components"]["schemas"] if "components" in document else Node(document.location)
    return ResourceFile(path.stem, document["tag"], document["paths"], schemas)


def _merge(shared: Node, facts: Node, resources: tuple[ResourceFile, ...]) -> Node:
    paths, schemas = Node(shared.location), Node(shared.location)
    _add(schemas, shared["components"]["schemas"])
    for resource in resources:
        _add(paths, resource.paths)
        _add(schemas, resource.schemas)
        for _, _, _, operation in resource.operations():
            operation["tags"] = [resource.tag["name"]]
            operation["responses"] = _with_errors(operation)
    document, components = Node.like(shared), Node.like(shared["components"])
    components["schemas"] = schemas
    document.update(tags=[resource.tag for resource in resources], paths=paths, components=components)
    document["x-facts"] = facts
    return document


def _add(target: Node, entries: Node) -> None:
    for key, value in entries.items():
        if key in target:
            raise SpecError(entries.where(key), f"`{key}` is defined at {target.where(key)} too", "Keep one of the two")
        target.put(key, value, entries.where(key))


def _with_errors(operation: Node) -> Node:
    """Return the responses of an operation with its own errors and those of every signed call."""
    names = {} if operation.get("security") == [] else dict(_COMMON_ERRORS)
    names |= {str(status): _OWN_ERRORS[str(status)] for status in operation.get("x-errors", ())}
    responses = Node.like(operation["responses"])
    responses.update({status: {"$ref": f"#/components/responses/{names[status]}"} for status in sorted(names)})
    return responses
