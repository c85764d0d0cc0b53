"""Renders every generated file: fills the templates, formats the code, and writes the JSON files of the package."""

import enum
import json
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import jinja2

from codegen.docstrings import absence_text, method_docstring, panel_differences, scope_text
from codegen.methods import GeneratedMethod, constant_of
from codegen.models import ModelGroup, model_groups, modules_by_model, render_models
from codegen.modules import ResourceModule, resource_modules
from codegen.operations import panel_only
from codegen.panel import STRENGTHS, PanelOperation, load_bridge, load_panel
from codegen.spec import Specification, load
from codegen.text import docstring, generated_by, module_docstring
from panelica_async.core.operation import Operation, Wire

_PROJECT = Path(__file__).parent.parent
_PACKAGE = Path("panelica_async")
_SCHEMAS = "#/components/schemas/"
_WITHOUT_BODY = {"101", "204"}
_PANEL_INFO = {
    "title": "Panelica External API of current panels",
    "version": "1",
    "description": (
        "What current panels are known to serve. Below /v1, an `Envelope` surrounds each reply. Where nothing more is "
        "known of a reply, its `data` may be anything, or absent. Only successes are described; a panel may also "
        'report a failure with HTTP 200 and `{"status": "error", …}`.'
    ),
}
_ENVELOPE = {
    "type": "object",
    "description": "What a panel sends around the data of a reply.",
    "required": ["status"],
    "properties": {
        "status": {"type": "string", "const": "success"},
        "message": {"type": "string", "description": "What the panel did, in a sentence."},
        "total": {"type": "integer", "minimum": 0, "description": "Number of rows, beside some lists."},
        "data": {"description": "What the operation returns."},
    },
}
_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - the templates write Python, not HTML
)


def generate(spec: Path) -> dict[Path, str]:
    """Return every generated file, by its path below the project."""
    specification, panel, groups, modules = read_all(spec)
    model_modules = modules_by_model(groups)
    code = {
        _PACKAGE / "catalog.py": _render("catalog.py.jinja2", catalog=specification.catalog),
        _PACKAGE / "models/__init__.py": _render(
            "models/__init__.py.jinja2", model_modules=dict(sorted(model_modules.items()))
        ),
        **{_PACKAGE / "models" / name: text for name, text in render_models(groups).items()},
        **{_PACKAGE / "resources" / name: text for name, text in _render_resources(modules).items()},
    }
    files = _format(code)
    for path, text in files.items():
        compile(text, path.as_posix(), "exec")
    files[_PACKAGE / "openapi.json"] = json.dumps(specification.document, ensure_ascii=False, indent=1) + "\n"
    files[_PACKAGE / "panel_endpoints.json"] = render_endpoints(panel)
    files[_PACKAGE / "panel_openapi.json"] = render_document(merged_document(panel, specification.document))
    files[Path("docs/operations.md")] = _render("operations.md.jinja2", modules=modules)
    files[Path("docs/panel-operations.md")] = _render("panel-operations.md.jinja2", modules=modules)
    return files


def read_all(
    spec: Path,
) -> tuple[Specification, tuple[PanelOperation, ...], tuple[ModelGroup, ...], tuple[ResourceModule, ...]]:
    """Read and check a folder: return the reference, what panels offer, and the models and resources made of both."""
    specification = load(spec)
    panel = load_panel(spec, specification)
    additional = panel_only(panel, specification)
    groups = model_groups(specification, additional)
    bridge = load_bridge(spec, specification, panel)
    return specification, panel, groups, resource_modules(bridge, additional, modules_by_model(groups))


def _format(files: Mapping[Path, str]) -> dict[Path, str]:
    """Return Python files with imports sorted, unused imports removed and the layout of the repository."""
    with tempfile.TemporaryDirectory() as name:
        # Rename `__init__.py`, in which ruff would keep unused imports, because other modules may use them.
        copies = {path: Path(name) / path.with_stem(path.stem.replace("__init__", "package-file")) for path in files}
        for path, copy in copies.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(files[path], encoding="utf-8")
        # Without unused names, an import may fit on one line.
        one_line = ("--config", "lint.isort.split-on-trailing-comma = false")
        _ruff("check", "--fix", "--select", "I,F401,UP", *one_line, folder=Path(name))
        _ruff("format", folder=Path(name))
        return {path: copy.read_text(encoding="utf-8") for path, copy in copies.items()}


def _ruff(*arguments: str, folder: Path) -> None:
    options = ("--quiet", "--no-cache", "--config", str(_PROJECT / "pyproject.toml"))
    command = [sys.executable, "-m", "ruff", *arguments, *options, "."]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8", check=False)  # noqa: S603 - our own arguments
    if result.returncode:
        raise RuntimeError(f"ruff rejects the generated code:\n{result.stdout}{result.stderr}")


def _render_resources(modules: tuple[ResourceModule, ...]) -> dict[str, str]:
    """Return file names and unformatted texts of the resource modules."""
    files = {
        f"{part.name}.py": _render("resources/resource.py.jinja2", module=part)
        for module in modules
        for part in module.parts
    }
    for name in ("__init__.py", "registry.py", "panel_registry.py"):
        files[name] = _render(f"resources/{name}.jinja2", modules=modules)
    return files


def _render(template: str, **context: Any) -> str:
    return _TEMPLATES.get_template(template).render(**context)


def _expression(value: object) -> str:
    """Return the expression that creates a part of an operation."""
    if isinstance(value, Operation):
        return constant_of(value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, frozenset):
        return f"frozenset({sorted(value)!r})"
    if isinstance(value, dict) and any(isinstance(other, Wire) for other in value.values()):
        return _wires(value)
    if isinstance(value, dict):
        return _mapping(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return _construction(value)
    return _construction(value) if attrs.has(type(value)) else repr(value)


def _mapping(value: Mapping[str, Any]) -> str:
    """Return the expression that creates a mapping; one from arguments to names on the wire is a call of `names`."""
    if all(isinstance(other, str) and name.isidentifier() for name, other in value.items()):
        same = [repr(name) for name, other in value.items() if name == other]
        renamed = [f"{name}={other!r}" for name, other in value.items() if name != other]
        return f"names({', '.join([*same, *renamed])})"
    codes = {name: repr(other) if isinstance(other, dict) else _expression(other) for name, other in value.items()}
    return "{" + ", ".join(f"{name!r}: {code}" for name, code in codes.items()) + "}"


def _wires(wires: Mapping[str, Wire]) -> str:
    """Return the expression that creates the wires of an operation."""
    if len(wires) > 1 and len({_expression(wire) for wire in wires.values()}) == 1:
        return f"both({_expression(next(iter(wires.values())))})"
    return "{" + ", ".join(f"{dialect!r}: {_expression(wire)}" for dialect, wire in wires.items()) + "}"


def _construction(value: Any) -> str:
    """Return the call that creates an attrs object or a named tuple, without arguments that equal their defaults."""
    arguments = [
        f"{name}={_expression(getattr(value, name))}"
        for name, default in _defaults(type(value)).items()
        if getattr(value, name) != default
    ]
    return f"{type(value).__name__}({', '.join(arguments)})"


def _defaults(kind: Any) -> dict[str, Any]:
    """Return the fields of a class, each with its default, or `attrs.NOTHING` without one."""
    if not attrs.has(kind):
        return {name: kind._field_defaults.get(name, attrs.NOTHING) for name in kind._fields}
    defaults = {field.name: field.default for field in attrs.fields(kind)}
    return {
        name: default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]
        for name, default in defaults.items()
    }


def _signature(method: GeneratedMethod) -> str:
    parts = ["self", *(f"{argument.name}: {argument.annotation}" for argument in method.positional)]
    keywords = [
        f"{argument.name}: {argument.annotation if argument.required else _optional(argument.annotation)}"
        for argument in method.keywords
    ]
    if guard := method.operation.guard:
        keywords.append(f"{guard.argument}: bool = False")
    if keywords:
        parts += ["*", *keywords]
    if method.operation.wire.others:
        parts.append("**fields: Any")
    return ", ".join(parts)


def _optional(annotation: str) -> str:
    base = annotation.removesuffix(" | None")
    return f"{base} | Unset{' | None' if base != annotation else ''} = UNSET"


def _call_arguments(method: GeneratedMethod) -> str:
    """Return the arguments with which a method calls its operation, all by name."""
    names = [argument.name for argument in (*method.positional, *method.keywords)]
    if guard := method.operation.guard:
        names.append(guard.argument)
    passed = [f"{name}={name}" for name in names]
    return ", ".join([*passed, "**fields"] if method.operation.wire.others else passed)


def _literal(text: str) -> str:
    """Return a string literal, split if it is too long for a line."""
    return "(" + " ".join(repr(part) for part in textwrap.wrap(text, 90, drop_whitespace=False)) + ")"


def merged_document(operations: Iterable[PanelOperation], reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return current panels as one OpenAPI document, without the evidence of its fields.

    The name of a schema includes its file, because two files may use the same name: `accounts.Account`.

    Args:
        operations: What current panels offer.
        reference: The document of the published reference, whose address and signature are those of every panel.
    """
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for operation in operations:
        node = {**operation.node, "tags": [operation.category]}
        if operation.parameters:
            node["parameters"] = operation.parameters
        qualified = _without_evidence(node, operation.module)
        if operation.path.startswith("/v1/"):
            responses = qualified["responses"].items()
            qualified["responses"] = {status: _enveloped(status, response) for status, response in responses}
        paths.setdefault(operation.path, {})[operation.method.lower()] = qualified
        for name, schema in operation.document.get("components", {}).get("schemas", {}).items():
            schemas[f"{operation.module}.{name}"] = _without_evidence(schema, operation.module)
    return {
        "openapi": "3.1.0",
        "info": {**_PANEL_INFO, **_pick(reference["info"], "contact", "license")},
        **_pick(reference, "servers", "security"),
        "paths": paths,
        "components": {
            **_pick(reference["components"], "securitySchemes"),
            "schemas": {"Envelope": _ENVELOPE, **schemas},
        },
    }


def _enveloped(status: str, response: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response with the envelope around its data; a file has none."""
    envelope = {"$ref": f"{_SCHEMAS}Envelope"}
    content: dict[str, Any]
    match response.get("content"):
        case None if status in _WITHOUT_BODY:
            return {**response}
        case None:
            content = {"schema": envelope}
        case {"application/json": {"schema": data, **others}}:
            part = {"type": "object", "required": ["data"], "properties": {"data": data}}
            content = {"schema": {"allOf": [envelope, part]}}
            if "example" in others:
                content["example"] = {"status": "success", "data": others["example"]}
        case _:
            return {**response}
    return {**response, "content": {"application/json": content}}


def _pick(node: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: node[name] for name in names if name in node}


def _without_evidence(node: Any, module: str) -> Any:
    """Return a copy of a part of a file without evidence, and with references to the merged document."""
    match node:
        case {"$ref": str(reference)}:
            return {"$ref": f"{_SCHEMAS}{module}.{reference.removeprefix(_SCHEMAS)}"}
        case dict():
            fields: dict[str, Any] = node
            return {key: _without_evidence(value, module) for key, value in fields.items() if key not in STRENGTHS}
        case list() | tuple():
            return [_without_evidence(item, module) for item in node]
        case _:
            return node


def render_document(document: Mapping[str, Any]) -> str:
    """Return the text of `panel_openapi.json`, one path or schema on each line."""
    components = {name: _one_per_line(node) for name, node in document["components"].items()}
    parts = {name: json.dumps(node, ensure_ascii=False) for name, node in document.items()}
    parts["paths"] = _one_per_line(document["paths"])
    parts["components"] = "{" + ", ".join(f"{json.dumps(name)}: {text}" for name, text in components.items()) + "}"
    return "{\n " + ",\n ".join(f"{json.dumps(name)}: {text}" for name, text in parts.items()) + "\n}\n"


def _one_per_line(nodes: Mapping[str, Any]) -> str:
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(node, ensure_ascii=False)}" for name, node in nodes.items())
    return f"{{\n{lines}\n }}"


def render_endpoints(operations: Iterable[PanelOperation]) -> str:
    """Return the text of `panel_endpoints.json`, one operation on each line."""
    lines = [json.dumps(endpoint_of(operation), ensure_ascii=False) for operation in operations]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def endpoint_of(operation: PanelOperation) -> dict[str, Any]:
    """Return the entry of an operation in `panel_endpoints.json`; the value of a field is whether it is required."""
    endpoint: dict[str, Any] = {
        "id": operation.name,
        "method": operation.method,
        "path": operation.path,
        "category": operation.category,
        "summary": operation.node["summary"],
        "scopes": list(operation.node["x-scope"]),
    }
    if "x-roles" in operation.node:
        endpoint["roles"] = list(operation.node["x-roles"])
    if operation.node.get("x-websocket"):
        endpoint["websocket"] = True
    query = {node["name"]: node.get("required", False) for node in operation.parameters if node["in"] == "query"}
    if query:
        endpoint["query"] = query
    if "requestBody" in operation.node:
        [(media_type, content)] = operation.node["requestBody"]["content"].items()
        required = content["schema"].get("required", ())
        kind = "json" if media_type == "application/json" else "form"
        endpoint[kind] = {name: name in required for name in content["schema"].get("properties", ())}
    return endpoint


_TEMPLATES.globals.update(docstring=docstring, generated_by=generated_by, module_docstring=module_docstring)
_TEMPLATES.filters.update(
    construction=_construction,
    absence_text=absence_text,
    panel_differences=panel_differences,
    docstring=docstring,
    literal=_literal,
    method_docstring=method_docstring,
    call_arguments=_call_arguments,
    quoted=lambda text: f'"{text}"',
    repr=repr,
    scopes=scope_text,
    signature=_signature,
)
