"""Every option of the command, by each of its names, is on the page of the command line or on one it links to."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup, TyperOption
from typer.main import get_command

from panelica_async.cli.commands import app

DOCS = Path(__file__).parents[2] / "docs"
NAMES = ("cli.md", "provisioning.md", "manifest.md", "sandbox.md", "troubleshooting.md", "authentication.md")
PAGES = [DOCS / name for name in NAMES]


def commands(command: Any, name: str = "panelica") -> Iterator[tuple[str, Any]]:
    yield name, command
    if isinstance(command, TyperGroup):
        for child in command.commands.values():
            yield from commands(child, f"{name} {child.name}")


COMMANDS = dict(commands(get_command(app)))
OPTIONS = sorted(
    {
        flag
        for command in COMMANDS.values()
        for option in command.params
        if isinstance(option, TyperOption)
        for flag in [*option.opts, *option.secondary_opts]
    }
)


def test_options_are_found() -> None:
    assert len(COMMANDS) > 10
    assert {"--base-url", "--yes", "-y", "--clock-skew"} <= set(OPTIONS)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_on_a_page(option: str) -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", text)


def test_every_command_is_in_the_table() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    leaves = [name for name, command in COMMANDS.items() if not isinstance(command, TyperGroup)]
    assert [name for name in leaves if f"| `{name}" not in page] == []
