"""A panel with another clock: signatures use the panel's time, unless that is implausible."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from panelica_async import AuthenticationError, PanelicaClient
from panelica_async.sandbox import Sandbox

MINUTES = 60
HOURS = 3600


@asynccontextmanager
async def skewed(skew: float) -> AsyncIterator[tuple[Sandbox, PanelicaClient]]:
    """A panel whose clock is ahead by some seconds, and a client that has not called it yet."""
    async with (
        Sandbox(tier="enterprise", clock=lambda: time.time() + skew) as box,
        PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise") as panel,
    ):
        yield box, panel


def answers(box: Sandbox) -> list[tuple[str | None, int]]:
    return [(seen.operation, seen.status) for seen in box.requests]


@pytest.mark.parametrize("skew", [20 * MINUTES, -20 * MINUTES, 23 * HOURS])
async def test_read_is_signed_again_once(skew: float) -> None:
    async with skewed(skew) as (box, panel):
        assert (await panel.me()).scopes == ["*:*"]
        assert answers(box) == [("me", 401), ("me", 200)]
        await panel.me()
        assert answers(box)[2:] == [("me", 200)]


@pytest.mark.parametrize("skew", [20 * MINUTES, -20 * MINUTES])
async def test_create_signed_again_makes_one_object(skew: float) -> None:
    async with skewed(skew) as (box, panel):
        account = await panel.accounts.create(username="acme", email="owner@example.com", password="correct horse 9")
        assert answers(box) == [("accounts.create", 401), ("accounts.create", 201)]
        assert [row.id async for row in panel.accounts.list() if row.username == "acme"] == [account.id]


async def test_wrong_secret_is_not_mistaken_for_a_wrong_clock() -> None:
    async with skewed(20 * MINUTES) as (box, _):
        secret = "sk_live_wrong"
        async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=secret, tier="enterprise") as panel:
            with pytest.raises(AuthenticationError) as caught:
                await panel.me()
        assert caught.value.code == "INVALID_SIGNATURE"
        assert answers(box) == [("me", 401), ("me", 401)]


@pytest.mark.parametrize(("skew", "direction"), [(25 * HOURS, "behind"), (-25 * HOURS, "ahead of")])
async def test_skew_of_more_than_a_day_is_not_believed(skew: float, direction: str) -> None:
    async with skewed(skew) as (box, panel):
        with pytest.raises(AuthenticationError) as caught:
            await panel.me()
        assert answers(box) == [("me", 401)]
        named = re.fullmatch(
            rf"Set the clock of this machine with NTP: it is (\d+) s {direction} that of the panel.",
            caught.value.hint or "",
        )
        assert named is not None, caught.value.hint
        assert abs(int(named[1]) - abs(skew)) < 10 * MINUTES


@pytest.mark.parametrize("skew", [0, 20 * MINUTES, -20 * MINUTES])
async def test_clock_skew_is_known_after_the_first_reply(skew: float) -> None:
    async with skewed(skew) as (_, panel):
        assert panel.clock_skew is None
        await panel.me()
        assert panel.clock_skew == pytest.approx(skew, abs=2)
