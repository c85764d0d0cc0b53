"""Runs the command, in this process or a separate one, and reads the results."""

import csv
import json
import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from typer.testing import CliRunner

from panelica_async.cli.commands import app
from tests.provision.launching import state

PROJECT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds after which a process must have hung, however busy the machine is."""
MAIN = "from panelica_async.cli import main; main()"
# Makes its terminal the controlling one, so that Ctrl-C reaches the process.
_MAIN_ON_TERMINAL = f"import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); {MAIN}"


class Command:
    """The command in this process, in an empty directory."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> "Outcome":
        result = CliRunner().invoke(app, arguments, input=stdin, prog_name="panelica")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)


class Outcome:
    """The exit code and the output of a command."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code = code
        self.stdout = stdout
        self.stderr = stderr

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"FORCE_COLOR", "NO_COLOR", "COLUMNS"}}
    return kept | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"} | more


class Process:
    """The command in a separate process, without a terminal."""

    def __init__(self, directory: Path, arguments: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", MAIN, *arguments],
            cwd=directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the process ended: " + self._process.communicate()[1]
        return line

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> Outcome:
        stdout, stderr = self._process.communicate(timeout=PATIENCE)
        return Outcome(self._process.returncode, stdout, stderr)

    def close_messages(self) -> None:
        """Close the reading end of standard error."""
        assert self._process.stderr is not None
        self._process.stderr.close()

    def wait(self) -> int:
        return self._process.wait(timeout=PATIENCE)

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None


def read_document(process: Process) -> Any:
    """Read the JSON document that a process prints first."""
    return json.loads("".join(iter(process.read_line, "}\n")) + "}")


class Terminal:
    """The command in a separate process, on a terminal."""

    def __init__(self, directory: Path, arguments: tuple[str, ...], columns: int = 100) -> None:
        self.columns = columns
        self._screen, its_end = os.openpty()
        termios.tcsetwinsize(its_end, (24, columns))
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", _MAIN_ON_TERMINAL, *arguments],
            cwd=directory,
            env=environment(TERM="xterm-256color"),
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
        )
        os.close(its_end)
        self.text = ""

    def read_until(self, awaited: str) -> None:
        while awaited not in self.text:
            assert self._read(), self.text

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C until it has an effect: Python misses it in the instant before it starts to wait for a key."""
        while "Interrupted." not in self.text:
            self.type("\x03")
            while self._read(within=3):
                pass

    @property
    def screen(self) -> list[str]:
        """The visible lines, and those that have scrolled off."""
        return screen(self.text, self.columns)

    def end(self) -> int:
        while self._read():
            pass
        return self._process.wait(timeout=PATIENCE)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._screen)

    def _read(self, *, within: float = PATIENCE) -> bool:
        """Read available output; return whether there was any, and fail if none comes for long."""
        if not select.select([self._screen], [], [], within)[0]:
            assert within < PATIENCE, self.text
            return False
        try:
            text = os.read(self._screen, 65536).decode()
        except OSError:  # how Linux reports that the other end is closed
            text = ""
        self.text += text
        return bool(text)


def screen(text: str, columns: int) -> list[str]:
    """Return the lines that a terminal shows after a text, starting with those that have scrolled off.

    It interprets the sequences with which rich redraws lines, and the kernel's echo of Ctrl-C.
    """
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|.", text, re.DOTALL):
        if token == "\n":
            row += 1
        elif token == "\r":
            column = 0
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith("\x1b"):
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in lines]


def write_manifest(path: Path, sites: int, **changed: str) -> Path:
    """Write a manifest: nine objects for each site, and one more for the first."""
    rows = [
        {
            "domain": f"site{number}.example",
            "owner": f"owner{number}",
            "email": f"owner{number}@mail.example",
            "ssl": "yes",
            "dns": f"www A 192.0.2.{number} | @ MX 10 mail.site{number}.example",
            "databases": f"shop{number}:reader{number}",
            "mailboxes": "info, sales" if number == 1 else "info",
            "ftp": f"ftp{number}",
        }
        | changed
        for number in range(1, sites + 1)
    ]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def objects(database: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return every object in the database of a sandbox, duplicates included."""
    with sqlite3.connect(database) as connection:
        found = state(SimpleNamespace(database=connection))  # type: ignore[arg-type] # only this attribute is used
    connection.close()
    return found


def count_created(journal: Path) -> int:
    """Return how many objects a journal, which may be in use, records as created."""
    return len(step_ids_in_state(journal, "done"))


def step_ids_in_state(journal: Path, state: str) -> set[str]:
    """Return the ids of the steps that a journal, which may be in use, records in a state."""
    if not journal.exists():
        return set()
    connection = sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)
    try:
        # Each note is a row; the last one of a step counts, which SQLite takes the other columns from.
        notes = connection.execute("SELECT id, state, max(seq) FROM step GROUP BY id")
        return {step_id for step_id, last, _ in notes if last == state}
    except sqlite3.OperationalError:  # its tables are being created
        return set()
    finally:
        connection.close()


def has_hanging_call(journal: Path, overtaken_by: int = 20) -> bool:
    """Return whether a call was sent before many others that have been answered, and still has no reply."""
    pending = step_ids_in_state(journal, "sent")
    if not pending:
        return False
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        notes = connection.execute("SELECT id, state FROM step ORDER BY seq").fetchall()
    oldest = next(number for number, (step_id, _) in enumerate(notes) if step_id in pending)
    return sum(state == "done" for _, state in notes[oldest:]) >= overtaken_by


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until another process has done something."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
