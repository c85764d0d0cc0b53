"""Formats generated code with the ruff that is pinned for the whole repository."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def formatted(code: str, name: str) -> str:
    """Return code with imports sorted, unused imports removed and the layout of the repository."""
    checked = _ruff("check", "--fix", "--quiet", "--select", "I,F401,UP", code=code, name=name)
    return _ruff("format", "--quiet", code=checked, name=name)


def _ruff(*arguments: str, code: str, name: str) -> str:
    command = [
        sys.executable,
        "-m",
        "ruff",
        *arguments,
        "--config",
        str(PROJECT / "pyproject.toml"),
        "--stdin-filename",
        name,
        "-",
    ]
    done = subprocess.run(  # noqa: S603 - our own arguments
        command, input=code, capture_output=True, text=True, encoding="utf-8", cwd=PROJECT, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ruff could not read {name}: {done.stderr or done.stdout}")
    return done.stdout
