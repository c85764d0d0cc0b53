"""Which scopes there are, and what becomes of a call without its own."""

from panelica_async.catalog import SCOPES
from panelica_async.core.scopes import allows
from panelica_async.sandbox.messages import ApiError

_FAMILIES = frozenset(scope.partition(":")[0] for scope in SCOPES)
_VERBS = frozenset({"read", "write", "delete"})


def is_scope(text: str) -> bool:
    """Tell whether a key can have this scope: a known one, `domains:*`, or `*:read`, `*:write`, `*:delete`."""
    family, _, verb = text.partition(":")
    return text in SCOPES or (verb == "*" and family in _FAMILIES) or (family == "*" and verb in _VERBS)


def require(granted: tuple[str, ...], required: str | None) -> None:
    """Refuse a call whose scope the key lacks.

    Raises:
        ApiError: 403, with the scope that is missing and those there are.
    """
    if not allows(granted, required):
        raise ApiError(
            403,
            "apiErrors.external.insufficientScope",
            "Insufficient scope",
            f"the key lacks {required}",
            fields={"required_scope": required, "available_scopes": list(granted)},
        )
