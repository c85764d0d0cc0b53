"""Operations that only current panels have: what they send, and what they return."""

import json
from typing import Any

import pytest

from panelica_async import DecodeError, PanelicaClient, ResponseError, UnsupportedOperationError
from panelica_async.models import CronJob, DiskUsage
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel")


async def test_reference_dialect_refuses_before_sending(server: RawServer, connect: Connect) -> None:
    panel = connect(dialect="reference")
    with pytest.raises(UnsupportedOperationError, match=r"git\.quota is not part of the published reference") as caught:
        await panel.git.quota()
    assert caught.value.operation == "git.quota"
    with pytest.raises(UnsupportedOperationError):
        panel.cron_jobs.list()
    assert not server.requests


async def test_auto_learns_the_dialect_before_the_call(server: RawServer, connect: Connect) -> None:
    server.script(
        reply(json={"status": "ok", "service": "panelica-external-api"}),
        reply(json={"status": "success", "data": {"used": 1}}),
    )
    assert await connect(dialect="auto").git.quota() == {"used": 1}
    assert server.requests[-1].target == "/api/external/v1/git/quota"


async def test_reply_of_known_fields_is_a_model(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success", "data": {"used_mb": 5, "quota_mb": 0, "inodes": 9}}))
    usage = await panel.accounts.disk_usage("u1")
    assert usage == DiskUsage(used_mb=5, quota_mb=0, extra={"inodes": 9})
    assert server.requests[0].target == "/api/external/v1/accounts/u1/disk-usage"


async def test_list_is_read_in_one_request(server: RawServer, panel: PanelicaClient) -> None:
    rows = [{"id": "j1", "minute": "*/5"}, {"id": "j2"}]
    server.script(reply(json={"status": "success", "data": rows}))
    assert await panel.cron_jobs.list().collect() == [CronJob(id="j1", minute="*/5"), CronJob(id="j2")]
    assert len(server.requests) == 1


async def test_list_within_an_object_is_found(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success", "data": {"containers": [{"id": "c1"}]}}))
    [container] = await panel.docker.containers.list().collect()
    assert container.id == "c1"


async def test_create_is_completed_from_the_arguments(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(201, json={"status": "success", "data": {"id": "j1"}}))
    job = await panel.cron_jobs.create(domain_id="d1", task_name="mails", command="php cron.php", nice=5)
    assert (job.id, job.task_name, job.command) == ("j1", "mails", "php cron.php")
    assert json.loads(server.requests[0].body) == {
        "domain_id": "d1",
        "task_name": "mails",
        "command": "php cron.php",
        "nice": 5,
    }


@pytest.mark.parametrize("data", [{"a": 1}, ["x"], "text", 5, None])
async def test_untyped_reply_is_returned_unchanged(server: RawServer, panel: PanelicaClient, data: Any) -> None:
    server.script(reply(json={"status": "success", "data": data}))
    assert await panel.git.repositories.list(page=2, search="a b") == data
    assert server.requests[0].target == "/api/external/v1/git/repositories?page=2&search=a%20b"


async def test_untyped_reply_of_another_type_is_bytes(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(body=b"line 1\n", content_type="text/plain"))
    assert await panel.logs.download_file(path="/var/log/syslog") == b"line 1\n"


async def test_web_page_raises_decode_error(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(body="<html>Sign in</html>", content_type="text/html"))
    with pytest.raises(DecodeError, match="web"):
        await panel.logs.dashboard()


async def test_fields_of_a_write_are_its_body(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "success"}))
    assert await panel.git.repositories.branches.create("r1", name="next", id_of=None) is None
    assert (server.requests[0].method, server.requests[0].target) == (
        "POST",
        "/api/external/v1/git/repositories/r1/branches",
    )
    assert json.loads(server.requests[0].body) == {"name": "next", "id_of": None}


async def test_write_without_fields_sends_an_empty_object(server: RawServer, panel: PanelicaClient) -> None:
    await panel.git.repositories.pull("r1")
    assert server.requests[0].body == b"{}"


async def test_fields_of_a_deletion_are_its_query(server: RawServer, panel: PanelicaClient) -> None:
    await panel.docker.containers.delete("c1", force=True, keep=["a", "b"])
    request = server.requests[0]
    assert (request.target.partition("?")[2], request.body) == ("force=true&keep=a&keep=b", b"")


async def test_write_that_takes_no_fields_sends_no_body(server: RawServer, panel: PanelicaClient) -> None:
    await panel.cron_jobs.toggle("j1")
    assert server.requests[0].body == b""
    with pytest.raises(TypeError):
        await panel.cron_jobs.toggle("j1", reason="spring")  # type: ignore[call-arg]


async def test_field_passed_twice_is_refused(server: RawServer, panel: PanelicaClient) -> None:
    with pytest.raises(TypeError, match="multiple values"):
        await panel.git.repositories.get("r1", id="r2")  # type: ignore[misc]
    with pytest.raises(ValueError, match="nothing to change; pass the fields to change"):
        await panel.cron_jobs.update("j1")
    assert not server.requests


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/html", "application/json"])
async def test_download_is_the_content_of_the_file(server: RawServer, panel: PanelicaClient, content_type: str) -> None:
    content = b'{"data": {"not": "an envelope"}}' if "json" in content_type else b"<html>\x00"
    server.script(reply(body=content, content_type=content_type))
    assert await panel.files.download(user_id="u1", path="/home/john/a") == content


async def test_download_that_fails_with_200_raises(server: RawServer, panel: PanelicaClient) -> None:
    server.script(reply(json={"status": "error", "error": "no such file"}))
    with pytest.raises(ResponseError, match="no such file"):
        await panel.files.download(user_id="u1", path="/home/john/a")
