"""Writes the docstrings of generated methods."""

from collections.abc import Iterator

from codegen.arguments import Argument
from codegen.operations import OperationSource
from codegen.text import quoted, sentence, wrap

_ERRORS = {
    "400": ("BadRequestError", "the panel finds the input not valid."),
    "401": ("AuthenticationError", "key, clock or signature is not accepted."),
    "403": ("PermissionDeniedError", "the object is not yours, or a plan limit is reached."),
    "404": ("NotFoundError", "there is no such object for the owner of this key."),
    "409": ("ConflictError", "the object exists already, or is in use."),
    "429": ("RateLimitedError", "the quota is used up and the retries are spent."),
    "500": ("ServerError", "the panel failed."),
}
_REPEATS = {
    "read": "Changes nothing; retried on any transient failure.",
    "idempotent": "Safe to repeat; retried on any transient failure.",
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
    scope = f"Scope: `{operation.scope}`." if operation.scope else "Scope: none."
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
        return f"{text} Await it for the first page, or iterate over every item with `async for`."
    if operation.result.model == "Acknowledgement":
        return f"{text} What the panel says about it is in `message`."
    if operation.repeat != "read" and operation.result.kind == "model":
        return f"{text} What the reply does not show is as in the arguments, or looked up."
    return text


def _errors(operation: OperationSource) -> Iterator[tuple[str, str]]:
    if _may_be_invalid(operation):
        yield "ValueError", "an argument cannot be right; nothing was sent."
    if operation.scope:
        yield "MissingScopeError", "the key lacks the scope."
    for status in operation.errors:
        yield _ERRORS[status]
    if "500" not in operation.errors:
        # Whatever an operation is documented to answer, the web server before the panel may fail.
        yield _ERRORS["500"]
    if operation.panel is None:
        yield "UnsupportedOperationError", 'the client has `dialect="panel"`, and current panels do not serve this.'
    if operation.signed:
        yield "RateLimitWaitError", "the wait for quota would be longer than allowed."
    yield "DecodeError", "the panel answered with success, but not in the form promised here."
    if operation.repeat != "read":
        yield "OutcomeUnknownError", "the call was sent and its fate is not known."
    yield "TransportError", "nothing came back."


def _may_be_invalid(operation: OperationSource) -> bool:
    return bool(operation.positional or operation.guard or operation.http_method == "PATCH") or any(
        argument.choices or argument.not_empty or argument.is_list for argument in operation.arguments
    )


def _item(name: str, text: str) -> list[str]:
    return wrap(f"{name}: {text}", "    ", "        ")
