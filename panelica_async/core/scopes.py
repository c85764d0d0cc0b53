"""Which scopes allow what."""

from collections.abc import Iterable

EVERYTHING = "*:*"


def allows(granted: Iterable[str], required: str | None) -> bool:
    """Tell whether scopes cover the one a call needs; None needs no scope."""
    if required is None:
        return True
    family, _, verb = required.partition(":")
    # `*:read` covers reading everywhere, but not what asks for `*:*` itself (panel-facts C.1).
    covering = {required, EVERYTHING, f"{family}:*", f"*:{verb}"}
    return not covering.isdisjoint(granted)
