"""Replies that break HTTP or would exhaust the memory: each becomes an error, and the client keeps working."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from panelica_async import (
    DecodeError,
    OutcomeUnknownError,
    PanelicaClient,
    PanelicaError,
    RateLimit,
    RateLimiter,
    RequestTimeoutError,
    ResponseError,
    TransportError,
)
from panelica_async.telemetry import Done
from panelica_async.transport.exchange import MAX_ERROR_LENGTH, MAX_JSON_LENGTH, MAX_JSON_VALUES
from tests.conftest import Advance, Connect
from tests.support.raw_server import HANG, RawServer, Step, reply, truncated

Send = Callable[[PanelicaClient], Awaitable[Any]]

MIB = 1024 * 1024
SECRET = "hunter2"
BODY = b'{"id": "d1", "domain": "example.com", "user_id": "u1", "password": "hunter2"}'
DOMAIN = reply(body=BODY)
CALLS: dict[str, Send] = {
    "object": lambda panel: panel.domains.get("d1"),
    "list": lambda panel: panel.domains.list().collect(),
    "file": lambda panel: panel.files.read(path="/home/a/x"),
    "raw": lambda panel: panel.request("GET", "/v1/x"),
    "nothing": lambda panel: panel.domains.delete("d1"),
    "create": lambda panel: panel.domains.create(domain="example.com", user_id="u1"),
    "raw write": lambda panel: panel.request("POST", "/v1/x", json={}),
}
READS = ("object", "list", "file", "raw")


def head(*fields: str, status: int = 200) -> bytes:
    lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json", *fields, "", ""]
    return "\r\n".join(lines).encode()


def encoded(body: bytes, coding: str, status: int = 200) -> Step:
    return reply(status, body=body, headers={"Content-Encoding": coding})


def chunked(*chunks: bytes) -> Step:
    return Step(head("Transfer-Encoding: chunked") + b"\r\n".join(chunks), ends="close")


@pytest.fixture
async def panel(connect: Connect) -> PanelicaClient:
    """A client with its own quota that neither retries nor looks up lost creates."""
    panel = connect(max_retries=0, limiter=RateLimiter(RateLimit.unlimited()))
    return panel.with_options(look_up_lost=False)


async def failure(name: str, panel: PanelicaClient) -> PanelicaError:
    with pytest.raises(PanelicaError) as caught:
        await CALLS[name](panel)
    return caught.value


NO_HTTP = {
    "longer than it is": truncated(body=BODY, of=1000),
    "shorter than it is": Step(head("Content-Length: 10") + BODY),
    "two lengths": Step(head("Content-Length: 2", "Content-Length: 77") + BODY),
    "negative length": Step(head("Content-Length: -1") + BODY),
    "204 with a body": Step(head("Content-Length: 77", status=204) + BODY),
    "chunk size that is no number": chunked(BODY, b"hunter2", b""),
    "chunk that is cut": chunked(b"ff", BODY),
    "chunk of 80 bits": chunked(b"fffffffffffffffffff", BODY),
    "no head": Step(BODY + b"\r\n\r\n", ends="close"),
    "HTTP/2": Step(b"HTTP/2 200\r\n\r\n", ends="close"),
    "header that is none": Step(head("password hunter2", "Content-Length: 77") + BODY),
    "control character in a header": Step(head("X-Password: hunter2\0", "Content-Length: 77") + BODY),
    "endless head": Step(b"HTTP/1.1 200 OK\r\n", endless=b"X-Password: hunter2\r\n" * 100),
    "long header": Step(head("X-Password: " + "hunter2" * 10_000)),
    "broken gzip": encoded(gzip.compress(BODY)[:10] + BODY, "gzip"),
    "no gzip": encoded(BODY, "gzip"),
    "broken deflate": encoded(b"\xff" + BODY, "deflate"),
    "no gzip, and an error": encoded(BODY, "gzip", status=404),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("step", NO_HTTP.values(), ids=NO_HTTP)
async def test_broken_http_counts_as_no_reply(server: RawServer, panel: PanelicaClient, step: Step, name: str) -> None:
    server.script(step, DOMAIN)
    error = await failure(name, panel)
    # Whether the panel did it is unknown.
    assert type(error) is (TransportError if name in READS else OutcomeUnknownError)
    assert "no complete reply came back: " in error.message
    lost: BaseException | None = error
    while lost is not None:
        # aiohttp quotes what it cannot read.
        assert SECRET not in f"{lost!r} {lost}"
        assert "\n" not in str(lost)
        lost = lost.__cause__
    # The next call gets its own reply, not the rest of the last one.
    assert (await panel.domains.get("d1")).domain == "example.com"


async def test_reply_when_broken_says_what_is_wrong(server: RawServer, panel: PanelicaClient) -> None:
    said = {
        "longer than it is": "(received 77 of 1000 bytes)",
        "no head": "Bad status line",
        "chunk size that is no number": "chunk size",
        "endless head": "Too many headers received",
        "no gzip": "Can not decode content-encoding: gzip",
    }
    for name, reason in said.items():
        server.script(NO_HTTP[name])
        assert reason in (await failure("object", panel)).message


@pytest.mark.parametrize("step", [Step(head() + BODY, ends="close"), encoded(gzip.compress(BODY), "gzip")])
async def test_bodies_without_a_length_are_read(server: RawServer, panel: PanelicaClient, step: Step) -> None:
    server.script(step)
    assert (await panel.domains.get("d1")).domain == "example.com"


SLOW = {
    "silence": HANG,
    "half a head": Step(head()[:-2], ends="hang"),
    "half a body": Step(head("Content-Length: 77") + BODY[:20], ends="hang"),
    "drip": Step(head() + BODY, endless=b" ", pause=0.01),
}


@pytest.mark.parametrize("name", ["object", "raw", "create"])
@pytest.mark.parametrize("step", SLOW.values(), ids=SLOW)
async def test_endless_body_ends_with_the_timeout(
    server: RawServer, panel: PanelicaClient, step: Step, name: str, advance: Advance
) -> None:
    server.script(step)
    call = asyncio.ensure_future(failure(name, panel))
    await server.received(1)
    advance(31)
    error = await call
    assert type(error) is (RequestTimeoutError if name in READS else OutcomeUnknownError)
    assert "no reply within 30 s" in error.message


def bomb(filling: bytes, wbits: int) -> bytes:
    """Compress a gigabyte of a byte to about one megabyte; its end is missing, and the client must stop before."""
    compressor = zlib.compressobj(9, zlib.DEFLATED, wbits)
    # After a full flush the compressor forgets all, so that the same bytes can be repeated.
    first, again = (compressor.compress(filling * MIB) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + again * 1023


@attrs.frozen
class Coding:
    name: str
    wbits: int


GZIP, DEFLATE = Coding("gzip", 31), Coding("deflate", 15)


def bombs(filling: bytes, coding: Coding, status: int = 200) -> Step:
    return encoded(bomb(filling, coding.wbits), coding.name, status)


class Reader:
    """How many bytes of a reply the client kept, as its listeners see it."""

    def __init__(self, panel: PanelicaClient) -> None:
        self.kept: list[int] = []
        panel.subscribe(self._note)

    def _note(self, event: object) -> None:
        if isinstance(event, Done):
            self.kept.append(len(event.body))


LONG = {
    "gzip": bombs(b"\0", GZIP),
    "deflate": bombs(b"\0", DEFLATE),
    # Whitespace must not be taken for an empty reply, nor the beginning of a text for the whole.
    "gzip of spaces": bombs(b" ", GZIP),
    "endless": Step(head(), endless=b" " * MIB),
    "endless chunks": Step(head("Transfer-Encoding: chunked"), endless=b"100000\r\n" + b"[" * MIB + b"\r\n"),
    "a length of a terabyte": Step(head(f"Content-Length: {MIB * MIB}"), endless=b"0" * MIB),
}


@pytest.mark.parametrize("name", ["nothing", "raw"])
@pytest.mark.parametrize("step", LONG.values(), ids=LONG)
async def test_endless_success_is_read_up_to_a_limit(
    server: RawServer, panel: PanelicaClient, step: Step, name: str
) -> None:
    server.script(step, DOMAIN)
    reader = Reader(panel)
    error = await failure(name, panel)
    assert type(error) is DecodeError
    [kept] = reader.kept
    # The delete was carried out, and the error says so.
    accepted = "the panel accepted the request with 200, but " if name == "nothing" else ""
    assert error.message == f"{accepted}the reply is longer than {kept:,} bytes"
    # Lists in lists are so many values that it is enough earlier.
    assert kept == MAX_JSON_LENGTH or (step is LONG["endless chunks"] and MAX_JSON_VALUES < kept < MAX_JSON_LENGTH)
    assert len(error.body) <= 200
    assert (await panel.domains.get("d1")).domain == "example.com"


@pytest.mark.parametrize(("status", "coding"), [(404, DEFLATE), (429, GZIP), (500, GZIP)])
async def test_endless_error_is_raised_by_its_status(
    server: RawServer, panel: PanelicaClient, status: int, coding: Coding
) -> None:
    server.script(bombs(b"\0", coding, status))
    reader = Reader(panel)
    error = await failure("raw write", panel)
    assert isinstance(error, ResponseError)
    assert error.status == status
    assert reader.kept == [MAX_ERROR_LENGTH]
    assert len(str(error)) < 1000


async def test_memory_for_a_hostile_body_is_bounded(server: RawServer, panel: PanelicaClient) -> None:
    server.script(LONG["gzip"])
    tracemalloc.start()
    try:
        await failure("create", panel)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * MAX_JSON_LENGTH
