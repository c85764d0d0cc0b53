"""The key, the clock, the scopes and the rate limit, checked with signed calls."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from panelica_async.core.operation import Dialect
from panelica_async.core.signing import verify
from panelica_async.doctor import Diagnosis
from panelica_async.doctor.key import LAUNCH_OPERATIONS, check_scopes, launch_scopes
from panelica_async.provision import Manifest, Plan, apply
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox import panel as sandbox_panel
from panelica_async.sandbox.auth import authenticate
from tests.conftest import API_SECRET
from tests.doctor.examining import (
    HEALTH,
    ME,
    NO_HEALTH,
    OneHost,
    answer,
    asked,
    examine,
    found,
    port_of,
    session_on,
    states,
)
from tests.provision.launching import SITES, client, collect
from tests.support.raw_server import RawServer, Step, reply

REJECTED = (401, "INVALID_TIMESTAMP", "Invalid timestamp")


# The key


async def test_key_when_secret_is_wrong_fails(box: Sandbox) -> None:
    diagnosis = await examine(box, api_secret="sk_live_wrong")
    assert states(diagnosis) == {"key": "failure", "rate_limit": "skipped", "scopes": "skipped"}
    key = found(diagnosis, "key")
    assert diagnosis.first is key
    assert "the secret does not belong to the key" in key.message
    assert key.hint == "Check that the API secret belongs to this API key and was not regenerated since."
    # The second call signs the prefix too.
    assert [status for operation, status in asked(box) if operation == "me"] == [401, 401]


async def test_key_when_panel_sees_the_prefix_explains_the_proxy(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_panel, "authenticate", lambda request, _, store: authenticate(request, "", store))
    diagnosis = await examine(box)
    key = found(diagnosis, "key")
    assert key.state == "failure"
    assert "a web server passes /api/external on to the panel" in key.message
    assert "location /api/external/ { proxy_pass http://127.0.0.1:3002/; }" in str(key.hint)
    assert asked(box)[2:4] == [("me", 401), ("me", 200)]


async def test_key_without_scopes_behind_a_proxy_explains_the_proxy(server: RawServer) -> None:
    """A 403 to the call that signs the prefix means that its signature was right."""
    server.script(HEALTH, answer(401, "INVALID_SIGNATURE"), answer(403, "INSUFFICIENT_SCOPE"), NO_HEALTH)
    key = found(await examine(server.origin), "key")
    assert "a web server passes /api/external on to the panel" in key.message


async def test_key_without_prefix_is_tried_once(server: RawServer) -> None:
    server.script(HEALTH, answer(401, "INVALID_SIGNATURE"), NO_HEALTH)
    async with session_on(OneHost({3002: port_of(server.origin)})) as session:
        diagnosis = await examine("http://panel.localhost:3002", session=session)
    assert "the secret does not belong to" in found(diagnosis, "key").message
    assert [request.target for request in server.requests] == ["/health", "/v1/me", "/health"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("unknown", "rejects the key pk_live_nobo…: Invalid API key"),
        ("malformed", "rejects the format of the key whatever…"),
        ("expired", "API key expired"),
        ("revoked", "API key revoked"),
        ("elsewhere", "from this machine: Address not allowed (127.0.0.1 is not on the whitelist of the key)"),
    ],
)
async def test_key_when_rejected_says_why(box: Sandbox, key: str, message: str) -> None:
    credentials = {
        "unknown": lambda: {"api_key": "pk_live_nobody"},
        "malformed": lambda: {"api_key": "whatever"},
        "expired": lambda: with_new_key(box, expires_at=datetime.now(UTC) - timedelta(days=1)),
        "revoked": lambda: with_revoked_key(box),
        "elsewhere": lambda: with_new_key(box, ip_whitelist=["192.0.2.1"]),
    }[key]()
    diagnosis = await examine(box, **credentials)
    assert states(diagnosis) == {"key": "failure", "rate_limit": "skipped", "scopes": "skipped"}
    assert message in found(diagnosis, "key").message
    assert [operation for operation, _ in asked(box)].count("me") == 1


def with_new_key(box: Sandbox, **options: Any) -> dict[str, str]:
    added = box.add_key(**options)
    return {"api_key": added.api_key, "api_secret": added.api_secret}


def with_revoked_key(box: Sandbox) -> dict[str, str]:
    credentials = with_new_key(box)
    box.database.execute("UPDATE api_keys SET revoked = 1 WHERE api_key = ?", (credentials["api_key"],))
    return credentials


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (answer(401, "MISSING_SIGNATURE", "no signature"), "a header was lost on the way to the panel: no signature"),
        (answer(429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded", retry_after=60), "GET /v1/me failed: Rate limit"),
        (reply(502, body="<title>502 Bad Gateway</title>"), "GET /v1/me failed: 502 Bad Gateway"),
        (reply(body="<html>"), "GET /v1/me failed: the reply is not valid JSON"),
        (Step(ends="close"), "GET /v1/me failed: no complete reply came back"),
    ],
)
async def test_key_when_call_fails_says_why(server: RawServer, step: Step, message: str) -> None:
    server.script(HEALTH, step, NO_HEALTH)
    key = found(await examine(server.origin), "key")
    assert key.state == "failure"
    assert message in key.message
    assert sum(request.target.endswith("/v1/me") for request in server.requests) == 1


async def test_key_when_rejected_without_code_signs_prefix_too(server: RawServer) -> None:
    server.script(HEALTH, reply(401, json={"error": "unauthorized"}), reply(401, json={"error": "unauthorized"}))
    key = found(await examine(server.origin), "key")
    assert "rejects the key pk_test_0123… or its signature: unauthorized" in key.message
    signatures = {
        prefix: [
            verify(
                API_SECRET,
                request.signature,
                "GET",
                request.target,
                "",
                b"",
                prefix=prefix,
                timestamp=request.timestamp,
            )
            for request in server.requests[1:3]
        ]
        for prefix in ("/api/external", "")
    }
    assert signatures == {"/api/external": [True, False], "": [False, True]}


async def test_key_without_scope_for_itself_warns(server: RawServer) -> None:
    lacking = answer(
        403,
        "apiErrors.external.insufficientScope",
        "Insufficient scope",
        required_scope="accounts:read",
        available_scopes=["domains:read"],
    )
    server.script(HEALTH, lacking, NO_HEALTH, lacking)
    diagnosis = await examine(server.origin)
    assert states(diagnosis) == {"key": "warning", "rate_limit": "warning", "scopes": "warning"}
    assert found(diagnosis, "key").message.endswith("may not read its own details: it lacks accounts:read")
    assert found(diagnosis, "scopes").facts["granted"] == ["domains:read"]


async def test_key_when_not_active_warns(server: RawServer) -> None:
    server.script(HEALTH, reply(json=ME | {"status": "paused", "expires_at": "2031-05-06T07:08:09Z"}))
    key = found(await examine(server.origin), "key")
    assert key.state == "warning"
    assert ", valid until 2031-05-06), but its status is 'paused'" in key.message


async def test_key_when_expired_but_accepted_warns(server: RawServer) -> None:
    server.script(HEALTH, reply(json=ME | {"expires_at": "2021-05-06T07:08:09Z"}))
    key = found(await examine(server.origin), "key")
    assert key.state == "warning"
    assert key.message.endswith("although it expired on 2021-05-06")
    assert "valid until" not in key.message


# The clock


@pytest.mark.parametrize(("skew", "words"), [(1200, " min ahead of "), (-1200, " min behind "), (60, " s ahead of ")])
async def test_clock_when_minutes_off_warns(skew: int, words: str) -> None:
    async with Sandbox(clock=lambda: int(time.time()) + skew) as box:
        diagnosis = await examine(box)
        assert states(diagnosis) == {"clock": "warning"}
        assert diagnosis.first is found(diagnosis, "clock")
        assert [call for call in asked(box) if call[0] == "me"] in ([("me", 401), ("me", 200)], [("me", 200)])
    clock = found(diagnosis, "clock")
    assert words in clock.message
    assert abs(clock.facts["skew_seconds"] - skew) < 30


async def test_clock_when_seconds_off_is_ok() -> None:
    async with Sandbox(clock=lambda: time.time() + 10) as box:
        clock = found(await examine(box), "clock")
    assert clock.state == "ok"
    assert " ahead of this machine's" in clock.message


async def test_clock_when_days_off_fails() -> None:
    async with Sandbox(clock=lambda: time.time() - 260_000) as box:
        diagnosis = await examine(box)
        assert [status for operation, status in asked(box) if operation == "me"] == [401]
    assert states(diagnosis) == {
        "clock": "failure",
        "key": "skipped",
        "rate_limit": "skipped",
        "scopes": "skipped",
    }
    clock = found(diagnosis, "clock")
    assert "the panel rejects the timestamp: the panel's clock is 3.0 days behind this machine's;" in clock.message
    assert str(clock.hint).startswith("Set the clock of this machine with NTP")


def dated(step: Callable[..., Step], *arguments: Any, off: float, **options: Any) -> Step:
    return step(*arguments, headers={"Date": formatdate(time.time() + off, usegmt=True)}, **options)


async def test_clock_when_only_a_proxy_is_off_warns(server: RawServer) -> None:
    server.script(dated(reply, off=400_000, json={"status": "ok"}), reply(json=ME), NO_HEALTH)
    diagnosis = await examine(server.origin)
    clock = found(diagnosis, "clock")
    assert (clock.state, found(diagnosis, "key").state) == ("warning", "ok")
    assert "but the panel accepts this machine's time" in clock.message


async def test_clock_when_days_off_fails_beside_rejected_key(server: RawServer) -> None:
    server.script(dated(reply, off=400_000, json={"status": "ok"}), answer(401, "UNAUTHORIZED"), NO_HEALTH)
    diagnosis = await examine(server.origin)
    assert "the client corrects a difference of at most one day" in found(diagnosis, "clock").message
    assert (found(diagnosis, "clock").state, found(diagnosis, "key").state) == ("failure", "failure")


async def test_clock_without_date_depends_on_the_timestamp(server: RawServer) -> None:
    server.script(HEALTH, reply(json=ME))
    assert found(await examine(server.origin), "clock").message == "the replies of the panel do not show its time"
    server.script(HEALTH, answer(*REJECTED), NO_HEALTH)
    diagnosis = await examine(server.origin)
    assert found(diagnosis, "clock").state == "failure"
    assert found(diagnosis, "key").message == "the panel rejected the timestamp"


# The scopes


async def scopes_of(box: Sandbox, scopes: list[str], **options: Any) -> Diagnosis:
    return await examine(box, **with_new_key(box, scopes=scopes), **options)


async def test_scopes_when_provisioning_lacks_some_warns(box: Sandbox) -> None:
    diagnosis = await scopes_of(box, ["*:read", "domains:*", "accounts:write", "dns:write", "email:*"])
    scopes = found(diagnosis, "scopes")
    assert states(diagnosis) == {"scopes": "warning"}
    assert scopes.facts["missing_for_launch"] == ["ssl:write", "databases:write", "ftp:write"]
    assert str(scopes.hint).startswith("Add ssl:write, databases:write, ftp:write to the key in the panel")


async def test_scopes_when_a_required_one_is_missing_fails(box: Sandbox) -> None:
    enough = [scopes[0] for scopes in launch_scopes("reference")]
    assert states(await scopes_of(box, enough)) == {}
    assert states(await scopes_of(box, enough, require=["domains:write"])) == {}
    diagnosis = await scopes_of(box, enough, require=["domains:write", "backups:read", "backups:read"])
    assert states(diagnosis) == {"scopes": "failure"}
    assert found(diagnosis, "scopes").hint == "Add backups:read to the key in the panel, or use another key."
    assert states(await scopes_of(box, ["*:*"], require=["backups:read"])) == {}


@pytest.mark.parametrize("dialect", ["reference", "panel"])
@pytest.mark.parametrize("index", [0, -1])
def test_scopes_when_one_of_each_set_is_there_are_enough(dialect: Dialect, index: int) -> None:
    enough = [scopes[index] for scopes in launch_scopes(dialect)]
    assert check_scopes(enough, (), dialect).state == "ok"
    for scope in enough:
        lacking = check_scopes([other for other in enough if other != scope], (), dialect)
        assert lacking.state == "warning"


async def test_scopes_when_uncertain_fail_only_if_required(server: RawServer) -> None:
    lacking = answer(403, "apiErrors.external.insufficientScope", "Insufficient scope")
    for options, state in (({}, "skipped"), ({"require": ["dns:read"]}, "failure")):
        server.script(HEALTH, lacking, NO_HEALTH, lacking)
        assert found(await examine(server.origin, **options), "scopes").state == state


async def test_launch_operations_are_those_that_provisioning_calls(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data(SITES)
    async with client(box) as panel:
        plan = await Plan.build(panel, manifest)
        await collect(apply(panel, plan, credentials=tmp_path / "passwords.csv"))
        await Plan.build(panel, manifest)
    assert {operation for operation, _ in asked(box)} == set(LAUNCH_OPERATIONS)


# The rate limit


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


async def test_quota_when_the_panel_fails_is_not_taken_from_the_key(server: RawServer) -> None:
    """The client would ask again in a minute, and meanwhile uses the slowest tier."""
    server.script(HEALTH, reply(json=ME), NO_HEALTH, answer(500, "INTERNAL_ERROR"))
    quota = found(await examine(server.origin), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("warning", "professional", 60)
    assert "--tier professional" in str(quota.hint)


async def test_quota_names_the_calls_of_the_minute_and_the_hour(server: RawServer) -> None:
    usage = {"current_minute_usage": 7, "current_hour_usage": 90}
    server.script(
        HEALTH, reply(json=ME), NO_HEALTH, reply(json={"tier": "business", "requests_per_minute": 1000} | usage)
    )
    quota = found(await examine(server.origin), "rate_limit")
    assert quota.message.startswith("business: 7 calls used this minute, 90 this hour; ")
    assert quota.facts.items() >= usage.items()


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
