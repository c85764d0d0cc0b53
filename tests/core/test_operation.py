import pytest

from panelica_async.core.operation import allows

SCOPES: list[tuple[list[str], str | None, bool]] = [
    (["*:*"], "domains:write", True),
    (["domains:*"], "domains:write", True),
    (["*:write"], "domains:write", True),
    (["domains:write"], "domains:write", True),
    (["domains:read", "dns:*", "*:read"], "domains:write", False),
    (["domains:write"], "domains:read", False),
    (["*:read", "domains:*"], "*:*", False),
    (["*:*"], "*:*", True),
    ([], None, True),
    ([], "domains:read", False),
]
"""Scopes of a key, the one that a call requires, and whether they cover it (evidence: scope-wildcards)."""


@pytest.mark.parametrize(("granted", "required", "allowed"), SCOPES)
def test_scope_covers_its_wildcards(granted: list[str], required: str | None, allowed: bool) -> None:
    assert allows(granted, required) is allowed
