"""`panelica api` and `panelica sign`: one request to any path, sent or only signed."""

import json
import shlex
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer
from rich.highlighter import JSONHighlighter
from rich.text import Text

from panelica_async import UNSET, ConfigurationError, PanelicaError
from panelica_async.api.raw import prepare_raw
from panelica_async.cli.command import ExitCode, command
from panelica_async.cli.connection import connect
from panelica_async.cli.format import escape_unprintable, to_json
from panelica_async.cli.options import ConnectionOptions, Credentials, StateDirectory, matching
from panelica_async.cli.output import Output, read_stdin
from panelica_async.core.address import Address
from panelica_async.core.redaction import excerpt
from panelica_async.core.request import PreparedRequest
from panelica_async.core.signing import SIGNATURE_HEADER, Signer, signed_path, signs_body, string_to_sign

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_JSON = "application/json"


def _complete_method(incomplete: str) -> list[str]:
    """Return the methods that start with a text, ignoring case."""
    return matching(_METHODS, incomplete.upper())


def _complete_path(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the documented paths that start with a text and have the typed method; ids appear as `{id}`."""
    method = str(ctx.params.get("method") or "").lower()
    paths = json.loads(files("panelica_async").joinpath("openapi.json").read_text("utf-8"))["paths"]
    return matching((path for path, operations in paths.items() if not method or method in operations), incomplete)


@attrs.frozen(kw_only=True)
class RequestInput:
    """A request. The fields are arguments and options of the commands that take one."""

    method: Annotated[
        str,
        typer.Argument(
            metavar="METHOD",
            help="GET, POST, PUT, PATCH or DELETE.",
            show_default=False,
            autocompletion=_complete_method,
        ),
    ]
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="Path of the API, such as /v1/domains.", autocompletion=_complete_path)
    ]
    query: Annotated[
        list[str] | None, typer.Option("--query", "-q", metavar="NAME=VALUE", help="Query parameter; may be repeated.")
    ] = None
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="JSON", help="Body: JSON, @FILE, or - for standard input."),
    ] = None

    def parameters(self) -> Mapping[str, Any]:
        """Return the query parameters.

        Raises:
            ConfigurationError: A parameter is not NAME=VALUE.
        """
        parameters: dict[str, list[str]] = {}
        for text in self.query or []:
            name, equals, value = text.partition("=")
            if not name or not equals:
                raise ConfigurationError(f"--query must be NAME=VALUE, not {excerpt(text)!r}")
            parameters.setdefault(name, []).append(value)
        return parameters

    def body(self) -> Any:
        """Return the body as data, or `UNSET` without one.

        Raises:
            ConfigurationError: It is not valid JSON.
        """
        if self.data is None:
            return UNSET
        text: str | bytes
        if self.data == "-":
            name, text = "standard input", read_stdin()
        elif self.data.startswith("@"):
            name, text = self.data[1:], Path(self.data[1:]).read_bytes()
        else:
            name, text = "--data", self.data
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(f"{name} must be valid JSON: {error}") from error


@contextmanager
def _checked_input() -> Generator[None, None, None]:
    """Turn a `ValueError` of an invalid request into a `ConfigurationError`."""
    try:
        yield
    except PanelicaError:
        raise
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


@command
async def api(request: RequestInput, connection: ConnectionOptions, state: StateDirectory, output: Output) -> ExitCode:
    """Send one signed request to any path and print the reply.

    Prints the data of the reply without its envelope; --json adds the status and the request id. Exit code 0 means
    that the request succeeded, 1 that the panel rejected it or could not be reached.
    """
    query, body = request.parameters(), request.body()
    async with connect(connection, state) as panel:
        with _checked_input():
            response = await panel.client.request(request.method, request.path, query=query, json=body)
    data = response.data
    readable = _text(data) if isinstance(data, bytes) else data
    if output.json:
        output.print_json({"status": response.status, "request_id": response.request_id, "data": readable})
    elif data is None:
        pass
    elif output.results.is_terminal:
        text = Text(escape_unprintable(readable)) if isinstance(data, bytes) else JSONHighlighter()(to_json(data))
        output.results.print(text, soft_wrap=True)
    elif isinstance(data, bytes):
        output.stream.write_bytes(data)
    else:
        output.print_json(data)
    return ExitCode.OK


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
        typer.Option("--curl", help="Print a curl command for the request; it is valid for five minutes."),
    ] = False,
) -> ExitCode:
    """Show the text that is signed for a request, and the resulting headers; sends nothing.

    The string to sign is method, path, query, timestamp and body, without separators. The path is decoded and starts
    with /v1; the query is exactly as sent. The body of a DELETE request is sent but not signed.
    """
    with _checked_input():
        prepared = prepare_raw(request.method, request.path, request.parameters(), request.body())
    signer = Signer(credentials.key(), credentials.secret())
    signed = _Signed.of(prepared, signer, int(time.time()) if timestamp is None else timestamp)
    line = _curl(signed, Address.parse(credentials.address())) if curl else None
    if output.json:
        output.print_json({**signed.to_dict(), **({"curl": line} if line else {})})
    else:
        output.stream.write(f"{line}\n" if line else signed.to_text())
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
            string=string_to_sign(method, signed_path(path), query, str(timestamp), body, content_type=_JSON),
            headers=signer.headers(method, path, query, body, timestamp=timestamp, content_type=_JSON),
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

    def to_text(self) -> str:
        """Return the parts of the string, the string, and the headers as text."""
        request, body = self.request, self.request.body
        is_signed = body is None or signs_body(request.method, _JSON)
        path = signed_path(request.path).encode("utf-8", "surrogateescape")
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
