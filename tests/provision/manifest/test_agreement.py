"""Rows checked against each other: owners, user names, subdomains; and what is not reported of broken rows."""

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
