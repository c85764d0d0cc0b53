"""Parses queries and bodies, and checks them against the specification; checks values that it leaves open.

No message quotes a value of a body, which may be a password.

Guesses, modelled on what clients are known to check (evidence: databases-names): the forms of names. Those that
provisioning checks too are in `core.values`.
"""

import posixpath
import re
from abc import ABC, abstractmethod
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast
from urllib.parse import parse_qsl

from jsonschema import Draft202012Validator, FormatChecker, ValidationError

from panelica_async.core.json_codec import loads
from panelica_async.core.values import ACCOUNT_NAME, DATABASE_NAME, FTP_NAME, MAILBOX_NAME, NameRule
from panelica_async.sandbox.messages import (
    ApiError,
    UploadedFile,
    bad_request,
    decoder_error,
    panel_error,
    validator_error,
)
from panelica_async.sandbox.spec import Document, Endpoint, JsonObject, RequestPart

_INTEGER = re.compile(r"-?[0-9]+")
_BOUNDARY = re.compile(r'boundary="?([^";]+)')
_DISPOSITION = re.compile(rb'\b(name|filename)="((?:[^"\\]|\\.)*)"')
_MAX_DIGITS = 18
_BOOLEANS = {
    **dict.fromkeys(["1", "t", "T", "true", "True", "TRUE"], True),
    **dict.fromkeys(["0", "f", "F", "false", "False", "FALSE"], False),
}
"""Booleans in a query, as Go parses them; PHP's `http_build_query` writes 1 and 0."""
_TYPE_NAMES = {
    "object": "an object",
    "array": "a list",
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_GO_TYPES = {"string": "string", "integer": "int", "number": "float64", "boolean": "bool", "array": "[]string"}


class Validation(ABC):
    """Parses and checks the requests of a dialect.

    Args:
        document: The document with the schemas.
        strict: Whether to refuse fields and parameters that the document does not name.
    """

    formats: FormatChecker | None = None
    """The formats to check, such as `uuid`."""

    def __init__(self, document: Document, *, strict: bool = False) -> None:
        self._document = document
        self._strict = strict

    @abstractmethod
    def error_for(self, endpoint: Endpoint, errors: Sequence[ValidationError], part: RequestPart) -> ApiError:
        """Return the error for a body or query with at least one validation error."""

    def canonical_body(self, schema: JsonObject, body: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - for dialects
        """Return a body in the form in which it is checked and handled."""
        return body

    def parse_body(self, endpoint: Endpoint, raw: bytes, content_type: str = "") -> dict[str, Any]:
        """Parse and check a body. Fields that the specification does not name are kept.

        Raises:
            ApiError: 400, it is invalid.
        """
        value: Any = _parse_form(raw, content_type) if endpoint.is_form else _parse_json(raw)
        # For an action without arguments, clients send no body, {} or [] (evidence: empty-bodies). PHP writes both of
        # the latter for the same empty array.
        if value == [] or (value is None and not endpoint.body_required):
            value = {}
        if endpoint.body_schema is not None or value:
            schema = self._document.resolve(endpoint.body_schema or {})
            if isinstance(value, dict):
                value = self.canonical_body(schema, cast("dict[str, Any]", value))
                if "properties" in schema:
                    self._check_names("body", value, schema["properties"])
            self._check(endpoint, "body", _with_file_names(value or {}) if endpoint.is_form else value)
        return cast("dict[str, Any]", value) if isinstance(value, dict) else {}

    def parse_query(self, endpoint: Endpoint, raw_query: str) -> dict[str, Any]:
        """Parse and check a query. Parameters that the specification does not name are dropped.

        Raises:
            ApiError: 400, it is invalid.
        """
        schemas = {parameter["name"]: parameter["schema"] for parameter in endpoint.query_parameters}
        pairs = parse_qsl(raw_query, keep_blank_values=True)
        self._check_names("query", dict(pairs), schemas)
        if not schemas:
            return {}
        values: dict[str, object] = {}
        for name, text in pairs:
            if name in schemas:
                # Go's url.Values.Get returns the first of several values.
                values.setdefault(name, _parse_parameter(name, text, schemas[name]))
        self._check(endpoint, "query", values)
        return values

    def _check(self, endpoint: Endpoint, part: RequestPart, value: object) -> None:
        validator = self._document.request_validator(endpoint, part, self.formats)
        errors: list[ValidationError] = list(cast("Any", validator).iter_errors(value))
        if errors:
            raise self.error_for(endpoint, errors, part)

    def _check_names(self, part: RequestPart, names: Iterable[str], known: Iterable[str]) -> None:
        """If strict, refuse names that the document does not know."""
        unknown = sorted(set(names) - set(known))
        if self._strict and unknown:
            raise bad_request(f"{', '.join(unknown)}: not known in the {part}", message="Unknown field")


class ReferenceValidation(Validation):
    """The checks of the published reference."""

    def error_for(self, endpoint: Endpoint, errors: Sequence[ValidationError], part: RequestPart) -> ApiError:  # noqa: ARG002
        """Describe the first error in words."""
        return _reference_error(errors[0], f"the {part}")


class PanelValidation(Validation):
    """The checks of current panels: those of Go's decoder and validator (evidence: error-validator)."""

    formats: FormatChecker | None = FormatChecker(["uuid"])

    def canonical_body(self, schema: JsonObject, body: dict[str, Any]) -> dict[str, Any]:
        """Give fields their main names, and drop nulls, which Go's decoder skips.

        Official clients use different names for some fields, and panels seem to accept all of them (evidence:
        subdomains).
        """
        name_of_alias = {
            alias: name
            for name, field in schema.get("properties", {}).items()
            for alias in field.get("x-aliases", ())
            if name not in body
        }
        if schema.get("maxProperties") == 0 and not self._strict:
            return {}
        renamed = {name_of_alias.get(name, name): value for name, value in body.items() if value is not None}
        # To Go's validator, an empty required field is missing.
        required = schema.get("required", ())
        return {name: value for name, value in renamed.items() if value != "" or name not in required}

    def error_for(self, endpoint: Endpoint, errors: Sequence[ValidationError], part: RequestPart) -> ApiError:
        """Return the error of Go's decoder for the first wrong type, or else that of its validator for all errors."""
        for error in errors:
            if error.validator == "maxProperties":
                return panel_error("Unknown field", "the request takes no fields")
            if error.validator == "type":
                field = ".".join(str(part) for part in error.absolute_path)
                types = cast("str | list[str]", error.validator_value)
                expected = types if isinstance(types, str) else types[0]
                go_type = _GO_TYPES.get(expected, "object")
                return decoder_error(endpoint.operation, field, _json_type(error.instance), go_type)
        # A dict, because Go names each field and tag once.
        failures = dict.fromkeys(failure for error in errors for failure in _failed_tags(error))
        if part == "query":
            return panel_error("Invalid query", ", ".join(f"{field} ({tag})" for field, tag in failures))
        return validator_error(endpoint.operation, failures)


def _failed_tags(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield the fields that an error is about, each with the tag of Go's validator that it fails on."""
    field = ".".join(str(part) for part in error.absolute_path)
    match error.validator:
        case "required":
            required, body = cast("list[str]", error.validator_value), cast("JsonObject", error.instance)
            yield from ((name, "required") for name in required if name not in body)
        case "enum":
            yield field, "oneof"
        case "format":
            yield field, "uuid"
        case _:
            yield field, "min"


def _parse_json(raw: bytes) -> Any:
    if not raw.strip():
        return None
    # Go's encoding/json rejects a byte order mark too.
    if raw.startswith(BOM_UTF8):
        raise bad_request("the body begins with a byte order mark", message="Invalid JSON")
    try:
        return loads(raw)
    except ValueError as error:
        raise bad_request(str(error), message="Invalid JSON") from None


def _parse_form(raw: bytes, content_type: str) -> dict[str, Any]:
    """Return the fields of a multipart form. As in Go, a file keeps only the last part of its name."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise bad_request("the multipart form has no boundary")
    # aiohttp decoded the header with `surrogateescape`; this restores its bytes.
    *parts, end = (b"\r\n" + raw).split(b"\r\n--" + boundary[1].encode(errors="surrogateescape"))
    if not end.startswith(b"--"):
        raise bad_request("the multipart form is incomplete")
    fields: dict[str, Any] = {}
    for part in parts[1:]:
        head, _, content = part.partition(b"\r\n\r\n")
        disposition = {
            key: re.sub(rb"\\(.)", rb"\1", name).decode(errors="replace") for key, name in _DISPOSITION.findall(head)
        }
        name = disposition.get(b"name", "")
        filename = posixpath.basename(disposition.get(b"filename", ""))
        fields[name] = UploadedFile(filename, content) if filename else content.decode(errors="replace")
    return fields


def _with_file_names(form: dict[str, Any]) -> dict[str, Any]:
    """Return a form with each file replaced by its name, so that a schema can check it."""
    return {name: field.name if isinstance(field, UploadedFile) else field for name, field in form.items()}


def _parse_parameter(name: str, text: str, schema: JsonObject) -> object:
    """Convert a query parameter to the type of its schema. A value that cannot be converted fails the check later."""
    match schema.get("type"):
        case "integer" if _INTEGER.fullmatch(text):
            if len(text.lstrip("-0")) > _MAX_DIGITS:
                raise bad_request(f"{name}: must have at most {_MAX_DIGITS} digits")
            return int(text)
        case "boolean":
            return _BOOLEANS.get(text, text)
        case _:
            return text


def check_value(validator: Draft202012Validator, value: object, where: str) -> None:
    """Raise unless a value matches a schema.

    Args:
        validator: The validator of the schema.
        value: The value.
        where: What the value is, for the message.

    Raises:
        ApiError: 400, the value is invalid.
    """
    for error in cast("Any", validator).iter_errors(value):
        raise _reference_error(error, where)


def _reference_error(error: ValidationError, where: str) -> ApiError:
    """Return the error of the reference dialect, which describes a validation error in words."""
    path = ".".join(str(part) for part in error.absolute_path) or where
    rule: Any = error.validator_value
    value: Any = error.instance
    match error.validator:
        case "required":
            missing = next(name for name in rule if name not in value)
            text = f"{missing} is required"
        case "type":
            types: list[str] = [rule] if isinstance(rule, str) else rule
            text = f"must be {' or '.join(_TYPE_NAMES[name] for name in types)}"
        case "enum":
            text = f"must be one of {', '.join(str(choice) for choice in rule)}"
        case "minLength" | "minItems" | "minProperties":
            text = "must not be empty"
        case "minimum":
            text = f"must be at least {rule}"
        case "maximum":
            text = f"must be at most {rule}"
        case "pattern":
            text = f"must match {rule}"
        case _:
            text = "does not have an accepted form"
    return bad_request(f"{path}: {text}")


def _json_type(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int() | float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


# Values that the specification leaves open

_LABEL = r"[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?"
_DOMAIN_NAME = NameRule(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+{_LABEL}", "a name such as example.com")
_EMAIL = NameRule(r"[^@\s]+@[^@\s]+", "an address such as john@example.com")


def valid_domain_name(text: str) -> str:
    """Return a domain name in lower case, or refuse it."""
    return _require(_DOMAIN_NAME, text.lower(), "domain")


def valid_username(text: str) -> str:
    """Return a system user name, or refuse it."""
    return _require(ACCOUNT_NAME, text, "username")


def valid_email(text: str) -> str:
    """Return an e-mail address, or refuse it."""
    return _require(_EMAIL, text, "email")


def valid_local_part(text: str) -> str:
    """Return the part of an address before the @, or refuse it."""
    return _require(MAILBOX_NAME, text, "local_part")


def valid_database_name(text: str, field: str) -> str:
    """Return the name of a database or of its user, or refuse it."""
    return _require(DATABASE_NAME, text, field)


def valid_ftp_name(text: str) -> str:
    """Return the name of an FTP user, or refuse it."""
    return _require(FTP_NAME, text, "username")


def one_of(text: str, choices: tuple[str, ...], field: str) -> str:
    """Return a value that is one of the choices, or refuse it."""
    if text not in choices:
        raise bad_request(f"{field}: must be one of {', '.join(choices)}")
    return text


def _require(rule: NameRule, text: str, field: str) -> str:
    if not rule.allows(text):
        raise bad_request(f"{field}: must be {rule.form}")
    return text
