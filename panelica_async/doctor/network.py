"""Whether the API is where it is said to be: name, port, TLS, path; and where it is otherwise."""

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Iterable
from contextlib import suppress

import aiohttp
import attrs
from yarl import URL

from panelica_async.core import hints
from panelica_async.core.address import DEFAULT_PORT, DIRECT_PORT, PUBLIC_PREFIX, Address
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.findings import Finding, State, failure, ok, skipped, warning
from panelica_async.doctor.probe import Probe, Probes, ask_health
from panelica_async.errors import (
    ConnectError,
    DecodeError,
    PanelicaError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
)
from panelica_async.models.utility import Health
from panelica_async.transport.exchange import is_certificate_problem, is_of_proxy, refusal
from panelica_async.transport.session import TlsSetting, fingerprint_of, verification

_TLS = "tls"

_ON_THE_SERVER = "Compare it with the certificate on the server first."


def is_untrusted(error: PanelicaError) -> bool:
    """Tell whether a call failed because the certificate was not accepted."""
    return isinstance(error.__cause__, aiohttp.ClientConnectorCertificateError | aiohttp.ServerFingerprintMismatch)


def is_not_tls(error: PanelicaError) -> bool:
    """Tell whether a call failed because no TLS connection came about, whatever the certificate."""
    return isinstance(error.__cause__, aiohttp.ClientSSLError) and not is_untrusted(error)


async def check_tls(address: Address, setting: TlsSetting, error: PanelicaError | None, seconds: float) -> Finding:
    """Say how well the connection is protected.

    Args:
        address: Where a call was made.
        setting: How its certificate was to be verified.
        error: What became of the call; None when it succeeded.
        seconds: How long reading the certificate may take.
    """
    url = URL(address.origin)
    if url.scheme == "http":
        return _plain(url)
    if error is not None and is_not_tls(error):
        message = f"{url.authority} does not speak TLS, or none that this machine accepts"
        return failure(_TLS, message, error.hint)
    fingerprint = await _read_fingerprint(url, seconds)
    facts = {"fingerprint": fingerprint}
    if error is not None and is_untrusted(error):
        refused = refusal(error.__cause__, fingerprint or "sha256:…")
        message, hint = refused or (error.message, error.hint)
        return failure(_TLS, message, f"{hint} {_ON_THE_SERVER}", **facts)
    shown = f"; its fingerprint is {fingerprint}" if fingerprint else ""
    verified = verification(setting)
    if verified is False or (isinstance(verified, ssl.SSLContext) and verified.verify_mode == ssl.CERT_NONE):
        hint = (
            "Anybody on the way can read and change everything: pass the fingerprint as ssl= or --fingerprint. "
            + _ON_THE_SERVER
        )
        return warning(_TLS, f"the certificate is not verified{shown}", hint, **facts)
    return ok(_TLS, f"the certificate is accepted{shown}", **facts)


def _plain(url: URL) -> Finding:
    if _is_this_machine(url.host or ""):
        return ok(_TLS, "plain HTTP, which does not leave this machine")
    hint = f"Use https: the panel's own web server has it on port {DEFAULT_PORT}."
    return warning(_TLS, "plain HTTP: anybody on the way can read and change everything", hint)


async def _read_fingerprint(url: URL, seconds: float) -> str | None:
    """Return the fingerprint of a server's certificate; None when it cannot be read.

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
    # A server that does not take its leave would hold up a connection that is closed.
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    return fingerprint_of(certificate) if certificate else None


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # Names below it never leave the machine (RFC 6761).
        return host == "localhost" or host.endswith(".localhost")


@attrs.frozen
class Place:
    """An address at which something was found."""

    address: Address
    is_trusted: bool
    """Whether it is the API. Otherwise it has a certificate that is not trusted, and what it is cannot be told."""

    @property
    def hint(self) -> str:
        """What to do with it."""
        if self.is_trusted:
            return f"The API answers at {self.address}: use that as base_url (--base-url)."
        return f"At {self.address} is something whose certificate is not trusted: look at that address."


def other_places(address: Address) -> list[Address]:
    """Return the well-known addresses on the host of another one, likeliest first."""
    url = URL(address.origin)
    host = address.origin.partition("://")[2].rpartition(":")[0]
    other_scheme = "http" if url.scheme == "https" else "https"
    # Through the web server, or at the process behind it (evidence: address-prefix, address-backend).
    written = (
        f"{address.origin}{PUBLIC_PREFIX}",
        f"{other_scheme}://{host}:{url.port}{PUBLIC_PREFIX}",
        f"https://{host}:{DEFAULT_PORT}{PUBLIC_PREFIX}",
        f"http://{host}:{DIRECT_PORT}",
        f"https://{host}:{DIRECT_PORT}",
        f"https://{host}:{DIRECT_PORT}{PUBLIC_PREFIX}",
    )
    places = dict.fromkeys(map(Address.parse, written))
    return [place for place in places if place != address]


async def find_place(probes: Iterable[Probe]) -> Place | None:
    """Ask addresses, all at once and unsigned; return the first with the API, else the first that may have it."""
    found = [place for place in await asyncio.gather(*map(_look, probes)) if place is not None]
    return min(found, key=lambda place: not place.is_trusted, default=None)


async def _look(probe: Probe) -> Place | None:
    try:
        await ask_health(probe)
    except PanelicaError as error:
        return Place(probe.address, is_trusted=False) if is_untrusted(error) else None
    return Place(probe.address, is_trusted=True)


_PLACE_TIMEOUT = 5.0
"""Seconds for each of the other addresses."""
_CHECK_ADDRESS = "Check host and port of base_url, and look whether the API of the panel is up."


@attrs.frozen
class Reach:
    """What was found on the way to the API."""

    findings: tuple[Finding, ...]

    @property
    def is_up(self) -> bool:
        """Whether the API answers."""
        return self.findings[-1].state in {State.OK, State.WARNING}


async def check_reach(probes: Probes, probe: Probe, setting: TlsSetting) -> Reach:
    """Ask for the health of the API; when something else or nothing answers, look at the other well-known addresses.

    Args:
        probes: Makes probes of the other addresses.
        probe: The address that was given.
        setting: How its certificate is verified.
    """
    address, timeout = probe.address, probe.options.timeout
    health, error = None, None
    try:
        health = await ask_health(probe)
    except PanelicaError as caught:
        error = caught
    connection = _connection(address, error)
    if connection.state is State.FAILURE:
        tls, api = (skipped(name, "there is no connection") for name in (_TLS, "address"))
    else:
        tls = await check_tls(address, setting, error, timeout)
        if tls.state is State.FAILURE:
            api = skipped("address", "without a connection that can be trusted, nothing was asked")
        else:
            api = _address(address, health, error, timeout)
    findings = (connection, tls, api)
    place = await _look_elsewhere(probes, address) if error is not None and _may_be_elsewhere(error) else None
    return Reach(findings if place is None else tuple(_pointed(finding, place) for finding in findings))


def _may_be_elsewhere(error: PanelicaError) -> bool:
    """Tell whether it helps to look at other addresses: not where this one is the right one, and out of order."""
    is_beyond_proxy = isinstance(error, ConnectError) and is_of_proxy(error)
    return not (is_untrusted(error) or is_beyond_proxy or isinstance(error, ServerError))


async def _look_elsewhere(probes: Probes, address: Address) -> Place | None:
    return await find_place(probes.to(other, timeout=_PLACE_TIMEOUT) for other in other_places(address))


def _pointed(finding: Finding, place: Place) -> Finding:
    """Let what failed point to another address."""
    if finding.state is not State.FAILURE:
        return finding
    return attrs.evolve(finding, hint=place.hint, facts={**finding.facts, "elsewhere": str(place.address)})


def _connection(address: Address, error: PanelicaError | None) -> Finding:
    """Say whether the name is found and the port is open."""
    authority = URL(address.origin).authority
    if not isinstance(error, ConnectError) or is_certificate_problem(error):
        return ok("connection", f"{authority} accepts connections")
    message, hint = _no_connection(error, authority)
    return failure("connection", message, hint)


def _no_connection(error: ConnectError, authority: str) -> tuple[str, str | None]:
    if is_of_proxy(error):
        return error.message, error.hint
    match error.__cause__:
        case aiohttp.ClientConnectorDNSError() as cause:
            return f"the name {cause.host} is not found", "Check the spelling of base_url, and the DNS of this machine."
        case aiohttp.ConnectionTimeoutError():
            hint = "Check host and port, and that no firewall between here and the panel drops the packets."
            return f"{authority} does not accept a connection in time", hint
        case aiohttp.ClientConnectorError() as cause if cause.os_error.errno == errno.ECONNREFUSED:
            return f"nothing listens at {authority}: the connection was refused", _CHECK_ADDRESS
        case _:
            return error.message, error.hint


def _address(address: Address, health: Health | None, error: PanelicaError | None, timeout: float) -> Finding:
    """Say whether the API answers there."""
    if error is not None:
        return failure("address", _not_the_api(address, error, timeout), error.hint or _CHECK_ADDRESS)
    said = "" if health is None else f", {excerpt(health.status)}"
    version = "" if health is None or health.version is None else f", version {excerpt(health.version)}"
    found = f"the API answers at {address}{said}{version}"
    if not address.left_out:
        return ok("address", found)
    message = f"{found}; the path {excerpt(address.left_out)} of base_url is not one of the API, and is left out"
    return warning("address", message, f"Write base_url (--base-url) as {address}.")


def _not_the_api(address: Address, error: PanelicaError, timeout: float) -> str:
    match error:
        case RequestTimeoutError():
            return f"{address} accepts connections, but does not answer within {timeout:g} s"
        case DecodeError() if error.hint == hints.WEB_PAGE:
            return f"a web page answers at {address}, not the API"
        case DecodeError():
            return f"something else than the API answers at {address}: {error.message}"
        case ResponseError():
            return f"the API does not answer at {address}: {error.status}, {error.message}"
        case _:
            return f"no answer comes from {address}: {error.message}"
