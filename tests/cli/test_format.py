import io
from datetime import datetime

import pytest
from rich.console import Console
from rich.text import Text

from panelica_async import RateLimit
from panelica_async.cli.format import (
    duration,
    error_data,
    next_command,
    plural,
    print_hints,
    print_prose,
    quota,
    remark_lines,
    to_json,
    wrap,
)
from panelica_async.cli.progress import SITE_STATUSES
from panelica_async.errors import NotFoundError, OutcomeUnknownError
from panelica_async.provision import Remark, SiteStatus, StepKind


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (41.4, "41 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (4320, "1 h 12 min")],
)
def test_duration_is_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_plural_follows_the_count() -> None:
    assert [plural(count, "site") for count in (0, 1, 2, 1000)] == ["0 sites", "1 site", "2 sites", "1,000 sites"]


def test_remarks_of_one_kind_share_a_line() -> None:
    remarks = [Remark(f"mailbox m{number}@alder.example", "already there") for number in range(7)]

    assert list(remark_lines([Remark("line 3", "odd"), *remarks])) == [
        "Note: odd (line 3).",
        f"Note: already there ({', '.join(remark.where for remark in remarks[:5])} and 2 more).",
    ]


@pytest.mark.parametrize(
    ("count", "last"),
    [
        (20, "Note: odd 19 (line 3)."),
        (21, "1 more note: see --json."),
        (22, "2 more notes: see --json."),
    ],
)
def test_remarks_beyond_the_first_twenty_are_counted(count: int, last: str) -> None:
    lines = list(remark_lines(Remark("line 3", f"odd {number}") for number in range(count)))

    assert len(lines) == min(count, 21)
    assert lines[-1] == last


def test_quota_is_said_in_words() -> None:
    assert quota(RateLimit(per_minute=60)) == "60 calls a minute"
    assert quota(RateLimit(per_minute=300, per_hour=10000)) == "300 calls a minute and 10,000 calls an hour"


def test_every_kind_and_status_has_a_word() -> None:
    assert [kind.label for kind in StepKind] == [
        "account",
        "domain",
        "DNS record",
        "certificate",
        "database",
        "database user",
        "mailbox",
        "FTP user",
    ]
    assert StepKind.MAILBOX.plural == "mailboxes"
    assert StepKind.DNS_RECORD.plural == "DNS records"
    assert set(SITE_STATUSES) == set(SiteStatus)


def test_next_command_can_be_pasted() -> None:
    assert next_command("resume", "my launch.csv") == "panelica provision resume 'my launch.csv'"
    assert next_command("undo", "-x.csv", "--sandbox") == "panelica provision undo ./-x.csv --sandbox"


def test_error_becomes_data_without_private_fields() -> None:
    error = NotFoundError("no such domain", status=404, method="GET", path="/v1/domains/x", hint="Look.")
    error.add_note("not for data")
    data = error_data(error)
    assert (data["type"], data["message"], data["status"], data["hint"]) == (
        "NotFoundError",
        "no such domain",
        404,
        "Look.",
    )
    assert not [name for name in data if name.startswith("_")]
    sent_at = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
    unknown = OutcomeUnknownError(
        "lost", operation="domains.create", method="POST", path="/v1/domains", sent_at=sent_at
    )
    assert '"sent_at": "2026-01-02T03:04:05+00:00"' in to_json(error_data(unknown))
    assert error_data(OSError(28, "No space left", "a.db")) == {
        "type": "OSError", "message": "a.db: No space left", "hint": None,
    }  # fmt: skip


def console_of(*, is_terminal: bool, colors: str | None = None) -> tuple[Console, io.StringIO]:
    """Return a console of 30 columns, and what it prints to."""
    file = io.StringIO()
    return Console(file=file, force_terminal=is_terminal, width=30, color_system=colors), file  # type: ignore[arg-type]


FINGERPRINT = f"sha256:{'0f' * 16}"


@pytest.mark.parametrize(
    ("is_terminal", "text", "shown"),
    [
        (
            True,
            f"A certificate that is accepted: {FINGERPRINT} is it.",
            f"A certificate that is\n    accepted:\n    {FINGERPRINT}\n    is it.",
        ),
        (True, "One.\nTwo.", "One.\n    Two."),
        (True, "日本語 日本語 日本語 日本語", "日本語 日本語 日本語\n    日本語"),
        (True, "", ""),
        (False, "A certificate that is accepted, and more.", "A certificate that is accepted, and more."),
    ],
)
def test_prose_on_a_terminal_is_wrapped_between_words(is_terminal: bool, text: str, shown: str) -> None:
    console, file = console_of(is_terminal=is_terminal)
    print_prose(console, text, prefix="ok  ")
    assert file.getvalue() == f"ok  {shown}\n"


def test_prose_keeps_its_style_where_it_is_wrapped() -> None:
    console, file = console_of(is_terminal=True, colors="standard")
    print_prose(console, Text.assemble(("Error: ", "bold"), ("one two three four five six seven", "red")))
    assert file.getvalue() == "\x1b[1mError: \x1b[0m\x1b[31mone two three four five\x1b[0m\n\x1b[31msix seven\x1b[0m\n"


def test_words_on_a_very_narrow_terminal_are_wrapped() -> None:
    assert [line.plain for line in wrap(Text("one two three four"), -5)] == ["one two", "three four"]


def test_hint_with_a_command_is_not_wrapped() -> None:
    console, file = console_of(is_terminal=True)
    command = "Run `panelica provision resume launch.csv --sandbox`."
    print_hints(console, [command, None, "Check the path, and the directory.", command])
    assert file.getvalue() == f"Hint: {command}\nHint: Check the path, and the\ndirectory.\n"
