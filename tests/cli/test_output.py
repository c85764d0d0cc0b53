"""Text from a panel cannot move the cursor, change the terminal or forge a line, however it is printed."""

import asyncio
import json
import unicodedata
from io import StringIO
from pathlib import Path

import pytest
from rich.text import Text

from panelica_async.cli.format import escape_unprintable, object_table, to_json
from panelica_async.cli.output import SafeConsole
from tests.cli.harness import Command
from tests.conftest import API_KEY, API_SECRET
from tests.support.raw_server import RawServer, Step, reply

HARMFUL = "\x1b]0;title\x07 \x1b[2J \x9b2J \x85 \u202e\u2066\u200b\u2028 \udcff \x00 end"
FORGED = "no\nContinue  panelica provision undo x"


def harmful_in(text: str) -> set[str]:
    return {
        char for char in text if char not in "\n\r\t" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    }


def test_console_shows_no_harmful_character() -> None:
    console = SafeConsole(file=StringIO(), force_terminal=False, width=200)
    console.print(Text(HARMFUL))
    console.print(object_table([(HARMFUL, HARMFUL, Text(HARMFUL), FORGED)]))
    text = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO
    assert harmful_in(text) == set()
    assert "\nContinue" not in text


def test_console_leaves_words_of_all_scripts_unchanged() -> None:
    console = SafeConsole(file=StringIO(), width=200)
    console.print(Text("Zoë 你好 Привет عربى → …"))
    assert console.file.getvalue() == "Zoë 你好 Привет عربى → …\n"  # type: ignore[attr-defined]


def test_json_escapes_unprintable_characters() -> None:
    text = to_json({HARMFUL: [HARMFUL, "Zoë 你好"]})
    assert harmful_in(text) == set()
    assert "Zoë 你好" in text
    assert json.loads(text) == {HARMFUL: [HARMFUL, "Zoë 你好"]}


def test_visible_escapes_all_but_line_breaks() -> None:
    assert escape_unprintable("a\tb\nc\x1b[2J\u202e\udcff\r") == "a\tb\nc\\x1b[2J\\u202e\\udcff\\r"


REPLIES = {
    "error": reply(400, json={"error": HARMFUL, "code": f"A{FORGED}", "details": [HARMFUL], "request_id": HARMFUL}),
    "scope": reply(403, json={"error": FORGED, "required_scope": HARMFUL}),
    "text": reply(200, body=HARMFUL.encode("utf-8", "surrogateescape"), content_type="text/plain"),
    "data": reply(200, json={"name": HARMFUL, "x": FORGED}),
    "page": reply(502, body=f"<title>{HARMFUL}</title>".encode("utf-8", "surrogateescape"), content_type="text/html"),
}


def arguments(server: RawServer) -> tuple[str, ...]:
    return ("--base-url", server.origin, "--api-key", API_KEY, "--tier", "enterprise", "--debug", "--log", "run.log")


@pytest.mark.parametrize("step", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("as_json", [True, False])
async def test_command_prints_nothing_harmful(
    server: RawServer, panelica: Command, monkeypatch: pytest.MonkeyPatch, step: Step, as_json: bool
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", API_SECRET)
    server.script(*[step] * 5)
    flags = ("--json",) if as_json else ()
    outcome = await asyncio.to_thread(panelica, "api", "POST", "/v1/x", *flags, *arguments(server))
    is_raw = step is REPLIES["text"] and not as_json  # a pipe gets the unchanged bytes
    assert is_raw or harmful_in(outcome.stdout) == set()
    assert harmful_in(outcome.stderr) == set()
    assert "\nContinue" not in outcome.stderr
    log = await asyncio.to_thread(Path("run.log").read_text, "utf-8")
    assert harmful_in(log) == set()
    assert all(line[:2] == "20" for line in log.splitlines())


async def test_log_when_query_has_line_breaks_is_not_forged(
    server: RawServer, panelica: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", API_SECRET)
    server.script(reply(json=[]))
    query = "x\n2026-01-01 00:00:00,000 INFO call 9 forged  token=abc"
    await asyncio.to_thread(panelica, "api", "GET", "/v1/x", "-q", f"search={query}", *arguments(server))
    log = await asyncio.to_thread(Path("run.log").read_text, "utf-8")
    assert [line for line in log.splitlines() if "call 9" in line and line.startswith("2026-01-01")] == []
    assert "token=abc" not in log
