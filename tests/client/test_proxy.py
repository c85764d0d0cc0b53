"""The proxy from the environment: what goes through it, what it sees, and how its failures are reported."""

import asyncio
import contextlib
import logging
import socket
import traceback
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp
import pytest

from panelica_async import ConfigurationError, PanelicaClient, PanelicaError
from panelica_async.core import hints
from panelica_async.transport.session import Proxy, matches_no_proxy
from tests.conftest import API_SECRET, Connect
from tests.support.certificates import Certificate
from tests.support.raw_server import RawServer, reply
from tests.transport.verifier import accepts

PANEL = "http://panel.example.com:8443"
LOGIN = "us%40er:hunter2"
AUTHORIZATION = "Basic dXNAZXI6aHVudGVyMg=="  # us@er:hunter2
REFUSAL = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"


class ForwardProxy:
    """A forward proxy on the loopback address, which finds every host at one server.

    Args:
        target: The server's origin.
        is_strict: Whether it answers 407 to everybody.
    """

    def __init__(self, target: str, *, is_strict: bool = False) -> None:
        self.heads: list[str] = []
        """Request lines and headers received."""
        self._target = target.rpartition("/")[2].split(":")
        self._is_strict = is_strict

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    def url(self, login: str = LOGIN) -> str:
        return f"http://{login}@127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            if self._is_strict:
                writer.write(REFUSAL)
                return
            there_reader, there_writer = await asyncio.open_connection(*self._target)
            with contextlib.closing(there_writer):
                if head.startswith("CONNECT "):
                    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:
                    there_writer.write(_for_the_server(head).encode())
                await asyncio.gather(_pass_on(reader, there_writer), _pass_on(there_reader, writer))


def _for_the_server(head: str) -> str:
    """Return the head of a request without the headers for the proxy, for a connection that serves one request."""
    request_line, *lines = head.splitlines()[:-1]
    method, url, version = request_line.split()
    target = url.removeprefix("http://").partition("/")[2]
    kept = [line for line in lines if not line.startswith("Proxy-")]
    return "\r\n".join([f"{method} /{target} {version}", *kept, "Connection: close", "", ""])


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


@pytest.fixture(autouse=True)
def _no_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def proxy(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ForwardProxy]:
    """A proxy in front of the server, named by the environment."""
    async with ForwardProxy(server.origin) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        yield proxy


async def test_request_through_proxy_is_signed_for_panel(
    server: RawServer, proxy: ForwardProxy, connect: Connect
) -> None:
    server.script(reply(json={"id": "1"}, headers={"Connection": "close"}))
    panel = connect(base_url=PANEL, trust_env=True)
    answer = await panel.request("POST", "/v1/back ups", query={"a": "b c"}, json={"name": "ş"})
    assert answer.data == {"id": "1"}
    [head], [request] = proxy.heads, server.requests
    assert head.startswith(f"POST {PANEL}/api/external/v1/back%20ups?a=b%20c HTTP/1.1\r\nHost: panel.example.com:8443")
    assert f"\r\nProxy-Authorization: {AUTHORIZATION}\r\n" in head
    assert accepts(request, API_SECRET)


async def test_retry_through_proxy_is_logged_without_password(
    server: RawServer, proxy: ForwardProxy, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(
        reply(503, headers={"Retry-After": "0", "Connection": "close"}), reply(headers={"Connection": "close"})
    )
    with caplog.at_level(logging.DEBUG, "panelica_async"):
        await connect(base_url=PANEL, trust_env=True).request("GET", "/v1/x")
    assert [AUTHORIZATION in head for head in proxy.heads] == [True, True]
    assert all(accepts(request, API_SECRET) for request in server.requests)
    assert "Proxy-Authorization" in caplog.text
    assert AUTHORIZATION not in caplog.text


async def test_https_goes_through_an_opaque_tunnel(
    certificate: Certificate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with RawServer(tls=certificate.server_context) as server, ForwardProxy(server.origin) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url())
        panel = connect(base_url="https://localhost:8443", trust_env=True, ssl=certificate.path)
        await panel.request("POST", "/v1/x", json={"name": "x"})
        await panel.request("POST", "/v1/x", json={"name": "x"})
        await panel.close()
        [head] = proxy.heads
        assert head.startswith("CONNECT localhost:8443 HTTP/1.1\r\n")
        assert f"\r\nProxy-Authorization: {AUTHORIZATION}\r\n" in head
        assert "X-API-Key" not in head
        assert [accepts(request, API_SECRET) for request in server.requests] == [True, True]
        assert not any("Proxy-Authorization" in request.headers for request in server.requests)


async def test_proxy_without_credentials_gets_no_authorization(
    server: RawServer, proxy: ForwardProxy, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url(login="").removeprefix("http://@"))  # and without a scheme
    server.script(reply(headers={"Connection": "close"}))
    await connect(base_url=PANEL, trust_env=True).request("POST", "/v1/x")
    assert "Proxy-Authorization" not in proxy.heads[0]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost, 127.0.0.1", "127.0.0.1:{port}", "*"])
async def test_host_in_no_proxy_is_reached_directly(
    server: RawServer, proxy: ForwardProxy, connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("NO_PROXY", name.format(port=server.origin.rpartition(":")[2]))
    await connect(trust_env=True).request("POST", "/v1/x")
    assert (len(server.requests), proxy.heads) == (1, [])


async def test_host_not_in_no_proxy_is_reached_by_proxy(
    server: RawServer, proxy: ForwardProxy, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "www.example.com, 127.0.0.1")
    server.script(reply(headers={"Connection": "close"}))
    await connect(base_url=PANEL, trust_env=True).request("POST", "/v1/x")
    assert len(proxy.heads) == 1


async def test_by_default_the_environment_is_ignored(server: RawServer, proxy: ForwardProxy, connect: Connect) -> None:
    await connect().request("POST", "/v1/x")
    async with aiohttp.ClientSession() as session:
        await connect(session=session, trust_env=True).request("POST", "/v1/x")
    assert (len(server.requests), proxy.heads) == (2, [])


def everything_shown(error: BaseException | None) -> str:
    """Return everything that a log, a debugger or a traceback shows of an error."""
    text = "".join(traceback.format_exception(error))
    while error is not None:
        text += repr(error) + repr(vars(error))
        error = error.__cause__ or error.__context__
    return text


async def refused(base_url: str, caplog: pytest.LogCaptureFixture) -> PanelicaError:
    """Return the error of a call that the proxy blocks, after checking that it shows no secrets."""
    panel = PanelicaClient(
        base_url, api_key="pk_test_x", api_secret=API_SECRET, tier="starter", trust_env=True, max_retries=1
    )
    with caplog.at_level(logging.DEBUG), pytest.raises(PanelicaError) as caught:
        await panel.request("GET", "/v1/x")
    await panel.close()
    for text in (everything_shown(caught.value), caplog.text, repr(panel)):
        assert "hunter2" not in text
        assert AUTHORIZATION.removeprefix("Basic ") not in text
    assert "proxy" in caught.value.message.lower()
    assert caught.value.hint == hints.PROXY
    return caught.value


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("no_backoff")
async def test_proxy_that_rejects_the_login_raises_once(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    async with ForwardProxy(server.origin, is_strict=True) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url())
        error = await refused(f"{scheme}://panel.example.com:8443", caplog)
    assert "Proxy Authentication Required" in error.message
    assert error.attempts == 1
    assert server.requests == []


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.usefixtures("no_backoff")
async def test_unreachable_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, scheme: str
) -> None:
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://{LOGIN}@127.0.0.1:9")
    error = await refused(f"{scheme}://panel.example.com:8443", caplog)
    assert "the proxy cannot be reached: 127.0.0.1:9: Connection refused" in error.message


@pytest.mark.usefixtures("no_backoff")
async def test_proxy_with_an_unknown_name_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    monkeypatch.setenv("HTTP_PROXY", f"http://{LOGIN}@proxy.example.com:3128")
    error = await refused(PANEL, caplog)
    assert "the proxy cannot be reached: proxy.example.com:3128: Name or service not known" in error.message


@pytest.mark.parametrize(
    "text",
    [
        "http://user:hunter2@[::1",
        "http://user:hunter2@proxy.example.com:port",
        "http://us%3Aer:hunter2@proxy.example.com",
        "socks5://user:hunter2@proxy.example.com:1080",
        "http://",
    ],
)
def test_proxy_when_invalid_names_its_variable(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("HTTP_PROXY", text)
    with pytest.raises(ConfigurationError, match=r"^HTTP_PROXY ") as caught:
        PanelicaClient(PANEL, api_key="pk_test_x", api_secret=API_SECRET, trust_env=True)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_repr_of_a_proxy_has_no_password() -> None:
    proxy = Proxy.parse(f"http://{LOGIN}@proxy.example.com:3128/", "HTTP_PROXY")
    assert proxy.authorization == AUTHORIZATION
    assert repr(proxy) == "Proxy(url=URL('http://proxy.example.com:3128'))"


@pytest.mark.parametrize(
    ("excluded", "host", "named"),
    [
        ("*", "panel.example.com", True),
        ("a.example,*,b.example", "panel.example.com", True),
        ("localhost,127.0.0.0/8", "127.0.0.1", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.*", "10.1.2.3", True),
        ("10.*", "110.1.2.3", False),
        ("172.20.0.0/16 10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1:8443", "10.0.0.1", True),
        ("10.0.0.1:9443", "10.0.0.1", False),
        ("2001:db8::5", "2001:db8::5", True),
        ("[2001:db8::5]", "2001:db8::5", True),
        ("[2001:DB8:0::5]:8443", "2001:db8::5", True),
        ("[2001:db8::5]:9443", "2001:db8::5", False),
        ("2001:db8::/32", "2001:db8:1::5", True),
        ("corp.example", "panel.corp.example", True),
        (".corp.example", "panel.corp.example", True),
        ("*.corp.example", "panel.corp.example", True),
        ("Corp.Example.", "PANEL.corp.example", True),
        ("panel.corp.example.", "panel.corp.example", True),
        ("corp.example:8443", "panel.corp.example", True),
        ("corp.example:9443", "panel.corp.example", False),
        ("corp.example", "panelcorp.example", False),
        ("*.corp.example", "xcorp.example", False),
        (".bücher.example", "panel.bücher.example", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        ("", "panel.example.com", False),
        (" , ,.,:,[],/8", "panel.example.com", False),
    ],
)
def test_no_proxy_is_read_by_the_usual_conventions(excluded: str, host: str, named: bool) -> None:
    assert matches_no_proxy(host, 8443, excluded) is named


async def test_web_page_over_a_borrowed_session_blames_no_proxy(
    server: RawServer, proxy: ForwardProxy, connect: Connect
) -> None:
    server.script(reply(403, body="<html><title>Blocked</title></html>", content_type="text/html"))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(PanelicaError) as caught:
            await connect(session=session, trust_env=True).request("GET", "/v1/x")
    assert caught.value.hint == hints.WEB_PAGE
    assert proxy.heads == []


async def test_web_page_through_a_proxy_says_so(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script(reply(403, body="<html><title>Blocked</title></html>", content_type="text/html"))
    async with ForwardProxy(server.origin) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url())
        monkeypatch.setenv("NO_PROXY", "")
        panel = PanelicaClient(PANEL, api_key="pk_test_0", api_secret=API_SECRET, tier="enterprise", trust_env=True)
        async with panel:
            with pytest.raises(PanelicaError) as caught:
                await panel.me()
    hint = caught.value.hint or ""
    assert hint.startswith("Check the proxy http://127.0.0.1:")
    assert "hunter2" not in hint
