import asyncio
import contextlib
import json
import os
import re
import sqlite3
import stat
from functools import partial
from pathlib import Path

import pytest

from panelica_async import ConnectError, PanelicaClient
from panelica_async.errors import ConfigurationError
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.store import SCHEMA_VERSION
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
    shown = [(row.method, row.path, row.status, row.operation) for row in box.requests]
    assert shown == [
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


async def test_internal_error_of_the_sandbox_is_500(
    panel: SignedClient, box: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    box.database.execute("DROP TABLE webhook_deliveries")
    refusal = await panel.refused(500, "GET", "/v1/webhooks/stats")
    assert refusal == {"error": "Internal error", "code": "INTERNAL_ERROR"}
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
