"""Where the API of a panel may be on its host."""

import asyncio
from collections.abc import Iterable

import attrs
from yarl import URL

from panelica_async.core.address import DEFAULT_PORT, DIRECT_PORT, PUBLIC_PREFIX, Address
from panelica_async.doctor.health import ask_health
from panelica_async.doctor.probe import Probe
from panelica_async.doctor.tls import is_untrusted
from panelica_async.errors import PanelicaError


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
    """Return the well-known addresses on the host of another one, likeliest first (panel-facts A.1)."""
    url = URL(address.origin)
    host = address.origin.partition("://")[2].rpartition(":")[0]
    other_scheme = "http" if url.scheme == "https" else "https"
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
