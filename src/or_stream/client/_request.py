"""Arguments -> the JSON body and headers of one request. Pure but for reading the pictures that are sent in."""

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypedDict, get_type_hints

from or_stream.client._clocks import Timeouts
from or_stream.client._retry import RetryPolicy
from or_stream.errors import ConfigurationError, NotFound, OrStreamError
from or_stream.values import Image, Message

__all__ = [
    "DEFAULT_MODEL",
    "GenerationOptions",
    "ImageConfig",
    "ImageInput",
    "MessageParam",
    "Prompt",
    "Request",
    "build_request",
    "checked_headers",
]

DEFAULT_MODEL: Final = "google/gemini-2.5-flash-image"
"""A model that answers with text and pictures. Set $OR_STREAM_MODEL, or pass `model=`, for another."""

ImageInput = str | os.PathLike[str] | bytes | Image
"""A picture to send: the path of a file, its bytes, an http(s) address, a data URL, or an `Image` of an earlier answer."""

MessageParam = Mapping[str, Any] | Message
"""A message of a conversation: as the API wants it, or the `Message` of an earlier turn."""

Prompt = str | Sequence[MessageParam]


class ImageConfig(TypedDict, total=False):
    """What pictures to make. Which keys and values a model takes differs; unknown keys are passed on."""

    aspect_ratio: str
    image_size: str
    quality: str
    size: str
    background: str
    output_format: str
    output_compression: int
    moderation: str
    strength: float
    style: str
    rgb_colors: list[list[int]]
    background_rgb_color: list[int]
    text_layout: list[dict[str, Any]]
    font_inputs: list[dict[str, str]]
    super_resolution_references: list[str]


class BodyOptions(TypedDict, total=False):
    """Parameters of the API that go into the body as they are (https://openrouter.ai/docs/api/reference/parameters)."""

    audio: Mapping[str, Any]
    cache_control: Mapping[str, Any]
    debug: Mapping[str, Any]
    frequency_penalty: float
    include_reasoning: bool
    logit_bias: Mapping[str, float]
    logprobs: bool
    max_completion_tokens: int
    max_tokens: int
    metadata: Mapping[str, str]
    min_p: float
    models: Sequence[str]
    n: int
    parallel_tool_calls: bool
    plugins: Sequence[Mapping[str, Any]]
    prediction: Mapping[str, Any]
    presence_penalty: float
    preset: str
    prompt_cache_key: str
    prompt_cache_options: Mapping[str, Any]
    provider: Mapping[str, Any]
    reasoning: Mapping[str, Any]
    reasoning_effort: str
    repetition_penalty: float
    response_format: Mapping[str, Any]
    route: str
    seed: int
    service_tier: str
    session_id: str
    stop: str | Sequence[str]
    stop_server_tools_when: Sequence[Mapping[str, Any]]
    stream_options: Mapping[str, Any]
    structured_outputs: bool
    temperature: float
    tool_choice: str | Mapping[str, Any]
    tools: Sequence[Mapping[str, Any]]
    top_a: float
    top_k: int
    top_logprobs: int
    top_p: float
    trace: Mapping[str, Any]
    transforms: Sequence[str]
    usage: Mapping[str, Any]
    user: str
    verbosity: str
    web_search_options: Mapping[str, Any]


class GenerationOptions(BodyOptions, total=False):
    """Everything `stream` and `generate` take by keyword beside the model.

    `images`: pictures sent in with the prompt. `system`: a system message in front. `modalities`: what may come out; by default
    text and images, or images alone for models known to make nothing else. `image_config`: see `ImageConfig`. `extra_body` and
    `extra_headers`: whatever has no parameter here; they win. `save_to`: a folder, into which images are written while they
    arrive instead of being kept in memory. `require_image`: an answer without an image raises NoImageProduced. `timeouts` and
    `retry`: instead of the client's own.
    """

    images: Sequence[ImageInput]
    system: str | None
    modalities: Sequence[str] | None
    image_config: ImageConfig | Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None
    save_to: str | os.PathLike[str] | None
    require_image: bool
    timeouts: Timeouts | None
    retry: RetryPolicy | None


class Request:
    """One request, ready to be sent as often as needed. Has no key: that is the client's."""

    __slots__ = ("_fields", "_modalities_are_a_guess", "body", "headers", "require_image", "save_to")

    def __init__(self, fields: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self._fields = fields
        self._modalities_are_a_guess = options.get("modalities") is None and "modalities" not in (options.get("extra_body") or {})
        self.body: bytes = _encoded(fields)
        self.headers: Mapping[str, str] = _headers(options.get("extra_headers") or {})
        self.save_to: Path | None = _folder(options.get("save_to"))
        self.require_image: bool = bool(options.get("require_image"))

    def correct_modalities(self, error: OrStreamError) -> bool:
        """Whether the server refused what was guessed about the model's output, and the guess is another one now.

        A text model refuses `["image", "text"]`, a model of pictures alone too, both with the same 404 (docs/wire.md).
        """
        if not self._modalities_are_a_guess or not isinstance(error, NotFound) or "output modalities" not in str(error):
            return False
        self._modalities_are_a_guess = False
        wants_image = self.require_image or "image_config" in self._fields or "image" in self._fields["model"]
        self.body = _encoded({**self._fields, "modalities": ["image"] if wants_image else ["text"]})
        return True


_BODY_OPTIONS: Final = frozenset(BodyOptions.__annotations__)
_OPTIONS: Final = frozenset(get_type_hints(GenerationOptions))
_OPTION_TYPES: Final = (
    ("system", str | Sequence, "a text, or a list of content parts"),
    ("image_config", Mapping, 'a mapping such as {"aspect_ratio": "16:9"}'),
    ("extra_body", Mapping, "a mapping"),
    ("extra_headers", Mapping, "a mapping"),
    ("save_to", str | os.PathLike, "the path of a folder"),
    ("timeouts", Timeouts, "a Timeouts, such as Timeouts(total=300)"),
    ("retry", RetryPolicy, "a RetryPolicy, such as RetryPolicy(attempts=1)"),
)
# Without `identity` a proxy may compress the stream and hold events back until a block is full.
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}
_CONTROL_CHARACTERS: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
# Families that make pictures and nothing else: asked for text too, the service answers 404 (docs/wire.md).
_IMAGE_ONLY: Final = re.compile(r"(^|/)(flux|seedream|recraft|riverflow|gpt-image|grok-imagine|mai-image|imagen)", re.IGNORECASE)


def build_request(prompt: Prompt, model: str | None, options: Mapping[str, Any]) -> Request:
    """The request for these arguments. Raises ConfigurationError, which says what to do, for what cannot be sent."""
    if unknown := sorted(set(options) - _OPTIONS):
        raise ConfigurationError(f"unknown option {unknown[0]!r}: {_hint(unknown[0])}")
    _check_types(options)
    model = _checked_model(model)
    modalities = _modalities(model, options)
    body: dict[str, Any] = {"model": model, "messages": _messages(prompt, options), "modalities": modalities, "stream": True}
    if options.get("image_config") is not None:
        body["image_config"] = dict(options["image_config"])
    body |= {name: value for name, value in options.items() if name in _BODY_OPTIONS and value is not None}
    _check_reasoning(body)
    body |= options.get("extra_body") or {}  # last, so that it wins
    if body.get("stream") is not True:
        raise ConfigurationError("this library streams: leave `stream` out of extra_body")
    return Request(body, options)


def _hint(unknown: str) -> str:
    if unknown in ("api_key", "base_url", "limits", "max_connections", "proxy", "app_url", "app_title", "session"):
        return f"it belongs to the client: Client({unknown}=...)"
    close = difflib.get_close_matches(unknown, sorted({*_OPTIONS, "model", "client"}), n=1)
    return f"did you mean {close[0]!r}?" if close else "pass it in extra_body"


def _check_types(options: Mapping[str, Any]) -> None:
    """Whatever would fail only when it is used, somewhere else and in other words."""
    for name, kind, example in _OPTION_TYPES:
        value = options.get(name)
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(f"{name} must be {example}, not {type(value).__name__}")


def _checked_model(model: str | None) -> str:
    model = model if model is not None else os.environ.get("OR_STREAM_MODEL") or DEFAULT_MODEL
    if not isinstance(model, str) or not model:
        raise ConfigurationError('the model must be a name such as "google/gemini-2.5-flash-image"')
    if _CONTROL_CHARACTERS.search(model):
        raise ConfigurationError(f"the model name {model!r} has white space or a control character in it: remove it")
    return model


def _modalities(model: str, options: Mapping[str, Any]) -> list[str]:
    modalities = options.get("modalities")
    if isinstance(modalities, str):
        raise ConfigurationError(f'modalities must be a list: use ["{modalities}"]')
    if modalities is not None and not isinstance(modalities, Iterable):
        raise ConfigurationError('modalities must be a list such as ["image", "text"]')
    if modalities is not None and not list(modalities):
        raise ConfigurationError('modalities is empty: leave it out, or name what is wanted, such as ["image", "text"]')
    if modalities is None:
        modalities = ["image"] if _IMAGE_ONLY.search(model) else ["image", "text"]
    if "image" not in modalities:
        for name in ("require_image", "image_config"):
            if options.get(name):
                raise ConfigurationError(
                    f'{name} wants an image and modalities={list(modalities)} allows none: add "image" or drop {name}'
                )
    return list(modalities)


def _messages(prompt: Prompt, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = _conversation(prompt)
    system = options.get("system")
    if system is not None:
        if messages and messages[0].get("role") == "system":
            raise ConfigurationError(
                "there is a system message in the conversation already: pass `system` or that message, not both"
            )
        messages.insert(0, {"role": "system", "content": system})
    images = options.get("images") or ()
    if isinstance(images, str | bytes | bytearray | os.PathLike | Image) or not isinstance(images, Iterable):
        raise ConfigurationError("images must be a list: use images=[...]")
    if images:
        # The service wants the text first, then the images (docs: guides/overview/multimodal/images).
        parts = [{"type": "image_url", "image_url": {"url": _image_url(image)}} for image in images]
        if messages[-1].get("role") != "user":
            messages.append({"role": "user", "content": []})
        content = messages[-1].get("content") or []
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(content, Sequence):
            raise ConfigurationError("images can only be added to a message whose content is text or a list of parts")
        messages[-1] = {**messages[-1], "content": [*content, *parts]}
    return messages


def _conversation(prompt: Prompt) -> list[dict[str, Any]]:
    if isinstance(prompt, str):
        if not prompt.strip():
            raise ConfigurationError("the prompt is empty: say what to generate")
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, Mapping | Message | bytes) or not isinstance(prompt, Sequence):
        raise ConfigurationError("the prompt must be a string or a list of messages")
    messages = []
    for number, message in enumerate(prompt):
        if isinstance(message, Message):
            messages.append(_param(message, number))
        elif isinstance(message, Mapping) and isinstance(message.get("role"), str):
            messages.append(dict(message))
        else:
            raise ConfigurationError(f'message {number} of the conversation must be a Message or a mapping with a "role"')
    if not messages:
        raise ConfigurationError("the conversation is empty: give at least one message")
    return messages


def _param(message: Message, number: int) -> dict[str, Any]:
    try:
        return message.to_param()
    except OSError as error:
        raise ConfigurationError(f"cannot read an image of message {number} of the conversation: {error}") from error


def _image_url(image: ImageInput) -> str:
    """An address or a data URL for a picture to send."""
    if isinstance(image, Image):
        try:
            return image.data_url()
        except OSError as error:
            raise ConfigurationError(f"cannot read {image!r}: {error}") from error
    if isinstance(image, str) and re.match(r"(https?://|data:)", image, re.IGNORECASE):
        return image
    if isinstance(image, bytes | bytearray):
        loaded, name = Image.from_bytes(bytes(image)), f"{len(image)} bytes"
    elif isinstance(image, str | os.PathLike):
        name = os.fspath(image)
        try:
            loaded = Image.from_bytes(Path(image).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read the image {name!r}: {error}") from error
    else:
        raise ConfigurationError(f"an image must be a path, bytes, an address or an Image, not {type(image).__name__}")
    if loaded.media_type is None:
        raise ConfigurationError(f"{name!r} is not a picture of a known kind: send PNG, JPEG, WebP or GIF")
    return loaded.data_url()


def _check_reasoning(body: Mapping[str, Any]) -> None:
    reasoning, effort = body.get("reasoning") or {}, body.get("reasoning_effort")
    if not isinstance(reasoning, Mapping):
        raise ConfigurationError('reasoning must be a mapping such as {"effort": "low"}')
    if reasoning.get("effort") is not None and reasoning.get("max_tokens") is not None:
        raise ConfigurationError("reasoning takes effort or max_tokens, not both")
    if effort is not None and reasoning.get("effort") not in (None, effort):
        raise ConfigurationError(f"reasoning_effort={effort!r} contradicts reasoning={dict(reasoning)}: give one of them")


def _encoded(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), default=_as_mapping, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        raise ConfigurationError(f"the request holds {half}, half of a surrogate pair and no character: remove it") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the request cannot be written as JSON: {error}") from error


def _as_mapping(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _headers(extra: Mapping[str, str]) -> Mapping[str, str]:
    return _HEADERS | checked_headers(extra) if extra else _HEADERS


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """`headers`, if they can be sent: RFC 9110 section 5.1 for the names, text on one line for the values."""
    for name, value in headers.items():
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", name):
            raise ConfigurationError(f"{name!r} is no name of a header: use letters, digits and hyphens")
        if not isinstance(value, str) or re.search(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]", value):
            raise ConfigurationError(f"the header {name!r} must be text on one line")
    return dict(headers)


def _folder(save_to: str | os.PathLike[str] | None) -> Path | None:
    if save_to is None:
        return None
    folder = Path(save_to)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"save_to={str(folder)!r} cannot be made a folder: {error}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"save_to={str(folder)!r} cannot be written to: choose another folder")
    return folder
