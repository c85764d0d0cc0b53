"""What the journal costs a launch: objects per second, and the longest stall of the event loop.

A launch of sites with nine objects each runs against a sandbox in a separate process, on a key without a limit. The
baseline commits each note and each password on its own, in the event loop; ours commits in groups, in a thread. Both
take turns in every round, on the disk as it is and on one that takes some milliseconds longer to confirm a write.
"""

import argparse
import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import attrs

from benchmarks import machine
from panelica_async import PanelicaClient
from panelica_async.provision import Manifest, SiteStatus, apply
from panelica_async.provision.background import GroupCommit
from panelica_async.sandbox import Sandbox

OBJECTS_PER_SITE = 9
TICK = 0.001
BASELINE, OURS = "each note in the event loop", "groups in a thread"


@attrs.frozen(kw_only=True)
class Launch:
    """The figures of one launch."""

    rate: float
    """Objects per second."""
    stop: float
    """Longest stall of the event loop, in seconds."""
    stops: float
    """Share of the time, from 0 to 1, that the event loop spent in stalls of more than 5 ms."""


class Ticker:
    """Records how late a timer of one millisecond fires, which is how long the event loop stalled."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            due = time.perf_counter() + TICK
            await asyncio.sleep(TICK)
            self.delays.append(time.perf_counter() - due)


def manifest(prefix: str, sites: int) -> Manifest:
    """Return a manifest of sites with nine objects each."""
    return Manifest.from_data(
        [
            {
                "domain": f"{prefix}{number}.example",
                "owner": {"username": f"{prefix}{number}", "email": f"o@{prefix}{number}.example"},
                "ssl": "self_signed",
                "dns": ["shop A 192.0.2.10", "docs A 192.0.2.11"],
                "databases": [f"{prefix}{number}"],
                "mailboxes": ["info", "sales"],
                "ftp_users": [f"{prefix}{number}"],
            }
            for number in range(sites)
        ]
    )


@contextmanager
def disk(extra: float, *, in_loop: bool) -> Generator[None]:
    """Patch `GroupCommit` for a disk that takes `extra` seconds longer; `in_loop` makes it the baseline."""
    flush, add, commit = GroupCommit.flush, GroupCommit.add, GroupCommit.commit

    def slow_flush(log: GroupCommit[Any]) -> None:
        if log._due:  # noqa: SLF001 - a flush without items costs nothing
            time.sleep(extra)
        flush(log)

    def add_and_flush(log: GroupCommit[Any], item: Any) -> None:
        add(log, item)
        slow_flush(log)

    async def do_nothing(_: GroupCommit[Any]) -> None: ...

    patches: dict[str, Callable[..., Any]] = {"flush": slow_flush}
    if in_loop:
        patches |= {"add": add_and_flush, "commit": do_nothing}
    for name, patch in patches.items():
        setattr(GroupCommit, name, patch)
    try:
        yield
    finally:
        for name, original in (("flush", flush), ("add", add), ("commit", commit)):
            setattr(GroupCommit, name, original)


async def launch(panel: PanelicaClient, prefix: str, sites: int, directory: Path) -> Launch:
    """Launch sites, and return the figures."""
    gc.collect()
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    started = time.perf_counter()
    async for outcome in apply(
        panel,
        manifest(prefix, sites),
        journal=directory / f"{prefix}.journal.db",
        credentials=directory / f"{prefix}.passwords.csv",
    ):
        if outcome.status is not SiteStatus.DONE:
            raise RuntimeError(f"{outcome.domain}: {outcome.reason}")
    seconds = time.perf_counter() - started
    ticking.cancel()
    return Launch(
        rate=sites * OBJECTS_PER_SITE / seconds,
        stop=max(ticker.delays),
        stops=sum(delay for delay in ticker.delays if delay > 5 * TICK) / seconds,
    )


@asynccontextmanager
async def sandbox() -> AsyncGenerator[PanelicaClient, None]:
    """Start a sandbox in a separate process, and yield a client of it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.provisioning", "--serve",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None  # noqa: S101 - a pipe
    assert process.stdout is not None  # noqa: S101 - a pipe
    try:
        base_url, key, secret = json.loads(await process.stdout.readline())
        async with PanelicaClient(base_url, api_key=key, api_secret=secret, tier="enterprise") as panel:
            yield panel
    finally:
        process.stdin.close()
        await process.wait()


async def serve() -> None:
    """Run a sandbox until the standard input is closed."""
    async with Sandbox(tier="enterprise") as box:
        print(json.dumps([box.base_url, box.api_key, box.api_secret]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def measure(rounds: int, sites: int, extras: Sequence[float]) -> dict[str, dict[str, list[Launch]]]:
    """Launch with both ways of committing in turns; return the launches by disk, then by way."""
    figures: dict[str, dict[str, list[Launch]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with sandbox() as panel:
            await launch(panel, "warm", 2, Path(directory))
            for number in range(rounds):
                for extra in extras:
                    for name in (BASELINE, OURS):
                        prefix = f"s{number}x{extra * 1000:.0f}{'b' if name == BASELINE else 'o'}"
                        with disk(extra, in_loop=name == BASELINE):
                            result = await launch(panel, prefix, sites, Path(directory))
                        figures.setdefault(_title(extra), {}).setdefault(name, []).append(result)
    return figures


def _title(extra: float) -> str:
    return f"disk + {extra * 1000:.0f} ms" if extra else "disk as it is"


def main() -> int:
    """Measure and print; return an exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks provisioning", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure for a shorter time")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return 0
    rounds, sites = (1, 10) if options.quick else (3, 40)
    figures = asyncio.run(measure(rounds, sites, (0.0, 0.01)))
    if options.json:
        data = {
            title: {name: [attrs.asdict(result) for result in launches] for name, launches in by_name.items()}
            for title, by_name in figures.items()
        }
        print(json.dumps(data))
        return 0
    print(", ".join(f"{name}: {value}" for name, value in machine.describe(["panelica_async", "aiohttp"]).items()))
    for title, by_name in figures.items():
        print(f"\n{title}, {sites} sites with {OBJECTS_PER_SITE} objects, median of {rounds}")
        for name, launches in by_name.items():
            rate, stop, stops = (median(values) for values in zip(*map(attrs.astuple, launches), strict=True))
            loop = f"longest stall of the loop {stop * 1000:6.1f} ms, stalled {stops:5.1%}"
            print(f"  {name:28} {rate:6.0f} objects/s, {loop}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
