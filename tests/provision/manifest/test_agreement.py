"""Rows checked against each other: owners, user names, subdomains; and what is not reported of broken rows."""

import math

import pytest

from panelica_async.provision import Manifest, ManifestError


def load(*rows: tuple[str, str, str]) -> Manifest:
    return Manifest.from_rows([dict(zip(("domain", "username", "email"), row, strict=True)) for row in rows])


def problems(*rows: dict[str, object]) -> list[tuple[int, str]]:
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

    assert problems(*rows) == [(number, "username") for number in range(1, 6)]


def test_what_belongs_to_a_bad_domain_is_not_compared_with_it() -> None:
    row = {
        "domain": "bad..example",
        "username": "alder",
        "dns": "www.bad.example. A 192.0.2.1 | x CNAME www.other.example | @ CNAME y.example",
        "mailboxes": "info@bad.example",
    }

    # The last record is wrong in any zone.
    assert problems(row) == [(1, "dns"), (1, "domain")]


def test_capitals_in_a_user_name_are_remarked() -> None:
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
def test_domains_below_others_are_remarked(rows: list[tuple[str, str, str]], expected: list[str]) -> None:
    assert [str(remark) for remark in load(*rows).remarks] == expected


def test_the_nearest_domain_above_counts() -> None:
    (remark,) = load(("a.example", "a", ""), ("b.a.example", "b", ""), ("c.b.a.example", "b", "")).remarks

    assert remark.where == "line 2, domain b.a.example below a.example in line 1"


@pytest.mark.parametrize("digits", ["9" * 5000, "1" * 19])
def test_quota_of_too_many_digits_is_refused(digits: str) -> None:
    with pytest.raises(ManifestError, match="quota_mb must be a whole number"):
        Manifest.from_rows([{"domain": "a.example", "username": "a", "mailboxes": f"info::{digits}"}])


@pytest.mark.parametrize("quota", [1024.5, math.inf, math.nan, True, "1024.0", 1e300])
def test_other_numbers_are_no_quota(quota: object) -> None:
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
def test_domain_with_a_symbol_is_shown_its_ascii_form(domain: str, label: str) -> None:
    with pytest.raises(ManifestError, match=f"write its label as '{label}'"):
        Manifest.from_rows([{"domain": domain, "username": "a"}])
