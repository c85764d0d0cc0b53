"""`panelica sandbox` with options that make calls fail."""

from collections.abc import Callable
from pathlib import Path

import pytest

from panelica_async import BadRequestError, MissingScopeError, PanelicaClient, ServerError
from tests.cli.harness import Command, Process, read_document
from tests.support.certificates import Certificate


async def test_scopes_clock_and_certificate(start: Callable[..., Process], certificate: Certificate) -> None:
    options = ("--scopes", "domains:read, dns:*", "--clock-skew", "-1200", "--port", "0", "--json")
    tls = ("--certificate", str(certificate.path), "--private-key", str(certificate.key_path))
    access = read_document(start("sandbox", *options, *tls))
    assert access["base_url"].startswith("https://127.0.0.1:")
    retried = []
    async with PanelicaClient(**access, tier="enterprise", ssl=certificate.path) as panel:
        panel.subscribe(lambda event: retried.append(event) if type(event).__name__ == "Retried" else None)
        assert (await panel.me()).scopes == ["domains:read", "dns:*"]
        assert len(retried) == 1, "the clock is 20 minutes behind"
        with pytest.raises(MissingScopeError):
            await panel.accounts.list()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scopes", "domains:fly"], "cannot start: scopes: 'domains:fly' is not a scope, such as dns:read or dns:*"),
        (["--dialect", "french"], "cannot start: dialect must be one of reference, panel, not 'french'"),
        (["--port", "70000"], "--port must be from 0 to 65535, not 70000"),
        (["--clock-skew", "inf"], "--clock-skew must be at most 1,000,000,000 seconds, not inf"),
        (["--clock-skew", "-1e300"], "--clock-skew must be at most 1,000,000,000 seconds, not -1e+300"),
        (["--clock-skew", "nan"], "--clock-skew must be at most 1,000,000,000 seconds, not nan"),
        # The reason is worded differently by each Python.
        (["--host", "192.0.2.1"], "the sandbox cannot listen: "),
        (["--certificate", "cert.pem"], "--certificate and --private-key must be passed together"),
        (["--fault", "flood"], "--fault must be FAULT or FAULT:N with N of at least 1, not 'flood'"),
        (["--fault", "lost_reply:0"], "with N of at least 1, not 'lost_reply:0'"),
        (["--fault", "lost_reply:²"], "with N of at least 1, not 'lost_reply:²'"),
        (["--private-key", "cert.pem"], "--certificate and --private-key must be passed together"),
        (["--certificate", "cert.pem", "--private-key", "cert.pem"], "are not a certificate and its private key"),
    ],
)
def test_options_when_invalid_exit_2(
    panelica: Command, tmp_path: Path, certificate: Certificate, arguments: list[str], message: str
) -> None:
    (tmp_path / "cert.pem").write_bytes(certificate.path.read_bytes())
    outcome = panelica("sandbox", "--port", "0", *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
    assert "None" not in outcome.stderr


async def test_dialect_of_current_panels_is_spoken(start: Callable[..., Process]) -> None:
    access = read_document(
        start("sandbox", "--dialect", "panel", "--strict", "--thin-replies", "--port", "0", "--json")
    )
    async with PanelicaClient(**access, tier="enterprise", dialect="panel", max_retries=0) as panel:
        assert {account.role async for account in panel.accounts.list()} == {"ROOT", "ADMIN", "RESELLER"}
        reply = await panel.request("POST", "/v1/plans", json={"name": "Gold", "slug": "gold"})
        assert set(reply.data) == {"id"}
        with pytest.raises(BadRequestError, match="Unknown field"):
            await panel.request("POST", "/v1/plans", json={"name": "Silver", "slug": "silver", "max_dogs": 1})


async def test_fault_hits_each_nth_write(start: Callable[..., Process]) -> None:
    access = read_document(start("sandbox", "--fault", "server_error:2", "--port", "0", "--json"))
    async with PanelicaClient(**access, tier="enterprise", max_retries=0) as panel:
        await panel.plans.create(name="Gold", max_domains=5)
        with pytest.raises(ServerError):
            await panel.plans.create(name="Silver", max_domains=5)
        assert [plan.name async for plan in panel.plans.list() if plan.name in {"Gold", "Silver"}] == ["Gold"]


def test_latency_is_not_negative(panelica: Command) -> None:
    outcome = panelica("sandbox", "--latency", "-1")
    assert outcome.code == 2
    assert "--latency" in outcome.stderr
