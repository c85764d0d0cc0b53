"""Column names: which of the names hosters use means which field of a site."""

import difflib
import re
from collections.abc import Iterable, Mapping

import attrs

from panelica_async.provision.manifest.problems import Problem

FIELDS: Mapping[str, tuple[str, ...]] = {
    "domain": ("domain_name", "fqdn", "host", "hostname", "main_domain", "primary_domain", "site", "website"),
    "username": ("account", "account_name", "login", "owner", "owner_username", "user", "user_name"),
    "email": ("account_email", "contact_email", "customer_email", "email_address", "owner_email"),
    "plan": ("hosting_plan", "package", "plan_id", "plan_name", "product"),
    "password": ("account_password", "owner_password", "pass"),
    "php_version": ("php",),
    "web_server": ("server", "webserver"),
    "ssl": ("certificate", "https", "ssl_certificate", "ssl_type", "tls"),
    "dns": ("dns_record", "dns_records", "records", "zone", "zone_records"),
    "databases": ("database", "database_name", "database_names", "db", "dbs", "mysql"),
    "mailboxes": ("email_accounts", "emails", "mail_accounts", "mailbox", "mails"),
    "ftp_users": ("ftp", "ftp_accounts", "ftp_user"),
}
"""Fields of a site with the other names they go by, in lower case and with underscores."""

REQUIRED = ("domain", "username")

# One or two typing errors in a name; less alike names are columns of the hoster's own.
_ALIKE = 0.85
_CANONICAL = {name: field for field, others in FIELDS.items() for name in (field, *others)}


@attrs.frozen
class Columns:
    """What the columns of a manifest mean."""

    fields: Mapping[str, str]
    """Name as the file spells it, to the field of a site."""
    ignored: tuple[str, ...]
    """Names that mean nothing here and look like nothing known."""
    problems: tuple[Problem, ...]
    """Names that look like a misspelt known one, and names that mean the same field."""


def understand(names: Iterable[str], *, line: int) -> Columns:
    """Say what each name means. Case, blanks, hyphens and underscores do not matter, nor does `E-Mail`.

    Args:
        names: Names as the file spells them; empty ones are passed over.
        line: Line they stand on, for the problems.
    """
    fields: dict[str, str] = {}
    ignored: list[str] = []
    problems: list[Problem] = []
    for name in filter(None, names):
        simple = re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_").replace("e_mail", "email")
        field = _CANONICAL.get(simple)
        if field is None:
            alike = difflib.get_close_matches(simple, _CANONICAL, n=1, cutoff=_ALIKE)
            if alike:
                problems.append(Problem(line, name, f"unknown column; did you mean {_CANONICAL[alike[0]]!r}?"))
            elif name not in ignored:
                ignored.append(name)
        elif field in fields.values():
            first = next(other for other in fields if fields[other] == field)
            problems.append(Problem(line, name, f"means {field!r}, and so does {first!r}"))
        else:
            fields[name] = field
    return Columns(fields, tuple(ignored), tuple(problems))
