"""`PanelicaClient.request`: any path, signed, and what is refused before it is sent."""

from typing import Any

import pytest

from panelica_async import ApiResponse, DecodeError, NotFoundError
from tests.conftest import Connect
from tests.support.raw_server import RawServer, Step, reply


async def test_a_reply_out_of_its_envelope(server: RawServer, connect: Connect) -> None:
    body = {"status": "success", "data": {"jobs": [1]}}
    server.script(reply(201, json=body, headers={"X-Request-Id": "req_7", "X-Extra": "1"}))
    answer = await connect().request("post", "/v1/cron-jobs", json={"a": None})
    assert isinstance(answer, ApiResponse)
    assert (answer.status, answer.data, answer.request_id) == (201, {"jobs": [1]}, "req_7")
    assert answer.headers["x-extra"] == "1"
    assert server.requests[0].method == "POST"
    assert server.requests[0].body == b'{"a":null}'
    assert repr(answer) == "ApiResponse(status=201, request_id='req_7')"


@pytest.mark.parametrize(
    ("step", "data"),
    [
        (reply(204), None),
        (reply(body=b"\x00archive", content_type="application/octet-stream"), b"\x00archive"),
        (reply(body="a,b\n", content_type="text/csv"), b"a,b\n"),
        (reply(body="[1]", content_type="application/problem+json; charset=utf-8"), [1]),
        (reply(body="null"), None),
        (reply(json={"status": "success"}), None),
    ],
)
async def test_data_of_any_kind(server: RawServer, connect: Connect, step: Step, data: Any) -> None:
    server.script(step)
    assert (await connect().request("GET", "/v1/files/download")).data == data


async def test_a_type_of_json_that_is_none(server: RawServer, connect: Connect) -> None:
    server.script(reply(body="oops"))
    with pytest.raises(DecodeError, match="is not valid JSON"):
        await connect().request("GET", "/v1/x")


async def test_errors_are_raised(server: RawServer, connect: Connect) -> None:
    server.script(reply(404, json={"error": "no such job", "request_id": "req_8"}))
    with pytest.raises(NotFoundError, match="no such job") as caught:
        await connect().request("GET", "/v1/cron-jobs/1")
    assert (caught.value.method, caught.value.path) == ("GET", "/v1/cron-jobs/1")
    assert caught.value.request_id == "req_8"


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        (None, ""),
        ({}, ""),
        ({"a": "x y", "b": "ş/&="}, "?a=x%20y&b=%C5%9F%2F%26%3D"),
        ({"page": 2, "force": True, "all": False, "tag": ["a", "b"], "empty": ""},
         "?page=2&force=true&all=false&tag=a&tag=b&empty="),
    ],
)  # fmt: skip
async def test_query(server: RawServer, connect: Connect, query: dict[str, Any] | None, sent: str) -> None:
    await connect().request("GET", "/v1/x", query=query)
    assert server.requests[0].target == f"/api/external/v1/x{sent}"


@pytest.mark.parametrize(
    ("method", "path", "reason"),
    [
        ("FETCH", "/v1/x", "must be one of GET, PUT, DELETE, PATCH, POST"),
        ("GET", "v1/x", "must start with a slash"),
        ("GET", "", "must start with a slash"),
        ("GET", "https://panel.example.com/v1/x", "must start with a slash"),
        ("GET", "/api/external/v1/x", "leave it out"),
        ("GET", "/v1/x?a=1", "pass query parameters as query="),
        ("GET", "/v1/x#a", "query or a fragment"),
        ("DELETE", "/v1/domains/", "is an id missing"),
        ("DELETE", "/v1/domains//x", "is an id missing"),
        ("DELETE", "//domains", "is an id missing"),
        ("GET", "/", "is an id missing"),
        ("DELETE", "/v1/domains/.", "as a segment"),
        ("DELETE", "/v1/domains/../accounts/a", "as a segment"),
        ("DELETE", "/v1/domains/%2e%2E/accounts", "as a segment"),
        ("DELETE", "/v1/domains/.%2e", "as a segment"),
        ("DELETE", "/v1/domains/%2E", "as a segment"),
        ("DELETE", "/v1/accounts/..%2f..%2Fdomains", "as a segment"),
        ("DELETE", "/v1/accounts/..%5cdomains", "backslash"),
        ("DELETE", "/v1/accounts/a%2fb", "encoded slash"),
        ("DELETE", "/v1/accounts/a%252Fb", "encoded slash"),
        ("DELETE", "/v1/accounts/%252e%252e", "as a segment"),
        ("DELETE", "/v1/accounts/a\\b", "backslash"),
        ("DELETE", "/v1/accounts/a%00", "control character"),
        ("DELETE", "/v1/accounts/a%0d%0aX: y", "control character"),
        ("DELETE", "/v1/accounts/a\nb", "control character"),
    ],
)
async def test_invalid_path_is_not_sent(
    server: RawServer, connect: Connect, method: str, path: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        await connect().request(method, path)
    assert server.requests == []


@pytest.mark.parametrize("query", [{"a": None}, {"a": []}, {"a": float("nan")}])
async def test_invalid_query_is_not_sent(server: RawServer, connect: Connect, query: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^a "):
        await connect().request("GET", "/v1/x", query=query)
    assert server.requests == []


@pytest.mark.parametrize(("query", "kind"), [([("a", 1)], "list"), ("a=1", "str"), ({("a", 1)}, "set")])
async def test_request_when_query_is_no_mapping_sends_nothing(
    server: RawServer, connect: Connect, query: Any, kind: str
) -> None:
    with pytest.raises(TypeError, match=f"^query must be a mapping, such as a dict, not {kind}$"):
        await connect().request("GET", "/v1/x", query=query)
    assert server.requests == []
