"""What the emulator answers when nobody tells it what to: a plausible assistant that talks, paints, and refuses what is wrong."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from or_stream.emulator._pictures import ASPECT_RATIOS, IMAGE_SIZES, dimensions, picture_url
from or_stream.emulator._scene import Scene
from or_stream.emulator._script import JSON_TYPE, Chunk, Comment, Identity, Scenario, Send, Step, Wait, dump, encode
from or_stream.emulator._wire import JSON_KEEP_ALIVE, completion, delta, ending, error_body, image_delta, opening, usage, words

DEFAULT_MODEL = "google/gemini-3.1-flash-image"
IMAGES_AT_MOST = 4
_TOKENS_PER_IMAGE = 1290

_PROVIDERS = {"google": "Google", "openai": "OpenAI", "anthropic": "Anthropic", "x-ai": "xAI", "mistralai": "Mistral"}
_NATIVE_STOP = {"google": "STOP", "anthropic": "end_turn"}
_IMAGE_ONLY = ("flux", "seedream", "recraft", "riverflow", "gpt-image", "grok-imagine", "mai-image")
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4}
_COUNTED = re.compile(
    r"\b(\d+|one|two|three|four)\s+(?:\w+\s+){0,2}?(?:pictures|images|photos|paintings|drawings|illustrations|views)\b",
    re.IGNORECASE,
)
_ORDINALS = ("first", "second", "third", "fourth")


@dataclass(frozen=True, slots=True)
class Pace:
    """How long things take: between two words, and for the bytes of one image."""

    text_delay_seconds: float = 0.0
    image_seconds: float = 0.0


def model_of(body: Mapping[str, Any]) -> str:
    """The model that answers: the one asked for, the first of the list, or the default."""
    listed = body.get("models") or [DEFAULT_MODEL]
    return body.get("model") or str(listed[0])


def provider_of(model: str) -> str:
    """Who serves that model."""
    return _PROVIDERS.get(model.partition("/")[0], "Emulator")


# What is wrong with a request


def complaint(body: Any) -> Scenario | None:
    """The refusal of a request that is no chat request, None for one that is."""
    if not isinstance(body, dict):
        return _refusal(400, "Invalid JSON in the request body: expected an object")
    if "messages" not in body and "prompt" not in body:
        return _refusal(400, 'Input required: specify "prompt" or "messages"', user_id="user_emulated")
    for name, (kind, check) in _PARAMETERS.items():
        value = body.get(name)
        if value is not None and not check(value):
            return _refusal(400, f"Invalid input at {name}: expected {kind}, received {_kind_of(value)}")
    return _wrong_message(body) or _out_of_range(body) or _wrong_modalities(body)


def _refusal(status: int, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> Scenario:
    steps = (Send(dump(error_body(status, message, metadata, **fields)).encode()),)
    return Scenario(steps, status, JSON_TYPE, generation_header=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_array_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(entry, kind) for entry in value)


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kind)


_PARAMETERS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "model": ("string", _is(str)),
    "models": ("array of strings", _is_array_of(str)),
    "messages": ("non-empty array of objects", lambda value: bool(value) and _is_array_of(dict)(value)),
    "prompt": ("string", _is(str)),
    "stream": ("boolean", _is(bool)),
    "modalities": ("array of strings", _is_array_of(str)),
    "image_config": ("object", _is(dict)),
    "reasoning": ("object", _is(dict)),
    "provider": ("object", _is(dict)),
    "response_format": ("object", _is(dict)),
    "metadata": ("object", _is(dict)),
    "tools": ("array of objects", _is_array_of(dict)),
    "plugins": ("array of objects", _is_array_of(dict)),
    "max_tokens": ("integer", _is_integer),
    "max_completion_tokens": ("integer", _is_integer),
    "seed": ("integer", _is_integer),
    "temperature": ("number", _is_number),
    "top_p": ("number", _is_number),
    "user": ("string", _is(str)),
    "session_id": ("string", _is(str)),
}
_ROLES = ["system", "developer", "user", "assistant", "tool"]  # a list: what is looked up may be anything


def _kind_of(value: Any) -> str:
    kinds = {bool: "boolean", str: "string", int: "number", float: "number", dict: "object", list: "array"}
    return kinds.get(type(value), "null")


def _wrong_message(body: Mapping[str, Any]) -> Scenario | None:
    for index, message in enumerate(body.get("messages") or ()):
        if message.get("role") not in _ROLES:
            return _refusal(400, f"Invalid input at messages[{index}].role: {message.get('role')!r}")
        if not isinstance(message.get("content"), str | list | None):
            return _refusal(400, f"Invalid input at messages[{index}].content: expected string or array")
    return None


def _out_of_range(body: Mapping[str, Any]) -> Scenario | None:
    temperature = body.get("temperature")
    if temperature is not None and not 0 <= temperature <= 2:
        side = "at most 2" if temperature > 2 else "at least 0"
        return _refusal(400, f"Expected temperature to be {side}, received {temperature}", {"provider_name": None})
    config = body.get("image_config") or {}
    for name, known in (("aspect_ratio", ASPECT_RATIOS), ("image_size", IMAGE_SIZES)):
        if name in config and str(config[name]) not in known:
            return _refusal(400, f"Invalid input at image_config.{name}: expected one of {', '.join(known)}")
    return None


def _wrong_modalities(body: Mapping[str, Any]) -> Scenario | None:
    modalities = body.get("modalities") or []
    if not any(name in model_of(body) for name in _IMAGE_ONLY) or "text" not in modalities:
        return None
    funnel = [{"step": "Initial Endpoints", "endpoint_count": 1}]
    return _refusal(
        404,
        f"No endpoints found that support the requested output modalities: {', '.join(sorted(modalities))}",
        {"routing_funnel": funnel, "failed_routing_step": "Filter by Model Output Modalities"},
    )


# The answer


def answer(body: Mapping[str, Any], identity: Identity, pace: Pace) -> Scenario:
    """A few sentences and the pictures asked for. Takes 0.1 s for each picture not drawn before: call it off the event loop."""
    reply = _Reply(body, identity, pace)
    return reply.streamed() if body.get("stream") else reply.whole()


def paints(body: Mapping[str, Any]) -> bool:
    """Whether the answer will have pictures."""
    modalities = body.get("modalities")
    if modalities is None:
        return any(name in model_of(body) for name in _IMAGE_ONLY)
    return "image" in modalities


def prompt_of(body: Mapping[str, Any]) -> str:
    """The text of the last thing the user said."""
    for message in reversed(body.get("messages") or ()):
        if message["role"] == "user":
            return _text_of(message.get("content"))
    return _text_of(body.get("prompt"))


def _text_of(content: str | list[Any] | None) -> str:
    if isinstance(content, list):
        content = " ".join(str(part["text"]) for part in content if isinstance(part, dict) and part.get("text"))
    # JSON can hold half a surrogate pair, UTF-8 cannot.
    return (content or "").encode(errors="replace").decode()


def images_asked_for(prompt: str) -> int:
    """How many pictures a prompt names: "two pictures", "3 small images"; 1 where it names no number."""
    found = _COUNTED.search(prompt)
    if not found:
        return 1
    number = found[1].lower()
    return max(1, min(IMAGES_AT_MOST, _COUNTS[number] if number in _COUNTS else int(number)))


class _Reply:
    def __init__(self, body: Mapping[str, Any], identity: Identity, pace: Pace) -> None:
        self.identity, self.pace = identity, pace
        self.prompt = prompt_of(body)
        self.images = images_asked_for(self.prompt) if paints(body) else 0
        self.talks = not self.images or "text" in (body.get("modalities") or [])
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        self.word_limit = limit if limit > 0 else 10_000
        config = body.get("image_config") or {}
        self.size = dimensions(config.get("aspect_ratio", "1:1"), config.get("image_size", "1K"))
        self.native = _NATIVE_STOP.get(identity.model.partition("/")[0], "stop")

    def streamed(self) -> Scenario:
        steps = [*opening(3), *self._body()]
        tokens = self._usage(sum(isinstance(step, Chunk) for step in steps))
        return Scenario((*steps, *ending(tokens, *self._reason())))

    def whole(self) -> Scenario:
        parts = [part for part, _ in self._parts()]
        content = " ".join(" ".join(parts).split(" ")[: self.word_limit]) if parts else ""
        urls = [self._url(index) for index in range(self.images)]
        reason, native = self._reason()
        tokens = self._usage(len(content.split()))
        body = completion(self.identity.fields(), content, images=urls, reason=reason, native=native, tokens=tokens)
        keep_alive = Send(JSON_KEEP_ALIVE)
        return Scenario(
            (keep_alive, keep_alive, Send(dump(body).encode(), self.pace.image_seconds * self.images)), 200, JSON_TYPE
        )

    def _parts(self) -> list[tuple[str, int | None]]:
        """The paragraphs, each with the picture that comes after it."""
        asked = self.prompt if len(self.prompt) <= 80 else self.prompt[:79].rstrip() + "…"
        if not self.images:
            return [(_TALK.format(asked=asked), None)]
        if not self.talks:
            return []
        few = "a picture" if self.images == 1 else f"{self.images} pictures"
        parts: list[tuple[str, int | None]] = [(f"Here is what I made of “{asked}”: {few}, each drawn for these words.", 0)]
        for index in range(self.images):
            which = "Here it is." if self.images == 1 else f"That is the {_ORDINALS[index]} one."
            following = index + 1 if index + 1 < self.images else None
            parts.append((f"{which} {Scene.of(self.prompt, index).describe()}", following))
        return parts

    def _reason(self) -> tuple[str, str]:
        said = sum(len(part.split(" ")) for part, _ in self._parts())
        return ("length", "max_output_tokens") if said > self.word_limit else ("stop", self.native)

    def _body(self) -> Iterator[Step]:
        if not self.talks:
            for index in range(self.images):
                yield from self._image(index)
        left, opened = self.word_limit, False
        for part, image in self._parts():
            said = words(part)[:left]
            left -= len(said)
            if opened and said:
                yield delta("\n\n")
            for word in said:
                yield word
                if self.pace.text_delay_seconds:
                    yield Wait(self.pace.text_delay_seconds)
            opened = True
            if image is not None and left:
                yield from self._image(image)

    def _image(self, index: int) -> Iterator[Step]:
        """Encoded here and not by the server, since this runs off the event loop."""
        yield Comment(count=2)
        yield Send(encode(image_delta(self._url(index)), self.identity), self.pace.image_seconds)

    def _url(self, index: int) -> str:
        return picture_url(self.prompt, *self.size, index)

    def _usage(self, completion_words: int) -> dict[str, Any]:
        image_tokens = _TOKENS_PER_IMAGE * self.images
        prompt_tokens = max(1, len(self.prompt) // 4)
        return usage(prompt_tokens=prompt_tokens, completion_tokens=completion_words + image_tokens, image_tokens=image_tokens)


_TALK = (
    "You said: “{asked}”. This is the emulator speaking, so nothing has left your machine. "
    "The answer has the shape of a real one all the same: it comes a word at a time, and what it would have cost comes last."
)
