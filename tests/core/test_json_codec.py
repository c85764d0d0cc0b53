"""JSON with orjson and with the standard library: same results, same errors."""

import enum
import importlib.util
import json
import math
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panelica_async.core import json_codec

pytest.importorskip("orjson")


def without_orjson():
    """Load the module as it is where orjson is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "orjson", None)
        spec = importlib.util.spec_from_file_location("json_codec_without_orjson", json_codec.__file__)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    assert module.orjson is None
    return module


def in_steps():
    """Load the module as it decodes documents with very many values."""
    module = without_orjson()
    module._LONG = module._MOST_AT_ONCE = -1
    return module


STANDARD = without_orjson()
CODECS = [
    pytest.param(json_codec, id="orjson"),
    pytest.param(STANDARD, id="standard"),
    pytest.param(in_steps(), id="in steps"),
]
both = pytest.mark.parametrize("codec", CODECS)


class Status(enum.StrEnum):
    ACTIVE = "active"


class Code(enum.IntEnum):
    OK = 200


texts = st.text(st.characters(exclude_categories=["Cs"]))
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(texts, inner)),
    max_leaves=20,
)


@both
@given(value=values)
def test_value_survives_a_round_trip(codec, value):
    data = codec.dumps(value)
    assert json.loads(data) == value
    assert codec.loads(data) == value


@given(value=values)
def test_codecs_read_each_other(value):
    assert STANDARD.loads(json_codec.dumps(value)) == value
    assert json_codec.loads(STANDARD.dumps(value)) == value


@given(
    data=st.one_of(
        st.binary(max_size=40),
        st.text('0123456789-+.eE{}[]",:\\ud8cNaInfty tru', max_size=40).map(str.encode),
        values.map(json.dumps).map(str.encode),
    )
)
def test_both_codecs_accept_and_reject_the_same(data):
    assert outcome(json_codec, data) == outcome(STANDARD, data)


def outcome(codec, data):
    try:
        value = codec.loads(data)
    except ValueError:
        return "refused"
    return type(value), json.dumps(value)


@both
def test_text_is_compact_and_unescaped(codec):
    value = {"name": "Ayşe Öztürk", "path": "a/b", "list": [1, True, None, 2.5], "quote": '"\\\n\x01'}
    assert codec.dumps(value) == (
        '{"name":"Ayşe Öztürk","path":"a/b","list":[1,true,null,2.5],"quote":"\\"\\\\\\n\\u0001"}'.encode()
    )


@both
def test_enum_members_and_tuples_are_written(codec):
    assert codec.dumps({"status": Status.ACTIVE, "code": Code.OK, "pair": (1, 2)}) == (
        b'{"status":"active","code":200,"pair":[1,2]}'
    )


@both
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (math.nan, r"^\$ must be a finite number, not nan"),
        ({"quota": [1, math.inf]}, r"^\$\.quota\[1\] must be a finite number, not inf"),
        ({"quota": -math.inf}, r"^\$\.quota must be a finite number, not -inf"),
        ({"note": "a\ud800"}, r"^\$\.note contains a lone surrogate"),
        ({"\udfff": 1}, r"^a key of \$ contains a lone surrogate"),
        ([2**64], r"^\$\[0\] is an integer beyond 64 bits"),
        ([-(2**63) - 1], "beyond 64 bits"),
    ],
)
def test_values_beyond_json_raise(codec, value, problem):
    with pytest.raises(ValueError, match=problem):
        codec.dumps(value)


@both
@pytest.mark.parametrize("value", [datetime.now(UTC), {1: 2}, {None: 1}, {Status.ACTIVE: 1}, [b"x"], {"a": {1}}])
def test_types_beyond_json_raise(codec, value):
    with pytest.raises(TypeError, match=r"^\$"):
        codec.dumps(value)


@both
def test_value_that_contains_itself_raises(codec):
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="contains itself"):
        codec.dumps(value)


@both
def test_nesting_beyond_the_limit_raises(codec):
    value = 1
    for _ in range(json_codec.MAX_DEPTH):
        value = [value]
    assert codec.loads(codec.dumps(value)) == value
    with pytest.raises(ValueError, match="nested"):
        codec.dumps([value])


@both
@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\xef\xbb\xbf{}", {}),
        (b' [1, 2.0, "x"]\n', [1, 2.0, "x"]),
        (b'{"a":1,"a":2}', {"a": 2}),
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", float(2**64)),
        (b"-9223372036854775809", float(-(2**63))),
        (b"1" * 300, float("1" * 300)),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b'"\\\\ud800"', "\\ud800"),
    ],
)
def test_document_is_read_as_its_python_value(codec, data, value):
    result = codec.loads(data)
    assert result == value
    assert type(result) is type(value)


@both
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1}x',
        b"[1,]",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"9" * 400,
        b"01",
        b"'x'",
        b'"\xff"',
        b'"\x01"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'["\\uDFFF"]',
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_invalid_document_raises(codec, data):
    with pytest.raises(ValueError, match=r"^not valid JSON"):
        codec.loads(data)


@both
def test_errors_do_not_quote_the_data(codec):
    with pytest.raises(ValueError, match="JSON") as loading:
        codec.loads(b'{"password": "hunter2", oops}')
    with pytest.raises(ValueError, match="surrogate") as dumping:
        codec.dumps({"password": "hunter2", "note": "\ud800"})
    for caught in (loading, dumping):
        error = caught.value
        assert "hunter2" not in repr(vars(error)) + repr(error.args)
        assert error.__cause__ is None
        assert error.__suppress_context__


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_error_for_another_encoding_names_utf8(encoding: str) -> None:
    with pytest.raises(ValueError, match="the text is not UTF-8"):
        json_codec.loads('{"domain": "bücher.example"}'.encode(encoding))


def test_long_document_is_decoded_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"id": str(number), "ttl": number} for number in range(100_000)]
    data = json_codec.dumps(rows)
    monkeypatch.setattr(json_codec.orjson, "loads", None)
    assert json_codec.loads(data) == rows


def test_object_of_too_many_keys_is_refused() -> None:
    wide = {f"k{number}": number for number in range(200_000)}
    with pytest.raises(ValueError, match="JSON with an object of more than 50,000 keys"):
        json_codec.loads(json_codec.dumps([wide]))
