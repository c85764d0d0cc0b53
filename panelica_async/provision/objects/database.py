"""The databases of a site and their users."""

from collections.abc import Sequence
from typing import Any, Literal, Self, cast

import attrs

from panelica_async import models
from panelica_async.client import PanelicaClient
from panelica_async.core.model import UNSET
from panelica_async.provision.manifest import ALL, Database, DatabaseUser
from panelica_async.provision.objects.base import (
    Match,
    NewObject,
    Step,
    StepKind,
    View,
    printable,
    spellings,
    with_owner,
    without_none,
    without_owner,
)
from panelica_async.provision.objects.hosting import ContentStep, DomainStep
from panelica_async.provision.objects.snapshot import Listing

_OWNER_ROLE = "dbOwner"
"""Role of a user that may do everything, on current panels (evidence: databases-list)."""
_PLAUSIBLE_USER_COUNTS = range(10_000)
"""Numbers of users that a database may have; others are ignored."""
_NO_USER_LIST = "the panel does not list the users of a database by name"


@attrs.frozen(kw_only=True)
class DatabaseStep(ContentStep):
    """Creates a database: without users, or with its first one if the panel requires that."""

    kind = StepKind.DATABASE
    operation = "databases.create"
    listing = Listing.DATABASES

    database: Database
    is_shared_name: bool = False
    """Whether another owner in the manifest requests the same name."""
    has_user: bool = False
    """Whether the call makes the first user as well (evidence: databases-create)."""
    is_first: bool = True
    """Whether it is the first one of the domain in the manifest."""

    @property
    def key(self) -> str:
        """Type and name, with the owner if several request them."""
        key = f"{self.database.type}/{self.database.name}"
        return with_owner(key, self.domain.account.key) if self.is_shared_name else key

    @classmethod
    def of_key(cls, key: str, domain: DomainStep) -> Self:
        """Return the step of a database, whose users are not known."""
        own_key = without_owner(key)
        kind, _, name = own_key.partition("/")
        database = Database(name=name, type=kind)
        return cls(site=domain.site, domain=domain, database=database, is_shared_name=own_key != key)

    @property
    def problem(self) -> str | None:
        """What is wrong with the first user, if the call makes it."""
        if not self.has_user:
            return None
        if not self.database.users:
            return "the panel makes a database with its first user; name one, such as shop:shop_user"
        if self.database.users[0].privileges not in {ALL, _OWNER_ROLE}:
            return f"the first user of a database may do everything in it, not only {self.database.users[0].privileges}"
        return None

    @property
    def companions(self) -> tuple["DatabaseUserStep", ...]:
        """The first user, if the call makes it."""
        first = self.database.users[:1] if self.has_user else ()
        return tuple(DatabaseUserStep(site=self.site, database=self, user=user) for user in first)

    @property
    def login(self) -> "DatabaseUserStep | None":
        """The first user, if the call makes it: a database itself has no password."""
        return next(iter(self.companions), None)

    @property
    def arguments(self) -> dict[str, Any]:
        """Name and type, and the name of the first user if the call makes it."""
        username = None if self.login is None else self.login.user.username
        return without_none(name=self.database.name, type=self.database.type, username=username)

    def match(self, view: View) -> Match:
        """Find the database by type and name and compare its site."""
        names = spellings(self.database.name, self.domain.account.key)
        rows = [row for name in names for row in view.snapshot.databases_by_name.get(name, ())]
        rows = [row for row in rows if row.type is None or row.type == self.database.type]
        domain_id = view.ids.get(self.domain.id)
        ours = next((row for row in rows if row.domain_id is not None and row.domain_id == domain_id), None)
        if ours is not None:
            return Match.same(ours.id)
        return Match.different("a database of that name belongs to another site") if rows else Match.absent()

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the database, and its first user if the panel requires one."""
        login = self.login
        database = await panel.databases.create(
            name=self.database.name,
            type=cast("Literal['mysql', 'postgresql']", self.database.type),
            domain_id=view.id_of(self.domain),
            username=UNSET if login is None else login.user.username,
            password=UNSET if login is None else password,
        )
        return NewObject(database.id)

    @classmethod
    async def delete(cls, panel: PanelicaClient, object_id: str, parent_id: str) -> None:
        """Delete a database with its users."""
        await panel.databases.delete(object_id)


@attrs.frozen(kw_only=True)
class DatabaseUserStep(Step):
    """Creates a user of a database. The reference counts users, current panels list them (evidence: databases-list)."""

    kind = StepKind.DATABASE_USER
    operation = "databases.users.create"
    listing = Listing.DATABASES
    password_needed = True
    is_deletable = False

    database: DatabaseStep
    user: DatabaseUser
    previous: "DatabaseUserStep | None" = attrs.field(default=None, eq=False, repr=False)
    """The user of the database before this one, which must be there first: the first becomes the primary one."""

    @property
    def key(self) -> str:
        """Type and name of the database and name of the user."""
        return self._key_of(self.user)

    @property
    def password(self) -> str | None:
        """The user's password in the manifest, if any."""
        return self.user.password

    @property
    def parents(self) -> tuple[Step, ...]:
        """The database and what it needs, and the user before this one."""
        previous = () if self.previous is None else (self.previous,)
        return (self.database, *self.database.parents, *previous)

    @property
    def problem(self) -> str | None:
        """Why the panel might add the user to another database."""
        # Guess: a further user joins the first database of its domain (evidence: databases-users).
        if not self.database.has_user or self.database.is_first or self.made_with:
            return None
        return "the panel adds a user to a domain, which has several databases; give each of the others one user"

    @property
    def made_with(self) -> DatabaseStep | None:
        """The database, if its call makes this user."""
        return self.database if self in self.database.companions else None

    @property
    def arguments(self) -> dict[str, Any]:
        """Name and privileges."""
        return {"username": self.user.username, "privileges": self.user.privileges}

    def match(self, view: View) -> Match:
        """Find the user by name if the panel lists users; otherwise infer from their number."""
        database_id = view.ids.get(self.database.id)
        if database_id is None:
            return Match.absent()
        row = view.snapshot.databases_by_id.get(database_id)
        if row is not None and row.id in view.snapshot.database_users:
            return self._match_by_name(row, view.snapshot.databases)
        count = None if row is None else row.user_count
        if count is None or count not in _PLAUSIBLE_USER_COUNTS:
            return Match.unknown(_NO_USER_LIST)
        return self._match_by_count(count, view)

    async def create(self, panel: PanelicaClient, view: View, password: str) -> NewObject:
        """Create the user."""
        user = await panel.databases.users.create(
            view.id_of(self.database),
            username=self.user.username,
            password=password,
            privileges=self.user.privileges,
            domain_id=view.id_of(self.database.domain),
        )
        return NewObject(user.id)

    def _match_by_name(self, database: models.Database, rows: Sequence[models.Database]) -> Match:
        """Find the user by name among the rows of the domain; one of them represents the database itself."""
        names = spellings(self.user.username, self.database.domain.account.key)
        for row in rows:
            if row.domain_id == database.domain_id and row.username is not None and row.username.lower() in names:
                if row.name.lower() != database.name.lower():
                    return Match.different(f"the database user belongs to the database {printable(row.name)}")
                role = _OWNER_ROLE if self.user.privileges == ALL else self.user.privileges
                if not row.is_primary and row.role is not None and row.role.lower() != role.lower():
                    return Match.different(f"the database user has the role {printable(row.role)}, not {role}")
                return Match.same(None if row.id == database.id else row.id)
        return Match.absent()

    def _match_by_count(self, count: int, view: View) -> Match:
        """Infer from the number of the database's users whether this one exists."""
        requested = {f"{self.kind}:{self._key_of(user)}" for user in self.database.database.users}
        if self.id in view.settled:
            settled_count = len(requested & view.settled.keys())
            if count < settled_count:
                # The number does not show which of them are gone: the panel refuses to create those that are left.
                return Match.absent(f"{count} of {settled_count} users of the database are left")
            return Match.unknown(_NO_USER_LIST)
        open_ids = requested - view.ids.keys() - view.settled.keys()
        unanswered = {step_id for step_id in open_ids if step_id in view.unanswered}
        unexplained = count - len(requested - open_ids)
        if unexplained >= len(open_ids):
            return Match.same(None, f"inferred from the number of users, {count}; the panel does not list their names")
        if unexplained <= 0:
            return Match.absent()
        if unexplained == len(unanswered) and self.id in unanswered:
            return Match.same(None, "inferred from the number of users")
        if unexplained <= len(unanswered) and self.id not in unanswered:
            return Match.absent()
        return Match.unknown(_NO_USER_LIST)

    def _key_of(self, user: DatabaseUser) -> str:
        return f"{self.database.key}:{user.username}"
