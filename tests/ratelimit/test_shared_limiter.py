"""The limiters of an API key: one for each event loop, all with one quota."""

import asyncio
import contextlib
import gc
import threading
import weakref

from panelica_async.errors import RateLimitWaitError
from panelica_async.ratelimit import RateLimit, shared_limiter
from panelica_async.ratelimit.limiter import _limiters
from tests.support.virtual_time import run

ORIGIN = "https://panel.example.com:8443"
KEY = "pk_live_0123456789"
STARTER = RateLimit.for_tier("starter")


def test_only_clients_of_one_key_share_a_limiter():
    async def main() -> None:
        limiter = shared_limiter(ORIGIN, KEY, STARTER)
        assert shared_limiter(ORIGIN, KEY, STARTER) is limiter
        assert shared_limiter(ORIGIN, "pk_live_other", STARTER) is not limiter
        assert shared_limiter("https://other.example.com:8443", KEY, STARTER) is not limiter

    run(main())


def test_existing_limiter_keeps_its_limit():
    async def main() -> None:
        limiter = shared_limiter(ORIGIN, KEY, STARTER)
        limiter.reconfigure(RateLimit.for_tier("professional"))
        assert shared_limiter(ORIGIN, KEY, STARTER).limit == RateLimit.for_tier("professional")

    run(main())


def test_limit_rises_above_the_first_only_if_it_may():
    async def main(key: str, *, may_rise: bool) -> RateLimit:
        limiter = shared_limiter(ORIGIN, key, STARTER, may_rise=may_rise)
        limiter.observe(200, {"X-RateLimit-Limit-Minute": "300"})
        return limiter.limit

    assert run(main(KEY, may_rise=False)) == STARTER
    assert run(main("pk_live_other", may_rise=True)) == RateLimit(per_minute=300)


def test_limiter_is_freed_with_its_last_client():
    async def main() -> None:
        first = shared_limiter(ORIGIN, KEY, STARTER)
        second = shared_limiter(ORIGIN, KEY, STARTER)
        await first.acquire()
        del first
        assert shared_limiter(ORIGIN, KEY, STARTER).granted == 1
        del second
        gc.collect()
        assert shared_limiter(ORIGIN, KEY, STARTER).granted == 0

    run(main())


def test_limiter_stays_while_a_caller_waits():
    async def main() -> None:
        limiter = shared_limiter(ORIGIN, KEY, STARTER)
        limiter.pause(60)
        waiter = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(1)
        del limiter
        gc.collect()
        assert shared_limiter(ORIGIN, KEY, STARTER).waiting == 1
        await waiter

    run(main())


def test_closed_limiter_is_not_shared():
    async def main() -> None:
        limiter = shared_limiter(ORIGIN, KEY, STARTER)
        limiter.close()
        assert not shared_limiter(ORIGIN, KEY, STARTER).closed

    run(main())


def test_limiters_end_with_their_event_loop():
    loops, limiters = [], []

    async def main() -> None:
        limiter = shared_limiter(ORIGIN, KEY, STARTER)
        await limiter.acquire()
        assert limiter.granted == 1
        loops.append(weakref.ref(asyncio.get_running_loop()))
        limiters.append(limiter)

    run(main())
    run(main())
    assert limiters[0] is not limiters[1]
    limiters.clear()
    gc.collect()
    assert [loop() for loop in loops] == [None, None]


def test_shared_limiter_does_not_keep_the_key():
    async def main() -> str:
        limiter = shared_limiter(ORIGIN, KEY, STARTER)
        (limiters,) = [known for known in _limiters.values() if limiter in known.values()]
        return repr(list(limiters.items()))

    assert KEY not in run(main())


def test_successive_loops_share_a_quota():
    async def job() -> int:
        limiter = shared_limiter(ORIGIN, KEY, RateLimit(per_minute=6, burst=60))
        return sum(limiter.try_acquire() for _ in range(8))

    assert [asyncio.run(job()) for _ in range(3)] == [6, 0, 0]


def test_threads_with_loops_share_a_quota():
    granted = []

    async def work() -> None:
        limiter = shared_limiter(ORIGIN, KEY, RateLimit(per_minute=6, burst=60))
        for _ in range(20):
            with contextlib.suppress(RateLimitWaitError):
                await limiter.acquire(max_wait=0)
                granted.append(1)

    threads = [threading.Thread(target=asyncio.run, args=(work(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(granted) == 6


def test_loops_with_their_own_clock_share_nothing():
    async def job() -> bool:
        return shared_limiter(ORIGIN, KEY, RateLimit(per_minute=1)).try_acquire()

    assert [run(job()), run(job())] == [True, True]
