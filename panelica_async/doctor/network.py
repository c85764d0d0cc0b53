"""Checks the connection to the API: name, port, TLS, path, and which dialect it speaks.

If the API does not answer, looks for it elsewhere on the host.
"""

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final

import aiohttp
import attrs
from yarl import URL

from panelica_async.core import hints
from panelica_async.core.address import DEFAULT_PORT, DIRECT_PORT, PUBLIC_PREFIX, Address
from panelica_async.core.operation import Dialect
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.base import Finding, Probe, Probes, State, failure, ok, skipped, warning
from panelica_async.errors import (
    AuthenticationError,
    ConnectError,
    DecodeError,
    PanelicaError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
)
from panelica_async.models.utility import Health
from panelica_async.transport.exchange import explain_connect_error, is_certificate_error, is_proxy_error
from panelica_async.transport.session import TlsSetting, fingerprint_of, to_aiohttp_ssl

_CONNECTION, _TLS, _ADDRESS, _DIALECT = "connection", "tls", "address", "dialect"

_EXPOSED = "anyone on the network path can read and change the traffic"
_ON_THE_SERVER = "Compare it with the certificate on the server first."
_CHECK_ADDRESS = "Check host and port of base_url, and whether the API of the panel is running."
_ANSWERS: Final[Mapping[Dialect, str]] = {
    "panel": "the panel answers GET /health, as current panels do",
    "reference": "the panel has no GET /health, as in the published API reference",
}
_CANDIDATE_TIMEOUT = 5.0
"""Seconds for each of the other addresses."""


@attrs.frozen
class Reach:
    """The findings about the connection to the API."""

    findings: tuple[Finding, ...]

    @property
    def is_up(self) -> bool:
        """Whether the API answers."""
        return self.findings[-1].state in {State.OK, State.WARNING}


@attrs.frozen
class _Candidate:
    """Another address on the host where a server answers."""

    address: Address
    is_trusted: bool
    """Whether the API answers there. Otherwise the certificate is not trusted, and nothing was sent."""

    @property
    def hint(self) -> str:
        """What to do with this address."""
        if self.is_trusted:
            return f"Use {self.address} as base_url (--base-url): the API answers there."
        return f"Check {self.address}: a server answers there, but its certificate is not trusted."


async def check_reach(probes: Probes, probe: Probe, setting: TlsSetting) -> Reach:
    """Ask for the health of the API; if it does not answer, try the other well-known addresses.

    Args:
        probes: Creates probes of the other addresses.
        probe: The configured address.
        setting: How to verify its certificate.
    """
    address, timeout = probe.address, probe.options.timeout
    health, error = None, None
    try:
        health = await _ask_health(probe)
    except PanelicaError as caught:
        error = caught
    connection = _connection(address, error)
    if connection.state is State.FAILURE:
        tls, api = (skipped(name, "no connection") for name in (_TLS, _ADDRESS))
    else:
        tls = await check_tls(address, setting, error, timeout)
        if tls.state is State.FAILURE:
            api = skipped(_ADDRESS, "nothing was sent without a trusted connection")
        else:
            api = _address(address, health, error, timeout)
    findings: tuple[Finding, ...] = (connection, tls, api)
    if error is not None and _may_be_elsewhere(error):
        others = (probes.to(other, timeout=_CANDIDATE_TIMEOUT) for other in other_addresses(address))
        if candidate := await _find_candidate(others):
            findings = tuple(_pointing_to(candidate, finding) for finding in findings)
    return Reach(findings)


async def _ask_health(probe: Probe) -> Health | None:
    """Return the health of the API, read in one or two calls; None if the API requires a key even for this.

    Raises:
        TransportError: No reply was received.
        ResponseError: The reply is an error.
        DecodeError: The reply is not one of the API.
    """
    refusals: list[ResponseError | DecodeError] = []
    # Current panels serve `/health`, the reference has it under `/v1` (evidence: address-health).
    dialects: tuple[Dialect, ...] = ("panel", "reference")
    for dialect in dialects:
        try:
            return await probe.utility(dialect).health()
        except (ResponseError, DecodeError) as error:
            if isinstance(error, AuthenticationError) and error.code:
                return None
            refusals.append(error)
    raise refusals[0]


def _may_be_elsewhere(error: PanelicaError) -> bool:
    """Return whether to try other addresses: not if this one is right, and the panel or the proxy has failed."""
    is_beyond_proxy = isinstance(error, ConnectError) and is_proxy_error(error)
    return not (_is_untrusted(error) or is_beyond_proxy or isinstance(error, ServerError))


def _pointing_to(candidate: _Candidate, finding: Finding) -> Finding:
    """Return a finding with a hint to another address, if it is a failure."""
    if finding.state is not State.FAILURE:
        return finding
    return attrs.evolve(finding, hint=candidate.hint, facts={**finding.facts, "elsewhere": str(candidate.address)})


def other_addresses(address: Address) -> list[Address]:
    """Return the other well-known addresses on the host of an address, likeliest first."""
    url = URL(address.origin)
    host = address.origin.partition("://")[2].rpartition(":")[0]
    other_scheme = "http" if url.scheme == "https" else "https"
    # The web server, or the process behind it (evidence: address-prefix, address-backend).
    written = (
        f"{address.origin}{PUBLIC_PREFIX}",
        f"{other_scheme}://{host}:{url.port}{PUBLIC_PREFIX}",
        f"https://{host}:{DEFAULT_PORT}{PUBLIC_PREFIX}",
        f"http://{host}:{DIRECT_PORT}",
        f"https://{host}:{DIRECT_PORT}",
        f"https://{host}:{DIRECT_PORT}{PUBLIC_PREFIX}",
    )
    known = dict.fromkeys(map(Address.parse, written))
    return [other for other in known if other != address]


async def _find_candidate(probes: Iterable[Probe]) -> _Candidate | None:
    """Ask all addresses at once, unsigned; return the first with the API, or else the first that may have it."""
    found = [candidate for candidate in await asyncio.gather(*map(_ask, probes)) if candidate is not None]
    return min(found, key=lambda candidate: not candidate.is_trusted, default=None)


async def _ask(probe: Probe) -> _Candidate | None:
    try:
        await _ask_health(probe)
    except PanelicaError as error:
        return _Candidate(probe.address, is_trusted=False) if _is_untrusted(error) else None
    return _Candidate(probe.address, is_trusted=True)


def _connection(address: Address, error: PanelicaError | None) -> Finding:
    """Check that the name resolves and the port is open."""
    authority = URL(address.origin).authority
    if not isinstance(error, ConnectError) or is_certificate_error(error):
        return ok(_CONNECTION, f"{authority} accepts connections")
    message, hint = _no_connection(error, authority)
    return failure(_CONNECTION, message, hint)


def _no_connection(error: ConnectError, authority: str) -> tuple[str, str | None]:
    if is_proxy_error(error):
        return error.message, error.hint
    match error.__cause__:
        case aiohttp.ClientConnectorDNSError() as cause:
            hint = "Check the spelling of base_url, and the DNS settings of this machine."
            return f"the name {cause.host} cannot be resolved", hint
        case aiohttp.ConnectionTimeoutError():
            hint = "Check host and port, and whether a firewall on the way drops the packets."
            return f"the connection to {authority} timed out", hint
        case aiohttp.ClientConnectorError() as cause if cause.os_error.errno == errno.ECONNREFUSED:
            return f"nothing is listening at {authority}: the connection was refused", _CHECK_ADDRESS
        case _:
            return error.message, error.hint


async def check_tls(address: Address, setting: TlsSetting, error: PanelicaError | None, seconds: float) -> Finding:
    """Check how the connection is protected.

    Args:
        address: Where the call went.
        setting: How the certificate was verified.
        error: Why the call failed; None if it succeeded.
        seconds: How long reading the certificate may take.
    """
    url = URL(address.origin)
    if url.scheme == "http":
        return _plain(url)
    if error is not None and _is_not_tls(error):
        message = f"{url.authority} does not speak TLS, or no version that this machine accepts"
        return failure(_TLS, message, error.hint)
    fingerprint = await _read_fingerprint(url, seconds)
    facts = {"fingerprint": fingerprint}
    if error is not None and _is_untrusted(error):
        refused = explain_connect_error(error.__cause__, fingerprint or "sha256:…")
        message, hint = refused or (error.message, error.hint)
        return failure(_TLS, message, f"{hint} {_ON_THE_SERVER}", **facts)
    shown = f"; its fingerprint is {fingerprint}" if fingerprint else ""
    verified = to_aiohttp_ssl(setting)
    if verified is False or (isinstance(verified, ssl.SSLContext) and verified.verify_mode == ssl.CERT_NONE):
        hint = f"Pass the fingerprint as ssl= (--fingerprint). {_ON_THE_SERVER}"
        return warning(_TLS, f"the certificate is not verified: {_EXPOSED}{shown}", hint, **facts)
    return ok(_TLS, f"the certificate is accepted{shown}", **facts)


def _is_untrusted(error: PanelicaError) -> bool:
    """Return whether a call failed because the certificate was rejected."""
    return isinstance(error.__cause__, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch)


def _is_not_tls(error: PanelicaError) -> bool:
    """Return whether a call failed because the server does not speak TLS as this machine does."""
    return isinstance(error.__cause__, aiohttp.ClientSSLError) and not _is_untrusted(error)


def _plain(url: URL) -> Finding:
    if _is_this_machine(url.host or ""):
        return ok(_TLS, "plain HTTP, but only within this machine")
    hint = f"Use https; the web server of the panel serves it on port {DEFAULT_PORT}."
    return warning(_TLS, f"plain HTTP: {_EXPOSED}", hint)


async def _read_fingerprint(url: URL, seconds: float) -> str | None:
    """Return the fingerprint of a server's certificate; None if it cannot be read.

    The certificate is not verified, and nothing is sent: this connection serves no request.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(url.host, url.port, ssl=context)
    except OSError:
        return None
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    # Closing gracefully would wait for a server that never closes its side.
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return fingerprint_of(certificate) if certificate else None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # These names always mean this machine (RFC 6761).
        return host == "localhost" or host.endswith(".localhost")


def _address(address: Address, health: Health | None, error: PanelicaError | None, timeout: float) -> Finding:
    """Check that the API answers at the address."""
    if error is not None:
        return failure(_ADDRESS, _not_the_api(address, error, timeout), error.hint or _CHECK_ADDRESS)
    details = [] if health is None else [excerpt(health.status)]
    if health is not None and health.version is not None:
        details.append(f"version {excerpt(health.version)}")
    found = f"the API answers at {address}" + (f" ({', '.join(details)})" if details else "")
    if not address.dropped_path:
        return ok(_ADDRESS, found)
    message = f"{found}; the path {excerpt(address.dropped_path)} in base_url does not belong to the API and is ignored"
    return warning(_ADDRESS, message, f"Set base_url (--base-url) to {address}.")


def _not_the_api(address: Address, error: PanelicaError, timeout: float) -> str:
    match error:
        case RequestTimeoutError():
            return f"{address} accepts connections, but did not answer within {timeout:g} s"
        case DecodeError() if error.hint == hints.WEB_PAGE:
            return f"{address} serves a web page, not the API"
        case DecodeError():
            return f"something other than the API answers at {address}: {error.message}"
        case ResponseError():
            return f"the API does not answer at {address}: {error.status}, {error.message}"
        case _:
            return f"{address} did not answer: {error.message}"


@attrs.frozen
class DialectCheck:
    """The result of finding out the dialect."""

    finding: Finding
    dialect: Dialect | None
    """What the client speaks; None while it is uncertain."""


async def check_dialect(probe: Probe, chosen: Dialect | None) -> DialectCheck:
    """Find out which dialect a client would speak, as it does itself, and whether a chosen one fits the panel.

    Args:
        probe: The address of the API.
        chosen: The dialect that the caller chose; None for the client to find out.
    """
    try:
        found, problem = await probe.learn_dialect(), ""
    except PanelicaError as error:
        found, problem = None, error.message
    dialect = chosen or found
    facts = {"dialect": dialect, "chosen": chosen is not None, "found": found}
    if dialect is None:
        message = f"the client cannot find out which API the panel speaks, and sends nothing until it can: {problem}"
        return DialectCheck(warning(_DIALECT, message, hints.DIALECT, **facts), None)
    if chosen is None or found == chosen:
        return DialectCheck(ok(_DIALECT, f"{dialect}: {_ANSWERS[dialect]}", **facts), dialect)
    if found is None:
        message = f"{dialect}, as chosen; GET /health does not show whether that is right: {problem}"
        return DialectCheck(ok(_DIALECT, message, **facts), dialect)
    message = f"{dialect}, as chosen, but the panel speaks another: {_ANSWERS[found]}"
    hint = f"Leave the dialect out (dialect=, --dialect, PANELICA_DIALECT), or choose {found}."
    return DialectCheck(warning(_DIALECT, message, hint, **facts), dialect)
