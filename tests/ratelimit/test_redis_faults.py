"""A Redis server that fails over, refuses, hangs, is slow, or holds numbers that no reservation wrote."""

import asyncio
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import attrs
import pytest
import redis as blocking_redis
from redis.asyncio.connection import AbstractConnection

from panelica_async import ConfigurationError
from panelica_async.ratelimit import RateLimit, RateLimiter, ReserveRequest, shared
from panelica_async.ratelimit import redis as coordinator_module
from panelica_async.ratelimit.redis import RedisCoordinator, script_keys
from panelica_async.ratelimit.rules import MAX_RECORDED
from panelica_async.ratelimit.store import ANSWER_TIMEOUT as LONGEST_ANSWER
from tests.ratelimit.redis_server import PATIENCE, RedisServer, needs_redis
from tests.ratelimit.test_sqlite import WINDOWS_ONLY

pytestmark = needs_redis
UNPACED = RateLimit(per_minute=60_000, burst=1000)


@pytest.fixture
def admin(server):
    with blocking_redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


class Front:
    """The address of a Redis service that resolves to one server after another."""

    def __init__(self, server: RedisServer | None) -> None:
        self.server = server
        self.url = ""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.server is None:
            await reader.read()  # it accepts connections and never answers
            writer.close()
            return
        there, onward = await asyncio.open_connection("127.0.0.1", self.server.port)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(65_536):
                    target.write(data)
            target.close()

        await asyncio.gather(copy(reader, onward), copy(there, writer))


@asynccontextmanager
async def front(server: RedisServer | None) -> AsyncIterator[Front]:
    front = Front(server)
    listening = await asyncio.start_server(front, "127.0.0.1", 0)
    front.url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
    try:
        yield front
    finally:
        listening.close()


def test_coordinator_comes_back_after_a_failover(server, tmp_path, caplog, monkeypatch):
    """The old primary stays up as a read-only replica, and only new connections reach the new one."""
    monkeypatch.setattr(shared, "_RETRY_INTERVAL", 0.05)
    promoted = RedisServer(tmp_path)

    async def main() -> None:
        async with front(server) as service, RedisCoordinator(service.url, key="fail-over") as coordinator:
            limiter = RateLimiter(UNPACED, coordinator=coordinator)
            await limiter.acquire()
            service.server = promoted
            await asyncio.to_thread(become_replica)
            async with asyncio.timeout(PATIENCE):
                while "is back" not in caplog.text:
                    await limiter.acquire()
                    await asyncio.sleep(0.01)

    def become_replica() -> None:
        with blocking_redis.Redis.from_url(server.url) as old:
            old.replicaof("127.0.0.1", promoted.port)

    try:
        asyncio.run(main())
    finally:
        with blocking_redis.Redis.from_url(server.url) as old:
            old.replicaof("NO", "ONE")
        promoted.kill()
    assert "is away" in caplog.text
    assert "misconfigured" not in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        blocking_redis.exceptions.ReadOnlyError("You can't write against a read only replica."),
        blocking_redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."),
        blocking_redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        blocking_redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"),
        blocking_redis.ResponseError("BUSY Redis is busy running a script."),
        blocking_redis.ResponseError("ERR Error running script: -OOM command not allowed"),
        blocking_redis.exceptions.BusyLoadingError("Redis is loading the dataset in memory"),
        ConnectionRefusedError(111, "Connection refused"),
        TimeoutError(),
    ],
)
def test_temporary_error_is_no_misconfiguration(error):
    assert coordinator_module._permanent_problem(error) is None


def test_user_without_script_load_can_coordinate(server, admin, caplog):
    admin.execute_command(
        "ACL", "SETUSER", "web", "reset", "on", ">secret", "~panelica_async:*", "+@all", "-@dangerous", "-script|load"
    )

    async def main() -> None:
        url = server.url.replace("redis://", "redis://web:secret@")
        async with RedisCoordinator(url, key="acl") as coordinator:
            await RateLimiter(UNPACED, coordinator=coordinator).acquire()

    admin.script_flush()
    asyncio.run(main())
    assert caplog.text == ""
    assert admin.exists(*script_keys("acl")) >= 1


def test_text_replies_are_understood(server, caplog):
    async def main() -> None:
        async with RedisCoordinator(f"{server.url}?decode_responses=true", key="texts") as coordinator:
            await RateLimiter(UNPACED, coordinator=coordinator).acquire()

    asyncio.run(main())
    assert caplog.text == ""


@pytest.fixture(params=["password", "user", "database", "permission", "tls"])
def wrong_url(request, server, admin):
    """Return a URL that this server refuses, and a word of the reason."""
    admin.execute_command("ACL", "SETUSER", "reader", "reset", "on", ">secret", "~*", "+@read", "+@connection")
    there = server.url.removeprefix("redis://")
    return {
        "password": (f"redis://reader:wrong-secret@{there}", "password"),
        "user": (f"redis://unknown:wrong-secret@{there}", "password"),
        "database": (f"redis://{there[:-1]}99", "DB index"),
        "permission": (f"redis://reader:secret@{there}", "permission"),
        "tls": (f"rediss://{there}", "TLS"),
    }[request.param]


@pytest.mark.parametrize("url", [None, "redis.example.com:6379", "redis://:hunter2/x@redis.example.com:6379/0"])
def test_invalid_url_is_refused_without_its_password(url):
    with pytest.raises(ConfigurationError, match=r"url must be the address of a Redis server\. Hint: ") as caught:
        RedisCoordinator(url, key="a")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_misconfiguration_is_raised_at_once(wrong_url):
    url, word = wrong_url

    async def main() -> None:
        async with RedisCoordinator(url, key="a"):
            pass

    with pytest.raises(ConfigurationError, match=word) as caught:
        asyncio.run(main())
    assert "secret" not in str(caught.value)


def test_misconfiguration_is_logged_as_such(wrong_url, caplog):
    url, word = wrong_url

    async def main() -> None:
        coordinator = RedisCoordinator(url, key="a")
        await RateLimiter(UNPACED, coordinator=coordinator).acquire()
        await coordinator.close()

    asyncio.run(main())
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert "is misconfigured" in record.message
    assert word in record.message
    assert "secret" not in record.message


def test_url_without_a_host_means_this_machine(monkeypatch):
    """Whatever server answers, only a refusal may be raised."""
    monkeypatch.setattr(coordinator_module, "_TIMEOUT", 0.2)

    async def main() -> None:
        with suppress(ConfigurationError):
            async with RedisCoordinator("rediss:///0", key="a"):
                pass

    asyncio.run(main())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x46\r\n"])
def test_server_of_another_kind_is_a_misconfiguration(answer):
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(other, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with RedisCoordinator(f"redis://127.0.0.1:{port}/0", key="a"):
                pass

    with pytest.raises(ConfigurationError, match="not in the protocol of Redis"):
        asyncio.run(main())


def test_unreachable_server_is_no_misconfiguration(caplog):
    async def main() -> None:
        async with RedisCoordinator("redis://127.0.0.1:1/0", key="a") as coordinator:
            await RateLimiter(UNPACED, coordinator=coordinator).acquire()

    asyncio.run(main())
    (record,) = caplog.records
    assert "is away" in record.message


def test_server_that_hangs_bounds_the_reservation(monkeypatch):
    monkeypatch.setattr(coordinator_module, "_TIMEOUT", 0.1)

    async def main() -> None:
        async with front(None) as service:
            coordinator = RedisCoordinator(service.url, key="a")
            async with asyncio.timeout(PATIENCE):
                with pytest.raises((TimeoutError, blocking_redis.RedisError)):
                    await coordinator.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY))
            await coordinator.close()

    asyncio.run(main())


@pytest.mark.parametrize("is_new", [True, False])
def test_new_connection_to_a_slow_redis_fits_in_patience(server, admin, monkeypatch, is_new):
    """With user, password and database; whether or not the server knows the script."""
    admin.acl_setuser("panel", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all"])
    steps = ""  # "S" for something sent, "R" for a reply that is waited for
    send, read = AbstractConnection.send_packed_command, AbstractConnection.read_response

    def counting(step, method):
        async def counted(*arguments, **options):
            nonlocal steps
            steps += step
            return await method(*arguments, **options)

        return counted

    async def main() -> None:
        url = server.url.replace("//", "//panel:secret@").removesuffix("/0") + "/1"
        async with RedisCoordinator(url, key="slow"):
            pass

    if is_new:
        admin.script_flush()
    else:
        asyncio.run(main())
    monkeypatch.setattr(AbstractConnection, "send_packed_command", counting("S", send))
    monkeypatch.setattr(AbstractConnection, "read_response", counting("R", read))
    asyncio.run(main())
    assert 2 <= steps.count("SR") <= LONGEST_ANSWER / 0.8


def test_restarted_redis_gets_the_script_again(server, admin):
    async def main() -> None:
        async with RedisCoordinator(server.url, key="restarted") as coordinator:
            for _ in range(2):
                await coordinator.reserve(ReserveRequest(member="a", limit=WINDOWS_ONLY))
                admin.script_flush()

    asyncio.run(main())


@pytest.fixture
def coordinated(server, admin, request):
    """Reserve through Redis, one request after another."""
    key = request.node.name

    def reserve(**said):
        async def main():
            async with RedisCoordinator(server.url, key=key) as coordinator:
                return await coordinator.reserve(ReserveRequest(**{"member": "a", "limit": WINDOWS_ONLY, **said}))

        return asyncio.run(main())

    return reserve, dict(zip(("state", "minute", "hour", "interactive", "members"), script_keys(key), strict=True))


@pytest.mark.parametrize("poison", ["1e9", "1e18", "inf", "nan", "-1e18", "later"])
@pytest.mark.parametrize("field", ["paused_until", "full_at", "recovery_since", "clock", "offset", "slowdown"])
def test_poisoned_state_lasts_an_hour_at_most(coordinated, admin, field, poison):
    claim, names = coordinated
    claim(wanted=1)
    admin.hset(names["state"], field, poison)
    assert claim(wanted=1).opens_in <= 3601


@pytest.mark.parametrize("poison", ["1e18", "inf", "nan", "9" * 400, "later", ""])
def test_poisoned_log_stops_no_caller(coordinated, admin, poison):
    claim, names = coordinated
    claim(wanted=1)
    for log in ("minute", "hour"):
        admin.delete(names[log])
        admin.lpush(names[log], *[poison] * 60)
    assert claim(wanted=1).delays


def test_huge_numbers_take_few_commands(coordinated, admin):
    """A loop over them would keep all clients of the server waiting."""
    claim, names = coordinated
    limit = attrs.evolve(WINDOWS_ONLY, minute_count=10**6, hour_count=10**6)
    admin.config_resetstat()
    claim(limit=limit, minute_usage=200_000, hour_usage=200_000, unrecorded=((1.0, 200_000), (70.0, 200_000)))
    calls = sum(statistics["calls"] for statistics in admin.info("commandstats").values())
    assert calls <= 500
    assert max(admin.llen(names[log]) for log in ("minute", "hour")) <= 3 * MAX_RECORDED  # one for each report


def test_window_larger_than_the_bound_is_enforced(coordinated):
    reserve, _ = coordinated
    limit = attrs.evolve(WINDOWS_ONLY, minute_count=0, hour_count=MAX_RECORDED + 2000)
    for sent, expected in ((6000, 0), (5999, 0), (1, 3600)):
        opens_in = reserve(limit=limit, unrecorded=((1.0, sent),)).opens_in
        assert opens_in == pytest.approx(expected, abs=5)
    reserve(limit=WINDOWS_ONLY)  # a member with a smaller limit forgets nothing
    assert reserve(limit=limit).opens_in == pytest.approx(3600, abs=5)
