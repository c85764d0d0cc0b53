"""Whether the API is where it is said to be: name, port, TLS, path; and where it is otherwise."""

import errno

import aiohttp
import attrs
from yarl import URL

from panelica_async.core import hints
from panelica_async.core.address import Address
from panelica_async.core.redaction import excerpt
from panelica_async.doctor.findings import Finding, State, failure, ok, skipped, warning
from panelica_async.doctor.health import ask_health
from panelica_async.doctor.places import Place, find_place, other_places
from panelica_async.doctor.probe import Probe, Probes
from panelica_async.doctor.tls import NAME as TLS
from panelica_async.doctor.tls import check_tls, is_untrusted
from panelica_async.errors import (
    ConnectError,
    DecodeError,
    PanelicaError,
    RequestTimeoutError,
    ResponseError,
    ServerError,
)
from panelica_async.models.utility import Health
from panelica_async.transport.refusal import is_certificate_problem, is_of_proxy
from panelica_async.transport.tls import TlsSetting

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
        tls, api = (skipped(name, "there is no connection") for name in (TLS, "address"))
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
