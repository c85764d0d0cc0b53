"""Formats numbers, times, tables and notes for people."""

import itertools
import shlex
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from panelica_async import RateLimit
from panelica_async.core.redaction import first_few, one_line

if TYPE_CHECKING:
    from panelica_async.provision import Remark

_REMARKS = 20
"""How many notes are printed; --json shows them all."""
_PLACES = 5
"""How many places are named for each note."""


def number(value: float) -> str:
    """Return a number with thousands separators, such as `1,000`."""
    return f"{value:,.0f}"


def plural(count: int, noun: str) -> str:
    """Return a number with a noun, such as `1 site` or `2 sites`."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def calls_sent(writes: int, reads: int) -> str:
    """Return how many calls were sent, such as `857 writes and 8 reads`."""
    return f"{plural(writes, 'write')} and {plural(reads, 'read')}"


def duration(seconds: float) -> str:
    """Return a duration, such as `41 s`, `3 min 20 s` or `1 h 12 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, seconds = divmod(whole, 60)
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


def pending_line(count: int) -> str:
    """Return how many certificates were not active at the last check."""
    was = "was" if count == 1 else "were"
    return f"{plural(count, 'certificate')} {was} requested but not yet active at the last check."


def remark_lines(remarks: "Iterable[Remark]") -> Iterator[str]:
    """Yield a line for each text of the remarks, with the first few places it applies to."""
    places: dict[str, list[str]] = {}
    for remark in remarks:
        places.setdefault(remark.text, []).append(remark.where)
    for text, all_places in itertools.islice(places.items(), _REMARKS):
        yield f"Note: {text} ({first_few(all_places, _PLACES)})."
    if len(places) > _REMARKS:
        yield f"{plural(len(places) - _REMARKS, 'more note')}: see --json."


def print_labelled(console: Console, lines: Iterable[tuple[str, str]]) -> None:
    """Print a line for each label and value. Long values are not wrapped, so that they can be copied."""
    for label, value in lines:
        console.print(Text.assemble((f"{label:<10} ", "bold"), one_line(value)), soft_wrap=True)


def print_hints(console: Console, hints: Iterable[str | None]) -> None:
    """Print each hint once."""
    for hint in dict.fromkeys(hints):
        if hint:
            console.print(Text.assemble(("Hint: ", "bold"), one_line(hint)), soft_wrap=True)


def next_command(command: str, *arguments: str) -> str:
    """Return a command of `panelica provision`, quoted for a shell."""
    return shlex.join(["panelica", "provision", command, *arguments])
