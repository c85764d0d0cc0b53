"""Checks a file of the specification against `conventions.yaml`, which states the conventions of `spec/README.md`."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft202012Validator, ValidationError

from codegen.problems import SpecError
from codegen.yaml_nodes import Node, read

Kind = Literal["root", "facts", "resource"]
_CONVENTIONS = Path(__file__).with_name("conventions.yaml")


def check_file(document: Node, kind: Kind) -> None:
    """Raise `SpecError` for the first place of a file that breaks a convention."""
    found = [_spec_error(error, document) for error in _validator(kind).iter_errors(document)]
    if found:
        raise min(found, key=lambda error: error.location.line)


@cache
def _validator(kind: Kind) -> Draft202012Validator:
    return Draft202012Validator({**read(_CONVENTIONS), "$ref": f"#/$defs/{kind}"})


def _spec_error(error: ValidationError, document: Node) -> SpecError:
    # What these hold depends on `validator`, which types cannot tell.
    schema: Any = error.schema
    instance: Any = error.instance
    where = document.locate(error.absolute_path)
    subject, remedy = _subject(error, document), schema.get("description", "spec/README.md lists the conventions")
    if "propertyNames" in error.absolute_schema_path:
        where = document.locate([*error.absolute_path, instance])
        return SpecError(where, f"`{instance}` does not belong here", remedy)
    match error.validator:
        case "required":
            missing = next(name for name in schema["required"] if name not in instance)
            remedy = schema.get("properties", {}).get(missing, {}).get("description", remedy)
            problem = f"`{subject}` has no `{missing}`"
        case "additionalProperties":
            unknown = next(name for name in instance if name not in schema["properties"])
            where = instance.where(unknown)
            problem = f"`{subject}` has the unknown field `{unknown}`"
        case "minItems" | "minProperties":
            problem = f"`{subject}` is empty"
        case "maxProperties":
            problem = f"`{subject}` holds more than {schema['maxProperties']}"
        case "not":
            problem = f"`{subject}` does not belong here"
        case _:
            problem = f"`{subject}` is {_shown(instance)}"
    return SpecError(where, problem, remedy)


def _subject(error: ValidationError, document: Node) -> str:
    """Return how the author calls the thing: an operation or a parameter by its name, everything else by its key."""
    instance: Any = error.instance
    keys = [part for part in error.absolute_path if isinstance(part, str)]
    names = (instance.get("operationId"), instance.get("name")) if isinstance(instance, dict) else ()
    return next((name for name in names if isinstance(name, str)), keys[-1] if keys else document.location.file.name)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return json.dumps(value, ensure_ascii=False)
