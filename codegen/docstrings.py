"""Writes the docstrings of generated methods, and how a method differs on current panels."""

from collections.abc import Iterable, Iterator

from codegen.methods import Argument, OperationSource
from codegen.panel_wires import CONVERSIONS, SOURCES
from codegen.text import quoted, sentence, wrap
from panelica_async.core.operation import Operation, Refusal, Repeat, Wire

_ERRORS = {
    "400": ("BadRequestError", "the panel rejected the input."),
    "404": ("NotFoundError", "no such object for the owner of this key."),
    "409": ("ConflictError", "the object already exists or is in use."),
}
"""Error responses that depend on the operation; `panelica_async.errors` describes those of every call."""
_RETRIED = "retried after a lost reply, 429, 502, 503 and 504, but not after 500."
_REPEATS = {
    Repeat.READ: f"Read-only; {_RETRIED}",
    Repeat.IDEMPOTENT: f"Safe to repeat; {_RETRIED}",
    Repeat.NATURAL_KEY: "Never sent again once it may have taken effect.",
    Repeat.UNSAFE: "Never sent again once it may have taken effect.",
}


def method_docstring(operation: OperationSource) -> str:
    """Return the docstring of a method, as code."""
    return quoted("\n".join(_lines(operation)), 8)


def _lines(operation: OperationSource) -> Iterator[str]:
    yield operation.summary
    if operation.description:
        yield ""
        yield from wrap(sentence(operation.description))
    yield ""
    yield from wrap(_requirements(operation))
    if different := differences(operation.operation):
        yield ""
        yield from wrap(f"On current panels: {' '.join(different)}")
    guard, takes_others = operation.operation.guard, operation.operation.wire.others is not None
    if operation.arguments or guard or takes_others:
        yield from ("", "Args:")
        for argument in (*operation.positional, *operation.keywords):
            yield from _item(argument.name, _argument_text(argument))
        if guard:
            text = f"Must be True when `{guard.replaces}` is left out: {sentence(guard.reason)}"
            yield from _item(guard.argument, text)
        if takes_others:
            yield from _item("fields", _others_text(operation))
    if operation.result.kind != "nothing":
        yield from ("", "Returns:")
        yield from wrap(_returns(operation), "    ")
    if errors := list(_errors(operation)):
        yield from ("", "Raises:")
        for error, meaning in errors:
            yield from _item(error, meaning)


def _requirements(source: OperationSource) -> str:
    operation, key = source.operation, source.operation.natural_key
    scope = f"Scope: {scope_text(operation.wire, 'none in the reference')}"
    if source.panel and source.panel.scopes != operation.wire.scopes:
        scope += f"; on current panels {scope_text(source.panel, 'none')}"
    scope += "."
    if source.is_panel_only:
        scope = f"On current panels only. {scope if source.operation.wire.scopes else 'Any key will do.'}"
    if source.roles:
        scope += f" The owner of the key must be {' or '.join(source.roles)}."
    if not operation.signed:
        only = "On current panels only. " if source.is_panel_only else ""
        scope = f"{only}Works without a key; not signed, and not counted against the quota."
    parts = [scope, _REPEATS[operation.repeat]]
    if key:
        fields = ", ".join(f"`{name}`" for name in key.fields)
        parts.append(f"After a lost reply, the client looks it up with `{key.lookup.name}`, by {fields}.")
    if source.destructive:
        parts.append("Destructive: it removes or overwrites data.")
    if source.asynchronous:
        parts.append("The panel replies before the work is done.")
    if source.panel is None:
        reason = absence(operation)
        parts.append(f"Not served by current panels{': ' if reason else ''}{reason}.")
    return " ".join(parts)


def scope_text(wire: Wire, none: str) -> str:
    """Return the scopes of which the key needs one, or the text for none."""
    return " or ".join(f"`{scope}`" for scope in wire.scopes) or none


def _argument_text(argument: Argument) -> str:
    text = sentence(argument.description)
    return f"{text} One of {', '.join(f'`{choice}`' for choice in argument.choices)}." if argument.choices else text


def _others_text(operation: OperationSource) -> str:
    wire = operation.operation.wire
    place = "query" if wire.others == "query" else "body"
    fields = "query parameters" if place == "query" else "fields of the body"
    if getattr(wire, place):
        return f"Further {fields}, sent unchanged."
    return f"{fields.capitalize()}, sent unchanged; it is not known which ones the panel accepts."


def _returns(operation: OperationSource) -> str:
    text = sentence(operation.result.description)
    if operation.result.kind == "pages":
        return (
            f"{text} Await the result for the first page, or iterate over all items with `async for`. "
            "Invalid arguments raise at once, other errors on use."
        )
    if operation.result.model == "Acknowledgement":
        return f"{text} `message` has the panel's own text."
    if operation.operation.repeat is not Repeat.READ and operation.result.kind == "model":
        reader = " or a second call" if operation.operation.natural_key or operation.operation.shown_by else ""
        return f"{text} Fields missing from the reply come from the arguments{reader}."
    return text


def _errors(operation: OperationSource) -> Iterator[tuple[str, str]]:
    """Yield the errors that are particular to an operation."""
    if _may_be_invalid(operation):
        yield "ValueError", "invalid argument; nothing was sent."
    for status, error in _ERRORS.items():
        if status in operation.errors:
            yield error
    if operation.method_name == "create" and "403" in operation.errors:
        yield (
            "PermissionDeniedError",
            "a limit of the hosting plan is reached, or the owner of the key lacks the right.",
        )
    if operation.is_panel_only:
        yield "UnsupportedOperationError", "the panel speaks the published reference, which lacks this operation."
    if operation.panel is None:
        yield "UnsupportedOperationError", "current panels do not serve this operation."
    elif operation.panel.refused:
        yield "UnsupportedOperationError", "current panels cannot honour an argument; nothing was sent."
    if operation.panel and operation.panel.read_back:
        yield "PartialWriteError", "created, but the panel did not keep all values."
    if operation.operation.repeat is not Repeat.READ:
        yield "OutcomeUnknownError", "sent, outcome unknown."


def _may_be_invalid(operation: OperationSource) -> bool:
    wire, panel = operation.operation.wire, operation.panel
    if panel and (panel.required or panel.derived or panel.minimum or panel.values):
        return True
    return bool(operation.positional or operation.operation.guard or wire.others or wire.method == "PATCH") or any(
        argument.choices or argument.not_empty or argument.is_list for argument in operation.arguments
    )


def _item(name: str, text: str) -> list[str]:
    return wrap(f"{name}: {text}", "    ", "        ")


def differences(operation: Operation) -> list[str]:
    """Return sentences on what current panels do differently with the arguments of an operation."""
    wire = operation.wires.get("panel")
    if wire is None or wire is operation.wire:
        return []
    return [*_argument_differences(wire), *_refusals(wire), *_call_differences(wire)]


def absence(operation: Operation) -> str:
    """Return why current panels do not serve an operation and what they have instead; an empty text if unsaid."""
    remedy = f"; call `{operation.instead}`" if operation.instead else ""
    return f"{operation.absence}{remedy}" if operation.absence else ""


def _argument_differences(wire: Wire) -> Iterator[str]:
    if wire.required:
        yield f"{_listed(sorted(wire.required))} {'is' if len(wire.required) == 1 else 'are'} required."
    for name, source in wire.derived.items():
        yield f"Without `{name}`, the client sends {SOURCES[source].words}."
    for name, values in wire.values.items():
        taken = (f"`{ours}`" if ours == theirs else f"`{ours}` (sent as `{theirs}`)" for ours, theirs in values.items())
        yield f"`{name}` takes only {_joined(taken)}."
    for name, conversion in wire.converted.items():
        yield f"`{name}` is sent {CONVERSIONS[conversion]}."
    if wire.minimum:
        yield f"{_listed(wire.minimum)} must be {min(wire.minimum.values())} or more."


def _call_differences(wire: Wire) -> Iterator[str]:
    if wire.filters:
        yield f"The client itself filters by {_listed(wire.filters)}."
    if wire.fence:
        argument, lookup = wire.fence.argument, wire.fence.lookup
        yield f"The client first looks up `{argument}` in `{lookup}`, and changes nothing if it is not there."
        if wire.fence.single:
            yield f"It raises `ConflictError` if that list shows several values of `{wire.fence.single}`."
    if wire.keeps:
        kept = _listed(wire.keeps)
        yield f"The client first reads {kept}, and sends them back: panels reset what a change leaves out."
    if wire.read_back:
        update, lookup = wire.read_back
        yield "Panels store defaults in place of zeros and false."
        yield f"The client sets these with `{update}`, and checks them with `{lookup}`."
    if wire.gone:
        yield f"If the panel answers 400, the client checks with `{wire.gone}` whether the object is gone."


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
