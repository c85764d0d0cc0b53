"""Maps the columns of a manifest to fields of a site, by name, by the caller's mapping or by their values."""

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Self

import attrs

from panelica_async.errors import ConfigurationError
from panelica_async.provision.manifest.fields import (
    InvalidValueError,
    domain_name,
    is_valid,
    text,
    trim,
    user_name,
    web_server,
)
from panelica_async.provision.manifest.sites import Problem, Remark

FIELDS: Mapping[str, tuple[str, ...]] = {
    "domain": ("domain_name", "fqdn", "host", "hostname", "main_domain", "primary_domain", "site", "website"),
    "username": ("account", "account_name", "login", "owner", "owner_username", "user", "user_name"),
    "email": (
        "account_email",
        "admin_email",
        "client_email",
        "contact_email",
        "customer_email",
        "email_address",
        "owner_email",
        "user_email",
    ),
    "plan": (
        "hosting_package",
        "hosting_plan",
        "package",
        "package_name",
        "plan_id",
        "plan_name",
        "product",
        "product_name",
        "product_service",
        "service_plan",
        "subscription_plan",
    ),
    "password": ("account_password", "owner_password", "pass"),
    "php_version": ("php",),
    "web_server": ("server", "webserver"),
    "ssl": ("certificate", "https", "ssl_certificate", "ssl_type", "tls"),
    "dns": ("dns_entries", "dns_record", "dns_records", "dns_zone", "records", "zone", "zone_records"),
    "databases": ("database", "database_name", "database_names", "db", "dbs", "mysql"),
    "mailboxes": ("email_accounts", "emails", "mail_accounts", "mailbox", "mails"),
    "ftp_users": ("ftp", "ftp_accounts", "ftp_user"),
}
"""Fields of a site with the other names they go by, in lower case and with underscores."""

REQUIRED = ("domain", "username")
_LISTS = ("dns", "databases", "mailboxes", "ftp_users")
"""Fields that hold several entries."""
STATUS = "status"
"""What billing systems say about a service. It is no field: the site is created whatever it says."""
_STATUS_NAMES = frozenset(
    {STATUS, "account_status", "domain_status", "product_status", "service_status", "subscription_status"}
)
_ENDED = frozenset(
    {
        "canceled",
        "cancelled",
        "closed",
        "deleted",
        "disabled",
        "expired",
        "fraud",
        "inactive",
        "suspended",
        "terminated",
        "transferred away",
    }
)
"""What they call a service that has ended or is paused."""
_MACHINE = "server"
"""A name that means the web server in some exports and the machine in others: its values tell."""

_WEAK = frozenset(
    {"account", "account_name", "host", "hostname", "login", "owner", "product", "server", "site", "zone"}
)
"""Names with another meaning in many exports, such as the reseller of an account, the company of a customer, or the
machine a site is on: they count only when no other column means the field."""

_REQUIRED_FORMS: Mapping[str, Callable[[str], str]] = {"domain": domain_name, "username": user_name}
# A single row may just be wrong.
_FEWEST_ROWS = 2
# One or two typing errors in a name. Names that differ more are the hoster's own columns.
_SIMILARITY = 0.85
# With more unknown columns than this, the file is not a list of sites, and comparing them all would take seconds.
_MOST_COMPARED = 100
_CANONICAL = {name: field for field, others in FIELDS.items() for name in (field, *others)}
_SPELLINGS = {name.replace("_", ""): name for name in _CANONICAL}
# Affixes that turn a known name into the name of another column: `Mailbox 1`, `domainId`, `nemails`.
_AFFIXES = re.compile(r"\An(?:[or]|um)?_?(?=.*s\Z)|_?(?:\d+|ids?)\Z")


@attrs.frozen
class Reading:
    """What the caller says about columns whose names do not say it themselves."""

    columns: Mapping[str, str] = attrs.field(factory=dict[str, str])
    """Column to field of a site, such as `{"Kundenpaket": "plan"}`."""
    ignored: tuple[str, ...] = ()
    """Columns to ignore, whatever their names mean."""

    @classmethod
    def of(cls, columns: Mapping[str, str] | None = None, ignored: Iterable[str] = ()) -> Self:
        """Make a reading.

        Args:
            columns: Column to field; other names of a field are understood.
            ignored: Columns to ignore.

        Raises:
            ConfigurationError: A field is unknown, or a column is both read and ignored.
        """
        fields: dict[str, str] = {}
        ignored = (ignored,) if isinstance(ignored, str) else tuple(ignored)
        for name, field in (columns or {}).items():
            if simple(field) not in _CANONICAL:
                raise ConfigurationError(
                    f"column {name!r} cannot be read as {field!r}: a site has no such field",
                    hint=f"Use one of {', '.join(FIELDS)}.",
                )
            fields[name] = _CANONICAL[simple(field)]
            if simple(name) in map(simple, ignored):
                raise ConfigurationError(f"column {name!r} cannot be both read as {field!r} and ignored")
        return cls(fields, ignored)

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that the caller names."""
        return (*self.columns, *self.ignored)


@attrs.frozen
class Columns:
    """What the columns of a manifest mean."""

    fields: Mapping[int, str]
    """Position of a column to the field of a site, or to `STATUS`."""
    ignored: tuple[str, ...]
    """Names that mean nothing here, or less than another column does."""
    problems: tuple[tuple[str, str], ...] = ()
    """Names that look like a misspelt known one, or that mean the same field, with what is wrong."""
    remarks: tuple[tuple[str, str], ...] = ()
    """Names that lose to another name of the same field, with the reason."""


def simple(name: str) -> str:
    """Return a name in lower case with underscores; `E-Mail`, `domainName` and `PHPVersion` are understood."""
    key = re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_").replace("e_mail", "email")
    return _SPELLINGS.get(key.replace("_", ""), key)


def understand(names: Sequence[str], reading: Reading = Reading()) -> Columns:
    """Return what each name means.

    Where several columns mean one field, the one that the caller names wins, then the field's own name, then the
    other names, and last those that often mean something else.

    Args:
        names: Names as the file spells them; empty ones are skipped.
        reading: How the caller wants them to be read.
    """
    said = {at: field for name, field in reading.columns.items() for at in _positions(name, names)}
    ignored_by_caller = {at for name in reading.ignored for at in _positions(name, names)}
    candidates: dict[str, list[tuple[int, int]]] = {}
    ignored: list[str] = []
    problems: list[tuple[str, str]] = []
    compared = 0
    for position, name in enumerate(names):
        if not name.strip():
            continue
        key = simple(name)
        if position in ignored_by_caller:
            ignored.append(name)
        elif field := said.get(position) or _CANONICAL.get(key):
            rank = 0 if position in said else 1 if key == field else 3 if key in _WEAK else 2
            candidates.setdefault(field, []).append((rank, position))
        else:
            compared += 1
            meant = _misspelt(key) if compared <= _MOST_COMPARED else None
            if meant:
                message = f"unknown column; did you mean {meant!r}? If not, ignore it with --ignore-column"
                problems.append((name, message))
            else:
                ignored.append(name)
    named = ignored_by_caller | said.keys()
    statuses = [at for at, name in enumerate(names) if at not in named and simple(name) in _STATUS_NAMES]
    fields: dict[int, str] = dict.fromkeys(statuses[:1], STATUS)
    remarks: list[tuple[str, str]] = []
    for field, ranked in candidates.items():
        best, first = min(ranked)
        fields[first] = field
        for rank, position in ranked:
            if position == first:
                continue
            if rank == best:
                problems.append((names[position], _ambiguity(names[position], names[first], field)))
            else:
                ignored.append(names[position])
                remarks.append((names[position], f"ignored because {names[first]!r} means {field!r} more clearly"))
    return Columns(fields, tuple(dict.fromkeys(ignored)), tuple(problems), tuple(remarks))


def _ambiguity(name: str, other: str, field: str) -> str:
    """Return what is wrong with two columns that mean the same field."""
    if name == other:  # --ignore-column would ignore both.
        return "appears twice; rename or remove one"
    return f"means {field!r}, and so does {other!r}; ignore one with --ignore-column"


def _positions(name: str, names: Sequence[str]) -> list[int]:
    """Return the positions of a column that the caller names: as spelt, otherwise in any spelling."""
    exact = [position for position, other in enumerate(names) if other == name]
    return exact or [position for position, other in enumerate(names) if simple(other) == simple(name)]


@functools.lru_cache(maxsize=1024)
def _misspelt(key: str) -> str | None:
    """Return the field whose name an unknown name seems to misspell, if any."""
    similar = difflib.get_close_matches(key, _CANONICAL, n=1, cutoff=_SIMILARITY)
    if not similar:
        return None
    stem = simple(_AFFIXES.sub("", key))
    if stem in _CANONICAL:
        return None
    # Plurals such as `Domains` and `Users` are counts.
    singular = _CANONICAL.get(stem.removesuffix("s"))
    if singular is not None and singular not in _LISTS:
        return None
    return _CANONICAL[similar[0]]


@attrs.frozen
class Row:
    """One site as the source has it."""

    line: int
    """Line it begins on, from 1; for Python data, its position."""
    values: Mapping[str, object] = attrs.field(repr=False)
    """Raw values by field of a site, and its `STATUS`. May hold passwords."""
    columns: Mapping[str, str]
    """Field of a site to its name in the source."""

    def column(self, field: str) -> str:
        """Return what the source calls a field."""
        return self.columns.get(field, field)

    def problem(self, field: str, message: str) -> Problem:
        """Return a problem of a field."""
        return Problem(self.line, self.column(field), message)

    def remark(self, field: str, text: str, name: str = "") -> Remark:
        """Return a remark about a field, or about what has a name in it."""
        column = self.column(field)
        return Remark.at(self.line, f"{column} {name}" if name else column, text)

    def without(self, names: AbstractSet[str]) -> "Row":
        """Return the row without columns of these names."""
        columns = {field: name for field, name in self.columns.items() if name not in names}
        values = {field: value for field, value in self.values.items() if field in columns}
        return Row(self.line, values, columns)


@attrs.frozen
class Source:
    """A manifest as read."""

    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]
    """Names of columns that mean nothing here, in the order met."""
    problems: tuple[Problem, ...] = ()
    """Problems found while reading."""
    remarks: tuple[Remark, ...] = ()
    """Not problems, but worth knowing."""
    names: frozenset[str] = frozenset()
    """Every name of a column, as the source spells it."""

    def settled(self, reading: Reading) -> "Source":
        """Return the source with columns dropped or reported whose values show that they mean something else."""
        said = set(map(simple, reading.columns))
        columns: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            for field, name in row.columns.items():
                if simple(name) not in said and row.values.get(field):
                    columns.setdefault((field, name), []).append(row)
        machines = {
            name
            for (field, name), found in columns.items()
            if simple(name) == _MACHINE and not any(is_valid(web_server, row.values[field]) for row in found)
        }
        counts = list(_counts(columns))
        misread = machines | {problem.column for problem in counts}
        rows = tuple(row.without(misread) for row in self.rows) if misread else self.rows
        others = list(_other_things(columns))
        return attrs.evolve(
            self,
            # Without a domain or an owner in any row there is nothing to say about single ones.
            rows=() if others else rows,
            ignored_columns=tuple(dict.fromkeys((*self.ignored_columns, *sorted(machines)))),
            problems=(*self.problems, *counts, *others, *self._unknown(reading)),
            remarks=(*self.remarks, *_ended(self.rows)),
        )

    def _unknown(self, reading: Reading) -> Iterator[Problem]:
        """Yield the columns that the caller names and that are not there."""
        known = set(map(simple, self.names))
        for name in reading.names:
            if simple(name) not in known:
                yield Problem(1, name, "there is no such column")


def _counts(columns: Mapping[tuple[str, str], list[Row]]) -> Iterator[Problem]:
    """Yield columns that hold numbers where names are expected: exports count mailboxes and databases."""
    for (field, name), rows in columns.items():
        values = [row.values[field] for row in rows]
        if field in _LISTS and all(isinstance(value, str) and trim(value).isdecimal() for value in values):
            message = "holds only numbers, like a count; ignore it with --ignore-column, or put numeric names in quotes"
            yield Problem(rows[0].line, name, message)


def _ended(rows: Iterable[Row]) -> Iterator[Remark]:
    """Yield a remark for each row of a service that has ended or is paused."""
    for row in rows:
        status = str(row.values.get(STATUS)).strip()
        if status.lower() in _ENDED:
            text = f"the site is created although its status is {status}; remove the row if that is not wanted"
            yield row.remark(STATUS, text, str(row.values.get("domain")))


def _other_things(columns: Mapping[tuple[str, str], list[Row]]) -> Iterator[Problem]:
    """Yield columns that hold no domain or user name in any row, and whose name may mean something else."""
    for (field, name), rows in columns.items():
        parse = _REQUIRED_FORMS.get(field)
        if parse is None or simple(name) not in _WEAK or len(rows) < _FEWEST_ROWS:
            continue
        if any(is_valid(parse, row.values[field]) for row in rows):
            continue
        try:
            parse(text(rows[0].values[field]))
        except InvalidValueError as error:
            advice = f"no row has a valid one; if another column has it, name it with --column NAME={field}"
            yield Problem(rows[0].line, name, f"{error}; {advice}")
