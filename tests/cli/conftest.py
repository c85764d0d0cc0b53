from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.harness import Command, Process, Terminal, write_manifest


@pytest.fixture
def panelica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return Command()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: str) -> Process:
        started.append(Process(tmp_path, arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def terminal(*arguments: str, columns: int = 100) -> Terminal:
        opened.append(Terminal(tmp_path, arguments, columns))
        return opened[-1]

    yield terminal
    for one in opened:
        one.close()


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A manifest of three sites with 28 objects."""
    return write_manifest(tmp_path / "launch.csv", 3)
