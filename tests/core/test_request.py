"""Arguments on their way into a request; what the types of arguments become is tested over real sockets."""

import pytest

from panelica_async.core.operation import Operation, Repeat, Wire, both
from panelica_async.core.request import prepare
from panelica_async.core.unset import UNSET

UPDATE = Operation(
    name="things.update",
    wires=both(Wire(method="GET", path="/v1/boxes/{box_id}/things/{thing_id}")),
    repeat=Repeat.READ,
)


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
