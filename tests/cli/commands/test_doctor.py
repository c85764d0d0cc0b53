"""`panelica doctor`: each problem is found and has a hint, and no secret is shown."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from panelica_async.sandbox import Sandbox
from tests.cli.harness import Command, Outcome
from tests.support.certificates import Certificate

Diagnose = Callable[..., Awaitable[Outcome]]
WRONG = "sk_live_wrong_0123456789"


@pytest.fixture
async def diagnose(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Diagnose]:
    """Run the command three times on a new sandbox: it finds the same each time, and shows no secret."""
    async with AsyncExitStack() as sandboxes:

        async def diagnose(*arguments: str, secret: str | None = None, **kind: Any) -> Outcome:
            box = await sandboxes.enter_async_context(Sandbox(**kind))
            monkeypatch.setenv("PANELICA_BASE_URL", box.base_url)
            monkeypatch.setenv("PANELICA_API_KEY", box.api_key)
            monkeypatch.setenv("PANELICA_API_SECRET", secret or box.api_secret)
            options = [argument.replace("{base_url}", box.base_url) for argument in arguments]
            shown, debug, document = [
                await asyncio.to_thread(panelica, "doctor", *options, *more) for more in ((), ("--debug",), ("--json",))
            ]
            assert [part.code for part in (shown, debug, document)] == [shown.code] * 3
            for outcome in (shown, debug, document):
                for one in {box.api_secret, secret or box.api_secret}:
                    assert one not in outcome.stdout + outcome.stderr
            for finding in document.json["findings"]:
                assert (finding["hint"] or "") in shown.stdout
            assert document.json["failed"] is (shown.code == 1)
            return shown

        yield diagnose


def findings(outcome: Outcome) -> dict[str, str]:
    """Return the words before each finding."""
    lines = [line for line in outcome.stdout.split("\n\n")[0].splitlines() if not line.startswith(" ")]
    return {line[8:19].strip(): line[:8].strip() for line in lines}


def problems(outcome: Outcome) -> set[str]:
    return {f"{name} {word}" for name, word in findings(outcome).items() if word not in {"ok", "skipped"}}


def last_line(outcome: Outcome) -> str:
    return outcome.stdout.splitlines()[-1]


async def test_doctor_when_all_is_well_lists_the_checks(diagnose: Diagnose) -> None:
    outcome = await diagnose()
    assert outcome.code == 0
    assert set(findings(outcome).values()) == {"ok"}
    assert list(findings(outcome)) == [
        "connection",
        "tls",
        "address",
        "clock",
        "key",
        "rate limit",
        "scopes",
        "dialect",
    ]
    assert last_line(outcome) == "All checks passed."


async def test_doctor_when_secret_is_wrong_names_the_key(diagnose: Diagnose) -> None:
    outcome = await diagnose(secret=WRONG)
    assert (outcome.code, problems(outcome)) == (1, {"key failed"})
    assert "the signature does not match: the secret does not belong to the key pk_live_" in outcome.stdout
    hint = "Check that the API secret belongs to this API key and was not regenerated since."
    assert last_line(outcome) == f"1 check failed. Fix first: key. {hint}"


async def test_doctor_when_clock_is_off_warns(diagnose: Diagnose) -> None:
    outcome = await diagnose(clock=lambda: time.time() + 1200)
    assert (outcome.code, problems(outcome)) == (0, {"clock warning"})
    assert " min ahead of this machine's\n" in outcome.stdout
    assert last_line(outcome).startswith("No check failed, 1 warning. Fix first: clock. Set the clock of this machine")


async def test_doctor_when_clock_is_days_off_fails(diagnose: Diagnose) -> None:
    outcome = await diagnose(clock=lambda: time.time() - 300_000)
    assert (outcome.code, problems(outcome)) == (1, {"clock failed"})
    assert last_line(outcome).startswith("1 check failed. Fix first: clock. Set the clock of this machine with NTP")


async def test_doctor_when_path_is_wrong_names_the_right_one(diagnose: Diagnose) -> None:
    outcome = await diagnose("--base-url", "{base_url}/panel/api/external")
    assert (outcome.code, problems(outcome)) == (1, {"address failed"})
    assert last_line(outcome).startswith("1 check failed. Fix first: address. Use http://127.0.0.1:")
    assert last_line(outcome).endswith("/api/external as base_url (--base-url): the API answers there.")


async def test_doctor_when_self_signed_shows_fingerprint(diagnose: Diagnose, certificate: Certificate) -> None:
    outcome = await diagnose(ssl=certificate.server_context)
    assert (outcome.code, problems(outcome)) == (1, {"tls failed"})
    assert certificate.fingerprint in last_line(outcome)
    assert "--fingerprint" in last_line(outcome)
    for trusted in (("--fingerprint", certificate.fingerprint), ("--ca-file", str(certificate.path))):
        assert (await diagnose(*trusted, ssl=certificate.server_context)).code == 0


async def test_doctor_when_scope_is_missing_names_it(diagnose: Diagnose) -> None:
    outcome = await diagnose(scopes=["*:read", "domains:*"])
    assert (outcome.code, problems(outcome)) == (0, {"scopes warning"})
    assert "Fix first: scopes. Add accounts:write, dns:write," in last_line(outcome)
    required = await diagnose("--require", "domains:write", "--require", "dns:write", scopes=["*:read", "domains:*"])
    assert (required.code, problems(required)) == (1, {"scopes failed"})
    assert last_line(required) == (
        "1 check failed. Fix first: scopes. Add dns:write to the key in the panel, or use another key."
    )


async def test_doctor_when_key_is_unknown_fails(diagnose: Diagnose) -> None:
    outcome = await diagnose("--api-key", "pk_live_0123456789abcdef")
    assert (outcome.code, problems(outcome)) == (1, {"key failed"})
    assert "the panel rejects the key pk_live_0123…: Invalid API key\n" in outcome.stdout


async def test_doctor_when_connection_is_refused_skips_the_rest(diagnose: Diagnose) -> None:
    outcome = await diagnose("--base-url", "http://127.0.0.1:1")
    assert (outcome.code, problems(outcome)) == (1, {"connection failed"})
    assert "nothing is listening at 127.0.0.1:1: the connection was refused" in outcome.stdout
    assert list(findings(outcome).values()).count("skipped") == 7


async def test_doctor_when_web_page_answers_says_so(diagnose: Diagnose) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Panelica</title>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/{path:.*}", page)
    async with TestServer(application) as server:
        address = str(server.make_url("/")).removesuffix("/")
        outcome = await diagnose("--base-url", address)
    assert (outcome.code, problems(outcome)) == (1, {"address failed"})
    assert f"{address}/api/external serves a web page, not the API\n" in outcome.stdout


def test_doctor_of_embedded_sandbox_passes(panelica: Command) -> None:
    outcome = panelica("doctor", "--sandbox")
    assert outcome.code == 0
    assert outcome.stderr == "Checking the embedded sandbox (.panelica/sandbox.db) …\n"
    assert "business: 2 calls used this minute" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sandbox", "--require", "domains"], "--require must be a scope such as domains:write, not 'domains'"),
        (["--sandbox", "--tier", "gold"], "tier must be one of auto, starter"),
        (["--sandbox", "--fingerprint", "AB"], "must start with sha256:"),
        ([], "base_url is missing"),
        (["--base-url", "panel.example.com"], "api_key is missing"),
        (["--base-url", "panel.example.com", "--api-key", "pk_live_0123"], "the API secret is missing"),
    ],
)
def test_doctor_when_option_is_invalid_exits_2(panelica: Command, arguments: list[str], message: str) -> None:
    outcome = panelica("doctor", *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
