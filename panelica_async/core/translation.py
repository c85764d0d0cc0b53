"""Translates arguments and replies between the published reference and the wire form of another dialect.

Both directions are data of `Wire`. What a panel cannot do is refused before anything is sent.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from panelica_async.core.model import Model, names_of
from panelica_async.core.operation import Operation, Refusal, Wire
from panelica_async.errors import UnsupportedOperationError


def outgoing(operation: Operation, wire: Wire, present: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments as the panel takes them.

    Args:
        operation: What is called.
        wire: How it travels.
        present: The arguments, without those that are `UNSET`.

    Raises:
        UnsupportedOperationError: The panel cannot honour an argument.
        ValueError: The panel needs an argument that is missing, or does not take a value.
    """
    for name in wire.required:
        if present.get(name) is None:
            raise ValueError(f"{operation.name}: {name} is required by this panel: pass {name}=")
    sent = dict[str, Any]()
    for name, value in present.items():
        refusal = wire.refused.get(name)
        if refusal is not None:
            _check_refused(operation, name, value, refusal)
            continue
        least = wire.minimum.get(name)
        if least is not None and isinstance(value, int | float) and value < least:
            raise ValueError(f"{operation.name}: {name} must be at least {least}, not {value}: pass {least} or more")
        if name in wire.values:
            sent[name] = _chosen(operation, name, value, wire.values[name])
        elif name in wire.converted:
            sent[name] = _CONVERSIONS[wire.converted[name]](value)
        else:
            sent[name] = value
    return sent


def _chosen(operation: Operation, name: str, value: object, values: Mapping[str, str]) -> Any:
    """Return what a value, or each of several, is called on the wire."""
    if isinstance(value, list | tuple):
        return [_chosen(operation, name, item, values) for item in cast("list[object]", value)]
    if isinstance(value, str) and value in values:
        return values[value]
    # Null clears a setting.
    if value is None:
        return None
    raise ValueError(f"{operation.name}: {name} must be one of {', '.join(values)} on this panel, not {quoted(value)}")


def _below_home(path: object) -> object:
    """Return a path below a home directory without it: an FTP user is confined there (evidence: ftp-home)."""
    match = _HOME.fullmatch(path) if isinstance(path, str) else None
    return path if match is None else match[1] or "/"


_HOME = re.compile(r"/home/[^/]+((?:/.*)?)", re.DOTALL)
_CONVERSIONS: Mapping[str, Callable[[object], object]] = {"below_home": _below_home}


def quoted(value: object) -> str:
    """Return a value as a message shows it; a member of an enum as its text."""
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _check_refused(operation: Operation, name: str, value: object, refusal: Refusal) -> None:
    if value in refusal.unless:
        return
    remedy = f"Leave {name} out"
    if refusal.unless:
        remedy += f", or pass {' or '.join(repr(accepted) for accepted in refusal.unless)}"
    raise UnsupportedOperationError(
        f"{operation.name}: this panel does not support {name}: {refusal.reason}",
        operation=operation.name,
        argument=name,
        reason=refusal.reason,
        hint=f"{remedy}.",
    )


def incoming(data: object, wire: Wire, kind: type[Model]) -> Any:
    """Return what a reply shows, an object or several, under the names and with the values of the contract."""
    if isinstance(data, list):
        return [incoming(row, wire, kind) for row in cast("list[object]", data)]
    if not isinstance(data, dict):
        return data
    row = cast("dict[str, Any]", data)
    found, names = row.copy(), names_of(kind)
    for field, there in wire.reply_fields.items():
        if row.get(there) is None or field not in names:
            continue
        # A name that also belongs to another field keeps its value.
        if not any(there in several for several in names.values()):
            del found[there]
        found[names[field][0]] = row[there]
    for field, values in wire.reply_values.items():
        for name in names.get(field, ()):
            if name in found:
                found[name] = _renamed(found[name], values)
    return found


def _renamed(value: object, names: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return names.get(value, value)
    if isinstance(value, list | tuple):
        return [_renamed(item, names) for item in cast("list[object]", value)]
    return value
