"""The sandbox on the wire: it checks the signature of the bytes sent, and keeps no body without a key."""

import asyncio
import gzip
import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from panelica_async.sandbox import Sandbox
from tests.conftest import until
from tests.sandbox.signed_client import Clock, SignedClient

PLAN = {"name": "Small", "max_domains": 1}


class RawClient:
    """Writes requests to a sandbox byte by byte."""

    def __init__(self, box: Sandbox, clock: Clock) -> None:
        self.box = box
        self.clock = clock
        self.port = urlsplit(box.base_url).port

    def signed(self, method: str, path: str, signed: bytes, *, query: str = "") -> dict[str, str]:
        stamp = str(int(self.clock()))
        text = f"{method}{path}{query and '?' + query}{stamp}".encode() + signed
        signature = hmac.new(self.box.api_secret.encode(), text, hashlib.sha256).hexdigest()
        return {"X-API-Key": self.box.api_key, "X-Timestamp": stamp, "X-Signature": signature}

    async def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            lines = [f"{method} {target} HTTP/1.1", "Host: panel", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            if body and "Content-Length" not in headers:
                lines.append(f"Content-Length: {len(body)}")
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            status, *fields = head.strip().split("\r\n")
            received = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
            content = await reader.readexactly(int(received.get("content-length", "0")))
        finally:
            writer.close()
        return int(status.split()[1]), received, json.loads(content) if content else None


@pytest.fixture
def raw(box: Sandbox, clock: Clock) -> RawClient:
    return RawClient(box, clock)


class TestCompressedBodies:
    async def test_signature_of_the_bytes_sent_is_accepted(self, raw: RawClient) -> None:
        body = gzip.compress(json.dumps(PLAN).encode())
        headers = raw.signed("POST", "/v1/plans", body) | {"Content-Encoding": "gzip"}
        status, _, data = await raw.send("POST", "/v1/plans", headers, body)
        assert (status, data["error"]) == (400, "Invalid JSON")

    async def test_signature_of_other_bytes_is_rejected(self, raw: RawClient, panel: SignedClient) -> None:
        plain = json.dumps(PLAN).encode()
        headers = raw.signed("POST", "/v1/plans", plain) | {"Content-Encoding": "gzip"}
        status, _, data = await raw.send("POST", "/v1/plans", headers, gzip.compress(plain))
        assert (status, data["code"]) == (401, "INVALID_SIGNATURE")
        assert "Small" not in {plan["name"] for plan in await panel.ok("GET", "/v1/plans")}

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "nonsense"])
    async def test_junk_without_a_key_gets_a_json_error(self, raw: RawClient, encoding: str) -> None:
        status, received, data = await raw.send("POST", "/v1/plans", {"Content-Encoding": encoding}, b"junk")
        assert (status, data["code"]) == (401, "MISSING_API_KEY")
        assert received["content-type"].startswith("application/json")


class TestUnreadBodies:
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"X-API-Key": ""}, "MISSING_API_KEY"),
            ({"X-API-Key": "pk_test_unknown"}, "UNAUTHORIZED"),
            ({"X-Timestamp": "1"}, "INVALID_TIMESTAMP"),
            ({"X-Signature": "short"}, "INVALID_SIGNATURE"),
        ],
    )
    async def test_body_is_not_read_when_headers_are_rejected(
        self, raw: RawClient, change: dict[str, str], code: str
    ) -> None:
        headers = raw.signed("POST", "/v1/plans", b"") | {"Content-Length": "1000000"} | change
        # Not a byte of the body is ever sent.
        status, _, data = await raw.send("POST", "/v1/plans", headers)
        assert (status, data["code"]) == (401, code)

    async def test_body_is_not_read_when_path_is_unknown(self, raw: RawClient) -> None:
        status, _, data = await raw.send("POST", "/v1/nothing", {"Content-Length": "1000000"})
        assert (status, data["code"]) == (404, "NOT_FOUND")

    async def test_body_when_too_large_gets_a_json_error(self, raw: RawClient) -> None:
        body = b" " * (8 * 1024 * 1024 + 1)
        status, received, data = await raw.send("POST", "/v1/plans", raw.signed("POST", "/v1/plans", body), body)
        assert (status, data["code"]) == (413, "PAYLOAD_TOO_LARGE")
        assert received["x-request-id"].startswith("req_")

    async def test_client_when_disconnected_logs_nothing(
        self, raw: RawClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        headers = raw.signed("POST", "/v1/plans", b"") | {"Content-Length": "1000"}
        _, writer = await asyncio.open_connection("127.0.0.1", raw.port)
        lines = "\r\n".join(f"{name}: {value}" for name, value in headers.items())
        writer.write(f"POST /v1/plans HTTP/1.1\r\nHost: panel\r\n{lines}\r\n\r\nhalf".encode())
        await writer.drain()
        writer.close()
        await until(lambda: len(raw.box.requests) == 1)
        assert raw.box.requests[0].status == 400
        assert not caplog.records

    @pytest.mark.parametrize(
        "junk", [b"\x16\x03\x01junk", b"GET / HTTP/1.1\r\nA: \x00", b"GET\r\n", b"BREW / HTCPCP/1"]
    )
    async def test_junk_logs_nothing(self, raw: RawClient, caplog: pytest.LogCaptureFixture, junk: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", raw.port)
        writer.write(junk + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
        assert not caplog.records


class TestTargets:
    @pytest.mark.parametrize("path", ["/v1/%0Adomains", "/v1/domains/%0A", "/%0D%0A", "/v1/domains%0a"])
    async def test_line_break_in_path_gets_a_json_error(self, raw: RawClient, path: str) -> None:
        status, received, data = await raw.send("GET", path, {})
        assert (status, data["code"]) in {(404, "NOT_FOUND"), (401, "MISSING_API_KEY")}
        assert received["x-request-id"].startswith("req_")
        assert raw.box.requests[-1].path == path

    @pytest.mark.parametrize("path", ["/v1/domains/%zz", "/v1/domains/%", "/v1/domains/a%2"])
    async def test_broken_escape_is_a_bad_request(self, raw: RawClient, path: str) -> None:
        status, _, data = await raw.send("GET", path, {})
        assert (status, data["code"]) == (400, "BAD_REQUEST")

    @pytest.mark.parametrize("origin", ["http://panel", "HTTP://panel:80", "https://panel"])
    async def test_absolute_form_is_served(self, raw: RawClient, origin: str) -> None:
        status, _, data = await raw.send("GET", f"{origin}/v1/me", raw.signed("GET", "/v1/me", b""))
        assert (status, data["scopes"]) == (200, ["*:*"])


async def test_multipart_body_is_not_read_as_json(raw: RawClient, panel: SignedClient) -> None:
    headers = raw.signed("POST", "/v1/plans", b"") | {"Content-Type": "Multipart/form-data; boundary=x"}
    status, _, data = await raw.send("POST", "/v1/plans", headers, json.dumps(PLAN).encode())
    assert (status, data["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert "Small" not in {plan["name"] for plan in await panel.ok("GET", "/v1/plans")}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"name": "a", "max_domains": 1}', 201),
        (b'{"name": "a", "max_domains": 1.0}', 400),
        (b'{"name": "a", "max_domains": 1e2}', 400),
        (b'\xef\xbb\xbf{"name": "a", "max_domains": 1}', 400),
    ],
)
async def test_numbers_and_marks_are_read_as_go_does(panel: SignedClient, body: bytes, status: int) -> None:
    assert (await panel.call("POST", "/v1/plans", body)).status == status


@pytest.mark.parametrize("number", ["9" * 19, "9" * 5000, f"-{'9' * 19}"])
async def test_number_beyond_64_bits_is_named(panel: SignedClient, number: str) -> None:
    refusal = await panel.refused(400, "GET", f"/v1/domains?page={number}")
    assert refusal["details"] == "page: must have at most 18 digits"
