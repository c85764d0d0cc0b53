"""What lies between a call and its socket."""

from collections.abc import Awaitable
from typing import Protocol

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from panelica_async.transport.call import Call


class Middleware(Protocol):
    """A client middleware of aiohttp, made once and told with each attempt which call it is for."""

    def __call__(self, call: Call, request: ClientRequest, handler: ClientHandlerType, /) -> Awaitable[ClientResponse]:
        """Carry an attempt on, and return its response."""
        ...
