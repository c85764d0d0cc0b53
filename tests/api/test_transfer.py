"""File transfers: downloads, which are complete or absent, and uploads in a form."""

import asyncio
import io
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from panelica_async import (
    OutcomeUnknownError,
    PanelicaClient,
    RequestTimeoutError,
    ResponseError,
    TransportError,
    UnsupportedOperationError,
)
from tests.conftest import Advance, Connect, until
from tests.support.raw_server import RESET, RawServer, Step, reply

FILE = {"user_id": "u1", "path": "/home/john/site.tar.gz"}
CONTENT = bytes(range(256)) * 20_000


@pytest.fixture
def panel(connect: Connect) -> PanelicaClient:
    return connect(dialect="panel")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "site.tar.gz"


def begun(*, of: int, content: bytes = CONTENT, ends: str = "") -> Step:
    """The beginning of a file, and what follows."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {of}\r\n\r\n"
    return Step(head.encode() + content, ends=ends)


def only(folder: Path, *names: str) -> bool:
    return sorted(path.name for path in folder.iterdir()) == sorted(names)


def saved(path: Path) -> bytes:
    return path.read_bytes()


def old(path: Path) -> None:
    path.write_text("old")
    path.chmod(0o644)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_download_is_written_in_pieces_with_progress(
    server: RawServer, panel: PanelicaClient, target: Path
) -> None:
    server.script(reply(body=CONTENT, content_type="application/octet-stream"))
    shown: list[tuple[int, int | None]] = []
    assert await panel.files.download_to(target, **FILE, on_progress=lambda *figures: shown.append(figures)) == target
    assert saved(target) == CONTENT
    assert len(shown) > 1
    assert shown[-1] == (len(CONTENT), len(CONTENT))
    assert [received for received, _ in shown] == sorted(received for received, _ in shown)
    assert only(target.parent, target.name)
    request = server.requests[0]
    assert request.target == "/api/external/v1/files/download?user_id=u1&path=%2Fhome%2Fjohn%2Fsite.tar.gz"
    assert request.signature
    assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.skipif(sys.platform == "win32", reason="has no modes")
async def test_download_is_private_to_its_user(server: RawServer, panel: PanelicaClient, target: Path) -> None:
    old(target)
    server.script(reply(body=b"new", content_type="application/octet-stream"))
    await panel.files.download_to(target, **FILE)
    assert saved(target) == b"new"
    assert mode(target) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"{}\n{}\n", b'{"data": {"not": "an envelope"}}', b"[" + b"1," * 50_000 + b"1]"]
)
async def test_json_of_any_length_can_be_a_file(
    server: RawServer, panel: PanelicaClient, target: Path, content: bytes
) -> None:
    server.script(reply(body=content))
    await panel.files.download_to(target, **FILE)
    assert saved(target) == content


async def test_chunked_download_has_no_total(server: RawServer, panel: PanelicaClient, target: Path) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"10000\r\n" + b'"' * 65_536 + b"\r\n" for _ in range(4))
    server.script(Step(head + chunks + b"0\r\n\r\n"))
    totals = set[int | None]()
    await panel.files.download_to(target, **FILE, on_progress=lambda _, total: totals.add(total))
    assert saved(target) == b'"' * 262_144
    assert totals == {None}


@pytest.mark.parametrize("is_there", [False, True])
async def test_failure_with_200_is_not_saved(
    server: RawServer, panel: PanelicaClient, target: Path, is_there: bool
) -> None:
    if is_there:
        old(target)
    server.script(reply(json={"status": "error", "error": "no such file"}))
    with pytest.raises(ResponseError, match="no such file"):
        await panel.files.download_to(target, **FILE)
    assert only(target.parent, *[target.name] * is_there)
    assert not is_there or saved(target) == b"old"


async def test_error_reply_raises_and_leaves_nothing(server: RawServer, panel: PanelicaClient, target: Path) -> None:
    server.script(reply(404, json={"status": "error", "error": "File not found"}))
    with pytest.raises(ResponseError, match="File not found"):
        await panel.files.download_to(target, **FILE)
    assert only(target.parent)


@pytest.mark.parametrize("ends", ["close", "reset"])
async def test_reply_that_breaks_off_raises_once(
    server: RawServer, panel: PanelicaClient, target: Path, ends: str
) -> None:
    server.script(begun(of=len(CONTENT) + 1, ends=ends), reply(body=b"again", content_type="text/plain"))
    with pytest.raises(TransportError, match="no complete reply"):
        await panel.files.download_to(target, **FILE)
    assert len(server.requests) == 1
    assert only(target.parent)


async def test_lost_reply_is_repeated_before_the_first_byte(
    server: RawServer, panel: PanelicaClient, target: Path
) -> None:
    server.script(RESET, reply(503), reply(body=CONTENT, content_type="application/octet-stream"))
    await panel.files.download_to(target, **FILE)
    assert saved(target) == CONTENT
    assert len(server.requests) == 3


async def test_deadline_holds_until_the_file_begins(
    server: RawServer, connect: Connect, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    time = loop.time
    server.script(reply(body=CONTENT, content_type="application/octet-stream"))

    def a_minute_later(*_: object) -> None:
        monkeypatch.setattr(loop, "time", lambda: time() + 60)

    await connect(dialect="panel", deadline=30).files.download_to(target, **FILE, on_progress=a_minute_later)
    assert saved(target) == CONTENT


async def test_quota_headers_of_a_download_count_at_its_start(
    server: RawServer, panel: PanelicaClient, target: Path
) -> None:
    used_up = {"X-RateLimit-Limit-Minute": "1000", "X-RateLimit-Remaining-Minute": "0"}
    server.script(reply(body=CONTENT, content_type="application/octet-stream", headers=used_up))
    await panel.files.download_to(target, **FILE)
    await panel.with_options(max_wait=1).request("GET", "/v1/me")


async def test_silence_within_the_file_is_a_timeout(
    server: RawServer, panel: PanelicaClient, target: Path, advance: Advance
) -> None:
    server.script(begun(of=len(CONTENT) + 1, ends="hang"))
    got = asyncio.Event()
    task = asyncio.create_task(panel.files.download_to(target, **FILE, on_progress=lambda *_: got.set()))
    await got.wait()
    while not task.done():
        advance(31)
        await asyncio.sleep(0.01)
    with pytest.raises(RequestTimeoutError, match="within 30 s"):
        await task
    assert only(target.parent)


async def test_silence_at_the_beginning_of_json_closes_the_connection(
    server: RawServer, connect: Connect, target: Path
) -> None:
    panel = connect(dialect="panel", timeout=0.5, max_retries=0)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.script(Step(head, endless=b"1\r\n \r\n", pause=0.05))
    with pytest.raises(RequestTimeoutError) as caught:
        await panel.files.download_to(target, **FILE)
    await asyncio.wait_for(until(lambda: server.connected == 0), 5)
    # The error keeps the reply alive.
    assert caught.value.attempts == 1


async def test_cancelled_download_leaves_nothing(server: RawServer, panel: PanelicaClient, target: Path) -> None:
    server.script(begun(of=len(CONTENT) + 1, ends="hang"))
    got = asyncio.Event()
    task = asyncio.create_task(panel.files.download_to(target, **FILE, on_progress=lambda *_: got.set()))
    await got.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert only(target.parent)


async def test_disk_error_is_raised_unchanged(server: RawServer, panel: PanelicaClient, target: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    server.script(reply(body=CONTENT, content_type="application/octet-stream"))
    with pytest.raises(OSError, match="No space left") as caught:
        await panel.files.download_to(target, **FILE, on_progress=full)
    assert type(caught.value) is OSError
    assert len(server.requests) == 1
    assert only(target.parent)


async def test_unwritable_target_sends_nothing(
    server: RawServer, panel: PanelicaClient, connect: Connect, tmp_path: Path
) -> None:
    with pytest.raises(IsADirectoryError):
        await panel.files.download_to(tmp_path, **FILE)
    with pytest.raises(FileNotFoundError) as caught:
        await panel.files.download_to(tmp_path / "none" / "a", **FILE)
    assert caught.value.filename == str(tmp_path / "none" / "a")
    with pytest.raises(UnsupportedOperationError):
        await connect(dialect="reference").files.download_to(tmp_path / "a", **FILE)
    assert not server.requests


async def test_pipe_or_device_is_not_replaced(server: RawServer, panel: PanelicaClient, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="target must be a file, not a pipe or device, which would be replaced"):
        await panel.files.download_to(tmp_path / "pipe", **FILE)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert not server.requests


async def test_async_progress_function_is_refused(server: RawServer, panel: PanelicaClient, target: Path) -> None:
    async def notify(received: int, total: int | None) -> None: ...

    with pytest.raises(TypeError, match="on_progress must be a plain function, not a coroutine function"):
        await panel.files.download_to(target, **FILE, on_progress=notify)
    assert not server.requests


async def test_upload_is_a_form_with_the_file(server: RawServer, panel: PanelicaClient, tmp_path: Path) -> None:
    file = tmp_path / "site.zip"
    file.write_bytes(b"PK\x00" * 1000)
    server.script(reply(json={"status": "success", "data": {"success": True}}))
    result = await panel.files.upload(user_id="u1", target_path="/home/john", file=file)
    assert result.success is True
    request = server.requests[0]
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert b'filename="site.zip"' in request.body
    assert b"PK\x00" * 1000 in request.body
    assert b'name="user_id"\r\n' in request.body


@pytest.mark.parametrize("content", [bytearray(b"axbxcx"), memoryview(b"axbxcx")[::2]])
async def test_upload_of_a_buffer_is_a_copy(server: RawServer, panel: PanelicaClient, content: Any) -> None:
    server.script(reply(503, headers={"Retry-After": "0"}), reply(json={"data": True}))
    listening = panel.subscribe(lambda _: content.clear() if isinstance(content, bytearray) else None)
    expected = bytes(content)
    await panel.files.upload(user_id="u1", target_path="/home/john", file=("a.txt", content))
    listening()
    assert all(b"\r\n\r\n" + expected + b"\r\n" in request.body for request in server.requests)
    assert len(server.requests) == 2


@pytest.mark.parametrize("payload", [{"status": "success", "data": "Done"}, {"data": True}, [], None])
async def test_upload_succeeds_with_any_reply(server: RawServer, panel: PanelicaClient, payload: Any) -> None:
    server.script(reply(json=payload))
    result = await panel.files.upload(user_id="u1", target_path="/home/john", file=("a.txt", b"a"))
    assert result.success is None


async def test_upload_without_a_user_is_refused(server: RawServer, panel: PanelicaClient) -> None:
    with pytest.raises(ValueError, match=r"files\.upload: user_id must not be None, which a form cannot hold"):
        await panel.files.upload(user_id=None, target_path="/home/john", file=("a.txt", b"a"))  # type: ignore[arg-type]
    assert not server.requests


async def test_upload_of_other_types_is_refused(server: RawServer, panel: PanelicaClient, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="file must be a path, or a name with its content, not int"):
        await panel.files.upload(user_id="u1", target_path="/home/john", file=5)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        await panel.files.upload(user_id="u1", target_path="/home/john", file=tmp_path / "none")
    assert not server.requests


@pytest.mark.parametrize(
    ("file", "kind", "problem"),
    [
        (("a.txt", "text"), TypeError, "file must have bytes or an open file as its content, not str"),
        (("a.txt", b"a", "text/plain"), TypeError, "a path, or a name with its content, not 3 values"),
        (("", b"a"), ValueError, "the name of file must be text on one line, not ''"),
        ((Path("a.txt"), b"a"), ValueError, "the name of file must be text on one line, not PosixPath"),
    ],
    ids=str,
)
async def test_upload_of_an_invalid_name_and_content_is_refused(
    server: RawServer, panel: PanelicaClient, file: Any, kind: type[Exception], problem: str
) -> None:
    with pytest.raises(kind, match=problem):
        await panel.files.upload(user_id="u1", target_path="/home/john", file=file)
    assert not server.requests


class Growing(io.BytesIO):
    """A file that grows with every read, such as a log."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if data:
            position = self.tell()
            self.seek(0, os.SEEK_END)
            self.write(b"DELETE /v1/accounts/a1 HTTP/1.1")
            self.seek(position)
        return data


class Shrinking(io.BytesIO):
    """A file that is truncated after its length was read."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size:
            self.truncate(0)
        return super().read(size)


async def test_growing_file_is_sent_up_to_its_first_length(server: RawServer, connect: Connect) -> None:
    server.script(
        reply(429, headers={"Retry-After": "0"}), reply(json={"status": "success", "data": {"success": True}})
    )
    panel = connect(dialect="panel")
    await panel.files.upload(file=("a.log", Growing(b"one\n")), user_id="u1", target_path="/home/jo")
    assert len(server.requests) == 2
    assert all(b"\r\n\r\none\n\r\n--" in request.body for request in server.requests)


async def test_shrinking_file_fails_the_call(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success"}))
    panel = connect(dialect="panel", max_retries=0)
    with pytest.raises(OutcomeUnknownError, match="Can not write request body"):
        await panel.files.upload(file=("a.log", Shrinking(b"x" * 100)), user_id="u1", target_path="/home/jo")


async def test_temporary_file_is_uploaded(server: RawServer, connect: Connect) -> None:
    server.script(reply(json={"status": "success", "data": {"success": True}}))
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"content")
        file.seek(0)
        await connect(dialect="panel").files.upload(file=("a.txt", file), user_id="u1", target_path="/home/jo")
    assert b"\r\n\r\ncontent\r\n--" in server.requests[0].body


async def test_pipe_or_closed_file_is_refused_before_sending(
    server: RawServer, connect: Connect, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    panel = connect(dialect="panel")
    with pytest.raises(ValueError, match="must be a file, not a pipe or device"):
        await panel.files.upload(file=tmp_path / "pipe", user_id="u1", target_path="/home/jo")
    reader, writer = os.pipe()
    os.close(writer)
    with os.fdopen(reader, "rb") as stream, pytest.raises(ValueError, match="must not be a stream"):
        await panel.files.upload(file=("a.txt", stream), user_id="u1", target_path="/home/jo")
    with pytest.raises(TypeError, match="must be open in binary mode"):
        await panel.files.upload(file=("a.txt", io.StringIO("text")), user_id="u1", target_path="/home/jo")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be text on one line, not 'a"):
        await panel.files.upload(file=("a\udcff.txt", b"x"), user_id="u1", target_path="/home/jo")
    assert server.requests == []
