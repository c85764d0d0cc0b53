"""The root of the error tree, and how its texts are put together.

`errors` holds the tree itself: what users import.
"""

from typing import Any, TypeVar

from panelica_async.core.redaction import one_line, shorten

E = TypeVar("E", bound="PanelicaError")
_MESSAGE_LENGTH = 500


class PanelicaError(Exception):
    """Root of every error of this package.

    Attributes:
        message: What went wrong.
        hint: What to do about it, in one sentence; None if there is nothing to advise.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        summary = self._summary()
        # On one line, even if the panel sent line breaks in a code or a hint: logs have a line for each error.
        return one_line(f"{summary.removesuffix('.')}. Hint: {self.hint}" if self.hint else summary)

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args` alone, which fails for required keyword arguments.
        return _restore, (type(self), self.args), self.__dict__

    def _summary(self) -> str:
        return shorten(self.message, _MESSAGE_LENGTH)


def _restore(cls: type[PanelicaError], args: tuple[Any, ...]) -> PanelicaError:
    error = cls.__new__(cls)
    error.args = args
    return error


def reworded(error: E, message: str, hint: str | None) -> E:
    """Return a copy of an error with another message and another hint."""
    own = type(error).__new__(type(error))
    own.__dict__.update(error.__dict__, message=message, hint=hint)
    own.args = (message,)
    return own


def in_call(text: str, method: str | None, path: str | None, attempts: int, *facts: str | None) -> str:
    """Return a text with the call before it, and with the facts that are known in brackets behind it."""
    call = " ".join(filter(None, (method, path)))
    shown = ", ".join(filter(None, (*facts, f"{attempts} attempts" if attempts > 1 else None)))
    return (f"{call}: " if call else "") + text + (f" ({shown})" if shown else "")
