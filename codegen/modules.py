"""Arranges operations in namespaces and modules, and picks their hand-written base classes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from codegen.checks import IMPORTED, PANEL_SUFFIX
from codegen.methods import OperationSource
from codegen.operations import panel_operations, published_operations
from codegen.panel import Bridge, PanelOperation
from codegen.spec import ResourceFile
from codegen.text import generated_by, sentence
from codegen.yaml_nodes import Location, SpecError


@attrs.frozen
class Base:
    """A hand-written class below a generated one."""

    module: str
    name: str
    methods: frozenset[str]
    """Methods that it has instead of generated ones."""


_RESOURCE = Base("panelica_async.api.resource", "Resource", frozenset())
_HAND_WRITTEN: Mapping[tuple[str, ...], Base] = {
    ("accounts",): Base("panelica_async.api.bases", "SignIn", frozenset({"sso_login"})),
    ("backups",): Base("panelica_async.api.bases", "BackupWait", frozenset()),
    ("docker",): Base("panelica_async.api.stacks", "DockerApps", frozenset()),
    ("files",): Base("panelica_async.api.transfer", "Downloads", frozenset()),
    ("ssl", "certificates"): Base("panelica_async.api.bases", "CertificateWait", frozenset()),
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
    module: str | None = None
    """Module that defines the class, if not the one of its parent."""

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
    origin: str
    """Note on the files of the specification."""
    operations: tuple[OperationSource, ...]
    """Those of the published reference, then those that only current panels have."""
    namespaces: tuple[Namespace, ...]
    """Top-level namespaces, children within."""
    client: Namespace | None
    """Operations that are methods of the client itself."""
    imports: tuple[tuple[str, str], ...]
    """Model modules and the names used of them."""
    late_imports: tuple[tuple[str, str], ...] = ()
    """The same for models that are loaded by the call that needs them."""
    beside: "ResourceModule | None" = None
    """A module for namespaces that only current panels have, loaded when one of them is first used."""

    @property
    def parts(self) -> tuple["ResourceModule", ...]:
        """The module, and the one beside it."""
        return (self, self.beside) if self.beside else (self,)

    @property
    def late_models(self) -> dict[str, str]:
        """Module of each model that is loaded late."""
        return {model: home for home, model in self.late_imports}

    @property
    def late_namespaces(self) -> tuple[Namespace, ...]:
        """Namespaces whose classes are loaded late."""
        return tuple(child for parent in self.classes for child in parent.children if child.module)

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

    @property
    def all_panel_only(self) -> tuple[OperationSource, ...]:
        """The same with those of the module beside it."""
        return tuple(operation for part in self.parts for operation in part.panel_only)


def resource_modules(
    bridge: Bridge, panel: Iterable[PanelOperation], homes: Mapping[str, str]
) -> tuple[ResourceModule, ...]:
    """Return the resource modules to render, by name.

    Args:
        bridge: The published reference, and how its operations travel to current panels.
        panel: Operations that only current panels have.
        homes: Module of each model.
    """
    resources = {resource.name: resource for resource in bridge.specification.resources}
    published = {name: published_operations(resource, bridge) for name, resource in resources.items()}
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
    modules: list[ResourceModule] = []
    for name in sorted({*resources, *added}):
        ours, theirs = published.get(name, ()), added.get(name, [])
        operations = (*ours, *panel_operations(theirs, ours, bridge.specification))
        modules.append(_module(name, resources.get(name), theirs, operations, homes))
    return tuple(modules)


def _module(
    name: str,
    resource: ResourceFile | None,
    added: Sequence[PanelOperation],
    operations: tuple[OperationSource, ...],
    homes: Mapping[str, str],
) -> ResourceModule:
    title, description, location = _heading(name, resource, added)
    files = {operation.module for operation in added}
    # What only current panels have must not make the rest slower to load.
    other = f"{name}{PANEL_SUFFIX}" if resource else None
    tops = dict.fromkeys(operation.namespace[:1] for operation in operations if operation.namespace)
    namespaces = tuple(_namespace(top, operations, description, other) for top in tops)
    parents = [parent for top in namespaces for parent in _innermost_first(top)]
    late = tuple(child for parent in parents for child in parent.children if child.module)
    paths = {one.path for namespace in late for one in _innermost_first(namespace)}
    own = tuple(source for source in operations if source.namespace not in paths)
    on_client = tuple(source for source in own if not source.namespace)
    imports = _imports(own, homes)
    module = ResourceModule(
        name=name,
        title=title,
        description=description,
        origin=_origin(name if resource else None, files),
        operations=own,
        namespaces=namespaces,
        client=_client_namespace(name, on_client, description) if on_client else None,
        imports=tuple(one for one in imports if not resource or not one[0].endswith(PANEL_SUFFIX)),
        late_imports=tuple(one for one in imports if resource and one[0].endswith(PANEL_SUFFIX)),
    )
    if late:
        rest = tuple(source for source in operations if source.namespace in paths)
        module = attrs.evolve(module, beside=_beside(module, late, rest, files, homes))
    for part in module.parts:
        _check_clashes(part, location)
    return module


def _beside(
    module: ResourceModule,
    namespaces: Iterable[Namespace],
    operations: tuple[OperationSource, ...],
    files: Collection[str],
    homes: Mapping[str, str],
) -> ResourceModule:
    """Return the module beside a module, for its namespaces that only current panels have."""
    return attrs.evolve(
        module,
        name=f"{module.name}{PANEL_SUFFIX}",
        description=f"What only current panels have of {module.title}",
        origin=_origin(None, files),
        operations=operations,
        namespaces=tuple(attrs.evolve(namespace, module=None) for namespace in namespaces),
        client=None,
        imports=_imports(operations, homes),
        late_imports=(),
    )


def _heading(name: str, resource: ResourceFile | None, added: Sequence[PanelOperation]) -> tuple[str, str, Location]:
    """Return title and description of a module, and where to report a problem with it."""
    if resource is not None:
        return resource.tag["name"], sentence(resource.tag["description"]), resource.paths.location
    # The file that is named after the attribute, or the first.
    document = max(added, key=lambda operation: operation.module == name).document
    return document["info"]["title"], sentence(document["info"]["description"]), document.location


def _origin(resource: str | None, files: Collection[str]) -> str:
    """Return the note on origin of a module: its resource file, and its one file on current panels or their folder."""
    panel = [f"`spec/panel/{next(iter(files))}.yaml`" if len(files) == 1 else "`spec/panel/`"] if files else []
    return generated_by(*([f"`spec/{resource}.yaml`"] if resource else []), *panel)


def _imports(operations: Iterable[OperationSource], homes: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(homes[model], model) for operation in operations for model in operation.models}))


def _check_clashes(module: ResourceModule, location: Location) -> None:
    """Check that no two things in a module have the same name."""
    constants = set(IMPORTED)
    for operation in module.operations:
        if operation.constant in constants:
            problem = f"the constant of `{operation.name}` clashes with another `{operation.constant}`"
            raise SpecError(location, problem, "Rename the operation")
        constants.add(operation.constant)
    taken = IMPORTED | {model for operation in module.operations for model in operation.models}
    for namespace in module.classes:
        if namespace.class_name in taken:
            problem = f"the class of `{'.'.join(namespace.path)}` clashes with another `{namespace.class_name}`"
            raise SpecError(location, problem, "Rename the namespace or the schema")
        taken |= {namespace.class_name}


def _namespace(
    path: tuple[str, ...], operations: tuple[OperationSource, ...], description: str, other: str | None
) -> Namespace:
    """Return a namespace with those below it; `other` is the module for those that only current panels have."""
    here = [operation for operation in operations if operation.namespace[: len(path)] == path]
    below = dict.fromkeys(
        operation.namespace[: len(path) + 1] for operation in here if len(operation.namespace) > len(path)
    )
    module = other if len(path) > 1 and all(operation.is_panel_only for operation in here) else None
    return Namespace(
        path=path,
        class_name=_class_name(path),
        description=description,
        operations=tuple(operation for operation in here if operation.namespace == path),
        children=tuple(
            _namespace(child, operations, f"Operations of `panel.{'.'.join(child)}`.", None if module else other)
            for child in below
        ),
        module=module,
    )


def _client_namespace(name: str, operations: tuple[OperationSource, ...], description: str) -> Namespace:
    path = (name,)
    return Namespace(
        path=path, class_name=_class_name(path), description=description, operations=operations, children=()
    )


def _innermost_first(namespace: Namespace) -> Iterator[Namespace]:
    """Yield a namespace after those below it that are in the same module."""
    for child in namespace.children:
        if child.module is None:
            yield from _innermost_first(child)
    yield namespace


def _class_name(path: tuple[str, ...]) -> str:
    return "".join(word.capitalize() for part in path for word in part.split("_"))
