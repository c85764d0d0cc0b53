"""Settings of a client: where they come from, and that each invalid one is named before anything is sent."""

import ssl
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from panelica_async import ConfigurationError, PanelicaClient
from panelica_async.ratelimit import RateLimit
from tests.conftest import API_KEY, API_SECRET
from tests.support.raw_server import RawServer

GOOD: dict[str, Any] = {"base_url": "panel.example.com", "api_key": API_KEY, "api_secret": API_SECRET}

MISTAKES: list[tuple[str, Any]] = [
    ("base_url", ""),
    ("base_url", "ftp://panel.example.com"),
    ("base_url", "https://user:password@panel.example.com"),
    ("base_url", "https://panel.example.com/?x=1"),
    ("base_url", "https://panel.example.com:99999"),
    ("base_url", 5),
    ("api_key", ""),
    ("api_key", "two words"),
    ("api_key", API_SECRET),
    ("api_key", b"pk_live_a"),
    ("api_secret", ""),
    ("api_secret", "line\n"),
    ("api_secret", API_KEY),
    ("tier", "gold"),
    ("tier", "Professional"),
    ("tier", None),
    ("tier", ["starter"]),
    ("session", "session"),
    ("session", aiohttp.ClientSession),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", None),
    ("timeout", "30"),
    ("timeout", True),
    ("timeout", float("nan")),
    ("timeout", float("inf")),
    ("timeout", timedelta(seconds=30)),
    ("deadline", 0),
    ("deadline", "60"),
    ("deadline", float("inf")),
    ("max_retries", -1),
    ("max_retries", 1.5),
    ("max_retries", True),
    ("max_retries", None),
    ("ssl", "/etc/ssl/cert.pem"),
    ("ssl", 0),
    ("dialect", "klingon"),
    ("dialect", None),
    ("dialect", ["panel"]),
    ("app_name", ""),
    ("app_name", "  "),
    ("app_name", "shop\r\nX-Evil: 1"),
    ("app_name", "магазин"),
    ("app_name", 5),
    ("limiter", 60),
    ("limiter", RateLimit),
]


@pytest.mark.parametrize(("name", "value"), MISTAKES)
def test_invalid_setting_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=rf"^{name}\b") as caught:
        PanelicaClient(**{**GOOD, name: value})
    assert API_SECRET not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("name", ["timeout", "deadline", "max_retries"])
def test_invalid_option_of_a_variant_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be .*, not -1"):
        PanelicaClient(**GOOD).with_options(**{name: -1})


@pytest.mark.parametrize("name", ["base_url", "api_key", "api_secret"])
def test_missing_setting_is_named_with_its_variable(name: str) -> None:
    settings = {key: value for key, value in GOOD.items() if key != name}
    with pytest.raises(ConfigurationError, match=f"^{name} is missing") as caught:
        PanelicaClient(**settings)
    assert caught.value.hint == f"Pass {name}= or set the environment variable PANELICA_{name.upper()}."


async def test_settings_when_left_out_come_from_environment(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_BASE_URL", server.origin)
    monkeypatch.setenv("PANELICA_API_KEY", "pk_live_environment")
    monkeypatch.setenv("PANELICA_API_SECRET", "sk_live_environment")
    async with PanelicaClient(tier="enterprise") as panel:
        await panel.request("GET", "/v1/me")
    async with PanelicaClient(api_key="pk_live_argument", tier="enterprise") as panel:
        await panel.request("GET", "/v1/me")
    assert [sent.headers["X-API-Key"] for sent in server.requests] == ["pk_live_environment", "pk_live_argument"]


def test_empty_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", "")
    with pytest.raises(ConfigurationError, match=r"^api_secret is missing"):
        PanelicaClient("panel.example.com", api_key=API_KEY)


@pytest.mark.parametrize(
    "options",
    [
        {"ssl": False},
        {"ssl": True},
        {"ssl": ssl.create_default_context()},
        {"ssl": aiohttp.Fingerprint(bytes(32))},
        {"timeout": 1, "deadline": 0.5, "max_retries": 0},
        {"tier": "starter", "dialect": "panel"},
        {"limiter": RateLimit(per_minute=10)},
    ],
)
def test_valid_settings_are_accepted(options: dict[str, Any]) -> None:
    assert PanelicaClient(**GOOD, **options).base_url == "https://panel.example.com:8443/api/external"


def test_reprs_show_no_secret() -> None:
    panel = PanelicaClient(**GOOD)
    assert repr(panel) == "<PanelicaClient https://panel.example.com:8443/api/external key=pk_test_0123…>"
    assert repr(panel.with_options(timeout=1)) == repr(panel)
    key = panel._transport.keys.current
    parts = [panel._transport, key, key.signer, key.quota]
    reprs = " ".join(map(repr, [*parts, panel._runner, panel.domains, panel.domains.list()]))
    assert API_SECRET not in reprs
    assert API_KEY not in reprs


@pytest.mark.parametrize("name", ["api_key", "api_secret"])
def test_credential_that_is_no_string_is_refused(name: str) -> None:
    options: dict[str, Any] = {"api_key": "pk_live_a", "api_secret": "sk_live_a", name: b"x"}
    with pytest.raises(ConfigurationError, match=f"^{name} must be a string, not bytes"):
        PanelicaClient("panel.example.com", **options)
