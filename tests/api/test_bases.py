"""Waits for what a panel does in the background, in virtual time; links that sign in."""

import asyncio
from collections.abc import Awaitable, Callable
from math import nan
from typing import Any
from uuid import UUID

import pytest

from panelica_async import DecodeError, PanelicaClient, RequestTimeoutError, ServerError
from panelica_async.api.bases import wait_until
from panelica_async.models.backups import BackupStatus
from panelica_async.models.ssl import Certificate, CertificateStatus
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply
from tests.support.virtual_time import run


def wait(*results: Any, deadline: float = 600.0) -> tuple[Any, list[float], list[tuple[Any, float]]]:
    """Wait for "done" among results; return the last, when each read began, and the progress."""
    left, times, progress = list(results), list[float](), list[tuple[Any, float]]()

    async def main() -> Any:
        began = asyncio.get_running_loop().time()

        async def read() -> Any:
            times.append(round(asyncio.get_running_loop().time() - began, 1))
            result = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(result, Exception):
                raise result
            return result

        return await wait_until(
            read,
            lambda found: found == "done",
            deadline=deadline,
            on_progress=lambda found, seconds: progress.append((found, round(seconds, 1))),
        )

    return run(main()), times, progress


def test_intervals_grow_up_to_half_a_minute() -> None:
    _, times, progress = wait(*["working"] * 12, "done")
    expected = [0.0, 2.0, 5.0, 9.5, 16.25, 26.4, 41.6, 64.4, 94.4, 124.4, 154.4, 184.4, 214.4]
    assert times == pytest.approx(expected, abs=0.2)
    assert progress == [*(("working", at) for at in times[:-1]), ("done", times[-1])]


def test_ten_minutes_take_few_reads() -> None:
    reads = list[str]()

    async def read() -> str:
        reads.append("working")
        return reads[-1]

    with pytest.raises(RequestTimeoutError, match="the work is not done after 600 s"):
        run(wait_until(read, lambda _: False, deadline=600.0))
    assert len(reads) <= 27


def test_last_read_is_made_at_the_deadline() -> None:
    result, times, _ = wait("working", "working", "working", "done", deadline=7.0)
    assert (result, times) == ("done", [0.0, 2.0, 5.0, 7.0])


def test_read_is_repeated_while_panel_is_down() -> None:
    down = ServerError("down", status=502)
    result, times, progress = wait(down, down, "done")
    assert (result, times, progress) == ("done", [0.0, 2.0, 5.0], [("done", 5.0)])
    with pytest.raises(RequestTimeoutError) as caught:
        wait(down, deadline=60.0)
    assert caught.value.__cause__ is down


def test_other_failures_end_the_wait() -> None:
    with pytest.raises(KeyError):
        wait(KeyError("gone"))


@pytest.mark.parametrize("deadline", [nan, None, "60"])
def test_deadline_that_is_no_number_is_refused(deadline: Any) -> None:
    with pytest.raises(ValueError, match=f"deadline must be a number of seconds, not {deadline!r}"):
        wait("working", deadline=deadline)


@pytest.mark.parametrize("name", ["is_done", "on_progress"])
def test_read_that_is_no_coroutine_function_is_refused(name: str) -> None:
    async def read() -> str:
        return "working"

    async def later(*_: object) -> bool:
        return False

    arguments: Any = {"is_done": lambda _: True, name: later}
    with pytest.raises(TypeError, match=f"{name} must be a plain function, not a coroutine function"):
        run(wait_until(read, deadline=60, **arguments))


def test_read_that_hangs_ends_at_the_deadline() -> None:
    async def main() -> float:
        clock = asyncio.get_running_loop().time
        began = clock()
        with pytest.raises(RequestTimeoutError):
            await wait_until(asyncio.Event().wait, bool, deadline=50.0)
        return clock() - began

    assert run(main()) == pytest.approx(50.0, abs=0.1)


Use = Callable[[PanelicaClient], Awaitable[Any]]


def use(dialect: Any, use: Use, *steps: Any) -> tuple[Any, list[str]]:
    """Return the result of a use of the client, and the requests it made."""

    async def main() -> tuple[Any, list[str]]:
        async with RawServer() as server:
            server.script(*steps)
            async with PanelicaClient(
                server.origin, api_key="pk_test_1", api_secret="sk_test_1", tier="enterprise", dialect=dialect
            ) as panel:
                return await use(panel), [request.target for request in server.requests]

    return run(main())


def test_certificate_in_panel_dialect_is_read_by_its_domain() -> None:
    steps = [
        reply(json={"status": "success", "data": {"has_ssl": has, "domain_name": "example.com"}})
        for has in (False, True)
    ]
    certificate, targets = use("panel", lambda panel: panel.ssl.certificates.wait("d1"), *steps)
    assert (certificate.domain_id, certificate.domain, certificate.status) == (
        "d1",
        "example.com",
        CertificateStatus.ACTIVE,
    )
    assert targets == ["/api/external/v1/ssl/domains/d1"] * 2


def test_certificate_in_reference_dialect_is_found_in_its_list() -> None:
    def listed(status: str) -> Any:
        return reply(json={"data": [{"id": "c1", "domain_id": "d1", "status": status}], "total": 1})

    certificate, targets = use(
        "reference", lambda panel: panel.ssl.certificates.wait("d1"), listed("pending"), listed("failed")
    )
    assert certificate == Certificate(id="c1", domain_id="d1", status=CertificateStatus.FAILED)
    assert len(targets) == 2


def test_certificate_is_found_by_the_uuid_of_its_domain() -> None:
    domain_id = UUID(int=5)
    listed = reply(json={"data": [{"id": "c1", "domain_id": str(domain_id), "status": "active"}], "total": 1})
    certificate, _ = use("reference", lambda panel: panel.ssl.certificates.wait(domain_id), listed)  # type: ignore[arg-type]
    assert certificate.id == "c1"


@pytest.mark.parametrize(("domain_id", "kind"), [("", ValueError), (None, TypeError), ([], TypeError)])
def test_wait_for_certificate_without_a_domain_is_refused(domain_id: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="domain_id must"):
        use("reference", lambda panel: panel.ssl.certificates.wait(domain_id))


def test_backup_is_found_by_its_file_when_it_appears() -> None:
    def listed(*rows: dict[str, Any]) -> Any:
        return reply(json={"status": "success", "data": list(rows)})

    row = {"backup_id": "b1", "filename": "mine.tar.gz"}
    backup, _ = use(
        "panel",
        lambda panel: panel.backups.wait("mine.tar.gz"),
        listed(),
        listed({**row, "status": "running"}),
        listed({**row, "status": "completed"}),
    )
    assert (backup.filename, backup.status) == ("mine.tar.gz", BackupStatus.COMPLETED)


def test_backup_is_found_by_its_uuid() -> None:
    backup_id = UUID(int=5)
    listed = reply(json={"data": [{"id": str(backup_id), "name": "nightly", "status": "completed"}], "total": 1})
    backup, _ = use("reference", lambda panel: panel.backups.wait(backup_id), listed)  # type: ignore[arg-type]
    assert backup.name == "nightly"


@pytest.mark.parametrize("shown", [{"backup_id": "b2"}, {"id": "b2"}, {"filename": "nightly_2.tar.gz"}])
def test_new_backup_is_found_and_no_older_one(shown: dict[str, str]) -> None:
    def row(number: int, status: str) -> dict[str, str]:
        names = {"backup_id": f"b{number}", "filename": f"nightly_{number}.tar.gz", "backup_name": f"nightly_{number}"}
        return {**names, "status": status, "created_at": f"2026-03-0{number}T02:00:00Z"}

    def listed(*rows: dict[str, str]) -> Any:
        return reply(json={"status": "success", "data": list(rows)})

    async def create(panel: PanelicaClient) -> Any:
        made = await panel.backups.create(name="nightly", domain_ids=["d1"])
        return made, await panel.backups.wait(made)

    old = row(1, "completed")
    looked_up = [] if "filename" in shown else [listed(old)]
    steps = [reply(status=201, json={"status": "success", "data": shown}), *looked_up]
    (made, backup), _ = use("panel", create, *steps, listed(old), listed(old, row(2, "completed")))
    assert made.id == shown.get("filename", "")
    assert backup.id == "nightly_2.tar.gz"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("site", "b"), ("site-x", "c"), ("site_2026-03-01_02:00", "a"), ("b1", "a"), ("site-x-7", "d")],
)
def test_backup_is_found_by_its_name_and_a_timestamp(name: str, expected: str) -> None:
    names = ["site_2026-03-01_02:00", "site_2026-03-02_02:00", "site-x-2026", "site-x-7"]
    rows = [
        {"filename": file, "backup_name": name, "backup_id": f"b{day}", "created_at": f"2026-03-0{day}T02:00:00Z"}
        for day, (file, name) in enumerate(zip("abcd", names, strict=True), 1)
    ]
    rows[3]["created_at"] = ""
    backup, _ = use("panel", lambda panel: panel.backups.wait(name), reply(json={"data": rows}))
    assert backup.id == expected


def test_backup_without_id_and_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^backup must be what create returned, an id or a name"):
        use("panel", lambda panel: panel.backups.wait(""))


def test_timeout_names_the_backup_that_never_appeared() -> None:
    empty = reply(json={"status": "success", "data": []})
    with pytest.raises(RequestTimeoutError, match="the backup b9 is not done after 60 s"):
        use("panel", lambda panel: panel.backups.wait("b9", deadline=60.0), *[empty] * 20)


async def test_private_host_in_a_link_is_replaced(server: RawServer, connect: Connect) -> None:
    link = "https://10.0.0.12:8443/auto-login?token=a%2Bb&redirect=%2Fdocker"
    server.script(reply(json={"status": "success", "data": {"url": link, "expires_in": 300}}))
    login = await connect(dialect="panel").accounts.sso_login("u1")
    assert login.url == "https://127.0.0.1:8443/auto-login?token=a%2Bb&redirect=%2Fdocker"
    assert login.expires_in == 300
    assert "token" not in repr(login)
    assert server.requests[0].target == "/api/external/v1/accounts/u1/sso-login"


@pytest.mark.parametrize(
    "link",
    [
        "http://panel.example.com:8443/auto-login?token=secret-token",
        "javascript:alert('secret-token')",
        "//panel.example.com/auto-login?token=secret-token",
        "https:///auto-login?token=secret-token",
        "https://[::1/auto-login?token=secret-token",
        "",
    ],
)
async def test_link_that_is_not_https_is_refused(server: RawServer, connect: Connect, link: str) -> None:
    server.script(reply(json={"status": "success", "data": {"login_url": link}}))
    with pytest.raises(DecodeError, match="the panel accepted the request, but the link") as caught:
        await connect(dialect="panel").accounts.sso_login("u1")
    assert "secret-token" not in f"{caught.value}{caught.value!r}{caught.value.__dict__}"
