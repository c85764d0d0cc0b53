"""The calls of the vendor's clients, with independent signatures, on a sandbox that acts as a current panel.

The calls and what must come of them are in `vendor_calls.yaml`.
"""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import aiohttp
import pytest
import yaml
from yarl import URL

from panelica_async.sandbox import Sandbox
from tests.sandbox.panel_client import check_panel_reply
from tests.sandbox.signed_client import PREFIX, Clock, signature

TABLE: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("vendor_calls.yaml").read_text(encoding="utf-8"))
SPELLINGS: dict[str, Callable[[Any], str]] = {
    "whmcs": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    "pnlcs": lambda value: json.dumps(value, separators=(",", ":")).replace("/", r"\/"),
    "mcp": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
}
MISSING = object()


class Vendor:
    """One of the vendor's clients: its spelling of JSON, and the values saved from replies."""

    def __init__(self, name: str, box: Sandbox, http: aiohttp.ClientSession, clock: Clock) -> None:
        self.spell = SPELLINGS[name]
        # The MCP server runs next to the panel, behind its web server.
        self.prefix = "" if name == "mcp" else PREFIX
        self.box = box
        self.http = http
        self.clock = clock
        self.saved: dict[str, Any] = {}

    async def perform(self, step: dict[str, Any]) -> None:
        if "wait" in step:
            self.clock.advance(step["wait"])
            return
        status, content_type, content = await self.send(step)
        context = f"{step['call']}: {status} {content[:500]!r}"
        expected = step.get("status", 2)
        assert status == expected or status // 100 == expected, context
        if "text" in step:
            assert content.decode() == step["text"], context
            return
        assert content_type == "application/json", context
        self.check(step, json.loads(content), context)

    async def send(self, step: dict[str, Any]) -> tuple[int, str, bytes]:
        method, _, target = step["call"].partition(" ")
        target = re.sub(r"\$(\w+)", lambda match: quote(str(self.saved[match[1]]), safe=""), target)
        headers: dict[str, str] = {}
        data: Any = None
        signed = b""
        if "form" in step:
            data = aiohttp.FormData(quote_fields=False)
            for name, value in self.fill_in(step["form"]).items():
                if name == "file":
                    data.add_field(name, f"content of {value}".encode(), filename=value)
                else:
                    data.add_field(name, value)
        elif (body := step.get("body", MISSING)) is not MISSING:
            signed = self.spell(self.fill_in(body)).encode()
            data = io.BytesIO(signed)
            headers["Content-Type"] = "application/json"
        headers |= self.auth_headers(step.get("key"), method, target, signed)
        url = URL(self.box.base_url.removesuffix(PREFIX) + self.prefix + target, encoded=True)
        async with self.http.request(method, url, data=data, headers=headers) as response:
            return response.status, response.content_type, await response.read()

    def auth_headers(self, key: str | None, method: str, target: str, body: bytes) -> dict[str, str]:
        if key == "none":
            return {}
        public, secret = self.box.api_key, self.box.api_secret
        if key is not None:
            public, secret = self.saved[key], self.saved[f"{key}_secret"]
        timestamp = str(int(self.clock()))
        return {
            "X-API-Key": public,
            "X-Timestamp": timestamp,
            "X-Signature": signature(secret, method, target, timestamp, body),
        }

    def check(self, step: dict[str, Any], reply: Any, context: str) -> None:
        if step.get("bare"):
            data = reply
        elif "status" in step:
            assert reply.get("status", "error") == "error", context
            assert re.search(step.get("error", ""), json.dumps(reply)), context
            return
        else:
            assert reply["status"] == "success", context
            data = reply.get("data")
        check_panel_reply(self.box.requests[-1].operation, reply)
        assert self.matches(data, step.get("has", {})), context
        rows: list[Any] = data[step["in"]] if "in" in step else data
        source = data
        if "row" in step:
            matching = [row for row in rows if self.matches(row, step["row"])]
            assert matching, context
            source = matching[0]
        if "no_row" in step:
            assert not any(self.matches(row, step["no_row"]) for row in rows), context
        for name, field in step.get("save", {}).items():
            self.saved[name] = source[field]

    def matches(self, value: Any, expected: Any) -> bool:
        expected = self.fill_in(expected)
        if isinstance(expected, dict):
            fields = cast("dict[str, Any]", expected)
            return all(name in value and self.matches(value[name], field) for name, field in fields.items())
        if isinstance(expected, list):
            # Lists have no order (evidence: lists-unordered).
            return sorted(value) == sorted(cast("list[str]", expected))
        if isinstance(expected, str) and expected.startswith("~"):
            return value is not None and re.fullmatch(expected[1:], str(value), re.DOTALL) is not None
        return str(value) == str(expected)

    def fill_in(self, value: Any) -> Any:
        """Return a value in which the names of saved values are replaced by the values."""
        if isinstance(value, dict):
            return {name: self.fill_in(field) for name, field in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [self.fill_in(item) for item in cast("list[Any]", value)]
        if isinstance(value, str) and value.startswith("$"):
            return self.saved[value[1:]]
        return value


@pytest.mark.parametrize("name", TABLE["scenarios"])
async def test_vendor_calls_do_what_their_table_says(name: str, session: aiohttp.ClientSession, clock: Clock) -> None:
    scenario = TABLE["scenarios"][name]
    strict = not scenario.get("loose", False)
    async with Sandbox(tier="enterprise", clock=clock, dialect="panel", strict=strict) as box:
        vendor = Vendor(scenario["client"], box, session, clock)
        for given in scenario.get("given", ()):
            for step in TABLE["given"][given]:
                await vendor.perform(step)
        for step in scenario["calls"]:
            await vendor.perform(step)


def test_table_has_at_least_eighty_different_calls() -> None:
    steps = [
        (scenario["client"], step["call"])
        for scenario in TABLE["scenarios"].values()
        for step in scenario["calls"]
        if "call" in step and not step.get("check")
    ]
    assert {client for client, _ in steps} == set(SPELLINGS)
    assert len({re.sub(r"\?.*", "", call) for _, call in steps}) >= 80
