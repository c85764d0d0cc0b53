"""Writes the docstrings of generated methods."""

from collections.abc import Iterator

from codegen.arguments import Argument
from codegen.operations import OperationSource
from codegen.text import quoted, sentence, wrap

_ERRORS = {
    "400": ("BadRequestError", "the panel rejected the input."),
    "404": ("NotFoundError", "no such object for the owner of this key."),
    "409": ("ConflictError", "the object already exists or is in use."),
}
"""Error responses that depend on the operation; `panelica_async.errors` describes those of every call."""
_RETRIED = "retried after a lost reply, 429, 502, 503 and 504, but not after 500."
_REPEATS = {
    "read": f"Read-only; {_RETRIED}",
    "idempotent": f"Safe to repeat; {_RETRIED}",
    "natural-key": "Never sent again once it may have taken effect.",
    "unsafe": "Never sent again once it may have taken effect.",
}


def method_docstring(operation: OperationSource) -> str:
    """Return the docstring of a method, as it stands in code."""
    return quoted("\n".join(_lines(operation)), 8)


def _lines(operation: OperationSource) -> Iterator[str]:
    yield operation.summary
    if operation.description:
        yield ""
        yield from wrap(sentence(operation.description))
    yield ""
    yield from wrap(_requirements(operation))
    if operation.arguments or operation.guard:
        yield from ("", "Args:")
        for argument in (*operation.positional, *operation.keywords):
            yield from _item(argument.name, _argument_text(argument))
        if operation.guard:
            reason = sentence(operation.guard.reason)
            yield from _item(
                operation.guard.argument, f"Must be True when `{operation.guard.replaces}` is left out: {reason}"
            )
    if operation.result.kind != "nothing":
        yield from ("", "Returns:")
        yield from wrap(_returns(operation), "    ")
    if errors := list(_errors(operation)):
        yield from ("", "Raises:")
        for error, meaning in errors:
            yield from _item(error, meaning)


def _requirements(operation: OperationSource) -> str:
    scope = f"Scope: `{operation.scope}`." if operation.scope else "Scope: none in the reference."
    if not operation.signed:
        scope = "Works without a key; neither signed nor counted."
    parts = [scope, _REPEATS[operation.repeat]]
    if operation.natural_key:
        fields = ", ".join(f"`{name}`" for name in operation.natural_key.fields)
        parts.append(f"After a lost reply, `{operation.natural_key.lookup}` looks it up by {fields}.")
    if operation.destructive:
        parts.append("Destructive.")
    if operation.asynchronous:
        parts.append("The panel replies before the work is done.")
    if operation.panel is None:
        parts.append("Not served by current panels.")
    return " ".join(parts)


def _argument_text(argument: Argument) -> str:
    text = sentence(argument.description)
    return f"{text} One of {', '.join(f'`{choice}`' for choice in argument.choices)}." if argument.choices else text


def _returns(operation: OperationSource) -> str:
    text = sentence(operation.result.description)
    if operation.result.kind == "pages":
        return (
            f"{text} Await it for the first page, or iterate over all items with `async for`. "
            "Invalid arguments raise at once, other errors when it is used."
        )
    if operation.result.model == "Acknowledgement":
        return f"{text} The panel's own words are in `message`."
    if operation.repeat != "read" and operation.result.kind == "model":
        return f"{text} Fields that the reply leaves out come from the arguments or from a second call."
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
    if operation.panel is None:
        yield "UnsupportedOperationError", 'the client uses `dialect="panel"`, and current panels do not serve this.'
    if operation.repeat != "read":
        yield "OutcomeUnknownError", "sent, outcome unknown."


def _may_be_invalid(operation: OperationSource) -> bool:
    return bool(operation.positional or operation.guard or operation.http_method == "PATCH") or any(
        argument.choices or argument.not_empty or argument.is_list for argument in operation.arguments
    )


def _item(name: str, text: str) -> list[str]:
    return wrap(f"{name}: {text}", "    ", "        ")
