"""Rules for values that the specification leaves open.

Guesses, in the style of what clients are known to check (evidence: passwords, databases-names): the forms of names,
which are in `core.names`, and 8 characters for passwords, which are checked, but not stored.
"""

import re

from panelica_async.core.names import ACCOUNT_NAME, DATABASE_NAME, FTP_NAME, MAILBOX_NAME, NameRule
from panelica_async.sandbox.messages import bad_request

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
