"""Every error the package raises, in one tree.

```
PanelicaError
├── ConfigurationError (also ValueError)
├── TransportError                   no complete reply came back, and no write took effect
│   ├── ConnectError
│   └── RequestTimeoutError          (also TimeoutError)
├── OutcomeUnknownError              a write was sent, and its outcome is unknown
├── PartialWriteError                an object was created, but not as requested: id, missing arguments, hint
├── RateLimitWaitError               the wait for quota would exceed max_wait or the deadline: says how long
├── DecodeError                      the reply does not have the expected form: endpoint, JSON path, body excerpt
├── UnsupportedOperationError        this panel lacks the operation, or cannot honour an argument
└── ResponseError                    .status .code .message .details .request_id .method .path .attempts .hint
    ├── BadRequestError 400, 422        ├── NotFoundError 404
    ├── AuthenticationError 401         ├── ConflictError 409
    ├── PermissionDeniedError 403       ├── RateLimitedError 429   .retry_after .limit .window
    │   └── MissingScopeError           └── ServerError 5xx
    │       .required_scope .available_scopes
```

The docstring of a method names the errors that are particular to it. Every call can raise:

- `ConfigurationError`: the client is closed, or belongs to another event loop or process;
- `AuthenticationError`: the panel rejected the key, the timestamp or the signature;
- `PermissionDeniedError`: the owner of the key may not do this; `MissingScopeError`: the key lacks the scope;
- `RateLimitedError`: rate limited after all retries; `RateLimitWaitError`: the wait for quota would be too long;
- `ServerError`: the panel, or a proxy in front of it, failed;
- `DecodeError`: the panel reported success, but its reply does not have the expected form;
- `TransportError`: no reply received; `OutcomeUnknownError`: a write was sent, outcome unknown.

All errors can be pickled and copied with every attribute, so they survive process pools and task queues.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypedDict, Unpack

from panelica_async.core.redaction import excerpt, one_line, redact, shorten

__all__ = [
    "AuthenticationError", "BadRequestError", "ConfigurationError", "ConflictError", "ConnectError", "DecodeError",
    "MissingScopeError", "NotFoundError", "OutcomeUnknownError", "PanelicaError", "PartialWriteError",
    "PermissionDeniedError", "RateLimitWaitError", "RateLimitedError", "RequestTimeoutError", "ResponseError",
    "ServerError", "TransportError", "UnsupportedOperationError",
]  # fmt: skip

_WAIT_HINT = "Call again after that time, or allow a longer wait: max_wait=, deadline=."
_MESSAGE_LENGTH = 500


class PanelicaError(Exception):
    """Root of every error of this package.

    Attributes:
        message: What went wrong.
        hint: What to do about it, in one sentence; None if there is nothing to advise.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        summary = self._summary()
        # On one line, even if the panel sent line breaks in a code or a hint: logs have a line for each error.
        return one_line(f"{summary.removesuffix('.')}. Hint: {self.hint}" if self.hint else summary)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` only, which fails for required keyword arguments.
        return type(self).__new__, (type(self),), {**self.__dict__, "args": self.args}

    def _summary(self) -> str:
        return shorten(self.message, _MESSAGE_LENGTH)


class ConfigurationError(PanelicaError, ValueError):
    """A setting is missing or invalid, or the client is closed.

    The call had no effect on the panel. If the client is closed while a call waits for its next attempt, earlier
    attempts were sent but had no effect either.
    """


class TransportError(PanelicaError):
    """No complete reply came back, and the panel has changed nothing.

    Attributes:
        method: HTTP method, such as `GET`.
        path: Path as in the API reference, such as `/v1/domains`.
        attempts: How many times the request was tried, from 1.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str | None = None,
        path: str | None = None,
        attempts: int = 1,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.method = method
        self.path = path
        self.attempts = attempts

    def _summary(self) -> str:
        return _with_call(super()._summary(), self.method, self.path, self.attempts)


class ConnectError(TransportError):
    """No connection could be made, because of name, address, port or certificate; nothing was sent."""


class RequestTimeoutError(TransportError, TimeoutError):
    """No reply came within the timeout or the deadline."""


class OutcomeUnknownError(PanelicaError):
    """A write was sent, and no reply shows its outcome: it may or may not have taken effect.

    Look on the panel before you repeat it: there are no idempotency keys, so a second create can make a second object.

    Attributes:
        operation: Name of the operation, such as `domains.create`.
        method: HTTP method, such as `POST`.
        path: Path as in the API reference, such as `/v1/domains`.
        sent: Body that was sent, as data without secrets; None if there was none.
        sent_at: When the last attempt was sent, as an aware datetime, if known.
        attempts: How many times the request was tried, from 1.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        method: str,
        path: str,
        sent: Any = None,
        sent_at: datetime | None = None,
        attempts: int = 1,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.operation = operation
        self.method = method
        self.path = path
        self.sent = sent
        self.sent_at = sent_at
        self.attempts = attempts

    def _summary(self) -> str:
        sent_at = f"sent at {self.sent_at.isoformat()}" if self.sent_at else None
        return _with_call(super()._summary(), self.method, self.path, self.attempts, sent_at)


class PartialWriteError(PanelicaError):
    """An object was created, but a further step failed: it exists, but not as requested.

    Do not repeat the call, which would create a second object: change the existing one, or delete it.

    Attributes:
        operation: Name of the operation, such as `plans.create`.
        id: Id of the object; None if the panel does not show it.
        made: What is known of the object.
        missing: The arguments that the object does not have, with their values.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        id: str | None,
        made: Any,
        missing: Mapping[str, Any],
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.operation = operation
        self.id = id
        self.made = made
        self.missing: dict[str, Any] = dict(missing)


class RateLimitWaitError(PanelicaError):
    """The call would wait for quota longer than allowed; it had no effect.

    Either nothing was sent, or the earlier attempts were reads or were rejected. A write whose reply was lost raises
    `OutcomeUnknownError` instead.

    Attributes:
        wait: Seconds the call would have to wait.
        limit: Seconds it was allowed to wait: `max_wait`, or the time left until the deadline.
    """

    def __init__(self, message: str, *, wait: float, limit: float, hint: str | None = _WAIT_HINT) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait
        self.limit = limit


class DecodeError(PanelicaError):
    """The panel reported success, but the reply does not have the expected form.

    Attributes:
        endpoint: Method and path, such as `GET /v1/domains`.
        json_path: Where in the reply, such as `$[2].created_at`.
        body: Beginning of the reply, at most 200 characters, secrets removed.
    """

    def __init__(
        self, message: str, *, endpoint: str, json_path: str = "$", body: bytes | str = "", hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.endpoint = endpoint
        self.json_path = json_path
        self.body: str = excerpt(body)

    def _summary(self) -> str:
        body = f": {self.body}" if self.body else ""
        return f"{self.endpoint}: {super()._summary()} at {self.json_path}{body}"


class UnsupportedOperationError(PanelicaError):
    """The API that the panel speaks lacks this operation, or cannot honour one of its arguments; nothing was sent.

    A panel that is too old for an operation answers 404, as for an unknown id, which raises `NotFoundError`.

    Attributes:
        operation: Name of the operation, such as `webhooks.events`.
        argument: Name of the argument that the panel cannot honour; None if it lacks the whole operation.
        reason: Why panels cannot honour the argument or lack the operation; None if the reference lacks it.
        hint: What to do instead, such as leaving the argument out or calling another operation.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str,
        argument: str | None = None,
        reason: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.operation = operation
        self.argument = argument
        self.reason = reason


class ResponseFields(TypedDict, total=False):
    """Keyword arguments of every `ResponseError`."""

    status: int
    code: str | None
    details: Any
    request_id: str | None
    method: str | None
    path: str | None
    attempts: int
    from_panel: bool
    hint: str | None


class ResponseError(PanelicaError):
    """The panel, or a web server in front of it, answered with an error.

    Attributes:
        status: HTTP status, such as 404. It is 200 when the body of a 200 says `"status": "error"`.
        code: Machine-readable code, such as `INVALID_SIGNATURE`. If the panel sends none, the untranslated key that it
            sent instead of a sentence, such as `apiErrors.users.emailAlreadyExists`.
        details: Further text or data from the panel, without secrets.
        request_id: Id to quote to the panel's support.
        method: HTTP method, such as `POST`.
        path: Path as in the API reference, such as `/v1/domains`.
        attempts: How many times the request was tried, from 1; 0 if the client did not send it, because an earlier
            reply shows that it would fail, or change another object.
        from_panel: Whether the reply has the panel's own form. If False, it is a web page or other text, perhaps from a
            server in front of the panel, and does not show what the panel did; or there is none (`attempts` is 0).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        details: Any = None,
        request_id: str | None = None,
        method: str | None = None,
        path: str | None = None,
        attempts: int = 1,
        from_panel: bool = True,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.code = code
        self.details = details
        self.request_id = request_id
        self.method = method
        self.path = path
        self.attempts = attempts
        self.from_panel = from_panel

    def _summary(self) -> str:
        status = f"{self.status} {self.code}" if self.code else f"{self.status}"
        request_id = f"request id {self.request_id}" if self.request_id else None
        text = f"{status}: {super()._summary()}"
        return _with_call(text, self.method, self.path, self.attempts, self._details_text(), request_id)

    def _details_text(self) -> str | None:
        """Return the details as short text without secrets; None if they add nothing to the message."""
        if isinstance(self.details, str):
            return None if self.details == self.code or self.details in self.message else shorten(self.details)
        return excerpt(json.dumps(redact(self.details), ensure_ascii=False, default=str)) if self.details else None


class BadRequestError(ResponseError):
    """400 or 422: the panel rejected the input. Some duplicates, such as an email address in use, are 400 too."""


class AuthenticationError(ResponseError):
    """401: key, timestamp or signature is missing or wrong."""


class PermissionDeniedError(ResponseError):
    """403: the object belongs to someone else, a limit of the hosting plan is reached, or a role is too low."""


class MissingScopeError(PermissionDeniedError):
    """403: the key lacks a scope.

    Attributes:
        required_scope: Scope the operation needs, such as `domains:write`, if the panel says.
        available_scopes: Scopes that the key has, if the panel says.
    """

    def __init__(
        self,
        message: str,
        *,
        required_scope: str | None = None,
        available_scopes: Iterable[str] = (),
        **response: Unpack[ResponseFields],
    ) -> None:
        super().__init__(message, **response)
        self.required_scope = required_scope
        self.available_scopes: tuple[str, ...] = tuple(available_scopes)


class NotFoundError(ResponseError):
    """404: the owner of the key has no such object, or this version of the panel no such endpoint."""


class ConflictError(ResponseError):
    """409: the object already exists or is in use, or an integration is not set up."""


class RateLimitedError(ResponseError):
    """429: the rate limit is exceeded, and either the retries are used up or the next one would wait too long.

    Attributes:
        retry_after: Seconds to wait before the next request, if the panel says.
        limit: Requests the window allows, if the panel says.
        window: Name of the window that is full, such as `minute`, if the panel says.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        limit: int | None = None,
        window: str | None = None,
        **response: Unpack[ResponseFields],
    ) -> None:
        super().__init__(message, **response)
        self.retry_after = retry_after
        self.limit = limit
        self.window = window


class ServerError(ResponseError):
    """5xx: the panel, or a web server in front of it, failed."""


def _with_call(text: str, method: str | None, path: str | None, attempts: int, *facts: str | None) -> str:
    """Return a text preceded by the call, and followed by the known facts in brackets."""
    call = " ".join(filter(None, (method, path)))
    known_facts = ", ".join(filter(None, (*facts, f"{attempts} attempts" if attempts > 1 else None)))
    return (f"{call}: " if call else "") + text + (f" ({known_facts})" if known_facts else "")
