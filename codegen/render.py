"""Renders `panelica_async/resources/`, the accessors of the client and the table of operations."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import jinja2

from codegen.checks import IMPORTED
from codegen.docstrings import method_docstring
from codegen.models import group_of_schema, model_groups
from codegen.operations import NaturalKey, OperationSource, Wire, constant_of, operations_of
from codegen.spec import ResourceFile, Specification
from codegen.text import docstring, generated_by, module_docstring, sentence
from codegen.yaml_nodes import SpecError

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # noqa: S701 - the templates write Python, not HTML
)


@attrs.frozen(kw_only=True)
class Namespace:
    """A class of a resource module: the operations behind `panel.<path>`, and the namespaces below it."""

    path: tuple[str, ...]
    class_name: str
    description: str
    operations: tuple[OperationSource, ...]
    children: tuple["Namespace", ...]

    @property
    def attribute(self) -> str:
        """Name of the attribute that leads here."""
        return self.path[-1]


@attrs.frozen(kw_only=True)
class ResourceModule:
    """A generated module: one resource file of the specification."""

    name: str
    title: str
    description: str
    operations: tuple[OperationSource, ...]
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


def resource_modules(specification: Specification) -> tuple[ResourceModule, ...]:
    """Return what is to be rendered, one entry a resource file."""
    homes = group_of_schema(model_groups(specification))
    return tuple(_module(resource, homes, specification) for resource in specification.resources)


def _module(resource: ResourceFile, homes: Mapping[str, str], specification: Specification) -> ResourceModule:
    operations = operations_of(resource, specification)
    description = sentence(resource.tag["description"])
    tops = dict.fromkeys(operation.namespace[:1] for operation in operations if operation.namespace)
    on_client = tuple(operation for operation in operations if not operation.namespace)
    models = {model for operation in operations for model in operation.models}
    module = ResourceModule(
        name=resource.name,
        title=resource.tag["name"],
        description=description,
        operations=operations,
        namespaces=tuple(_namespace(top, operations, description) for top in tops),
        client=_client_namespace(resource.name, on_client, description) if on_client else None,
        imports=tuple(sorted((homes[model], model) for model in models)),
    )
    for operation in operations:
        if operation.constant in IMPORTED:
            problem = f"the constant of `{operation.name}` would be a second `{operation.constant}`"
            raise SpecError(resource.paths.location, problem, "Rename the operation")
    taken = IMPORTED | models
    for namespace in module.classes:
        if namespace.class_name in taken:
            problem = f"the class of `{'.'.join(namespace.path)}` would be a second `{namespace.class_name}`"
            raise SpecError(resource.paths.location, problem, "Rename the namespace or the schema")
        taken |= {namespace.class_name}
    return module


def render_resources(modules: tuple[ResourceModule, ...]) -> dict[str, str]:
    """Return file names and unformatted texts of the resource modules."""
    files = {f"{module.name}.py": _render("resource.py.jinja2", module=module) for module in modules}
    files["registry.py"] = _render("registry.py.jinja2", modules=modules)
    files["__init__.py"] = module_docstring("One module a resource, each loaded when it is first touched.") + "\n"
    return files


def render_namespaces(modules: tuple[ResourceModule, ...]) -> str:
    """Return the text of the accessors that `PanelicaClient` inherits."""
    return _render("namespaces.py.jinja2", modules=modules)


def render_operations_table(modules: tuple[ResourceModule, ...]) -> str:
    """Return `docs/operations.md`: every method next to its endpoint."""
    return _render("operations.md.jinja2", modules=modules)


def render_catalog(specification: Specification) -> str:
    """Return the text of the module of what is not an endpoint."""
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


def _wire_code(wire: Wire) -> str:
    parts = [f"method={wire.method!r}", f"path={wire.path!r}"]
    for place, mapping in (("query", wire.query), ("body", wire.body)):
        if mapping:
            parts.append(f"{place}={_names_code(mapping)}")
    if wire.wrapped:
        parts.append(f"wrapped=frozenset({list(wire.wrapped)!r})")
    if wire.items:
        parts.append(f"items={wire.items!r}")
    return f"Wire({', '.join(parts)})"


def _natural_key_code(key: NaturalKey) -> str:
    parts = [f"lookup={constant_of(key.lookup)}", f"fields={_names_code(key.fields)}"]
    for place, names in (("prefixed", key.prefixed), ("local", key.local)):
        if names:
            parts.append(f"{place}=frozenset({list(names)!r})")
    return f"NaturalKey({', '.join(parts)})"


def _names_code(mapping: Mapping[str, str]) -> str:
    same = [repr(name) for name, other in mapping.items() if name == other]
    renamed = [f"{name}={other!r}" for name, other in mapping.items() if name != other]
    return f"names({', '.join([*same, *renamed])})"


def _signature(operation: OperationSource) -> str:
    parts = ["self", *(f"{argument.name}: {argument.annotation}" for argument in operation.positional)]
    keywords = [
        f"{argument.name}: {argument.annotation if argument.required else _optional(argument.annotation)}"
        for argument in operation.keywords
    ]
    if operation.guard:
        keywords.append(f"{operation.guard.argument}: bool = False")
    return ", ".join([*parts, "*", *keywords] if keywords else parts)


def _optional(annotation: str) -> str:
    base = annotation.removesuffix(" | None")
    return f"{base} | Unset{' | None' if base != annotation else ''} = UNSET"


def _passed(operation: OperationSource) -> str:
    """Return the arguments of a method as it hands them on, all of them by name."""
    names = [argument.name for argument in (*operation.positional, *operation.keywords)]
    if operation.guard:
        names.append(operation.guard.argument)
    return ", ".join(f"{name}={name}" for name in names)


def _literal(text: str) -> str:
    """Return a string literal, in parts where it is too long for a line."""
    return "(" + " ".join(repr(part) for part in textwrap.wrap(text, 90, drop_whitespace=False)) + ")"


_TEMPLATES.globals.update(generated_by=generated_by, module_docstring=module_docstring)
_TEMPLATES.filters.update(
    constant=constant_of,
    docstring=docstring,
    literal=_literal,
    method_docstring=method_docstring,
    member=lambda repeat: repeat.replace("-", "_").upper(),
    natural_key=_natural_key_code,
    passed=_passed,
    repr=repr,
    signature=_signature,
    wire=_wire_code,
)
