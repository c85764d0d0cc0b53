"""How many instructions a call takes: `python -m benchmarks.instructions [--json]`.

Processor time, which `overhead` measures, depends on what else the machine does: other programs empty the caches. The
number of instructions does not, so it compares two versions of the code on a busy machine too. valgrind runs the client
and counts; the server runs as usual. Ratios are to the client by hand, as in `overhead`, but leave out what waiting for
memory costs.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import count

from benchmarks import machine
from benchmarks.clients import BY_HAND, CREATES, GETS, IN_FLIGHT, OURS
from benchmarks.server import running_server

_CLIENTS = {"get": {client.name: client for client in GETS}, "create": {client.name: client for client in CREATES}}
_CALLS = (500, 1500)
"""Calls of the two runs whose difference is counted, which leaves out the start of the program."""
_VALGRIND = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null")
_COLLECTED = re.compile(r"Collected : (\d+)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description="Instructions of a call.")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--run", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run is not None:
        verb, name, in_flight, calls, base_url = options.run
        asyncio.run(_run(verb, name, int(in_flight), int(calls), base_url))
        return
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is not installed; install it with the package manager of the system")
    rows = []
    with running_server(machine.cores()[0]) as base_url:
        for verb, in_flight in (("get", 1), ("get", IN_FLIGHT), ("create", 1)):
            counts = {name: _count(verb, name, in_flight, base_url) for name in (BY_HAND.name, OURS.name)}
            ratio = counts[OURS.name] / counts[BY_HAND.name]
            rows.append({"verb": verb, "in_flight": in_flight, "instructions": counts, "ratio": ratio})
            if not options.json:
                figures = ", ".join(f"{name} {number:,}" for name, number in counts.items())
                print(f"{verb}, {in_flight} in flight: {figures}, ratio {ratio:.3f}", flush=True)
    if options.json:
        print(json.dumps({"machine": machine.describe(["panelica_async", "aiohttp"]), "results": rows}, indent=2))


def _count(verb: str, name: str, in_flight: int, base_url: str) -> int:
    """Return the instructions of one call."""
    few, many = (_count_run(verb, name, str(in_flight), str(calls), base_url) for calls in _CALLS)
    return round((many - few) / (_CALLS[1] - _CALLS[0]))


def _count_run(*run: str) -> int:
    """Return the instructions of a program that makes calls, from its start to its end."""
    process = subprocess.run(  # noqa: S603 - this module
        [*_VALGRIND, sys.executable, "-m", "benchmarks.instructions", "--run", *run],
        # The order of sets and dicts would change the count.
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    collected = _COLLECTED.search(process.stderr)
    if process.returncode or collected is None:
        raise RuntimeError(f"valgrind ended with {process.returncode}: {process.stderr.strip()[-2000:]}")
    return int(collected[1])


async def _run(verb: str, name: str, in_flight: int, calls: int, base_url: str) -> None:
    """Make calls, each with another id."""
    ids = count()
    async with _CLIENTS[verb][name].connect(base_url) as call:

        async def work() -> None:
            for _ in range(calls // in_flight):
                await call(f"id-{next(ids)}")

        async with asyncio.TaskGroup() as group:
            for _ in range(in_flight):
                group.create_task(work())


if __name__ == "__main__":
    main()
