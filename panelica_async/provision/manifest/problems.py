"""Problems of a manifest, each with its line and column, and remarks."""

from collections.abc import Iterable
from typing import Self

import attrs

from panelica_async.core.redaction import one_line
from panelica_async.errors import ConfigurationError

# After a missing quote, a cell may hold the rest of the file.
_LONGEST_SHOWN = 300


@attrs.frozen(order=True)
class Problem:
    """One thing to correct in a manifest. Never quotes a password."""

    line: int
    """Line in the file, from 1; for Python data, the position of the row."""
    column: str
    """Column or key as the file spells it; empty when the whole line is meant."""
    message: str
    """What is wrong and what is expected."""

    def __str__(self) -> str:
        return f"{_place(self.line, self.column)}: {self.message}"


@attrs.frozen(order=True)
class Remark:
    """Something that is not a problem, but that an operator should know. Never quotes a password."""

    where: str
    """What it is about, such as `line 3, server` or `mailbox info@example.com`."""
    text: str
    """What there is to know; the same words for the same thing, so that remarks can be grouped."""

    @classmethod
    def at(cls, line: int, column: str, text: str) -> Self:
        """Return a remark about a place in the file."""
        return cls(_place(line, column), text)

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"

    def to_dict(self) -> dict[str, str]:
        """Return the remark as JSON-like data."""
        return {"where": self.where, "text": self.text}


class InvalidValueError(ValueError):
    """A value of a manifest is of the wrong form.

    Args:
        rule: What is wrong and what is expected, without the value.
        value: The value, to be quoted before the rule. Leave it out when it may be a password.
        within: The entry that the value belongs to, such as a database for its user.
    """

    def __init__(self, rule: str, value: str | None = None, *, within: str = "") -> None:
        self.rule = rule
        self.value = value
        self.within = within
        if value is not None and len(value) > _LONGEST_SHOWN:
            value = f"{value[:_LONGEST_SHOWN]}…"
        quoted = rule if value is None else f"{value!r} {rule}"
        super().__init__(f"{within}: {quoted}" if within else quoted)

    def inside(self, name: str) -> "InvalidValueError":
        """Return the error with the name of the entry that the value belongs to."""
        return InvalidValueError(self.rule, self.value, within=f"{name}: {self.within}" if self.within else name)

    def without_value(self, place: str) -> str:
        """Return the message for a cell that also holds passwords, where a wrong value may be a piece of one.

        Args:
            place: What to name instead of the value.
        """
        return str(self) if self.value is None else f"{place}: a name {self.rule}"


class ManifestError(ConfigurationError):
    """A manifest cannot be used. Nothing was sent.

    Attributes:
        source: Name of the manifest.
        problems: Everything that is wrong, in the order of the file.
        remarks: What else is worth knowing, such as ignored columns.
    """

    def __init__(self, source: str, problems: Iterable[Problem], remarks: Iterable[Remark] = ()) -> None:
        self.source = source
        self.problems: tuple[Problem, ...] = tuple(sorted(set(problems)))
        self.remarks: tuple[Remark, ...] = tuple(remarks)
        super().__init__(
            f"{source}: {len(self.problems)} problem{'s' if len(self.problems) > 1 else ''}",
            hint="Correct the manifest and run again; nothing was sent.",
        )

    def __str__(self) -> str:
        # A line for each problem, unlike other errors; what a line quotes of the file does not break it.
        places = [*map(str, self.problems), *(f"note: {remark}" for remark in self.remarks)]
        return "\n".join([self.message, *(f"  {one_line(place)}" for place in places), f"Hint: {self.hint}"])


def _place(line: int, column: str) -> str:
    return f"line {line}, {column}" if column else f"line {line}"
