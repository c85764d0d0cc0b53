"""The generator rejects a specification with place and remedy, or accepts it as valid OpenAPI; it never crashes."""

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from codegen.render import merged_document, read_all, render_endpoints
from codegen.yaml_nodes import SpecError, read

pytestmark = pytest.mark.development
GOLDEN = Path(__file__).parent / "golden" / "spec"
NOTHING = object()
REPLACEMENTS = [NOTHING, None, True, 5, -1, "text", "[", [], ["text"], ["text", "text"], {}, {"key": 1}]


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _paths(value[key], (*path, key))


DOCUMENTS = {
    path.relative_to(GOLDEN).as_posix(): json.loads(json.dumps(read(path))) for path in sorted(GOLDEN.rglob("*.yaml"))
}
PLACES = [(name, path) for name, document in DOCUMENTS.items() for path in _paths(document)]


@given(st.sampled_from(PLACES), st.sampled_from(REPLACEMENTS))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_specification_is_valid_or_rejected(
    tmp_path: Path, place: tuple[str, tuple[str | int, ...]], replacement: object
) -> None:
    name, (*above, last) = place
    document = copy.deepcopy(DOCUMENTS[name])
    parent = document
    for key in above:
        parent = parent[key]
    if replacement is NOTHING:
        del parent[last]
    else:
        parent[last] = replacement
    spec = shutil.copytree(GOLDEN, tmp_path / "spec", dirs_exist_ok=True)
    # JSON is YAML.
    (spec / name).write_text(json.dumps(document, indent=1), encoding="utf-8")
    with suppress(SpecError):
        specification, panel, _, modules = read_all(spec)
        assert render_endpoints(panel).startswith("[\n")
        assert {module.name for module in modules} == {"parcels", "utility"}
        for merged in (specification.document, merged_document(panel, specification.document)):
            assert list(OpenAPIV31SpecValidator(json.loads(json.dumps(merged))).iter_errors()) == []
