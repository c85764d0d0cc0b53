"""Every example runs, and the pages that quote one quote it as it is."""

import asyncio
import json
import re
import runpy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

import panelica_async
from panelica_async import PanelicaClient, PanelicaError, ResponseError
from panelica_async.api import bases
from panelica_async.models import BackupStatus
from panelica_async.provision import ManifestError
from panelica_async.sandbox import Fault, Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCS = EXAMPLES.parent / "docs"
SERVICES = (DOCS / "services.md").read_text("utf-8")
STATUSES = [
    (name, status)
    for names, status in re.findall(r"^\| (`\w+Error`.*?) \| (.+?) \|", SERVICES, re.MULTILINE)
    for name in re.findall(r"\w+Error", names)
]


@pytest.fixture(params=["reference", "panel"])
async def box(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    async with Sandbox(tier="enterprise", dialect=request.param, thin_replies=True) as box:
        monkeypatch.setenv("PANELICA_BASE_URL", box.base_url)
        monkeypatch.setenv("PANELICA_API_KEY", box.api_key)
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        monkeypatch.setenv("PANELICA_DIALECT", "auto")
        yield box


async def test_web_backend_shows_a_domain(box: Sandbox) -> None:
    async with PanelicaClient() as panel:
        account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
        domain = await panel.domains.create(domain="acme.example", user_id=account.id)
    application = runpy.run_path(str(EXAMPLES / "web_backend.py"))["application"]()
    async with TestClient(TestServer(application)) as visitor:
        found = await visitor.get(f"/domains/{domain.id}")
        assert found.status == 200
        shown = await found.json()
        assert not shown.pop("disk_usage_mb")  # 0, or null on current panels, which do not show it
        assert shown == {"domain": "acme.example", "status": "active"}
        assert (await visitor.get("/domains/no-such-id")).status == 404


async def test_fastapi_backend_answers(box: Sandbox) -> None:
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    async with PanelicaClient() as panel:
        account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
        domain = await panel.domains.create(domain="acme.example", user_id=account.id)
    app = runpy.run_path(str(EXAMPLES / "fastapi_backend.py"))["app"]
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service.example") as visitor,
    ):
        found = (await visitor.get(f"/sites/{domain.id}")).json()
        assert found["domain"] == "acme.example"
        assert found["created_at"].endswith("Z")
        assert (await visitor.get("/sites")).json()["items"] == [found]
        started = await visitor.post(f"/sites/{domain.id}/backups")
        assert started.status_code == 202
        assert (await visitor.get(f"/backups/{started.json()['name']}")).json()["status"] == "pending"
        assert (await visitor.get("/backups/none")).status_code == 404
        missing = await visitor.get("/sites/none")
        assert missing.status_code == 404
        assert missing.json().keys() == {"detail"}
        await box.stop()
        gone = await visitor.get(f"/sites/{domain.id}")
        assert gone.status_code == 502
        assert "127.0.0.1" not in gone.text


@pytest.mark.parametrize(("name", "status"), STATUSES)
def test_statuses_of_errors_are_those_of_the_table(name: str, status: str) -> None:
    pytest.importorskip("fastapi")
    kind = ManifestError if name == "ManifestError" else getattr(panelica_async, name)
    error = kind.__new__(kind)
    if issubclass(kind, ResponseError):
        error.status = 404
    http_status = runpy.run_path(str(EXAMPLES / "fastapi_backend.py"))["http_status"]
    assert f"{http_status(error)}" in status


def test_every_error_has_a_row_in_the_table() -> None:
    told = {name for name, _ in STATUSES}
    assert {name for name in panelica_async.__all__ if name.endswith("Error")} - told == {
        PanelicaError.__name__,
        ResponseError.__name__,
    }


async def test_waiting_for_a_backup_takes_few_calls(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    virtual = {"sleep": sleep, "timeout_at": asyncio.timeout_at, "get_running_loop": asyncio.get_running_loop}
    program = runpy.run_path(str(EXAMPLES / "wait_for_backup.py"))
    async with Sandbox(tier="enterprise", clock=lambda: time.time() + sum(slept)) as box:
        for name in ("base_url", "api_key", "api_secret"):
            monkeypatch.setenv(f"PANELICA_{name.upper()}", getattr(box, name))
        async with PanelicaClient() as panel:
            account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
            domain = await panel.domains.create(domain="acme.example", user_id=account.id)
        monkeypatch.setattr(bases, "asyncio", SimpleNamespace(**virtual))
        await program["main"](domain.id)
        reads = [request for request in box.requests if request.operation == "backups.list"]
    assert json.loads(capsys.readouterr().out)["status"] == BackupStatus.COMPLETED
    assert slept == [2.0, 3.0, 4.5, 6.75]
    assert len(reads) == 5


async def test_backup_of_a_lost_reply_is_found_and_started_once(box: Sandbox) -> None:
    async def no_sleep(_: float) -> None: ...

    program: dict[str, Any] = {}
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "write-safety.md").read_text("utf-8"), re.DOTALL)
    exec(code.removesuffix("asyncio.run(main())\n"), program)
    program["asyncio"] = SimpleNamespace(sleep=no_sleep)
    async with PanelicaClient() as panel:
        account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
        domain = await panel.domains.create(domain="acme.example", user_id=account.id)
        box.faults.add(Fault.LOST_REPLY, method="POST", path="/v1/backups")
        started = await program["back_up"](panel, domain.id, "before-the-upgrade")
        assert [backup.id for backup in await panel.backups.list().collect()] == [started]


def test_pages_quote_examples_as_they_are() -> None:
    code = "".join((EXAMPLES / name).read_text("utf-8") for name in ("fastapi_backend.py", "wait_for_backup.py"))
    quoted = re.findall(r"```py\n(.*?)```", SERVICES, re.DOTALL)
    assert len(quoted) == 2
    for fragment in quoted:
        for part in fragment.strip().split("\n\n\n"):
            assert part in code


def test_every_example_is_tested_somewhere() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (EXAMPLES.parent / "tests").glob("**/*.py"))
    for example in EXAMPLES.iterdir():
        assert example.name in tests, example.name
