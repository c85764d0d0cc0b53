"""The rate limit of the key, and the limit that the client uses."""

import pytest

from panelica_async.sandbox import Sandbox
from tests.doctor.examining import HEALTH, ME, NO_SPEC, answer, examine, found
from tests.support.raw_server import RawServer, reply


async def test_quota_when_not_readable_comes_from_the_tier(server: RawServer) -> None:
    # Reading the limit needs the scope `*:*` (evidence: rate-limit-endpoint), which most keys do not have.
    lacking = answer(403, "apiErrors.external.insufficientScope", "Insufficient scope", required_scope="*:*")
    server.script(HEALTH, reply(json=ME), NO_SPEC, lacking)
    quota = found(await examine(server.origin), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("ok", "professional", 300)
    server.script(HEALTH, reply(json=ME), NO_SPEC, lacking)
    quota = found(await examine(server.origin, tier="starter"), "rate_limit")
    assert quota.state == "warning"
    assert "the client sends at most 60 a minute" in quota.message
    assert "--tier professional" in str(quota.hint)
    server.script(HEALTH, reply(json=ME), NO_SPEC, lacking)
    quota = found(await examine(server.origin, tier="professional"), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("ok", "professional", 300)


@pytest.mark.parametrize("tier", [None, "$(gold)"])
async def test_quota_when_tier_is_uncertain_warns(server: RawServer, tier: str | None) -> None:
    server.script(HEALTH, reply(json=ME | {"rate_limit_tier": tier}), NO_SPEC, reply(404, json={"error": "not found"}))
    quota = found(await examine(server.origin), "rate_limit")
    assert quota.state == "warning"
    assert str(quota.hint).endswith("--tier on the command line.")


async def test_quota_when_tier_is_faster_than_the_key_warns(server: RawServer) -> None:
    limit = {"tier": "starter", "requests_per_minute": 60}
    for tier in ("business", "enterprise"):
        server.script(HEALTH, reply(json=ME), NO_SPEC, reply(json=limit))
        quota = found(await examine(server.origin, tier=tier), "rate_limit")
        assert quota.state == "warning"
        assert quota.message.endswith("but the panel allows only 60 a minute")


async def test_quota_when_unlimited_is_not_limited(box: Sandbox) -> None:
    assert "the client does not limit itself" in found(await examine(box), "rate_limit").message
