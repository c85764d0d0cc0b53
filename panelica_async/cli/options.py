"""Where runs keep their files."""

from pathlib import Path
from typing import Annotated

import attrs
import typer

from panelica_async.core.private_files import private_directory


@attrs.frozen(kw_only=True)
class StateDirectory:
    """The directory for everything that outlives a command; its field is an option."""

    state_dir: Annotated[
        Path,
        typer.Option(
            file_okay=False,
            metavar="DIRECTORY",
            help="Where journals, passwords and the sandbox are kept.",
            rich_help_panel="Output",
        ),
    ] = Path(".panelica")

    @property
    def sandbox_database(self) -> Path:
        """The database of the embedded sandbox."""
        return self.state_dir / "sandbox.db"

    def make(self) -> None:
        """Make the directory for its owner alone, if it is missing.

        Raises:
            ConfigurationError: It belongs to another user, others can write to it, or it is a symbolic link.
        """
        private_directory(self.state_dir)

    def flags(self) -> list[str]:
        """Return the options that name the same directory again."""
        return [] if self == StateDirectory() else ["--state-dir", str(self.state_dir)]
