"""Arguments on their way into a request; path segments and query strings, read back by independent decoders.

What the types of arguments become is tested over real sockets.
"""

import enum
import math
import pickle
from datetime import UTC, datetime, timedelta, timezone
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from panelica_async import UnsupportedOperationError
from panelica_async.core.json_codec import loads
from panelica_async.core.model import UNSET
from panelica_async.core.operation import Guard, Operation, Refusal, Repeat, Wire, both
from panelica_async.core.request import path_segment, prepare, query_string
from panelica_async.core.values import rfc3339
from panelica_async.models import DatabaseType

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
def test_path_needs_all_its_arguments(value: object) -> None:
    with pytest.raises(ValueError, match=rf"^things\.update: thing_id must be an id or a name, not {value!r}$"):
        path(box_id="1", thing_id=value)


def test_invalid_argument_is_named() -> None:
    with pytest.raises(ValueError, match=r"^thing_id must not be empty"):
        path(box_id="1", thing_id="")


@pytest.mark.parametrize("confirmed", [False, None, 1, "yes", "false"])
def test_everything_must_be_true_itself(confirmed: object) -> None:
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


def test_name_passed_twice_is_refused() -> None:
    assert body(only=["a"], comment="x", colour="red") == {"only": ["a"], "all": False, "note": "x", "colour": "red"}
    with pytest.raises(ValueError, match=r"^things\.save: note is already passed as comment$"):
        body(only=["a"], comment="x", note="y")


# What a wire form translates

PANEL = Wire(
    method="POST",
    path="/v1/things",
    body={name: name for name in ("name", "kind", "owner", "home")} | {"servers": "web_servers", "size": "size_mb"},
    values={"servers": {"nginx": "nginx_only", "apache": "apache"}, "kind": {"big": "L", "L": "L"}},
    converted={"home": "below_home"},
    refused={"type": Refusal("it has MySQL only", ("mysql",)), "slow": Refusal("it is always fast")},
    required=frozenset({"owner"}),
    minimum={"size": -1},
)
CREATE = Operation(name="things.create", wires={"panel": PANEL}, repeat=Repeat.UNSAFE)


def on_panel(**arguments: Any) -> Any:
    sent = prepare(CREATE, PANEL, {"owner": "u1", **arguments}).body
    assert sent is not None
    return loads(sent)


def test_values_are_renamed_on_the_way_out() -> None:
    assert on_panel(name="big", kind="big") == {"name": "big", "kind": "L", "owner": "u1"}
    assert on_panel(servers=["nginx", "apache"], kind="L")["web_servers"] == ["nginx_only", "apache"]
    assert on_panel(kind=None)["kind"] is None


@pytest.mark.parametrize("value", ["small", DatabaseType.MYSQL, 3])
def test_value_that_the_panel_does_not_take_is_refused(value: object) -> None:
    shown = repr(str(value)) if isinstance(value, str) else repr(value)
    problem = rf"^things\.create: kind must be one of big, L on this panel, not {shown}$"
    with pytest.raises(ValueError, match=problem):
        on_panel(kind=value)


@pytest.mark.parametrize(
    ("home", "sent"),
    [
        ("/home/john/example.com", "/example.com"),
        ("/home/john/", "/"),
        (PurePosixPath("/home/john/example.com"), "/example.com"),
        ("/home/john", "/"),
        ("/example.com", "/example.com"),
        ("/home", "/home"),
        ("example.com", "example.com"),
        (None, None),
    ],
)
def test_directory_travels_without_the_home(home: object, sent: object) -> None:
    assert on_panel(home=home)["home"] == sent


@pytest.mark.parametrize("value", ["postgresql", DatabaseType.POSTGRESQL, None, ["mysql"]])
def test_argument_that_the_panel_cannot_honour_is_refused(value: object) -> None:
    with pytest.raises(UnsupportedOperationError) as caught:
        on_panel(type=value)
    error = caught.value
    assert (error.operation, error.argument, error.reason) == ("things.create", "type", "it has MySQL only")
    assert str(error) == (
        "things.create: this panel does not support type: it has MySQL only. Hint: Leave type out, or pass 'mysql'."
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.argument, copy.reason, str(copy)) == (error.argument, error.reason, str(error))


@pytest.mark.parametrize("value", ["mysql", DatabaseType.MYSQL, UNSET])
def test_value_that_is_the_panels_default_is_not_sent(value: object) -> None:
    assert on_panel(type=value) == {"owner": "u1"}


@pytest.mark.parametrize("owner", [UNSET, None])
def test_missing_required_argument_is_named(owner: object) -> None:
    with pytest.raises(ValueError, match=r"^things\.create: owner is required by this panel: pass owner=$"):
        on_panel(owner=owner)


def test_number_below_the_minimum_is_refused() -> None:
    assert on_panel(size=-1)["size_mb"] == -1
    assert on_panel(size=None)["size_mb"] is None
    with pytest.raises(ValueError, match=r"^things\.create: size must be at least -1, not -100: pass -1 or more$"):
        on_panel(size=-100)


# Path segments and query strings

ID = UUID("2a1b3c4d-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
UNRESERVED = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Status(enum.StrEnum):
    ACTIVE = "active"


def decode_percent(text):
    """Decode as RFC 3986 says, without urllib."""
    data, position = bytearray(), 0
    while position < len(text):
        if text[position] == "%":
            data.append(int(text[position + 1 : position + 3], 16))
            position += 3
        else:
            assert text[position] in UNRESERVED
            data += text[position].encode("ascii")
            position += 1
    return data.decode()


def is_refused(text):
    return (
        not text.strip()
        or text in {".", ".."}
        or any(char in "/\\" or ord(char) < 32 or 127 <= ord(char) < 160 for char in text)
        or any(0xD800 <= ord(char) < 0xE000 for char in text)
    )


@given(st.text(st.characters(), min_size=1))
def test_segment_decodes_to_the_argument(text):
    if is_refused(text):
        with pytest.raises(ValueError, match=r"^id "):
            path_segment(text, "id")
    else:
        assert decode_percent(path_segment(text, "id")) == text


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("example.com", "example.com"),
        ("acme nightly.tar.gz", "acme%20nightly.tar.gz"),
        ("a+b", "a%2Bb"),
        ("yedek-şubat", "yedek-%C5%9Fubat"),
        ("%2e%2e", "%252e%252e"),
        ("...", "..."),
        ("a?b#c;d=e&f", "a%3Fb%23c%3Bd%3De%26f"),
        (7, "7"),
        (ID, str(ID)),
        (Status.ACTIVE, "active"),
    ],
)
def test_segment_is_encoded(value, segment):
    assert path_segment(value, "id") == segment


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "empty"),
        (" \t", "empty"),
        (".", "another path"),
        ("..", "another path"),
        ("a/b", "slash"),
        ("../etc", "slash"),
        ("a\\b", "slash"),
        ("a\nb", "control character"),
        ("a\x00", "control character"),
        ("a\x7f", "control character"),
        ("a\x85", "control character"),
        ("a\ud800", "surrogate"),
    ],
)
def test_invalid_segment_is_refused(value, problem):
    with pytest.raises(ValueError, match=rf"^zone_id .*{problem}.*: "):
        path_segment(value, "zone_id")


@pytest.mark.parametrize("value", [None, True, 1.5, b"id", ["id"]])
def test_segment_of_another_type_is_refused(value):
    with pytest.raises(TypeError, match=r"^id must be"):
        path_segment(value, "id")


scalars = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.uuids(),
)


@given(st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), scalars)))
def test_query_decodes_to_the_arguments(pairs):
    query = query_string(pairs)
    assert set(query) <= UNRESERVED | set("%&=")
    decoded = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    assert [name for name, _ in decoded] == [name for name, _ in pairs]
    for (_, text), (_, value) in zip(decoded, pairs, strict=True):
        match value:
            case bool():
                assert text == ("true" if value else "false")
            case int() | float():
                assert type(value)(text) == value
            case _:
                assert text == str(value)


@given(st.datetimes(timezones=st.timezones()))
@example(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))))
@example(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-12))))
def test_time_in_a_query_reads_back_as_the_same_moment(moment):
    try:
        moment.astimezone(UTC)
    except OverflowError:
        with pytest.raises(ValueError, match="years 1 to 9999 of UTC"):
            rfc3339(moment)
        return
    text = rfc3339(moment)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == moment.astimezone(UTC)


def test_query_string_keeps_the_order_of_arguments():
    assert query_string([]) == ""
    assert query_string([("page", 1), ("limit", 25), ("sort", "created_at")]) == "page=1&limit=25&sort=created_at"
    assert query_string([("b", 1), ("a", 2)]) == "b=1&a=2"
    assert query_string([("path", "/home/john/my site")]) == "path=%2Fhome%2Fjohn%2Fmy%20site"
    assert query_string([("id", [ID, "x"]), ("force", True)]) == f"id={ID}&id=x&force=true"
    assert query_string([("status", Status.ACTIVE), ("q", "")]) == "status=active&q="
    assert query_string([("ids", ("a", "b"))]) == "ids=a&ids=b"
    assert query_string({"a": 1.5}.items()) == "a=1.5"
    assert query_string([("q", "şubat+&=#")]) == "q=%C5%9Fubat%2B%26%3D%23"


def test_time_in_a_query_is_in_utc():
    moment = datetime(2026, 3, 7, 14, 30, tzinfo=timezone(timedelta(hours=2)))
    assert query_string([("since", moment)]) == "since=2026-03-07T12%3A30%3A00Z"
    assert rfc3339(moment.replace(microsecond=5)) == "2026-03-07T12:30:00.000005Z"


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "leave it out"),
        ([], "leave it out"),
        (["a", math.nan], "finite"),
        (math.inf, "finite"),
        (datetime(2026, 3, 7), "time zone"),  # noqa: DTZ001 - that is the point
        ("\ud800", "surrogate"),
    ],
)
def test_invalid_query_value_is_refused(value, problem):
    with pytest.raises(ValueError, match=rf"^period.*{problem}"):
        query_string([("period", value)])


def test_invalid_query_name_is_refused():
    with pytest.raises(ValueError, match="surrogate"):
        query_string([("\udfff", "x")])


@pytest.mark.parametrize("value", [{"a": 1}, b"x", object(), [None], [["nested"]]])
def test_query_value_of_another_type_is_refused(value):
    with pytest.raises(TypeError, match=r"^filter must be a value"):
        query_string([("filter", value)])
