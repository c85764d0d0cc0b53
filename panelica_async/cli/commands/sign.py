"""`panelica sign`: shows the signature of a request, and the string that is signed."""

import shlex
import time
from typing import Annotated, Any

import attrs
import typer

from panelica_async.api.raw import prepare_raw
from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.options import Credentials, RequestInput, checked_input
from panelica_async.cli.output import Output
from panelica_async.core.address import Address
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import SIGNATURE_HEADER, Signer, signed_path, signs_body, string_to_sign

_JSON = "application/json"


@command
async def sign(
    request: RequestInput,
    credentials: Credentials,
    output: Output,
    timestamp: Annotated[
        int | None,
        typer.Option(metavar="SECONDS", min=0, help="Unix time for the signature.", show_default="now"),
    ] = None,
    curl: Annotated[
        bool,
        typer.Option("--curl", metavar="", help="Print a curl command for the request; it is valid for five minutes."),
    ] = False,
) -> ExitCode:
    """Show the text that is signed for a request, and the resulting headers; sends nothing.

    The string to sign is method, path, query, timestamp and body, without separators. The path is decoded and starts
    with /v1; the query is exactly as sent. The body of a DELETE request is sent but not signed.
    """
    with checked_input():
        prepared = prepare_raw(request.method, request.path, request.parameters(), request.body())
    signer = Signer(credentials.key(), credentials.secret())
    signed = _Signed.of(prepared, signer, int(time.time()) if timestamp is None else timestamp)
    line = _curl(signed, Address.parse(credentials.address())) if curl else None
    if output.json:
        output.document({**signed.to_dict(), **({"curl": line} if line else {})})
    else:
        output.stream.write(f"{line}\n" if line else signed.explained())
    return ExitCode.OK


@attrs.frozen(kw_only=True)
class _Signed:
    """A request with its signature."""

    request: PreparedRequest
    timestamp: str
    string: bytes = attrs.field(repr=False)
    headers: dict[str, str] = attrs.field(repr=False)

    @classmethod
    def of(cls, request: PreparedRequest, signer: Signer, timestamp: int) -> "_Signed":
        method, path, query, body = request.method, request.path, request.query, request.body or b""
        return cls(
            request=request,
            timestamp=str(timestamp),
            string=string_to_sign(method, signed_path(path, ""), query, str(timestamp), body, content_type=_JSON),
            headers=signer.headers(method, path, query, body, prefix="", timestamp=timestamp, content_type=_JSON),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the request and its signature as JSON-like data."""
        return {
            "method": self.request.method,
            "path": self.request.path,
            "query": self.request.query,
            "body": None if self.request.body is None else _text(self.request.body),
            "timestamp": self.timestamp,
            "string_to_sign": _text(self.string),
            "signature": self.headers[SIGNATURE_HEADER],
            "headers": self.headers,
        }

    def explained(self) -> str:
        """Return the parts of the string, the string, and the headers as text."""
        request, body = self.request, self.request.body
        is_signed = body is None or signs_body(request.method, _JSON)
        path = signed_path(request.path, "").encode("utf-8", "surrogateescape")
        parts = {
            "Method": request.method,
            "Path": _text(path),
            "Query": f"?{request.query}" if request.query else "none",
            "Timestamp": self.timestamp,
            "Body": "none" if body is None else _text(body) if is_signed else f"{_text(body)} (sent, not signed)",
            "String": _text(self.string),
            "": f"{len(self.string)} bytes",
        }
        lines = [f"{name:<10} {text}".rstrip() for name, text in parts.items()]
        return "\n".join([*lines, "", *(f"{name}: {text}" for name, text in self.headers.items()), ""])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _curl(signed: _Signed, address: Address) -> str:
    request = signed.request
    url = address.url(request.path) + (f"?{request.query}" if request.query else "")
    headers = signed.headers if request.body is None else {**signed.headers, "Content-Type": _JSON}
    options = [text for name, value in headers.items() for text in ("--header", f"{name}: {value}")]
    data = [] if request.body is None else ["--data-raw", _text(request.body)]
    return shlex.join(["curl", "--request", request.method, url, *options, *data])
