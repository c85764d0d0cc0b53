"""Creates whose replies were lost, on a real sandbox: returned if this call made the object, otherwise unknown."""

import asyncio
import pickle
import time
from collections.abc import Awaitable
from typing import Any
from uuid import UUID

import attrs
import pytest
from aiohttp import hdrs, web

from panelica_async import MissingScopeError, OutcomeUnknownError, PanelicaClient, TransportError
from panelica_async.api.recovery import SentCreate
from panelica_async.core.reply import Envelope
from panelica_async.core.request import PreparedRequest
from panelica_async.models.domains import Domain
from panelica_async.resources.plans import PLANS_CREATE, PLANS_LIST
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import Done, Event, Outcome
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.pipeline import Transport
from panelica_async.transport.retry import Waits
from tests.conftest import Connect
from tests.support.faulty_proxy import Fault
from tests.support.lost_creates import (
    BY_NAME,
    CREATES,
    DONE,
    NOT_DONE,
    PASSWORD,
    Create,
    LossyPanel,
    lossy_client,
    timed_lossy_panel,
    with_prefix,
    without,
)
from tests.support.raw_server import CLOSE, RawServer, reply
from tests.support.virtual_time import now, run

pytestmark = pytest.mark.once

every_create = pytest.mark.parametrize("create", CREATES, ids=BY_NAME)
every_dated_create = pytest.mark.parametrize(
    "create", [create for create in CREATES if create.shows_time], ids=lambda create: create.operation
)


@pytest.fixture
async def site(panel: PanelicaClient) -> Domain:
    account = await panel.accounts.create(username="acme", email="acme@example.com", password=PASSWORD)
    return await panel.domains.create(domain="acme.example", user_id=account.id)


async def unknown(call: Awaitable[object]) -> OutcomeUnknownError:
    with pytest.raises(OutcomeUnknownError) as caught:
        await call
    return caught.value


@every_create
@pytest.mark.usefixtures("no_backoff")
async def test_created_object_is_returned(box: Sandbox, site: Domain, create: Create) -> None:
    ended: list[Event] = []
    async with LossyPanel(box, DONE) as proxy, proxy.client() as panel:
        panel.subscribe(ended.append)
        made = await create.send(panel, site)
    assert create.count(box, site) == 1
    assert box.database.execute(f"SELECT 1 FROM {create.table} WHERE id = ?", (made.id,)).fetchone()
    assert sum(seen.startswith("POST") for seen in proxy.seen) == 1
    [end] = [event for event in ended if isinstance(event, Done) and event.operation == create.operation]
    assert (end.outcome, end.attempts, end.error) == (Outcome.SUCCEEDED, 1, None)


@pytest.mark.usefixtures("no_backoff")
async def test_created_object_is_found_by_ids_of_other_types(box: Sandbox, site: Domain) -> None:
    account_id: Any = UUID(str(site.user_id))
    domain_id: Any = UUID(site.id)
    async with lossy_client(box, DONE) as panel:
        domain = await panel.domains.create(domain="new.example", user_id=account_id)
        mailbox = await panel.email.accounts.create(local_part="info", domain_id=domain_id, password=PASSWORD)
    assert (domain.user_id, mailbox.domain_id) == (site.user_id, site.id)


@every_create
@pytest.mark.usefixtures("no_backoff")
async def test_outcome_is_unknown_when_nothing_was_created(box: Sandbox, site: Domain, create: Create) -> None:
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(create.send(panel, site))
    assert create.count(box, site) == 0
    assert error.message.endswith("; a search found nothing, but it may still appear")
    assert error.hint is not None
    assert error.hint.startswith(create.hint.format(id=site.id))
    assert (error.operation, error.method, error.attempts) == (create.operation, "POST", 1)
    assert error.sent_at is not None
    assert isinstance(error.__cause__, TransportError)
    assert PASSWORD not in repr(error.sent)
    assert PASSWORD.encode() not in pickle.dumps(error)


@every_dated_create
@pytest.mark.usefixtures("no_backoff")
async def test_older_object_is_not_returned(box: Sandbox, panel: PanelicaClient, site: Domain, create: Create) -> None:
    await create.send(panel, site)
    create.make_older(box, site, 10)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(create.send(panel, site))
    assert "; an object of that name exists, but it was created 20" in error.message
    assert error.message.endswith(" UTC, before the call")


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("skew", [1200, -1200, 290, -290])
async def test_age_is_judged_by_the_clock_of_the_panel(skew: int) -> None:
    clock_is_known = abs(skew) > 300
    async with Sandbox(tier="enterprise", clock=lambda: time.time() + skew) as box:
        async with PanelicaClient(
            box.base_url, api_key=box.api_key, api_secret=box.api_secret, tier="enterprise"
        ) as direct:
            account = await direct.accounts.create(username="acme", email="acme@example.com", password=PASSWORD)
            site = await direct.domains.create(domain="acme.example", user_id=account.id)
        create = BY_NAME["domains.create"]
        for fault in (DONE, NOT_DONE):
            async with LossyPanel(box, fault) as proxy, proxy.client() as panel:
                if clock_is_known:
                    await panel.me()
                # Otherwise the look-up is the first reply from which the client learns the time.
                if fault is DONE:
                    assert (await create.send(panel, site)).domain == "new.example"
                    create.make_older(box, site, 100)
                else:
                    assert "before the call" in (await unknown(create.send(panel, site))).message


@pytest.mark.usefixtures("no_backoff")
async def test_outcome_is_unknown_when_panel_shows_no_time(server: RawServer, connect: Connect) -> None:
    row = {"id": "d1", "domain": "new.example", "user_id": "u1", "created_at": "2024-03-07T16:00:00Z"}
    server.script(CLOSE, reply(json=[row]), reply(json=[row]))
    error = await unknown(connect().domains.create(domain="new.example", user_id="u1"))
    assert error.message.endswith("exists, but the replies of the panel do not show its time")


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ({"email": "other@example.com"}, "its email is 'other@example.com', not 'beech@example.com'"),
        ({"role": "RESELLER"}, None),
    ],
)
async def test_new_object_that_differs_is_not_returned(
    box: Sandbox, panel: PanelicaClient, site: Domain, other: dict[str, Any], difference: str | None
) -> None:
    """Two programs create the same user name at the same moment: one succeeds, and the reply to the other is lost."""
    fields = {"email": "beech@example.com", "password": "battery staple 1", **other}
    await panel.accounts.create(username="beech", **fields)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(BY_NAME["accounts.create"].send(panel, site))
    assert error.message.endswith(difference or "a search found nothing, but it may still appear")


@pytest.mark.usefixtures("no_backoff")
async def test_domain_of_another_account_is_not_returned(box: Sandbox, panel: PanelicaClient, site: Domain) -> None:
    other = await panel.accounts.create(username="other", email="other@example.com", password=PASSWORD)
    await panel.domains.create(domain="new.example", user_id=other.id)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(panel.domains.create(domain="New.Example", user_id=str(site.user_id)))
    assert f"its user_id is '{other.id}', not '{site.user_id}'" in error.message


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("role", ["ADMIN", "RESELLER"])
async def test_administrator_is_never_mistaken_for_a_user(
    box: Sandbox, panel: PanelicaClient, site: Domain, role: Any
) -> None:
    """The list of accounts holds administrators too (evidence: accounts-list)."""
    await panel.accounts.create(username="chief", email="chief@example.com", password=PASSWORD, role=role)
    async with lossy_client(box, NOT_DONE) as panel:
        for username, email in (("chief", "chief@example.com"), ("root", "root@server1.example.com")):
            error = await unknown(panel.accounts.create(username=username, email=email, password=PASSWORD))
            assert "a search found nothing" in error.message


@pytest.mark.usefixtures("no_backoff")
async def test_administrator_is_returned_when_requested(box: Sandbox, site: Domain) -> None:
    async with lossy_client(box, DONE) as panel:
        made = await panel.accounts.create(
            username="chief", email="chief@example.com", password=PASSWORD, role="RESELLER"
        )
    assert made.role == "RESELLER"


@pytest.mark.usefixtures("no_backoff")
async def test_several_objects_of_one_name_leave_outcome_unknown(
    box: Sandbox, panel: PanelicaClient, site: Domain
) -> None:
    for kind in ("mysql", "postgresql"):
        await panel.databases.create(name="shop", type=kind, domain_id=site.id)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(panel.databases.create(name="shop", domain_id=site.id))
    assert error.message.endswith("; 2 objects of that name exist")


@pytest.mark.usefixtures("no_backoff")
async def test_only_candidate_that_fits_is_returned(box: Sandbox, panel: PanelicaClient, site: Domain) -> None:
    await panel.databases.create(name="shop", type="postgresql", domain_id=site.id)
    async with lossy_client(box, DONE) as panel:
        made = await panel.databases.create(name="shop", type="mysql", domain_id=site.id)
    assert made.type == "mysql"


@pytest.mark.usefixtures("no_backoff")
async def test_record_that_differs_is_not_returned(box: Sandbox, panel: PanelicaClient, site: Domain) -> None:
    await panel.dns.records.create(site.id, name="www", type="A", content="192.0.2.1", ttl=300)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(BY_NAME["dns.records.create"].send(panel, site))
    assert error.message.endswith("; an object of that name exists, but its ttl is 300, not 60")


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize(
    ("operation", "hidden", "uncertainty"),
    [
        ("accounts.create", {"created_at"}, "its password cannot be compared"),
        ("email.accounts.create", {"created_at"}, "its password cannot be compared"),
        ("ftp.accounts.create", {"created_at"}, "its password cannot be compared"),
        ("domains.create", {"created_at"}, None),
        ("domains.create", {"created_at", "php_version"}, "the panel does not show its php_version"),
        ("dns.records.create", {"ttl"}, "the panel does not show its ttl"),
        ("plans.create", {"php_versions"}, "the panel does not show its php_versions"),
        ("ssl.certificates.issue", {"created_at"}, None),
        ("ssl.certificates.issue", {"domain_id"}, "the panel does not show its domain_id"),
        ("databases.create", {"domain_id"}, "the panel does not show its domain_id"),
    ],
)
async def test_hidden_field_leaves_outcome_unknown(
    box: Sandbox, site: Domain, operation: str, hidden: set[str], uncertainty: str | None
) -> None:
    create = BY_NAME[operation]
    async with lossy_client(box, DONE, without(*hidden)) as panel:
        if uncertainty is None:
            assert await create.send(panel, site)
            return
        error = await unknown(create.send(panel, site))
    assert error.message.endswith(f"; an object of that name exists, but it may belong to another call: {uncertainty}")
    assert create.count(box, site) == 1


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("operation", ["databases.create", "ftp.accounts.create"])
async def test_name_with_the_owners_prefix_matches(box: Sandbox, site: Domain, operation: str) -> None:
    create = BY_NAME[operation]
    async with lossy_client(box, DONE, with_prefix("ACME_")) as panel:
        made = await create.send(panel, site)
    assert (getattr(made, "username", None) or made.name).startswith("ACME_")


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("operation", ["databases.create", "ftp.accounts.create"])
@pytest.mark.parametrize(("prefix", "is_seen"), [("other_", True), ("my_", True), ("acme", False), ("acme-", False)])
async def test_name_with_another_prefix_does_not_match(
    box: Sandbox, site: Domain, operation: str, prefix: str, is_seen: bool
) -> None:
    """Another program creates `my_shop` and `shop` at the same time."""
    create = BY_NAME[operation]
    async with lossy_client(box, DONE, with_prefix(prefix)) as panel:
        error = await unknown(create.send(panel, site))
    assert error.message.endswith(f"its name begins with {prefix}" if is_seen else "but it may still appear")


@pytest.mark.usefixtures("no_backoff")
async def test_name_with_prefix_of_other_account_does_not_match(
    box: Sandbox, panel: PanelicaClient, site: Domain
) -> None:
    """A launch gives every site its FTP user `web`, some of them in the same second."""
    other = await panel.accounts.create(username="other", email="other@example.com", password=PASSWORD)
    domain = await panel.domains.create(domain="other.example", user_id=other.id)
    await panel.ftp.accounts.create(username="other_web", domain_id=domain.id, password=PASSWORD)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(panel.ftp.accounts.create(username="web", domain_id=site.id, password=PASSWORD))
    assert f"an object of that name exists, but its domain_id is '{domain.id}'" in error.message


@pytest.mark.usefixtures("no_backoff")
async def test_outcome_is_unknown_when_key_may_not_read_owner(box: Sandbox, site: Domain) -> None:
    key = box.add_key(scopes=["databases:*"], tier="enterprise")
    async with lossy_client(box, DONE, with_prefix("acme_"), api_key=key.api_key, api_secret=key.api_secret) as panel:
        error = await unknown(BY_NAME["databases.create"].send(panel, site))
    assert "; looking for it failed: " in error.message
    assert isinstance(error.__cause__, MissingScopeError)


@pytest.mark.usefixtures("no_backoff")
async def test_outcome_is_unknown_when_key_may_not_read_list(box: Sandbox, site: Domain) -> None:
    key = box.add_key(scopes=["domains:write"], tier="enterprise")
    async with lossy_client(box, DONE, api_key=key.api_key, api_secret=key.api_secret) as panel:
        error = await unknown(BY_NAME["domains.create"].send(panel, site))
    assert "; looking for it failed: " in error.message
    assert isinstance(error.__cause__, MissingScopeError)
    assert error.__cause__.required_scope == "domains:read"


@pytest.mark.usefixtures("no_backoff")
async def test_paged_list_is_read_to_its_end(box: Sandbox, panel: PanelicaClient, site: Domain) -> None:
    for number in range(30):
        await panel.domains.create(domain=f"site{number}.example", user_id=str(site.user_id))

    def paged(rows: list[dict[str, Any]]) -> object:
        """Twenty-five to a page, as the sandbox does when a page is requested."""
        return {"data": rows[:25], "total": len(rows), "page": 1, "limit": 25} if len(rows) > 25 else rows

    async with LossyPanel(box, DONE, paged) as proxy, proxy.client() as panel:
        made = await BY_NAME["domains.create"].send(panel, site)
    assert made.domain == "new.example"
    # The last page has no total.
    assert proxy.seen == ["POST /v1/domains", "GET /v1/domains", "GET /v1/domains", "GET /v1/domains"]


@pytest.mark.usefixtures("no_backoff")
async def test_look_up_can_be_switched_off(box: Sandbox, site: Domain) -> None:
    async with LossyPanel(box, DONE) as proxy, proxy.client() as panel:
        error = await unknown(BY_NAME["domains.create"].send(panel.with_options(look_up_lost=False), site))
    assert proxy.seen == ["POST /v1/domains"]
    assert error.hint == "Check whether the change was made before you send it again."


@pytest.mark.usefixtures("no_backoff")
async def test_look_up_is_skipped_when_deadline_is_near(
    box: Sandbox, site: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "waits", Waits(first_retry=0.0, settle=2.0))
    async with LossyPanel(box, DONE) as proxy, proxy.client(deadline=1.9) as panel:
        error = await unknown(BY_NAME["domains.create"].send(panel, site))
    assert proxy.seen == ["POST /v1/domains"]
    assert "the deadline passed" not in error.message


SITE = Domain(id="d1", domain="acme.example", user_id="u1")


class SlowPages(LossyPanel):
    """Has a thousand domains, twenty-five on a page, and takes three seconds for each."""

    async def serve(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            return await super().serve(request)
        await asyncio.sleep(3)
        number = int(request.query.get("page", 1))
        rows = [{"id": f"d{number}-{row}", "domain": f"site{number}-{row}.example"} for row in range(25)]
        return web.json_response({"data": rows, "total": 1000, "page": number, "limit": 25})


def test_look_up_ends_at_the_deadline_of_the_call() -> None:
    """Each page arrives in time, but all of them together do not."""

    async def main() -> None:
        async with Sandbox() as box, SlowPages(box, NOT_DONE) as proxy, proxy.client(deadline=10) as panel:
            began = now()
            error = await unknown(BY_NAME["domains.create"].send(panel, SITE))
            assert now() - began == pytest.approx(10, abs=0.01)
        assert error.message.endswith("; the deadline passed during the search for it")

    run(main())


class HangingLists(LossyPanel):
    async def serve(self, request: web.Request) -> web.Response:
        return await (super().serve(request) if request.method == "POST" else self.fail(request, Fault.HANGS_BEFORE))


@pytest.mark.parametrize("seconds", [1.0, 3.0])
def test_look_up_when_cancelled_stays_cancelled_and_unknown(seconds: float) -> None:
    """Before the look-up, and in the middle of it."""

    async def main() -> None:
        ended: list[Event] = []
        async with Sandbox() as box, HangingLists(box, NOT_DONE) as proxy, proxy.client() as panel:
            panel.subscribe(ended.append)
            call = asyncio.ensure_future(BY_NAME["domains.create"].send(panel, SITE))
            await asyncio.sleep(seconds)
            call.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await call
        assert isinstance(caught.value.__cause__, OutcomeUnknownError)
        assert caught.value.__cause__.operation == "domains.create"
        [end] = [event for event in ended if isinstance(event, Done) and event.operation == "domains.create"]
        assert end.outcome is Outcome.UNKNOWN

    run(main())


class RefusingFirst(LossyPanel):
    async def serve(self, request: web.Request) -> web.Response:
        if request.method == "POST" and not self.seen:
            self.seen.append("refused")
            date = (await self.forward(request.clone(method="HEAD"))).headers[hdrs.DATE]
            return web.json_response(
                {"error": "Slow down"}, status=429, headers={hdrs.RETRY_AFTER: "30", hdrs.DATE: date}
            )
        return await super().serve(request)


@pytest.mark.parametrize("began", [0.0, 0.25, 0.5, 0.75, 0.999])
@pytest.mark.parametrize("later", [0.001, 0.5, 0.999, 100.0])
def test_times_rounded_down_to_a_second_match(began: float, later: float) -> None:
    """At any fraction of a second of the panel's clock and of the call."""
    create = BY_NAME["domains.create"]

    async def made() -> None:
        async with timed_lossy_panel(LossyPanel, DONE, began) as (_, panel, _, site):
            await asyncio.sleep(later)
            assert (await create.send(panel, site)).domain == "new.example"

    async def not_made() -> None:
        async with timed_lossy_panel(LossyPanel, NOT_DONE, began) as (_, panel, direct, site):
            await create.send(direct, site)
            await asyncio.sleep(later + 2.5)
            assert "before the call" in (await unknown(create.send(panel, site))).message

    run(made())
    run(not_made())


def test_object_made_between_retries_is_not_ours() -> None:
    """Only the attempt with the lost reply can have made the object: the one before was refused."""
    create = BY_NAME["domains.create"]

    async def main() -> None:
        async with timed_lossy_panel(RefusingFirst, NOT_DONE) as (proxy, panel, direct, site):
            call = asyncio.ensure_future(create.send(panel, site))
            await asyncio.sleep(10)
            assert proxy.seen == ["refused"]
            await create.send(direct, site)
            error = await unknown(call)
        assert error.attempts == 2
        assert error.message.endswith("before the call")

    run(main())


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("is_owner_shown", [True, False])
async def test_database_listed_once_per_user_is_one_object(
    server: RawServer, connect: Connect, is_owner_shown: bool
) -> None:
    """Their rows have roles of databases, not of accounts (evidence: databases-list).

    A single domain may lack its owner, which the list of domains shows then.
    """
    row = {"id": "b1", "database_name": "acme_shop", "username": "acme_shop", "role": "dbOwner", "domain_id": "d1"}
    row["created_at"] = "2099-01-01T00:00:00Z"
    other = {**row, "id": "b2", "username": "acme_other"}
    domain, owner = {"id": "d1", "domain_name": "acme.example", "user_id": "u1"}, {"id": "u1", "username": "acme"}
    another = {**domain, "id": "d2", "user_id": "u2"}
    domains = [domain] if is_owner_shown else [{**domain, "user_id": None}, [another, domain]]
    server.script(
        reply(headers={"Date": "Sat, 28 Nov 2026 15:00:00 GMT"}, json={"status": "ok"}),
        CLOSE,
        *[reply(json={"status": "success", "data": data}) for data in ([other, row], *domains, owner)],
    )
    panel = connect(dialect="panel")
    await panel.health()
    made = await panel.databases.create(name="shop", domain_id="d1", username="shop", password=PASSWORD)
    assert (made.id, made.name) == ("b1", "acme_shop")
    assert [request.method for request in server.requests[1:]] == ["POST", *["GET"] * (2 + len(domains))]


@pytest.mark.usefixtures("no_backoff")
async def test_time_without_a_zone_proves_nothing(server: RawServer, connect: Connect) -> None:
    row = {"id": "d1", "domain_name": "new.example", "user_id": "u1", "created_at": "2099-01-01T00:00:00"}
    server.script(
        reply(headers={"Date": "Sat, 28 Nov 2026 15:00:00 GMT"}, json={"status": "ok"}),
        CLOSE,
        reply(json={"status": "success", "data": [row]}),
    )
    panel = connect(dialect="panel")
    await panel.health()
    error = await unknown(panel.domains.create(domain="new.example", user_id="u1", php_version="8.4"))
    assert error.message.endswith("it may belong to another call: the panel does not show its php_version")


@pytest.mark.usefixtures("no_backoff")
async def test_prefix_in_other_fields_is_no_difference(server: RawServer, connect: Connect) -> None:
    row = {"id": "b1", "database_name": "acme_shop", "username": "acme_shop", "role": "dbOwner", "domain_id": "d1"}
    server.script(CLOSE, *[reply(json={"status": "success", "data": [row]})] * 2)
    error = await unknown(
        connect(dialect="panel").databases.create(name="shop", domain_id="d1", username="shop", password=PASSWORD)
    )
    assert error.message.endswith("it may belong to another call: its password cannot be compared")


@pytest.mark.usefixtures("no_backoff")
async def test_certificates_without_a_list_are_not_looked_up(server: RawServer, connect: Connect) -> None:
    """Current panels have no list of certificates (evidence: ssl-by-domain)."""
    server.script(CLOSE)
    error = await unknown(connect(dialect="panel").ssl.certificates.issue(domain_id="d1"))
    assert error.operation == "ssl.certificates.issue"
    assert len(server.requests) == 1


@pytest.mark.usefixtures("no_backoff")
async def test_mailbox_with_a_longer_name_differs(box: Sandbox, panel: PanelicaClient, site: Domain) -> None:
    await panel.email.accounts.create(local_part="info2", domain_id=site.id, password=PASSWORD)
    async with lossy_client(box, NOT_DONE) as panel:
        error = await unknown(BY_NAME["email.accounts.create"].send(panel, site))
    assert "a search found nothing" in error.message


@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("role", ["root", "admin", "Reseller"])
async def test_roles_are_compared_in_any_case(server: RawServer, connect: Connect, role: str) -> None:
    row = {"id": "u1", "username": "beech", "email": "beech@example.com", "role": role}
    server.script(CLOSE, *[reply(json=[row])] * 2)
    error = await unknown(connect().accounts.create(username="beech", email="beech@example.com", password=PASSWORD))
    assert error.message.endswith("a search found nothing, but it may still appear")


@pytest.mark.usefixtures("no_backoff")
async def test_masked_secret_does_not_prevent_a_match(server: RawServer, connect: Connect) -> None:
    row = {"id": "w1", "name": "Gold", "max_domains": 5}
    create = SentCreate(
        key=PLANS_CREATE.natural_key,
        wire=PLANS_LIST.wire,
        arguments={"name": "Gold", "token": "abc"},
        sent_at=now(),
        clock=PanelClock(),
    )
    shown = attrs.make_class("Row", ["id", "name", "token", "extra"])(id="w1", name=row["name"], token="***", extra={})
    assert create.contradiction(shown) is None


def test_reprs_of_a_look_up_hide_the_arguments() -> None:
    assert PASSWORD not in repr(PreparedRequest(method="GET", path="/v1/domains", query=f"password={PASSWORD}"))
    assert PASSWORD not in repr(Envelope({"password": PASSWORD}))
