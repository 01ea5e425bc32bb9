"""JSON as servers send it, read with as much patience as it takes."""

import json
from typing import Any

from pydantic_core import from_json

__all__ = ["parse_json"]


def parse_json(raw: bytes) -> Any:
    """The value, with U+FFFD for what is no UTF-8 and for each half of a surrogate pair, which could not be written anywhere.

    Raises ValueError for what is no JSON, and RecursionError for what is too deep.
    """
    try:
        return from_json(raw)
    except ValueError:
        # The standard's way with a byte order mark and bytes that are no UTF-8.
        return _without_surrogates(json.loads(raw.decode("utf-8-sig", errors="replace")))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    return value
