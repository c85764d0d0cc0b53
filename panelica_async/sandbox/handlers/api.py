"""The API itself: its health, the caller's key and rate limit, API keys, and the catalogue of endpoints.

On current panels, keys have the fields of the published reference (evidence: api-keys). A new secret of a key replaces
the old one at once. The catalogue at `/v1/api-spec` has the form of newer panels (evidence: api-spec, api-spec-bodies).

Guesses: a key belongs to the owner of the key that created it, and lasts for a hundred years at most. On panels: the
versions; a key with the scope for keys sees all of them, and may create keys with any scopes; an update takes name,
scopes, tier and whitelist; `errors` is the same for all endpoints, as in the catalogue of a running panel.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from panelica_async.catalog import TIERS
from panelica_async.sandbox.auth import ENVIRONMENTS, Grants, create_key, new_secret
from panelica_async.sandbox.handlers.base import (
    ApiCall,
    ApiReply,
    get,
    handle_delete,
    handle_get,
    handle_list,
    handles,
)
from panelica_async.sandbox.messages import PREFIX, bad_request
from panelica_async.sandbox.spec import METHODS, Document, Endpoint, JsonObject, reply_of
from panelica_async.sandbox.store import Row, timestamp, uptime_seconds
from panelica_async.sandbox.validation import one_of

_PANEL_API_VERSION = "1.0.0"
_REFERENCE_API_VERSION = "1.0.27"

_DAY = 86400
_MAX_LIFETIME_DAYS = 36_500
_DEFAULT_TIER = next(iter(TIERS))
_CREATION_FIELDS = ("id", "name", "key_prefix", "scopes", "rate_limit_tier", "expires_at", "created_at")

handle_list("api_key", "api_keys.list", "GET /v1/api-keys")
handle_get("api_key", "GET /v1/api-keys/{key_id}")
handle_delete("api_key", "DELETE /v1/api-keys/{key_id}", message="API key deleted")


@handles("health")
def health_in_reference(call: ApiCall) -> ApiReply:
    """Return the health of the API; the only operation that needs no key."""
    seconds = uptime_seconds(call.store)
    uptime = f"{seconds // _DAY}d {seconds % _DAY // 3600}h {seconds % 3600 // 60}m"
    return ApiReply({"status": "healthy", "version": _REFERENCE_API_VERSION, "uptime": uptime})


@handles("GET /health")
def health_on_panel(call: ApiCall) -> ApiReply:
    """Return the health of the API; not signed, and without an envelope (evidence: address-health)."""
    health = {"service": "panelica-external-api", "status": "ok", "version": _PANEL_API_VERSION}
    return ApiReply({**health, "timestamp": timestamp(call.now)})


@handles("me")
def me_in_reference(call: ApiCall) -> ApiReply:
    """Return the key that signed the call."""
    owner = get(call, "account", call.caller.key.user_id)
    user = {name: owner[name] for name in ("id", "username", "role")}
    key = _signing_key_fields(call)
    return ApiReply({"key_id": call.caller.key.id, **key, "user": user})


@handles("GET /v1/me")
def me_on_panel(call: ApiCall) -> ApiReply:
    """Return the key that signed the call (evidence: me)."""
    return ApiReply({"user_id": call.caller.key.user_id, **_signing_key_fields(call)})


def _signing_key_fields(call: ApiCall) -> Row:
    key = get(call, "api_key", call.caller.key.id)
    return {name: key[name] for name in ("name", "key_prefix", "scopes", "rate_limit_tier", "status", "expires_at")}


@handles("rate_limit", "GET /v1/rate-limit")
def rate_limit(call: ApiCall) -> ApiReply:
    """Return the rate limit and its usage, including this call (evidence: rate-limit-endpoint)."""
    limits = call.caller.limits
    minute, hour = limits.usage("minute"), limits.usage("hour")
    return ApiReply(
        {
            "tier": limits.tier.name,
            "requests_per_minute": limits.tier.requests_per_minute,
            "requests_per_hour": limits.tier.requests_per_hour,
            "burst_size": limits.tier.burst,
            "current_minute_usage": minute.used,
            "current_hour_usage": hour.used,
            "reset_at": timestamp(minute.reset_at),
        }
    )


@handles("api_keys.create", "POST /v1/api-keys")
def create_api_key(call: ApiCall) -> ApiReply:
    """Create a key; only this reply shows both halves."""
    body = call.body
    if body.get("expires_in", 1) > _MAX_LIFETIME_DAYS:
        raise bad_request(f"expires_in: must be at most {_MAX_LIFETIME_DAYS} days")
    grants = Grants(
        scopes=body["scopes"],
        tier=body.get("rate_limit_tier", _DEFAULT_TIER),
        ip_whitelist=body.get("ip_whitelist", ()),
    )
    credentials = create_key(
        call.store,
        grants,
        user_id=call.caller.key.user_id,
        name=body["name"],
        expires_at=call.now + body["expires_in"] * _DAY if "expires_in" in body else None,
        environment=one_of(body.get("environment", ENVIRONMENTS[0]), ENVIRONMENTS, "environment"),
    )
    key = get(call, "api_key", credentials.key_id)
    fields = {name: key[name] for name in _CREATION_FIELDS}
    return ApiReply({**fields, "api_key": credentials.api_key, "api_secret": credentials.api_secret})


@handles("PATCH /v1/api-keys/{key_id}")
def update_api_key(call: ApiCall) -> ApiReply:
    """Change a key; its secret stays."""
    row = {**get(call, "api_key"), **call.fields("name", "scopes", "rate_limit_tier", "ip_whitelist")}
    grants = Grants(scopes=row["scopes"], tier=row["rate_limit_tier"], ip_whitelist=row["ip_whitelist"])
    call.store.update("api_key", row["id"], {"name": row["name"], **grants.columns()})
    return ApiReply(get(call, "api_key"))


@handles("api_keys.regenerate", "POST /v1/api-keys/{key_id}/regenerate")
def regenerate_api_key(call: ApiCall) -> ApiReply:
    """Replace the secret. Only this reply shows the new one; the next request with the old one is rejected."""
    key = get(call, "api_key")
    secret = new_secret("test" if key["key_prefix"].startswith("pk_test_") else "live")
    call.store.update("api_key", key["id"], {"api_secret": secret})
    return ApiReply({"api_secret": secret})


# The Postman collection

_POSTMAN_SCHEMA = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

# Signs METHOD + decoded path + ["?" + raw query] + TIMESTAMP + BODY, without the body of a DELETE
# (evidence: signed-text). Dynamic variables, such as {{$guid}}, get a new value on each use, so the script puts the
# signed value into the request. It keeps the text as a string with one character per byte, because a decoded path need
# not be UTF-8.
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


@handles("postman_collection", "GET /v1/postman-collection")
def postman_collection(call: ApiCall) -> ApiReply:
    """Return a Postman collection of the document (format 2.1), with a folder for each tag and a script that signs."""
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
        "header": [{"key": "Content-Type", "value": "application/json"}] if endpoint.body_schema else [],
        "url": {
            "raw": "{{base_url}}" + path,
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "query": [_postman_parameter(parameter) for parameter in endpoint.query_parameters],
            "variable": [{"key": name, "value": ""} for name in re.findall(r"\{(\w+)\}", endpoint.path)],
        },
    }
    if endpoint.body_example is not None:
        request["body"] = {"mode": "raw", "raw": json.dumps(endpoint.body_example, indent=2)}
    return {"name": endpoint.summary, "request": request}


def _postman_parameter(parameter: JsonObject) -> dict[str, Any]:
    value = str(parameter.get("example", ""))
    return {"key": parameter["name"], "value": value, "disabled": not parameter.get("required", False)}


# The catalogue of current panels

_PANEL_VERSION = "1.0.528"
_UNLISTED_PATHS = frozenset({"/v1/api-spec", "/v1/postman-collection"})
_ERROR_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    409: "CONFLICT",
    429: "TOO_MANY_REQUESTS",
    500: "INTERNAL_ERROR",
}


@handles("GET /v1/api-spec")
def api_spec(call: ApiCall) -> ApiReply:
    """Return the catalogue, which lists neither itself nor the Postman collection (evidence: api-spec-gaps)."""
    return ApiReply(
        {
            "title": "Panelica External API",
            "version": _PANEL_API_VERSION,
            "panel_version": _PANEL_VERSION,
            "generated_at": timestamp(call.now),
            "base_url": PREFIX,
            "endpoints": list(_catalogue_entries(call.document)),
        }
    )


def _catalogue_entries(document: Document) -> Iterator[dict[str, Any]]:
    """Yield the entries. The catalogue may write several paths as one, which then has a single entry."""
    seen: set[tuple[str, str]] = set()
    for path, path_item in document.content["paths"].items():
        for method in METHODS:
            if method not in path_item or path in _UNLISTED_PATHS:
                continue
            operation = path_item[method]
            endpoint = method.upper(), operation.get("x-catalogued-as", path)
            if endpoint not in seen:
                seen.add(endpoint)
                yield _catalogue_entry(document, *endpoint, operation)


def _catalogue_entry(document: Document, method: str, path: str, operation: JsonObject) -> dict[str, Any]:
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
            "path_params": [_parameter_entry(node) for node in parameters if node["in"] == "path"],
            "query_params": [_parameter_entry(node) for node in parameters if node["in"] == "query"],
            "body": _body_entry(document, operation, method),
        },
        "response": _response_entry(document, operation),
        "errors": [{"status": status, "code": code} for status, code in _ERROR_CODES.items()],
    }


def _parameter_entry(node: JsonObject) -> dict[str, Any]:
    return _field_entry(node["name"], node["schema"], required=node.get("required", False)) | {
        "description": node.get("description", "")
    }


def _body_entry(document: Document, operation: JsonObject, method: str) -> dict[str, Any]:
    """Return the description of the body; `content_type` is `none` if the endpoint takes no fields.

    An undescribed body is listed without fields, as in older catalogues.
    """
    if "requestBody" not in operation and method in {"PUT", "POST", "PATCH"}:
        return {"content_type": "application/json", "required": False, "fields": []}
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = document.resolve(content["schema"])
        if schema.get("maxProperties") != 0:
            fields = _field_entries(document, schema)
            required = operation["requestBody"].get("required", False)
            return {"content_type": content_type, "required": required, "fields": fields}
    return {"content_type": "none", "required": False, "fields": []}


def _response_entry(document: Document, operation: JsonObject) -> dict[str, Any]:
    """Return the description of the reply: the type of its data, and the fields of the object or of a row."""
    [reply] = operation["responses"].values()
    described, _ = reply_of(reply.get("content", {}).get("application/json", {}))
    schema = document.resolve(described or {})
    is_list = schema.get("type") == "array"
    row_schema = document.resolve(schema["items"]) if is_list else schema
    data_type = "array" if is_list else "object" if schema else "none"
    return {"data_type": data_type, "keys": [], "fields": _field_entries(document, row_schema)}


def _field_entries(document: Document, schema: JsonObject) -> list[dict[str, Any]]:
    required: Iterable[str] = schema.get("required", ())
    properties: JsonObject = schema.get("properties", {})
    return [_field_entry(name, document.resolve(node), required=name in required) for name, node in properties.items()]


def _field_entry(name: str, schema: JsonObject, *, required: bool) -> dict[str, Any]:
    types: Any = schema.get("type", "object")
    first_type = types if isinstance(types, str) else types[0]
    field: dict[str, Any] = {
        "name": name,
        "type": "uuid" if schema.get("format") == "uuid" else first_type,
        "required": required,
        "description": schema.get("description", ""),
    }
    if "enum" in schema:
        field["enum"] = schema["enum"]
    return field
