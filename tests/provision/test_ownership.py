"""Who created an object: the period in which a call can have created it, and objects of others."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from panelica_async.models.databases import Database
from panelica_async.models.dns import DnsRecord
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.ftp import FtpAccount
from panelica_async.provision import Journal, Manifest, State
from panelica_async.provision.objects import steps_of
from panelica_async.provision.objects.snapshot import Snapshot
from panelica_async.provision.ownership import foreign_contents, judge_origin

OWN = {"account:account", "domain:domain", "database:database", "mailbox:mailbox", "ftp_user:ftp", "dns_record:record"}
DOMAIN = Domain(id="domain", domain="alder.example", user_id="account")
DATABASE = Database(id="database", name="shop", type="mysql", domain_id="domain", user_id="account", user_count=1)
[(_, (*_, MAILBOX))] = steps_of(Manifest.from_data([{"domain": "a.example", "owner": "a", "mailboxes": "info"}]))


@pytest.fixture
def journal() -> Iterator[Journal]:
    with Journal.in_memory() as journal:
        journal.begin(
            base_url="https://panel.example.com",
            manifest=Manifest.from_data([{"domain": "a.example", "owner": "a"}]),
            credentials_path=None,
        )
        yield journal


def origin(journal: Journal, created_at: datetime | None, skew: float | None = 0.0) -> State:
    row = EmailAccount(id="m1", email="info@a.example", domain_id="d1", created_at=created_at)
    return judge_origin(MAILBOX, "m1", Snapshot(mailboxes=(row,)), journal.records.sent_between(MAILBOX.id), skew)


@pytest.mark.parametrize("skew", [0, 1200, -1200])
@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-3, State.FOUND),
        (-1, State.DONE),
        (0, State.DONE),
        (115, State.DONE),
        (300, State.UNCERTAIN),
    ],
)
def test_origin_follows_from_the_clock_of_the_panel(journal: Journal, seconds: int, skew: int, expected: State) -> None:
    journal.sent(MAILBOX)
    created_at = journal.records[MAILBOX.id].at + timedelta(seconds=seconds + skew)
    assert origin(journal, created_at, skew) is expected


@pytest.mark.parametrize(("skew", "expected"), [(2.5e11, State.FOUND), (-2.5e11, State.UNCERTAIN)])
def test_origin_with_a_clock_off_by_millennia_is_decided(journal: Journal, skew: float, expected: State) -> None:
    journal.sent(MAILBOX)
    assert origin(journal, datetime.now(UTC), skew) is expected


def test_first_send_counts_not_the_last_note(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        patch.setattr("panelica_async.provision.journal._now", lambda: now - timedelta(hours=1))
        journal.sent(MAILBOX)
    journal.unknown(MAILBOX, "no reply")
    assert origin(journal, now - timedelta(minutes=30)) is State.DONE


@pytest.mark.parametrize("outcomes", [1, 2])
def test_calls_before_a_known_outcome_do_not_count(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, outcomes: int
) -> None:
    now = datetime.now(UTC)
    for hours in range(outcomes, 0, -1):
        with monkeypatch.context() as patch:
            patch.setattr("panelica_async.provision.journal._now", lambda: now - timedelta(hours=hours))  # noqa: B023 - called in the loop
            journal.sent(MAILBOX)
            journal.failed(MAILBOX, "refused")
    journal.sent(MAILBOX)
    assert origin(journal, now - timedelta(minutes=30)) is State.FOUND


def test_time_without_the_clock_of_the_panel_proves_nothing(journal: Journal) -> None:
    journal.sent(MAILBOX)
    assert origin(journal, datetime.now(UTC), None) is State.UNCERTAIN


@pytest.mark.parametrize("skew", [0.0, None])
@pytest.mark.parametrize(("ago", "expected"), [(0, State.DONE), (115, State.DONE), (125, State.UNCERTAIN)])
def test_origin_without_a_time_follows_from_the_look_up(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, skew: float | None, ago: int, expected: State
) -> None:
    now = datetime.now(UTC)
    with monkeypatch.context() as patch:
        patch.setattr("panelica_async.provision.journal._now", lambda: now - timedelta(seconds=ago))
        journal.sent(MAILBOX)
    assert origin(journal, None, skew) is expected


def snapshot(**more: tuple[object, ...]) -> Snapshot:
    """Return the own objects on the panel, and more."""
    rows: dict[str, tuple[object, ...]] = {
        "domains": (DOMAIN,),
        "databases": (DATABASE,),
        "mailboxes": (EmailAccount(id="mailbox", email="info@alder.example", domain_id="domain"),),
        "ftp_users": (FtpAccount(id="ftp", username="deploy", domain_id="domain", user_id="account"),),
    }
    zones = {"domain": (*more.pop("records", ()), DnsRecord(id="record", name="api", type="A", content="192.0.2.1"))}
    return Snapshot(zones=zones, **{name: (*rows[name], *more.get(name, ())) for name in rows})  # type: ignore[arg-type]


def held(found: Snapshot, users: int = 1) -> dict[str, str]:
    return {
        object_id.partition(":")[2]: names
        for object_id, names in foreign_contents(found, OWN, {"database:database": users}).items()
    }


def test_own_objects_are_not_foreign() -> None:
    assert held(snapshot()) == {}


@pytest.mark.parametrize("domain_id", ["domain", None], ids=["in our domain", "in no domain"])
@pytest.mark.parametrize(
    ("listing", "row", "name"),
    [
        ("databases", lambda d: Database(id="x", name="theirs", domain_id=d, user_id="account"), "database theirs"),
        ("ftp_users", lambda d: FtpAccount(id="x", username="them", domain_id=d, user_id="account"), "FTP user them"),
    ],
    ids=["database", "FTP user"],
)
def test_foreign_object_of_an_account_keeps_it(
    listing: str, row: Callable[[str | None], object], name: str, domain_id: str | None
) -> None:
    expected = {"account": name} | ({"domain": name} if domain_id else {})
    assert held(snapshot(**{listing: (row(domain_id),)})) == expected


def test_foreign_mailbox_keeps_its_domain_and_account() -> None:
    found = snapshot(mailboxes=(EmailAccount(id="x", email="boss@alder.example", domain_id="domain"),))
    assert held(found) == {"domain": "mailbox boss@alder.example", "account": "mailbox boss@alder.example"}


def test_foreign_domain_keeps_its_account_only() -> None:
    found = snapshot(domains=(Domain(id="x", domain="beech.example", user_id="account"),))
    assert held(found) == {"account": "domain beech.example"}


def test_contents_of_a_foreign_domain_are_not_named() -> None:
    found = snapshot(
        domains=(Domain(id="x", domain="beech.example", user_id="account"),),
        mailboxes=(EmailAccount(id="y", email="info@beech.example", domain_id="x"),),
    )
    assert held(found)["account"] == "domain beech.example"


@pytest.mark.parametrize(("users", "name"), [(0, "1 database user"), (-1, "2 database users")])
def test_foreign_user_keeps_a_database(users: int, name: str) -> None:
    assert held(snapshot(), users) == {"database": name, "domain": name, "account": name}


@pytest.mark.parametrize("users", [1, 2], ids=["as many", "fewer"])
def test_own_users_do_not_keep_a_database(users: int) -> None:
    assert held(snapshot(), users) == {}


@pytest.mark.parametrize(
    ("name", "kind", "content", "is_foreign"),
    [
        ("shop", "A", "192.0.2.9", True),
        ("shop.alder.example.", "A", "192.0.2.9", True),
        ("api", "AAAA", "2001:db8::1", True),
        ("google", "TXT", "verification", True),
        ("@", "NS", "ns1.panel.example", False),
        ("sub", "NS", "ns1.panel.example", False),
        ("@", "MX", "mail.alder.example", False),
        ("www.alder.example", "A", "192.0.2.1", False),
        ("WWW", "A", "192.0.2.1", False),
        ("default._domainkey", "TXT", "v=DKIM1; p=AAAA", False),
        ("_dmarc", "TXT", "v=DMARC1; p=none", False),
    ],
)
def test_foreign_records_keep_the_domain(name: str, kind: str, content: str, is_foreign: bool) -> None:
    found = snapshot(records=(DnsRecord(id="x", name=name, type=kind, content=content),))
    what = f"DNS record {name} {kind}"
    assert held(found) == ({"domain": what, "account": what} if is_foreign else {})


def test_reason_when_many_objects_are_foreign_counts_them() -> None:
    users = tuple(FtpAccount(id=f"x{n}", username=f"u{n}", domain_id=None, user_id="account") for n in range(5))
    assert held(snapshot(ftp_users=users)) == {"account": "FTP user u0, FTP user u1, FTP user u2 and 2 more"}
