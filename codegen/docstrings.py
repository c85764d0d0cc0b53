"""Writes the docstrings of generated methods, and how a method differs on current panels."""

from collections.abc import Iterable, Iterator

from codegen.methods import Argument, GeneratedMethod
from codegen.panel_wires import CONVERSIONS, SOURCES
from codegen.text import docstring_literal, sentence, wrap
from panelica_async.core.operation import Operation, Refusal, Repeat, Wire

_ERRORS = {
    "400": ("BadRequestError", "the panel rejected the input."),
    "404": ("NotFoundError", "no such object for the owner of this key."),
    "409": ("ConflictError", "the object already exists or is in use."),
}
"""Error responses that depend on the operation; `panelica_async.errors` describes those of every call."""
_RETRY_TEXT = "retried after a lost reply, 429, 502, 503 and 504, but not after 500."
_REPEAT_TEXTS = {
    Repeat.READ: f"Read-only; {_RETRY_TEXT}",
    Repeat.IDEMPOTENT: f"Safe to repeat; {_RETRY_TEXT}",
    Repeat.NATURAL_KEY: "Never sent again once it may have taken effect.",
    Repeat.UNSAFE: "Never sent again once it may have taken effect.",
}


def method_docstring(method: GeneratedMethod) -> str:
    """Return the docstring of a method, as code."""
    return docstring_literal("\n".join(_docstring_lines(method)), 8)


def _docstring_lines(method: GeneratedMethod) -> Iterator[str]:
    yield method.summary
    if method.description:
        yield ""
        yield from wrap(sentence(method.description))
    yield ""
    yield from wrap(_requirements(method))
    if differences := panel_differences(method.operation):
        yield ""
        yield from wrap(f"On current panels: {' '.join(differences)}")
    guard, takes_others = method.operation.guard, method.operation.wire.others is not None
    if method.arguments or guard or takes_others:
        yield from ("", "Args:")
        for argument in (*method.positional, *method.keywords):
            yield from _entry_lines(argument.name, _argument_text(argument))
        if guard:
            text = f"Must be True when `{guard.replaces}` is left out: {sentence(guard.reason)}"
            yield from _entry_lines(guard.argument, text)
        if takes_others:
            yield from _entry_lines("fields", _others_text(method))
    if method.result.kind != "nothing":
        yield from ("", "Returns:")
        yield from wrap(_returns_text(method), "    ")
    if errors := list(_raised_errors(method)):
        yield from ("", "Raises:")
        for error, meaning in errors:
            yield from _entry_lines(error, meaning)


def _requirements(method: GeneratedMethod) -> str:
    operation, key = method.operation, method.operation.natural_key
    scope = f"Scope: {scope_text(operation.wire, 'none in the reference')}"
    if method.panel_wire and method.panel_wire.scopes != operation.wire.scopes:
        scope += f"; on current panels {scope_text(method.panel_wire, 'none')}"
    scope += "."
    if method.is_panel_only:
        scope = f"On current panels only. {scope if method.operation.wire.scopes else 'Any key will do.'}"
    if method.roles:
        scope += f" The owner of the key must be {' or '.join(method.roles)}."
    if not operation.signed:
        only = "On current panels only. " if method.is_panel_only else ""
        scope = f"{only}Works without a key; not signed, and not counted against the quota."
    parts = [scope, _REPEAT_TEXTS[operation.repeat]]
    if key:
        fields = ", ".join(f"`{name}`" for name in key.fields)
        parts.append(f"After a lost reply, the client looks it up with `{key.lookup.name}`, by {fields}.")
    if method.destructive:
        parts.append("Destructive: it removes or overwrites data.")
    if method.asynchronous:
        parts.append("The panel replies before the work is done.")
    if method.panel_wire is None:
        reason = absence_text(operation)
        parts.append(f"Not served by current panels{': ' if reason else ''}{reason}.")
    return " ".join(parts)


def scope_text(wire: Wire, none: str) -> str:
    """Return the scopes of which the key needs one, or the text for none."""
    return " or ".join(f"`{scope}`" for scope in wire.scopes) or none


def _argument_text(argument: Argument) -> str:
    text = sentence(argument.description)
    return f"{text} One of {', '.join(f'`{choice}`' for choice in argument.choices)}." if argument.choices else text


def _others_text(method: GeneratedMethod) -> str:
    wire = method.operation.wire
    place = "query" if wire.others == "query" else "body"
    fields = "query parameters" if place == "query" else "fields of the body"
    if getattr(wire, place):
        return f"Further {fields}, sent unchanged."
    return f"{fields.capitalize()}, sent unchanged; it is not known which ones the panel accepts."


def _returns_text(method: GeneratedMethod) -> str:
    text = sentence(method.result.description)
    if method.result.kind == "pages":
        return (
            f"{text} Await the result for the first page, or iterate over all items with `async for`. "
            "Invalid arguments raise at once, other errors on use."
        )
    if method.result.model == "Acknowledgement":
        return f"{text} `message` has the panel's own text."
    if method.operation.repeat is not Repeat.READ and method.result.kind == "model":
        reader = " or a second call" if method.operation.natural_key or method.operation.shown_by else ""
        return f"{text} Fields missing from the reply come from the arguments{reader}."
    return text


def _raised_errors(method: GeneratedMethod) -> Iterator[tuple[str, str]]:
    """Yield the errors that are particular to an operation."""
    if _may_be_invalid(method):
        yield "ValueError", "invalid argument; nothing was sent."
    for status, error in _ERRORS.items():
        if status in method.errors:
            yield error
    if method.method_name == "create" and "403" in method.errors:
        yield (
            "PermissionDeniedError",
            "a limit of the hosting plan is reached, or the owner of the key lacks the right.",
        )
    if method.is_panel_only:
        yield "UnsupportedOperationError", "the panel speaks the published reference, which lacks this operation."
    if method.panel_wire is None:
        yield "UnsupportedOperationError", "current panels do not serve this operation."
    elif method.panel_wire.refused:
        yield "UnsupportedOperationError", "current panels cannot honour an argument; nothing was sent."
    if method.panel_wire and method.panel_wire.read_back:
        yield "PartialWriteError", "created, but the panel did not keep all values."
    if method.operation.repeat is not Repeat.READ:
        yield "OutcomeUnknownError", "sent, outcome unknown."


def _may_be_invalid(method: GeneratedMethod) -> bool:
    wire, panel = method.operation.wire, method.panel_wire
    if panel and (panel.required or panel.derived or panel.minimum or panel.values):
        return True
    return bool(method.positional or method.operation.guard or wire.others or wire.method == "PATCH") or any(
        argument.choices or argument.not_empty or argument.is_list for argument in method.arguments
    )


def _entry_lines(name: str, text: str) -> list[str]:
    return wrap(f"{name}: {text}", "    ", "        ")


def panel_differences(operation: Operation) -> list[str]:
    """Return sentences on what current panels do differently with the arguments of an operation."""
    wire = operation.wires.get("panel")
    if wire is None or wire is operation.wire:
        return []
    return [*_argument_differences(wire), *_refusals(wire), *_call_differences(wire)]


def absence_text(operation: Operation) -> str:
    """Return why current panels do not serve an operation, and what to call instead; empty if not known."""
    remedy = f"; call `{operation.instead}`" if operation.instead else ""
    return f"{operation.absence}{remedy}" if operation.absence else ""


def _argument_differences(wire: Wire) -> Iterator[str]:
    if wire.required:
        yield f"{_code_list(sorted(wire.required))} {'is' if len(wire.required) == 1 else 'are'} required."
    for name, source in wire.derived.items():
        yield f"Without `{name}`, the client sends {SOURCES[source].phrase}."
    for name, values in wire.values.items():
        accepted = (
            f"`{ours}`" if ours == theirs else f"`{ours}` (sent as `{theirs}`)" for ours, theirs in values.items()
        )
        yield f"`{name}` takes only {_join_words(accepted)}."
    for name, conversion in wire.converted.items():
        yield f"`{name}` is sent {CONVERSIONS[conversion]}."
    if wire.minimum:
        yield f"{_code_list(wire.minimum)} must be {min(wire.minimum.values())} or more."


def _call_differences(wire: Wire) -> Iterator[str]:
    if wire.filters:
        yield f"The client itself filters by {_code_list(wire.filters)}."
    if wire.fence:
        argument, lookup = wire.fence.argument, wire.fence.lookup
        yield f"The client first looks up `{argument}` in `{lookup}`, and changes nothing if it is not there."
        if wire.fence.single:
            yield f"It raises `ConflictError` if that list shows several values of `{wire.fence.single}`."
    if wire.keeps:
        kept = _code_list(wire.keeps)
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
        unless = f" unless {_join_words((f'`{value}`' for value in refusal.unless), 'or')}" if refusal.unless else ""
        yield f"{_code_list(names)} {verb}{unless}: {refusal.reason}."


def _code_list(names: Iterable[str]) -> str:
    return _join_words(f"`{name}`" for name in names)


def _join_words(parts: Iterable[str], word: str = "and") -> str:
    *others, last = parts
    return f"{', '.join(others)} {word} {last}" if others else last
