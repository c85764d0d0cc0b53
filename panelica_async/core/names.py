"""What a panel accepts as a name: one rule for each kind.

Provisioning and the sandbox, which may not import each other, both check names by these rules.
"""

import re

import attrs


@attrs.frozen
class NameRule:
    """The form of a kind of name."""

    pattern: re.Pattern[str]
    form: str
    """The form in words, for a message."""

    def allows(self, name: str) -> bool:
        """Return whether a name has the form."""
        return self.pattern.fullmatch(name) is not None


# Guess: names that any Linux accepts for a system user, and any mail server without quotes. What the panel itself
# checks is unknown; its own clients generate names of lower-case letters and digits.
ACCOUNT_NAME = NameRule(
    re.compile(r"[a-z][a-z0-9_-]{0,31}"),
    "a lower-case letter, then lower-case letters, digits, '_' or '-', at most 32 in all",
)
MAILBOX_NAME = NameRule(
    re.compile(r"(?=.{1,64}\Z)(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._+-]*[A-Za-z0-9_+-])?"),
    "a letter or digit, then letters, digits, '.', '_', '+' or '-', no dot at the end, at most 64 in all",
)
# The panel's own clients allow these characters and this length.
DATABASE_NAME = NameRule(re.compile(r"[A-Za-z0-9_]{1,32}"), "letters, digits and '_', at most 32")
FTP_NAME = NameRule(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}"),
    "a letter or digit, then letters, digits, '.', '_', '@' or '-', at most 64 in all",
)
