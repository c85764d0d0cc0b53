"""Writes the docstrings of generated methods."""

from collections.abc import Iterator

from codegen.arguments import Argument
from codegen.operations import OperationSource
from codegen.text import quoted, sentence, wrap

_ERRORS = {
    "400": ("BadRequestError", "the panel rejected the input."),
    "401": ("AuthenticationError", "the panel rejected key, clock or signature."),
    "403": ("PermissionDeniedError", "the owner of the key may not do this."),
    "404": ("NotFoundError", "there is no such object for the owner of this key."),
    "409": ("ConflictError", "the object exists already, or is in use."),
    "429": ("RateLimitedError", "the quota is used up, and the retries are spent or the wait for one is too long."),
    "500": ("ServerError", "the panel, or the web server before it, failed."),
}
_PLAN_LIMIT = "the owner of the key may not do this, or a limit of the hosting plan is reached."
_RETRIED = "retried when no reply came and after 429, 502, 503 and 504, not after 500."
_REPEATS = {
    "read": f"Changes nothing; {_RETRIED}",
    "idempotent": f"Safe to repeat; {_RETRIED}",
    "natural-key": "Not repeated once it may have taken effect; when the reply is lost, it is looked up.",
    "unsafe": "Not repeated once it may have taken effect.",
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
    yield from wrap(_facts(operation))
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
    yield from ("", "Raises:")
    for error, meaning in _errors(operation):
        yield from _item(error, meaning)


def _facts(operation: OperationSource) -> str:
    scope = f"Scope: `{operation.scope}`." if operation.scope else "Scope: none by the reference."
    if not operation.signed:
        scope = "Needs no key; neither signed nor counted."
    parts = [scope, _REPEATS[operation.repeat]]
    if operation.natural_key:
        fields = ", ".join(f"`{name}`" for name in operation.natural_key.fields)
        parts.append(f"`{operation.natural_key.lookup}` finds it by {fields}.")
    if operation.destructive:
        parts.append("Destructive.")
    if operation.asynchronous:
        parts.append("The reply comes before the work is done.")
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
            f"{text} Await it for the first page, or iterate over every item with `async for`. "
            "Errors are raised then, a ValueError at once."
        )
    if operation.result.model == "Acknowledgement":
        return f"{text} What the panel says about it is in `message`."
    if operation.repeat != "read" and operation.result.kind == "model":
        return f"{text} What the reply does not show is as in the arguments, or looked up."
    return text


def _errors(operation: OperationSource) -> Iterator[tuple[str, str]]:
    if _may_be_invalid(operation):
        yield "ValueError", "an argument is invalid; nothing was sent."
    yield "ConfigurationError", "the client is closed, or belongs to another event loop or process."
    if operation.signed:
        asks = "" if operation.scope else "; current panels may ask for one here"
        yield "MissingScopeError", f"the key lacks the scope{asks}."
    # Whatever an operation is documented to answer, the web server before the panel may fail.
    for status in dict.fromkeys((*operation.errors, "500")):
        name, meaning = _ERRORS[status]
        yield name, _PLAN_LIMIT if status == "403" and operation.method_name == "create" else meaning
    if operation.panel is None:
        yield "UnsupportedOperationError", 'the client has `dialect="panel"`, and current panels do not serve this.'
    if operation.signed:
        yield "RateLimitWaitError", "the wait for quota would be longer than allowed."
    yield "DecodeError", "the panel answered with success, but not in the form promised here."
    if operation.repeat != "read":
        yield "OutcomeUnknownError", "the call was sent, and its outcome is unknown."
    yield "TransportError", "no complete reply came back."


def _may_be_invalid(operation: OperationSource) -> bool:
    return bool(operation.positional or operation.guard or operation.http_method == "PATCH") or any(
        argument.choices or argument.not_empty or argument.is_list for argument in operation.arguments
    )


def _item(name: str, text: str) -> list[str]:
    return wrap(f"{name}: {text}", "    ", "        ")
