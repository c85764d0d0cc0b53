"""Every fault in every kind of call: no write takes effect twice, and no caller gets a false result."""

import pytest

from tests.support import fault_matrix
from tests.support.fault_matrix import Cell, Outcome
from tests.support.faulty_proxy import Fault

ERRORS_OF_THE_PANEL = {Fault.SERVER_ERROR, Fault.SERVER_ERROR_AFTER}
"""A 500 is the panel's own report of a failure, whether or not it acted."""


@pytest.fixture(scope="module")
def outcomes() -> dict[Cell, Outcome]:
    return fault_matrix.run_matrix()


def writes(outcomes: dict[Cell, Outcome]) -> list[tuple[Cell, Outcome, int]]:
    found = [(cell, outcome, outcome.effects) for cell, outcome in outcomes.items() if outcome.effects is not None]
    assert len(found) == sum(kind.count is not None for _, _, kind in fault_matrix.cells())
    return found


def test_no_write_takes_effect_twice(outcomes: dict[Cell, Outcome]) -> None:
    assert [(cell, outcome) for cell, outcome, effects in writes(outcomes) if effects > 1] == []


def test_write_reported_done_took_effect_once(outcomes: dict[Cell, Outcome]) -> None:
    reported = [(cell, effects) for cell, outcome, effects in writes(outcomes) if outcome.reported == "done"]
    assert len(reported) > 40
    assert [cell for cell, effects in reported if effects != 1] == []


def test_write_that_took_effect_is_never_reported_failed(outcomes: dict[Cell, Outcome]) -> None:
    """Except for a 500, which is the panel's own report."""
    reported = [
        (cell, outcome.reported, effects)
        for cell, outcome, effects in writes(outcomes)
        if outcome.reported.startswith("`") or outcome.reported == "cancelled"
    ]
    assert len(reported) > 50
    assert [cell for cell, _, effects in reported if effects and cell[0].fault not in ERRORS_OF_THE_PANEL] == []


def test_500_is_a_server_error_whether_the_panel_acted_or_not(outcomes: dict[Cell, Outcome]) -> None:
    found = [outcome for cell, outcome in outcomes.items() if cell[0].fault in ERRORS_OF_THE_PANEL]
    assert {(outcome.reported, outcome.attempts) for outcome in found} == {("`ServerError`", 1)}


def test_write_when_cancelled_says_outcome_unknown(outcomes: dict[Cell, Outcome]) -> None:
    found = [(cell[2].title, outcome.reported) for cell, outcome in outcomes.items() if cell[0].cancels]
    assert {reported for title, reported in found if title != "read"} == {"cancelled, unknown"}
    assert {reported for title, reported in found if title == "read"} == {"cancelled"}


def test_tables_in_the_docs_are_up_to_date(outcomes: dict[Cell, Outcome]) -> None:
    is_up_to_date = fault_matrix.tables_on_page() == fault_matrix.tables(outcomes)
    assert is_up_to_date, "docs/write-safety.md is out of date: run `python -m tests.support.fault_matrix --write`"
