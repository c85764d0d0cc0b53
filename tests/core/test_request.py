"""Arguments on their way into a request; what the types of arguments become is tested over real sockets."""

import pytest

from panelica_async.core.json_codec import loads
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Guard, Operation, Repeat, Wire, both
from panelica_async.core.request import prepare

UPDATE = Operation(
    name="things.update",
    wires=both(Wire(method="GET", path="/v1/boxes/{box_id}/things/{thing_id}")),
    repeat=Repeat.READ,
)


SAVE = Operation(
    name="things.save",
    wires=both(
        Wire(method="POST", path="/v1/things", body={"only": "only", "comment": "note", "all": "all"}, others="body")
    ),
    repeat=Repeat.UNSAFE,
    guard=Guard("all", "only", "without it, everything is saved"),
    not_empty=frozenset({"only"}),
    lists=frozenset({"only"}),
)


def body(**arguments: object) -> object:
    return loads(prepare(SAVE, SAVE.wire, {"all": False, **arguments}).body or b"null")


def path(**arguments: object) -> str:
    return prepare(UPDATE, UPDATE.wire, arguments).path


def test_arguments_replace_their_placeholders() -> None:
    assert path(thing_id="a b", box_id=1) == "/v1/boxes/1/things/a%20b"


def test_argument_with_braces_is_no_placeholder() -> None:
    assert path(box_id="{thing_id}", thing_id="1") == "/v1/boxes/%7Bthing_id%7D/things/1"


@pytest.mark.parametrize("value", [None, UNSET])
def test_a_path_needs_all_its_arguments(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^things\.update: thing_id must be an id or a name, not {value!r}$"):
        path(box_id="1", thing_id=value)


def test_invalid_argument_is_named() -> None:
    with pytest.raises(ValueError, match=r"^thing_id must not be empty"):
        path(box_id="1", thing_id="")


@pytest.mark.parametrize("confirmed", [False, None, 1, "yes", "false"])
def test_everything_needs_true_and_nothing_like_it(confirmed: object) -> None:
    with pytest.raises(ValueError, match=r"^things\.save: pass only, or all=True: without it, everything is saved$"):
        body(all=confirmed)
    assert body(all=True) == {"all": True}


@pytest.mark.parametrize("only", [["a"], ["a", ""], ["a", " "], ["a", None], [], "", None])
def test_list_that_must_not_be_empty_has_no_empty_item(only: object) -> None:
    if only == ["a"]:
        assert body(only=only) == {"only": ["a"], "all": False}
    else:
        with pytest.raises(ValueError, match=r"^things\.save: only must not"):
            body(only=only)


def test_name_that_is_passed_twice_is_refused() -> None:
    assert body(only=["a"], comment="x", colour="red") == {"only": ["a"], "all": False, "note": "x", "colour": "red"}
    with pytest.raises(ValueError, match=r"^things\.save: note is already passed as comment$"):
        body(only=["a"], comment="x", note="y")
