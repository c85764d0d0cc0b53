"""Lanes and waits of a whole client, in virtual time: bulk work neither delays interactive calls nor starves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any

import pytest

from panelica_async import PanelicaClient, PanelicaError, RateLimitWaitError
from tests.conftest import API_KEY, API_SECRET
from tests.support.raw_server import RawServer
from tests.support.virtual_time import now, run

# The duration of a call that does not wait: the virtual clock ticks with every turn of the loop.
AT_ONCE = 0.001

Test = Callable[..., Coroutine[Any, Any, None]]

pytestmark = pytest.mark.once


def in_virtual_time(test: Test) -> Callable[..., None]:
    @wraps(test)
    def main(**arguments: Any) -> None:
        run(test(**arguments))

    return main


class Launch:
    """A client with a professional key, and the calls it made."""

    def __init__(self, server: RawServer, panel: PanelicaClient) -> None:
        self.server = server
        self.panel = panel
        self.bulk = panel.with_options(lane="bulk")
        self._tasks: list[asyncio.Task[Any]] = []

    def start(self, count: int, panel: PanelicaClient, path: str) -> None:
        """Start this many calls at once."""
        self._tasks += [asyncio.create_task(panel.request("POST", path)) for _ in range(count)]

    async def burst(self) -> None:
        """Let the calls pass that need not wait."""
        await asyncio.sleep(0.1)

    async def end(self) -> None:
        """Let all calls pass."""
        await asyncio.gather(*self._tasks)

    def order(self) -> list[str]:
        """Return the last part of the path of each request, in the order they came."""
        return [request.target.rpartition("/")[2] for request in self.server.requests]


@asynccontextmanager
async def launched(bulk: int = 0) -> AsyncIterator[Launch]:
    """Begin a launch of this many calls with a professional key: 300 a minute."""
    async with (
        RawServer() as server,
        PanelicaClient(server.origin, api_key=API_KEY, api_secret=API_SECRET, tier="professional") as panel,
    ):
        launch = Launch(server, panel)
        launch.start(bulk, launch.bulk, "/v1/bulk")
        await launch.burst()
        yield launch
        await launch.end()


@in_virtual_time
async def test_web_request_passes_a_launch_at_once() -> None:
    async with launched(bulk=300) as launch:
        assert len(launch.order()) < 50
        for _ in range(10):
            called_at = now()
            await launch.panel.request("GET", "/v1/web")
            assert now() - called_at < AT_ONCE
            # A page a few seconds later.
            await asyncio.sleep(3.3)


@in_virtual_time
async def test_launch_gets_a_fifth_beside_many_web_requests() -> None:
    async with launched() as launch:
        # More calls than slots wait.
        launch.start(400, launch.panel, "/v1/web")
        await launch.burst()
        launch.start(60, launch.bulk, "/v1/bulk")
        await launch.end()
        order = launch.order()
        first = order.index("bulk")
        # While both lanes wait, every fifth request belongs to the launch.
        assert order[first : first + 250].count("bulk") == 50
        assert first < 50 + 5


@in_virtual_time
async def test_launch_alone_gets_the_whole_quota() -> None:
    async with launched(bulk=600) as launch:
        started = now()
        await launch.end()
        # 300 in each minute.
        assert 120 <= now() - started <= 120 * 1.02


@pytest.mark.parametrize("lane", ["interactive", "bulk"])
@pytest.mark.parametrize("waiting", [60, 120, 300])
@in_virtual_time
async def test_call_that_would_wait_too_long_fails_at_once(lane: Any, waiting: int) -> None:
    async with launched(bulk=waiting) as launch:
        caller = launch.panel.with_options(lane=lane)
        launch.start(waiting, launch.panel, "/v1/web")
        await launch.burst()
        for max_wait in (0.5, 5.0, 17.0, 30.0, 60.0, 125.0):
            called_at = now()
            [result] = await asyncio.gather(
                caller.with_options(max_wait=max_wait).request("POST", "/v1/last"), return_exceptions=True
            )
            if not isinstance(result, RateLimitWaitError):
                # The estimate is a few per cent off where lanes take turns.
                assert now() - called_at <= max_wait * 1.05 + AT_ONCE
                return
            assert now() - called_at < AT_ONCE
            assert result.wait > result.limit == max_wait
            assert f"allowed in {result.wait:.1f} s, but this call may wait only {max_wait:.1f} s" in result.message
            assert "last" not in launch.order()
        pytest.fail("refused every time")


@in_virtual_time
async def test_later_pause_fails_calls_that_cannot_wait_for_it() -> None:
    async with launched(bulk=150) as launch:
        limiter = launch.panel._transport.keys.current.quota.limiter
        patient = [
            asyncio.create_task(launch.bulk.with_options(max_wait=60).request("POST", "/v1/last")) for _ in range(100)
        ]
        await launch.burst()
        paused = now()
        limiter.pause(120)
        for result in await asyncio.gather(*patient, return_exceptions=True):
            assert isinstance(result, RateLimitWaitError)
        # Calls that waited for a slot before they could wait for quota do not wait longer.
        assert now() - paused <= 60


@pytest.mark.parametrize("deadline", [1.0, 20.0])
@in_virtual_time
async def test_call_with_quota_due_after_its_deadline_fails_at_once(deadline: float) -> None:
    async with launched(bulk=300) as launch:
        called_at = now()
        with pytest.raises(RateLimitWaitError) as caught:
            await launch.bulk.with_options(deadline=deadline).request("POST", "/v1/late")
        assert now() - called_at < AT_ONCE
        assert caught.value.limit == pytest.approx(deadline, abs=AT_ONCE)
        assert caught.value.hint == "Call again after that time, or allow a longer wait: max_wait=, deadline=."
        # It is the 301st, and would go in the next minute.
        assert caught.value.wait == pytest.approx(60.5, abs=0.5)
        assert "late" not in launch.order()


@in_virtual_time
async def test_refused_call_leaves_no_trace() -> None:
    async with launched(bulk=100) as launch:
        with pytest.raises(PanelicaError):
            await launch.bulk.with_options(max_wait=0.1).request("POST", "/v1/last")
        await launch.end()
        assert launch.order() == ["bulk"] * 100
        await launch.bulk.with_options(max_wait=1).request("POST", "/v1/last")
        slots = launch.panel._transport._sessions.slots
        assert slots.try_acquire("bulk")
        slots.release("bulk")
