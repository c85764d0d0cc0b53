import signal
import sqlite3

import pytest

from panelica_async import ConfigurationError
from panelica_async.cli.command import ExitCode, _run, on_stop_signal
from panelica_async.cli.options import Traffic
from panelica_async.cli.output import Output
from panelica_async.errors import PanelicaError


@pytest.mark.parametrize(
    ("error", "traffic", "code"),
    [
        (OSError(28, "No space left on device"), Traffic(), ExitCode.USAGE),
        (OSError(28, "No space left on device"), Traffic(reads=1), ExitCode.FAILED),
        (sqlite3.OperationalError("database or disk is full"), Traffic(), ExitCode.USAGE),
        (sqlite3.OperationalError("database or disk is full"), Traffic(writes=1), ExitCode.FAILED),
        (ConfigurationError("the key is missing"), Traffic(reads=1), ExitCode.USAGE),
        (ConfigurationError("the client is closed"), Traffic(writes=1), ExitCode.FAILED),
        (PanelicaError("refused"), Traffic(), ExitCode.FAILED),
    ],
)
def test_exit_code_is_2_only_when_nothing_was_changed(error: Exception, traffic: Traffic, code: ExitCode) -> None:
    async def work() -> ExitCode:
        raise error

    assert _run(work(), Output(), traffic) is code


@pytest.mark.parametrize("is_ignored", [True, False], ids=["nohup", "terminal"])
async def test_closed_terminal_stops_unless_it_is_ignored(is_ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        with on_stop_signal(lambda: None):
            assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) is is_ignored
    finally:
        signal.signal(signal.SIGHUP, before)
