"""What a panel lists about itself, in the form of newer panels (evidence: api-spec, api-spec-bodies).

Guesses: the versions; `errors` is the same for all, as in the catalogue of a running panel.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from panelica_async.sandbox.handlers.base import ApiCall, ApiReply
from panelica_async.sandbox.messages import PREFIX
from panelica_async.sandbox.panel_handlers.base import handles
from panelica_async.sandbox.spec import METHODS, Document, Json
from panelica_async.sandbox.store import timestamp

_PANEL_VERSION = "1.0.528"
_API_VERSION = "1.0.0"
_UNLISTED = frozenset({"/v1/api-spec", "/v1/postman-collection"})
_ERRORS = ("BAD_REQUEST", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "TOO_MANY_REQUESTS", "INTERNAL_ERROR")
_STATUSES = (400, 401, 403, 404, 409, 429, 500)


@handles("GET /v1/api-spec")
def api_spec(call: ApiCall) -> ApiReply:
    """Return the catalogue, which lists neither itself nor the Postman collection (evidence: api-spec-gaps)."""
    return ApiReply(
        {
            "title": "Panelica External API",
            "version": _API_VERSION,
            "panel_version": _PANEL_VERSION,
            "generated_at": timestamp(call.now),
            "base_url": PREFIX,
            "endpoints": list(_entries(call.document)),
        }
    )


def _entries(document: Document) -> Iterator[dict[str, Any]]:
    """Yield the entries; those that the catalogue writes as one path come once."""
    seen: set[tuple[str, str]] = set()
    for path, item in document.content["paths"].items():
        for method in METHODS:
            if method not in item or path in _UNLISTED:
                continue
            operation = item[method]
            listed = method.upper(), operation.get("x-catalogued-as", path)
            if listed not in seen:
                seen.add(listed)
                yield _entry(document, *listed, operation)


def _entry(document: Document, method: str, path: str, operation: Json) -> dict[str, Any]:
    parameters = [document.resolve(node) for node in operation.get("parameters", ())]
    scopes: list[str] = list(operation["x-scope"])
    auth: dict[str, Any] = {"type": "hmac", "required": operation.get("security") != [], "scopes": scopes}
    if len(scopes) > 1:
        auth["scope_rule"] = f"one of {', '.join(scopes)}"
    if "x-roles" in operation:
        auth["roles"] = operation["x-roles"]
    return {
        "method": method,
        "path": path,
        "category": next(iter(operation.get("tags", ())), ""),
        "summary": operation["summary"],
        "description": operation.get("description", ""),
        "auth": auth,
        "request": {
            "path_params": [_parameter(node) for node in parameters if node["in"] == "path"],
            "query_params": [_parameter(node) for node in parameters if node["in"] == "query"],
            "body": _body(document, operation, method),
        },
        "response": _response(document, operation),
        "errors": [{"status": status, "code": code} for status, code in zip(_STATUSES, _ERRORS, strict=True)],
    }


def _parameter(node: Json) -> dict[str, Any]:
    return _field(node["name"], node["schema"], required=node.get("required", False)) | {
        "description": node.get("description", "")
    }


def _body(document: Document, operation: Json, method: str) -> dict[str, Any]:
    """Return the body; `content_type` is `none` if the endpoint takes no fields, as suspending does.

    A body of which nothing is known declares no fields, as in older catalogues.
    """
    if "requestBody" not in operation and method in {"PUT", "POST", "PATCH"}:
        return {"content_type": "application/json", "required": False, "fields": []}
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = document.resolve(content["schema"])
        if schema.get("maxProperties") != 0:
            fields = _fields(document, schema)
            required = operation["requestBody"].get("required", False)
            return {"content_type": content_type, "required": required, "fields": fields}
    return {"content_type": "none", "required": False, "fields": []}


def _response(document: Document, operation: Json) -> dict[str, Any]:
    """Return the reply: the type of its data, the fields of an object or of a row, and the keys beside the data."""
    [reply] = operation["responses"].values()
    schema = document.resolve(reply.get("content", {}).get("application/json", {}).get("schema", {}))
    is_list = schema.get("type") == "array"
    rows = document.resolve(schema["items"]) if is_list else schema
    kind = "array" if is_list else "object" if schema else "none"
    return {"data_type": kind, "keys": [], "fields": _fields(document, rows)}


def _fields(document: Document, schema: Json) -> list[dict[str, Any]]:
    required: Iterable[str] = schema.get("required", ())
    properties: Json = schema.get("properties", {})
    return [_field(name, document.resolve(node), required=name in required) for name, node in properties.items()]


def _field(name: str, schema: Json, *, required: bool) -> dict[str, Any]:
    kinds: Any = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    field: dict[str, Any] = {
        "name": name,
        "type": "uuid" if schema.get("format") == "uuid" else kind,
        "required": required,
        "description": schema.get("description", ""),
    }
    if "enum" in schema:
        field["enum"] = schema["enum"]
    return field
