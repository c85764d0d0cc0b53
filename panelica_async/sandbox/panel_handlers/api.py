"""The API itself: its health, the key of the caller, API keys, webhooks, the catalogue.

Keys and webhooks have the fields of the published reference (evidence: api-keys, webhooks, webhook-destinations), the
catalogue has the form of newer panels (evidence: api-spec, api-spec-bodies).

Guesses: the versions; an owner that may manage keys sees all of them, and a new key is granted any scopes; a change of
a key takes name, scopes, tier and addresses, one of a webhook every field of a create and `active`; the destination of
a webhook is not checked; `errors` is the same for all endpoints, as in the catalogue of a running panel.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from panelica_async.catalog import TIERS
from panelica_async.sandbox.auth import is_scope
from panelica_async.sandbox.handlers import api
from panelica_async.sandbox.handlers.api import WEBHOOK_DEFAULTS
from panelica_async.sandbox.handlers.base import ApiCall, ApiReply, accepted, get, handles
from panelica_async.sandbox.messages import PREFIX, invalid
from panelica_async.sandbox.spec import METHODS, Document, Json
from panelica_async.sandbox.store import Row, new_id, timestamp

_API_VERSION = "1.0.0"

_KEY_FIELDS = ("name", "scopes", "rate_limit_tier", "ip_whitelist")

_WEBHOOK_FIELDS = ("name", "destination_type", "destination_config", "events", *WEBHOOK_DEFAULTS, "active")

_PANEL_VERSION = "1.0.528"
_UNLISTED = frozenset({"/v1/api-spec", "/v1/postman-collection"})
_ERRORS = ("BAD_REQUEST", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "TOO_MANY_REQUESTS", "INTERNAL_ERROR")
_STATUSES = (400, 401, 403, 404, 409, 429, 500)


@handles("GET /health")
def health(call: ApiCall) -> ApiReply:
    """Return the health of the API; not signed, and without an envelope (evidence: address-health)."""
    return ApiReply(
        {
            "service": "panelica-external-api",
            "status": "ok",
            "timestamp": timestamp(call.now),
            "version": _API_VERSION,
        }
    )


@handles("GET /v1/me")
def me(call: ApiCall) -> ApiReply:
    """Return the key that signed the call (evidence: me)."""
    key = call.store.get("api_key", call.caller.key.id)
    fields = ("name", "key_prefix", "scopes", "rate_limit_tier", "status", "expires_at")
    return ApiReply({"user_id": call.caller.key.user_id, **{name: key[name] for name in fields}})


# The fields of the rate limit are those of the reference (evidence: rate-limit-endpoint).
handles("GET /v1/rate-limit")(api.rate_limit)
handles("GET /v1/postman-collection")(api.postman_collection)
handles("GET /v1/api-keys")(api.list_api_keys)
handles("POST /v1/api-keys")(api.create_api_key)


@handles("GET /v1/api-keys/{key_id}")
def get_api_key(call: ApiCall) -> ApiReply:
    """Return one key without its secret."""
    return ApiReply(_key(call))


@handles("PATCH /v1/api-keys/{key_id}")
def update_api_key(call: ApiCall) -> ApiReply:
    """Change a key; its secret stays."""
    key, changes = _key(call), call.fields(*_KEY_FIELDS)
    if changes.get("rate_limit_tier", key["rate_limit_tier"]) not in TIERS:
        raise invalid(call.endpoint.operation, [("rate_limit_tier", "oneof")])
    if not all(is_scope(str(scope)) for scope in changes.get("scopes", ())):
        raise invalid(call.endpoint.operation, [("scopes", "oneof")])
    call.store.update("api_key", key["id"], changes)
    return ApiReply(_key(call))


@handles("DELETE /v1/api-keys/{key_id}")
def delete_api_key(call: ApiCall) -> ApiReply:
    """Delete a key, which is refused from then on."""
    call.store.delete("api_key", _key(call)["id"])
    return accepted("API key deleted")


@handles("POST /v1/api-keys/{key_id}/regenerate")
def regenerate_api_key(call: ApiCall) -> ApiReply:
    """Replace the secret; only this reply shows it."""
    return api.replace_secret(call, _key(call))


def _key(call: ApiCall) -> Row:
    return get(call, "api_key")


@handles("GET /v1/webhooks")
def list_webhooks(call: ApiCall) -> ApiReply:
    """Return all webhooks."""
    return ApiReply(call.store.rows("SELECT * FROM webhook"))


@handles("POST /v1/webhooks")
def create_webhook(call: ApiCall) -> ApiReply:
    """Add a webhook."""
    row: dict[str, Any] = {"id": new_id(), "created_at": call.now, **WEBHOOK_DEFAULTS, **call.fields(*_WEBHOOK_FIELDS)}
    call.store.insert("webhook", row)
    return ApiReply(call.store.get("webhook", row["id"]))


@handles("GET /v1/webhooks/{id}")
def get_webhook(call: ApiCall) -> ApiReply:
    """Return one webhook."""
    return ApiReply(get(call, "webhook"))


@handles("PATCH /v1/webhooks/{id}")
def update_webhook(call: ApiCall) -> ApiReply:
    """Change a webhook."""
    call.store.update("webhook", get(call, "webhook")["id"], call.fields(*_WEBHOOK_FIELDS))
    return ApiReply(get(call, "webhook"))


@handles("DELETE /v1/webhooks/{id}")
def delete_webhook(call: ApiCall) -> ApiReply:
    """Delete a webhook with its deliveries."""
    call.store.delete("webhook", get(call, "webhook")["id"])
    return accepted("Webhook deleted")


@handles("POST /v1/webhooks/{id}/test")
def test_webhook(call: ApiCall) -> ApiReply:
    """Send a test event with the name of the webhook."""
    return api.send_test_event(call, get(call, "webhook"))


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
