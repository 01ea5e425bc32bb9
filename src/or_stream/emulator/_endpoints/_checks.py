"""What is wrong with a request: first with its shape, whoever answers, then with what it wants of a model."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from or_stream.emulator._endpoints._catalogue import Model, find, is_model_id
from or_stream.emulator._endpoints._chat import models_of, prompt_of, prompt_tokens_of
from or_stream.emulator._endpoints._refusals import (
    USER_ID,
    moderated,
    no_tools,
    refusal,
    unknown_model,
    wrong_endpoint,
    wrong_modalities,
)
from or_stream.emulator._painting import ASPECT_RATIOS, IMAGE_SIZES
from or_stream.emulator._script import Scenario

Check = tuple[str, Callable[[Any], bool]]

# A prompt with this in it is flagged by models that moderate.
_FLAG = re.compile(r"\[flag: ([^\]]+)\]")


def _is(*kinds: type) -> Callable[[Any], bool]:
    """Of one of these types; a boolean is no number."""
    return lambda value: isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _is_array_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(entry, kind) for entry in value)


def _is_at_most(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and len(value) <= length


def _is_one_of(*values: str) -> Check:
    return f"one of {', '.join(values)}", lambda value: isinstance(value, str) and value in values


def _is_pairs(value: Any) -> bool:
    return isinstance(value, dict) and len(value) <= 16 and all(len(key) <= 64 for key in value)


_STRING: Check = ("string", _is(str))
_OBJECT: Check = ("object", _is(dict))
_NUMBER: Check = ("number", _is(int, float))
_INTEGER: Check = ("integer", _is(int))
_STRINGS: Check = ("array of strings", _is_array_of(str))
_OBJECTS: Check = ("array of objects", _is_array_of(dict))
# By the place of a value: a name, `a.b` in an object, `a[]` for each entry of an array.
_CHAT: dict[str, Check] = {
    "model": _STRING,
    "models": _STRINGS,
    "messages": ("non-empty array of objects", lambda value: bool(value) and _is_array_of(dict)(value)),
    "messages[].content": ("string or array", _is(str, list)),
    "prompt": _STRING,
    "stream": ("boolean", _is(bool)),
    "modalities": _STRINGS,
    "image_config": _OBJECT,
    "reasoning": _OBJECT,
    "reasoning.effort": _STRING,
    "reasoning_effort": _STRING,
    "provider": _OBJECT,
    "response_format": _OBJECT,
    "response_format.json_schema": _OBJECT,
    "response_format.json_schema.schema": _OBJECT,
    "metadata": ("object of at most 16 pairs", _is_pairs),
    "tools": _OBJECTS,
    "tools[].function": _OBJECT,
    "tools[].function.name": _STRING,
    "tools[].function.parameters": _OBJECT,
    "tool_choice": ("string or object", _is(str, dict)),
    "tool_choice.function": _OBJECT,
    "plugins": _OBJECTS,
    "max_tokens": _INTEGER,
    "max_completion_tokens": _INTEGER,
    "seed": _INTEGER,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "top_logprobs": _INTEGER,
    "user": _STRING,
    "session_id": ("string of at most 256 characters", _is_at_most(256)),
}
_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
    "max_tokens": (1, None),
    "max_completion_tokens": (1, None),
}
_ROLES = ["system", "developer", "user", "assistant", "tool"]  # a list: what is looked up may be anything
_PROVIDER_KEYS = """order only ignore allow_fallbacks require_parameters data_collection zdr enforce_distillable_text
    quantizations sort preferred_min_throughput preferred_max_latency max_price"""

_RATIOS = "auto 1:1 1:2 1:4 1:8 2:1 2:3 3:2 3:4 4:1 4:3 4:5 5:4 8:1 9:16 16:9 9:19.5 19.5:9 9:20 20:9 9:21 21:9"
_PIXELS = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")
_SIDE_AT_MOST = 4096
_TIERS = ("512", "1K", "2K", "4K")


def _is_size(value: Any) -> bool:
    pixels = _PIXELS.fullmatch(value) if isinstance(value, str) else None
    return value in _TIERS or bool(pixels and max(map(int, pixels.groups())) <= _SIDE_AT_MOST)


_IMAGES: dict[str, Check] = {
    "model": ("string", lambda value: isinstance(value, str) and bool(value)),
    "prompt": ("non-empty string", lambda value: isinstance(value, str) and bool(value)),
    "n": ("integer from 1 to 10", lambda value: _is(int)(value) and 1 <= value <= 10),
    "stream": ("boolean", _is(bool)),
    "aspect_ratio": _is_one_of(*_RATIOS.split()),
    "resolution": _is_one_of(*_TIERS),
    "size": (f"a tier, or WIDTHxHEIGHT of at most {_SIDE_AT_MOST} each", _is_size),
    "quality": _is_one_of("auto", "low", "medium", "high"),
    "output_format": _is_one_of("png", "jpeg", "webp", "svg"),
    "background": _is_one_of("auto", "transparent", "opaque"),
    "output_compression": ("integer from 0 to 100", lambda value: _is(int)(value) and 0 <= value <= 100),
    "seed": _INTEGER,
    "provider": _OBJECT,
    "input_references": (
        "array of at most 16 image_url parts",
        lambda value: _is_array_of(dict)(value) and len(value) <= 16 and all(map(_is_image_part, value)),
    ),
}


def _is_image_part(part: Mapping[str, Any]) -> bool:
    address = part.get("image_url")
    return part.get("type") == "image_url" and isinstance(address, dict) and isinstance(address.get("url"), str)


def chat_complaint(body: Any) -> Scenario | None:
    """The refusal of what is no chat request, None for what is one."""
    if not isinstance(body, dict):
        return refusal(400, "Invalid JSON in the request body: expected an object")
    if "messages" not in body and "prompt" not in body:
        return refusal(400, 'Input required: specify "prompt" or "messages"', user_id=USER_ID)
    return _wrong_kind(body, _CHAT) or _wrong_message(body) or _out_of_range(body) or _wrong_option(body)


def images_complaint(body: Any) -> Scenario | None:
    """The refusal of what is no request of the Image API, None for what is one."""
    if not isinstance(body, dict):
        return refusal(400, "Invalid JSON in the request body: expected an object")
    for name in ("model", "prompt"):
        if name not in body:
            return refusal(400, f"Invalid input at {name}: expected string, received undefined")
    wrong = _wrong_kind(body, _IMAGES)
    explicit = _PIXELS.fullmatch(str(body.get("size", "")))
    if wrong is None and explicit and (body.get("resolution") or body.get("aspect_ratio")):
        return refusal(400, "size gives the pixels: resolution and aspect_ratio must not be given beside it")
    return wrong


def _wrong_kind(body: Mapping[str, Any], checks: Mapping[str, Check]) -> Scenario | None:
    for path, (kind, fits) in checks.items():
        for place, value in _at(body, path):
            if value is not None and not fits(value):
                return refusal(400, f"Invalid input at {place}: expected {kind}, received {_kind_of(value)}")
    return None


def _at(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Each value at a path, and where it is: `tools[].function` leads to `tools[0].function` and so on."""
    name, _, rest = path.partition(".")
    found = value.get(name.removesuffix("[]")) if isinstance(value, dict) else None
    several = found if name.endswith("[]") else [found]
    for index, each in enumerate(several or ()):
        place = name.replace("[]", f"[{index}]")
        if rest:
            yield from ((f"{place}.{below}", inner) for below, inner in _at(each, rest))
        else:
            yield place, each


def _kind_of(value: Any) -> str:
    kinds = {bool: "boolean", str: "string", int: "number", float: "number", dict: "object", list: "array"}
    return kinds.get(type(value), "null")


def _wrong_message(body: Mapping[str, Any]) -> Scenario | None:
    for index, message in enumerate(body.get("messages") or ()):
        if message.get("role") not in _ROLES:
            return refusal(400, f"Invalid input at messages[{index}].role: {message.get('role')!r}")
    return None


def _out_of_range(body: Mapping[str, Any]) -> Scenario | None:
    for name, (low, high) in _RANGES.items():
        value = body.get(name)
        if value is not None and not low <= value <= (value if high is None else high):
            side = f"at least {low}" if value < low else f"at most {high}"
            return refusal(400, f"Expected {name} to be {side}, received {value}", {"provider_name": None})
    config = body.get("image_config") or {}
    for name, known in (("aspect_ratio", ASPECT_RATIOS), ("image_size", IMAGE_SIZES)):
        if name in config and str(config[name]) not in known:
            return refusal(400, f"Invalid input at image_config.{name}: expected one of {', '.join(known)}")
    return None


def _wrong_option(body: Mapping[str, Any]) -> Scenario | None:
    strange = set(body.get("provider") or ()) - set(_PROVIDER_KEYS.split())
    if strange:
        return refusal(400, f"Invalid input at provider: Unrecognized key: {min(strange)!r}")
    effort, short = (body.get("reasoning") or {}).get("effort"), body.get("reasoning_effort")
    if effort and short and effort != short:
        return refusal(400, "reasoning_effort and reasoning.effort must be the same where both are given")
    stop = body.get("stop")
    if isinstance(stop, list) and len(stop) > 4:
        return refusal(400, "Invalid input at stop: expected at most 4 strings")
    return None


# What a model cannot do


def route(
    body: Mapping[str, Any], check: Callable[[Mapping[str, Any], Model], Scenario | None], also: AbstractSet[str]
) -> Model | Scenario:
    """The first model that can answer, or the refusal of the first."""
    refused: Scenario | None = None
    for name in models_of(body):
        model = find(name)
        wrong = check(body, model) if is_model_id(name, also) else unknown_model(name)
        if wrong is None:
            return model
        refused = refused or wrong
    assert refused is not None, "there is always a model to try"
    return refused


def chat_objection(body: Mapping[str, Any], model: Model) -> Scenario | None:
    """Why a model does not answer a chat request."""
    if not model.has_chat:
        right = "/images" if "image" in model.outputs else "/embeddings"
        return wrong_endpoint(model, right)
    wanted: Sequence[str] = body.get("modalities") or ()
    if set(wanted) - set(model.outputs):
        return wrong_modalities(wanted)
    if body.get("tools") and not model.takes_tools:
        return no_tools()
    if "audio" in wanted and not body.get("stream"):
        return refusal(400, "Audio output requires stream: true")
    effort = (body.get("reasoning") or {}).get("effort") or body.get("reasoning_effort")
    if effort == "none" and (model.reasoning or {}).get("mandatory"):
        return refusal(400, f"Reasoning is mandatory for {model.id} and cannot be disabled.")
    return _too_long(body, model) or flagged(prompt_of(body), model)


def images_objection(body: Mapping[str, Any], model: Model) -> Scenario | None:
    """Why a model does not answer a request of the Image API."""
    if "image" not in model.outputs:
        return wrong_endpoint(model, "/chat/completions")
    if (body.get("n") or 1) > 1 and not model.has_image_stream:
        return refusal(400, f"{model.id} makes one image at a time: n must be 1")
    wanted = body.get("output_format")
    if wanted and wanted not in model.image_formats:
        return refusal(400, f"{model.id} does not make {wanted}: output_format must be one of {', '.join(model.image_formats)}")
    return flagged(str(body["prompt"]), model)


def _too_long(body: Mapping[str, Any], model: Model) -> Scenario | None:
    tokens, room = prompt_tokens_of(body), model.context_length
    if room is None or tokens <= room:
        return None
    message = f"This endpoint's maximum context length is {room} tokens. However, you requested about {tokens} tokens."
    return refusal(400, message, {"provider_name": model.provider})


def flagged(prompt: str, model: Model) -> Scenario | None:
    """A prompt with `[flag: violence]` in it is flagged for violence, where the model moderates."""
    found = _FLAG.search(prompt)
    return moderated(model, found[1], prompt) if found and model.is_moderated else None
