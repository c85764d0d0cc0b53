"""Base classes of the generated models and enums, names of their fields in JSON, and `UNSET` for absent arguments."""

import enum
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Self, Union, cast, get_args, get_origin

import attrs

# Fields of a row that may name the account and the domain that it belongs to.
_OWNER_FIELDS = ("user_id", "owner_user_id")
_DOMAIN_FIELDS = ("domain_id", "zone_id")


class Unset(enum.Enum):
    """Type of `UNSET`: an enum, so that type checkers narrow `is UNSET`."""

    UNSET = "UNSET"

    def __bool__(self) -> Literal[False]:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Absent: the field is left out of the request. `None` sends null, which differs in a PATCH."""


@attrs.frozen(kw_only=True)
class Model:
    """Base of all models: frozen, slotted, keyword-only, with room for unknown fields."""

    extra: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False, hash=False)
    """Values without a field, by name on the wire: unknown fields, and values of optional fields that do not fit their
    type. Such a field is None.
    """

    def to_dict(self) -> dict[str, Any]:
        """Return the object as plain data, ready for any JSON encoder.

        Keys are attribute names; times become RFC 3339 text, enums text, nested models dicts. Entries of `extra` are
        added under their names on the wire. Secrets are included, such as a new key or the token of a destination:
        select fields before you log or send it.
        """
        data: dict[str, Any] = {
            field.name: plain_data(getattr(self, field.name))
            for field in attrs.fields(type(self))
            if field.name != "extra"
        }
        for name, value in self.extra.items():
            data.setdefault(name, value)
        return data

    def to_json(self) -> str:
        """Return the object as JSON text, with the content of `to_dict`, secrets included."""
        return to_json(self.to_dict())


class Owner(Model):
    """Base of the model of an account, which owns other objects.

    The lists of a ROOT key show the objects of all accounts (evidence: lists-owner-view).
    """

    __slots__ = ()

    def owns(self, row: Model, *, domains: Iterable[Model | str] | None = None) -> bool:
        """Return whether a row shows that it belongs to the account; a row that shows no owner does not.

        Most rows name the account. A mailbox, a DNS record and a certificate only name their domain, and a backup only
        its domains: pass `domains` for them.

        Args:
            row: An object, such as one of a list.
            domains: Domains, as objects, ids or names. Objects of other accounts are ignored, so you can pass
                everything that `domains.list` returns; ids and names must be the account's.

        Raises:
            ValueError: The row only names domains, and `domains` is left out.
        """
        own_id = _value(self, "id")
        owner_id: object = next((value for name in _OWNER_FIELDS if (value := _value(row, name))), None)
        if owner_id is not None or isinstance(row, Owner):
            return _is_same(_value(row, "id") if owner_id is None else owner_id, own_id)
        domain_values = [_value(row, name) for name in _DOMAIN_FIELDS] + list(_value(row, "domain_names") or ())
        row_domains = {_folded(value) for value in domain_values if value}
        if not row_domains:
            return False
        if domains is None:
            raise ValueError(f"{type(row).__name__} shows only its domains: pass domains=, the domains of the account")
        return row_domains <= {name for domain in domains for name in self._id_and_name(domain)}

    def _id_and_name(self, domain: Model | str) -> set[str]:
        """Return id and name of a domain; nothing if it is not one of the account."""
        if isinstance(domain, str):
            return {_folded(domain)}
        if not _is_same(_value(domain, "user_id"), _value(self, "id")):
            return set()
        return {_folded(name) for name in (_value(domain, "id"), _value(domain, "domain")) if name}


class OpenEnum(enum.StrEnum):
    """Enum of a reply: an unknown value becomes a new member instead of an error.

    Panels vary upper and lower case (evidence: case-varies): `Suspended` is the member `suspended`.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if type(value) is not str:
            return None
        folded = value.casefold()
        for known in cls:
            if known.value.casefold() == folded:
                return known
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle by value, which works for unknown members, too."""
        return type(self), (self.value,)


def drop_unset(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that are not `UNSET`."""
    return {name: value for name, value in arguments.items() if value is not UNSET}


def fields_of(kind: type[Model]) -> "list[attrs.Attribute[Any]]":
    """Return the fields of a model with their types, without `extra`."""
    return [field for field in attrs.fields(attrs.resolve_types(kind)) if field.name != "extra"]


def unwrap_optional(kind: object) -> Any:
    """Return the type `T` of an optional `T | None`; None if the type is not optional."""
    if get_origin(kind) not in {Union, UnionType} or len(get_args(kind)) != 2 or NoneType not in get_args(kind):
        return None
    return next(type_ for type_ in get_args(kind) if type_ is not NoneType)


def json_names(kind: type[Model]) -> Mapping[str, tuple[str, ...]]:
    """Return the names that each field of a model may have in JSON, the usual one first."""
    hashable: Any = kind
    return _json_names(hashable)


@cache
def _json_names(kind: Any) -> Mapping[str, tuple[str, ...]]:
    return {
        field.name: (field.metadata.get("json", field.name), *field.metadata.get("aliases", ()))
        for field in fields_of(kind)
    }


def plain_data(value: object) -> Any:
    """Return a value of a model as plain data for a JSON encoder."""
    if isinstance(value, Model):
        return value.to_dict()
    if isinstance(value, OpenEnum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in cast("list[object]", value)]
    if isinstance(value, Mapping):
        return {key: plain_data(item) for key, item in cast("Mapping[str, object]", value).items()}
    return value


def to_json(data: Any) -> str:
    """Return plain data as compact JSON text."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


def _value(row: Model, name: str) -> Any:
    """Return a field of a row, even one that its model lacks."""
    return getattr(row, name, None) or row.extra.get(name)


def _is_same(one: object, other: object) -> bool:
    return bool(one) and bool(other) and _folded(one) == _folded(other)


def _folded(value: object) -> str:
    return str(value).casefold()
