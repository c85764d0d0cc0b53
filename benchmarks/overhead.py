"""What a call costs: `python -m benchmarks.overhead [--quick] [--json]`.

The full call of this package (arguments, signature, limiter, retry, reply as a model) against raw aiohttp and orjson,
which only fetch and parse, and against what else one would use: httpx, and clients generated from the same OpenAPI
document, neither of which sign. Domains with a different id each time over the loopback, one request after another and
100 at a time, with asyncio and with uvloop; and a create with a small body. The server is a process of its own, on
another core where there is one.

CPU is processor time of the client's process for each request. Ratios are to the raw client in the same round; the
median of all rounds counts, because other programs disturb single ones. The promises are to the client by hand: the
signature and the model, and nothing else.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import attrs

from benchmarks import machine
from benchmarks.clients import CREATES, GETS, IN_FLIGHT, OTHERS, Client
from benchmarks.generators import generate
from benchmarks.measure import Effort, compare
from benchmarks.report import Comparison, as_data, as_table, targets
from benchmarks.server import LOOPS, loop_factory, running_server

_FULL = Effort(rounds=64, seconds=0.1, every=4)
_QUICK = Effort(rounds=12, seconds=0.05, every=6)
_PACKAGES = (
    *("panelica_async", "aiohttp", "orjson", "attrs", "cattrs", "uvloop"),
    *("httpx", "openapi-generator-cli", "pydantic", "openapi-python-client"),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="What a call costs.")
    parser.add_argument("--quick", action="store_true", help="about 25 s instead of 2 min; the ratios are less sure")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    # Some clients would send the requests through a proxy of the environment.
    os.environ["NO_PROXY"] = "127.0.0.1"
    facts = machine.describe(_PACKAGES)
    if not options.json:
        print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    with tempfile.TemporaryDirectory() as folder:
        reasons = generate(Path(folder))
        sys.path.insert(0, folder)
        skipped = {client.name: reason for client in OTHERS if (reason := _missing(client, reasons))}
        if find_spec("uvloop") is None:
            skipped["uvloop"] = "uvloop is not installed"
        if not options.json:
            for name, reason in skipped.items():
                print(f"skipped {name}: {reason}")
        comparisons = []
        for comparison in _comparisons(skipped, _QUICK if options.quick else _FULL):
            comparisons.append(comparison)
            if not options.json:
                print(f"\n{as_table(comparison)}", flush=True)
    results = [target for comparison in comparisons for target in targets(comparison)]
    if options.json:
        figures = {
            "machine": facts,
            "skipped": skipped,
            "results": [row for comparison in comparisons for row in as_data(comparison)],
            "targets": [attrs.asdict(target) for target in results],
        }
        print(json.dumps(figures, indent=2))
    else:
        print("\nTargets of panelica_async")
        for target in results:
            print(f"  {'met   ' if target.met else 'missed'}  {target.name}: {target.value:.2f} ({target.promise})")


def _missing(client: Client, reasons: Mapping[str, str]) -> str | None:
    """Return why a client cannot take part."""
    for module in client.modules:
        if module in reasons:
            return reasons[module]
        if find_spec(module) is None:
            return f"{module} is not installed"
    return None


def _comparisons(skipped: Mapping[str, str], effort: Effort) -> Iterator[Comparison]:
    """Measure with each event loop, one request after another and many at a time."""
    others = [client for client in OTHERS if client.name not in skipped]
    first, *_, last = machine.cores() * 2
    with running_server(first) as base_url:
        machine.pin(last)
        for loop in LOOPS:
            if loop in skipped:
                continue
            for verb, close, far, in_flight in (
                ("get", GETS, others, 1),
                ("get", GETS, others, IN_FLIGHT),
                ("create", CREATES, [], 1),
            ):
                with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
                    samples = runner.run(compare(close, far, base_url, in_flight, effort))
                yield Comparison(loop=loop, verb=verb, in_flight=in_flight, samples=samples)


if __name__ == "__main__":
    main()
