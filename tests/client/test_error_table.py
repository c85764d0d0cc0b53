"""The error that a client raises for every known error reply (evidence: error-shapes) and for worse ones, in any call.

The shapes themselves are tested with the function that reads them (tests/core/test_error_replies.py); here they come
off a socket.
"""

import copy
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

import panelica_async
from panelica_async import (
    ConfigurationError,
    ConnectError,
    DecodeError,
    OutcomeUnknownError,
    PanelicaClient,
    PanelicaError,
    PartialWriteError,
    RateLimit,
    RateLimiter,
    RateLimitWaitError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    TransportError,
    UnsupportedOperationError,
    errors,
)
from panelica_async.api.resource import Resource
from panelica_async.core.operation import ReadBack
from panelica_async.models import Plan
from panelica_async.resources.plans import PLANS_CREATE
from tests.conftest import Connect
from tests.core.test_error_replies import ROWS
from tests.support.raw_server import CLOSE, HANG, RawServer, Step, reply, truncated

pytestmark = pytest.mark.once

Send = Callable[[PanelicaClient], Awaitable[Any]]

READS: dict[str, Send] = {
    "object": lambda panel: panel.domains.get("d1"),
    "list": lambda panel: panel.domains.list().collect(),
    "first page": lambda panel: panel.files.list(path="/home/a"),
    "file": lambda panel: panel.files.read(path="/home/a/x"),
    "free form": lambda panel: panel.postman_collection(),
    "unsigned": lambda panel: panel.health(),
    "raw": lambda panel: panel.request("GET", "/v1/cron-jobs"),
}
WRITES: dict[str, Send] = {
    "create": lambda panel: panel.domains.create(domain="example.com", user_id="u1"),
    "action": lambda panel: panel.server.services.restart("nginx"),
    "raw write": lambda panel: panel.request("POST", "/v1/cron-jobs", json={"password": "hunter2"}),
}
CALLS = {**READS, **WRITES}

DETAILS: dict[int, Any] = {
    1: "id=plan-9",
    2: "email address already exists",
    5: "This email address is already in use",
    6: "POST /v1/domains",
    13: None,
    16: {"min_length": 8, "password": "[redacted]"},
    17: "ERROR: column does not exist (SQLSTATE 42703)",
}
FIELDS: dict[int, dict[str, Any]] = {
    6: {"required_scope": "domains:write", "available_scopes": ("domains:read", "accounts:read")},
    7: {"retry_after": 60.0, "limit": 60, "window": "minute"},
}


@pytest.fixture
async def panel(connect: Connect) -> PanelicaClient:
    """A client with its own quota that neither retries nor looks up lost creates."""
    panel = connect(max_retries=0, limiter=RateLimiter(RateLimit.unlimited()))
    return panel.with_options(look_up_lost=False)


async def failure(send: Send, panel: PanelicaClient) -> PanelicaError:
    """Return the error of a call, after checking that pickling and copying keep all of it."""
    with pytest.raises(PanelicaError) as caught:
        await send(panel)
    error = caught.value
    for duplicate in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(duplicate) is type(error)
        assert str(duplicate) == str(error)
        assert vars(duplicate) == vars(error)
    return error


def called(server: RawServer) -> str:
    """Return method and path of the only request."""
    [sent] = server.requests
    return f"{sent.method} {sent.target.removeprefix('/api/external').partition('?')[0]}"


def step_of(status: int, body: Any) -> Step:
    return reply(status, body=body, content_type="text/html") if isinstance(body, bytes) else reply(status, json=body)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row {row[0]}")
async def test_every_known_error_reply_raises_its_class(
    server: RawServer, panel: PanelicaClient, row: Any, name: str
) -> None:
    number, status, body, kind, message, code, request_id, hint = row
    server.script(step_of(status, body))
    error: BaseException | None = await failure(CALLS[name], panel)
    if name in WRITES and status == 502:
        # The web server lost the panel's answer; its own error is the cause.
        assert isinstance(error, OutcomeUnknownError)
        assert error.method == "POST"
        assert "hunter2" not in f"{error} {error.sent}"
        error = error.__cause__
    assert isinstance(error, ResponseError)
    assert type(error) is kind
    assert (error.status, error.message, error.code, error.request_id) == (status, message, code, request_id)
    assert (f"{error.method} {error.path}", error.attempts) == (called(server), 1)
    assert error.hint is not None
    assert hint in error.hint
    assert "apiErrors" not in error.message
    if number in DETAILS:
        assert error.details == DETAILS[number]
    for field, value in FIELDS.get(number, {}).items():
        assert getattr(error, field) == value


@attrs.frozen
class Odd:
    """A reply that no panel should send, and the message of its error."""

    step: Step
    kind: type[PanelicaError]
    message: str
    write: type[PanelicaError] | None = None
    """Class of the error for a write, if it differs."""


def garbled(body: bytes | str, content_type: str = "application/json") -> Step:
    return reply(400, body=body, content_type=content_type)


MOVED = reply(308, headers={"Location": "https://www.example.com/"})
ODD_REPLIES = {
    "empty": Odd(reply(500), ServerError, "Internal Server Error, with an empty reply"),
    "blank": Odd(reply(500, body=" \r\n"), ServerError, "Internal Server Error, with an empty reply"),
    "null": Odd(garbled("null"), errors.BadRequestError, "Bad Request"),
    "true": Odd(garbled("true"), errors.BadRequestError, "Bad Request"),
    "number": Odd(garbled("-1.5e3"), errors.BadRequestError, "Bad Request"),
    "array": Odd(garbled('[{"error": "in a list"}]'), errors.BadRequestError, "Bad Request"),
    "text": Odd(garbled('"in quotes"'), errors.BadRequestError, "in quotes"),
    "no JSON": Odd(garbled("upstream says no"), errors.BadRequestError, "upstream says no"),
    "cut": Odd(garbled('{"error": "Dom'), errors.BadRequestError, "Bad Request, with broken JSON"),
    "nonsense": Odd(
        garbled('{"error": [{"code": {}}], "code": 7, "message": 1}'), errors.BadRequestError, "Bad Request"
    ),
    "deep": Odd(garbled('{"error":' * 100_000), errors.BadRequestError, "Bad Request, with broken JSON"),
    "not text": Odd(garbled(b"\0\x01\x02"), errors.BadRequestError, "Bad Request, with a reply that is not text"),
    "web page": Odd(
        garbled("<html><title>Sign in</title>", "text/html"),
        errors.BadRequestError,
        "Sign in, a web page instead of JSON",
    ),
    "UTF-16": Odd(
        garbled('{"error": "ungültig"}'.encode("utf-16"), "application/json; charset=utf-16"),
        errors.BadRequestError,
        "ungültig",
    ),
    "Latin-1": Odd(
        garbled('{"error": "ungültig"}'.encode("latin-1"), "application/json; charset=iso-8859-1"),
        errors.BadRequestError,
        "ungültig",
    ),
    "wrong charset": Odd(
        garbled('{"error": "ungültig"}'.encode("latin-1"), "application/json; charset=klingon"),
        errors.BadRequestError,
        "ung�ltig",
    ),
    "unknown status": Odd(Step(b"HTTP/1.1 799 ?\r\nContent-Length: 0\r\n\r\n"), ServerError, "unknown status"),
    "zero": Odd(Step(b"HTTP/1.1 000 ?\r\nContent-Length: 0\r\n\r\n"), ResponseError, "not the status of a final reply"),
    "switching protocols": Odd(
        Step(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), ResponseError, "not the status of a final reply"
    ),
    "teapot": Odd(reply(418, json={"error": "no coffee"}), ResponseError, "no coffee"),
    "redirect": Odd(MOVED, ResponseError, "redirects are not followed; this one points to https://www.example.com/"),
    "not modified": Odd(reply(304), ResponseError, "redirects are not followed"),
    "gateway": Odd(reply(504, body="<html>", content_type="text/html"), ServerError, "web page", OutcomeUnknownError),
    "error with 200": Odd(
        reply(200, json={"status": "error", "error": "apiErrors.domains.limitReached"}), ResponseError, "limit reached"
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("odd", ODD_REPLIES.values(), ids=ODD_REPLIES)
async def test_odd_error_reply_raises_by_its_status(
    server: RawServer, panel: PanelicaClient, odd: Odd, name: str
) -> None:
    server.script(odd.step)
    error: BaseException | None = await failure(CALLS[name], panel)
    if name in WRITES and odd.write is not None:
        assert type(error) is odd.write
        error = error.__cause__
    assert type(error) is odd.kind
    assert isinstance(error, ResponseError)
    assert odd.message in error.message
    assert odd.message in str(error)


NO_JSON = {
    "cut": reply(200, body='{"id": "1", "doma'),
    "web page": reply(200, body="<html>Sign in"),
    "UTF-16": reply(200, body='{"id": "1"}'.encode("utf-16"), content_type="application/json; charset=utf-16"),
    "Latin-1": reply(200, body='{"id": "ü"}'.encode("latin-1")),
    "deep": reply(200, body="[" * 100_000),
    "NaN": reply(200, body='{"id": NaN}'),
}
MISFITS = {
    "array of arrays": reply(200, json=[[1]]),
    "number": reply(200, json=7),
    "text": reply(200, json="ok"),
    "no content": reply(204),
    "empty": reply(200),
    "nonsense": reply(200, json={"status": "success", "data": {"data": {"id": [None]}}}),
    "wrong types": reply(200, json=[{"id": 1, "domain": {"a": 1}, "name": []}]),
}
TYPED = ["object", "list", "first page", "file", "create"]


@pytest.mark.parametrize("name", [*TYPED, "free form", "raw", "action", "raw write"])
@pytest.mark.parametrize("step", NO_JSON.values(), ids=NO_JSON)
async def test_success_that_is_no_json_raises_decode_error(
    server: RawServer, panel: PanelicaClient, step: Step, name: str
) -> None:
    server.script(step)
    error = await failure(CALLS[name], panel)
    # Not OutcomeUnknownError for writes: the panel has said that it did it.
    assert type(error) is DecodeError
    assert "the reply is not valid JSON" in error.message
    assert error.endpoint == called(server)
    assert (error.hint is not None) is (b"<html>" in step.sent)


# A write that succeeded is a success whatever its reply shows: see tests/api/test_writes.py.
@pytest.mark.parametrize("name", [name for name in TYPED if name != "create"])
@pytest.mark.parametrize("step", MISFITS.values(), ids=MISFITS)
async def test_success_of_another_shape_raises_decode_error(
    server: RawServer, panel: PanelicaClient, step: Step, name: str
) -> None:
    server.script(step)
    error = await failure(CALLS[name], panel)
    assert type(error) is DecodeError
    assert any(word in error.message for word in ("expected", "is missing"))
    assert error.endpoint.startswith(server.requests[0].method)
    assert error.json_path.startswith("$")


def closed() -> Send:
    async def send(panel: PanelicaClient) -> None:
        await panel.close()
        await panel.me()

    return send


def impatient(panel: PanelicaClient) -> Awaitable[Any]:
    panel._transport.keys.current.quota.limiter.pause(60)
    return panel.with_options(max_wait=1).me()


def half_made(panel: PanelicaClient) -> Awaitable[Any]:
    """Create an object that needs a second call, on a panel that does not show its id."""
    wire = attrs.evolve(PLANS_CREATE.wires["panel"], read_back=ReadBack("plans.update", "plans.list"))
    operation = attrs.evolve(PLANS_CREATE, wires={"panel": wire}, natural_key=None)
    return Resource(panel._runner)._call_one(operation, Plan, name="Gold", slug="gold", max_domains=0)


# How to provoke each class that has no status: a step, client options and a call.
OTHERS: dict[type[PanelicaError], tuple[Step, dict[str, Any], Send]] = {
    ConfigurationError: (reply(), {}, closed()),
    ConnectError: (reply(), {"base_url": "http://127.0.0.1:1"}, READS["object"]),
    TransportError: (CLOSE, {}, READS["object"]),
    RequestTimeoutError: (HANG, {"timeout": 0.05}, READS["object"]),
    OutcomeUnknownError: (truncated(), {}, WRITES["raw write"]),
    RateLimitWaitError: (reply(), {}, impatient),
    PartialWriteError: (reply(json={"message": "Done"}), {"dialect": "panel"}, half_made),
    DecodeError: (reply(json=7), {}, READS["object"]),
    UnsupportedOperationError: (reply(), {"dialect": "panel"}, lambda panel: panel.webhooks.events()),
}


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.__name__)
async def test_errors_without_a_status_have_their_classes(
    server: RawServer, connect: Connect, kind: type[PanelicaError]
) -> None:
    step, options, send = OTHERS[kind]
    server.script(step)
    panel = connect(max_retries=0, limiter=RateLimiter(RateLimit.unlimited()), **options)
    error = await failure(send, panel)
    assert type(error) is kind
    assert "hunter2" not in f"{error} {vars(error)}"


def test_tables_cover_every_error_class() -> None:
    seen = {*OTHERS, *(row[3] for row in ROWS), *(odd.kind for odd in ODD_REPLIES.values()), PanelicaError}
    assert {error.__name__ for error in seen} == {name for name in panelica_async.__all__ if name.endswith("Error")}
