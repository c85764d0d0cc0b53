"""The collection in Postman's own runner: Postman sends exactly what the script signs."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from panelica_async import PanelicaClient
from panelica_async.sandbox import Sandbox
from tests.foreign.programs import find, run

pytestmark = pytest.mark.once
VALUES = [
    "a b", "ä", 'q"x', "it's", "<x>", "{{spaced}}", "{{$guid}}", "100%", "a+b", "a%20b", "a%2Fb", "%FF", "a#b", "日本",
    "a&b=c", "|^`{}\\", "😀", "%zz", "..", "ä%C3%A4",
]  # fmt: skip


async def collection_of(box: Sandbox) -> dict[str, Any]:
    async with PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret) as panel:
        reply = await panel.request("GET", "/v1/postman-collection")
    collection: dict[str, Any] = reply.data
    return collection


async def run_newman(
    box: Sandbox, collection: dict[str, Any], folder: Path, *, base_url: str | None = None
) -> list[tuple[str, int, str]]:
    """Run a collection and return name, status and error code of each request."""
    newman = find("newman")
    variables = {
        "base_url": base_url or box.base_url,
        "api_key": box.api_key,
        "api_secret": box.api_secret,
        "spaced": "x y ü",
    }
    collection["variable"] = [{"key": key, "value": value} for key, value in variables.items()]
    (folder / "collection.json").write_text(json.dumps(collection))
    report = folder / "report.json"
    arguments = ("run", str(folder / "collection.json"), "--reporters", "json", "--reporter-json-export", str(report))
    code, output = await run(newman, *arguments, env=dict(os.environ))
    assert code == 0, output
    results = []
    for execution in json.loads(report.read_text())["run"]["executions"]:
        content = bytes(execution["response"]["stream"]["data"])
        data = json.loads(content) if content else {}
        error = data.get("code", "") if isinstance(data, dict) else ""
        results.append((execution["item"]["name"], execution["response"]["code"], error))
    return results


def _collection_with(collection: dict[str, Any], requests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {**collection, "item": [{"name": name, "request": request} for name, request in requests.items()]}


async def test_every_request_as_downloaded_is_signed_right(tmp_path: Path) -> None:
    async with Sandbox(tier="enterprise") as box:
        collection = await collection_of(box)
        results = await run_newman(box, collection, tmp_path)
        requests = [request for folder in collection["item"] for request in folder["item"]]
    assert len(results) == len(requests)
    statuses = Counter(status for _, status, _ in results)
    assert statuses[401] == 0
    # Ids are empty, and the examples of the reference name objects that are not there; no request is malformed.
    assert not [result for result in results if result[1] == 400 or result[1] >= 500]


async def test_values_that_need_encoding_are_signed_right(tmp_path: Path) -> None:
    requests: dict[str, dict[str, Any]] = {}
    for value in VALUES:
        requests[f"in a text {value}"] = {"method": "GET", "url": "{{base_url}}/v1/domains?status=" + value}
        requests[f"as a parameter {value}"] = {
            "method": "GET",
            "url": {
                "host": ["{{base_url}}"],
                "path": ["v1", "files"],
                "query": [{"key": "path", "value": f"/{value}"}],
            },
        }
        if value != "..":
            variable = {"key": "id", "value": value}
            url = {"host": ["{{base_url}}"], "path": ["v1", "domains", ":id"], "variable": [variable]}
            requests[f"in the path {value}"] = {"method": "GET", "url": url}
    async with Sandbox(tier="enterprise") as box:
        collection = _collection_with(await collection_of(box), requests)
        results = await run_newman(box, collection, tmp_path)
    assert len(results) == len(requests)
    assert not [result for result in results if result[1] == 401 or result[1] >= 500]


async def test_bodies_are_sent_as_they_were_signed(tmp_path: Path) -> None:
    header = [{"key": "Content-Type", "value": "application/json"}]
    body = {"mode": "raw", "raw": '{"name": "{{$randomUUID}} ä 😀 {{spaced}}\\r\\n"}'}
    requests = {
        "made up": {"method": "POST", "url": "{{base_url}}/v1/plans", "header": header, "body": body},
        "with a delete": {"method": "DELETE", "url": "{{base_url}}/v1/domains/x", "header": header, "body": body},
    }
    async with Sandbox(tier="enterprise") as box:
        collection = _collection_with(await collection_of(box), requests)
        results = await run_newman(box, collection, tmp_path)
    assert [status for _, status, _ in results] == [201, 404]


@pytest.mark.parametrize("ending", ["", "/", "//"])
@pytest.mark.parametrize("prefix", ["/api/external", ""])
async def test_base_url_may_end_in_slashes(tmp_path: Path, prefix: str, ending: str) -> None:
    request = {"me": {"method": "GET", "url": "{{base_url}}/v1/me"}}
    async with Sandbox(tier="enterprise") as box:
        collection = _collection_with(await collection_of(box), request)
        origin = box.base_url.removesuffix("/api/external")
        results = await run_newman(box, collection, tmp_path, base_url=origin + prefix + ending)
    assert results == [("me", 200, "")]
