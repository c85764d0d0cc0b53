"""Self-signed certificates for tests, made by the command that docs/sandbox.md shows."""

import re
import shlex
import shutil
import ssl
import subprocess
from pathlib import Path

import attrs
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
LOCALHOST = "DNS:localhost,IP:127.0.0.1"


@attrs.frozen
class Certificate:
    """A certificate and its private key, in PEM form."""

    path: Path
    key_path: Path

    @property
    def server_context(self) -> ssl.SSLContext:
        """A TLS context for a server with this certificate."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path, self.key_path)
        return context

    @property
    def fingerprint(self) -> str:
        """The fingerprint that openssl prints, in the form that the client accepts."""
        command = ["openssl", "x509", "-in", str(self.path), "-noout", "-fingerprint", "-sha256"]
        shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return f"sha256:{shown.strip().partition('=')[2]}"


def self_signed(folder: Path, names: str = LOCALHOST) -> Certificate:
    """Create a certificate for names such as `DNS:localhost`; skip the test if openssl is not installed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which creates the certificate, is not installed")
    [command] = re.findall(r"^openssl req .*$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert LOCALHOST in command
    subprocess.run(shlex.split(command.replace(LOCALHOST, names)), cwd=folder, check=True, capture_output=True)
    return Certificate(folder / "cert.pem", folder / "key.pem")
