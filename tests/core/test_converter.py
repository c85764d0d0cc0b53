"""The compiled decoder of a model, compared with the plain one, which decodes field by field."""

import copy
import pickle
from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args, get_origin

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panelica_async import models
from panelica_async.core.converter import build_model, compile_decoder, decode, decode_rows, field_decoders, to_wire
from panelica_async.core.converter import structure_hook as get_hook
from panelica_async.core.model import Model, OpenEnum, fields_of, unwrap_optional
from panelica_async.core.values import MismatchError, collect_mismatches
from panelica_async.models import AppTemplate, Domain, TemplateVariable

MODELS = [kind for name in models.__all__ if issubclass(kind := getattr(models, name), Model)]
ROW = {
    "id": "d1",
    "domain": "example.com",
    "user_id": "u1",
    "status": "active",
    "ssl_enabled": True,
    "disk_usage_mb": 245,
    "created_at": "2026-01-15T10:30:00Z",
}

TIMES = ["0001-01-01T00:00:00Z", "2026-01-15T10:30:00Z", "2026-01-15T10:30:00", "yesterday"]
ODD = st.sampled_from(
    [None, "", "text", "12", "12.5", *TIMES, 12, 12.0, 12.5, -1, 2**60, float(2**60), True, [], [None], {}, {"id": 1}]
)
"""Values that fit some types exactly, some leniently, and others not at all."""


def fitting(kind: Any) -> st.SearchStrategy[Any]:
    """Return values that a panel may send for a type."""
    if inner := unwrap_optional(kind):
        return st.none() | fitting(inner)
    if get_origin(kind) is list:
        return st.lists(fitting(get_args(kind)[0]), max_size=3)
    if get_origin(kind) is dict:
        return st.just({"any": ["thing"]})
    if issubclass(kind, Model):
        return rows(kind)
    if issubclass(kind, OpenEnum):
        return st.sampled_from([*(member.value for member in kind), "brand-new"])
    plain: dict[type, st.SearchStrategy[Any]] = {
        str: st.sampled_from(["", "text"]),
        int: st.integers(-(2**53), 2**53),
        float: st.sampled_from([0, 1.5, 45.2]),
        bool: st.booleans(),
        datetime: st.just("2026-01-15T10:30:00Z"),
    }
    return plain[kind]


def rows(kind: type[Model]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects with fields under any of their names, with fields of the wrong type, and with unknown fields."""
    values: dict[str, st.SearchStrategy[Any]] = {"unknown": ODD}
    for decoder, field in zip(field_decoders(kind, get_hook), fields_of(kind), strict=True):
        for name in decoder.names:
            # Mostly right: with one wrong value in every row, nothing else would be tested.
            fits = fitting(field.type)
            values[name] = st.one_of(fits, fits, fits, ODD)
    return st.sets(st.sampled_from(sorted(values))).flatmap(
        lambda left_out: st.fixed_dictionaries({name: values[name] for name in values.keys() - left_out})
    )


def outcome(decoder: Any, data: object) -> object:
    """Return the model, or what is wrong and where."""
    try:
        model = decoder(data)
    except MismatchError as mismatch:
        return mismatch.problem, mismatch.path
    # Fields one by one: 1, 1.0 and True are equal.
    return type(model), [(name, repr(getattr(model, name))) for name in attrs.fields_dict(type(model))]


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(data=st.data())
def test_compiled_decoder_agrees_with_the_plain_one(kind: type[Model], data: st.DataObject) -> None:
    row = data.draw(rows(kind))
    before = copy.deepcopy(row)
    fields, decode_compiled = field_decoders(kind, get_hook), get_hook(kind)
    expected = outcome(lambda raw: build_model(kind, fields, raw), row)
    assert outcome(lambda raw: decode_compiled(raw, kind), row) == expected
    assert row == before


@pytest.mark.parametrize(
    ("row", "extra"),
    [
        (ROW, {}),
        ({**ROW, "node": "n1"}, {"node": "n1"}),
        ({**ROW, "domain_name": "other.example.com"}, {"domain_name": "other.example.com"}),
        ({**ROW, "domain": None, "name": "example.com"}, {}),
        ({name: value for name, value in ROW.items() if name != "domain"} | {"name": "example.com"}, {}),
        ({**ROW, "id": 17, "disk_usage_mb": "245"}, {}),
        ({**ROW, "disk_usage_mb": 244.7}, {"disk_usage_mb": 244.7}),
        ({**ROW, "created_at": "0001-01-01T00:00:00Z"}, {}),
        ({**ROW, "created_at": "yesterday"}, {"created_at": "yesterday"}),
    ],
)
def test_row_is_decoded_with_its_unknown_values(row: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
    model = decode(row, Domain, endpoint="test")
    assert (model.domain, model.disk_usage_mb, model.extra) == ("example.com", 245, extra)
    assert (model.created_at is None) == (row["created_at"] != ROW["created_at"])


def test_null_beside_alias_does_not_hide_its_value() -> None:
    model = decode({**ROW, "domain": None, "domain_name": "example.com"}, Domain, endpoint="test")
    assert to_wire(model)["domain"] == "example.com"


@pytest.mark.parametrize(
    ("text", "categories", "extra"),
    [
        ('["cms", "blog"]', ["cms", "blog"], {}),
        ("[]", [], {}),
        ('["cms"', None, {"categories": '["cms"'}),
        ("cms", None, {"categories": "cms"}),
        ("[[1]]", None, {"categories": "[[1]]"}),
    ],
)
def test_list_in_json_text_is_read(text: str, categories: list[str] | None, extra: dict[str, str]) -> None:
    model = decode({"slug": "ghost", "categories": text}, AppTemplate, endpoint="test")
    assert (model.categories, model.extra) == (categories, extra)


def test_rows_in_json_text_are_models() -> None:
    model = decode({"slug": "ghost", "env_vars": '[{"key": "url", "required": true}]'}, AppTemplate, endpoint="test")
    assert model.env_vars == [TemplateVariable(key="url", required=True)]


def test_decoded_model_is_a_frozen_object_of_its_class() -> None:
    model = decode(ROW, Domain, endpoint="test")
    assert type(model) is Domain
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        model.id = "other"  # type: ignore[misc]
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        del model.id
    assert not hasattr(model, "__dict__")
    for same in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), attrs.evolve(model)):
        assert same == model
        assert type(same) is Domain
        assert hash(same) == hash(model)


def test_bad_row_does_not_cost_the_list() -> None:
    good, unreadable = decode_rows([ROW, {"id": "d2"}, "row", {**ROW, "id": "d3"}], Domain)
    assert [model.id for model in good] == ["d1", "d3"]
    assert unreadable == [{"id": "d2"}, "row"]


def test_number_near_enough_is_no_mismatch() -> None:
    mismatches = collect_mismatches()
    assert decode({**ROW, "disk_usage_mb": 245.7}, Domain, endpoint="GET /v1/domains").disk_usage_mb == 246
    assert mismatches == []


def test_mismatches_of_many_rows_are_bounded() -> None:
    mismatches = collect_mismatches()
    decode_rows([{**ROW, "disk_usage_mb": []}] * 1500, Domain)
    assert len(mismatches) == 1000


# What the compiled decoder would skip


@attrs.frozen(kw_only=True)
class Checked(Model):
    id: str = attrs.field(validator=attrs.validators.min_len(1))


@attrs.frozen(kw_only=True)
class Converted(Model):
    id: str = attrs.field(converter=str)


@attrs.frozen(kw_only=True)
class Defaulted(Model):
    id: str = "none"


@attrs.frozen(kw_only=True)
class Initialised(Model):
    id: str

    def __attrs_post_init__(self) -> None:
        """Run after `__init__`."""


@pytest.mark.parametrize("kind", [Checked, Converted, Defaulted, Initialised])
def test_model_with_custom_code_is_rejected(kind: type[Model]) -> None:
    with pytest.raises(TypeError, match=f"{kind.__name__}.* which its decoder would not"):
        compile_decoder(kind, get_hook)
