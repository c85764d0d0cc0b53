"""Every citation of evidence leads to an entry of spec/evidence.md, and every entry says how strong it is."""

import re
from collections import Counter
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CITING = ("panelica_async", "codegen", "spec", "tests", "docs", "examples", "benchmarks", ".github")
EVIDENCE = (PROJECT / "spec" / "evidence.md").read_text(encoding="utf-8")

ANCHOR = re.compile(r'^### <a id="([^"]*)"></a>(.*)$', re.MULTILINE)
NAME = r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*"
# Split, so that this file does not cite anything.
CITATION = re.compile("evidence" + rf":\s*({NAME}(?:, {NAME})*)?")
LINK = re.compile(r"evidence\.md#([\w-]*)")
MARK = re.compile(r"^\*\*(observed|agreed|single|declared|guess|unknown)\*\* · \S.*$", re.MULTILINE)


def entries(text: str) -> dict[str, str]:
    """Return the text of every entry by its anchor."""
    parts = ANCHOR.split(text)
    return {anchor: body.partition("\n## ")[0] for anchor, body in zip(parts[1::3], parts[3::3], strict=True)}


def citations(text: str) -> list[str]:
    """Return the anchors a text cites; an empty one for a citation that names none."""
    cited = [name for names in CITATION.findall(text) for name in names.split(", ")]
    return cited + LINK.findall(text)


def dangling(text: str, anchors: set[str]) -> list[str]:
    return [name for name in citations(text) if name not in anchors]


def texts() -> dict[Path, str]:
    """Return every text of the repository that may cite evidence, by its path in it."""
    files = [path for folder in CITING for path in (PROJECT / folder).rglob("*") if "__pycache__" not in path.parts]
    files += PROJECT.glob("*.md")
    return {path.relative_to(PROJECT): path.read_text("utf-8", errors="replace") for path in files if path.is_file()}


ANCHORS = {name for name, _ in ANCHOR.findall(EVIDENCE)}


def test_every_citation_resolves() -> None:
    missing = {str(path): names for path, text in texts().items() if (names := dangling(text, ANCHORS))}
    assert missing == {}


def test_every_part_of_the_repository_cites_evidence() -> None:
    """Otherwise the test above would pass because nothing was read."""
    assert {path.parts[0] for path, text in texts().items() if citations(text)} >= {"panelica_async", "spec", "tests"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (": nowhere)", ["nowhere"]),
        (": lists-unpaged, nowhere)", ["nowhere"]),
        (": Lists)", [""]),
        (":\n    # lists-unpaged)", [""]),
        (".md#nowhere", ["nowhere"]),
        (": lists-unpaged, times); and more", []),
        (".md#times", []),
    ],
)
def test_invented_citation_is_noticed(text: str, expected: list[str]) -> None:
    assert dangling(f"A comment (evidence{text}", ANCHORS) == expected


def test_anchors_are_unique_and_readable() -> None:
    names = Counter(name for name, _ in ANCHOR.findall(EVIDENCE))
    assert [name for name, count in names.items() if count > 1] == []
    assert [name for name in names if not re.fullmatch(NAME, name)] == []
    assert [name for name, title in ANCHOR.findall(EVIDENCE) if name != title] == []
    assert EVIDENCE.count("<a id=") == len(names)


def test_entry_says_how_strong_it_is_and_why() -> None:
    bodies = entries(EVIDENCE)
    assert bodies.keys() == ANCHORS
    assert [anchor for anchor, body in bodies.items() if len(MARK.findall(body)) != 1] == []
    assert [anchor for anchor, body in bodies.items() if not MARK.sub("", body).strip()] == []


def test_entry_without_mark_or_source_is_noticed() -> None:
    body = entries('### <a id="tides"></a>tides\n\nThe panel follows the moon.\n\n**observed** ·\n\n## Next\n')["tides"]
    assert MARK.findall(body) == []
