"""The bridge to current panels: mistakes are reported with place and remedy, and that of the project loses nothing."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from codegen.methods import Argument
from codegen.panel import Bridge, PanelOperation, load_bridge
from codegen.panel_wires import CONVERSIONS, SOURCES
from codegen.render import generate
from codegen.spec import Specification
from codegen.yaml_nodes import SpecError
from panelica_async.api import steps
from panelica_async.core import request
from panelica_async.core.operation import Operation, Wire
from tests.codegen.conftest import SPEC
from tests.codegen.mistakes import GOLDEN, Edit, assert_reported
from tests.codegen.shipped import OPERATIONS

pytestmark = pytest.mark.development
BRIDGE = "dialects/panel.yaml"


CREATE = "PUT /v1/accounts/{payer}/parcels"
ARGUMENTS = (
    "account, reference, class_, destination, note, weight_g, priority, send_at, stamps, labels"  # of parcels.create
)
FIELDS = "payer, remark, ref, express, class, destinations, weight_g, priority, send_at, labels"
# In two parts, so that this file does not cite a missing entry.
UNKNOWN = "evid" + "ence: tides"

EDITS = {
    # the file
    "an unknown field": Edit(
        "    gone: parcels.route",
        "    goes: parcels.route",
        "goes:",
        "`parcels.delete` has the unknown field `goes`. "
        "See spec/README.md for the fields of an operation in the bridge.",
    ),
    "no source": Edit(
        '  parcels.delete:\n    source: "evidence: envelope"\n',
        "  parcels.delete:\n",
        "  parcels.delete:",
        "`parcels.delete` has no `source`. Cite an entry of spec/evidence.md, as in `evidence: dns-records`.",
    ),
    "a source that does not exist": Edit(
        'source: "evidence: envelope; Guess',
        f'source: "{UNKNOWN}; Guess',
        "    source",
        "`tides` is not an entry of evidence.md. Add the entry, or cite another one.",
    ),
    "a refusal without a reason": Edit(
        "before: {reason: panels cannot search by time}",
        "before: {unless: [now]}",
        "before:",
        "`before` has no `reason`. Say why, without a capital and a full stop, as after a colon.",
    ),
    # names
    "an operation that the reference lacks": Edit(
        "  parcels.delete:",
        "  parcels.drop:",
        "  parcels.drop:",
        "the published reference has no operation `parcels.drop`. Correct the name.",
    ),
    "an operation that panels lack": Edit(
        "    operation: parcels.details.update",
        "    operation: parcels.details.change",
        "    operation:",
        "spec/panel has no operation `parcels.details.change`. Correct the name.",
    ),
    "an operation that nothing leads to": Edit(
        "    operation: parcels.details.update\n",
        "",
        "  parcels.update:",
        "spec/panel has no operation `parcels.update`. Name another with `operation`, or say why with `absent`.",
    ),
    "another operation that panels lack": Edit(
        "gone: parcels.route",
        "gone: reindex",
        "gone: reindex",
        "panels do not serve `reindex`. Name another operation.",
    ),
    "a replacement that panels lack": Edit(
        "instead: parcels.list",
        "instead: reindex",
        "instead: reindex",
        "spec/panel has no operation `reindex`. Correct the name.",
    ),
    "a replacement for an operation that panels have": Edit(
        "absent: panels keep their index up to date",
        "operation: parcels.list",
        "instead: parcels.list",
        "`reindex` is not absent from panels. Say why it is with `absent`, or remove `instead`.",
    ),
    "a field of which rows show one value, and that they lack": Edit(
        "fence: {scan_id: parcels.scans.list}",
        "fence: {scan_id: parcels.scans.list}\n    single: truck",
        "single: truck",
        "rows of GET /v1/parcels/{id}/movements have no `truck`. Correct the name, or spec/panel.",
    ),
    "a confirmation that changes something": Edit(
        "gone: parcels.route",
        "gone: parcels.collect",
        "gone: parcels.collect",
        "`parcels.collect` does not read. Name an operation that gets or lists objects.",
    ),
    "a name that rows lack": Edit(
        "    rename: {id: number}\n    values",
        "    rename: {id: label}\n    values",
        "rename: {id: label}",
        "rows of GET /v1/parcels have no `label`. Correct the name, or spec/panel.",
    ),
    "a value that rows never have": Edit(
        "in transit: moving",
        "in transit: flying",
        "status: {waiting",
        "`status` of the rows of GET /v1/parcels is never `flying`. Use one of: new, moving, lost.",
    ),
    "an argument that the operation lacks": Edit(
        "require: [account]",
        "require: [payer]",
        "require: [payer]",
        f"`parcels.create` has no argument `payer`. Use one of: {ARGUMENTS}.",
    ),
    "a wire name that panels lack": Edit(
        "note: remark}",
        "note: comment}",
        "note: comment}",
        f"{CREATE} takes no `comment`. Use one of: {FIELDS}.",
    ),
    "two arguments of one wire name": Edit(
        "note: remark}",
        "note: ref}",
        "note: ref}",
        "two arguments of `parcels.create` are sent as `ref`. Rename one of them.",
    ),
    "a model that no resource has": Edit(
        "  Parcel:", "  Letter:", "  Letter:", "no resource defines a schema `Letter`. Correct the name."
    ),
    "a field that the model lacks": Edit(
        "rename: {id: number}\n    values",
        "rename: {ref: number}\n    values",
        "rename: {ref: number}",
        "`Parcel` has no field `ref`. Correct the name.",
    ),
    # sources of required fields
    "a required field of optional argument": Edit(
        "    require: [account]\n",
        "",
        'source: "evidence: envelope; Guess',
        f"{CREATE} requires `payer`, and `account` of `parcels.create` is optional. "
        "Name it under `require` or `derive`.",
    ),
    "a required field without argument": Edit(
        "{name: page, in: query,",
        "{name: who, in: query, required: true,",
        "rename: {text: q}",
        "GET /v1/search requires `who`, and no argument of `search` is sent as it. Rename the argument that holds it.",
        "panel/utility.yaml",
    ),
    "a required argument that is required anyway": Edit(
        "require: [account]",
        "require: [account, reference]",
        "require: [account, reference]",
        "every caller of `parcels.create` passes `reference`. Remove it.",
    ),
    "a source that the client lacks": Edit(
        "require: [account]",
        "derive: {account: wealth}",
        "derive: {account: wealth}",
        "`wealth` is not a source for `parcels.create`. Remove it.",
    ),
    # lost arguments
    "a lost argument": Edit(
        "      stamps: {reason: panels take no stamps, unless: [none, 0, false]}\n",
        "      send_at: {reason: panels send at once}\n",
        "send_at:",
        f"`send_at` of `parcels.create` is refused, and {CREATE} takes `send_at`. "
        "Remove the refusal, or correct spec/panel.",
    ),
    "a forgotten argument": Edit(
        "    refuse:\n      stamps: {reason: panels take no stamps, unless: [none, 0, false]}\n",
        "",
        "rename: {account",
        f"`stamps` of `parcels.create` is lost, because {CREATE} takes no `stamps`. "
        "Say what happens to it with `rename`, `refuse` or `fence`.",
    ),
    "a forgotten parent": Edit(
        "    fence: {scan_id: parcels.scans.list}\n",
        "",
        "rename: {scan_id",
        "`id` of `parcels.scans.get` is lost, because GET /v1/scans/{id} takes no `id`. "
        "Say what happens to it with `rename`, `refuse` or `fence`.",
    ),
    "a list without its parent": Edit(
        "fence: {scan_id: parcels.scans.list}",
        "fence: {scan_id: parcels.list}",
        "fence:",
        "`parcels.list` has no argument of `parcels.scans.get` that says where to look. "
        "Name a list of the objects of one parent.",
    ),
    "a filter that rows lack": Edit(
        "      before: {reason: panels cannot search by time}\n",
        "",
        'source: "evidence: envelope"\n    rename: {text: q}',
        "the client cannot filter by `before` of `search`, because rows have no `before`. "
        "Name a field of the rows under `filter`, or refuse it.",
    ),
    "a filter that panels apply": Edit(
        "rename: {text: q}",
        "rename: {text: q}\n    filter: {kind: id}",
        "filter:",
        "the client does not filter by `kind` of `search`. Remove it.",
    ),
    # values
    "a value without counterpart": Edit(
        '    values:\n      class_: {"fast & \\"furious\\"": fast}\n',
        "",
        'source: "evidence: envelope; Guess',
        f'`fast & "furious"` of `class_` has no counterpart in `class` of {CREATE}. '
        "Give it one under `values`: fast, slow.",
    ),
    "a value that panels lack": Edit(
        '\\"": fast}',
        '\\"": quick}',
        "class_:",
        f'`fast & "furious"` is `quick` on panels, which `class` of {CREATE} does not take. Use one of: fast, slow.',
    ),
    "a value of two meanings": Edit(
        "in transit: moving",
        "in transit: new",
        "status: {waiting",
        "two values of `status` have one name on panels, so that a reply can mean either. Keep one of them.",
    ),
    "values of what is not sent": Edit(
        "      class_: {",
        "      stamps: {none: no}\n      class_: {",
        "stamps: {none",
        f"`stamps` of `parcels.create` is not sent, because {CREATE} takes no such field. Rename it, or remove this.",
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_mistake_is_reported_with_place_and_remedy(edit: Edit, tmp_path: Path) -> None:
    assert_reported(edit, BRIDGE, tmp_path, named=BRIDGE)


def test_missing_bridge_is_reported(tmp_path: Path) -> None:
    spec = shutil.copytree(GOLDEN, tmp_path / "spec")
    shutil.rmtree(spec / "dialects")
    with pytest.raises(SpecError, match=r"^spec/dialects/panel.yaml:1: the file is missing"):
        generate(spec)


# The bridge of the project


@pytest.fixture(scope="module")
def bridge(specification: Specification, panel_operations: tuple[PanelOperation, ...]) -> Bridge:
    return load_bridge(SPEC, specification, panel_operations)


def ways(argument: Argument, wire: Wire) -> Iterator[str]:
    """Yield what the client does with an argument on panels."""
    if argument.name in {*wire.placeholders, *wire.query, *wire.body}:
        yield "arrives"
    if argument.name in wire.refused:
        yield "is refused"
    if argument.name in wire.filters or (wire.is_whole and argument.name in {"page", "limit", "sort", "order"}):
        yield "is applied"
    if wire.fence and argument.name in fenced(wire):
        yield "is applied"


def fenced(wire: Wire) -> set[str]:
    """Return the arguments that a fence applies without sending them."""
    assert wire.fence
    lookup: Operation = OPERATIONS[wire.fence.lookup]
    sent = {*wire.placeholders, *wire.query, *wire.body}
    return ({wire.fence.argument, *lookup.wire.placeholders, *lookup.wire.query}) - sent


def test_every_argument_arrives_is_applied_or_is_refused(bridge: Bridge) -> None:
    found = {
        f"{name}({argument.name})": list(ways(argument, OPERATIONS[name].wires["panel"]))
        for name, arguments in bridge.reference.items()
        for argument in arguments
        if "panel" in OPERATIONS[name].wires
    }
    assert {argument: several for argument, several in found.items() if len(several) != 1} == {}


def test_operations_that_panels_lack_are_absent_with_a_reason(bridge: Bridge) -> None:
    absent = {name for name, operation in OPERATIONS.items() if "panel" not in operation.wires}
    assert absent == {name for name, entry in bridge.operations.items() if "absent" in entry}


def test_wires_agree_with_the_panel_specification(bridge: Bridge) -> None:
    """Compared without the generator's own code for places, names and scopes."""
    for name in bridge.reference:
        wire = OPERATIONS[name].wires.get("panel")
        if wire is None:
            continue
        target = bridge.panel[bridge.operations.get(name, {}).get("operation", name)]
        assert wire.method == target.method
        assert list(wire.scopes) == target.node["x-scope"]
        names = wire.path.split("/"), target.path.split("/")
        assert [ours for ours in names[0] if "{" not in ours] == [theirs for theirs in names[1] if "{" not in theirs]
        in_query = {node["name"] for node in target.parameters if node["in"] == "query"}
        assert set(wire.query.values()) <= in_query, name
        body = target.node.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        assert {*wire.body.values(), *wire.keeps} <= body.get("properties", {}).keys(), name
        required = {node["name"] for node in target.parameters if node["in"] == "query" and node.get("required")}
        sure = {*wire.required, *wire.derived, *(node.name for node in bridge.reference[name] if node.required)}
        for wired in {*required, *body.get("required", ())}:
            senders = {argument for argument, other in {**wire.query, **wire.body}.items() if other == wired}
            assert senders <= sure, (name, wired)
            assert len(senders) == 1, (name, wired)


def test_client_has_every_source_and_conversion_of_the_bridge() -> None:
    sources, conversions = SOURCES.keys(), CONVERSIONS.keys()
    assert sources == steps._DERIVATIONS.keys()
    assert conversions == request._CONVERSIONS.keys()
    wires = [operation.wires["panel"] for operation in OPERATIONS.values() if "panel" in operation.wires]
    # None is left over.
    assert sources == {source for wire in wires for source in wire.derived.values()}
    assert conversions == {conversion for wire in wires for conversion in wire.converted.values()}
