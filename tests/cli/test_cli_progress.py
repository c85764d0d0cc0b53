import asyncio
import io

import pytest
from rich.console import Console

from panelica_async import RateLimit, RateLimiter
from panelica_async.cli.progress import Meter, Progress
from panelica_async.provision import Event, SiteOutcome, SiteStatus


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Granting:
    """What a meter looks at in a limiter."""

    def __init__(self, per_minute: float | None) -> None:
        self.limit = RateLimit(per_minute=per_minute)
        self.granted = 0


class Stream(io.StringIO):
    """Text that tells when something was written to it."""

    def __init__(self, awaited: str) -> None:
        super().__init__()
        self.has_it = asyncio.Event()
        self._awaited = awaited

    def write(self, text: str) -> int:
        if self._awaited in text:
            self.has_it.set()
        return super().write(text)


def meter(limiter: Granting, clock: Clock, *, least: float = 0.0) -> Meter:
    return Meter(limiter, sites=3, calls=100, least=least, clock=clock)  # type: ignore[arg-type] # no more is needed


def event(calls: int = 0, status: SiteStatus | None = None, reason: str | None = None) -> Event:
    site = None if status is None else SiteOutcome(domain="a.example", status=status, steps=(), reason=reason)
    return Event(sites_done=0, sites_total=3, calls_done=calls, calls_expected=100, site=site)


def test_pace_counts_the_last_minute() -> None:
    clock, limiter = Clock(), Granting(300)
    measured = meter(limiter, clock)
    for second in range(90):
        clock.now = 100.0 + second
        limiter.granted = second * 2
        measured.note(event(second * 2))
    assert measured.pace == "120 of 300 calls in the last minute"
    limiter.limit = RateLimit()
    assert measured.pace == "120 calls in the last minute"


def test_remaining_time_is_that_of_the_quota_or_of_the_pace() -> None:
    clock, limiter = Clock(), Granting(300)
    measured = meter(limiter, clock, least=60.0)
    assert measured.remaining is None
    assert measured.time_left == ""
    clock.now += 10
    limiter.granted = 50  # a burst
    measured.note(event(50))
    assert measured.remaining == pytest.approx(50.0)  # the quota lets nobody be faster
    clock.now += 40
    limiter.granted = 60
    measured.note(event(60))
    assert measured.remaining == pytest.approx(40 * 20 / 10)  # 40 calls to come, 10 in the last 20 s
    assert measured.time_left == "1 min 20 s left"


def test_sites_that_were_skipped_are_not_done() -> None:
    measured = meter(Granting(None), Clock())
    for status in (SiteStatus.DONE, SiteStatus.SKIPPED, SiteStatus.FAILED):
        measured.note(event(status=status))
    assert measured.sites_done == 2


async def test_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("panelica_async.cli.progress._LINE_EVERY", 0.001)
    stream = Stream("sites")
    progress = Progress(Console(file=stream, width=120), meter(Granting(300), Clock()))
    async with progress.shown():
        progress.note(event(7, SiteStatus.FAILED, "mailbox info@a.example: the plan is full [Starter]"))
        await stream.has_it.wait()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "failed a.example: mailbox info@a.example: the plan is full [Starter]"
    assert lines[1] == "sites 1/3, calls 7/100, 0 of 300 calls in the last minute"


async def test_bars_on_a_terminal() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, force_interactive=True, color_system=None)
    progress = Progress(console, meter(Granting(300), Clock()))
    async with progress.shown():
        progress.note(event(50, SiteStatus.DONE))
        progress.note(event(51, SiteStatus.UNKNOWN, "no reply"))
    text = stream.getvalue()
    assert "in doubt a.example: no reply" in text
    assert "2/3" in [line for line in text.splitlines() if "Sites" in line][-1]
    assert "51/100  0 of 300 calls in the last minute" in [line for line in text.splitlines() if "Calls" in line][-1]


async def test_real_limiter_is_what_it_measures() -> None:
    limiter = RateLimiter(RateLimit())
    measured = Meter(limiter, sites=1, calls=3, least=0.0)
    for _ in range(3):
        await limiter.acquire()
    measured.note(event(3))
    assert measured.pace == "3 calls in the last minute"
