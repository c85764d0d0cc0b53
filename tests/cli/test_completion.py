"""Completion, as a shell requests it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.harness import MAIN, environment

pytestmark = pytest.mark.once


def completed(directory: Path, line: str) -> list[str]:
    """Return the completions of bash at the end of a line."""
    asked = environment(_PANELICA_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(line.split(" ")) - 1))
    command = [sys.executable, "-c", f"import sys; sys.argv[0] = 'panelica'; {MAIN}"]
    ended = subprocess.run(command, cwd=directory, env=asked, capture_output=True, text=True, check=False)
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("panelica provision apply a.csv --sandbox-tier b", ["business"]),
        ("panelica provision plan a.csv --tier a", ["auto"]),
        ("panelica doctor --dialect r", ["reference"]),
        ("panelica sandbox --tier s", ["starter"]),
        ("panelica sandbox --dialect ", ["reference", "panel"]),
        ("panelica api P", ["POST", "PUT", "PATCH"]),
        ("panelica api POST /v1/dom", ["/v1/domains", "/v1/domains/{id}/suspend", "/v1/domains/{id}/unsuspend"]),
        ("panelica sign GET /v1/plan", ["/v1/plans"]),
    ],
)
def test_values_are_completed(tmp_path: Path, line: str, offered: list[str]) -> None:
    assert completed(tmp_path, line) == offered
