"""Filters, sorts and pages of a list that arrives in one reply: the client applies what the panel ignores."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeGuard, TypeVar, cast, get_origin

import attrs

from panelica_async.core.decoder import inner_type
from panelica_async.core.model import UNSET, Model, fields_of, names_of
from panelica_async.core.operation import Operation, Wire
from panelica_async.core.reply import Envelope
from panelica_async.errors import DecodeError

T = TypeVar("T")

_HINT_CHANGED = "Read the list again: it changed while it was read."
_FIRST_DAY = datetime.min.replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class RowFilter:
    """Which rows to keep: those whose field has one of several values, in any case."""

    argument: str
    names: tuple[str, ...]
    """Names of the field in a row."""
    wanted: frozenset[str]

    @classmethod
    def of(cls, argument: str, names: tuple[str, ...], value: object) -> "RowFilter":
        """Return the filter for an argument.

        Raises:
            ValueError: The value is None or an empty list, which could mean "no filter" or "nothing".
        """
        several = list(cast("list[object]", value)) if isinstance(value, list | tuple) else [value]
        if not several or None in several:
            raise ValueError(f"{argument} must not be {value!r}: leave it out instead")
        return cls(argument=argument, names=names, wanted=frozenset(map(_folded, several)))

    def is_shown(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row shows the field, be it null."""
        return any(name in row for name in self.names)

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Return whether a row has one of the values."""
        values = (row[name] for name in self.names if row.get(name) is not None)
        return _folded(next(values, "")) in self.wanted


@attrs.frozen(kw_only=True)
class Selection:
    """What a call asks of a list, to be applied to the whole list."""

    endpoint: str
    ids: tuple[str, ...]
    """Names of the id of a row; none where rows have no id."""
    filters: tuple[RowFilter, ...] = ()
    sort: str | None = None
    """Attribute to sort by."""
    is_descending: bool | None = None
    """None when the caller did not say."""
    page: int = 1
    limit: int | None = None

    @classmethod
    def of(cls, operation: Operation, wire: Wire, kind: type[Model], arguments: Mapping[str, Any]) -> "Selection":
        """Return what the arguments of a list ask for.

        Raises:
            ValueError: An argument is invalid.
        """
        present = {name: value for name, value in arguments.items() if value is not UNSET}
        names = names_of(kind)
        sort, order = present.get("sort"), present.get("order")
        return cls(
            endpoint=wire.endpoint,
            ids=names.get("id", ()),
            filters=tuple(
                RowFilter.of(argument, names.get(field, (field,)), present[argument])
                for argument, field in wire.filters.items()
                if argument in present
            ),
            sort=None if sort is None else _sort_field(operation, kind, sort),
            is_descending=None if order is None else order == "desc",
            page=_positive(operation, "page", present.get("page", 1)),
            limit=_positive(operation, "limit", present["limit"]) if "limit" in present else None,
        )

    def check_whole(self, rows: list[Any], envelope: Envelope) -> None:
        """Raise when rows are not the whole list, or the list changed while it was read.

        Raises:
            DecodeError: The panel says that there are more or fewer rows, or an id appears twice.
        """
        # Go writes 0 for a total that it does not know.
        if envelope.total is not None and envelope.total != len(rows) and (envelope.total or not rows):
            problem = f"the panel says there are {envelope.total} items, but gave {len(rows)}"
            raise DecodeError(problem, endpoint=self.endpoint, json_path="$.total", hint=_HINT_CHANGED)
        if envelope.has_more:
            raise DecodeError(
                "the panel says that more items follow, and this list has no pages", endpoint=self.endpoint
            )
        seen = set[tuple[str, str]]()
        for index, row in enumerate(rows):
            if not _is_object(row):
                continue
            found = next((row[name] for name in self.ids if row.get(name) is not None), None)
            # Panels list a database once for each of its users (evidence: databases-list).
            identity = str(found), str(row.get("username"))
            if found is not None and identity in seen:
                raise DecodeError(
                    f"the list has the id {str(found)[:80]!r} twice",
                    endpoint=self.endpoint,
                    json_path=f"$[{index}]",
                    hint=_HINT_CHANGED,
                )
            seen.add(identity)

    def matching(self, rows: list[Any], envelope: Envelope) -> list[Any]:
        """Return the rows that every filter keeps. What is no object is kept, for the decoder to refuse.

        A row that lacks the field has no value there: servers in Go leave out what is empty (evidence: absent-fields).

        Raises:
            DecodeError: No row shows the field of a filter: a filtered list would be a guess. Or `check_whole` fails.
        """
        self.check_whole(rows, envelope)
        objects = list(filter(_is_object, rows))
        for wanted in self.filters:
            if objects and not any(map(wanted.is_shown, objects)):
                raise DecodeError(
                    f"cannot filter by {wanted.argument}: no row of the list shows {wanted.names[0]}",
                    endpoint=self.endpoint,
                    json_path=f"$[0].{wanted.names[0]}",
                    hint=f"Leave {wanted.argument} out, and select the rows yourself.",
                )
        return [row for row in rows if not _is_object(row) or all(kept.keeps(row) for kept in self.filters)]

    def ordered(self, items: list[T]) -> list[T]:
        """Return the items in the requested order, those without a value last.

        Pages are cut from a fixed order, oldest first, because the panel may list in another one each time
        (evidence: lists-unordered).

        Raises:
            DecodeError: No item shows the field to sort by.
        """
        if self.limit is not None or (self.is_descending is not None and self.sort is None):
            items = sorted(items, key=_age, reverse=bool(self.is_descending) and self.sort is None)
        sort = self.sort
        if sort is None or not items:
            return items
        shown = [item for item in items if getattr(item, sort) is not None]
        if not shown:
            raise DecodeError(
                f"cannot sort by {sort}: no row of the list shows it",
                endpoint=self.endpoint,
                json_path=f"$[0].{sort}",
                hint="Sort by another field, or leave sort out.",
            )
        shown.sort(key=lambda item: _comparable(getattr(item, sort)), reverse=bool(self.is_descending))
        return shown + [item for item in items if getattr(item, sort) is None]

    def cut(self, items: list[T]) -> Iterator[tuple[int, list[T], bool]]:
        """Yield the requested page and each one after it: its number, its items, and whether more follow."""
        number, length = self.page, self.limit or max(len(items), 1)
        while True:
            begin, end = (number - 1) * length, number * length
            has_more = end < len(items)
            yield number, items[begin:end], has_more
            if not has_more:
                return
            number += 1


def _is_object(row: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(row, dict)


def _folded(value: object) -> str:
    """Return a value as text to compare; upper and lower case of roles and states vary (evidence: case-varies)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).casefold()


def _comparable(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


def _age(item: object) -> tuple[bool, datetime, str]:
    created_at = getattr(item, "created_at", None)
    identity = getattr(item, "id", None) or getattr(item, "name", None)
    return created_at is None, created_at or _FIRST_DAY, str(identity)


def _sort_field(operation: Operation, kind: type[Model], name: str) -> str:
    """Return the attribute that a name stands for."""
    for field in fields_of(kind):
        type_ = inner_type(field.type) or field.type
        is_single = isinstance(type_, type) and get_origin(type_) is None and not issubclass(type_, Model)
        if name in {field.name, *names_of(kind)[field.name]} and is_single:
            return field.name
    raise ValueError(f"{operation.name}: sort must be a field of {kind.__name__} with a single value, not {name!r}")


def _positive(operation: Operation, name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{operation.name}: {name} must be an integer from 1, not {value!r}")
    return value
