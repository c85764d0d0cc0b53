"""Works out how an operation of the published reference travels to current panels, and checks that nothing is lost."""

import keyword
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import attrs

from codegen.methods import Argument, Place
from codegen.panel import Bridge, PanelOperation
from codegen.yaml_nodes import Node, SpecError
from panelica_async.core.operation import Fence, ReadBack, Refusal, Wire

_PAGING = frozenset({"page", "limit", "sort", "order"})
"""Arguments that the client applies itself to a list that arrives in one reply."""


@attrs.frozen
class Source:
    """A value that the client can derive for an argument that the caller leaves out."""

    inputs: tuple[str, ...]
    """The arguments from which it is derived."""
    phrase: str
    """How docstrings describe it."""


SOURCES: Mapping[str, Source] = {
    "username": Source(("username",), "the user name"),
    "slug_of_name": Source(("name",), "one made from `name`"),
    "owner_of_domain": Source(("domain_id",), "the account that owns the domain"),
    "owner_of_path": Source(("path",), "the account in whose home `path` is"),
    "domain_of_database": Source(("db_id",), "the domain of the database"),
}
CONVERSIONS: Mapping[str, str] = {"below_home": "as a path below the home of the account"}
"""Forms in which the client can write an argument for a panel, each with its description for docstrings."""


@attrs.frozen
class Field:
    """A parameter or body field of an operation of panels."""

    place: Place
    schema: Node
    is_required: bool

    @property
    def values(self) -> tuple[str, ...]:
        """The values it takes; empty if it takes any, or they are unknown."""
        return tuple(self.schema.get("enum", ()))

    @property
    def is_list(self) -> bool:
        """Whether it takes several values."""
        return bool(self.schema.get("type") == "array")


def panel_wire(bridge: Bridge, node: Node, reference: Wire, model: str | None, *, is_list: bool) -> Wire | None:
    """Return how an operation of the reference travels to current panels; None if they do not have it.

    Args:
        bridge: The bridge.
        node: The operation in the reference.
        reference: How it travels there.
        model: Name of the model of its result, or of the rows of a list.
        is_list: Whether it is a list.

    Raises:
        SpecError: An argument would be lost, a required field has no source, or a name is not in spec/panel.
    """
    entry = bridge.entry(node)
    target = bridge.panel.get(entry.get("operation", node["operationId"]))
    if "absent" in entry or target is None:
        return None
    schema = bridge.specification.document["components"]["schemas"].get(model, {})
    builder = _WireBuilder(
        bridge=bridge,
        name=node["operationId"],
        entry=entry,
        model=bridge.models.get(model or "", Node(entry.location)),
        row=schema.get("properties", {}).keys(),
        target=target,
        is_list=is_list,
    )
    return builder.build(reference)


@attrs.frozen(kw_only=True, slots=False)
class _WireBuilder:
    """Builds the wire of one operation for current panels."""

    bridge: Bridge
    name: str
    """Name of the operation."""
    entry: Node
    """What the bridge says about it."""
    model: Node
    """How the fields of its result differ on panels."""
    row: Iterable[str]
    """The fields of its result, or of the rows of a list."""
    target: PanelOperation
    """The operation of panels that it is sent as."""
    is_list: bool

    @cached_property
    def arguments(self) -> Mapping[str, Argument]:
        """Its arguments by name."""
        return {argument.name: argument for argument in self.bridge.reference[self.name]}

    @cached_property
    def fields(self) -> Mapping[str, Field]:
        """The parameters and body fields of the operation of panels, by name."""
        return dict(_fields(self.target))

    @property
    def endpoint(self) -> str:
        """Method and path on panels."""
        return self.target.endpoint

    def build(self, reference: Wire) -> Wire:
        """Return how the operation travels to panels, from how it travels in the reference."""
        self._check_names()
        self._check_sources_and_conversions()
        names = self._sent_names()
        filters = self._filters(names)
        self._check_required(names)
        self._check_rows()
        placed: dict[Place, dict[str, str]] = {"path": {}, "query": {}, "body": {}}
        for name, wire_name in names.items():
            placed[self.fields[wire_name].place][name] = wire_name
        return Wire(
            method=self.target.method,
            path=self._path(placed["path"]),
            query=placed["query"],
            body=placed["body"],
            wrapped=self._wrapped(placed["body"]),
            items=self._items_key(reference),
            scopes=tuple(self.target.node["x-scope"]),
            values=self._values(names),
            converted=dict(self.entry.get("convert", {})),
            refused=self._refused(),
            required=frozenset(self.entry.get("require", ())),
            minimum=dict(self.entry.get("minimum", {})),
            derived=dict(self.entry.get("derive", {})),
            filters=filters,
            is_whole=self.is_list and "page" not in self.fields,
            fence=self._fence(),
            read_back=self._read_back(names),
            keeps=self._kept_fields(names),
            gone=self.entry.get("gone"),
            reply_fields=dict(self.model.get("rename", {})),
            reply_values=self._reply_values(),
        )

    def _path(self, in_path: Mapping[str, str]) -> str:
        """Return the path of panels, with our names of its placeholders."""
        ours = {wire_name: name for name, wire_name in in_path.items()}
        return re.sub(r"{(\w+)}", lambda match: f"{{{ours[match[1]]}}}", self.target.path)

    def _wrapped(self, body: Mapping[str, str]) -> frozenset[str]:
        """Return the arguments that travel as a list of one."""
        return frozenset(
            name
            for name, wire_name in body.items()
            if self.fields[wire_name].is_list and not self.arguments[name].is_list
        )

    def _refused(self) -> dict[str, Refusal]:
        return {
            name: Refusal(refusal["reason"], tuple(refusal.get("unless", ())))
            for name, refusal in self.entry.get("refuse", {}).items()
        }

    def _reply_values(self) -> dict[str, dict[str, str]]:
        return {
            field: {theirs: ours for ours, theirs in values.items()}
            for field, values in self.model.get("values", {}).items()
        }

    def _error(self, key: str, name: str | None, problem: str, remedy: str) -> SpecError:
        """Return an error about a part of the entry, or about the entry if that part is missing."""
        part = self.entry.get(key)
        where = part.where(name) if isinstance(part, Node) else self.entry.where(key)
        return SpecError(where, problem, remedy)

    def _arguments_under(self, *keys: str) -> Iterator[tuple[str, str]]:
        """Yield each argument that these parts of the entry name, after the key of the part."""
        for key in keys:
            for name in self.entry.get(key, ()):
                yield key, name

    def _wire_name(self, name: str) -> str:
        return str(self.entry.get("rename", {}).get(name, self.arguments[name].wire_name))

    def _check_names(self) -> None:
        """Check that the entry names only arguments that exist, and says nothing without effect."""
        parts = ("rename", "values", "convert", "refuse", "require", "derive", "minimum", "filter", "fence")
        for key, name in self._arguments_under(*parts):
            if name not in self.arguments:
                problem = f"`{self.name}` has no argument `{name}`"
                raise self._error(key, name, problem, _use_one_of(self.arguments))
        for key, name in self._arguments_under("refuse"):
            if (wire_name := self._wire_name(name)) in self.fields:
                problem = f"`{name}` of `{self.name}` is refused, and {self.endpoint} takes `{wire_name}`"
                raise self._error(key, name, problem, "Remove the refusal, or correct spec/panel")
        for key, name in self._arguments_under("require", "derive"):
            if self.arguments[name].required:
                raise self._error(key, name, f"every caller of `{self.name}` passes `{name}`", "Remove it")

    def _check_sources_and_conversions(self) -> None:
        """Check that the client has each source and conversion that the entry names."""
        usable = [name for name, source in SOURCES.items() if self.arguments.keys() >= set(source.inputs)]
        for name, source in self.entry.get("derive", {}).items():
            if source not in usable:
                raise self._error("derive", name, f"`{source}` is not a source for `{self.name}`", _use_one_of(usable))
        for name, conversion in self.entry.get("convert", {}).items():
            if conversion not in CONVERSIONS:
                problem = f"the client has no conversion `{conversion}`"
                raise self._error("convert", name, problem, _use_one_of(CONVERSIONS))

    def _sent_names(self) -> dict[str, str]:
        """Return the arguments that arrive at the panel, with their names on the wire."""
        renamed: Mapping[str, str] = self.entry.get("rename", {})
        for name, wire_name in renamed.items():
            if wire_name not in self.fields:
                raise self._error("rename", name, f"{self.endpoint} takes no `{wire_name}`", _use_one_of(self.fields))
            if list(renamed.values()).count(wire_name) > 1:
                problem = f"two arguments of `{self.name}` are sent as `{wire_name}`"
                raise self._error("rename", name, problem, "Rename one of them")
        names: dict[str, str] = {}
        for name, argument in self.arguments.items():
            wire_name = self._wire_name(name)
            field = self.fields.get(wire_name)
            # Another argument is renamed to this name.
            if field is None or (name not in renamed and wire_name in renamed.values()):
                continue
            if argument.is_list and field.place == "body" and not field.is_list:
                problem = f"`{name}` of `{self.name}` is a list, and `{wire_name}` of {self.endpoint} is not"
                raise self._error("rename", name, problem, "Refuse it, or correct spec/panel")
            names[name] = wire_name
        for key, name in self._arguments_under("values", "convert", "require", "derive", "minimum"):
            if name not in names:
                problem = f"`{name}` of `{self.name}` is not sent, because {self.endpoint} takes no such field"
                raise self._error(key, name, problem, "Rename it, or remove this")
        return names

    def _filters(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return the arguments by which the client itself filters; raise for an argument that would be lost."""
        filters: dict[str, str] = {}
        applied = {*names, *self.entry.get("refuse", ()), *self._fenced_arguments(), *(_PAGING if self.is_list else ())}
        fields = {_attribute_name(field) for field in self.row}
        for name in self.arguments.keys() - applied:
            if not self.is_list or self.arguments[name].place != "query":
                problem = (
                    f"`{name}` of `{self.name}` is lost, because {self.endpoint} takes no `{self._wire_name(name)}`"
                )
                raise self._error("rename", None, problem, "Say what happens to it with `rename`, `refuse` or `fence`")
            field = self.entry.get("filter", {}).get(name, name)
            if field not in fields:
                problem = f"the client cannot filter by `{name}` of `{self.name}`, because rows have no `{field}`"
                raise self._error("filter", name, problem, "Name a field of the rows under `filter`, or refuse it")
            filters[name] = field
        for key, name in self._arguments_under("filter"):
            if name not in filters:
                raise self._error(key, name, f"the client does not filter by `{name}` of `{self.name}`", "Remove it")
        return {name: filters[name] for name in self.arguments if name in filters}

    def _fenced_arguments(self) -> set[str]:
        """Return the arguments that have their effect in the check of a fence."""
        for name, lookup in self.entry.get("fence", {}).items():
            shared = self.arguments.keys() & {argument.name for argument in self.bridge.reference[lookup]}
            if not shared - {name}:
                problem = f"`{lookup}` has no argument of `{self.name}` that says where to look"
                raise self._error("fence", name, problem, "Name a list of the objects of one parent")
            return {name, *shared}
        return set()

    def _fence(self) -> Fence | None:
        """Return the check that the client makes before the call."""
        for name, lookup in self.entry.get("fence", {}).items():
            single = self.entry.get("single")
            if single is not None and single not in self.bridge.panel[lookup].row:
                problem = f"rows of {self.bridge.panel[lookup].endpoint} have no `{single}`"
                raise self._error("single", None, problem, "Correct the name, or spec/panel")
            return Fence(lookup, name, single)
        return None

    def _check_required(self, names: Mapping[str, str]) -> None:
        """Check that every field that panels require has a source."""
        arguments = {wire_name: name for name, wire_name in names.items()}
        for wire_name, field in self.fields.items():
            name = arguments.get(wire_name)
            if not field.is_required:
                continue
            if name is None:
                problem = f"{self.endpoint} requires `{wire_name}`, and no argument of `{self.name}` is sent as it"
                raise self._error("rename", None, problem, "Rename the argument that holds it")
            always_sent = {other for _, other in self._arguments_under("require", "derive")}
            if not self.arguments[name].required and name not in always_sent:
                problem = f"{self.endpoint} requires `{wire_name}`, and `{name}` of `{self.name}` is optional"
                raise self._error("require", None, problem, "Name it under `require` or `derive`")

    def _check_rows(self) -> None:
        """Check that the rows of a list have the names and the values that the bridge says."""
        row = self.target.row if self.is_list else {}
        for field, panel_field in self.model.get("rename", {}).items():
            if row and panel_field not in row:
                problem = f"rows of {self.endpoint} have no `{panel_field}`"
                raise SpecError(self.model["rename"].where(field), problem, "Correct the name, or spec/panel")
        for field, values in self.model.get("values", {}).items():
            known: list[str] = row[field].get("enum", []) if field in row else []
            for ours, theirs in values.items():
                if known and theirs not in known:
                    problem = f"`{field}` of the rows of {self.endpoint} is never `{theirs}`"
                    raise SpecError(values.where(ours), problem, _use_one_of(known))

    def _values(self, names: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Return the values on the wire: those of the bridge, and all that spec/panel lists."""
        values: dict[str, dict[str, str]] = {}
        for name, wire_name in names.items():
            translated: Mapping[str, str] = self.entry.get("values", {}).get(name) or self.model.get("values", {}).get(
                name, {}
            )
            known, choices = self.fields[wire_name].values, self.arguments[name].choices
            if not known and not translated:
                continue
            for ours, theirs in translated.items():
                if known and theirs not in known:
                    problem = f"`{ours}` is `{theirs}` on panels, which `{wire_name}` of {self.endpoint} does not take"
                    raise self._error("values", name, problem, _use_one_of(known))
            for choice in choices:
                if choice not in {*translated, *known}:
                    problem = f"`{choice}` of `{name}` has no counterpart in `{wire_name}` of {self.endpoint}"
                    raise self._error(
                        "values", name, problem, f"Give it one under `values`: {', '.join(known or translated)}"
                    )
            if translated or not choices:
                values[name] = {**translated, **{value: value for value in known if value not in translated}}
        return values

    def _read_back(self, names: Mapping[str, str]) -> ReadBack | None:
        if "read_back" not in self.entry:
            return None
        entry: Node = self.entry["read_back"]
        changed = {argument.name for argument in self.bridge.reference[entry["update"]]}
        if missing := [name for name in names if name not in changed]:
            problem = f"`{entry['update']}` cannot change `{missing[0]}` of `{self.name}`"
            raise self._error("read_back", "update", problem, "Name the operation that changes all of it")
        return ReadBack(entry["update"], entry["lookup"])

    def _kept_fields(self, names: Mapping[str, str]) -> tuple[str, ...]:
        """Return the fields of the body that a change must repeat."""
        if "keep" not in self.entry:
            return ()
        read_endpoint = f"GET {self.target.path}"
        reader = next((other for other in self.bridge.panel.values() if other.endpoint == read_endpoint), None)
        reply = None if reader is None else reader.reply
        shown = () if reply is None else reply.get("properties", ())
        body = [wire_name for wire_name, field in self.fields.items() if field.place == "body"]
        if missing := [wire_name for wire_name in body if wire_name not in shown]:
            problem = f"{read_endpoint} is not known to answer with `{missing[0]}`"
            raise self._error("keep", None, problem, "Describe its reply in spec/panel, or remove `keep`")
        return tuple(wire_name for wire_name in body if wire_name not in names.values())

    def _items_key(self, reference: Wire) -> str | None:
        """Return the key of the rows of a list."""
        schema = self.target.reply
        if not self.is_list or schema is None:
            return reference.items
        return next(
            (name for name, field in schema.get("properties", {}).items() if field.get("type") == "array"), None
        )


def _use_one_of(names: Iterable[str]) -> str:
    choices = ", ".join(names)
    return f"Use one of: {choices}" if choices else "Remove it"


def _attribute_name(field: str) -> str:
    """Return the name that a field has as an attribute of a model."""
    return f"{field}_" if keyword.iskeyword(field) else field.replace("-", "_")


def _fields(operation: PanelOperation) -> Iterator[tuple[str, Field]]:
    for parameter in operation.parameters:
        yield parameter["name"], Field(parameter["in"], parameter["schema"], parameter.get("required", False))
    body = operation.resolve(operation.body)
    for name, schema in body.get("properties", {}).items():
        yield name, Field("body", schema, name in body.get("required", ()))
