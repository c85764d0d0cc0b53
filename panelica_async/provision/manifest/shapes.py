"""Tells the shape of what a document or a caller gives, which may be anything."""

from collections.abc import Mapping, Sequence
from typing import TypeGuard, cast


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Tell whether a value is a list, or a tuple as Python callers may give."""
    return isinstance(value, list | tuple)


def as_mapping(value: object) -> dict[str, object] | None:
    """Return a mapping with its keys as text; None for anything else."""
    if not isinstance(value, Mapping):
        return None
    return {str(key): entry for key, entry in cast("Mapping[object, object]", value).items()}
