"""Queries and bodies are checked against the specification, in the words of each dialect."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import PASSWORD, Clock, SignedClient


@pytest.mark.parametrize(
    ("body", "error", "details"),
    [
        (b"{", "Invalid JSON", "not valid JSON near character 1"),
        (b'"text"', "Invalid request", "the body: must be an object"),
        (b"", "Invalid request", "the body: must be an object"),
        (b"[]", "Invalid request", None),
        (b'{"username": NaN}', "Invalid JSON", None),
        (b"\xff", "Invalid JSON", None),
        (b"[" * 100_000, "Invalid JSON", None),
        (b'{"username": "\\ud800", "email": "a@b", "password": "correct horse"}', "Invalid JSON", None),
    ],
)
async def test_body_that_is_not_a_json_object_is_rejected(
    panel: SignedClient, body: bytes, error: str, details: str | None
) -> None:
    reply = await panel.refused(400, "POST", "/v1/accounts", body)
    assert (reply["error"], reply["code"]) == (error, "BAD_REQUEST")
    assert details is None or reply["details"] == details


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({}, "is required"),
        ({"username": "a", "email": "b"}, "password is required"),
        ({"username": 1, "email": "b", "password": PASSWORD}, "username: must be a string"),
        ({"username": "a", "email": "b", "password": None}, "password: must be a string"),
        ({"username": "a", "email": "", "password": PASSWORD}, "email: must not be empty"),
    ],
)
async def test_body_when_invalid_is_rejected(panel: SignedClient, body: object, details: str) -> None:
    reply = await panel.refused(400, "POST", "/v1/accounts", body)
    assert reply["details"].endswith(details)


async def test_refusal_does_not_quote_the_body(panel: SignedClient) -> None:
    for password in (12345678901, ["sesame-open"], {"a": "sesame-open"}, "sesame"):
        body = {"username": "a", "email": "a@b.example", "password": password}
        text = json.dumps(await panel.refused(400, "POST", "/v1/accounts", body))
        assert "sesame" not in text
        assert "1234" not in text


async def test_unknown_fields_are_accepted(panel: SignedClient) -> None:
    assert (await panel.account(colour="red"))["username"] == "john"


@pytest.mark.parametrize("number", [2**31, 10**30, -1, 1.5, True])
async def test_number_when_invalid_is_rejected(panel: SignedClient, number: float) -> None:
    domain = await panel.domain()
    record = {"name": "www", "type": "A", "content": "192.0.2.1", "ttl": number}
    await panel.refused(400, "POST", f"/v1/dns/zones/{domain['id']}/records", record)


async def test_number_too_large_to_store_is_rejected(panel: SignedClient) -> None:
    domain = await panel.domain()
    mailbox = {"local_part": "info", "domain_id": domain["id"], "password": PASSWORD, "quota_mb": 2**63}
    reply = await panel.refused(400, "POST", "/v1/email/accounts", mailbox)
    assert reply["details"] == "a value cannot be stored"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "a", "max_domains": 1}', 201),
        (b'{"name": "a", "max_domains": 1.0}', 400),
        (b'{"name": "a", "max_domains": 1e2}', 400),
        (b'\xef\xbb\xbf{"name": "a", "max_domains": 1}', 400),
    ],
)
async def test_numbers_and_marks_are_read_as_go_does(panel: SignedClient, body: bytes, status: int) -> None:
    assert (await panel.call("POST", "/v1/plans", body)).status == status


@pytest.mark.parametrize("number", ["9" * 19, "9" * 5000, f"-{'9' * 19}"])
async def test_number_beyond_64_bits_is_named(panel: SignedClient, number: str) -> None:
    reply = await panel.refused(400, "GET", f"/v1/domains?page={number}")
    assert reply["details"] == "page: must have at most 18 digits"


async def test_missing_fields_are_validator_texts(current_panel: PanelClient) -> None:
    answer = await current_panel.call("POST", "/v1/domains", {"name": "example.com", "user_id": ""})
    assert answer.status == 400
    assert answer.data == {
        "status": "error",
        "error": "Key: 'CreateDomainRequest.UserID' Error:Field validation for 'UserID' failed on the 'required' tag",
    }
    answer = await current_panel.call("POST", "/v1/accounts", {"username": "john"})
    assert len(answer.data["error"].splitlines()) == 3


async def test_alias_of_a_required_field_is_accepted(current_panel: PanelClient) -> None:
    domain = await current_panel.domain()
    for field, name in (("name", "shop"), ("subdomain_name", "blog")):
        created = await current_panel.data("POST", f"/v1/domains/{domain['id']}/subdomains", {field: name})
        assert created["subdomain_name"] == name


async def test_body_of_a_wrong_type_is_400(current_panel: PanelClient) -> None:
    answer = await current_panel.call("POST", "/v1/domains", {"name": 5})
    assert answer.data == {
        "status": "error",
        "error": "Invalid request body",
        "details": "json: cannot unmarshal number into Go struct field CreateDomainRequest.name of type string",
    }
    answer = await current_panel.call("POST", "/v1/domains", "example.com")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("field", "value"),
    [("events", "domain.created"), ("destination_config", 5), ("retry_count", "three"), ("name", ["x"])],
)
async def test_change_of_unknown_form_is_checked_like_a_create(
    current_panel: PanelClient, field: str, value: object
) -> None:
    hook = {"name": "a", "destination_type": "slack", "destination_config": {}, "events": ["domain.created"]}
    webhook = await current_panel.data("POST", "/v1/webhooks", hook)
    assert (await current_panel.call("PATCH", f"/v1/webhooks/{webhook['id']}", {field: value})).status == 400
    await current_panel.data("PATCH", f"/v1/webhooks/{webhook['id']}", {field: None, "active": False})
    assert await current_panel.data("GET", "/v1/webhooks") == [{**webhook, "active": False}]


async def test_unknown_fields_are_ignored(current_panel: PanelClient) -> None:
    account = await current_panel.account(nickname="Johnny")
    assert "nickname" not in account
    assert len(await current_panel.data("GET", "/v1/domains?user_id=x&page=9&limit=1")) == 0
    await current_panel.data("POST", f"/v1/accounts/{account['id']}/unsuspend", {"reason": "paid"})


@pytest.fixture
async def strict(clock: Clock, session: aiohttp.ClientSession) -> AsyncIterator[PanelClient]:
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel", strict=True) as box:
        yield PanelClient(box, session, clock)


async def test_unknown_fields_when_strict_are_refused(strict: PanelClient) -> None:
    account = await strict.account()
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/v1/domains?page=1", None),
        ("POST", "/v1/domains", {"name": "example.com", "user_id": account["id"], "ssl_type": "none"}),
        ("POST", f"/v1/accounts/{account['id']}/unsuspend", {"reason": "paid"}),
    ]
    for method, path, body in calls:
        answer = await strict.call(method, path, body)
        assert (answer.status, answer.data["error"]) == (400, "Unknown field"), path
    for body in (None, {}, []):
        assert (await strict.call("POST", f"/v1/accounts/{account['id']}/unsuspend", body)).status == 200


async def test_reference_when_strict_refuses_unknown_fields(clock: Clock, session: aiohttp.ClientSession) -> None:
    for strict, status in ((False, 201), (True, 400)):
        async with Sandbox(tier="enterprise", clock=clock, strict=strict) as box:
            panel = SignedClient(box, session, clock)
            fields = {"username": "john", "email": "j@example.net", "password": PASSWORD, "nickname": "J"}
            assert (await panel.call("POST", "/v1/accounts", fields)).status == status
