import asyncio
import csv
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from panelica_async import PanelicaClient
from panelica_async.core.values import NameRule
from panelica_async.errors import AuthenticationError, ConfigurationError, ConnectError, PermissionDeniedError
from panelica_async.provision import (
    CredentialsFile,
    Event,
    Journal,
    Manifest,
    Plan,
    PlannedStep,
    SiteOutcome,
    SiteStatus,
    State,
    StepKind,
    StepOutcome,
    StepStatus,
    apply,
    resume,
)
from panelica_async.provision.executor import Executor
from panelica_async.provision.objects import DomainStep, View
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.sandbox import Sandbox, validation
from tests.provision.faulty_panel import Fault, FaultyPanel, fail_at, fail_every
from tests.provision.launching import SITES, WRITES, client, collect, state, statuses

pytestmark = pytest.mark.once

MANIFEST = Manifest.from_data(SITES)
DOMAINS = [site.domain for site in MANIFEST.sites]


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with Sandbox(tier="enterprise") as box:
        yield box


async def test_everything_is_created_once(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        assert plan.writes == WRITES
        before = len(box.requests)
        outcomes = await collect(apply(panel, plan, credentials=tmp_path / "passwords.csv"))

        assert statuses(outcomes) == dict.fromkeys(DOMAINS, "done")
        assert sum(outcome.calls for outcome in outcomes) == WRITES == len(box.requests) - before
        found = state(box)
        assert [row[:2] for row in found["accounts"]] == [
            ("alder", "office@alder.example"),
            ("beech", "office@beech.example"),
            ("root", "root@server1.example.com"),
        ]
        assert found["mailboxes"] == [
            ("info@alder.example", "alder.example", found["mailboxes"][0][2]),
            ("info@beech.example", "beech.example", found["mailboxes"][0][2]),
            ("sales@alder.example", "alder.example", 2048),
        ]

        again = await collect(apply(panel, MANIFEST, credentials=tmp_path / "passwords.csv"))
        assert statuses(again) == dict.fromkeys(DOMAINS, "exists")
        assert sum(outcome.calls for outcome in again) == 0
        assert state(box) == found


async def test_concurrency_above_the_sites_starts_no_more_tasks(box: Sandbox, tmp_path: Path) -> None:
    started = 0

    def count(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
        nonlocal started
        started += 1
        return asyncio.Task(work, loop=loop, **options)

    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        asyncio.get_running_loop().set_task_factory(count)
        await collect(apply(panel, plan, credentials=tmp_path / "p.csv", concurrency=10_000))
    assert started < 1_000


async def test_plan_only_reads(box: Sandbox) -> None:
    before = state(box)
    async with client(box) as panel:
        await Plan.build(panel, MANIFEST)
        assert {request.method for request in box.requests} == {"GET"}
        assert list(dict.fromkeys(request.operation for request in box.requests)) == [
            "accounts.list",
            "plans.list",
            "domains.list",
            "ssl.certificates.list",
            "databases.list",
            "email.accounts.list",
            "ftp.accounts.list",
        ]
    assert state(box) == before


async def test_plan_reads_only_lists_the_manifest_needs(box: Sandbox) -> None:
    async with client(box) as panel:
        account = await panel.accounts.create(username="alder", email="a@alder.example", password="correct-horse")
        for domain in ("alder.example", "beech.example"):
            await panel.domains.create(domain=domain, user_id=account.id)
        manifest = Manifest.from_data(
            [
                {"domain": "alder.example", "owner": "alder", "dns": ["www A 192.0.2.1"]},
                {"domain": "beech.example", "owner": "alder"},
            ]
        )
        box.requests.clear()
        plan = await Plan.build(panel, manifest)

    assert list(dict.fromkeys(request.operation for request in box.requests)) == [
        "accounts.list",
        "domains.list",
        "dns.records.list",
    ]
    # Nothing in these lists says that they are whole: each is asked for a second page.
    assert (plan.list_calls, plan.writes, plan.calls) == (6, 1, 7)


async def test_only_generated_passwords_are_written_to_the_file(box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "passwords.csv"
    async with client(box) as panel:
        await collect(apply(panel, MANIFEST, journal=tmp_path / "run.journal", credentials=path))
    with path.open(newline="") as file:
        rows = {(row["kind"], row["site"], row["name"]): row["password"] for row in csv.DictReader(file)}

    assert sorted(rows) == [
        ("account", "alder.example", "alder"),
        ("database_user", "alder.example", "mysql/shop:reader"),
        ("database_user", "alder.example", "mysql/shop:writer"),
        ("database_user", "blog.alder.example", "postgresql/blog:author"),
        ("ftp_user", "alder.example", "deploy"),
        ("mailbox", "alder.example", "info@alder.example"),
        ("mailbox", "alder.example", "sales@alder.example"),
        ("mailbox", "beech.example", "info@beech.example"),
    ]
    journal = (tmp_path / "run.journal").read_bytes()
    assert not any(password.encode() in journal for password in [*rows.values(), "correct-horse"])


async def test_run_without_a_passwords_file_sends_nothing(box: Sandbox) -> None:
    async with client(box) as panel:
        with pytest.raises(ConfigurationError, match="8 objects need a generated password"):
            await collect(apply(panel, MANIFEST))
    assert {request.method for request in box.requests} == {"GET"}


async def test_sites_finish_one_after_another(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data(
        [
            {"domain": f"s{number}.example", "owner": f"owner{number}", "mailboxes": "a,b,c,d"}
            | {"email": f"o@s{number}.example"}
            for number in range(12)
        ]
    )
    finished_at: list[int] = []
    order = []
    async with client(box) as panel:
        async for outcome in apply(panel, manifest, credentials=tmp_path / "p.csv", concurrency=3):
            order.append(outcome.domain)
            finished_at.append(len([request for request in box.requests if request.method == "POST"]))

    assert finished_at[0] <= 3 * 6
    assert all(abs(order.index(site.domain) - index) <= 3 for index, site in enumerate(manifest.sites))


async def test_events_count_up_to_the_expected_totals(box: Sandbox, tmp_path: Path) -> None:
    events: list[Event] = []
    async with client(box) as panel:
        await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv", on_event=events.append))

    assert [event.sites_done for event in events if event.site] == [1, 2, 3]
    assert {event.sites_total for event in events} == {3}
    assert [event.calls_done for event in events if event.step] == list(range(10, 10 + WRITES))
    assert (events[-1].calls_done, events[-1].calls_expected) == (9 + WRITES, 9 + WRITES)


async def test_account_is_created_when_its_conflict_is_gone(box: Sandbox, tmp_path: Path) -> None:
    files = {"journal": tmp_path / "run.journal", "credentials": tmp_path / "p.csv"}
    async with client(box) as panel:
        other = await panel.accounts.create(username="other", email="o@other.example", password="correct-horse")
        taken = await panel.domains.create(domain="beech.example", user_id=other.id)
        outcomes = {outcome.domain: outcome for outcome in await collect(apply(panel, MANIFEST, **files))}
        beech = outcomes["beech.example"]

        assert [row[0] for row in state(box)["accounts"]] == ["alder", "other", "root"]
        assert (beech.status, beech.calls) == (SiteStatus.FAILED, 0)
        assert beech.reason == "domain beech.example: the domain belongs to 'other'"
        assert (beech.steps[0].status, beech.steps[0].reason) == (
            StepStatus.SKIPPED,
            "it would stay empty: beech.example is in conflict",
        )
        with Journal.open(files["journal"], read_only=True) as journal:
            assert "account:beech" not in journal.records

        await panel.domains.delete(taken.id)
        assert statuses(await collect(apply(panel, MANIFEST, **files)))["beech.example"] == "done"


async def test_failing_site_stops_no_other(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        other = await panel.accounts.create(username="other", email="o@other.example", password="correct-horse")
        await panel.domains.create(domain="alder.example", user_id=other.id)
        outcomes = await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv"))

    by_domain = {outcome.domain: outcome for outcome in outcomes}
    assert statuses(outcomes) == {"alder.example": "failed", "blog.alder.example": "done", "beech.example": "done"}
    assert by_domain["alder.example"].reason == "domain alder.example: the domain belongs to 'other'"
    assert by_domain["alder.example"].hint == "Change the manifest or the object on the panel, and run again."
    assert [step.status for step in by_domain["alder.example"].steps[1:]] == ["conflict"] + ["skipped"] * 9


async def test_refusal_is_reported_with_the_panels_words(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data(
        [
            {
                "domain": f"s{number}.example",
                "owner": {"username": "alder", "email": "a@alder.example", "plan": "Starter"},
            }
            for number in range(12)
        ]
    )
    async with client(box) as panel:
        starter = next(plan for plan in await panel.plans.list().collect() if plan.name == "Starter")
        await panel.plans.update(starter.id, max_domains=12)
        plan = await Plan.build(panel, manifest)
        await panel.plans.update(starter.id, max_domains=10)
        outcomes = await collect(apply(panel, plan, credentials=tmp_path / "p.csv", concurrency=1))

    assert [outcome.status for outcome in outcomes] == ["done"] * 10 + ["failed"] * 2
    assert outcomes[-1].reason == "domain s11.example: Plan limit reached (max_domains is 10 in the plan Starter)"
    assert outcomes[-1].hint
    assert outcomes[-1].steps[-1].code == "FORBIDDEN"


async def test_failed_account_fails_its_sites_with_one_call(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "ACCOUNT_NAME", NameRule("[b-z]+", "a name that does not begin with a"))
    manifest = Manifest.from_data(
        [{"domain": f"s{number}.example", "owner": "alder", "email": "a@alder.example"} for number in range(4)]
    )
    async with client(box) as panel:
        outcomes = await collect(apply(panel, manifest, credentials=tmp_path / "p.csv"))

    assert {outcome.status for outcome in outcomes} == {SiteStatus.FAILED}
    assert len({outcome.reason for outcome in outcomes}) == 1
    assert [request.operation for request in box.requests].count("accounts.create") == 1
    assert [[step.status for step in outcome.steps] for outcome in outcomes] == [["failed", "skipped"]] * 4


async def test_missing_scope_stops_further_calls_of_its_kind(box: Sandbox, tmp_path: Path) -> None:
    scopes = [
        scope
        for kind in ("accounts", "domains", "dns", "databases", "ftp")
        for scope in (f"{kind}:read", f"{kind}:write")
    ]
    key = box.add_key(scopes=[*scopes, "ssl:read", "ssl:write", "plans:read", "email:read"], tier="enterprise")
    async with PanelicaClient(box.base_url, api_key=key.api_key, api_secret=key.api_secret, tier="enterprise") as panel:
        outcomes = await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv", concurrency=1))

    assert statuses(outcomes) == {"alder.example": "failed", "blog.alder.example": "done", "beech.example": "failed"}
    assert "email:write" in str(outcomes[0].to_dict())
    assert [request.operation for request in box.requests].count("email.accounts.create") == 1
    assert [step.status for step in outcomes[0].steps if step.step.kind is StepKind.FTP_USER] == [StepStatus.CREATED]


async def test_rejected_key_stops_the_run_at_once(box: Sandbox, tmp_path: Path) -> None:
    outcomes: list[SiteOutcome] = []
    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
    async with PanelicaClient(
        box.base_url, api_key=box.api_key, api_secret="sk_live_wrong", tier="enterprise"
    ) as panel:
        box.requests.clear()
        with pytest.raises(AuthenticationError):
            await collect(apply(panel, plan, credentials=tmp_path / "p.csv", concurrency=1), outcomes)

    assert len(box.requests) == 1
    assert [outcome.status for outcome in outcomes] == ["failed", "skipped", "skipped"]
    assert outcomes[1].reason is not None
    assert outcomes[1].reason.startswith("the run was stopped: ")


async def test_unreachable_panel_stops_the_run(box: Sandbox, tmp_path: Path) -> None:
    outcomes: list[SiteOutcome] = []
    async with client(box, max_retries=0) as panel:
        plan = await Plan.build(panel, MANIFEST)
        await box.stop()
        with pytest.raises(ConnectError):
            await collect(apply(panel, plan, credentials=tmp_path / "p.csv", concurrency=1, settle=0), outcomes)

    assert [outcome.status for outcome in outcomes][1:] == ["skipped", "skipped"]


async def test_stop_finishes_calls_in_flight_and_sends_no_more(box: Sandbox, tmp_path: Path) -> None:
    stop = asyncio.Event()

    def stop_soon(event: Event) -> None:
        if event.calls_done == 14:
            stop.set()

    options = {"journal": tmp_path / "run.journal", "credentials": tmp_path / "p.csv", "concurrency": 1}
    async with client(box) as panel:
        outcomes = await collect(apply(panel, MANIFEST, on_event=stop_soon, stop=stop, **options))
        assert [outcome.status for outcome in outcomes] == ["skipped"] * 3
        assert outcomes[0].reason == "the run was interrupted"
        with Journal.open(tmp_path / "run.journal", read_only=True) as journal:
            assert {record.state for record in journal.records.values()} == {State.DONE}
            assert journal.runs[0].finished_at is None

        resumed = await collect(apply(panel, MANIFEST, **options))
        assert statuses(resumed) == dict.fromkeys(DOMAINS, "done")
        assert sum(outcome.calls for outcome in resumed) == WRITES - 5


async def test_resume_needs_only_the_journal(box: Sandbox, tmp_path: Path) -> None:
    path = tmp_path / "sites.csv"
    path.write_text(
        "domain,owner,email,mailboxes\n"
        "alder.example,alder,a@alder.example,info;sales\n"
        "beech.example,beech,b@beech.example,info\n"
    )
    journal = tmp_path / "run.journal"
    async with client(box) as panel:
        run = apply(panel, Manifest.load(path), journal=journal, credentials=tmp_path / "p.csv", concurrency=1)
        async with aclosing(run):
            assert (await anext(run)).domain == "alder.example"
        outcomes = await collect(resume(panel, journal))

    assert statuses(outcomes) == {"alder.example": "exists", "beech.example": "done"}
    assert len(state(box)["mailboxes"]) == 3


async def test_object_others_created_meanwhile_is_found(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        account = await panel.accounts.create(username="alder", email="office@alder.example", password="another-one")
        await panel.accounts.update(account.id, plan_id=plan.snapshot.plans[0].id)
        domain = await panel.domains.create(domain="alder.example", user_id=account.id, php_version="8.4")
        await panel.dns.records.create(domain.id, name="www", type="A", content="192.0.2.10")
        database = await panel.databases.create(name="shop", type="mysql", domain_id=domain.id)
        await panel.databases.users.create(database.id, username="reader", password="another-one")
        await panel.email.accounts.create(local_part="info", domain_id=domain.id, password="another-one")
        outcomes = await collect(apply(panel, plan, credentials=tmp_path / "p.csv", journal=tmp_path / "run.journal"))

    assert statuses(outcomes) == dict.fromkeys(DOMAINS, "done")
    (alder,) = (outcome for outcome in outcomes if outcome.domain == "alder.example")
    existing = [step.step.id for step in alder.steps if step.status is StepStatus.EXISTS]
    assert existing == [
        "account:alder",
        "domain:alder.example",
        "dns_record:alder.example www A 192.0.2.10",
        "database:mysql/shop",
        "database_user:mysql/shop:reader",
        "mailbox:info@alder.example",
    ]
    with CredentialsFile(tmp_path / "p.csv") as credentials:
        assert not {"account:alder", "database_user:mysql/shop:reader", "mailbox:info@alder.example"} & set(
            credentials._passwords
        )
    with Journal.open(tmp_path / "run.journal") as journal:
        assert {journal.records[step_id].state for step_id in existing} == {State.FOUND}


async def test_password_is_not_set_on_objects_of_others(box: Sandbox) -> None:
    manifest = Manifest.from_data(
        [{"domain": "a.example", "owner": "a", "email": "a@a.example", "password": "correct-horse", "ssl": "yes"}]
    )
    async with client(box) as panel:
        plan = await Plan.build(panel, manifest)
        await panel.accounts.create(username="a", email="a@a.example", password="another-one")
        (outcome,) = await collect(apply(panel, plan))

    assert plan.remarks == ()
    assert [(step.status.value, step.remark) for step in outcome.steps] == [
        ("exists", "the object exists already: its password is not changed to the one in the manifest"),
        ("created", None),
        ("created", None),
    ]


async def test_name_that_others_took_meanwhile_fails(box: Sandbox, tmp_path: Path) -> None:
    async with client(box) as panel:
        plan = await Plan.build(panel, MANIFEST)
        other = await panel.accounts.create(username="other", email="OFFICE@alder.example", password="another-one")
        await panel.domains.create(domain="beech.example", user_id=other.id)
        outcomes = await collect(apply(panel, plan, credentials=tmp_path / "p.csv"))

    by_domain = {outcome.domain: outcome for outcome in outcomes}
    assert statuses(outcomes) == dict.fromkeys(DOMAINS, "failed")
    assert by_domain["alder.example"].reason is not None
    assert by_domain["alder.example"].reason.endswith(
        "the e-mail address office@alder.example belongs to the account 'other'"
    )
    assert by_domain["beech.example"].reason is not None
    assert by_domain["beech.example"].reason.endswith("the domain belongs to 'other'")


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.SERVER_ERROR_AFTER])
async def test_run_recovers_from_a_500(box: Sandbox, tmp_path: Path, fault: Fault) -> None:
    async with FaultyPanel(box, fail_at(2, fault)) as proxy, client(box, proxy.base_url) as panel:
        options = {
            "journal": tmp_path / "run.journal",
            "credentials": tmp_path / "p.csv",
            "concurrency": 1,
            "settle": 0,
        }
        outcomes = await collect(apply(panel, MANIFEST, **options))
        if fault is Fault.SERVER_ERROR_AFTER:
            assert statuses(outcomes) == dict.fromkeys(DOMAINS, "done")
        else:
            assert [outcome.status for outcome in outcomes] == ["failed", "done", "done"]
            assert outcomes[0].reason == "domain alder.example: Internal error"
            assert outcomes[0].steps[1].code == "INTERNAL_ERROR"
            again = await collect(apply(panel, MANIFEST, **options))
            assert [outcome.status for outcome in again] == ["done", "exists", "exists"]


async def test_lost_step_that_no_list_shows_is_uncertain(box: Sandbox, tmp_path: Path) -> None:
    """The replies to two attempts are lost, and no list shows the object."""

    def lose_info(_: int, request: object) -> Fault | None:
        return Fault.LOST_REQUEST if "email" in str(request) else None

    manifest = Manifest.from_data([{"domain": "a.example", "owner": "a", "email": "a@a.example", "mailboxes": "info"}])
    journal = tmp_path / "run.journal"
    async with client(box) as direct, FaultyPanel(box, lose_info) as proxy, client(box, proxy.base_url) as panel:
        options = {"credentials": tmp_path / "p.csv", "settle": 0}
        (outcome,) = await collect(apply(panel, manifest, journal=journal, **options))
        assert outcome.status is SiteStatus.UNKNOWN
        assert outcome.reason == ("mailbox info@a.example: sent 2 times without a reply, and not found afterwards")
        assert outcome.calls == 4
        with Journal.open(journal) as notes:
            assert notes.records["mailbox:info@a.example"].is_unanswered

    async with client(box) as direct:
        # The journal belongs to the proxy's address, so a new one is used.
        (outcome,) = await collect(apply(direct, manifest, **options))
        assert outcome.status is SiteStatus.DONE


async def test_lost_step_with_a_failed_look_up_is_uncertain(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data([{"domain": "a.example", "owner": "a", "email": "a@a.example", "mailboxes": "info"}])
    async with FaultyPanel(box, fail_at(3, Fault.LOST_REPLY)) as proxy, client(box, proxy.base_url) as panel:
        plan = await Plan.build(panel, manifest)
        proxy.forbidden_lists.add("/v1/email/accounts")
        options = {"credentials": tmp_path / "p.csv", "journal": tmp_path / "run.journal", "settle": 0}
        (outcome,) = await collect(apply(panel, plan, **options))
        assert outcome.status is SiteStatus.UNKNOWN
        assert outcome.reason is not None
        assert outcome.reason.endswith("; looking for it failed: Not yours")
        assert outcome.hint == "Check in the panel whether it exists; `resume` checks again."

        proxy.forbidden_lists.clear()
        (outcome,) = await collect(apply(panel, manifest, **options))
        assert outcome.status is SiteStatus.DONE
        assert outcome.steps[-1].reason == "sent by an earlier run; found by looking"
        assert proxy.writes == 3


async def test_refusal_with_a_failed_look_up_is_a_failure(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data([{"domain": "a.example", "owner": "a", "email": "a@a.example"}])
    async with FaultyPanel(box, fail_at(0, Fault.LOST_REPLY)) as proxy, client(box, proxy.base_url) as panel:
        plan = await Plan.build(panel, manifest)
        await panel.accounts.create(username="a", email="a@a.example", password="correct-horse")
        proxy.forbidden_lists.add("/v1/accounts")
        (outcome,) = await collect(apply(panel, plan, credentials=tmp_path / "p.csv"))

    assert outcome.status is SiteStatus.FAILED
    assert outcome.reason is not None
    assert outcome.reason.endswith("; looking for it failed: Not yours")


async def test_call_that_lands_late_takes_effect_once(box: Sandbox, tmp_path: Path) -> None:
    """The look-up finds nothing, because the panel is still working; the second call is refused."""
    async with FaultyPanel(box, fail_every(3, Fault.LATE)) as proxy, client(box, proxy.base_url) as panel:
        outcomes = await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv", concurrency=1, settle=0))

    assert statuses(outcomes) == dict.fromkeys(DOMAINS, "done")
    assert [outcome.calls for outcome in outcomes] == [16, 6, 6]
    assert [request.status for request in box.requests].count(409) == 9
    assert all(len(rows) == len(set(rows)) for rows in state(box).values())


async def test_users_that_lists_do_not_distinguish_stay_uncertain(box: Sandbox, tmp_path: Path) -> None:
    manifest = Manifest.from_data([{"domain": "a.example", "owner": "a", "email": "a@a.example", "databases": "d:u+v"}])
    path = tmp_path / "run.journal"
    async with client(box) as panel:
        account, domain, database, first, second = (
            planned.step for planned in (await Plan.build(panel, manifest)).steps
        )
        with Journal.open(path) as journal:
            journal.begin(base_url=panel.base_url, manifest=manifest, credentials_path=None)
            ids = {}
            for step in (account, domain, database, first):
                view = View(snapshot=Snapshot(), ids=ids)
                ids[step.id] = (await step.create(panel, view, "correct-horse")).id
            for step in (account, domain, database):
                journal.sent(step)
                journal.done(step, ids[step.id])
            journal.sent(first)
            journal.sent(second)
        (outcome,) = await collect(apply(panel, manifest, journal=path, credentials=tmp_path / "p.csv"))

    assert outcome.status is SiteStatus.UNKNOWN
    assert outcome.calls == 0
    assert outcome.reason == (
        "database user mysql/d:u: the panel does not list the users of a database by name (and 1 more)"
    )


async def test_argument_the_client_refuses_fails_one_site_only(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = DomainStep.create

    async def refuse(self: DomainStep, panel: object, view: View, password: str) -> str | None:
        if self.site == "alder.example":
            raise ValueError("user_id cannot be empty")
        return await create(self, panel, view, password)

    monkeypatch.setattr(DomainStep, "create", refuse)
    async with client(box) as panel:
        outcomes = await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv"))

    by_domain = {outcome.domain: outcome for outcome in outcomes}
    assert by_domain["alder.example"].reason == "domain alder.example: user_id cannot be empty"
    assert by_domain["blog.alder.example"].status == by_domain["beech.example"].status == "done"


@pytest.mark.parametrize("is_sent", [False, True])
async def test_unexpected_error_fails_one_site_only(
    box: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_sent: bool
) -> None:
    create = DomainStep.create
    execute = Executor.execute

    async def create_and_fail(self: DomainStep, *arguments: Any) -> Any:
        result = await create(self, *arguments)
        if self.site == "alder.example":
            raise RuntimeError("no such thing \udcff")
        return result

    async def fail(self: Executor, planned: PlannedStep) -> StepOutcome:
        if planned.step.id == "domain:alder.example":
            raise RuntimeError("no such thing \udcff")
        return await execute(self, planned)

    if is_sent:
        monkeypatch.setattr(DomainStep, "create", create_and_fail)
    else:
        monkeypatch.setattr(Executor, "execute", fail)
    options = {"credentials": tmp_path / "p.csv", "journal": tmp_path / "run.journal"}
    async with client(box) as panel:
        outcomes = await collect(apply(panel, MANIFEST, **options))
        monkeypatch.undo()
        again = await collect(apply(panel, MANIFEST, **options))

    by_domain = {outcome.domain: outcome for outcome in outcomes}
    assert by_domain["alder.example"].status == ("unknown" if is_sent else "failed")
    assert by_domain["alder.example"].reason == r"domain alder.example: RuntimeError: no such thing \udcff"
    assert by_domain["blog.alder.example"].status == by_domain["beech.example"].status == "done"
    assert {outcome.status for outcome in again} == {SiteStatus.DONE, SiteStatus.EXISTS}


async def test_refused_list_ends_the_planning(box: Sandbox) -> None:
    async with client(box) as panel:
        account = await panel.accounts.create(username="alder", email="office@alder.example", password="correct-horse")
        await panel.domains.create(domain="alder.example", user_id=account.id, php_version="8.4")
    async with FaultyPanel(box, fail_at(0, Fault.LOST_REPLY)) as proxy, client(box, proxy.base_url) as panel:
        proxy.forbidden_lists.add("/records")
        with pytest.raises(PermissionDeniedError, match="Not yours"):
            await Plan.build(panel, Manifest.from_data([{**SITES[0], "owner": "alder"}]))


async def test_closing_the_iterator_notes_calls_in_flight(box: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    async with FaultyPanel(box, fail_at(4, Fault.HANGS_AFTER)) as proxy, client(box, proxy.base_url) as panel:
        run = apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv", concurrency=1)
        task = asyncio.create_task(collect(run))
        await proxy.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with Journal.open(journal) as notes:
            assert [record.state for record in notes.records.values()] == ["done", "done", "done", "unknown"]
        outcomes = await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv"))

    assert statuses(outcomes) == dict.fromkeys(DOMAINS, "done")
    assert proxy.writes == WRITES


async def test_run_ends_when_other_code_cancels_its_tasks(box: Sandbox, tmp_path: Path) -> None:
    """Programs that shut down cancel all tasks but their own, which waits for the next outcome here."""
    mine = asyncio.current_task()

    def cancel_others(event: Event) -> None:
        if event.step is not None:
            for task in asyncio.all_tasks() - {mine}:
                task.cancel()

    async with client(box) as panel:
        run = apply(panel, MANIFEST, journal=tmp_path / "j", credentials=tmp_path / "p.csv", on_event=cancel_others)
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(60):
                await collect(run)
    with Journal.open(tmp_path / "j", read_only=True) as journal:
        assert not any(record.state is State.SENT for record in journal.records.values())


async def test_journal_of_another_run_is_refused_before_any_call(box: Sandbox, tmp_path: Path) -> None:
    journal = tmp_path / "run.journal"
    async with client(box) as panel:
        await collect(apply(panel, MANIFEST, journal=journal, credentials=tmp_path / "p.csv"))
        box.requests.clear()
        other = Manifest.from_data([{"domain": "other.example", "owner": "alder"}])
        with pytest.raises(ConfigurationError, match="is the journal of another manifest"):
            await collect(apply(panel, other, journal=journal))
        with pytest.raises(ConfigurationError, match="the manifest of the journal has no file"):
            await collect(resume(panel, journal))
    async with FaultyPanel(box, fail_at(0, Fault.LOST_REPLY)) as proxy, client(box, proxy.base_url) as panel:
        with pytest.raises(ConfigurationError, match="is the journal of http"):
            await collect(apply(panel, MANIFEST, journal=journal))
    assert not box.requests


async def test_concurrency_must_be_positive(box: Sandbox) -> None:
    async with client(box) as panel:
        with pytest.raises(ConfigurationError, match="concurrency must be 1 or more, not 0"):
            await collect(apply(panel, MANIFEST, concurrency=0))


async def test_error_of_a_callback_reaches_the_caller(box: Sandbox, tmp_path: Path) -> None:
    def fail(event: Event) -> None:
        raise RuntimeError("display is gone")

    async with client(box) as panel:
        with pytest.raises(RuntimeError, match="display is gone"):
            await collect(apply(panel, MANIFEST, credentials=tmp_path / "p.csv", on_event=fail))
