"""Wrong specifications, and the exact messages with place, problem and remedy."""

from pathlib import Path

import pytest

from panelica_async import PanelicaClient
from panelica_async.resources import Namespaces
from tests.codegen.mistakes import Edit, assert_reported

pytestmark = pytest.mark.development


LIST = "operationId: parcels.list\n"
UPDATE = "operationId: parcels.update\n"
NO_SCOPE = "Give the scope the key needs, or null if any key will do."
OPERATION = "See spec/README.md for the fields of an operation."
SCHEMA = "See spec/README.md for the fields of a schema; give a nested object its own schema, and leave out defaults."
ONE_SUCCESS = "Give it one success response, 200, 201, 202 or 204; `x-errors` adds the others."
TYPES = 'Use string, integer, number, boolean, object or array, or a list of one of them and "null".'

EDITS = {
    # closed and open enums
    "a closed enum beside an open one without its values": Edit(
        "enum: [slow, ",
        "x-enum: Priority, enum: [slow, ",
        "x-enum: Priority",
        "`Priority` lacks the value `slow`. Add it to the `x-known-values` of `Priority`, or name another open enum.",
    ),
    # YAML
    "not YAML": Edit(
        "summary: List parcels",
        "summary: {List parcels",
        "x-scope: parcels:read",
        "not valid YAML: while parsing a flow mapping, expected ',' or '}', but got ':'. Correct the syntax.",
    ),
    "a tab": Edit(
        "      summary: List parcels",
        "\tsummary: List parcels",
        "summary: List parcels",
        "not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token. "
        "Correct the syntax.",
    ),
    "a value that does not fit its tag": Edit(
        "summary: List parcels",
        "summary: !!int List parcels",
        "summary: !!int",
        "the value of `summary` cannot be read: invalid literal for int() with base 10: 'List parcels'. Correct it.",
    ),
    "a key twice": Edit(
        "summary: List parcels",
        "summary: List parcels\n      summary: List them",
        "summary: List them",
        "`summary` is defined twice. Remove one of them.",
    ),
    "a control character": Edit(
        "summary: List parcels",
        "summary: List \x07 parcels",
        "summary: List",
        "the character U+0007 is not allowed in YAML. Remove it, or escape it in double quotes.",
    ),
    "a key that is a mapping": Edit(
        "summary: List parcels",
        "? {a: 1}\n      : 2",
        "? {a: 1}",
        "a key is a list or a mapping. Write a name.",
    ),
    "two documents": Edit(
        "components:",
        "---\ncomponents:",
        "---",
        "not valid YAML: expected a single document in the stream, but found another document. Correct the syntax.",
    ),
    "a comma in a text without quotes": Edit(
        "description: When it was scanned.",
        "description: When it was scanned, or so.",
        "When it was scanned",
        f"`at` has the unknown field `or so.`. {SCHEMA}",
    ),
    # The file
    "a file without paths": Edit(
        "paths:",
        "x-paths:",
        "tag:",
        "`parcels.yaml` has no `paths`. List its operations by path, as in `/v1/domains: {get: …}`.",
    ),
    "an unknown part of a file": Edit(
        "components:",
        "examples: {}\ncomponents:",
        "examples: {}",
        "`parcels.yaml` has the unknown field `examples`. A resource holds `tag`, `paths` and `components`.",
    ),
    "a path without its slash": Edit(
        "  /v1/parcels/collect:",
        "  v1/parcels/collect:",
        "  v1/parcels/collect:",
        "`v1/parcels/collect` does not belong here. A path begins with a slash, such as `/v1/domains`.",
    ),
    "a method that HTTP does not have": Edit(
        "    post:\n      operationId: parcels.collect",
        "    push:\n      operationId: parcels.collect",
        "    push:",
        "`/v1/parcels/collect` has the unknown field `push`. A path holds `parameters`, `get`, `post`, `put`, `patch` "
        "and `delete`.",
    ),
    # An operation
    "no operationId": Edit(
        LIST,
        "x-inferred: nowhere\n",
        "    get:",
        "`get` has no `operationId`. Give it its Python name, such as `dns.records.list`.",
    ),
    "an operationId that is not a Python name": Edit(
        LIST,
        "operationId: listParcels\n",
        "listParcels",
        '`operationId` is "listParcels". Give it its Python name, such as `dns.records.list`.',
    ),
    "an operationId that is a keyword": Edit(
        LIST,
        "operationId: parcels.import\n",
        "parcels.import",
        "`import` is a Python keyword. Choose another operationId.",
    ),
    "an operationId twice": Edit(
        UPDATE,
        LIST,
        "parcels.list\n      summary: Change",
        "`parcels.list` is already defined at spec/parcels.yaml:OTHER. Rename one of them.",
        other=LIST,
    ),
    "a namespace in two files": Edit(
        "operationId: reindex",
        "operationId: parcels.reindex",
        "operationId: parcels.reindex",
        "`parcels` belongs to parcels.yaml. Move the operation to parcels.yaml.",
        "utility.yaml",
    ),
    "a namespace that is a method": Edit(
        UPDATE,
        "operationId: parcels.scans\n",
        "operationId: parcels.scans\n",
        "`parcels.scans` cannot be both a method and the namespace of `parcels.scans.list`. Rename one of them.",
    ),
    "a class that is imported": Edit(
        "operationId: rate_limit",
        "operationId: finding.limit",
        "  /v1/health:",
        "the class of `finding` clashes with another `Finding`. Rename the namespace or the schema.",
        "utility.yaml",
    ),
    "no scope": Edit(
        "x-scope: parcels:read", "x-async: true", "    get:", f"`parcels.list` has no `x-scope`. {NO_SCOPE}"
    ),
    "a scope that is no text": Edit("x-scope: parcels:read", "x-scope: 5", "x-scope: 5", f"`x-scope` is 5. {NO_SCOPE}"),
    "a scope that no key can have": Edit(
        "x-scope: parcels:read",
        "x-scope: parcels:reed",
        "x-scope: parcels:reed",
        "unknown scope `parcels:reed`. Did you mean `parcels:read`? If not, add it to `scopes` in catalog.yaml.",
    ),
    "no x-repeat": Edit(
        "x-repeat: read",
        "x-async: true",
        "    get:",
        "`parcels.list` has no `x-repeat`. Say how safe the call is to repeat: `read`, `idempotent`, "
        "`natural-key` or `unsafe`.",
    ),
    "an unknown x-repeat": Edit(
        "x-repeat: read",
        "x-repeat: sometimes",
        "x-repeat: sometimes",
        '`x-repeat` is "sometimes". Say how safe the call is to repeat: `read`, `idempotent`, `natural-key` '
        "or `unsafe`.",
    ),
    "a missing natural key": Edit(
        "x-repeat: unsafe",
        "x-repeat: natural-key",
        "x-repeat: natural-key\n      x-async",
        "`parcels.collect` must have both or neither of `x-repeat: natural-key` and `x-natural-key`. `x-natural-key` "
        "is {lookup: operationId of a list, fields: {argument: field of a row, …}}.",
    ),
    "a natural key of an unsafe operation": Edit(
        "x-repeat: natural-key",
        "x-repeat: unsafe",
        "x-repeat: unsafe\n      x-natural-key",
        "`parcels.create` must have both or neither of `x-repeat: natural-key` and `x-natural-key`. `x-natural-key` "
        "is {lookup: operationId of a list, fields: {argument: field of a row, …}}.",
    ),
    "a natural key that is no argument": Edit(
        "fields: {reference: id}, prefixed: [reference]",
        "fields: {ref: id}",
        "fields: {ref",
        "`parcels.create` has no argument `ref`. Use one of: account, reference, class_, destination, note, "
        "weight_g, priority, send_at, stamps, labels.",
    ),
    "a natural key that nothing finds": Edit(
        "lookup: parcels.list",
        "lookup: parcels.find",
        "lookup: parcels.find",
        "`parcels.create` looks up `parcels.find`, which this file does not define above it. Name the list "
        "that finds the object, and define it first.",
    ),
    "a natural key that is looked up in no list": Edit(
        "x-repeat: idempotent\n      x-errors: [400, 404]",
        "x-repeat: natural-key\n"
        "      x-natural-key: {lookup: parcels.create, fields: {id: id}}\n"
        "      x-errors: [400, 404]",
        "lookup: parcels.create",
        "`parcels.create` is not a list. Name the list that finds the object.",
    ),
    "a natural key that is in no row": Edit(
        "fields: {reference: id}",
        "fields: {reference: name}",
        "reference: name",
        "`parcels.create` replies without `name`, so the rows of its list lack it too. Name a field of what it "
        "creates.",
    ),
    "a prefix of what is no natural key": Edit(
        "prefixed: [reference]",
        "prefixed: [note]",
        "prefixed: [note]",
        "`prefixed` names `note`, which is not under `fields`. Name it there, or correct the name.",
    ),
    "a natural key without its lookup": Edit(
        "x-natural-key: {lookup: parcels.list, fields",
        "x-natural-key: {fields",
        "x-natural-key:",
        "`x-natural-key` has no `lookup`. Name the list that finds the object.",
    ),
    "an unknown x- field": Edit(
        "x-async: true",
        "x-asynchronous: true",
        "x-asynchronous",
        f"`parcels.collect` has the unknown field `x-asynchronous`. {OPERATION}",
    ),
    "a flag that is no": Edit(
        "x-async: true", "x-async: false", "x-async: false", "`x-async` is false. Write true, or leave it out."
    ),
    "a flag of YAML 1.1": Edit(
        "x-async: true", "x-async: yes", "x-async: yes", '`x-async` is "yes". Write true, or leave it out.'
    ),
    "an error that every operation has": Edit(
        "x-errors: [404]",
        "x-errors: [404, 500]",
        "x-errors: [404, 500]",
        "`x-errors` is 500. Use only 400, 404 and 409; 401, 403, 429 and 500 are added to every signed operation.",
    ),
    "security that is not nothing": Edit(
        "security: []",
        "security: [{ApiKey: []}]",
        "security: [{ApiKey: []}]",
        "`security` is a list. Write `security: []` if the call is not signed; otherwise leave it out.",
        "utility.yaml",
    ),
    "a guard for nothing": Edit(
        "replaces: ids", "replaces: id", "replaces: id", "`parcels.collect` has no argument `id`. Use one of: ids."
    ),
    "a guard that is an argument": Edit(
        "argument: all_parcels",
        "argument: ids",
        "argument: ids",
        "`parcels.collect` already has an argument `ids`. Rename the argument of the guard.",
    ),
    "a summary that is too long": Edit(
        "summary: List parcels",
        f"summary: List parcels {'and ' * 30}more",
        "summary: List parcels",
        "the summary and the path are too long for one line. Shorten the summary; details go into `description`.",
    ),
    # Arguments
    "a placeholder without parameter": Edit(
        "  /v1/parcels/{id}/route:",
        "  /v1/parcels/{id}/route/{leg}:",
        "operationId: parcels.route",
        "`parcels.route` has no parameter for the placeholder `{leg}` of its path. Add it under `parameters`.",
    ),
    "a path parameter without placeholder": Edit(
        "  /v1/parcels/{id}/route:",
        "  /v1/parcels/route:",
        "operationId: parcels.route",
        "`parcels.route` has the path parameter `id`, but its path has no `{id}`. Add the placeholder, or send the "
        "parameter `in: query`.",
    ),
    "a header parameter": Edit(
        "        - name: from\n          in: query",
        "        - name: from\n          in: header",
        "in: header",
        '`in` is "header". Send it in `path` or `query`; the client sets headers itself.',
    ),
    "a parameter without description": Edit(
        "          description: Only parcels of this sender.\n",
        "",
        "        - name: from",
        "`from` has no `description`. Say what it is, with its unit.",
    ),
    "a property of a body without description": Edit(
        "weight_g: {type: number, exclusiveMinimum: 0, description: Weight in g.}",
        "weight_g: {type: number}",
        "weight_g: {type: number}",
        "`weight_g` has no `description`. Say what it is, with its unit.",
    ),
    "an argument that Python cannot have": Edit(
        "fragile:",
        "Fragile!:",
        "Fragile!:",
        "`Fragile!` does not belong here. Name an argument in lower case, such as `domain_id`, and not `self`.",
    ),
    "an argument twice": Edit(
        "        - name: from\n",
        "        - name: page\n",
        LIST,
        "`parcels.list` has two arguments `page`. Rename one of them.",
    ),
    "an object in a query": Edit(
        "schema: {type: string, minLength: 1}",
        'schema: {$ref: "#/components/schemas/Street"}',
        'schema: {$ref: "#/components/schemas/Street"}',
        "`from_` is an object, which does not fit into a query. Put it into the body.",
    ),
    "a body that is a reference": Edit(
        "schema:\n              type: object\n              minProperties: 1",
        'schema:\n              $ref: "#/components/schemas/Parcel"\n              minProperties: 1',
        "            schema:\n              $ref",
        "`schema` has no `type`. A body is an object: each of its properties becomes an argument of the method.",
    ),
    "a body that is a form": Edit(
        "application/json:\n            schema:\n              type: object\n              minProperties",
        "multipart/form-data:\n            schema:\n              type: object\n              minProperties",
        "        content:\n          multipart",
        "`content` has no `application/json`. Bodies are JSON: give `application/json` its `schema`, and an "
        "`example` or `examples`.",
    ),
    "a required property that is none": Edit(
        "required: [reference, destination]",
        "required: [reference, receiver]",
        "required: [reference, receiver]",
        "`required` names `receiver`, which is not under `properties`. Define it there.",
    ),
    "a list of nothing": Edit(
        "ids: {type: array, items: {type: string}, ",
        "ids: {type: array, ",
        "ids: {type: array",
        "`ids` has no `items`. Describe its items.",
    ),
    "a type that JSON does not have": Edit(
        "fragile: {type: boolean,", "fragile: {type: bool,", "fragile: {type: bool,", f'`type` is "bool". {TYPES}'
    ),
    "a limit that is no length": Edit(
        "schema: {type: string, minLength: 1}",
        "schema: {type: string, minLength: -1}",
        "minLength: -1",
        "`minLength` is -1. Give a whole number from 0.",
    ),
    "a path parameter that is not required": Edit(
        "{name: id, in: path, required: true,",
        "{name: id, in: path,",
        "{name: id, in: path,",
        "`id` has no `required`. Write `required: true`: a path has no optional parts.",
    ),
    # Replies
    "no success response": Edit('"202":', '"404":', '"404":', f"`404` does not belong here. {ONE_SUCCESS}"),
    "two success responses": Edit(
        '        "202":',
        '        "204": {description: Nothing.}\n        "202":',
        'responses:\n        "204": {description: Nothing',
        f"`responses` holds more than 1. {ONE_SUCCESS}",
    ),
    "no responses": Edit(
        '      responses:\n        "204": {description: The index is being built.}\n',
        "",
        "    post:",
        f"`reindex` has no `responses`. {ONE_SUCCESS}",
        "utility.yaml",
    ),
    "paginated without a list": Edit(
        "operationId: parcels.route\n",
        "operationId: parcels.route\n      x-paginated: true\n",
        '"200":\n          description: The route',
        "`parcels.route` is paginated, but does not reply with a list of a schema. Reply with an array of a `$ref`.",
    ),
    "a list that is not paginated": Edit(
        "      x-paginated: true\n",
        "",
        '        "200":',
        "`parcels.list` replies with a list. Add `x-paginated: true`.",
    ),
    "a reply that is neither model nor list": Edit(
        "schema: {type: object, additionalProperties: true}",
        "schema: {type: string}",
        '"200":\n          description: The route',
        "`parcels.route` replies with neither a schema of `components` nor a list. Reply with a `$ref`.",
    ),
    # Schemas
    "a reference to nothing": Edit(
        '$ref: "#/components/schemas/Scan"}\n          description: >-',
        '$ref: "#/components/schemas/Scam"}\n          description: >-',
        "#/components/schemas/Scam",
        "`#/components/schemas/Scam` does not exist. Define it, or correct the name after #/components/.",
    ),
    "a reference elsewhere": Edit(
        '$ref: "#/components/parameters/Page"',
        "$ref: parameters.yaml#/Page",
        "$ref: parameters.yaml#/Page",
        '`$ref` is "parameters.yaml#/Page". Name a parameter under #/components/parameters/.',
    ),
    "a schema that has no model": Edit(
        'schema: {$ref: "#/components/schemas/Acknowledgement"}',
        'schema: {$ref: "#/components/schemas/Error"}',
        "#/components/schemas/Error",
        "`Error` is not a model. Name the statuses of errors in `x-errors`.",
    ),
    "a schema twice": Edit(
        "    Finding:\n",
        "    Scan:\n      type: object\n      description: Another.\n"
        "      properties: {id: {type: string, description: Id.}}\n"
        "    Finding:\n",
        "    Scan:",
        "`Scan` is already defined at spec/parcels.yaml:OTHER. Keep one of them.",
        "utility.yaml",
        other="    Scan:",
    ),
    "a path twice": Edit(
        "  /v1/reindex:",
        "  /v1/parcels/collect:",
        "  /v1/parcels/collect:",
        "`/v1/parcels/collect` is already defined at spec/parcels.yaml:OTHER. Keep one of them.",
        "utility.yaml",
        other="  /v1/parcels/collect:",
    ),
    "a path twice, with other placeholders": Edit(
        "  /v1/reindex:",
        "  /v1/parcels/{code}:",
        "  /v1/parcels/{code}:",
        "`/v1/parcels/{code}` is already defined at spec/parcels.yaml:OTHER. Keep one of them.",
        "utility.yaml",
        other="  /v1/parcels/{id}:",
    ),
    "a schema with the name of a module": Edit(
        "    Stamp:",
        "    stamp:",
        "    stamp:",
        "`stamp` does not belong here. A schema is named like a class, such as `DnsRecord`.",
    ),
    "a schema with the name of something imported": Edit(
        "    Finding:\n",
        "    Operation:\n      type: object\n      description: Another.\n"
        "      properties: {id: {type: string, description: Id.}}\n"
        "    Finding:\n",
        "    Operation:",
        "generated code uses the name `Operation`. Choose another name.",
        "utility.yaml",
    ),
    "a schema with the name of a constant": Edit(
        "    Finding:\n",
        "    None:\n      type: object\n      description: Another.\n"
        "      properties: {id: {type: string, description: Id.}}\n"
        "    Finding:\n",
        "    None:",
        "generated code uses the name `None`. Choose another name.",
        "utility.yaml",
    ),
    "a field without description": Edit(
        'type: {type: [string, "null"], description: Kind of parcel.}',
        'type: {type: [string, "null"]}',
        'type: {type: [string, "null"]}',
        "`type` has no `description`. Say what it is, with its unit.",
    ),
    "a misspelt x- field": Edit(
        "x-secret: true, description: What",
        "x-secert: true, description: What",
        "x-secert",
        f"`pin` has the unknown field `x-secert`. {SCHEMA}",
    ),
    "a default": Edit(
        'pin: {type: [string, "null"],',
        'pin: {type: [string, "null"], default: "0000",',
        "default:",
        f"`pin` has the unknown field `default`. {SCHEMA}",
    ),
    "a closed enum in a reply": Edit(
        'type: {type: [string, "null"], description: Kind',
        "type: {type: string, enum: [box, roll], description: Kind",
        "enum: [box, roll]",
        "`enum` does not belong here. Name a schema with `x-known-values`: enums outside requests are open.",
    ),
    "a field that every model has": Edit(
        "        weight_g: {type: [number,",
        "        extra: {type: [number,",
        "        extra:",
        "`extra` does not belong here. Choose another name: every model has a field of this name.",
    ),
    "an alias that is a field": Edit(
        "x-aliases: [sender]",
        "x-aliases: [type]",
        "x-aliases: [type]",
        "both `from` and `type` of `Parcel` go by `type`. Remove the alias from one.",
    ),
    "an alias of two fields": Edit(
        "x-aliases: [sender]",
        "x-aliases: [uuid]",
        "x-aliases: [uuid]",
        "both `from` and `id` of `Parcel` go by `uuid`. Remove the alias from one.",
    ),
    "a first sentence that is too long": Edit(
        "description: A locker.",
        f"description: A locker {'and ' * 30}more.",
        "description: A locker and",
        "the first sentence has 134 characters, too many for a line. Shorten it, or make it two sentences.",
    ),
    # The root, the catalog and OpenAPI itself
    "a root without an error response": Edit(
        "    Conflict: {description: The object exists already.}\n",
        "",
        "  responses:",
        "`responses` has no `Conflict`. Every error response of the generator must be here.",
        "openapi.yaml",
    ),
    "a tier without its rate": Edit(
        "requests_per_minute: 60, ",
        "",
        "starter:",
        "`starter` has no `requests_per_minute`. A tier holds `requests_per_minute`, `requests_per_hour`, `burst`, "
        "`unlimited` and `source`.",
        "catalog.yaml",
    ),
    "a limit that is no number": Edit(
        "requests_per_minute: 60, ",
        "requests_per_minute: 1_000, ",
        "starter:",
        '`requests_per_minute` is "1_000". Give a number from 1, or null if unknown or unlimited.',
        "catalog.yaml",
    ),
    "a reference that is a list": Edit(
        '{schema: {$ref: "#/components/schemas/Error"}}',
        "{schema: {$ref: [Error]}}",
        "    BadRequest:",
        "`['Error']` does not exist. Define it, or correct the name after #/components/.",
        "openapi.yaml",
    ),
    "not OpenAPI, in the root": Edit(
        'info: {title: Tiny API, version: "1"}',
        "info: {title: Tiny API}",
        "info:",
        "not valid OpenAPI 3.1: 'version' is a required property. See the OpenAPI specification.",
        "openapi.yaml",
    ),
    "not OpenAPI, deep in the root": Edit(
        "ApiKey: {type: apiKey, in: header, name: X-API-Key}",
        "ApiKey: {type: apiKey, in: head, name: X-API-Key}",
        "ApiKey: {type: apiKey",
        "not valid OpenAPI 3.1: 'head' is not one of ['query', 'header', 'cookie']. See the OpenAPI specification.",
        "openapi.yaml",
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_mistake_is_reported_with_place_and_remedy(edit: Edit, tmp_path: Path) -> None:
    assert_reported(edit, "parcels.yaml", tmp_path)


MEMBERS = sorted(name for name in set(dir(PanelicaClient)) - set(dir(Namespaces)) if not name.startswith("_"))


@pytest.mark.parametrize("name", MEMBERS)
def test_operation_with_the_name_of_a_client_member_is_reported(name: str, tmp_path: Path) -> None:
    operation = f"operationId: {name}"
    message = f"the client already has a member `{name}`. Choose another operationId."
    assert_reported(Edit("operationId: reindex", operation, operation, message), "utility.yaml", tmp_path)
