"""What a client learns about its panel: its dialect, the page length of lists, and reads that several calls share.

The caller chooses the dialect, or the client asks the panel, once per address and process: `GET /health`, without `/v1`
and without a signature. Current panels answer with a JSON object, servers of the published reference with a JSON 404
(evidence: address-health). Anything else decides nothing: a 5xx, a web page, a redirect or a closed port only means
that the API cannot be reached now.
"""

import asyncio
import copy
import os
import threading
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

from panelica_async.core import hints
from panelica_async.core.json_codec import loads
from panelica_async.core.model import Unset
from panelica_async.core.operation import Dialect, Repeat
from panelica_async.core.reply import unwrap
from panelica_async.core.request import PreparedRequest
from panelica_async.errors import ConfigurationError, DecodeError, PanelicaError, RequestTimeoutError
from panelica_async.telemetry import LOGGER
from panelica_async.transport.call import Call, CallOptions, Reply
from panelica_async.transport.pipeline import Transport

if TYPE_CHECKING:
    from panelica_async.api.panel_spec import Catalogue

T = TypeVar("T")

DIALECT_VARIABLE: Final = "PANELICA_DIALECT"
DIALECTS: Final = ("auto", "reference", "panel")
DEFAULT_DIALECT: Final = "auto"
_METHOD, _PATH = "GET", "/health"
_ANSWER_LIFETIME = 60.0
"""Seconds for which an answer is kept. It may become wrong: anyone can move an object to another account."""
_MAX_KEPT_ANSWERS = 1_000
"""With one more, the oldest is dropped."""
_CREATING_VERBS = frozenset({"create", "issue"})


def chosen_dialect(argument: str | Unset) -> Dialect | None:
    """Return the dialect that an argument or `PANELICA_DIALECT` names; None for `auto`, which asks the panel.

    Raises:
        ConfigurationError: No dialect has this name.
    """
    source, name = "dialect", argument
    if isinstance(name, Unset):
        source, name = DIALECT_VARIABLE, default_dialect()
    match name:
        case "reference" | "panel":
            return name
        case "auto":
            return None
        case _:
            raise ConfigurationError(f"{source} must be one of {', '.join(DIALECTS)}, not {name!r}")


def default_dialect() -> str:
    """Return the dialect to use when the caller chooses none: that of `PANELICA_DIALECT`, or `auto`."""
    return os.environ.get(DIALECT_VARIABLE) or DEFAULT_DIALECT


class PanelDialect:
    """The dialect of one panel, chosen by the caller or learnt. A client and its variants share one.

    Args:
        transport: Asks the panel.
        address: Address of the panel; clients of the same address share the panel's answer.
        chosen: The dialect that the caller chose; None to ask the panel.
    """

    def __init__(self, transport: Transport, address: str, chosen: Dialect | None = None) -> None:
        self.known: Dialect | None = chosen or _dialects.get(address)
        """The dialect; None until the panel has answered."""
        self._transport = transport
        self._address = address
        self._tasks: set[asyncio.Task[None]] = set()

    async def learn(self, options: CallOptions) -> Dialect:
        """Return the dialect; ask the panel if it is unknown, with at most two requests.

        Concurrent calls share the answer, across clients, event loops and threads. Calls of the same client with the
        same options share a failure, too.

        Args:
            options: Those of the call that needs the dialect; its deadline, `max_wait` and `max_retries` apply.

        Raises:
            PanelicaError: The panel does not answer, or its answer decides nothing. The next call asks again.
        """
        if self.known is None:
            try:
                async with asyncio.timeout(options.deadline):
                    self.known = await self._learn(options)
            except RequestTimeoutError:
                raise
            except TimeoutError as error:
                problem = f"the deadline of {options.deadline:g} s has passed"
                raise RequestTimeoutError(problem, method=_METHOD, path=_PATH, hint=hints.DIALECT) from error
        return self.known

    async def close(self) -> None:
        """Cancel the queries of this client, and wait for them to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _learn(self, options: CallOptions) -> Dialect:
        # Without the deadline: the query continues for the other calls that wait for its answer.
        query_options = CallOptions(
            timeout=options.timeout, max_wait=options.max_wait, max_retries=min(1, options.max_retries)
        )
        patience = min(options.timeout, inf if options.max_wait is None else options.max_wait)
        while True:
            query = self._join_or_start_query(query_options, joins_others=patience > 0)
            if isinstance(query, str):
                return query
            if query.would_fail_alike(self, query_options):
                failure = await query.wait()
                if failure is not None:
                    raise _with_dialect_hint(failure) from failure.__cause__
            else:
                # The query of another client may take longer, or fail because of that client's settings, such as its
                # certificate. Then this client asks for itself.
                await query.wait(patience)
                patience = 0.0

    def _join_or_start_query(self, options: CallOptions, *, joins_others: bool) -> "Dialect | _DialectQuery":
        """Return the dialect if it is known by now, otherwise a query to wait for; start one if none is running."""
        with _queries_lock:
            if self._address in _dialects:
                return _dialects[self._address]
            running = _running_queries.setdefault(self._address, [])
            for query in running:
                if joins_others or query.would_fail_alike(self, options):
                    return query
            query = _DialectQuery(self, options)
            running.append(query)
        # In an empty context, not that of the call that happens to be first and may end long before.
        task = asyncio.create_task(self._run_query(query), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return query

    async def _run_query(self, query: "_DialectQuery") -> None:
        """Ask the panel, and record the answer or the failure; a cancelled query has neither."""
        answer: Dialect | None = None
        failure: Exception | None = None
        try:
            answer = await self._request_dialect(query.options)
            LOGGER.info("%s speaks the %s dialect", self._address, answer)
        except Exception as error:  # noqa: BLE001 - raised by the calls that wait for the answer
            # Without the traceback, which refers to this frame, and so to the error itself: a reference cycle.
            failure = error.with_traceback(None)
        finally:
            with _queries_lock:
                if answer is not None:
                    _dialects[self._address] = answer
                _running_queries[self._address].remove(query)
            query.failure.set_result(failure)

    async def _request_dialect(self, options: CallOptions) -> Dialect:
        transport = self._transport
        request, timeouts = PreparedRequest(method=_METHOD, path=_PATH), transport.timeouts.get(options.timeout)
        call = Call("health", request, Repeat.READ, options, timeouts, f"{_METHOD} {_PATH}", signed=False)
        call.expects_short_reply = True
        transport.monitor.queued(call)
        try:
            dialect = _dialect_from_reply(call, await transport.send(call))
        except BaseException as error:
            transport.monitor.done(call, error)
            raise
        transport.monitor.done(call)
        return dialect


class _DialectQuery:
    """A running request that finds out the dialect of a panel.

    Args:
        owner: Sends the request.
        options: How the request is sent.
    """

    def __init__(self, owner: PanelDialect, options: CallOptions) -> None:
        self.options = options
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self.failure: Future[Exception | None] = Future()
        """Why there is no answer. Several event loops may wait for it."""
        # Once a future is running, waiters cannot cancel it.
        self.failure.set_running_or_notify_cancel()

    def would_fail_alike(self, owner: PanelDialect, options: CallOptions) -> bool:
        """Return whether a query of this owner with these options would fail for the same reason as this one."""
        return self._owner is owner and self.options == options and self._loop is asyncio.get_running_loop()

    async def wait(self, seconds: float | None = None) -> Exception | None:
        """Wait until the query ends, or at most some seconds; return its failure, if any."""
        waiter = asyncio.wrap_future(self.failure)
        try:
            done, _ = await asyncio.wait((waiter,), timeout=seconds)
            return waiter.result() if done else None
        finally:
            # The event loop of the waiter may be closed by the time the query ends.
            waiter.cancel()


_dialects: dict[str, Dialect] = {}
"""The known dialects, by the address of the panel."""
_running_queries: dict[str, list[_DialectQuery]] = {}
"""The queries under way, by the address of the panel."""
# Reentrant: garbage collection may end a query in the thread that already holds the lock.
_queries_lock = threading.RLock()


def forget_dialects() -> None:
    """Forget which dialect panels speak."""
    _dialects.clear()


def _dialect_from_reply(call: Call, reply: Reply) -> Dialect:
    """Return the dialect of the panel that sent a reply; raise if the reply does not show it."""
    try:
        payload = None if reply.is_truncated else loads(reply.body)
    except ValueError:
        payload = None
    is_success, is_object = 200 <= reply.status < 300, isinstance(payload, dict)
    if is_success and is_object and not unwrap(payload).failed:
        return "panel"
    if reply.status == 404 and is_object:
        return "reference"
    if is_success and not is_object:
        hint = hints.WEB_PAGE if reply.body.lstrip().startswith(b"<") else None
        raise DecodeError("the reply is not a JSON object", endpoint=call.endpoint, body=reply.body, hint=hint)
    raise call.error(reply)


def _with_dialect_hint(failure: Exception) -> Exception:
    """Return a copy of a failure, for one of the calls that raise it, with the hint to choose the dialect."""
    error = copy.copy(failure)
    if isinstance(error, PanelicaError) and not isinstance(error, ConfigurationError):
        error.hint = f"{error.hint} {hints.DIALECT}" if error.hint else hints.DIALECT
    return error


def _reset_after_fork() -> None:
    """Start without queries in a child process: they run in the parent, one of whose threads may hold the lock."""
    global _queries_lock  # noqa: PLW0603
    _queries_lock = threading.RLock()
    _running_queries.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


class PanelKnowledge:
    """What a client and its variants have learnt about their panel; they share one."""

    def __init__(self) -> None:
        self.lists: ListTracker = ListTracker()
        """Page lengths, and which lists this client has changed."""
        self.reads: SharedReads = SharedReads()
        """Answers that calls share with each other."""
        self.catalogue: Catalogue | None = None
        """What the panel lists about itself; fields are checked against it."""


class ListTracker:
    """Tracks how long the pages of each list are, and how often this client has changed it."""

    def __init__(self) -> None:
        self._longest_pages: dict[str, int] = {}
        self._changes: dict[str, int] = {}

    def change_count(self, kind: str) -> int:
        """Return how often the client changed objects of a kind, such as `email.accounts`, since the first request."""
        return self._changes.setdefault(kind, 0)

    def note_first_page(self, endpoint: str, length: int) -> bool:
        """Remember the length of a first page, requested without a limit; return whether it is the whole list.

        Guess: all pages of an endpoint have the same length, so one that is shorter than an earlier one is the last.
        """
        longest = self._longest_pages.get(endpoint, 0)
        self._longest_pages[endpoint] = max(longest, length)
        return length < longest

    def note_write(self, operation: str) -> None:
        """Note that an operation that writes was sent. One that only creates does not move other objects."""
        kind, _, verb = operation.rpartition(".")
        if kind in self._changes and verb not in _CREATING_VERBS:
            self._changes[kind] += 1


class _ReadUnderWay:
    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiters: int = 0
        """How many calls wait for it."""


class SharedReads:
    """Reads that calls share: they join one that is under way, and keep answers that seldom change for a minute."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Any, float]] = {}
        """Answers and when they expire, by key."""
        self._under_way: dict[Hashable, _ReadUnderWay] = {}

    def kept(self, key: Hashable) -> Any:
        """Return an answer that was kept; None when there is none or it is too old."""
        answer, expires_at = self._kept.get(key, (None, 0.0))
        return answer if asyncio.get_running_loop().time() < expires_at else None

    def keep(self, key: Hashable, answer: object) -> None:
        """Keep an answer for a minute."""
        self._kept.pop(key, None)
        if len(self._kept) >= _MAX_KEPT_ANSWERS:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = answer, asyncio.get_running_loop().time() + _ANSWER_LIFETIME

    def forget(self) -> None:
        """Forget every answer that was kept."""
        self._kept.clear()

    async def read(self, key: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Return an answer, and whether its read was already under way when this call came.

        Such an answer may lack what changed since the read began. A read is cancelled with the last call that waits
        for it.

        Args:
            key: Identifies the read. Calls with the same key share its answer, or its failure.
            ask: Starts the read, unless one is under way.
        """
        read = self._under_way.get(key)
        was_under_way = read is not None
        if read is None:
            read = self._under_way[key] = _ReadUnderWay(asyncio.create_task(ask()))
        read.waiters += 1
        try:
            return await asyncio.shield(read.task), was_under_way
        finally:
            read.waiters -= 1
            if read.task.done() or not read.waiters:
                read.task.cancel()
                if self._under_way.get(key) is read:
                    del self._under_way[key]
