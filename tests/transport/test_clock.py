"""The time of the panel: as precise as its replies allow, steady, and independent of changes of the local clock."""

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import formatdate
from math import floor
from typing import Any
from unittest.mock import patch

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async import AuthenticationError, PanelicaClient, PanelicaError, ResponseError, ServerError
from panelica_async.transport.clock import MAX_SKEW, SKEW_TOLERANCE, PanelClock
from tests.conftest import Connect
from tests.support.raw_server import RawServer, Step, reply

BEGAN = 1_700_000_000.0
# Unix times as floats are true to a millionth.
ROUNDING = 1e-5


@attrs.define
class Machine:
    """A machine whose clocks are set by hand."""

    monotonic: float = 5000.0
    wall: float = BEGAN

    def clock(self) -> PanelClock:
        return PanelClock(lambda: self.wall, lambda: self.monotonic)

    def passes(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


@attrs.frozen
class Exchange:
    """A request, its way there, the way back, and the pause before it."""

    pause: float
    there: float
    back: float


def happen(machine: Machine, clock: PanelClock, offset: float, exchange: Exchange) -> tuple[float, float]:
    """Let a panel whose clock is ahead answer; return the least and the most skew that its reply allows."""
    machine.passes(exchange.pause)
    sent_at, wall = machine.monotonic, machine.wall
    machine.passes(exchange.there)
    date = floor(machine.wall + offset)
    machine.passes(exchange.back)
    clock.learn(formatdate(date, usegmt=True), sent_at, machine.monotonic)
    return date - machine.wall, date + 1 - wall


def exchanges(longest: float) -> st.SearchStrategy[list[Exchange]]:
    delays = st.floats(0, longest / 2)
    return st.lists(st.builds(Exchange, st.floats(0, 3600), delays, delays), min_size=1, max_size=12)


offsets = st.floats(-MAX_SKEW + 60, MAX_SKEW - 60)


@given(offset=offsets, seen=exchanges(60))
def test_estimate_is_within_the_bounds_of_every_reply(offset: float, seen: list[Exchange]) -> None:
    machine = Machine()
    clock = machine.clock()
    assert clock.skew is None
    assert clock.earliest_panel_time(machine.monotonic) is None
    narrowest = 1e9
    for exchange in seen:
        least, most = happen(machine, clock, offset, exchange)
        narrowest = min(narrowest, most - least)
        assert clock.skew is not None
        assert least - ROUNDING <= clock.skew <= most + ROUNDING
        assert abs(clock.skew - offset) <= narrowest / 2 + ROUNDING
        earliest = clock.earliest_panel_time(machine.monotonic)
        assert earliest is not None
        assert machine.wall + offset - narrowest - ROUNDING <= earliest <= machine.wall + offset + ROUNDING


@given(offset=st.floats(-SKEW_TOLERANCE, SKEW_TOLERANCE), seen=exchanges(60))
@example(offset=SKEW_TOLERANCE, seen=[Exchange(0.0, 0.0, 0.0)])
def test_clocks_that_hardly_differ_change_no_signature(offset: float, seen: list[Exchange]) -> None:
    machine = Machine()
    clock = machine.clock()
    for exchange in seen:
        happen(machine, clock, offset, exchange)
        assert clock.correction == 0
        assert clock.now() == pytest.approx(machine.wall, abs=ROUNDING)


@given(offset=offsets, seen=exchanges(60))
def test_dates_alone_change_no_signature(offset: float, seen: list[Exchange]) -> None:
    machine = Machine()
    clock = machine.clock()
    for exchange in seen:
        happen(machine, clock, offset, exchange)
        assert clock.now() == pytest.approx(machine.wall, abs=ROUNDING)


@given(offset=offsets, seen=exchanges(59))
def test_correction_moves_once_while_clocks_run_alike(offset: float, seen: list[Exchange]) -> None:
    machine = Machine()
    clock = machine.clock()
    corrections = [clock.correction]
    for exchange in seen:
        happen(machine, clock, offset, exchange)
        clock.follow()
        corrections.append(clock.correction)
        assert abs(clock.now() - (machine.wall + offset)) <= SKEW_TOLERANCE + 61
    moves = [pair for pair in itertools.pairwise(corrections) if pair[0] != pair[1]]
    assert len(moves) <= 1


@given(offset=st.floats(SKEW_TOLERANCE + 2, 20_000), later=st.floats(-20_000, 20_000), pause=st.floats(0, 3600))
def test_clock_of_a_panel_that_is_set_is_followed(offset: float, later: float, pause: float) -> None:
    machine = Machine()
    clock = machine.clock()
    happen(machine, clock, offset, Exchange(0, 0.1, 0.1))
    clock.follow()
    assert abs(clock.correction - offset) <= 0.6 + ROUNDING
    happen(machine, clock, later, Exchange(pause + 2, 0.1, 0.1))
    clock.follow()
    assert abs(clock.now() - (machine.wall + later)) <= SKEW_TOLERANCE + 1.2 + ROUNDING
    assert clock.skew is not None
    assert abs(clock.skew - later) <= 1.2


@given(step=st.integers(-(10**8), 10**8), offset=st.integers(-20_000 * 64, 20_000 * 64).map(lambda part: part / 64))
@example(step=0, offset=30.75)  # the first reply leaves open whether that is notable
def test_setting_the_clock_of_this_machine_disturbs_nothing(step: int, offset: float) -> None:
    machine, other = Machine(), Machine()
    clock, undisturbed = machine.clock(), other.clock()
    # Binary fractions: the same second is rounded down to, with the step and without.
    for watched, its_clock in ((machine, clock), (other, undisturbed)):
        happen(watched, its_clock, offset, Exchange(0, 0.125, 0.125))
        its_clock.follow()
    machine.wall += step
    assert clock.now() == undisturbed.now()
    happen(machine, clock, offset - step, Exchange(10, 0.125, 0.125))
    happen(other, undisturbed, offset, Exchange(10, 0.125, 0.125))
    assert clock.correction == undisturbed.correction
    assert clock.now() == undisturbed.now()
    # What is shown to people is as their clock says.
    assert clock.local_time(machine.monotonic).timestamp() == pytest.approx(machine.wall, abs=1e-3)


@given(offset=st.floats(MAX_SKEW + 2, 1e9), sign=st.sampled_from([1, -1]))
def test_difference_of_a_day_or_more_is_ignored(offset: float, sign: int) -> None:
    machine = Machine()
    clock = machine.clock()
    happen(machine, clock, sign * offset, Exchange(0, 0.1, 0.1))
    clock.follow()
    assert clock.correction == 0


HOUR = 3600.0


@pytest.mark.parametrize("slept", [HOUR, 24 * HOUR, 24.1 * HOUR, 168 * HOUR])
@pytest.mark.parametrize("spoke_before", [True, False])
def test_sleep_is_recovered_from_after_one_refusal(slept: float, spoke_before: bool) -> None:
    """Also where no clock goes on while the machine sleeps."""
    machine = Machine()
    clock = machine.clock()
    if spoke_before:
        happen(machine, clock, 0, Exchange(0, 0.1, 0.1))
    machine.wall += slept
    happen(machine, clock, 0, Exchange(1, 0.1, 0.1))
    clock.follow()
    assert clock.now() == pytest.approx(machine.wall, abs=1)
    assert clock.skew == pytest.approx(0, abs=1)


@pytest.mark.parametrize("off", [-55 * 365 * 24 * HOUR, -30 * 24 * HOUR, -0.5 * 24 * HOUR, 2 * 24 * HOUR])
@pytest.mark.parametrize("spoke_while_wrong", [True, False])
def test_clock_set_right_later_is_followed(off: float, spoke_while_wrong: bool) -> None:
    machine = Machine(wall=BEGAN + off)
    clock = machine.clock()
    if spoke_while_wrong:
        happen(machine, clock, -off, Exchange(0, 0.1, 0.1))
        clock.follow()
    machine.wall -= off
    happen(machine, clock, 0, Exchange(1, 0.1, 0.1))
    clock.follow()
    assert clock.now() == pytest.approx(machine.wall, abs=1)
    assert clock.skew == pytest.approx(0, abs=1)


def test_undated_refusal_discards_the_estimate() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.wall += 168 * HOUR
    clock.follow()
    assert clock.now() == machine.wall


def test_undated_refusal_after_a_sleep_is_recovered_from() -> None:
    machine = Machine()
    clock = machine.clock()
    clock.learn(formatdate(machine.wall, usegmt=True), machine.monotonic, machine.monotonic)
    machine.wall += 168 * HOUR
    clock.follow()
    assert clock.now() == machine.wall


def test_followed_clock_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    clock = machine.clock()
    happen(machine, clock, -1200, Exchange(0, 0.1, 0.1))
    clock.follow()
    clock.follow()
    assert [(record.levelname, record.getMessage().partition(";")[0]) for record in caplog.records] == [
        ("WARNING", "the panel rejected a timestamp: its clock is 1200 s behind that of this machine")
    ]


NONSENSE = [
    "",
    " ",
    "soon",
    "0",
    "-1",
    "1700000000",
    "Tue, 14 Nov 2023",
    "Tue, 32 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 25:13:20 GMT",
    "Tue, 14 Nov 99999 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:20 +99999999999999999999",
    "\x00",
]


@given(date=st.text() | st.sampled_from(NONSENSE))
def test_invalid_date_is_ignored(date: str) -> None:
    machine = Machine()
    clock = machine.clock()
    happen(machine, clock, 500, Exchange(0, 0.1, 0.1))
    skew, correction = clock.skew, clock.correction
    clock.learn(date, machine.monotonic, machine.monotonic)
    clock.learn(None, machine.monotonic, machine.monotonic)
    assert (clock.skew, clock.correction) == (skew, correction)


@pytest.fixture
def zone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Puts this machine into a time zone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    "date",
    [
        "Tue, 14 Nov 2023 23:13:20 GMT",
        "Tue Nov 14 23:13:20 2023",
        "Tue, 14 Nov 2023 23:13:20 -0000",
        "Wed, 15 Nov 2023 01:13:20 +0200",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"], indirect=True)
@pytest.mark.usefixtures("zone")
def test_dates_are_in_gmt_wherever_this_machine_is(date: str) -> None:
    machine = Machine()
    clock = machine.clock()
    clock.learn(date, machine.monotonic, machine.monotonic)
    assert clock.skew == 3600.5


MINUTE = 60
BAD_SIGNATURE = {"code": "INVALID_SIGNATURE", "error": "Invalid signature"}


def refusal(skew: float | None, error: object = None, status: int = 401) -> Step:
    """Refuse the timestamp, or another thing, at a time that is so far ahead."""
    headers = {} if skew is None else {"Date": formatdate(time.time() + skew, usegmt=True)}
    body = error or {"status": "error", "error": {"code": "INVALID_TIMESTAMP", "message": "Request timestamp expired"}}
    return reply(status, json=body, headers=headers)


async def create(panel: PanelicaClient) -> None:
    await panel.request("POST", "/v1/things", json={"name": "thing"})


@pytest.mark.parametrize("skew", [20 * MINUTE, -20 * MINUTE])
async def test_rejected_timestamp_is_signed_again_with_panel_time(
    server: RawServer, connect: Connect, skew: int
) -> None:
    """Also a create, which the panel has surely not carried out; and without a retry of those it may have."""
    server.script(refusal(skew))
    await create(connect(max_retries=0))
    first, second = server.requests
    assert int(second.timestamp) - int(first.timestamp) == pytest.approx(skew, abs=5)
    assert second.signature != first.signature
    assert second.body == first.body


async def test_next_call_is_signed_with_panel_time_at_once(server: RawServer, connect: Connect) -> None:
    panel = connect()
    server.script(refusal(20 * MINUTE))
    await create(panel)
    await create(panel)
    assert len(server.requests) == 3
    assert int(server.requests[2].timestamp) - time.time() == pytest.approx(20 * MINUTE, abs=5)


async def test_timestamp_is_signed_again_only_once(server: RawServer, connect: Connect) -> None:
    server.script(refusal(20 * MINUTE), refusal(40 * MINUTE), refusal(60 * MINUTE))
    with pytest.raises(AuthenticationError) as caught:
        await create(connect())
    assert (caught.value.attempts, len(server.requests)) == (2, 2)


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param({"skew": None}, id="no time in the reply"),
        pytest.param({"skew": 0}, id="the same time"),
        pytest.param({"skew": 20}, id="hardly another time"),
        pytest.param({"skew": 3 * MAX_SKEW}, id="a time beyond any time zone"),
        pytest.param({"skew": 20 * MINUTE, "error": BAD_SIGNATURE}, id="for something else"),
        pytest.param({"skew": 20 * MINUTE, "status": 403}, id="in another way"),
    ],
)
async def test_401_when_timestamp_would_not_change_is_final(
    server: RawServer, connect: Connect, refused: dict[str, Any]
) -> None:
    server.script(refusal(**refused))
    with pytest.raises(ResponseError) as caught:
        await create(connect())
    assert (caught.value.attempts, len(server.requests)) == (1, 1)


@pytest.mark.usefixtures("no_backoff")
async def test_signing_again_uses_no_retry(server: RawServer, connect: Connect) -> None:
    busy = reply(503, headers={"Retry-After": "0"})
    server.script(refusal(20 * MINUTE), busy)
    await create(connect(max_retries=1))
    assert len(server.requests) == 3

    server.script(busy, refusal(40 * MINUTE))
    await create(connect(max_retries=1))
    assert len(server.requests) == 6

    server.script(refusal(20 * MINUTE), busy, busy)
    with pytest.raises(ServerError) as caught:
        await create(connect(max_retries=1))
    assert (caught.value.attempts, len(server.requests)) == (3, 9)


FAR = {"Date": formatdate(time.time() + 23 * 3600, usegmt=True)}


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(reply(json=[], headers=FAR), id="200"),
        pytest.param(reply(302, headers={**FAR, "Location": "/x"}), id="302"),
        pytest.param(reply(404, json={}, headers=FAR), id="404"),
        pytest.param(reply(407, headers=FAR), id="407"),
        pytest.param(reply(502, headers=FAR), id="502"),
        pytest.param(reply(401, json=BAD_SIGNATURE, headers=FAR), id="401 for another reason"),
        pytest.param(reply(401, json={"code": "MISSING_TIMESTAMP"}, headers=FAR), id="401 without a timestamp"),
    ],
)
async def test_date_of_another_reply_moves_no_signature(server: RawServer, connect: Connect, step: Step) -> None:
    panel = connect(max_retries=0)
    server.script(step)
    with suppress(PanelicaError):
        await create(panel)
    await create(panel)
    assert int(server.requests[-1].timestamp) == pytest.approx(time.time(), abs=5)


async def test_slow_reply_dated_when_it_was_sent_fits(server: RawServer, connect: Connect) -> None:
    """What counts is when the request left: the panel may have written the date right then, and the body later."""
    panel = connect()
    clock = panel._transport.clock
    left = clock.monotonic()
    took = 40.0
    with patch.object(clock, "monotonic", lambda: left + took * bool(server.requests)):
        server.script(reply(json=[], headers={"Date": formatdate(time.time(), usegmt=True)}))
        await create(panel)
    assert clock._max_panel_lead - clock._min_panel_lead == pytest.approx(took + 1)


async def test_concurrent_calls_are_each_signed_again(server: RawServer, connect: Connect) -> None:
    server.script(*[refusal(20 * MINUTE)] * 20)
    panel = connect()
    await asyncio.gather(*[create(panel) for _ in range(20)])
    assert len(server.requests) == 40
