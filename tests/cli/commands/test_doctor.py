"""`panelica doctor`: one diagnosis for each thing that can be wrong, with what to do, and no secret in any."""

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

Look = Callable[..., Awaitable[Outcome]]
WRONG = "sk_live_wrong_0123456789"


@pytest.fixture
async def look(panelica: Command, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Look]:
    """Runs the command on a sandbox of the given kind, three times; each time it finds the same and shows no secret."""
    async with AsyncExitStack() as sandboxes:

        async def look(*arguments: str, secret: str | None = None, **kind: Any) -> Outcome:
            box = await sandboxes.enter_async_context(Sandbox(**kind))
            monkeypatch.setenv("PANELICA_BASE_URL", box.base_url)
            monkeypatch.setenv("PANELICA_API_KEY", box.api_key)
            monkeypatch.setenv("PANELICA_API_SECRET", secret or box.api_secret)
            given = [argument.replace("{base_url}", box.base_url) for argument in arguments]
            shown, debug, document = [
                await asyncio.to_thread(panelica, "doctor", *given, *more) for more in ((), ("--debug",), ("--json",))
            ]
            assert [part.code for part in (shown, debug, document)] == [shown.code] * 3
            for outcome in (shown, debug, document):
                for one in {box.api_secret, secret or box.api_secret}:
                    assert one not in outcome.stdout + outcome.stderr
            for finding in document.json["findings"]:
                assert (finding["hint"] or "") in shown.stdout
            assert document.json["failed"] is (shown.code == 1)
            return shown

        yield look


def findings(outcome: Outcome) -> dict[str, str]:
    """Return the words before each finding."""
    lines = [line for line in outcome.stdout.split("\n\n")[0].splitlines() if not line.startswith(" ")]
    return {line[8:19].strip(): line[:8].strip() for line in lines}


def what_is_wrong(outcome: Outcome) -> set[str]:
    return {f"{name} {word}" for name, word in findings(outcome).items() if word not in {"ok", "skipped"}}


def first_thing_to_do(outcome: Outcome) -> str:
    return outcome.stdout.splitlines()[-1]


async def test_healthy_key(look: Look) -> None:
    outcome = await look()
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
    assert first_thing_to_do(outcome) == "All is well."


async def test_wrong_secret(look: Look) -> None:
    outcome = await look(secret=WRONG)
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"key failed"})
    assert "the signature does not match: the secret is not that of the key pk_live_" in outcome.stdout
    assert first_thing_to_do(outcome) == (
        "1 failed. First: key. Check that the API secret belongs to this API key and was not regenerated since."
    )


async def test_skewed_clock(look: Look) -> None:
    outcome = await look(clock=lambda: time.time() + 1200)
    assert (outcome.code, what_is_wrong(outcome)) == (0, {"clock warning"})
    assert " min ahead of that of this machine\n" in outcome.stdout
    assert first_thing_to_do(outcome).startswith(
        "Nothing failed, 1 warning. First: clock. Set the clock of this machine"
    )


async def test_clock_that_is_days_off(look: Look) -> None:
    outcome = await look(clock=lambda: time.time() - 300_000)
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"clock failed"})
    assert first_thing_to_do(outcome).startswith("1 failed. First: clock. Set the clock of this machine by NTP")


async def test_wrong_prefix(look: Look) -> None:
    outcome = await look("--base-url", "{base_url}/panel/api/external")
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"address failed"})
    assert first_thing_to_do(outcome).startswith("1 failed. First: address. The API answers at http://127.0.0.1:")
    assert first_thing_to_do(outcome).endswith("/api/external: use that as base_url (--base-url).")


async def test_self_signed_certificate(look: Look, certificate: Certificate) -> None:
    outcome = await look(ssl=certificate.server_context)
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"tls failed"})
    assert certificate.fingerprint in first_thing_to_do(outcome)
    assert "--fingerprint" in first_thing_to_do(outcome)
    for trusted in (("--fingerprint", certificate.fingerprint), ("--ca-file", str(certificate.path))):
        assert (await look(*trusted, ssl=certificate.server_context)).code == 0


async def test_missing_scope(look: Look) -> None:
    outcome = await look(scopes=["*:read", "domains:*"])
    assert (outcome.code, what_is_wrong(outcome)) == (0, {"scopes warning"})
    assert "First: scopes. Add accounts:write, dns:write," in first_thing_to_do(outcome)
    required = await look("--require", "domains:write", "--require", "dns:write", scopes=["*:read", "domains:*"])
    assert (required.code, what_is_wrong(required)) == (1, {"scopes failed"})
    assert first_thing_to_do(required) == (
        "1 failed. First: scopes. Add dns:write to the key in the panel, or use another key."
    )


async def test_unknown_key(look: Look) -> None:
    outcome = await look("--api-key", "pk_live_0123456789abcdef")
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"key failed"})
    assert "the panel does not accept the key pk_live_0123…: Invalid API key\n" in outcome.stdout


async def test_panel_that_is_down(look: Look) -> None:
    outcome = await look("--base-url", "http://127.0.0.1:1")
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"connection failed"})
    assert "nothing listens at 127.0.0.1:1: the connection was refused" in outcome.stdout
    assert list(findings(outcome).values()).count("skipped") == 7


async def test_web_page_instead_of_the_api(look: Look) -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<!doctype html><title>Panelica</title>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/{path:.*}", page)
    async with TestServer(application) as server:
        address = str(server.make_url("/")).removesuffix("/")
        outcome = await look("--base-url", address)
    assert (outcome.code, what_is_wrong(outcome)) == (1, {"address failed"})
    assert f"a web page answers at {address}/api/external, not the API\n" in outcome.stdout


def test_embedded_sandbox(panelica: Command) -> None:
    outcome = panelica("doctor", "--sandbox")
    assert outcome.code == 0
    assert outcome.stderr == "Looking at the embedded sandbox (.panelica/sandbox.db) …\n"
    assert "business; 2 calls in this minute" in outcome.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sandbox", "--require", "domains"], "--require domains: write a scope, such as domains:write"),
        (["--sandbox", "--tier", "gold"], "tier is 'gold'"),
        (["--sandbox", "--fingerprint", "AB"], "write sha256: before the digits"),
        ([], "base_url is missing"),
        (["--base-url", "panel.example.com"], "api_key is missing"),
        (["--base-url", "panel.example.com", "--api-key", "pk_live_0123"], "the API secret is missing"),
    ],
)
def test_input_that_cannot_be_right_is_2(panelica: Command, arguments: list[str], message: str) -> None:
    outcome = panelica("doctor", *arguments)
    assert (outcome.code, outcome.stdout) == (2, "")
    assert message in outcome.stderr
