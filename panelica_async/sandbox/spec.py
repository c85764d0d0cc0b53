"""The merged OpenAPI document as the sandbox uses it: finds endpoints, validates requests, makes example replies."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal, TypeAlias, cast

import attrs
from jsonschema import Draft202012Validator, FormatChecker, validators
from referencing import Registry
from referencing.jsonschema import DRAFT202012

Json: TypeAlias = Mapping[str, Any]
Part: TypeAlias = Literal["body", "query"]
"""What of a request is validated."""

METHODS = ("get", "put", "post", "patch", "delete")
_URI = "urn:panelica:openapi"
_JSON, _FORM = "application/json", "multipart/form-data"


@attrs.frozen(kw_only=True, eq=False)
class Endpoint:
    """One operation: its request and its reply."""

    operation: str
    """Its `operationId`, such as `domains.create`."""
    method: str
    path: str
    tag: str
    summary: str
    scopes: tuple[str, ...]
    """Scopes of which the key needs one; empty if any key will do."""
    roles: tuple[str, ...]
    """Roles of which the owner of the key needs one; empty if any will do."""
    signed: bool
    query: tuple[Json, ...]
    """Query parameters, references resolved."""
    body: Json | None
    """Schema of the request body; None if it takes none."""
    body_required: bool
    form: bool
    """Whether the body is a multipart form."""
    body_example: Any
    status: int
    """Status of a success."""
    reply: Json | None
    """Schema of the reply; None if it has no body."""
    reply_example: Any
    item: Json
    """Schema of one row, references resolved, if the reply is a list; otherwise empty."""
    natural_key: tuple[str, ...]
    """Fields of the body that identify an object."""


def _is_integer(_checker: object, value: object) -> bool:
    """Return whether a value is written as a whole number: JSON Schema accepts `1.0` as an integer, Go does not."""
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: type[Draft202012Validator] = cast("Any", validators).extend(
    Draft202012Validator, type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
)


class _Routes:
    """A tree of path segments. A literal segment wins over a parameter: `/v1/webhooks/events` is not a webhook's id."""

    def __init__(self) -> None:
        self.literals: dict[str, _Routes] = {}
        self.parameter: _Routes | None = None
        self.endpoints: dict[str, Endpoint] = {}

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint below this root."""
        node = self
        for segment in _segments(endpoint.path):
            if segment.startswith("{"):
                node.parameter = node.parameter or _Routes()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment, _Routes())
        node.endpoints[endpoint.method] = endpoint

    def find(self, method: str, segments: list[str]) -> Endpoint | None:
        """Return the endpoint of the segments that follow."""
        if not segments:
            return self.endpoints.get(method)
        first, *rest = segments
        if first in self.literals and (found := self.literals[first].find(method, rest)):
            return found
        return self.parameter.find(method, rest) if self.parameter and first else None


def _segments(path: str) -> list[str]:
    return path.removeprefix("/").split("/")


class Document:
    """The endpoints of an OpenAPI document, and validators for its schemas.

    Args:
        content: The merged document, as `openapi.json` and `panel_openapi.json` of the package hold it.
    """

    def __init__(self, content: Json) -> None:
        self.content = content
        registry: Registry[Any] = Registry()
        self._registry = registry.with_resource(_URI, DRAFT202012.create_resource(content))
        self.endpoints: tuple[Endpoint, ...] = tuple(self._endpoints())
        self._by_path: dict[str, dict[str, Endpoint]] = {}
        self._routes = _Routes()
        self._validators: dict[tuple[str, Part, FormatChecker | None], Draft202012Validator] = {}
        for endpoint in self.endpoints:
            self._by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
            self._routes.add(endpoint)

    @property
    def catalog(self) -> Json:
        """The catalog: what is not an endpoint, such as the webhook events."""
        catalog: Json = self.content.get("x-catalog", {})
        return catalog

    def methods_at(self, path: str) -> Mapping[str, Endpoint]:
        """Return the endpoints of a path, as the document writes it, by method."""
        return self._by_path.get(path, {})

    def find(self, method: str, path: str) -> tuple[Endpoint, Mapping[str, str]] | None:
        """Return the endpoint and its path parameters, or None.

        Args:
            method: HTTP method in upper case.
            path: Decoded path without public prefix, as the backend reads it (evidence: signed-path).
        """
        segments = _segments(path)
        endpoint = self._routes.find(method, segments)
        if endpoint is None:
            return None
        names = _segments(endpoint.path)
        return endpoint, {
            name[1:-1]: value for name, value in zip(names, segments, strict=True) if name.startswith("{")
        }

    def request_validator(self, endpoint: Endpoint, part: Part, formats: FormatChecker | None) -> Draft202012Validator:
        """Return the validator of the body or query of an endpoint, which is compiled when it is first needed."""
        key = (endpoint.operation, part, formats)
        if key not in self._validators:
            schema = _query_schema(endpoint) if part == "query" else endpoint.body or self._open_body(endpoint)
            self._validators[key] = self.validator(schema, formats)
        return self._validators[key]

    def _open_body(self, endpoint: Endpoint) -> Json:
        """Return the schema of a body that the document leaves open.

        Guess: a change takes the fields of the create, all optional.
        """
        create = self.methods_at(endpoint.path.rpartition("/")[0]).get("POST") if endpoint.method == "PATCH" else None
        body: Json = {} if create is None or create.body is None else self.resolve(create.body)
        return {"properties": body.get("properties", {})}

    def validator(self, schema: Json, formats: FormatChecker | None = None) -> Draft202012Validator:
        """Compile a schema of the document, and check these formats."""
        return _Validator(_absolute(schema), registry=self._registry, format_checker=formats)

    def resolve(self, node: Json) -> Json:
        """Follow the reference of a node, if it is one."""
        while "$ref" in node:
            found: Any = self.content
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node

    def _endpoints(self) -> Iterator[Endpoint]:
        for path, item in self.content["paths"].items():
            for method in METHODS:
                if method in item and not item[method].get("x-websocket"):
                    yield self._endpoint(method, path, item, item[method])

    def _endpoint(self, method: str, path: str, item: Json, operation: Json) -> Endpoint:
        parameters = [self.resolve(node) for node in (*item.get("parameters", ()), *operation.get("parameters", ()))]
        body = self.resolve(operation.get("requestBody", {}))
        contents = body.get("content", {})
        body_content = contents.get(_FORM) or contents.get(_JSON, {})
        status = min(code for code in operation["responses"] if code.startswith("2"))
        reply_content = self.resolve(operation["responses"][status]).get("content", {}).get(_JSON, {})
        reply = reply_content.get("schema")
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
            query=tuple(parameter for parameter in parameters if parameter["in"] == "query"),
            body=body_content.get("schema"),
            body_required=body.get("required", False),
            form=_FORM in contents,
            body_example=_example(body_content),
            status=_success_status(status, operation["operationId"]),
            reply=reply,
            reply_example=_example(reply_content),
            item=self._item(reply),
            natural_key=tuple(operation.get("x-natural-key", {}).get("fields", ())),
        )

    def _item(self, reply: Json | None) -> Json:
        """Return the schema of a row of a list, bare or in `data`."""
        schema = self.resolve(reply or {})
        if "data" in schema.get("properties", {}):
            schema = self.resolve(schema["properties"]["data"])
        return self.resolve(schema.get("items", {}))


def _query_schema(endpoint: Endpoint) -> Json:
    return {
        "type": "object",
        "properties": {parameter["name"]: parameter["schema"] for parameter in endpoint.query},
        "required": [parameter["name"] for parameter in endpoint.query if parameter.get("required")],
    }


@cache
def shipped_document(name: str = "openapi.json") -> Document:
    """Return a document that the package ships: `openapi.json` or `panel_openapi.json`."""
    return Document(json.loads(files("panelica_async").joinpath(name).read_text("utf-8")))


def _success_status(code: str, operation: str) -> int:
    """Return the status of a success. Guess: where it is not known, 201 for what is created and 200 for the rest."""
    if code.isdecimal():
        return int(code)
    return 201 if operation.endswith(".create") else 200


def _example(content: Json) -> Any:
    for named in content.get("examples", {}).values():
        return named.get("value")
    return content.get("example")


def _absolute(node: Any) -> Any:
    """Copy a part of the document, with references that also work outside it."""
    if isinstance(node, Mapping):
        fields = cast("Json", node).items()
        return {key: f"{_URI}{value}" if key == "$ref" else _absolute(value) for key, value in fields}
    if isinstance(node, list):
        return [_absolute(item) for item in cast("Sequence[Any]", node)]
    return node


def example_reply(document: Document, endpoint: Endpoint) -> Any:
    """Return the example of an operation's reply, or the smallest value its schema allows."""
    if endpoint.reply_example is not None:
        return endpoint.reply_example
    return None if endpoint.reply is None else instance(document, endpoint.reply)


def instance(document: Document, schema: Json) -> Any:
    """Return the smallest value of a schema, from its examples where it has some."""
    schema = document.resolve(schema)
    for choices in ("examples", "enum", "x-known-values"):
        if schema.get(choices):
            return schema[choices][0]
    for single in ("example", "const"):
        if single in schema:
            return schema[single]
    for alternatives in ("oneOf", "anyOf"):
        if alternatives in schema:
            return instance(document, schema[alternatives][0])
    kinds: Any = schema.get("type", "object")
    return _smallest(document, kinds if isinstance(kinds, str) else kinds[0], schema)


def _smallest(document: Document, kind: str, schema: Json) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: instance(document, properties.get(name, {})) for name in schema.get("required", ())}
        case "array":
            return [instance(document, schema["items"]) for _ in range(schema.get("minItems", 0))]
        case "string":
            return "1970-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x" * schema.get("minLength", 0)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
