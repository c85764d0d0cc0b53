"""Operations as data: `Operation`, and how each travels in a dialect, `Wire`."""

import enum
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import attrs

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_EMPTY: Mapping[str, Any] = MappingProxyType({})

Dialect = Literal["reference", "panel"]
"""`reference` is the published API reference; `panel` is what current panels serve."""


class Repeat(enum.Enum):
    """What happens if a call is sent twice."""

    READ = "read"
    """Nothing: the call is a read."""
    IDEMPOTENT = "idempotent"
    """Nothing: the second call changes nothing further."""
    NATURAL_KEY = "natural-key"
    """A second object, or a conflict; but a look-up shows whether the first call took effect."""
    UNSAFE = "unsafe"
    """A second effect, and no look-up shows whether the first call took effect."""

    def __init__(self, name: str) -> None:
        self.is_read: bool = name == "read"
        """Whether the call changes nothing."""
        self.is_safe: bool = name in {"read", "idempotent"}
        """Whether sending the call again does no harm."""


@attrs.frozen(kw_only=True, eq=False)
class NaturalKey:
    """Arguments that identify the object of a create, and the list that shows it."""

    lookup: "Operation"
    fields: Mapping[str, str]
    """Field of a row, by argument."""
    prefixed: frozenset[str] = frozenset()
    """Arguments to which the panel may add a prefix."""
    local: frozenset[str] = frozenset()
    """Arguments that are the part of an email address before the @."""


class Guard(NamedTuple):
    """An argument without which a call would affect everything, and the argument that confirms that intention."""

    argument: str
    replaces: str
    reason: str


class Refusal(NamedTuple):
    """An argument that a panel cannot honour, or only for some values."""

    reason: str
    unless: tuple[Any, ...] = ()
    """Values that request what the panel does anyway; they are accepted, but not sent."""


class Fence(NamedTuple):
    """A list that must contain an object before it is changed by its id alone."""

    lookup: str
    """Operation that lists the objects; it takes arguments of the same names."""
    argument: str
    """Argument with the id of the object."""
    single: str | None = None
    """Field that must have one value in the whole list, because the request cannot say which of several is meant."""


class ReadBack(NamedTuple):
    """An update and a read after a create, on panels that store defaults instead of the values sent."""

    update: str
    lookup: str


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Wire:
    """How an operation travels in one dialect: where each argument goes, and under which name."""

    method: str
    path: str
    """Template; the placeholders are Python argument names."""
    query: Mapping[str, str] = _EMPTY
    """Name in the query, by Python argument."""
    body: Mapping[str, str] = _EMPTY
    """Name in the JSON body, by Python argument."""
    others: Literal["query", "body"] | None = None
    """Where `**fields` go, which are in neither `query` nor `body`; None if the method takes none."""
    files: frozenset[str] = frozenset()
    """Arguments that are files; the body is a form then, and not JSON."""
    wrapped: frozenset[str] = frozenset()
    """Arguments that travel as a list with one element."""
    items: str | None = None
    """Key of the rows in the reply to a list; None if the reply is the list itself."""
    scopes: tuple[str, ...] = ()
    """Scopes of which the key needs one; empty if it needs none."""
    values: Mapping[str, Mapping[str, str]] = _EMPTY
    """Values that the panel accepts, by argument, each with its name on the wire."""
    converted: Mapping[str, str] = _EMPTY
    """Name of a conversion, by argument that the panel expects in another form."""
    refused: Mapping[str, Refusal] = _EMPTY
    """Arguments that the panel cannot honour."""
    required: frozenset[str] = frozenset()
    """Arguments that are optional in the signature and required here."""
    minimum: Mapping[str, int] = _EMPTY
    """Lowest value, by argument, where the panel itself does not check it."""
    derived: Mapping[str, str] = _EMPTY
    """Name of a source, by argument that the client derives if the caller leaves it out."""
    filters: Mapping[str, str] = _EMPTY
    """Field of a row by which the client filters, by argument of a list that the panel ignores."""
    is_whole: bool = False
    """Whether a list arrives in one reply: the client itself applies `page`, `limit`, `sort` and `order`."""
    fence: Fence | None = None
    read_back: ReadBack | None = None
    keeps: tuple[str, ...] = ()
    """Names in the body that the panel resets if they are left out: a GET of the path first reads their values."""
    gone: str | None = None
    """Operation whose 404 confirms, after a 400, that the object is gone."""
    reply_fields: Mapping[str, str] = _EMPTY
    """Name in the reply, which goes before any alias, by field of the result."""
    reply_values: Mapping[str, Mapping[str, str]] = _EMPTY
    """Values of the reply with their names in the result, by field of the result."""

    @cached_property
    def changes_arguments(self) -> bool:
        """Whether arguments are checked or renamed on their way out."""
        return bool(self.values or self.converted or self.refused or self.required or self.minimum)

    @cached_property
    def changes_reply(self) -> bool:
        """Whether fields or values of a reply are renamed on their way in."""
        return bool(self.reply_fields or self.reply_values)

    @cached_property
    def takes_steps(self) -> bool:
        """Whether other requests precede or follow the call."""
        return bool(self.derived or self.fence or self.read_back or self.keeps or self.gone)

    @cached_property
    def endpoint(self) -> str:
        """Method and path, as in the API reference."""
        return f"{self.method} {self.path}"

    @cached_property
    def path_parts(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The path up to the first placeholder, and each placeholder with the text after it."""
        start, *parts = _PLACEHOLDER.split(self.path)
        return start, tuple(zip(parts[::2], parts[1::2], strict=True))

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """Arguments that travel in the path."""
        return tuple(_PLACEHOLDER.findall(self.path))


def names(*same: str, **renamed: str) -> dict[str, str]:
    """Return the names of arguments on the wire: unchanged, or renamed as the keywords say."""
    return {**{name: name for name in same}, **renamed}


def both(wire: Wire) -> dict[Dialect, Wire]:
    """Return the wires of an operation that travels alike in both dialects."""
    return {"reference": wire, "panel": wire}


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Operation:
    """One operation of the External API."""

    name: str
    wires: Mapping[Dialect, Wire]
    """The wire of each dialect that has the operation, that of the published reference first."""
    repeat: Repeat
    natural_key: NaturalKey | None = None
    shown_by: "Operation | None" = None
    """Reads the object that a write made or changed, by its id or in a list; None if the natural key names the list."""
    signed: bool = True
    """Whether the call is signed and counts towards the quota."""
    choices: Mapping[str, tuple[str, ...]] = _EMPTY
    """Allowed values, by argument with a closed set of values."""
    not_empty: frozenset[str] = frozenset()
    """Arguments whose text or list must not be empty."""
    lists: frozenset[str] = frozenset()
    """Arguments that take several values."""
    guard: Guard | None = None
    absence: str | None = None
    """Why current panels do not serve it, worded to follow a colon."""
    instead: str | None = None
    """Operation of current panels to call instead."""

    @cached_property
    def constrained(self) -> frozenset[str]:
        """Arguments that must be lists, or that have a closed set of values."""
        return self.lists | self.choices.keys()

    @cached_property
    def needs_no_dialect(self) -> bool:
        """Whether it can be called before the dialect is known: it travels alike in both, and needs no look-up."""
        if self.natural_key or self.shown_by:
            return False
        wires = [
            # Not `attrs.filters.exclude`, which hashes the defaults: Python 3.11 cannot hash a mapping proxy.
            attrs.asdict(wire, recurse=False, filter=lambda field, _: field.name != "scopes")
            for wire in self.wires.values()
        ]
        return len(wires) > 1 and wires[0] == wires[1]

    @property
    def example(self) -> str:
        """An example call, such as `panel.dns.records.list(zone_id, …)`."""
        wire = self.wire
        others = ("…",) if wire.query or wire.body or wire.others == "body" else ()
        return f"panel.{self.name}({', '.join((*wire.placeholders, *others))})"

    @cached_property
    def wire(self) -> Wire:
        """The wire of the published reference; that of current panels if the reference lacks the operation."""
        return next(iter(self.wires.values()))


def scopes_allow(granted: Iterable[str], required: str | None) -> bool:
    """Return whether the scopes of a key cover the one that a call requires, if it requires one."""
    if required is None:
        return True
    family, _, verb = required.partition(":")
    # `*:read` covers every read, except of what requires `*:*` itself (evidence: scope-wildcards).
    covering = {required, "*:*", f"{family}:*", f"*:{verb}"}
    return not covering.isdisjoint(granted)
