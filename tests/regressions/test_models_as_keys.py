"""Frozen models can be kept in sets and used as keys."""

from panelica_async.models import Domain


def test_equal_models_hash_alike() -> None:
    first, same = (Domain(id="d1", domain="acme.example", extra={"new": [1]}) for _ in range(2))
    assert {first, same} == {first}
    # Unknown fields still tell models apart.
    assert first != Domain(id="d1", domain="acme.example", extra={"new": [2]})
