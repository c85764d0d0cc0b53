"""The root of the error tree, and how its texts are put together.

`errors` holds the tree itself: what users import.
"""

from typing import Any

from panelica_async.core.redaction import one_line, shorten

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


def call_text(method: str | None, path: str | None) -> str:
    """Return the method and path of a call, with which the text of an error begins."""
    call = " ".join(part for part in (method, path) if part)
    return f"{call}: " if call else ""


def facts_text(
    *, details: str | None = None, sent_at: str | None = None, request_id: str | None = None, attempts: int
) -> str:
    """Return what an error knows besides its message, in brackets."""
    facts = [
        shorten(details) if details else None,
        f"sent at {sent_at}" if sent_at else None,
        f"request id {request_id}" if request_id else None,
        f"{attempts} attempts" if attempts > 1 else None,
    ]
    shown = ", ".join(fact for fact in facts if fact)
    return f" ({shown})" if shown else ""
