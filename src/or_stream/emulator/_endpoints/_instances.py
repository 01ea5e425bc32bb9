"""A value that fits a JSON schema: what the assistant says where a schema was asked for, and what it calls a tool with."""

from collections.abc import Mapping
from typing import Any

_DEPTH_AT_MOST = 8
_PLAIN: dict[str, Any] = {"string": "lamp", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def instance_of(schema: Any, definitions: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """The plainest value of a schema: its constant, default or first choice, and every property of an object."""
    if not isinstance(schema, Mapping):
        return None
    if definitions is None:
        definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    if "$ref" in schema:
        schema = definitions.get(str(schema["$ref"]).rpartition("/")[2], {})
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "anyOf", "oneOf", "allOf"):
        if schema.get(name):
            first = schema[name][0]
            return first if name == "enum" else instance_of(first, definitions, depth)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if depth >= _DEPTH_AT_MOST:
        return _PLAIN.get(kind)
    if kind == "array":
        return [instance_of(schema.get("items", {}), definitions, depth + 1)] * max(1, schema.get("minItems", 1))
    if kind == "object":
        return {name: instance_of(inner, definitions, depth + 1) for name, inner in schema.get("properties", {}).items()}
    if kind in ("integer", "number") and "minimum" in schema:
        return schema["minimum"]
    return _PLAIN.get(kind)
