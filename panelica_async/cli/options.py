"""Options that several commands share: the state directory, the panel and the key; shell completion."""

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import aiohttp
import attrs
import typer

from panelica_async import ConfigurationError
from panelica_async.cli.output import interruptible
from panelica_async.core.operation import Dialect
from panelica_async.core.private_files import private_directory

PANEL = "Panel"
"""Section of the help for options about the panel."""


def completing(*values: str) -> Callable[[str], list[str]]:
    """Return the completion of an option that takes one of these values."""

    def complete(incomplete: str) -> list[str]:
        return matching(values, incomplete)

    return complete


def matching(values: Iterable[str], incomplete: str) -> list[str]:
    """Return the values that start with a text."""
    return [value for value in values if value.startswith(incomplete)]


@attrs.frozen(kw_only=True)
class StateDirectory:
    """The directory for everything that outlives a command. Its field is an option."""

    state_dir: Annotated[
        Path,
        typer.Option(
            file_okay=False,
            metavar="DIRECTORY",
            help="Directory for journals, passwords and the sandbox database.",
            rich_help_panel="Output",
        ),
    ] = Path(".panelica")

    def sandbox_database(self, dialect: Dialect) -> Path:
        """Return the default database of the embedded sandbox: each dialect is another panel, with its own journals."""
        return self.state_dir / ("sandbox.db" if dialect == "reference" else f"sandbox-{dialect}.db")

    def make(self) -> None:
        """Create the directory, private to its owner, if it does not exist.

        Raises:
            ConfigurationError: It belongs to another user, others can write to it, or it is a symbolic link.
        """
        private_directory(self.state_dir)

    def flags(self) -> list[str]:
        """Return the options that select the same directory."""
        return [] if self == StateDirectory() else ["--state-dir", str(self.state_dir)]


@attrs.frozen(kw_only=True)
class Credentials:
    """A panel and a key. The fields are options of every command that signs."""

    base_url: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_BASE_URL",
            metavar="URL",
            help="Address of the panel, such as panel.example.com; by default https and port 8443.",
            rich_help_panel=PANEL,
        ),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_API_KEY",
            metavar="KEY",
            help="Public half of the API key, pk_live_…; PANELICA_API_SECRET has the secret half.",
            rich_help_panel=PANEL,
        ),
    ] = None
    api_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="File with the secret half of the key, instead of PANELICA_API_SECRET.",
            rich_help_panel=PANEL,
        ),
    ] = None

    def address(self) -> str:
        """Return the address of the panel; raises `ConfigurationError` if it is missing."""
        return _required("base_url", self.base_url)

    def key(self) -> str:
        """Return the public half of the key; raises `ConfigurationError` if it is missing."""
        return _required("api_key", self.api_key)

    def secret(self) -> str:
        """Return the secret half of the key; asks for it on a terminal if it is not configured.

        Raises:
            ConfigurationError: It is missing, and there is no terminal.
        """
        if self.api_secret_file:
            return self.api_secret_file.read_text("utf-8").strip()
        if secret := os.environ.get("PANELICA_API_SECRET"):
            return secret
        if sys.stdin.isatty():
            with interruptible():
                return str(typer.prompt("API secret", hide_input=True, err=True))
        raise ConfigurationError(
            "the API secret is missing",
            hint="Set PANELICA_API_SECRET, or pass --api-secret-file.",
        )


def _required(name: str, value: str | None) -> str:
    if value is None:
        option = name.replace("_", "-")
        raise ConfigurationError(
            f"{name} is missing",
            hint=f"Pass --{option} or set PANELICA_{name.upper()}. To try it without a server, pass --sandbox or run "
            "`panelica sandbox`.",
        )
    return value


@attrs.frozen(kw_only=True)
class Access:
    """The address of a panel, and a key for it."""

    base_url: str
    name: str
    """The name to show."""
    api_key: str = attrs.field(repr=False)
    api_secret: str = attrs.field(repr=False)
    session: aiohttp.ClientSession | None = None
    """A session that resolves the embedded sandbox."""
