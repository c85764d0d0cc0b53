"""The sentinel for an absent argument: absent and null differ in a PATCH."""

import enum
from collections.abc import Mapping
from typing import Any, Final, Literal


class Unset(enum.Enum):
    """Type of `UNSET`. A member of an enum, so that type checkers narrow `is UNSET`."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Absent: the field is left out of the request. `None` sends null."""


def provided(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without those that are `UNSET`."""
    return {name: value for name, value in arguments.items() if value is not UNSET}
