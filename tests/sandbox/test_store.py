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
    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store.set_setting("colour", "red")
        store.execute("PRAGMA defer_foreign_keys = ON")
        store.execute("INSERT INTO trash VALUES ('t1', '/gone', '/gone', 'a1', 0)")
    with store.transaction():
        assert store.setting("colour") is None
