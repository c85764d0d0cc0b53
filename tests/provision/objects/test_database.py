from pathlib import Path

import pytest

from panelica_async.provision import Action, Manifest, Plan, apply, undo
from panelica_async.sandbox import Sandbox
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_first
from tests.provision.launching import client, collect, statuses

MANIFEST = Manifest.from_data(
    [
        {
            "domain": "alder.example",
            "owner": {"username": "alder", "email": "office@alder.example", "password": "correct-horse"},
            "databases": [
                {
                    "name": "shop",
                    "users": [{"username": name, "password": "pass-word"} for name in ("one", "two", "three")],
                },
                {"name": "blog", "users": [{"username": "four", "password": "pass-word"}]},
            ],
        }
    ]
)


def users(box: Sandbox) -> list[tuple[str, bool]]:
    """Return the users of the database shop in the order they were created, and which is the primary one."""
    rows = box.database.execute(
        "SELECT u.username, u.is_primary FROM database_users AS u JOIN databases AS b ON b.id = u.database_id"
        " WHERE b.name = 'shop' ORDER BY u.rowid"
    )
    return [(row[0], bool(row[1])) for row in rows]


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.UNAVAILABLE, Fault.REFUSED, Fault.MISSING_PAGE])
async def test_users_of_a_database_are_created_in_turn(tmp_path: Path, fault: Fault) -> None:
    journal = tmp_path / "run.journal"
    async with Sandbox(tier="enterprise") as box:
        async with (
            FaultyPanel(box, fail_first("POST", "/users", fault)) as proxy,
            client(box, proxy.base_url, max_retries=0) as panel,
        ):
            (outcome,) = await collect(apply(panel, MANIFEST, journal=journal, settle=0))
            of_users = {step.step.key: step for step in outcome.steps if step.step.kind == "database_user"}
            assert users(box) == []
            reason = "depends on the database user mysql/shop:one, which does not exist"
            assert of_users["mysql/shop:two"].reason == reason
            assert of_users["mysql/shop:three"].status == "skipped"
            # Another database does not wait.
            assert of_users["mysql/blog:four"].status == "created"

            await collect(apply(panel, MANIFEST, journal=journal, settle=0))

        assert users(box) == [("one", True), ("two", False), ("three", False)]


async def test_plan_lists_the_previous_user_as_a_dependency() -> None:
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
    of_users = [planned.to_dict() for planned in plan.steps if planned.step.kind == "database_user"]

    assert {planned.action for planned in plan.steps} == {Action.CREATE}
    assert [user["depends_on"][-1] for user in of_users] == [
        "account:alder",
        "database_user:mysql/shop:one",
        "database_user:mysql/shop:two",
        "account:alder",
    ]


@pytest.mark.parametrize("journal", ["run.journal", "another.journal"], ids=["known", "unknown"])
async def test_adding_a_user_keeps_the_known_passwords(tmp_path: Path, journal: str) -> None:
    manifest, credentials = tmp_path / "launch.csv", tmp_path / "passwords.csv"
    row = "domain,username,email,databases\nalder.example,alder,office@alder.example,shop:one"
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        manifest.write_text(row)
        run = apply(panel, Manifest.load(manifest), journal=tmp_path / "run.journal", credentials=credentials)
        assert statuses(await collect(run)) == {"alder.example": "done"}
        before = credentials.read_text()
        manifest.write_text(f"{row}+two")
        run = apply(panel, Manifest.load(manifest), journal=tmp_path / journal, credentials=credentials)
        assert statuses(await collect(run)) == {"alder.example": "done"}
        assert users(box) == [("one", True), ("two", False)]
    lines = credentials.read_text().removeprefix(before).splitlines()
    assert [line.rpartition(",")[0] for line in lines] == ["database_user,alder.example,mysql/shop:two"]


@pytest.mark.parametrize("gone", [{"one"}, {"two"}, {"one", "three"}, {"one", "two", "three"}])
async def test_users_that_were_deleted_are_created_again(tmp_path: Path, gone: set[str]) -> None:
    journal = tmp_path / "run.journal"
    async with Sandbox(tier="enterprise") as box, client(box) as panel:
        await collect(apply(panel, MANIFEST, journal=journal))
        for name in gone:
            box.database.execute("DELETE FROM database_users WHERE username = ?", (name,))
        (outcome,) = await collect(apply(panel, MANIFEST, journal=journal))
        assert {name for name, _ in users(box)} == {"one", "two", "three"}
        created = {step.step.key.rpartition(":")[2] for step in outcome.steps if step.status == "created"}
        assert created == gone
        # Those that were left are still ours.
        assert {removal.status async for removal in undo(panel, journal)} == {"removed"}


async def test_undo_keeps_a_database_with_a_user_of_others(tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    async with Sandbox(tier="enterprise") as box:
        async with (
            FaultyPanel(box, fail_first("POST", "/users", Fault.REFUSED)) as proxy,
            client(box, proxy.base_url, max_retries=0) as panel,
        ):
            await collect(apply(panel, MANIFEST, journal=journal, settle=0))
            shop = next(row.id for row in await panel.databases.list().collect() if row.name == "shop")
            await panel.databases.users.create(shop, username="one", password="their-own")
            await collect(apply(panel, MANIFEST, journal=journal, settle=0))
            removals = {removal.record.id: removal async for removal in undo(panel, journal)}
        assert removals["database:mysql/shop"].status == "kept"
        assert ("one", True) in users(box)
