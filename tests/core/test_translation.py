"""Arguments and replies in another dialect: what is renamed, and what is refused before anything is sent."""

import json
import pickle
from typing import Any

import attrs
import pytest

from panelica_async import UnsupportedOperationError
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Operation, Refusal, Repeat, Wire
from panelica_async.core.request import prepare
from panelica_async.core.translation import incoming
from panelica_async.models import Backup, Database, DatabaseType, Domain

WIRE = Wire(
    method="POST",
    path="/v1/things",
    body={name: name for name in ("name", "kind", "owner", "home")} | {"servers": "web_servers", "size": "size_mb"},
    values={"servers": {"nginx": "nginx_only", "apache": "apache"}, "kind": {"big": "L", "L": "L"}},
    converted={"home": "below_home"},
    refused={"type": Refusal("it has MySQL only", ("mysql",)), "slow": Refusal("it is always fast")},
    required=frozenset({"owner"}),
    minimum={"size": -1},
)
CREATE = Operation(name="things.create", wires={"panel": WIRE}, repeat=Repeat.UNSAFE)


def body(**arguments: Any) -> Any:
    sent = prepare(CREATE, WIRE, {"owner": "u1", **arguments}).body
    assert sent is not None
    return json.loads(sent)


def test_values_are_renamed_on_the_way_out() -> None:
    assert body(name="big", kind="big") == {"name": "big", "kind": "L", "owner": "u1"}
    assert body(servers=["nginx", "apache"], kind="L")["web_servers"] == ["nginx_only", "apache"]
    assert body(kind=None)["kind"] is None


@pytest.mark.parametrize("value", ["small", DatabaseType.MYSQL, 3])
def test_value_that_the_panel_does_not_take_is_refused(value: object) -> None:
    shown = repr(str(value)) if isinstance(value, str) else repr(value)
    problem = rf"^things\.create: kind must be one of big, L on this panel, not {shown}$"
    with pytest.raises(ValueError, match=problem):
        body(kind=value)


@pytest.mark.parametrize(
    ("home", "sent"),
    [
        ("/home/john/example.com", "/example.com"),
        ("/home/john/", "/"),
        ("/home/john", "/"),
        ("/example.com", "/example.com"),
        ("/home", "/home"),
        ("example.com", "example.com"),
        (None, None),
    ],
)
def test_directory_travels_without_the_home(home: object, sent: object) -> None:
    assert body(home=home)["home"] == sent


@pytest.mark.parametrize("value", ["postgresql", DatabaseType.POSTGRESQL, None, ["mysql"]])
def test_argument_that_the_panel_cannot_honour_is_refused(value: object) -> None:
    with pytest.raises(UnsupportedOperationError) as caught:
        body(type=value)
    error = caught.value
    assert (error.operation, error.argument, error.reason) == ("things.create", "type", "it has MySQL only")
    assert str(error) == (
        "things.create: this panel does not support type: it has MySQL only. Hint: Leave type out, or pass 'mysql'."
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.argument, copy.reason, str(copy)) == (error.argument, error.reason, str(error))


@pytest.mark.parametrize("value", ["mysql", DatabaseType.MYSQL, UNSET])
def test_value_that_says_what_the_panel_does_is_not_sent(value: object) -> None:
    assert body(type=value) == {"owner": "u1"}


@pytest.mark.parametrize("owner", [UNSET, None])
def test_missing_required_argument_is_named(owner: object) -> None:
    with pytest.raises(ValueError, match=r"^things\.create: owner is required by this panel: pass owner=$"):
        body(owner=owner)


def test_number_below_the_minimum_is_refused() -> None:
    assert body(size=-1)["size_mb"] == -1
    assert body(size=None)["size_mb"] is None
    with pytest.raises(ValueError, match=r"^things\.create: size must be at least -1, not -100: pass -1 or more$"):
        body(size=-100)


def test_reply_gets_the_names_and_values_of_the_contract() -> None:
    wire = Wire(
        method="GET",
        path="/v1/backups",
        reply_fields={"id": "filename", "type": "kind"},
        reply_values={"type": {"whole": "full"}},
    )
    row = {"backup_id": "b1", "filename": "a.tar.gz", "kind": "whole", "node": 1}
    assert incoming(row, wire, Backup) == {
        "id": "a.tar.gz",
        "backup_id": "b1",
        "filename": "a.tar.gz",
        "type": "full",
        "node": 1,
    }
    assert incoming([row, None], wire, Backup) == [incoming(row, wire, Backup), None]
    assert incoming({"filename": None, "id": "b1"}, wire, Backup) == {"filename": None, "id": "b1"}
    assert row == {"backup_id": "b1", "filename": "a.tar.gz", "kind": "whole", "node": 1}


def test_reply_values_are_found_under_every_name_of_a_field() -> None:
    wire = Wire(method="GET", path="/v1/domains", reply_values={"domain": {"x": "y"}})
    assert incoming({"domain_name": "x", "name": 3}, wire, Domain) == {"domain_name": "y", "name": 3}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"values": {"a": {"b": "c"}}}, (True, False, False)),
        ({"minimum": {"a": 1}}, (True, False, False)),
        ({"required": frozenset({"a"})}, (True, False, False)),
        ({"refused": {"a": Refusal("no")}}, (True, False, False)),
        ({"reply_fields": {"a": "b"}}, (False, True, False)),
        ({"reply_values": {"a": {"b": "c"}}}, (False, True, False)),
        ({"gone": "accounts.get"}, (False, False, True)),
        ({"derived": {"slug": "slug_of_name"}}, (False, False, True)),
        ({"is_whole": True}, (False, False, False)),
    ],
)
def test_wire_says_what_it_changes(change: dict[str, Any], expected: tuple[bool, ...]) -> None:
    wire = attrs.evolve(Wire(method="GET", path="/v1/things"), **change)
    assert (wire.changes_arguments, wire.changes_reply, wire.takes_steps) == expected


def test_row_of_another_kind_is_left_as_it_is() -> None:
    wire = Wire(method="GET", path="/v1/databases", reply_fields={"name": "title"})
    assert incoming("text", wire, Database) == "text"
