"""Who created an object: the limits of the time in which a call can have done it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from panelica_async.models.email import EmailAccount
from panelica_async.provision import Journal, Manifest, State
from panelica_async.provision.objects import steps_of
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.provision.ownership import Ownership

[(_, (*_, MAILBOX))] = steps_of(Manifest.from_data([{"domain": "a.example", "owner": "a", "mailboxes": "info"}]))


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.in_memory() as journal:
        journal.begin(
            base_url="https://panel.example.com",
            manifest=Manifest.from_data([{"domain": "a.example", "owner": "a"}]),
            credentials_path=None,
        )
        yield journal


def origin(journal: Journal, created_at: datetime | None, skew: float | None = 0.0) -> State:
    row = EmailAccount(id="m1", email="info@a.example", domain_id="d1", created_at=created_at)
    ownership = Ownership(cast("Any", SimpleNamespace(clock_skew=skew)), journal)
    return ownership.judge(MAILBOX, "m1", Snapshot(mailboxes=(row,)))


@pytest.mark.parametrize("skew", [0, 1200, -1200])
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3, State.FOUND),
        (-1, State.DONE),
        (0, State.DONE),
        (115, State.DONE),
        (300, State.UNCERTAIN),
    ],
)
def test_time_tells_by_the_clock_of_the_panel(journal: Journal, seconds: int, skew: int, expected: State) -> None:
    journal.sent(MAILBOX)
    created_at = journal.records[MAILBOX.id].at + timedelta(seconds=seconds + skew)
    assert origin(journal, created_at, skew) is expected


def test_the_first_send_counts_not_the_last_note(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        patch.setattr("panelica_async.provision.journal._now", lambda: now - timedelta(hours=1))
        journal.sent(MAILBOX)
    journal.unknown(MAILBOX, "no reply")
    assert origin(journal, now - timedelta(minutes=30)) is State.DONE


@pytest.mark.parametrize("outcomes", [1, 2])
def test_calls_before_a_known_outcome_do_not_count(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, outcomes: int
) -> None:
    now = datetime.now(UTC)
    for hours in range(outcomes, 0, -1):
        with monkeypatch.context() as patch:
            patch.setattr("panelica_async.provision.journal._now", lambda: now - timedelta(hours=hours))  # noqa: B023 - called in the loop
            journal.sent(MAILBOX)
            journal.failed(MAILBOX, "refused")
    journal.sent(MAILBOX)
    assert origin(journal, now - timedelta(minutes=30)) is State.FOUND


def test_without_the_clock_of_the_panel_its_time_tells_nothing(journal: Journal) -> None:
    journal.sent(MAILBOX)
    assert origin(journal, datetime.now(UTC), None) is State.UNCERTAIN


@pytest.mark.parametrize("skew", [0.0, None])
@pytest.mark.parametrize(("ago", "expected"), [(0, State.DONE), (115, State.DONE), (125, State.UNCERTAIN)])
def test_without_a_time_the_look_tells(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, skew: float | None, ago: int, expected: State
) -> None:
    now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        patch.setattr("panelica_async.provision.journal._now", lambda: now - timedelta(seconds=ago))
        journal.sent(MAILBOX)
    assert origin(journal, None, skew) is expected
