"""A value that fits a JSON schema: what the assistant says where a schema was asked for, and what it calls a tool with."""

from collections.abc import Mapping
from typing import Any

_DEPTH_AT_MOST = 8
_ITEMS_AT_MOST = 16
_PLAIN: dict[str, Any] = {"string": "lamp", "integer": 1, "number": 1.5, "boolean": True, "null": None}


def instance_of(schema: Any, definitions: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """The plainest value of a schema: its constant, default or first choice, and every property of an object.

    What is no schema is as if it were not there.
    """
    if not isinstance(schema, Mapping) or depth > _DEPTH_AT_MOST:
        return None
    if definitions is None:
        definitions = {**_mapping(schema, "definitions"), **_mapping(schema, "$defs")}
    if "$ref" in schema:
        return instance_of(definitions.get(str(schema["$ref"]).rpartition("/")[2]), definitions, depth + 1)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "anyOf", "oneOf", "allOf"):
        if isinstance(choices := schema.get(name), list) and choices:
            return choices[0] if name == "enum" else instance_of(choices[0], definitions, depth + 1)
    match _kind_of(schema):
        case "array":
            least = schema.get("minItems")
            count = min(max(1, least), _ITEMS_AT_MOST) if isinstance(least, int) else 1
            return [instance_of(schema.get("items"), definitions, depth + 1)] * count
        case "object":
            properties = _mapping(schema, "properties")
            return {name: instance_of(inner, definitions, depth + 1) for name, inner in properties.items()}
        case "integer" | "number" if "minimum" in schema:
            return schema["minimum"]
        case kind:
            return _PLAIN.get(kind)


def _kind_of(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) and kind else kind)


def _mapping(schema: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = schema.get(name)
    return found if isinstance(found, Mapping) else {}
