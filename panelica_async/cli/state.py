"""Where runs keep their files."""

from itertools import count
from pathlib import Path
from typing import Annotated, Self

import attrs
import typer

from panelica_async import ConfigurationError

_JOURNAL = ".journal.db"
_PASSWORDS = ".passwords.csv"


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
        """Make the directory for its owner alone, if it is missing."""
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def flags(self) -> list[str]:
        """Return the options that name the same directory again."""
        return [] if self == StateDirectory() else ["--state-dir", str(self.state_dir)]

    def journals(self) -> list[Path]:
        """Return the journals in the directory, without those that were set aside."""
        return sorted(self.state_dir.glob(f"*{_JOURNAL}"))

    def files_of(self, path: Path) -> "RunFiles":
        """Return the files for the runs of a manifest, or of the journal that the path is of."""
        if path.suffix == ".db":
            stem = path.name.rpartition(".journal")[0]
            return RunFiles(journal=path, passwords=path.parent / f"{stem}{_PASSWORDS}")
        return RunFiles(
            journal=self.state_dir / f"{path.stem}{_JOURNAL}", passwords=self.state_dir / f"{path.stem}{_PASSWORDS}"
        )


@attrs.frozen(kw_only=True)
class RunFiles:
    """The files for the runs of one manifest."""

    journal: Path
    passwords: Path
    """The generated passwords."""

    def existing(self) -> Self:
        """Return the files, of a journal that exists.

        Raises:
            ConfigurationError: There is no journal.
        """
        if not self.journal.is_file():
            raise ConfigurationError(f"there is no journal {self.journal}", hint="Was it another --state-dir?")
        return self

    def journals(self) -> list[Path]:
        """Return the journal and those that were set aside, newest first."""
        stem = self.journal.name.removesuffix(_JOURNAL)
        aside = [path for path in self.journal.parent.glob(f"{stem}.journal.*.db") if _number(path) is not None]
        return [self.journal, *sorted(aside, key=lambda path: _number(path) or 0, reverse=True)]

    def set_aside(self) -> Path:
        """Rename the journal to the first free number, such as `launch.journal.1.db`, and return its new path."""
        numbered = (self.journal.with_suffix(f".{number}.db") for number in count(1))
        return self.journal.rename(next(path for path in numbered if not path.exists()))


def _number(journal: Path) -> int | None:
    """Return the number of a journal that was set aside, such as 1 for `launch.journal.1.db`."""
    text = journal.suffixes[-2].removeprefix(".")
    return int(text) if text.isdecimal() else None
