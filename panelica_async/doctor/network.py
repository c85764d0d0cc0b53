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
from panelica_async.doctor.base import Finding, Probe, ProbeFactory, State, failure, ok, skipped, warning
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

_EXPOSED_TRAFFIC = "anyone on the network path can read and change the traffic"
_COMPARE_FINGERPRINT = "Compare it with the certificate on the server first."
_CHECK_ADDRESS = "Check host and port of base_url, and whether the API of the panel is running."
_DIALECT_EVIDENCE: Final[Mapping[Dialect, str]] = {
    "panel": "the panel answers GET /health, as current panels do",
    "reference": "the panel has no GET /health, as in the published API reference",
}
_CANDIDATE_TIMEOUT = 5.0
"""Seconds for each of the other addresses."""


@attrs.frozen
class Reachability:
    """The findings about the connection to the API."""

    findings: tuple[Finding, ...]

    @property
    def api_answers(self) -> bool:
        """Whether the API answers."""
        return self.findings[-1].state in {State.OK, State.WARNING}


@attrs.frozen
class _Candidate:
    """Another address on the same host where a server answers."""

    address: Address
    is_trusted: bool
    """Whether the certificate is trusted and the API answers. Without trust, nothing was sent."""

    @property
    def hint(self) -> str:
        """What to do with this address."""
        if self.is_trusted:
            return f"Use {self.address} as base_url (--base-url): the API answers there."
        return f"Check {self.address}: a server answers there, but its certificate is not trusted."


async def check_reachability(probes: ProbeFactory, probe: Probe, setting: TlsSetting) -> Reachability:
    """Read the health of the API; if it does not answer, try the other well-known addresses.

    Args:
        probes: Creates probes for the other addresses.
        probe: The configured address.
        setting: How to verify its certificate.
    """
    address, timeout = probe.address, probe.options.timeout
    health, error = None, None
    try:
        health = await _read_health(probe)
    except PanelicaError as caught:
        error = caught
    connection = _check_connection(address, error)
    if connection.state is State.FAILURE:
        tls, api = (skipped(name, "no connection") for name in (_TLS, _ADDRESS))
    else:
        tls = await check_tls(address, setting, error, timeout)
        if tls.state is State.FAILURE:
            api = skipped(_ADDRESS, "nothing was sent without a trusted connection")
        else:
            api = _check_address(address, health, error, timeout)
    findings: tuple[Finding, ...] = (connection, tls, api)
    if error is not None and _may_be_elsewhere(error):
        others = (probes.create(other, timeout=_CANDIDATE_TIMEOUT) for other in other_addresses(address))
        if candidate := await _find_candidate(others):
            findings = tuple(_with_hint_to(candidate, finding) for finding in findings)
    return Reachability(findings)


async def _read_health(probe: Probe) -> Health | None:
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
    """Return whether to try other addresses: not if this one is right, but the panel or a proxy has failed."""
    is_beyond_proxy = isinstance(error, ConnectError) and is_proxy_error(error)
    return not (_is_untrusted(error) or is_beyond_proxy or isinstance(error, ServerError))


def _with_hint_to(candidate: _Candidate, finding: Finding) -> Finding:
    """Return a finding; if it is a failure, with the hint to another address."""
    if finding.state is not State.FAILURE:
        return finding
    return attrs.evolve(finding, hint=candidate.hint, facts={**finding.facts, "elsewhere": str(candidate.address)})


def other_addresses(address: Address) -> list[Address]:
    """Return the other well-known addresses on the host of an address, likeliest first."""
    url = URL(address.origin)
    host = address.origin.partition("://")[2].rpartition(":")[0]
    other_scheme = "http" if url.scheme == "https" else "https"
    # The web server, or the process behind it (evidence: address-prefix, address-backend).
    base_urls = (
        f"{address.origin}{PUBLIC_PREFIX}",
        f"{other_scheme}://{host}:{url.port}{PUBLIC_PREFIX}",
        f"https://{host}:{DEFAULT_PORT}{PUBLIC_PREFIX}",
        f"http://{host}:{DIRECT_PORT}",
        f"https://{host}:{DIRECT_PORT}",
        f"https://{host}:{DIRECT_PORT}{PUBLIC_PREFIX}",
    )
    addresses = dict.fromkeys(map(Address.parse, base_urls))
    return [other for other in addresses if other != address]


async def _find_candidate(probes: Iterable[Probe]) -> _Candidate | None:
    """Try all addresses at once, unsigned; return the first with the API, otherwise the first that may have it."""
    candidates = [candidate for candidate in await asyncio.gather(*map(_try_address, probes)) if candidate is not None]
    return min(candidates, key=lambda candidate: not candidate.is_trusted, default=None)


async def _try_address(probe: Probe) -> _Candidate | None:
    try:
        await _read_health(probe)
    except PanelicaError as error:
        return _Candidate(probe.address, is_trusted=False) if _is_untrusted(error) else None
    return _Candidate(probe.address, is_trusted=True)


def _check_connection(address: Address, error: PanelicaError | None) -> Finding:
    """Check that the name resolves and the port is open."""
    authority = URL(address.origin).authority
    if not isinstance(error, ConnectError) or is_certificate_error(error):
        return ok(_CONNECTION, f"{authority} accepts connections")
    message, hint = _explain_connect_error(error, authority)
    return failure(_CONNECTION, message, hint)


def _explain_connect_error(error: ConnectError, authority: str) -> tuple[str, str | None]:
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
        return _check_plain_http(url)
    if error is not None and _is_not_tls(error):
        message = f"{url.authority} does not speak TLS, or no version that this machine accepts"
        return failure(_TLS, message, error.hint)
    fingerprint = await _read_fingerprint(url, seconds)
    facts = {"fingerprint": fingerprint}
    if error is not None and _is_untrusted(error):
        explanation = explain_connect_error(error.__cause__, fingerprint or "sha256:…")
        message, hint = explanation or (error.message, error.hint)
        return failure(_TLS, message, f"{hint} {_COMPARE_FINGERPRINT}", **facts)
    fingerprint_text = f"; its fingerprint is {fingerprint}" if fingerprint else ""
    verification = to_aiohttp_ssl(setting)
    if verification is False or (
        isinstance(verification, ssl.SSLContext) and verification.verify_mode == ssl.CERT_NONE
    ):
        hint = f"Pass the fingerprint as ssl= (--fingerprint). {_COMPARE_FINGERPRINT}"
        return warning(_TLS, f"the certificate is not verified: {_EXPOSED_TRAFFIC}{fingerprint_text}", hint, **facts)
    return ok(_TLS, f"the certificate is accepted{fingerprint_text}", **facts)


def _is_untrusted(error: PanelicaError) -> bool:
    """Return whether a call failed because the certificate was rejected."""
    return isinstance(error.__cause__, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch)


def _is_not_tls(error: PanelicaError) -> bool:
    """Return whether a call failed because the server speaks no TLS, or no version that this machine accepts."""
    return isinstance(error.__cause__, aiohttp.ClientSSLError) and not _is_untrusted(error)


def _check_plain_http(url: URL) -> Finding:
    if _is_this_machine(url.host or ""):
        return ok(_TLS, "plain HTTP, but only within this machine")
    hint = f"Use https; the web server of the panel serves it on port {DEFAULT_PORT}."
    return warning(_TLS, f"plain HTTP: {_EXPOSED_TRAFFIC}", hint)


async def _read_fingerprint(url: URL, seconds: float) -> str | None:
    """Return the fingerprint of a server's certificate; None if it cannot be read.

    The certificate is not verified; nothing is sent over this connection.
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


def _check_address(address: Address, health: Health | None, error: PanelicaError | None, timeout: float) -> Finding:
    """Check that the API answers at the address."""
    if error is not None:
        return failure(_ADDRESS, _describe_wrong_answer(address, error, timeout), error.hint or _CHECK_ADDRESS)
    details = [] if health is None else [excerpt(health.status)]
    if health is not None and health.version is not None:
        details.append(f"version {excerpt(health.version)}")
    answer = f"the API answers at {address}" + (f" ({', '.join(details)})" if details else "")
    if not address.dropped_path:
        return ok(_ADDRESS, answer)
    message = (
        f"{answer}; the path {excerpt(address.dropped_path)} in base_url does not belong to the API and is ignored"
    )
    return warning(_ADDRESS, message, f"Set base_url (--base-url) to {address}.")


def _describe_wrong_answer(address: Address, error: PanelicaError, timeout: float) -> str:
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
    """The result of checking the dialect."""

    finding: Finding
    dialect: Dialect | None
    """What the client speaks; None while it is uncertain."""


async def check_dialect(probe: Probe, chosen: Dialect | None) -> DialectCheck:
    """Learn the dialect as a client does, and compare it with the chosen one.

    Args:
        probe: The address of the API.
        chosen: The dialect that the caller chose; None if the client asks the panel.
    """
    try:
        learnt, problem = await probe.learn_dialect(), ""
    except PanelicaError as error:
        learnt, problem = None, error.message
    dialect = chosen or learnt
    facts = {"dialect": dialect, "chosen": chosen is not None, "found": learnt}
    if dialect is None:
        message = f"the client cannot find out which API the panel speaks, and sends nothing until it can: {problem}"
        return DialectCheck(warning(_DIALECT, message, hints.DIALECT, **facts), None)
    if chosen is None or learnt == chosen:
        return DialectCheck(ok(_DIALECT, f"{dialect}: {_DIALECT_EVIDENCE[dialect]}", **facts), dialect)
    if learnt is None:
        message = f"{dialect}, as chosen; GET /health does not show whether that is right: {problem}"
        return DialectCheck(ok(_DIALECT, message, **facts), dialect)
    message = f"{dialect}, as chosen, but the panel speaks another: {_DIALECT_EVIDENCE[learnt]}"
    hint = f"Leave the dialect out (dialect=, --dialect, PANELICA_DIALECT), or choose {learnt}."
    return DialectCheck(warning(_DIALECT, message, hint, **facts), dialect)
