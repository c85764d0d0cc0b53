"""Injects every fault into every kind of call to a real sandbox, and notes the effects there and the outcome here.

    python -m tests.support.fault_matrix            # show the tables
    python -m tests.support.fault_matrix --write    # put them into the docs, with the table of retries

Virtual time (`tests.support.virtual_time`) makes the real timeouts and retries instant.
"""

import argparse
import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
from aiohttp import web

from panelica_async import OutcomeUnknownError, PanelicaClient, PanelicaError
from panelica_async.models.domains import Domain
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import Done, Event, Retried
from panelica_async.transport.retry import RetryPolicy
from tests.support.faulty_proxy import Fault, FaultyProxy
from tests.support.virtual_time import run

PAGE = Path(__file__).parents[2] / "docs" / "write-safety.md"
MARKS = ("<!-- faults -->\n", "<!-- /faults -->\n")
RETRIES = PAGE.with_name("timeouts.md")
RETRY_MARKS = ("<!-- retries -->\n", "<!-- /retries -->\n")
REFUSED = "refused"
"""Not a fault of a request: nothing listens on the port."""
UNREAD = "unread"
"""Not a fault of a request either: the connection is reset before the request is read."""


@attrs.frozen
class Kind:
    """A call, as an example of how calls of its kind are repeated."""

    title: str
    operation: str
    send: Callable[[PanelicaClient, Domain], Awaitable[object]]
    count: str | None = None
    """SQL that counts its effects on the domain `:id`, `:name`; None for a call that changes nothing."""


@attrs.frozen
class Trouble:
    """Something that goes wrong."""

    title: str
    fault: Fault | str
    cancels: bool = False
    """Whether the caller cancels the call meanwhile."""


@attrs.frozen
class Outcome:
    """How a call ended."""

    reported: str
    """`done`, `unknown`, `cancelled`, `cancelled, unknown`, or the class of the error."""
    attempts: int
    effects: int | None
    """How many times it took effect; None for a call that changes nothing."""

    def __str__(self) -> str:
        return f"{self.reported} ({self.attempts}){' ✔' if self.effects else ''}"


def new_name(site: Domain) -> str:
    return f"new.{site.domain}"


KINDS = [
    Kind("read", "domains.get", lambda panel, site: panel.domains.get(site.id)),
    Kind(
        "idempotent `PATCH`",
        "domains.update",
        lambda panel, site: panel.domains.update(site.id, php_version="8.4"),
        "SELECT count(*) FROM domains WHERE id = :id AND php_version = '8.4'",
    ),
    Kind(
        "idempotent `PUT`",
        "files.write",
        lambda panel, site: panel.files.write(path=f"{site.document_root}/new.txt", content="new"),
        "SELECT count(*) FROM files WHERE domain_id = :id AND name = 'new.txt'",
    ),
    Kind(
        "idempotent `DELETE`",
        "domains.delete",
        lambda panel, site: panel.domains.delete(site.id),
        "SELECT count(*) = 0 FROM domains WHERE id = :id",
    ),
    Kind(
        "natural-key",
        "domains.create",
        lambda panel, site: panel.domains.create(domain=new_name(site), user_id=str(site.user_id)),
        "SELECT count(*) FROM domains WHERE domain = 'new.' || :name",
    ),
    Kind(
        "natural-key",
        "dns.records.create",
        lambda panel, site: panel.dns.records.create(site.id, name="www", type="A", content="192.0.2.1"),
        "SELECT count(*) FROM dns_records WHERE zone_id = :id AND name = 'www'",
    ),
    Kind(
        "unsafe",
        "backups.create",
        lambda panel, site: panel.backups.create(name="nightly", domain_ids=[site.id]),
        "SELECT count(*) FROM backup_domains WHERE domain_id = :id",
    ),
]
TROUBLES = [
    Trouble("connection refused", REFUSED),
    Trouble("reset before the panel read it", UNREAD),
    Trouble("reset after the panel read it, not acted", Fault.LOST_REQUEST),
    Trouble("reset, acted", Fault.LOST_REPLY),
    Trouble("no reply in time, not acted", Fault.HANGS_BEFORE),
    Trouble("no reply in time, acted", Fault.HANGS_AFTER),
    Trouble("429 with Retry-After, not acted", Fault.OVER_LIMIT),
    Trouble("500, not acted", Fault.SERVER_ERROR),
    Trouble("500, acted", Fault.SERVER_ERROR_AFTER),
    Trouble("502, not acted", Fault.GATEWAY_BEFORE),
    Trouble("502, acted", Fault.GATEWAY_AFTER),
    Trouble("503 with Retry-After, not acted", Fault.UNAVAILABLE_RETRY_AFTER),
    Trouble("503 without Retry-After, not acted", Fault.UNAVAILABLE),
    Trouble("cancelled, not acted", Fault.HANGS_BEFORE, cancels=True),
    Trouble("cancelled, acted", Fault.HANGS_AFTER, cancels=True),
]
Cell = tuple[Trouble, bool, Kind]
"""What goes wrong, whether it does so every time or once, and in which call."""


def cells() -> list[Cell]:
    """Return every combination; a cancelled call is not repeated, so nothing can go wrong with it every time."""
    combinations = itertools.product(TROUBLES, (False, True), KINDS)
    return [(trouble, always, kind) for trouble, always, kind in combinations if not (trouble.cancels and always)]


def run_matrix() -> dict[Cell, Outcome]:
    """Run every combination in virtual time."""
    return run(_run_matrix())


async def _run_matrix() -> dict[Cell, Outcome]:
    async with (
        Sandbox(tier="enterprise") as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise") as direct,
    ):
        account = await direct.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
        outcomes: dict[Cell, Outcome] = {}
        for number, cell in enumerate(cells()):
            site = await direct.domains.create(domain=f"site{number}.example", user_id=account.id)
            outcomes[cell] = await _run_cell(box, site, *cell)
        return outcomes


async def _run_cell(box: Sandbox, site: Domain, trouble: Trouble, always: bool, kind: Kind) -> Outcome:
    times: Iterator[int] = itertools.count() if always else iter([1])
    is_refused = trouble.fault is REFUSED

    def decide(request: web.Request) -> Fault | None:
        assert isinstance(trouble.fault, Fault)
        return None if next(times, None) is None else trouble.fault

    ended: list[Done] = []
    async with FaultyProxy(box, decide if isinstance(trouble.fault, Fault) else None, listens=not is_refused) as proxy:
        if trouble.fault == UNREAD:
            proxy.unread = float("inf") if always else 1

        def watch(event: Event) -> object:
            if isinstance(event, Done) and event.operation == kind.operation:
                ended.append(event)
            elif isinstance(event, Retried) and is_refused and not always:
                return asyncio.ensure_future(proxy.listen())
            return None

        async with PanelicaClient(
            proxy.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise", dialect="reference"
        ) as panel:
            panel.subscribe(watch)
            call = asyncio.ensure_future(kind.send(panel, site))
            if trouble.cancels:
                await proxy.reached.wait()
                call.cancel()
            reported = await _report_of(call)
    [end] = ended
    return Outcome(reported, end.attempts, _count_effects(box, site, kind))


async def _report_of(call: Awaitable[object]) -> str:
    try:
        await call
    except OutcomeUnknownError:
        return "unknown"
    except PanelicaError as error:
        return f"`{type(error).__name__}`"
    except asyncio.CancelledError as cancelled:
        # Awaited directly: gather() would replace the error.
        return "cancelled, unknown" if isinstance(cancelled.__cause__, OutcomeUnknownError) else "cancelled"
    return "done"


def _count_effects(box: Sandbox, site: Domain, kind: Kind) -> int | None:
    if kind.count is None:
        return None
    [count] = box.database.execute(kind.count, {"id": site.id, "name": site.domain}).fetchone()
    return int(count)


def tables(outcomes: dict[Cell, Outcome]) -> str:
    """Return the tables of the page."""
    once = _table(outcomes, always=False)
    always = _table(outcomes, always=True)
    return f"### The fault occurs once\n\n{once}\n### The fault persists\n\n{always}"


def _table(outcomes: dict[Cell, Outcome], *, always: bool) -> str:
    heads = [f"{kind.title}<br>`{kind.operation}`" for kind in KINDS]
    lines = [_row("", *heads), _row(*["---"] * (len(KINDS) + 1))]
    for trouble in TROUBLES:
        found: list[Any] = [outcomes.get((trouble, always, kind)) for kind in KINDS]
        if any(found):
            lines.append(_row(trouble.title, *map(str, found)))
    return "".join(lines)


def _row(*fields: str) -> str:
    return f"| {' | '.join(fields)} |\n"


def tables_on_page() -> str:
    """Return the tables on the page."""
    text = PAGE.read_text(encoding="utf-8")
    return text.split(MARKS[0], 1)[1].split(MARKS[1], 1)[0].strip("\n") + "\n"


def retry_table() -> str:
    """Return the table in the docstring of `RetryPolicy`."""
    lines = [line.strip() for line in (RetryPolicy.__doc__ or "").splitlines()]
    return "\n".join(line for line in lines if line.startswith("|"))


def _write(page: Path, marks: tuple[str, str], text: str) -> None:
    """Replace the part of a page between two marks."""
    before, mark, rest = page.read_text("utf-8").partition(marks[0])
    _, end, after = rest.partition(marks[1])
    page.write_text(f"{before}{mark}\n{text.strip()}\n\n{end}{after}", "utf-8")


def main() -> None:
    """Show the tables, or write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables, and that of retries, into docs/")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    shown = tables(run_matrix())
    if not options.write:
        print(shown)
        return
    _write(PAGE, MARKS, shown)
    _write(RETRIES, RETRY_MARKS, retry_table())


if __name__ == "__main__":
    main()
