"""From an operation and its arguments to what goes on the wire. Pure: nothing is sent here."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard
from urllib.parse import parse_qsl

import attrs

from panelica_async.core.converter import to_wire
from panelica_async.core.encoding import path_segment, query_string
from panelica_async.core.json_codec import dumps, loads
from panelica_async.core.operation import Guard, Operation, Wire
from panelica_async.core.redaction import FILES
from panelica_async.core.sanitizing import secret_values
from panelica_async.core.unset import UNSET


@attrs.define(kw_only=True)
class PreparedRequest:
    """A request as it travels, up to the address of the panel and the signature."""

    method: str
    path: str
    """Percent-encoded path from the API's root, such as `/v1/domains`."""
    query: str = attrs.field(default="", repr=False)
    """Percent-encoded query without its question mark."""
    body: bytes | None = attrs.field(default=None, repr=False)
    """JSON as sent, serialised once; None when there is none."""

    def secrets(self) -> frozenset[str]:
        """Return the values that a reply may quote and that must not be shown: of query and body, at any depth."""
        found = {secret for name, value in parse_qsl(self.query) for secret in secret_values({name: value})}
        if self.body is not None:
            body = loads(self.body)
            found.update(secret_values(body))
            content = body.get("content") if self.path.startswith(FILES) and isinstance(body, dict) else None
            if isinstance(content, str):
                found.add(content)
        return frozenset(found)


def prepare(operation: Operation, wire: Wire, arguments: Mapping[str, Any]) -> PreparedRequest:
    """Check the arguments and place each where the wire form says.

    Raises:
        ValueError: An argument cannot be right; the message names it and says what to do.
    """
    given = arguments
    if UNSET in arguments.values():
        given = {name: value for name, value in arguments.items() if value is not UNSET}
    if operation.guard is not None:
        _check_guard(operation, operation.guard, given)
    if operation.constrained:
        for name, value in given.items():
            if name in operation.constrained:
                _check(operation, name, value)
    return PreparedRequest(
        method=wire.method,
        path=_path(operation, wire, given) if wire.placeholders else wire.path,
        query=_query(wire, given) if wire.query else "",
        body=_body(operation, wire, given) if wire.body else None,
    )


def _path(operation: Operation, wire: Wire, given: Mapping[str, Any]) -> str:
    path = wire.path
    for name in wire.placeholders:
        value = given.get(name)
        if value is None:
            raise ValueError(f"{operation.name}: {name} is {'None' if name in given else 'UNSET'}")
        # A segment has no braces: they are encoded.
        path = path.replace(f"{{{name}}}", path_segment(value, name))
    return path


def _query(wire: Wire, given: Mapping[str, Any]) -> str:
    return query_string((name, given[argument]) for argument, name in wire.query.items() if argument in given)


def _body(operation: Operation, wire: Wire, given: Mapping[str, Any]) -> bytes:
    body = {
        name: [given[argument]] if argument in wire.wrapped else given[argument]
        for argument, name in wire.body.items()
        if argument in given
    }
    if wire.method == "PATCH" and not body:
        raise ValueError(f"{operation.name}: nothing to change; give at least one of {', '.join(wire.body)}")
    # An operation that takes a body always sends one: what decodes it may not accept nothing.
    return dumps(to_wire(body))


def _check(operation: Operation, name: str, value: object) -> None:
    choices = operation.choices.get(name)
    if choices is not None and value not in choices:
        raise ValueError(f"{operation.name}: {name} is {value!r}; it takes one of {', '.join(choices)}")
    # Null clears a setting, but where a list must not be empty it would stand for everything.
    may_be_null = name not in operation.not_empty
    if name in operation.lists and not _is_list(value) and not (value is None and may_be_null):
        raise ValueError(f"{operation.name}: {name} takes a list, not {type(value).__name__}")
    if name in operation.not_empty:
        _check_not_empty(f"{operation.name}: {name}", value)


def _check_not_empty(argument: str, value: object) -> None:
    if _is_blank(value) or (_is_list(value) and not value):
        raise ValueError(f"{argument} is empty")
    for item in value if _is_list(value) else ():
        if item is None or _is_blank(item):
            raise ValueError(f"{argument} holds {item!r}")


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _check_guard(operation: Operation, guard: Guard, given: Mapping[str, Any]) -> None:
    chosen, confirmed = guard.replaces in given, given[guard.argument]
    if chosen and confirmed:
        raise ValueError(f"{operation.name}: give {guard.replaces} or {guard.argument}=True, not both")
    if chosen and not given[guard.replaces]:
        raise ValueError(f"{operation.name}: {guard.replaces} is empty; give at least one")
    if not chosen and confirmed is not True:
        raise ValueError(f"{operation.name}: give {guard.replaces}, or {guard.argument}=True: {guard.reason}")
