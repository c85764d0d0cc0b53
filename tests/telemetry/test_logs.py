"""Lines of the log: their text and level, and that they contain no secrets."""

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async import ConflictError, DecodeError, OutcomeUnknownError, PanelicaClient
from panelica_async.core.error_replies import read_report
from panelica_async.core.redaction import REDACTED
from panelica_async.core.request import query_string
from panelica_async.ratelimit import RateLimit, RateLimiter
from panelica_async.telemetry import CallLog, Done, Outcome, Sent
from tests.conftest import API_KEY, API_SECRET, Advance, Connect
from tests.support.raw_server import CLOSE, RawServer, reply
from tests.telemetry.watching import without_pauses

HUSH = "hunter2-x9y8z7"
SECONDS = re.compile(r"\d+\.\d{3} s")
CALL = {"call": 7, "operation": "things.do", "method": "POST", "path": "/v1/things", "lane": "bulk", "at": 0.0}
DONE = {**CALL, "status": 200, "attempts": 1, "waited": 0.0, "duration": 0.1, "request_id": None, "error": None}


class Lines(logging.Handler):
    """A logger that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.logger = logging.Logger("lines")  # noqa: LOG001 - of one test alone
        self.logger.addHandler(self)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "panelica_async"):
        yield caplog


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and text of each line, without times."""
    return [(record.levelname, SECONDS.sub("N s", record.getMessage())) for record in caplog.records]


async def test_call_is_logged_line_by_line(
    server: RawServer, connect: Connect, debug: pytest.LogCaptureFixture
) -> None:
    server.script(reply(json=[{"id": "d1"}], headers={"X-Request-Id": "r-1"}))
    await connect().request("POST", "/v1/things", query={"page": 2}, json={"name": "x", "password": HUSH})
    queued, sent, done = said(debug)
    assert queued == ("DEBUG", "call 1 POST /v1/things: queued in the interactive lane")
    assert sent[1].startswith("call 1 POST /v1/things: attempt 1 after N s: POST /v1/things?page=2 {'Host': ")
    assert f"'X-API-Key': '{REDACTED}'" in sent[1]
    assert f"'X-Signature': '{REDACTED}'" in sent[1]
    assert "'X-Timestamp': '1" in sent[1]
    assert sent[1].endswith(f'}} {{"name": "x", "password": "{REDACTED}"}}')
    assert done == (
        "DEBUG",
        'call 1 POST /v1/things: succeeded with 200 after N s, N s of it in the queue, request id r-1: [{"id": "d1"}]',
    )


@pytest.mark.usefixtures("no_backoff")
async def test_refusals_retries_and_failures_are_logged(
    server: RawServer, connect: Connect, advance: Advance, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = {"error": {"code": "RATE_LIMIT_EXCEEDED", "limit": 300, "retry_after": 0, "window": "minute"}}
    limiter = RateLimiter(RateLimit.for_tier("professional"))
    server.script(reply(429, json=refusal), reply(503), reply(409, json={"error": "exists", "request_id": "r-2"}))
    with caplog.at_level(logging.INFO, "panelica_async"), pytest.raises(ConflictError) as caught:
        await without_pauses(connect(limiter=limiter).request("GET", "/v1/me"), limiter, advance)
    end = f"failed with 409 after N s, N s of it in the queue, 3 attempts, request id r-2: {caught.value}"
    assert said(caplog) == [
        ("WARNING", "call 1 GET /v1/me: attempt 1 exceeded the rate limit of 300 of the minute, retry after 0 s"),
        ("INFO", "call 1 GET /v1/me: attempt 1 failed, queued again: the panel answered 429"),
        ("INFO", "call 1 GET /v1/me: attempt 2 failed, queued again: the panel answered 503"),
        ("INFO", f"call 1 GET /v1/me: {end}"),
    ]


async def test_unknown_outcome_is_a_warning(
    server: RawServer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(CLOSE)
    with pytest.raises(OutcomeUnknownError) as caught:
        await connect().request("POST", "/v1/things")
    [(level, line)] = said(caplog)
    assert level == "WARNING"
    assert line == f"call 1 POST /v1/things: unknown after N s, N s of it in the queue: {caught.value}"


async def test_contents_of_files_are_left_out(
    server: RawServer, connect: Connect, debug: pytest.LogCaptureFixture
) -> None:
    panel = connect()
    server.script(reply(json={"content": HUSH}), reply(json={}), reply(200, body=f'{{"content": "{HUSH}'))
    await panel.files.read(path="/home/a/wp-config.php")
    await panel.files.write(path="/home/a/wp-config.php", content=HUSH)
    with pytest.raises(DecodeError, match=HUSH):
        await panel.files.read(path="/home/a/wp-config.php")
    assert HUSH not in debug.text
    assert f"[{len(server.requests[1].body)} bytes]" in debug.text
    assert "DecodeError: the reply is not valid JSON" in debug.text


async def test_body_that_is_not_json_is_left_out(
    server: RawServer, connect: Connect, debug: pytest.LogCaptureFixture
) -> None:
    server.script(reply(body=f"# settings\npassword {HUSH}", content_type="text/plain"))
    await connect().request("GET", "/v1/logs/latest")
    assert HUSH not in debug.text
    assert debug.messages[-1].endswith(": [34 bytes that are not JSON]")


async def test_log_without_redaction_shows_everything(server: RawServer, connect: Connect) -> None:
    lines = Lines()
    panel = connect()
    panel.subscribe(CallLog(lines.logger, redact=False))
    server.script(reply(json={"content": HUSH}), reply(409, json={"error": "exists", "token": HUSH}))
    await panel.request("PUT", "/v1/files/content", query={"token": "a b"}, json={"content": "x", "password": HUSH})
    with pytest.raises(ConflictError):
        await panel.request("POST", "/v1/me")
    _, sent, done, _, _, failed = lines.lines
    assert f"'X-API-Key': '{API_KEY}'" in sent
    assert server.requests[0].signature in sent
    assert "?token=a%20b {" in sent
    assert sent.endswith(f'{{"content":"x","password":"{HUSH}"}}')
    assert done.endswith(f'{{"content": "{HUSH}"}}')
    assert "409: exists" in failed
    assert failed.endswith(f'{{"error": "exists", "token": "{HUSH}"}}')


def test_each_event_is_one_line_whatever_the_panel_says() -> None:
    lines = Lines()
    log = CallLog(lines.logger)
    forged = "x\nERROR call 8 things.do: forged\x1b[31m"
    body = json.dumps({"error": forged, "request_id": forged}).encode()
    error = read_report(409, {}, body).error(method="POST", path="/v1/things")
    log(Done(**{**DONE, "request_id": forged, "error": error}, outcome=Outcome.FAILED, body=body))
    log(Done(**DONE, outcome=Outcome.SUCCEEDED, body=body))
    for line in lines.lines:
        assert line.isprintable()
    assert len(lines.lines) == 2


def test_attributes_of_a_record_are_on_one_line() -> None:
    records: list[logging.LogRecord] = []
    lines = Lines()
    lines.emit = records.append  # type: ignore[method-assign]
    CallLog(lines.logger)(
        Done(
            **{**DONE, "operation": "GET /v1/a\nb", "request_id": "r-1\nforged\x1b[31m"},
            outcome=Outcome.SUCCEEDED,
            body=b"",
        )
    )
    [record] = records
    assert record.__dict__["panelica_request_id"] == "r-1 forged [31m"
    assert record.__dict__["panelica_operation"] == "GET /v1/a b"


@pytest.mark.parametrize(("attempts", "shown"), [(1, ""), (2, ", 2 attempts"), (3, ", 3 attempts")])
def test_line_of_a_repeated_call_counts_its_attempts(attempts: int, shown: str) -> None:
    lines = Lines()
    CallLog(lines.logger)(Done(**{**DONE, "attempts": attempts}, outcome=Outcome.SUCCEEDED, body=b""))
    assert lines.lines[0].endswith(f"0.000 s of it in the queue{shown}")


def test_long_body_is_cut() -> None:
    lines = Lines()
    body = json.dumps({"text": "x" * 10_000}).encode()
    CallLog(lines.logger)(Done(**DONE, outcome=Outcome.SUCCEEDED, body=body))
    assert 2000 < len(lines.lines[0]) < 2200
    assert lines.lines[0].endswith("xxx…")


def test_lines_below_the_level_are_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> str:
        raise AssertionError("a line was made")

    monkeypatch.setattr(CallLog, "_describe", refuse)
    lines = Lines()
    lines.logger.setLevel(logging.INFO)
    CallLog(lines.logger)(Done(**DONE, outcome=Outcome.SUCCEEDED, body=b"{}"))


# The names of secrets on panels and in clients (evidence: key-forms, passwords, webhook-destinations).
NAMES = st.sampled_from(
    [
        "password", "new_password", "Password", "db_passwd", "api_secret", "secret", "token", "bot_token",
        "accessToken", "api_key", "apiKey", "X-API-Key", "X-Signature", "private_key", "Authorization", "Set-Cookie",
        "credentials", "ticket", "login_url", "sso_url", "ssoLink", "download_url", "backup_link",
        "webhook_url", "destination_config",
    ]
)  # fmt: skip
CORE = "q7Zk2Xv9Lm4T"
"""Part of every secret; escaping does not change it."""
SECRETS = st.builds(lambda before, after: f"{before}{CORE}{after}", st.text(max_size=5), st.text(max_size=5))
KEYS = st.text(st.characters(codec="utf-8"), max_size=5)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5)
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3))


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A document with a secret under a secret's name, at any depth and in any spelling."""
    wrap = st.sampled_from([lambda value: [value], lambda value: {draw(KEYS): value, draw(KEYS): draw(DOCUMENTS)}])
    document: Any = draw(SECRETS)
    for _ in range(draw(st.integers(0, 3))):
        document = draw(wrap)(document)
    document = {**draw(st.dictionaries(KEYS, DOCUMENTS, max_size=2)), draw(NAMES): document}
    for _ in range(draw(st.integers(0, 3) | st.just(60))):
        document = draw(wrap)(document)
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    return json.dumps(document, ensure_ascii=draw(st.booleans()), separators=separators)


def lines_of(*events: Sent | Done) -> str:
    lines = Lines()
    for event in events:
        CallLog(lines.logger)(event)
    assert len(lines.lines) == len(events)
    return "\n".join(lines.lines)


@given(bodies(), st.data())
def test_secrets_of_a_body_are_never_logged(text: str, data: st.DataObject) -> None:
    whole = text.encode()
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    status = data.draw(st.sampled_from([200, 400, 422, 429, 500]))
    events: list[Sent | Done] = [Sent(**CALL, attempt=1, waited=0.0, query="", headers={}, body=whole)]
    for body in (whole, cut):
        refusal = read_report(status, {}, body).error(method="POST", path="/v1/things")
        unreadable = DecodeError("the reply is not JSON", endpoint="POST /v1/things", body=body)
        events += [
            Done(**{**DONE, "error": error}, outcome=Outcome.FAILED, body=body) for error in (None, refusal, unreadable)
        ]
    assert CORE not in lines_of(*events)


@given(NAMES, SECRETS, st.sampled_from(["{}", "filter[{}]", "a[b][{}]", "{}[]", "x.{}"]), KEYS, st.text(max_size=5))
def test_secrets_of_a_query_or_header_are_never_logged(
    name: str, secret: str, form: str, other: str, text: str
) -> None:
    query = query_string([(other, text), (form.format(name), secret), (other, text)])
    event = Sent(**CALL, attempt=1, waited=0.0, query=query, headers={other: text, name: secret}, body=None)
    assert CORE not in lines_of(event)


@pytest.mark.parametrize(
    "body",
    [
        # (evidence: sso-login, wordpress, docker-templates)
        {"status": "success", "data": {"url": f"https://panel.example.com:8443/auto-login?token={HUSH}&redirect=%2Fa"}},
        {"data": {"login_url": f"https://www.example.com/{HUSH}", "expires_in": 300}},
        {"data": {"credentials": {"user": "admin", "pass": HUSH}, "access_url": "https://a.example.com"}},
        # (evidence: webhook-destinations)
        {"destination_config": {"url": f"https://example.com/hooks/{HUSH}", "method": "POST"}},
        {"destination_config": {"bot_token": f"123456:{HUSH}", "chat_id": "-100"}},
        {"message": f"no reply from https://hooks.slack.com/services/T0/B0/{HUSH}"},
        {"message": f"cannot fetch https://deploy:{HUSH}@git.example.com/a.git"},
        {"data": {"api_key": f"pk_live_{HUSH}", "api_secret": f"sk_live_{HUSH}"}},
        {"message": f"unknown key pk_live_{HUSH.replace('-', '')}"},
        {"backup": {"download_url": f"https://panel.example.com/d/{HUSH}"}},
        {"certificate": "-----BEGIN CERTIFICATE-----", "key": f"-----BEGIN PRIVATE KEY-----\n{HUSH}"},
        {"command": f"mysql -u a --password={HUSH} shop"},
    ],
)  # fmt: skip
def test_secrets_that_the_panel_sends_are_redacted(body: dict[str, Any]) -> None:
    shown = lines_of(Done(**DONE, outcome=Outcome.SUCCEEDED, body=json.dumps(body).encode()))
    assert HUSH not in shown
    assert HUSH.replace("-", "") not in shown


async def test_secrets_of_a_real_call_are_never_logged(
    server: RawServer, connect: Connect, debug: pytest.LogCaptureFixture
) -> None:
    panel: PanelicaClient = connect()
    server.script(reply(json={"id": "k1", "api_key": f"pk_live_{HUSH}", "api_secret": f"sk_live_{HUSH}"}))
    created = await panel.api_keys.create(name="ci", scopes=["*:*"])
    assert created.api_secret == f"sk_live_{HUSH}"
    server.script(reply(400, json={"error": f"password={HUSH} is too weak"}))
    with pytest.raises(Exception, match="too weak"):
        await panel.accounts.create(username="a", email="a@example.com", password=HUSH)
    for secret in (HUSH, API_KEY, API_SECRET, *(request.signature for request in server.requests)):
        assert secret not in debug.text


@pytest.mark.usefixtures("no_backoff")
async def test_records_have_the_data_of_lines_as_attributes(
    server: RawServer, connect: Connect, debug: pytest.LogCaptureFixture
) -> None:
    server.script(reply(503), reply(409, json={"error": f"exists: {HUSH}"}, headers={"X-Request-Id": "r-1"}))
    with pytest.raises(ConflictError):
        await connect().request("PUT", "/v1/things", json={"password": HUSH})
    *_, retried, sent, done = (
        {name: value for name, value in vars(record).items() if name.startswith("panelica_")}
        for record in debug.records
    )
    shared = {"panelica_call": 1, "panelica_operation": "PUT /v1/things", "panelica_method": "PUT"}
    assert retried.items() >= (shared | {"panelica_event": "retried", "panelica_status": 503}).items()
    assert sent.items() >= (shared | {"panelica_attempt": 2, "panelica_lane": "interactive"}).items()
    end = {"panelica_outcome": "failed", "panelica_error_type": "ConflictError", "panelica_request_id": "r-1"}
    assert done.items() >= (shared | end).items()
    assert HUSH not in str([retried, sent, done])
