"""Several hosts share a quota through a real Redis server, which the tests start, kill and start again."""

import asyncio
import random

import attrs
import pytest
import redis as blocking_redis
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from panelica_async.ratelimit import RateLimit, RateLimiter, Reservation, ReserveRequest, SharedLimit, shared
from panelica_async.ratelimit.limit import Quota
from panelica_async.ratelimit.redis import SCRIPT, RedisCoordinator, read_reply, script_arguments, script_keys
from panelica_async.ratelimit.sqlite import QuotaFile
from tests.ratelimit.redis_server import PATIENCE, RedisServer, needs_redis
from tests.ratelimit.servers import SERVERS
from tests.ratelimit.traffic import Traffic, check_that_two_share
from tests.support.virtual_time import now, run

pytestmark = [pytest.mark.once, needs_redis]
PROFESSIONAL = RateLimit.for_tier("professional")
STARTER = RateLimit.for_tier("starter")


class VirtualRedis:
    """The script on a real server, with the clock of the loop instead of the server's."""

    def __init__(self, server: RedisServer, key: str) -> None:
        self.client = blocking_redis.Redis.from_url(server.url)
        clock = "redis.call('TIME')"
        assert SCRIPT.count(clock) == 1
        self.script = self.client.register_script(SCRIPT.replace(clock, "{ARGV[4], '0'}"))
        self.keys = script_keys(key)

    async def reserve(self, request: ReserveRequest) -> Reservation:
        await asyncio.sleep(0.002)
        claim = self.reserve_at(request, now())
        await asyncio.sleep(0.002)
        return claim

    def reserve_at(self, request: ReserveRequest, instant: float) -> Reservation:
        return read_reply(self.script(keys=self.keys, args=[*script_arguments(request), f"{instant:.9f}"]))


@pytest.fixture
def hosts(server, request):
    """Create limiters of several hosts on one quota."""
    coordinators = []

    def make(count: int, limit: RateLimit = PROFESSIONAL) -> list[RateLimiter]:
        own = [VirtualRedis(server, request.node.name) for _ in range(count)]
        coordinators.extend(own)
        return [RateLimiter(limit, coordinator=coordinator) for coordinator in own]

    yield make
    for coordinator in coordinators:
        coordinator.client.close()


@pytest.mark.parametrize("name", SERVERS)
def test_two_hosts_use_the_quota_without_refusals(name, hosts):
    check_that_two_share(hosts(2), SERVERS[name](random.Random(7)), seed=7)


@pytest.mark.parametrize("name", SERVERS)
def test_killed_redis_costs_each_host_one_pause_at_most(name, tmp_path, request):
    server = RedisServer(tmp_path)
    coordinators = [VirtualRedis(server, request.node.name) for _ in range(2)]

    async def main() -> Traffic:
        traffic = Traffic(SERVERS[name](random.Random(8)), seed=8)

        async def outage() -> None:
            await asyncio.sleep(100)
            server.kill()
            await asyncio.sleep(100)
            server.start()  # and has forgotten everything

        async with asyncio.TaskGroup() as group:
            group.create_task(outage())
            for coordinator in coordinators:
                group.create_task(traffic.saturate(RateLimiter(PROFESSIONAL, coordinator=coordinator), 400))
        return traffic

    try:
        traffic = run(main())
    finally:
        for coordinator in coordinators:
            coordinator.client.close()
        server.kill()
    assert traffic.pauses <= 2
    assert len(traffic.admitted) >= 0.75 * 5 * 400


def test_web_request_overtakes_bulk_of_another_host(hosts):
    async def main() -> float:
        web, launch = hosts(2)
        tasks = [asyncio.create_task(launch.acquire(lane="bulk")) for _ in range(1000)]
        waits = []
        for _ in range(30):
            await asyncio.sleep(7.1)
            asked = now()
            await web.acquire()
            waits.append(now() - asked)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return max(waits)

    assert run(main()) <= 0.45


def test_redis_keeps_no_api_key_and_everything_expires(server):
    async def main() -> None:
        async with RedisCoordinator(server.url, key="pk_live_0123456789") as coordinator:
            await RateLimiter(STARTER, coordinator=coordinator).acquire()

    asyncio.run(main())
    with blocking_redis.Redis.from_url(server.url, decode_responses=True) as client:
        names = [name for name in client.scan_iter() if name in script_keys("pk_live_0123456789")]
        assert len(names) == 5
        assert all(0 < client.ttl(name) <= 7200 for name in names)
        assert not [name for name in client.scan_iter() if "pk_live" in name]


def seldom(usual, *others):
    return st.one_of(*[st.just(usual)] * 8, *others)


requests = st.builds(
    ReserveRequest,
    member=st.sampled_from("abc"),
    lane=st.sampled_from(["interactive", "bulk"]),
    limit=st.none(),
    wanted=st.sampled_from([0, 1, 4, 4, 4, 6]),
    pause=seldom(0.0, st.integers(1, 40).map(float)),
    refused=seldom(False, st.just(True)),
    minute_usage=st.one_of(st.just(0), st.integers(0, 20)),
    hour_usage=st.one_of(st.just(0), st.integers(0, 60)),
    scale=seldom(1, st.integers(2, 5)),
    store=seldom("", st.just("another")),
    unrecorded=seldom(
        (), st.lists(st.tuples(st.integers(0, 5000).map(lambda age: age / 7), st.integers(1, 20)), max_size=5)
    ),
)
steps = st.lists(
    st.tuples(st.one_of(st.integers(0, 90), st.integers(0, 900), st.integers(0, 90_000)), requests),
    min_size=8,
    max_size=30,
)
limits = st.sampled_from(
    [STARTER, RateLimit(per_minute=12, per_hour=30, burst=12), RateLimit(per_minute=20, burst=20), RateLimit()]
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits, steps, st.uuids())
def test_redis_grants_the_permits_of_the_rules(server, tmp_path, limit, steps, name):
    """The store in SQLite uses the rules themselves; the script repeats them."""
    clock = 1000.0
    redis = VirtualRedis(server, str(name))
    file = QuotaFile(tmp_path / f"{name}.sqlite3", monotonic=lambda: clock, wall=lambda: clock, boot=lambda: "one")
    quota = Quota(limit)
    try:
        for milliseconds, request in steps:
            clock += milliseconds / 1000
            request = attrs.evolve(request, limit=SharedLimit.of(quota))
            ours, theirs = file.reserve(request), redis.reserve_at(request, clock)
            assert theirs.delays == pytest.approx(ours.delays, abs=1e-4)
            assert theirs.opens_in == pytest.approx(ours.opens_in, abs=1e-4)
            assert theirs.retry_in == pytest.approx(ours.retry_in, abs=1e-4)
            assert theirs.members == ours.members
            assert (theirs.minute_used, theirs.hour_used) == (ours.minute_used, ours.hour_used)
            assert theirs.interactive_used == ours.interactive_used
            event(f"permits: {len(ours.delays)}")
    finally:
        file.close()
        redis.client.close()


def test_redis_killed_and_restarted_in_real_time(tmp_path, caplog, monkeypatch):
    """The whole coordinator, with redis-py's asyncio client and the clock of the server."""
    monkeypatch.setattr(shared, "_RETRY_INTERVAL", 0.3)
    server = RedisServer(tmp_path)
    limit = RateLimit(per_minute=6000, burst=30)

    async def main() -> int:
        granted = 0
        async with RedisCoordinator(server.url, key="a") as one, RedisCoordinator(server.url, key="a") as other:
            limiters = [RateLimiter(limit, coordinator=coordinator) for coordinator in (one, other)]
            ended = asyncio.Event()

            async def caller(limiter: RateLimiter) -> None:
                nonlocal granted
                while not ended.is_set():
                    await limiter.acquire()
                    granted += 1
                    await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                for limiter in limiters:
                    for _ in range(3):
                        group.create_task(caller(limiter))
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.kill)
                before = granted
                await asyncio.sleep(0.5)
                assert granted > before  # it continues without Redis
                await asyncio.to_thread(server.start)
                async with asyncio.timeout(PATIENCE):
                    while caplog.text.count("is back") < 2:  # noqa: ASYNC110  a log has no event
                        await asyncio.sleep(0.05)
                before = granted
                await asyncio.sleep(0.3)
                assert granted > before
                ended.set()
        return granted

    caplog.set_level("INFO", "panelica_async")
    try:
        asyncio.run(main())
    finally:
        server.kill()
    assert caplog.text.count("is away") == 2
