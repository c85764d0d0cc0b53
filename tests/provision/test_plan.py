from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from panelica_async.errors import NotFoundError
from panelica_async.models.accounts import Account
from panelica_async.models.databases import Database
from panelica_async.models.dns import DnsRecord
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.ftp import FtpAccount
from panelica_async.models.plans import Plan as HostingPlan
from panelica_async.models.ssl import Certificate
from panelica_async.provision import Action, Journal, Manifest, Plan, Record, SiteStatus, State, StepKind, apply
from panelica_async.provision import plan as plan_module
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.ratelimit import RateLimit
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Fault, FaultyPanel
from tests.provision.launching import client, collect

SITE = {
    "domain": "alder.example",
    "owner": {"username": "alder", "email": "Office@alder.example", "plan": "Starter"},
    "php_version": "8.4",
    "web_server": "nginx",
    "ssl": "yes",
    "dns": ["www A 192.0.2.10", "@ MX 10 mail.alder.example", "blog 600 CNAME alder.example"],
    "databases": ["shop:reader+writer"],
    "mailboxes": ["info::1024"],
    "ftp_users": ["deploy::/htdocs:500"],
}
ACCOUNT = Account(
    id="a1", username="alder", email="office@alder.example", role="USER", plan_id="p1", plan_name="Starter"
)
DOMAIN = Domain(id="d1", domain="alder.example", user_id="a1", php_version="8.4", web_server="nginx")
PLAN = HostingPlan(id="p1", name="Starter")
EXISTING = {
    "accounts": (ACCOUNT,),
    "plans": (PLAN, HostingPlan(id="p2", name="Business")),
    "domains": (DOMAIN,),
    "certificates": (Certificate(id="c1", domain_id="d1", type="lets_encrypt", status="active"),),
    "databases": (Database(id="b1", name="shop", type="mysql", user_count=2, domain_id="d1"),),
    "mailboxes": (EmailAccount(id="m1", email="info@alder.example", domain_id="d1", quota_mb=1024),),
    "ftp_users": (
        FtpAccount(id="f1", username="deploy", domain_id="d1", home_directory="/home/alder/htdocs", quota_mb=500),
    ),
    "zones": {
        "d1": (
            DnsRecord(id="r1", name="www", type="A", content="192.0.2.10", ttl=3600),
            DnsRecord(id="r2", name="@", type="MX", content="mail.alder.example.", ttl=3600, priority=10),
            DnsRecord(id="r3", name="blog.alder.example.", type="CNAME", content="alder.example", ttl=600),
        )
    },
}
NOTHING: dict[str, Any] = {"plans": EXISTING["plans"]}


def decide(
    existing: dict[str, Any], site: dict[str, Any] | None = None, **records: State
) -> dict[str, tuple[str, str]]:
    """Return action and reason by id of the step."""
    manifest = Manifest.from_data([{**SITE, **(site or {})}])
    plan = Plan.decide(manifest, Snapshot(**existing), {})
    if records:
        ids = {planned.step.key.rpartition(":")[2]: planned.step for planned in plan.steps}
        known = {
            ids[name].id: Record(id=ids[name].id, kind=ids[name].kind, site="", state=state, at=datetime.now(UTC))
            for name, state in records.items()
        }
        plan = Plan.decide(manifest, Snapshot(**existing), known)
    return {planned.step.id: (planned.action.value, planned.reason or "") for planned in plan.steps}


STEPS = [
    "account:alder",
    "domain:alder.example",
    "dns_record:alder.example www A 192.0.2.10",
    "dns_record:alder.example @ MX mail.alder.example",
    "dns_record:alder.example blog CNAME alder.example",
    "certificate:alder.example",
    "database:mysql/shop",
    "database_user:mysql/shop:reader",
    "database_user:mysql/shop:writer",
    "mailbox:info@alder.example",
    "ftp_user:deploy",
]


def test_empty_panel_gets_everything_in_dependency_order() -> None:
    decided = decide(NOTHING)

    assert list(decided) == STEPS
    assert {action for action, _ in decided.values()} == {"create"}


def test_matching_objects_are_kept() -> None:
    assert {action for action, _ in decide(EXISTING).values()} == {"exists"}


def test_owner_without_an_address_must_exist() -> None:
    site = {"owner": "alder"}
    assert decide(EXISTING, site)["account:alder"][0] == "exists"

    decided = decide(NOTHING, site)
    assert decided["account:alder"] == (
        "conflict",
        "there is no account 'alder'; add an e-mail address to create it",
    )
    assert decided["domain:alder.example"] == ("blocked", "depends on the account alder")
    assert {action for step, (action, _) in decided.items() if step != "account:alder"} == {"blocked"}


def test_account_that_no_site_can_use_is_blocked() -> None:
    taken = (Domain(id="d9", domain="alder.example", user_id="a9"),)
    decided = decide({**NOTHING, "domains": taken})

    assert decided["account:alder"] == ("blocked", "it would stay empty: alder.example is in conflict")
    assert decided["domain:alder.example"] == ("conflict", "the domain belongs to another account")
    # An account that exists is there for what the panel may allow later.
    decided = decide({**NOTHING, "accounts": (ACCOUNT,), "domains": taken})
    assert decided["account:alder"] == ("exists", "")


@pytest.mark.parametrize("free", [1, 0], ids=["one site goes on", "none does"])
def test_account_of_several_sites_waits_for_none_that_conflicts(free: int) -> None:
    domains = [f"{name}.example" for name in ("alder", "beech", "cedar", "elm")]
    manifest = Manifest.from_data(
        [{"domain": name, "owner": {"username": "alder", "email": "office@alder.example"}} for name in domains]
    )
    taken = tuple(Domain(id=name, domain=name, user_id="a9") for name in domains[free:])
    plan = Plan.decide(manifest, Snapshot(domains=taken), {})
    account = plan.steps[0]

    assert plan.writes == 2 * free
    assert plan.counts[StepKind.ACCOUNT] == {Action.CREATE if free else Action.BLOCKED: 1}
    every = "it would stay empty: alder.example, beech.example, cedar.example and 1 more are in conflict"
    assert account.reason == (None if free else every)


def changed(kind: str, index: int = 0, **changes: Any) -> dict[str, Any]:
    """Return what exists with one row changed."""
    import attrs

    rows = list(EXISTING[kind] if kind != "zones" else EXISTING[kind]["d1"])
    rows[index] = attrs.evolve(rows[index], **changes)
    return {**EXISTING, kind: {"d1": tuple(rows)} if kind == "zones" else tuple(rows)}


@pytest.mark.parametrize(
    ("existing", "step", "reason"),
    [
        pytest.param(
            changed("accounts", role="ROOT"),
            "account:alder",
            "the account 'alder' is not a hosting account: its role is ROOT",
            id="an administrator is never adopted",
        ),
        pytest.param(
            changed("accounts", username="ALDER", role="reseller"),
            "account:alder",
            "the account 'ALDER' is not a hosting account: its role is reseller",
            id="nor a reseller, in any case",
        ),
        pytest.param(
            changed("accounts", email="x@alder.example"),
            "account:alder",
            "the account 'alder' has the e-mail address x@alder.example",
            id="account with another address",
        ),
        pytest.param(
            changed("accounts", plan_id="p2", plan_name="Business"),
            "account:alder",
            "the account 'alder' has the plan Business, not Starter",
            id="account with another plan",
        ),
        pytest.param(
            {
                **changed("accounts", plan_id="p2", plan_name=None),
                "plans": (PLAN, HostingPlan(id="p2", name="Business")),
            },
            "account:alder",
            "the account 'alder' has the plan Business, not Starter",
            id="account that is listed with the id of another plan",
        ),
        pytest.param(
            changed("accounts", plan_id=None, plan_name=None),
            "account:alder",
            "the account 'alder' has no plan, not Starter",
            id="account without a plan",
        ),
        pytest.param(
            {**changed("accounts", plan_id="p2", plan_name=None), "plans": (HostingPlan(id="p2", name="Business"),)},
            "account:alder",
            "there is no plan 'Starter'; the panel has Business",
            id="existing account and a plan that is not there",
        ),
        pytest.param(
            changed("accounts", username="beech"),
            "account:alder",
            "the e-mail address Office@alder.example belongs to the account 'beech'",
            id="address of another account",
        ),
        pytest.param(
            changed("accounts", username="root", role="ROOT", email="OFFICE@ALDER.EXAMPLE"),
            "account:alder",
            "the e-mail address Office@alder.example belongs to the account 'root'",
            id="address of an administrator, in any case",
        ),
        pytest.param(
            {**NOTHING, "plans": (HostingPlan(id="p3", name="Gold"), HostingPlan(id="p2", name="Business"))},
            "account:alder",
            "there is no plan 'Starter'; the panel has Business, Gold",
            id="unknown plan",
        ),
        pytest.param(
            {**NOTHING, "plans": (PLAN, HostingPlan(id="p4", name="STARTER"))},
            "account:alder",
            "there are 2 plans 'Starter'; use the id of one: p1, p4",
            id="two plans of one name",
        ),
        pytest.param(
            {**NOTHING, "plans": tuple(HostingPlan(id=f"q{n}", name=f"Plan {n:02}\n" + "x" * 500) for n in range(12))},
            "account:alder",
            "there is no plan 'Starter'; the panel has "
            + ", ".join(f"Plan {n:02} {'x' * 91}…" for n in range(10))
            + " and 2 more",
            id="names of plans that are long, many and broken over lines",
        ),
        pytest.param(
            {**changed("domains", user_id="a2"), "accounts": (ACCOUNT, Account(id="a2", username="beech"))},
            "domain:alder.example",
            "the domain belongs to 'beech'",
            id="domain of another account",
        ),
        pytest.param(
            changed("domains", user_id="a3"),
            "domain:alder.example",
            "the domain belongs to another account",
            id="domain of an account out of sight",
        ),
        pytest.param(
            changed("domains", php_version="8.2"),
            "domain:alder.example",
            "the domain runs PHP 8.2, not 8.4",
            id="PHP version",
        ),
        pytest.param(
            changed("domains", web_server="apache"),
            "domain:alder.example",
            "the domain is served by apache, not nginx",
            id="web server",
        ),
        pytest.param(
            changed("zones", 1, priority=20),
            "dns_record:alder.example @ MX mail.alder.example",
            "the record has priority 20, not 10",
            id="priority of a record",
        ),
        pytest.param(
            changed("zones", 2, ttl=60),
            "dns_record:alder.example blog CNAME alder.example",
            "the record has ttl 60, not 600",
            id="time to live of a record",
        ),
        pytest.param(
            changed("zones", 2, content="other.example"),
            "dns_record:alder.example blog CNAME alder.example",
            "the name has the record CNAME other.example already, and a name can have only one CNAME",
            id="second alias",
        ),
        pytest.param(
            changed("zones", 2, type="A", content="192.0.2.99"),
            "dns_record:alder.example blog CNAME alder.example",
            "the name has the record A 192.0.2.99 already, and a CNAME cannot have another record beside it",
            id="alias beside an address",
        ),
        pytest.param(
            changed("zones", 0, type="CNAME", content="other.example."),
            "dns_record:alder.example www A 192.0.2.10",
            "the name has the record CNAME other.example already, and a CNAME cannot have another record beside it",
            id="address beside an alias",
        ),
        pytest.param(
            changed("certificates", type="self_signed"),
            "certificate:alder.example",
            "the domain has a certificate of type self_signed, not lets_encrypt",
            id="certificate of another type",
        ),
        pytest.param(
            changed("databases", domain_id="d2"),
            "database:mysql/shop",
            "a database of that name belongs to another site",
            id="database of another site",
        ),
        pytest.param(
            changed("mailboxes", domain_id="d2"),
            "mailbox:info@alder.example",
            "the mailbox belongs to another domain",
            id="mailbox of another domain",
        ),
        pytest.param(
            changed("mailboxes", quota_mb=512),
            "mailbox:info@alder.example",
            "the mailbox has a quota of 512 MB, not 1024",
            id="quota of a mailbox",
        ),
        pytest.param(
            changed("ftp_users", domain_id="d2"),
            "ftp_user:deploy",
            "an FTP user of that name belongs to another site",
            id="FTP user of another site",
        ),
        pytest.param(
            changed("ftp_users", domain_id=None, user_id="a2"),
            "ftp_user:deploy",
            "an FTP user of that name belongs to another site",
            id="FTP user of another account",
        ),
        pytest.param(
            changed("ftp_users", home_directory="/home/alder"),
            "ftp_user:deploy",
            "the FTP user is confined to /home/alder, not /htdocs",
            id="directory of an FTP user",
        ),
        pytest.param(
            changed("ftp_users", quota_mb=0),
            "ftp_user:deploy",
            "the FTP user has a quota of 0 MB, not 500",
            id="quota of an FTP user",
        ),
    ],
)
def test_different_object_is_a_conflict(existing: dict[str, Any], step: str, reason: str) -> None:
    decided = decide(existing)

    assert decided[step] == ("conflict", reason)
    others = {
        action for other, (action, _) in decided.items() if other != step and STEPS.index(other) > STEPS.index(step)
    }
    assert "conflict" not in others
    if step.startswith(("account", "domain")):
        assert others == {"blocked"}


@pytest.mark.parametrize(
    ("existing", "step", "action"),
    [
        pytest.param(changed("accounts", username="Alder", role="user"), "account:alder", "exists", id="any case"),
        pytest.param(
            {**EXISTING, "accounts": (ACCOUNT, Account(id="a0", username="ALDER", role="ROOT", email="r@x.example"))},
            "account:alder",
            "exists",
            id="an administrator of the same name in other case",
        ),
        pytest.param(changed("accounts", role=None), "account:alder", "exists", id="no role on old panels"),
        pytest.param(
            {**EXISTING, "plans": (HostingPlan(id="p0", name="starter"), PLAN)},
            "account:alder",
            "exists",
            id="two plans of the name, and the account has one of them",
        ),
        pytest.param(
            {**EXISTING, "plans": ()}, "account:alder", "exists", id="a plan out of sight, known by the account's row"
        ),
        pytest.param(changed("accounts", plan_name=None), "account:alder", "exists", id="plan by id"),
        pytest.param(
            changed("accounts", plan_id="starter", plan_name=None) | {"plans": ()},
            "account:alder",
            "conflict",
            id="a plan out of sight, by an id in other case",
        ),
        pytest.param(
            changed("accounts", plan_id="Starter", plan_name=None) | {"plans": ()},
            "account:alder",
            "exists",
            id="a plan out of sight, by its id",
        ),
        pytest.param(changed("domains", php_version=None), "domain:alder.example", "exists", id="no version shown"),
        pytest.param(
            changed("domains", web_server="nginx_only"), "domain:alder.example", "exists", id="other vocabulary"
        ),
        pytest.param(
            changed("certificates", status="failed"), "certificate:alder.example", "create", id="failed certificate"
        ),
        pytest.param(
            changed("certificates", status="pending"),
            "certificate:alder.example",
            "exists",
            id="certificate on its way",
        ),
        pytest.param(changed("databases", type="postgresql"), "database:mysql/shop", "create", id="other type"),
        pytest.param(changed("databases", name="alder_shop"), "database:mysql/shop", "exists", id="prefixed name"),
        pytest.param(changed("databases", name="beech_shop"), "database:mysql/shop", "create", id="prefix of another"),
        pytest.param(changed("ftp_users", username="alder_deploy"), "ftp_user:deploy", "exists", id="prefixed login"),
        pytest.param(
            changed("ftp_users", domain_id=None, user_id="a1"), "ftp_user:deploy", "exists", id="owner by account"
        ),
        pytest.param(
            changed("mailboxes", email="Info@Alder.example"), "mailbox:info@alder.example", "exists", id="case"
        ),
        pytest.param(
            {**EXISTING, "certificates": None, "domains": (DOMAIN,)},
            "certificate:alder.example",
            "create",
            id="no list of certificates",
        ),
        pytest.param(
            {**changed("domains", ssl_enabled=True), "certificates": None},
            "certificate:alder.example",
            "exists",
            id="no list of certificates, but the domain says it has one",
        ),
    ],
)
def test_object_when_equal_enough_is_kept(existing: dict[str, Any], step: str, action: str) -> None:
    assert decide(existing)[step][0] == action


READER, WRITER = "database_user:mysql/shop:reader", "database_user:mysql/shop:writer"


@pytest.mark.parametrize(
    ("count", "known", "reader", "writer"),
    [
        (0, {}, "create", "create"),
        (2, {}, "exists", "exists"),
        (3, {}, "exists", "exists"),
        (1, {}, "create", "create"),
        (None, {}, "create", "create"),
        (1, {"reader": State.DONE}, "exists", "create"),
        (1, {"reader": State.SENT}, "exists", "create"),
        (0, {"reader": State.SENT}, "create", "create"),
        (2, {"reader": State.DONE, "writer": State.UNKNOWN}, "exists", "exists"),
        (1, {"reader": State.DONE, "writer": State.UNKNOWN}, "exists", "create"),
        (1, {"reader": State.SENT, "writer": State.SENT}, "unknown", "unknown"),
        (None, {"reader": State.SENT}, "unknown", "blocked"),
        (None, {"reader": State.SENT, "writer": State.SENT}, "unknown", "unknown"),
        (-1, {"reader": State.SENT}, "unknown", "blocked"),
        (10**30, {"reader": State.SENT}, "unknown", "blocked"),
        (None, {"reader": State.DONE, "writer": State.FAILED}, "exists", "create"),
    ],
)
def test_database_users_are_inferred_from_their_number(
    count: int | None, known: dict[str, State], reader: str, writer: str
) -> None:
    decided = decide(changed("databases", user_count=count), **known)

    assert (decided[READER][0], decided[WRITER][0]) == (reader, writer)


@pytest.mark.parametrize("known", [State.DONE, State.FOUND, State.UNCERTAIN])
def test_object_of_an_earlier_run_that_is_gone_is_created(known: State) -> None:
    assert decide(EXISTING, alder=known)["account:alder"] == ("exists", "done by an earlier run")
    assert decide(NOTHING, alder=known)["account:alder"] == ("create", "it existed in an earlier run and is gone")


@pytest.mark.parametrize(("domains", "action"), [((DOMAIN,), "exists"), ((), "create")])
def test_certificate_of_a_deleted_domain_is_ordered_again(domains: tuple[Domain, ...], action: str) -> None:
    """As long as the domain is there, an order that no list shows is on its way."""
    manifest = Manifest.from_data([SITE])
    step_id = "certificate:alder.example"
    record = Record(id=step_id, kind=StepKind.CERTIFICATE, site="", state=State.DONE, at=datetime.now(UTC))
    plan = Plan.decide(manifest, Snapshot(**{**EXISTING, "certificates": (), "domains": domains}), {step_id: record})

    assert {planned.action.value for planned in plan.steps if planned.step.id == step_id} == {action}


def test_uncertain_step_without_an_object_is_sent_again() -> None:
    assert decide(NOTHING, alder=State.UNKNOWN)["account:alder"] == ("create", "")
    assert decide(EXISTING, alder=State.UNKNOWN)["account:alder"] == ("exists", "")


def test_certificate_without_a_list_stays_uncertain() -> None:
    manifest = Manifest.from_data([SITE])
    step_id = "certificate:alder.example"
    record = Record(id=step_id, kind=StepKind.CERTIFICATE, site="", state=State.SENT, at=datetime.now(UTC))
    plan = Plan.decide(manifest, Snapshot(**{**EXISTING, "certificates": None}), {step_id: record})

    assert {planned.action for planned in plan.steps if planned.step.id == step_id} == {Action.UNCERTAIN}


def test_uncertain_step_below_a_conflict_stays_uncertain() -> None:
    step_id = "mailbox:info@alder.example"
    record = Record(id=step_id, kind=StepKind.MAILBOX, site="", state=State.UNKNOWN, at=datetime.now(UTC))
    plan = Plan.decide(Manifest.from_data([SITE]), Snapshot(**changed("domains", user_id="a2")), {step_id: record})
    decided = {planned.step.id: (planned.action.value, planned.reason) for planned in plan.steps}

    assert decided["domain:alder.example"][0] == "conflict"
    assert decided[step_id] == ("unknown", "sent by an earlier run, and depends on the domain alder.example")
    assert decided["ftp_user:deploy"] == ("blocked", "depends on the domain alder.example")


def test_unread_zone_does_not_count_as_empty() -> None:
    step_id = "dns_record:alder.example www A 192.0.2.10"
    record = Record(id=step_id, kind=StepKind.DNS_RECORD, site="", state=State.SENT, at=datetime.now(UTC))
    plan = Plan.decide(Manifest.from_data([SITE]), Snapshot(**{**EXISTING, "zones": {}}), {step_id: record})

    assert {planned.action for planned in plan.steps if planned.step.id == step_id} == {Action.UNCERTAIN}


def test_sites_of_one_owner_share_its_account() -> None:
    other = {"domain": "beech.example", "owner": "ALDER"}
    plan = Plan.decide(Manifest.from_data([SITE, other]), Snapshot(**NOTHING), {})

    assert [len(site.steps) for site in plan.sites] == [11, 2]
    assert plan.sites[0].steps[0] is plan.sites[1].steps[0]
    assert plan.writes == len(plan.steps) == 12
    assert plan.counts[StepKind.DOMAIN] == {Action.CREATE: 2}


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (RateLimit.unlimited(), timedelta(0)),
        (RateLimit(per_minute=60, burst=1), timedelta(minutes=16, seconds=30)),
        (RateLimit(per_minute=300, per_hour=500, burst=50), timedelta(hours=1)),
    ],
)
def test_estimate_follows_the_limit(limit: RateLimit, expected: timedelta) -> None:
    mailboxes = ",".join(f"m{number}" for number in range(988))
    site = {"domain": "alder.example", "owner": {"username": "a", "email": "a@a.example"}, "mailboxes": mailboxes}
    plan = Plan.decide(Manifest.from_data([site]), Snapshot(), {})

    assert plan.writes == 990
    assert expected <= plan.estimate(limit) <= expected * 1.1


def test_plan_as_data_has_no_secrets() -> None:
    site = {
        "domain": "alder.example",
        "owner": {"username": "a", "email": "a@a.example", "password": "hunter22-a"},
        "databases": "d:u:hunter22-b",
        "mailboxes": "m:hunter22-c",
        "ftp_users": "f:hunter22-d",
    }
    plan = Plan.decide(Manifest.from_data([site]), Snapshot(), {})
    data = plan.to_dict()

    assert "hunter22" not in repr(data) + repr(plan) + repr(plan.steps)
    assert data["calls"] == {"lists": 0, "writes": 6}
    assert data["counts"]["mailbox"] == {"create": 1}
    assert data["sites"][0]["steps"][4] == {
        "kind": "mailbox",
        "name": "m@alder.example",
        "operation": "email.accounts.create",
        "arguments": {"local_part": "m"},
        "depends_on": ["domain:alder.example", "account:a"],
        "verdict": "create",
        "reason": None,
        "pending": False,
    }


async def test_zones_are_read_whatever_the_journal_knows(tmp_path: Path) -> None:
    sites = [
        {"domain": f"s{number}.example", "owner": "alder", "email": "a@alder.example", "password": "correct-horse"}
        for number in range(3)
    ]
    manifest = Manifest.from_data([site | {"dns": ["www A 192.0.2.1", "ftp A 192.0.2.1"]} for site in sites])
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(apply(panel, manifest, journal=journal))
            # A run that was interrupted, and one that came to its end.
            journal.begin(base_url=panel.base_url, manifest=manifest, credentials_path=None)
            for _ in range(2):
                box.database.execute(
                    "DELETE FROM dns_records WHERE id = (SELECT id FROM dns_records WHERE name = 'ftp' LIMIT 1)"
                )
                plan = await Plan.build(panel, manifest, journal=journal)
                updated = plan.updated(journal)
                assert updated is not None
                assert updated.list_calls == plan.list_calls > 0
                created = [planned.step.key for planned in plan.steps if planned.action is Action.CREATE]
                assert [key.split(" ", 1)[1] for key in created] == ["ftp A 192.0.2.1"]
                await collect(apply(panel, plan, journal=journal))


async def test_zones_are_read_for_records_alone() -> None:
    sites: list[dict[str, Any]] = [
        {"domain": f"s{number}.example", "owner": "alder", "email": "a@alder.example", "password": "correct-horse"}
        for number in range(3)
    ]
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        await collect(apply(panel, Manifest.from_data(sites)))
        sites[0] |= {"dns": ["www A 192.0.2.1"]}
        sites[1] |= {"databases": ["shop"]}
        await Plan.build(panel, Manifest.from_data(sites))
        read = [request.path for request in box.requests if request.operation == "dns.records.list"]
        domains = {row.domain: row.id for row in await panel.domains.list().collect()}
    assert {path for path in read if domains["s0.example"] not in path} == set()
    assert read != []


async def test_web_page_for_a_zone_is_no_empty_zone() -> None:
    site = {"domain": "s.example", "owner": "alder", "email": "a@alder.example", "password": "correct-horse"}
    manifest = Manifest.from_data([site | {"dns": ["www A 192.0.2.1"]}])
    async with (
        Sandbox(tier="enterprise") as box,
        FaultyPanel(box) as proxy,
        client(box, proxy.base_url, max_retries=0) as panel,
    ):
        await collect(apply(panel, manifest))
        proxy.read_faults = {"/records": Fault.MISSING_PAGE}
        with pytest.raises(NotFoundError):
            await Plan.build(panel, manifest)


GONE = {
    "domain": "DELETE FROM domains",
    "dns_record": "DELETE FROM dns_records WHERE name = 'www'",
    "database": "DELETE FROM databases",
    "database_user": "DELETE FROM database_users",
    "mailbox": "DELETE FROM email_accounts",
    "ftp_user": "DELETE FROM ftp_accounts",
}


@pytest.mark.parametrize("kind", GONE)
async def test_deleted_contents_of_a_changed_account_are_absent(tmp_path: Path, kind: str) -> None:
    site = {name: value for name, value in SITE.items() if name not in {"ssl", "php_version", "web_server"}}
    owner = {"username": "alder", "email": "a@alder.example"}
    manifest = Manifest.from_data([site | {"owner": owner, "ftp_users": ["deploy"]}])
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(apply(panel, manifest, journal=journal, credentials=tmp_path / "passwords.csv"))
            box.database.execute("UPDATE accounts SET email = 'other@alder.example' WHERE username = 'alder'")
            box.database.execute(GONE[kind])
            plan = await Plan.build(panel, manifest, journal=journal)
    actions = {planned.step.id: planned.action for planned in plan.steps}
    assert actions.pop("account:alder") is Action.CONFLICT
    below = {"domain": {*GONE}, "database": {"database", "database_user"}}.get(kind, {kind})
    blocked = {step_id.partition(":")[0] for step_id, action in actions.items() if action is Action.BLOCKED}
    assert blocked == below
    assert {*actions.values()} <= {Action.BLOCKED, Action.KEEP}


class Count:
    """Counts the calls of the function that it replaces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        self.calls = 0
        original = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, staticmethod(counted) if isinstance(owner, type) else counted)


@pytest.mark.parametrize("records", [(), ("www A 192.0.2.1",)], ids=["no zone", "a zone"])
async def test_run_decides_once_and_builds_its_steps_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: tuple[str, ...]
) -> None:
    site = {"domain": "a.example", "owner": "alder", "email": "a@alder.example", "password": "correct-horse"}
    decisions = Count(monkeypatch, Plan, "decide")
    steps = Count(monkeypatch, plan_module, "steps_of")
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            await collect(apply(panel, Manifest.from_data([site]), journal=journal))
            assert (decisions.calls, steps.calls) == (1, 1)
        # The zone is there now. The command makes a plan, shows it and applies it.
        with Journal.open(tmp_path / "new.journal") as journal:
            plan = await Plan.build(panel, Manifest.from_data([site | {"dns": list(records)}]), journal=journal)
            assert (decisions.calls, steps.calls) == (2, 2)
            assert bool(plan.snapshot.zones) is bool(records)
            await collect(apply(panel, plan, journal=journal))
        assert (decisions.calls, steps.calls) == (2, 2)


async def test_plan_built_without_a_journal_is_updated_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = {"domain": "a.example", "owner": "alder", "email": "a@alder.example", "password": "correct-horse"}
    manifest = Manifest.from_data([site])
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        with Journal.open(tmp_path / "run.journal") as journal:
            plan = await Plan.build(panel, manifest, journal=journal)
            await collect(apply(panel, plan, journal=journal))
            decisions = Count(monkeypatch, Plan, "decide")
            (again,) = await collect(apply(panel, plan, journal=journal))
    assert decisions.calls == 1
    assert again.status is SiteStatus.EXISTS
