"""`PanelicaClient.request`: any path, signed; forms with files; and what is refused before it is sent."""

import asyncio
import io
import os
import pickle
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import aiohttp
import pytest

from panelica_async import ApiResponse, DecodeError, NotFoundError, OutcomeUnknownError, ResponseError
from panelica_async.telemetry import Event, Retried
from tests.conftest import API_SECRET, Connect
from tests.support.raw_server import RESET, RawRequest, RawServer, Step, reply
from tests.transport.verifier import accepts

UPLOAD = ("POST", "/v1/files/upload")
OVER_LIMIT = reply(429, headers={"Retry-After": "0"})
COME_BACK = reply(503, headers={"Retry-After": "0"})


async def test_envelope_is_removed_from_the_reply(server: RawServer, connect: Connect) -> None:
    body = {"status": "success", "data": {"jobs": [1]}}
    server.script(reply(201, json=body, headers={"X-Request-Id": "req_7", "X-Extra": "1"}))
    answer = await connect().request("post", "/v1/cron-jobs", json={"a": None})
    assert isinstance(answer, ApiResponse)
    assert (answer.status, answer.data, answer.request_id) == (201, {"jobs": [1]}, "req_7")
    assert answer.headers["x-extra"] == "1"
    assert server.requests[0].method == "POST"
    assert server.requests[0].body == b'{"a":null}'
    assert repr(answer) == "ApiResponse(status=201, request_id='req_7')"
    assert pickle.loads(pickle.dumps(answer)) == answer


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
async def test_data_of_any_kind_is_returned(server: RawServer, connect: Connect, step: Step, data: Any) -> None:
    server.script(step)
    assert (await connect().request("GET", "/v1/files/download")).data == data


async def test_invalid_json_raises_decode_error(server: RawServer, connect: Connect) -> None:
    server.script(reply(body="oops"))
    with pytest.raises(DecodeError, match="is not valid JSON"):
        await connect().request("GET", "/v1/x")


async def test_error_reply_raises(server: RawServer, connect: Connect) -> None:
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
async def test_query_is_encoded_as_sent(
    server: RawServer, connect: Connect, query: dict[str, Any] | None, sent: str
) -> None:
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
        ("GET", "/v1/\ud800", "lone surrogate"),
    ],
)
async def test_invalid_path_is_not_sent(
    server: RawServer, connect: Connect, method: str, path: str, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        await connect().request(method, path)
    assert server.requests == []


@pytest.mark.parametrize("path", [None, b"/v1/x", PurePosixPath("/v1/x")])
async def test_path_that_is_no_string_raises(server: RawServer, connect: Connect, path: Any) -> None:
    with pytest.raises(TypeError, match=f"path must be a string, not {type(path).__name__}"):
        await connect().request("GET", path)
    assert server.requests == []


@pytest.mark.parametrize("query", [{"a": None}, {"a": []}, {"a": float("nan")}])
async def test_invalid_query_is_not_sent(server: RawServer, connect: Connect, query: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^a "):
        await connect().request("GET", "/v1/x", query=query)
    assert server.requests == []


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ([("a", 1)], "be a mapping, such as a dict, not list"),
        ("a=1", "be a mapping, such as a dict, not str"),
        ({("a", 1)}, "be a mapping, such as a dict, not set"),
        ({1: "a"}, "have strings for keys, not int"),
    ],
)
async def test_request_when_query_is_no_mapping_sends_nothing(
    server: RawServer, connect: Connect, query: Any, problem: str
) -> None:
    with pytest.raises(TypeError, match=f"^query must {problem}$"):
        await connect().request("GET", "/v1/x", query=query)
    assert server.requests == []


# Forms: files are streamed, signed without the body, and whole on every attempt


class RecordingFile(io.FileIO):
    """A file that records the size of every read."""

    opened: ClassVar["list[RecordingFile]"] = []

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.chunks: list[int] = []
        self.opened.append(self)

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size)
        self.chunks.append(len(data))
        return data


def form_of(file: Any) -> aiohttp.FormData:
    # The fields of a multipart upload (evidence: files-upload).
    form = aiohttp.FormData({"user_id": "u1", "target_path": "/home/jo/ş.zip"})
    form.add_field("file", file, filename="site.zip", content_type="application/zip")
    return form


def file_in(request: RawRequest) -> bytes:
    """Return the content of the file in a multipart body."""
    boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
    part = request.body.split(b"--" + boundary)[-2]
    return part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")


@pytest.fixture(autouse=True)
def _close_files() -> Iterator[None]:
    """Not every version of aiohttp closes files, whether it has sent them or not."""
    yield
    while RecordingFile.opened:
        RecordingFile.opened.pop().close()


@pytest.fixture
def content() -> bytes:
    return os.urandom(1_000_000)


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    """A file with this content."""
    path = tmp_path / "site.zip"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("content", [b"0123456789" * 3_000_000], ids=["30 MB"])
async def test_large_file_is_streamed_and_signed_without_content(
    server: RawServer, connect: Connect, path: Path, content: bytes
) -> None:
    file = RecordingFile(path)
    server.script(reply(json={"status": "success", "data": {"success": True}}))
    answer = await connect().request(*UPLOAD, form=form_of(file))
    [request] = server.requests
    assert answer.data == {"success": True}
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert accepts(request, API_SECRET)
    assert file_in(request) == content
    assert sum(file.chunks) == 30_000_000
    assert max(file.chunks) <= 1024 * 1024
    assert file.closed


def in_memory(path: Path) -> io.BytesIO:
    return io.BytesIO(path.read_bytes())


@pytest.mark.parametrize(
    ("kind", "refusal"),
    [(RecordingFile, OVER_LIMIT), (RecordingFile, COME_BACK), (in_memory, COME_BACK), (Path.read_bytes, COME_BACK)],
    ids=["file-429", "file-503", "memory-503", "bytes-503"],
)
async def test_retry_sends_the_same_bytes_again(
    server: RawServer, connect: Connect, path: Path, content: bytes, kind: Any, refusal: Step
) -> None:
    server.script(refusal)
    await connect().request(*UPLOAD, form=form_of(kind(path)))
    first, second = server.requests
    assert file_in(first) == file_in(second) == content
    assert first.body == second.body
    assert accepts(first, API_SECRET)
    assert accepts(second, API_SECRET)


async def test_upload_starts_at_the_position_of_the_file(
    server: RawServer, connect: Connect, path: Path, content: bytes
) -> None:
    file = RecordingFile(path)
    file.seek(10)
    server.script(COME_BACK)
    await connect().request(*UPLOAD, form=form_of(file))
    assert [file_in(request) for request in server.requests] == [content[10:]] * 2


@pytest.mark.usefixtures("no_backoff")
async def test_refused_connection_reads_nothing_of_the_file(connect: Connect, path: Path, content: bytes) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, Retried):
            late.append(asyncio.create_task(listener.start_serving()))

    late: list[asyncio.Task[None]] = []
    server = RawServer()
    with socket.create_server(("127.0.0.1", 0)) as free:
        host, port = free.getsockname()
    listener = await asyncio.start_server(server._connected, host, port, start_serving=False)
    async with listener:
        panel = connect(base_url=f"http://{host}:{port}")
        panel.subscribe(listen)
        await panel.request(*UPLOAD, form=form_of(RecordingFile(path)))
        await panel.close()
    assert late
    [request] = server.requests
    assert file_in(request) == content
    assert accepts(request, API_SECRET)


async def test_upload_with_a_lost_reply_is_not_repeated(server: RawServer, connect: Connect, path: Path) -> None:
    server.script(RESET)
    with pytest.raises(OutcomeUnknownError) as caught:
        await connect().request(*UPLOAD, form=form_of(RecordingFile(path)))
    assert len(server.requests) == 1
    assert caught.value.sent is None


@pytest.mark.parametrize("content", [bytes(30_000_000)], ids=["30 MB"])
async def test_rejection_before_the_upload_ends_is_raised(server: RawServer, connect: Connect, path: Path) -> None:
    page = reply(413, body="<html><title>413 Request Entity Too Large</title>", content_type="text/html")
    server.script(Step(page.sent, reads=False, ends="hang"))
    with pytest.raises(ResponseError, match="413 Request Entity Too Large") as caught:
        await connect().request(*UPLOAD, form=form_of(RecordingFile(path)))
    assert str(caught.value.hint).startswith("Send less data at once, or raise the size limit")


async def test_form_without_files_is_signed_with_its_body(server: RawServer, connect: Connect) -> None:
    # It is not multipart, and only a multipart body stays unsigned (evidence: signed-body).
    server.script(COME_BACK)
    await connect().request("POST", "/v1/x", form=aiohttp.FormData({"a": "b c", "d": "ş"}))
    assert [request.body for request in server.requests] == [b"a=b+c&d=%C5%9F"] * 2
    assert all(accepts(request, API_SECRET) for request in server.requests)


@pytest.fixture
def pipe() -> Iterator[io.BufferedReader]:
    """A file that can be read only once."""
    ours, theirs = os.pipe()
    os.write(theirs, b"content")
    os.close(theirs)
    with os.fdopen(ours, "rb") as file:
        yield file


async def generated() -> AsyncIterator[bytes]:
    yield b"content"


async def test_stream_that_can_be_read_only_once_is_refused(
    server: RawServer, connect: Connect, pipe: io.BufferedReader
) -> None:
    # The second attempt would send an empty file, and the panel would take it.
    for stream in (pipe, generated()):
        with pytest.raises(ValueError, match="form must not contain a stream, which a retry could not send again"):
            await connect().request(*UPLOAD, form=form_of(stream))
    assert server.requests == []


@pytest.mark.parametrize("kind", [RecordingFile, in_memory, Path.read_bytes])
async def test_used_form_is_refused(server: RawServer, connect: Connect, path: Path, kind: Any) -> None:
    # Of a file that stands at its end, the panel would get an empty one.
    form, panel = form_of(kind(path)), connect()
    await panel.request(*UPLOAD, form=form)
    with pytest.raises(ValueError, match="form must be new, but an earlier call has used this one"):
        await panel.request(*UPLOAD, form=form)
    assert len(server.requests) == 1


async def test_json_and_form_together_are_refused(server: RawServer, connect: Connect) -> None:
    with pytest.raises(ValueError, match="pass json or form, not both"):
        await connect().request(*UPLOAD, json=None, form=form_of(b""))
    with pytest.raises(TypeError, match=r"form must be an aiohttp\.FormData, not dict"):
        await connect().request(*UPLOAD, form={"file": b""})
    assert server.requests == []
