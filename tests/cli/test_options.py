"""Options that commands share: missing and invalid ones are named, and suggested commands repeat them."""

from pathlib import Path
from typing import Any

import pytest

from panelica_async.cli.options import ConnectionOptions, Traffic
from panelica_async.telemetry import Sent
from tests.cli.harness import Command

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


def test_traffic_counts_calls_that_use_quota() -> None:
    traffic = Traffic()
    call: dict[str, Any] = {"call": 1, "path": "/v1/x", "lane": "bulk", "at": 0.0, "attempt": 1, "waited": 0.0}
    for method, operation in (
        ("GET", "health"),
        ("GET", "domains.list"),
        ("HEAD", "request"),
        ("POST", "domains.create"),
        ("DELETE", "domains.delete"),
        ("PATCH", "domains.update"),
    ):
        traffic(Sent(**call, operation=operation, method=method, query="", headers={}, body=None))
    assert (traffic.reads, traffic.writes, traffic.calls) == (2, 3, 5)
    assert str(traffic) == "3 writes and 2 reads"


def test_error_is_printed_as_json(panelica: Command) -> None:
    error = panelica("api", "GET", "/v1/me", "--json").json["error"]
    assert error["type"] == "ConfigurationError"
    assert "--base-url" in error["hint"]


@pytest.mark.parametrize("option", ["--tier", "--sandbox-tier"])
def test_unknown_tier_names_the_known_ones(panelica: Command, option: str) -> None:
    outcome = panelica("api", "GET", "/v1/me", "--sandbox", option, "gold")
    assert outcome.code == 2
    assert "'gold'" in outcome.stderr
    assert "professional" in outcome.stderr


def test_flags_name_the_panel_again_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PANELICA_DIALECT")
    assert ConnectionOptions(sandbox=True).flags() == ["--sandbox"]
    assert ConnectionOptions(sandbox=True, sandbox_db=Path("my.db")).flags() == ["--sandbox", "--sandbox-db", "my.db"]
    assert ConnectionOptions(base_url="panel.example.com", api_key=KEY).flags() == ["--base-url", "panel.example.com"]
    pinned = ConnectionOptions(base_url="panel.example.com", api_key=KEY, fingerprint="sha256:AB")
    assert pinned.flags() == ["--base-url", "panel.example.com", "--fingerprint", "sha256:AB"]
    monkeypatch.setenv("PANELICA_BASE_URL", "panel.example.com")
    assert ConnectionOptions(base_url="panel.example.com", api_key=KEY).flags() == []
    trusted = ConnectionOptions(base_url="panel.example.com", api_key=KEY, ca_file=Path("ca.pem"))
    assert trusted.flags() == ["--ca-file", "ca.pem"]
    proxied = ConnectionOptions(base_url="panel.example.com", api_key=KEY, trust_env=True)
    assert proxied.flags() == ["--trust-env"]
    monkeypatch.setenv("PANELICA_DIALECT", "panel")
    assert ConnectionOptions(sandbox=True, dialect="panel").flags() == ["--sandbox"]
    assert ConnectionOptions(sandbox=True, dialect="auto").flags() == ["--sandbox", "--dialect", "reference"]
    asked = ConnectionOptions(base_url="panel.example.com", api_key=KEY, dialect="auto")
    assert asked.flags() == ["--dialect", "auto"]


def test_wrong_dialect_is_named(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", SECRET)
    for command in (("api", "GET", "/v1/me"), ("doctor",)):
        outcome = panelica(*command, *SERVER, "--dialect", "klingon")
        assert outcome.code == 2
        assert "dialect must be one of auto, reference, panel, not 'klingon'" in outcome.stderr


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
