"""The escape hatch reads a request id wherever the panel puts it, and takes any mapping as its query."""

from types import MappingProxyType
from typing import Any

import pytest

from panelica_async import PanelicaClient
from tests.conftest import Connect
from tests.support.raw_server import RawServer, reply


async def test_request_id_in_the_body_is_read(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": {}, "request_id": "req_1"}))
    assert (await connect().request("GET", "/v1/search", query=MappingProxyType({"q": "acme"}))).request_id == "req_1"


async def test_method_that_is_no_string_is_refused() -> None:
    nothing: Any = None
    async with PanelicaClient("panel.example.com", api_key="pk_x", api_secret="sk_x") as panel:
        with pytest.raises(ValueError, match=r"method must be one of GET, .*, not None"):
            await panel.request(nothing, "/v1/domains")
