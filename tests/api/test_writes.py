"""A write that succeeded is a success, however little its reply shows."""

import asyncio
import json
import logging
from collections.abc import Awaitable
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
import pytest

import panelica_async
from panelica_async import DecodeError, OutcomeUnknownError, PanelicaClient, ResponseError
from panelica_async.core.operation import Dialect, Operation, Repeat
from panelica_async.models import HttpDestination
from panelica_async.resources.registry import MODULES, get_operation
from tests.conftest import Advance, Connect
from tests.support.raw_server import HANG, RawServer, Step, reply

pytestmark = pytest.mark.once

DOCUMENT = json.loads((Path(panelica_async.__file__).parent / "openapi.json").read_text("utf-8"))
DIALECTS: tuple[Dialect, ...] = ("reference", "panel")
NEW = "0b9d3f2c-new"
HOOK = {"name": "hook", "destination_type": "http", "destination_config": HttpDestination(url="https://example.com")}


def writes() -> list[Operation]:
    return [found for found in map(get_operation, MODULES) if found.repeat is not Repeat.READ]


def example(operation: Operation) -> dict[str, Any]:
    """Return the arguments that the specification shows for the body or the query."""
    path, method = operation.wire.path, operation.wire.method.lower()
    node = DOCUMENT["paths"][path][method]
    content = node.get("requestBody", {}).get("content", {}).get("application/json", {})
    query = {item["name"]: item["example"] for item in node.get("parameters", ()) if "example" in item}
    return {
        **query,
        **(content.get("example") or (HOOK | {"events": ["domain.created"]} if content.get("examples") else {})),
    }


# What panels need and the examples of the reference lack.
NEEDED = {"username": "shop", "password": "correct horse", "privileges": "ALL", "user_id": "u1", "domain_id": "d1"}


def arguments(operation: Operation, dialect: Dialect) -> dict[str, Any]:
    """Return the arguments of the example that a panel can honour, with those that it needs."""
    wire = operation.wires[dialect]
    honoured = {name: value for name, value in example(operation).items() if name not in wire.refused}
    needed = {name: NEEDED[name] for name in (*wire.required, *wire.derived) if name in NEEDED}
    if operation.name == "domains.update":
        needed = {"php_version": "8.4"}
    return {**needed, **honoured}


def send(panel: PanelicaClient, operation: Operation, dialect: Dialect = "reference") -> Awaitable[Any]:
    path = [f"{name}-1" for name in operation.wire.placeholders]
    return attrgetter(operation.name)(panel)(*path, **arguments(operation, dialect))


def steps_before(operation: Operation, dialect: Dialect) -> list[Step]:
    """Return the replies to the reads of a client before a write."""
    wire = operation.wires[dialect]
    if wire.fence is not None:
        return [reply(json={"status": "success", "data": [{"id": f"{wire.fence.argument}-1"}]})]
    return [reply(json={"status": "success", "data": {"memory_limit": "256M"}})] if wire.keeps else []


def with_id(value: object) -> dict[str, Step]:
    """Return replies that show the id of a new object, and nothing else, in every known form."""
    return {
        "bare": reply(201, json={"id": value}),
        "enveloped": reply(json={"status": "success", "data": {"id": value}}),
        "data alone": reply(201, json={"data": {"id": value}}),
        "beside data": reply(json={"status": "success", "data": None, "id": value}),
        "beside a message": reply(json={"status": "success", "message": "Done", "id": value}),
        "beside a message and a number": reply(
            json={"status": "success", "message": "Done", "id": value, "took_ms": 3}
        ),
        "under its kind": reply(json={"status": "success", "data": {"object": {"id": value}}}),
        "in a list": reply(json={"status": "success", "data": [{"id": value}]}),
        "with a null": reply(json={"status": "success", "data": {"id": value, "domain": None, "username": None}}),
    }


WITHOUT_ID = {
    "message": reply(json={"message": "Done"}),
    "enveloped message": reply(json={"status": "success", "message": "Done"}),
    "message in data": reply(json={"status": "success", "data": {"message": "Done"}}),
    "message as data": reply(json={"status": "success", "data": "Done"}),
    "status": reply(json={"status": "success"}),
    "204": reply(204),
    "{}": reply(json={}),
    "null": reply(body="null"),
    "nothing": reply(201),
    "blank": reply(body=" \n"),
    "data null": reply(json={"status": "success", "data": None}),
    "data {}": reply(json={"status": "success", "data": {}}),
    "data []": reply(json={"status": "success", "data": []}),
    "[]": reply(json=[]),
    "true": reply(json=True),
    "text": reply(body='"Done"'),
    "number": reply(body="9" * 15),
    "total": reply(json={"status": "success", "total": "9" * 5000}),
    "success": reply(json={"success": True, "message": "Done"}),
}


def dialects(operation: Operation) -> list[Dialect]:
    return [dialect for dialect in DIALECTS if dialect in operation.wires]


def test_table_has_writes_of_every_method() -> None:
    assert len(writes()) == 37
    assert {operation.wire.method for operation in writes()} == {"POST", "PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize("operation", writes(), ids=attrgetter("name"))
async def test_reply_with_an_id_alone_is_a_success(server: RawServer, connect: Connect, operation: Operation) -> None:
    for dialect in dialects(operation):
        for value in (NEW, 17):
            for shape, step in with_id(value).items():
                # A new client each time, because one remembers what it read before a write.
                panel = connect(dialect=dialect).with_options(look_up_lost=False)
                server.script(*steps_before(operation, dialect), step)
                made = await send(panel, operation, dialect)
                if made is None or "id" not in attrs.fields_dict(type(made)):
                    continue
                if "id" in operation.wires[dialect].reply_fields:
                    # No call accepts its own id.
                    assert made.id in {"", getattr(made, "domain_id", "")}, shape
                    assert made.extra["id"] == value, shape
                else:
                    assert made.id == str(value), shape


@pytest.mark.parametrize("operation", writes(), ids=attrgetter("name"))
async def test_empty_reply_is_a_success(server: RawServer, connect: Connect, operation: Operation) -> None:
    wire = operation.wire
    own = (
        None
        if operation.name.endswith((".create", ".issue")) or not wire.placeholders
        else f"{wire.placeholders[-1]}-1"
    )
    for dialect in dialects(operation):
        panel = connect(dialect=dialect).with_options(look_up_lost=False)
        for shape, step in WITHOUT_ID.items():
            server.script(*steps_before(operation, dialect), step)
            made = await send(panel, operation, dialect)
            if made is None:
                continue
            fields = attrs.fields_dict(type(made))
            sent = arguments(operation, dialect)
            if "id" in fields:
                # A panel may know an object by another argument, as a certificate by its domain.
                named = operation.wires[dialect].reply_fields.get("id", "")
                assert (made.id or None) == sent.get(named, own), shape
            if "message" in fields:
                assert made.message == ("Done" if b"Done" in step.sent else None), shape
            for name, value in sent.items():
                if name in fields and isinstance(value, str | int) and name != "id":
                    assert getattr(made, name) == value, (shape, name)


@pytest.mark.parametrize("operation", writes(), ids=attrgetter("name"))
async def test_unreadable_reply_says_the_write_was_accepted(
    server: RawServer, connect: Connect, operation: Operation
) -> None:
    panel = connect()
    for body in (
        "OK",
        "{",
        "<html>Done</html>",
        '{"id": NaN}',
        "\udcff".encode("utf-8", "surrogatepass"),
        "[" * 10_000,
        "9" * 5000,
    ):
        server.script(reply(body=body))
        with pytest.raises(DecodeError, match="accepted the request with 200, but the reply is not valid JSON"):
            await send(panel, operation)
    server.script(reply(json={"status": "error", "message": "no"}))
    with pytest.raises(ResponseError):
        await send(panel, operation)


@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "message": "The quota is full", "took_ms": 3},
        {"status": "error", "message": "The quota is full", "field": "disk"},
        {"status": "fail", "data": {"disk": "The quota is full"}},
        {"error": "The quota is full"},
        {"error": {"message": "The quota is full"}, "request_id": "r"},
        {"errors": [{"title": "The quota is full"}]},
        {"status": "Error", "error": "The quota is full"},
        {"status": False, "message": "The quota is full"},
        {"data": None, "error": "The quota is full"},
    ],
    ids=str,
)
async def test_failure_reported_with_200_raises(server: RawServer, connect: Connect, body: dict[str, Any]) -> None:
    panel = connect()
    for write in (panel.domains.create(domain="example.com", user_id="u1"), panel.domains.delete("d1")):
        server.script(reply(json=body))
        with pytest.raises(ResponseError, match="The quota is full"):
            await write


async def test_unexpected_error_is_raised_as_decode_error(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr("panelica_async.transport.call.unwrap", fail)
    server.script(reply(json={"id": "d1"}), reply(json={"id": "d1"}))
    with pytest.raises(DecodeError, match="accepted the request with 200, but the reply cannot be read: odd"):
        await connect().domains.create(domain="example.com", user_id="u1")
    with pytest.raises(DecodeError, match=r"GET /v1/domains/d1: the reply cannot be read: odd"):
        await connect().domains.get("d1")


async def test_row_in_the_reply_beats_the_arguments(server: RawServer, connect: Connect) -> None:
    row = {"id": NEW, "database_name": "acme_shop", "domain_id": "d2", "type": "postgresql"}
    server.script(reply(json={"status": "success", "data": row}))
    made = await connect(dialect="panel").databases.create(
        name="shop", domain_id="d1", type="mysql", username="shop", password=NEEDED["password"]
    )
    assert (made.id, made.name, made.domain_id, made.type) == (NEW, "acme_shop", "d2", "postgresql")
    assert made.extra == {}


async def test_keys_beside_the_data_are_kept(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": {"id": NEW}, "warning": "slow", "message": "Done"}))
    made = await connect().domains.create(domain="example.com", user_id="u1")
    assert (made.id, made.domain, made.user_id, made.status) == (NEW, "example.com", "u1", None)
    assert made.extra == {"warning": "slow"}


async def test_password_is_not_completed_from_the_arguments(server: RawServer, connect: Connect) -> None:
    server.script(reply(204))
    panel = connect().with_options(look_up_lost=False)
    made = await panel.webhooks.create(
        name="hook", destination_type="http", destination_config={"url": "https://example.com"}, events=["*"]
    )
    assert (made.id, made.name, made.events, made.destination_config) == ("", "hook", ["*"], None)


@pytest.mark.parametrize("step", [reply(204), reply(json={"status": "success", "data": {"id": "k1"}})])
async def test_write_when_reply_lacks_secret_warns(
    server: RawServer, connect: Connect, step: Step, caplog: pytest.LogCaptureFixture
) -> None:
    panel = connect()
    with caplog.at_level(logging.WARNING, "panelica_async"):
        server.script(step, step)
        created = await panel.api_keys.create(name="key", scopes=["domains:read"])
        renewed = await panel.api_keys.regenerate("k1")
    assert (created.api_key, created.api_secret, renewed.api_secret) == ("", "", "")
    assert [record.getMessage() for record in caplog.records] == [
        "api_keys.create succeeded, but the reply lacks api_key and api_secret, shown only once: make a new one",
        "api_keys.regenerate succeeded, but the reply lacks api_secret, shown only once: make a new one",
    ]


DOMAIN = {"id": "d7", "domain": "Example.com", "user_id": "u1", "status": "active"}


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_create_without_an_id_is_looked_up(server: RawServer, connect: Connect, dialect: Dialect) -> None:
    server.script(reply(204), *[reply(json=[{**DOMAIN, "id": "d1", "domain": "other.example"}, DOMAIN])] * 2)
    made = await connect(dialect=dialect).domains.create(domain="example.com", user_id="u1")
    assert (made.id, made.status) == ("d7", "active")
    pages = 1 if dialect == "panel" else 2
    assert [sent.method for sent in server.requests] == ["POST", *["GET"] * pages]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{**DOMAIN, "user_id": "u2"}],
        [DOMAIN, {**DOMAIN, "id": "d8"}],
        [{**DOMAIN, "created_at": "2020-01-01T00:00:00Z"}],
        "no list",
    ],
)
async def test_create_that_is_not_found_has_an_empty_id(server: RawServer, connect: Connect, rows: Any) -> None:
    server.script(
        reply(headers={"Date": "Sat, 28 Nov 2026 15:00:00 GMT"}, json={"status": "healthy"}),
        reply(204),
        *[reply(json=rows)] * 2,
    )
    panel = connect()
    await panel.health()
    made = await panel.domains.create(domain="example.com", user_id="u1")
    assert (made.id, made.domain) == ("", "example.com")
    sent = len(server.requests)
    with pytest.raises(ValueError, match="id must not be empty"):
        await panel.domains.delete(made.id)
    assert len(server.requests) == sent


@pytest.mark.parametrize(
    "data",
    [
        {"domain": "example.com", "user": {"id": "u1"}},
        {"domain": "example.com", "owner": {"id": "u1", "username": "acme"}},
        {"user": {"id": "u1"}},
        {"message": "Done", "user": {"id": "u1"}},
        {"id": ""},
        {"id": 0},
        {"id": "0"},
        {"id": "00000000-0000-0000-0000-000000000000"},
        {"id": None, "user": {"id": "u1"}},
    ],
    ids=str,
)
async def test_id_of_another_object_is_not_used(server: RawServer, connect: Connect, data: dict[str, Any]) -> None:
    server.script(reply(json={"status": "success", "data": data}))
    made = await connect().with_options(look_up_lost=False).domains.create(domain="example.com", user_id="u1")
    assert (made.id, made.domain, made.user_id) == ("", "example.com", "u1")


@pytest.mark.parametrize("outcome", ["success", "Success", "OK"])
async def test_outcome_of_a_write_is_not_the_status_of_the_object(
    server: RawServer, connect: Connect, outcome: str
) -> None:
    server.script(reply(json={"id": "d7", "domain": "example.com", "user_id": "u1", "status": outcome}))
    made = await connect().domains.create(domain="example.com", user_id="u1")
    assert (made.id, made.status) == ("d7", None)


@pytest.mark.parametrize("data", [None, {}, [], [{"id": "f1"}, {"id": "f2"}]], ids=str)
async def test_id_in_the_path_is_not_used_for_a_new_object(server: RawServer, connect: Connect, data: Any) -> None:
    """Otherwise, a program that deletes its object would delete the parent instead."""
    server.script(reply(json={"status": "success", "data": data}), reply(403, json={"error": "no"}))
    panel = connect(dialect="panel")
    made = await panel.email.forwarders.create("d1", source="a@example.com", destination="b@example.com")
    assert not made.id


async def test_row_that_hides_its_name_is_not_returned(server: RawServer, connect: Connect) -> None:
    server.script(reply(204), *[reply(json=[{"id": "c1", "type": "custom"}])] * 2)
    made = await connect().ssl.certificates.issue(domain_id="d1")
    assert (made.id, made.domain_id) == (None, "d1")


async def test_failed_look_up_leaves_the_create_a_success(
    server: RawServer, connect: Connect, advance: Advance
) -> None:
    server.script(reply(204), reply(403, json={"error": "no", "code": "INSUFFICIENT_SCOPE"}))
    assert (await connect().domains.create(domain="example.com", user_id="u1")).id == ""
    server.script(reply(204), Step(ends="hang"))
    create = asyncio.ensure_future(connect(deadline=20).domains.create(domain="example.com", user_id="u1"))
    await server.received(4)
    advance(21)
    assert (await create).id == ""


@pytest.mark.parametrize(
    ("change", "written", "shown", "look"),
    [
        (lambda panel: panel.domains.update("d7", php_version="8.3"), {}, DOMAIN, "/v1/domains/d7"),
        (
            lambda panel: panel.email.accounts.create(local_part="info", domain_id="d7", password="correct horse"),
            {"id": "m1"},
            [{"id": "m1", "email": "info@example.com"}],
            "/v1/email/accounts",
        ),
        (
            lambda panel: panel.dns.records.update("d7", "r1", content="192.0.2.1"),
            {"message": "Done"},
            [{"id": row, "type": "A", "name": "www", "content": "192.0.2.1"} for row in ("r2", "r1")],
            "/v1/dns/zones/d7/records",
        ),
        (lambda panel: panel.plans.update("p1", max_domains=3), None, [{"id": "p1", "name": "Gold"}], "/v1/plans"),
    ],
)
async def test_fields_without_an_argument_are_looked_up(
    server: RawServer, connect: Connect, change: Any, written: Any, shown: Any, look: str
) -> None:
    server.script(reply(json={"status": "success", "data": written}), reply(json=shown))
    made = await change(connect())
    assert made.id == (shown if isinstance(shown, dict) else shown[-1])["id"]
    assert "" not in attrs.asdict(made).values()
    assert [sent.target.partition("?")[0].removeprefix("/api/external") for sent in server.requests[1:]] == [look]


async def test_complete_reply_is_not_looked_up(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": {"id": NEW}}))
    await connect().domains.create(domain="example.com", user_id="u1")
    await connect().plans.update("p1", name="Gold")
    await connect().domains.suspend("d1")
    assert [sent.method for sent in server.requests] == ["POST", "PATCH", "POST"]


async def test_cancelled_look_up_says_the_write_was_accepted(server: RawServer, connect: Connect) -> None:
    server.script(reply(201, json={"message": "Done"}), HANG)
    panel = connect(dialect="reference")
    call = asyncio.create_task(panel.domains.create(domain="example.com", user_id="u1"))
    await server.received(2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert isinstance(caught.value.__cause__, OutcomeUnknownError)
    assert str(caught.value.__cause__).startswith("POST /v1/domains: The panel accepted the request, but the call was")


async def test_cancelled_decoding_of_a_write_is_unknown(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        decoding.set()
        await asyncio.Event().wait()

    decoding, panel = asyncio.Event(), connect(dialect="reference")
    monkeypatch.setattr(asyncio, "to_thread", hang)
    server.script(reply(201, json={"id": "d1", "domain": "example.com", "long": "x" * 300_000}))
    call = asyncio.create_task(panel.domains.create(domain="example.com", user_id="u1"))
    await decoding.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await call
    assert isinstance(caught.value.__cause__, OutcomeUnknownError)
    assert panel.stats().unknown == 1
