"""The address of a panel: turns what people write into an origin and a path prefix.

| written | meant |
|---|---|
| `panel.example.com` | `https://panel.example.com:8443/api/external` |
| `panel.example.com:9443` | `https://panel.example.com:9443/api/external` |
| `https://panel.example.com/api/external/v1/` | `https://panel.example.com:8443/api/external` |
| `http://127.0.0.1:3002`, `http://127.0.0.1:3002/v1` | `http://127.0.0.1:3002`, no prefix |
| `https://gateway.example.com:443/panel-1/api/external` | that prefix, kept |
| `https://panel.example.com:8443/dashboard` | `https://panel.example.com:8443/api/external` |

The default scheme is https, and the default port 8443; port 0 counts as none. A path that ends in `/api/external` or
`/v1` names the API, and is kept without `/v1`. Any other path is taken for a page of the panel's own interface, copied
from a browser, and dropped, as the vendor's billing module does (evidence: address-forms). The default prefix is
`/api/external`, except on port 3002, where the API listens without the web server that adds the prefix. No other port
is known to serve the API without it (evidence: address-backend), so a tunnel to port 3002 must also begin at a port
3002, such as that of 127.0.0.2.
"""

import ipaddress
import re
from contextlib import suppress
from typing import Self
from urllib.parse import SplitResult, urlsplit

from attrs import field, frozen

from panelica_async.errors import ConfigurationError

DEFAULT_PORT = 8443
DIRECT_PORT = 3002
PUBLIC_PREFIX = "/api/external"

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?")
_LOOPBACK = re.compile(r"(?<=://)(127\.0\.0\.1|\[::1\])(?=[:/]|\Z)")
_FORMS_HINT = "Pass a host, host:port or URL, such as https://panel.example.com:8443/api/external."


@frozen
class Address:
    """Address of a panel.

    Attributes:
        origin: Scheme, host and port, such as `https://panel.example.com:8443`.
        prefix: Path before `/v1`, such as `/api/external`; empty when there is none. Never signed.
        dropped_path: Path that does not belong to the API, such as `/dashboard`; empty if there was none.
    """

    origin: str
    prefix: str
    dropped_path: str = field(default="", eq=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an address in any of the forms that the docstring of the module lists.

        Raises:
            ConfigurationError: It is not a valid address, or it contains credentials, a query or a fragment.
        """
        parts = _split_url(text)
        port = _parse_port(parts)
        origin = f"{parts.scheme}://{_parse_host(parts)}:{port}"
        path = parts.path.rstrip("/")
        names_api = path.endswith(("/v1", PUBLIC_PREFIX))
        prefix = _parse_prefix(path) if names_api else ""
        if not prefix and port != DIRECT_PORT:
            prefix = PUBLIC_PREFIX
        return cls(origin=origin, prefix=prefix, dropped_path="" if names_api else path)

    def __str__(self) -> str:
        return self.origin + self.prefix

    def url(self, path: str) -> str:
        """Return the URL of a path, such as `/v1/domains`.

        Raises:
            ValueError: The path does not begin with a slash.
        """
        if not path.startswith("/"):
            raise ValueError("path must begin with a slash, such as /v1/domains")
        return self.origin + self.prefix + path


def _split_url(text: object) -> SplitResult:
    if not isinstance(text, str):
        raise ConfigurationError(f"base_url must be a string, not {type(text).__name__}", hint=_FORMS_HINT)
    if not text.strip():
        raise ConfigurationError("base_url must not be empty", hint=_FORMS_HINT)
    text = text.strip()
    if not text.isascii():
        raise ConfigurationError("base_url must be ASCII", hint="Write the host in its xn-- form.")
    if not text.isprintable() or " " in text or "\\" in text:
        raise ConfigurationError(
            "base_url must not contain spaces, backslashes or control characters", hint=_FORMS_HINT
        )
    text = _with_scheme(text)
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ConfigurationError("base_url must have a valid host", hint=_FORMS_HINT) from None
    if parts.scheme not in {"http", "https"}:
        raise ConfigurationError("base_url must be an http or https URL", hint=_FORMS_HINT)
    # None of these messages quotes the address: it may contain a password.
    if "@" in parts.netloc:
        raise ConfigurationError(
            "base_url must not contain a user name or password", hint="Pass credentials as api_key and api_secret."
        )
    if "?" in text or "#" in text:
        raise ConfigurationError(
            "base_url must not contain a query or a fragment", hint="Remove everything from ? or # on."
        )
    return parts


def _with_scheme(text: str) -> str:
    """Return an address with a scheme, and a bare IPv6 address, such as `2001:db8::1`, in brackets."""
    if "://" in text:
        return text
    if text.lower().startswith(("http:", "https:")):
        # Taken for host and port, `https:/panel.example.com` would be a host called https.
        raise ConfigurationError("base_url must have two slashes after http: or https:", hint=_FORMS_HINT)
    with suppress(ValueError):
        return f"https://[{ipaddress.IPv6Address(text)}]"
    return f"https://{text}"


def is_same_panel(base_url: str, other: str) -> bool:
    """Return whether two base URLs name the same panel; all names of the loopback interface are equal."""
    return _LOOPBACK.sub("localhost", base_url) == _LOOPBACK.sub("localhost", other)


def _parse_host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if parts.netloc.startswith("["):
        # A zone (fe80::1%eth0) has a meaning on one machine only, and no agreed form in URLs.
        with suppress(ValueError):
            if "%" not in host:
                return f"[{ipaddress.IPv6Address(host)}]"
    elif _HOST_NAME.fullmatch(host):
        return host
    raise ConfigurationError("base_url must have a valid host", hint=_FORMS_HINT)


def _parse_port(parts: SplitResult) -> int:
    try:
        # Port 0 means that none was chosen (evidence: address-forms).
        return parts.port or DEFAULT_PORT
    except ValueError:
        raise ConfigurationError("base_url must have a port from 0 to 65535", hint=_FORMS_HINT) from None


def _parse_prefix(path: str) -> str:
    """Return the prefix of a path that names the API."""
    prefix = path.removesuffix("/v1").rstrip("/")
    if any(segment in {"", ".", ".."} or "%" in segment for segment in prefix.split("/")[1:]):
        raise ConfigurationError(
            "base_url must not have a path with empty, dot or percent-encoded segments", hint=_FORMS_HINT
        )
    return prefix
