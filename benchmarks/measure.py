"""Measures clients in turns: every round runs them one after another, so that they meet the same disturbances."""

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from uuid import uuid4

import attrs

from benchmarks.clients import Client, Fetch
from benchmarks.server import DOMAIN


@attrs.frozen(kw_only=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Rounds of a comparison.
        seconds: Length of a turn; longer where a client needs it to make two requests for each one in flight.
        every: Clients that differ much from the baseline take part in one of so many rounds.
    """

    rounds: int
    seconds: float
    every: int


@attrs.frozen(kw_only=True)
class Sample:
    """A client's turn in a round; seconds for each request.

    Attributes:
        cpu: Processor time of this process. The server has its own.
        wall: Time that passed, divided by the number of requests.
    """

    cpu: float
    wall: float


# A different id each time, as programs ask: a client that remembers whole URLs gains nothing by it.
_IDS = cycle([str(uuid4()) for _ in range(10_000)])

Samples = dict[int, Sample]
"""A client's samples by round."""


@attrs.frozen
class _Entrant:
    name: str
    fetch: Fetch
    every: int
    count: int


async def compare(
    close: Sequence[Client], far: Sequence[Client], base_url: str, in_flight: int, effort: Effort
) -> dict[str, Samples]:
    """Measure clients in turns, with so many requests in flight; return their samples by name.

    Args:
        close: Clients that take part in every round, because they differ little.
        far: Clients that take part in few rounds, because they differ much.
        base_url: Where the server is.
        in_flight: Requests at one time.
        effort: How long to measure.

    Raises:
        RuntimeError: A client does not return the domain.
    """
    async with AsyncExitStack() as stack:
        entrants = []
        for client in (*close, *far):
            fetch = await stack.enter_async_context(client.connect(base_url))
            every = 1 if client in close else effort.every
            entrants.append(_Entrant(client.name, fetch, every, await _warm_up(fetch, in_flight, effort.seconds)))
        # What is there by now stays: no collection during a turn need look at it.
        gc.collect()
        gc.freeze()
        samples: dict[str, Samples] = {entrant.name: {} for entrant in entrants}
        for number in range(effort.rounds):
            present = [entrant for entrant in entrants if number % entrant.every == 0]
            # Back and forth, so that no client always follows the same one.
            for entrant in present if number % 2 else reversed(present):
                samples[entrant.name][number] = await _turn(entrant.fetch, in_flight, entrant.count)
        return samples


async def _warm_up(fetch: Fetch, in_flight: int, seconds: float) -> int:
    """Check what a client returns, let it open its connections, and return how many requests fill a turn."""
    domain = await fetch(next(_IDS))
    name = domain["domain"] if isinstance(domain, dict) else getattr(domain, "domain", None)
    if name != DOMAIN:
        raise RuntimeError(f"expected {DOMAIN}, a client returned {domain!r}")
    await _turn(fetch, in_flight, in_flight)
    sample = await _turn(fetch, in_flight, in_flight + 50)
    return max(2 * in_flight, round(seconds / sample.wall))


async def _turn(fetch: Fetch, in_flight: int, count: int) -> Sample:
    numbers = iter(range(count))

    async def work() -> None:
        for _ in numbers:
            await fetch(next(_IDS))

    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return Sample(cpu=(time.process_time() - cpu) / count, wall=(time.perf_counter() - wall) / count)
