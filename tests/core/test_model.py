"""Which account a row of a list belongs to, for a key that sees the rows of all accounts."""

from collections import Counter
from typing import Any

import pytest

from panelica_async.core.model import Model, Owner
from panelica_async.models import Account, Backup, Certificate, DnsRecord, Domain, EmailAccount, FtpAccount, Plan
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply

TENANTS = [Account(id=f"u{number}", username=f"tenant{number}") for number in (1, 2, 3)]
DOMAINS = [
    Domain(id=f"d{number}", domain=f"{number}.example.com", user_id=tenant.id)
    for number, tenant in enumerate(TENANTS, 1)
]
FIRST = TENANTS[0]


def test_account_is_an_owner_and_a_model() -> None:
    assert isinstance(FIRST, Owner)
    assert isinstance(FIRST, Model)
    assert not hasattr(FIRST, "__dict__")


async def test_rows_of_three_tenants_are_told_apart(server: RawServer, connect: Connect) -> None:
    rows = [
        {"id": f"d{index}", "domain_name": f"{index}.example.com", "user_id": f"U{index % 3 + 1}"} for index in range(9)
    ]
    rows += [
        {"id": "d9", "domain_name": "9.example.com"},
        {"id": "d10", "domain_name": "10.example.com", "user_id": None},
    ]
    server.script(reply(json={"status": "success", "data": rows}))
    found = await connect(dialect="panel").domains.list().collect()
    owners = Counter(tenant.id for domain in found for tenant in TENANTS if tenant.owns(domain))
    assert owners == {"u1": 3, "u2": 3, "u3": 3}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (DOMAINS[0], True),
        (DOMAINS[1], False),
        (FIRST, True),
        (TENANTS[1], False),
        (FtpAccount(id="f1", username="a", user_id="u1", domain_id="d2"), True),
        (FtpAccount(id="f1", username="a", user_id="u2", domain_id="d1"), False),
        (Plan(id="p1", name="Gold", extra={"owner_user_id": "u1"}), True),
        (Plan(id="p1", name="Gold"), False),
        (Domain(id="d1", domain="1.example.com"), False),
    ],
    ids=str,
)
def test_row_is_owned_by_the_owner_it_names(row: Model, expected: bool) -> None:
    assert FIRST.owns(row) is expected


BY_DOMAIN: list[tuple[Model, Model]] = [
    (
        EmailAccount(id="m1", email="info@1.example.com", domain_id="d1"),
        EmailAccount(id="m2", email="info@2.example.com", domain_id="d2"),
    ),
    (
        DnsRecord(id="r1", name="@", type="A", content="192.0.2.1", zone_id="d1"),  # type: ignore[arg-type]
        DnsRecord(id="r2", name="@", type="A", content="192.0.2.1", zone_id="d2"),  # type: ignore[arg-type]
    ),
    (Certificate(domain_id="d1"), Certificate(domain_id="d2")),
    (
        Backup(id="b1", domain_names=["1.Example.com"]),
        # An archive that also holds another tenant's site is not the account's.
        Backup(id="b2", domain_names=["1.example.com", "2.example.com"]),
    ),
]


@pytest.mark.parametrize(("own", "other"), BY_DOMAIN, ids=str)
@pytest.mark.parametrize("domains", [DOMAINS, DOMAINS[:1], ["D1", "1.example.com"]], ids=["all", "own", "names"])
def test_row_is_owned_by_the_owner_of_its_domain(own: Model, other: Model, domains: Any) -> None:
    assert FIRST.owns(own, domains=domains)
    assert not FIRST.owns(other, domains=domains)
    assert not FIRST.owns(own, domains=[])


@pytest.mark.parametrize(("own", "other"), BY_DOMAIN, ids=str)
def test_row_that_names_only_a_domain_needs_the_domains(own: Model, other: Model) -> None:
    problem = "shows only its domains: pass domains=, the domains of the account"
    for row in (own, other):
        with pytest.raises(ValueError, match=problem):
            FIRST.owns(row)
