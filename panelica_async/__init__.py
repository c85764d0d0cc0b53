"""Async Python SDK for the External API of the Panelica hosting panel.

Start at `PanelicaClient`; `panelica_async.errors` draws the tree of errors, models are in `panelica_async.models`.
`panelica_async.sandbox` is a whole panel for tests and demos, `panelica_async.provision` brings up many sites at once.
"""

from panelica_async._version import __version__
from panelica_async.client.client import PanelicaClient
from panelica_async.client.paginator import Page, Paginator
from panelica_async.client.raw import ApiResponse
from panelica_async.core.unset import UNSET, Unset
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
    PermissionDeniedError,
    RateLimitedError,
    RateLimitWaitError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
    TransportError,
    UnsupportedOperationError,
)
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
]
