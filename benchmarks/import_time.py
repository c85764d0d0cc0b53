"""What importing and the first call cost: `python -m benchmarks.import_time [--quick] [--json]`.

Fresh interpreters import aiohttp, attrs and cattrs, which are the floor, and then the package on top of them: with
`import panelica_async` alone, and with the client, which is loaded on first use. Others run everything up to the reply
to a first call, imports included, and are compared with raw aiohttp and orjson. Memory is the peak of the process.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from typing import Any

import attrs

from benchmarks import machine
from benchmarks.server import DOMAIN_ID, running_server

_PROMISE = 60.0
"""The most milliseconds that `import panelica_async` may add."""


@attrs.frozen
class Subject:
    """A program to measure, and the floor to compare it with."""

    name: str
    floor: str
    program: str
    is_on_top: bool
    """Whether the program runs after its floor in the same interpreter, not in one of its own."""


_FLOOR = "import aiohttp, attrs, cattrs"
_RAW_CALL = """
import asyncio, aiohttp, orjson
async def main():
    async with aiohttp.ClientSession() as session, session.get("{base_url}/v1/domains/{domain}") as response:
        return orjson.loads(await response.read())
asyncio.run(main())
"""
_CALL = """
import asyncio
from panelica_async import PanelicaClient
async def main():
    key = dict(api_key="pk_live_bench", api_secret="sk_live_bench", tier="enterprise")
    async with PanelicaClient("{base_url}", **key) as panel:
        return await panel.domains.get("{domain}")
asyncio.run(main())
"""
_SUBJECTS = (
    Subject("import panelica_async", _FLOOR, "import panelica_async", is_on_top=True),
    Subject(
        "from panelica_async import PanelicaClient", _FLOOR, "from panelica_async import PanelicaClient", is_on_top=True
    ),
    Subject("imports and a first call", _RAW_CALL, _CALL, is_on_top=False),
)
# On Linux, getrusage includes the peak from before exec; /proc does not.
_HARNESS = """
import resource, sys, time
def peak():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
def run(program):
    began, held = time.perf_counter(), peak()
    exec(program, {{"__name__": "measured"}})
    return time.perf_counter() - began, peak() - held
print(*[figure for program in {programs!r} for figure in run(program)])
"""
# Kilobytes on Linux, bytes on macOS.
_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.import_time", description="What importing costs.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    with running_server(machine.cores()[0]) as base_url:
        rows = [_measure(subject, base_url, 5 if options.quick else 25) for subject in _SUBJECTS]
    if options.json:
        print(json.dumps({"machine": machine.describe(["aiohttp", "attrs", "cattrs"]), "results": rows}, indent=2))
        return
    print(f"{'medians':<44}{'floor ms':>10}{'added':>8}{'ratio':>8}{'floor MiB':>12}{'added':>8}")
    for row in rows:
        print(
            f"{row['subject']:<44}{row['floor_ms']:>10.0f}{row['added_ms']:>8.0f}{row['ratio']:>8.2f}"
            f"{row['floor_mib']:>12.1f}{row['added_mib']:>8.1f}"
        )
    added = rows[0]["added_ms"]
    print(f"{'met' if added <= _PROMISE else 'missed'}: import panelica_async adds at most {_PROMISE:.0f} ms")


def _measure(subject: Subject, base_url: str, rounds: int) -> dict[str, Any]:
    """Return the costs of the floor and what the subject adds, as medians over fresh interpreters."""
    floor, program = (text.format(base_url=base_url, domain=DOMAIN_ID) for text in (subject.floor, subject.program))
    samples: list[tuple[float, float, float, float]] = []
    for _ in range(rounds):
        if subject.is_on_top:
            samples.append(_run(floor, program))
        else:
            (floor_ms, floor_mib), (ms, mib) = _run(floor), _run(program)
            samples.append((floor_ms, floor_mib, ms - floor_ms, mib - floor_mib))
    floor_ms, floor_mib, added_ms, added_mib = (median(column) for column in zip(*samples, strict=True))
    return {
        "subject": subject.name,
        "floor_ms": floor_ms,
        "added_ms": added_ms,
        "ratio": 1 + added_ms / floor_ms,
        "floor_mib": floor_mib,
        "added_mib": added_mib,
    }


def _run(*programs: str) -> tuple[Any, ...]:
    """Run programs one after another in a fresh interpreter; return the milliseconds and MiB of each."""
    process = subprocess.run(  # noqa: S603 - the programs above
        [sys.executable, "-c", _HARNESS.format(programs=programs)], capture_output=True, text=True, check=True
    )
    figures = [float(text) for text in process.stdout.split()]
    scales = (1e3, _MEMORY_UNIT / 2**20)
    return tuple(figure * scales[index % 2] for index, figure in enumerate(figures))


if __name__ == "__main__":
    main()
