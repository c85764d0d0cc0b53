from collections.abc import AsyncIterator

import aiohttp
import pytest

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import PanelClient
from tests.sandbox.signed_client import Clock, SignedClient


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def box(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock) as box:
        yield box


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def panel(box: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> SignedClient:
    return SignedClient(box, session, clock)


@pytest.fixture
async def current_box(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel") as box:
        yield box


@pytest.fixture
def current_panel(current_box: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> PanelClient:
    """A client of the sandbox as a current panel."""
    return PanelClient(current_box, session, clock)
