"""Links between pages: the index links to every page and back, and no link or anchor is broken."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
DOCS = sorted((PROJECT / "docs").glob("*.md"))
INDEX = PROJECT / "docs" / "index.md"
PAGES = [*sorted(PROJECT.glob("*.md")), *DOCS, *sorted((PROJECT / "spec").glob("*.md"))]
# Their texts come from the generator.
GENERATED = {PROJECT / "docs" / name for name in ("operations.md", "panel-operations.md")}

_FENCE = re.compile(r"^(```+).*?^\1$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
_LINK_TEXT = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NAMED = re.compile(r'<a id="([^"]+)"></a>')
_DROPPED = re.compile(r"[^\w\- ]")


def links_of(page: Path) -> list[str]:
    """Return the targets of the links on a page; code holds none."""
    text = _CODE.sub("", _FENCE.sub("", page.read_text(encoding="utf-8")))
    return _LINK.findall(text)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that a page names, and those of its headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    anchors = dict.fromkeys(_NAMED.findall(text), 1)
    for heading in _HEADING.findall(text):
        words = _DROPPED.sub("", _LINK_TEXT.sub(r"\1", heading).lower()).replace(" ", "-")
        number = anchors.get(words, 0)
        anchors[words] = number + 1
        if number:
            anchors[f"{words}-{number}"] = 1
    return set(anchors)


def broken_links(page: Path) -> list[str]:
    """Return the relative links of a page that lead to no file, or to no heading of it."""
    broken = []
    for link in links_of(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)
    return broken


def linked_pages(page: Path) -> set[Path]:
    files = {link.partition("#")[0] for link in links_of(page)} - {""}
    return {(page.parent / file).resolve() for file in files}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_are_not_broken(page: Path) -> None:
    assert broken_links(page) == []


def test_index_links_to_every_page() -> None:
    assert {page.name for page in DOCS} - {page.name for page in linked_pages(INDEX)} == {INDEX.name}


def test_readme_links_to_the_index() -> None:
    assert INDEX in linked_pages(PROJECT / "README.md")


@pytest.mark.parametrize("page", [page for page in DOCS if page not in {INDEX, *GENERATED}], ids=lambda page: page.name)
def test_every_page_leads_back_to_the_index(page: Path) -> None:
    assert INDEX in linked_pages(page)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_page_has_one_title_and_an_introduction(page: Path) -> None:
    text = re.sub(r"<!--.*?-->", "", _FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.DOTALL).strip()
    assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1
    assert re.match(r"# .+\n\n(?:\[Documentation\]\(index\.md\)\n\n)?\w", text)


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("other.md", False),
        ("other.md#several-hosts", False),
        ("#here-and-there", False),
        ("https://example.com/none#there", False),
        ("missing.md", True),
        ("other.md#no-such-heading", True),
        ("#nowhere", True),
    ],
)
def test_broken_link_is_noticed(tmp_path: Path, link: str, is_broken: bool) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n## Here, and `there`\n\nSee [this]({link}).\n", encoding="utf-8")
    (tmp_path / "other.md").write_text("# Other\n\n## Several hosts\n", encoding="utf-8")
    assert broken_links(page) == ([link] if is_broken else [])


def test_links_in_code_are_not_followed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n`[x](y.md)`\n\n```text\n[x](y.md)\n# no heading\n```\n", encoding="utf-8")
    assert broken_links(page) == []
    assert anchors_of(page) == {"page"}


def test_headings_of_one_name_get_numbers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n## Options\n\n## Options\n", encoding="utf-8")
    assert anchors_of(page) == {"page", "options", "options-1"}
