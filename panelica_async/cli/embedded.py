"""The embedded sandbox: a panel in this process, under a host name that stays the same between runs."""

import socket
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from panelica_async import ConfigurationError
from panelica_async.catalog import TIERS
from panelica_async.cli.options import Access
from panelica_async.core.operation import Dialect
from panelica_async.core.redaction import excerpt

if TYPE_CHECKING:
    from panelica_async.provision import Run
    from panelica_async.sandbox import Sandbox

# Names in this domain always mean this machine (RFC 6761).
_NAME, _DOMAIN = "sandbox-", ".localhost"


@asynccontextmanager
async def serve_sandbox(database: Path | str, tier: str, **options: Any) -> AsyncGenerator["Sandbox", None]:
    """Serve a sandbox on a database file, created if missing, or on `:memory:`.

    Args:
        database: The file.
        tier: Rate-limit tier of its key.
        options: More options of `Sandbox`.

    Raises:
        ConfigurationError: An option is invalid, or the file cannot be used.
        OSError: The port cannot be used, or the file cannot be created.
    """
    from panelica_async.sandbox import Sandbox  # noqa: PLC0415 - slow; other commands need not wait for it

    if tier not in TIERS:
        raise ConfigurationError(f"the tier of the sandbox must be one of {', '.join(TIERS)}, not {excerpt(tier)!r}")
    try:
        box = Sandbox(tier, db=database, **options)
        await box.start()
    except ConfigurationError:
        raise
    except ValueError as error:
        raise ConfigurationError(f"the sandbox cannot start: {error}") from error
    except sqlite3.Error as error:
        raise ConfigurationError(f"{database} cannot be used as the database of a sandbox: {error}") from error
    try:
        yield box
    finally:
        await box.stop()


@asynccontextmanager
async def embed_sandbox(database: Path, tier: str, dialect: Dialect) -> AsyncGenerator[Access, None]:
    """Serve a sandbox under the host name of its database; errors are those of `serve_sandbox`."""
    async with serve_sandbox(database, tier, dialect=dialect) as box:
        connector = aiohttp.TCPConnector(resolver=_Resolver(URL(box.base_url).port or 0), limit=0)
        async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
            yield Access(
                # Journals identify a panel by its address. The key is created with the database and never changes.
                base_url=f"http://{_NAME}{box.api_key[-8:]}{_DOMAIN}",
                name=f"the embedded sandbox ({database})",
                api_key=box.api_key,
                api_secret=box.api_secret,
                session=session,
            )


def is_sandbox(base_url: str) -> bool:
    """Return whether an address is that of an embedded sandbox."""
    host = URL(base_url).host or ""
    return host.startswith(_NAME) and host.endswith(_DOMAIN)


def sandbox_flags(run: "Run") -> list[str]:
    """Return the options that select the embedded sandbox of a run; none if it was on a server."""
    if not is_sandbox(run.base_url):
        return []
    return ["--sandbox", *(["--dialect", run.dialect] if run.dialect == "panel" else [])]


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
