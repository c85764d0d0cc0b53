"""Replies made from examples and schemas, for operations without a behaviour of their own."""

from typing import Any

from panelica_async.sandbox.spec import Document, Endpoint, Json


def example_reply(document: Document, endpoint: Endpoint) -> Any:
    """Return the example of an operation's reply, or the smallest value its schema allows."""
    if endpoint.reply_example is not None:
        return endpoint.reply_example
    return None if endpoint.reply is None else instance(document, endpoint.reply)


def instance(document: Document, schema: Json) -> Any:
    """Make the smallest value of a schema, from its examples where it has some."""
    schema = document.resolve(schema)
    for choices in ("examples", "enum", "x-known-values"):
        if schema.get(choices):
            return schema[choices][0]
    for single in ("example", "const"):
        if single in schema:
            return schema[single]
    for alternatives in ("oneOf", "anyOf"):
        if alternatives in schema:
            return instance(document, schema[alternatives][0])
    kinds: Any = schema.get("type", "object")
    return _smallest(document, kinds if isinstance(kinds, str) else kinds[0], schema)


def _smallest(document: Document, kind: str, schema: Json) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties", {})
            return {name: instance(document, properties.get(name, {})) for name in schema.get("required", ())}
        case "array":
            return [instance(document, schema["items"])] * schema.get("minItems", 0)
        case "string":
            return "1970-01-01T00:00:00Z" if schema.get("format") == "date-time" else "x" * schema.get("minLength", 0)
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return False
        case _:
            return None
