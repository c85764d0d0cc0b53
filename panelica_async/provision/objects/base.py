"""The base class of steps, each of which creates one object; and what the panel's API can do for them."""

import abc
import enum
from collections.abc import Container, Mapping
from typing import Any, ClassVar, Self, TypeVar

import attrs

from panelica_async.client import PanelicaClient
from panelica_async.core.model import UNSET, Unset
from panelica_async.core.operation import Dialect, Wire
from panelica_async.core.redaction import shorten
from panelica_async.errors import BadRequestError, ConflictError, ResponseError
from panelica_async.provision.objects.snapshot import Listing, Snapshot
from panelica_async.resources.registry import get_operation

_T = TypeVar("_T")

_OWNER_MARK = " of "
_MAX_LENGTH = 100
"""Characters of a panel's value that a reason shows."""


class StepKind(enum.StrEnum):
    """The kind of object that a step creates, in the order in which they depend on each other."""

    ACCOUNT = "account"
    DOMAIN = "domain"
    DNS_RECORD = "dns_record"
    CERTIFICATE = "certificate"
    DATABASE = "database"
    DATABASE_USER = "database_user"
    MAILBOX = "mailbox"
    FTP_USER = "ftp_user"

    @property
    def label(self) -> str:
        """The kind in words, such as `DNS record`."""
        return self.value.replace("_", " ").replace("dns", "DNS").replace("ftp", "FTP")

    @property
    def parent(self) -> "StepKind | None":
        """What such an object is created under, such as the account of a domain; None for accounts."""
        match self:
            case StepKind.ACCOUNT:
                return None
            case StepKind.DOMAIN:
                return StepKind.ACCOUNT
            case StepKind.DATABASE_USER:
                return StepKind.DATABASE
            case _:
                return StepKind.DOMAIN

    @property
    def plural(self) -> str:
        """The kind in words for several objects, such as `DNS records`."""
        return f"{self.label}es" if self is StepKind.MAILBOX else f"{self.label}s"


class Comparison(enum.Enum):
    """How an existing object compares with the one that a step requests."""

    ABSENT = "absent"
    """Nothing of that name exists."""
    SAME = "same"
    """It exists, belongs to the owner, and matches."""
    DIFFERENT = "different"
    """Something of that name exists, but belongs to others or differs."""
    UNKNOWN = "unknown"
    """The panel's lists cannot tell."""


@attrs.frozen
class Match:
    """What a step found when it looked for its object."""

    comparison: Comparison
    object_id: str | None = None
    """Id of the same object, if it has one."""
    reason: str | None = None
    """In words: what differs, why the lists cannot tell, or what happened to an absent object."""
    is_pending: bool = False
    """Whether the panel is still working on the same object."""

    @classmethod
    def absent(cls, reason: str | None = None) -> Self:
        """Return the match when nothing of that name exists."""
        return cls(Comparison.ABSENT, reason=reason)

    @classmethod
    def same(cls, object_id: str | None, reason: str | None = None, *, is_pending: bool = False) -> Self:
        """Return the match of an object that is as requested."""
        return cls(Comparison.SAME, object_id, reason, is_pending)

    @classmethod
    def different(cls, reason: str) -> Self:
        """Return the match of an object that conflicts with the requested one."""
        return cls(Comparison.DIFFERENT, reason=reason)

    @classmethod
    def unknown(cls, reason: str) -> Self:
        """Return the match for lists that cannot tell."""
        return cls(Comparison.UNKNOWN, reason=reason)


@attrs.frozen
class NewObject:
    """An object that a create has made."""

    id: str | None
    """Its id, if it has one."""
    is_pending: bool = False
    """Whether the panel took the order and is still working on it."""


@attrs.frozen(kw_only=True)
class View:
    """What a step needs to find its object."""

    snapshot: Snapshot
    """What the panel's lists say."""
    ids: Mapping[str, str | None]
    """Object ids of the steps whose object is known to exist, by id of the step."""
    unanswered: Container[str] = frozenset[str]()
    """Ids of steps that were sent and whose outcome is not known."""
    settled: Mapping[str, str | None] = attrs.field(factory=dict[str, str | None])
    """Object ids of the steps whose object was there after an earlier run, by id of the step."""

    def id_of(self, step: "Step") -> str:
        """Return the object id of a step that others build on.

        Raises:
            KeyError: Its object is not known to exist.
        """
        object_id = self.ids[step.id]
        if object_id is None:
            raise KeyError(step.id)
        return object_id


@attrs.frozen(kw_only=True)
class Step(abc.ABC):
    """One object to create. Equal steps create the same object."""

    site: str
    """Domain of the first site that needs it."""

    kind: ClassVar[StepKind]
    operation: ClassVar[str]
    """Name of the operation that makes the object, such as `domains.create`."""
    listing: ClassVar[Listing]
    """The list that shows whether the object exists."""
    password_needed: ClassVar[bool] = False
    """Whether the object has a password."""
    is_order: ClassVar[bool] = False
    """Whether the panel continues to work after its reply, so that the object can still fail."""
    is_deletable: ClassVar[bool] = True
    """Whether the API can delete the object on its own; if not, it goes with its parent."""
    duplicate_errors: ClassVar[tuple[type[ResponseError], ...]] = (ConflictError, BadRequestError)
    """How panels refuse a second object of the same name (evidence: duplicate-email, domains-create)."""

    @property
    def id(self) -> str:
        """Kind and natural key, such as `mailbox:info@example.com`; no two steps of a plan share it."""
        return f"{self.kind}:{self.key}"

    @property
    def label(self) -> str:
        """What people call the object, such as `mailbox info@example.com`."""
        return f"{self.kind.label} {self.key}"

    @property
    @abc.abstractmethod
    def key(self) -> str:
        """Natural key: what identifies the object on the panel, in words an operator knows."""

    @property
    def password(self) -> str | None:
        """The password in the manifest, if any."""
        return None

    @property
    def parents(self) -> tuple["Step", ...]:
        """Steps whose objects must exist first, nearest first."""
        return ()

    @property
    def problem(self) -> str | None:
        """Why the panel cannot make the object as requested; None when no reason is known."""
        return None

    @property
    def made_with(self) -> "Step | None":
        """The step whose call makes this object as well, unless its own object exists already."""
        return None

    @property
    def companions(self) -> tuple["Step", ...]:
        """Steps whose objects the call of this step makes as well."""
        return ()

    @property
    def login(self) -> "Step | None":
        """The step of the object whose password the call sets; None when it sets none."""
        return self if self.password_needed else None

    @property
    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """Arguments of the operation that are known beforehand and are not secret."""

    @abc.abstractmethod
    def match(self, view: View) -> Match:
        """Compare what exists with what is requested."""

    @abc.abstractmethod
    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Make the object with one call and return what the panel says of it.

        Args:
            panel: The panel.
            view: What is known; holds the ids of the parents.
            password: The password; empty for kinds without one.
        """

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete an object of this kind with one call.

        Args:
            panel: The panel.
            object_id: The object.
            parent_id: What it was created under: the zone of a record.

        Raises:
            NotImplementedError: The API cannot delete objects of this kind; ask `is_deletable` first.
        """
        raise NotImplementedError(f"the API cannot delete objects of the kind {cls.kind}")


@attrs.frozen
class Abilities:
    """What a panel can do, as the wires of a dialect say of the operations that make objects."""

    dialect: Dialect

    @property
    def databases_have_user(self) -> bool:
        """Whether the call that makes a database makes its first user as well (evidence: databases-create)."""
        return "username" in self._wire("databases.create").required

    @property
    def homes_are_below_account(self) -> bool:
        """Whether the directory of an FTP user is a path below the home of the account (evidence: ftp-home)."""
        return "home_directory" in self._wire("ftp.accounts.create").converted

    def refusal(self, operation: str, arguments: Mapping[str, Any]) -> str | None:
        """Return why the panel cannot honour an argument of an operation, or None when it can."""
        wire = self._wire(operation)
        for name, value in arguments.items():
            if name in wire.refused and value not in wire.refused[name].unless:
                return f"the panel does not support {name} {value!r}: {wire.refused[name].reason}"
            if value not in wire.values.get(name, (value,)):
                return f"{name} must be one of {', '.join(wire.values[name])}, not {value!r}"
        return None

    def scopes(self, operation: str) -> tuple[str, ...]:
        """Return the scopes of which a key needs one for an operation; none when any key may use it."""
        return self._wire(operation).scopes

    def _wire(self, operation: str) -> Wire:
        return get_operation(operation).wires[self.dialect]


REFERENCE = Abilities("reference")
"""What a panel that serves the published reference can do."""


def printable(value: object) -> str:
    """Return a panel's value as a reason shows it: on one line, printable and short."""
    return shorten(str(value), _MAX_LENGTH)


def or_unset(value: _T | None) -> _T | Unset:
    """Return the value, or `UNSET` for None: the panel's default."""
    return UNSET if value is None else value


def without_none(**arguments: Any) -> dict[str, Any]:
    """Return the arguments that are not None."""
    return {name: value for name, value in arguments.items() if value is not None}


def with_owner(key: str, owner: str) -> str:
    """Return a natural key that several owners in a manifest use, with the owner added."""
    return f"{key}{_OWNER_MARK}{owner}"


def without_owner(key: str) -> str:
    """Return a natural key without the owner that `with_owner` added."""
    return key.partition(_OWNER_MARK)[0]


def spellings(name: str, owner: str) -> tuple[str, str]:
    """Return, in lower case, the names that a panel may give an object that was requested by a name.

    Panels may add a prefix (evidence: databases-prefix, ftp-create). Guess: the account's user name and an underscore.
    """
    return name.lower(), f"{owner}_{name}".lower()
