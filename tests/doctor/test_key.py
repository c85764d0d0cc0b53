"""A panel that answers: its clock, the key, what the key may send and do."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from panelica_async.core.signing import verify
from panelica_async.doctor import Diagnosis, diagnose
from panelica_async.doctor.key import LAUNCH_OPERATIONS, launch_scopes
from panelica_async.errors import ConfigurationError
from panelica_async.provision import Manifest, Plan, apply
from panelica_async.ratelimit import RateLimit, shared_limiter
from panelica_async.sandbox import Sandbox
from panelica_async.sandbox import panel as sandbox_panel
from panelica_async.sandbox.auth import authenticate
from tests.conftest import API_SECRET
from tests.doctor.examining import OneHost, examine, found, port_of, session_on, states
from tests.provision.launching import SITES, client, collect
from tests.support.raw_server import RawServer, Step, reply

HEALTH = reply(json={"status": "ok", "service": "panelica-external-api", "version": "1.0.0"})
ME = {"name": "Shop", "key_prefix": "pk_live_a1", "scopes": ["*:*"], "rate_limit_tier": "professional"}
REFUSED = (401, "INVALID_TIMESTAMP", "Invalid timestamp")
NO_SPEC = reply(404, json={"error": "not found"})


def answer(status: int, code: str | None = None, message: str = "no", **more: Any) -> Step:
    return reply(status, json={"status": "error", "error": {"code": code, "message": message, **more}})


def asked(box: Sandbox) -> list[tuple[str | None, int]]:
    return [(seen.operation, seen.status) for seen in box.requests]


async def test_all_is_well(box: Sandbox) -> None:
    diagnosis = await examine(box)
    assert states(diagnosis) == {}
    assert (diagnosis.failed, diagnosis.first, diagnosis.base_url) == (False, None, box.base_url)
    assert asked(box) == [(None, 404), ("health", 200), ("me", 200), (None, 404), ("rate_limit", 200)]
    assert {seen.method for seen in box.requests} == {"GET"}
    data = diagnosis.to_dict()
    assert (data["failed"], data["first"], len(data["findings"])) == (False, None, 8)
    assert found(diagnosis, "address").message.endswith(", healthy, version 1.0.27")
    assert "'Sandbox' of root, is accepted" in found(diagnosis, "key").message


async def test_current_panel_needs_four_requests(server: RawServer) -> None:
    spec = {"title": "External API", "version": "2.1", "endpoints": [{}] * 406}
    limit = {"tier": "business", "requests_per_minute": 1000, "current_minute_usage": 7}
    server.script(HEALTH, *(reply(json={"status": "success", "data": data}) for data in (ME, spec, limit)))
    diagnosis = await examine(server.origin)
    assert states(diagnosis) == {}
    paths = [request.target.removeprefix("/api/external") for request in server.requests]
    assert paths == ["/health", "/v1/me", "/v1/api-spec", "/v1/rate-limit"]
    assert ["X-Signature" in request.headers for request in server.requests] == [False, True, False, True]
    assert found(diagnosis, "dialect").facts == {"dialect": "panel", "title": "External API", "version": "2.1"}
    assert "7 calls in this minute" in found(diagnosis, "rate_limit").message
    assert "at most 1,000 a minute" in found(diagnosis, "rate_limit").message


async def test_api_that_wants_a_key_even_for_its_health(server: RawServer) -> None:
    server.script(NO_SPEC, answer(401, "MISSING_API_KEY"), reply(json=ME))
    assert found(await examine(server.origin), "address").state == "ok"


# The key


async def test_wrong_secret(box: Sandbox) -> None:
    diagnosis = await examine(box, api_secret="sk_live_wrong")
    assert states(diagnosis) == {"key": "failure", "rate_limit": "skipped", "scopes": "skipped"}
    key = found(diagnosis, "key")
    assert diagnosis.first is key
    assert "the secret is not that of the key" in key.message
    assert key.hint == "Check that the API secret belongs to this API key and was not regenerated since."
    # The second one signs the prefix too.
    assert [status for operation, status in asked(box) if operation == "me"] == [401, 401]


async def test_panel_that_wants_its_prefix_to_be_signed(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_panel, "authenticate", lambda request, _, store: authenticate(request, "", store))
    diagnosis = await examine(box)
    key = found(diagnosis, "key")
    assert key.state == "failure"
    assert "the panel wants /api/external to be signed" in key.message
    assert "location /api/external/ { proxy_pass http://127.0.0.1:3002/; }" in str(key.hint)
    assert asked(box)[2:4] == [("me", 401), ("me", 200)]


async def test_where_there_is_no_prefix_none_can_be_signed(server: RawServer) -> None:
    server.script(HEALTH, answer(401, "INVALID_SIGNATURE"), NO_SPEC)
    async with session_on(OneHost({3002: port_of(server.origin)})) as session:
        diagnosis = await examine("http://panel.localhost:3002", session=session)
    assert "the secret is not that of" in found(diagnosis, "key").message
    assert [request.target for request in server.requests] == ["/health", "/v1/me", "/v1/api-spec"]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("unknown", "does not accept the key pk_live_nobo…: Invalid API key"),
        ("malformed", "says that the key whatever… is not a key"),
        ("expired", "API key expired"),
        ("revoked", "API key revoked"),
        ("elsewhere", "from this machine: Address not allowed (127.0.0.1 is not on the whitelist of the key)"),
    ],
)
async def test_key_that_cannot_be_used(box: Sandbox, key: str, message: str) -> None:
    credentials = {
        "unknown": lambda: {"api_key": "pk_live_nobody"},
        "malformed": lambda: {"api_key": "whatever"},
        "expired": lambda: _added(box, expires_at=datetime.now(UTC) - timedelta(days=1)),
        "revoked": lambda: _revoked(box),
        "elsewhere": lambda: _added(box, ip_whitelist=["192.0.2.1"]),
    }[key]()
    diagnosis = await examine(box, **credentials)
    assert states(diagnosis) == {"key": "failure", "rate_limit": "skipped", "scopes": "skipped"}
    assert message in found(diagnosis, "key").message
    assert [operation for operation, _ in asked(box)].count("me") == 1


def _added(box: Sandbox, **options: Any) -> dict[str, str]:
    added = box.add_key(**options)
    return {"api_key": added.api_key, "api_secret": added.api_secret}


def _revoked(box: Sandbox) -> dict[str, str]:
    credentials = _added(box)
    box.database.execute("UPDATE api_keys SET revoked = 1 WHERE api_key = ?", (credentials["api_key"],))
    return credentials


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (answer(401, "MISSING_SIGNATURE", "no signature"), "a header gets lost on the way: no signature"),
        (answer(429, "RATE_LIMIT_EXCEEDED", "Rate limit exceeded", retry_after=60), "GET /v1/me fails: Rate limit"),
        (reply(502, body="<title>502 Bad Gateway</title>"), "GET /v1/me fails: 502 Bad Gateway"),
        (reply(body="<html>"), "GET /v1/me fails: the reply is not JSON"),
        (Step(ends="close"), "GET /v1/me fails: no complete reply came back"),
    ],
)
async def test_other_reasons_why_a_key_is_not_accepted(server: RawServer, step: Step, message: str) -> None:
    server.script(HEALTH, step, NO_SPEC)
    key = found(await examine(server.origin), "key")
    assert key.state == "failure"
    assert message in key.message
    assert sum(request.target.endswith("/v1/me") for request in server.requests) == 1


async def test_refusal_without_a_code_may_be_about_the_path(server: RawServer) -> None:
    server.script(HEALTH, reply(401, json={"error": "unauthorized"}), reply(401, json={"error": "unauthorized"}))
    key = found(await examine(server.origin), "key")
    assert "does not accept the key pk_test_0123… or its signature: unauthorized" in key.message
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


async def test_key_that_may_not_be_asked_about(server: RawServer) -> None:
    lacking = answer(
        403,
        "apiErrors.external.insufficientScope",
        "Insufficient scope",
        required_scope="accounts:read",
        available_scopes=["domains:read"],
    )
    server.script(HEALTH, lacking, NO_SPEC, lacking)
    diagnosis = await examine(server.origin)
    assert states(diagnosis) == {"key": "warning", "rate_limit": "warning", "scopes": "warning"}
    assert found(diagnosis, "key").message.endswith("may not be asked about: it lacks accounts:read")
    assert found(diagnosis, "scopes").facts["granted"] == ["domains:read"]


async def test_state_of_the_key(server: RawServer) -> None:
    server.script(HEALTH, reply(json=ME | {"status": "paused", "expires_at": "2031-05-06T07:08:09Z"}))
    key = found(await examine(server.origin), "key")
    assert key.state == "warning"
    assert "until 2031-05-06, and its state is 'paused'" in key.message


async def test_words_of_a_panel_do_nothing_to_a_terminal(server: RawServer) -> None:
    escape = "\x1b]0;title\x07\nsk_live_0123456789 "
    scopes = [f"dns:{escape}"]
    server.script(HEALTH, reply(json=ME | {"name": f"Shop {escape}", "scopes": scopes}), NO_SPEC)
    server.script(answer(403, message=f"no {escape}"), HEALTH, answer(401, "UNAUTHORIZED", f"no {escape}"), NO_SPEC)
    for diagnosis in (await examine(server.origin), await examine(server.origin)):
        for text in [diagnosis.findings[index].message for index in range(8)] + [str(diagnosis.to_dict())]:
            assert text.isprintable()
            assert "sk_live_0123456789" not in text


async def test_quota_that_others_use_up_is_not_waited_for(box: Sandbox) -> None:
    limiter = shared_limiter(box.base_url.removesuffix("/api/external"), box.api_key, RateLimit(per_minute=1))
    await limiter.acquire()
    diagnosis = await examine(box)
    assert found(diagnosis, "key").state == "failure"
    assert "GET /v1/me fails" in found(diagnosis, "key").message
    assert "me" not in [operation for operation, _ in asked(box)]


# The clock


@pytest.mark.parametrize(("skew", "words"), [(1200, " min ahead of "), (-1200, " min behind "), (60, " s ahead of ")])
async def test_clock_that_the_client_follows(skew: int, words: str) -> None:
    async with Sandbox(clock=lambda: int(time.time()) + skew) as box:
        diagnosis = await examine(box)
        assert states(diagnosis) == {"clock": "warning"}
        assert diagnosis.first is found(diagnosis, "clock")
        assert [call for call in asked(box) if call[0] == "me"] in ([("me", 401), ("me", 200)], [("me", 200)])
    clock = found(diagnosis, "clock")
    assert words in clock.message
    assert abs(clock.facts["skew_seconds"] - skew) < 30


async def test_clock_that_is_off_a_little() -> None:
    async with Sandbox(clock=lambda: time.time() + 10) as box:
        clock = found(await examine(box), "clock")
    assert clock.state == "ok"
    assert " ahead of that of this machine" in clock.message


async def test_clock_that_is_not_believed() -> None:
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
    assert (
        "the panel refuses the timestamp, and by its replies the clock of the panel is 3.0 days behind" in clock.message
    )
    assert str(clock.hint).startswith("Set the clock of this machine by NTP")


def dated(step: Callable[..., Step], *arguments: Any, off: float, **options: Any) -> Step:
    return step(*arguments, headers={"Date": formatdate(time.time() + off, usegmt=True)}, **options)


async def test_wrong_date_of_a_proxy_is_no_fault_of_the_panel(server: RawServer) -> None:
    server.script(dated(reply, off=400_000, json={"status": "ok"}), reply(json=ME), NO_SPEC)
    diagnosis = await examine(server.origin)
    clock = found(diagnosis, "clock")
    assert (clock.state, found(diagnosis, "key").state) == ("warning", "ok")
    assert "but it accepts the time of this machine" in clock.message


async def test_far_clock_and_a_key_that_is_refused_for_another_reason(server: RawServer) -> None:
    server.script(dated(reply, off=400_000, json={"status": "ok"}), answer(401, "UNAUTHORIZED"), NO_SPEC)
    diagnosis = await examine(server.origin)
    assert "too much to be believed" in found(diagnosis, "clock").message
    assert (found(diagnosis, "clock").state, found(diagnosis, "key").state) == ("failure", "failure")


async def test_replies_without_a_date(server: RawServer) -> None:
    server.script(HEALTH, reply(json=ME))
    assert found(await examine(server.origin), "clock").message == "the replies of the panel do not tell its time"
    server.script(HEALTH, answer(*REFUSED), NO_SPEC)
    diagnosis = await examine(server.origin)
    assert found(diagnosis, "clock").state == "failure"
    assert found(diagnosis, "key").message == "the time of the signature is refused"


# The quota


async def test_quota_of_a_key_that_may_not_ask_for_it(server: RawServer) -> None:
    # The limit takes the scope `*:*` (evidence: rate-limit-endpoint): most keys of current panels may not.
    lacking = answer(403, "apiErrors.external.insufficientScope", "Insufficient scope", required_scope="*:*")
    server.script(HEALTH, reply(json=ME), NO_SPEC, lacking)
    quota = found(await examine(server.origin), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("ok", "professional", 300)
    server.script(HEALTH, reply(json=ME), NO_SPEC, lacking)
    quota = found(await examine(server.origin, tier="starter"), "rate_limit")
    assert quota.state == "warning"
    assert "the client makes at most 60 a minute" in quota.message
    assert "--tier professional" in str(quota.hint)
    server.script(HEALTH, reply(json=ME), NO_SPEC, lacking)
    quota = found(await examine(server.origin, tier="professional"), "rate_limit")
    assert (quota.state, quota.facts["tier"], quota.facts["per_minute"]) == ("ok", "professional", 300)


@pytest.mark.parametrize("tier", [None, "$(gold)"])
async def test_quota_of_a_key_whose_tier_is_not_known(server: RawServer, tier: str | None) -> None:
    server.script(HEALTH, reply(json=ME | {"rate_limit_tier": tier}), NO_SPEC, reply(404, json={"error": "not found"}))
    quota = found(await examine(server.origin), "rate_limit")
    assert quota.state == "warning"
    assert str(quota.hint).endswith("--tier on the command line.")


async def test_tier_that_is_faster_than_the_key(server: RawServer) -> None:
    limit = {"tier": "starter", "requests_per_minute": 60}
    for tier in ("business", "enterprise"):
        server.script(HEALTH, reply(json=ME), NO_SPEC, reply(json=limit))
        quota = found(await examine(server.origin, tier=tier), "rate_limit")
        assert quota.state == "warning"
        assert quota.message.endswith("and the panel allows 60 a minute")


async def test_no_limit(box: Sandbox) -> None:
    assert "as many as it likes" in found(await examine(box), "rate_limit").message


# The scopes


async def scopes_of(box: Sandbox, scopes: list[str], **options: Any) -> Diagnosis:
    return await examine(box, **_added(box, scopes=scopes), **options)


async def test_scopes_that_a_launch_lacks(box: Sandbox) -> None:
    diagnosis = await scopes_of(box, ["*:read", "domains:*", "accounts:write", "dns:write", "email:*"])
    scopes = found(diagnosis, "scopes")
    assert states(diagnosis) == {"scopes": "warning"}
    assert scopes.facts["missing_for_launch"] == ["ssl:write", "databases:write", "ftp:write"]
    assert str(scopes.hint).startswith("Add ssl:write, databases:write, ftp:write to the key in the panel")


async def test_required_scopes(box: Sandbox) -> None:
    enough = list(launch_scopes())
    assert states(await scopes_of(box, enough)) == {}
    assert states(await scopes_of(box, enough, require=["domains:write"])) == {}
    diagnosis = await scopes_of(box, enough, require=["domains:write", "backups:read", "backups:read"])
    assert states(diagnosis) == {"scopes": "failure"}
    assert found(diagnosis, "scopes").hint == "Add backups:read to the key in the panel, or use another key."
    assert states(await scopes_of(box, ["*:*"], require=["backups:read"])) == {}


async def test_required_scopes_that_cannot_be_told(server: RawServer) -> None:
    lacking = answer(403, "apiErrors.external.insufficientScope", "Insufficient scope")
    for options, state in (({}, "skipped"), ({"require": ["dns:read"]}, "failure")):
        server.script(HEALTH, lacking, NO_SPEC, lacking)
        assert found(await examine(server.origin, **options), "scopes").state == state


async def test_launch_calls_these_operations(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data(SITES)
    async with client(box) as panel:
        plan = await Plan.build(panel, manifest)
        await collect(apply(panel, plan, credentials=tmp_path / "passwords.csv"))
        await Plan.build(panel, manifest)
    assert {operation for operation, _ in asked(box)} == set(LAUNCH_OPERATIONS)


# What is wrong with the settings


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "ftp://panel.example.com"},
        {"api_key": "sk_live_0123"},
        {"api_secret": ""},
        {"ssl": "sha256:AB"},
        {"tier": "gold"},
        {"timeout": 0},
        {"session": "none"},
    ],
)
async def test_settings_that_cannot_be_right(settings: dict[str, Any]) -> None:
    given = {"base_url": "http://127.0.0.1:1", "api_key": "pk_live_0123", "api_secret": API_SECRET, **settings}
    with pytest.raises(ConfigurationError):
        await diagnose(**given)
