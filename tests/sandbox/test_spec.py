"""The endpoints of the specification: each is routed, and its schemas have a smallest value."""

import pytest

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.handlers.base import HANDLERS
from panelica_async.sandbox.spec import Document, sample_value, shipped_document
from tests.codegen.test_spec_reference import NAMES
from tests.sandbox.signed_client import PASSWORD, SignedClient

DOCUMENT = shipped_document()


def test_operations_of_the_reference_have_handlers() -> None:
    """Operations outside the reference need no handler: `default.py` serves them."""
    handled = {name for name in HANDLERS if " " not in name}
    assert set(NAMES) <= handled <= {endpoint.operation for endpoint in shipped_document().endpoints}


@pytest.mark.parametrize("endpoint", shipped_document().endpoints, ids=lambda endpoint: endpoint.operation)
def test_every_path_is_routed_to_its_operation(endpoint) -> None:
    path = endpoint.path.replace("{", "<").replace("}", ">")
    match = DOCUMENT.find(endpoint.method, path)
    assert match is not None
    assert match[0] is endpoint
    assert all(value == f"<{name}>" for name, value in match[1].items())
    assert len(match[1]) == endpoint.path.count("{")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", ""),
        ("GET", "/v1"),
        ("GET", "/v1/domains/"),
        ("GET", "//v1/domains"),
        ("GET", "/v1/domains/a/b"),
        ("PUT", "/v1/domains"),
        ("OPTIONS", "/v1/domains"),
        ("GET", "/v1/accounts/events/logs"),
        ("GET", "/v2/domains"),
    ],
)
def test_path_when_unknown_has_no_operation(method: str, path: str) -> None:
    assert DOCUMENT.find(method, path) is None


def test_literal_segment_wins_over_a_parameter() -> None:
    for path, operation in [
        ("events", "webhooks.events"),
        ("stats", "webhooks.stats"),
        ("events/logs", "webhooks.logs"),
    ]:
        match = DOCUMENT.find("GET", f"/v1/webhooks/{path}")
        assert match is not None
        assert match[0].operation == operation


async def test_endpoint_when_unknown_is_404(panel: SignedClient, box: Sandbox) -> None:
    answer = await panel.call("GET", "/v1/nothing", headers={"X-API-Key": None})
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert box.requests[-1].operation is None


async def test_path_that_is_not_utf_8_is_401(panel: SignedClient) -> None:
    assert (await panel.call("GET", "/v1/domains/%ff")).code == "INVALID_SIGNATURE"


@pytest.mark.parametrize("endpoint", shipped_document().endpoints, ids=lambda endpoint: endpoint.operation)
def test_smallest_value_matches_its_schema(endpoint) -> None:
    if endpoint.reply_schema is not None:
        document = shipped_document()
        document.validator(endpoint.reply_schema).validate(sample_value(document, endpoint.reply_schema))


def test_smallest_value_of_a_tree_has_no_branches() -> None:
    tree = {"type": "object", "required": ["branches"], "properties": {"branches": {"type": "array"}}}
    tree["properties"]["branches"]["items"] = {"$ref": "#/components/schemas/Tree"}  # type: ignore[index]
    document = Document({"paths": {}, "components": {"schemas": {"Tree": tree}}})
    assert sample_value(document, tree) == {"branches": []}


async def test_update_to_an_existing_name_is_409_as_documented(panel: SignedClient) -> None:
    """The client checks the status of each reply against the specification."""
    owners = [
        await panel.ok(
            "POST",
            "/v1/accounts",
            {"username": name, "email": f"{name}@mail.example", "password": PASSWORD, "role": "USER"},
        )
        for name in ("carol", "david")
    ]
    await panel.refused(409, "PATCH", f"/v1/accounts/{owners[0]['id']}", {"email": "david@mail.example"})
    domain = await panel.ok("POST", "/v1/domains", {"domain": "a.example", "user_id": owners[0]["id"]})
    path = f"/v1/dns/zones/{domain['id']}/records"
    records = [
        await panel.ok("POST", path, {"name": "x", "type": "A", "content": f"192.0.2.{number}"}) for number in (1, 2)
    ]
    await panel.refused(409, "PATCH", f"{path}/{records[0]['id']}", {"content": "192.0.2.2"})
    for operation in ("accounts.update", "dns.records.update", "plans.update"):
        (endpoint,) = [each for each in shipped_document().endpoints if each.operation == operation]
        assert "409" in shipped_document().content["paths"][endpoint.path][endpoint.method.lower()]["responses"]
