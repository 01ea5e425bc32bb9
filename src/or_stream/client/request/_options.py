"""What `stream` and `generate` take: the names, their types, and what is refused before anything else is looked at."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, TypedDict, get_args, get_type_hints

from or_stream._short_repr import ShortRepr
from or_stream.client._clocks import Timeouts
from or_stream.client._retry import RetryPolicy
from or_stream.errors import ConfigurationError
from or_stream.values import Image, Message

__all__ = [
    "BODY_OPTIONS",
    "DEFAULT_MODEL",
    "BodyOptions",
    "Detail",
    "GenerationOptions",
    "ImageConfig",
    "ImageInput",
    "ImageSource",
    "MessageParam",
    "Picture",
    "Prompt",
    "check_options",
]

DEFAULT_MODEL: Final = "google/gemini-2.5-flash-image"
"""A model that answers with text and pictures. Set $OR_STREAM_MODEL, or pass `model=`, for another."""

Detail = Literal["auto", "low", "high", "original"]
"""How closely a model looks at a picture; "original" is OpenRouter's own, "high" where a provider has nothing above it."""


class PillowImage(Protocol):
    """A `PIL.Image.Image`, told by what it has, so that the types need no Pillow."""

    format: str | None

    def getpalette(self) -> list[int] | None:
        """Its colours, where a pixel is the number of one."""

    def tobytes(self) -> bytes:
        """Its pixels."""

    @property
    def mode(self) -> str:
        """What a pixel is made of."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""


@dataclass(frozen=True, slots=True, repr=False)
class Picture(ShortRepr):
    """A picture to send, with wishes: `images=[Picture("photo.jpg", max_pixels=1_000_000)]`.

    `max_pixels`: a picture that has more is made smaller, upright and in the same proportions, which takes Pillow
    (`pip install 'or-stream[pillow]'`); of an animated one the first frame is sent. One that has no more goes out as it is, and
    without `max_pixels` every one does. `detail`: how closely a model looks, in chat; the Image API has nothing like it, and is
    not told. Raises ConfigurationError for other values; for an address with `max_pixels`, when it is sent.
    """

    source: "ImageSource"
    max_pixels: int | None = field(default=None, kw_only=True)
    detail: Detail | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.source, Picture):
            raise ConfigurationError("a Picture is made of a path, bytes, an address, an Image or a PIL image, not of a Picture")
        count = self.max_pixels
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise ConfigurationError(f"max_pixels must be a whole number from 1 on, or None, not {count!r}")
        if self.detail is not None and self.detail not in get_args(Detail):
            raise ConfigurationError(f'detail must be "auto", "low", "high" or "original", not {self.detail!r}')


ImageSource = str | os.PathLike[str] | bytes | Image | PillowImage

ImageInput = ImageSource | Picture
"""A picture to send: the path of a file, its bytes, an http(s) address, a data URL, an `Image` of an earlier answer, a PIL image,
or a `Picture` of one of these with wishes."""

MessageParam = Mapping[str, Any] | Message
"""A message of a conversation: as the API wants it, or the `Message` of an earlier turn."""

Prompt = str | Sequence[MessageParam]


class ImageConfig(TypedDict, total=False):
    """What pictures to make, in one vocabulary for both endpoints. Which keys and values a model takes differs; unknown keys
    are passed on, and those whose value is None are left out.

    `image_size` is "0.5K", "1K", "2K" or "4K"; `resolution` is the same in the words of the Image API, "512" its smallest.
    `size` is in pixels, such as "2048x1152".
    """

    aspect_ratio: str
    image_size: str
    resolution: str
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

    `images`: pictures sent in with the prompt. `system`: a system message in front. `api`: "chat" or "images" fixes the endpoint;
    by default, "auto", it is the Image API for models that make pictures and nothing else, chat for all others. `modalities`:
    what may come out over chat; by default what the model puts out, as far as that is known (docs/catalog.md). `n`: how many
    pictures the Image API is to make. `image_config`: see `ImageConfig`. `extra_body` and `extra_headers`: whatever has no
    parameter here; they win. `save_to`: a folder, into which images are written while they arrive instead of being kept in
    memory. `require_image`: an answer without an image raises NoImageProduced. `timeouts` and `retry`: instead of the client's
    own.
    """

    images: Sequence[ImageInput]
    system: str | None
    api: Literal["auto", "chat", "images"] | None
    modalities: Sequence[str] | None
    image_config: ImageConfig | Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None
    extra_headers: Mapping[str, str] | None
    save_to: str | os.PathLike[str] | None
    require_image: bool
    timeouts: Timeouts | None
    retry: RetryPolicy | None


BODY_OPTIONS: Final = frozenset(BodyOptions.__annotations__)
_OPTIONS: Final = frozenset(get_type_hints(GenerationOptions))
_OPTION_TYPES: Final = {
    "system": (str | Sequence, "a text, or a list of content parts"),
    "image_config": (Mapping, 'a mapping such as {"aspect_ratio": "16:9"}'),
    "extra_body": (Mapping, "a mapping"),
    "extra_headers": (Mapping, "a mapping"),
    "save_to": (str | os.PathLike, "the path of a folder"),
    "timeouts": (Timeouts, "a Timeouts, such as Timeouts(total=300)"),
    "retry": (RetryPolicy, "a RetryPolicy, such as RetryPolicy(attempts=1)"),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for an unknown name, and for a value that would fail only later, somewhere else."""
    if unknown := sorted(set(options) - _OPTIONS):
        raise ConfigurationError(f"unknown option {unknown[0]!r}: {_hint(unknown[0])}")
    for name, value in options.items():
        kind, example = _OPTION_TYPES.get(name, (object, ""))
        if value is not None and not isinstance(value, kind):
            raise ConfigurationError(f"{name} must be {example}, not {type(value).__name__}")
    if options.get("api") not in (None, "auto", "chat", "images"):
        raise ConfigurationError(f'api must be "auto", "chat" or "images", not {options["api"]!r}')


def _hint(unknown: str) -> str:
    if unknown in ("api_key", "base_url", "limits", "max_connections", "proxy", "app_url", "app_title", "session"):
        return f"it belongs to the client: Client({unknown}=...)"
    if unknown == "client":
        return "it is for or_stream.stream, generate and batch; a method of a Client and an item of a batch have theirs"
    close = difflib.get_close_matches(unknown, sorted({*_OPTIONS, "model", "client"}), n=1)
    return f"did you mean {close[0]!r}?" if close else "pass it in extra_body"
