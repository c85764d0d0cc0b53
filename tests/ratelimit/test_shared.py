"""Limiters that share a quota in a file, in virtual time, against servers that count in every way the panel might."""

import asyncio
import logging
import random
import sqlite3
from pathlib import Path

import pytest

from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest
from panelica_async.ratelimit.sqlite import QuotaFile
from tests.ratelimit.servers import SERVERS
from tests.ratelimit.traffic import Traffic, check_that_two_share
from tests.support.virtual_time import VirtualLoop, now, run

PROFESSIONAL = RateLimit.for_tier("professional")
STARTER = RateLimit.for_tier("starter")
DELAY = 0.002  # seconds a claim takes

pytestmark = pytest.mark.once


class FileCoordinator:
    """Does the same as HostCoordinator, but on the clock of the loop and without a thread."""

    def __init__(self, path: Path) -> None:
        self.file = QuotaFile(path, monotonic=now, wall=lambda: 1_767_268_800 + now(), boot=lambda: "one")
        self.claims: list[ReserveRequest] = []
        self.failure: Exception | None = None

    async def reserve(self, request: ReserveRequest) -> Reservation:
        await asyncio.sleep(DELAY / 2)
        self.claims.append(request)
        if self.failure is not None:
            raise self.failure
        claim = self.file.reserve(request)
        await asyncio.sleep(DELAY / 2)
        return claim


@pytest.fixture
def members(tmp_path):
    """Create limiters that share a quota."""
    coordinators = []

    def make(count: int, limit: RateLimit = PROFESSIONAL) -> list[RateLimiter]:
        own = [FileCoordinator(tmp_path / "quota.sqlite3") for _ in range(count)]
        coordinators.extend(own)
        return [RateLimiter(limit, coordinator=coordinator) for coordinator in own]

    make.coordinators = coordinators
    yield make
    for coordinator in coordinators:
        coordinator.file.close()


@pytest.mark.parametrize("name", SERVERS)
def test_two_members_use_the_quota_without_refusals(name, members):
    check_that_two_share(members(2), SERVERS[name](random.Random(5)), seed=5)


@pytest.mark.parametrize("name", SERVERS)
def test_members_that_come_and_go_are_never_refused(name, members):
    async def main() -> Traffic:
        traffic = Traffic(SERVERS[name](random.Random(6)), seed=6)

        async def member(limiter: RateLimiter) -> None:
            for _ in range(4):
                await asyncio.sleep(traffic.random.uniform(0, 60))
                await traffic.saturate(limiter, traffic.random.uniform(1, 100))

        async with asyncio.TaskGroup() as group:
            for limiter in members(2):
                group.create_task(member(limiter))
        return traffic

    assert run(main()).refused == []


def test_members_take_turns_however_slow_the_key(members):
    async def main() -> list[int]:
        traffic = Traffic(SERVERS["sliding minute"](random.Random(1)), seed=1)
        async with asyncio.TaskGroup() as group:
            for limiter in members(3, STARTER):
                group.create_task(traffic.saturate(limiter, 600))
        return sorted(traffic.by_member.values())

    low, _, high = run(main())
    assert low >= 0.8 * high


@pytest.mark.parametrize(("tier", "count"), [("professional", 2), ("professional", 3), ("starter", 2)])
@pytest.mark.parametrize("is_refused", [False, True])
def test_bulk_of_members_takes_turns_whatever_the_pace(members, tier, count, is_refused):
    async def main() -> list[int]:
        traffic = Traffic(SERVERS["sliding minute"](random.Random(1)), seed=1)
        limiters = members(count, RateLimit.for_tier(tier))
        async with asyncio.TaskGroup() as group:
            for limiter in limiters:
                group.create_task(traffic.saturate(limiter, 300, "bulk"))
            await asyncio.sleep(30.1)
            if is_refused:
                limiters[0].observe(429, {"Retry-After": "60"})
        return sorted(traffic.by_member.values())

    numbers = run(main())
    assert numbers[0] >= 0.8 * numbers[-1]


def test_web_request_overtakes_bulk_of_another_process(members):
    async def main() -> list[float]:
        web, launch, other_launch = members(3)
        tasks = [
            asyncio.create_task(limiter.acquire(lane="bulk")) for limiter in (launch, other_launch) for _ in range(1000)
        ]
        waits = []
        for _ in range(40):
            await asyncio.sleep(7.1)
            asked = now()
            await web.acquire()
            waits.append(now() - asked)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return waits

    assert max(run(main())) <= 0.4  # two intervals; each launch has a thousand calls waiting


def test_bulk_has_a_share_beside_saturated_interactive(members):
    async def main() -> float:
        traffic = Traffic(SERVERS["sliding minute"](random.Random(1)), seed=1)
        web, launch = members(2)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.saturate(web, 600))
            group.create_task(traffic.saturate(launch, 600, "bulk"))
        assert traffic.refused == []
        return traffic.by_member[launch] / sum(traffic.by_member.values())

    assert 0.15 <= run(main()) <= 0.35


def test_waiters_of_a_member_pass_in_order(members):
    async def main() -> list[int]:
        (limiter,) = members(1)
        passed = []

        async def caller(number: int) -> None:
            await limiter.acquire()
            passed.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(caller(number))
        return passed

    assert run(main()) == list(range(200))


def test_refusal_of_one_member_pauses_all(members):
    async def main() -> list[float]:
        one, other = members(2)
        await one.acquire()
        await other.acquire()
        one.observe(429, {}, retry_after=30)
        await asyncio.sleep(0.1)
        started, passed = now(), []

        async def caller(limiter: RateLimiter) -> None:
            await limiter.acquire()
            passed.append(now() - started)

        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(caller(one))
                group.create_task(caller(other))
        return passed

    passed = run(main())
    assert passed[0] >= 29.8
    gaps = [later - earlier for earlier, later in zip(sorted(passed), sorted(passed)[1:], strict=False)]
    assert min(gaps) > 0.3  # one by one, at half the pace


def test_waiting_members_do_not_poll(members):
    async def main() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        both = members(2)
        for limiter in both:
            await limiter.acquire()
        both[0].pause(3000)
        await asyncio.sleep(1)
        before, turns = sum(len(known.claims) for known in members.coordinators), loop.turns
        tasks = [asyncio.create_task(limiter.acquire()) for limiter in both for _ in range(500)]
        await asyncio.sleep(2900)
        claims = sum(len(known.claims) for known in members.coordinators) - before
        turns = loop.turns - turns
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return claims, turns

    claims, turns = run(main())
    assert claims <= 2
    assert turns <= 30


def test_reservations_are_few(members):
    async def main() -> float:
        (limiter,) = members(1)
        await asyncio.gather(*(limiter.acquire() for _ in range(600)))
        (coordinator,) = members.coordinators
        return len(coordinator.claims) / 600

    assert run(main()) <= 0.55


def test_usage_of_others_reaches_all_members(members):
    async def main() -> float:
        one, other = members(2)
        await one.acquire()
        one.observe(200, {"X-RateLimit-Limit-Minute": "300", "X-RateLimit-Remaining-Minute": "0"})
        patient = asyncio.create_task(one.acquire())
        await asyncio.sleep(0.1)
        started = now()
        await other.acquire()
        await patient
        return now() - started

    assert 59 <= run(main()) <= 63


def test_share_of_other_programs_is_not_counted_as_used(members):
    """The panel counts 150 requests, the half that a share of 0.5 leaves to others."""

    async def main() -> float:
        (limiter,) = members(1, RateLimit(per_minute=300, burst=300, share=0.5))
        await limiter.acquire()
        limiter.observe(200, {"X-RateLimit-Limit-Minute": "300", "X-RateLimit-Remaining-Minute": "150"})
        started = now()
        await asyncio.gather(*(limiter.acquire() for _ in range(100)))
        return now() - started

    assert run(main()) < 5


def test_killed_member_delays_others_briefly(members):
    async def main() -> float:
        killed, survivor = members(2)
        tasks = [asyncio.create_task(killed.acquire()) for _ in range(100)]
        await asyncio.sleep(2)
        killed._permits.close()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0)
        started = now()
        await asyncio.gather(*(survivor.acquire() for _ in range(100)))
        return now() - started

    assert run(main()) <= 100 / 5 + 2


class TestAway:
    def test_outage_logs_one_warning_and_uses_a_share(self, members, caplog):
        caplog.set_level(logging.INFO, "panelica_async")

        async def main() -> Traffic:
            traffic = Traffic(SERVERS["sliding minute"](random.Random(2)), seed=2)
            both = members(2)

            async def outage() -> None:
                await asyncio.sleep(200)
                for coordinator in members.coordinators:
                    coordinator.failure = sqlite3.OperationalError("database or disk is full")
                await asyncio.sleep(200)
                for coordinator in members.coordinators:
                    coordinator.failure = None

            async with asyncio.TaskGroup() as group:
                group.create_task(outage())
                for limiter in both:
                    group.create_task(traffic.saturate(limiter, 600))
            return traffic

        traffic = run(main())
        assert traffic.refused == []
        assert len(traffic.admitted) >= 0.85 * 3000
        said = [record.message for record in caplog.records if "coordinator" in record.message]
        assert len([message for message in said if "continuing with 50 % of the limit" in message]) == 2
        assert len([message for message in said if message.endswith("is back")]) == 2
        assert len(said) == 4

    def test_member_without_a_store_assumes_one_other(self, members):
        async def main() -> float:
            (limiter,) = members(1)
            members.coordinators[0].failure = OSError("read-only file system")
            started = now()
            await asyncio.gather(*(limiter.acquire() for _ in range(300)))
            return now() - started

        assert 85 <= run(main()) <= 122

    def test_member_keeps_its_part_until_others_are_back(self, members):
        async def main() -> tuple[float, int]:
            traffic = Traffic(SERVERS["sliding minute"](random.Random(3)), seed=3)
            (limiter,) = members(1)
            (coordinator,) = members.coordinators
            coordinator.failure = OSError("read-only file system")
            sending = asyncio.create_task(traffic.saturate(limiter, 60))
            await asyncio.sleep(30)
            coordinator.failure = None
            asked, back = len(coordinator.claims), now()
            while not any(request.wanted for request in coordinator.claims[asked:]):  # noqa: ASYNC110  no event tells
                await asyncio.sleep(0.1)
            took = now() - back
            await sending
            return took, sum(count for request in coordinator.claims[asked:] for _, count in request.unrecorded)

        took, unrecorded = run(main())
        assert 3 <= took <= 7
        assert unrecorded >= 60  # all that went before

    def test_idle_member_asks_the_store_before_it_goes_alone(self, members):
        async def main() -> None:
            (limiter,) = members(1)
            (coordinator,) = members.coordinators
            coordinator.failure = OSError("read-only file system")
            await limiter.acquire()
            await asyncio.sleep(3600)
            coordinator.failure = None
            asked = len(coordinator.claims)
            await asyncio.gather(*(limiter.acquire() for _ in range(20)))
            assert limiter.granted == 21
            places = [request for request in coordinator.claims[asked:] if request.wanted]
            assert len(places) >= 5  # all of them came from the store
            assert not any(request.unrecorded for request in places)

        run(main())

    def test_broken_coordinator_stops_no_caller(self, members):
        class Broken:
            async def reserve(self, request: ReserveRequest) -> Reservation:
                raise ZeroDivisionError

        async def main() -> None:
            limiter = RateLimiter(STARTER, coordinator=Broken())
            await asyncio.gather(*(limiter.acquire() for _ in range(10)))

        run(main())

    def test_store_that_lost_its_memory_gets_a_report(self, members, tmp_path):
        async def main() -> tuple[int, float]:
            one, other = members(2)
            await asyncio.gather(*(limiter.acquire() for limiter in (one, other) for _ in range(140)))
            for file in tmp_path.iterdir():
                file.unlink()
            started = now()
            await asyncio.gather(*(limiter.acquire() for limiter in (one, other) for _ in range(30)))
            return len(list(tmp_path.iterdir())), now() - started

        files, took = run(main())
        assert files >= 1
        assert took > 15  # 280 of 300 were used in the minute before
