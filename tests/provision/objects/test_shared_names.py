"""Two owners who ask for a database or FTP user of one name."""

from pathlib import Path

import pytest

from panelica_async.provision import (
    Action,
    Journal,
    Manifest,
    ManifestError,
    Plan,
    RemovalStatus,
    State,
    StepKind,
    apply,
    undo,
)
from panelica_async.provision.objects.base import with_owner, without_owner
from panelica_async.sandbox import Sandbox
from tests.provision.launching import client, collect

SHARED = "another owner uses the same name, which works only on a panel that puts the owner's name in front"


def site(domain: str, owner: str, **more: object) -> dict[str, object]:
    return {"domain": domain, "owner": {"username": owner, "email": f"{owner}@{domain}"}, **more}


def test_name_shared_by_two_owners_has_a_remark() -> None:
    manifest = Manifest.from_rows(
        [
            site("a.example", "alice", databases="wordpress:wp", ftp_users="web"),
            site("b.example", "bob", databases="wordpress:wp", ftp_users="Web"),
        ]
    )

    assert [(remark.where, remark.text) for remark in manifest.remarks] == [
        ("line 2, databases wordpress", SHARED),
        ("line 2, databases wp", SHARED),
        ("line 2, ftp_users Web", SHARED),
    ]


@pytest.mark.parametrize(
    ("databases", "places"),
    [
        ("shop:Reader+reader", ["reader beside Reader in line 1"]),
        (("shop:Reader", "blog:READER+reader"), ["READER beside Reader in line 1", "reader beside Reader in line 1"]),
        (("shop:Reader", "postgresql/blog:reader"), []),
        (("shop:Reader:correct-horse", "blog:Reader:correct-horse"), []),
    ],
)
def test_database_users_differing_only_in_case_have_a_remark(
    databases: str | tuple[str, ...], places: list[str]
) -> None:
    rows = [databases] if isinstance(databases, str) else databases
    manifest = Manifest.from_rows(
        [{"domain": f"s{line}.example", "username": "alice", "databases": row} for line, row in enumerate(rows)]
    )

    assert [remark.where.partition(", databases ")[2] for remark in manifest.remarks] == places
    text = "the names differ in upper and lower case only: a panel may take one user for the other"
    assert {remark.text for remark in manifest.remarks} <= {text}


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({"databases": "shop"}, {"databases": "Shop"}, "'Shop' is already in line 1"),
        ({"ftp_users": "web"}, {"ftp_users": "WEB"}, "'WEB' is already in line 1"),
        ({"databases": "one:wp"}, {"databases": "two:wp"}, "and a user has one password"),
        ({"databases": "one:wp:first-password"}, {"databases": "two:wp:other-password"}, "and a user has one password"),
        ({"databases": "one:wp:first-password"}, {"databases": "two:wp"}, "and a user has one password"),
    ],
)
def test_name_used_twice_by_one_owner_is_a_problem(first: dict[str, str], second: dict[str, str], message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        Manifest.from_rows([site("a.example", "alice", **first), site("b.example", "alice", **second) | {"email": ""}])

    assert message in str(caught.value)


def test_user_of_two_databases_with_one_password_is_accepted() -> None:
    databases = 'one:wp:"same-password"; two:wp:same-password'

    assert len(Manifest.from_rows([site("a.example", "alice", databases=databases)]).sites[0].databases) == 2


def test_one_name_on_each_database_server_is_accepted() -> None:
    manifest = Manifest.from_rows([site("a.example", "alice", databases="mysql/shop:u | postgresql/shop:u")])

    assert [database.type for database in manifest.sites[0].databases] == ["mysql", "postgresql"]
    assert manifest.remarks == ()


@pytest.mark.parametrize(
    ("owner", "databases", "names"),
    [
        ("o" * 12, "shop:" + "u" * 20, ["u" * 20]),
        ("o" * 12, "shop:" + "u" * 19, []),
        ("o" * 31, "d" * 32, []),
        ("o" * 32, "d" * 32, ["d" * 32]),
        ("o" * 12, f"{'o' * 12}_shop:{'o' * 12}_{'u' * 19}", []),
        ("o" * 12, "postgresql/shop:" + "u" * 32, []),
    ],
)
def test_name_too_long_with_a_prefix_has_a_remark(owner: str, databases: str, names: list[str]) -> None:
    manifest = Manifest.from_rows([site("a.example", owner, databases=databases)])

    assert [remark.where for remark in manifest.remarks] == [f"line 1, databases {name}" for name in names]


async def test_objects_of_one_name_are_planned_for_each_owner(tmp_path: Path) -> None:
    rows = [
        site("a.example", "alice", databases="wordpress:wp", ftp_users="web"),
        site("b.example", "bob", databases="wordpress:wp", ftp_users="web"),
    ]
    async with Sandbox() as box, client(box) as panel:
        plan = await Plan.build(panel, Manifest.from_rows(rows))
        # One after the other: of two sites at a time, each may be the first to ask for one of the names.
        outcomes = await collect(apply(panel, plan, credentials=tmp_path / "passwords.csv", concurrency=1))

    keys = [step.step.key for step in plan.steps if step.step.kind in {"database", "ftp_user"}]
    assert keys == ["mysql/wordpress of alice", "web of alice", "mysql/wordpress of bob", "web of bob"]
    assert {step.action for step in plan.steps} == {Action.CREATE}
    # The sandbox puts nothing before names: the second one is refused, and no site takes the other's.
    assert sorted(outcome.status for outcome in outcomes) == ["done", "failed"]


@pytest.mark.parametrize("kind", [StepKind.DATABASE, StepKind.FTP_USER])
async def test_undo_finds_an_uncertain_object_of_a_shared_name(tmp_path: Path, kind: StepKind) -> None:
    rows = [
        site("a.example", "alice", databases="shop", ftp_users="web"),
        site("b.example", "bob", databases="shop", ftp_users="web"),
    ]
    async with Sandbox() as box, client(box) as panel:
        with Journal.open(tmp_path / "journal.db") as journal:
            plan = await Plan.build(panel, Manifest.from_rows(rows))
            await collect(apply(panel, plan, journal=journal, credentials=tmp_path / "passwords.csv"))
            steps_by_id = {step.step.id: step.step for step in plan.steps}
            (record,) = [
                record for record in journal.records.values() if record.kind == kind and record.state is State.DONE
            ]
            journal.sent(steps_by_id[record.id], parent_id=record.parent_id)
            removals = [removal async for removal in undo(panel, journal)]

        assert RemovalStatus.REMOVED in {removal.status for removal in removals if removal.record.id == record.id}
        assert [row async for row in panel.databases.list()] == []
        assert [row async for row in panel.ftp.accounts.list()] == []


def test_owner_is_removed_from_a_key_again() -> None:
    assert without_owner(with_owner("mysql/shop", "alice")) == "mysql/shop"
    assert without_owner("web") == "web"
