"""An object is recognised when the panel spells it differently from the manifest."""

from datetime import UTC, datetime
from typing import Any

import attrs
import pytest

from panelica_async.models.accounts import Account
from panelica_async.models.databases import Database
from panelica_async.models.dns import DnsRecord
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.ftp import FtpAccount
from panelica_async.models.plans import Plan as HostingPlan
from panelica_async.provision import Action, Manifest, Plan, Record, State, StepKind
from panelica_async.provision.objects.snapshot import Snapshot

SITE = {"domain": "bücher.example", "username": "alder", "email": "office@alder.example"}
RECORDS = {"the panel's": 3600, "ours": 300}
"""TTL that differs in otherwise equal records."""
ACCOUNT = Account(id="a1", username="alder", email="office@alder.example", plan_id="p1")


def actions(site: dict[str, Any], name: str = "bücher.example", **listed: Any) -> set[str]:
    """Return the actions on a site whose domain is on the panel."""
    domain = Domain(id="d1", domain=name, user_id="a1", php_version=listed.pop("php_version", None))
    snapshot = Snapshot(**{"accounts": (ACCOUNT,), "domains": (domain,), **listed})
    return {planned.action.value for planned in Plan.decide(Manifest.from_rows([SITE | site]), snapshot, {}).steps}


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        ("@ MX 10 mail.bücher.example", ("@", "MX", "10 mail.xn--bcher-kva.example.")),
        ("@ MX 10 mail.bücher.example", ("@", "MX", "mail")),
        ("@ MX 10 mail.bücher.example", ("bücher.example.", "mx", "Mail.BÜCHER.example")),
        ("www CNAME @", ("www", "CNAME", "bücher.example.")),
        ("www CNAME a.bücher.example", ("www", "CNAME", "a")),
        ("_sip._tcp SRV 10 5 5060 sip.bücher.example", ("_sip._tcp", "SRV", "10 5 5060 sip.bücher.example.")),
        ("_sip._tcp SRV 10 5 5060 sip.bücher.example", ("_sip._tcp", "SRV", "5 5060 sip")),
        ("sub NS ns1.example.net", ("sub", "NS", "ns1.example.net.")),
        ("www A 192.0.2.1", ("www.bücher.example", "A", " 192.0.2.1 ")),
        ("@ CAA 0 issue ca.example", ("@", "CAA", '0 ISSUE "CA.example"')),
    ],
)
def test_record_in_another_spelling_exists(wanted: str, listed: tuple[str, str, str]) -> None:
    name, kind, content = listed
    row = DnsRecord(id="r1", name=name, type=kind, content=content)

    assert actions({"dns": wanted}, zones={"d1": (row,)}) == {"exists"}


@pytest.mark.parametrize("order", [1, -1])
def test_record_beside_an_equal_one_of_the_panel_stays_ours(order: int) -> None:
    """Panels put records into a new zone themselves, such as `@ A`, with a time to live of their own."""
    site = SITE | {"dns": "@ 5m A 192.0.2.1"}
    equal = [DnsRecord(id=id_, name="@", type="A", content="192.0.2.1", ttl=ttl) for id_, ttl in RECORDS.items()]
    zones = {"d1": tuple(equal[::order])}
    snapshot = Snapshot(
        accounts=(ACCOUNT,), domains=(Domain(id="d1", domain="bücher.example", user_id="a1"),), zones=zones
    )
    manifest = Manifest.from_rows([site])
    step = Plan.decide(manifest, snapshot, {}).steps[-1]
    assert (step.action, step.object_id) == (Action.KEEP, "ours")  # the one that agrees

    at = datetime.now(UTC)
    record = Record(
        id=step.step.id, kind=StepKind.DNS_RECORD, site=step.step.site, state=State.DONE, at=at, object_id="ours"
    )
    zones["d1"] = tuple(attrs.evolve(row, ttl=300) for row in zones["d1"])
    step = Plan.decide(manifest, attrs.evolve(snapshot, zones=zones), {record.id: record}).steps[-1]
    assert (step.action, step.object_id) == (Action.KEEP, "ours")


@pytest.mark.parametrize(("kind", "content"), [("MX", ""), ("MX", " "), ("SRV", ""), ("CNAME", ""), ("X", "")])
def test_listed_record_without_content_matches_nothing(kind: str, content: str) -> None:
    row = DnsRecord(id="r1", name="x", type=kind, content=content)

    assert actions({"dns": "www A 192.0.2.1"}, zones={"d1": (row,)}) == {"exists", "create"}


@pytest.mark.parametrize(
    "name", ["bücher.example", "BÜCHER.example.", "XN--bcher-kva.example", "xn--bcher-kva.example."]
)
def test_domain_and_mailbox_in_another_spelling_exist(name: str) -> None:
    mailbox = EmailAccount(id="m1", email=f"Info@{name}", domain_id="d1")

    assert actions({"mailboxes": "info"}, name, mailboxes=(mailbox,)) == {"exists"}


@pytest.mark.parametrize("address", ["office@bücher.example", "OFFICE@xn--bcher-kva.example"])
def test_email_address_in_another_spelling_matches(address: str) -> None:
    account = attrs.evolve(ACCOUNT, email=address)
    taken = attrs.evolve(account, username="beech")

    assert actions({"email": "office@bücher.example"}, accounts=(account,)) == {"exists"}
    assert actions({"email": "office@bücher.example"}, accounts=(taken,), domains=()) == {"conflict", "blocked"}


@pytest.mark.parametrize("version", ["8.4", "php8.4", "ea-php84", "8.4.11", "PHP 8.4"])
def test_php_version_in_another_spelling_matches(version: str) -> None:
    plan = HostingPlan(id="p1", name="Small", php_versions=["8.3", version])

    assert actions({"php_version": "8.4"}, php_version=version) == {"exists"}
    assert actions({"php_version": "8.4"}, domains=(), plans=(plan,)) == {"exists", "create"}
    assert actions({"php_version": "8.2"}, domains=(), plans=(plan,)) == {"exists", "conflict"}


@pytest.mark.parametrize("name", [" Café  Plus ", "CAFÉ\u00a0PLUS", "cafe\u0301 plus"])
def test_plan_in_another_spelling_matches(name: str) -> None:
    plan = HostingPlan(id="p1", name=name)

    assert actions({"plan": "Café Plus"}, plans=(plan,)) == {"exists"}
    assert actions({"plan": "Café Plus"}, accounts=(), domains=(), plans=(plan,)) == {"create"}
    assert "conflict" in actions({"plan": "Café"}, accounts=(), domains=(), plans=(plan,))


@pytest.mark.parametrize(
    ("wanted", "listed", "action"),
    [
        ("htdocs", "htdocs", "exists"),
        ("/htdocs", "/home/alder/htdocs/", "exists"),
        ("/", "/home/alder", "exists"),
        ("/", "/", "exists"),
        ("/", "/home/alder/htdocs", "conflict"),
        ("/docs", "/home/alder/htdocs", "conflict"),
    ],
)
def test_directory_in_another_spelling_matches(wanted: str, listed: str, action: str) -> None:
    user = FtpAccount(id="f1", username="web", user_id="a1", home_directory=listed)

    assert actions({"ftp_users": f"web::{wanted}"}, ftp_users=(user,)) == {"exists", action}


@pytest.mark.parametrize("order", [1, -1])
def test_exact_match_beats_one_in_another_spelling(order: int) -> None:
    accounts = (ACCOUNT, Account(id="a2", username="Alder", email="other@alder.example"))
    ascii_name, mailbox, other = "xn--bcher-kva.example", "info@xn--bcher-kva.example", "INFO@bücher.example"
    domains = (Domain(id="d1", domain=ascii_name, user_id="a1"), Domain(id="d2", domain="Bücher.example", user_id="a2"))
    databases = [Database(id=f"b{number}", name=name, domain_id=f"d{number}") for number, name in _numbered("shop")]
    ftp_users = [
        FtpAccount(id=f"f{number}", username=name, domain_id=f"d{number}") for number, name in _numbered("web")
    ]
    mailboxes = (EmailAccount(id="m1", email=mailbox), EmailAccount(id="m2", email=other, domain_id="d2"))
    snapshot = Snapshot(
        accounts=accounts[::order],
        domains=domains[::order],
        databases=tuple(databases[::order]),
        ftp_users=tuple(ftp_users[::order]),
        mailboxes=mailboxes[::order],
    )
    site = SITE | {"databases": "shop", "mailboxes": "info", "ftp_users": "web"}
    steps = Plan.decide(Manifest.from_rows([site]), snapshot, {}).steps
    assert {step.action for step in steps} == {Action.KEEP}
    assert [step.object_id for step in steps] == ["a1", "d1", "b1", "m1", "f1"]


def _numbered(name: str) -> list[tuple[int, str]]:
    return [(1, name), (2, name.upper())]
