import sqlite3

import pytest

from panelica_async import ConfigurationError
from panelica_async.cli.command import ExitCode, _run
from panelica_async.cli.connection import Traffic
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
