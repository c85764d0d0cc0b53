"""CSV with broken quotes: no site is lost silently, and every bad row is reported."""

from pathlib import Path

import pytest

from panelica_async.provision import Manifest, ManifestError

HEADER = "Domain,Username,Email,Notes"
CLOSED = "a quote is opened in this row but never closed"
BROKEN = "not readable as CSV: ',' expected after '\"'; write a quote within a quoted cell twice"
LOOKS_LIKE_A_ROW = "a line of the cell looks like a row of its own; if it is one, a quote is missing"


def load(directory: Path, *lines: str, header: str = HEADER, end: str = "\n") -> Manifest:
    path = directory / "sites.csv"
    path.write_bytes(end.join([header, *lines, ""]).encode())
    return Manifest.load(path)


def problems(directory: Path, *lines: str, header: str = HEADER, end: str = "\n") -> list[tuple[int, str, str]]:
    with pytest.raises(ManifestError) as caught:
        load(directory, *lines, header=header, end=end)
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


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
def test_a_cell_of_several_lines_is_fine(tmp_path: Path, cell: str) -> None:
    manifest = load(tmp_path, f'acme.example,acme,o@acme.example,"{cell}"', "beta.example,beta,o@beta.example,")

    assert [site.line for site in manifest.sites] == [2, 3 + cell.count("\n")]
    assert manifest.remarks == ()


@pytest.mark.parametrize(
    "cell", ["one, two, three, four\nfive", "x\nbeta.example, gamma.example", "x\nbeta.example,Beta GmbH"]
)
def test_a_line_that_may_be_a_row_is_remarked(tmp_path: Path, cell: str) -> None:
    (remark,) = load(tmp_path, f'acme.example,acme,o@acme.example,"{cell}"').remarks

    assert (remark.where, remark.text) == ("line 2, Notes", LOOKS_LIKE_A_ROW)


def test_a_column_that_is_to_be_ignored_may_hold_rows(tmp_path: Path) -> None:
    path = tmp_path / "sites.csv"
    path.write_text(HEADER + '\nacme.example,acme,o@acme.example,"was:\nbeta.example,beta,o@beta.example,x"\n')

    assert [site.domain for site in Manifest.load(path, ignore_columns=["notes"]).sites] == ["acme.example"]


def test_every_bad_row_is_reported_beside_a_broken_one(tmp_path: Path) -> None:
    rows = [f"s{number}.example,u{number},o@s{number}.example," for number in range(2, 301)]
    rows[99] = "no domain,u101,o@x.example,"
    rows[215] = 's217.example,u217,o@x.example,"@ TXT "v=spf1 -all""'
    rows[250] = "s252.example,4ever,o@y.example,"
    rows[298] = 's300.example,u300,o@z.example,"open'

    found = problems(tmp_path, *rows)

    assert [(line, column) for line, column, _ in found] == [(101, "Domain"), (217, ""), (252, "Username"), (300, "")]
    assert (found[1][2], found[3][2]) == (BROKEN, CLOSED)


def test_a_broken_row_is_named_by_its_first_line(tmp_path: Path) -> None:
    found = problems(tmp_path, 'acme.example,acme,o@acme.example,"one', 'two "three" four"', "")

    assert (2, "", BROKEN) in found


@pytest.mark.parametrize("header", ["acme.example,acme,Secret99x", "acme;acme;Secret99x", "alpha\tacme\tSecret99x"])
def test_a_file_without_a_header_shows_no_password(tmp_path: Path, header: str) -> None:
    found = problems(tmp_path, "beta.example,beta,Secret99y", header=header)

    assert found == [(1, "", "the first line names no known column; it must be a header: domain,username,…")]


def test_a_cell_in_a_column_without_a_name_is_remarked(tmp_path: Path) -> None:
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


def test_a_quote_that_swallows_very_much_is_explained(tmp_path: Path) -> None:
    lines = [f"s{number}.example,u{number},o@s{number}.example,x" for number in range(5000)]
    lines[100] = lines[100].replace("o@", '"o@')

    assert problems(tmp_path, *lines) == [
        (102, "", "has a cell of more than 131,072 characters; is a quote missing?"),
    ]


@pytest.mark.parametrize("end", ["\v", "\x85", "\u2028"])
def test_other_line_ends_are_named_and_no_cell_is(tmp_path: Path, end: str) -> None:
    found = problems(tmp_path, "a.example,alder,Secret99a", header="domain,username,password", end=end)

    assert found == [
        (1, "", f"the lines end in U+{ord(end):04X}; save the file with Windows or Linux line endings"),
    ]
