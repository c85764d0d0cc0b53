"""What the journal costs a launch: objects a second, and the longest stop of the event loop.

A launch of sites with nine objects each runs against a sandbox in a separate process, on a key without a limit. The
baseline forces each note and each password to the disk by itself, in the event loop, as the package did before it had
`GroupCommit`; ours commits in groups, in a thread. Both take turns in every round, on the disk as it is and on one that
needs some milliseconds more to confirm a write.
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
    """What one launch took."""

    rate: float
    """Objects a second."""
    stop: float
    """Longest stop of the event loop, in seconds."""
    stops: float
    """Share of the time in which the event loop stood still for more than 5 ms, from 0 to 1."""


class Ticker:
    """Notes how late a timer of a millisecond is: for so long, the event loop did nothing else."""

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
    """Use a disk that needs some seconds more to confirm a write; force each note to it in the event loop, if asked."""
    write, add, commit = GroupCommit.flush, GroupCommit.add, GroupCommit.commit

    def slow(log: GroupCommit[Any]) -> None:
        if log._due:  # noqa: SLF001 - only what is written takes time
            time.sleep(extra)
        write(log)

    def add_and_write(log: GroupCommit[Any], item: Any) -> None:
        add(log, item)
        slow(log)

    async def nothing(_: GroupCommit[Any]) -> None: ...

    changes: dict[str, Callable[..., Any]] = {"flush": slow}
    if in_loop:
        changes |= {"add": add_and_write, "commit": nothing}
    for name, change in changes.items():
        setattr(GroupCommit, name, change)
    try:
        yield
    finally:
        for name, original in (("flush", write), ("add", add), ("commit", commit)):
            setattr(GroupCommit, name, original)


async def launch(panel: PanelicaClient, prefix: str, sites: int, directory: Path) -> Launch:
    """Launch sites, and measure it."""
    wanted = manifest(prefix, sites)
    gc.collect()
    ticker = Ticker()
    ticking = asyncio.create_task(ticker.run())
    begun = time.perf_counter()
    async for outcome in apply(
        panel,
        wanted,
        journal=directory / f"{prefix}.journal.db",
        credentials=directory / f"{prefix}.passwords.csv",
    ):
        if outcome.status is not SiteStatus.DONE:
            raise RuntimeError(f"{outcome.domain}: {outcome.reason}")
    seconds = time.perf_counter() - begun
    ticking.cancel()
    return Launch(
        rate=sites * OBJECTS_PER_SITE / seconds,
        stop=max(ticker.delays),
        stops=sum(delay for delay in ticker.delays if delay > 5 * TICK) / seconds,
    )


@asynccontextmanager
async def sandbox() -> AsyncGenerator[PanelicaClient, None]:
    """Start a sandbox in a separate process, and connect to it."""
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
    """Serve a sandbox until the standard input is closed."""
    async with Sandbox(tier="enterprise") as box:
        print(json.dumps([box.base_url, box.api_key, box.api_secret]), flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def measure(rounds: int, sites: int, extras: Sequence[float]) -> dict[str, dict[str, list[Launch]]]:
    """Launch in turns, and return what each launch took: by disk, then by way of writing."""
    figures: dict[str, dict[str, list[Launch]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        async with sandbox() as panel:
            await launch(panel, "warm", 2, Path(directory))
            for number in range(rounds):
                for extra in extras:
                    for name in (BASELINE, OURS):
                        prefix = f"s{number}x{extra * 1000:.0f}{'b' if name == BASELINE else 'o'}"
                        with disk(extra, in_loop=name == BASELINE):
                            took = await launch(panel, prefix, sites, Path(directory))
                        figures.setdefault(_title(extra), {}).setdefault(name, []).append(took)
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
        print(json.dumps({title: {name: [attrs.asdict(took) for took in each] for name, each in by_name.items()}
                          for title, by_name in figures.items()}))  # fmt: skip
        return 0
    print(", ".join(f"{name}: {value}" for name, value in machine.describe(["panelica_async", "aiohttp"]).items()))
    for title, by_name in figures.items():
        print(f"\n{title}, {sites} sites with {OBJECTS_PER_SITE} objects, median of {rounds}")
        for name, each in by_name.items():
            rate, stop, stops = (median(values) for values in zip(*map(attrs.astuple, each), strict=True))
            loop = f"longest stop of the loop {stop * 1000:6.1f} ms, stopped {stops:5.1%}"
            print(f"  {name:28} {rate:6.0f} objects/s, {loop}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
