"""Every example runs."""

import runpy
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from panelica_async import PanelicaClient
from panelica_async.sandbox import Sandbox

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
async def box(monkeypatch: pytest.MonkeyPatch):
    async with Sandbox(tier="enterprise") as box:
        monkeypatch.setenv("PANELICA_BASE_URL", box.base_url)
        monkeypatch.setenv("PANELICA_API_KEY", box.api_key)
        monkeypatch.setenv("PANELICA_API_SECRET", box.api_secret)
        yield box


async def test_web_backend_shows_a_domain(box: Sandbox) -> None:
    async with PanelicaClient() as panel:
        account = await panel.accounts.create(username="acme", email="acme@example.com", password="correct horse 9")
        domain = await panel.domains.create(domain="acme.example", user_id=account.id)
    application = runpy.run_path(str(EXAMPLES / "web_backend.py"))["application"]()
    async with TestClient(TestServer(application)) as visitor:
        found = await visitor.get(f"/domains/{domain.id}")
        assert found.status == 200
        assert await found.json() == {"domain": "acme.example", "status": "active", "disk_usage_mb": 0}
        assert (await visitor.get("/domains/no-such-id")).status == 404


def test_every_example_is_tested_somewhere() -> None:
    tests = "".join(path.read_text(encoding="utf-8") for path in (EXAMPLES.parent / "tests").glob("**/*.py"))
    for example in EXAMPLES.iterdir():
        assert example.name in tests, example.name
