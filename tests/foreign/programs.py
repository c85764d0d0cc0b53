"""Foreign programs: found in the environment of the tests, run to their end."""

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

# Ends a program that hangs; the slowest takes 40 s, and on a busy machine ten times as long.
_SECONDS = 900


def find(name: str) -> str:
    """Return the path of a program; skip the test where it is not installed."""
    beside_python = f"{Path(sys.executable).parent}"
    found = shutil.which(name, path=beside_python) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; `nox -s foreign` installs it")
    return found


async def run(*arguments: str, env: Mapping[str, str]) -> tuple[int, str]:
    """Run a program and return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *arguments, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")
