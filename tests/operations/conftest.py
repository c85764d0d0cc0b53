"""A panel with an account and a domain, whose clock can be moved."""

import time
from collections.abc import AsyncIterator, Callable

import pytest

from panelica_async import PanelicaClient
from panelica_async.models import Account, Domain
from panelica_async.sandbox import Sandbox

PASSWORD = "correct horse 9"
DOCUMENT_ROOT = "/home/acme/acme.example/public_html"

Later = Callable[[float], None]


class _Clock:
    """The panel's clock; less than 300 s ahead of the client's."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += seconds


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.fixture
def later(clock: _Clock) -> Later:
    """Moves the panel's clock forward."""
    return clock.advance


@pytest.fixture
async def box(clock: _Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise", clock=clock) as box:
        yield box


@pytest.fixture
async def account(panel: PanelicaClient) -> Account:
    return await panel.accounts.create(username="acme", email="owner@example.com", password=PASSWORD)


@pytest.fixture
async def domain(panel: PanelicaClient, account: Account) -> Domain:
    return await panel.domains.create(domain="acme.example", user_id=account.id, php_version="8.4")
