"""Prepares the operations that only current panels have for the templates."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from codegen.arguments import FILE, Argument, Place, argument
from codegen.checks import check_distinct, nodes_of, resolve
from codegen.models import ModelGroup
from codegen.operations import OperationSource, Result, shown_by
from codegen.panel import PanelOperation
from codegen.spec import Specification
from codegen.text import fits, sentence
from codegen.yaml_nodes import Node, SpecError
from panelica_async.core.operation import Operation, Repeat, Wire

_REPEATS = {
    "GET": Repeat.READ,
    "PUT": Repeat.IDEMPOTENT,
    "PATCH": Repeat.IDEMPOTENT,
    "DELETE": Repeat.IDEMPOTENT,
    "POST": Repeat.UNSAFE,
}
"""How safe a call is to repeat, unless `x-repeat` says otherwise."""
PANEL_SUFFIX = "_panel"
"""What modules for current panels alone are called, after the one of the published reference."""
_KEPT = ("$ref", "type", "description", "required", "x-aliases", "x-secret")
_UNTYPED = "The JSON of the reply without its envelope, untyped; bytes if the reply is not JSON."


def panel_only(panel: Iterable[PanelOperation], specification: Specification) -> tuple[PanelOperation, ...]:
    """Return the operations that the published reference lacks and that are not WebSockets."""
    known = {node["operationId"] for resource in specification.resources for *_, node in resource.operations()}
    return tuple(
        operation for operation in panel if operation.name not in known and not operation.node.get("x-websocket")
    )


def sources_of(
    operations: Iterable[PanelOperation], reference: Iterable[OperationSource], specification: Specification
) -> tuple[OperationSource, ...]:
    """Return operations as the templates see them, in their order.

    Args:
        operations: What only current panels have.
        reference: Operations of the published reference, which may read what these write.
        specification: The published reference.
    """
    earlier = {source.name: source for source in reference}
    sources = list[OperationSource]()
    for operation in operations:
        source = _source(operation, specification, earlier.values())
        earlier[source.name] = source
        sources.append(source)
    return tuple(sources)


def schemas_of(operations: Iterable[PanelOperation], specification: Specification) -> tuple[ModelGroup, ...]:
    """Return the schemas of the replies by file, except those whose name the reference has."""
    known = specification.document["components"]["schemas"]
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for operation in operations:
        for name, schema in _reachable(operation):
            if name in known:
                continue
            module, loose = found.setdefault(name, (operation.module, _loose(schema)))
            if loose != _loose(schema):
                problem = f"`{operation.name}` replies with a `{name}`, which {module}.yaml defines otherwise"
                raise SpecError(operation.place, problem, "Rename one of the schemas, or make them equal")
            groups.setdefault(module, {})[name] = loose
    titles = {operation.module: operation.category for operation in operations}
    published = {resource.name for resource in specification.resources}
    return tuple(
        ModelGroup(
            f"{module}{PANEL_SUFFIX}" if module in published else module, f"panel/{module}", titles[module], schemas
        )
        for module, schemas in groups.items()
    )


def _reachable(operation: PanelOperation) -> Iterator[tuple[str, Node]]:
    """Yield the schemas that a reply consists of."""
    result = _result(operation)
    schemas: Node = operation.document.get("components", {}).get("schemas", {})
    names = [result.model] if result.model else []
    for name in names:
        yield name, schemas[name]
        found = [_name(node) for node in nodes_of(schemas[name]) if "$ref" in node]
        names += [other for other in found if other not in names]


def _loose(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema for a model: ids are texts, enums are open, an object without a name is JSON.

    A field of several types has the first of them. One of no known type is left out: it stays in `extra`.
    """
    loose: dict[str, Any] = {key: schema[key] for key in _KEPT if key in schema}
    types = schema.get("type")
    if isinstance(types, list):
        loose["type"] = types if "null" in types and len(types) == 2 else types[0]
    if schema.get("format") == "date-time":
        loose["format"] = "date-time"
    if "items" in schema:
        loose["items"] = _loose(schema["items"])
    if "properties" in schema:
        loose["properties"] = {
            name: {"description": _described(name, ""), **_inner(field)}
            for name, field in schema["properties"].items()
            if "type" in field or "$ref" in field
        }
    return loose


def _inner(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field for a model; datamodel-code-generator would invent a name for an object within."""
    return {key: value for key, value in _loose(field).items() if key != "properties"}


def _source(panel: PanelOperation, specification: Specification, earlier: Iterable[OperationSource]) -> OperationSource:
    node = panel.node
    arguments = tuple(_arguments(panel, specification))
    check_distinct([argument.name for argument in arguments], node)
    result = _result(panel)
    repeat = Repeat(node["x-repeat"]) if "x-repeat" in node else _REPEATS[panel.method]
    operation = Operation(
        name=panel.name,
        wires={"panel": _wire(panel, arguments, result)},
        repeat=repeat,
        shown_by=shown_by(panel.name, repeat, result, earlier),
        signed=node.get("security") != [],
        choices={argument.name: argument.choices for argument in arguments if argument.choices},
        not_empty=frozenset(argument.name for argument in arguments if argument.not_empty),
        lists=frozenset(argument.name for argument in arguments if argument.is_list),
    )
    summary, description = _texts(panel)
    return OperationSource(
        operation=operation,
        path=panel.path,
        summary=summary,
        description=description,
        destructive=node.get("x-destructive", panel.method == "DELETE"),
        asynchronous=node.get("x-async", False),
        errors=(),
        arguments=arguments,
        result=result,
        roles=tuple(node.get("x-roles", ())),
    )


def _arguments(panel: PanelOperation, specification: Specification) -> Iterator[Argument]:
    """Yield the arguments: those of the path in its order, then the others in file order."""
    parameters = {parameter["name"]: parameter for parameter in panel.parameters}
    in_path = re.findall(r"\{([^}]*)\}", panel.path)
    for name in (*in_path, *(name for name in parameters if name not in in_path)):
        parameter = parameters[name]
        place: Place = "path" if name in in_path else "query"
        yield argument(
            name,
            place,
            parameter["schema"],
            description=parameter.get("description") or _described(name, panel.path),
            required=parameter.get("required", False),
            specification=specification,
        )
    body = _body(panel)
    for name, schema in body.get("properties", {}).items():
        if "$ref" in schema or "$ref" in schema.get("items", {}):
            raise SpecError(schema.location, f"the field `{name}` of a body is a `$ref`", "Write the schema itself")
        yield argument(
            name,
            "body",
            schema,
            description=schema.get("description") or _described(name, panel.path),
            required=name in body.get("required", ()),
            specification=specification,
        )


def _body(panel: PanelOperation) -> Node:
    """Return the schema of the body; an empty one if nothing is known of it."""
    if "requestBody" not in panel.node:
        return Node(panel.place)
    [content] = panel.node["requestBody"]["content"].values()
    schema: Node = content["schema"]
    return schema


def _is_form(panel: PanelOperation) -> bool:
    return "multipart/form-data" in panel.node.get("requestBody", {}).get("content", {})


def _described(name: str, path: str) -> str:
    """Return a description for an argument or a field that has none."""
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


def _wire(panel: PanelOperation, arguments: Sequence[Argument], result: Result) -> Wire:
    path = panel.path
    for item in arguments:
        if item.place == "path":
            path = path.replace(f"{{{item.wire_name}}}", f"{{{item.name}}}")
    return Wire(
        method=panel.method,
        path=path,
        query={item.name: item.wire_name for item in arguments if item.place == "query"},
        body={item.name: item.wire_name for item in arguments if item.place == "body"},
        files=frozenset(item.name for item in arguments if item.annotation == FILE),
        others=_others(panel),
        items=result.items,
        scopes=tuple(panel.node["x-scope"]),
    )


def _others(panel: PanelOperation) -> Literal["query", "body"] | None:
    """Return where fields travel that spec/panel does not name; None if the panel takes no body, or a form."""
    if _body(panel).get("maxProperties") == 0 or _is_form(panel):
        return None
    return "query" if panel.method in {"GET", "DELETE"} else "body"


def _result(panel: PanelOperation) -> Result:
    [response] = panel.node["responses"].values()
    remark = response["description"].removeprefix("Done.").strip()
    if "content" not in response and not _is_form(panel):
        if response.get("x-strength", "declared") == "declared":
            return Result("untyped", _UNTYPED)
        return Result("nothing", "")
    if "application/octet-stream" in response.get("content", ()):
        return Result("file", f"{response['description']} One of more than 64 MiB raises `DecodeError`.")
    [content] = response.get("content", {"": {"schema": {}}}).values()
    model, key = _rows(content["schema"])
    if model:
        return Result("pages", f"{_returned(panel)}, as `{model}`. {remark}", model, key)
    if "$ref" in content["schema"] and _loose(resolve(panel.document, content["schema"]["$ref"])).get("properties"):
        model = _name(content["schema"])
        return Result("upload" if _is_form(panel) else "model", f"{_returned(panel)}, as `{model}`. {remark}", model)
    return Result("upload", "The reply without its envelope.") if _is_form(panel) else Result("untyped", _UNTYPED)


def _returned(panel: PanelOperation) -> str:
    """Return what a reply holds, as far as the summary of its operation says it."""
    verb, _, objects = panel.node["summary"].partition(" ")
    if verb not in {"List", "Get", "Create"} or "," in objects:
        return "The reply"
    return re.sub(r"^An? ", "The ", objects[0].upper() + objects[1:])


def _rows(schema: Node) -> tuple[str | None, str | None]:
    """Return the model of the rows of a list, and the key that holds them in a reply that is an object."""
    lists = {None: schema}
    if len(schema.get("properties", {})) == 1:
        lists |= schema["properties"]
    for key, value in lists.items():
        if value.get("type") == "array" and "$ref" in value["items"]:
            return _name(value["items"]), key
    return None, None


def _name(schema: Node) -> str:
    name: str = schema["$ref"].rpartition("/")[2]
    return name


def _texts(panel: PanelOperation) -> tuple[str, str]:
    """Return the first line of the docstring, and its description."""
    summary, description = sentence(panel.node["summary"]), panel.node.get("description", "")
    endpoint = f"{panel.method} {panel.path}"
    line = f"{endpoint}: {summary[0].lower() + summary[1:] if summary[1:2].islower() else summary}"
    return (line, description) if fits(line, 8) else (summary, f"Endpoint: `{endpoint}`. {description}".strip())
