"""A copy of the project, for generating code and running programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "panelica_async"
GENERATED = shutil.ignore_patterns("models", "resources", "catalog.py", "*.json", "__pycache__")


def copy_hand_written(project: Path) -> None:
    """Copy the hand-written parts of the package."""
    shutil.copytree(PACKAGE, project / "panelica_async", ignore=GENERATED)


def run(*arguments: str | Path, project: Path) -> subprocess.CompletedProcess[str]:
    """Run Python with the package of a project, and the generator of this repository; warnings are errors."""
    path = os.pathsep.join(map(str, (project, REPOSITORY)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
