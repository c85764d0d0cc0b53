import ssl
from pathlib import Path

import pytest

from panelica_async.cli.connection import Connection
from panelica_async.cli.state import StateDirectory
from panelica_async.sandbox import Sandbox
from tests.cli.commands import Command

KEY, SECRET = "pk_live_0123456789abcdef", "sk_live_0123456789abcdef"
SERVER = ("--base-url", "127.0.0.1:1", "--api-key", KEY)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "base_url is missing"),
        (("--base-url", "panel.example.com"), "api_key is missing"),
        (SERVER, "the API secret is missing"),
        (("--base-url", "ftp://panel.example.com", "--api-key", KEY), "base_url is neither http nor https"),
    ],
)
def test_setting_that_is_missing_or_wrong_is_2(panelica: Command, arguments: tuple[str, ...], message: str) -> None:
    outcome = panelica("api", "GET", "/v1/me", *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr


def test_error_as_json(panelica: Command) -> None:
    error = panelica("api", "GET", "/v1/me", "--json").json["error"]
    assert error["type"] == "ConfigurationError"
    assert "--base-url" in error["hint"]


def test_panel_that_cannot_be_reached_is_1(
    panelica: Command, monkeypatch: pytest.MonkeyPatch, no_backoff: None
) -> None:
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
    assert "ca.pem holds no certificate in PEM form" in outcome.stderr


def test_file_that_is_no_sandbox(panelica: Command, tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text("no database at all, and long enough to be looked at" * 20)
    outcome = panelica("api", "GET", "/v1/me", "--sandbox", "--sandbox-db", "notes.db")
    assert outcome.code == 2
    assert outcome.stderr == "Error: notes.db cannot be used as a sandbox: file is not a database\n"


async def test_secret_from_the_variable_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Sandbox() as box:
        (tmp_path / "secret").write_text(f"{box.api_secret}\n")
        from_file = Connection(base_url=box.base_url, api_key=box.api_key, api_secret_file=tmp_path / "secret")
        async with from_file.open(StateDirectory()) as panel:
            assert (await panel.client.me()).rate_limit_tier == "professional"
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        async with Connection(base_url=box.base_url, api_key=box.api_key).open(StateDirectory()) as panel:
            assert (await panel.client.me()).rate_limit_tier == "professional"


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
    assert Connection(sandbox=True).flags() == ["--sandbox"]
    assert Connection(sandbox=True, sandbox_db=Path("my.db")).flags() == ["--sandbox", "--sandbox-db", "my.db"]
    assert Connection(base_url="panel.example.com", api_key=KEY).flags() == ["--base-url", "panel.example.com"]
    monkeypatch.setenv("PANELICA_BASE_URL", "panel.example.com")
    assert Connection(base_url="panel.example.com", api_key=KEY).flags() == []


def test_ca_file_is_what_is_trusted(tmp_path: Path) -> None:
    certificate = ssl.create_default_context().get_ca_certs(binary_form=True)
    if not certificate:
        pytest.skip("this machine has no authorities to borrow one of")
    (tmp_path / "ca.pem").write_text(ssl.DER_cert_to_PEM_cert(certificate[0]))
    context = Connection(ca_file=tmp_path / "ca.pem")._trust()
    assert context is not None
    assert context.get_ca_certs(binary_form=True) == certificate[:1]
    assert context.verify_mode is ssl.CERT_REQUIRED
