"""The virtual loop itself: if its clock were wrong, tests in virtual time would prove nothing."""

import asyncio
import time

import pytest

from tests.support.virtual_time import DeadlockError, EndlessError, run


def test_day_passes_at_once():
    async def main() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(86_400)
        return loop.time() - started

    before = time.monotonic()
    assert run(main()) == pytest.approx(86_400, abs=1e-3)
    assert time.monotonic() - before < 3600


def test_timers_fire_in_order_and_on_time():
    fired = []

    async def sleeper(delay: float) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await asyncio.sleep(delay)
        fired.append((delay, loop.time() - started))

    async def main() -> None:
        await asyncio.gather(*map(sleeper, [5, 0.5, 60, 1]))

    run(main())
    assert [delay for delay, _ in fired] == [0.5, 1, 5, 60]
    assert all(took == pytest.approx(delay, abs=1e-4) for delay, took in fired)


def test_waiting_for_nothing_raises_deadlock_error():
    cancelled = []

    async def main() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(DeadlockError):
        run(main())
    assert cancelled == [True]


def test_polling_without_end_is_noticed_and_cancelled():
    cancelled = []

    async def main() -> None:
        try:
            while True:  # noqa: ASYNC110 - what is tested
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    with pytest.raises(EndlessError, match="the loop took 1,000 turns"):
        run(main(), most_turns=1000)
    assert cancelled == [True]


def test_sockets_are_served_before_time_moves():
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()

    async def main() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server, asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            reply = await reader.read()
            writer.close()
            return reply

    assert run(main()) == b"hello\n"
