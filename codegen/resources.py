"""Renders `panelica_async/resources/`, the accessors of the client and the table of operations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import jinja2

from codegen.docstrings import docstring, method_docstring, sentence
from codegen.header import generated_by
from codegen.models import group_of_schema, model_groups
from codegen.operations import OperationSource, operations_of
from codegen.specification import Specification
from codegen.wires import Wire

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
    docstring: str
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
    docstring: str
    source: str
    operations: tuple[OperationSource, ...]
    namespaces: tuple[Namespace, ...]
    """Top-level namespaces, children within."""
    client_operations: tuple[OperationSource, ...]
    """Operations that are methods of the client itself."""
    imports: tuple[tuple[str, str], ...]
    """Model modules and the names used of them."""

    @property
    def classes(self) -> tuple[Namespace, ...]:
        """Every class, innermost first, so that each is defined before it is used."""
        return tuple(namespace for top in self.namespaces for namespace in _innermost_first(top))

    @property
    def client_class(self) -> str:
        """Name of the class behind the client's own methods."""
        return _class_name((self.name,))


def resource_modules(specification: Specification) -> tuple[ResourceModule, ...]:
    """Return what is to be rendered, one entry a resource file."""
    homes = group_of_schema(model_groups(specification))
    modules = []
    for resource in specification.resources:
        operations = operations_of(resource, specification)
        tops = list(dict.fromkeys(operation.namespace[0] for operation in operations if operation.namespace))
        description = sentence(resource.tag.get("description", resource.tag["name"]))
        modules.append(
            ResourceModule(
                name=resource.name,
                title=resource.tag["name"],
                docstring=description,
                source=resource.name,
                operations=operations,
                namespaces=tuple(_namespace((top,), operations, description) for top in tops),
                client_operations=tuple(operation for operation in operations if not operation.namespace),
                imports=tuple(sorted((homes[model], model) for model in _models(operations))),
            )
        )
    return tuple(modules)


def render_resources(modules: tuple[ResourceModule, ...]) -> dict[str, str]:
    """Return file names and unformatted texts of the resource modules."""
    files = {f"{module.name}.py": _render("resource.py.jinja2", module=module) for module in modules}
    files["__init__.py"] = f'"""One module a resource, each loaded when it is first touched.\n\n{generated_by()}\n"""\n'
    return files


def render_namespaces(modules: tuple[ResourceModule, ...]) -> str:
    """Return the text of the accessors that `PanelicaClient` inherits."""
    return _render("namespaces.py.jinja2", modules=modules)


def render_operations_table(modules: tuple[ResourceModule, ...]) -> str:
    """Return `docs/operations.md`: every method next to its endpoint."""
    return _render("operations.md.jinja2", modules=modules)


def _namespace(path: tuple[str, ...], operations: tuple[OperationSource, ...], docstring: str) -> Namespace:
    below = dict.fromkeys(
        operation.namespace[: len(path) + 1]
        for operation in operations
        if operation.namespace[: len(path)] == path and len(operation.namespace) > len(path)
    )
    return Namespace(
        path=path,
        class_name=_class_name(path),
        docstring=docstring,
        operations=tuple(operation for operation in operations if operation.namespace == path),
        children=tuple(_namespace(child, operations, f"Operations of `panel.{'.'.join(child)}`.") for child in below),
    )


def _innermost_first(namespace: Namespace) -> Iterator[Namespace]:
    for child in namespace.children:
        yield from _innermost_first(child)
    yield namespace


def _class_name(path: tuple[str, ...]) -> str:
    return "".join(word.capitalize() for part in path for word in part.split("_"))


def _models(operations: tuple[OperationSource, ...]) -> set[str]:
    used = {operation.result.model for operation in operations if operation.result.model}
    return used.union(*(argument.models for operation in operations for argument in operation.arguments))


def _render(template: str, **context: Any) -> str:
    return _TEMPLATES.get_template(template).render(generated_by=generated_by, **context)


def _wire_code(wire: Wire) -> str:
    parts = [f"method={wire.method!r}", f"path={wire.path!r}"]
    for place, mapping in (("query", wire.query), ("body", wire.body)):
        if mapping:
            same = [repr(name) for name, other in mapping.items() if name == other]
            renamed = [f"{name}={other!r}" for name, other in mapping.items() if name != other]
            parts.append(f"{place}=names({', '.join([*same, *renamed])})")
    if wire.wrapped:
        parts.append(f"wrapped=frozenset({set(wire.wrapped)!r})")
    if wire.items:
        parts.append(f"items={wire.items!r}")
    return f"Wire({', '.join(parts)})"


def _signature(operation: OperationSource) -> str:
    parts = ["self", *(f"{argument.name}: {argument.annotation}" for argument in operation.positional)]
    keywords = [
        f"{argument.name}: {argument.annotation if argument.required else _optional(argument.annotation)}"
        for argument in operation.keywords
    ]
    if operation.guard:
        keywords.append(f"{operation.guard.argument}: bool = False")
    if keywords:
        parts += ["*", *keywords]
    return ", ".join(parts)


def _optional(annotation: str) -> str:
    base = annotation.removesuffix(" | None")
    return f"{base} | Unset{' | None' if base != annotation else ''} = UNSET"


def _passed(operation: OperationSource) -> str:
    names = [argument.name for argument in (*operation.positional, *operation.keywords)]
    if operation.guard:
        names.append(operation.guard.argument)
    return "".join(f", {name}={name}" for name in names)


def _enum_member(repeat: str) -> str:
    return repeat.replace("-", "_").upper()


_TEMPLATES.filters.update(
    wire=_wire_code,
    signature=_signature,
    passed=_passed,
    docstring=method_docstring,
    sentence=sentence,
    class_docstring=lambda text: docstring(text).replace("\n", "\n    ").replace("    \n", "\n"),
    member=_enum_member,
    keys=lambda natural_key: repr(tuple(natural_key["fields"])),
)
