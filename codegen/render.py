"""Renders the resources, the index of the models, the catalog and the table of operations."""

import enum
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import jinja2

from codegen.bridge import Bridge
from codegen.checks import IMPORTED
from codegen.differences import differences
from codegen.docstrings import method_docstring, scope_text
from codegen.operations import OperationSource, constant_of, operations_of
from codegen.panel import PanelOperation
from codegen.panel_operations import sources_of
from codegen.spec import ResourceFile, Specification
from codegen.text import docstring, generated_by, module_docstring, sentence
from codegen.yaml_nodes import SpecError
from panelica_async.core.operation import Operation, Wire

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - the templates write Python, not HTML
)


@attrs.frozen
class Base:
    """A hand-written class below a generated one."""

    module: str
    name: str
    methods: frozenset[str]
    """Methods that it has instead of generated ones."""


_RESOURCE = Base("panelica_async.api.resource", "Resource", frozenset())
_HAND_WRITTEN: Mapping[tuple[str, ...], Base] = {
    ("accounts",): Base("panelica_async.api.sign_in", "SignIn", frozenset({"sso_login"})),
    ("backups",): Base("panelica_async.api.waiting", "BackupWait", frozenset()),
    ("ssl", "certificates"): Base("panelica_async.api.waiting", "CertificateWait", frozenset()),
}
"""Namespaces with methods that a specification cannot describe."""


@attrs.frozen(kw_only=True)
class Namespace:
    """A class of a resource module: the operations behind `panel.<path>`, and the namespaces below it."""

    path: tuple[str, ...]
    class_name: str
    description: str
    operations: tuple[OperationSource, ...]
    children: tuple["Namespace", ...]

    @property
    def base(self) -> Base:
        """Its base class."""
        return _HAND_WRITTEN.get(self.path, _RESOURCE)

    @property
    def generated(self) -> tuple[OperationSource, ...]:
        """Operations whose methods are generated."""
        return tuple(item for item in self.operations if item.method_name not in self.base.methods)

    @property
    def attribute(self) -> str:
        """Name of the attribute that leads here."""
        return self.path[-1]


@attrs.frozen(kw_only=True)
class ResourceModule:
    """A generated module: the operations behind one attribute of the client."""

    name: str
    title: str
    description: str
    sources: tuple[str, ...]
    """Files of the specification."""
    operations: tuple[OperationSource, ...]
    """Those of the published reference, then those that only current panels have."""
    namespaces: tuple[Namespace, ...]
    """Top-level namespaces, children within."""
    client: Namespace | None
    """Operations that are methods of the client itself."""
    imports: tuple[tuple[str, str], ...]
    """Model modules and the names used of them."""

    @property
    def classes(self) -> tuple[Namespace, ...]:
        """Every class, innermost first, so that each is defined before it is used."""
        inner = tuple(namespace for top in self.namespaces for namespace in _innermost_first(top))
        return (*inner, self.client) if self.client else inner

    @property
    def published(self) -> tuple[OperationSource, ...]:
        """Operations of the published reference."""
        return tuple(operation for operation in self.operations if not operation.is_panel_only)

    @property
    def panel_only(self) -> tuple[OperationSource, ...]:
        """Operations that only current panels have."""
        return tuple(operation for operation in self.operations if operation.is_panel_only)


def resource_modules(
    specification: Specification, bridge: Bridge, panel: Iterable[PanelOperation], homes: Mapping[str, str]
) -> tuple[ResourceModule, ...]:
    """Return the resource modules to render, by name.

    Args:
        specification: The published reference.
        bridge: How its operations travel to current panels.
        panel: Operations that only current panels have.
        homes: Module of each model.
    """
    published = {resource.name: operations_of(resource, specification, bridge) for resource in specification.resources}
    # Most files are named after the attribute of the client that their operations are below.
    owners = {
        operation.namespace[0]: name
        for name, operations in published.items()
        for operation in operations
        if operation.namespace
    }
    added: dict[str, list[PanelOperation]] = {}
    for operation in panel:
        top = operation.name.partition(".")[0]
        added.setdefault(owners.get(top, top) if top != operation.name else operation.module, []).append(operation)
    resources = {resource.name: resource for resource in specification.resources}
    return tuple(
        _module(
            name,
            resources.get(name),
            added.get(name, []),
            (
                *published.get(name, ()),
                *sources_of(added.get(name, []), published.get(name, ()), specification),
            ),
            homes,
        )
        for name in sorted({*resources, *added})
    )


def _module(
    name: str,
    resource: ResourceFile | None,
    added: Sequence[PanelOperation],
    operations: tuple[OperationSource, ...],
    homes: Mapping[str, str],
) -> ResourceModule:
    if resource is None:
        # The file that is named after the attribute, or the first.
        document = max(added, key=lambda operation: operation.module == name).document
        title, description, location = document["info"]["title"], document["info"]["description"], document.location
    else:
        title, description = resource.tag["name"], resource.tag["description"]
        location = resource.paths.location
    files = dict.fromkeys(f"panel/{operation.module}" for operation in added)
    description = sentence(description)
    tops = dict.fromkeys(operation.namespace[:1] for operation in operations if operation.namespace)
    on_client = tuple(operation for operation in operations if not operation.namespace)
    models = {model for operation in operations for model in operation.models}
    module = ResourceModule(
        name=name,
        title=title,
        description=description,
        sources=(name, *files) if resource else tuple(files),
        operations=operations,
        namespaces=tuple(_namespace(top, operations, description) for top in tops),
        client=_client_namespace(name, on_client, description) if on_client else None,
        imports=tuple(sorted((homes[model], model) for model in models)),
    )
    constants = set(IMPORTED)
    for operation in operations:
        if operation.constant in constants:
            problem = f"the constant of `{operation.name}` clashes with another `{operation.constant}`"
            raise SpecError(location, problem, "Rename the operation")
        constants.add(operation.constant)
    taken = IMPORTED | models
    for namespace in module.classes:
        if namespace.class_name in taken:
            problem = f"the class of `{'.'.join(namespace.path)}` clashes with another `{namespace.class_name}`"
            raise SpecError(location, problem, "Rename the namespace or the schema")
        taken |= {namespace.class_name}
    return module


def render_resources(modules: tuple[ResourceModule, ...]) -> dict[str, str]:
    """Return file names and unformatted texts of the resource modules."""
    files = {f"{module.name}.py": _render("resources/resource.py.jinja2", module=module) for module in modules}
    for name in ("__init__.py", "registry.py"):
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


def _namespace(path: tuple[str, ...], operations: tuple[OperationSource, ...], description: str) -> Namespace:
    below = dict.fromkeys(
        operation.namespace[: len(path) + 1]
        for operation in operations
        if operation.namespace[: len(path)] == path and len(operation.namespace) > len(path)
    )
    return Namespace(
        path=path,
        class_name=_class_name(path),
        description=description,
        operations=tuple(operation for operation in operations if operation.namespace == path),
        children=tuple(_namespace(child, operations, f"Operations of `panel.{'.'.join(child)}`.") for child in below),
    )


def _client_namespace(name: str, operations: tuple[OperationSource, ...], description: str) -> Namespace:
    path = (name,)
    return Namespace(
        path=path, class_name=_class_name(path), description=description, operations=operations, children=()
    )


def _innermost_first(namespace: Namespace) -> Iterator[Namespace]:
    for child in namespace.children:
        yield from _innermost_first(child)
    yield namespace


def _class_name(path: tuple[str, ...]) -> str:
    return "".join(word.capitalize() for part in path for word in part.split("_"))


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
    """Return the call that makes an attrs object; arguments that equal their defaults are left out."""
    arguments = [
        f"{field.name}={_code(getattr(value, field.name))}"
        for field in attrs.fields(type(value))
        if getattr(value, field.name) != _default(field)
    ]
    return f"{type(value).__name__}({', '.join(arguments)})"


def _default(field: "attrs.Attribute[Any]") -> object:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


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


_TEMPLATES.globals.update(generated_by=generated_by, module_docstring=module_docstring)
_TEMPLATES.filters.update(
    construction=_construction,
    differences=differences,
    docstring=docstring,
    literal=_literal,
    method_docstring=method_docstring,
    passed=_passed,
    repr=repr,
    scopes=scope_text,
    signature=_signature,
)
