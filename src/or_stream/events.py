"""The vocabulary of a stream: one class per kind of event, data only.

Events are plain slotted dataclasses and not pydantic models: building one costs 0.2 µs instead of 0.7 µs, on every delta. They
are not frozen for the same reason (0.5 µs); treat them as values all the same. pydantic dumps and loads them:
`TypeAdapter(Event).dump_json(event)`.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator

from or_stream._short_repr import ShortRepr
from or_stream.values import Image, Message, ToolCall, Usage

__all__ = [
    "AnnotationDelta",
    "AudioDelta",
    "Event",
    "Heartbeat",
    "ImageDelta",
    "ImageDiscard",
    "ImageEnd",
    "ImagePreview",
    "ImageStart",
    "ReasoningDelta",
    "RefusalDelta",
    "Restart",
    "StreamEnd",
    "StreamStart",
    "TextDelta",
    "ToolCallDelta",
    "ToolCallEnd",
    "ToolCallStart",
    "UsageUpdate",
]

_BASE64 = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


@dataclass(slots=True, repr=False)
class StreamStart(ShortRepr):
    """The first chunk that is not an error came. Each field is None where the server has not said it by then."""

    generation_id: str | None = None
    model: str | None = None
    provider: str | None = None
    choice: int = 0
    type: Literal["stream_start"] = "stream_start"


@dataclass(slots=True, repr=False)
class Heartbeat(ShortRepr):
    """An SSE comment came: the provider is alive, nothing was made. `elapsed` is in seconds since the request."""

    comment: str
    elapsed: float = 0.0
    choice: int = 0
    type: Literal["heartbeat"] = "heartbeat"


@dataclass(slots=True, repr=False)
class TextDelta(ShortRepr):
    """A piece of the visible text, never empty."""

    text: str
    choice: int = 0
    type: Literal["text_delta"] = "text_delta"


@dataclass(slots=True, repr=False)
class ReasoningDelta(ShortRepr):
    """A piece of the reasoning text, given once though the wire carries it twice."""

    text: str
    choice: int = 0
    type: Literal["reasoning_delta"] = "reasoning_delta"


@dataclass(slots=True, repr=False)
class RefusalDelta(ShortRepr):
    """A piece of the model's refusal."""

    text: str
    choice: int = 0
    type: Literal["refusal_delta"] = "refusal_delta"


@dataclass(slots=True, repr=False)
class ImageStart(ShortRepr):
    """The first bytes of an image are here, long before its SSE event is complete.

    `index` counts the images begun in this stream: 0, 1, 2. `media_type` was read from the bytes; where they are of no known
    kind it is what the server claims, and None for an image that comes as an address.
    """

    index: int
    media_type: str | None
    choice: int = 0
    type: Literal["image_start"] = "image_start"


@dataclass(slots=True, repr=False)
class ImageDelta(ShortRepr):
    """The next decoded bytes of an image. How an image is cut into deltas follows the network and means nothing."""

    __pydantic_config__ = _BASE64

    index: int
    data: bytes
    choice: int = 0
    type: Literal["image_delta"] = "image_delta"


@dataclass(slots=True, repr=False)
class ImageEnd(ShortRepr):
    """An image is whole, and was decodable base64."""

    index: int
    image: Image
    choice: int = 0
    type: Literal["image_end"] = "image_end"


@dataclass(slots=True, repr=False)
class ImageDiscard(ShortRepr):
    """What began as image `index` is a byte-identical repeat of image `duplicate_of`, which was delivered already."""

    index: int
    duplicate_of: int
    choice: int = 0
    type: Literal["image_discard"] = "image_discard"


@dataclass(slots=True, repr=False)
class ImagePreview(ShortRepr):
    """A whole rendering of lower quality, which a later one replaces (the Image API)."""

    index: int
    image: Image
    choice: int = 0
    type: Literal["image_preview"] = "image_preview"


@dataclass(slots=True, repr=False)
class AudioDelta(ShortRepr):
    """Decoded audio bytes, a piece of their transcript, or both. `transcript` is None where the chunk has none."""

    __pydantic_config__ = _BASE64

    data: bytes
    transcript: str | None = None
    choice: int = 0
    type: Literal["audio_delta"] = "audio_delta"


@dataclass(slots=True, repr=False)
class ToolCallStart(ShortRepr):
    """A tool call begins. `index` counts the calls begun in this choice, whatever index the wire says."""

    index: int
    id: str
    name: str
    choice: int = 0
    type: Literal["tool_call_start"] = "tool_call_start"


@dataclass(slots=True, repr=False)
class ToolCallDelta(ShortRepr):
    """A piece of the JSON text of a call's arguments."""

    index: int
    arguments: str
    choice: int = 0
    type: Literal["tool_call_delta"] = "tool_call_delta"


@dataclass(slots=True, repr=False)
class ToolCallEnd(ShortRepr):
    """A tool call will get no more arguments. Look at `call.complete` before running it."""

    index: int
    call: ToolCall
    choice: int = 0
    type: Literal["tool_call_end"] = "tool_call_end"


@dataclass(slots=True, repr=False)
class AnnotationDelta(ShortRepr):
    """A citation or a file annotation, as the server sent it."""

    annotation: dict[str, Any]
    choice: int = 0
    type: Literal["annotation_delta"] = "annotation_delta"


@dataclass(slots=True, repr=False)
class UsageUpdate(ShortRepr):
    """Tokens and cost. When several come, the last one holds."""

    usage: Usage
    choice: int = 0
    type: Literal["usage_update"] = "usage_update"


@dataclass(slots=True, repr=False)
class Restart(ShortRepr):
    """Only with `RetryPolicy(restart=True)`: the stream starts over. Drop what you have shown; it is in `discarded`.

    `error` says in words why. `attempt` counts from 1; the request that now begins is the one of that number.
    """

    attempt: int
    error: str
    discarded: Message
    choice: int = 0
    type: Literal["restart"] = "restart"


@dataclass(slots=True, repr=False)
class StreamEnd(ShortRepr):
    """The stream ended honestly. Comes exactly once, and last."""

    message: Message
    choice: int = 0
    type: Literal["stream_end"] = "stream_end"


Event = Annotated[
    StreamStart
    | Heartbeat
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ImageStart
    | ImageDelta
    | ImageEnd
    | ImageDiscard
    | ImagePreview
    | AudioDelta
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | AnnotationDelta
    | UsageUpdate
    | Restart
    | StreamEnd,
    Discriminator("type"),
]
