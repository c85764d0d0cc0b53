"""The code generated from the real specification: its style, what it loads, and what it decodes."""

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

import attrs
import pytest

from panelica_async import UNSET, DecodeError, PanelicaClient, models
from panelica_async.api.resource import Resource
from panelica_async.core.converter import decode, to_wire
from panelica_async.core.model import Model, OpenEnum
from panelica_async.core.request import prepare
from tests.codegen.shipped import DOCUMENT, OPERATIONS, PACKAGE, PANEL, RESOURCES, endpoints

FILES = sorted([*PACKAGE.glob("models/*.py"), *PACKAGE.glob("resources/*.py"), PACKAGE / "catalog.py"])
SCHEMAS = {name: schema for name, schema in DOCUMENT["components"]["schemas"].items() if name != "Error"}
PANEL_SCHEMAS = {name.rpartition(".")[2]: schema for name, schema in PANEL["components"]["schemas"].items()}
"""What current panels reply with. Models have those that their operations alone use."""
KINDS = {name: getattr(models, name) for name in models.__all__}
MODELS = {name: kind for name, kind in KINDS.items() if issubclass(kind, Model)}
ENUMS = {name: kind for name, kind in KINDS.items() if issubclass(kind, OpenEnum)}
each_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)

WRONG = {str: [5], int: "many", float: "many", bool: "true", datetime: "yesterday", list: "text", dict: "text"}
"""A value that each type of field must reject."""


def _fields(model: type[Model]) -> Iterator["attrs.Attribute[Any]"]:
    yield from (field for field in attrs.fields(attrs.resolve_types(model)) if field.name != "extra")


def _wire_name(field: "attrs.Attribute[Any]") -> str:
    return field.metadata.get("json", field.name)


def _core(kind: Any) -> Any:
    """Return the type of a field without its None."""
    if get_origin(kind) is UnionType or isinstance(kind, UnionType):
        (kind,) = (option for option in get_args(kind) if option is not NoneType)
    return kind


def _sample(kind: Any) -> Any:
    """Return JSON for a type; for an enum, an unknown value."""
    kind = _core(kind)
    if get_origin(kind) is list:
        return [_sample(get_args(kind)[0])]
    if get_origin(kind) is dict:
        return {"any": ["thing"]}
    if issubclass(kind, Model):
        return {_wire_name(field): _sample(field.type) for field in _fields(kind)}
    if issubclass(kind, OpenEnum):
        return "brand-new"
    return {str: "text", int: 7, float: 4.5, bool: True, datetime: "2026-03-07T12:00:00Z"}[kind]


# How it is written


@each_file
def test_checks_are_suppressed_only_with_a_reason(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "type: ignore" not in text
    assert "Do not edit." in text
    for comment in re.findall(r"#.*noqa.*", text):
        assert re.fullmatch(r"# noqa: [A-Z]+[0-9]+ - \w.*", comment)


@each_file
def test_everything_public_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), node.name


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "models"], ids=lambda path: path.name)
def test_every_field_has_a_docstring(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            for field, below in zip(node.body, [*node.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign):
                    assert isinstance(below, ast.Expr), ast.unparse(field)
                    assert isinstance(below.value, ast.Constant)
                    assert str(below.value.value).strip().endswith((".", "!", "?"))


@each_model
def test_models_are_frozen_slotted_and_keyword_only(model: type[Model]) -> None:
    instance = decode(_sample(model), model, endpoint="test")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(instance, next(_fields(model)).name, None)
    assert not hasattr(instance, "__dict__")
    assert all(field.kw_only for field in attrs.fields(model))


def test_models_are_the_schemas_of_the_specification() -> None:
    assert SCHEMAS.keys() <= KINDS.keys() <= SCHEMAS.keys() | PANEL_SCHEMAS.keys()
    for name, model in MODELS.items():
        schema = SCHEMAS.get(name) or PANEL_SCHEMAS[name]
        # A field of no known type stays in `extra`.
        typed = {field for field, described in schema["properties"].items() if {"type", "$ref", "anyOf"} & {*described}}
        assert {_wire_name(field) for field in _fields(model)} == typed
        for field in _fields(model):
            described = schema["properties"][_wire_name(field)]
            assert (field.default is attrs.NOTHING) == (_wire_name(field) in schema.get("required", ()))
            assert field.metadata.get("aliases", []) == described.get("x-aliases", [])
            assert field.repr == (not described.get("x-secret", False)), f"{name}.{field.name}"
    for name, enum in ENUMS.items():
        assert [member.value for member in enum] == SCHEMAS[name]["x-known-values"]


# Namespaces and methods


def _methods() -> Iterator[tuple[str, tuple[str, Mapping[str, Any], Mapping[str, Any], Any]]]:
    """Yield the name of each operation, and its endpoint, itself, its parameters, and the method of the client."""
    for method, path, operation, parameters in endpoints():
        target: Any = PanelicaClient
        *namespaces, name = operation["operationId"].split(".")
        for namespace in namespaces:
            target = getattr(target, namespace)
        yield operation["operationId"], (f"{method} {path}", operation, parameters, getattr(target, name))


METHODS = dict(_methods())
each_method = pytest.mark.parametrize("name", METHODS)


@each_method
def test_docstring_names_endpoint_scope_and_errors(name: str) -> None:
    endpoint, operation, _, method = METHODS[name]
    text = inspect.getdoc(method)
    assert text is not None
    first, blank, *_ = text.split("\n")
    text, lines = " ".join(text.split()), text
    assert first.startswith(f"{endpoint}: ")
    assert first.endswith(".")
    assert blank == ""
    scope = f"`{operation['x-scope']}`" if operation["x-scope"] else "none in the reference"
    panel = OPERATIONS[name].wires.get("panel", OPERATIONS[name].wire)
    other = "" if panel.scopes == OPERATIONS[name].wire.scopes else f"; on current panels `{panel.scopes[0]}`"
    assert f"Scope: {scope}{other}" in text or name == "health"
    for status, error in {"400": "BadRequestError", "404": "NotFoundError", "409": "ConflictError"}.items():
        assert (f"    {error}: " in lines) == (status in operation["responses"]), error
    assert ("    OutcomeUnknownError: " in lines) == (operation["x-repeat"] != "read")
    is_absent = "panel" not in OPERATIONS[name].wires
    assert ("    UnsupportedOperationError: " in lines) == (is_absent or bool(panel.refused))
    assert ("Not served by current panels" in text) == is_absent


@each_method
def test_only_path_parameters_are_positional(name: str) -> None:
    endpoint, operation, inputs, method = METHODS[name]
    _, *parameters = inspect.signature(method).parameters.values()
    positional = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    assert positional == re.findall(r"{(\w+)}", endpoint)
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    required = {name for name, node in inputs.items() if node.get("required")} | set(body.get("required", ()))
    assert {parameter.name for parameter in parameters if parameter.default is parameter.empty} == required
    for parameter in parameters:
        assert parameter.default in (parameter.empty, UNSET) or parameter.name == "all_domains"


@pytest.mark.parametrize("name", RESOURCES)
def test_every_class_of_a_resource_module_is_a_resource(name: str) -> None:
    module = importlib.import_module(f"panelica_async.resources.{name}")
    classes = [kind for kind in vars(module).values() if inspect.isclass(kind) and kind.__module__ == module.__name__]
    assert classes
    assert all(issubclass(kind, Resource) for kind in classes)


# What is loaded when


def _loaded(statement: str) -> set[str]:
    """Return the generated modules that are loaded after a statement in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint(*(name for name in sys.modules if name.startswith('panelica_async.')))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PACKAGE.parent, capture_output=True, text=True, check=True
    )
    return {name for name in done.stdout.split() if re.match(r"panelica_async\.(models|resources)\b", name)}


CLIENT = (
    "import panelica_async\npanel = panelica_async.PanelicaClient('a', api_key='pk_test_1', api_secret='sk_test_1')\n"
)


def test_package_import_loads_no_model_or_resource() -> None:
    assert _loaded("import panelica_async") == set()


def test_client_loads_no_model_and_no_resource_module() -> None:
    assert _loaded(CLIENT) == {"panelica_async.resources", "panelica_async.resources.registry"}


def test_touching_a_namespace_loads_only_its_own() -> None:
    assert _loaded(f"{CLIENT}panel.domains") == {
        "panelica_async.resources",
        "panelica_async.resources.registry",
        "panelica_async.resources.domains",
        "panelica_async.models",
        "panelica_async.models.domains",
        "panelica_async.models.shared",
    }


def test_naming_a_model_loads_only_its_own() -> None:
    assert _loaded("from panelica_async.models import Domain") == {
        "panelica_async.models",
        "panelica_async.models.domains",
    }


def test_model_when_unknown_raises_attributeerror() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = models.Nothing
    assert dir(models) == models.__all__


# What is decoded


@each_model
def test_unknown_keys_and_values_are_kept(model: type[Model]) -> None:
    data = {**_sample(model), "brand_new": [1], "extra": "mine"}
    instance = decode(data, model, endpoint="test")
    assert instance.extra == {"brand_new": [1], "extra": "mine"}
    for field in _fields(model):
        if _core(field.type) in ENUMS.values():
            value = getattr(instance, field.name)
            assert type(value) is _core(field.type)
            assert value == "brand-new"
    assert to_wire(instance) == {**data, "extra": "mine"}


@each_model
def test_known_values_of_enums_become_members(model: type[Model]) -> None:
    for field in _fields(model):
        if _core(field.type) in ENUMS.values():
            for member in _core(field.type):
                decoded = decode({**_sample(model), _wire_name(field): member.value}, model, endpoint="test")
                assert getattr(decoded, field.name) is member


@each_model
def test_optional_fields_may_be_absent_or_null(model: type[Model]) -> None:
    data = _sample(model)
    optional = {_wire_name(field): field.name for field in _fields(model) if field.default is not attrs.NOTHING}
    bare = decode({key: value for key, value in data.items() if key not in optional}, model, endpoint="test")
    null = decode({**data, **dict.fromkeys(optional)}, model, endpoint="test")
    assert bare == null
    assert all(getattr(bare, name) is None for name in optional.values())


@each_model
def test_required_field_raises_when_missing(model: type[Model]) -> None:
    for field in _fields(model):
        if field.default is attrs.NOTHING:
            data = _sample(model)
            del data[_wire_name(field)]
            with pytest.raises(DecodeError, match=f"'{_wire_name(field)}' is missing") as caught:
                decode(data, model, endpoint="GET /v1/test")
            assert caught.value.json_path == f"$.{_wire_name(field)}"


@each_model
def test_required_field_raises_when_null_unless_a_list(model: type[Model]) -> None:
    for field in _fields(model):
        if field.default is attrs.NOTHING:
            data = {**_sample(model), _wire_name(field): None}
            if get_origin(_core(field.type)) is list:
                assert getattr(decode(data, model, endpoint="GET /v1/test"), field.name) == []
                continue
            with pytest.raises(DecodeError) as caught:
                decode(data, model, endpoint="GET /v1/test")
            assert caught.value.json_path == f"$.{_wire_name(field)}"


@each_model
def test_wrong_type_drops_optional_field_or_raises(model: type[Model]) -> None:
    for field in _fields(model):
        core = _core(field.type)
        wrong = WRONG.get(get_origin(core) or core, [5])
        if field.default is None:
            read = decode({**_sample(model), _wire_name(field): wrong}, model, endpoint="GET /v1/test")
            assert (getattr(read, field.name), read.extra) == (None, {_wire_name(field): wrong})
            continue
        with pytest.raises(DecodeError) as caught:
            decode([_sample(model), {**_sample(model), _wire_name(field): wrong}], list[model], endpoint="GET /v1/test")
        assert caught.value.json_path == f"$[1].{_wire_name(field)}"
        assert "GET /v1/test" in str(caught.value)


@each_model
def test_field_is_read_under_its_other_names(model: type[Model]) -> None:
    for field in _fields(model):
        for alias in field.metadata.get("aliases", ()):
            data = _sample(model)
            data[alias] = data.pop(_wire_name(field))
            assert decode(data, model, endpoint="test") == decode(_sample(model), model, endpoint="test")


def test_reprs_show_no_secret() -> None:
    secrets = {
        (name, field)
        for name, schema in SCHEMAS.items()
        for field, described in schema.get("properties", {}).items()
        if described.get("x-secret")
    }
    assert {("CreatedApiKey", "api_secret"), ("RegeneratedSecret", "api_secret")} <= secrets
    for name, field in secrets:
        sample = _sample(MODELS[name])
        sample[field] = {"token": "hush"} if isinstance(sample[field], dict) else "hush"
        instance = decode({**sample, "unknown_token": "hush"}, MODELS[name], endpoint="test")
        assert "hush" not in repr(instance)
        assert "hush" not in str(instance)


def test_secret_sounding_fields_are_not_in_reprs() -> None:
    sounds = re.compile(r"secret|password|token|api_key$|pin$")
    for name, model in MODELS.items():
        for field in _fields(model):
            is_flag = _core(field.type) is bool
            assert is_flag or not (sounds.search(field.name) and field.repr), f"{name}.{field.name}"


# What is sent


@pytest.mark.parametrize("name", [name for name, operation in OPERATIONS.items() if operation.wire.body])
def test_absent_and_null_differ_on_the_wire(name: str) -> None:
    operation = OPERATIONS[name]
    wire = operation.wire
    path = dict.fromkeys(wire.placeholders, "id1")
    unset = dict.fromkeys(wire.body, UNSET)
    guard = {operation.guard.argument: True} if operation.guard else {}
    replaced = {operation.guard.replaces} if operation.guard else set()
    for argument in wire.body.keys() - operation.choices.keys() - replaced - (operation.lists & operation.not_empty):
        sent = prepare(operation, wire, {**path, **unset, **guard, argument: None}).body
        assert sent is not None
        assert json.loads(sent) == {wire.body[argument]: None}
    if wire.method != "PATCH":
        assert prepare(operation, wire, {**path, **unset, **guard}).body == b"{}"
