"""What a client learns about its panel: its dialect, the page length of lists, and reads that several calls share.

The caller chooses the dialect, or the panel is asked, once for each address in a process: `GET /health`, without `/v1`
and without a signature. Current panels answer with a JSON object, servers of the published reference with a JSON 404
(evidence: address-health). Anything else is no answer: a 5xx, a web page, a redirect or a closed port only means that
the API cannot be reached now.
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
_LIFETIME = 60.0
"""Seconds for which an answer is kept: an object may be given to another account, by others too."""
_MOST_KEPT = 1_000
"""Answers that are kept; the oldest goes first."""
_ADDING = frozenset({"create", "issue"})


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
    """Return the dialect where no other is chosen: that of `PANELICA_DIALECT`, or `auto`."""
    return os.environ.get(DIALECT_VARIABLE) or DEFAULT_DIALECT


class PanelDialect:
    """The dialect of one panel, chosen by the caller or learnt. A client and its variants share one.

    Args:
        transport: Asks the panel.
        address: Address of the panel. Clients with the same one share what the panel answered.
        chosen: The dialect that the caller chose; None asks the panel.
    """

    def __init__(self, transport: Transport, address: str, chosen: Dialect | None = None) -> None:
        self.known: Dialect | None = chosen or _learnt.get(address)
        """None until the panel has answered."""
        self._transport = transport
        self._address = address
        self._tasks: set[asyncio.Task[None]] = set()

    async def learn(self, options: CallOptions) -> Dialect:
        """Return the dialect. Unless it is known, ask the panel, with two requests at most.

        Concurrent calls share the answer, across clients, event loops and threads. Calls of the same client with the
        same options share a failure, too.

        Args:
            options: Those of the call that needs the dialect. Its deadline, `max_wait` and `max_retries` hold.

        Raises:
            PanelicaError: The panel does not answer, or the answer does not decide. The next call asks again.
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
        """Cancel the questions under way, and wait for them to end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _learn(self, options: CallOptions) -> Dialect:
        # Without the deadline: the question goes on for the other calls that wait for its answer.
        own = CallOptions(timeout=options.timeout, max_wait=options.max_wait, max_retries=min(1, options.max_retries))
        patience = min(own.timeout, inf if own.max_wait is None else own.max_wait)
        while True:
            question = self._question(own, joins_others=patience > 0)
            if isinstance(question, str):
                return question
            if question.is_of(self, own):
                failure = await question.wait()
                if failure is not None:
                    raise _explained(failure) from failure.__cause__
            else:
                # The question of another client may last longer, or fail for a reason of that client's own, such as
                # its certificate: then this one asks for itself.
                await question.wait(patience)
                patience = 0.0

    def _question(self, options: CallOptions, *, joins_others: bool) -> "Dialect | _Question":
        """Return the answer if there is one, or else a question to wait for; ask it unless it is under way."""
        with _lock:
            if self._address in _learnt:
                return _learnt[self._address]
            under_way = _questions.setdefault(self._address, [])
            for question in under_way:
                if joins_others or question.is_of(self, options):
                    return question
            question = _Question(self, options)
            under_way.append(question)
        # With an empty context: the call that happens to be first may end long before.
        task = asyncio.create_task(self._ask(question), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return question

    async def _ask(self, question: "_Question") -> None:
        """Ask the panel; a cancelled question has no answer and no failure."""
        answer: Dialect | None = None
        failure: Exception | None = None
        try:
            answer = await self._send(question.options)
            LOGGER.info("%s speaks the %s dialect", self._address, answer)
        except Exception as error:  # noqa: BLE001 - raised by the calls that wait for the answer
            # Without the traceback, which would hold this frame, and this frame the error.
            failure = error.with_traceback(None)
        finally:
            with _lock:
                if answer is not None:
                    _learnt[self._address] = answer
                _questions[self._address].remove(question)
            question.failure.set_result(failure)

    async def _send(self, options: CallOptions) -> Dialect:
        transport = self._transport
        request, timeouts = PreparedRequest(method=_METHOD, path=_PATH), transport.timeouts.get(options.timeout)
        call = Call("health", request, Repeat.READ, options, timeouts, f"{_METHOD} {_PATH}", signed=False)
        call.expects_short_reply = True
        transport.monitor.queued(call)
        try:
            dialect = _dialect_of(call, await transport.send(call))
        except BaseException as error:
            transport.monitor.done(call, error)
            raise
        transport.monitor.done(call)
        return dialect


class _Question:
    """A question to a panel that is under way.

    Args:
        asker: Asks it.
        options: How it is asked.
    """

    def __init__(self, asker: PanelDialect, options: CallOptions) -> None:
        self.options = options
        self._asker = asker
        self._loop = asyncio.get_running_loop()
        self.failure: Future[Exception | None] = Future()
        """Why it has no answer. Several event loops may wait for it."""
        # Waiters cannot cancel a future that is running.
        self.failure.set_running_or_notify_cancel()

    def is_of(self, asker: PanelDialect, options: CallOptions) -> bool:
        """Return whether a failure of this question would be one of the asker's, too."""
        return self._asker is asker and self.options == options and self._loop is asyncio.get_running_loop()

    async def wait(self, seconds: float | None = None) -> Exception | None:
        """Wait until the question is over, or so many seconds; return its failure, if any."""
        waiter = asyncio.wrap_future(self.failure)
        try:
            done, _ = await asyncio.wait((waiter,), timeout=seconds)
            return waiter.result() if done else None
        finally:
            # Its event loop may be closed when the question is over.
            waiter.cancel()


_learnt: dict[str, Dialect] = {}
"""By the address of a panel."""
_questions: dict[str, list[_Question]] = {}
"""What is under way, by the address of a panel."""
# Reentrant: garbage collection may end a question in the thread that holds the lock.
_lock = threading.RLock()


def forget_dialects() -> None:
    """Forget which dialect panels speak."""
    _learnt.clear()


def _dialect_of(call: Call, reply: Reply) -> Dialect:
    """Return the dialect of a panel that answers so, or raise the error that the reply is."""
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


def _explained(failure: Exception) -> Exception:
    """Return a copy of a failure, for one of the calls that raise it, with a hint to the dialect."""
    own = copy.copy(failure)
    if isinstance(own, PanelicaError) and not isinstance(own, ConfigurationError):
        own.hint = f"{own.hint} {hints.DIALECT}" if own.hint else hints.DIALECT
    return own


def _renew() -> None:
    """Start anew in a child after a fork: what is under way is the parent's, and a thread of it may hold the lock."""
    global _lock  # noqa: PLW0603
    _lock = threading.RLock()
    _questions.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


class Known:
    """All that a client and its variants have found out; they share one."""

    def __init__(self) -> None:
        self.lists: KnownLists = KnownLists()
        """The length of pages, and which lists this client has changed."""
        self.reads: SharedReads = SharedReads()
        """What calls read for each other."""
        self.catalogue: Catalogue | None = None
        """What the panel lists about itself; fields are checked against it."""


class KnownLists:
    """What is known about the lists of the panel."""

    def __init__(self) -> None:
        self._longest_pages: dict[str, int] = {}
        self._changes: dict[str, int] = {}

    def changes(self, kind: str) -> int:
        """Return how often the client changed objects of a kind, such as `email.accounts`, since it was first asked."""
        return self._changes.setdefault(kind, 0)

    def is_whole(self, endpoint: str, length: int) -> bool:
        """Return whether a first page, which was asked for without a length, is a whole list; remember its length.

        Guess: the pages of an endpoint have one length, so one that is shorter than another was is the last.
        """
        longest = self._longest_pages.get(endpoint, 0)
        self._longest_pages[endpoint] = max(longest, length)
        return length < longest

    def changed(self, operation: str) -> None:
        """Note that an operation that writes was sent. New objects move none of the others."""
        kind, _, verb = operation.rpartition(".")
        if kind in self._changes and verb not in _ADDING:
            self._changes[kind] += 1


class _Read:
    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self.waiting: int = 0
        """Calls that wait for it."""


class SharedReads:
    """What calls read for each other: a read that is under way is shared, and what seldom changes is kept."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Any, float]] = {}
        """Answers and when they end, by question."""
        self._under_way: dict[Hashable, _Read] = {}

    def kept(self, question: Hashable) -> Any:
        """Return an answer that was kept; None when there is none or it is too old."""
        answer, ends_at = self._kept.get(question, (None, 0.0))
        return answer if asyncio.get_running_loop().time() < ends_at else None

    def keep(self, question: Hashable, answer: object) -> None:
        """Keep an answer for a minute."""
        self._kept.pop(question, None)
        if len(self._kept) >= _MOST_KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = answer, asyncio.get_running_loop().time() + _LIFETIME

    def forget(self) -> None:
        """Forget every answer that was kept."""
        self._kept.clear()

    async def read(self, question: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Return an answer, and whether it was already asked for when this call came.

        A read ends with the last call that waits for it. One that was under way may not show what changed since it
        began.

        Args:
            question: What is asked. Calls with the same one share its answer, or its failure.
            ask: Asks it, unless that is under way.
        """
        found = self._under_way.get(question)
        was_under_way = found is not None
        if found is None:
            found = self._under_way[question] = _Read(asyncio.create_task(ask()))
        found.waiting += 1
        try:
            return await asyncio.shield(found.task), was_under_way
        finally:
            found.waiting -= 1
            if found.task.done() or not found.waiting:
                found.task.cancel()
                if self._under_way.get(question) is found:
                    del self._under_way[question]
