"""What time limits and retries raise: each row of the table in docs/timeouts.md is run."""

import asyncio
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from panelica_async import PanelicaClient, PanelicaError, RateLimit
from tests.conftest import Advance, Connect
from tests.support.raw_server import CLOSE, HANG, RawServer, Step, reply

TABLE = (Path(__file__).parents[2] / "docs" / "timeouts.md").read_text("utf-8")
ROWS = re.findall(
    r"^\| (.+?) \| `(\w+)` \| `(\w+)` \|$",
    TABLE.partition("<!-- waits -->")[2].partition("<!-- /waits -->")[0],
    re.MULTILINE,
)


def asks(status: int, seconds: int | None) -> Step:
    return reply(status, json={"error": "busy"}, headers={} if seconds is None else {"Retry-After": str(seconds)})


@attrs.frozen
class Situation:
    step: Step
    options: dict[str, Any] = attrs.field(factory=dict)
    prepare: Callable[[PanelicaClient], object] | None = None
    client: dict[str, Any] = attrs.field(factory=dict)


def use_up_retries(panel: PanelicaClient) -> None:
    budget = panel._transport.budget
    while budget.try_spend():
        pass


MINUTE = {"limiter": RateLimit(per_minute=1)}
SITUATIONS = {
    "`max_wait=1`, the quota is free in a minute": Situation(reply(json=[]), {"max_wait": 1}, client=MINUTE),
    "`deadline=1`, the quota is free in a minute": Situation(reply(json=[]), {"deadline": 1}, client=MINUTE),
    "`max_wait=1`, 429 asks for 5 s": Situation(asks(429, 5), {"max_wait": 1}),
    "`deadline=1`, 429 asks for 5 s": Situation(asks(429, 5), {"deadline": 1}),
    "429 asks for 2 minutes": Situation(asks(429, 120)),
    "`max_wait=1`, 503 asks for 5 s": Situation(asks(503, 5), {"max_wait": 1}),
    "`deadline=1`, 503 asks for 5 s": Situation(asks(503, 5), {"deadline": 1}),
    "503 asks for 2 minutes": Situation(asks(503, 120)),
    "`max_wait=0.2`, 502": Situation(asks(502, None), {"max_wait": 0.2}),
    "`max_wait=0.2`, the connection breaks": Situation(CLOSE, {"max_wait": 0.2}),
    "`deadline=10`, no reply": Situation(HANG, {"deadline": 10}),
    "`timeout=10`, `max_retries=0`, no reply": Situation(HANG, {"timeout": 10, "max_retries": 0}),
    "`max_retries=0`, nothing listens": Situation(reply(), {"max_retries": 0}),
    "500": Situation(asks(500, None)),
    "the retry budget is empty, 503": Situation(asks(503, None), prepare=use_up_retries),
}


def test_every_row_of_the_table_has_a_situation() -> None:
    assert [row[0] for row in ROWS] == list(SITUATIONS)


def nothing_listens() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(("name", "of_read", "of_create"), ROWS, ids=[row[0] for row in ROWS])
@pytest.mark.parametrize("creates", [False, True])
async def test_call_raises_what_the_table_says(
    server: RawServer, connect: Connect, name: str, of_read: str, of_create: str, creates: bool, advance: Advance
) -> None:
    situation = SITUATIONS[name]
    address = {"base_url": nothing_listens()} if "nothing listens" in name else {}
    panel = connect(**situation.client, **address)
    if situation.client:
        server.script(reply(json=[]))
        await panel.request("GET", "/v1/x")
    if situation.prepare is not None:
        situation.prepare(panel)
    server.script(situation.step)
    limited = panel.with_options(**situation.options)
    call = limited.backups.create(name="b", domain_ids=["d1"]) if creates else limited.domains.get("d1")
    task = asyncio.ensure_future(call)
    if situation.step is HANG:
        await server.received(1)
        advance(11)
    with pytest.raises(PanelicaError) as caught:
        await task
    assert type(caught.value).__name__ == (of_create if creates else of_read)
    assert getattr(caught.value, "attempts", 1) == 1
