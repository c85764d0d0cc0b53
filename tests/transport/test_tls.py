"""Certificates, over real TLS: what is trusted and what is not, and that nothing is sent without trust."""

import asyncio
import gc
import ssl
import subprocess
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from panelica_async import ConfigurationError, ConnectError, PanelicaClient
from panelica_async.sandbox import Sandbox
from panelica_async.telemetry import Retried
from panelica_async.transport.session import TlsSetting, fingerprint_of, to_aiohttp_ssl
from tests.conftest import API_KEY, API_SECRET, Connect
from tests.support.certificates import Certificate, self_signed
from tests.support.raw_server import RawServer, Step
from tests.transport import verifier

# The `openssl ca` command is the one that takes dates in every version.
CA_CONFIGURATION = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial.txt
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
basicConstraints = critical, CA:TRUE
subjectAltName = DNS:localhost, IP:127.0.0.1
"""


@pytest.fixture(scope="session")
def foreign_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for another name."""
    return self_signed(tmp_path_factory.mktemp("foreign"), "DNS:other.example.com")


@pytest.fixture(scope="session")
def expired_certificate(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Certificate:
    """A certificate for this machine's own names that was valid for a day of 2020."""
    folder = tmp_path_factory.mktemp("expired")
    (folder / "ca.cnf").write_text(CA_CONFIGURATION)
    (folder / "index.txt").touch()
    (folder / "serial.txt").write_text("01\n")
    key = str(certificate.key_path)
    dates = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
    request = ["req", "-new", "-key", key, "-subj", "/CN=localhost", "-out", "request.pem"]
    certificate_of_it = ["ca", "-batch", "-selfsign", "-config", "ca.cnf", "-keyfile", key, *dates, "-notext"]
    for command in (request, [*certificate_of_it, "-in", "request.pem", "-out", "cert.pem"]):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return Certificate(folder / "cert.pem", certificate.key_path)


@pytest.fixture
async def server(certificate: Certificate) -> AsyncIterator[RawServer]:
    """A server with the certificate of this machine, instead of one without TLS."""
    async with RawServer(tls=certificate.server_context) as server:
        yield server


async def refused(panel: PanelicaClient) -> ConnectError:
    """Return the error of a write, which is not tried twice and is surely not done."""
    events: list[Any] = []
    panel.subscribe(events.append)
    with pytest.raises(ConnectError) as caught:
        await panel.request("POST", "/v1/x", json={})
    assert not [event for event in events if isinstance(event, Retried)]
    assert caught.value.attempts == 1
    assert str(caught.value.hint) in str(caught.value)
    return caught.value


def context_of(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certificate.path)


def digest(certificate: Certificate) -> bytes:
    return bytes.fromhex(certificate.fingerprint.removeprefix("sha256:").replace(":", ""))


SETTINGS = {
    "path": lambda certificate: certificate.path,
    "path as text": lambda certificate: str(certificate.path),
    "fingerprint": lambda certificate: certificate.fingerprint,
    "fingerprint without colons": lambda certificate: f"SHA256:{digest(certificate).hex()}",
    "fingerprint of aiohttp": lambda certificate: aiohttp.Fingerprint(digest(certificate)),
    "context": context_of,
    "no verification": lambda _: False,
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
async def test_trusted_certificate_is_accepted(
    server: RawServer, connect: Connect, certificate: Certificate, setting: Any
) -> None:
    await connect(ssl=setting(certificate)).request("POST", "/v1/x", json={"a": "ş"})
    [sent] = server.requests
    assert verifier.accepts(sent, API_SECRET)


async def test_sandbox_serves_https(certificate: Certificate) -> None:
    async with (
        Sandbox(tier="enterprise", ssl=certificate.server_context) as box,
        PanelicaClient(
            box.base_url, api_key=box.api_key, api_secret=box.api_secret, ssl=certificate.fingerprint
        ) as panel,
    ):
        assert (await panel.me()).scopes == ["*:*"]


@pytest.mark.parametrize("setting", [None, True])
async def test_self_signed_certificate_is_refused(server: RawServer, connect: Connect, setting: bool | None) -> None:
    panel = connect(ssl=setting)
    error = await refused(panel)
    assert "the certificate is not accepted: self-signed certificate" in error.message.replace(
        "self signed", "self-signed"
    )
    assert error.hint == (
        "A fresh panel has a self-signed certificate: pass its file as ssl= or --ca-file, pass its fingerprint "
        "(sha256:…, which `panelica doctor` shows) as ssl= or --fingerprint, or install a real one."
    )
    # Nor is it trusted the second time, or for a call that is not signed.
    await refused(panel)
    with pytest.raises(ConnectError):
        await panel.health()
    assert server.requests == []


async def test_certificate_other_than_the_pinned_one_is_refused(
    server: RawServer, connect: Connect, foreign_certificate: Certificate
) -> None:
    error = await refused(connect(ssl=foreign_certificate.fingerprint))
    assert "the certificate does not have the fingerprint set as ssl" in error.message
    assert str(error.hint).startswith("If the certificate was renewed, pass its fingerprint (sha256:")
    assert server.requests == []


async def test_connection_with_wrong_fingerprint_is_aborted(
    server: RawServer, foreign_certificate: Certificate
) -> None:
    async def call() -> None:
        async with PanelicaClient(
            server.origin,
            api_key=API_KEY,
            api_secret=API_SECRET,
            tier="enterprise",
            ssl=foreign_certificate.fingerprint,
            max_retries=0,
        ) as panel:
            await refused(panel)

    def in_a_loop_that_ends_at_once() -> None:
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always", ResourceWarning)
            asyncio.run(call())
            gc.collect()
        assert left_open == []

    await asyncio.to_thread(in_a_loop_that_ends_at_once)


async def test_certificate_missing_from_the_ca_file_is_refused(
    server: RawServer, connect: Connect, foreign_certificate: Certificate
) -> None:
    error = await refused(connect(ssl=foreign_certificate.path))
    assert "pass its file as ssl=" in str(error.hint)
    assert server.requests == []


async def test_certificate_for_another_name_is_refused(connect: Connect, foreign_certificate: Certificate) -> None:
    async with RawServer(tls=foreign_certificate.server_context) as server:
        for origin in (server.origin, server.origin.replace("127.0.0.1", "localhost")):
            error = await refused(connect(base_url=origin, ssl=foreign_certificate.path))
            assert "mismatch" in error.message
            assert str(error.hint).startswith(
                "Write base_url with a name that the certificate is for, or pass its finger"
            )
        assert server.requests == []
        # A pinned certificate needs no name.
        await connect(base_url=server.origin, ssl=foreign_certificate.fingerprint).request("GET", "/v1/me")
        assert len(server.requests) == 1


async def test_expired_certificate_is_refused(connect: Connect, expired_certificate: Certificate) -> None:
    async with RawServer(tls=expired_certificate.server_context) as server:
        error = await refused(connect(base_url=server.origin, ssl=expired_certificate.path))
        assert "certificate has expired" in error.message
        assert str(error.hint).startswith("Renew the certificate on the panel, or pass its fingerprint")
        assert server.requests == []
        await connect(base_url=server.origin, ssl=expired_certificate.fingerprint).request("GET", "/v1/me")
        assert len(server.requests) == 1


async def test_port_without_tls_hints_at_the_port() -> None:
    async with (
        Sandbox(tier="enterprise") as box,
        PanelicaClient(box.base_url.replace("http:", "https:"), api_key=API_KEY, api_secret=API_SECRET) as panel,
    ):
        error = await refused(panel)
        assert error.hint == (
            "Check the port of base_url; where the panel has no TLS, as on its own port 3002, write http://."
        )


def test_fingerprint_is_that_of_openssl(certificate: Certificate) -> None:
    der = ssl.PEM_cert_to_DER_cert(certificate.path.read_text())
    assert fingerprint_of(der) == certificate.fingerprint


def test_verification_is_the_default() -> None:
    assert to_aiohttp_ssl(None) is True


BAD_SETTINGS: dict[str, tuple[Any, str]] = {
    "nothing": ("", "ssl must not be empty"),
    "no file": ("missing.pem", "ssl must name a readable file, and .*missing.pem cannot be read: No such file"),
    "a folder": (".", "ssl must name a readable file, and .* cannot be read: "),
    "a file of something else": (
        "key.pem",
        "ssl must name a file with certificates in PEM form, and .*key.pem has none",
    ),
    "an empty file": ("empty.pem", "ssl must name a file with certificates in PEM form, and .*empty.pem has none"),
    "no path": ("a\0b", "ssl must name a readable file, and .* cannot be read: "),
    "half a fingerprint": ("sha256:AB:CD", "ssl must be sha256: and 64 hexadecimal digits, not 'sha256:AB:CD'"),
    "a fingerprint of nothing": ("sha256:", "ssl must be sha256: and 64 hexadecimal digits, not 'sha256:'"),
    "an older digest": (f"sha1:{'ab' * 20}", "ssl must name a readable file, and sha1:ab"),
    "a number": (0, "ssl must not be of type int"),
    "bytes": (b"cert.pem", "ssl must not be of type bytes"),
    "a list": (["cert.pem"], "ssl must not be of type list"),
}


@pytest.mark.parametrize(("setting", "message"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_named(
    tmp_path: Path, certificate: Certificate, monkeypatch: pytest.MonkeyPatch, setting: Any, message: str
) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "key.pem").write_bytes(certificate.key_path.read_bytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=f"^{message}") as caught:
        PanelicaClient("panel.example.com", api_key=API_KEY, api_secret=API_SECRET, ssl=setting)
    assert "sha256:… with a fingerprint" in str(caught.value.hint)


PIN = "sha256:" + "AA" * 32


@pytest.mark.parametrize("trust", [PIN, True, ssl.create_default_context(), aiohttp.Fingerprint(b"a" * 32)])
@pytest.mark.parametrize("host", ["panel.example.com:3002", "127.0.0.1:3002", "localhost"])
def test_certificate_asked_of_http_is_refused(trust: TlsSetting, host: str) -> None:
    with pytest.raises(ConfigurationError, match="ssl verifies a certificate, but base_url is http"):
        PanelicaClient(f"http://{host}", api_key="pk_test_0", api_secret="sk_test_0", ssl=trust)


@pytest.mark.parametrize(
    ("base_url", "warned"),
    [
        ("http://panel.example.com", True),
        ("http://10.0.0.1:3002", True),
        ("http://[2001:db8::1]:3002", True),
        ("http://localhost.example.com", True),
        ("http://127.0.0.2:3002", False),
        ("http://[::1]:3002", False),
        ("http://localhost:3002", False),
        ("http://sandbox-1.localhost", False),
        ("https://panel.example.com", False),
    ],
)
def test_http_to_another_machine_warns(base_url: str, warned: bool, caplog: pytest.LogCaptureFixture) -> None:
    PanelicaClient(base_url, api_key="pk_test_0", api_secret="sk_test_0")
    assert [record.levelname for record in caplog.records] == ["WARNING"] * warned


async def test_port_that_closes_during_the_handshake_raises() -> None:
    async with RawServer() as server:
        server.script(Step(reads=False, ends="close"))
        async with PanelicaClient(
            server.origin.replace("http", "https"),
            api_key=API_KEY,
            api_secret=API_SECRET,
            max_retries=0,
            tier="starter",
        ) as panel:
            with pytest.raises(ConnectError, match="the connection was closed at once"):
                await panel.me()
