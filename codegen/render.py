"""Renders the resources, the index of the models, the catalog and the table of operations."""

import enum
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import jinja2

from codegen.docstrings import absence, differences, method_docstring, scope_text
from codegen.modules import ResourceModule
from codegen.operations import OperationSource, constant_of
from codegen.spec import Specification
from codegen.text import docstring, generated_by, module_docstring
from panelica_async.core.operation import Operation, Wire

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - the templates write Python, not HTML
)


def render_resources(modules: tuple[ResourceModule, ...]) -> dict[str, str]:
    """Return file names and unformatted texts of the resource modules."""
    files = {
        f"{part.name}.py": _render("resources/resource.py.jinja2", module=part)
        for module in modules
        for part in module.parts
    }
    for name in ("__init__.py", "registry.py", "panel_registry.py"):
        files[name] = _render(f"resources/{name}.jinja2", modules=modules)
    return files


def render_model_index(homes: Mapping[str, str]) -> str:
    """Return the text of the index of the models; `homes` has the module of each."""
    return _render("models/__init__.py.jinja2", homes=dict(sorted(homes.items())))


def render_operations_table(modules: tuple[ResourceModule, ...]) -> str:
    """Return `docs/operations.md`: every method of the published reference next to its endpoint."""
    return _render("operations.md.jinja2", modules=modules)


def render_panel_operations_table(modules: tuple[ResourceModule, ...]) -> str:
    """Return `docs/panel-operations.md`: every method for what only current panels have next to its endpoint."""
    return _render("panel-operations.md.jinja2", modules=modules)


def render_catalog(specification: Specification) -> str:
    """Return the text of `catalog.py`."""
    return _render("catalog.py.jinja2", catalog=specification.catalog)


def _render(template: str, **context: Any) -> str:
    return _TEMPLATES.get_template(template).render(**context)


def _code(value: object) -> str:
    """Return the expression that makes a part of an operation."""
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
    """Return the expression that makes a mapping; names of arguments on the wire are written short."""
    if all(isinstance(other, str) and name.isidentifier() for name, other in value.items()):
        same = [repr(name) for name, other in value.items() if name == other]
        renamed = [f"{name}={other!r}" for name, other in value.items() if name != other]
        return f"names({', '.join([*same, *renamed])})"
    codes = {name: repr(other) if isinstance(other, dict) else _code(other) for name, other in value.items()}
    return "{" + ", ".join(f"{name!r}: {code}" for name, code in codes.items()) + "}"


def _wires(wires: Mapping[str, Wire]) -> str:
    """Return the expression that makes the wire forms of an operation."""
    if len(wires) > 1 and len({_code(wire) for wire in wires.values()}) == 1:
        return f"both({_code(next(iter(wires.values())))})"
    return "{" + ", ".join(f"{dialect!r}: {_code(wire)}" for dialect, wire in wires.items()) + "}"


def _construction(value: Any) -> str:
    """Return the call that makes an attrs object or a named tuple; arguments that equal their defaults are left out."""
    arguments = [
        f"{name}={_code(getattr(value, name))}"
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


def _signature(operation: OperationSource) -> str:
    parts = ["self", *(f"{argument.name}: {argument.annotation}" for argument in operation.positional)]
    keywords = [
        f"{argument.name}: {argument.annotation if argument.required else _optional(argument.annotation)}"
        for argument in operation.keywords
    ]
    if guard := operation.operation.guard:
        keywords.append(f"{guard.argument}: bool = False")
    if keywords:
        parts += ["*", *keywords]
    if operation.operation.wire.others:
        parts.append("**fields: Any")
    return ", ".join(parts)


def _optional(annotation: str) -> str:
    base = annotation.removesuffix(" | None")
    return f"{base} | Unset{' | None' if base != annotation else ''} = UNSET"


def _passed(operation: OperationSource) -> str:
    """Return the arguments that a method passes on, all by name."""
    names = [argument.name for argument in (*operation.positional, *operation.keywords)]
    if guard := operation.operation.guard:
        names.append(guard.argument)
    passed = [f"{name}={name}" for name in names]
    return ", ".join([*passed, "**fields"] if operation.operation.wire.others else passed)


def _literal(text: str) -> str:
    """Return a string literal, split if it is too long for a line."""
    return "(" + " ".join(repr(part) for part in textwrap.wrap(text, 90, drop_whitespace=False)) + ")"


_TEMPLATES.globals.update(docstring=docstring, generated_by=generated_by, module_docstring=module_docstring)
_TEMPLATES.filters.update(
    construction=_construction,
    absence=absence,
    differences=differences,
    docstring=docstring,
    literal=_literal,
    method_docstring=method_docstring,
    passed=_passed,
    quoted=lambda text: f'"{text}"',
    repr=repr,
    scopes=scope_text,
    signature=_signature,
)
