import asyncio
from pathlib import Path

import pytest

from panelica_async.cli.connection import Connection
from panelica_async.cli.options import StateDirectory
from panelica_async.sandbox import Sandbox
from tests.cli.harness import Command, Outcome
from tests.doctor.examining import HEALTH, NO_HEALTH
from tests.support.certificates import Certificate
from tests.support.raw_server import RawServer, Step, reply

KEY, SECRET = "pk_live_0123456789abcdef", "sk_live_0123456789abcdef"
SERVER = ("--base-url", "127.0.0.1:1", "--api-key", KEY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "base_url is missing"),
        (("--base-url", "panel.example.com"), "api_key is missing"),
        (SERVER, "the API secret is missing"),
        (("--base-url", "ftp://panel.example.com", "--api-key", KEY), "base_url must be an http or https URL"),
    ],
)
def test_setting_when_missing_or_invalid_exits_2(panelica: Command, arguments: tuple[str, ...], message: str) -> None:
    outcome = panelica("api", "GET", "/v1/me", *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr


def test_error_as_json(panelica: Command) -> None:
    error = panelica("api", "GET", "/v1/me", "--json").json["error"]
    assert error["type"] == "ConfigurationError"
    assert "--base-url" in error["hint"]


def test_panel_when_unreachable_exits_1(panelica: Command, monkeypatch: pytest.MonkeyPatch, no_backoff: None) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)
    outcome = panelica("api", "GET", "/v1/me", *SERVER)
    assert outcome.code == 1
    assert "no connection to the panel" in outcome.stderr
    assert SECRET not in outcome.stderr


@pytest.mark.parametrize("option", ["--tier", "--sandbox-tier"])
def test_tiers_are_named(panelica: Command, option: str) -> None:
    outcome = panelica("api", "GET", "/v1/me", "--sandbox", option, "gold")
    assert outcome.code == 2
    assert "'gold'" in outcome.stderr
    assert "professional" in outcome.stderr


def test_ca_file_without_a_certificate(panelica: Command, tmp_path: Path) -> None:
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
        from_file = Connection(base_url=box.base_url, api_key=box.api_key, api_secret_file=tmp_path / "secret")
        async with from_file.open(StateDirectory()) as panel:
            assert (await panel.client.me()).rate_limit_tier == "professional"
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        async with Connection(base_url=box.base_url, api_key=box.api_key).open(StateDirectory()) as panel:
            assert (await panel.client.me()).rate_limit_tier == "professional"


@pytest.mark.parametrize(("dialect", "spoken"), [("auto", "reference"), ("reference", "reference"), ("panel", "panel")])
async def test_embedded_sandbox_speaks_the_dialect(tmp_path: Path, dialect: str, spoken: str) -> None:
    connection = Connection(sandbox=True, sandbox_db=tmp_path / "sandbox.db", dialect=dialect)
    async with connection.open(StateDirectory()) as panel:
        await panel.client.domains.list()
        assert panel.client.dialect == spoken
        # Only a panel has this path.
        if spoken == "panel":
            await panel.client.request("GET", "/v1/email-accounts")


async def test_limiter_is_that_of_the_client(tmp_path: Path) -> None:
    connection = Connection(sandbox=True, sandbox_db=tmp_path / "sandbox.db")
    async with connection.open(StateDirectory()) as panel:
        await panel.client.me()
        await panel.client.me()
        assert panel.limiter.granted >= 2
        assert panel.limiter.limit.per_minute == 1000


async def test_address_of_the_sandbox_depends_on_its_database(tmp_path: Path) -> None:
    async def address(name: str) -> str:
        async with Connection(sandbox=True, sandbox_db=tmp_path / name).open(StateDirectory()) as panel:
            return panel.client.base_url

    assert await address("one.db") == await address("one.db")
    assert await address("one.db") != await address("other.db")


def test_flags_name_the_panel_again_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANELICA_DIALECT")
    assert Connection(sandbox=True).flags() == ["--sandbox"]
    assert Connection(sandbox=True, sandbox_db=Path("my.db")).flags() == ["--sandbox", "--sandbox-db", "my.db"]
    assert Connection(base_url="panel.example.com", api_key=KEY).flags() == ["--base-url", "panel.example.com"]
    pinned = Connection(base_url="panel.example.com", api_key=KEY, fingerprint="sha256:AB")
    assert pinned.flags() == ["--base-url", "panel.example.com", "--fingerprint", "sha256:AB"]
    monkeypatch.setenv("PANELICA_BASE_URL", "panel.example.com")
    assert Connection(base_url="panel.example.com", api_key=KEY).flags() == []
    trusted = Connection(base_url="panel.example.com", api_key=KEY, ca_file=Path("ca.pem"))
    assert trusted.flags() == ["--ca-file", "ca.pem"]
    proxied = Connection(base_url="panel.example.com", api_key=KEY, trust_env=True)
    assert proxied.flags() == ["--trust-env"]
    monkeypatch.setenv("PANELICA_DIALECT", "panel")
    assert Connection(sandbox=True, dialect="panel").flags() == ["--sandbox"]
    assert Connection(sandbox=True, dialect="auto").flags() == ["--sandbox", "--dialect", "auto"]
    asked = Connection(base_url="panel.example.com", api_key=KEY, dialect="auto")
    assert asked.flags() == ["--dialect", "auto"]


@pytest.mark.parametrize(("answer", "path"), [(HEALTH, "ftp-accounts"), (NO_HEALTH, "ftp/accounts")])
async def test_dialect_is_asked_once_for_all_clients(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, answer: Step, path: str
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)
    limit = {"tier": "business", "requests_per_minute": 1000}
    server.script(answer, reply(json={"data": limit}), reply(json={"data": []}))
    connection = Connection(base_url=server.origin, api_key=KEY, dialect="auto", share_quota="off")
    async with connection.open(StateDirectory()) as panel:
        await panel.client.ftp.accounts.list()
    asked = [request.target.partition("/external/")[2] for request in server.requests]
    assert asked == ["health", "v1/rate-limit", f"v1/{path}"]
    # The question uses no quota.
    assert connection.traffic.calls == 2


def test_wrong_dialect_is_named(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)
    for command in (("api", "GET", "/v1/me"), ("doctor",)):
        outcome = panelica(*command, *SERVER, "--dialect", "klingon")
        assert outcome.code == 2
        assert "dialect must be one of auto, reference, panel, not 'klingon'" in outcome.stderr


async def test_a_proxy_of_the_environment_is_used_on_request(
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fingerprint", "AB:CD"), "--fingerprint must start with sha256:, not 'AB:CD'"),
        (("--fingerprint", "sha256:AB:CD"), "ssl must be sha256: and 64 hexadecimal digits, not 'sha256:AB:CD'"),
        (("--fingerprint", "sha256:AB", "--ca-file", "ca.pem"), "--ca-file and --fingerprint cannot be combined"),
    ],
)
def test_certificate_options_when_invalid_exit_2(
    panelica: Command, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    (tmp_path / "ca.pem").touch()
    outcome = panelica("api", "GET", "/v1/me", "--sandbox", *options)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
