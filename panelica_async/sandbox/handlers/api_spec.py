"""What the API says of itself: the catalogue of current panels at `/v1/api-spec`, and the Postman collection.

The catalogue has the form of newer panels (evidence: api-spec, api-spec-bodies).

Guesses: the version; `errors` is the same for all endpoints, as in the catalogue of a running panel.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from panelica_async.sandbox.handlers.api import API_VERSION
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, handles
from panelica_async.sandbox.messages import PREFIX
from panelica_async.sandbox.spec import METHODS, Document, Endpoint, Json
from panelica_async.sandbox.store import timestamp

_POSTMAN_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

# METHOD + decoded path + ["?" + raw query] + TIMESTAMP + BODY, DELETE without its body (evidence: signed-text).
# Dynamic variables, such as {{$guid}}, have another value on each use, so the value that is signed is put into
# the request. The text is signed as bytes, one character of the string each, because a path may not decode to UTF-8.
_SIGNING_SCRIPT = r"""
const bytes = (text) => unescape(encodeURIComponent(text));
const hexadecimal = (byte) => byte.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase();
const escaped = (text) => Array.from(bytes(text), (byte) => "%" + hexadecimal(byte)).join("");
const decoded = (text) => text.replace(/%([0-9a-f]{2})/gi, (_, digits) => String.fromCharCode(parseInt(digits, 16)));

let url = pm.variables.replaceIn(pm.request.url.toString());
url = /^https?:\/\//i.test(url) ? url : "https://" + url;
url = url.replace(/[\u0000-\u0020"'<>\\^`{|}\u007f-\u{10ffff}]+/gu, escaped).replace(/%(?![0-9a-f]{2})/gi, "%25");
url = url.replace(/#.*$/, "").replace(/^(https?:\/\/[^?]*?)\/{2,}v1\//i, "$1/v1/");
pm.request.url.update(url);

let body = "";
if (pm.request.body && pm.request.body.mode === "raw") {
  body = pm.variables.replaceIn(pm.request.body.toString());
  pm.request.body.update({mode: "raw", raw: body});
}

const [, target] = url.match(/^https?:\/\/[^\/?]+(?:\/api\/external(?=\/))?(.*)$/i);
const [path, query] = target.split(/\?(.*)/s);
const timestamp = Math.floor(Date.now() / 1000).toString();
const signed = decoded(path) + (query ? "?" + query : "");
const text = pm.request.method + signed + timestamp + (pm.request.method === "DELETE" ? "" : bytes(body));
const secret = CryptoJS.enc.Utf8.parse(pm.variables.get("api_secret"));
const signature = CryptoJS.HmacSHA256(CryptoJS.enc.Latin1.parse(text), secret).toString();
pm.request.headers.upsert({key: "X-API-Key", value: pm.variables.get("api_key")});
pm.request.headers.upsert({key: "X-Timestamp", value: timestamp});
pm.request.headers.upsert({key: "X-Signature", value: signature});
"""

_PANEL_VERSION = "1.0.528"
_UNLISTED = frozenset({"/v1/api-spec", "/v1/postman-collection"})
_ERRORS = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_ERROR",
}


@handles("postman_collection", "GET /v1/postman-collection")
def postman_collection(call: ApiCall) -> ApiReply:
    """Return the Postman collection of the document, format 2.1: a folder for each tag, and a script that signs."""
    folders: dict[str, list[dict[str, Any]]] = {}
    for endpoint in call.document.endpoints:
        folders.setdefault(endpoint.tag, []).append(_postman_request(endpoint))
    script = {"type": "text/javascript", "exec": _SIGNING_SCRIPT.strip().splitlines()}
    return ApiReply(
        {
            "info": {"name": call.document.content["info"]["title"], "schema": _POSTMAN_SCHEMA},
            "item": [{"name": tag, "item": requests} for tag, requests in folders.items()],
            "event": [{"listen": "prerequest", "script": script}],
            "variable": [
                {"key": "base_url", "value": "https://panel.example.com:8443/api/external"},
                {"key": "api_key", "value": ""},
                {"key": "api_secret", "value": ""},
            ],
        }
    )


def _postman_request(endpoint: Endpoint) -> dict[str, Any]:
    path = re.sub(r"\{(\w+)\}", r":\1", endpoint.path)
    request: dict[str, Any] = {
        "method": endpoint.method,
        "header": [{"key": "Content-Type", "value": "application/json"}] if endpoint.body else [],
        "url": {
            "raw": "{{base_url}}" + path,
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "query": [_postman_parameter(parameter) for parameter in endpoint.query],
            "variable": [{"key": name, "value": ""} for name in re.findall(r"\{(\w+)\}", endpoint.path)],
        },
    }
    if endpoint.body_example is not None:
        request["body"] = {"mode": "raw", "raw": json.dumps(endpoint.body_example, indent=2)}
    return {"name": endpoint.summary, "request": request}


def _postman_parameter(parameter: Json) -> dict[str, Any]:
    value = str(parameter.get("example", ""))
    return {"key": parameter["name"], "value": value, "disabled": not parameter.get("required", False)}


@handles("GET /v1/api-spec")
def api_spec(call: ApiCall) -> ApiReply:
    """Return the catalogue, which lists neither itself nor the Postman collection (evidence: api-spec-gaps)."""
    return ApiReply(
        {
            "title": "Panelica External API",
            "version": API_VERSION,
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
        "errors": [{"status": status, "code": code} for status, code in _ERRORS.items()],
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
