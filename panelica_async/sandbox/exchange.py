"""A request and a response as plain values, free of HTTP libraries."""

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class Request:
    """A request as it came off the wire."""

    method: str
    raw_path: str
    """Percent-encoded, with the public prefix if it came with one."""
    raw_query: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str], repr=False)
    """Looked up in any case when the mapping does so."""
    body: bytes = attrs.field(default=b"", repr=False)
    remote: str | None = None
    """Address of the sender."""


@attrs.frozen(kw_only=True)
class Response:
    """A response before it is encoded."""

    status: int
    data: Any = attrs.field(default=None, repr=False)
    """Body as JSON-like data; a 204 has none."""
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])
    operation: str | None = None
    """Operation that was called, such as `domains.create`; None when the path names none."""
