"""Measures clients in rounds. In each round they take turns, so that all meet the same disturbances."""

import asyncio
import gc
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import cycle
from uuid import uuid4

import attrs

from benchmarks.clients import Call, Client
from benchmarks.server import DOMAIN


@attrs.frozen(kw_only=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: Rounds of a comparison.
        seconds: Length of a turn; longer if a client needs it to make two requests for each one in flight.
        interval: Clients that differ greatly from the baseline take part in one round out of this many.
    """

    rounds: int
    seconds: float
    interval: int


@attrs.frozen(kw_only=True)
class Sample:
    """A client's turn in a round, in seconds per request.

    Attributes:
        cpu: Processor time of this process, without the server.
        wall: Elapsed time, divided by the number of requests.
    """

    cpu: float
    wall: float


# A different id each time, as in real programs: caching whole URLs must not help a client.
_IDS = cycle([str(uuid4()) for _ in range(10_000)])

Samples = dict[int, Sample]
"""A client's samples by round."""


@attrs.frozen
class _Participant:
    name: str
    call: Call
    interval: int
    requests: int
    """Requests in a turn."""


async def compare(
    every_round: Sequence[Client], some_rounds: Sequence[Client], base_url: str, in_flight: int, effort: Effort
) -> dict[str, Samples]:
    """Measure clients in turns, and return their samples by name.

    Args:
        every_round: Clients that take part in every round, because they differ little.
        some_rounds: Clients that take part in some rounds, because they differ greatly.
        base_url: Address of the server.
        in_flight: Concurrent requests of a client.
        effort: How long to measure.

    Raises:
        RuntimeError: A client does not return the domain.
    """
    async with AsyncExitStack() as stack:
        participants = []
        for client in (*every_round, *some_rounds):
            call = await stack.enter_async_context(client.connect(base_url))
            interval = 1 if client in every_round else effort.interval
            requests = await _warm_up(call, in_flight, effort.seconds)
            participants.append(_Participant(client.name, call, interval, requests))
        # Keeps the objects of the setup out of the collections during the turns.
        gc.collect()
        gc.freeze()
        samples: dict[str, Samples] = {participant.name: {} for participant in participants}
        for number in range(effort.rounds):
            turns = [participant for participant in participants if number % participant.interval == 0]
            # Alternate the order, so that no client always follows the same one.
            for participant in turns if number % 2 else reversed(turns):
                sample = await _measure_turn(participant.call, in_flight, participant.requests)
                samples[participant.name][number] = sample
        return samples


async def _warm_up(call: Call, in_flight: int, seconds: float) -> int:
    """Check the result of a client, let it open its connections, and return how many requests fill a turn."""
    domain = await call(next(_IDS))
    name = domain["domain"] if isinstance(domain, dict) else getattr(domain, "domain", None)
    if name != DOMAIN:
        raise RuntimeError(f"expected {DOMAIN}, a client returned {domain!r}")
    await _measure_turn(call, in_flight, in_flight)
    sample = await _measure_turn(call, in_flight, in_flight + 50)
    return max(2 * in_flight, round(seconds / sample.wall))


async def _measure_turn(call: Call, in_flight: int, requests: int) -> Sample:
    numbers = iter(range(requests))

    async def work() -> None:
        for _ in numbers:
            await call(next(_IDS))

    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(work())
    return Sample(cpu=(time.process_time() - cpu) / requests, wall=(time.perf_counter() - wall) / requests)
