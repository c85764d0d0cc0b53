"""Shows the progress of a run and of its reads: bars on a terminal, and a line every few seconds elsewhere."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager

from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from panelica_async import RateLimiter
from panelica_async.cli.format import duration, number, plural, print_prose
from panelica_async.cli.output import is_live
from panelica_async.provision import Event, SiteOutcome, SiteStatus

SITE_STATUSES = {
    SiteStatus.DONE: ("done", "green"),
    SiteStatus.EXISTS: ("already there", "green"),
    SiteStatus.FAILED: ("failed", "red"),
    SiteStatus.UNKNOWN: ("uncertain", "yellow"),
    SiteStatus.SKIPPED: ("not finished", "yellow"),
}
"""The word and the colour for each status of a site."""

_MINUTE = 60.0
"""Seconds over which the pace is measured: a quota covers a minute, and may be used up in its first seconds."""
_MAX_PAUSE = 30.0
"""Most seconds without an event that count for the pace: a suspended laptop, or a long wait that the panel asks for,
does not change it."""
_STALLED_AFTER = 5.0
"""Seconds without a call after which a wait for quota is shown."""
_LINE_INTERVAL = 5.0
_DRAW_INTERVAL = 0.125
_MIN_BAR = 10
_MAX_BAR = 36
_GAP = 2
_MARGIN = 4
"""Columns left free on the right: a terminal shows `^C` at the cursor, and a wrapped line cannot be redrawn."""
_REPORTED = {SiteStatus.FAILED, SiteStatus.UNKNOWN}


class Meter:
    """Measures the progress of a run.

    Args:
        limiter: The limiter that the calls wait for.
        sites: Number of sites.
        writes: Expected number of writes.
        min_seconds: Minimum duration that the quota allows.
        clock: Returns a monotonic time in seconds.
    """

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        sites: int,
        writes: int,
        min_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.sites_total = sites
        self.sites_done: int = 0
        self.writes_done: int = 0
        self.writes_expected: int = writes
        self.last: SiteOutcome | None = None
        self._limiter = limiter
        self._min_seconds = min_seconds
        self._clock = clock
        self._sampled_at = clock()
        self._active_seconds = 0.0
        """Duration so far, without long pauses."""
        self._samples: deque[tuple[float, float, int]] = deque([(self._sampled_at, 0.0, limiter.granted)])
        """Samples of the last minute: the time, the seconds so far without long pauses, and the calls granted."""

    def note(self, event: Event) -> None:
        """Take an event into account."""
        if event.site is not None and event.site.status is not SiteStatus.SKIPPED:
            self.sites_done += 1
            self.last = event.site
        if event.step is not None:
            self.writes_done += event.step.calls
        self.writes_expected = self.writes_done + event.calls_expected - event.calls_done
        self._take_sample()

    def _take_sample(self) -> None:
        self._active_seconds, self._sampled_at = self._active_seconds_now, self._clock()
        self._samples.append((self._sampled_at, self._active_seconds, self._limiter.granted))
        while self._samples[0][1] < self._active_seconds - _MINUTE:
            self._samples.popleft()

    @property
    def _active_seconds_now(self) -> float:
        return self._active_seconds + min(self._clock() - self._sampled_at, _MAX_PAUSE)

    def sent_within(self, seconds: float) -> int:
        """Return how many calls were sent in the last seconds, up to 60."""
        start = self._clock() - seconds
        return self._granted_since(lambda sample: sample[0] <= start)

    def _granted_since(self, is_before_start: Callable[[tuple[float, float, int]], bool]) -> int:
        if self._limiter.granted != self._samples[-1][2]:
            self._take_sample()  # A call that the panel refuses is no event.
        sample_at_start = next(filter(is_before_start, reversed(self._samples)), self._samples[0])
        return self._limiter.granted - sample_at_start[2]

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None before the first call."""
        active = self._active_seconds_now
        window = min(_MINUTE, active)
        sent = self._granted_since(lambda sample: sample[1] <= active - window)
        if not sent:
            return None
        # The first burst is faster than the quota allows in the long run.
        estimate = max(self._min_seconds - active, (self.writes_expected - self.writes_done) * window / sent)
        return self.wait + estimate

    @property
    def wait(self) -> float:
        """Seconds until the rate limit allows the next call; 0 as long as calls are sent."""
        if not self._limiter.waiting or self.sent_within(_STALLED_AFTER):
            return 0.0
        return self._limiter.expected_wait("bulk")

    @property
    def pace(self) -> str:
        """The calls of the last minute, compared with the quota."""
        per_minute = self._limiter.limit.per_minute
        allowed = "" if per_minute is None else f" of {number(per_minute)}"
        return f"{number(self.sent_within(_MINUTE))}{allowed} calls in the last minute"

    @property
    def waiting(self) -> str:
        """The wait for the rate limit, in words; empty as long as calls are sent."""
        return f"waiting {duration(self.wait)} for the rate limit" if self.wait >= 1 else ""

    @property
    def time_left(self) -> str:
        """The estimated time to the end, in words."""
        seconds = self.seconds_left
        return "" if seconds is None else f"{duration(seconds)} left"


class Progress:
    """Shows the progress: bars on a terminal; elsewhere a line every five seconds, without control characters.

    Args:
        console: Where to show it.
        meter: What to show.
    """

    def __init__(self, console: Console, meter: Meter) -> None:
        self._console = console
        self._meter = meter
        self._is_over = False

    def note(self, event: Event) -> None:
        """Take an event into account; a site that failed or is uncertain is shown at once."""
        self._meter.note(event)
        if event.site is not None and event.site.status in _REPORTED:
            word, style = SITE_STATUSES[event.site.status]
            self.say(Text.assemble((word, style), f" {event.site.domain}: {event.site.reason}"))

    def say(self, text: Text) -> None:
        """Print a line above the bars."""
        print_prose(self._console, text)

    @asynccontextmanager
    async def display(self) -> AsyncGenerator[None, None]:
        """Show the progress while the block runs."""
        if is_live(self._console):
            with Live(get_renderable=self._bars, console=self._console, auto_refresh=False) as live:
                try:
                    async with _call_every(_DRAW_INTERVAL, live.refresh):
                        yield
                finally:
                    self._is_over = True
        else:
            async with _call_every(_LINE_INTERVAL, lambda: self.say(self._line())):
                yield

    def _bars(self) -> RenderableType:
        meter = self._meter
        last = "" if meter.last is None else f"{SITE_STATUSES[meter.last.status][0]} {meter.last.domain}"
        rates = [meter.pace] if self._is_over else [meter.time_left, meter.waiting, meter.pace]
        return _bars(
            [
                ("Sites", meter.sites_done, meter.sites_total, [last]),
                ("Writes", meter.writes_done, meter.writes_expected, rates),
            ],
            self._console.width - _MARGIN,
        )

    def _line(self) -> Text:
        meter = self._meter
        sites = f"sites {_count(meter.sites_done, meter.sites_total)}"
        writes = f"writes {_count(meter.writes_done, meter.writes_expected)}"
        return Text(_join(sites, writes, meter.pace, meter.waiting, meter.time_left))


@asynccontextmanager
async def show_activity(
    console: Console, activity: str, limiter: RateLimiter, *, every: float = _LINE_INTERVAL
) -> AsyncGenerator[None, None]:
    """Show what the block does: a spinner on a terminal, a line elsewhere. Every few seconds, count the calls so far.

    Args:
        console: Where to show it.
        activity: What the block does, in words.
        limiter: The limiter that the calls wait for.
        every: Seconds between two counts.
    """
    granted_before = limiter.granted

    def line() -> Text:
        return Text(f"{activity} {plural(limiter.granted - granted_before, 'call')} so far.")

    if is_live(console):
        with console.status(Text(activity)) as status:
            async with _call_every(every, lambda: status.update(line())):
                yield
    else:
        console.print(Text(activity), soft_wrap=True)
        async with _call_every(every, lambda: console.print(line(), soft_wrap=True)):
            yield


@asynccontextmanager
async def _call_every(seconds: float, call: Callable[[], object]) -> AsyncGenerator[None, None]:
    """Call a function at regular intervals while the block runs."""

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


def _join(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _count(done: int, total: int) -> str:
    return f"{number(done)}/{number(total)}"


def _bars(rows: Sequence[tuple[str, int, int, Sequence[str]]], width: int) -> Table:
    """Return a line of label, bar, count and details for each row; details that do not fit are omitted."""
    label_width = max(len(label) for label, *_ in rows)
    count_width = max(len(_count(done, total)) for _, done, total, _ in rows)
    remaining_width = width - label_width - count_width - 3 * _GAP
    details = [_fit_parts(parts, remaining_width - _MIN_BAR) for *_, parts in rows]
    bar_width = min(_MAX_BAR, max(_MIN_BAR, remaining_width - max(map(cell_len, details))))
    grid = Table.grid(padding=(0, _GAP))
    grid.add_column(width=label_width, no_wrap=True)
    grid.add_column(width=bar_width, no_wrap=True)
    grid.add_column(width=count_width, no_wrap=True, justify="right")
    grid.add_column(max_width=max(remaining_width - bar_width, 1), no_wrap=True, overflow="ellipsis", style="dim")
    for (label, done, total, _), text in zip(rows, details, strict=True):
        bar = ProgressBar(total=max(total, 1), completed=done, width=bar_width)
        grid.add_row(label, bar, _count(done, total), Text(text))
    return grid


def _fit_parts(parts: Sequence[str], width: int) -> str:
    """Return as many parts as fit, joined; the first is shortened if necessary."""
    text = ""
    for part in parts:
        longer = _join(text, part)
        if text and cell_len(longer) > width:
            break
        text = longer
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)) + "…"
