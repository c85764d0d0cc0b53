"""The rate limit of the key, the limit that the client uses, and the dialect that it speaks."""

import pytest

from panelica_async.core.unset import UNSET
from panelica_async.sandbox import Sandbox
from tests.doctor.examining import HEALTH, ME, NO_HEALTH, answer, examine, found
from tests.support.raw_server import RawServer, Step, reply


async def test_quota_when_not_readable_comes_from_the_tier(server: RawServer) -> None:
    # Reading the limit needs the scope `*:*` (evidence: rate-limit-endpoint), which most keys do not have.
    lacking = answer(403, "apiErrors.external.insufficientScope", "Insufficient scope", required_scope="*:*")
    server.script(HEALTH, reply(json=ME), NO_HEALTH, lacking)
    quota = found(await examine(server.origin), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("ok", "professional", 300)
    server.script(HEALTH, reply(json=ME), NO_HEALTH, lacking)
    quota = found(await examine(server.origin, tier="starter"), "rate_limit")
    assert quota.state == "warning"
    assert "the client sends at most 60 a minute" in quota.message
    assert "--tier professional" in str(quota.hint)
    server.script(HEALTH, reply(json=ME), NO_HEALTH, lacking)
    quota = found(await examine(server.origin, tier="professional"), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("ok", "professional", 300)


@pytest.mark.parametrize("tier", [None, "$(gold)"])
async def test_quota_when_tier_is_uncertain_warns(server: RawServer, tier: str | None) -> None:
    server.script(
        HEALTH, reply(json=ME | {"rate_limit_tier": tier}), NO_HEALTH, reply(404, json={"error": "not found"})
    )
    quota = found(await examine(server.origin), "rate_limit")
    assert quota.state == "warning"
    assert str(quota.hint).endswith("--tier on the command line.")


@pytest.mark.parametrize("allowed", [0, -1, "-1"])
async def test_quota_of_an_unlimited_key_is_ok(server: RawServer, allowed: object) -> None:
    limit = {"tier": "Enterprise", "requests_per_minute": allowed, "requests_per_hour": allowed}
    server.script(HEALTH, reply(json=ME), NO_HEALTH, reply(json=limit))
    quota = found(await examine(server.origin), "rate_limit")
    assert (quota.state, quota.facts["per_minute"]) == ("ok", None)
    assert quota.message.endswith("the client does not limit itself")


async def test_quota_when_tier_is_faster_than_the_key_warns(server: RawServer) -> None:
    limit = {"tier": "starter", "requests_per_minute": 60}
    for tier in ("business", "enterprise"):
        server.script(HEALTH, reply(json=ME), NO_HEALTH, reply(json=limit))
        quota = found(await examine(server.origin, tier=tier), "rate_limit")
        assert quota.state == "warning"
        assert quota.message.endswith("but the panel allows only 60 a minute")


async def test_quota_when_unlimited_is_not_limited(box: Sandbox) -> None:
    assert "the client does not limit itself" in found(await examine(box), "rate_limit").message


UNAVAILABLE = reply(502, body="<html>502 Bad Gateway</html>", content_type="text/html")


@pytest.mark.parametrize(
    ("answers", "chosen", "state", "dialect", "said"),
    [
        (HEALTH, "auto", "ok", "panel", "panel: the panel answers GET /health"),
        (NO_HEALTH, "auto", "ok", "reference", "reference: the panel has no GET /health"),
        (UNAVAILABLE, "auto", "warning", None, "the client cannot find out which API the panel speaks"),
        (HEALTH, "panel", "ok", "panel", "panel: the panel answers GET /health"),
        (NO_HEALTH, "panel", "warning", "panel", "panel, as chosen, but the panel speaks another"),
        (HEALTH, "reference", "warning", "reference", "reference, as chosen, but the panel speaks another"),
        (UNAVAILABLE, "reference", "ok", "reference", "reference, as chosen; GET /health does not show"),
    ],
)
async def test_dialect_is_what_the_client_will_speak(
    server: RawServer, answers: Step, chosen: str, state: str, dialect: str | None, said: str
) -> None:
    server.script(HEALTH, reply(json=ME), answers)
    finding = found(await examine(server.origin, dialect=chosen), "dialect")
    assert (finding.state, finding.facts["dialect"]) == (state, dialect)
    assert finding.message.startswith(said)
    assert len([request for request in server.requests if request.target == "/api/external/health"]) == 2


async def test_dialect_is_that_of_the_variable(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PANELICA_DIALECT", "panel")
    server.script(HEALTH, reply(json=ME), HEALTH)
    assert found(await examine(server.origin, dialect=UNSET), "dialect").facts["chosen"] is True
