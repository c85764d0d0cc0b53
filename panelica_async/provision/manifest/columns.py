"""Maps the columns of a manifest to fields of a site: by name, as the caller says, and by their values."""

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
"""What billing systems say about a service. It is no field of a site, which is created in any case."""
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
"""Statuses of a service that has ended or is paused."""
_SERVER = "server"
"""A name that means the web server in some exports and the machine in others; the values show which."""

_AMBIGUOUS = frozenset(
    {"account", "account_name", "host", "hostname", "login", "owner", "product", "server", "site", "zone"}
)
"""Names with another meaning in many exports, such as the reseller of an account, the company of a customer, or the
machine a site is on. They count only if no other column means the field."""

_REQUIRED_PARSERS: Mapping[str, Callable[[str], str]] = {"domain": domain_name, "username": user_name}
# The value of a single row may just be wrong.
_MIN_ROWS = 2
# One or two typing errors. Names that differ more are columns of the hoster's own.
_MIN_SIMILARITY = 0.85
# With more unknown columns than this, the file is not a list of sites, and comparing them all would take seconds.
_MAX_COMPARED = 100
_FIELD_BY_NAME = {name: field for field, others in FIELDS.items() for name in (field, *others)}
_NAME_BY_LETTERS = {name.replace("_", ""): name for name in _FIELD_BY_NAME}
# They turn the name of a field into that of another column: `Mailbox 1`, `domainId`, `nemails`.
_AFFIXES = re.compile(r"\An(?:[or]|um)?_?(?=.*s\Z)|_?(?:\d+|ids?)\Z")


@attrs.frozen
class Reading:
    """How the caller wants columns to be read whose names do not show their meaning."""

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
            if normalize(field) not in _FIELD_BY_NAME:
                raise ConfigurationError(
                    f"column {name!r} cannot be read as {field!r}: a site has no such field",
                    hint=f"Use one of {', '.join(FIELDS)}.",
                )
            fields[name] = _FIELD_BY_NAME[normalize(field)]
            if normalize(name) in map(normalize, ignored):
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
    """Field of a site, or `STATUS`, by position of its column."""
    ignored: tuple[str, ...]
    """Names that mean no field, or mean it less clearly than another one."""
    problems: tuple[tuple[str, str], ...] = ()
    """Name and message, for names that look misspelt and for two names of one field."""
    remarks: tuple[tuple[str, str], ...] = ()
    """Name and message, for names that are ignored because another one means the field more clearly."""


def normalize(name: str) -> str:
    """Return a name in lower case with underscores; `E-Mail`, `domainName` and `PHPVersion` are understood."""
    key = re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_").replace("e_mail", "email")
    return _NAME_BY_LETTERS.get(key.replace("_", ""), key)


def interpret(names: Sequence[str], reading: Reading = Reading()) -> Columns:
    """Return what each name means.

    If several columns mean one field, the one that the caller names wins, then the field's own name, then its other
    names, and last the ambiguous ones.

    Args:
        names: Names as the file spells them; empty ones are skipped.
        reading: How the caller wants them to be read.
    """
    named_by_caller = {at: field for name, field in reading.columns.items() for at in _positions(name, names)}
    ignored_by_caller = {at for name in reading.ignored for at in _positions(name, names)}
    candidates: dict[str, list[tuple[int, int]]] = {}
    ignored: list[str] = []
    problems: list[tuple[str, str]] = []
    compared = 0
    for position, name in enumerate(names):
        if not name.strip():
            continue
        key = normalize(name)
        if position in ignored_by_caller:
            ignored.append(name)
        elif position in named_by_caller:
            candidates.setdefault(named_by_caller[position], []).append((0, position))
        elif field := _FIELD_BY_NAME.get(key):
            rank = 1 if key == field else 3 if key in _AMBIGUOUS else 2
            candidates.setdefault(field, []).append((rank, position))
        else:
            compared += 1
            suggestion = _similar_field(key) if compared <= _MAX_COMPARED else None
            if suggestion:
                message = f"unknown column; did you mean {suggestion!r}? If not, ignore it with --ignore-column"
                problems.append((name, message))
            else:
                ignored.append(name)
    chosen = _choose(candidates, names)
    named = ignored_by_caller | named_by_caller.keys()
    statuses = [at for at, name in enumerate(names) if at not in named and normalize(name) in _STATUS_NAMES]
    return Columns(
        {**chosen.fields, **dict.fromkeys(statuses[:1], STATUS)},
        tuple(dict.fromkeys([*ignored, *chosen.ignored])),
        (*problems, *chosen.problems),
        chosen.remarks,
    )


def _choose(candidates: Mapping[str, Sequence[tuple[int, int]]], names: Sequence[str]) -> Columns:
    """Choose the column of each field.

    Args:
        candidates: Rank and position of each column that may be meant, by field; the lowest rank wins.
        names: The names of all columns.
    """
    fields: dict[int, str] = {}
    ignored: list[str] = []
    problems: list[tuple[str, str]] = []
    remarks: list[tuple[str, str]] = []
    for field, ranked in candidates.items():
        best_rank, chosen = min(ranked)
        fields[chosen] = field
        for rank, position in ranked:
            name = names[position]
            if position == chosen:
                continue
            if rank == best_rank:
                problems.append((name, _ambiguity_message(name, names[chosen], field)))
            else:
                ignored.append(name)
                remarks.append((name, f"ignored because {names[chosen]!r} means {field!r} more clearly"))
    return Columns(fields, tuple(ignored), tuple(problems), tuple(remarks))


def _ambiguity_message(name: str, other: str, field: str) -> str:
    if name == other:  # --ignore-column would ignore both.
        return "appears twice; rename or remove one"
    return f"means {field!r}, and so does {other!r}; ignore one with --ignore-column"


def _positions(name: str, names: Sequence[str]) -> list[int]:
    """Return the positions of a column that the caller names: as spelt, otherwise in any spelling."""
    exact = [position for position, other in enumerate(names) if other == name]
    return exact or [position for position, other in enumerate(names) if normalize(other) == normalize(name)]


@functools.lru_cache(maxsize=1024)
def _similar_field(key: str) -> str | None:
    """Return the field whose name an unknown name seems to misspell, if any."""
    similar = difflib.get_close_matches(key, _FIELD_BY_NAME, n=1, cutoff=_MIN_SIMILARITY)
    if not similar:
        return None
    stem = normalize(_AFFIXES.sub("", key))
    if stem in _FIELD_BY_NAME:
        return None
    # Plurals such as `Domains` and `Users` are counts.
    singular = _FIELD_BY_NAME.get(stem.removesuffix("s"))
    if singular is not None and singular not in _LISTS:
        return None
    return _FIELD_BY_NAME[similar[0]]


@attrs.frozen
class Row:
    """One site as the source has it."""

    line: int
    """Line it begins on, from 1; for Python data, its position."""
    values: Mapping[str, object] = attrs.field(repr=False)
    """Raw values by field of a site, and by `STATUS`. May hold passwords."""
    columns: Mapping[str, str]
    """Field of a site to its name in the source."""

    def column(self, field: str) -> str:
        """Return what the source calls a field."""
        return self.columns.get(field, field)

    def problem(self, field: str, message: str) -> Problem:
        """Return a problem of a field."""
        return Problem(self.line, self.column(field), message)

    def remark(self, field: str, text: str, entry: str = "") -> Remark:
        """Return a remark about a field, or about one entry in it."""
        column = self.column(field)
        return Remark.at(self.line, f"{column} {entry}" if entry else column, text)

    def without_columns(self, names: AbstractSet[str]) -> "Row":
        """Return the row without the columns of these names."""
        columns = {field: name for field, name in self.columns.items() if name not in names}
        values = {field: value for field, value in self.values.items() if field in columns}
        return Row(self.line, values, columns)


@attrs.frozen
class Source:
    """A manifest as read."""

    rows: tuple[Row, ...]
    ignored_columns: tuple[str, ...]
    """Names of columns that mean no field, in the order of the file."""
    problems: tuple[Problem, ...] = ()
    """Problems found while reading."""
    remarks: tuple[Remark, ...] = ()
    """What is worth knowing but is not a problem."""
    names: frozenset[str] = frozenset()
    """The names of all columns, as the source spells them."""

    def verified(self, reading: Reading) -> "Source":
        """Return the source without columns whose values show that they mean something else, and report those.

        Args:
            reading: The columns that the caller names; they are read as named, and must exist.
        """
        named_by_caller = set(map(normalize, reading.columns))
        rows_with_value: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            for field, name in row.columns.items():
                if normalize(name) not in named_by_caller and row.values.get(field):
                    rows_with_value.setdefault((field, name), []).append(row)
        machines = {
            name
            for (field, name), rows in rows_with_value.items()
            if normalize(name) == _SERVER and not any(is_valid(web_server, row.values[field]) for row in rows)
        }
        counts = list(_columns_of_counts(rows_with_value))
        unrelated = list(_unrelated_columns(rows_with_value))
        misread = machines | {problem.column for problem in counts}
        return attrs.evolve(
            self,
            # Without a domain or an owner in any row, there is nothing to report about single rows.
            rows=() if unrelated else tuple(row.without_columns(misread) for row in self.rows),
            ignored_columns=tuple(dict.fromkeys((*self.ignored_columns, *sorted(machines)))),
            problems=(*self.problems, *counts, *unrelated, *self._missing_columns(reading)),
            remarks=(*self.remarks, *_ended_services(self.rows)),
        )

    def _missing_columns(self, reading: Reading) -> Iterator[Problem]:
        """Yield a problem for each column that the caller names and the source lacks."""
        existing = set(map(normalize, self.names))
        for name in reading.names:
            if normalize(name) not in existing:
                yield Problem(1, name, "there is no such column")


def _columns_of_counts(columns: Mapping[tuple[str, str], list[Row]]) -> Iterator[Problem]:
    """Yield a problem for each column of numbers where names are expected: exports count mailboxes and databases.

    Args:
        columns: The rows that have a value, by field and name of the column.
    """
    for (field, name), rows in columns.items():
        values = [row.values[field] for row in rows]
        if field in _LISTS and all(isinstance(value, str) and trim(value).isdecimal() for value in values):
            message = "holds only numbers, like a count; ignore it with --ignore-column, or put numeric names in quotes"
            yield Problem(rows[0].line, name, message)


def _ended_services(rows: Iterable[Row]) -> Iterator[Remark]:
    """Yield a remark for each row whose service has ended or is paused."""
    for row in rows:
        status = str(row.values.get(STATUS)).strip()
        if status.lower() in _ENDED:
            text = f"the site is created although its status is {status}; remove the row if that is not wanted"
            yield row.remark(STATUS, text, str(row.values.get("domain")))


def _unrelated_columns(columns: Mapping[tuple[str, str], list[Row]]) -> Iterator[Problem]:
    """Yield a problem for each column with an ambiguous name and no valid domain or user name in any row.

    Args:
        columns: The rows that have a value, by field and name of the column.
    """
    for (field, name), rows in columns.items():
        parse = _REQUIRED_PARSERS.get(field)
        if parse is None or normalize(name) not in _AMBIGUOUS or len(rows) < _MIN_ROWS:
            continue
        if any(is_valid(parse, row.values[field]) for row in rows):
            continue
        try:
            parse(text(rows[0].values[field]))
        except InvalidValueError as error:
            advice = f"no row has a valid one; if another column has it, name it with --column NAME={field}"
            yield Problem(rows[0].line, name, f"{error}; {advice}")
