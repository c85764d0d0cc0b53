from typing import Any

import attrs
import pytest

from panelica_async.core.operation import Refusal, Wire, scopes_allow

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
    assert scopes_allow(granted, required) is allowed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"values": {"a": {"b": "c"}}}, (True, False, False)),
        ({"minimum": {"a": 1}}, (True, False, False)),
        ({"required": frozenset({"a"})}, (True, False, False)),
        ({"refused": {"a": Refusal("no")}}, (True, False, False)),
        ({"reply_fields": {"a": "b"}}, (False, True, False)),
        ({"reply_values": {"a": {"b": "c"}}}, (False, True, False)),
        ({"gone": "accounts.get"}, (False, False, True)),
        ({"derived": {"slug": "slug_of_name"}}, (False, False, True)),
        ({"is_whole": True}, (False, False, False)),
    ],
)
def test_wire_knows_what_it_changes(change: dict[str, Any], expected: tuple[bool, ...]) -> None:
    wire = attrs.evolve(Wire(method="GET", path="/v1/things"), **change)
    assert (wire.changes_arguments, wire.changes_reply, wire.takes_steps) == expected
