"""What is wrong with a manifest: every problem at once, each with its place. And what is worth a remark."""

from collections.abc import Iterable

import attrs

from panelica_async.errors import ConfigurationError


@attrs.frozen(order=True)
class Problem:
    """One thing to correct in a manifest. Never quotes a password."""

    line: int
    """Line in the file, from 1; for rows given as Python data, their position."""
    column: str
    """Column or key as the file spells it; empty when the whole line is meant."""
    message: str
    """What is wrong and what is expected."""

    def __str__(self) -> str:
        place = f"line {self.line}, {self.column}" if self.column else f"line {self.line}"
        return f"{place}: {self.message}"


@attrs.frozen(order=True)
class Remark:
    """Something that is no problem, but that an operator should know. Never quotes a password."""

    where: str
    """What it is about, such as `line 3, server` or `mailbox info@example.com`."""
    text: str
    """What there is to know; the same words for the same thing, so that remarks can be grouped."""

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Return the remark as JSON-like data."""
        return {"where": self.where, "text": self.text}


class InvalidValueError(ValueError):
    """A value of a manifest is of the wrong form. The message tells the operator why; it has no password."""


class ManifestError(ConfigurationError):
    """A manifest cannot be used. Nothing was sent.

    Attributes:
        source: Name of the manifest.
        problems: Everything that is wrong, in the order of the file.
    """

    def __init__(self, source: str, problems: Iterable[Problem]) -> None:
        self.source = source
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        super().__init__(
            f"{source}: {len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}",
            hint="Correct the manifest and run again; nothing was sent.",
        )

    def _summary(self) -> str:
        return "\n".join([self.message, *(f"  {problem}" for problem in self.problems)])
