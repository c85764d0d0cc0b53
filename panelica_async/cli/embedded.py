"""The embedded sandbox: a panel in this process, reached under a name that stays the same from run to run."""

import socket
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import attrs
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from panelica_async import ConfigurationError
from panelica_async.catalog import TIERS

if TYPE_CHECKING:
    from panelica_async.sandbox import Sandbox

# A top-level domain that never leaves the machine (RFC 6761).
_NAME, _DOMAIN = "sandbox-", ".localhost"


@attrs.frozen(kw_only=True)
class EmbeddedSandbox:
    """A sandbox that is running."""

    base_url: str
    """Its address: journals know a panel by it, so it depends on the database and not on the port."""
    api_key: str
    api_secret: str = attrs.field(repr=False)
    session: aiohttp.ClientSession
    """The session that finds it."""


@asynccontextmanager
async def serve_sandbox(database: Path | str, tier: str, **options: Any) -> AsyncGenerator["Sandbox", None]:
    """Serve a sandbox on a database file, made when missing, or on `:memory:`.

    Args:
        database: The file.
        tier: Rate limit of its key.
        options: What else `Sandbox` takes.

    Raises:
        ConfigurationError: There is no such tier, an option is invalid, or the file cannot be used.
        OSError: The address cannot be listened on, or the file cannot be made.
    """
    from panelica_async.sandbox import Sandbox  # noqa: PLC0415 - costs time that other commands need not spend

    if tier not in TIERS:
        raise ConfigurationError(f"the sandbox's tier is {tier!r}; it takes {', '.join(TIERS)}")
    try:
        box = Sandbox(tier, db=database, **options)
        await box.start()
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"the sandbox cannot start: {error}") from error
    except sqlite3.Error as error:
        raise ConfigurationError(f"{database} cannot be used as a sandbox: {error}") from error
    try:
        yield box
    finally:
        await box.stop()


@asynccontextmanager
async def embed_sandbox(database: Path, tier: str) -> AsyncGenerator[EmbeddedSandbox, None]:
    """Serve a sandbox under the name that its database has; errors are those of `serve_sandbox`."""
    async with serve_sandbox(database, tier) as box:
        connector = aiohttp.TCPConnector(resolver=_Resolver(URL(box.base_url).port or 0), limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield EmbeddedSandbox(
                # The key is made with the database and stays with it.
                base_url=f"http://{_NAME}{box.api_key[-8:]}{_DOMAIN}",
                api_key=box.api_key,
                api_secret=box.api_secret,
                session=session,
            )


def is_sandbox(base_url: str) -> bool:
    """Whether an address is that of an embedded sandbox."""
    host = URL(base_url).host or ""
    return host.startswith(_NAME) and host.endswith(_DOMAIN)


class _Resolver(AbstractResolver):
    """Resolves every name to a port of this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def resolve(
        self,
        host: str,
        port: int = 0,  # noqa: ARG002 - of the interface
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - of the interface
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=self._port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing to close."""
