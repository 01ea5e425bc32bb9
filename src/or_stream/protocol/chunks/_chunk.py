"""The JSON of one SSE event, or of a whole answer, read into a `Chunk`. The one file that knows the names of the wire's fields.

Every field may be missing, null or of another type than documented (docs/wire.md): what cannot be used is passed over, what has
no place here goes to `extra`, and nothing raises.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from or_stream.protocol._error_body import ErrorBody
from or_stream.protocol._payloads import JSONPath
from or_stream.values import Usage

__all__ = [
    "Chunk",
    "Finish",
    "ImageEntry",
    "Part",
    "ToolCallFragment",
    "is_answer",
    "is_image_path",
    "only_text",
    "read_chunk",
    "read_usage",
]


class ImageEntry(NamedTuple):
    """An image as it came. `url` is a data URL, an address, or a data URL whose payload was lifted."""

    url: str
    claimed_media_type: str | None

    @property
    def is_open(self) -> bool:
        """Whether this is the beginning of a data URL, whose payload is yet to come."""
        return self.url.startswith("data:") and self.url.endswith(";base64,")


class ToolCallFragment(NamedTuple):
    """A piece of a tool call; None where it does not say."""

    wire_index: int | None
    id: str | None
    name: str | None
    arguments: str | None
    extra: dict[str, Any]


class Part(NamedTuple):
    """One thing a choice says. `is_whole` marks what stands in a `message`, which repeats what deltas have said."""

    kind: str
    choice: int
    value: Any
    is_whole: bool


class Finish(NamedTuple):
    """The end of a choice; a stream may give several."""

    choice: int
    reason: str | None
    native_reason: str | None


@dataclass(slots=True)
class Chunk:
    """One chunk: `parts` in the order of the wire, so that text in front of an image stays in front of it."""

    id: str | None = None
    model: str | None = None
    provider: str | None = None
    created: int | None = None
    parts: list[Part] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    usage: Usage | None = None
    error: ErrorBody | None = None
    logprobs: list[tuple[int, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)


_KNOWN_FIELDS: Final = {"id", "model", "provider", "created", "object", "choices", "usage", "error", "user_id"}
_KNOWN_CHOICE_FIELDS: Final = {"index", "delta", "message", "finish_reason", "native_finish_reason", "logprobs", "error"}
_KNOWN_USAGE: Final = {"prompt_tokens", "completion_tokens", "total_tokens", "cost", "is_byok", "cost_details"}
_IMAGE_PATHS: Final = {
    ("choices", None, kind, "images", None, *rest)
    for kind in ("delta", "message")
    for rest in (("image_url", "url"), ("image_url",), ("url",), ())
}
_NUMBERS: Final = (int, float)  # and not bool, which is an int
_FIELDS_OF_A_FAILURE: Final = {"error", "network_error", "server_error"}


def is_image_path(path: JSONPath) -> bool:
    """Whether the JSON string at `path` is an image's data URL."""
    return path in _IMAGE_PATHS


def is_answer(document: Any) -> bool:
    """Whether a whole JSON document is an answer to a chat request, as far as it has choices."""
    return isinstance(document, dict) and bool(document.get("choices"))


def only_text(document: Any) -> str | None:
    """The text of a chunk that has nothing but text of the first choice to say, else None.

    Nearly every chunk of a long answer is one: reading it here costs 0.5 µs, through `read_chunk` 4 µs.
    """
    try:
        (choice,) = document["choices"]
        delta = choice["delta"]
        if (
            choice["finish_reason"] is None
            and len(delta) == 2
            and delta["role"] == "assistant"
            and not choice["index"]
            and not choice.get("logprobs")
            and not choice.get("error")
            and not choice.get("native_finish_reason")
            and "message" not in choice
            and "usage" not in document
            and "error" not in document
            and type(text := delta["content"]) is str
        ):
            return text
    except (KeyError, TypeError, ValueError, AttributeError):
        pass
    return None


def read_chunk(document: Any) -> Chunk:
    """Read a chunk, or a whole answer, or the beginning of either."""
    if not isinstance(document, dict):
        return Chunk()
    created, usage = document.get("created"), document.get("usage")
    chunk = Chunk(
        _text(document.get("id")),
        _text(document.get("model")),
        _text(document.get("provider")),
        created if isinstance(created, int) and created > 0 else None,
    )
    if (text := only_text(document)) is not None and document["choices"][0].keys() <= _KNOWN_CHOICE_FIELDS:
        if text:
            chunk.parts.append(Part("text", 0, text, False))
    else:
        for choice in _objects(document.get("choices")):
            _read_choice(choice, chunk)
        if isinstance(usage, dict):
            chunk.usage = read_usage(usage)
        if document.get("error"):
            chunk.error = ErrorBody.read(document["error"])
    if not document.keys() <= _KNOWN_FIELDS:
        chunk.extra.update({name: value for name, value in document.items() if name not in _KNOWN_FIELDS and value is not None})
    return chunk


def _read_choice(choice: dict[str, Any], chunk: Chunk) -> None:
    index = choice.get("index")
    index = index if type(index) is int and index >= 0 else 0
    for name, value in choice.items():
        if name in ("delta", "message") and isinstance(value, dict):
            _read_delta(value, index, name == "message", chunk)
        elif name not in _KNOWN_CHOICE_FIELDS and value is not None:
            chunk.extra[name] = value
    reason, native_reason = _text(choice.get("finish_reason")), _text(choice.get("native_finish_reason"))
    if reason or native_reason:
        chunk.finishes.append(Finish(index, reason, native_reason))
    if choice.get("logprobs"):
        chunk.logprobs.append((index, choice["logprobs"]))
    if choice.get("error"):
        chunk.error = ErrorBody.read(choice["error"])
    elif reason == "error" or native_reason in _FIELDS_OF_A_FAILURE:
        chunk.error = ErrorBody(message=f"the provider failed: finish_reason {reason!r}, native_finish_reason {native_reason!r}")


def _read_delta(delta: dict[str, Any], choice: int, is_whole: bool, chunk: Chunk) -> None:
    said_reasoning = False
    for name, value in delta.items():
        if name == "content":
            _read_content(value, choice, is_whole, chunk)
        elif name in ("reasoning", "reasoning_content"):
            if isinstance(value, str) and value and not said_reasoning:
                chunk.parts.append(Part("reasoning", choice, value, is_whole))
                said_reasoning = True
        elif name == "reasoning_details":
            details = _objects(value)
            if isinstance(value, list):
                chunk.parts.append(Part("reasoning_details", choice, details, is_whole))
            text = "".join(_text(detail.get("text")) or _text(detail.get("summary")) or "" for detail in details)
            if text and not said_reasoning:
                chunk.parts.append(Part("reasoning", choice, text, is_whole))
                said_reasoning = True
        elif name == "refusal":
            if isinstance(value, str) and value:
                chunk.parts.append(Part("refusal", choice, value, is_whole))
        elif name == "images":
            entries = value if isinstance(value, list) else [value]
            chunk.parts += [Part("image", choice, entry, is_whole) for entry in map(_read_image, entries) if entry is not None]
        elif name == "tool_calls":
            calls = enumerate(_objects(value))
            chunk.parts += [
                Part("tool_call", choice, _read_tool_call(call, at if is_whole else None), is_whole) for at, call in calls
            ]
        elif name == "audio":
            if isinstance(value, dict):
                chunk.parts.append(Part("audio", choice, value, is_whole))
        elif name == "annotations":
            chunk.parts += [Part("annotation", choice, annotation, is_whole) for annotation in _objects(value) if annotation]
        elif name != "role" and value is not None:
            chunk.extra[name] = value


def _read_content(content: Any, choice: int, is_whole: bool, chunk: Chunk) -> None:
    """Text; or, from some proxies, a list of content parts."""
    if isinstance(content, str):
        if content:
            chunk.parts.append(Part("text", choice, content, is_whole))
        return
    for part in _objects(content):
        if _text(part.get("text")):
            chunk.parts.append(Part("text", choice, part["text"], is_whole))
        elif "image_url" in part and (entry := _read_image(part)) is not None:
            chunk.parts.append(Part("image", choice, entry, is_whole))


def _read_image(entry: Any) -> ImageEntry | None:
    """`{"image_url": {"url": ...}}` today; an address alone in older answers."""
    value = entry
    for name in ("image_url", "url"):
        if isinstance(value, dict) and name in value:
            value = value[name]
    if not isinstance(value, str) or not value:
        return None
    claimed = value[len("data:") :].split(",", 1)[0].split(";", 1)[0].strip().lower() if value.startswith("data:") else None
    return ImageEntry(value, claimed or None)


def _read_tool_call(call: dict[str, Any], position: int | None) -> ToolCallFragment:
    """`position` stands for the index where there is none, as in a `message`: each call of its list is whole."""
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    index, arguments = call.get("index"), function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    extra = {name: value for name, value in call.items() if name not in ("index", "id", "type", "function") and value is not None}
    return ToolCallFragment(
        index if type(index) is int else position, _text(call.get("id")), _text(function.get("name")), arguments or None, extra
    )


def read_usage(usage: dict[str, Any]) -> Usage:
    """What was used and what it cost; a field that is missing or of another type is None."""
    prompt, completion = _object(usage.get("prompt_tokens_details")), _object(usage.get("completion_tokens_details"))
    tools = _object(usage.get("server_tool_use_details") or usage.get("server_tool_use"))
    return Usage(
        prompt_tokens=_integer(usage.get("prompt_tokens")),
        completion_tokens=_integer(usage.get("completion_tokens")),
        total_tokens=_integer(usage.get("total_tokens")),
        cost=_float(usage.get("cost")),
        is_byok=usage["is_byok"] if isinstance(usage.get("is_byok"), bool) else None,
        cost_details=usage["cost_details"] if isinstance(usage.get("cost_details"), dict) else None,
        cached_tokens=_integer(prompt.get("cached_tokens")),
        cache_write_tokens=_integer(prompt.get("cache_write_tokens")),
        reasoning_tokens=_integer(completion.get("reasoning_tokens")),
        image_tokens=_integer(completion.get("image_tokens")),
        audio_tokens=_integer(completion.get("audio_tokens")),
        web_search_requests=_integer(tools.get("web_search_requests")),
        extra={name: value for name, value in usage.items() if name not in _KNOWN_USAGE and value is not None},
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _integer(value: Any) -> int | None:
    return int(value) if type(value) in _NUMBERS and abs(value) < 2**63 else None


def _float(value: Any) -> float | None:
    return float(value) if type(value) in _NUMBERS and abs(value) < 2**63 else None
