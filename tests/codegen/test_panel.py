"""The files of current panels: wrong ones are reported with a remedy, those of the project cover the catalogue."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from codegen.panel import PanelOperation, load_panel
from codegen.render import endpoint_of, generate, merged_document, render_document, render_endpoints
from codegen.spec import load
from codegen.yaml_nodes import SpecError
from tests.codegen.mistakes import GOLDEN, Edit, assert_reported
from tests.codegen.shipped import DOCUMENT, PACKAGE, PANEL

pytestmark = pytest.mark.development
REPOSITORY = Path(__file__).parents[2]
FILE = "panel/parcels.yaml"
CATALOGUE = [
    json.loads(line)
    for line in (REPOSITORY / "tests" / "data" / "panel-catalogue.jsonl").read_text(encoding="utf-8").splitlines()
]
# The catalogue does not list itself (evidence: api-spec-gaps).
UNLISTED = {"GET /v1/api-spec", "GET /v1/postman-collection"}


LIST = "operationId: parcels.list\n"
OPERATION = "See spec/README.md for the fields of an operation of spec/panel."
STRENGTH = "Say how well it is known: `declared`, or as in `known (evidence: envelope)`."
EVIDENCE = (
    "Write `declared` for what only the catalogue says, otherwise name entries of spec/evidence.md, "
    "as in `known (evidence: envelope)`."
)
RESPONSES = "Give it one success response; write 2XX where the status is not known."
# In two parts, so that this file does not cite a missing entry.
UNKNOWN = "evid" + "ence: tides"

EDITS = {
    # the file
    "another version of OpenAPI": Edit(
        "openapi: 3.1.0", "openapi: 3.0.3", "openapi", '`openapi` is "3.0.3". Write `openapi: 3.1.0`.'
    ),
    "no title": Edit("  title: Parcels\n", "", "info:", "`info` has no `title`. Give the category its title."),
    "a path without its slash": Edit(
        "  /v1/parcels:",
        "  v1/parcels:",
        "  v1/parcels:",
        "`v1/parcels` does not belong here. A path begins with a slash, such as `/v1/domains`.",
    ),
    "a type twice": Edit(
        'type: [string, "null"]',
        "type: [string, string]",
        "type: [string, string]",
        '`type` names something twice. List one type and "null", as in `[string, "null"]`.',
    ),
    # names
    "an operation below a generated module": Edit(
        "operationId: parcels.details.get",
        "operationId: registry.get",
        "operationId: registry.get",
        "`registry` is the name of another generated module. Choose another name.",
        "panel/tracking.yaml",
    ),
    "a schema with the name of something imported": Edit(
        "    Details:\n",
        "    Mapping: {type: object, description: Another.}\n    Details:\n",
        "    Mapping:",
        "generated code uses the name `Mapping`. Choose another name.",
        "panel/tracking.yaml",
    ),
    "no operationId": Edit(
        LIST,
        "x-async: true\n",
        "    get:",
        "`get` has no `operationId`. Give it its Python name, such as `dns.records.list`.",
    ),
    "an operationId that is no Python name": Edit(
        LIST,
        "operationId: parcels.List\n",
        "parcels.List",
        '`operationId` is "parcels.List". Give it its Python name, such as `dns.records.list`.',
    ),
    "an operationId that is a keyword": Edit(
        LIST,
        "operationId: parcels.import\n",
        "parcels.import",
        "`import` is a Python keyword. Choose another operationId.",
    ),
    "an operationId that the client has": Edit(
        LIST,
        "operationId: request\n",
        "request",
        "the client already has a member `request`. Choose another operationId.",
    ),
    "an operationId twice": Edit(
        "operationId: parcels.photos.upload",
        "operationId: parcels.list",
        "operationId: parcels.list\n      summary: Upload",
        "`parcels.list` is already defined at spec/panel/parcels.yaml:9. Keep one of them.",
    ),
    "a method that is a namespace too": Edit(
        "operationId: parcels.follow",
        "operationId: parcels.photos",
        "operationId: parcels.photos\n",
        "`parcels.photos` cannot be both a method and the namespace of `parcels.photos.upload`. Rename one of them.",
    ),
    "an endpoint twice": Edit(
        "  /v1/parcels/ws:\n    get:\n",
        "  /v1/parcels/{number}/photo:\n"
        "    parameters:\n"
        "      - {name: number, in: path, required: true, schema: {type: string}, x-strength: declared}\n"
        "    post:\n",
        "operationId: parcels.follow",
        "`POST /v1/parcels/{}/photo` is already defined at spec/panel/parcels.yaml:52. Keep one of them.",
    ),
    # an operation
    "a summary that is a sentence": Edit(
        "summary: List parcels",
        "summary: List parcels.",
        "summary: List parcels.",
        '`summary` is "List parcels.". Say what it does, as a verb phrase with a capital and without a full stop, '
        "such as `Suspend an account`.",
    ),
    "an unknown field": Edit(
        "      x-async: true",
        "      x-paginated: true",
        "x-paginated",
        f"`parcels.create` has the unknown field `x-paginated`. {OPERATION}",
    ),
    "one scope instead of a list": Edit(
        'x-scope: ["parcels:read"]',
        "x-scope: parcels:read",
        "x-scope: parcels:read",
        '`x-scope` is "parcels:read". List the scopes, one of which the key needs, such as `["domains:read"]`; '
        "`[]` if any key will do.",
    ),
    "an unknown scope": Edit(
        'x-scope: ["parcels:read"]',
        'x-scope: ["parcels:raed"]',
        "parcels:raed",
        "unknown scope `parcels:raed`. Did you mean `parcels:read`? If not, add it to `scopes` in catalog.yaml.",
    ),
    "an unknown role": Edit(
        "x-roles: [ROOT, ADMIN]",
        "x-roles: [KING]",
        "x-roles: [KING]",
        '`x-roles` is "KING". Use only ROOT, ADMIN, RESELLER and USER.',
    ),
    "two responses": Edit(
        '        "101": {description',
        '        "200": {description: Done.}\n        "101": {description',
        'responses:\n        "200"',
        f"`responses` holds more than 1. {RESPONSES}",
    ),
    "an error as the response": Edit(
        '"101": {description',
        '"404": {description',
        '"404": {description',
        f"`404` does not belong here. {RESPONSES}",
    ),
    "a placeholder without a parameter": Edit(
        "  /v1/parcels/ws:",
        "  /v1/parcels/{feed}:",
        "operationId: parcels.follow",
        "`parcels.follow` has no parameter for the placeholder `{feed}` of its path. Add it under `parameters`.",
    ),
    "a reference to nothing": Edit(
        "#/components/schemas/Parcel",
        "#/components/schemas/Letter",
        "#/components/schemas/Letter",
        "`#/components/schemas/Letter` does not exist. Define it, or correct the name after #/components/.",
    ),
    # strength
    "a field without its strength": Edit(
        "express: {type: boolean, x-strength: declared}",
        "express: {type: boolean}",
        "express:",
        f"`express` has no `x-strength`. {STRENGTH}",
    ),
    "a parameter without its strength": Edit(
        "schema: {type: integer}, x-strength: declared}",
        "schema: {type: integer}}",
        "name: weight",
        f"`weight` has no `x-strength`. {STRENGTH}",
    ),
    "known without evidence": Edit(
        'x-scope-strength: "known (evidence: envelope)"',
        "x-scope-strength: known",
        "x-scope-strength: known",
        f'`x-scope-strength` is "known". {EVIDENCE}',
    ),
    "evidence that does not exist": Edit(
        'x-aliases: [reference], x-strength: "known (evidence: envelope)"',
        f'x-aliases: [reference], x-strength: "known ({UNKNOWN})"',
        "x-aliases: [reference]",
        "`tides` is not an entry of evidence.md. Add the entry, or cite another one.",
    ),
    "one of two entries that does not exist": Edit(
        'x-scope-strength: "known (evidence: envelope)"',
        f'x-scope-strength: "known ({UNKNOWN}, envelope)"',
        "x-scope-strength",
        "`tides` is not an entry of evidence.md. Add the entry, or cite another one.",
    ),
    "a required field that is not there": Edit(
        "required: [ref]",
        "required: [reference]",
        "required: [reference]",
        "`required` names `reference`, which is not under `properties`. Define it there.",
    ),
    # what the client does
    "an operation that the client calls absent": Edit(
        "operationId: parcels.photos.upload",
        "operationId: reindex",
        "operationId: reindex",
        "`reindex` is absent from panels, according to spec/dialects/panel.yaml:OTHER. "
        "Choose another operationId, or remove that `absent`.",
        other="    absent: panels keep their index up to date",
    ),
    "the name of an operation that leads elsewhere": Edit(
        "operationId: parcels.photos.upload",
        "operationId: parcels.update",
        "operationId: parcels.update",
        "`parcels.update` of the client is not this operation, according to spec/dialects/panel.yaml:OTHER. "
        "Choose another operationId.",
        other="    operation: parcels.details.update",
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_mistake_is_reported_with_place_and_remedy(edit: Edit, tmp_path: Path) -> None:
    assert_reported(edit, FILE, tmp_path, other_file="dialects/panel.yaml")


MODULE = "is not the name of a module. Name it like `api_keys`."
OTHER = "is the name of another generated module. Choose another name."


@pytest.mark.parametrize("folder", ["spec", "spec/panel"])
@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("my-parcels.yaml", f"`my-parcels` {MODULE}"),
        ("Parcels.yaml", f"`Parcels` {MODULE}"),
        ("__init__.yaml", f"`__init__` {MODULE}"),
        ("päckchen.yaml", f"`päckchen` {MODULE}"),
        ("class.yaml", f"`class` {MODULE}"),
        ("shared.yaml", f"`shared` {OTHER}"),
        ("registry.yaml", f"`registry` {OTHER}"),
        ("parcels_panel.yaml", f"`parcels_panel` {OTHER}"),
        ("parcels.yml", "the name of the file does not end in .yaml. Rename it."),
    ],
)
def test_file_names_are_module_names(tmp_path: Path, folder: str, file: str, problem: str) -> None:
    spec = shutil.copytree(GOLDEN, tmp_path / "spec")
    (tmp_path / folder / "parcels.yaml").rename(tmp_path / folder / file)
    with pytest.raises(SpecError) as caught:
        generate(spec)
    assert str(caught.value) == f"{folder}/{file}:1: {problem}"


def test_unreadable_file_is_reported(tmp_path: Path) -> None:
    spec = shutil.copytree(GOLDEN, tmp_path / "spec")
    (spec / "letters.yaml").mkdir()
    with pytest.raises(SpecError, match=r"^spec/letters.yaml:1: the file cannot be read: Is a directory\. Replace it"):
        generate(spec)


def test_specification_without_panels_ships_no_endpoint(tmp_path: Path) -> None:
    spec = shutil.copytree(GOLDEN, tmp_path / "spec")
    shutil.rmtree(spec / "panel")
    operations = load_panel(spec, load(spec))
    assert json.loads(render_endpoints(operations)) == []


# The files of the project


def endpoint(method: str, path: str) -> str:
    return f"{method} {re.sub(r'{[^}]*}', '{}', path)}"


def listed(operation: PanelOperation) -> str:
    """Return the endpoint as the catalogue lists it."""
    return endpoint(operation.method, operation.node.get("x-catalogued-as", operation.path))


def test_catalogue_has_two_websockets() -> None:
    assert len(CATALOGUE) >= 406
    assert [entry["path"] for entry in CATALOGUE if entry.get("websocket")] == ["/v1/metrics/ws", "/v1/terminal/ws"]


def test_every_catalogue_entry_has_its_operation(panel_operations: tuple[PanelOperation, ...]) -> None:
    found = {listed(operation) for operation in panel_operations}
    entries = {endpoint(entry["method"], entry["path"]) for entry in CATALOGUE}
    assert entries - found == set()
    assert found - entries == UNLISTED


def test_scopes_are_those_of_the_catalogue(panel_operations: tuple[PanelOperation, ...]) -> None:
    scopes = {endpoint(entry["method"], entry["path"]): entry["scopes"] for entry in CATALOGUE}
    different = {
        operation.name
        for operation in panel_operations
        if operation.node["x-scope"] != scopes.get(listed(operation), []) and "x-scope-strength" not in operation.node
    }
    assert different == set()


def test_fields_of_the_catalogue_are_described(panel_operations: tuple[PanelOperation, ...]) -> None:
    by_endpoint = {listed(operation): endpoint_of(operation) for operation in panel_operations}
    for entry in CATALOGUE:
        described: dict[str, Any] = by_endpoint[endpoint(entry["method"], entry["path"])]
        for place, name in (("query", "query"), ("body", "json")):
            if place in entry:
                assert described[name] == entry[place], entry


def test_websockets_are_marked(panel_operations: tuple[PanelOperation, ...]) -> None:
    assert [operation.path for operation in panel_operations if operation.node.get("x-websocket")] == [
        "/v1/metrics/ws",
        "/v1/terminal/ws",
    ]


def test_summaries_are_not_the_catalogues_guesses(panel_operations: tuple[PanelOperation, ...]) -> None:
    """It writes "Create suspend" for a POST to `suspend`."""
    for operation in panel_operations:
        last = operation.path.rpartition("/")[2].replace("-", " ")
        assert operation.node["summary"] != f"Create {last}"


def test_package_ships_every_operation(panel_operations: tuple[PanelOperation, ...]) -> None:
    shipped = json.loads((PACKAGE / "panel_endpoints.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in shipped] == [operation.name for operation in panel_operations]


def test_package_ships_one_valid_document() -> None:
    shipped = json.loads((PACKAGE / "panel_openapi.json").read_text(encoding="utf-8"))
    assert list(OpenAPIV31SpecValidator(shipped).iter_errors()) == []


def test_both_documents_name_the_same_servers_and_signature() -> None:
    """Without them, clients that others generate from a document send nothing anywhere, and no key."""
    for part in ("servers", "security"):
        assert PANEL[part] == DOCUMENT[part]
    assert PANEL["components"]["securitySchemes"] == DOCUMENT["components"]["securitySchemes"]
    assert PANEL["info"]["license"] == DOCUMENT["info"]["license"]


def test_merged_document_has_every_operation_and_schema(panel_operations: tuple[PanelOperation, ...]) -> None:
    document = merged_document(panel_operations, DOCUMENT)
    merged = {node["operationId"] for item in document["paths"].values() for node in item.values()}
    assert merged == {operation.name for operation in panel_operations}
    schemas = {
        f"{operation.module}.{name}"
        for operation in panel_operations
        for name in operation.document.get("components", {}).get("schemas", {})
    }
    assert document["components"]["schemas"].keys() == {"Envelope", *schemas}


def test_merged_document_holds_no_evidence(panel_operations: tuple[PanelOperation, ...]) -> None:
    assert "x-strength" not in render_document(merged_document(panel_operations, DOCUMENT))
