"""What leaves the socket, byte for byte: the signing vectors, headers, and where requests never go."""

import asyncio
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from panelica_async import ConfigurationError, PanelicaClient, ResponseError
from panelica_async.core.address import Address
from panelica_async.core.operation import Repeat
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import Signer
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.transport.call import Call, CallOptions
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.keys import ApiKey, KeyHolder, KeyQuota
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.session import SessionHolder
from panelica_async.transport.signing import RequestSigner
from panelica_async.transport.timeouts import AttemptTimeouts
from tests.conftest import API_KEY, Advance, Connect, until
from tests.support.raw_server import RawRequest, RawServer, reply
from tests.transport.stubs import StubRequest, make_call

FILE = json.loads((Path(__file__).parents[1] / "data" / "signing-vectors.json").read_text("utf-8"))
VECTORS: list[dict[str, Any]] = FILE["vectors"]
SECRET: str = FILE["secret"]
PREFIX = "/api/external"

# How each vector is said through the public surface. 04 and 08 are spellings this package does not use, 12 is an
# upload, 14 another address.
PUBLIC: dict[str, dict[str, Any]] = {
    "01": {"path": "/v1/me"},
    "02": {"path": "/v1/databases", "query": {"domain_id": "2a1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d"}},
    "03": {
        "path": "/v1/files",
        "query": {"user_id": "7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f", "path": "/home/john/my site"},
    },
    "05": {"path": "/v1/backups/acme nightly.tar.gz"},
    "06": {"path": "/v1/backups/yedek-şubat.tar.gz/restore", "json": {}},
    "07": {"path": "/v1/accounts", "json": {"username": "ayse", "full_name": "Ayşe Öztürk", "note": "a/b"}},
    "09": {
        "path": "/v1/files",
        "json": {
            "user_id": "7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f",
            "paths": ["/home/john/old.txt"],
            "permanent": False,
        },
    },
    "10": {"path": "/v1/accounts/7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f/unsuspend"},
    "11": {
        "path": "/v1/files/content",
        "json": {
            "user_id": "7f3d2c1e-0b9a-4c8d-9e7f-6a5b4c3d2e1f",
            "path": "/home/john/a.txt",
            "content": 'line "1"\nline 2',
        },
    },
    "13": {"path": "/v1/backups/a%2Bb c.tar.gz", "query": {"force": True, "x": "/"}},
    "15": {"path": "/v1/domains/2a1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d/php", "json": {}},
}


def by_name(vector: dict[str, Any]) -> str:
    return str(vector["name"])


def number(vector: dict[str, Any]) -> str:
    return by_name(vector)[:2]


def holder(address: Address, secret: str) -> KeyHolder:
    quota = KeyQuota(address.origin, API_KEY, tier="enterprise", limiter=None)
    return KeyHolder(ApiKey(Signer(API_KEY, secret), quota))


class Multipart(aiohttp.BytesPayload):
    """A body of exactly these bytes that says it is a form with files."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="multipart/form-data; boundary=b")


async def send_vector(server: RawServer, vector: dict[str, Any], secret: str = SECRET) -> RawRequest:
    """Send a vector through the transport at the vector's time, and return what the socket saw."""
    target, _, query = vector["wire_target"].partition("?")
    address = Address(origin=server.origin, prefix=PREFIX if target.startswith(PREFIX) else "")
    is_upload = number(vector) == "12"
    request = PreparedRequest(
        method=vector["method"],
        path=target.removeprefix(address.prefix),
        query=query,
        body=None if is_upload else vector["wire_body"].encode() or None,
    )
    clock = PanelClock(wall=lambda: float(FILE["timestamp"]) + 0.9, monotonic=lambda: 0.0)
    transport = Transport(
        address=address,
        sessions=SessionHolder(None),
        keys=holder(address, secret),
        clock=clock,
        ssl=None,
        user_agent="test",
    )
    call = Call(
        "vector",
        request,
        Repeat.UNSAFE,
        CallOptions(max_retries=0),
        AttemptTimeouts(10),
        "",
        upload=Multipart(vector["wire_body"].encode()) if is_upload else None,
    )
    transport.monitor.queued(call)
    try:
        await transport.send(call)
    finally:
        await transport.close()
    return server.requests[-1]


@pytest.mark.parametrize("vector", VECTORS, ids=by_name)
async def test_vector_is_signed_on_the_wire(server: RawServer, vector: dict[str, Any]) -> None:
    sent = await send_vector(server, vector)
    assert sent.method == vector["method"]
    assert sent.target == vector["wire_target"]
    assert sent.body == vector["wire_body"].encode()
    assert sent.timestamp == FILE["timestamp"]
    assert sent.headers.getall("X-API-Key") == [API_KEY]
    assert sent.headers.getall("X-Signature") == [vector["signature"]]
    assert sent.raw.startswith(f"{vector['method']} {vector['wire_target']} HTTP/1.1\r\n".encode())


@pytest.mark.parametrize(
    ("vector", "mistake"),
    [pytest.param(vector, mistake, id=mistake) for vector in VECTORS for mistake in vector["wrong"]],
)
async def test_known_mistakes_are_not_on_the_wire(server: RawServer, vector: dict[str, Any], mistake: str) -> None:
    assert (await send_vector(server, vector)).signature != vector["wrong"][mistake]["signature"]


async def test_another_secret_gives_another_signature(server: RawServer) -> None:
    assert (await send_vector(server, VECTORS[0], secret="sk_test_another")).signature != VECTORS[0]["signature"]


@pytest.mark.parametrize("vector", [vector for vector in VECTORS if number(vector) in PUBLIC], ids=by_name)
async def test_vector_is_signed_through_the_client(server: RawServer, connect: Connect, vector: dict[str, Any]) -> None:
    """The client has no clock to set, so that the signature is computed here, with the time it sent."""
    before = int(time.time())
    await connect().request(vector["method"], **PUBLIC[number(vector)])
    after = int(time.time())
    [sent] = server.requests
    assert (sent.method, sent.target) == (vector["method"], vector["wire_target"])
    assert sent.body == vector["wire_body"].encode()
    assert before <= int(sent.timestamp) <= after
    string = f"{vector['method']}{vector['signed_target']}{sent.timestamp}{vector['signed_body']}"
    assert sent.signature == hmac.new(SECRET.encode(), string.encode(), hashlib.sha256).hexdigest()


async def test_call_has_the_expected_headers(server: RawServer, connect: Connect) -> None:
    panel = connect(app_name="shop-setup/2")
    await panel.request("GET", "/v1/me")
    await panel.request("POST", "/v1/domains", json={"a": 1})
    get, post = server.requests
    for sent in (get, post):
        assert sent.headers["Accept"] == "application/json"
        assert sent.headers["User-Agent"].startswith("shop-setup/2 panelica_async/")
        assert len(sent.headers) == len(set(sent.headers))
    assert "Content-Type" not in get.headers
    assert post.headers["Content-Type"] == "application/json"
    assert post.headers["Content-Length"] == "7"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_call_without_a_body_has_no_content_type(server: RawServer, connect: Connect, method: str) -> None:
    await connect().request(method, "/v1/me")
    assert "Content-Type" not in server.requests[0].headers
    assert server.requests[0].body == b""


async def test_null_is_sent_as_a_body(server: RawServer, connect: Connect) -> None:
    await connect().request("POST", "/v1/me", json=None)
    assert server.requests[0].body == b"null"
    assert server.requests[0].headers["Content-Type"] == "application/json"


async def test_large_body_arrives_whole_at_every_attempt(server: RawServer, connect: Connect, no_backoff: None) -> None:
    server.script(reply(503), reply(502))
    content = "ş" * 2_000_000
    await connect().request("PUT", "/v1/files/content", json={"content": content})
    assert [len(sent.body) for sent in server.requests] == [len(content.encode()) + 14] * 3
    assert json.loads(server.requests[2].body) == {"content": content}


async def test_unsigned_call_carries_no_key(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "healthy"}))
    assert (await connect().health()).status == "healthy"
    assert not {"X-API-Key", "X-Timestamp", "X-Signature"} & set(server.requests[0].headers)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(connect: Connect, server: RawServer, status: int) -> None:
    async with RawServer() as elsewhere:
        server.script(reply(status, headers={"Location": f"{elsewhere.origin}/v1/me"}))
        with pytest.raises(ResponseError, match="redirects are not followed") as caught:
            await connect().request("GET", "/v1/me")
        assert caught.value.status == status
        assert len(server.requests) == 1
        assert elsewhere.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://panel.example.com:8443/api/external/v1/things",
        "https://panel.example.com/api/external/v1/things",
        "https://panel.example.com.example.org:8443/api/external/v1/things",
        "https://panel.example.com:8444/api/external/v1/things",
        "https://panel.example.com:8443/api/external/v1/other",
        "https://panel.example.com:8443/api/external/v1/things?page=2",
    ],
)
def test_signer_refuses_another_url(url: str) -> None:
    address, call = Address.parse("panel.example.com"), make_call()
    signer, key = RequestSigner(address, PanelClock()), holder(address, SECRET).current
    sent = StubRequest(url=signer.set_url(call))
    signer.sign(call, key, cast("aiohttp.ClientRequest", sent), None)
    assert "X-Signature" in sent.headers
    elsewhere = StubRequest(url=url)
    with pytest.raises(ConfigurationError, match="refused to sign") as caught:
        signer.sign(call, key, cast("aiohttp.ClientRequest", elsewhere), None)
    assert not elsewhere.headers
    assert SECRET not in str(caught.value)


async def test_session_that_changes_the_url_sends_nothing(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiohttp.ClientSession, "_build_url", lambda _, url: url.with_host("localhost"))
    with pytest.raises(ConfigurationError, match="refused to sign a request to http://localhost:"):
        await connect().request("GET", "/v1/me")
    assert server.connections == 0


async def test_cookies_are_not_sent_back(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={}, headers={"Set-Cookie": "session=1; Path=/"}))
    # aiohttp takes no cookies of bare addresses anyway.
    panel = connect(base_url=server.origin.replace("127.0.0.1", "localhost"))
    await panel.request("GET", "/v1/me")
    await panel.request("GET", "/v1/me")
    assert "Cookie" not in server.requests[1].headers


async def test_connection_is_reused(server: RawServer, connect: Connect) -> None:
    panel = connect()
    for _ in range(3):
        await panel.request("POST", "/v1/me", json={})
    assert server.connections == 1


async def test_each_attempt_is_signed_afresh(
    server: RawServer, connect: Connect, no_backoff: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = connect()
    times = iter([1709827200.0, 1709827201.0, 1709827260.0])
    monkeypatch.setattr(panel._transport.clock, "now", lambda: next(times))
    server.script(reply(503), reply(502), reply(json={}))
    await panel.request("GET", "/v1/me")
    assert [sent.timestamp for sent in server.requests] == ["1709827200", "1709827201", "1709827260"]
    assert len({sent.signature for sent in server.requests}) == 3
    assert all(len(sent.headers.getall("X-Signature")) == 1 for sent in server.requests)
    assert server.requests[0].signature == VECTORS[0]["signature"]


async def test_call_after_wait_is_signed_with_time_of_send(
    server: RawServer, connect: Connect, advance: Advance, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = RateLimiter(RateLimit.unlimited())
    limiter.pause(600)
    panel = connect(limiter=limiter)
    started = asyncio.get_running_loop().time()
    monkeypatch.setattr(panel._transport.clock, "now", asyncio.get_running_loop().time)
    task = asyncio.create_task(panel.request("POST", "/v1/x"))
    await until(lambda: limiter.waiting == 1)
    advance(601)
    await task
    assert int(server.requests[0].timestamp) >= started + 600


async def test_encoded_path_is_not_encoded_again(server: RawServer, connect: Connect) -> None:
    panel: PanelicaClient = connect()
    await panel.request("GET", "/v1/a%20b/c d/100%/%C5%9F-ş")
    assert server.requests[0].target == f"{PREFIX}/v1/a%20b/c%20d/100%25/%C5%9F-%C5%9F"
