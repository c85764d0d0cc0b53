"""How the generator reports a specification it cannot use."""

from pathlib import Path

import attrs


@attrs.frozen
class Location:
    """A place in a specification file."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file.as_posix()}:{self.line}"


class SpecError(Exception):
    """The specification is wrong; the message names file and line and says what to do."""

    def __init__(self, location: Location, problem: str, remedy: str) -> None:
        super().__init__(f"{location}: {problem}. {remedy}.")
        self.location = location
