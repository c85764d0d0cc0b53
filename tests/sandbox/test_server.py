"""The sandbox on a port: its state, its arguments, and the bytes on the wire, of which it keeps none without a key."""

import asyncio
import contextlib
import gzip
import hashlib
import hmac
import json
import logging
import os
import re
import sqlite3
import stat
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from panelica_async import ConnectError, PanelicaClient
from panelica_async.errors import ConfigurationError
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.store import SCHEMA_VERSION
from tests.conftest import until
from tests.sandbox.signed_client import PREFIX, Clock, SignedClient
from tests.support.certificates import Certificate


async def test_sandbox_with_a_file_keeps_its_state(tmp_path: Path, session, clock: Clock) -> None:
    db = tmp_path / "panel.db"
    async with Sandbox(db=db, clock=clock) as box:
        first = SignedClient(box, session, clock)
        domain = await first.domain("example.com")
        added = box.add_key()
    clock.advance(3600)
    async with Sandbox("starter", db=db, clock=clock, scopes=["domains:read"]) as box:
        second = SignedClient(box, session, clock)
        assert (second.api_key, second.api_secret) == (first.api_key, first.api_secret)
        listed = await second.ok("GET", "/v1/domains")
        assert [row["id"] for row in listed] == [domain["id"]]
        # The root key has the rights of the last start.
        me = await second.ok("GET", "/v1/me")
        assert (me["rate_limit_tier"], me["scopes"]) == ("starter", ["domains:read"])
        other = second.with_key(added.api_key, added.api_secret)
        assert len(await other.ok("GET", "/v1/accounts")) == 2
        assert len(await other.ok("GET", "/v1/plans")) == 3
        secret = (await other.ok("POST", f"/v1/api-keys/{me['key_id']}/regenerate"))["api_secret"]
    async with Sandbox(db=db, clock=clock) as box:
        assert box.api_secret == secret


async def test_database_is_private_with_all_its_files(tmp_path: Path, session, clock: Clock) -> None:
    db = tmp_path / "panel.db"
    before = os.umask(0)
    try:
        async with Sandbox(db=db, clock=clock) as box:
            await SignedClient(box, session, clock).account("john")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in os.scandir(tmp_path)}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("panel.db", "panel.db-wal", "panel.db-shm"), 0o600)


async def test_database_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "panel.db").symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(ConfigurationError, match=r"panel\.db is a symbolic link"):
        await Sandbox(db=tmp_path / "panel.db").start()
    assert not (tmp_path / "elsewhere.db").exists()


async def test_every_reply_is_committed(tmp_path: Path, session, clock: Clock) -> None:
    db = tmp_path / "panel.db"
    async with Sandbox(db=db, clock=clock) as box:
        panel = SignedClient(box, session, clock)
        await panel.account("john")
        with contextlib.closing(sqlite3.connect(db)) as other:
            assert other.execute("SELECT username FROM accounts ORDER BY rowid").fetchall() == [("root",), ("john",)]
            assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        await panel.refused(409, "POST", "/v1/plans", {"name": "Starter"})
        assert not box.database.in_transaction


async def test_sandbox_accepts_a_key_of_the_caller(session, clock: Clock, tmp_path: Path) -> None:
    keys = {"api_key": "pk_test_0123", "api_secret": "sk_test_4567"}
    async with Sandbox(clock=clock, db=tmp_path / "panel.db", **keys) as box:
        assert (box.api_key, box.api_secret) == ("pk_test_0123", "sk_test_4567")
        await SignedClient(box, session, clock).ok("GET", "/v1/me")
    async with Sandbox(clock=clock, db=tmp_path / "panel.db", api_secret="sk_test_89ab") as box:
        assert (box.api_key, box.api_secret) == ("pk_test_0123", "sk_test_89ab")
        await SignedClient(box, session, clock).ok("GET", "/v1/me")


async def test_sandbox_in_memory_keeps_nothing(session, clock: Clock) -> None:
    async with Sandbox(clock=clock) as box:
        first = box.api_key
        await SignedClient(box, session, clock).account("john")
    async with Sandbox(clock=clock) as box:
        assert box.api_key != first
        assert len(await SignedClient(box, session, clock).ok("GET", "/v1/accounts")) == 1


async def test_sandbox_starts_where_sqlite_cannot_copy(monkeypatch, session, clock: Clock) -> None:
    class Connection(sqlite3.Connection):
        """As of an SQLite that was built without serialization."""

        @property
        def deserialize(self) -> None:
            raise AttributeError

        serialize = deserialize

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Connection))
    async with Sandbox(clock=clock) as box:
        assert len(await SignedClient(box, session, clock).ok("GET", "/v1/plans")) == 3


async def test_sandbox_can_be_started_and_stopped() -> None:
    box = Sandbox()
    for name in ("base_url", "api_key", "api_secret", "database"):
        with pytest.raises(RuntimeError, match="not running"):
            getattr(box, name)
    await box.stop()
    await box.start()
    with pytest.raises(RuntimeError, match="already running"):
        await box.start()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/external", box.base_url)
    await box.stop()
    await box.stop()
    with pytest.raises(RuntimeError, match="not running"):
        _ = box.base_url
    await box.start()
    await box.stop()


async def test_port_when_in_use_raises_oserror() -> None:
    async with Sandbox() as box:
        port = int(box.base_url.split(":")[2].split("/")[0])
        other = Sandbox(port=port)
        with pytest.raises(OSError, match="address already in use"):
            await other.start()
        with pytest.raises(RuntimeError, match="not running"):
            _ = other.base_url


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tier": "golden"}, "tier must be one of starter"),
        ({"api_key": "golden"}, "api_key must have the form pk_live_"),
        ({"latency": -1}, "latency must be at least 0 seconds, not -1"),
        ({"window": "slide"}, "window must be one of fixed, sliding, bucket, not 'slide'"),
        ({"dialect": "panels"}, "dialect must be one of reference, panel, not 'panels'"),
    ],
)
def test_argument_when_invalid_raises(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sandbox(**arguments)


async def test_scope_or_address_when_invalid_raises() -> None:
    for arguments in ({"scopes": ["x"]}, {"ip_whitelist": ["x"]}):
        with pytest.raises(ValueError, match="'x' is n"):
            await Sandbox(**arguments).start()


async def test_file_of_another_version_is_rejected(tmp_path: Path) -> None:
    db = tmp_path / "panel.db"
    async with Sandbox(db=db) as box:
        box.database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(ValueError, match=f"schema {SCHEMA_VERSION + 1} of another version: use a new file"):
        await Sandbox(db=db).start()


async def test_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("Buy milk. " * 100)
    notes.chmod(0o600)
    with pytest.raises(sqlite3.DatabaseError, match="file is not a database") as caught:
        await Sandbox(db=notes).start()
    assert caught.value.__notes__ == [f"The database of the sandbox is {notes}."]


@pytest.mark.parametrize("change", ["CREATE VIEW domain AS SELECT 1 AS id", ""], ids=["another view", "no view"])
async def test_file_of_an_older_release_gets_the_views(tmp_path: Path, change: str) -> None:
    db = tmp_path / "panel.db"
    async with Sandbox(db=db) as box:
        box.database.executescript(f"DROP VIEW domain; {change}")
    async with Sandbox(db=db) as box:
        columns = [row[1] for row in box.database.execute("PRAGMA table_info(domain)")]
    assert {"id", "domain", "status"} <= set(columns)


async def test_requests_are_recorded(panel: SignedClient, box: Sandbox) -> None:
    await panel.ok("GET", "/v1/domains?limit=5")
    await panel.call("POST", "/v1/nothing")
    records = [(row.method, row.path, row.status, row.operation) for row in box.requests]
    assert records == [
        ("GET", f"{PREFIX}/v1/domains", 200, "domains.list"),
        ("POST", f"{PREFIX}/v1/nothing", 404, None),
    ]
    assert box.requests.maxlen == 10_000


async def test_latency_delays_replies(monkeypatch: pytest.MonkeyPatch, session, clock: Clock) -> None:
    waits: list[float] = []
    sleep = asyncio.sleep

    async def recorded(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    async with Sandbox(clock=clock, latency=12.5) as box:
        monkeypatch.setattr("panelica_async.sandbox.server.asyncio.sleep", recorded)
        await SignedClient(box, session, clock).ok("GET", "/v1/me")
        monkeypatch.undo()
    assert waits == [12.5]


async def test_request_in_progress_when_stopped_is_answered(
    monkeypatch: pytest.MonkeyPatch, session, clock: Clock
) -> None:
    box, sleep = Sandbox(clock=clock, latency=1.0), asyncio.sleep
    stops: list[asyncio.Task[None]] = []

    async def stop_meanwhile(_: float) -> None:
        stops.append(asyncio.create_task(box.stop()))
        await sleep(0)

    await box.start()
    panel = SignedClient(box, session, clock)
    monkeypatch.setattr("panelica_async.sandbox.server.asyncio.sleep", stop_meanwhile)
    await panel.ok("POST", "/v1/plans", {"name": "Gold"})
    monkeypatch.undo()
    await asyncio.gather(*stops)


async def test_request_that_arrives_as_the_sandbox_stops_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    for passes in range(8):  # of the event loop, between the request and the stop
        box = Sandbox()
        await box.start()
        address = urlsplit(box.base_url)
        _, writer = await asyncio.open_connection(address.hostname, address.port)
        writer.write(b"GET /api/external/v1/me HTTP/1.1\r\nHost: example.com\r\n\r\n")
        for _ in range(passes):
            await asyncio.sleep(0)
        await box.stop()
        writer.close()
    assert caplog.text == ""


async def test_internal_error_of_the_sandbox_is_500(
    panel: SignedClient, box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    box.database.execute("DROP TABLE webhook_deliveries")
    reply = await panel.refused(500, "GET", "/v1/webhooks/stats")
    assert reply == {"error": "Internal error", "code": "INTERNAL_ERROR"}
    assert "the sandbox failed at GET /api/external/v1/webhooks/stats" in caplog.text


async def test_concurrent_creates_of_one_name_succeed_once(panel: SignedClient) -> None:
    """Each name is requested twice at the same time: one of the two calls is refused."""
    john = await panel.account()

    async def create(number: int) -> int:
        body = json.dumps({"domain": f"d{number // 2}.example", "user_id": john["id"]}).encode()
        headers = panel.headers("POST", f"{PREFIX}/v1/domains", body)
        async with panel.session.post(f"{panel.box.base_url}/v1/domains", data=body, headers=headers) as response:
            return response.status

    statuses = await asyncio.gather(*(create(number) for number in range(40)))
    assert sorted(statuses) == [201] * 20 + [409] * 20
    assert (await panel.ok("GET", f"/v1/accounts/{john['id']}"))["domain_count"] == 20


async def test_every_reply_has_the_time_of_the_panel(panel: SignedClient, clock: Clock) -> None:
    first = await panel.call("GET", "/v1/me")
    clock.advance(86_400.9)
    later = [
        await panel.call("GET", "/v1/me"),
        await panel.call("GET", "/v1/nothing"),
        await panel.call("DELETE", f"/v1/accounts/{(await panel.account())['id']}"),
    ]
    assert [answer.status for answer in later] == [200, 404, 204]
    assert first.headers["Date"] == "Sat, 07 Mar 2026 12:00:00 GMT"
    assert {answer.headers["Date"] for answer in later} == {"Sun, 08 Mar 2026 12:00:00 GMT"}


async def test_sandbox_with_a_certificate_serves_https(certificate: Certificate) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        assert re.fullmatch(r"https://127\.0\.0\.1:\d+/api/external", box.base_url)
        for trusted in (certificate.path, certificate.fingerprint):
            key, secret = box.api_key, box.api_secret
            async with PanelicaClient(box.base_url, api_key=key, api_secret=secret, ssl=trusted) as panel:
                assert (await panel.me()).scopes == ["*:*"]
        async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
            with pytest.raises(ConnectError, match="self-signed certificate"):
                await panel.me()
        assert {seen.status for seen in box.requests} == {200}


PLAN = {"name": "Small", "max_domains": 1}


class RawClient:
    """Writes requests to a sandbox byte by byte."""

    def __init__(self, box: Sandbox, clock: Clock) -> None:
        self.box = box
        self.clock = clock
        self.port = urlsplit(box.base_url).port

    def signed(self, method: str, path: str, signed: bytes, *, query: str = "") -> dict[str, str]:
        stamp = str(int(self.clock()))
        text = f"{method}{path}{query and '?' + query}{stamp}".encode() + signed
        signature = hmac.new(self.box.api_secret.encode(), text, hashlib.sha256).hexdigest()
        return {"X-API-Key": self.box.api_key, "X-Timestamp": stamp, "X-Signature": signature}

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [f"{method} {target} HTTP/1.1", "Host: panel", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            if body and "Content-Length" not in headers:
                lines.append(f"Content-Length: {len(body)}")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status, *fields = head.strip().split("\r\n")
            received = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            content = await reader.readexactly(int(received.get("content-length", "0")))
        finally:
            writer.close()
        return int(status.split()[1]), received, json.loads(content) if content else None


@pytest.fixture
def raw(box: Sandbox, clock: Clock) -> RawClient:
    return RawClient(box, clock)


class TestCompressedBodies:
    async def test_signature_of_the_bytes_sent_is_accepted(self, raw: RawClient) -> None:
        body = gzip.compress(json.dumps(PLAN).encode())
        headers = raw.signed("POST", "/v1/plans", body) | {"Content-Encoding": "gzip"}
        status, _, data = await raw.send("POST", "/v1/plans", headers, body)
        assert (status, data["error"]) == (400, "Invalid JSON")

    async def test_signature_of_other_bytes_is_rejected(self, raw: RawClient, panel: SignedClient) -> None:
        plain = json.dumps(PLAN).encode()
        headers = raw.signed("POST", "/v1/plans", plain) | {"Content-Encoding": "gzip"}
        status, _, data = await raw.send("POST", "/v1/plans", headers, gzip.compress(plain))
        assert (status, data["code"]) == (401, "INVALID_SIGNATURE")
        assert "Small" not in {plan["name"] for plan in await panel.ok("GET", "/v1/plans")}

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
    async def test_junk_without_a_key_gets_a_json_error(self, raw: RawClient, encoding: str) -> None:
        status, received, data = await raw.send("POST", "/v1/plans", {"Content-Encoding": encoding}, b"junk")
        assert (status, data["code"]) == (401, "MISSING_API_KEY")
        assert received["content-type"].startswith("application/json")


class TestUnreadBodies:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"X-API-Key": ""}, "MISSING_API_KEY"),
            ({"X-API-Key": "pk_test_unknown"}, "UNAUTHORIZED"),
            ({"X-Timestamp": "1"}, "INVALID_TIMESTAMP"),
            ({"X-Signature": "short"}, "INVALID_SIGNATURE"),
        ],
    )
    async def test_body_is_not_read_when_headers_are_rejected(
        self, raw: RawClient, change: dict[str, str], code: str
    ) -> None:
        headers = raw.signed("POST", "/v1/plans", b"") | {"Content-Length": "1000000"} | change
        # Not a byte of the body is ever sent.
        status, _, data = await raw.send("POST", "/v1/plans", headers)
        assert (status, data["code"]) == (401, code)

    async def test_body_is_not_read_when_path_is_unknown(self, raw: RawClient) -> None:
        status, _, data = await raw.send("POST", "/v1/nothing", {"Content-Length": "1000000"})
        assert (status, data["code"]) == (404, "NOT_FOUND")

    async def test_body_when_too_large_gets_a_json_error(self, raw: RawClient) -> None:
        body = b" " * (8 * 1024 * 1024 + 1)
        status, received, data = await raw.send("POST", "/v1/plans", raw.signed("POST", "/v1/plans", body), body)
        assert (status, data["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert received["x-request-id"].startswith("req_")

    async def test_client_when_disconnected_logs_nothing(
        self, raw: RawClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        headers = raw.signed("POST", "/v1/plans", b"") | {"Content-Length": "1000"}
        _, writer = await asyncio.open_connection("127.0.0.1", raw.port)
        lines = "\r\n".join(f"{name}: {value}" for name, value in headers.items())
        writer.write(f"POST /v1/plans HTTP/1.1\r\nHost: panel\r\n{lines}\r\n\r\nhalf".encode())
        await writer.drain()
        writer.close()
        await until(lambda: len(raw.box.requests) == 1)
        assert raw.box.requests[0].status == 400
        assert not caplog.records

    @pytest.mark.parametrize(
        "junk", [b"\x16\x03\x01junk", b"GET / HTTP/1.1\r\nA: \x00", b"GET\r\n", b"BREW / HTCPCP/1"]
    )
    async def test_junk_logs_nothing(self, raw: RawClient, caplog: pytest.LogCaptureFixture, junk: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", raw.port)
        writer.write(junk + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        assert not caplog.records


class TestTargets:
    @pytest.mark.parametrize("path", ["/v1/%0Adomains", "/v1/domains/%0A", "/%0D%0A", "/v1/domains%0a"])
    async def test_line_break_in_path_gets_a_json_error(self, raw: RawClient, path: str) -> None:
        status, received, data = await raw.send("GET", path, {})
        assert (status, data["code"]) in {(404, "NOT_FOUND"), (401, "MISSING_API_KEY")}
        assert received["x-request-id"].startswith("req_")
        assert raw.box.requests[-1].path == path

    @pytest.mark.parametrize("path", ["/v1/domains/%zz", "/v1/domains/%", "/v1/domains/a%2"])
    async def test_broken_escape_is_a_bad_request(self, raw: RawClient, path: str) -> None:
        status, _, data = await raw.send("GET", path, {})
        assert (status, data["code"]) == (400, "BAD_REQUEST")

    @pytest.mark.parametrize("origin", ["http://panel", "HTTP://panel:80", "https://panel"])
    async def test_absolute_form_is_served(self, raw: RawClient, origin: str) -> None:
        status, _, data = await raw.send("GET", f"{origin}/v1/me", raw.signed("GET", "/v1/me", b""))
        assert (status, data["scopes"]) == (200, ["*:*"])


async def test_multipart_body_is_not_read_as_json(raw: RawClient, panel: SignedClient) -> None:
    headers = raw.signed("POST", "/v1/plans", b"") | {"Content-Type": "Multipart/form-data; boundary=x"}
    status, _, data = await raw.send("POST", "/v1/plans", headers, json.dumps(PLAN).encode())
    assert (status, data["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "Small" not in {plan["name"] for plan in await panel.ok("GET", "/v1/plans")}
