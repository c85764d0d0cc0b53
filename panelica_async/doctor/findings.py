"""What a look at a panel finds."""

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from panelica_async.core.redaction import shorten

_LENGTH = 1000


def _on_one_line(text: str) -> str:
    """Leave out what could do something to a terminal: some of the words are a panel's."""
    return shorten(text, _LENGTH)


class State(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    """As it should be."""
    WARNING = "warning"
    """It works, but something is better changed."""
    FAILURE = "failure"
    """It stands in the way of calls."""
    SKIPPED = "skipped"
    """It could not be judged, because of an earlier one."""


@attrs.frozen(kw_only=True)
class Finding:
    """How one check ended. Nothing in it is secret."""

    name: str
    """Name of the check, such as `clock`."""
    state: State
    message: str = attrs.field(converter=_on_one_line)
    """What was found, in words."""
    hint: str | None = attrs.field(default=None, converter=attrs.converters.optional(_on_one_line))
    """What to do about it; None when there is nothing to do."""
    facts: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """The same as data, where there is more than words: figures, scopes, a fingerprint."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return {
            "name": self.name,
            "state": self.state.value,
            "message": self.message,
            "hint": self.hint,
            "facts": dict(self.facts),
        }


@attrs.frozen(kw_only=True)
class Diagnosis:
    """What was found about one panel and one key, in the order it was looked at."""

    base_url: str
    """Address that was looked at."""
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether something stands in the way of calls."""
        return any(finding.state is State.FAILURE for finding in self.findings)

    @property
    def first(self) -> Finding | None:
        """What to see to first: the first failure, else the first warning; None when all is well."""
        for state in (State.FAILURE, State.WARNING):
            for finding in self.findings:
                if finding.state is state:
                    return finding
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-like data."""
        return {
            "base_url": self.base_url,
            "failed": self.failed,
            "first": None if self.first is None else self.first.name,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def ok(name: str, message: str, /, **facts: Any) -> Finding:
    """Make the finding of a check that is as it should be."""
    return Finding(name=name, state=State.OK, message=message, facts=facts)


def warning(name: str, message: str, hint: str, /, **facts: Any) -> Finding:
    """Make the finding of a check that could be better."""
    return Finding(name=name, state=State.WARNING, message=message, hint=hint, facts=facts)


def failure(name: str, message: str, hint: str | None, /, **facts: Any) -> Finding:
    """Make the finding of a check that failed."""
    return Finding(name=name, state=State.FAILURE, message=message, hint=hint, facts=facts)


def skipped(name: str, reason: str) -> Finding:
    """Make the finding of a check that could not be judged."""
    return Finding(name=name, state=State.SKIPPED, message=reason)
