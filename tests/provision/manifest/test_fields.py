import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.provision.manifest import cells, dns, fields
from panelica_async.provision.manifest.columns import FIELDS, understand
from panelica_async.provision.manifest.problems import InvalidValueError

WORD = st.text(string.ascii_lowercase + string.digits + "_", min_size=1, max_size=12)
PASSWORD = st.text(string.ascii_letters + string.digits + "!#-_.,;:|+\"' ", min_size=8, max_size=20)
BLANK = st.sampled_from(["", " ", "  "])


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("example.com", "example.com"),
        (" Example.COM. ", "example.com"),
        ("a.b-c.example", "a.b-c.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("münchen.example", "xn--mnchen-3ya.example"),
        ("MÜNCHEN.example.", "xn--mnchen-3ya.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("123.example", "123.example"),
        (".".join(["a" * 61] * 4) + ".abcde", ".".join(["a" * 61] * 4) + ".abcde"),
        ("\u0646\u0627\u0645\u0647\u200c\u0627\u06cc.example", "xn--mgba3gch31f060k.example"),
        ("\u200bexample.com\ufeff\u00a0", "example.com"),
        ("xn--i-7iq.example", "xn--i-7iq.example"),
    ],
)
def test_domain_names(given_name: str, expected: str) -> None:
    assert fields.domain_name(given_name) == expected
    assert fields.domain_name(expected) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "example",
        "a..example",
        "a-.example",
        "a b.example",
        f"{'a' * 64}.example",
        ".".join(["a" * 60] * 5),
        "*.example.com",
        "a.b",
        ".".join(["a" * 61] * 4) + ".abcdef",
        "a\u200cb.example",
        "a_b.example",
        "ü_b.example",
    ],
)
def test_domain_name_when_invalid_is_refused(bad: str) -> None:
    with pytest.raises(InvalidValueError):
        fields.domain_name(bad)


@pytest.mark.parametrize(
    "version",
    ["ea-php84", "PHP-8_4", "alt-php84", "plesk-php84-fpm", "php8.4-fpm", "8.4.11", "PHP 8.4.1", "8.4 FPM", "php_8.4"],
)
def test_php_versions_of_exports(version: str) -> None:
    assert fields.php_version(version) == "8.4"


@pytest.mark.parametrize(
    "version",
    ["84", "php8", "8_4", "8,4", "8.4.", "ea-8.4", "8.400", "08. Apr", "8.x", "\u0668.\u0664", "\uff18.\uff14"],
)
def test_php_version_when_invalid_is_refused(version: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a PHP version"):
        fields.php_version(version)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/htdocs", "/htdocs"),
        ("htdocs/", "/htdocs"),
        ("/", "/"),
        ("//a//b/./c", "/a/b/c"),
        ("/home/a/..b", "/home/a/..b"),
    ],
)
def test_home_directories(path: str, expected: str) -> None:
    assert fields.home_directory(path) == expected


@pytest.mark.parametrize("path", ["..", "/../etc", "/a/../../b", "C:\\htdocs"])
def test_home_directory_outside_the_account_is_refused(path: str) -> None:
    with pytest.raises(InvalidValueError, match="is not a directory of the account"):
        fields.home_directory(path)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(
            (word, "lets_encrypt")
            for word in ("yes", "TRUE", "1", "on", "x", "lets_encrypt", "Let's Encrypt", "letsencrypt", True)
        ),
        *((word, "self_signed") for word in ("self_signed", "Self-Signed", "selfsigned")),
        *((word, None) for word in ("", "no", "None", "false", "0", "-", False, None)),
    ],
)
def test_words_for_ssl(word: object, expected: str | None) -> None:
    assert fields.ssl(word) == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("8.4", "8.4"),
        ("PHP 8.4", "8.4"),
        ("php-7.4", "7.4"),
        ("php8.10", "8.10"),
        (8.3, "8.3"),
        ("", None),
        (None, None),
    ],
)
def test_php_versions(version: object, expected: str | None) -> None:
    assert fields.php_version(version) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("nginx", "nginx"),
        ("Apache", "apache"),
        ("nginx + apache", "nginx_apache"),
        ("nginx-only", "nginx_only"),
        ("", None),
    ],
)
def test_web_servers(word: str, expected: str | None) -> None:
    assert fields.web_server(word) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a@b.example", "a@b.example"),
        ("Ada.L+x@B.Example.", "Ada.L+x@b.example"),
        ("a@münchen.example", "a@xn--mnchen-3ya.example"),
    ],
)
def test_email_addresses(address: str, expected: str) -> None:
    assert fields.email_address(address) == expected


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "a",
        "\u0130@b.example",
        "\u017f@b.example",
        "@b.example",
        "a@",
        "a@b",
        "a b@c.example",
        ".a@b.example",
        "a@b@c.example",
        f"{'a' * 65}@b.example",
    ],
)
def test_email_address_when_invalid_is_refused(bad: str) -> None:
    with pytest.raises(InvalidValueError):
        fields.email_address(bad)


RECORDS = [
    ("www A 192.0.2.1", ("www", "A", "192.0.2.1", None, None)),
    ("WWW.Example.com. a 192.0.2.1", ("www", "A", "192.0.2.1", None, None)),
    ("example.com 60 IN A 192.0.2.1", ("@", "A", "192.0.2.1", 60, None)),
    ("@ AAAA 2001:DB8:0:0::1", ("@", "AAAA", "2001:db8::1", None, None)),
    ("*.shop CNAME @", ("*.shop", "CNAME", "example.com", None, None)),
    ("* CNAME Target.Example.net.", ("*", "CNAME", "target.example.net", None, None)),
    ("@ MX 0 mail.example.com", ("@", "MX", "mail.example.com", None, 0)),
    ("_dmarc TXT v=DMARC1; p=none", ("_dmarc", "TXT", "v=DMARC1; p=none", None, None)),
    ('@ TXT "v=spf1 -all"', ("@", "TXT", "v=spf1 -all", None, None)),
    ('@ TXT "one" "two"', ("@", "TXT", "onetwo", None, None)),
    (
        "k._domainkey 300 CNAME k._domainkey.mail.example",
        ("k._domainkey", "CNAME", "k._domainkey.mail.example", 300, None),
    ),
    ("_sip._tcp SRV 10 5 5060 Sip.example.com", ("_sip._tcp", "SRV", "5 5060 sip.example.com", None, 10)),
    ("@ CAA 0 issue letsencrypt.org", ("@", "CAA", '0 issue "letsencrypt.org"', None, None)),
    ('@ CAA 128 ISSUEWILD ";"', ("@", "CAA", '128 issuewild ";"', None, None)),
    ("sub NS ns1.example.net", ("sub", "NS", "ns1.example.net", None, None)),
    ("5 PTR host.example.com", ("5", "PTR", "host.example.com", None, None)),
]


@pytest.mark.parametrize(("entry", "expected"), RECORDS, ids=[entry for entry, _ in RECORDS])
def test_dns_records(entry: str, expected: tuple[str, str, str, int | None, int | None]) -> None:
    read = {"ttl": None, "priority": None, **cells.dns_record(entry)}
    record = dns.record(**read, domain="example.com")

    assert (record.name, record.type, record.content, record.ttl, record.priority) == expected
    assert dns.identity(record.name, record.type, record.content, "example.com") == expected[:3]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("www", "CNAME", "shop.example.com"), ("WWW.example.com.", "cname", "Shop.Example.com.")),
        (("@", "TXT", "v=spf1 -all"), ("example.com", "TXT", '"v=spf1 -all"')),
        (("@", "AAAA", "2001:db8::1"), ("", "AAAA", "2001:0db8:0::0001")),
        (("@", "X-NEW", "anything"), ("@", "x-new", "anything")),
    ],
)
def test_a_record_is_the_same_however_it_is_spelt(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert dns.identity(*one, "example.com") == dns.identity(*other, "example.com")


@given(
    st.lists(WORD, max_size=6),
    st.lists(st.sampled_from([",", ";", "|", "\n", "\r\n", " , ", ";;"]), min_size=6, max_size=6),
)
def test_splitting_finds_every_entry(entries: list[str], separators: list[str]) -> None:
    cell = "".join(entry + separator for entry, separator in zip(entries, separators, strict=False))

    assert cells.split("mailboxes", cell) == entries


@given(
    st.lists(st.sampled_from([entry for entry, _ in RECORDS]), max_size=5), st.sampled_from(["|", "\n", " | ", "\r\n"])
)
def test_splitting_records_leaves_their_semicolons(entries: list[str], separator: str) -> None:
    assert cells.split("dns", separator.join(entries)) == entries


def quoted(password: str | None) -> str:
    return "" if password is None else '"' + password.replace('"', '""') + '"'


@given(WORD, st.none() | PASSWORD, st.none() | st.integers(1, 10**6), BLANK)
def test_mailbox_cells(local: str, password: str | None, quota: int | None, blank: str) -> None:
    parts = [local, quoted(password), "" if quota is None else str(quota)]
    cell = f"{blank}:{blank}".join(parts).rstrip(": ")

    expected = {"local_part": local, "password": password, "quota_mb": None if quota is None else str(quota)}
    assert cells.mailbox(cell) == {key: value for key, value in expected.items() if value is not None}


@given(WORD, st.none() | PASSWORD, st.none() | WORD.map("/{}".format), st.none() | st.integers(0, 10**6))
def test_ftp_cells(username: str, password: str | None, home: str | None, quota: int | None) -> None:
    cell = ":".join([username, quoted(password), home or "", "" if quota is None else str(quota)]).rstrip(":")

    expected = {
        "username": username,
        "password": password,
        "home_directory": home,
        "quota_mb": None if quota is None else str(quota),
    }
    assert cells.ftp_user(cell) == {key: value for key, value in expected.items() if value is not None}


@given(
    st.none() | st.sampled_from(["mysql", "postgresql"]),
    WORD,
    st.lists(st.tuples(WORD, st.none() | PASSWORD), max_size=3),
)
def test_database_cells(kind: str | None, name: str, users: list[tuple[str, str | None]]) -> None:
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
    assert cells.database(cell) == expected


@given(st.text(max_size=60), st.sampled_from(sorted(cells.READERS)))
@example(":", "databases")
@example("/shop", "databases")
@example("/:+", "databases")
@example(":|", "databases")
def test_no_cell_breaks_a_reader(cell: str, column: str) -> None:
    try:
        entries = cells.split(column, cell)
    except InvalidValueError:
        return
    for entry in entries:
        try:
            read = cells.READERS[column](entry)
        except InvalidValueError:
            continue
        assert all(read.values())


@given(st.text(max_size=40))
def test_canonical_spelling_is_stable(text: str) -> None:
    for check in (fields.host_name, fields.domain_name, fields.email_address, fields.web_server):
        try:
            once = check(text)
        except InvalidValueError:
            continue
        if once:
            assert check(once) == once


def test_no_name_means_two_fields() -> None:
    names = [name for field, others in FIELDS.items() for name in (field, *others)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [name for field, others in FIELDS.items() for name in (field, *others)])
def test_every_known_name_is_understood(name: str) -> None:
    spelt = name.replace("_", " ").title()

    assert list(understand([spelt]).fields) == [0]


@pytest.mark.parametrize(
    "name",
    [
        "Customer No",
        "Notes",
        "Invoice",
        "IP",
        "Created",
        "Address",
        "Status",
        "Language",
        "Country",
        "Email2",
        "Email Address 2",
        "Users",
        "Accounts",
        "Domains",
        "Mailbox 1",
    ],
)
def test_columns_of_a_hosters_own_are_no_misspellings(name: str) -> None:
    assert understand([name]).ignored == (name,)
