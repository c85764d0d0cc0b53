"""What a call costs: `python -m benchmarks.overhead [--quick] [--json]`.

This compares the full call of this package (arguments, signature, limiter, retry, reply as a model) with raw aiohttp
and orjson, which only fetch and parse, and with the alternatives: httpx, and clients generated from the same OpenAPI
document, none of which sign. They fetch domains, each with another id, over the loopback, one after another and 100 at
a time, with asyncio and with uvloop; and they create domains with a small body. The server is a separate process, on
another core if there is one.

CPU is the processor time of the client's process per request. Ratios are to the raw client in the same round; the
median of all rounds counts, because other programs disturb single ones. The promises compare with the client by hand,
which only signs and returns a model.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import attrs

from benchmarks import machine
from benchmarks.clients import BASELINE, BY_HAND, CREATES, GENERATED, GETS, IN_FLIGHT, OTHERS, OURS, Client, generate
from benchmarks.measure import Effort, Sample, Samples, compare
from benchmarks.server import LOOPS, loop_factory, running_server

_FULL = Effort(rounds=64, seconds=0.1, interval=4)
_QUICK = Effort(rounds=12, seconds=0.05, interval=6)
_MAX_CPU_RATIO = {("get", 1): 1.15, ("get", IN_FLIGHT): 1.18, ("create", 1): 1.25}
"""The promised ratio of CPU to that of the client by hand, by verb and requests in flight."""
_PACKAGES = (
    *("panelica_async", "aiohttp", "orjson", "attrs", "cattrs", "uvloop"),
    *("httpx", "openapi-generator-cli", "pydantic", "openapi-python-client"),
)


@attrs.frozen(kw_only=True)
class Comparison:
    """The samples of one event loop, one verb and one number of requests in flight."""

    loop: str
    verb: str
    in_flight: int
    samples: Mapping[str, Samples]

    @property
    def title(self) -> str:
        """Its heading."""
        return (
            f"{self.loop}, {self.verb}, {'one after another' if self.in_flight == 1 else f'{self.in_flight} in flight'}"
        )

    def cpu_ratio(self, name: str, baseline: str = BASELINE.name) -> "Ratio":
        """Return how many times the processor time of the baseline a client needs."""
        return self._ratio(name, baseline, lambda sample: sample.cpu)

    def rate_ratio(self, name: str, baseline: str = BASELINE.name) -> "Ratio":
        """Return how many times the requests per second of the baseline a client makes."""
        return self._ratio(name, baseline, lambda sample: 1 / sample.wall)

    def _ratio(self, name: str, baseline: str, figure: Callable[[Sample], float]) -> "Ratio":
        samples, base = self.samples[name], self.samples[baseline]
        ratios = [figure(samples[number]) / figure(base[number]) for number in samples.keys() & base.keys()]
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return Ratio(low=low, median=middle, high=high)


@attrs.frozen(kw_only=True)
class Ratio:
    """The median ratio of all rounds, with the bounds of the middle half."""

    low: float
    median: float
    high: float


@attrs.frozen(kw_only=True)
class Target:
    """A promise, and the measured value."""

    name: str
    value: float
    promise: str
    met: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description="What a call costs.")
    parser.add_argument("--quick", action="store_true", help="about 25 s instead of 2 min; the ratios are less sure")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    # Some clients would use a proxy from the environment.
    os.environ["NO_PROXY"] = "127.0.0.1"
    machine_description = machine.describe(_PACKAGES)
    if not options.json:
        print("\n".join(f"{name}: {value}" for name, value in machine_description.items()))
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
        for comparison in _measure(skipped, _QUICK if options.quick else _FULL):
            comparisons.append(comparison)
            if not options.json:
                print(f"\n{_as_table(comparison)}", flush=True)
    results = [target for comparison in comparisons for target in _targets(comparison)]
    if options.json:
        figures = {
            "machine": machine_description,
            "skipped": skipped,
            "results": [row for comparison in comparisons for row in _as_data(comparison)],
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


def _measure(skipped: Mapping[str, str], effort: Effort) -> Iterator[Comparison]:
    """Measure with each event loop, one request after another and many at a time."""
    others = [client for client in OTHERS if client.name not in skipped]
    first, *_, last = machine.cores() * 2
    with running_server(first) as base_url:
        machine.pin(last)
        for loop in LOOPS:
            if loop in skipped:
                continue
            for verb, every_round, some_rounds, in_flight in (
                ("get", GETS, others, 1),
                ("get", GETS, others, IN_FLIGHT),
                ("create", CREATES, [], 1),
            ):
                with asyncio.Runner(loop_factory=loop_factory(loop)) as runner:
                    samples = runner.run(compare(every_round, some_rounds, base_url, in_flight, effort))
                yield Comparison(loop=loop, verb=verb, in_flight=in_flight, samples=samples)


def _targets(comparison: Comparison) -> list[Target]:
    """Return the promises about a comparison, with their measured values."""
    limit = _MAX_CPU_RATIO[comparison.verb, comparison.in_flight]
    cpu = comparison.cpu_ratio(OURS.name, BY_HAND.name).median
    name = f"{comparison.title}: CPU, to {BY_HAND.name}"
    targets = [Target(name=name, value=cpu, promise=f"at most {limit:.2f}", met=cpu <= limit)]
    if comparison.in_flight == IN_FLIGHT:
        for client in GENERATED:
            if client.name in comparison.samples:
                rate = comparison.rate_ratio(OURS.name, client.name).median
                targets.append(
                    Target(
                        name=f"{comparison.title}: requests/s, to {client.name}",
                        value=rate,
                        promise="at least 2.00",
                        met=rate >= 2,
                    )
                )
    return targets


def _as_data(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the figures of a comparison, with a row for each client."""
    return [
        {
            "loop": comparison.loop,
            "verb": comparison.verb,
            "in_flight": comparison.in_flight,
            "client": name,
            "rounds": len(samples),
            "cpu_us": median(sample.cpu for sample in samples.values()) * 1e6,
            "cpu_ratio": attrs.asdict(comparison.cpu_ratio(name)),
            "requests_per_second": median(1 / sample.wall for sample in samples.values()),
            "rate_ratio": attrs.asdict(comparison.rate_ratio(name)),
        }
        for name, samples in comparison.samples.items()
    ]


def _as_table(comparison: Comparison) -> str:
    """Return the figures of a comparison as lines of text."""
    lines = [f"{comparison.title:<34}{'CPU us':>9}{'ratio':>8}{'(middle half)':>18}{'requests/s':>13}{'ratio':>8}"]
    for row in _as_data(comparison):
        cpu, rate = row["cpu_ratio"], row["rate_ratio"]
        spread = f"({cpu['low']:.2f} to {cpu['high']:.2f})"
        lines.append(
            f"  {row['client']:<32}{row['cpu_us']:>9.0f}{cpu['median']:>8.2f}{spread:>18}"
            f"{row['requests_per_second']:>13,.0f}{rate['median']:>8.2f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
