from datetime import UTC, datetime
from typing import Any, Literal

import attrs
import pytest

from panelica_async import PanelicaClient
from panelica_async.models.accounts import Account
from panelica_async.models.dns import DnsRecord
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.plans import Plan as HostingPlan
from panelica_async.provision import Manifest, Plan, Record, Remark, State, StepKind
from panelica_async.provision.objects import REFERENCE
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.provision.plan import remarks_on_scopes
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client

ACCOUNT = Account(id="a1", username="alder")
DOMAIN = Domain(id="d1", domain="alder.example", user_id="a1")
STAYS = "the record is not in the manifest; it stays beside the requested ones of its name and type"
PASSWORD = "the object exists already: its password is not changed to the one in the manifest"


def plan(site: dict[str, Any], *zone: str, **existing: Any) -> Plan:
    """Plan a site of an account and a domain that exist, with a zone of `name type content`."""
    records = []
    for number, line in enumerate(zone):
        name, kind, content = line.split(" ", 2)
        records.append(DnsRecord(id=f"r{number}", name=name, type=kind, content=content))
    snapshot = Snapshot(accounts=(ACCOUNT,), domains=(DOMAIN,), zones={"d1": tuple(records)}, **existing)
    return Plan.decide(Manifest.from_data([{"domain": "alder.example", "owner": "alder", **site}]), snapshot, {})


@pytest.mark.parametrize(
    ("wanted", "there", "remarked"),
    [
        ("@ A 192.0.2.99", "@ A 192.0.2.1", True),
        ("www A 192.0.2.99", "WWW.alder.example. A 192.0.2.1", True),
        ("www AAAA 2001:db8::2", "www AAAA 2001:DB8::1", True),
        ("@ MX 10 mail.alder.example", "@ MX old.alder.example", True),
        ("@ NS ns1.example.net", "@ NS ns1.example.org", True),
        ("_sip._tcp SRV 10 5 5060 sip.alder.example", "_sip._tcp SRV 5 5061 sip.alder.example", True),
        ('@ CAA 0 issue "ca.example"', '@ CAA 0 issue "other.example"', True),
        ("@ TXT site-verification=new", "@ TXT site-verification=old", True),
        ("@ A 192.0.2.99", "www A 192.0.2.1", False),
        ("@ A 192.0.2.99", "@ AAAA 2001:db8::1", False),
        ("www AAAA 2001:db8::2", "www AAAA 2001:DB8:0::2", False),
        ("@ TXT v=spf1 -all", "@ TXT site-verification=old", False),
        ("@ TXT site-verification=new", "@ TXT other=1", False),
    ],
)
def test_records_that_the_wanted_one_may_replace_stay(wanted: str, there: str, remarked: bool) -> None:
    planned = plan({"dns": [wanted]}, there)

    assert planned.steps[2].action in {"create", "exists"}
    assert [remark.text for remark in planned.remarks] == ([STAYS] if remarked else [])


def test_remark_names_the_record_that_stays() -> None:
    planned = plan({"dns": ["@ A 192.0.2.99", "@ A 192.0.2.2"]}, "@ A 192.0.2.1", "@ A 192.0.2.2")

    assert planned.remarks == (Remark("alder.example @ A 192.0.2.1", STAYS),)
    assert planned.to_dict()["remarks"] == [{"where": "alder.example @ A 192.0.2.1", "text": STAYS}]


@pytest.mark.parametrize(
    ("wanted", "there", "why"),
    [
        ("@ TXT v=spf1 mx -all", '@ TXT "V=SPF1 -all"', "a name can have only one SPF record"),
        ("_dmarc TXT v=DMARC1; p=none", "_dmarc TXT v=DMARC1; p=reject", "a name can have only one DMARC record"),
        ("s1._domainkey TXT v=DKIM1; p=AA", "s1._domainkey TXT p=BB", "a name can have only one DKIM record"),
        ("_mta-sts TXT v=STSv1; id=2", "_mta-sts TXT v=STSv1; id=1", "a name can have only one MTA-STS record"),
        (
            "_smtp._tls TXT v=TLSRPTv1; rua=a",
            "_smtp._tls TXT v=TLSRPTv1;rua=b",
            "a name can have only one TLS-RPT record",
        ),
        (
            "@ MX 10 mail.alder.example",
            "@ MX .",
            "a null MX, which means no mail, cannot have another MX beside it",
        ),
        ("www TXT hello", "www CNAME other.example", "a CNAME cannot have another record beside it"),
    ],
)
def test_second_record_where_one_is_allowed_conflicts(wanted: str, there: str, why: str) -> None:
    step = plan({"dns": [wanted]}, there).steps[2]

    assert step.action == "conflict"
    assert step.reason is not None
    assert step.reason.endswith(f" already, and {why}")


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("@ TXT v=spf1 mx -all", "mail TXT v=spf1 -all"),
        ("@ TXT v=spf1 mx -all", "@ TXT v=spf10"),
        ("_dmarc TXT v=DMARC1; p=none", "_dmarc TXT v=spf1 -all"),
        ("www CNAME alder.example", "*.www A 192.0.2.1"),
        ("_domainkey TXT o=-", "_domainkey TXT o=~"),
    ],
)
def test_records_that_may_coexist_are_created(wanted: str, there: str) -> None:
    assert plan({"dns": [wanted]}, there).steps[2].action == "create"


def test_second_spf_record_has_a_remark() -> None:
    planned = plan({"dns": ["@ TXT v=spf1 mx -all"]}, "@ TXT v=spf1 -all", "@ TXT v=spf1 mx -all")

    assert planned.steps[2].action == "exists"
    assert planned.remarks == (
        Remark("alder.example @ TXT v=spf1 -all", f"{STAYS}; a name can have only one SPF record"),
    )


def test_content_of_the_panel_is_short_and_printable() -> None:
    key = "v=DKIM1; p=" + "A" * 5000

    conflict = plan({"dns": ["s1._domainkey TXT v=DKIM1; p=B"]}, f"s1._domainkey TXT {key}\x1b[31m\ud800").steps[2]
    remark = plan({"dns": ["@ TXT site=new"]}, f"@ TXT site=\x07\n{key}").remarks[0]

    assert conflict.reason is not None
    for text in (conflict.reason, remark.where):
        assert len(text) < 250
        assert text.isprintable()


def test_passwords_of_objects_that_exist_are_not_set() -> None:
    site = {
        "owner": {"username": "alder", "email": "a@alder.example", "password": "SecondPass2"},
        "mailboxes": ["info:SecondPass2", "sales", "new:SecondPass2"],
    }
    existing = tuple(EmailAccount(id=name, email=f"{name}@alder.example", domain_id="d1") for name in ("info", "sales"))

    planned = plan(site, mailboxes=existing)

    assert planned.remarks == (Remark("account alder", PASSWORD), Remark("mailbox info@alder.example", PASSWORD))
    assert "SecondPass2" not in repr(planned.remarks)


def test_password_of_an_object_of_an_earlier_run_is_not_set() -> None:
    manifest = Manifest.from_data(
        [
            {
                "domain": "alder.example",
                "owner": {"username": "alder", "email": "a@alder.example", "password": "SecondPass2"},
            }
        ]
    )
    record = Record(id="account:alder", kind=StepKind.ACCOUNT, site="", state=State.DONE, at=datetime.now(UTC))

    account = Account(id="a1", username="alder", email="a@alder.example", role="USER")

    planned = Plan.decide(manifest, Snapshot(accounts=(account,)), {record.id: record})

    assert planned.remarks == (Remark("account alder", PASSWORD),)


@pytest.mark.parametrize("status", ["suspended", "Suspended"])
def test_create_within_something_suspended_has_a_remark(status: str) -> None:
    text = "the account or domain is suspended: the panel may refuse to create anything in it"
    site = {"domain": "alder.example", "owner": "alder", "mailboxes": ["info", "sales"]}
    account, domain = attrs.evolve(ACCOUNT, status=status), attrs.evolve(DOMAIN, status=status)

    def remarks(*domains: Domain, **changes: Any) -> tuple[Remark, ...]:
        snapshot = Snapshot(accounts=(account,), domains=domains)
        return Plan.decide(Manifest.from_data([site | changes]), snapshot, {}).remarks

    assert remarks() == (Remark("account alder", text),)
    assert remarks(domain) == (Remark("domain alder.example", text), Remark("account alder", text))
    # Nothing is to be created in them.
    assert remarks(domain, mailboxes=[]) == ()


def test_suspended_account_with_a_domains_id_has_no_remark() -> None:
    """Panels may number each kind of object for itself."""
    site = {"domain": "alder.example", "owner": "alder", "mailboxes": ["info"]}
    other = Account(id=DOMAIN.id, username="beech", status="suspended")
    snapshot = Snapshot(accounts=(ACCOUNT, other), domains=(DOMAIN,))

    assert Plan.decide(Manifest.from_data([site]), snapshot, {}).remarks == ()


def test_subdomain_of_another_accounts_domain_has_a_remark() -> None:
    sites = [
        {"domain": domain, "owner": owner, "email": f"{owner}@mail.example"}
        for domain, owner in (
            ("shop.alder.example", "alder"),
            ("shop.alder.example", "beech"),
            ("shop.elm.example", "beech"),
        )
    ]
    # Whose the last domain is, the panel does not say.
    snapshot = Snapshot(accounts=(ACCOUNT,), domains=(DOMAIN, Domain(id="d2", domain="elm.example")))

    own, foreign, unknown = (Plan.decide(Manifest.from_data([site]), snapshot, {}).remarks for site in sites)

    assert own == unknown == ()
    assert foreign == (
        Remark("domain shop.alder.example", "the domain lies within alder.example, which belongs to another account"),
    )


def test_php_version_that_no_plan_offers_has_a_remark() -> None:
    plans = (HostingPlan(id="p1", name="Small", php_versions=["8.3"]), HostingPlan(id="p2", name="Other"))
    site = {"domain": "shop.example", "owner": "alder", "php_version": "9.9"}
    texts = [
        [remark.text for remark in Plan.decide(Manifest.from_data([site | changes]), snapshot, {}).remarks]
        for changes, snapshot in (
            ({}, Snapshot(accounts=(ACCOUNT,), plans=plans)),
            ({"php_version": "8.3"}, Snapshot(accounts=(ACCOUNT,), plans=plans)),
            ({}, Snapshot(accounts=(ACCOUNT,), plans=plans[1:])),
        )
    ]

    assert texts == [["no plan of the panel offers PHP 9.9"], [], []]


async def test_plans_are_read_for_php_versions_if_the_key_may() -> None:
    site = {"domain": "alder.example", "owner": "alder", "email": "a@alder.example", "php_version": "9.9"}
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        seen = await Plan.build(panel, Manifest.from_data([site]))
        operations = list(dict.fromkeys(request.operation for request in box.requests))
        key = box.add_key(scopes=["accounts:read", "domains:read"])
        async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret) as limited:
            unseen = await Plan.build(limited, Manifest.from_data([site]))

    assert operations == ["accounts.list", "domains.list", "plans.list"]
    assert [remark.where for remark in seen.remarks] == ["domain alder.example"]
    assert unseen.remarks == ()
    assert unseen.writes == 2


@pytest.mark.parametrize("dialect", ["reference", "panel"])
async def test_missing_scopes_have_a_remark(dialect: Literal["reference", "panel"]) -> None:
    manifest = Manifest.from_data(
        [{"domain": "a.example", "owner": {"username": "ann", "email": "a@b.example"}, "mailboxes": "info"}]
    )
    async with Sandbox(dialect=dialect) as box:
        for scopes, expected in (
            (["*:*"], []),
            (["accounts:*", "domains:*", "email:read"], ["mailboxes"]),
            (["accounts:read", "domains:read", "email:*"], ["accounts", "domains"]),
        ):
            key = box.add_key(scopes=scopes, tier="enterprise")
            async with PanelicaClient(
                box.base_url, api_key=key.api_key, api_secret=key.api_secret, dialect=dialect
            ) as panel:
                plan = await Plan.build(panel, manifest)
                remarks = await remarks_on_scopes(panel, plan.new, plan.abilities)
                assert [remark.where for remark in remarks] == expected
                assert all("so the panel will refuse to create these" in remark.text for remark in remarks)


async def test_scopes_are_not_read_when_nothing_is_new() -> None:
    async with Sandbox() as box, PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
        assert await remarks_on_scopes(panel, (), REFERENCE) == ()
        assert not box.requests


async def test_unknown_scopes_have_no_remark() -> None:
    async with Sandbox() as box, PanelicaClient(box.base_url, api_key=box.api_key, api_secret="sk_live_x") as panel:
        manifest = Manifest.from_data([{"domain": "a.example", "owner": "ann", "email": "a@b.example"}])
        plan = Plan.decide(manifest, Snapshot(), {})
        assert await remarks_on_scopes(panel, plan.new, plan.abilities) == ()
