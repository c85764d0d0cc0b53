"""Error replies of current panels, in the shapes that were seen there (evidence: error-shapes).

Which shape answers what is known only where an entry is cited; the rest is a guess, spread over the shapes so that a
program meets each of them.
"""

from collections.abc import Iterable
from typing import Any

from panelica_async.sandbox.messages import ApiError

_INITIALISMS = frozenset({"dns", "ftp", "id", "ip", "mb", "php", "ssl", "url"})


class PanelError(ApiError):
    """A refusal with a body of its own.

    Attributes:
        body: The whole body of the reply.
    """

    def __init__(self, status: int, **body: Any) -> None:
        super().__init__(status, "", str(body.get("error", body.get("message", ""))))
        self.body: dict[str, Any] = {"status": "error", **body}


def failed(error: str, details: Any, *, status: int = 400) -> PanelError:
    """Return a refusal that says in `error` what failed, and in `details` why."""
    return PanelError(status, error=error, details=details)


def taken(details: str, *, error: str = "Failed to create") -> PanelError:
    """Return the refusal of a duplicate: 400 for e-mail addresses (evidence: duplicate-email).

    Guess: for everything else too.
    """
    return failed(error, details)


def missing(kind: str, identity: str) -> PanelError:
    """Return the 404 of an object that does not exist, or belongs to another owner."""
    match kind:
        case "account":
            return PanelError(404, error="Account not found")
        case "domain":
            return failed("apiErrors.external.domain.notFound", "domain not found", status=404)
        case "plan":
            return PanelError(404, error="Plan not found", details=f"id={identity}", code="NOT_FOUND")
        case _:
            error = PanelError(404)
            error.body = {"error": "not found"}
            return error


def invalid(operation: str, faults: Iterable[tuple[str, str]]) -> PanelError:
    """Return the text of Go's validator for fields and the tags they fail on (evidence: error-validator).

    Guess: the names of the structures, apart from the one that was seen.
    """
    structure = _structure(operation)
    lines = [
        f"Key: '{structure}.{_go_name(field)}' Error:Field validation for '{_go_name(field)}' failed on the '{tag}' tag"
        for field, tag in faults
    ]
    return PanelError(400, error="\n".join(lines))


def mistyped(operation: str, field: str, found: str, wanted: str) -> PanelError:
    """Return the refusal of a value of a wrong type. Guess: the text of Go's decoder."""
    text = f"json: cannot unmarshal {found} into Go struct field {_structure(operation)}.{field} of type {wanted}"
    return failed("Invalid request body", text)


def _structure(operation: str) -> str:
    """Return the name of a request in Go: `domains.create` takes a `CreateDomainRequest`."""
    *nouns, verb = operation.split(".")
    return "".join(_go_name(word) for word in (verb, *(noun.removesuffix("s") for noun in nouns))) + "Request"


def _go_name(name: str) -> str:
    words = name.split("_")
    return "".join(word.upper() if word in _INITIALISMS else word.capitalize() for word in words)
