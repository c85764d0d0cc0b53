"""Frozen models can be kept in sets and used as keys."""

import re

import pytest

import panelica_async.models
from panelica_async.core.model import Model, fields_of
from panelica_async.models import Domain

MODELS = [getattr(panelica_async.models, name) for name in panelica_async.models.__all__]


def test_equal_models_hash_alike() -> None:
    first, same = (Domain(id="d1", domain="acme.example", extra={"new": [1]}) for _ in range(2))
    assert {first, same} == {first}
    # Unknown fields still tell models apart.
    assert first != Domain(id="d1", domain="acme.example", extra={"new": [2]})


@pytest.mark.parametrize("kind", [kind for kind in MODELS if issubclass(kind, Model)])
def test_model_with_lists_and_objects_has_a_hash(kind: type[Model]) -> None:
    values = {field.name: [] if re.search(r"list\[|dict\[", str(field.type)) else "x" for field in fields_of(kind)}
    assert len({kind(**values), kind(**values)}) == 1
