"""Operations as data (`Operation`), and how each travels in a dialect (`Wire`)."""

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
    """What happens when a call is sent twice."""

    READ = "read"
    """Nothing: it changes nothing."""
    IDEMPOTENT = "idempotent"
    """The second call changes nothing more."""
    NATURAL_KEY = "natural-key"
    """A second object, or a conflict; but whether the first call took effect can be looked up."""
    UNSAFE = "unsafe"
    """A second effect, and no look-up shows whether the first call had one."""

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
    """Argument to field of a row."""
    prefixed: frozenset[str] = frozenset()
    """Arguments to which the panel may add a prefix."""
    local: frozenset[str] = frozenset()
    """Arguments that are the part of an address before the @."""


class Guard(NamedTuple):
    """An argument without which a call would affect everything, and the argument that confirms that this is meant."""

    argument: str
    replaces: str
    reason: str


class Refusal(NamedTuple):
    """An argument that a panel cannot honour, or only for some values."""

    reason: str
    unless: tuple[Any, ...] = ()
    """Values that say what the panel does anyway; they are accepted and not sent."""


class Fence(NamedTuple):
    """A list in which an object must be before it is changed by its id alone."""

    lookup: str
    """Name of the list; it takes arguments of the same names."""
    argument: str
    """Argument with the id of the object."""
    single: str | None = None
    """Field of which the list must show one value, because the request cannot say which of several is meant."""


class ReadBack(NamedTuple):
    """A change and a look at the result: they make a create exact where the panel stores defaults instead of values."""

    update: str
    lookup: str


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Wire:
    """How an operation travels in one dialect: where each argument goes, and under which name."""

    method: str
    path: str
    """Template; the placeholders are Python argument names."""
    query: Mapping[str, str] = _EMPTY
    """Python argument to name in the query."""
    body: Mapping[str, str] = _EMPTY
    """Python argument to name in the JSON body."""
    others: Literal["query", "body"] | None = None
    """Where `**fields` go, which neither `query` nor `body` names; None if the method takes none."""
    files: frozenset[str] = frozenset()
    """Arguments that are files; the body is a form then, and not JSON."""
    wrapped: frozenset[str] = frozenset()
    """Arguments that travel as a list of one."""
    items: str | None = None
    """Key that holds the rows of a list reply; None when the reply is the list."""
    scopes: tuple[str, ...] = ()
    """Scopes of which the key needs one; empty when any key will do."""
    values: Mapping[str, Mapping[str, str]] = _EMPTY
    """Arguments with limited or renamed values: each value that the panel takes, and its name there."""
    converted: Mapping[str, str] = _EMPTY
    """Arguments that the panel writes in another form: the name of the conversion of each."""
    refused: Mapping[str, Refusal] = _EMPTY
    """Arguments that the panel cannot honour."""
    required: frozenset[str] = frozenset()
    """Arguments that are optional in the signature and required here."""
    minimum: Mapping[str, int] = _EMPTY
    """Arguments with a lowest value that the panel itself does not check."""
    derived: Mapping[str, str] = _EMPTY
    """Arguments that the client derives if the caller leaves them out: the name of the source of each."""
    filters: Mapping[str, str] = _EMPTY
    """Arguments of a list that the panel ignores, with the field of a row by which the client filters instead."""
    is_whole: bool = False
    """Whether a list arrives in one reply: the client itself applies `page`, `limit`, `sort` and `order`."""
    fence: Fence | None = None
    read_back: ReadBack | None = None
    keeps: tuple[str, ...] = ()
    """Names in the body that the panel resets when they are left out: a GET of the path reads their values first."""
    gone: str | None = None
    """The operation whose 404 confirms that a 400 means that the object is gone."""
    reply_fields: Mapping[str, str] = _EMPTY
    """Fields of the result that have another name in the reply, before any alias."""
    reply_values: Mapping[str, Mapping[str, str]] = _EMPTY
    """Fields of the result with other values in the reply: each value there and what the result calls it."""

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
        """Whether a call takes other calls before or after it."""
        return bool(self.derived or self.fence or self.read_back or self.keeps or self.gone)

    @cached_property
    def endpoint(self) -> str:
        """Method and path, as in the API reference."""
        return f"{self.method} {self.path}"

    @cached_property
    def parts(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The path up to the first placeholder, and each placeholder with the text after it."""
        first, *rest = _PLACEHOLDER.split(self.path)
        return first, tuple(zip(rest[::2], rest[1::2], strict=True))

    @cached_property
    def placeholders(self) -> tuple[str, ...]:
        """Arguments that travel in the path."""
        return tuple(_PLACEHOLDER.findall(self.path))


def names(*same: str, **renamed: str) -> dict[str, str]:
    """Return the names arguments have on the wire: their own, or the ones provided."""
    return {**{name: name for name in same}, **renamed}


def both(wire: Wire) -> dict[Dialect, Wire]:
    """Return the wire forms of an operation that travels the same way in both dialects."""
    return {"reference": wire, "panel": wire}


@attrs.frozen(kw_only=True, slots=False, eq=False)
class Operation:
    """One operation of the External API."""

    name: str
    wires: Mapping[Dialect, Wire]
    """The wire form in each dialect that has the operation, that of the published reference first."""
    repeat: Repeat
    natural_key: NaturalKey | None = None
    shown_by: "Operation | None" = None
    """Reads what a write has made or changed, by its id or in a list; None where a natural key has its own."""
    signed: bool = True
    """Whether the call is signed and counted."""
    choices: Mapping[str, tuple[str, ...]] = _EMPTY
    """Arguments that take one of a closed set of values."""
    not_empty: frozenset[str] = frozenset()
    """Texts and lists that must not be empty."""
    lists: frozenset[str] = frozenset()
    """Arguments that take several values."""
    guard: Guard | None = None
    absence: str | None = None
    """Why current panels do not serve it, as after a colon."""
    instead: str | None = None
    """Operation of current panels to call in its place."""

    @cached_property
    def constrained(self) -> frozenset[str]:
        """Arguments that must be lists, or one of several values."""
        return self.lists | self.choices.keys()

    @cached_property
    def needs_no_dialect(self) -> bool:
        """Whether it can be called before the dialect is known: it travels alike in both, and is never looked up."""
        if self.natural_key or self.shown_by:
            return False
        forms = [
            # Not `attrs.filters.exclude`: it hashes the defaults, and Python 3.11 cannot hash a mapping proxy.
            attrs.asdict(wire, recurse=False, filter=lambda field, _: field.name != "scopes")
            for wire in self.wires.values()
        ]
        return len(forms) > 1 and forms[0] == forms[1]

    @property
    def example(self) -> str:
        """A call of it, as in `panel.dns.records.list(zone_id, …)`."""
        wire = self.wire
        others = ("…",) if wire.query or wire.body or wire.others == "body" else ()
        return f"panel.{self.name}({', '.join((*wire.placeholders, *others))})"

    @cached_property
    def wire(self) -> Wire:
        """The wire form in the published reference; that of current panels if the reference lacks the operation."""
        return next(iter(self.wires.values()))


def scopes_allow(granted: Iterable[str], required: str | None) -> bool:
    """Return whether scopes cover the one a call requires; None requires none."""
    if required is None:
        return True
    family, _, verb = required.partition(":")
    # `*:read` covers reading everywhere, but not what asks for `*:*` itself (evidence: scope-wildcards).
    covering = {required, "*:*", f"{family}:*", f"*:{verb}"}
    return not covering.isdisjoint(granted)
