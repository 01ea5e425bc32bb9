"""What or_stream makes of an answer, told in words: its events, its failure, and what they come to."""

import hashlib
from typing import Any, Final

from or_stream.errors import OrStreamError, StreamTruncated
from or_stream.events import (
    AudioDelta,
    Event,
    Heartbeat,
    ImageDelta,
    ImageDiscard,
    ImageEnd,
    ImagePreview,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    UsageUpdate,
)
from or_stream.protocol import API, Framing, Limits, Pipeline, redact
from or_stream.values import Image

__all__ = ["View", "describe_failure", "shortened"]

# What a message may keep in memory; pictures are not kept at all.
_KEPT_AT_MOST: Final = 32 * 2**20
_KINDS_AT_MOST: Final = 40
_SHOWN_CHARACTERS: Final = 60
_TEXT_CHARACTERS: Final = 10_000


class View:
    """Feeds a `Pipeline`: `feed`, then `finish`; `take` tells what came of it since the last time."""

    def __init__(self, api: API, framing: Framing) -> None:
        self.discarded: int = 0
        self.first_content_seconds: float | None = None
        limits = Limits(event_bytes=_KEPT_AT_MOST)
        self._pipeline = Pipeline(api=api, framing=framing, open_sink=lambda _index: _Measure(), limits=limits)
        self._told: list[_Told] = []
        self._ended: list[Image] = []
        self._kept = 0
        self._is_over = False

    @property
    def is_too_large(self) -> bool:
        """Whether more came than is looked at: the rest is not fed."""
        return self._kept > _KEPT_AT_MOST

    def feed(self, data: bytes, seconds: float | None) -> None:
        """The next bytes."""
        if not self.is_too_large:
            self._tell(self._pipeline.feed(data), seconds)

    def finish(self, broken: str) -> None:
        """The bytes ended: in order, or by what `broken` says."""
        if broken:
            self._tell(self._pipeline.close(StreamTruncated(broken)), None)
        elif not self.is_too_large:
            self._tell(self._pipeline.finish(), None)
        self._pipeline.close()

    def take(self) -> tuple[list[str], list[Image]]:
        """(what was told since the last time, a line each; the images that ended)."""
        told, self._told = [str(one) for one in self._told], []
        ended, self._ended = self._ended, []
        if self._is_over:
            told = told or ["not read any more"]
        elif self._pipeline.failure is not None:
            self._is_over = True
            told.append(f"raises {describe_failure(self._pipeline.failure)}")
        elif self._pipeline.is_done:
            self._is_over = True
        return told, ended

    def conclusion(self) -> str:
        """How the answer ended for whoever asked through or_stream."""
        if self.is_too_large:
            return f"not looked at beyond {_KEPT_AT_MOST} bytes of text"
        failure = self._pipeline.failure
        return "complete" if failure is None else describe_failure(failure)

    def result(self) -> dict[str, Any]:
        """What the answer came to."""
        message = self._pipeline.message("complete")
        usage = message.usage
        return {
            "id": message.id,
            "model": message.model,
            "provider": message.provider,
            "text": redact(message.text[:_TEXT_CHARACTERS]),
            "text_characters": len(message.text),
            "reasoning_characters": len(message.reasoning),
            "refusal": message.refusal[:_TEXT_CHARACTERS],
            "images": [_image(image) for image in message.images],
            "tool_calls": [{"name": call.name, "arguments": shortened(call.arguments)} for call in message.tool_calls],
            "audio_bytes": len(message.audio.data) if message.audio else 0,
            "usage": None if usage is None else usage.model_dump(exclude_none=True, exclude={"cost", "extra"}),
            "cost": usage.cost if usage else None,
            "finish_reason": message.finish_reason,
            "native_finish_reason": message.native_finish_reason,
            "first_content_seconds": self.first_content_seconds,
        }

    def _tell(self, events: list[Event], seconds: float | None) -> None:
        for event in events:
            if self.first_content_seconds is None and not isinstance(event, Heartbeat | StreamStart | UsageUpdate | StreamEnd):
                self.first_content_seconds = seconds
            if isinstance(event, ImageEnd):
                self._ended.append(event.image)
            elif isinstance(event, ImageDiscard):
                self.discarded += 1
            told = _Told(event)
            if not isinstance(event, ImageDelta):
                self._kept += told.size
            if self._told and self._told[-1].kind == told.kind and told.size:
                self._told[-1].add(told)
            elif len(self._told) < _KINDS_AT_MOST:
                self._told.append(told)


class _Told:
    """One event in words, or several of a kind in a row."""

    def __init__(self, event: Event) -> None:
        self.kind = type(event).__name__
        self.size, self.said = _said(event)
        self._times = 1

    def add(self, other: "_Told") -> None:
        """Another of the same kind."""
        self._times += 1
        self.size += other.size
        self.said = (self.said + other.said)[: 2 * _SHOWN_CHARACTERS]

    def __str__(self) -> str:
        times = f" x{self._times}" if self._times > 1 else ""
        if self.kind in ("ImageDelta", "AudioDelta"):
            return f"{self.kind}{times} {self.size} bytes"
        text = repr(_clipped(self.said, _SHOWN_CHARACTERS)) if self.size else self.said
        return f"{self.kind}{times} {text}".rstrip()


def _said(event: Event) -> tuple[int, str]:
    """(how many bytes or characters of an answer, what is said of it)."""
    match event:
        case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text) | ToolCallDelta(arguments=text):
            return len(text), text[: 2 * _SHOWN_CHARACTERS]
        case ImageDelta(data=data) | AudioDelta(data=data):
            return len(data), ""
        case Heartbeat():
            return 0, ""
        case ImageEnd(index=index, image=image) | ImagePreview(index=index, image=image):
            return 0, f"{index}: {_picture(image)}"
        case ImageDiscard(index=index, duplicate_of=earlier):
            return 0, f"{index}: the same bytes as {earlier}"
        case UsageUpdate(usage=usage):
            return 0, f"{usage.total_tokens} tokens, cost {usage.cost}"
        case ToolCallEnd(call=call):
            return 0, f"{call.name}{'' if call.complete else ', cut short'}"
        case StreamEnd(message=message):
            return 0, f"{message.finish_reason or 'no finish reason'}"
    fields = {name: getattr(event, name) for name in event.__slots__ if name not in ("choice", "type")}
    return 0, shortened(" ".join(f"{name}={value}" for name, value in fields.items() if value not in (None, "")))


class _Measure:
    """Where the bytes of an image go: nowhere, once they have been looked at."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._size = 0
        self._digest = hashlib.sha256()

    def write(self, data: bytes, /) -> None:
        """Look at the next bytes."""
        self._size += len(data)
        self._digest.update(data)
        self._head += data[: _HEAD_BYTES - len(self._head)]

    def finish(self, claimed_media_type: str | None, /) -> Image:
        """The image, without its data."""
        seen = Image.from_bytes(bytes(self._head), claimed_media_type=claimed_media_type)
        digest = self._digest.hexdigest()
        return Image(media_type=seen.media_type, size=self._size, width=seen.width, height=seen.height, known_sha256=digest)

    def discard(self) -> None:
        """Nothing was kept."""


_HEAD_BYTES: Final = 256 * 1024  # a JPEG tells its size behind its colour profile


def _image(image: Image) -> dict[str, Any]:
    told = {name: getattr(image, name) for name in ("media_type", "width", "height", "sha256")}
    return {**told, "bytes": image.size, **({"url": shortened(image.url)} if image.url else {})}


def _picture(image: Image) -> str:
    pixels = f" {image.width}x{image.height}" if image.width else ""
    return shortened(image.url) if image.url else f"{image.media_type}{pixels} {image.size} bytes"


def describe_failure(failure: OrStreamError) -> str:
    """An exception as its traceback would end."""
    return f"{type(failure).__name__}: {shortened(str(failure), 300)}"


def shortened(text: str, characters: int = _SHOWN_CHARACTERS) -> str:
    """Text in one line, without what looks like a key, and no longer than that."""
    return " ".join(_clipped(text.lstrip(), characters).split())


def _clipped(text: str, characters: int) -> str:
    """The same, with its white space as it is."""
    shown = redact(text[: 4 * characters])
    return shown if len(shown) <= characters and len(text) <= 4 * characters else f"{shown[: characters - 1]}…"
