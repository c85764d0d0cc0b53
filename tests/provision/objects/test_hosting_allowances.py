from typing import Any

import pytest

from panelica_async.models.accounts import Account
from panelica_async.models.databases import Database
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.ftp import FtpAccount
from panelica_async.models.plans import Plan as HostingPlan
from panelica_async.provision import Manifest, Plan, apply
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client, collect, state, statuses

OWNER = {"username": "alder", "email": "office@alder.example", "plan": "Small"}
ACCOUNT = Account(id="a1", username="alder", email="office@alder.example", plan_id="p1")
OTHER = Account(id="a2", username="beech", email="office@beech.example", plan_id="p1")
DOMAINS = (
    Domain(id="d1", domain="alder.example", user_id="a1"),
    Domain(id="d2", domain="beech.example", user_id="a2"),
)
MAX = {
    "domain": "max_domains",
    "database": "max_databases",
    "mailbox": "max_email_accounts",
    "ftp_user": "max_ftp_accounts",
}


def decide(sites: list[dict[str, Any]], plan: dict[str, Any], **existing: Any) -> dict[str, tuple[str, str | None]]:
    """Return action and reason of each step on a panel with one hosting plan."""
    snapshot = Snapshot(plans=(HostingPlan(id="p1", name="Small", **plan),), **existing)
    decided = Plan.decide(Manifest.from_data(sites), snapshot, {})
    return {planned.step.id: (planned.action.value, planned.reason) for planned in decided.steps}


def conflicts(decided: dict[str, tuple[str, str | None]]) -> list[str]:
    return [step for step, (action, _) in decided.items() if action == "conflict"]


def test_domains_beyond_the_limit_conflict_in_manifest_order() -> None:
    sites = [{"domain": f"s{number}.example", "owner": OWNER, "mailboxes": "info"} for number in range(4)]

    decided = decide(sites, {"max_domains": 2, "max_email_accounts": 2})

    assert conflicts(decided) == ["domain:s2.example", "domain:s3.example"]
    assert decided["domain:s2.example"][1] == "the plan Small allows 'alder' 2 domains, and all of them are taken"
    # Objects that are not created use no allowance.
    assert decided["mailbox:info@s1.example"] == ("create", None)
    assert decided["mailbox:info@s3.example"] == ("blocked", "depends on the domain s3.example")


@pytest.mark.parametrize(
    ("kind", "wanted", "existing"),
    [
        ("domain", {}, {}),
        (
            "database",
            {"databases": ["one", "two", "three"]},
            # Current panels list a database once for each of its users.
            {
                "databases": (
                    Database(id="b1", name="old", domain_id="d1"),
                    Database(id="b2", name="OLD", user_id="a1"),
                    Database(id="b3", name="foreign", domain_id="d2"),
                    Database(id="b4", name="nowhere"),
                )
            },
        ),
        (
            "mailbox",
            {"mailboxes": ["one", "two", "three"]},
            {
                "mailboxes": (
                    EmailAccount(id="m1", email="old@Alder.example"),
                    EmailAccount(id="m2", email="x@beech.example", domain_id="d2"),
                    EmailAccount(id="m3", email="x@nowhere.example"),
                )
            },
        ),
        (
            "ftp_user",
            {"ftp_users": ["one", "two", "three"]},
            {
                "ftp_users": (
                    FtpAccount(id="f1", username="old", domain_id="d1"),
                    FtpAccount(id="f2", username="foreign", user_id="a2", domain_id="d1"),
                    FtpAccount(id="f3", username="nowhere"),
                )
            },
        ),
    ],
)
def test_existing_objects_of_the_owner_count(kind: str, wanted: dict[str, Any], existing: dict[str, Any]) -> None:
    sites = [{"domain": f"s{number}.example", "owner": OWNER} for number in range(3)]
    sites[0] |= wanted

    decided = decide(sites, {MAX[kind]: 3}, accounts=(ACCOUNT, OTHER), domains=DOMAINS, **existing)

    ids = [step for step in decided if step.startswith(f"{kind}:")]
    assert [decided[step][0] for step in ids] == ["create", "create", "conflict"]
    assert conflicts(decided) == ids[2:]


def test_matching_objects_do_not_conflict_on_a_full_plan() -> None:
    site = {"domain": "alder.example", "owner": OWNER, "databases": "shop"}
    database = Database(id="b1", name="shop", domain_id="d1")

    decided = decide(
        [site], {"max_domains": 1, "max_databases": 1}, accounts=(ACCOUNT,), domains=DOMAINS, databases=(database,)
    )

    assert {action for action, _ in decided.values()} == {"exists"}


@pytest.mark.parametrize(("limit", "action"), [(None, "create"), (-1, "create"), (-100, "create"), (0, "conflict")])
def test_negative_limit_is_none_and_zero_allows_nothing(limit: int | None, action: str) -> None:
    decided = decide([{"domain": "s0.example", "owner": OWNER}], {"max_domains": limit})

    reason = "the plan Small allows 'alder' no domains" if action == "conflict" else None
    assert decided["domain:s0.example"] == (action, reason)


def test_limits_are_those_of_the_plan_on_the_panel() -> None:
    sites = [
        {"domain": "s0.example", "owner": OWNER},
        {"domain": "s1.example", "owner": "beech"},
        {"domain": "s2.example", "owner": "cedar"},
        {"domain": "s3.example", "owner": {"username": "elm", "email": "o@elm.example"}},
    ]
    cedar = Account(id="a3", username="cedar")

    decided = decide(sites, {"max_domains": 1}, accounts=(ACCOUNT, OTHER, cedar), domains=DOMAINS[1:])

    # One has room, one has none left, the plans of the others are not known.
    assert conflicts(decided) == ["domain:s1.example"]


@pytest.mark.parametrize(
    ("account_fields", "others", "action"),
    [
        ({"plan_id": "p1"}, (), "conflict"),
        ({"plan_name": "small"}, (), "conflict"),
        # Plans of two owners: which of them it is, is not known.
        ({"plan_name": "Small"}, (HostingPlan(id="p2", name="SMALL"),), "create"),
        ({"plan_name": "Out of sight"}, (), "create"),
    ],
)
def test_plan_of_an_account_is_found_by_id_or_name(
    account_fields: dict[str, str], others: tuple[HostingPlan, ...], action: str
) -> None:
    snapshot = Snapshot(
        accounts=(Account(id="a1", username="alder", **account_fields),),
        plans=(HostingPlan(id="p1", name="Small", max_domains=0), *others),
    )
    plan = Plan.decide(Manifest.from_data([{"domain": "s0.example", "owner": "alder"}]), snapshot, {})

    assert [planned.action.value for planned in plan.steps] == ["exists", action]


@pytest.mark.parametrize(
    ("offered", "wanted", "reason"),
    [
        (["8.3", "8.4"], "8.4", None),
        (["8.3", "8.4"], "9.9", "the plan Small offers PHP 8.3, 8.4, not 9.9"),
        (["8.3"], "8.30", "the plan Small offers PHP 8.3, not 8.30"),
        (["8.3"], "", None),
        ([], "9.9", None),
        (None, "9.9", None),
    ],
)
def test_php_version_outside_the_plan_conflicts(offered: list[str] | None, wanted: str, reason: str | None) -> None:
    site = {"domain": "s0.example", "owner": OWNER, "php_version": wanted}

    decided = decide([site], {"php_versions": offered})

    assert decided["domain:s0.example"] == ("create" if reason is None else "conflict", reason)


async def test_sandbox_accepts_exactly_what_the_plan_allows() -> None:
    owner = {"username": "alder", "email": "office@alder.example", "plan": "Starter", "password": "correct-horse"}
    sites = [{"domain": f"s{number:02}.example", "owner": owner} for number in range(12)]
    sites[0] |= {"php_version": "9.9"}
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        plan = await Plan.build(panel, Manifest.from_data(sites))
        assert [planned.step.key for planned in plan.conflicts] == ["s00.example", "s11.example"]
        assert plan.calls == len(box.requests) + 11

        outcomes = await collect(apply(panel, plan))
        assert [domain for domain, status in sorted(statuses(outcomes).items()) if status == "failed"] == [
            "s00.example",
            "s11.example",
        ]
        assert len(state(box)["domains"]) == 10
        assert {request.status for request in box.requests} <= {200, 201}
        assert plan.calls == len(box.requests)

        # What exists counts when a plan is made anew.
        again = await Plan.build(panel, Manifest.from_data(sites))
        assert [planned.step.key for planned in again.conflicts] == ["s00.example", "s11.example"]
        assert again.writes == 0
