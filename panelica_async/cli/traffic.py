"""How many calls a command sent. Every command counts them alike: each attempt, reads and writes apart."""

import attrs

from panelica_async.telemetry import Event, Sent

_READS = {"GET", "HEAD", "OPTIONS"}


@attrs.define
class Traffic:
    """Counts the attempts of the clients that it listens to; each took a place in the quota."""

    writes: int = 0
    reads: int = 0

    def __call__(self, event: Event) -> None:
        """Count a call that leaves."""
        if isinstance(event, Sent):
            is_read = event.method in _READS
            self.reads += is_read
            self.writes += not is_read

    @property
    def calls(self) -> int:
        """Number of calls of either kind."""
        return self.writes + self.reads
