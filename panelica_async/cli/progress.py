"""How far a run is: bars on a terminal, a line every few seconds elsewhere."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from panelica_async import RateLimiter
from panelica_async.cli.output import is_live
from panelica_async.cli.wording import SITES, duration, number
from panelica_async.provision import Event, SiteOutcome, SiteStatus

_MINUTE = 60.0
_PACE_WINDOW = 20.0
"""Seconds over which the pace is measured that the remaining time is estimated from."""
_LINE_EVERY = 5.0
_DRAW_EVERY = 0.125
_BAR_WIDTH = 36
_REPORTED = {SiteStatus.FAILED, SiteStatus.UNKNOWN}


class Meter:
    """What is known of a run while it goes on.

    Args:
        limiter: What the calls wait for.
        sites: Number of sites.
        calls: Number of calls there will be, as far as is known.
        least: Seconds the run takes at least, by the quota.
        clock: Returns a time in seconds that never goes back.
    """

    def __init__(
        self, limiter: RateLimiter, *, sites: int, calls: int, least: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sites_total = sites
        self.sites_done: int = 0
        self.calls_done: int = 0
        self.calls_expected: int = calls
        self.last: SiteOutcome | None = None
        self._limiter = limiter
        self._least = least
        self._clock = clock
        self._begun = clock()
        self._granted: deque[tuple[float, int]] = deque([(self._begun, limiter.granted)])

    def note(self, event: Event) -> None:
        """Take over what an event says."""
        if event.site is not None and event.site.status is not SiteStatus.SKIPPED:
            self.sites_done += 1
            self.last = event.site
        self.calls_done = event.calls_done
        self.calls_expected = event.calls_expected
        now = self._clock()
        self._granted.append((now, self._limiter.granted))
        while self._granted[0][0] < now - _MINUTE:
            self._granted.popleft()

    @property
    def elapsed(self) -> float:
        """Seconds since the begin."""
        return self._clock() - self._begun

    def sent_within(self, seconds: float) -> int:
        """Return how many calls were sent in the last seconds, at most 60."""
        since = self._clock() - seconds
        before = next((granted for at, granted in reversed(self._granted) if at <= since), self._granted[0][1])
        return self._limiter.granted - before

    @property
    def remaining(self) -> float | None:
        """Estimated seconds to the end; None as long as there is nothing to estimate from."""
        window = min(_PACE_WINDOW, self.elapsed)
        sent = self.sent_within(window)
        if not sent:
            return None
        # The burst at the begin is faster than the quota allows in the long run.
        return max(self._least - self.elapsed, (self.calls_expected - self.calls_done) * window / sent)

    @property
    def pace(self) -> str:
        """The calls of the last minute against the quota."""
        per_minute = self._limiter.limit.per_minute
        allowed = "" if per_minute is None else f" of {number(per_minute)}"
        return f"{number(self.sent_within(_MINUTE))}{allowed} calls in the last minute"

    @property
    def time_left(self) -> str:
        """The estimated time to the end, in words."""
        remaining = self.remaining
        return "" if remaining is None else f"{duration(remaining)} left"


class Progress:
    """Shows how far a run is: bars on a terminal; elsewhere a line every five seconds, without control characters.

    Args:
        console: Where to show it.
        meter: What to show.
    """

    def __init__(self, console: Console, meter: Meter) -> None:
        self._console = console
        self._meter = meter
        self._is_over = False

    def note(self, event: Event) -> None:
        """Take over what an event says; a site that failed or is in doubt is shown at once."""
        self._meter.note(event)
        if event.site is not None and event.site.status in _REPORTED:
            word, style = SITES[event.site.status]
            self.say(Text.assemble((word, style), f" {event.site.domain}: {event.site.reason}"))

    def say(self, text: Text) -> None:
        """Show a line that stays."""
        self._console.print(text, soft_wrap=True)

    @asynccontextmanager
    async def shown(self) -> AsyncGenerator[None, None]:
        """Show it while the block runs."""
        if is_live(self._console):
            with Live(get_renderable=self._bars, console=self._console, auto_refresh=False) as live:
                try:
                    async with _repeated(_DRAW_EVERY, live.refresh):
                        yield
                finally:
                    self._is_over = True
        else:
            async with _repeated(_LINE_EVERY, lambda: self.say(self._line())):
                yield

    def _bars(self) -> RenderableType:
        meter = self._meter
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right")
        grid.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        last = "" if meter.last is None else f"{meter.last.domain} {SITES[meter.last.status][0]}"
        rates = meter.pace if self._is_over else _joined(meter.time_left, meter.pace)
        grid.add_row("Sites", *_bar(meter.sites_done, meter.sites_total), Text(last))
        grid.add_row("Calls", *_bar(meter.calls_done, meter.calls_expected), Text(rates))
        return grid

    def _line(self) -> Text:
        meter = self._meter
        sites = f"sites {number(meter.sites_done)}/{number(meter.sites_total)}"
        calls = f"calls {number(meter.calls_done)}/{number(meter.calls_expected)}"
        return Text(_joined(sites, calls, meter.pace, meter.time_left))


@asynccontextmanager
async def _repeated(seconds: float, call: Callable[[], object]) -> AsyncGenerator[None, None]:
    """Call a function every so many seconds while the block runs."""

    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            call()

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _bar(done: int, total: int) -> tuple[ProgressBar, str]:
    return ProgressBar(total=max(total, 1), completed=done, width=_BAR_WIDTH), f"{number(done)}/{number(total)}"
