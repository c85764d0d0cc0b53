"""The report of a run: its exit code, and the command that it suggests next."""

from pathlib import Path

import pytest

from panelica_async import AuthenticationError, PanelicaError
from panelica_async.cli.command import ExitCode
from panelica_async.cli.options import Traffic
from panelica_async.cli.report import RunReport
from panelica_async.provision import RunFiles, SiteOutcome, SiteStatus

REJECTED = AuthenticationError("no", status=401)


@pytest.mark.parametrize(
    ("statuses", "error", "interrupted", "code", "command"),
    [
        ([SiteStatus.DONE, SiteStatus.EXISTS], None, False, ExitCode.OK, "undo"),
        ([SiteStatus.DONE, SiteStatus.FAILED], None, False, ExitCode.FAILED, "resume"),
        ([SiteStatus.DONE, SiteStatus.SKIPPED], None, False, ExitCode.FAILED, "resume"),
        ([SiteStatus.DONE, SiteStatus.UNKNOWN], None, False, ExitCode.FAILED, "resume"),
        ([SiteStatus.DONE], REJECTED, False, ExitCode.FAILED, "resume"),
        ([SiteStatus.DONE], None, True, ExitCode.INTERRUPTED, "resume"),
    ],
)
def test_run_is_complete_without_bad_site_error_or_interrupt(
    statuses: list[SiteStatus], error: PanelicaError | None, interrupted: bool, code: ExitCode, command: str
) -> None:
    report = RunReport(
        manifest="launch.csv",
        panel="https://panel.example.com",
        outcomes=tuple(SiteOutcome(domain="a.example", status=status, steps=()) for status in statuses),
        traffic=Traffic(),
        seconds=1.0,
        interrupted=interrupted,
        error=error,
        files=RunFiles.of_journal(Path(".panelica/launch.journal.db")),
        remarks=(),
        arguments=("launch.csv",),
    )
    assert report.exit_code is code
    assert report.next_command == f"panelica provision {command} launch.csv"
