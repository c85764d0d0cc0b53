"""The merged OpenAPI document: finds endpoints, compiles the validators of requests, and makes example replies."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, cast

import attrs
from jsonschema import Draft202012Validator, FormatChecker, validators
from referencing import Registry
from referencing.jsonschema import DRAFT202012

JsonObject: TypeAlias = Mapping[str, Any]
RequestPart: TypeAlias = Literal["body", "query"]
"""A part of a request that a schema describes."""

METHODS = ("get", "put", "post", "patch", "delete")
_DOCUMENT_URI = "urn:panelica:openapi"
_JSON_TYPE, _FORM_TYPE = "application/json", "multipart/form-data"


@attrs.frozen(kw_only=True, eq=False)
class Endpoint:
    """An operation, with the schemas of its request and its reply."""

    operation: str
    """Its `operationId`, such as `domains.create`."""
    method: str
    path: str
    tag: str
    summary: str
    scopes: tuple[str, ...]
    """The key needs one of these scopes; none if empty."""
    roles: tuple[str, ...]
    """The owner of the key needs one of these roles; none if empty."""
    signed: bool
    query_parameters: tuple[JsonObject, ...]
    """With references resolved."""
    body_schema: JsonObject | None
    """None if it takes no body."""
    body_required: bool
    is_form: bool
    """Whether the body is a multipart form."""
    body_example: Any
    success_status: int
    reply_schema: JsonObject | None
    """Without the envelope of current panels; None if the reply has no body, or nothing is known of it."""
    reply_example: Any
    row_schema: JsonObject
    """Schema of a row, with references resolved, if the reply is a list; otherwise empty."""
    natural_key: tuple[str, ...]
    """Fields of the body that identify an object."""


def _is_integer(_checker: object, value: object) -> bool:
    """Return whether a value is written as a whole number: JSON Schema accepts `1.0` as an integer, Go does not."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: type[Draft202012Validator] = cast("Any", validators).extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


class _RouteTree:
    """A tree of path segments.

    A literal segment wins over a parameter: in `/v1/webhooks/events`, `events` is not the id of a webhook.
    """

    def __init__(self) -> None:
        self.literals: dict[str, _RouteTree] = {}
        self.parameter: _RouteTree | None = None
        self.endpoints: dict[str, Endpoint] = {}

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint to the tree."""
        node = self
        for segment in _split(endpoint.path):
            if segment.startswith("{"):
                node.parameter = node.parameter or _RouteTree()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _RouteTree())
        node.endpoints[endpoint.method] = endpoint

    def find(self, method: str, segments: list[str]) -> Endpoint | None:
        """Return the endpoint at these segments below this node, or None."""
        if not segments:
            return self.endpoints.get(method)
        first, *others = segments
        if first in self.literals and (endpoint := self.literals[first].find(method, others)):
            return endpoint
        return self.parameter.find(method, others) if self.parameter and first else None


def _split(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


class Document:
    """The endpoints of an OpenAPI document, and validators for its schemas.

    Args:
        content: The merged document, as `openapi.json` and `panel_openapi.json` of the package hold it.
    """

    def __init__(self, content: JsonObject) -> None:
        self.content = content
        registry: Registry[Any] = Registry()
        self._registry = registry.with_resource(_DOCUMENT_URI, DRAFT202012.create_resource(content))
        self.endpoints: tuple[Endpoint, ...] = tuple(self._make_endpoints())
        self._by_path: dict[str, dict[str, Endpoint]] = {}
        self._routes = _RouteTree()
        self._validators: dict[tuple[str, RequestPart, FormatChecker | None], Draft202012Validator] = {}
        for endpoint in self.endpoints:
            self._by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
            self._routes.add(endpoint)

    @property
    def catalog(self) -> JsonObject:
        """What the document lists besides endpoints, such as the webhook events."""
        catalog: JsonObject = self.content.get("x-catalog", {})
        return catalog

    def endpoints_at(self, path: str) -> Mapping[str, Endpoint]:
        """Return the endpoints of a path template, by method."""
        return self._by_path.get(path, {})

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return the endpoint and its path parameters, or None.

        Args:
            method: HTTP method in upper case.
            path: Decoded path without public prefix, as the backend reads it (evidence: signed-path).
        """
        segments = _split(path)
        endpoint = self._routes.find(method, segments)
        if endpoint is None:
            return None
        names = _split(endpoint.path)
        return endpoint, {
            name[1:-1]: value for name, value in zip(names, segments, strict=True) if name.startswith("{")
        }

    def request_validator(
        self, endpoint: Endpoint, part: RequestPart, formats: FormatChecker | None
    ) -> Draft202012Validator:
        """Return the validator of the body or query of an endpoint; the first use compiles it."""
        key = (endpoint.operation, part, formats)
        if key not in self._validators:
            if part == "query":
                schema = _query_schema(endpoint)
            else:
                schema = endpoint.body_schema or self._open_body_schema(endpoint)
            self._validators[key] = self.validator(schema, formats)
        return self._validators[key]

    def _open_body_schema(self, endpoint: Endpoint) -> JsonObject:
        """Return the schema of a body that the document does not describe.

        Guess: an update takes the fields of the create, all optional.
        """
        create = self.endpoints_at(endpoint.path.rpartition("/")[0]).get("POST") if endpoint.method == "PATCH" else None
        schema: JsonObject = {} if create is None or create.body_schema is None else self.resolve(create.body_schema)
        return {"properties": schema.get("properties", {})}

    def validator(self, schema: JsonObject, formats: FormatChecker | None = None) -> Draft202012Validator:
        """Return a validator of a schema of the document, which also checks these formats."""
        return _Validator(_with_absolute_references(schema), registry=self._registry, format_checker=formats)

    def resolve(self, node: JsonObject) -> JsonObject:
        """Return a node; if it is a reference, the node that it refers to."""
        while "$ref" in node:
            target: Any = self.content
            for key in node["$ref"].removeprefix("#/").split("/"):
                target = target[key]
            node = target
        return node

    def _make_endpoints(self) -> Iterator[Endpoint]:
        for path, path_item in self.content["paths"].items():
            for method in METHODS:
                if method in path_item and not path_item[method].get("x-websocket"):
                    yield self._make_endpoint(method, path, path_item)

    def _make_endpoint(self, method: str, path: str, path_item: JsonObject) -> Endpoint:
        operation = path_item[method]
        nodes = (*path_item.get("parameters", ()), *operation.get("parameters", ()))
        parameters = [self.resolve(node) for node in nodes]
        body = self.resolve(operation.get("requestBody", {}))
        contents = body.get("content", {})
        body_content = contents.get(_FORM_TYPE) or contents.get(_JSON_TYPE, {})
        status = min(code for code in operation["responses"] if code.startswith("2"))
        response = self.resolve(operation["responses"][status])
        reply_schema, reply_example = reply_of(response.get("content", {}).get(_JSON_TYPE, {}))
        scopes = operation.get("x-scope") or ()
        return Endpoint(
            operation=operation["operationId"],
            method=method.upper(),
            path=path,
            tag=next(iter(operation.get("tags", ())), ""),
            summary=operation.get("summary", ""),
            scopes=(scopes,) if isinstance(scopes, str) else tuple(scopes),
            roles=tuple(operation.get("x-roles", ())),
            signed=operation.get("security") != [],
            query_parameters=tuple(parameter for parameter in parameters if parameter["in"] == "query"),
            body_schema=body_content.get("schema"),
            body_required=body.get("required", False),
            is_form=_FORM_TYPE in contents,
            body_example=_first_example(body_content),
            success_status=_success_status(status, operation["operationId"]),
            reply_schema=reply_schema,
            reply_example=reply_example,
            row_schema=self._row_schema(reply_schema),
            natural_key=tuple(operation.get("x-natural-key", {}).get("fields", ())),
        )

    def _row_schema(self, reply_schema: JsonObject | None) -> JsonObject:
        """Return the schema of a row if the reply is a list, bare or in `data`; otherwise an empty one."""
        schema = self.resolve(reply_schema or {})
        if "data" in schema.get("properties", {}):
            schema = self.resolve(schema["properties"]["data"])
        return self.resolve(schema.get("items", {}))


def _query_schema(endpoint: Endpoint) -> JsonObject:
    return {
        "type": "object",
        "properties": {parameter["name"]: parameter["schema"] for parameter in endpoint.query_parameters},
        "required": [parameter["name"] for parameter in endpoint.query_parameters if parameter.get("required")],
    }


@cache
def shipped_document(name: str = "openapi.json") -> Document:
    """Return a document that the package ships: `openapi.json` or `panel_openapi.json`."""
    return Document(json.loads(files("panelica_async").joinpath(name).read_text("utf-8")))


def _success_status(code: str, operation: str) -> int:
    """Return the status of a success. Guess: if the document leaves it open, 201 for a create and 200 for the rest."""
    if code.isdecimal():
        return int(code)
    return 201 if operation.endswith(".create") else 200


def reply_of(content: JsonObject) -> tuple[JsonObject | None, Any]:
    """Return schema and example of a JSON reply, without the envelope of current panels."""
    example = _first_example(content)
    match content.get("schema"):
        case {"$ref": "#/components/schemas/Envelope"}:
            return None, None
        case {"allOf": [{"$ref": "#/components/schemas/Envelope"}, {"properties": {"data": data}}]}:
            return data, None if example is None else example["data"]
        case schema:
            return schema, example


def _first_example(content: JsonObject) -> Any:
    for named in content.get("examples", {}).values():
        return named.get("value")
    return content.get("example")


def _with_absolute_references(node: Any) -> Any:
    """Copy a part of the document, with references that also resolve outside it."""
    if isinstance(node, Mapping):
        fields = cast("JsonObject", node).items()
        return {
            key: f"{_DOCUMENT_URI}{value}" if key == "$ref" else _with_absolute_references(value)
            for key, value in fields
        }
    if isinstance(node, list):
        return [_with_absolute_references(item) for item in cast("Sequence[Any]", node)]
    return node


def example_reply(document: Document, endpoint: Endpoint) -> Any:
    """Return the example of an operation's reply; if it has none, the smallest reply that its schema allows."""
    if endpoint.reply_example is not None:
        return endpoint.reply_example
    return None if endpoint.reply_schema is None else sample_value(document, endpoint.reply_schema)


def sample_value(document: Document, schema: JsonObject) -> Any:
    """Return a value that a schema allows: its example, or else the smallest one."""
    schema = document.resolve(schema)
    for choices in ("examples", "enum", "x-known-values"):
        if schema.get(choices):
            return schema[choices][0]
    for single in ("example", "const"):
        if single in schema:
            return schema[single]
    for alternatives in ("oneOf", "anyOf"):
        if alternatives in schema:
            return sample_value(document, schema[alternatives][0])
    types: Any = schema.get("type", "object")
    return _sample_of_type(document, types if isinstance(types, str) else types[0], schema)


def _sample_of_type(document: Document, type_name: str, schema: JsonObject) -> Any:
    match type_name:
        case "object":
            properties = schema.get("properties", {})
            return {name: sample_value(document, properties.get(name, {})) for name in schema.get("required", ())}
        case "array":
            return [sample_value(document, schema["items"]) for _ in range(schema.get("minItems", 0))]
        case "string":
            return "1970-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x" * schema.get("minLength", 0)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
