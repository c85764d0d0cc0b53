"""The tables of the sandbox: only a duplicate is a conflict; any other broken constraint is an error of the sandbox."""

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
