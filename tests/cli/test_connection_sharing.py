"""Sharing the quota of a key with other processes, with real files, a real Redis and a real sandbox."""

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from panelica_async import RateLimitWaitError
from panelica_async.cli.connection import connect
from panelica_async.cli.options import ConnectionOptions, StateDirectory
from panelica_async.ratelimit import Coordinator, RateLimit, ReserveRequest, SharedLimit
from panelica_async.ratelimit.limit import Quota
from panelica_async.ratelimit.redis import RedisCoordinator
from panelica_async.ratelimit.sqlite import HostCoordinator
from panelica_async.sandbox import Sandbox
from tests.cli.harness import Command, Outcome
from tests.ratelimit.redis_server import RedisServer, needs_redis

PASSWORD = "hunter2-secret"
ME = ("api", "GET", "/v1/me")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache directory, with no setting for sharing."""
    monkeypatch.delenv("PANELICA_SHARE_QUOTA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    """A panel whose address and key are in the environment."""
    async with Sandbox("professional") as box:
        for name in ("base_url", "api_key", "api_secret"):
            monkeypatch.setenv(f"PANELICA_{name.upper()}", getattr(box, name))
        yield box


def files_of(cache: Path) -> list[Path]:
    return list(cache.rglob("*.sqlite3"))


async def run(panelica: Command, *arguments: str) -> Outcome:
    return await asyncio.to_thread(panelica, *arguments)


async def used(coordinator: Coordinator) -> int:
    """Return how many requests a store has counted in the last minute."""
    limit = SharedLimit.of(Quota(RateLimit.for_tier("professional")))
    return (await coordinator.reserve(ReserveRequest(member="test", limit=limit))).minute_used


@pytest.mark.parametrize("arguments", [(), ("--share-quota", "host"), ("--tier", "professional")])
async def test_commands_share_the_quota_of_the_host(
    panelica: Command, box: Sandbox, cache: Path, arguments: tuple[str, ...]
) -> None:
    for _ in range(3):
        assert (await run(panelica, *ME, *arguments)).code == 0
    assert await used(HostCoordinator(box.api_key)) >= 3
    folder = cache / "panelica_async"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.glob("*.sqlite3")} == {0o600}


async def test_limit_is_that_of_the_key(box: Sandbox, cache: Path) -> None:
    connection = ConnectionOptions(base_url=box.base_url, api_key=box.api_key)
    async with connect(connection, StateDirectory()) as panel:
        await panel.client.me()
        assert panel.limiter.limit == RateLimit.for_tier("professional")
    assert [request.operation for request in box.requests] == ["rate_limit", "me"]


@pytest.mark.parametrize(("tier", "asked"), [("auto", ["rate_limit"]), ("enterprise", [])])
async def test_quota_when_unlimited_is_not_shared(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tier: str, asked: list[str]
) -> None:
    async with Sandbox("enterprise") as box:
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        options = ConnectionOptions(base_url=box.base_url, api_key=box.api_key, tier=tier)
        async with connect(options, StateDirectory()) as panel:
            await panel.client.me()
            assert tier == "enterprise" or panel.limiter.limit.is_unlimited
        assert [request.operation for request in box.requests] == [*asked, "me"]
    assert files_of(cache) == []


async def test_quota_used_by_another_process_is_waited_for(panelica: Command, box: Sandbox, cache: Path) -> None:
    limit = SharedLimit.of(Quota(RateLimit.for_tier("professional")))
    await HostCoordinator(box.api_key).reserve(ReserveRequest(member="other", limit=limit, pause=3000.0))
    outcome = await run(panelica, *ME, "--share-quota", "off")
    assert outcome.code == 0
    async with connect(ConnectionOptions(base_url=box.base_url, api_key=box.api_key), StateDirectory()) as panel:
        with pytest.raises(RateLimitWaitError):
            await panel.client.with_options(max_wait=5).me()


@pytest.mark.parametrize("arguments", [("--sandbox",), ("--sandbox", "--share-quota", "host")])
def test_quota_of_embedded_sandbox_is_not_shared(panelica: Command, cache: Path, arguments: tuple[str, ...]) -> None:
    assert panelica(*ME, *arguments).code == 0
    assert not cache.exists()


async def test_quota_when_off_is_not_shared(panelica: Command, box: Sandbox, cache: Path) -> None:
    assert (await run(panelica, *ME, "--share-quota", "off")).code == 0
    assert files_of(cache) == []


async def test_quota_when_cache_is_unusable_is_not_shared(panelica: Command, box: Sandbox, cache: Path) -> None:
    (cache.parent / cache.name).touch()  # a file in its place
    outcome = await run(panelica, *ME)
    assert (outcome.code, outcome.stderr) == (0, "")
    outcome = await run(panelica, *ME, "--share-quota", "host")
    assert outcome.code == 2
    assert "the quota cannot be shared on this host" in outcome.stderr


async def test_quota_when_cache_is_not_private_is_not_shared(panelica: Command, box: Sandbox, cache: Path) -> None:
    (cache / "panelica_async").mkdir(parents=True)
    (cache / "panelica_async").chmod(0o777)
    assert (await run(panelica, *ME)).code == 0
    assert list((cache / "panelica_async").iterdir()) == []
    assert (await run(panelica, *ME, "--share-quota", "host")).code == 2


async def test_quota_when_key_is_rejected_is_not_shared(
    panelica: Command, cache: Path, monkeypatch: pytest.MonkeyPatch, box: Sandbox
) -> None:
    monkeypatch.setenv("PANELICA_API_SECRET", "sk_live_wrong_0123456789")
    outcome = await run(panelica, *ME)
    assert outcome.code == 1
    assert "401" in outcome.stderr
    assert files_of(cache) == []


@needs_redis
async def test_commands_share_the_quota_of_a_redis(
    panelica: Command, box: Sandbox, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = await asyncio.to_thread(RedisServer, tmp_path)
    try:
        monkeypatch.setenv("PANELICA_SHARE_QUOTA", redis.url)
        assert (await run(panelica, *ME)).code == 0
        assert (await run(panelica, *ME)).code == 0
        async with RedisCoordinator(redis.url, key=box.api_key) as coordinator:
            assert await used(coordinator) >= 2
        refused = await run(panelica, *ME, "--share-quota", redis.url.replace("//", f"//shop:{PASSWORD}@"))
        assert refused.code == 2
        assert "Redis" in refused.stderr
        assert PASSWORD not in refused.stderr
    finally:
        redis.kill()
    assert files_of(cache) == []


@pytest.mark.parametrize(
    ("address", "code"),
    [
        (f"redis://:{PASSWORD}@127.0.0.1:1/0", 0),
        (f"redis://:{PASSWORD}@127.0.0.1:port/0", 2),
        (f"rediss://user:{PASSWORD}@[::1/0", 2),
        (f"redis://127.0.0.1/0?socket_timeout={PASSWORD}", 2),
        (f"http://:{PASSWORD}@127.0.0.1:6379", 2),
        (PASSWORD, 2),
    ],
    ids=["away", "port", "brackets", "option", "scheme", "word"],
)
async def test_address_of_redis_is_never_shown(
    panelica: Command, box: Sandbox, cache: Path, monkeypatch: pytest.MonkeyPatch, address: str, code: int
) -> None:
    monkeypatch.setenv("PANELICA_SHARE_QUOTA", address)
    for more in ((), ("--debug",), ("--json",)):
        outcome = await run(panelica, *ME, *more)
        assert outcome.code == code
        assert PASSWORD not in outcome.stdout + outcome.stderr
    assert PASSWORD not in repr(ConnectionOptions(share_quota=address))
    assert ConnectionOptions(share_quota=address, dialect="reference").flags() == []
