"""The result of a diagnosis: one finding for each check."""

import enum
from collections.abc import Mapping
from typing import Any

import attrs

from panelica_async.core.redaction import shorten

_LENGTH = 1000
"""Characters of a message or a hint."""


def _on_one_line(text: str) -> str:
    """Remove control characters and line breaks: parts of the text come from the panel."""
    return shorten(text, _LENGTH)


class State(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    """All is well."""
    WARNING = "warning"
    """Calls work, but something should be changed."""
    FAILURE = "failure"
    """Calls do not work."""
    SKIPPED = "skipped"
    """Not checked, because an earlier check failed."""


@attrs.frozen(kw_only=True)
class Finding:
    """The result of one check. It contains no secrets."""

    name: str
    """Name of the check, such as `clock`."""
    state: State
    message: str = attrs.field(converter=_on_one_line)
    """What was found."""
    hint: str | None = attrs.field(default=None, converter=attrs.converters.optional(_on_one_line))
    """What to do about it; None if there is nothing to do."""
    facts: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    """The details as data: numbers, scopes, a fingerprint."""

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-like data."""
        return {
            "name": self.name,
            "state": self.state.value,
            "message": self.message,
            "hint": self.hint,
            "facts": dict(self.facts),
        }


@attrs.frozen(kw_only=True)
class Diagnosis:
    """The findings about one panel and one key, in the order of the checks."""

    base_url: str
    """Address of the panel."""
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> bool:
        """Whether a check failed."""
        return any(finding.state is State.FAILURE for finding in self.findings)

    @property
    def first(self) -> Finding | None:
        """What to fix first: the first failure, or else the first warning; None if there is neither."""
        for state in (State.FAILURE, State.WARNING):
            for finding in self.findings:
                if finding.state is state:
                    return finding
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON-like data."""
        return {
            "base_url": self.base_url,
            "failed": self.failed,
            "first": None if self.first is None else self.first.name,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def ok(name: str, message: str, /, **facts: Any) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(name=name, state=State.OK, message=message, facts=facts)


def warning(name: str, message: str, hint: str, /, **facts: Any) -> Finding:
    """Return the finding of a check that passed with a warning."""
    return Finding(name=name, state=State.WARNING, message=message, hint=hint, facts=facts)


def failure(name: str, message: str, hint: str | None, /, **facts: Any) -> Finding:
    """Return the finding of a check that failed."""
    return Finding(name=name, state=State.FAILURE, message=message, hint=hint, facts=facts)


def skipped(name: str, reason: str) -> Finding:
    """Return the finding of a check that was skipped."""
    return Finding(name=name, state=State.SKIPPED, message=reason)
