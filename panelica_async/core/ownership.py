"""Whose an object is: the lists of a ROOT key show the objects of all accounts (evidence: lists-owner-view)."""

from collections.abc import Iterable
from typing import Any

from panelica_async.core.model import Model

_OWNERS = ("user_id", "owner_user_id")
_DOMAINS = ("domain_id", "zone_id")


class Owner(Model):
    """Base of the model of an account, which owns other objects."""

    __slots__ = ()

    def owns(self, row: Model, *, domains: Iterable[Model | str] | None = None) -> bool:
        """Return whether a row shows that it belongs to the account. One that shows no owner does not.

        Most rows name the account. A mailbox, a DNS record and a certificate name their domain alone, and a backup the
        names of its domains: pass `domains` for them.

        Args:
            row: An object, such as one of a list.
            domains: Domains, as objects, ids or names. Of objects, only those of the account count, so that
                everything that `domains.list` returns may be passed; ids and names must be the account's.

        Raises:
            ValueError: The row names domains alone, and `domains` is left out.
        """
        own_id = _value(self, "id")
        owner: object = next((found for name in _OWNERS if (found := _value(row, name))), None)
        if owner is not None or isinstance(row, Owner):
            return _is_same(_value(row, "id") if owner is None else owner, own_id)
        named = [_value(row, name) for name in _DOMAINS] + list(_value(row, "domain_names") or ())
        wanted = {_folded(name) for name in named if name}
        if not wanted:
            return False
        if domains is None:
            raise ValueError(f"{type(row).__name__} shows its domains alone: pass domains=, the domains of the account")
        return wanted <= {name for domain in domains for name in self._names(domain)}

    def _names(self, domain: Model | str) -> set[str]:
        """Return id and name of a domain of the account."""
        if isinstance(domain, str):
            return {_folded(domain)}
        if not _is_same(_value(domain, "user_id"), _value(self, "id")):
            return set()
        return {_folded(name) for name in (_value(domain, "id"), _value(domain, "domain")) if name}


def _value(row: Model, name: str) -> Any:
    """Return a field of a row, also one that its model does not have."""
    return getattr(row, name, None) or row.extra.get(name)


def _is_same(one: object, other: object) -> bool:
    return bool(one) and bool(other) and _folded(one) == _folded(other)


def _folded(value: object) -> str:
    return str(value).casefold()
