"""Which part of the data of a reply is the object that was asked for."""

from typing import Any

import pytest

from panelica_async.core.converter import object_in
from panelica_async.models.accounts import Account
from panelica_async.models.docker import AppTemplateDetails
from panelica_async.models.domains import Domain
from panelica_async.models.email import EmailAccount
from panelica_async.models.utility import CurrentKey
from panelica_async.models.wordpress import WordpressBackup, WordpressBackupStart

INNER = {"id": "1", "status": "active"}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"account": INNER}, Account),
        ({"account": INNER, "message": "done", "status": "success"}, Account),
        ({"account": INNER, "took_ms": 3}, Account),
        ({"user": INNER}, Account),
        ({"object": INNER}, Account),
        ({"domain": INNER, "ssl": {"id": "2"}}, Domain),
        ({"email_account": INNER, "took_ms": 3}, EmailAccount),
        ({"backup": INNER, "took_ms": 3}, WordpressBackup),
    ],
)
def test_object_is_found_under_the_name_of_its_kind(data: dict[str, Any], kind: Any) -> None:
    assert object_in(data, kind, {}) is INNER


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        # A part of an object that shows no id of its own.
        ({"plan": INNER, "username": "acme"}, Account),
        ({"plan": INNER, "login": "acme"}, Account),
        ({"owner": INNER, "took_ms": 3}, Account),
        # Another object alone, whose id would be taken for that of the domain.
        ({"ssl": INNER}, Domain),
        ({"zone": INNER, "message": "done"}, Domain),
        ({"user": INNER}, Domain),
        # A field of the result.
        ({"template": INNER}, AppTemplateDetails),
        ({"user": INNER}, CurrentKey),
        ({"backup": INNER}, WordpressBackupStart),
        # Its own fields stand beside it.
        ({"account": INNER, "plan": INNER, "username": "acme"}, Account),
        (INNER, Account),
    ],
)
def test_part_of_an_object_is_not_taken_for_it(data: dict[str, Any], kind: Any) -> None:
    assert object_in(data, kind, {}) is data
