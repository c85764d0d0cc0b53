"""Prepares operations for the templates: those of the published reference, and those that only current panels have."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from codegen.checks import referenced_name
from codegen.methods import FILE, Argument, GeneratedMethod, Result, arguments_of, require_argument
from codegen.panel import Bridge, PanelOperation
from codegen.panel_wires import panel_wire
from codegen.spec import ResourceFile, Specification
from codegen.text import fits, sentence
from codegen.yaml_nodes import Node, SpecError
from panelica_async.core.operation import Dialect, Guard, NaturalKey, Operation, Repeat, Wire

_REPEATS = {
    "GET": Repeat.READ,
    "PUT": Repeat.IDEMPOTENT,
    "PATCH": Repeat.IDEMPOTENT,
    "DELETE": Repeat.IDEMPOTENT,
    "POST": Repeat.UNSAFE,
}
"""How safe a call of current panels is to repeat, unless `x-repeat` says otherwise."""
_UNTYPED = "The JSON of the reply without its envelope, untyped; bytes if the reply is not JSON."


def published_methods(resource: ResourceFile, bridge: Bridge) -> tuple[GeneratedMethod, ...]:
    """Return the methods for one resource file of the published reference, in file order."""
    methods: dict[str, GeneratedMethod] = {}
    for path, http_method, _, node in resource.operations():
        method = _published_method(path, http_method.upper(), node, bridge, methods)
        methods[method.name] = method
    return tuple(methods.values())


def panel_only(operations: Iterable[PanelOperation], specification: Specification) -> tuple[PanelOperation, ...]:
    """Return the operations that the published reference lacks and that are not WebSockets."""
    known = {node["operationId"] for resource in specification.resources for *_, node in resource.operations()}
    return tuple(
        operation for operation in operations if operation.name not in known and not operation.node.get("x-websocket")
    )


def panel_methods(
    operations: Iterable[PanelOperation], published: Iterable[GeneratedMethod], specification: Specification
) -> tuple[GeneratedMethod, ...]:
    """Return the methods for operations that only current panels have, in their order.

    Args:
        operations: The operations.
        published: Methods of the published reference, which may read what these operations write.
        specification: The published reference.
    """
    methods = list(published)
    published_count = len(methods)
    for operation in operations:
        methods.append(_panel_method(operation, specification, methods))
    return tuple(methods[published_count:])


def _published_method(
    path: str, method: str, node: Node, bridge: Bridge, earlier: Mapping[str, GeneratedMethod]
) -> GeneratedMethod:
    specification, entry = bridge.specification, bridge.entry(node)
    arguments, result = bridge.reference[node["operationId"]], _result(node, specification)
    repeat = Repeat(node["x-repeat"])
    scopes = () if node["x-scope"] is None else (node["x-scope"],)
    # In the page envelope, rows are in `data`, which every decoder unwraps.
    items = None if result.items == "data" else result.items
    wires: dict[Dialect, Wire] = {"reference": _wire(method, path, arguments, items=items, scopes=scopes)}
    if wire := panel_wire(bridge, node, wires["reference"], result.model, is_list=result.kind == "pages"):
        wires["panel"] = wire
    summary = _first_line(method, path, node["summary"])
    if not fits(summary, 8):
        problem = "the summary and the path are too long for one line"
        raise SpecError(node.where("summary"), problem, "Shorten the summary; details go into `description`")
    return GeneratedMethod(
        operation=_operation(
            node,
            wires,
            repeat,
            arguments,
            _shown_by(node, repeat, result, earlier.values()),
            natural_key=_natural_key(node, arguments, result, specification, earlier),
            guard=_guard(node, arguments),
            absence=entry.get("absent"),
            instead=entry.get("instead"),
        ),
        path=path,
        summary=summary,
        description=node.get("description", ""),
        destructive=node.get("x-destructive", False),
        asynchronous=node.get("x-async", False),
        errors=tuple(status for status in node["responses"] if not status.startswith("2")),
        arguments=arguments,
        result=result,
    )


def _panel_method(
    operation: PanelOperation, specification: Specification, earlier: Iterable[GeneratedMethod]
) -> GeneratedMethod:
    node, body, result = operation.node, operation.body, panel_result(operation)
    for name, schema in body.get("properties", {}).items():
        if "$ref" in schema or "$ref" in schema.get("items", {}):
            raise SpecError(schema.location, f"the field `{name}` of a body is a `$ref`", "Write the schema itself")
    arguments = arguments_of(node, operation.path, operation.parameters, body, specification)
    wire = _wire(
        operation.method,
        operation.path,
        arguments,
        items=result.items,
        scopes=tuple(node["x-scope"]),
        files=frozenset(argument.name for argument in arguments if argument.annotation == FILE),
        others=_others_place(operation),
    )
    repeat = Repeat(node["x-repeat"]) if "x-repeat" in node else _REPEATS[operation.method]
    summary, description = _docstring_texts(operation)
    return GeneratedMethod(
        operation=_operation(node, {"panel": wire}, repeat, arguments, _shown_by(node, repeat, result, earlier)),
        path=operation.path,
        summary=summary,
        description=description,
        destructive=node.get("x-destructive", operation.method == "DELETE"),
        asynchronous=node.get("x-async", False),
        errors=(),
        arguments=arguments,
        result=result,
        roles=tuple(node.get("x-roles", ())),
    )


def _operation(
    node: Node,
    wires: Mapping[Dialect, Wire],
    repeat: Repeat,
    arguments: Sequence[Argument],
    shown_by: Operation | None,
    **other_fields: Any,
) -> Operation:
    """Return an operation with what both kinds of specification say about it, and `other_fields`."""
    return Operation(
        name=node["operationId"],
        wires=wires,
        repeat=repeat,
        shown_by=shown_by,
        signed=node.get("security") != [],
        choices={argument.name: argument.choices for argument in arguments if argument.choices},
        not_empty=frozenset(argument.name for argument in arguments if argument.not_empty),
        lists=frozenset(argument.name for argument in arguments if argument.is_list),
        **other_fields,
    )


def _wire(method: str, path: str, arguments: Sequence[Argument], **other_fields: Any) -> Wire:
    """Return a wire that sends each argument under its own name."""
    for argument in arguments:
        if argument.is_positional:
            path = path.replace(f"{{{argument.wire_name}}}", f"{{{argument.name}}}")
    return Wire(
        method=method,
        path=path,
        query={argument.name: argument.wire_name for argument in arguments if argument.place == "query"},
        body={argument.name: argument.wire_name for argument in arguments if argument.place == "body"},
        **other_fields,
    )


def _shown_by(node: Node, repeat: Repeat, result: Result, earlier: Iterable[GeneratedMethod]) -> Operation | None:
    """Return the operation that reads the result of a write: one that gets the object, otherwise one that lists it."""
    if repeat in {Repeat.READ, Repeat.NATURAL_KEY} or result.kind != "model":
        return None
    namespace = tuple(node["operationId"].split(".")[:-1])
    readers = {
        reader.result.kind: reader.operation
        for reader in earlier
        if (reader.operation.repeat, reader.namespace, reader.result.model) == (Repeat.READ, namespace, result.model)
    }
    return readers.get("model") or readers.get("pages")


def _first_line(method: str, path: str, summary: str) -> str:
    text = sentence(summary)
    # An abbreviation stays in capitals.
    return f"{method} {path}: {text[0].lower() + text[1:] if text[1:2].islower() else text}"


def _natural_key(
    node: Node,
    arguments: Sequence[Argument],
    result: Result,
    specification: Specification,
    earlier: Mapping[str, GeneratedMethod],
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
    spellings = {spelling: frozenset(key.get(spelling, ())) for spelling in ("prefixed", "local")}
    for spelling, names in spellings.items():
        for name in sorted(names - fields.keys()):
            problem = f"`{spelling}` names `{name}`, which is not under `fields`"
            raise SpecError(key.where(spelling), problem, "Name it there, or correct the name")
    lookup = earlier[key["lookup"]]
    if lookup.result.kind != "pages":
        raise SpecError(key.where("lookup"), f"`{lookup.name}` is not a list", "Name the list that finds the object")
    return NaturalKey(lookup=lookup.operation, fields=dict(fields), **spellings)


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
        model, key = _list_rows(schema, specification)
        if model is None:
            problem = f"`{name}` is paginated, but does not reply with a list of a schema"
            raise SpecError(where, problem, "Reply with an array of a `$ref`")
        return Result("pages", description, model, key)
    if "$ref" in schema and "properties" in specification.resolve(schema):
        return Result("model", description, referenced_name(schema))
    if schema.get("type") == "object" and "properties" not in schema:
        return Result("object", description)
    if schema.get("type") == "array":
        raise SpecError(where, f"`{name}` replies with a list", "Add `x-paginated: true`")
    raise SpecError(where, f"`{name}` replies with neither a schema of `components` nor a list", "Reply with a `$ref`")


def _list_rows(schema: Node, specification: Specification) -> tuple[str | None, str | None]:
    """Return the model of the rows of a list, and the key that holds them in a reply that is an object."""
    lists = {None: schema, **specification.resolve(schema).get("properties", {})}
    for key, value in lists.items():
        if value.get("type") == "array" and "properties" in specification.resolve(value["items"]):
            return referenced_name(value["items"]), key
    return None, None


def _is_form(operation: PanelOperation) -> bool:
    return "multipart/form-data" in operation.node.get("requestBody", {}).get("content", {})


def _others_place(operation: PanelOperation) -> Literal["query", "body"] | None:
    """Return where to send fields that spec/panel does not name; None if the panel takes no body, or a form."""
    if operation.body.get("maxProperties") == 0 or _is_form(operation):
        return None
    return "query" if operation.method in {"GET", "DELETE"} else "body"


def panel_result(operation: PanelOperation) -> Result:
    """Return the result of a method for an operation that only current panels have."""
    [response] = operation.node["responses"].values()
    remark = response["description"].removeprefix("Done.").strip()
    if "content" not in response and not _is_form(operation):
        if response.get("x-strength", "declared") == "declared":
            return Result("untyped", _UNTYPED)
        return Result("nothing", "")
    if "application/octet-stream" in response.get("content", ()):
        return Result("file", f"{response['description']} One of more than 64 MiB raises `DecodeError`.")
    [content] = response.get("content", {"": {"schema": {}}}).values()
    model, key = _panel_list_rows(content["schema"])
    if model:
        return Result("pages", f"{_reply_description(operation)}, as `{model}`. {remark}", model, key)
    if "$ref" in content["schema"] and known_fields(operation.resolve(content["schema"])):
        model = referenced_name(content["schema"])
        return Result(
            "upload" if _is_form(operation) else "model",
            f"{_reply_description(operation)}, as `{model}`. {remark}",
            model,
        )
    return Result("upload", "The reply without its envelope.") if _is_form(operation) else Result("untyped", _UNTYPED)


def known_fields(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the fields of a schema whose type is known."""
    return {name: field for name, field in schema.get("properties", {}).items() if "type" in field or "$ref" in field}


def _reply_description(operation: PanelOperation) -> str:
    """Return what a reply contains, if the summary of its operation says it."""
    verb, _, objects = operation.node["summary"].partition(" ")
    if verb not in {"List", "Get", "Create"} or "," in objects:
        return "The reply"
    return re.sub(r"^An? ", "The ", objects[0].upper() + objects[1:])


def _panel_list_rows(schema: Node) -> tuple[str | None, str | None]:
    """Return the model of the rows of a list, and the key that holds them in a reply that is an object."""
    lists = {None: schema}
    if len(schema.get("properties", {})) == 1:
        lists |= schema["properties"]
    for key, value in lists.items():
        if value.get("type") == "array" and "$ref" in value["items"]:
            return referenced_name(value["items"]), key
    return None, None


def _docstring_texts(operation: PanelOperation) -> tuple[str, str]:
    """Return the first line of the docstring, and its description."""
    description = operation.node.get("description", "")
    line = _first_line(operation.method, operation.path, operation.node["summary"])
    if fits(line, 8):
        return line, description
    return sentence(operation.node["summary"]), f"Endpoint: `{operation.endpoint}`. {description}".strip()
