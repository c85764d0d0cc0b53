"""Uses every operation of the API generated from the tiny specification, against a server of its own.

Run and type-checked by test_execute.py, in a copy of the package generated from `golden/spec`.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from panelica_async import PanelicaClient, UnsupportedOperationError
from panelica_async.core.operation import Dialect
from panelica_async.models import Locker, Parcel, ParcelStatus, Priority, Stamp, Street

PARCEL = {
    "parcel_id": "p1",
    "sender": "ada",
    "status": "lost",
    "weight_g": 250,
    "pin": "1234",
    "on": True,
    "scans": [{"at": "2026-03-07T12:00:00Z", "place": None}],
    "destination": {"number": 4},
    "sent_at": None,
    "colour": "red",
}
SCAN = {"id": "s1", "at": "2026-03-07T12:00:00Z"}
REPLIES: dict[str, Any] = {
    "GET /v1/health": {"status": "healthy"},
    "GET /health": {"status": "ok"},
    "GET /v1/rate-limit": {"tier": "professional", "requests_per_minute": 300},
    "GET /v1/search/things?text=a%20b&order=asc&before=2026-03-07T12%3A00%3A00Z": [{"id": "f1"}, {"id": "f2"}],
    "GET /v1/search/things?text=a%20b&order=asc&before=2026-03-07T12%3A00%3A00Z&page=2": [],
    "POST /v1/reindex": None,
    "GET /v1/parcels?status=waiting&status=on&from=ada": [PARCEL],
    "GET /v1/parcels": {"status": "success", "data": [PARCEL]},
    "POST /v1/parcels": PARCEL,
    "PUT /v1/accounts/acme/parcels?remark=fragile": {"status": "success", "data": {"number": "p2"}},
    "PATCH /v1/parcels/p1": PARCEL,
    "DELETE /v1/parcels/p%201": None,
    "POST /v1/parcels/collect": {"message": "on the way"},
    "GET /v1/parcels/p1/route": {"legs": [1, 2]},
    "GET /v1/parcels/p1/scans": {"data": [{"at": "2026-03-07T12:00:00+01:00"}], "total": 1},
    "GET /v1/parcels/p1/scans/s1": {"at": "2026-03-07T12:00:00Z"},
    "GET /v1/parcels/p1/movements": {"status": "success", "data": {"count": 1, "scans": [SCAN]}},
    "GET /v1/scans/s1": {"at": "2026-03-07T12:00:00Z"},
}


class Server:
    """Answers from `REPLIES` and records the requests."""

    def __init__(self) -> None:
        self.signed = False
        self.body: object = None
        self.calls: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        self.signed = "X-Signature" in request.headers
        if text := await request.text():
            self.body = json.loads(text)
        call = f"{request.method} {request.raw_path.removeprefix('/api/external')}"
        self.calls.add(call)
        reply = REPLIES[call]
        return web.Response(status=204) if reply is None else web.json_response(reply)


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def use_the_client(panel: PanelicaClient, server: Server) -> None:
    assert (await panel.health()).status == "healthy"
    assert not server.signed
    assert (await panel.rate_limit()).tier == "professional"
    assert server.signed
    noon = datetime(2026, 3, 7, 12, tzinfo=UTC)
    found = await panel.search("things", text="a b", order="asc", before=noon).collect()
    assert [finding.id for finding in found] == ["f1", "f2"]
    await panel.reindex()
    await use_parcels(panel, server)
    await reject_invalid_arguments(panel)


async def use_parcels(panel: PanelicaClient, server: Server) -> None:
    noon = datetime(2026, 3, 7, 12, tzinfo=UTC)
    created: Parcel = await panel.parcels.create(
        reference="2026-17",
        destination=Locker(number=4),
        class_='fast & "furious"',
        note=None,
        priority=Priority.HIGH,
        send_at=noon,
        stamps=[Stamp(cents=5), {"cents": 6}],
    )
    assert server.body == {
        "reference": "2026-17",
        "destination": {"number": 4},
        "class": 'fast & "furious"',
        "note": None,
        "priority": "high",
        "send_at": "2026-03-07T12:00:00Z",
        "stamps": [{"cents": 5}, {"cents": 6}],
    }
    assert (created.id, created.from_, created.weight_g, created.on) == ("p1", "ada", 250.0, True)
    assert created.status == "lost"
    assert isinstance(created.status, ParcelStatus)
    assert created.extra == {"colour": "red"}
    assert created.scans is not None
    assert created.scans[0].at == noon
    assert created.pin == "1234"
    assert "1234" not in repr(created)
    assert "secret" not in repr(Street(street="1 Main Street", door="secret"))

    page = await panel.parcels.list(from_="ada", status=["waiting", "on"])
    assert page.items == [created]
    await panel.parcels.update("p1", note=None)
    assert server.body == {"note": None}
    await panel.parcels.update("p1", fragile=False)
    assert server.body == {"fragile": False}
    await panel.parcels.delete("p 1")
    assert (await panel.parcels.collect(ids=["p1"])).message == "on the way"
    assert server.body == {"ids": ["p1"]}
    await panel.parcels.collect(all_parcels=True)
    assert server.body == {}
    assert await panel.parcels.route("p1") == {"legs": [1, 2]}
    scans = await panel.parcels.scans.list("p1")
    assert (scans.total, scans.items[0].at.utcoffset()) == (
        1,
        datetime.fromisoformat("2026-03-07T12:00+01:00").utcoffset(),
    )
    assert (await panel.parcels.scans.get("p1", "s1")).at == noon


async def reject_invalid_arguments(panel: PanelicaClient) -> None:
    locker = Locker(number=4)
    with pytest.raises(ValueError, match="class_ must be one of"):  # mypy rejects it too
        await panel.parcels.create(reference="r", destination=locker, class_="medium")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reference must not be empty"):
        await panel.parcels.create(reference=" ", destination=locker)
    with pytest.raises(ValueError, match="status must be a list"):
        panel.parcels.list(status="waiting")
    with pytest.raises(ValueError, match="nothing to change"):
        await panel.parcels.update("p1")
    with pytest.raises(ValueError, match="id must not be empty"):
        await panel.parcels.delete("")
    with pytest.raises(ValueError, match="another path"):
        await panel.parcels.delete("..")
    with pytest.raises(ValueError, match="every parcel in the house"):
        await panel.parcels.collect()
    with pytest.raises(ValueError, match="not both"):
        await panel.parcels.collect(ids=["p1"], all_parcels=True)


async def use_the_other_dialect(panel: PanelicaClient, server: Server) -> None:
    assert (await panel.health()).status == "ok"
    created = await panel.parcels.create(
        account="acme",
        reference="2026-18",
        destination={"street": "1 Main Street"},
        note="fragile",
    )
    assert created.id == "p2"
    assert server.body == {"ref": "2026-18", "destinations": [{"street": "1 Main Street"}]}
    assert [parcel.id async for parcel in panel.parcels.list()] == ["p1"]
    assert [scan.id for scan in (await panel.parcels.scans.list("p1")).items] == ["s1"]
    await panel.parcels.scans.get("p1", "s1")
    with pytest.raises(
        UnsupportedOperationError, match=r"index up to date. Hint: Call panel\.parcels\.list\(…\) instead"
    ):
        await panel.reindex()


def connect(url: str, dialect: Dialect) -> PanelicaClient:
    return PanelicaClient(url, api_key="pk_test_1", api_secret="sk_test_1", tier="enterprise", dialect=dialect)


async def main() -> None:
    # Development mode reports slow callbacks, which depend on the machine.
    asyncio.get_running_loop().slow_callback_duration = 60
    server = Server()
    async with running(server) as url:
        async with connect(url, "reference") as panel:
            await use_the_client(panel, server)
        async with connect(url, "panel") as panel:
            await use_the_other_dialect(panel, server)
    assert server.calls == REPLIES.keys(), REPLIES.keys() - server.calls


if __name__ == "__main__":
    asyncio.run(main())
