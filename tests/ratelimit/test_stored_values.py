"""Values in a store that no member wrote: none stops callers, blocks the event loop, or stays forever."""

import asyncio
import contextlib
import sqlite3

import pytest

from panelica_async import RateLimitWaitError
from panelica_async.ratelimit import RateLimit, RateLimiter, ReserveRequest
from panelica_async.ratelimit.limit import Quota
from panelica_async.ratelimit.redis import RedisCoordinator, script_keys
from panelica_async.ratelimit.sqlite import QuotaFile
from panelica_async.ratelimit.store import SharedLimit
from tests.ratelimit.redis_server import needs_redis
from tests.support.loop_watch import longest_step

BUSINESS = RateLimit.for_tier("business")
LONGEST_STEP = 0.05
"""Seconds of processor time that one pass of the loop may take."""
MANY = 20_000


def rows(table: str, values: str) -> str:
    """Return a statement that adds many rows; `i` counts them."""
    count = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MANY})"
    return f"{count} INSERT OR REPLACE INTO {table} SELECT {values} FROM n"


STATEMENTS = {
    **{
        f"{column} = {value[:8]}": f"UPDATE state SET {column} = {value}"
        for column in ("paused_until", "full_at", "clock")
        for value in ("1e18", "-1e18", "9e999", "'text'", "NULL", "9223372036854775807", "x'00ff'")
    },
    "name of the store": "UPDATE state SET store = hex(zeroblob(100000))",
    "name of the store is a blob": "UPDATE state SET store = x'00ff'",
    "name of the store NULL": "UPDATE state SET store = NULL",
    "name of the boot is a number": "UPDATE state SET boot = zeroblob(9)",
    "rows of state": rows("state", "'a', 'b', 0, 0, 0, 0, 0, 0, 0"),
    "instants 1e308": "UPDATE sent SET at = 1e308",
    "instants text": "UPDATE sent SET at = 'soon'",
    "instants NULL": "UPDATE sent SET at = NULL",
    "numbers at the end": "UPDATE sent SET number = 9223372036854775807 WHERE number = 1",
    "numbers infinite": "UPDATE sent SET number = 9e999 WHERE number = 1",
    "numbers text": "UPDATE sent SET number = 'x' WHERE number = 1",
    "gaps": "DELETE FROM sent WHERE number = 1",
    "foreign logs": rows("sent", "'log' || i, 1, 0, 0"),
    "requests of long ago": rows("sent", "'minute', i, 0, 0"),
    "requests of the interactive lane": rows("sent", "'interactive', i, (SELECT clock FROM state), 0"),
    "members": rows("members", "'m' || i, 'bulk', (SELECT clock FROM state) + 10"),
    "members for ever": rows("members", "'m' || i, 'interactive', 1e18"),
    "members text": "INSERT INTO members VALUES ('m', 'bulk', 'later')",
    "members NULL": "INSERT INTO members VALUES ('m', 'bulk', NULL)",
    "a view": "DROP TABLE state; CREATE VIEW state AS SELECT 1",
    "more columns": "ALTER TABLE state ADD COLUMN later REAL",
    "other columns": "DROP TABLE sent; CREATE TABLE sent (a, b)",
}


@pytest.mark.once
@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_stored_values_block_neither_loop_nor_callers(tmp_path, monkeypatch, statement):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    files = tmp_path / "panelica_async"

    async def use(limiter: RateLimiter) -> None:
        for _ in range(5):
            await limiter.acquire(max_wait=60)

    async def main() -> tuple[float, str]:
        limiter = RateLimiter.for_host(BUSINESS, key="key")
        await use(limiter)
        (path,) = files.glob("*.sqlite3")
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(statement)
        over = asyncio.Event()
        watch = asyncio.ensure_future(longest_step(over))
        await asyncio.sleep(0)
        await use(limiter)
        over.set()
        step = await watch
        coordination = limiter.state().coordination
        limiter.close()
        return step, coordination

    step, coordination = asyncio.run(main())
    assert step < LONGEST_STEP
    assert coordination == "shared"


@pytest.mark.parametrize("name", ["members for ever", "members text", "members NULL"])
def test_members_with_an_endless_wait_are_forgotten(tmp_path, name):
    file = QuotaFile(
        tmp_path / "cache" / "quota.sqlite3", monotonic=lambda: 1000.0, wall=lambda: 1.7e9, boot=lambda: "a"
    )
    request = ReserveRequest(member="a", limit=SharedLimit.of(Quota(BUSINESS)), wanted=1)
    file.reserve(request)
    with file._transaction() as database:
        database.execute(STATEMENTS[name])
    file.reserve(request)
    assert file.reserve(request).members == 1
    file.close()


NAMES = ("state", "minute", "hour", "interactive", "members")


def list_of(key: str, entries: str) -> str:
    made = f"local t = {{}} for i = 1, 5000 do t[i] = {entries} end"
    return f"{made} for _ = 1, 4 do redis.call('RPUSH', {key}, unpack(t)) end"


def hash_of(key: str, name: str, value: str, count: int = MANY) -> str:
    return f"for i = 1, {count} do redis.call('HSET', {key}, {name}, {value}) end"


SCRIPTS = {
    **{
        f"{field} = {value[:8]}": f"redis.call('HSET', state, '{field}', '{value}')"
        for field in ("paused_until", "full_at", "clock")
        for value in ("1e18", "-1e18", "inf", "nan", "text", "", "9" * 400)
    },
    **{f"{name} is a text": f"redis.call('SET', {name}, 'x')" for name in NAMES},
    "fields of state": hash_of("state", "'f' .. i", "'1'"),
    "texts in the logs": "redis.call('LPUSH', minute, 'soon', '', 'g', '....', '1.1.1', 'g.', 'nan')",
    "requests of long ago": list_of("minute", "'0'"),
    "members": hash_of("members", "'m' .. i .. ' bulk'", "redis.call('TIME')[1] + 10"),
    "members for ever": hash_of("members", "'m' .. i .. ' bulk'", "'1e18'", 1000),
    "members text": "redis.call('HSET', members, 'm bulk', 'later', 'x', '1', 'a b c', '2', '', '9e99')",
}


@needs_redis
@pytest.mark.once
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_values_in_redis_block_neither_loop_nor_callers(server, script, request):
    key = request.node.name
    names = f"local {', '.join(NAMES)} = unpack(KEYS) "

    async def main() -> tuple[float, str, int]:
        async with RedisCoordinator(server.url, key=key) as coordinator:
            limiter = RateLimiter(BUSINESS, coordinator=coordinator)
            await limiter.acquire()
            await coordinator._redis.eval(names + script, len(NAMES), *script_keys(key))
            over = asyncio.Event()
            watch = asyncio.ensure_future(longest_step(over))
            await asyncio.sleep(0)
            with contextlib.suppress(RateLimitWaitError):
                for _ in range(5):
                    await limiter.acquire(max_wait=60)
            over.set()
            step = await watch
            coordination = limiter.state().coordination
            limiter.close()
            reservation = await coordinator.reserve(
                ReserveRequest(member="b", limit=SharedLimit.of(Quota(BUSINESS)), wanted=1)
            )
            return step, coordination, reservation.members

    step, coordination, members = asyncio.run(main())
    assert step < LONGEST_STEP
    assert coordination == "shared"
    assert members <= 3
