"""A member whose store is slow, hangs, loses its memory, or answers too late."""

import asyncio
import random
import sys

import attrs
import pytest

from panelica_async import RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest
from tests.ratelimit.redis_server import RedisServer, needs_redis
from tests.ratelimit.test_redis import VirtualRedis
from tests.ratelimit.test_shared import FileCoordinator
from tests.support.virtual_time import VirtualLoop, now, run

# A slow matrix that gives the same result on every Python.
pytestmark = pytest.mark.once

BUSINESS = RateLimit.for_tier("business")
PROFESSIONAL = RateLimit.for_tier("professional")
STARTER = RateLimit.for_tier("starter")


@attrs.define
class Store:
    """Grants the requested permits after a delay, or fails."""

    delay: float = 0.002
    failure: BaseException | None = None
    requests: list[ReserveRequest] = attrs.field(factory=list[ReserveRequest])

    async def reserve(self, request: ReserveRequest) -> Reservation:
        self.requests.append(request)
        await asyncio.sleep(self.delay)
        if self.failure is not None:
            raise self.failure
        return Reservation(delays=(0.0,) * request.wanted, opens_in=0.0, retry_in=0.0, members=1, store="one")


def test_refusal_during_a_reservation_voids_its_permits():
    """The store did not know of the pause when it granted them."""

    async def main() -> float:
        limiter = RateLimiter(PROFESSIONAL, coordinator=Store(delay=0.5))
        started = now()
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.3)
        limiter.observe(429, {}, retry_after=30)
        await waiting
        return now() - started

    assert run(main()) >= 30.3


def test_reservation_that_the_store_cancels_stops_no_caller():
    """A store whose connection or executor is shut down cancels what it waits for."""

    async def main() -> float:
        limiter = RateLimiter(PROFESSIONAL, coordinator=Store(failure=asyncio.CancelledError()))
        started = now()
        async with asyncio.timeout(60):
            await limiter.acquire()
        return now() - started

    assert run(main()) < 1


def test_reservation_of_a_closed_limiter_ends():
    async def main() -> int:
        store = Store(delay=1.0)
        limiter = RateLimiter(PROFESSIONAL, coordinator=store)
        waiting = asyncio.create_task(limiter.acquire())
        await asyncio.sleep(0.1)
        limiter.close()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(0)
        return len(asyncio.all_tasks()) - 1

    assert run(main()) == 0


def test_report_after_an_outage_has_the_age_of_requests():
    """Requests of ten minutes ago do not count in the present minute."""

    async def main() -> ReserveRequest:
        store = Store(failure=OSError("away"))
        limiter = RateLimiter(PROFESSIONAL, coordinator=store)
        for _ in range(5):
            await limiter.acquire()
        await asyncio.sleep(600)
        store.failure = None
        await limiter.acquire()
        return next(request for request in reversed(store.requests) if request.unrecorded)

    report = run(main())
    assert sum(count for age, count in report.unrecorded if age < 60) <= 1
    assert sum(count for age, count in report.unrecorded if 590 < age < 610) == 5


def test_store_that_lost_its_memory_gets_each_request_once():
    """It was away, and the first report after that has the requests of the outage."""

    class Renamed(Store):
        name = "one"

        async def reserve(self, request: ReserveRequest) -> Reservation:
            return attrs.evolve(await super().reserve(request), store=self.name)

    async def main() -> tuple[int, int]:
        store = Renamed()
        limiter = RateLimiter(PROFESSIONAL, coordinator=store)
        for _ in range(3):
            await limiter.acquire()
        store.failure = OSError("away")
        for _ in range(5):
            await limiter.acquire()
        store.failure, store.name = None, "two"
        del store.requests[:]
        await asyncio.sleep(10)
        await limiter.acquire()
        await asyncio.sleep(1)
        return limiter.granted - 1, sum(count for request in store.requests for _, count in request.unrecorded)

    sent, reported = run(main())
    assert reported == sent


def test_old_count_of_the_panel_is_not_passed_on():
    async def main() -> list[int]:
        store = Store()
        limiter = RateLimiter(PROFESSIONAL, coordinator=store)
        counts = []
        for pause in (0, 30):
            limiter.observe(200, {"X-RateLimit-Limit-Minute": "300", "X-RateLimit-Remaining-Minute": "260"})
            await asyncio.sleep(pause)
            await limiter.acquire()
            counts.append(store.requests[-1].minute_usage)
        return counts

    assert run(main()) == [40, 0]


def test_slow_store_is_not_away(caplog):
    """A new connection to a server that is 0.8 s away takes that long."""

    async def main() -> float:
        limiter = RateLimiter(PROFESSIONAL, coordinator=Store(delay=3.3))
        started = now()
        await limiter.acquire()
        return now() - started

    assert run(main()) < 5
    assert caplog.text == ""


@pytest.mark.parametrize("hang", [False, True])
def test_max_wait_ends_while_the_store_is_asked(hang):
    """No forecast says that there will be no permit."""

    async def main() -> float:
        limiter = RateLimiter(PROFESSIONAL, coordinator=Store(delay=1e9 if hang else 1.5))
        started = now()
        with pytest.raises(RateLimitWaitError) as caught:
            await limiter.acquire(max_wait=1.0)
        assert caught.value.limit == pytest.approx(1.0)
        assert (limiter.granted, limiter.waiting) == (0, 0)
        return now() - started

    assert run(main()) == pytest.approx(1.0, abs=0.01)


def test_max_wait_ends_when_others_take_the_permits():
    async def main() -> float:
        limiter = RateLimiter(STARTER)
        while limiter.try_acquire(lane="bulk"):
            pass
        started = now()
        late = asyncio.create_task(limiter.acquire(lane="bulk", max_wait=limiter.expected_wait("bulk") + 0.01))
        await asyncio.sleep(0)
        others = [asyncio.create_task(limiter.acquire()) for _ in range(4)]
        with pytest.raises(RateLimitWaitError):
            await late
        took = now() - started
        for task in others:
            task.cancel()
        return took

    assert run(main()) <= 1.5


def test_wait_error_names_no_negative_limit():
    """The event loop was busy when `max_wait` ended, and learns of a pause first."""

    async def main() -> RateLimitWaitError:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        limiter = RateLimiter(STARTER)
        while limiter.try_acquire():
            pass
        waiting = asyncio.create_task(limiter.acquire(max_wait=2))
        await asyncio.sleep(0)
        loop._virtual.now += 3
        limiter.pause(60)
        with pytest.raises(RateLimitWaitError) as caught:
            await waiting
        return caught.value

    assert run(main()).limit == 0


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks since Python 3.12")
def test_eager_tasks_get_the_same_permits():
    """A store that answers without yielding would answer in the middle of the request."""

    class Immediate:
        async def reserve(self, request: ReserveRequest) -> Reservation:
            return Reservation(delays=(0.0,) * request.wanted, opens_in=0.0, retry_in=0.0, members=1, store="one")

    async def main() -> int:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
        limiter = RateLimiter(PROFESSIONAL, coordinator=Immediate())
        async with asyncio.timeout(60):
            await asyncio.gather(*(limiter.acquire() for _ in range(40)))
        limiter.observe(429, {}, retry_after=5)
        async with asyncio.timeout(60):
            await asyncio.gather(*(limiter.acquire(max_wait=30) for _ in range(5)))
        return limiter.granted

    assert run(main()) == 45


def test_slow_store_leaves_most_of_the_quota(tmp_path):
    """Three members, and 0.8 s for each answer."""

    async def main() -> int:
        members = [RateLimiter(BUSINESS, coordinator=SlowFile(file)) for _ in range(3)]
        end = now() + 180

        async def caller(limiter: RateLimiter) -> None:
            while now() < end:
                await limiter.acquire()

        async with asyncio.TaskGroup() as group:
            for limiter in members:
                for _ in range(20):
                    group.create_task(caller(limiter))
        return sum(limiter.granted for limiter in members)

    class SlowFile:
        def __init__(self, file: FileCoordinator) -> None:
            self.file = file

        async def reserve(self, request: ReserveRequest) -> Reservation:
            await asyncio.sleep(0.4)
            claim = await self.file.reserve(request)
            await asyncio.sleep(0.4)
            return claim

    file = FileCoordinator(tmp_path / "quota" / "quota.sqlite3")
    granted = run(main())
    file.file.close()
    assert granted >= 0.6 * 3000


@pytest.fixture(params=["file", pytest.param("redis", marks=needs_redis)])
def forgetful(request, tmp_path):
    """Return a function that creates members of a store, and one that clears the store's memory."""
    if request.param == "file":
        made = []

        def member() -> FileCoordinator:
            made.append(FileCoordinator(tmp_path / "quota" / "quota.sqlite3"))
            return made[-1]

        def forget() -> None:
            for file in (tmp_path / "quota").iterdir():
                file.unlink()

        yield member, forget
        for coordinator in made:
            coordinator.file.close()
    else:
        server = RedisServer(tmp_path)
        admin = VirtualRedis(server, "a")
        made = [admin]

        def redis_member() -> VirtualRedis:
            made.append(VirtualRedis(server, "a"))
            return made[-1]

        yield redis_member, admin.client.flushall
        for coordinator in made:
            coordinator.client.close()
        server.kill()


@pytest.mark.parametrize("with_headers", [False, True])
def test_store_that_forgets_stops_no_caller_for_long(forgetful, with_headers, caplog):
    """Three members have used three quarters of the minute; a request in it counts once, not twice."""
    make, forget = forgetful

    async def main() -> float:
        members = [RateLimiter(BUSINESS, coordinator=make()) for _ in range(3)]
        sent: list[float] = []

        async def call(limiter: RateLimiter) -> None:
            await limiter.acquire()
            sent.append(now())
            used = sum(instant > now() - 60 for instant in sent)
            if with_headers:
                limiter.observe(
                    200, {"X-RateLimit-Limit-Minute": "1000", "X-RateLimit-Remaining-Minute": str(max(0, 1000 - used))}
                )

        async def stream(limiter: RateLimiter, count: int, seconds: float) -> float:
            longest = 0.0
            for _ in range(count):
                asked = now()
                await call(limiter)
                longest = max(longest, now() - asked)
                await asyncio.sleep(max(0.0, asked + seconds / count - now()))
            return longest

        await asyncio.gather(*(stream(limiter, 250, 58) for limiter in members))
        forget()
        waits = await asyncio.gather(*(stream(limiter, 250, 60) for limiter in members))
        assert max(sum(start < instant <= start + 60 for instant in sent) for start in sent) <= 1000
        return max(waits)

    assert run(main()) <= 5
    assert "lost its memory" in caplog.text


def test_web_users_of_three_workers_wait_briefly(tmp_path):
    """The launch of a fourth process starts with a burst, a minute before the windows open again."""
    path = tmp_path / "quota" / "quota.sqlite3"

    async def main() -> tuple[list[float], float]:
        chance, waits = random.Random(2), []
        stores = [FileCoordinator(path) for _ in range(4)]
        *workers, launcher = [RateLimiter(BUSINESS, coordinator=store) for store in stores]

        async def user(limiter: RateLimiter) -> None:
            while True:
                await asyncio.sleep(chance.uniform(0, 4))
                asked = now()
                await limiter.acquire()
                waits.append(now() - asked)

        async def launch() -> None:
            while True:
                await launcher.acquire(lane="bulk")

        tasks = [asyncio.create_task(launch()) for _ in range(20)]
        await asyncio.sleep(2)
        tasks += [asyncio.create_task(user(workers[number % 3])) for number in range(20)]
        await asyncio.sleep(58)
        members = (*workers, launcher)
        used = sum(limiter.granted for limiter in members)
        await asyncio.sleep(120)
        used = sum(limiter.granted for limiter in members) - used
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for store in stores:
            store.file.close()
        return sorted(waits), used / 2000

    waits, used = run(main())
    assert waits[int(0.99 * len(waits))] < 2
    assert used >= 0.93


@pytest.mark.parametrize("seed", range(2))
def test_busy_worker_keeps_its_pace_while_the_store_is_away(tmp_path, seed):
    """The kernel gives it three times as many web requests as each of the two others; a launch uses the rest."""

    async def main() -> tuple[list[float], list[float]]:
        chance = random.Random(seed)
        stores = [FileCoordinator(tmp_path / "quota" / "quota.sqlite3") for _ in range(4)]
        *workers, launcher = [RateLimiter(BUSINESS, coordinator=store) for store in stores]
        waits: list[float] = []
        sent: list[float] = []

        async def user() -> None:
            while True:
                await asyncio.sleep(chance.uniform(0, 4))
                (limiter,) = chance.choices(workers, (1, 1, 3))
                asked = now()
                await limiter.acquire()
                waits.append(now() - asked)
                sent.append(now())

        async def launch() -> None:
            while True:
                await launcher.acquire(lane="bulk")
                sent.append(now())

        tasks = [asyncio.create_task(user()) for _ in range(20)]
        tasks += [asyncio.create_task(launch()) for _ in range(16)]
        await asyncio.sleep(75)
        waits.clear()
        for store in stores:
            store.failure = OSError("away")
        await asyncio.sleep(30)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for store in stores:
            store.file.close()
        return waits, sent

    waits, sent = run(main())
    assert max(waits) < 1
    assert max(sum(start < instant <= start + 60 for instant in sent) for start in sent) <= 1000


def test_parts_of_members_add_up_while_the_store_is_away(tmp_path):
    async def main() -> list[float]:
        stores = [FileCoordinator(tmp_path / "quota" / "quota.sqlite3") for _ in range(3)]
        members = [RateLimiter(BUSINESS, coordinator=store) for store in stores]
        for _ in range(90):
            await asyncio.gather(*(limiter.acquire() for limiter in members), members[0].acquire())
        for store in stores:
            store.failure = OSError("away")
        await asyncio.gather(*(limiter.acquire() for limiter in members for _ in range(5)))
        for store in stores:
            store.file.close()
        return [limiter._permits._local.limit.share for limiter in members]  # type: ignore[attr-defined]

    first, *others = run(main())
    assert sum((first, *others)) == pytest.approx(1.0, abs=0.02)
    assert first > max(others) + 0.05


def test_idle_member_has_a_part_while_the_store_is_away(tmp_path):
    """The interactive lane of another member has used the whole minute."""

    async def main() -> float:
        stores = [FileCoordinator(tmp_path / "quota" / "quota.sqlite3") for _ in range(2)]
        busy, idle = (RateLimiter(STARTER, coordinator=store) for store in stores)
        await idle.acquire()
        await asyncio.sleep(61)
        for _ in range(120):
            await busy.acquire()
        await idle.acquire()
        for store in stores:
            store.failure = OSError("away")
        started = now()
        for _ in range(3):
            await idle.acquire()
        for store in stores:
            store.file.close()
        return now() - started

    assert run(main()) < 30
