"""Mistakes in a specification, and what the generator says about them."""

import shutil
from pathlib import Path

import attrs
import pytest

from codegen.render import generate
from codegen.yaml_nodes import SpecError

GOLDEN = Path(__file__).parent / "golden" / "spec"


@attrs.frozen
class Edit:
    """An edit of the golden specification that makes it wrong."""

    old: str
    """Text to replace; if it occurs several times, its first occurrence."""
    new: str
    at: str
    """Text of the line that the message must name, after the edit."""
    message: str
    """The message after the location."""
    file: str | None = None
    """File to edit, if not the one that the tests are about."""
    other: str = ""
    """Text in parcels.yaml whose line the message names as OTHER."""


def edited(edit: Edit, file: str, folder: Path) -> Path:
    """Return a copy of the golden specification with the edit; `file` is the one the tests are about."""
    spec = shutil.copytree(GOLDEN, folder / "spec")
    path = spec / (edit.file or file)
    text = path.read_text(encoding="utf-8")
    assert edit.old in text
    path.write_text(text.replace(edit.old, edit.new, 1), encoding="utf-8")
    return spec


def message_about(spec: Path) -> str:
    """Return what the generator says about a wrong specification."""
    with pytest.raises(SpecError) as caught:
        generate(spec)
    return str(caught.value)


def line_of(part: str, path: Path) -> int:
    """Return the number of the first line that holds a text."""
    text = path.read_text(encoding="utf-8")
    return text[: text.index(part)].count("\n") + 1
