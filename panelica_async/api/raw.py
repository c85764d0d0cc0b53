"""`panel.request`: signed requests to any path, for endpoints that have no method."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote
from weakref import WeakSet

import aiohttp
import attrs
from multidict import CIMultiDict

from panelica_async.api.runner import OperationRunner, decode_json_or_bytes
from panelica_async.core.address import PUBLIC_PREFIX
from panelica_async.core.converter import to_wire
from panelica_async.core.json_codec import dumps
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Repeat
from panelica_async.core.request import CONTROL_CHARACTER, PreparedRequest, query_string
from panelica_async.core.values import printable_header
from panelica_async.transport.call import Reply

_REPEATS = {
    "GET": Repeat.READ,
    "PUT": Repeat.IDEMPOTENT,
    "DELETE": Repeat.IDEMPOTENT,
    "PATCH": Repeat.UNSAFE,
    "POST": Repeat.UNSAFE,
}
_sent_forms: WeakSet[aiohttp.FormData] = WeakSet()
_SAFE_IN_PATH = "/:@!$&'()*+,;=~%"
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@attrs.frozen(kw_only=True)
class ApiResponse:
    """A successful reply to `PanelicaClient.request`."""

    status: int
    """HTTP status, 200 to 299."""
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Headers; names are matched in any case."""
    data: Any = attrs.field(repr=False)
    """The JSON without its envelope; bytes when the reply is not JSON, None when there is none."""
    request_id: str | None
    """Id to quote to the panel's support, if the panel gave one."""


def prepare_raw(method: str, path: str, query: Mapping[str, Any] | None, json: Any) -> PreparedRequest:
    """Check a request and write it as it travels; see `PanelicaClient.request`.

    Raises:
        TypeError: The path is not a string, or the query not a mapping with strings for keys.
        ValueError: Method, path, query or body is invalid.
    """
    if query and not isinstance(query, Mapping):
        raise TypeError(f"query must be a mapping, such as a dict, not {type(query).__name__}")
    for name in query or ():
        if not isinstance(name, str):
            raise TypeError(f"query must have strings for keys, not {type(name).__name__}")
    return PreparedRequest(
        method=_checked_method(method),
        path=_checked_path(path),
        query=query_string((query or {}).items()),
        body=None if json is UNSET else dumps(to_wire(json)),
    )


async def send_raw(
    runner: OperationRunner,
    method: str,
    path: str,
    query: Mapping[str, Any] | None,
    json: Any,
    form: aiohttp.FormData | None,
) -> ApiResponse:
    """Send a request; see `PanelicaClient.request`."""
    request = prepare_raw(method, path, query, json)
    if form is not None and json is not UNSET:
        raise ValueError("pass json or form, not both")
    call = runner.prepare_raw(
        f"{request.method} {path}",
        request,
        _REPEATS[request.method],
        upload=None if form is None else _payload(form),
    )

    def read(reply: Reply) -> ApiResponse:
        envelope = decode_json_or_bytes(call, reply)
        return ApiResponse(
            status=reply.status,
            # A copy that can be pickled, as for a cache; aiohttp's view cannot.
            headers=CIMultiDict(reply.headers),
            data=envelope.data,
            request_id=printable_header(envelope.request_id) or printable_header(reply.headers.get("X-Request-Id")),
        )

    return await runner.run(call, read)


def _payload(form: aiohttp.FormData) -> aiohttp.Payload:
    if not isinstance(form, aiohttp.FormData):
        raise TypeError(f"form must be an aiohttp.FormData, not {type(form).__name__}")
    if form in _sent_forms:
        # Its files are closed or read to their end, and would be sent empty.
        raise ValueError("form must be new, but an earlier call has used this one")
    payload = form()
    if payload.size is None:
        raise ValueError(
            "form must not contain a stream, which a retry could not send again; pass bytes or a file on disk"
        )
    _sent_forms.add(form)
    return payload


def _checked_method(method: object) -> str:
    name = method.upper() if isinstance(method, str) else None
    if name not in _REPEATS:
        raise ValueError(f"method must be one of {', '.join(_REPEATS)}, not {method!r}")
    return name


def _checked_path(path: object) -> str:
    if not isinstance(path, str):
        raise TypeError(f"path must be a string, not {type(path).__name__}")
    if not path.startswith("/"):
        raise ValueError(f"path must start with a slash, such as /v1/domains, not {path!r}")
    if path.startswith(f"{PUBLIC_PREFIX}/"):
        raise ValueError(f"path must not start with {PUBLIC_PREFIX}: leave it out, base_url has it")
    if "?" in path or "#" in path:
        raise ValueError("path must not contain a query or a fragment: pass query parameters as query= or --query")
    # Web servers decode before they match, and some proxies decode once more.
    decoded = unquote(unquote(path, errors="surrogateescape"), errors="surrogateescape")
    segments = decoded.split("/")[1:]
    if any(segment in {".", ".."} for segment in segments):
        raise ValueError("path must not contain . or .. as a segment, which would address another path")
    if decoded.count("/") != path.count("/") or "\\" in decoded:
        raise ValueError(
            "path must not contain an encoded slash or a backslash, which separates segments: no id or name has one"
        )
    if CONTROL_CHARACTER.search(decoded):
        raise ValueError("path must not contain a control character: remove it")
    if "" in segments:
        raise ValueError("path must not contain an empty segment; is an id missing?")
    try:
        return quote(_LONE_PERCENT.sub("%25", path), safe=_SAFE_IN_PATH)
    except UnicodeEncodeError:
        raise ValueError("path must not contain a lone surrogate, which is not text: decode it correctly") from None
