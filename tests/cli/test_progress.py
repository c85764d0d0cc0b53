import asyncio
import io

import attrs
import pytest
from rich.console import Console

from panelica_async import RateLimit, RateLimiter
from panelica_async.cli.progress import Meter, Progress, show_activity
from panelica_async.provision import Event, Manifest, SiteOutcome, SiteStatus, StepOutcome, StepStatus
from panelica_async.provision.objects import steps_of

[(_, (STEP, *_others))] = steps_of(Manifest.from_data([{"domain": "a.example", "owner": "acme"}]))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Granting:
    """The part of a limiter that a meter reads."""

    def __init__(self, per_minute: float | None) -> None:
        self.limit = RateLimit(per_minute=per_minute)
        self.granted = 0
        self.waiting = 0
        self.next_in = 0.0

    def expected_wait(self, lane: str) -> float:
        assert lane == "bulk"
        return self.next_in


class Stream(io.StringIO):
    """A text stream that signals each write."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.has_it = asyncio.Event()
        self._awaited = awaited

    def write(self, text: str) -> int:
        if self._awaited in text:
            self.has_it.set()
        return super().write(text)


def meter(limiter: Granting, clock: Clock, *, min_seconds: float = 0.0) -> Meter:
    return Meter(limiter, sites=3, writes=100, min_seconds=min_seconds, clock=clock)  # type: ignore[arg-type] # no more is needed


def event(writes: int = 0, status: SiteStatus | None = None, reason: str | None = None) -> Event:
    """Return the event of a step, or of a site, with the number of writes so far; 8 reads came before."""
    site = None if status is None else SiteOutcome(domain="a.example", status=status, steps=(), reason=reason)
    return Event(sites_done=0, sites_total=3, calls_done=8 + writes, calls_expected=108, site=site)


def take(measured: Meter, writes: int) -> None:
    """Report to a meter how many writes have been sent by now."""
    step = StepOutcome(step=STEP, status=StepStatus.CREATED, calls=writes - measured.writes_done)
    measured.note(attrs.evolve(event(writes), step=step))


def after_a_minute_of_36_writes() -> tuple[Meter, Clock, Granting]:
    clock, limiter = Clock(), Granting(300)
    measured = meter(limiter, clock)
    for _ in range(12):
        clock.now += 5
        limiter.granted += 3
        take(measured, limiter.granted)
    return measured, clock, limiter


def test_pace_counts_the_last_minute() -> None:
    clock, limiter = Clock(), Granting(300)
    measured = meter(limiter, clock)
    for second in range(90):
        clock.now = 100.0 + second
        limiter.granted = second * 2
        take(measured, second * 2)
    assert measured.pace == "120 of 300 calls in the last minute"
    limiter.limit = RateLimit()
    assert measured.pace == "120 calls in the last minute"


def test_remaining_time_follows_quota_or_pace() -> None:
    clock, limiter = Clock(), Granting(300)
    measured = meter(limiter, clock, min_seconds=60.0)
    assert measured.seconds_left is None
    assert measured.time_left == ""
    clock.now += 10
    limiter.granted = 50  # a burst
    take(measured, 50)
    assert measured.seconds_left == pytest.approx(50.0)  # the quota allows no higher pace
    for granted in (55, 60):
        clock.now += 20
        limiter.granted = granted
        take(measured, granted)
    assert measured.seconds_left == pytest.approx(40 * 50 / 60)  # 40 writes to come, 60 in 50 s
    assert measured.time_left == "33 s left"


def test_remaining_time_looks_beyond_a_pause_for_quota() -> None:
    """On a shared key, other programs may use up the minute; then hardly any call is sent until the next one."""
    clock, limiter = Clock(), Granting(300)
    measured = meter(limiter, clock)
    for _ in range(2):
        clock.now += 17.5
        limiter.granted += 100
        take(measured, measured.writes_done + 14)
    clock.now += 25
    limiter.granted = 202
    take(measured, 30)
    assert measured.seconds_left == pytest.approx(70 * 60 / 202)


def test_remaining_time_after_a_suspended_laptop_is_as_before() -> None:
    measured, clock, limiter = after_a_minute_of_36_writes()
    assert measured.seconds_left == pytest.approx(64 * 60 / 36)
    clock.now += 3600
    limiter.granted += 1
    take(measured, limiter.granted)
    assert measured.pace == "1 of 300 calls in the last minute"
    assert measured.seconds_left == pytest.approx(63 * 60 / 19)  # half a minute of the pause counts


def test_wait_for_quota_is_shown_and_counts() -> None:
    """The panel refused a call, and asked to wait; or others have used up the quota."""
    measured, clock, limiter = after_a_minute_of_36_writes()
    limiter.granted += 1  # refused: no step is done
    limiter.waiting, limiter.next_in = 8, 48.0
    assert (measured.waiting, measured.seconds_left) == ("", pytest.approx(64 * 60 / 37))  # calls were sent just now
    clock.now += 12
    assert measured.waiting == "waiting 48 s for the rate limit"
    assert measured.seconds_left == pytest.approx(48 + 64 * 60 / 31)


def test_meter_counts_writes_and_not_reads() -> None:
    measured = meter(Granting(None), Clock())
    take(measured, 20)
    measured.note(Event(sites_done=0, sites_total=3, calls_done=30, calls_expected=110))
    assert (measured.writes_done, measured.writes_expected) == (20, 100)


def test_meter_does_not_count_skipped_sites() -> None:
    measured = meter(Granting(None), Clock())
    for status in (SiteStatus.DONE, SiteStatus.SKIPPED, SiteStatus.FAILED):
        measured.note(event(status=status))
    assert measured.sites_done == 2


async def test_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panelica_async.cli.progress._LINE_INTERVAL", 0.001)
    stream = Stream("sites")
    measured = meter(Granting(300), Clock())
    progress = Progress(Console(file=stream, width=120), measured)
    async with progress.display():
        take(measured, 7)
        progress.note(event(7, SiteStatus.FAILED, "mailbox info@a.example: the plan is full [Starter]"))
        await stream.has_it.wait()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "failed a.example: mailbox info@a.example: the plan is full [Starter]"
    assert lines[1] == "sites 1/3, writes 7/100, 0 of 300 calls in the last minute"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
async def test_bars_fit_the_terminal_with_labels_and_counts(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=True, force_interactive=True, color_system=None)
    clock = Clock()
    measured = meter(Granting(300), clock, min_seconds=700.0)
    progress = Progress(console, measured)
    async with progress.display():
        clock.now += 1
        measured._limiter.granted = 1  # type: ignore[misc] # it is the stand-in
        take(measured, 50)
        progress.note(event(50, SiteStatus.DONE))
        progress.note(event(50, SiteStatus.UNKNOWN, "no reply"))
        drawn = console.render_lines(progress._bars())
    sites, writes = ("".join(segment.text for segment in line).rstrip() for line in drawn)
    assert max(len(sites), len(writes)) <= width - 4
    assert sites.startswith("Sites   ━")
    assert "  2/3" in sites
    assert writes.startswith("Writes  ━")
    assert "50/100" in writes
    assert ("11 min 39 s left" in writes) is (width >= 60)
    assert ("in the last minute" in writes) is (width >= 100)
    assert ("uncertain a.example" in sites) is (width >= 60)
    text = stream.getvalue()
    assert "uncertain a.example: no reply" in text
    assert ("1 of 300 calls in the last minute" in text) is (width >= 80)


async def test_meter_measures_a_real_limiter() -> None:
    limiter = RateLimiter(RateLimit())
    measured = Meter(limiter, sites=1, writes=3, min_seconds=0.0)
    for _ in range(3):
        await limiter.acquire()
    take(measured, 3)
    assert measured.pace == "3 calls in the last minute"


@pytest.mark.parametrize("is_terminal", [False, True])
async def test_reading_shows_the_calls_so_far(is_terminal: bool) -> None:
    limiter = Granting(300)
    limiter.granted = 8
    stream = Stream("12 calls so far.")
    console = Console(file=stream, force_terminal=is_terminal, width=100)
    async with show_activity(console, "Reading …", limiter, every=0.01):  # type: ignore[arg-type] # no more is needed
        limiter.granted = 20
        await asyncio.wait_for(stream.has_it.wait(), timeout=30)
    assert "Reading … 12 calls so far." in stream.getvalue()
