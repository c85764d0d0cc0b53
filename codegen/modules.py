"""Arranges operations in namespaces and modules, and picks their hand-written base classes."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from codegen.checks import IMPORTED, PANEL_SUFFIX
from codegen.methods import GeneratedMethod
from codegen.operations import panel_methods, published_methods
from codegen.panel import Bridge, PanelOperation
from codegen.spec import ResourceFile
from codegen.text import generated_by, sentence
from codegen.yaml_nodes import Location, SpecError


@attrs.frozen
class BaseClass:
    """A hand-written base class of a generated class."""

    module: str
    name: str
    methods: frozenset[str]
    """Names of the methods that it defines, so that they are not generated."""


_RESOURCE_BASE = BaseClass("panelica_async.api.resource", "Resource", frozenset())
_HAND_WRITTEN_BASES: Mapping[tuple[str, ...], BaseClass] = {
    ("accounts",): BaseClass("panelica_async.api.bases", "SignIn", frozenset({"sso_login"})),
    ("backups",): BaseClass("panelica_async.api.bases", "BackupWait", frozenset()),
    ("docker",): BaseClass("panelica_async.api.stacks", "DockerApps", frozenset()),
    ("files",): BaseClass("panelica_async.api.transfer", "Downloads", frozenset()),
    ("ssl", "certificates"): BaseClass("panelica_async.api.bases", "CertificateWait", frozenset()),
}
"""Namespaces with methods that a specification cannot describe."""


@attrs.frozen(kw_only=True)
class Namespace:
    """A class of a resource module: the methods of `panel.<path>`, and the namespaces below it."""

    path: tuple[str, ...]
    class_name: str
    description: str
    methods: tuple[GeneratedMethod, ...]
    children: tuple["Namespace", ...]
    module: str | None = None
    """Module that defines the class, if not the one of its parent."""

    @property
    def base(self) -> BaseClass:
        """Its base class."""
        return _HAND_WRITTEN_BASES.get(self.path, _RESOURCE_BASE)

    @property
    def generated(self) -> tuple[GeneratedMethod, ...]:
        """The methods that its base class does not define."""
        return tuple(method for method in self.methods if method.method_name not in self.base.methods)

    @property
    def attribute(self) -> str:
        """Name of the attribute that leads here."""
        return self.path[-1]


@attrs.frozen(kw_only=True)
class ResourceModule:
    """A generated module: the methods behind one attribute of the client."""

    name: str
    title: str
    description: str
    origin: str
    """The note on its origin, with the files of the specification."""
    methods: tuple[GeneratedMethod, ...]
    """Those of the published reference, then those that only current panels have."""
    namespaces: tuple[Namespace, ...]
    """Top-level namespaces; they contain the others."""
    client: Namespace | None
    """The class for operations that are methods of the client itself."""
    imports: tuple[tuple[str, str], ...]
    """Modules of models, and the models to import from them."""
    lazy_imports: tuple[tuple[str, str], ...] = ()
    """The same for models that are imported by the call that needs them."""
    panel_part: "ResourceModule | None" = None
    """The module of the namespaces that only current panels have, imported when one of them is first used."""

    @property
    def parts(self) -> tuple["ResourceModule", ...]:
        """The module and its panel part."""
        return (self, self.panel_part) if self.panel_part else (self,)

    @property
    def lazy_models(self) -> dict[str, str]:
        """Module of each model that is imported by the call that needs it."""
        return {model: module for module, model in self.lazy_imports}

    @property
    def lazy_namespaces(self) -> tuple[Namespace, ...]:
        """Namespaces whose classes are in the panel part."""
        return tuple(child for parent in self.classes for child in parent.children if child.module)

    @property
    def classes(self) -> tuple[Namespace, ...]:
        """Every class, innermost first, so that each is defined before it is used."""
        inner = tuple(namespace for top in self.namespaces for namespace in _innermost_first(top))
        return (*inner, self.client) if self.client else inner

    @property
    def published(self) -> tuple[GeneratedMethod, ...]:
        """Methods of the published reference."""
        return tuple(method for method in self.methods if not method.is_panel_only)

    @property
    def panel_only(self) -> tuple[GeneratedMethod, ...]:
        """Methods that only current panels have."""
        return tuple(method for method in self.methods if method.is_panel_only)

    @property
    def all_panel_only(self) -> tuple[GeneratedMethod, ...]:
        """The same, with those of the panel part."""
        return tuple(method for part in self.parts for method in part.panel_only)


def resource_modules(
    bridge: Bridge, panel: Iterable[PanelOperation], model_modules: Mapping[str, str]
) -> tuple[ResourceModule, ...]:
    """Return the resource modules to render, by name.

    Args:
        bridge: The published reference, and how its operations travel to current panels.
        panel: Operations that only current panels have.
        model_modules: Module of each model.
    """
    resources = {resource.name: resource for resource in bridge.specification.resources}
    published = {name: published_methods(resource, bridge) for name, resource in resources.items()}
    # Most files are named after the attribute of the client that their operations are below.
    owners = {
        method.namespace[0]: name for name, methods in published.items() for method in methods if method.namespace
    }
    added: dict[str, list[PanelOperation]] = {}
    for operation in panel:
        top = operation.name.partition(".")[0]
        added.setdefault(owners.get(top, top) if top != operation.name else operation.module, []).append(operation)
    modules: list[ResourceModule] = []
    for name in sorted({*resources, *added}):
        of_reference, of_panels = published.get(name, ()), added.get(name, [])
        methods = (*of_reference, *panel_methods(of_panels, of_reference, bridge.specification))
        modules.append(_module(name, resources.get(name), of_panels, methods, model_modules))
    return tuple(modules)


def _module(
    name: str,
    resource: ResourceFile | None,
    added: Sequence[PanelOperation],
    methods: tuple[GeneratedMethod, ...],
    model_modules: Mapping[str, str],
) -> ResourceModule:
    title, description, location = _heading(name, resource, added)
    files = {operation.module for operation in added}
    # Keep what only current panels have apart, so that the rest loads faster.
    panel_module = f"{name}{PANEL_SUFFIX}" if resource else None
    tops = dict.fromkeys(method.namespace[:1] for method in methods if method.namespace)
    namespaces = tuple(_namespace(top, methods, description, panel_module) for top in tops)
    parents = [parent for top in namespaces for parent in _innermost_first(top)]
    lazy = tuple(child for parent in parents for child in parent.children if child.module)
    lazy_paths = {inner.path for namespace in lazy for inner in _innermost_first(namespace)}
    own_methods = tuple(method for method in methods if method.namespace not in lazy_paths)
    on_client = tuple(method for method in own_methods if not method.namespace)
    imports = _imports(own_methods, model_modules)
    module = ResourceModule(
        name=name,
        title=title,
        description=description,
        origin=_origin(name if resource else None, files),
        methods=own_methods,
        namespaces=namespaces,
        client=_client_namespace(name, on_client, description) if on_client else None,
        imports=tuple(entry for entry in imports if not resource or not entry[0].endswith(PANEL_SUFFIX)),
        lazy_imports=tuple(entry for entry in imports if resource and entry[0].endswith(PANEL_SUFFIX)),
    )
    if lazy:
        lazy_methods = tuple(method for method in methods if method.namespace in lazy_paths)
        module = attrs.evolve(module, panel_part=_panel_part(module, lazy, lazy_methods, files, model_modules))
    for part in module.parts:
        _check_clashes(part, location)
    return module


def _panel_part(
    module: ResourceModule,
    namespaces: Iterable[Namespace],
    methods: tuple[GeneratedMethod, ...],
    files: Collection[str],
    model_modules: Mapping[str, str],
) -> ResourceModule:
    """Return the panel part of a module, for its namespaces that only current panels have."""
    return attrs.evolve(
        module,
        name=f"{module.name}{PANEL_SUFFIX}",
        description=f"What only current panels have of {module.title}",
        origin=_origin(None, files),
        methods=methods,
        namespaces=tuple(attrs.evolve(namespace, module=None) for namespace in namespaces),
        client=None,
        imports=_imports(methods, model_modules),
        lazy_imports=(),
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


def _imports(methods: Iterable[GeneratedMethod], model_modules: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({(model_modules[model], model) for method in methods for model in method.models}))


def _check_clashes(module: ResourceModule, location: Location) -> None:
    """Check that no two things in a module have the same name."""
    constants = set(IMPORTED)
    for method in module.methods:
        if method.constant in constants:
            problem = f"the constant of `{method.name}` clashes with another `{method.constant}`"
            raise SpecError(location, problem, "Rename the operation")
        constants.add(method.constant)
    taken = IMPORTED | {model for method in module.methods for model in method.models}
    for namespace in module.classes:
        if namespace.class_name in taken:
            problem = f"the class of `{'.'.join(namespace.path)}` clashes with another `{namespace.class_name}`"
            raise SpecError(location, problem, "Rename the namespace or the schema")
        taken |= {namespace.class_name}


def _namespace(
    path: tuple[str, ...], methods: tuple[GeneratedMethod, ...], description: str, panel_module: str | None
) -> Namespace:
    """Return a namespace with those below it; `panel_module` is for those that only current panels have."""
    all_methods = [method for method in methods if method.namespace[: len(path)] == path]
    child_paths = dict.fromkeys(
        method.namespace[: len(path) + 1] for method in all_methods if len(method.namespace) > len(path)
    )
    module = panel_module if len(path) > 1 and all(method.is_panel_only for method in all_methods) else None
    return Namespace(
        path=path,
        class_name=_class_name(path),
        description=description,
        methods=tuple(method for method in all_methods if method.namespace == path),
        children=tuple(
            _namespace(child, methods, f"Operations of `panel.{'.'.join(child)}`.", None if module else panel_module)
            for child in child_paths
        ),
        module=module,
    )


def _client_namespace(name: str, methods: tuple[GeneratedMethod, ...], description: str) -> Namespace:
    path = (name,)
    return Namespace(path=path, class_name=_class_name(path), description=description, methods=methods, children=())


def _innermost_first(namespace: Namespace) -> Iterator[Namespace]:
    """Yield a namespace after those below it that are in the same module."""
    for child in namespace.children:
        if child.module is None:
            yield from _innermost_first(child)
    yield namespace


def _class_name(path: tuple[str, ...]) -> str:
    return "".join(word.capitalize() for part in path for word in part.split("_"))
