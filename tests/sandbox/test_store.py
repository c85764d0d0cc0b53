"""The state of the sandbox: what is a conflict, and what a transaction that fails leaves behind."""

import sqlite3

import pytest

from panelica_async.sandbox.store import Store
from tests.sandbox.signed_client import Clock


@pytest.mark.parametrize(
    ("kind", "row"),
    [("plan", {"id": "p1"}), ("domain", {"id": "d1", "domain": "a.example", "user_id": "gone"})],
    ids=["a column that may not be empty", "an owner that is not there"],
)
def test_broken_constraint_is_not_a_conflict(kind, row):
    store = Store(":memory:", Clock())
    with pytest.raises(sqlite3.IntegrityError):
        store.insert(kind, row)


def test_transaction_when_its_commit_fails_is_undone():
    store = Store(":memory:", Clock())
    with pytest.raises(sqlite3.IntegrityError):
        _refer_to_nothing(store)
    with store.transaction():
        assert store.value("SELECT count(*) FROM panel_objects") == 0


def _refer_to_nothing(store: Store) -> None:
    with store.transaction():
        store.execute("PRAGMA defer_foreign_keys = ON")
        store.execute("INSERT INTO panel_objects VALUES ('o1', 'cron_job', 'gone', NULL, '{}')")
