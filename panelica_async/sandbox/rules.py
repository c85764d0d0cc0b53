"""Rules for values that the specification leaves open.

Guesses, in the style of what clients are known to check (evidence: passwords, databases-names): forms of
names, which are in `core.names`, 8 characters for passwords. Passwords are checked, but not stored. Guesses of our
own: nothing can be added to a suspended account or domain; disk space and traffic of a plan are not enforced.
"""

import ipaddress
import re

from panelica_async.core.names import ACCOUNT_NAME, DATABASE_NAME, FTP_NAME, MAILBOX_NAME, NameRule
from panelica_async.sandbox.messages import bad_request, forbidden, not_found
from panelica_async.sandbox.store import Row, Store

_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_DOMAIN = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+{_LABEL}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")

MIN_PASSWORD_LENGTH = 8


def domain_name(text: str) -> str:
    """Return a domain name in lower case, or refuse it."""
    return _matching(_DOMAIN, text.lower(), "domain", "must be a name such as example.com")


def username(text: str) -> str:
    """Return a system user name, or refuse it."""
    return _allowed(ACCOUNT_NAME, text, "username")


def email(text: str) -> str:
    """Return an e-mail address, or refuse it."""
    return _matching(_EMAIL, text, "email", "must be an address such as john@example.com")


def local_part(text: str) -> str:
    """Return the part of an address before the @, or refuse it."""
    return _allowed(MAILBOX_NAME, text, "local_part")


def database_name(text: str, field: str) -> str:
    """Return the name of a database or of its user, or refuse it."""
    return _allowed(DATABASE_NAME, text, field)


def ftp_name(text: str) -> str:
    """Return the name of an FTP user, or refuse it."""
    return _allowed(FTP_NAME, text, "username")


def record_address(record_type: str, content: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the address that a DNS record holds; None for a type that holds none.

    Raises:
        ValueError: The content is no address of the kind that the type needs.
    """
    match record_type:
        case "A":
            return ipaddress.IPv4Address(content)
        case "AAAA":
            return ipaddress.IPv6Address(content)
        case _:
            return None


def check_record(record_type: str, content: str) -> None:
    """Refuse a DNS record that holds an address of the wrong kind."""
    try:
        record_address(record_type, content)
    except ValueError:
        raise bad_request(f"content: {record_type} needs an address of its kind") from None


def one_of(text: str, choices: tuple[str, ...], field: str) -> str:
    """Return a value that is one of the choices, or refuse it."""
    if text not in choices:
        raise bad_request(f"{field}: must be one of {', '.join(choices)}")
    return text


def _allowed(rule: NameRule, text: str, field: str) -> str:
    if not rule.allows(text):
        raise bad_request(f"{field}: must be {rule.form}")
    return text


def _matching(form: re.Pattern[str], text: str, field: str, meaning: str) -> str:
    if not form.fullmatch(text):
        raise bad_request(f"{field}: {meaning}")
    return text


_UNLIMITED = -1

# Limit of the plan, and how much an account uses of it; beyond it 403 (evidence: error-statuses).
_USED = {
    "max_domains": "SELECT count(*) FROM domains WHERE user_id = ?",
    "max_databases": "SELECT count(*) FROM databases AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?",
    "max_email_accounts": (
        "SELECT count(*) FROM email_accounts AS o JOIN domains AS d ON d.id = o.domain_id WHERE d.user_id = ?"
    ),
    "max_ftp_accounts": "SELECT count(*) FROM ftp_accounts WHERE user_id = ?",
}


def owner(store: Store, user_id: str) -> Row:
    """Return an account as the view `owner` shows it.

    Raises:
        ApiError: 404, there is no such account.
    """
    found = store.find("owner", user_id)
    if found is None:
        raise not_found("account", user_id)
    return found


def active_owner(store: Store, user_id: str) -> Row:
    """Return an account that is not suspended.

    Raises:
        ApiError: 404, there is no such account; 403, it is suspended.
    """
    found = owner(store, user_id)
    if found["suspended"]:
        raise forbidden(f"the account {found['username']} is suspended", message="Account suspended")
    return found


def is_full(store: Store, owner: Row, limit: str) -> bool:
    """Return whether the plan of an account allows no further object of a kind.

    Args:
        store: Where the objects are.
        owner: The account, from `active_owner`.
        limit: Limit of the plan, such as `max_domains`.
    """
    allowed = owner[limit]
    return allowed not in {None, _UNLIMITED} and store.value(_USED[limit], owner["id"]) >= allowed
