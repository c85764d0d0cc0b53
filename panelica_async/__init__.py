"""Async Python SDK for the External API of the Panelica hosting panel.

Start at `PanelicaClient`. `panelica_async.errors` shows the tree of errors, and `panelica_async.models` has the models.
`panelica_async.sandbox` is a whole panel for tests and demos; `panelica_async.provision` creates many sites in one run.
"""

import importlib
from typing import TYPE_CHECKING, Any

from panelica_async._version import __version__
from panelica_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    DecodeError,
    MissingScopeError,
    NotFoundError,
    OutcomeUnknownError,
    PanelicaError,
    PartialWriteError,
    PermissionDeniedError,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    TransportError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from panelica_async.api.bases import wait_until
    from panelica_async.api.pagination import Page, Paginator
    from panelica_async.api.raw import ApiResponse
    from panelica_async.client import PanelicaClient
    from panelica_async.core.model import UNSET, Unset
    from panelica_async.ratelimit import RateLimit, RateLimiter

__all__ = [
    "UNSET",
    "ApiResponse",
    "AuthenticationError",
    "BadRequestError",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "DecodeError",
    "MissingScopeError",
    "NotFoundError",
    "OutcomeUnknownError",
    "Page",
    "Paginator",
    "PanelicaClient",
    "PanelicaError",
    "PartialWriteError",
    "PermissionDeniedError",
    "RateLimit",
    "RateLimitWaitError",
    "RateLimitedError",
    "RateLimiter",
    "RequestTimeoutError",
    "ResponseError",
    "ServerError",
    "TransportError",
    "Unset",
    "UnsupportedOperationError",
    "__version__",
    "wait_until",
]

# Modules that need aiohttp are loaded on first use: the help of the command and programs that only catch errors need
# not wait for them.
_LAZY_IMPORTS = {
    "UNSET": "panelica_async.core.model",
    "ApiResponse": "panelica_async.api.raw",
    "Page": "panelica_async.api.pagination",
    "Paginator": "panelica_async.api.pagination",
    "PanelicaClient": "panelica_async.client",
    "RateLimit": "panelica_async.ratelimit",
    "RateLimiter": "panelica_async.ratelimit",
    "Unset": "panelica_async.core.model",
    "wait_until": "panelica_async.api.bases",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY_IMPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_LAZY_IMPORTS[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
