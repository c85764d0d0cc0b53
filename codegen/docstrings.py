"""Writes the docstrings of generated methods."""

import textwrap
from collections.abc import Iterator

from codegen.operations import Argument, OperationSource

_WIDTH = 120
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
    "natural-key": "Not repeated once it may have taken effect; look it up with `{lookup}` by {fields}.",
    "unsafe": "Not repeated once it may have taken effect.",
}


def method_docstring(operation: OperationSource) -> str:
    """Return the body of a docstring, indented for a method, without the quotes."""
    text = "\n".join(_lines(operation)).strip()
    return textwrap.indent(text.replace("\\", "\\\\"), " " * 8).strip()


def docstring(text: str) -> str:
    """Return a text as the body of a docstring: one line, or a first sentence, a blank line and the rest."""
    text = sentence(text)
    if len(text) <= _WIDTH - 10:
        return text
    first, _, rest = text.partition(". ")
    return "\n".join([f"{first}.", "", *_wrap(rest)])


def sentence(text: str) -> str:
    """Return a text that ends like a sentence."""
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _lines(operation: OperationSource) -> Iterator[str]:
    summary = (
        operation.summary[0].lower() + operation.summary[1:] if operation.summary[1:2].islower() else operation.summary
    )
    yield f"{operation.http_method} {operation.path}: {sentence(summary)}"
    yield ""
    if operation.description:
        yield from _wrap(sentence(operation.description))
        yield ""
    yield from _facts(operation)
    if operation.arguments or operation.guard:
        yield ""
        yield "Args:"
        for argument in (*operation.positional, *operation.keywords):
            yield from _item(argument.name, _argument_text(argument))
        if operation.guard:
            reason = operation.guard.reason
            yield from _item(
                operation.guard.argument,
                f"Must be True when `{operation.guard.replaces}` is left out: {sentence(reason)}",
            )
    if operation.result.kind != "nothing":
        yield ""
        yield "Returns:"
        yield from _wrap(_returns(operation), "    ")
    yield ""
    yield "Raises:"
    if _may_be_invalid(operation):
        yield from _item("ValueError", "an argument cannot be right; nothing was sent.")
    if operation.scope:
        yield from _item("MissingScopeError", "the key lacks the scope.")
    for status in operation.errors:
        yield from _item(*_ERRORS[status])
    if operation.repeat in {"natural-key", "unsafe"}:
        yield from _item("OutcomeUnknownError", "the call was sent and its fate is not known.")
    yield from _item("TransportError", "nothing came back.")


def _facts(operation: OperationSource) -> Iterator[str]:
    scope = f"Scope: `{operation.scope}`." if operation.scope else "Scope: none."
    if not operation.signed:
        scope = "Needs no key; neither signed nor counted."
    key = operation.natural_key or {"lookup": "", "fields": []}
    fields = ", ".join(f"`{name}`" for name in key["fields"])
    parts = [scope, _REPEATS[operation.repeat].format(lookup=key["lookup"], fields=fields)]
    if operation.destructive:
        parts.append("Destructive.")
    if operation.asynchronous:
        parts.append("The reply comes before the work is done.")
    if operation.panel is None:
        parts.append("Not served by current panels.")
    yield from _wrap(" ".join(parts))


def _argument_text(argument: Argument) -> str:
    text = sentence(argument.description)
    return f"{text} One of {', '.join(f'`{choice}`' for choice in argument.choices)}." if argument.choices else text


def _returns(operation: OperationSource) -> str:
    text = sentence(operation.result.description)
    if operation.result.kind == "pages":
        return f"{text} Await it for the first page, or iterate over every item with `async for`."
    return text


def _may_be_invalid(operation: OperationSource) -> bool:
    return bool(operation.positional or operation.guard) or any(
        argument.choices or argument.not_empty for argument in operation.arguments
    )


def _item(name: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        f"{name}: {text}", _WIDTH - 8, initial_indent="    ", subsequent_indent="        ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _wrap(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH - 8,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
