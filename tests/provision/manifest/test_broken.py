"""Files that are not manifests: one kind of error, with a place, and without what may be a password."""

import contextlib
import csv
import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.errors import ConfigurationError
from panelica_async.provision import Manifest, ManifestError
from panelica_async.provision.manifest.columns import Reading
from panelica_async.provision.manifest.csv_source import read_csv
from panelica_async.provision.manifest.documents import read_json
from panelica_async.provision.manifest.yaml_source import read_yaml

SITE = "- domain: a.example\n  owner: {username: a, email: a@a.example}\n"
DIGITS = "9" * 5000
READERS = {"csv": read_csv, "json": read_json, "yaml": read_yaml}


def error_of(directory: Path, name: str, text: str) -> ManifestError:
    path = directory / name
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        Manifest.load(path)
    return caught.value


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("s.yaml", "[" * 3000, 1, "nested too deep"),
        ("s.yaml", "- " * 3000 + "x", 1, "nested too deep"),
        ("s.yaml", f"{SITE}  x: 2026-13-45\n", 3, "looks like a number or a date but is not one"),
        ("s.yaml", f"{SITE}  x: {DIGITS}\n", 3, "looks like a number or a date but is not one"),
        ("s.yaml", f"{SITE}  x: !!int hunter22\n", 3, "looks like a number or a date but is not one"),
        ("s.yaml", f"{SITE}  ? [a]\n  : x\n", 3, "unhashable key"),
        ("s.json", "[" * 100_000, 1, "nested too deep"),
        ("s.json", '[{"x": ' + "[" * 100_000, 1, "nested too deep"),
        ("s.json", '{"sites": [],\n "sites": []}', 2, "appears twice in the same mapping"),
        ("s.json", '{"a": 1,\n "a": 2, "sites": []}', 2, "appears twice in the same mapping"),
        ("s.json", '{"sites": 1,\n "sites": []}', 2, "appears twice in the same mapping"),
        ("s.json", '{"sites": [], "about": [1,\n', 2, "not valid JSON"),
    ],
)
def test_a_document_that_cannot_be_read_has_a_place(
    tmp_path: Path, name: str, text: str, line: int, message: str
) -> None:
    (problem,) = error_of(tmp_path, name, text).problems

    assert problem.line == line
    assert message in problem.message


@pytest.mark.parametrize("name", ["s.json", "s.yaml"])
@pytest.mark.parametrize("field", ["quota_mb", "password"])
def test_a_number_of_any_length_is_refused_where_it_counts(tmp_path: Path, name: str, field: str) -> None:
    site = {"domain": "a.example", "owner": "a", "mailboxes": [{"local_part": "info", field: 0}]}

    error_of(tmp_path, name, json.dumps([site]).replace(f'"{field}": 0', f'"{field}": {DIGITS}'))


@pytest.mark.parametrize("digits", [DIGITS, "1" * 19])
def test_a_quota_of_too_many_digits_is_refused(digits: str) -> None:
    with pytest.raises(ManifestError, match="quota_mb must be a whole number"):
        Manifest.from_rows([{"domain": "a.example", "username": "a", "mailboxes": f"info::{digits}"}])


@pytest.mark.parametrize(
    "text",
    [
        "&x {sites: [{domain: a.example, owner: a}]}",
        "{base: &x {sites: [{domain: a.example, owner: a}]}, <<: *x}",
        "{base: &x {sites: [{domain: b.example, owner: b}]}, <<: *x, sites: [{domain: a.example, owner: a}]}",
    ],
)
def test_merged_keys_of_yaml_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(text)

    assert [(site.domain, site.line) for site in Manifest.load(path).sites] == [("a.example", 1)]


@pytest.mark.parametrize(
    "password", ["!hunter22", "*hunter22", "&hunter22 *hunter22", "'hunter'22", "@hunter22", "h: unter22"]
)
def test_an_error_of_yaml_shows_no_password(tmp_path: Path, password: str) -> None:
    error = error_of(tmp_path, "s.yaml", f"{SITE}  password: {password}\n")

    assert "unter" not in str(error)
    assert error.problems[0].line == 3


def test_a_key_of_the_site_and_its_owner_is_refused(tmp_path: Path) -> None:
    (problem,) = error_of(tmp_path, "s.yaml", f"{SITE}  username: b\n").problems

    assert (problem.column, problem.message) == ("username", "is set both in the site and in its owner")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("be\u00adta.example", "'be\\xadta.example' contains U+00AD SOFT HYPHEN as character 3"),
        ("be\u200eta.example", "contains U+200E LEFT-TO-RIGHT MARK as character 3"),
        ("be\tta.example", "contains U+0009 TAB as character 3"),
        ("be\u00a0ta.example", "contains U+00A0 NO-BREAK SPACE as character 3"),
        ("be\x07ta.example", "contains U+0007 CONTROL CHARACTER as character 3"),
        ("be\ud800ta.example", "contains U+D800 UNNAMED CHARACTER as character 3"),
    ],
)
def test_an_invisible_character_is_named(value: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows([{"domain": value, "username": "a"}])

    assert message in caught.value.problems[0].message


@pytest.mark.parametrize("ends", ["\u200b{}", "{}\u200b", "\ufeff{}\u2060\u00a0", "{}\u00ad", "\u202a{}\u202c"])
def test_invisible_characters_at_the_ends_come_off(ends: str) -> None:
    row = {"domain": "a.example", "username": "alder", "email": "o@a.example", "plan": "Gold", "mailboxes": "info"}
    dns = "www A 192.0.2.1"
    (site,) = Manifest.from_rows(
        [{key: ends.format(value) for key, value in row.items()} | {"dns": ends.format(dns)}]
    ).sites

    assert Manifest.from_rows([row | {"dns": dns}]).sites == (site,)


@pytest.mark.parametrize(
    ("domain", "label"), [("I❤.example", "xn--i-7iq"), ("☃.example", "xn--n3h"), ("www.💩.example", "xn--ls8h")]
)
def test_a_domain_with_a_symbol_is_shown_its_other_form(domain: str, label: str) -> None:
    with pytest.raises(ManifestError, match=f"write its label as '{label}'"):
        Manifest.from_rows([{"domain": domain, "username": "a"}])


@pytest.mark.parametrize("kind", READERS)
@given(text=st.text(max_size=80) | st.text("[]{}\":,;\n\t -&*!|<>%'#?ab\\", max_size=60))
@example(text='{"sites":')
@example(text="<<: *a")
@example(text='domain,username\na.example,a,"')
@example(text="- ? a\n: b")
def test_whatever_a_file_holds_is_read_or_refused(kind: str, text: str) -> None:
    with contextlib.suppress(ConfigurationError):  # Anything else fails.
        READERS[kind](text, "sites", Reading())


def test_cells_beyond_the_header_of_a_reader_are_no_column() -> None:
    lines = ["domain,username,mailboxes", "a.example,alder,info, sales", "b.example,beech,info,,", "c.example,cedar"]
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows(csv.DictReader(lines))

    assert [str(problem) for problem in caught.value.problems] == [
        "line 1: has more cells than the header; is a quote missing?"
    ]


def test_numbers_of_a_table_are_whole_or_none() -> None:
    row = {"domain": "a.example", "username": "alder", "email": math.nan, "dns": math.nan, "php_version": math.nan}
    mailboxes = [{"local_part": "info", "quota_mb": 1024.0}]
    site = Manifest.from_rows([{**row, "mailboxes": mailboxes}]).sites[0]

    assert (site.owner.email, site.dns, site.php_version) == (None, (), None)
    assert site.mailboxes[0].quota_mb == 1024


@pytest.mark.parametrize("quota", [1024.5, math.inf, math.nan, True, "1024.0", 1e300])
def test_other_numbers_are_no_quota(quota: object) -> None:
    row = {"domain": "a.example", "username": "alder", "mailboxes": [{"local_part": "info", "quota_mb": quota}]}
    with pytest.raises(ManifestError, match="quota_mb must be a whole number"):
        Manifest.from_rows([row])


def test_one_column_to_ignore_may_be_text() -> None:
    manifest = Manifest.from_rows([{"domain": "a.example", "username": "a", "Notes": "x"}], ignore_columns="Notes")

    assert manifest.ignored_columns == ("Notes",)
