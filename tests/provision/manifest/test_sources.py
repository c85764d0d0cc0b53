"""Files of every format: read, or refused with a place, and without what may be a password."""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.errors import ConfigurationError
from panelica_async.provision import Manifest, ManifestError
from panelica_async.provision.manifest.columns import Reading
from panelica_async.provision.manifest.manifest import read_data
from panelica_async.provision.manifest.sources import read_csv, read_json, read_yaml

HEADER = "Domain,Username,Email,Notes"
CLOSED = "a quote is opened in this row but never closed"
BROKEN = "not readable as CSV: ',' expected after '\"'; write a quote within a quoted cell twice"
LOOKS_LIKE_A_ROW = "a line of the cell looks like a row of its own; if it is one, a quote is missing"
SITE = "- domain: a.example\n  owner: {username: a, email: a@a.example}\n"
DIGITS = "9" * 5000
READERS: dict[str, Callable[[str], object]] = {
    "csv": lambda text: read_csv(text, "sites", Reading()),
    "json": lambda text: read_data(read_json(text, "sites"), Reading()),
    "yaml": lambda text: read_data(read_yaml(text, "sites"), Reading()),
}


def write(directory: Path, name: str, content: str | bytes) -> Path:
    path = directory / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(directory: Path, name: str, content: str | bytes) -> ManifestError:
    path = write(directory, name, content)
    with pytest.raises(ManifestError) as caught:
        Manifest.load(path)
    return caught.value


def problems_of(directory: Path, name: str, content: str | bytes) -> list[tuple[int, str, str]]:
    return [(problem.line, problem.column, problem.message) for problem in error_of(directory, name, content).problems]


def load(directory: Path, *lines: str, header: str = HEADER) -> Manifest:
    return Manifest.load(write(directory, "sites.csv", "\n".join([header, *lines, ""])))


def problems(directory: Path, *lines: str, header: str = HEADER, end: str = "\n") -> list[tuple[int, str, str]]:
    return problems_of(directory, "sites.csv", end.join([header, *lines, ""]))


def swallowed(domain: str) -> str:
    return f"contains what looks like the row of {domain!r}; is there a quote too few or too many?"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("header", "lines", "expected"),
    [
        pytest.param(
            HEADER,
            [
                'acme.example,acme,o@acme.example,"call before',
                "beta.example,beta,o@beta.example,vip",
                'gamma.example,gamma,o@gamma.example,new"',
                "delta.example,delta,o@delta.example,",
            ],
            [(2, "Notes", swallowed("beta.example"))],
            id="last column",
        ),
        pytest.param(
            HEADER,
            ['acme.example,acme,o@acme.example,"call', 'beta.example,beta,o@beta.example,new"'],
            [(2, "Notes", swallowed("beta.example"))],
            id="two rows",
        ),
        pytest.param(
            HEADER,
            ['acme.example,acme,o@acme.example,"one, two, three, four', 'beta.example,beta,o@beta.example,new"'],
            [(2, "Notes", swallowed("beta.example"))],
            id="a row below a line that may be one",
        ),
        pytest.param(
            "Notes,Domain,Username",
            ['"call,acme.example,acme', 'x",beta.example,beta'],
            [(2, "Notes", swallowed("acme.example"))],
            id="first column",
        ),
        pytest.param(
            "Domain,Username,Notes",
            ['acme.example,acme,"call', 'beta.example,Beta GmbH & Co,x"'],
            [(2, "Notes", swallowed("beta.example"))],
            id="a row of as many cells with a bad user name",
        ),
        pytest.param(
            "Domain,Username,Password,Mailboxes",
            ['acme.example,acme,,"info', 'beta.example,beta,Secret99,x"'],
            [(2, "Mailboxes", swallowed("beta.example"))],
            id="a column that is read, and a password",
        ),
        pytest.param(
            'Domain,Username,"Notes',
            ['acme.example,acme,"', "beta.example,beta,x"],
            [(1, "Notes", swallowed("acme.example"))],
            id="header",
        ),
        pytest.param(
            HEADER,
            ['"acme.example,acme,o@acme.example,x', "beta..example,beta,o@beta.example,x"],
            [(2, "", CLOSED), (3, "domain", "'beta..example' is not a host name")],
            id="never closed",
        ),
    ],
)
def test_rows_in_a_cell_are_found(
    tmp_path: Path, header: str, lines: list[str], expected: list[tuple[int, str, str]], end: str
) -> None:
    found = problems(tmp_path, *lines, header=header, end=end)

    assert [(line, column.lower(), message) for line, column, message in found] == [
        (line, column.lower(), message) for line, column, message in expected
    ]


@pytest.mark.parametrize(
    "cell",
    [
        "Main Street 5\n12345 Berlin\nGermany",
        "see also:\nbeta.example\ngamma.example",
        "Ms Alder, Mr Beech\ncalled twice",
    ],
)
def test_cell_of_several_lines_is_fine(tmp_path: Path, cell: str) -> None:
    manifest = load(tmp_path, f'acme.example,acme,o@acme.example,"{cell}"', "beta.example,beta,o@beta.example,")

    assert [site.line for site in manifest.sites] == [2, 3 + cell.count("\n")]
    assert manifest.remarks == ()


@pytest.mark.parametrize(
    "cell", ["one, two, three, four\nfive", "x\nbeta.example, gamma.example", "x\nbeta.example,Beta GmbH"]
)
def test_line_that_looks_like_a_row_has_a_remark(tmp_path: Path, cell: str) -> None:
    (remark,) = load(tmp_path, f'acme.example,acme,o@acme.example,"{cell}"').remarks

    assert (remark.where, remark.text) == ("line 2, Notes", LOOKS_LIKE_A_ROW)


def test_ignored_column_may_hold_rows(tmp_path: Path) -> None:
    rows = HEADER + '\nacme.example,acme,o@acme.example,"was:\nbeta.example,beta,o@beta.example,x"\n'
    path = write(tmp_path, "sites.csv", rows)

    assert [site.domain for site in Manifest.load(path, ignore_columns=["notes"]).sites] == ["acme.example"]


def test_bad_rows_are_reported_beside_a_broken_one(tmp_path: Path) -> None:
    rows = [f"s{number}.example,u{number},o@s{number}.example," for number in range(2, 301)]
    rows[99] = "no domain,u101,o@x.example,"
    rows[215] = 's217.example,u217,o@x.example,"@ TXT "v=spf1 -all""'
    rows[250] = "s252.example,4ever,o@y.example,"
    rows[298] = 's300.example,u300,o@z.example,"open'

    found = problems(tmp_path, *rows)

    assert [(line, column) for line, column, _ in found] == [(101, "Domain"), (217, ""), (252, "Username"), (300, "")]
    assert (found[1][2], found[3][2]) == (BROKEN, CLOSED)


def test_broken_row_is_named_by_its_first_line(tmp_path: Path) -> None:
    found = problems(tmp_path, 'acme.example,acme,o@acme.example,"one', 'two "three" four"', "")

    assert (2, "", BROKEN) in found


@pytest.mark.parametrize(
    "header",
    ["acme.example,acme,Secret99x", "acme;acme;Secret99x", "alpha\tacme\tSecret99x", "a.example,acme,Secret99x,https"],
)
def test_file_without_a_header_shows_no_password(tmp_path: Path, header: str) -> None:
    found = problems(tmp_path, "beta.example,beta,Secret99y", header=header)

    assert found == [(1, "", "the first line is not a header; it must name the columns: domain,username,…")]


def test_cell_in_a_column_without_a_name_has_a_remark(tmp_path: Path) -> None:
    manifest = load(tmp_path, "acme.example,acme,,x", "beta.example,beta,,y", header="Domain,Username,,")

    assert [str(remark) for remark in manifest.remarks] == [
        "line 1, column 4: ignored because the column has no name",
    ]


@pytest.mark.parametrize("first", ["", "sep=|\n"])
def test_cells_may_be_separated_by_bars(tmp_path: Path, first: str) -> None:
    manifest = load(tmp_path, 'a.example|alder|"info|sales"', header=f"{first}domain|username|mailboxes")

    assert [mailbox.local_part for mailbox in manifest.sites[0].mailboxes] == ["info", "sales"]


def test_bars_within_cells_do_not_separate_cells(tmp_path: Path) -> None:
    manifest = load(tmp_path, "a.example;alder;info|sales|help", header="domain;username;mailboxes")

    assert len(manifest.sites[0].mailboxes) == 3


def test_quote_that_swallows_many_lines_is_explained(tmp_path: Path) -> None:
    lines = [f"s{number}.example,u{number},o@s{number}.example,x" for number in range(5000)]
    lines[100] = lines[100].replace("o@", '"o@')

    assert problems(tmp_path, *lines) == [
        (102, "", "has a cell of more than 131,072 characters; is a quote missing?"),
    ]


@pytest.mark.parametrize("end", ["\v", "\x85", "\u2028"])
def test_unknown_line_ends_are_named_without_quoting_a_cell(tmp_path: Path, end: str) -> None:
    found = problems(tmp_path, "a.example,alder,Secret99a", header="domain,username,password", end=end)

    assert found == [
        (1, "", f"the lines end in U+{ord(end):04X}; save the file with Windows or Linux line endings"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("", [(1, "", "the file is empty; a header line is needed")], id="empty file"),
        pytest.param("\n  \n", [(1, "", "the file is empty; a header line is needed")], id="blank file"),
        pytest.param(
            "Customer;Domain\n1;a.example\n",
            [(1, "", "no column 'username' among 'Customer', 'Domain'; name it with --column NAME=username")],
            id="missing column",
        ),
        pytest.param(
            "domain;usrname\na.example;a\n",
            [(1, "usrname", "unknown column; did you mean 'username'? If not, ignore it with --ignore-column")],
            id="misspelt column",
        ),
        pytest.param(
            "domain;username;Mailboxs\na.example;a;info\n",
            [(1, "Mailboxs", "unknown column; did you mean 'mailboxes'? If not, ignore it with --ignore-column")],
            id="misspelt column that is not needed",
        ),
        pytest.param(
            "domain;Owner;Account\na.example;a;a\n",
            [(1, "Account", "means 'username', and so does 'Owner'; ignore one with --ignore-column")],
            id="two columns of one meaning",
        ),
        pytest.param("domain,username\n", [(1, "", "the manifest has no sites")], id="header alone"),
        pytest.param(
            "domain,username\na.example,a,x\n",
            [(2, "", "has 3 cells, the header 2; is a quote missing?")],
            id="more cells than columns",
        ),
        pytest.param(
            'domain,username\n"a.example,a\n',
            [(2, "", "a quote is opened in this row but never closed")],
            id="open quote",
        ),
        pytest.param(
            "domain,username\nb.example,b\nmünchen.example,a\n".encode("latin-1"),
            [(3, "", "not UTF-8 text; save the file as 'CSV UTF-8' or in UTF-8")],
            id="Latin-1",
        ),
        pytest.param(
            "domain".encode("utf-16-be"),
            [(1, "", "the file is UTF-16 or UTF-32 without a byte order mark; save it as 'CSV UTF-8' or in UTF-8")],
            id="UTF-16 without a mark",
        ),
        pytest.param(
            b"PK\x03\x04\x14\0\x06\0",
            [
                (
                    1,
                    "",
                    "the file is a spreadsheet (xlsx, ods) or a ZIP archive; save it as 'CSV UTF-8' or in UTF-8",
                )
            ],
            id="spreadsheet",
        ),
        pytest.param(
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
            [(1, "", "the file is an old Excel file (xls); save it as 'CSV UTF-8' or in UTF-8")],
            id="old Excel file",
        ),
        pytest.param(
            "\n<!DOCTYPE html><table>",
            [(1, "", "the file is a web page; save it as 'CSV UTF-8' or in UTF-8")],
            id="web page",
        ),
    ],
)
def test_bad_csv_file_is_refused(tmp_path: Path, content: str | bytes, expected: list[tuple[int, str, str]]) -> None:
    assert problems_of(tmp_path, "sites.csv", content) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        pytest.param("s.json", '[\n{"domain": }]', [(2, "", "not valid JSON: Expecting value")], id="JSON"),
        pytest.param(
            "s.json",
            '{"sites":\n[{"domain": "a.example",\n "owner": "a", "domain": "b.example"}]}',
            [(2, "domain", "appears twice in the same mapping")],
            id="key twice in JSON",
        ),
        pytest.param(
            "s.json",
            '{"site": []}',
            [(1, "", "must be a list of sites, or a mapping with the list under 'sites'")],
            id="no list",
        ),
        pytest.param("s.json", "[]", [(1, "", "the manifest has no sites")], id="no site"),
        pytest.param(
            "s.json",
            "[\n[]\n]",
            [(2, "", "a site must be a mapping with 'domain' and 'owner'")],
            id="a site that is none",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: [\n",
            [(3, "", "not valid YAML: expected the node content, but found '<stream end>'")],
            id="YAML",
        ),
        pytest.param("s.yaml", "\x00", [(1, "", "not valid YAML")], id="not even text"),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: a\n  dns:\n  - {name: www, type: TXT}\n"
            "  - {name: www, type: a, content: 192.0.2.1, priority: 5}\n",
            [(1, "dns", "www: A record takes no priority"), (1, "dns", "www: TXT record has no content")],
            id="records with too little and too much",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: &o {username: a, username: b}\n- {domain: b.example, owner: *o}\n",
            [(2, "username", "appears twice in the same mapping")],
            id="key twice in YAML",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: {username: a, emial: a@a.example}\n",
            [(1, "owner.emial", "unknown column; did you mean 'email'? If not, ignore it with --ignore-column")],
            id="misspelt key of the owner",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: a\n  mailboxes:\n  - {name: info}\n  - 5\n"
            "  - {local_part: 5}\n  - {local_part: x, password: 12345678}\n  - {user: y, quota: 5}\n",
            [
                (1, "mailboxes", "an entry must be text or a mapping; put numbers and words such as yes in quotes"),
                (1, "mailboxes", "must be text; put it in quotes"),
                (1, "mailboxes", "unknown key 'name'; expected one of local_part, password, quota_mb"),
                (1, "mailboxes", "unknown keys 'user', 'quota'; expected one of local_part, password, quota_mb"),
                (1, "mailboxes", "x: password must be text; put it in quotes"),
            ],
            id="entries of the wrong kind",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: a\n  php: [8.4]\n  web_server: {x: y}\n",
            [(1, "php", "must be text, not a list"), (1, "web_server", "must be text, not a mapping")],
            id="lists and mappings for texts",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: a\n  databases: {shop: u}\n  ftp_users: [{username: f, quota_mb: true}]\n",
            [
                (1, "databases", "must be a list"),
                (1, "ftp_users", "f: quota_mb must be a whole number from 0 to 2147483647"),
            ],
            id="values of the wrong kind",
        ),
        pytest.param(
            "s.yaml",
            "- domain: a.example\n  owner: a\n  databases: [{name: shop, users: u}]\n",
            [(1, "databases", "shop: users must be a list")],
            id="users that are no list",
        ),
    ],
)
def test_bad_document_is_refused(tmp_path: Path, name: str, content: str, expected: list[tuple[int, str, str]]) -> None:
    assert problems_of(tmp_path, name, content) == expected


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        (
            "s.json",
            (
                '{"about": 1,\n"about": 2, "note": 3,\n"note": 4, "about": 5, "sites": [\n'
                '{"domain": "a.example", "domain": "b..example", "owner": {"username": "a", "username": "1x"}},\n'
                '{"domain": "c.example"}]}'
            ),
            [(2, "about"), (3, "about"), (3, "note"), (4, "domain"), (4, "username"), (5, "username")],
        ),
        (
            "s.yaml",
            (
                "about: 1\nabout: 2\nsites:\n- domain: a.example\n  domain: b..example\n"
                "  owner: {username: a, username: 1x}\n- domain: c.example\n"
            ),
            [(2, "about"), (4, "domain"), (5, "domain"), (6, "username"), (4, "username"), (7, "username")],
        ),
        ("s.json", '{"about": 1,\n"about": 2}', [(1, ""), (2, "about")]),
        ("s.yaml", "about: 1\nabout: 2\n", [(1, ""), (2, "about")]),
        ("s.yaml", "about: 1\nabout: 2\nsites: [{domain: 2026-13-45}]\n", [(2, "about"), (3, "")]),
    ],
)
def test_key_that_appears_twice_hides_no_other_problem(
    tmp_path: Path, name: str, content: str, expected: list[tuple[int, str]]
) -> None:
    assert {(line, column) for line, column, _ in problems_of(tmp_path, name, content)} == set(expected)


def test_yaml_anchor_inside_itself_does_not_hang(tmp_path: Path) -> None:
    assert error_of(tmp_path, "s.yaml", "- &a {domain: a.example, owner: a, dns: [*a]}\n").problems


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("s.yaml", "[" * 3000, 1, "nested too deep"),
        ("s.yaml", "- " * 3000 + "x", 1, "nested too deep"),
        ("s.yaml", f"{SITE}  x: 2026-13-45\n", 3, "looks like a number or a date but is not one"),
        ("s.yaml", f"{SITE}  x: {DIGITS}\n", 3, "looks like a number or a date but is not one"),
        ("s.yaml", f"{SITE}  x: !!int hunter22\n", 3, "looks like a number or a date but is not one"),
        ("s.yaml", f"{SITE}  ? [a]\n  : x\n", 3, "unhashable key"),
        ("s.yaml", f"{SITE}---\n{SITE}", 3, "not valid YAML: found another document"),
        ("s.json", "[" * 100_000, 1, "nested too deep"),
        ("s.json", '[{"x": ' + "[" * 100_000, 1, "nested too deep"),
        ("s.json", '{"sites": [],\n "sites": []}', 2, "appears twice in the same mapping"),
        ("s.json", '{"a": 1,\n "a": 2, "sites": []}', 2, "appears twice in the same mapping"),
        ("s.json", '{"sites": 1,\n "sites": []}', 2, "appears twice in the same mapping"),
        ("s.json", '{"sites": [], "about": [1,\n', 2, "not valid JSON"),
    ],
)
def test_problem_of_an_unreadable_document_has_a_line(
    tmp_path: Path, name: str, text: str, line: int, message: str
) -> None:
    (problem,) = error_of(tmp_path, name, text).problems

    assert problem.line == line
    assert message in problem.message


@pytest.mark.parametrize("name", ["s.json", "s.yaml"])
@pytest.mark.parametrize("field", ["quota_mb", "password"])
def test_number_too_long_for_python_is_a_problem_of_its_row(tmp_path: Path, name: str, field: str) -> None:
    site = {"domain": "a.example", "owner": "a", "mailboxes": [{"local_part": "info", field: 0}]}

    error_of(tmp_path, name, json.dumps([site]).replace(f'"{field}": 0', f'"{field}": {DIGITS}'))


@pytest.mark.parametrize(
    "text",
    [
        "&x {sites: [{domain: a.example, owner: a}]}",
        "{base: &x {sites: [{domain: a.example, owner: a}]}, <<: *x}",
        "{base: &x {sites: [{domain: b.example, owner: b}]}, <<: *x, sites: [{domain: a.example, owner: a}]}",
    ],
)
def test_merged_keys_of_yaml_are_read(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "s.yaml", text)

    assert [(site.domain, site.line) for site in Manifest.load(path).sites] == [("a.example", 1)]


@pytest.mark.parametrize(
    "password", ["!hunter22", "*hunter22", "&hunter22 *hunter22", "'hunter'22", "@hunter22", "h: unter22"]
)
def test_yaml_error_shows_no_password(tmp_path: Path, password: str) -> None:
    error = error_of(tmp_path, "s.yaml", f"{SITE}  password: {password}\n")

    assert "unter" not in str(error)
    assert error.problems[0].line == 3


@pytest.mark.parametrize("kind", READERS)
@given(text=st.text(max_size=80) | st.text("[]{}\":,;\n\t -&*!|<>%'#?ab\\", max_size=60))
@example(text='{"sites":')
@example(text="<<: *a")
@example(text='domain,username\na.example,a,"')
@example(text="- ? a\n: b")
def test_any_text_is_read_or_refused(kind: str, text: str) -> None:
    with contextlib.suppress(ConfigurationError):  # Anything else fails.
        READERS[kind](text)


def test_yaml_without_pyyaml_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)

    with pytest.raises(ConfigurationError, match=r"Install panelica_async\[yaml\]"):
        Manifest.load(write(tmp_path, "sites.yaml", SITE))
