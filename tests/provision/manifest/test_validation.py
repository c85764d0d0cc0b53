"""Rows checked by themselves and against each other, and what is not reported of bad rows."""

import math
from pathlib import Path

import pytest

from panelica_async.core.values import ACCOUNT_NAME, FTP_NAME, MAILBOX_NAME
from panelica_async.provision import Manifest, ManifestError, Owner

HEADER = "domain,username,email,plan,password,php_version,web_server,ssl,dns,databases,mailboxes,ftp_users"


def load_csv(directory: Path, *lines: str) -> Manifest:
    path = directory / "sites.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    return Manifest.load(path)


def problems(directory: Path, *lines: str) -> list[tuple[int, str, str]]:
    with pytest.raises(ManifestError) as caught:
        load_csv(directory, *lines)
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def load(*rows: tuple[str, str, str]) -> Manifest:
    return Manifest.from_rows([dict(zip(("domain", "username", "email"), row, strict=True)) for row in rows])


def places(*rows: dict[str, object]) -> list[tuple[int, str]]:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows(rows)
    return [(problem.line, problem.column) for problem in caught.value.problems]


def test_rows_without_a_user_name_disagree_with_none() -> None:
    rows: list[dict[str, object]] = [
        {
            "domain": f"s{number}.example",
            "username": username,
            "email": f"o{number % 2}@a.example",
            "plan": f"Plan {number}",
            "password": f"Secret99{number}",
            "databases": "shop:app",
            "ftp_users": "web",
        }
        for number, username in enumerate(["", "", "1cust", "two words", ""])
    ]

    assert places(*rows) == [(number, "username") for number in range(1, 6)]


def test_entries_of_an_invalid_domain_are_not_compared_with_it() -> None:
    row = {
        "domain": "bad..example",
        "username": "alder",
        "dns": "www.bad.example. A 192.0.2.1 | x CNAME www.other.example | @ CNAME y.example",
        "mailboxes": "info@bad.example",
    }

    # The last record is wrong in any zone.
    assert places(row) == [(1, "dns"), (1, "domain")]


def test_capitals_in_a_user_name_have_a_remark() -> None:
    manifest = load(("a.example", "AcmeShop", "a@a.example"), ("b.example", "acmeshop", ""))

    assert [site.owner.username for site in manifest.sites] == ["acmeshop", "acmeshop"]
    assert [site.owner.email for site in manifest.sites] == ["a@a.example"] * 2
    assert [str(remark) for remark in manifest.remarks] == ["line 1, username: the user name is created in lower case"]


BELOW = "shop.a.example below a.example in line"
BEFORE = "the subdomain comes before its parent domain, which some panels refuse"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a.example", "a", ""), ("shop.a.example", "a", "")], []),
        ([("shop.a.example", "a", ""), ("a.example", "a", "")], [f"line 1, domain {BELOW} 2: {BEFORE}"]),
        (
            [("a.example", "a", ""), ("shop.a.example", "b", "")],
            [f"line 2, domain {BELOW} 1: the domain is a subdomain of another owner's domain"],
        ),
        (
            [("shop.a.example", "b", ""), ("a.example", "a", "")],
            [
                f"line 1, domain {BELOW} 2: the domain is a subdomain of another owner's domain",
                f"line 1, domain {BELOW} 2: {BEFORE}",
            ],
        ),
        ([("a.example", "a", ""), ("xa.example", "b", ""), ("example.a.test", "c", "")], []),
    ],
)
def test_subdomain_of_a_listed_domain_has_a_remark(rows: list[tuple[str, str, str]], expected: list[str]) -> None:
    assert [str(remark) for remark in load(*rows).remarks] == expected


def test_nearest_parent_domain_counts() -> None:
    (remark,) = load(("a.example", "a", ""), ("b.a.example", "b", ""), ("c.b.a.example", "b", "")).remarks

    assert remark.where == "line 2, domain b.a.example below a.example in line 1"


@pytest.mark.parametrize("digits", ["9" * 5000, "1" * 19])
def test_quota_of_too_many_digits_is_refused(digits: str) -> None:
    with pytest.raises(ManifestError, match="quota_mb must be a whole number"):
        Manifest.from_rows([{"domain": "a.example", "username": "a", "mailboxes": f"info::{digits}"}])


@pytest.mark.parametrize("quota", [1024.5, math.inf, math.nan, True, "1024.0", 1e300])
def test_quota_that_is_no_whole_number_is_refused(quota: object) -> None:
    row = {"domain": "a.example", "username": "alder", "mailboxes": [{"local_part": "info", "quota_mb": quota}]}
    with pytest.raises(ManifestError, match="quota_mb must be a whole number"):
        Manifest.from_rows([row])


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
def test_invisible_character_is_named(value: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows([{"domain": value, "username": "a"}])

    assert message in caught.value.problems[0].message


@pytest.mark.parametrize("ends", ["\u200b{}", "{}\u200b", "\ufeff{}\u2060\u00a0", "{}\u00ad", "\u202a{}\u202c"])
def test_invisible_characters_at_the_ends_are_trimmed(ends: str) -> None:
    row = {"domain": "a.example", "username": "alder", "email": "o@a.example", "plan": "Gold", "mailboxes": "info"}
    dns = "www A 192.0.2.1"
    (site,) = Manifest.from_rows(
        [{key: ends.format(value) for key, value in row.items()} | {"dns": ends.format(dns)}]
    ).sites

    assert Manifest.from_rows([row | {"dns": dns}]).sites == (site,)


@pytest.mark.parametrize(
    ("domain", "label"), [("I❤.example", "xn--i-7iq"), ("☃.example", "xn--n3h"), ("www.💩.example", "xn--ls8h")]
)
def test_domain_with_a_symbol_is_shown_its_ascii_form(domain: str, label: str) -> None:
    with pytest.raises(ManifestError, match=f"write its label as '{label}'"):
        Manifest.from_rows([{"domain": domain, "username": "a"}])


ROWS = [
    pytest.param(",alder,,,,,,,,,,", [("domain", "is missing")], id="no domain"),
    pytest.param("alder.example,,,,,,,,,,,", [("username", "is missing")], id="no owner"),
    pytest.param(
        "https://alder.example/,alder,,,,,,,,,,",
        [("domain", "'https://alder.example/' is an address; write the domain alone, such as 'example.com'")],
        id="address instead of a domain",
    ),
    pytest.param("alder,alder,,,,,,,,,,", [("domain", "'alder' has no top-level domain")], id="one label"),
    pytest.param("-a.example,alder,,,,,,,,,,", [("domain", "'-a.example' is not a host name")], id="leading hyphen"),
    pytest.param("a_b.example,alder,,,,,,,,,,", [("domain", "'a_b.example' is not a host name")], id="underscore"),
    pytest.param("192.0.2.1,alder,,,,,,,,,,", [("domain", "'192.0.2.1' is not a domain")], id="address as domain"),
    pytest.param(
        "ü-.example,alder,,,,,,,,,,",
        [("domain", "'ü-.example' is not an internationalised domain name")],
        id="not an IDN",
    ),
    pytest.param(
        "a.example,al der,,,,,,,,,,",
        [
            (
                "username",
                f"'al der' is not a user name; use {ACCOUNT_NAME.form}",
            )
        ],
        id="blank in a user name",
    ),
    pytest.param("a.example,a,nobody,,,,,,,,,", [("email", "'nobody' is not an e-mail address")], id="no @"),
    pytest.param(
        "a.example,a,no..body@a.example,,,,,,,,,",
        [("email", "'no..body' is not allowed before the @ of an e-mail address")],
        id="two dots",
    ),
    pytest.param(
        "a.example,a,,Starter,,,,,,,,",
        [("plan", "'a' needs an e-mail address to be created, and no line has one")],
        id="plan of an owner that exists",
    ),
    pytest.param(
        "a.example,a,a@a.example,,short,,,,,,,",
        [("password", "password needs at least 8 characters")],
        id="short password",
    ),
    pytest.param(
        "a.example,a,,,,8,,,,,,", [("php_version", "'8' is not a PHP version; write it as '8.4'")], id="PHP version"
    ),
    pytest.param(
        "a.example,a,,,,,IIS,,,,,",
        [("web_server", "'IIS' is not one of nginx, apache, nginx_apache, nginx_only")],
        id="web server",
    ),
    pytest.param(
        "a.example,a,,,,,,maybe,,,,",
        [("ssl", "'maybe' is not one of yes, lets_encrypt, self_signed, no")],
        id="unknown word for ssl",
    ),
    pytest.param(
        "a.example,a,,,,,,custom,,,,",
        [("ssl", "a certificate of your own cannot be ordered; leave the cell empty and upload it in the panel")],
        id="own certificate",
    ),
    pytest.param(
        "a.example,a,,,,,,,www 192.0.2.1,,,",
        [
            (
                "dns",
                "'www 192.0.2.1' is not a DNS record; write 'www A 192.0.2.10' or '@ MX 10 mail.example.com'",
            )
        ],
        id="record without a type",
    ),
    pytest.param(
        "a.example,a,,,,,,,www A 192.0.2.300,,,", [("dns", "www: '192.0.2.300' is not an IPv4 address")], id="A"
    ),
    pytest.param(
        "a.example,a,,,,,,,www AAAA 192.0.2.3,,,", [("dns", "www: '192.0.2.3' is not an IPv6 address")], id="AAAA"
    ),
    pytest.param(
        "a.example,a,,,,,,,www SPF x,,,",
        [("dns", "www: 'SPF' is not one of A, AAAA, CNAME, MX, TXT, NS, SRV, CAA, PTR")],
        id="record type",
    ),
    pytest.param(
        "a.example,a,,,,,,,@ MX mail.a.example,,,",
        [("dns", "@: MX record needs a priority, such as '@ MX 10 mail.a.example'")],
        id="MX without priority",
    ),
    pytest.param(
        "a.example,a,,,,,,,@ CNAME b.example,,,",
        [("dns", "@: the domain itself cannot be a CNAME")],
        id="CNAME at the apex",
    ),
    pytest.param(
        "a.example,a,,,,,,,www CNAME shop,,,",
        [("dns", "www: 'shop' is not a full host name; write 'shop.a.example'")],
        id="relative target",
    ),
    pytest.param(
        "a.example,a,,,,,,,www.b.example. A 192.0.2.1,,,",
        [("dns", "www.b.example.: 'www.b.example.' is outside a.example")],
        id="record of another zone",
    ),
    pytest.param(
        "a.example,a,,,,,,,_sip._tcp SRV 10 5060 sip.a.example,,,",
        [("dns", "_sip._tcp: SRV record must look like '_sip._tcp SRV priority weight port host'")],
        id="SRV",
    ),
    pytest.param(
        "a.example,a,,,,,,,@ CAA issue ca.example,,,",
        [("dns", "@: CAA record must look like '@ CAA 0 issue \"letsencrypt.org\"'")],
        id="CAA",
    ),
    pytest.param(
        "a.example,a,,,,,,,www 0 A 192.0.2.1,,,",
        [("dns", "www: ttl must be a whole number from 1 to 2147483647")],
        id="time to live",
    ),
    pytest.param(
        "a.example,a,,,,,,,@ MX 70000 mail.a.example,,,",
        [("dns", "@: priority must be a whole number from 0 to 65535")],
        id="priority",
    ),
    pytest.param(
        "a.example,a,,,,,,,www A 192.0.2.1|WWW.a.example A 192.0.2.1,,,",
        [("dns", "'www A 192.0.2.1' appears twice")],
        id="record twice",
    ),
    pytest.param(
        "a.example,a,,,,,,,,my-shop,,",
        [("databases", "'my-shop' is not a name of a database or its user; use letters, digits and '_', at most 32")],
        id="database name",
    ),
    pytest.param(
        "a.example,a,,,,,,,,oracle/shop,,",
        [("databases", "shop: 'oracle' is not one of mysql, postgresql")],
        id="database type",
    ),
    pytest.param(
        "a.example,a,,,,,,,,shop:u+u,,",
        [("databases", "shop: user 'u' appears twice")],
        id="database user twice",
    ),
    pytest.param(
        "a.example,a,,,,,,,,shop:u:secret,,",
        [("databases", "shop: u: password needs at least 8 characters")],
        id="password of a database user",
    ),
    pytest.param(
        "a.example,a,,,,,,,,shop Shop,,",
        [
            (
                "databases",
                "'shop Shop' is not a name of a database or its user; use letters, digits and '_', at most 32",
            )
        ],
        id="blank between databases",
    ),
    pytest.param("a.example,a,,,,,,,,shop;Shop,,", [("databases", "'Shop' appears twice")], id="database twice"),
    pytest.param(
        "a.example,a,,,,,,,,,info@b.example,",
        [("mailboxes", "'info@b.example' is not an address of a.example")],
        id="mailbox of another domain",
    ),
    pytest.param("a.example,a,,,,,,,,,info;INFO,", [("mailboxes", "'info' appears twice")], id="mailbox twice"),
    pytest.param(
        "a.example,a,,,,,,,,,info:secret,",
        [("mailboxes", "info: password needs at least 8 characters")],
        id="password of a mailbox",
    ),
    pytest.param(
        "a.example,a,,,,,,,,,info::0,",
        [("mailboxes", "info: quota_mb must be a whole number from 1 to 2147483647")],
        id="quota",
    ),
    pytest.param(
        "a.example,a,,,,,,,,,info:secret-word:1:2,",
        [
            (
                "mailboxes",
                'entry 1: it is unclear where its password ends; put the password in quotes, as in name:"password"',
            )
        ],
        id="something behind a password",
    ),
    pytest.param(
        'a.example,a,,,,,,,,,"info:""secret-word"":1:2",',
        [("mailboxes", "'info' has too many ':'; write local_part[:password[:quota_mb]]")],
        id="too many parts",
    ),
    pytest.param("a.example,a,,,,,,,,,,f;F", [("ftp_users", "'F' appears twice")], id="FTP user twice"),
    pytest.param(
        'a.example,a,,,,,,,,,"in\x07fo",',
        [("mailboxes", "'in\\x07fo' contains U+0007 CONTROL CHARACTER as character 3")],
        id="control character",
    ),
    pytest.param(
        "A B,1x,@,,x,?,?,?,?,?,?,?",
        [
            ("databases", "'?' is not a name of a database or its user; use letters, digits and '_', at most 32"),
            ("dns", "'?' is not a DNS record; write 'www A 192.0.2.10' or '@ MX 10 mail.example.com'"),
            ("domain", "'a b' is not a host name"),
            ("email", "'' is not allowed before the @ of an e-mail address"),
            (
                "ftp_users",
                f"'?' is not a name of an FTP user; use {FTP_NAME.form}",
            ),
            (
                "mailboxes",
                f"'?' is not a mailbox name; use {MAILBOX_NAME.form}",
            ),
            ("password", "password needs at least 8 characters"),
            ("php_version", "'?' is not a PHP version; write it as '8.4'"),
            ("ssl", "'?' is not one of yes, lets_encrypt, self_signed, no"),
            (
                "username",
                f"'1x' is not a user name; use {ACCOUNT_NAME.form}",
            ),
            ("web_server", "'?' is not one of nginx, apache, nginx_apache, nginx_only"),
        ],
        id="everything at once",
    ),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_bad_row_is_reported_with_line_and_column(tmp_path: Path, row: str, expected: list[tuple[str, str]]) -> None:
    assert problems(tmp_path, "ok.example,ok,,,,,,,,,,", row) == [(3, column, message) for column, message in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param(
            ["a.example,a,,,,,,,,,,", "b.example,a,,,,,,,,,,", "A.EXAMPLE.,a,,,,,,,,,,"],
            [(4, "domain", "'a.example' is already in line 2")],
            id="domain",
        ),
        pytest.param(
            ["a.example,a,,,,,,,,shop,,", "b.example,A,,,,,,,,Shop,,"],
            [(3, "databases", "'Shop' is already in line 2")],
            id="database",
        ),
        pytest.param(
            ["a.example,a,,,,,,,,,,deploy", "b.example,a,,,,,,,,,,x;Deploy"],
            [(3, "ftp_users", "'Deploy' is already in line 2")],
            id="FTP user",
        ),
        pytest.param(
            ["a.example,a,x@a.example,,,,,,,,,", "b.example,a,y@a.example,,,,,,,,,"],
            [(3, "email", "differs from line 2, which has the same owner")],
            id="address of an owner",
        ),
        pytest.param(
            ["a.example,a,x@a.example,Starter,,,,,,,,", "b.example,a,,,,,,,,,,", "c.example,A,,Business,,,,,,,,"],
            [(4, "plan", "differs from line 2, which has the same owner")],
            id="plan of an owner",
        ),
        pytest.param(
            ["a.example,a,x@a.example,,hunter22,,,,,,,", "b.example,a,,,Hunter22,,,,,,,"],
            [(3, "password", "differs from line 2, which has the same owner")],
            id="password of an owner",
        ),
        pytest.param(
            ["a.example,a,x@a.example,,,,,,,,,", "b.example,b,X@a.example,,,,,,,,,"],
            [(3, "email", "'X@a.example' already belongs to 'a' in line 2")],
            id="address of two owners",
        ),
        pytest.param(
            ["a.example,a,x@,Starter,,,,,,,,"],
            [(2, "email", "'' is not a host name")],
            id="a bad address is not a missing one",
        ),
    ],
)
def test_rows_that_disagree_are_reported(tmp_path: Path, rows: list[str], expected: list[tuple[int, str, str]]) -> None:
    assert problems(tmp_path, *rows) == expected


def test_owner_is_combined_from_all_its_rows(tmp_path: Path) -> None:
    manifest = load_csv(
        tmp_path,
        "a.example,alder,,,,,,,,,,",
        "b.example,ALDER,office@alder.example,,,,,,,,,",
        "c.example,alder,Office@alder.example,starter,,,,,,,,",
        "d.example,beech,,,,,,,,,,",
    )

    alder = Owner(username="alder", email="office@alder.example", plan="starter")
    assert [site.owner for site in manifest.sites] == [alder, alder, alder, Owner(username="beech")]
