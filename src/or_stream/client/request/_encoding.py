"""What is sent, checked: the JSON of a body, the names and values of headers."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from or_stream.errors import ConfigurationError

__all__ = ["checked_headers", "encoded", "request_headers"]

# Without `identity` a proxy may compress the stream and hold events back until a block is full.
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}


def encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(body).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise ConfigurationError(f"the request holds {half}, half of a surrogate pair and no character: remove it") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the request cannot be written as JSON: {error}") from error


def _as_mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_as_mapping, allow_nan=False)


def request_headers(extra: Mapping[str, str]) -> Mapping[str, str]:
    return _HEADERS | checked_headers(extra) if extra else _HEADERS


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers`, if they can be sent: RFC 9110 section 5.1 for the names, text on one line for the values."""
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ConfigurationError(f"{name!r} is no name of a header: use letters, digits and hyphens")
        if not isinstance(value, str) or re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", value):
            raise ConfigurationError(f"the header {name!r} must be text on one line")
    return dict(headers)
