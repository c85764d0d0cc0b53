"""A client with its own signing code that checks every reply of the sandbox against the specification."""

import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import attrs
from yarl import URL

from panelica_async.sandbox import Sandbox
from panelica_async.sandbox.spec import shipped_document

PREFIX = "/api/external"
PASSWORD = "correct horse"
MAILBOX = {"local_part": "info", "password": PASSWORD}
USER = {"username": "app", "password": PASSWORD}
"""A user of a database or of FTP."""
NO_BODY = object()


class Clock:
    """A clock that moves only when the test moves it."""

    def __init__(self, now: float = 1_772_884_800.0) -> None:  # 2026-03-07T12:00:00Z
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@attrs.frozen
class Answer:
    status: int
    data: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        return str(self.data["code"])


def signature(secret: str, method: str, target: str, timestamp: str, body: bytes) -> str:
    path, mark, query = target.removeprefix(PREFIX).partition("?")
    message = f"{method}{unquote(path)}{mark}{query}{timestamp}".encode()
    if method != "DELETE":
        message += body
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class SignedClient:
    def __init__(self, box: Sandbox, session: aiohttp.ClientSession, clock: Clock) -> None:
        self.box = box
        self.session = session
        self.clock = clock
        self.api_key = box.api_key
        self.api_secret = box.api_secret
        self.prefix = PREFIX

    def with_key(self, api_key: str, api_secret: str) -> "SignedClient":
        other = SignedClient(self.box, self.session, self.clock)
        other.api_key, other.api_secret = api_key, api_secret
        return other

    def headers(self, method: str, target: str, body: bytes) -> dict[str, str]:
        timestamp = str(int(self.clock()))
        return {
            "X-API-Key": self.api_key,
            "X-Timestamp": timestamp,
            "X-Signature": signature(self.api_secret, method, target, timestamp, body),
        }

    async def call(
        self, method: str, path: str, body: Any = NO_BODY, *, headers: Mapping[str, str | None] | None = None
    ) -> Answer:
        """Send a signed request; `headers` replaces headers, None omits one. A body of `bytes` is sent unchanged."""
        raw = b"" if body is NO_BODY else body if isinstance(body, bytes) else json.dumps(body).encode()
        target = self.prefix + path
        sent = {**self.headers(method, target, raw), "Content-Type": "application/json", **(headers or {})}
        url = URL(self.box.base_url.removesuffix(PREFIX) + target, encoded=True)
        async with self.session.request(
            method, url, data=io.BytesIO(raw), headers={name: text for name, text in sent.items() if text is not None}
        ) as response:
            content = await response.read()
            data = json.loads(content) if content else None
            answer = Answer(response.status, data, response.headers.copy())
        self._check(method, path, answer)
        return answer

    def _check(self, method: str, path: str, answer: Answer) -> None:
        record = self.box.requests[-1]
        assert (record.method, record.status) == (method, answer.status)
        assert record.path == urlsplit(self.prefix + path).path
        assert answer.headers["X-Request-Id"].startswith("req_")
        if answer.status < 400:
            check_reply(record.operation, answer)
        else:
            shipped_document().validator({"$ref": "#/components/schemas/Error"}).validate(answer.data)

    async def ok(self, method: str, path: str, body: Any = NO_BODY) -> Any:
        answer = await self.call(method, path, body)
        assert answer.status < 300, answer.data
        return answer.data

    async def refused(self, status: int, method: str, path: str, body: Any = NO_BODY) -> dict[str, Any]:
        answer = await self.call(method, path, body)
        assert answer.status == status, answer.data
        data: dict[str, Any] = answer.data
        return data

    async def account(self, username: str = "john", plan: str | None = None, **fields: Any) -> dict[str, Any]:
        if plan is not None:
            fields["plan_id"] = next(row["id"] for row in await self.ok("GET", "/v1/plans") if row["name"] == plan)
        fields = {"email": f"{username}@example.net", "password": PASSWORD, **fields}
        row: dict[str, Any] = await self.ok("POST", "/v1/accounts", {"username": username, **fields})
        return row

    async def domain(self, domain: str = "example.com", user_id: str | None = None, **fields: Any) -> dict[str, Any]:
        owner = user_id or (await self.account())["id"]
        row: dict[str, Any] = await self.ok("POST", "/v1/domains", {"domain": domain, "user_id": owner, **fields})
        return row

    def count(self, table: str) -> int:
        return int(self.box.database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def check_reply(operation: str | None, answer: Answer) -> None:
    """Check a successful reply against the specification: its status and its body."""
    document = shipped_document()
    endpoint = next((endpoint for endpoint in document.endpoints if endpoint.operation == operation), None)
    if endpoint is None:
        return  # an operation of another document
    assert answer.status == endpoint.success_status
    if endpoint.reply_schema is None:
        assert answer.data is None
        return
    document.validator(endpoint.reply_schema).validate(answer.data)
    # Stricter than the schema, which allows unknown fields: the sandbox sends none.
    rows = answer.data.get("data", [answer.data]) if isinstance(answer.data, dict) else answer.data
    schema = endpoint.row_schema or document.resolve(endpoint.reply_schema)
    for row in rows:
        assert schema.get("additionalProperties") or set(row) <= set(schema["properties"]), row
