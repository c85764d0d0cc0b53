"""Renders `panelica_async/models/` with datamodel-code-generator and our own templates, one module per resource."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from codegen.checks import PANEL_SUFFIX, SHARED_GROUP, nodes_of, referenced_name
from codegen.methods import default_description
from codegen.operations import known_fields, panel_result
from codegen.panel import PanelOperation
from codegen.spec import Specification
from codegen.text import docstring, module_docstring
from codegen.yaml_nodes import Node, SpecError

_TEMPLATES = Path(__file__).parent / "templates" / "models"
_OPTIONS = (
    "--input-file-type", "openapi",
    "--output-model-type", "msgspec.Struct",
    "--custom-template-dir", str(_TEMPLATES),
    "--target-python-version", "3.11",
    "--base-class", "panelica_async.core.model.Model",
    "--additional-imports", "attrs.frozen,attrs.field,panelica_async.core.model.OpenEnum",
    "--import-overrides", json.dumps({"field": "attrs", "UNSET": "panelica_async.core.model"}),
    "--use-standard-primitive-types", "--use-double-quotes",
    "--output-datetime-class", "datetime",
    "--keyword-only", "--no-use-annotated", "--capitalise-enum-members",
    "--disable-timestamp", "--disable-future-imports", "--disable-warnings",
    "--strict-refs",
    "--formatters", "builtin",
)  # fmt: skip
_KEPT_KEYS = ("$ref", "type", "description", "required", "x-aliases", "x-secret")
"""Keys that a schema of current panels keeps in its model."""
_BASE_CLASSES = {"Owner": "panelica_async.core.model.Owner"}
"""Base classes with methods for models, by their names in `x-base`."""


@attrs.frozen
class ModelGroup:
    """The schemas of one generated module."""

    module: str
    source: str
    """File of the specification."""
    title: str
    schemas: Mapping[str, Mapping[str, Any]]


def model_groups(specification: Specification, panel: Iterable[PanelOperation]) -> tuple[ModelGroup, ...]:
    """Return the groups with at least one schema. `Error` has no model, because errors are raised.

    Args:
        specification: The published reference.
        panel: Operations that only current panels have.
    """
    shared = {
        name: schema
        for name, schema in specification.shared["components"].get("schemas", {}).items()
        if name != "Error"
    }
    groups = [ModelGroup(SHARED_GROUP, "openapi", "What several resources use", shared)]
    groups += [
        ModelGroup(resource.name, resource.name, resource.tag["name"], resource.schemas)
        for resource in specification.resources
    ]
    return tuple(group for group in (*groups, *_panel_groups(panel, specification)) if group.schemas)


def _panel_groups(operations: Iterable[PanelOperation], specification: Specification) -> tuple[ModelGroup, ...]:
    """Return the schemas of the replies by file, except those that the reference has under the same name."""
    published_schemas = specification.document["components"]["schemas"]
    groups: dict[str, dict[str, Mapping[str, Any]]] = {}
    defined: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for operation in operations:
        for name, schema in _reply_schemas(operation):
            if name in published_schemas:
                continue
            module, model_schema = defined.setdefault(name, (operation.module, _model_schema(schema)))
            if model_schema != _model_schema(schema):
                problem = f"`{operation.name}` replies with a `{name}`, which {module}.yaml defines otherwise"
                raise SpecError(operation.location, problem, "Rename one of the schemas, or make them equal")
            groups.setdefault(module, {})[name] = model_schema
    titles = {operation.module: operation.category for operation in operations}
    published = {resource.name for resource in specification.resources}
    return tuple(
        ModelGroup(
            f"{module}{PANEL_SUFFIX}" if module in published else module, f"panel/{module}", titles[module], schemas
        )
        for module, schemas in groups.items()
    )


def _reply_schemas(operation: PanelOperation) -> Iterator[tuple[str, Node]]:
    """Yield the schemas that a reply refers to, directly or through others."""
    result = panel_result(operation)
    schemas: Node = operation.document.get("components", {}).get("schemas", {})
    names = [result.model] if result.model else []
    for name in names:
        yield name, schemas[name]
        references = [referenced_name(node) for node in nodes_of(schemas[name]) if "$ref" in node]
        names += [other for other in references if other not in names]


def _model_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a model: ids are texts, enums are open, an object without a name is JSON.

    A field of several types gets the first of them. One of an unknown type is left out, so that it stays in `extra`.
    """
    model_schema: dict[str, Any] = {key: schema[key] for key in _KEPT_KEYS if key in schema}
    types = schema.get("type")
    if isinstance(types, list):
        model_schema["type"] = types if "null" in types and len(types) == 2 else types[0]
    if schema.get("format") == "date-time":
        model_schema["format"] = "date-time"
    if "items" in schema:
        model_schema["items"] = _model_schema(schema["items"])
    if "properties" in schema:
        fields = known_fields(schema)
        model_schema["properties"] = {
            name: {"description": default_description(name, ""), **_field_schema(field)}
            for name, field in fields.items()
        }
    return model_schema


def _field_schema(field: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a field, without properties: datamodel-code-generator would invent a class for them."""
    return {key: value for key, value in _model_schema(field).items() if key != "properties"}


def modules_by_model(groups: tuple[ModelGroup, ...]) -> dict[str, str]:
    """Return the module of each schema."""
    return {name: group.module for group in groups for name in group.schemas}


def render_models(groups: tuple[ModelGroup, ...]) -> dict[str, str]:
    """Return file names and unformatted texts of the model modules."""
    model_modules = modules_by_model(groups)
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder) / "schemas", Path(folder) / "models"
        source.mkdir()
        for group in groups:
            schemas = {
                name: _for_generator(schema, group.module, model_modules) for name, schema in group.schemas.items()
            }
            document = {
                "openapi": "3.1.0",
                "info": {"title": group.title, "version": "1"},
                "paths": {},
                "components": {"schemas": schemas},
            }
            (source / f"{group.module}.json").write_text(json.dumps(document), encoding="utf-8")
        extra = Path(folder) / "extra.json"
        extra.write_text(json.dumps(_template_data(groups)), encoding="utf-8")
        subprocess.run(  # noqa: S603 - our own arguments
            [
                sys.executable, "-m", "datamodel_code_generator",
                "--input", str(source), "--output", str(output), "--extra-template-data", str(extra), *_OPTIONS,
            ],
            cwd=folder,  # away from a pyproject.toml that might configure it
            check=True,
        )  # fmt: skip
        texts = {f"{group.module}.py": (output / f"{group.module}.py").read_text("utf-8") for group in groups}
    return {name: _with_header(texts[name], group) for name, group in zip(texts, groups, strict=True)}


def _for_generator(value: Any, module: str, model_modules: Mapping[str, str]) -> Any:
    """Return a schema in the form that datamodel-code-generator needs: file references, open enums as enums."""
    if isinstance(value, list):
        return [_for_generator(item, module, model_modules) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {key: _for_generator(item, module, model_modules) for key, item in value.items()}
    if isinstance(schema.get("x-known-values"), list):
        schema["enum"] = schema.pop("x-known-values")
    if isinstance(schema.get("x-base"), str):
        schema["customBasePath"] = _BASE_CLASSES[schema.pop("x-base")]
    if isinstance(schema.get("$ref"), str):
        name = schema["$ref"].rsplit("/", 1)[-1]
        target = model_modules[name]
        schema["$ref"] = f"{'' if target == module else target + '.json'}#/components/schemas/{name}"
    return schema


def _template_data(groups: tuple[ModelGroup, ...]) -> dict[str, dict[str, Any]]:
    """Return the data that our class template needs in addition to that of datamodel-code-generator."""
    data: dict[str, dict[str, Any]] = {}
    for group in groups:
        for name, schema in group.schemas.items():
            properties = schema.get("properties", {})
            data[name] = {
                "class_docstring": docstring(schema["description"], 4),
                "field_docstrings": {key: docstring(value["description"], 4) for key, value in properties.items()},
                "aliases": {key: value["x-aliases"] for key, value in properties.items() if "x-aliases" in value},
                "secrets": [key for key, value in properties.items() if value.get("x-secret")],
            }
    return data


def _with_header(text: str, group: ModelGroup) -> str:
    code = re.sub(r"\A(#.*\n|\s*\n)+", "", text)
    summary = group.title if group.module == SHARED_GROUP else f"Models of {group.title}"
    return f"{module_docstring(summary, group.source)}\n\n{code}"
