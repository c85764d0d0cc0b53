from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from panelica_async.core.error_replies import read_report
from panelica_async.errors import NotFoundError, PanelicaError, ServerError
from panelica_async.provision import Journal, Manifest, Plan, SiteStatus, remaining_outcomes
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.provision.results import may_have_run, reason_of

PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>" + b"<p>try again later</p>" * 100 + b"</body></html>"


@pytest.mark.parametrize("hours", [0, -1, 1], ids=["as it was", "back", "ahead"])
def test_outcomes_of_an_aborted_run_need_no_clock(tmp_path: Path, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = Manifest.from_data([{"domain": "alder.example", "owner": "alder", "mailboxes": ["info", "sales"]}])
    plan = Plan.decide(manifest, Snapshot(), {})
    _, domain, info, sales = (planned.step for planned in plan.steps)
    path, set_to = tmp_path / "run.journal", datetime.now(UTC) + timedelta(hours=hours)
    with Journal.open(path) as journal:
        journal.begin(base_url="https://panel.example.com", manifest=manifest, credentials_path=None)
        journal.failed(sales, "refused in the first run")
        journal.begin(base_url="https://panel.example.com", manifest=manifest, credentials_path=None)
        monkeypatch.setattr("panelica_async.provision.journal._now", lambda: set_to)
        journal.done(domain, "d1")
        journal.failed(info, "no room")
        [outcome] = remaining_outcomes(plan, [], journal)
    with Journal.open(path, read_only=True) as journal:
        assert remaining_outcomes(plan, [], journal) == [outcome]

    assert (outcome.status, outcome.reason) == (SiteStatus.FAILED, "mailbox info@alder.example: no room")
    assert [(step.step, step.status.value) for step in outcome.steps] == [(domain, "created"), (info, "failed")]


def test_remaining_outcomes_name_objects_that_conflict_by_now() -> None:
    manifest = Manifest.from_data([{"domain": "alder.example", "owner": "alder"}])
    plan = Plan.decide(manifest, Snapshot(), {})
    account, domain, *_ = (planned.step for planned in plan.steps)
    with Journal.in_memory() as journal:
        journal.begin(base_url="https://panel.example.com", manifest=manifest, credentials_path=None)
        journal.done(account, "a1")
        journal.conflict(account, "another plan")
        journal.conflict(domain, "belongs to others")
        [outcome] = remaining_outcomes(plan, [], journal)
    found = [(step.step, step.status.value, step.reason) for step in outcome.steps]
    assert found == [(account, "conflict", "another plan"), (domain, "conflict", "belongs to others")]


def reason(status: int, body: bytes) -> str:
    return reason_of(read_report(status, {}, body).error(method="POST", path="/v1/domains"))


def test_reason_of_a_web_page_does_not_quote_it() -> None:
    assert reason(502, PAGE) == "502 Bad Gateway, a web page instead of JSON"


def test_reason_quotes_the_details_of_the_panel() -> None:
    assert reason(422, b'{"error": "Invalid", "details": "php is not installed"}') == "Invalid (php is not installed)"


def test_reason_of_a_long_message_is_short() -> None:
    assert len(reason(400, b'{"error": "' + b"bad " * 500 + b'"}')) <= 300
    assert len(reason(400, b'{"error": "Bad", "details": "' + b"bad " * 500 + b'"}')) <= 210


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFoundError("no such parent", status=404), False),
        (NotFoundError("a web page", status=404, from_panel=False), True),
        # Of the client itself, which sent nothing.
        (NotFoundError("no such parent", status=404, from_panel=False, attempts=0), False),
        (ServerError("failed", status=500), True),
    ],
)
def test_reason_says_that_nothing_ran_only_for_a_refusal(error: PanelicaError, *, expected: bool) -> None:
    assert may_have_run(error) is expected
