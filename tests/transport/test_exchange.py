"""One attempt: its timeout, and that every failure of aiohttp becomes one of ours."""

import asyncio
import inspect
import ssl
from typing import Self, cast

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from panelica_async.core.address import Address
from panelica_async.core.operation import Repeat
from panelica_async.errors import ConfigurationError, ConnectError, PanelicaError, RequestTimeoutError, TransportError
from panelica_async.transport.call import Call, Reply
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.exchange import Exchange
from panelica_async.transport.monitor import Monitor
from panelica_async.transport.session import SessionHolder
from panelica_async.transport.signing import RequestSigner
from tests.support.virtual_time import now, run
from tests.transport.stubs import ORIGIN, Network, StubRequest, StubSessions, make_call, make_response

KEY = ConnectionKey("panel.example.com", 8443, True, True, None, None, None)
INFO = RequestInfo(URL("https://panel.example.com"), "GET", CIMultiDictProxy(CIMultiDict()), URL())
OS_ERROR = OSError(111, "Connection refused")
FAULT = ssl.SSLCertVerificationError(1, "certificate verify failed")
FAULT.verify_code, FAULT.verify_message = 18, "self-signed certificate"
# What exceptions are made from, by the names of their parameters.
PARTS = {
    "connection_key": KEY,
    "os_error": OS_ERROR,
    "certificate_error": FAULT,
    "path": "/run/panel.sock",
    "request_info": INFO,
    "history": (),
    "expected": b"expected",
    "got": b"got",
    "host": "panel.example.com",
    "port": 8443,
    "url": "https://",
    "args": "text",
}


def make(kind: type[Exception]) -> Exception:
    """Create an exception with its required arguments."""
    _, *parameters = inspect.signature(kind.__init__).parameters.values()
    needed = [part for part in parameters if part.kind < part.KEYWORD_ONLY and part.default is part.empty]
    return kind(*(PARTS[part.name] for part in needed))


def client_errors() -> list[type[Exception]]:
    """Every exception class that aiohttp has for clients, by reflection."""
    found = [kind for _, kind in inspect.getmembers(aiohttp.client_exceptions, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, aiohttp.ClientError)]


async def attempt(network: Network, call: Call, sessions: SessionHolder | None = None) -> Reply:
    call.signed = False
    return await exchange(sessions or StubSessions(network))(
        call, cast("aiohttp.ClientRequest", StubRequest()), network
    )


def exchange(sessions: SessionHolder) -> Exchange:
    clock = PanelClock()
    return Exchange(sessions, RequestSigner(Address.parse(ORIGIN), clock), clock, Monitor())


def expected(kind: type[Exception]) -> type[PanelicaError]:
    if issubclass(kind, aiohttp.InvalidURL):
        return ConfigurationError
    nothing_sent = (
        aiohttp.ClientConnectorError,
        aiohttp.ConnectionTimeoutError,
        aiohttp.ServerFingerprintMismatch,
        aiohttp.ClientHttpProxyError,
    )
    if issubclass(kind, nothing_sent):
        return ConnectError
    return RequestTimeoutError if issubclass(kind, TimeoutError) else TransportError


def test_list_of_aiohttp_exceptions_is_complete() -> None:
    names = {kind.__name__ for kind in client_errors()}
    assert len(names) > 25
    assert {"ClientPayloadError", "ServerDisconnectedError", "ClientConnectorDNSError", "TooManyRedirects"} <= names


@pytest.mark.parametrize("kind", client_errors(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("repeat", [Repeat.READ, Repeat.UNSAFE])
def test_every_exception_of_aiohttp_is_mapped(kind: type[Exception], repeat: Repeat) -> None:
    async def main() -> None:
        call = make_call(repeat)
        cause = make(kind)
        with pytest.raises(PanelicaError) as caught:
            await attempt(Network(cause), call)
        assert type(caught.value) is expected(kind)
        # Causes that quote a reply are not shown: tests/transport/test_broken_replies.py.
        assert caught.value.__cause__ is cause or caught.value.__suppress_context__
        assert call.may_have_taken_effect is (type(caught.value) not in {ConnectError, ConfigurationError})
        assert call.is_uncertain is (call.may_have_taken_effect and repeat is Repeat.UNSAFE)
        assert call.sent_at is not None

    run(main())


@pytest.mark.parametrize(
    "cause",
    [OSError(113, "No route to host"), ConnectionResetError(104, "reset"), BrokenPipeError(), ssl.SSLError(1, "TLS")],
    ids=lambda error: type(error).__name__,
)
def test_system_errors_are_mapped(cause: Exception) -> None:
    async def main() -> None:
        with pytest.raises(TransportError, match=r"no complete reply came back: .*\w") as caught:
            await attempt(Network(cause), make_call())
        assert type(caught.value) is TransportError
        assert (caught.value.method, caught.value.path) == ("GET", "/v1/things")

    run(main())


def test_truncated_reply_is_mapped() -> None:
    class Cut:
        status = 200
        headers = CIMultiDictProxy(CIMultiDict({"Content-Length": "100"}))
        content_length = 100

        @property
        def content(self) -> Self:
            return self

        def is_eof(self) -> bool:
            return False

        async def read(self) -> bytes:
            raise aiohttp.ClientPayloadError("Response payload is not completed")

    async def main() -> None:
        call = make_call(Repeat.UNSAFE)
        with pytest.raises(TransportError, match="payload is not completed"):
            await attempt(Network(cast("aiohttp.ClientResponse", Cut())), call)
        assert call.may_have_taken_effect

    run(main())


def test_timeout_counts_from_sending() -> None:
    async def main() -> None:
        started = now()
        assert (await attempt(Network(29.9), make_call())).status == 200
        call = make_call(Repeat.UNSAFE)
        with pytest.raises(RequestTimeoutError, match="no reply within 30 s"):
            await attempt(Network(31.0), call)
        assert call.may_have_taken_effect
        assert now() - started == pytest.approx(59.9, abs=0.01)

    run(main())


def test_deadline_of_the_caller_stays_a_cancellation() -> None:
    async def main() -> None:
        call = make_call(Repeat.UNSAFE)
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(5):
                await attempt(Network(31.0), call)
        assert not isinstance(caught.value, RequestTimeoutError)
        assert call.may_have_taken_effect

    run(main())


@pytest.mark.parametrize(("status", "lost"), [(200, False), (404, False), (500, False), (503, False)])
def test_reply_settles_the_attempt(status: int, lost: bool) -> None:
    async def main() -> None:
        call = make_call(Repeat.UNSAFE)
        await attempt(Network(make_response(status)), call)
        assert call.may_have_taken_effect is lost

    run(main())


@pytest.mark.parametrize("status", [502, 504])
def test_gateway_error_counts_as_a_lost_reply(status: int) -> None:
    async def main() -> None:
        call = make_call(Repeat.UNSAFE)
        await attempt(Network(make_response(status)), call)
        assert call.may_have_taken_effect
        assert not make_call().is_uncertain

    run(main())


def test_lost_attempt_stays_lost() -> None:
    async def main() -> None:
        call = make_call(Repeat.IDEMPOTENT)
        call.may_have_taken_effect = True
        await attempt(Network(make_response(503)), call)
        assert call.may_have_taken_effect
        with pytest.raises(ConnectError):
            await attempt(Network(make(aiohttp.ClientConnectorError)), call)
        assert call.may_have_taken_effect

    run(main())


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        (aiohttp.ClientConnectorDNSError, "host and port"),
        (aiohttp.ClientConnectorCertificateError, "self-signed"),
        (aiohttp.ClientConnectorSSLError, "port of base_url"),
        (aiohttp.ServerFingerprintMismatch, "was renewed"),
        (aiohttp.ConnectionTimeoutError, "host and port"),
    ],
)
def test_failed_connection_hints_at_what_to_check(kind: type[Exception], hint: str) -> None:
    async def main() -> None:
        with pytest.raises(ConnectError, match="no connection to the panel") as caught:
            await attempt(Network(make(kind)), make_call())
        assert caught.value.hint is not None
        assert hint in caught.value.hint

    run(main())


def test_first_reply_with_a_date_sets_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[str | None] = []
    monkeypatch.setattr(PanelClock, "learn", lambda _, date, *__: learnt.append(date))
    first, second, of_proxy = (f"Thu, 15 Jan 2026 10:30:0{second} GMT" for second in range(3))

    async def main() -> None:
        replies = [(200, first), (404, first), (407, of_proxy), (200, second), (200, second)]
        network = Network(*(make_response(status, headers={"Date": date}) for status, date in replies))
        attempt = exchange(StubSessions(network))
        for _ in replies:
            await attempt(make_call(), cast("aiohttp.ClientRequest", StubRequest()), network)

    run(main())
    assert learnt == [first, second]


def test_closed_client_sends_nothing() -> None:
    async def main() -> None:
        sessions = SessionHolder(None)
        await sessions.close()
        call, network = make_call(Repeat.UNSAFE), Network(make_response())
        with pytest.raises(ConfigurationError, match="the client is closed"):
            await attempt(network, call, sessions)
        assert network.times == []
        assert not call.may_have_taken_effect

    run(main())
