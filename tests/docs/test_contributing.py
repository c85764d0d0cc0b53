"""CONTRIBUTING describes the tree and the checks as they are."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_architecture import RINGS

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAP = PAGE.partition("## Map of the tree\n")[2].partition("\n## ")[0]
PACKAGE = PROJECT / "panelica_async"
# Where a path on the page begins: its text has named the folder before.
FOLDERS = (PROJECT, PACKAGE, PACKAGE / "provision" / "manifest", PACKAGE / "provision" / "objects")
GLOSSARY = PAGE.partition("## Glossary\n")[2].partition("\n## ")[0]


def is_session(node: ast.FunctionDef) -> bool:
    return any("session" in ast.unparse(decorator) for decorator in node.decorator_list)


def sessions() -> set[str]:
    tree = ast.parse((PROJECT / "noxfile.py").read_text(encoding="utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and is_session(node)}
    return found - {"every_check"}  # `nox` alone


def test_every_session_of_nox_has_a_row() -> None:
    rows = re.findall(r"^\| `nox -s ([a-z]+)", PAGE, re.MULTILINE)
    assert set(rows) == sessions()
    assert len(rows) == len(set(rows))


PATH = re.compile(r"`([\w./]+(?:/|\.(?:py|md|yaml|json)))`")


@pytest.mark.parametrize("path", sorted(set(PATH.findall(PAGE))))
def test_every_path_exists(path: str) -> None:
    found = [folder / path for folder in FOLDERS if (folder / path).exists()]
    assert found
    assert found[0].is_dir() == path.endswith("/")


PLACE = re.compile(r"`(\w+)`(?:,? (?:and|there|is|are))* in `([\w./]+\.py)`")


@pytest.mark.parametrize(("name", "path"), sorted(set(PLACE.findall(" ".join(PAGE.split())))))
def test_every_name_is_in_the_module_it_is_said_to_be_in(name: str, path: str) -> None:
    texts = [(folder / path).read_text(encoding="utf-8") for folder in FOLDERS if (folder / path).exists()]
    assert any(re.search(rf"\b{name}\b", text) for text in texts)


def test_every_ring_is_on_the_map_below_those_it_stands_on() -> None:
    places = {name: MAP.find(f"`{name}/`") for name in RINGS if name != "client"}
    assert min(places.values()) > 0
    for ring, place in places.items():
        assert all(places[inner] < place for inner in RINGS[ring] if inner in places), ring


def test_terms_are_sorted_and_explained_once() -> None:
    terms = re.findall(r"^\| ([a-z ]+) \| \S", GLOSSARY, re.MULTILINE)[1:]
    assert len(terms) > 25
    assert terms == sorted(set(terms))
