"""Says in words how an operation differs on current panels."""

from collections.abc import Iterable, Iterator

from panelica_async.core.operation import Operation, Refusal, Wire

_SOURCES = {
    "username": "the user name",
    "slug_of_name": "one made from `name`",
    "owner_of_domain": "the account that owns the domain",
    "owner_of_path": "the account in whose home `path` is",
    "domain_of_database": "the domain of the database",
}
"""What is sent for an argument that the caller leaves out, by the name of its source."""
_CONVERSIONS = {"below_home": "as a path below the home of the account"}


def differences(operation: Operation) -> list[str]:
    """Return sentences on what current panels do differently with the arguments of an operation."""
    wire = operation.wires.get("panel")
    return [] if wire is None or wire is operation.wire else [*_of_arguments(wire), *_refusals(wire), *_of_calls(wire)]


def absence(operation: Operation) -> str:
    """Return why current panels do not serve an operation and what they have instead; an empty text if unsaid."""
    remedy = f"; call `{operation.instead}`" if operation.instead else ""
    return f"{operation.absence}{remedy}" if operation.absence else ""


def _of_arguments(wire: Wire) -> Iterator[str]:
    if wire.required:
        yield f"{_listed(sorted(wire.required))} {'is' if len(wire.required) == 1 else 'are'} required."
    for name, source in wire.derived.items():
        yield f"Without `{name}`, the client sends {_SOURCES[source]}."
    for name, values in wire.values.items():
        taken = (f"`{ours}`" if ours == theirs else f"`{ours}` (sent as `{theirs}`)" for ours, theirs in values.items())
        yield f"`{name}` takes only {_joined(taken)}."
    for name, conversion in wire.converted.items():
        yield f"`{name}` is sent {_CONVERSIONS[conversion]}."
    if wire.minimum:
        yield f"{_listed(wire.minimum)} must be {min(wire.minimum.values())} or more."


def _of_calls(wire: Wire) -> Iterator[str]:
    if wire.filters:
        yield f"The client itself filters by {_listed(wire.filters)}."
    if wire.fence:
        yield f"The client first looks up `{wire.fence.argument}` in `{wire.fence.lookup}`."
        yield "Unless it is there, nothing is changed."
        if wire.fence.single:
            yield f"It raises `ConflictError` if the list has several values of `{wire.fence.single}`."
    if wire.keeps:
        kept = _listed(wire.keeps)
        yield f"The client first reads {kept}, and sends what it finds along: panels reset what a change leaves out."
    if wire.read_back:
        update, lookup = wire.read_back
        yield "Panels store defaults in place of zeros and false."
        yield f"The client sets these with `{update}`, and checks them with `{lookup}`."
    if wire.gone:
        yield f"A 400 means that the object is gone if `{wire.gone}` confirms it."


def _refusals(wire: Wire) -> Iterator[str]:
    """Yield one sentence for all arguments that are refused for the same reason."""
    refused: dict[Refusal, list[str]] = {}
    for name, refusal in wire.refused.items():
        refused.setdefault(refusal, []).append(name)
    for refusal, names in refused.items():
        verb = "is refused" if len(names) == 1 else "are refused"
        unless = f" unless {_joined((f'`{value}`' for value in refusal.unless), 'or')}" if refusal.unless else ""
        yield f"{_listed(names)} {verb}{unless}: {refusal.reason}."


def _listed(names: Iterable[str]) -> str:
    return _joined(f"`{name}`" for name in names)


def _joined(parts: Iterable[str], word: str = "and") -> str:
    *others, last = parts
    return f"{', '.join(others)} {word} {last}" if others else last
