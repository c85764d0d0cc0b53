"""Fixtures for tests that talk to a server: a working panel (`box`), or one that replies as scripted (`server`)."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest

from panelica_async import PanelicaClient
from panelica_async.api import discovery
from panelica_async.ratelimit import permits
from panelica_async.sandbox import Sandbox
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.retry import Waits
from tests.support.certificates import Certificate, self_signed
from tests.support.raw_server import RawServer

# How long an example takes says something about the machine, not about the code. The examples are the same each time,
# so that a failure is everybody's; `pytest --hypothesis-profile explore` looks for others.
_ANY_SPEED: Final = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("suite", derandomize=True, **_ANY_SPEED)
hypothesis.settings.register_profile("explore", **_ANY_SPEED)
hypothesis.settings.load_profile("suite")

API_KEY = "pk_test_0123456789abcdef"
API_SECRET = "sk_test_0123456789abcdef0123456789abcdef"

Connect = Callable[..., PanelicaClient]
Advance = Callable[[float], None]


@pytest.fixture(autouse=True)
def _unused_keys() -> None:
    """Let each test find its keys unused and its panels unknown, whatever the tests before sent."""
    permits.forget_keys()
    discovery.forget_dialects()


# What these folders test is the same on every Python, and takes long.
_ONCE: Final = {"codegen", "docs", "foreign"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in _ONCE:
            item.add_marker(pytest.mark.once)


def pytest_collection_finish() -> None:
    # Thousands of tests stay in memory until the end: each full garbage collection would look at all of them again.
    gc.freeze()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is true."""
    while not condition():  # noqa: ASYNC110 - conditions of any kind, and no code of ours is made to tell
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _no_panel_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PANELICA_BASE_URL", "PANELICA_API_KEY", "PANELICA_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    # Tests that count requests are not about the one that asks for the dialect.
    monkeypatch.setenv("PANELICA_DIALECT", "reference")
    # Tests share neither the quota of their user nor that of each other.
    monkeypatch.setenv("PANELICA_SHARE_QUOTA", "off")


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """An embedded panel without limits."""
    async with Sandbox(tier="enterprise") as box:
        yield box


@pytest.fixture
async def panel(box: Sandbox) -> AsyncIterator[PanelicaClient]:
    """A client of the embedded panel, with its root key."""
    async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
        yield panel


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for this machine's own names."""
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A server that answers and fails as scripted."""
    async with RawServer() as server:
        yield server


@pytest.fixture
async def connect(server: RawServer) -> AsyncIterator[Connect]:
    """Makes clients of `server` without a limit, and closes them."""
    clients: list[PanelicaClient] = []

    def connect(**options: Any) -> PanelicaClient:
        defaults = {"base_url": server.origin, "api_key": API_KEY, "api_secret": API_SECRET, "tier": "enterprise"}
        clients.append(PanelicaClient(**{**defaults, **options}))
        return clients[-1]

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def advance(monkeypatch: pytest.MonkeyPatch) -> Advance:
    """Moves the loop's clock forward: timers that are due fire at once, whatever the machine's speed."""
    loop = asyncio.get_running_loop()
    machine_time = loop.time
    ahead = 0.0

    def advance(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    monkeypatch.setattr(loop, "time", lambda: machine_time() + ahead)
    return advance


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries and look-ups follow at once, for tests that count attempts and not seconds."""
    monkeypatch.setattr(Transport, "waits", Waits(first_retry=0.0, settle=0.0))
