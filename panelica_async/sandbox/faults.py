"""Simulates faults in the panel's replies: lost replies, failing gateways, a slow panel.

    async with Sandbox() as box:
        box.faults.add(Fault.LOST_REPLY, method="POST", path="/v1/domains")
        ...  # the next create of a domain is carried out, and its reply never arrives

A fault determines what the client sees, and whether the panel carries out the request. To add one, add a member to
`Fault`.
"""

import asyncio
import enum
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from fnmatch import fnmatchcase

import attrs
from aiohttp import hdrs, web

from panelica_async.core.signing import signed_path
from panelica_async.sandbox.messages import PREFIX

Responder = Callable[[web.Request], Awaitable[web.Response]]
_ReplyFactory = Callable[[web.Response], web.Response]


class _Effect(enum.Enum):
    """Whether the panel carries out the request, and when."""

    NEVER = "the panel does nothing"
    AT_ONCE = "the panel carries out the request"
    LATER = "the panel carries out the request later"
    """*Later* means just before the next write, like a worker that carries on after its client has disconnected."""


class _Delivery(enum.Enum):
    """How the reply reaches the client, if it does."""

    WHOLE = enum.auto()
    RESET = enum.auto()
    """The connection is reset instead."""
    NEVER = enum.auto()
    """The connection stays open without a reply, until the sandbox stops and resets it."""
    CUT = enum.auto()
    """The connection ends five bytes before the reply does."""
    NOT_UTF_8 = enum.auto()
    """The reply has a header that is not UTF-8."""


def _unchanged(reply: web.Response) -> web.Response:
    return reply


def _web_page(status: int, title: str) -> _ReplyFactory:
    """Reply with a web page, as a server in front of the panel does."""
    return lambda _: web.Response(status=status, text=f"<html><title>{title}</title></html>", content_type="text/html")


def _json_error(status: int, error: str, code: str = "", **headers: str) -> _ReplyFactory:
    """Reply with an error in the panel's own form."""
    return lambda _: web.json_response({"error": error, "code": code}, status=status, headers=headers)


def _success_with(text: str, *, status: int = 200, content_type: str = "application/json") -> _ReplyFactory:
    """Reply with a success that has this body."""
    return lambda _: web.Response(status=status, text=text, content_type=content_type)


@attrs.frozen
class _Behaviour:
    client_sees: str
    effect: _Effect = _Effect.NEVER
    reply: _ReplyFactory = attrs.field(default=_unchanged, eq=False)
    delivery: _Delivery = _Delivery.WHOLE


@enum.unique
class Fault(enum.Enum):
    """What goes wrong with a request. No two faults have the same description and delivery."""

    LOST_REQUEST = _Behaviour("the connection breaks", delivery=_Delivery.RESET)
    LOST_REPLY = _Behaviour("the connection breaks", _Effect.AT_ONCE, delivery=_Delivery.RESET)
    LATE = _Behaviour("the connection breaks", _Effect.LATER, delivery=_Delivery.RESET)
    HANGS_BEFORE = _Behaviour("no reply ever comes", delivery=_Delivery.NEVER)
    HANGS_AFTER = _Behaviour("no reply ever comes", _Effect.AT_ONCE, delivery=_Delivery.NEVER)
    HANGS_LATE = _Behaviour("no reply ever comes", _Effect.LATER, delivery=_Delivery.NEVER)

    GATEWAY_BEFORE = _Behaviour("502 from the web server", reply=_web_page(502, "Bad Gateway"))
    GATEWAY_AFTER = _Behaviour("502 from the web server", _Effect.AT_ONCE, _web_page(502, "Bad Gateway"))
    GATEWAY_TIMEOUT_AFTER = _Behaviour("504 from the web server", _Effect.AT_ONCE, _web_page(504, "Gateway Time-out"))
    MISSING_PAGE = _Behaviour("404 with a web page", reply=_web_page(404, "Not Found"))
    MISSING_PAGE_AFTER = _Behaviour("404 with a web page", _Effect.AT_ONCE, _web_page(404, "Not Found"))
    FORBIDDEN_PAGE_AFTER = _Behaviour("403 with a web page", _Effect.AT_ONCE, _web_page(403, "Forbidden"))

    SERVER_ERROR = _Behaviour("500", reply=_json_error(500, "Internal error", "INTERNAL_ERROR"))
    SERVER_ERROR_AFTER = _Behaviour("500", _Effect.AT_ONCE, _json_error(500, "Internal error", "INTERNAL_ERROR"))
    SERVER_ERROR_LATE = _Behaviour("500", _Effect.LATER, _json_error(500, "Internal error", "INTERNAL_ERROR"))
    UNAVAILABLE = _Behaviour("503", reply=_json_error(503, "Service unavailable"))
    UNAVAILABLE_RETRY_AFTER = _Behaviour(
        "503 with Retry-After: 1",
        reply=_json_error(503, "Service unavailable", **{hdrs.RETRY_AFTER: "1"}),
    )
    OVER_LIMIT = _Behaviour(
        "429 with Retry-After: 1",
        reply=_json_error(429, "Rate limit exceeded", **{hdrs.RETRY_AFTER: "1"}),
    )
    OVER_LIMIT_AFTER = _Behaviour(
        "429 with Retry-After: 0",
        _Effect.AT_ONCE,
        _json_error(429, "Rate limit exceeded", **{hdrs.RETRY_AFTER: "0"}),
    )
    TIMED_OUT_AFTER = _Behaviour("408", _Effect.AT_ONCE, _json_error(408, "Request timed out"))
    REFUSED = _Behaviour("403 from the panel", reply=_json_error(403, "Not allowed", "FORBIDDEN"))
    CONFLICT = _Behaviour("409 from the panel", reply=_json_error(409, "Exists already", "CONFLICT"))
    REVOKED = _Behaviour("401 from the panel", reply=_json_error(401, "Key revoked", "INVALID_API_KEY"))

    THIN_REPLY = _Behaviour(
        "200 that says success and nothing more",
        _Effect.AT_ONCE,
        _success_with('{"status": "success"}'),
    )
    SUCCESS_NOT_DONE = _Behaviour("200 that says success", reply=_success_with('{"status": "success"}'))
    NO_JSON = _Behaviour(
        "200 with text that is not JSON",
        _Effect.AT_ONCE,
        _success_with("OK", content_type="text/plain"),
    )
    GARBLED_REPLY = _Behaviour(
        "201 with JSON that ends too early",
        _Effect.AT_ONCE,
        _success_with('{"id": "', status=201),
    )
    CUT_REPLY = _Behaviour("the connection breaks within the reply", _Effect.AT_ONCE, delivery=_Delivery.CUT)
    BAD_HEADER = _Behaviour(
        "the right reply with a header that is not UTF-8",
        _Effect.AT_ONCE,
        delivery=_Delivery.NOT_UTF_8,
    )

    @property
    def description(self) -> str:
        """What the client sees, and what the panel does."""
        return f"{self.value.client_sees}; {self.value.effect.value}"


FaultChooser = Callable[[web.Request], Fault | None]
"""Returns the fault of a request, or None."""


@attrs.define
class _Rule:
    """Fails every Nth request that matches, until none remain."""

    fault: Fault
    methods: frozenset[str]
    path: str
    every: int
    remaining: float
    matches: int = 0

    def next_fault(self, request: web.Request) -> Fault | None:
        if self.remaining <= 0 or (self.methods and request.method not in self.methods):
            return None
        if not fnmatchcase(signed_path(request.raw_path.partition("?")[0], PREFIX), self.path):
            return None
        self.matches += 1
        if self.matches % self.every:
            return None
        self.remaining -= 1
        return self.fault


class Faults:
    """The faults of a panel: which requests fail, and how.

    Args:
        choose: Returns the fault of each request that no added fault matches; None for no further faults.

    Attributes:
        happened: Set when a fault has occurred. Clear it to wait for the next one.
    """

    def __init__(self, choose: FaultChooser | None = None) -> None:
        self.happened: asyncio.Event = asyncio.Event()
        self._choose = choose
        self._rules: list[_Rule] = []
        self._delayed_request: Callable[[], Awaitable[object]] | None = None
        self._stopped = asyncio.Event()

    def add(
        self, fault: Fault, *, method: str | Iterable[str] = (), path: str = "*", every: int = 1, times: int | None = 1
    ) -> None:
        """Make requests fail. If several faults match a request, the one added first applies.

        Args:
            fault: What goes wrong.
            method: HTTP method of the requests, such as `POST`, or several; by default any.
            path: Path of the requests without the prefix, such as `/v1/domains`; `*` stands for any text.
            every: Fail every Nth matching request: 3 fails the third, the sixth and so on. At least 1.
            times: How many requests fail, at least 1; None for all of them.

        Raises:
            ValueError: `every` or `times` is less than 1.
        """
        for name, number in (("every", every), ("times", times)):
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, not {number}")
        methods = (method,) if isinstance(method, str) else method
        upper_methods = frozenset(name.upper() for name in methods)
        remaining = float("inf") if times is None else times
        self._rules.append(_Rule(fault, upper_methods, path, every, remaining))

    def clear(self) -> None:
        """Remove all faults."""
        self._rules.clear()
        self._choose = None

    def next_fault(self, request: web.Request) -> Fault | None:
        """Count a request, and return its fault; None if it has none."""
        for rule in self._rules:
            if (fault := rule.next_fault(request)) is not None:
                return fault
        return None if self._choose is None else self._choose(request)

    async def serve(self, request: web.Request, panel: Responder) -> web.Response:
        """Answer a request, or let it fail if it has a fault."""
        if request.method != hdrs.METH_GET:
            await self.catch_up()
        fault = self.next_fault(request)
        return await (panel(request) if fault is None else self.fail(request, fault, panel))

    async def fail(self, request: web.Request, fault: Fault, panel: Responder) -> web.Response:
        """Answer a request with a fault.

        Args:
            request: The request.
            fault: What goes wrong.
            panel: Carries out the request.
        """
        behaviour = fault.value
        await request.read()
        reply = web.Response(status=503)
        if behaviour.effect is _Effect.AT_ONCE:
            reply = await panel(request)
        elif behaviour.effect is _Effect.LATER:
            self._delayed_request = lambda: panel(request)
        self.happened.set()
        reply = behaviour.reply(reply)
        if behaviour.delivery is _Delivery.NEVER:
            await self._stopped.wait()
        if behaviour.delivery in {_Delivery.NEVER, _Delivery.RESET}:
            reset(request.transport)
        elif behaviour.delivery is not _Delivery.WHOLE and request.transport is not None:
            request.transport.write(_raw_bytes(reply, behaviour.delivery))
            request.transport.close()
        return reply

    async def catch_up(self) -> None:
        """Carry out the delayed request, if there is one."""
        if self._delayed_request is not None:
            send, self._delayed_request = self._delayed_request, None
            await send()

    def stop(self) -> None:
        """Reset the connections of requests that hang."""
        self._stopped.set()
        self._stopped = asyncio.Event()


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection so that the peer sees a reset instead of a normal end."""
    if isinstance(transport, asyncio.Transport):
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _raw_bytes(reply: web.Response, delivery: _Delivery) -> bytes:
    """Serialise a reply that aiohttp would refuse to send: one cut short, or with a broken header."""
    body = reply.body if isinstance(reply.body, bytes) else b""
    head = f"HTTP/1.1 {reply.status} \r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n".encode()
    end = b"Connection: close\r\n\r\n" + body
    return (head + end)[:-5] if delivery is _Delivery.CUT else head + b"X-Request-Id: \xff\xfe\r\n" + end
