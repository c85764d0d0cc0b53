"""Formats what commands print: numbers, times, notes, sentences, tables and errors for people, and data as JSON."""

import copy
import itertools
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from panelica_async import PanelicaError, RateLimit
from panelica_async.core.redaction import first_few, one_line

if TYPE_CHECKING:
    from panelica_async.provision import Problem, Remark

NOT_ASCII = re.compile(r"[^\n -~]")
_MAX_NOTES = 20
"""Notes that are printed; --json shows them all."""
_MAX_PLACES = 5
"""Places that are named for each note."""
_MIN_WIDTH = 10
"""Fewest columns for sentences, however narrow the terminal is."""


def number(value: float) -> str:
    """Return a number with thousands separators, such as `1,000`."""
    return f"{value:,.0f}"


def plural(count: int, noun: str) -> str:
    """Return a number with a noun, such as `1 site` or `2 sites`."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a duration, such as `41 s`, `3 min 20 s` or `1 h 12 min`."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, seconds = divmod(rounded, 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{number(hours)} h {minutes} min" if minutes else f"{number(hours)} h"


def quota(limit: RateLimit) -> str:
    """Return a rate limit, such as `300 calls a minute and 10,000 calls an hour`."""
    rates = [(limit.per_minute, "a minute"), (limit.per_hour, "an hour")]
    return " and ".join(f"{number(calls)} calls {period}" for calls, period in rates if calls is not None)


def local_time(at: datetime) -> str:
    """Return a time in the time zone of this machine, such as `2026-01-31 17:05:09`."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def object_table(rows: Iterable[tuple[str, str, Text, str]]) -> Table:
    """Return a table of objects: site, object, status, reason."""
    table = Table("site", "object", "", "reason", box=None, header_style="bold", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for site, name, status, reason in rows:
        table.add_row(Text(one_line(site)), Text(one_line(name)), status, Text(one_line(reason)))
    return table


def problem_table(problems: "Iterable[Problem]") -> Table:
    """Return a table of the problems of a manifest."""
    table = Table("line", "column", "problem", box=None, header_style="bold")
    table.columns[0].justify = "right"
    table.columns[2].overflow = "fold"
    for problem in problems:
        table.add_row(str(problem.line), Text(one_line(problem.column)), Text(one_line(problem.message)))
    return table


def pending_certificates_line(count: int) -> str:
    """Return a sentence about certificates that were not active at the last check."""
    was = "was" if count == 1 else "were"
    return f"{plural(count, 'certificate')} {was} requested but not yet active at the last check."


def remark_lines(remarks: "Iterable[Remark]") -> Iterator[str]:
    """Yield a line for each text of the remarks, with the first few places it applies to."""
    places_by_text: dict[str, list[str]] = {}
    for remark in remarks:
        places_by_text.setdefault(remark.text, []).append(remark.where)
    for text, places in itertools.islice(places_by_text.items(), _MAX_NOTES):
        yield f"Note: {text} ({first_few(places, _MAX_PLACES)})."
    if len(places_by_text) > _MAX_NOTES:
        yield f"{plural(len(places_by_text) - _MAX_NOTES, 'more note')}: see --json."


def print_prose(console: Console, text: str | Text, *, prefix: str | Text = "") -> None:
    """Print sentences after a prefix. On a terminal, they are wrapped between words and indented by the prefix.

    A long word, such as a path or a fingerprint, stays whole, so that it can be copied.
    """
    if console.is_terminal:
        lines = wrap(Text(text) if isinstance(text, str) else text, console.width - len(prefix))
        text = Text("\n" + " " * len(prefix)).join(lines)
    console.print(Text.assemble(prefix, text), soft_wrap=True)


def wrap(text: Text, width: int) -> Iterator[Text]:
    """Yield the lines of a text, wrapped between words; a word longer than a line stays whole."""
    width = max(width, _MIN_WIDTH)
    for paragraph in text.split("\n"):
        breaks: list[int] = []
        start = used = 0
        for word in paragraph.plain.split(" "):
            used += cell_len(word) + 1
            if start and used - 1 > width:  # No space is needed at the end of a line.
                breaks.append(start)
                used = cell_len(word) + 1
            start += len(word) + 1
        for line in paragraph.divide(breaks):
            line.rstrip()
            yield line


def print_labelled(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    """Print a line for each label and value. Long values are not wrapped, so that they can be copied."""
    for label, value in lines:
        console.print(Text.assemble((f"{label:<10} ", "bold"), one_line(value)), soft_wrap=True)


def print_hints(console: Console, hints: Iterable[str | None]) -> None:
    """Print each hint once. One that names a command is not wrapped, so that the command can be copied."""
    for hint in dict.fromkeys(hints):
        if not hint:
            continue
        text = Text.assemble(("Hint: ", "bold"), one_line(hint))
        if "`" in hint:
            console.print(text, soft_wrap=True)
        else:
            print_prose(console, text)


def next_command(command: str, file: str, *options: str) -> str:
    """Return a command of `panelica provision`, quoted for a shell."""
    # A name that starts with a hyphen would look like an option.
    return shlex.join(["panelica", "provision", command, f"./{file}" if file.startswith("-") else file, *options])


def escape_unprintable(text: str) -> str:
    """Return a text with unprintable characters escaped as in Python, except for line breaks and tabs."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else char.encode("unicode_escape").decode() for char in text
    )


def error_text(error: BaseException) -> str:
    """Return the message of an error, without its hint and its list of problems."""
    if isinstance(error, PanelicaError):
        if hasattr(error, "problems"):
            return error.message
        # The hint is printed on its own line.
        error = copy.copy(error)
        error.hint = None
    elif isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def error_data(error: BaseException) -> dict[str, Any]:
    """Return an error as JSON-like data: type, message and, for errors of this package, all attributes."""
    if not isinstance(error, PanelicaError):
        return {"type": type(error).__name__, "message": error_text(error), "hint": None}
    attributes = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return {"type": type(error).__name__, **attributes}


def to_json(data: object) -> str:
    """Return data as indented JSON; attrs objects become JSON objects."""
    text = json.dumps(data, indent=2, ensure_ascii=False, default=_to_plain)
    return NOT_ASCII.sub(lambda char: char[0] if char[0].isprintable() else json.dumps(char[0])[1:-1], text)


def _to_plain(value: object) -> Any:
    if attrs.has(kind := type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(kind)}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
