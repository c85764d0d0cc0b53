import asyncio
from pathlib import Path

import pytest

from panelica_async.cli.connection import connect
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.sandbox import Sandbox
from tests.cli.harness import Command, Outcome
from tests.doctor.examining import HEALTH, NO_HEALTH
from tests.support.certificates import Certificate
from tests.support.raw_server import RawServer, Step, reply

KEY, SECRET = "pk_live_0123456789abcdef", "sk_live_0123456789abcdef"
SERVER = ("--base-url", "127.0.0.1:1", "--api-key", KEY)


def test_panel_when_unreachable_exits_1(panelica: Command, monkeypatch: pytest.MonkeyPatch, no_backoff: None) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)
    outcome = panelica("api", "GET", "/v1/me", *SERVER)
    assert outcome.code == 1
    assert "no connection to the panel" in outcome.stderr
    assert SECRET not in outcome.stderr


def test_ca_file_without_a_certificate_is_refused(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    outcome = panelica("api", "GET", "/v1/me", "--sandbox", "--ca-file", "ca.pem")
    assert outcome.code == 2
    assert "ca.pem has none" in outcome.stderr


def test_sandbox_db_when_not_a_database_is_rejected(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database at all, and long enough to be looked at" * 20)
    outcome = panelica("api", "GET", "/v1/me", "--sandbox", "--sandbox-db", "notes.db")
    assert outcome.code == 2
    assert outcome.stderr == "Error: notes.db cannot be used as the database of a sandbox: file is not a database\n"


async def test_secret_from_the_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as box:
        (tmp_path / "secret").write_text(f"{box.api_secret}\n")
        from_file = ConnectionOptions(base_url=box.base_url, api_key=box.api_key, api_secret_file=tmp_path / "secret")
        async with connect(from_file, StateDirectory()) as panel:
            assert (await panel.client.me()).rate_limit_tier == "professional"
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        async with connect(ConnectionOptions(base_url=box.base_url, api_key=box.api_key), StateDirectory()) as panel:
            assert (await panel.client.me()).rate_limit_tier == "professional"


def test_secret_file_when_no_text_is_named(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    outcome = panelica("api", "GET", "/v1/me", *SERVER, "--api-secret-file", "secret")
    assert (outcome.code, outcome.stderr) == (2, "Error: secret must hold the API secret as text\n")


@pytest.mark.parametrize(("dialect", "spoken"), [("auto", "reference"), ("reference", "reference"), ("panel", "panel")])
async def test_embedded_sandbox_speaks_the_dialect(tmp_path: Path, dialect: str, spoken: str) -> None:
    connection = ConnectionOptions(sandbox=True, sandbox_db=tmp_path / "sandbox.db", dialect=dialect)
    async with connect(connection, StateDirectory()) as panel:
        await panel.client.domains.list()
        assert panel.client.dialect == spoken
        # Only a panel has this path.
        if spoken == "panel":
            await panel.client.request("GET", "/v1/email-accounts")


async def test_limiter_is_that_of_the_client(tmp_path: Path) -> None:
    connection = ConnectionOptions(sandbox=True, sandbox_db=tmp_path / "sandbox.db")
    async with connect(connection, StateDirectory()) as panel:
        await panel.client.me()
        await panel.client.me()
        assert panel.limiter.granted >= 2
        assert panel.limiter.limit.per_minute == 1000


async def test_address_of_the_sandbox_depends_on_its_database(tmp_path: Path) -> None:
    async def address(name: str) -> str:
        async with connect(ConnectionOptions(sandbox=True, sandbox_db=tmp_path / name), StateDirectory()) as panel:
            return panel.client.base_url

    assert await address("one.db") == await address("one.db")
    assert await address("one.db") != await address("other.db")


@pytest.mark.parametrize(("answer", "path"), [(HEALTH, "ftp-accounts"), (NO_HEALTH, "ftp/accounts")])
async def test_dialect_is_asked_once_for_all_clients(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, answer: Step, path: str
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)
    limit = {"tier": "business", "requests_per_minute": 1000}
    server.script(answer, reply(json={"data": limit}), reply(json={"data": []}))
    connection = ConnectionOptions(base_url=server.origin, api_key=KEY, dialect="auto", share_quota="off")
    async with connect(connection, StateDirectory()) as panel:
        await panel.client.ftp.accounts.list()
    asked = [request.target.partition("/external/")[2] for request in server.requests]
    assert asked == ["health", "v1/rate-limit", f"v1/{path}"]
    # The question uses no quota.
    assert connection.traffic.calls == 2


async def test_proxy_of_the_environment_is_used_on_request(
    panelica: Command, box: Sandbox, monkeypatch: pytest.MonkeyPatch, no_backoff: None
) -> None:
    for name in ("base_url", "api_key", "api_secret"):
        monkeypatch.setenv(f"PANELICA_{name.upper()}", getattr(box, name))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    for command in (("api", "GET", "/v1/me"), ("doctor",)):
        assert (await asyncio.to_thread(panelica, *command)).code == 0
        outcome = await asyncio.to_thread(panelica, *command, "--trust-env")
        assert outcome.code == 1
        assert "the proxy cannot be reached" in outcome.stdout + outcome.stderr


async def test_certificate_is_trusted_by_file_or_by_fingerprint(
    panelica: Command, monkeypatch: pytest.MonkeyPatch, certificate: Certificate, no_backoff: None
) -> None:
    async with Sandbox(ssl=certificate.server_context) as box:
        for name in ("base_url", "api_key", "api_secret"):
            monkeypatch.setenv(f"PANELICA_{name.upper()}", getattr(box, name))

        async def call(*options: str) -> Outcome:
            return await asyncio.to_thread(panelica, "api", "GET", "/v1/me", *options)

        assert (await call("--ca-file", str(certificate.path))).code == 0
        assert (await call("--fingerprint", certificate.fingerprint)).code == 0
        before = len(box.requests)
        for options, help_is in (
            ((), "pass its file as ssl= or --ca-file, pass its fingerprint"),
            (("--fingerprint", f"sha256:{'00:' * 31}00"), "as ssl= or --fingerprint; otherwise suspect"),
        ):
            outcome = await call(*options)
            assert outcome.code == 1
            assert "no connection to the panel" in outcome.stderr
            assert help_is in outcome.stderr
        assert len(box.requests) == before
