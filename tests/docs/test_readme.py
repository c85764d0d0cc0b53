"""README and docs say what is true: their examples run, the tree of errors is the real one."""

import ast
import asyncio
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import panelica_async
from panelica_async import PanelicaClient, errors
from panelica_async.catalog import ERROR_CODES, TIERS
from panelica_async.sandbox import Sandbox

PROJECT = Path(__file__).parents[2]
ERRORS = {name for name in panelica_async.__all__ if name.endswith("Error")}
README = (PROJECT / "README.md").read_text(encoding="utf-8")
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


PYTEST_BLOCKS = [block for page in PAGES for block in python_blocks(page) if "import pytest" in block]
FIRST_EXAMPLE = python_blocks(PROJECT / "README.md")[0]
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in PAGES
    for number, block in enumerate(python_blocks(page), 1)
]


async def run_against_sandbox(code: str, folder: Path) -> str:
    """Run a program in a fresh interpreter whose environment points at a sandbox; return what it prints."""
    program = folder / "test_program.py"
    program.write_text(code, encoding="utf-8")
    (folder / "examples").symlink_to(PROJECT / "examples")
    # Without a configuration: as it runs for those who copy it.
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "import pytest" in code else []
    async with Sandbox(tier="enterprise") as box:
        environment = os.environ | {
            "PANELICA_BASE_URL": box.base_url,
            "PANELICA_API_KEY": box.api_key,
            "PANELICA_API_SECRET": box.api_secret,
            "PANELICA_DIALECT": "auto",
            "PYTHONPATH": str(PROJECT),
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, *runner, str(program),
            env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fragment_is_python(page: Path) -> None:
    """A fragment, a block marked `py`, is no whole program: it may await outside a function and use names of others."""
    for fragment in re.findall(r"```py\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        compile(fragment, page.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("code", PYTEST_BLOCKS)
async def test_pytest_block_has_a_test_that_passes(code: str, tmp_path: Path) -> None:
    assert "1 passed" in await run_against_sandbox(code, tmp_path)


async def test_addresses_are_read_as_the_table_says() -> None:
    page = (PROJECT / "docs" / "connecting.md").read_text(encoding="utf-8")
    table = page.partition("<!-- addresses -->")[2].partition("<!-- /addresses -->")[0]
    rows = re.findall(r"^\| `(.+)` \| `(.+)` \|$", table, re.MULTILINE)
    assert len(rows) == 8
    for written, meant in rows:
        async with PanelicaClient(written, api_key="pk_test_0123", api_secret="sk_test_0123456789") as panel:
            assert panel.base_url == meant


@pytest.mark.parametrize(
    "module", ["panelica_async", "panelica_async.provision", "panelica_async.sandbox", "panelica_async.telemetry",
               "panelica_async.ratelimit", "panelica_async.doctor"],
)  # fmt: skip
def test_every_public_name_is_on_a_page(module: str) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    missing = [name for name in importlib.import_module(module).__all__ if not re.search(rf"\b{name}\b", pages)]
    assert not missing


@pytest.mark.parametrize("code", BLOCKS)
async def test_every_python_block_runs(code: str, tmp_path: Path) -> None:
    await run_against_sandbox(code, tmp_path)


async def test_first_example_prints_the_site_it_made(tmp_path: Path) -> None:
    assert await run_against_sandbox(FIRST_EXAMPLE, tmp_path) == "acme.example 0\n"


def test_first_example_is_the_one_in_examples() -> None:
    code = (PROJECT / "examples" / "first_calls.py").read_text(encoding="utf-8")
    assert code.split('"""\n\n', 1)[1] == FIRST_EXAMPLE


def test_tree_of_errors_is_that_of_the_module() -> None:
    assert errors.__doc__ is not None
    tree = re.search(r"```\n(PanelicaError\n.*?)```", errors.__doc__, re.DOTALL)
    assert tree is not None
    assert tree[1] in README


def test_every_error_has_a_row_with_its_remedy() -> None:
    page = (PROJECT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+Error)` \|", page, re.MULTILINE)
    assert ERRORS - {"PanelicaError", "ResponseError"} == set(rows)
    assert len(rows) == len(set(rows))


def test_every_error_code_is_in_the_table_with_its_status() -> None:
    page = (PROJECT / "docs" / "errors.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[\w.]+`.*) \| (\d{3}) \|", page, re.MULTILINE)
    told = {code: int(status) for codes, status in rows for code in re.findall(r"`([\w.]+)`", codes)}
    assert told == {code: known.status for code, known in ERROR_CODES.items()}


def test_tiers_are_those_of_the_catalog() -> None:
    page = (PROJECT / "docs" / "rate-limits.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+|no limit) \| ([\d,]+|no limit|not known) \| (\d+)?", page, re.MULTILINE)
    numbers = {
        name: [int(text.replace(",", "")) if text[:1].isdigit() else None for text in row] for name, *row in rows
    }
    assert numbers == {
        name: [tier.requests_per_minute, tier.requests_per_hour, tier.burst] for name, tier in TIERS.items()
    }


def test_every_error_is_in_the_tree_and_importable() -> None:
    tree = README[README.index("## Errors") :]
    for name in ERRORS:
        assert re.search(rf"\b{name}\b", tree), name
        assert getattr(panelica_async, name) is getattr(errors, name)
