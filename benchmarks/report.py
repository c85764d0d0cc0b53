"""Turns samples into figures: medians, ratios to the baseline of the same rounds, and whether the targets are met."""

from collections.abc import Callable, Mapping
from statistics import median, quantiles
from typing import Any

import attrs

from benchmarks.clients import BASELINE, BY_HAND, GENERATED, IN_FLIGHT, OURS
from benchmarks.measure import Sample, Samples

Figures = Callable[[Sample], float]


@attrs.frozen(kw_only=True)
class Comparison:
    """What was measured with one event loop, one verb and one number of requests in flight."""

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
        """Return how much more processor time a client needs."""
        return self._ratio(name, baseline, lambda sample: sample.cpu)

    def rate_ratio(self, name: str, baseline: str = BASELINE.name) -> "Ratio":
        """Return how many times as many requests a client makes in a second."""
        return self._ratio(name, baseline, lambda sample: 1 / sample.wall)

    def _ratio(self, name: str, baseline: str, figure: Figures) -> "Ratio":
        mine, other = self.samples[name], self.samples[baseline]
        ratios = [figure(mine[number]) / figure(other[number]) for number in mine.keys() & other.keys()]
        low, middle, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        return Ratio(low=low, median=middle, high=high)


@attrs.frozen(kw_only=True)
class Ratio:
    """Ratios of rounds: the middle one, and the bounds of the middle half."""

    low: float
    median: float
    high: float


@attrs.frozen(kw_only=True)
class Target:
    """What is promised, and what was measured."""

    name: str
    value: float
    promise: str
    met: bool


_MOST_CPU = {("get", 1): 1.15, ("get", IN_FLIGHT): 1.18, ("create", 1): 1.25}
"""CPU to that of the client by hand, by verb and requests in flight."""


def targets(comparison: Comparison) -> list[Target]:
    """Return the promises about a comparison."""
    most = _MOST_CPU[comparison.verb, comparison.in_flight]
    cpu = comparison.cpu_ratio(OURS.name, BY_HAND.name).median
    name = f"{comparison.title}: CPU, to {BY_HAND.name}"
    found = [Target(name=name, value=cpu, promise=f"at most {most:.2f}", met=cpu <= most)]
    if comparison.in_flight == IN_FLIGHT:
        for client in GENERATED:
            if client.name in comparison.samples:
                rate = comparison.rate_ratio(OURS.name, client.name).median
                found.append(
                    Target(
                        name=f"{comparison.title}: requests/s, to {client.name}",
                        value=rate,
                        promise="at least 2.00",
                        met=rate >= 2,
                    )
                )
    return found


def as_data(comparison: Comparison) -> list[dict[str, Any]]:
    """Return the figures of a comparison, one row a client."""
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


def as_table(comparison: Comparison) -> str:
    """Return the figures of a comparison as lines of text."""
    lines = [f"{comparison.title:<34}{'CPU us':>9}{'ratio':>8}{'(middle half)':>18}{'requests/s':>13}{'ratio':>8}"]
    for row in as_data(comparison):
        cpu, rate = row["cpu_ratio"], row["rate_ratio"]
        spread = f"({cpu['low']:.2f} to {cpu['high']:.2f})"
        lines.append(
            f"  {row['client']:<32}{row['cpu_us']:>9.0f}{cpu['median']:>8.2f}{spread:>18}"
            f"{row['requests_per_second']:>13,.0f}{rate['median']:>8.2f}"
        )
    return "\n".join(lines)
