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

# The duration of an example depends on the machine, not on the code. The examples are the same in every run, so that
# a failure can be reproduced anywhere; `pytest --hypothesis-profile explore` looks for others.
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
    """Forget the usage of keys and the dialects of panels that earlier tests left in this process."""
    permits.forget_keys()
    discovery.forget_dialects()


# Tests in these folders are slow, and give the same result on every Python.
_ONCE: Final = {"codegen", "docs", "foreign"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in _ONCE:
            item.add_marker(pytest.mark.once)


def pytest_collection_finish() -> None:
    # Thousands of tests stay in memory until the end; otherwise, every full garbage collection would visit them.
    gc.freeze()


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    while not condition():  # noqa: ASYNC110 - the condition has no event to wait for
        await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _no_panel_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PANELICA_BASE_URL", "PANELICA_API_KEY", "PANELICA_API_SECRET"):
        monkeypatch.delenv(name, raising=False)
    # Tests that count requests must not count the one that asks for the dialect.
    monkeypatch.setenv("PANELICA_DIALECT", "reference")
    # Tests must not share a quota with each other or with their user.
    monkeypatch.setenv("PANELICA_SHARE_QUOTA", "off")


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    """An embedded panel without limits."""
    async with Sandbox(tier="enterprise") as box:
        yield box


@pytest.fixture
async def panel(box: Sandbox) -> AsyncIterator[PanelicaClient]:
    """A client of the embedded panel that uses its root key."""
    async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
        yield panel


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for the names of this machine."""
    return self_signed(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    """A server that answers and fails as scripted."""
    async with RawServer() as server:
        yield server


@pytest.fixture
async def connect(server: RawServer) -> AsyncIterator[Connect]:
    """Creates clients of `server` without a limit, and closes them after the test."""
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
    """Advances the clock of the loop, so that due timers fire at once at any speed of the machine."""
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
    """Makes retries and look-ups immediate, for tests that count attempts and not seconds."""
    monkeypatch.setattr(Transport, "waits", Waits(first_retry=0.0, settle=0.0))
