"""Entries in cells: each is found; a password is whole or refused, and never shown."""

import re
import string
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from panelica_async.provision import Manifest, ManifestError, Site
from panelica_async.provision.manifest.entries import DATABASES, DNS, FTP_USERS, MAILBOXES, split
from panelica_async.provision.manifest.fields import InvalidValueError

UNCLEAR = "it is unclear where its password ends"
# Letters are rare, so that separators, quotes and what looks like a second entry come often.
PASSWORDS = st.text(",;|:+\"'/ ab=@.12" + string.punctuation, min_size=8, max_size=24).filter(
    lambda text: text == text.strip()
)
CELLS = {
    "mailboxes": "info:{}",
    "ftp_users": "deploy:{}",
    "databases": "shop:app:{}",
}
READERS = {kind.column: kind.read for kind in (DNS, DATABASES, MAILBOXES, FTP_USERS)}


def load(**columns: object) -> Site:
    return Manifest.from_rows([{"domain": "a.example", "username": "alder", **columns}]).sites[0]


def found_in(site: Site) -> list[tuple[str, str | None]]:
    """Return every name that gets a login, with its password."""
    users = [user for database in site.databases for user in database.users]
    return [
        *((mailbox.local_part, mailbox.password) for mailbox in site.mailboxes),
        *((user.username, user.password) for user in (*site.ftp_users, *users)),
    ]


def message_of(**columns: object) -> str:
    with pytest.raises(ManifestError) as caught:
        load(**columns)
    return str(caught.value)


@pytest.mark.parametrize(("column", "cell"), CELLS.items())
@given(password=PASSWORDS)
@example(password="Secretpass,word1")
@example(password="Secretpass,word1:longpassword")
@example(password="Secretpass|x9:longpassword")
@example(password="Passw0rd+extra")
@example(password="Tr0ub4dor:12345678")
@example(password="Secretpass:/htdocs")
@example(password=",Secretpass")
@example(password="+Secretpass")
@example(password="Secretpass;")
@example(password="+Secret,pass<word")
@example(password="Tr0ub4dor;p@ss w0rd!")
def test_password_without_quotes_is_whole_or_refused(column: str, cell: str, password: str) -> None:
    # A quote at the beginning opens one; `::` leaves the password out; the other is a second entry with a password.
    assume(not password.startswith(('"', ":")))
    assume(not re.search(r"[,;|]\s.*:.{8}", password))
    message, found = "", [("", password)]
    try:
        found = found_in(load(**{column: cell.format(password)}))
    except ManifestError as error:
        message = str(error)

    assert [whole for _, whole in found] == [password]
    assert not [piece for piece in re.split(r"[,;|:+\"]", password) if len(piece) > 3 and piece in message]


@pytest.mark.parametrize(("column", "cell"), CELLS.items())
@given(password=PASSWORDS, other=PASSWORDS, separator=st.sampled_from([",", ";", "|", "\n", " , ", "\r\n"]))
def test_password_in_quotes_is_whole(column: str, cell: str, password: str, other: str, separator: str) -> None:
    quoted, last = (cell.format('"' + text.replace('"', '""') + '"') for text in (password, other))
    site = load(
        **{column: quoted + separator + re.sub(r"\w+:", r"x\g<0>", last.partition('"')[0]) + last[last.index('"') :]}
    )

    assert [found for _, found in found_in(site)] == [password, other]


@pytest.mark.parametrize("separator", [", ", " ; ", "|\t", " |\u00a0"])
@pytest.mark.parametrize("other", ["Other88bb", '"Other,88"'])
@pytest.mark.parametrize(
    ("column", "cell"),
    [("mailboxes", "info:{}{}sales:{}"), ("ftp_users", "info:{}{}sales:{}"), ("databases", "a:info:{}{}b:sales:{}")],
)
def test_blank_before_an_entry_with_a_password_splits_it(column: str, cell: str, other: str, separator: str) -> None:
    site = load(**{column: cell.format("Secret99a", separator, other)})

    assert found_in(site) == [("info", "Secret99a"), ("sales", other.strip('"'))]


@pytest.mark.parametrize(
    "rest",
    [
        ",b:sales:Other88bb",  # no blank
        ", b",  # no password
        ", b:sales",
        ", b:sales:short",
        ", b:sal es:Other88bb",  # no name
        ", b:sales!:Other88bb",
        ", b:sales:Other88bb, c",
        ", b:sales:Other88bb,c:d:Third77cc",
        ", :Other88bb",
        ",\nb:sales:Other88bb",
    ],
)
@pytest.mark.parametrize("column", CELLS)
def test_stray_text_after_a_password_is_refused(column: str, rest: str) -> None:
    if column != "databases":
        rest = rest.replace("b:", "", 1).replace("c:d:", "c:")
    message = message_of(**{column: CELLS[column].format("Secret99a") + rest})

    assert UNCLEAR in message
    assert not re.search("Secret|Other|short|sal", message)


@pytest.mark.parametrize(
    "cell", ["a:info:Secret99a, foo/b:sales:Other88bb", "a:info:Secret99a, b c:sales:Other88bb", "a:info:Secret99a+b"]
)
def test_databases_after_a_password_must_be_valid(cell: str) -> None:
    assert f"databases: entry 1: {UNCLEAR}" in message_of(databases=cell)


@given(PASSWORDS)
def test_quotes_around_an_entry_keep_it_together(password: str) -> None:
    assume(":" not in password and not password.startswith('"'))
    entry = '"' + f"info:{password}".replace('"', '""') + '"'

    assert found_in(load(mailboxes=f"sales; {entry}, help")) == [("sales", None), ("info", password), ("help", None)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"mailboxes": "sales, info:hunter22"}, [("sales", None), ("info", "hunter22")]),
        ({"mailboxes": "info:hunter22\nsales:hunter33"}, [("info", "hunter22"), ("sales", "hunter33")]),
        ({"mailboxes": "info::2048, sales"}, [("info", None), ("sales", None)]),
        ({"mailboxes": 'info:"hunter22":2048'}, [("info", "hunter22")]),
        ({"mailboxes": '"sales", "info"'}, [("sales", None), ("info", None)]),
        ({"mailboxes": "info:"}, [("info", None)]),
        ({"mailboxes": ["info:a,b;c|d e f", "sales"]}, [("info", "a,b;c|d e f"), ("sales", None)]),
        ({"ftp_users": "web::/htdocs:500; deploy:hunter22"}, [("web", None), ("deploy", "hunter22")]),
        ({"databases": 'shop:one:"hunter+22"+two:hunter33'}, [("one", "hunter+22"), ("two", "hunter33")]),
        ({"databases": "one:a+b, two:c:hunter22"}, [("a", None), ("b", None), ("c", "hunter22")]),
    ],
)
def test_cell_when_unambiguous_is_split(columns: dict[str, Any], expected: list[tuple[str, str | None]]) -> None:
    assert found_in(load(**columns)) == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"mailboxes": "sales, info:hunter22, help"}, f"mailboxes: entry 2: {UNCLEAR}"),
        ({"mailboxes": "info:, hunter22"}, f"mailboxes: entry 1: {UNCLEAR}"),
        ({"mailboxes": "info:hunter22:2048"}, f"mailboxes: entry 1: {UNCLEAR}"),
        ({"mailboxes": ["sales", "info:hunter22:2048"]}, f"mailboxes: entry 2: {UNCLEAR}"),
        ({"databases": "shop:one:hunter22+two"}, f"databases: entry 1: {UNCLEAR}"),
        ({"ftp_users": "web:hunter22:/htdocs"}, f"ftp_users: entry 1: {UNCLEAR}"),
        ({"mailboxes": 'info, sales:"hunter22'}, "mailboxes: entry 2: a quote is opened but never closed"),
        ({"mailboxes": "info, sales:\u201chunter22\u201d"}, "mailboxes: entry 2: quotes must be straight"),
        ({"mailboxes": 'info:"hunter"22aa'}, "mailboxes: entry 1: unexpected text after a closing quote"),
    ],
)
def test_cell_when_ambiguous_names_the_entry(columns: dict[str, Any], message: str) -> None:
    assert message in message_of(**columns)
    assert "hunter" not in message_of(**columns)


@pytest.mark.parametrize("word", ["none", "Yes", "N/A", "-", "NULL", "#N/A", "disabled", "false"])
@pytest.mark.parametrize("column", ["mailboxes", "databases", "ftp_users", "dns"])
def test_word_for_none_is_not_a_name(column: str, word: str) -> None:
    assert f"{word!r} is not a name" in message_of(**{column: f" {word} "})


def test_name_like_a_word_for_none_is_read_in_quotes() -> None:
    assert found_in(load(mailboxes='"none"')) == [("none", None)]
    assert found_in(load(mailboxes=["yes"])) == [("yes", None)]


@pytest.mark.parametrize(
    "columns",
    [
        {"mailboxes": "info::1,024"},
        {"mailboxes": "sales, info::1,024,help"},
        {"mailboxes": "info::10,5"},
        {"mailboxes": 'info:"Secret99a":2,048'},
        {"ftp_users": "web::/htdocs:1,024"},
    ],
)
def test_quota_with_a_comma_is_refused(columns: dict[str, Any]) -> None:
    assert "a quota must be a whole number without ','" in message_of(**columns)


def test_numeric_names_after_a_quota_are_names() -> None:
    found = found_in(load(mailboxes="info::1024, 2024,info2::5,x24;7;8"))

    assert [name for name, _ in found] == ["info", "2024", "info2", "x24", "7", "8"]


def test_invalid_name_beside_a_password_is_not_quoted() -> None:
    message = message_of(mailboxes="sa les, info:hunter22")

    assert "entry 1: a name is not a mailbox name" in message
    assert "sa les" not in message
    assert "'sa les' is not a mailbox name" in message_of(mailboxes="sa les, info")


@pytest.mark.parametrize(
    "columns",
    [
        {"mailboxes": [{"local_part": "info:hunter22"}]},
        {"ftp_users": [{"username": "web:hunter22"}]},
        {"databases": [{"name": "shop:app:hunter22"}]},
        {"databases": [{"name": "shop", "users": ["app:hunter22"]}]},
        {"databases": [{"name": "shop", "users": [{"username": "app:hunter22"}]}]},
    ],
)
def test_mapping_with_a_password_in_a_name_is_not_quoted(columns: dict[str, Any]) -> None:
    message = message_of(**columns)

    assert "entry 1" in message
    assert "hunter22" not in message


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("  Secret99 ", "password begins or ends with a space"),
        ("Secret99\u00a0", "password begins or ends with a space"),
        ("Sec\u200bret99", "password contains U+200B ZERO WIDTH SPACE as character 4"),
        ("Secret99\ufeff", "password contains U+FEFF ZERO WIDTH NO-BREAK SPACE as character 9"),
        ("Secret\t99", "password contains U+0009 TAB as character 7"),
    ],
)
def test_password_is_never_trimmed(tmp_path: Any, password: str, message: str) -> None:
    row = {"domain": "a.example", "username": "a", "email": "a@a.example", "password": password}
    path = tmp_path / "sites.csv"
    path.write_text(",".join(row) + "\n" + ",".join(f'"{cell}"' for cell in row.values()) + "\n")

    for load_it in (lambda: Manifest.from_rows([row]), lambda: Manifest.load(path)):
        with pytest.raises(ManifestError) as caught:
            load_it()
        assert message in str(caught.value)
        assert "Secret" not in str(caught.value)


@pytest.mark.parametrize("blank", ["", "   ", "\t"])
def test_password_of_blanks_alone_counts_as_none(blank: str) -> None:
    row = {"domain": "a.example", "username": "a", "email": "a@a.example", "password": blank}

    assert Manifest.from_rows([row]).sites[0].owner.password is None


WORD = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=12)
PASSWORD = st.text(string.ascii_letters + string.digits + "!#-_.,;:|+\"' ", min_size=8, max_size=20)
BLANK = st.sampled_from(["", " ", "  "])


@given(
    st.lists(WORD, max_size=6),
    st.lists(st.sampled_from([",", ";", "|", "\n", "\r\n", " , ", ";;"]), min_size=6, max_size=6),
)
def test_splitting_finds_every_entry(entries: list[str], separators: list[str]) -> None:
    cell = "".join(entry + separator for entry, separator in zip(entries, separators, strict=False))

    assert split("mailboxes", cell) == entries


def quoted(password: str | None) -> str:
    return "" if password is None else '"' + password.replace('"', '""') + '"'


@given(WORD, st.none() | PASSWORD, st.none() | st.integers(1, 10**6), BLANK)
def test_any_mailbox_written_in_a_cell_is_read_back(
    local: str, password: str | None, quota: int | None, blank: str
) -> None:
    parts = [local, quoted(password), "" if quota is None else str(quota)]
    cell = f"{blank}:{blank}".join(parts).rstrip(": ")

    expected = {"local_part": local, "password": password, "quota_mb": None if quota is None else str(quota)}
    assert MAILBOXES.read(cell) == {key: value for key, value in expected.items() if value is not None}


@given(WORD, st.none() | PASSWORD, st.none() | WORD.map("/{}".format), st.none() | st.integers(0, 10**6))
def test_any_ftp_user_written_in_a_cell_is_read_back(
    username: str, password: str | None, home: str | None, quota: int | None
) -> None:
    cell = ":".join([username, quoted(password), home or "", "" if quota is None else str(quota)]).rstrip(":")

    expected = {
        "username": username,
        "password": password,
        "home_directory": home,
        "quota_mb": None if quota is None else str(quota),
    }
    assert FTP_USERS.read(cell) == {key: value for key, value in expected.items() if value is not None}


@given(
    st.none() | st.sampled_from(["mysql", "postgresql"]),
    WORD,
    st.lists(st.tuples(WORD, st.none() | PASSWORD), max_size=3),
)
def test_any_database_written_in_a_cell_is_read_back(
    kind: str | None, name: str, users: list[tuple[str, str | None]]
) -> None:
    cell = f"{kind}/" if kind else ""
    cell += name
    if users:
        cell += ":" + "+".join(
            username if password is None else f"{username}:{quoted(password)}" for username, password in users
        )

    expected: dict[str, object] = {"name": name}
    if kind:
        expected["type"] = kind
    if users:
        expected["users"] = [
            {"username": username} if password is None else {"username": username, "password": password}
            for username, password in users
        ]
    assert DATABASES.read(cell) == expected


@given(st.text(max_size=60), st.sampled_from(sorted(READERS)))
@example(":", "databases")
@example("/shop", "databases")
@example("/:+", "databases")
@example(":|", "databases")
def test_any_cell_is_read_or_refused(cell: str, column: str) -> None:
    try:
        entries = split(column, cell)
    except InvalidValueError:
        return
    for entry in entries:
        try:
            read = READERS[column](entry)
        except InvalidValueError:
            continue
        assert all(read.values())
