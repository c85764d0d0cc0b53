"""Whose an object is that was found after a call without a known outcome: this journal's, or others'.

The panel has no idempotency keys, so only the time tells: what the call made was created after it was sent, and not
long after. What others made earlier is not ours. What was created much later may be anybody's.
"""

import enum
from datetime import datetime, timedelta

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.provision.journal import Journal
from panelica_async.provision.objects import Step
from panelica_async.provision.snapshot import Listing, Snapshot

_PRECISION = timedelta(seconds=2)
"""How far `created_at` may lie before the call: it is rounded down to a second, and clocks drift a little."""
LATEST = timedelta(seconds=120)
"""How long after the last note of a call the panel may have carried it out.

Guess: a killed run may have waited a minute for its quota, and a busy panel works on a call for tens of seconds.
"""


class Origin(enum.Enum):
    """Who created an object."""

    OURS = "ours"
    """The call created it."""
    OTHERS = "others"
    """It is older than the call."""
    UNCERTAIN = "uncertain"
    """It may be either's."""


@attrs.frozen
class OriginJudge:
    """Tells whose an object is, by the notes of a journal and the clock of the panel.

    Args:
        panel: The panel, of which at least one list was read.
        journal: The journal that noted the call.
    """

    _panel: PanelicaClient
    _journal: Journal

    def origin(self, step: Step, object_id: str | None, snapshot: Snapshot) -> Origin:
        """Return whose an object is that a step found, of which the journal notes a call without a known outcome.

        Args:
            step: The step that was sent.
            object_id: What it found; None where no list shows the object itself.
            snapshot: The lists it was found in.
        """
        created_at, skew = _created_at(snapshot, step.listing, object_id), self._panel.clock_skew
        window = self._journal.window(step.id)
        if created_at is None or skew is None or window is None:
            # One that is as wanted in everything is as good as ours; a password is not shown.
            is_told = object_id is None or not step.password_needed
            return Origin.OURS if is_told else Origin.UNCERTAIN
        sent_at, noted_at = window
        created_at -= timedelta(seconds=skew)
        if created_at < sent_at - _PRECISION:
            return Origin.OTHERS
        return Origin.OURS if created_at <= noted_at + LATEST else Origin.UNCERTAIN


def _created_at(snapshot: Snapshot, listing: Listing, object_id: str | None) -> datetime | None:
    """Return when a row was created, by the panel's clock; DNS records do not say."""
    if object_id is None or listing is Listing.ZONES:
        return None
    rows = getattr(snapshot, listing.value) or ()
    return next((row.created_at for row in rows if row.id == object_id), None)
