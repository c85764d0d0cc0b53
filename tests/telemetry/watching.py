"""Keeps the events of a client."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import attrs

from panelica_async import PanelicaClient
from panelica_async.ratelimit import RateLimiter
from panelica_async.telemetry import Done, Event
from tests.conftest import Advance, until

E = TypeVar("E", bound=Event)
T = TypeVar("T")


class Watch:
    """Listens to a client until `end` is called."""

    def __init__(self, panel: PanelicaClient) -> None:
        self.events: list[Event] = []
        self.end = panel.subscribe(self.events.append)

    @property
    def kinds(self) -> list[str]:
        """The name and the call number of each event."""
        return [f"{type(event).__name__} {event.call}" for event in self.events]

    def only(self, kind: type[E]) -> E:
        """Return the only event of a kind."""
        [event] = self.all(kind)
        return event

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def done(self, call: int = 1) -> Done:
        """Return how a call ended."""
        [event] = [event for event in self.all(Done) if event.call == call]
        return event


async def without_pauses(work: Coroutine[Any, Any, T], limiter: RateLimiter, advance: Advance) -> T:
    """Run calls one after another; virtual time skips every wait for quota."""
    task = asyncio.create_task(work)
    await until(lambda: task.done() or (limiter.waiting and advance(1)))
    return await task


def facts(event: Event, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of an event, except its time and those that tests check separately."""
    fields = attrs.asdict(event, recurse=False)
    return {name: value for name, value in fields.items() if name not in {"at", *without}}
