"""Where a run keeps its files."""

from pathlib import Path
from typing import Annotated

import attrs
import typer


@attrs.frozen(kw_only=True)
class StateDirectory:
    """The directory for everything that outlives a command; its field is an option."""

    state_dir: Annotated[
        Path,
        typer.Option(
            file_okay=False, help="Directory for journals, passwords and the sandbox.", rich_help_panel="Output"
        ),
    ] = Path(".panelica")

    def make(self) -> Path:
        """Return the directory, made for its owner alone when it was missing."""
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.state_dir
