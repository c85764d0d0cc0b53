"""Options that several commands share: the state directory, the panel, the key and the sandbox; shell completion.

`ConnectionOptions` also counts the calls of its connection, which decide the exit code after an error.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import attrs
import typer

from panelica_async import ConfigurationError
from panelica_async.api.discovery import DEFAULT_DIALECT, DIALECT_VARIABLE, DIALECTS, chosen_dialect, default_dialect
from panelica_async.catalog import TIERS
from panelica_async.cli.format import plural
from panelica_async.cli.output import interruptible, stdin_is_terminal
from panelica_async.core.operation import Dialect
from panelica_async.core.private_files import ensure_private_directory
from panelica_async.core.redaction import excerpt
from panelica_async.telemetry import Event, Sent
from panelica_async.transport.session import TlsSetting

_PANEL, _SANDBOX = "Panel", "Sandbox"
"""Sections of the help."""
_TIERS = ", ".join(TIERS)
_READS = {"GET", "HEAD", "OPTIONS"}
_UNCOUNTED = "health"
"""It uses no quota; the client also calls it to find out the dialect."""
HOST, OFF = "host", "off"
"""Words for --share-quota."""
_SHARING_VARIABLE = "PANELICA_SHARE_QUOTA"
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


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
        """Return the default database of the embedded sandbox; each dialect is a panel with its own journals."""
        return self.state_dir / ("sandbox.db" if dialect == "reference" else f"sandbox-{dialect}.db")

    def make(self) -> None:
        """Create the directory, private to its owner, if it does not exist.

        Raises:
            ConfigurationError: It belongs to another user, others can write to it, or it is a symbolic link.
        """
        ensure_private_directory(self.state_dir)

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
            rich_help_panel=_PANEL,
        ),
    ] = None
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="PANELICA_API_KEY",
            metavar="KEY",
            help="Public half of the API key, pk_live_…; PANELICA_API_SECRET has the secret half.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    api_secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="File with the secret half of the key, instead of PANELICA_API_SECRET.",
            rich_help_panel=_PANEL,
        ),
    ] = None

    def address(self) -> str:
        """Return the address of the panel; raise `ConfigurationError` if it is missing."""
        return _required("base_url", self.base_url)

    def key(self) -> str:
        """Return the public half of the key; raise `ConfigurationError` if it is missing."""
        return _required("api_key", self.api_key)

    def secret(self) -> str:
        """Return the secret half of the key; ask for it on the terminal if it is not configured.

        Raises:
            ConfigurationError: It is missing, and there is no terminal; or its file does not hold text.
        """
        if self.api_secret_file:
            try:
                return self.api_secret_file.read_text("utf-8").strip()
            except UnicodeDecodeError:
                raise ConfigurationError(f"{self.api_secret_file} must hold the API secret as text") from None
        if secret := os.environ.get("PANELICA_API_SECRET"):
            return secret
        if stdin_is_terminal():
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


@attrs.define
class Traffic:
    """Counts the attempts of the clients it is subscribed to, except those that use no quota."""

    writes: int = 0
    reads: int = 0

    def __call__(self, event: Event) -> None:
        """Count a call when it is sent."""
        if isinstance(event, Sent) and event.operation != _UNCOUNTED:
            is_read = event.method in _READS
            self.reads += is_read
            self.writes += not is_read

    @property
    def calls(self) -> int:
        """Number of calls, writes and reads."""
        return self.writes + self.reads

    def to_dict(self) -> dict[str, int]:
        """Return the numbers as JSON-like data."""
        return {"calls": self.calls, "writes": self.writes, "reads": self.reads}

    def __str__(self) -> str:
        return f"{plural(self.writes, 'write')} and {plural(self.reads, 'read')}"


@attrs.frozen(kw_only=True)
class ConnectionOptions(Credentials):
    """How to connect to the panel. The public fields are options of every command that calls it."""

    tier: Annotated[
        str,
        typer.Option(
            "--tier",
            metavar="TIER",
            help=f"Rate-limit tier of the key: {_TIERS}; auto asks the panel.",
            autocompletion=completing("auto", *TIERS),
            rich_help_panel=_PANEL,
        ),
    ] = "auto"
    dialect: Annotated[
        str,
        typer.Option(
            "--dialect",
            envvar=DIALECT_VARIABLE,
            metavar="DIALECT",
            help="API that the panel speaks: panel for that of current panels, reference for the published one; auto "
            "asks the panel.",
            autocompletion=completing(*DIALECTS),
            rich_help_panel=_PANEL,
        ),
    ] = DEFAULT_DIALECT
    share_quota: Annotated[
        str | None,
        typer.Option(
            "--share-quota",
            envvar=_SHARING_VARIABLE,
            metavar="host|off|URL",
            help="Share the quota of the key with other processes: those of this user on this host, none, or all that "
            "use the same Redis server.",
            show_default="host, if possible",
            rich_help_panel=_PANEL,
        ),
    ] = attrs.field(default=None, repr=False)
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Timeout of each attempt.", rich_help_panel=_PANEL)
    ] = 30.0
    ca_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The only certificates to trust, in PEM format, for a panel with a self-signed one.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="sha256:…",
            help="The only certificate to accept, by the fingerprint that `panelica doctor` shows.",
            rich_help_panel=_PANEL,
        ),
    ] = None
    trust_env: Annotated[
        bool,
        typer.Option(
            "--trust-env",
            help="Use the proxy in HTTPS_PROXY or HTTP_PROXY.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    sandbox: Annotated[
        bool,
        typer.Option(
            "--sandbox",
            help="Use an embedded sandbox instead of a server; it speaks the reference unless you pass --dialect.",
            rich_help_panel=_SANDBOX,
        ),
    ] = False
    sandbox_tier: Annotated[
        str,
        typer.Option(
            metavar="TIER",
            help=f"Rate-limit tier of the sandbox: {_TIERS}.",
            autocompletion=completing(*TIERS),
            rich_help_panel=_SANDBOX,
        ),
    ] = "business"
    sandbox_db: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Database of the sandbox, kept between runs.",
            show_default="sandbox.db in the state directory; sandbox-panel.db with --dialect panel",
            rich_help_panel=_SANDBOX,
        ),
    ] = None

    traffic: Traffic = attrs.field(init=False, repr=False, eq=False, factory=Traffic)
    """The calls sent through this connection."""

    def trust(self) -> TlsSetting:
        """Return how to verify the panel's certificate.

        Raises:
            ConfigurationError: Two ways are requested, or the fingerprint is invalid.
        """
        if self.fingerprint is None:
            return self.ca_file
        if self.ca_file is not None:
            raise ConfigurationError("--ca-file and --fingerprint cannot be combined", hint="Pass only one of them.")
        if not self.fingerprint.lower().startswith("sha256:"):
            raise ConfigurationError(f"--fingerprint must start with sha256:, not {excerpt(self.fingerprint)!r}")
        return self.fingerprint

    def chosen_dialect(self) -> Dialect | None:
        """Return the dialect to speak, or None to ask the panel; raise `ConfigurationError` for an unknown name."""
        return chosen_dialect(self.dialect)

    def quota_sharing(self) -> str | None:
        """Return where to share the quota: `HOST`, `OFF`, the address of a Redis server, or None for the default.

        Raises:
            ConfigurationError: The value is invalid. The message does not quote it, because addresses hold passwords.
        """
        if self.sandbox:
            return OFF
        value = self.share_quota
        if value is None or value in {HOST, OFF} or value.startswith(_REDIS_SCHEMES):
            return value
        raise ConfigurationError(
            "--share-quota must be host, off or the address of a Redis server",
            hint="Start the address with redis://, rediss:// or unix://; if it has a password, set it as "
            f"{_SHARING_VARIABLE}.",
        )

    def flags(self) -> list[str]:
        """Return the options that select the same panel, without credentials."""
        if self.sandbox:
            return [*sandbox_flags(self.dialect), *(["--sandbox-db", str(self.sandbox_db)] if self.sandbox_db else [])]
        address = None if self.base_url == os.environ.get("PANELICA_BASE_URL") else self.base_url
        options = {"--base-url": address, "--ca-file": self.ca_file, "--fingerprint": self.fingerprint}
        flags = [text for option, value in options.items() if value is not None for text in (option, str(value))]
        if self.dialect != default_dialect():
            flags += ["--dialect", self.dialect]
        # The address of a Redis server may hold a password.
        if self.share_quota in {HOST, OFF} and self.share_quota != os.environ.get(_SHARING_VARIABLE):
            flags += ["--share-quota", self.share_quota]
        return [*flags, "--trust-env"] if self.trust_env else flags


def sandbox_flags(dialect: str) -> list[str]:
    """Return the options that select the embedded sandbox of a dialect; `auto` is the reference there."""
    dialect, default = ("reference" if name == DEFAULT_DIALECT else name for name in (dialect, default_dialect()))
    return ["--sandbox"] if dialect == default else ["--sandbox", "--dialect", dialect]
