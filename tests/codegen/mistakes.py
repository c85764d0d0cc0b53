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
    """Text of the line that the message names as OTHER."""


def assert_reported(
    edit: Edit, file: str, folder: Path, *, named: str | None = None, other_file: str = "parcels.yaml"
) -> None:
    """Check what the generator says about an edit.

    Args:
        edit: The edit.
        file: The file that the tests are about.
        folder: Where the edited specification is written.
        named: File that the message names, if not the edited one.
        other_file: File of the line that the message names as OTHER.
    """
    spec, edited = shutil.copytree(GOLDEN, folder / "spec"), edit.file or file
    path, named = spec / edited, named or edited
    text = path.read_text(encoding="utf-8")
    assert edit.old in text
    path.write_text(text.replace(edit.old, edit.new, 1), encoding="utf-8")
    message = edit.message.replace("OTHER", str(_line_of(edit.other, GOLDEN / other_file)))
    with pytest.raises(SpecError) as caught:
        generate(spec)
    assert str(caught.value) == f"spec/{named}:{_line_of(edit.at, spec / named)}: {message}"


def _line_of(part: str, path: Path) -> int:
    """Return the number of the first line that holds a text."""
    text = path.read_text(encoding="utf-8")
    return text[: text.index(part)].count("\n") + 1
