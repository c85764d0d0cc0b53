"""The client in unit tests, subclasses and web backends."""

import copy
import json
import pickle
import subprocess
import sys
from typing import Any
from unittest.mock import AsyncMock, create_autospec

import orjson
import pytest

from panelica_async import PanelicaClient
from panelica_async.core.converter import decode
from panelica_async.models import ApiKey, CreatedApiKey, ServerStatus
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply

ROW = {
    "id": "d1",
    "domain": "example.com",
    "status": "active",
    "disk_usage_mb": 12.5,
    "created_at": "2026-03-07T12:00:00+00:00",
    "shiny": {"a": [1]},
}


async def test_autospec_rejects_names_the_client_lacks() -> None:
    for double in (create_autospec(PanelicaClient, instance=True), create_autospec(PanelicaClient)):
        double.domains.get.return_value = "found"
        assert await double.domains.get("d1") == "found"
        double.dns.records.create.return_value = "made"
        assert await double.dns.records.create("d1", name="www", type="A", content="192.0.2.1") == "made"
        with pytest.raises(AttributeError, match="gett"):
            double.domains.gett("d1")
        with pytest.raises(TypeError, match="missing a required argument: 'id'"):
            double.domains.get()


async def test_async_mock_of_the_client_can_be_awaited(connect: Connect) -> None:
    for spec in (PanelicaClient, connect()):
        double = AsyncMock(spec=spec)
        double.domains.get.return_value = "found"
        assert await double.domains.get("d1") == "found"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
async def test_copying_a_client_raises(connect: Connect, duplicate: Any) -> None:
    with pytest.raises(TypeError, match="Create a client in each process"):
        duplicate(connect())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, pickle.dumps])
async def test_copying_what_makes_calls_raises(connect: Connect, duplicate: Any) -> None:
    panel = connect()
    for part in (panel.domains, panel.domains.get, panel.domains.list(), panel.spec):
        with pytest.raises(TypeError, match="Create a client in each process"):
            duplicate(part)


async def test_variants_keep_attributes_of_a_subclass(server: RawServer) -> None:
    class TenantClient(PanelicaClient):
        tenant = ""

    async with TenantClient(server.origin, api_key="pk_live_a1b2c3d4", api_secret="sk_live_a1b2c3d4") as panel:
        panel.tenant = "acme"
        domains = panel.domains
        variant = panel.with_options(timeout=5)
        assert (type(variant), variant.tenant) == (TenantClient, "acme")
        assert variant.domains is not domains
        assert panel.domains is domains


async def test_variants_keep_slots_of_a_subclass() -> None:
    class TenantClient(PanelicaClient):
        __slots__ = ("region", "tenant")

    panel = TenantClient("panel.example.com", api_key="pk_live_a1b2c3d4", api_secret="sk_live_a1b2c3d4")
    panel.tenant = "acme"
    variant = panel.with_options(timeout=5)
    assert variant.tenant == "acme"
    assert not hasattr(variant, "region")


async def test_page_survives_a_trip_through_json(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": [ROW], "total": 1}))
    page = await connect().domains.list(limit=5)
    data = page.to_dict()
    assert json.loads(json.dumps(data)) == json.loads(orjson.dumps(data)) == json.loads(page.to_json()) == data
    assert (data["total"], data["page"], data["limit"]) == (1, 1, 5)
    [domain] = data["items"]
    assert domain == page.items[0].to_dict() == json.loads(page.items[0].to_json())
    assert (domain["domain"], domain["status"], domain["created_at"]) == (
        "example.com",
        "active",
        "2026-03-07T12:00:00Z",
    )
    assert (domain["disk_usage_mb"], domain["user_id"], domain["shiny"]) == (12, None, {"a": [1]})
    assert type(domain["status"]) is str


def test_to_dict_includes_nested_objects_and_secrets() -> None:
    status = decode({"cpu": {"cores": 4, "load": 1}, "load_average": [1]}, ServerStatus, endpoint="")
    assert status.to_dict()["cpu"] == {"model": None, "cores": 4, "usage_percent": None, "load": 1}
    assert status.to_dict()["load_average"] == [1.0]
    created = CreatedApiKey(id="k1", api_key="pk_live_shown", api_secret="sk_live_shown")
    assert created.to_dict()["api_secret"] == "sk_live_shown"
    assert ApiKey(id="k1", name="key", scopes=["*:*"]).to_dict()["scopes"] == ["*:*"]


def test_sandbox_without_its_extra_says_what_to_install() -> None:
    program = "import sys; sys.modules['jsonschema'] = None; import panelica_async.sandbox"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert 'panelica_async.sandbox needs jsonschema: pip install "panelica_async[sandbox]"' in ended.stderr
