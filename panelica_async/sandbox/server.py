"""The sandbox on a port: aiohttp around the panel."""

import asyncio
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from email.utils import formatdate
from pathlib import Path
from ssl import SSLContext
from types import TracebackType
from typing import Self

import attrs
from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError

from panelica_async.catalog import TIERS
from panelica_async.core.json_codec import dumps
from panelica_async.sandbox.auth import Credentials, create_key, is_key, root_key
from panelica_async.sandbox.deliveries import Deliveries, webhook_secret
from panelica_async.sandbox.faults import Faults
from panelica_async.sandbox.limits import Counting
from panelica_async.sandbox.messages import ApiError, HttpRequest, bad_request
from panelica_async.sandbox.panel import PREFIX, Panel
from panelica_async.sandbox.seed import root_id, seed
from panelica_async.sandbox.spec import Document, Json, shipped_document
from panelica_async.sandbox.store import Store

_http_log = logging.getLogger(f"{__name__}.http")
# A request that is no HTTP is answered with 400; a traceback would only say where the parser gave up.
_http_log.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError)))

_RECORDED_REQUESTS = 10_000
_MAX_BODY_BYTES = 8 * 1024 * 1024


@attrs.frozen
class RecordedRequest:
    """A request that the sandbox answered."""

    method: str
    path: str
    """As sent, without query."""
    status: int
    operation: str | None
    """Name of the operation, such as `domains.create`; None when the path names none."""


class Sandbox:
    """A Panelica panel in the process, with real signatures, limits and state.

        async with Sandbox(tier="professional") as box:
            panel = PanelicaClient(box.base_url, api_key=box.api_key, api_secret=box.api_secret)

    Args:
        tier: Rate-limit tier of the root key: `starter`, `professional`, `business` or `enterprise`.
        db: Database file, made when missing; `:memory:` forgets everything at the end. A file that exists goes on
            with its objects and its root key.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        scopes: Scopes of the root key.
        ip_whitelist: Addresses or networks the root key may be used from; any when empty.
        ssl: Certificate and private key to serve https with; http when left out.
        clock: Returns the panel's time in Unix seconds, which its replies tell in their `Date`.
        api_key: Public half of the root key, such as `pk_test_0123`; made up when left out.
        api_secret: Secret half of the root key; made up when left out.
        latency: Seconds every answer is held back, at least 0.
        window: How the rate limit counts: `fixed`, `sliding` or `bucket`; see `panelica_async.sandbox.limits`.
        document: Another merged OpenAPI document than the one of this package.

    Its attributes are those of the running panel and raise `RuntimeError` when it does not run, but for `requests` and
    `faults`.

    Raises:
        ValueError: There is no such tier, `api_key` does not look like a key, or `latency` is negative.
    """

    def __init__(
        self,
        tier: str = "professional",
        *,
        db: str | Path = ":memory:",
        host: str = "127.0.0.1",
        port: int = 0,
        scopes: Iterable[str] = ("*:*",),
        ip_whitelist: Iterable[str] = (),
        ssl: SSLContext | None = None,
        clock: Callable[[], float] = time.time,
        api_key: str | None = None,
        api_secret: str | None = None,
        latency: float = 0.0,
        window: Counting = "fixed",
        document: Json | None = None,
    ) -> None:
        if tier not in TIERS:
            raise ValueError(f"tier is {tier!r}: take one of {', '.join(TIERS)}")
        if api_key is not None and not is_key(api_key):
            raise ValueError("api_key does not look like a key: pk_live_… or pk_test_…")
        if latency < 0:
            raise ValueError(f"latency is {latency}: give seconds, at least 0")
        self._tier = tier
        self._db = str(db)
        self._host = host
        self._port = port
        self._scopes = tuple(scopes)
        self._ip_whitelist = tuple(ip_whitelist)
        self._ssl = ssl
        self._clock = clock
        self._wanted_key = api_key
        self._wanted_secret = api_secret
        self._latency = latency
        self._window: Counting = window
        self._document = shipped_document() if document is None else Document(document)
        self._running: _Running | None = None
        self.requests: deque[RecordedRequest] = deque(maxlen=_RECORDED_REQUESTS)
        """The last 10,000 requests that the panel answered, oldest first."""
        self.faults = Faults()
        """Makes requests fail on purpose; see `panelica_async.sandbox.faults`."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the database and listen.

        Raises:
            RuntimeError: It is running already.
            OSError: The address cannot be listened on.
            ValueError: The database file is of another version, or a scope or address of the root key is not one.
        """
        if self._running is not None:
            raise RuntimeError("the sandbox is running already")
        store = Store(self._db, self._clock, seed)
        try:
            credentials = self._root_key(store)
            panel = Panel(store, self._document, self._clock, window=self._window)
            application = web.Application(client_max_size=_MAX_BODY_BYTES)
            # An encoded line break belongs to a path as any other character does.
            application.router.add_route("*", "/{path:(?s:.*)}", self._serve)
            # The signature is over the bytes on the wire: a body stays compressed, as it does in Go.
            runner = web.AppRunner(
                application, access_log=None, logger=_http_log, shutdown_timeout=1.0, auto_decompress=False
            )
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, self._port, ssl_context=self._ssl).start()
            except BaseException:
                await runner.cleanup()
                raise
        except BaseException:
            store.close()
            raise
        deliveries = Deliveries(store)
        deliveries.send_pending()
        self._running = _Running(panel, store, runner, credentials, deliveries)

    async def stop(self) -> None:
        """Stop listening and close the database. Does nothing when it is not running."""
        if self._running is None:
            return
        running, self._running = self._running, None
        self.faults.stop()
        await running.runner.cleanup()
        await running.deliveries.stop()
        running.store.close()

    @property
    def base_url(self) -> str:
        """Address for clients, such as `http://127.0.0.1:3002/api/external`; it is served without the prefix too."""
        host, port, *_ = self._now().runner.addresses[0]
        scheme = "http" if self._ssl is None else "https"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{PREFIX}"

    @property
    def api_key(self) -> str:
        """Public half of the root key."""
        return self._now().credentials.api_key

    @property
    def api_secret(self) -> str:
        """Secret half of the root key, as it was at the start."""
        return self._now().credentials.api_secret

    @property
    def webhook_secret(self) -> str:
        """Secret that webhook deliveries are signed with; see `panelica_async.sandbox.deliveries`."""
        return webhook_secret(self._now().store)

    @property
    def database(self) -> sqlite3.Connection:
        """The connection to the panel's database, for tests to look into."""
        return self._now().store.connection

    def add_key(
        self,
        *,
        scopes: Iterable[str] = ("*:*",),
        tier: str = "professional",
        ip_whitelist: Iterable[str] = (),
        expires_at: datetime | None = None,
    ) -> Credentials:
        """Add an API key of the administrator root.

        Args:
            scopes: What it may do, such as `domains:read`.
            tier: Its rate-limit tier.
            ip_whitelist: Addresses or networks it may be used from; any when empty.
            expires_at: When it expires, with a time zone; never when left out.

        Raises:
            ValueError: There is no such tier, scope or address, or `expires_at` has no time zone.
            RuntimeError: The sandbox is not running.
        """
        if expires_at is not None and expires_at.utcoffset() is None:
            raise ValueError("expires_at needs a time zone, such as datetime.now(UTC)")
        store = self._now().store
        try:
            return create_key(
                store,
                user_id=root_id(store),
                name="Added key",
                scopes=scopes,
                tier=tier,
                ip_whitelist=ip_whitelist,
                expires_at=None if expires_at is None else int(expires_at.timestamp()),
            )
        except ApiError as error:
            raise ValueError(error.details) from None

    def _root_key(self, store: Store) -> Credentials:
        try:
            return root_key(
                store,
                scopes=self._scopes,
                tier=self._tier,
                ip_whitelist=self._ip_whitelist,
                api_key=self._wanted_key,
                api_secret=self._wanted_secret,
            )
        except ApiError as error:
            raise ValueError(error.details) from None

    def _now(self) -> "_Running":
        if self._running is None:
            raise RuntimeError("the sandbox is not running: use `async with Sandbox() as box`")
        return self._running

    async def _serve(self, request: web.Request) -> web.Response:
        return await self.faults.serve(request, self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        raw_path, _, raw_query = _origin_form(request.raw_path).partition("?")
        head = HttpRequest(
            method=request.method,
            raw_path=raw_path,
            raw_query=raw_query,
            headers=request.headers,
            remote=request.remote,
        )
        panel = self._now().panel
        try:
            body = await request.read() if request.body_exists and panel.reads_body(head) else b""
        except web.HTTPRequestEntityTooLarge:
            answer = panel.refuse(_TOO_LARGE)
        except (ConnectionError, web.RequestPayloadError) as error:
            # The client went away, or its chunks are broken; aiohttp would log a traceback for each.
            answer = panel.refuse(bad_request(str(error), message="Incomplete body"))
        else:
            if self._latency:
                await asyncio.sleep(self._latency)
            answer = panel.answer(attrs.evolve(head, body=body))
            if request.method != "GET":
                self._now().deliveries.send_pending()
        self.requests.append(RecordedRequest(request.method, raw_path, answer.status, answer.operation))
        headers = {**answer.headers, hdrs.DATE: formatdate(self._clock(), usegmt=True)}
        if answer.data is None:
            return web.Response(status=answer.status, headers=headers)
        return web.Response(
            status=answer.status, headers=headers, body=dumps(answer.data), content_type="application/json"
        )


def _origin_form(target: str) -> str:
    """Return the path and query of a request target, which may name the server too (RFC 9112, 3.2.2)."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in {"http", "https"}:
        return target
    return "/" + rest.partition("/")[2]


# Guess: what a panel says to a body that is too large, and from what size on.
_TOO_LARGE = ApiError(413, "PAYLOAD_TOO_LARGE", "Request body too large", f"at most {_MAX_BODY_BYTES} bytes")


@attrs.frozen
class _Running:
    """What exists between start and stop."""

    panel: Panel
    store: Store
    runner: web.AppRunner
    credentials: Credentials
    deliveries: Deliveries
