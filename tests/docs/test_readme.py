"""The README says what is true: its examples run, its tree is the real one."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import panelica_async
from panelica_async import errors
from panelica_async.sandbox import Sandbox

PROJECT = Path(__file__).parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


async def run_against_sandbox(code: str) -> str:
    """Run a program in a fresh interpreter whose environment points at a sandbox; return what it prints."""
    import asyncio

    async with Sandbox(tier="enterprise") as box:
        environment = os.environ | {
            "PANELICA_BASE_URL": box.base_url,
            "PANELICA_API_KEY": box.api_key,
            "PANELICA_API_SECRET": box.api_secret,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code,
            env=environment, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.parametrize("code", PYTHON_BLOCKS, ids=lambda code: code.strip().splitlines()[0])
async def test_every_python_block_runs(code: str) -> None:
    await run_against_sandbox(code)


async def test_first_example_prints_the_site_it_made() -> None:
    assert await run_against_sandbox(PYTHON_BLOCKS[0]) == "acme.example 0\n"


def test_first_example_is_the_one_in_examples() -> None:
    code = (PROJECT / "examples" / "first_calls.py").read_text(encoding="utf-8")
    assert code.split('"""\n\n', 1)[1] == PYTHON_BLOCKS[0]


def test_tree_of_errors_is_that_of_the_module() -> None:
    assert errors.__doc__ is not None
    tree = re.search(r"```\n(PanelicaError\n.*?)```", errors.__doc__, re.DOTALL)
    assert tree is not None
    assert tree[1] in README


def test_every_error_is_in_the_tree_and_importable() -> None:
    tree = README[README.index("## Errors") :]
    for name in errors.__all__:
        assert re.search(rf"\b{name}\b", tree), name
        assert getattr(panelica_async, name) is getattr(errors, name)


def test_relative_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (PROJECT / target).exists(), target
