"""Formats generated code with the ruff that is pinned for the whole repository."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

_PROJECT = Path(__file__).parent.parent


def formatted(files: Mapping[Path, str]) -> dict[Path, str]:
    """Return Python files with imports sorted, unused imports removed and the layout of the repository."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        _ruff("check", "--fix", "--select", "I,F401,UP", folder=folder)
        _ruff("format", folder=folder)
        return {path: (folder / path).read_text(encoding="utf-8") for path in files}


def _ruff(*arguments: str, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ruff",
        *arguments,
        "--quiet",
        "--no-cache",
        "--config",
        str(_PROJECT / "pyproject.toml"),
        ".",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603 - our own arguments
    if done.returncode:
        raise RuntimeError(f"ruff does not take the generated code:\n{done.stdout}{done.stderr}")
