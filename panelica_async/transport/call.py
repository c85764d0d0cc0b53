"""`Call`, the state of a call in the pipeline; its `CallOptions`, and its `Reply`."""

import asyncio
from collections.abc import Mapping, Sequence
from copy import copy
from math import inf
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import parse_qsl

import aiohttp
import attrs
from aiohttp import ClientResponse, hdrs
from aiohttp.payload import BytesPayload
from attrs.validators import optional
from yarl import URL

from panelica_async.core.json_codec import loads
from panelica_async.core.operation import Repeat
from panelica_async.core.redaction import FILES, REDACTED, is_secret
from panelica_async.core.reply import Envelope, unwrap
from panelica_async.core.request import PreparedRequest
from panelica_async.core.sanitizing import Sanitizer
from panelica_async.errors import ConfigurationError, OutcomeUnknownError, ResponseError
from panelica_async.ratelimit.lanes import LANES, Lane
from panelica_async.transport.clock import PanelClock
from panelica_async.transport.timeouts import AttemptTimeouts, Deadline

if TYPE_CHECKING:
    from panelica_async.core.error_replies import FailureReport
    from panelica_async.transport.keys import ApiKey

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


def _check_seconds(_: object, option: "attrs.Attribute[float]", value: object) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < inf:
        raise ConfigurationError(f"{option.name} must be a positive number of seconds, not {value!r}")


def _check_retries(_: object, option: "attrs.Attribute[int]", value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{option.name} must be a non-negative integer, not {value!r}")


def _check_lane(_: object, option: "attrs.Attribute[Lane]", value: object) -> None:
    if value not in LANES:
        raise ConfigurationError(f"{option.name} must be one of {', '.join(LANES)}, not {value!r}")


@attrs.frozen(kw_only=True)
class CallOptions:
    """Time limits, retries, lane and look-ups of a call.

    Raises:
        ConfigurationError: An option is invalid.
    """

    timeout: float = attrs.field(default=30.0, validator=_check_seconds)
    """Seconds for one attempt, from sending to the last byte of the reply."""
    deadline: float | None = attrs.field(default=None, validator=optional(_check_seconds))
    """Seconds for the whole call with its waits and retries; None for no limit."""
    max_wait: float | None = attrs.field(default=None, validator=optional(_check_seconds))
    """Seconds that each wait for quota or for a retry may take; None for no limit."""
    max_retries: int = attrs.field(default=3, validator=_check_retries)
    """How many times a failed attempt may be repeated."""
    lane: Lane = attrs.field(default="interactive", validator=_check_lane)
    """Lane of the limiter in which the call waits."""
    look_up_lost: bool = True
    """Whether a create whose reply was lost is looked up."""
    learns_quota: bool = True
    """Whether the call may ask the panel for the quota of its key, and wait briefly for the answer."""
    original_deadline: float | None = None
    """The caller's deadline, for messages, where `deadline` is only the time left of it; otherwise None."""

    def with_time_left(self, seconds: float) -> Self:
        """Return the options for a further request of the same call, with the time left until its deadline."""
        return attrs.evolve(self, deadline=seconds, original_deadline=self.original_deadline or self.deadline)


class Call:
    """A call from its first attempt to its outcome. Instants are those of the event loop's clock, except `sent_at`.

    Class attributes hold the initial state: most calls change little of it, and setting it on each would take time.

    Args:
        operation: Name of the operation; method and path for a raw request.
        request: What is sent.
        repeat: What happens if it is sent twice.
        options: Its time limits, retries and lane.
        timeouts: Limits the time of each attempt, without its wait for quota.
        endpoint: Method and path as in the API reference, for errors.
        signed: Whether it is signed and counts towards the quota.
        upload: Body to stream; a multipart one is not signed.
    """

    number: int = 0
    """Number of the call within its client."""
    loop: asyncio.AbstractEventLoop
    """The running event loop, set when the call begins."""
    began_at: float = 0.0
    is_watched: bool = False
    """Whether anyone is listening to this call."""
    deadline_at: float | None = None
    """When the deadline passes; None without one."""
    waited: float = 0.0
    """Seconds that all attempts together waited for quota."""
    queued_for: float = 0.0
    """Seconds that the next attempt has waited for quota so far."""
    attempts: int = 0
    """Attempts so far, including one that still waits for quota."""
    sends: int = 0
    """Attempts that were sent."""
    sent_at: float | None = None
    """When the last attempt was sent, by the monotonic clock."""
    may_have_taken_effect: bool = False
    """Whether the reply to an attempt is still to come, or was lost."""
    url: URL | None = None
    """The URL that the signer built; it signs no request to any other."""
    key: "ApiKey | None" = None
    """The key whose quota the last attempt used, and which signed it."""
    clock_lead: float = 0.0
    """`PanelClock.lead` when the last attempt was signed."""
    was_re_signed: bool = False
    """Whether an attempt was repeated with another timestamp or key."""
    headers: Mapping[str, str] = _NO_HEADERS
    """Headers of the last attempt that was sent."""
    expects_short_reply: bool = False
    """Whether the beginning of a long reply is enough."""
    mismatches: Sequence[str] = ()
    """Optional fields of the reply that do not fit their types, and why."""
    sink: "Sink | None" = None
    """Takes a successful reply piece by piece; without one, the body is read to its end."""
    is_streaming: bool = False
    """Whether the sink has taken the first piece: from then on there are no retries and no deadline."""
    deadline_timer: Deadline | None = None
    """Ends the call when its deadline passes."""
    last_reply: "Reply | None" = None
    """The reply to the last attempt that was sent, for the monitor; the pipeline returns it."""

    def __init__(
        self,
        operation: str,
        request: PreparedRequest,
        repeat: Repeat,
        options: CallOptions,
        timeouts: AttemptTimeouts,
        endpoint: str,
        *,
        signed: bool = True,
        upload: aiohttp.Payload | None = None,
    ) -> None:
        self.operation = operation
        self.request = request
        self.repeat = repeat
        self.options = options
        self.timeouts = timeouts
        self.endpoint = endpoint
        self.signed = signed
        self.upload = upload

    def __repr__(self) -> str:
        # Tracebacks with local variables must not show what is sent.
        return f"<Call {self.operation} {self.method} {self.path} attempts={self.attempts}>"

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.request.method

    @property
    def path(self) -> str:
        """Path as sent, from `/v1` on, without query."""
        return self.request.path

    @property
    def sanitizer(self) -> Sanitizer:
        """A sanitizer for texts of replies that knows the secrets of the request."""
        header_secrets = {value for name, value in self.headers.items() if is_secret(name)}
        return Sanitizer(header_secrets | self.request.secrets() | _secrets_in_form(self.upload))

    def failure_report(self, reply: "Reply") -> "FailureReport":
        """Return what a reply says about a failure; each reply is parsed once."""
        from panelica_async.core.error_replies import read_report  # noqa: PLC0415 - most calls succeed

        if reply.report is None:
            reply.report = read_report(reply.status, reply.headers, reply.body, self.sanitizer, proxy=reply.proxy)
        return reply.report

    def error(self, reply: "Reply") -> ResponseError:
        """Return the error for a reply that reports a failure."""
        return self.failure_report(reply).error(method=self.method, path=self.path, attempts=self.attempts)

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline; None without one."""
        if self.deadline_at is None:
            return None
        return max(0.0, self.deadline_at - self.loop.time())

    @property
    def longest_wait(self) -> float | None:
        """Seconds the attempt may still wait: until the deadline, and no longer than `max_wait`."""
        time_left, max_wait = self.time_left, self.options.max_wait
        if max_wait is None:
            return time_left
        wait_left = max(0.0, max_wait - self.queued_for)
        return wait_left if time_left is None else min(time_left, wait_left)

    @property
    def is_uncertain(self) -> bool:
        """Whether the call may have changed something without a reply that says so."""
        return self.may_have_taken_effect and not self.repeat.is_read


class Sink(Protocol):
    """Takes the content of a file as it arrives."""

    async def take(self, piece: bytes, total: int | None) -> None:
        """Take the next piece; `total` is the length of the whole file, if the panel says."""


@attrs.define(eq=False)
class Reply:
    """A reply of any status, read to its end; it is parsed on first use."""

    status: int
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    response: ClientResponse = attrs.field(repr=False)
    """The reply as an object of aiohttp."""
    is_truncated: bool = False
    """Whether the reply was too long, and the body is only its beginning."""
    proxy: str | None = None
    """Address of the proxy that it came through, without credentials, if known."""
    report: "FailureReport | None" = attrs.field(default=None, init=False, repr=False)
    """What it says about a failure, after `Call.failure_report` has parsed it."""
    _envelope: Envelope | None = attrs.field(default=None, init=False, repr=False)

    @property
    def envelope(self) -> Envelope:
        """The body as an envelope around its data.

        Raises:
            ValueError: The body is not JSON.
        """
        if self._envelope is None:
            self._envelope = unwrap(loads(self.body) if self.body.strip() else None)
        return self._envelope

    @property
    def data(self) -> Any:
        """The JSON of the body, without its envelope; None for an empty body."""
        return self.envelope.data


def _secrets_in_form(upload: aiohttp.Payload | None) -> frozenset[str]:
    """Return the values of form fields that are secret by name; files are not read."""
    if isinstance(upload, aiohttp.MultipartWriter):
        texts = [part for part, _, _ in upload if isinstance(part, BytesPayload)]
        return frozenset(text.decode() for text in texts if is_secret(text.headers.get(hdrs.CONTENT_DISPOSITION, "")))
    if isinstance(upload, BytesPayload):
        return frozenset(value for name, value in parse_qsl(upload.decode()) if is_secret(name))
    return frozenset()


def outcome_unknown(call: Call, clock: PanelClock, reason: str) -> OutcomeUnknownError:
    """Return the error for a write that was sent but got no reply.

    Args:
        call: The write.
        clock: Converts the instant at which it was sent.
        reason: Why there is no reply.
    """
    return OutcomeUnknownError(
        f"The request was sent, but its outcome is unknown: {reason}",
        operation=call.operation,
        method=call.method,
        path=call.path,
        sent=_body_without_secrets(call),
        sent_at=None if call.sent_at is None else clock.local_time(call.sent_at),
        attempts=call.attempts,
        hint="Check whether the change was made before you send it again.",
    )


def reword(error: OutcomeUnknownError, message: str, hint: str | None) -> OutcomeUnknownError:
    """Return a copy of an error with another message and hint."""
    reworded = copy(error)
    reworded.message, reworded.hint, reworded.args = message, hint, (message,)
    return reworded


def _body_without_secrets(call: Call) -> Any:
    request = call.request
    if request.body is None:
        return None
    data = loads(request.body)
    if request.path.startswith(FILES) and isinstance(data, dict) and "content" in data:
        data = {**data, "content": REDACTED}
    return call.sanitizer.clean_data(data)
