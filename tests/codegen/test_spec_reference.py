"""The specification against the published API reference, which `reference.json` holds as data, and the promised names.

`reference.json` has one entry an endpoint: method, path, scope, query parameters, examples of the request and of the
reply; null and empty where the reference shows none. Its addresses of mail are made up: the reference hides them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from jsonschema import Draft202012Validator

from panelica_async import models
from panelica_async.core.converter import decode
from tests.codegen.shipped import DOCUMENT, OPERATIONS, endpoints, resolve

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text(encoding="utf-8"))

NAMES = {
    "domains.list": "GET /v1/domains",
    "domains.get": "GET /v1/domains/{id}",
    "domains.create": "POST /v1/domains",
    "domains.update": "PATCH /v1/domains/{id}",
    "domains.delete": "DELETE /v1/domains/{id}",
    "domains.suspend": "POST /v1/domains/{id}/suspend",
    "domains.unsuspend": "POST /v1/domains/{id}/unsuspend",
    "accounts.list": "GET /v1/accounts",
    "accounts.get": "GET /v1/accounts/{id}",
    "accounts.create": "POST /v1/accounts",
    "accounts.update": "PATCH /v1/accounts/{id}",
    "accounts.delete": "DELETE /v1/accounts/{id}",
    "accounts.suspend": "POST /v1/accounts/{id}/suspend",
    "accounts.unsuspend": "POST /v1/accounts/{id}/unsuspend",
    "dns.records.list": "GET /v1/dns/zones/{zone_id}/records",
    "dns.records.create": "POST /v1/dns/zones/{zone_id}/records",
    "dns.records.update": "PATCH /v1/dns/zones/{zone_id}/records/{record_id}",
    "dns.records.delete": "DELETE /v1/dns/zones/{zone_id}/records/{record_id}",
    "ssl.certificates.list": "GET /v1/ssl/certificates",
    "ssl.certificates.issue": "POST /v1/ssl/certificates",
    "ssl.certificates.renew": "POST /v1/ssl/certificates/{id}/renew",
    "databases.list": "GET /v1/databases",
    "databases.create": "POST /v1/databases",
    "databases.delete": "DELETE /v1/databases/{id}",
    "databases.users.create": "POST /v1/databases/{db_id}/users",
    "email.accounts.list": "GET /v1/email/accounts",
    "email.accounts.create": "POST /v1/email/accounts",
    "email.accounts.delete": "DELETE /v1/email/accounts/{id}",
    "ftp.accounts.list": "GET /v1/ftp/accounts",
    "ftp.accounts.create": "POST /v1/ftp/accounts",
    "ftp.accounts.delete": "DELETE /v1/ftp/accounts/{id}",
    "backups.list": "GET /v1/backups",
    "backups.create": "POST /v1/backups",
    "backups.restore": "POST /v1/backups/{id}/restore",
    "backups.delete": "DELETE /v1/backups/{id}",
    "server.status": "GET /v1/server/status",
    "server.services.list": "GET /v1/server/services",
    "server.services.start": "POST /v1/server/services/{name}/start",
    "server.services.stop": "POST /v1/server/services/{name}/stop",
    "server.services.restart": "POST /v1/server/services/{name}/restart",
    "bandwidth.get": "GET /v1/bandwidth",
    "plans.list": "GET /v1/plans",
    "plans.create": "POST /v1/plans",
    "plans.update": "PATCH /v1/plans/{id}",
    "files.list": "GET /v1/files",
    "files.read": "GET /v1/files/content",
    "files.write": "PUT /v1/files/content",
    "files.delete": "DELETE /v1/files",
    "cloudflare.zones.list": "GET /v1/cloudflare/zones",
    "cloudflare.zones.sync": "POST /v1/cloudflare/zones/{zone_id}/sync",
    "api_keys.list": "GET /v1/api-keys",
    "api_keys.create": "POST /v1/api-keys",
    "api_keys.regenerate": "POST /v1/api-keys/{id}/regenerate",
    "webhooks.list": "GET /v1/webhooks",
    "webhooks.create": "POST /v1/webhooks",
    "webhooks.events": "GET /v1/webhooks/events",
    "webhooks.stats": "GET /v1/webhooks/stats",
    "webhooks.logs": "GET /v1/webhooks/{id}/logs",
    "webhooks.test": "POST /v1/webhooks/{id}/test",
    "rate_limit": "GET /v1/rate-limit",
    "health": "GET /v1/health",
    "me": "GET /v1/me",
    "postman_collection": "GET /v1/postman-collection",
}
"""The promised name of each operation."""


@attrs.frozen
class Endpoint:
    """An endpoint in the specification and in the reference."""

    name: str
    operation: Mapping[str, Any]
    parameters: Mapping[str, Mapping[str, Any]]
    reference: Mapping[str, Any]

    @property
    def body(self) -> Mapping[str, Any] | None:
        """JSON content of the request."""
        return self.operation.get("requestBody", {}).get("content", {}).get("application/json")

    @property
    def reply(self) -> Mapping[str, Any] | None:
        """JSON content of the reply."""
        response = next(value for status, value in self.operation["responses"].items() if status.startswith("2"))
        return response.get("content", {}).get("application/json")


def _endpoints() -> Iterator[Endpoint]:
    described = {(entry["method"], entry["path"]): entry for entry in REFERENCE}
    for method, path, operation, parameters in endpoints():
        # The specification may have more than the reference.
        if (method, path) in described:
            yield Endpoint(operation["operationId"], operation, parameters, described[method, path])


ENDPOINTS = {endpoint.name: endpoint for endpoint in _endpoints()}
each_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)


def _validate(value: object, schema: Mapping[str, Any]) -> None:
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(value)


@pytest.mark.development
def test_merged_document_is_valid_openapi() -> None:
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_reference_endpoints_have_their_promised_names() -> None:
    assert {f"{entry['method']} {entry['path']}" for entry in REFERENCE} == set(NAMES.values())
    assert {name: f"{e.reference['method']} {e.reference['path']}" for name, e in ENDPOINTS.items()} == NAMES
    assert {name: f"{OPERATIONS[name].wire.method} {OPERATIONS[name].wire.path}" for name in NAMES} == NAMES


@each_endpoint
def test_scope_is_that_of_the_reference(endpoint: Endpoint) -> None:
    assert endpoint.operation["x-scope"] == endpoint.reference["scope"]
    scope = endpoint.reference["scope"]
    assert OPERATIONS[endpoint.name].wire.scopes == (() if scope is None else (scope,))


def test_only_health_needs_no_key() -> None:
    assert {name for name, operation in OPERATIONS.items() if not operation.signed} == {"health"}
    assert {name for name, endpoint in ENDPOINTS.items() if endpoint.operation.get("security") == []} == {"health"}


@each_endpoint
def test_query_parameters_of_the_reference(endpoint: Endpoint) -> None:
    in_query = {name for name, parameter in endpoint.parameters.items() if parameter["in"] == "query"}
    assert in_query >= set(endpoint.reference["query"])
    paging = {"page", "limit", "sort", "order"} if endpoint.operation.get("x-paginated") else set()
    for name in in_query - set(endpoint.reference["query"]) - paging:
        assert "x-inferred" in endpoint.parameters[name]["schema"], name


@each_endpoint
def test_examples_of_requests_match_the_reference(endpoint: Endpoint) -> None:
    content = endpoint.body or {}
    ours = [content["example"]] if "example" in content else []
    ours += [example["value"] for example in content.get("examples", {}).values()]
    for example in endpoint.reference["requests"]:
        assert example in ours
    for example in ours:
        _validate(example, content["schema"])


@each_endpoint
def test_examples_of_replies_match_the_reference(endpoint: Endpoint) -> None:
    example = endpoint.reference["response"]
    if example is None:
        return
    assert endpoint.reply is not None
    assert endpoint.reply["example"] == example
    schema = endpoint.reply["schema"]
    _validate(example, schema)
    if "properties" in schema:
        schema, example = schema["properties"]["data"], example["data"]
    name = schema.get("$ref", schema.get("items", {}).get("$ref")).rsplit("/", 1)[-1]
    for item in example if isinstance(example, list) else [example]:
        assert decode(item, getattr(models, name), endpoint=endpoint.name).extra == {}


@each_endpoint
def test_operations_beyond_the_reference_are_inferred(endpoint: Endpoint) -> None:
    inferred = "x-inferred" in endpoint.operation
    if endpoint.reply is not None and endpoint.reference["response"] is None:
        assert inferred
    if endpoint.body is None:
        return
    schema = endpoint.body["schema"]
    if not endpoint.reference["requests"]:
        assert inferred
        return
    shown = {name for example in endpoint.reference["requests"] for name in example}
    for name, value in schema["properties"].items():
        assert name in shown or "x-inferred" in value, name
    assert shown <= schema["properties"].keys()


def test_fields_beyond_the_reference_are_marked_as_inferred() -> None:
    shown: dict[str, set[str]] = {}
    for endpoint in ENDPOINTS.values():
        if endpoint.reply is not None:
            _collect(endpoint.reply["schema"], endpoint.reference["response"], shown)
        for example in endpoint.reference["requests"]:
            assert endpoint.body is not None
            _collect(endpoint.body["schema"], example, shown)
    # Schemas of operations beyond the reference are not inferred from it.
    referenced = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps([e.operation for e in ENDPOINTS.values()])))
    unmarked = {
        f"{name}.{field}"
        for name, schema in DOCUMENT["components"]["schemas"].items()
        if "x-inferred" not in schema and name in (referenced | shown.keys()) - {"Error"}
        for field, value in schema.get("properties", {}).items()
        if field not in shown.get(name, ()) and "x-inferred" not in value
    }
    assert unmarked == set()


def _collect(schema: Mapping[str, Any], value: object, shown: dict[str, set[str]]) -> None:
    """Record which fields of which schemas an example shows."""
    for option in schema.get("anyOf", ()):
        if Draft202012Validator({**option, "components": DOCUMENT["components"]}).is_valid(value):
            _collect(option, value, shown)
    resolved = resolve(schema)
    if isinstance(value, list):
        for item in value:
            _collect(resolved["items"], item, shown)
    elif isinstance(value, dict):
        if "$ref" in schema:
            shown.setdefault(schema["$ref"].rsplit("/", 1)[-1], set()).update(value)
        for name, child in value.items():
            _collect(resolved.get("properties", {}).get(name, {}), child, shown)


def test_natural_keys_are_looked_up_with_their_own_fields() -> None:
    for operation in OPERATIONS.values():
        if operation.natural_key is not None:
            lookup = operation.natural_key.lookup
            assert lookup.wire.method == "GET", operation.name
            assert set(lookup.wire.placeholders) <= set(operation.natural_key.fields), operation.name
