"""A panel that quotes what it was sent: the secrets appear in no error, log or JSON."""

import asyncio
import json
import logging
import pickle
import traceback
from urllib.parse import quote

import aiohttp
import pytest

from panelica_async import PanelicaClient, PanelicaError
from panelica_async.cli.format import to_json
from tests.conftest import Connect
from tests.support.raw_server import RawServer, Step, reply

SECRET = 'Zq7!kW/e"x 4'
SAID = f"chpasswd: The password '{SECRET}' contains the user name"
PLAIN = "text/plain"
REPLIES = {
    "error": reply(400, json={"error": SAID}),
    "message": reply(400, json={"message": SAID}),
    "nested": reply(422, json={"error": {"message": SAID, "code": "X", "details": [{"a": SAID}]}}),
    "details": reply(409, json={"error": "no", "details": {SECRET: SAID}}),
    "code": reply(400, json={"error": "no", "code": SAID}),
    "request id": reply(400, json={"error": "no", "request_id": SAID}),
    "header": reply(400, json={"error": "no"}, headers={"X-Request-Id": f"r-{SECRET}"}),
    "scope": reply(403, json={"error": "no", "required_scope": SECRET.replace(" ", "_"), "code": f"is {SECRET}"}),
    "window": reply(429, json={"error": "no", "window": SAID, "retry_after": 900}),
    "location": reply(302, headers={"Location": f"/login?next={quote(SECRET)}"}),
    "text": reply(500, body=SAID, content_type=PLAIN),
    "web page": reply(403, body=f"<title>{SAID}</title>", content_type="text/html"),
    "broken JSON": reply(400, body=json.dumps({"error": SAID})[:-2]),
    "200 that is no JSON": reply(200, body=SAID),
    "200 that fails": reply(200, json={"status": "error", "error": SAID}),
}
FORMS = [SECRET, json.dumps(SECRET)[1:-1], quote(SECRET), quote(SECRET, safe="")]


def everything_shown(error: BaseException) -> str:
    """Return everything that a program could show of an error."""
    attributes = {name: value for name, value in vars(error).items() if name != "__notes__"}
    unpickled = pickle.loads(pickle.dumps(error))
    texts = [str(error), repr(error), repr(attributes), str(unpickled), "".join(traceback.format_exception(error))]
    return "\n".join([*texts, *map(str, attributes.values()), to_json(attributes)])


def locals_with_secret(error: BaseException) -> set[str]:
    """Return the local variables of this package that hold the secret, in the tracebacks of an error and its causes."""
    traced: traceback.TracebackException | None = traceback.TracebackException.from_exception(
        error, capture_locals=True
    )
    found: set[str] = set()
    while traced is not None:
        frames = [frame for frame in traced.stack if "panelica_async" in frame.filename]
        found |= {name for frame in frames for name, value in (frame.locals or {}).items() if "Zq7!kW" in value}
        traced = traced.__cause__ or traced.__context__
    return found


@pytest.mark.parametrize("step", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("sent", ["body", "deep body", "query", "form"])
async def test_secret_in_any_encoding_is_never_shown(
    server: RawServer, connect: Connect, caplog: pytest.LogCaptureFixture, step: Step, sent: str
) -> None:
    caplog.set_level(logging.DEBUG, "panelica_async")
    server.script(step)
    panel = connect(max_retries=0)
    with pytest.raises(PanelicaError) as caught:
        await send(panel, sent)
    text = everything_shown(caught.value) + caplog.text
    assert [form for form in FORMS if form in text] == []
    assert "\n" not in str(caught.value)


async def test_locals_show_a_secret_under_known_names_only(server: RawServer, connect: Connect) -> None:
    server.script(reply(200, body=f"<p>{SECRET}</p>", content_type="text/html"))
    with pytest.raises(PanelicaError) as caught:
        await send(connect(), "body")
    # Tools that show local variables hide those with such a name, or such a key.
    assert locals_with_secret(caught.value) <= {"password", "arguments"}


@pytest.mark.parametrize(
    "replies",
    [
        [reply(500, json={"error": "no"})],
        [reply(json={"id": "1", "user_id": "7"}), reply(500, json={"error": "no"})],
    ],
    ids=["read", "write"],
)
async def test_locals_of_a_call_with_a_read_show_no_more_secrets(
    server: RawServer, connect: Connect, replies: list[Step]
) -> None:
    server.script(*replies)
    panel = connect(dialect="panel", max_retries=0)
    with pytest.raises(PanelicaError) as caught:
        await panel.ftp.accounts.create(username="acme", domain_id="1", password=SECRET)
    assert locals_with_secret(caught.value) <= {"password", "arguments"}


async def test_api_key_quoted_by_the_panel_is_never_shown(
    server: RawServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "panelica_async")
    key = "Ab9-no-usual-form"
    server.script(reply(401, json={"error": f"the key {key} is not known"}))
    with pytest.raises(PanelicaError) as caught:
        await connect(api_key=key).me()
    assert key not in everything_shown(caught.value) + caplog.text


async def test_crash_while_reading_a_reply_quotes_no_secret(
    server: RawServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError(SAID)

    monkeypatch.setattr("panelica_async.transport.call.unwrap", fail)
    server.script(reply(json={"id": "a1"}))
    with pytest.raises(PanelicaError) as caught:
        await send(connect(), "body")
    assert SECRET not in everything_shown(caught.value)


async def test_request_id_of_a_success_quotes_no_secret(
    server: RawServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "panelica_async")
    server.script(reply(json={"id": "a1"}, headers={"X-Request-Id": "r-correct-horse-9"}))
    await connect().accounts.create(username="acme", email="a@example.com", password="correct-horse-9")
    assert "correct-horse" not in caplog.text


async def send(panel: PanelicaClient, how: str) -> None:
    match how:
        case "body":
            await panel.accounts.create(username="acme", email="a@example.com", password=SECRET)
        case "deep body":
            body = {"environment": [{"DB_PASS": SECRET}]}
            result = await panel.request("POST", "/v1/docker", json=body)
            raise PanelicaError(f"nothing was wrong with {len(result.data)} bytes")
        case "query":
            result = await panel.request("GET", "/v1/x", query={"token": SECRET})
            raise PanelicaError(f"nothing was wrong with {len(result.data)} bytes")
        case _:
            form = aiohttp.FormData({"password": SECRET}, default_to_multipart=True)
            result = await panel.request("POST", "/v1/x", form=form)
            raise PanelicaError(f"nothing was wrong with {len(result.data)} bytes")


async def test_file_content_quoted_by_the_panel_is_never_shown(server: RawServer, connect: Connect) -> None:
    content = "<?php\n$db = 'Zq7kWex4';\n"
    server.script(reply(400, json={"error": f"syntax error near $db = 'Zq7kWex4'; in {json.dumps(content)}"}))
    with pytest.raises(PanelicaError) as caught:
        await connect().files.write(path="/home/a/x.php", content=content)
    assert "Zq7kWex4" not in everything_shown(caught.value)


async def test_error_of_a_large_write_is_made_quickly(server: RawServer, connect: Connect) -> None:
    """The excerpt of the body is bounded, and the content of a file is not searched."""
    server.script(reply(502))
    task = asyncio.ensure_future(connect(max_retries=0).files.write(path="/a", content="password=x " * 300_000))
    with pytest.raises(PanelicaError) as caught:
        await task
    assert len(str(vars(caught.value))) < 10_000
