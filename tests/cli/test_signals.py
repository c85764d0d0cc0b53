import signal

import pytest

from panelica_async.cli.signals import on_stop_signal


@pytest.mark.parametrize("is_ignored", [True, False], ids=["nohup", "terminal"])
async def test_closed_terminal_stops_unless_it_is_ignored(is_ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if is_ignored else signal.SIG_DFL)
    try:
        with on_stop_signal(lambda: None):
            assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) is is_ignored
    finally:
        signal.signal(signal.SIGHUP, before)
