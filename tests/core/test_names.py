"""One rule for names: what a plan accepts, the sandbox accepts."""

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async.core.names import ACCOUNT_NAME, DATABASE_NAME, FTP_NAME, MAILBOX_NAME, NameRule
from panelica_async.provision.manifest import fields
from panelica_async.provision.manifest.fields import InvalidValueError
from panelica_async.sandbox.messages import ApiError
from panelica_async.sandbox.validation import (
    valid_database_name,
    valid_domain_name,
    valid_email,
    valid_ftp_name,
    valid_local_part,
    valid_username,
)

LETTERS = "aB1._-+*@&'ü /"


@pytest.mark.parametrize(
    ("rule", "name", "is_allowed"),
    [
        (ACCOUNT_NAME, "alder", True),
        (ACCOUNT_NAME, "a" * 32, True),
        (ACCOUNT_NAME, "a" * 33, False),
        (ACCOUNT_NAME, "Alder", False),
        (ACCOUNT_NAME, "_alder", False),
        (ACCOUNT_NAME, "4ever", False),
        (ACCOUNT_NAME, "beta.shop", False),
        (ACCOUNT_NAME, "alder\n", False),
        (MAILBOX_NAME, "Info.a+b_c-d", True),
        (MAILBOX_NAME, "a" * 64, True),
        (MAILBOX_NAME, "a" * 65, False),
        (MAILBOX_NAME, "a..b", False),
        (MAILBOX_NAME, "a.", False),
        (MAILBOX_NAME, "-dash", False),
        (MAILBOX_NAME, "_postfix", False),
        (MAILBOX_NAME, "o'brien", False),
        (DATABASE_NAME, "shop_1", True),
        (DATABASE_NAME, "a" * 33, False),
        (DATABASE_NAME, "my-shop", False),
        (FTP_NAME, "Acme_FTP", True),
        (FTP_NAME, "deploy@alder.example", True),
        (FTP_NAME, "a" * 65, False),
        (FTP_NAME, ".hidden", False),
    ],
)
def test_names_that_a_rule_allows(rule: NameRule, name: str, is_allowed: bool) -> None:
    assert rule.allows(name) is is_allowed


@pytest.mark.parametrize(
    ("parse", "check"),
    [
        (fields.user_name, valid_username),
        (fields.mailbox_name, valid_local_part),
        (fields.database_name, lambda name: valid_database_name(name, "name")),
        (fields.ftp_name, valid_ftp_name),
        (fields.domain_name, valid_domain_name),
        (fields.email_address, valid_email),
    ],
)
@given(st.text(LETTERS, min_size=1, max_size=20) | st.text("ab.", min_size=1, max_size=70))
@example("a.bc")
@example("AcmeShop")
def test_sandbox_accepts_the_names_of_a_manifest(
    parse: Callable[[str], str], check: Callable[[str], str], name: str
) -> None:
    try:
        canonical = parse(name)
    except InvalidValueError:
        return
    assert check(canonical) == canonical


@pytest.mark.parametrize(
    ("check", "name"),
    [(valid_username, "Alder"), (valid_local_part, "*"), (valid_ftp_name, "-x")],
)
def test_sandbox_names_the_form_of_a_name(check: Callable[[str], str], name: str) -> None:
    with pytest.raises(ApiError) as caught:
        check(name)
    assert "must be a l" in str(caught.value.details)


def test_capitals_of_a_user_name_are_lowered() -> None:
    assert fields.user_name("AcmeShop") == "acmeshop"
    assert fields.user_name("N3") == "n3"


@pytest.mark.parametrize("name", ["*", ""])
def test_a_catch_all_is_no_mailbox(name: str) -> None:
    with pytest.raises(InvalidValueError, match="is a catch-all, not a mailbox"):
        fields.mailbox_name(name)
