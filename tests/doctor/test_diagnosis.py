"""Whole diagnoses: their findings, requests and arguments."""

from typing import Any

import pytest

from panelica_async.doctor import diagnose
from panelica_async.errors import ConfigurationError
from panelica_async.ratelimit import RateLimit, shared_limiter
from panelica_async.sandbox import Sandbox
from tests.conftest import API_SECRET
from tests.doctor.examining import HEALTH, ME, NO_HEALTH, answer, asked, examine, found, states
from tests.support.raw_server import RawServer, reply


async def test_diagnosis_when_all_is_well_has_no_problem(box: Sandbox) -> None:
    diagnosis = await examine(box)
    assert states(diagnosis) == {}
    assert (diagnosis.failed, diagnosis.first, diagnosis.base_url) == (False, None, box.base_url)
    assert asked(box) == [(None, 404), ("health", 200), ("me", 200), (None, 404), ("rate_limit", 200)]
    assert {seen.method for seen in box.requests} == {"GET"}
    data = diagnosis.to_dict()
    assert (data["failed"], data["first"], len(data["findings"])) == (False, None, 8)
    assert found(diagnosis, "address").message.endswith(" (healthy, version 1.0.27)")
    assert " ('Sandbox' of root)" in found(diagnosis, "key").message


async def test_diagnosis_of_current_panel_sends_four_requests(server: RawServer) -> None:
    limit = {"tier": "business", "requests_per_minute": 1000, "current_minute_usage": 7}
    server.script(HEALTH, reply(json={"data": ME}), HEALTH, reply(json={"status": "success", "data": limit}))
    diagnosis = await examine(server.origin)
    assert states(diagnosis) == {}
    paths = [request.target.removeprefix("/api/external") for request in server.requests]
    assert paths == ["/health", "/v1/me", "/health", "/v1/rate-limit"]
    assert ["X-Signature" in request.headers for request in server.requests] == [False, True, False, True]
    assert found(diagnosis, "dialect").facts == {"dialect": "panel", "chosen": False, "found": "panel"}
    assert "7 calls used this minute" in found(diagnosis, "rate_limit").message
    assert "at most 1,000 a minute" in found(diagnosis, "rate_limit").message


async def test_diagnosis_when_quota_is_used_up_does_not_wait(box: Sandbox) -> None:
    limiter = shared_limiter(box.base_url.removesuffix("/api/external"), box.api_key, RateLimit(per_minute=1))
    await limiter.acquire()
    diagnosis = await examine(box)
    assert found(diagnosis, "key").state == "failure"
    assert "GET /v1/me failed" in found(diagnosis, "key").message
    assert "me" not in [operation for operation, _ in asked(box)]


async def test_texts_of_a_panel_are_made_printable(server: RawServer) -> None:
    escape = "\x1b]0;title\x07\nsk_live_0123456789 "
    scopes = [f"dns:{escape}"]
    server.script(HEALTH, reply(json=ME | {"name": f"Shop {escape}", "scopes": scopes}), NO_HEALTH)
    server.script(answer(403, message=f"no {escape}"), HEALTH, answer(401, "UNAUTHORIZED", f"no {escape}"), NO_HEALTH)
    for diagnosis in (await examine(server.origin), await examine(server.origin)):
        for text in [diagnosis.findings[index].message for index in range(8)] + [str(diagnosis.to_dict())]:
            assert text.isprintable()
            assert "sk_live_0123456789" not in text


async def test_version_of_a_panel_is_made_printable(server: RawServer) -> None:
    server.script(reply(json={"status": "ok", "version": "2.0\x1b[2J\n1"}), reply(json=ME), NO_HEALTH)
    assert "(ok, version 2.0 [2J 1)" in found(await examine(server.origin), "address").message


async def test_version_that_quotes_a_secret_is_redacted(server: RawServer) -> None:
    server.script(reply(json={"status": "ok", "version": "2.0 sk_live_0123456789abcdef"}), reply(json=ME), NO_HEALTH)
    assert "sk_live_0123456789abcdef" not in str((await examine(server.origin)).to_dict())


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
        {"dialect": "klingon"},
    ],
)
async def test_diagnose_when_an_argument_is_invalid_raises(settings: dict[str, Any]) -> None:
    arguments = {"base_url": "http://127.0.0.1:1", "api_key": "pk_live_0123", "api_secret": API_SECRET, **settings}
    with pytest.raises(ConfigurationError):
        await diagnose(**arguments)


async def test_address_when_health_requires_a_key_is_ok(server: RawServer) -> None:
    server.script(NO_HEALTH, answer(401, "MISSING_API_KEY"), reply(json=ME))
    assert found(await examine(server.origin), "address").state == "ok"
