"""Events onto the terminal: for people (`Renderer`) and for programs (`JsonLines`)."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydantic import TypeAdapter

from or_stream.cli.terminal._terminal import Terminal
from or_stream.client import StreamStats
from or_stream.events import (
    Event,
    ImageDelta,
    ImageDiscard,
    ImageEnd,
    ImageStart,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    TextDelta,
)
from or_stream.values import Image, Message

__all__ = ["JsonLines", "Renderer", "file_size", "summary"]

_EVENTS: Final[TypeAdapter[Any]] = TypeAdapter(Event)


class JsonLines:
    """One event a line, as pydantic writes it. `TypeAdapter(Event).validate_json(line)` reads it back; bytes are base64."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def show(self, event: Event) -> None:
        """Write the event."""
        self._terminal.write_line(_EVENTS.dump_json(event).decode())


class Renderer:
    """Shows a stream as it comes. `stats` is asked again and again for what the stream has taken so far."""

    def __init__(self, terminal: Terminal, stats: Callable[[], StreamStats], *, waiting_for: str, pictures: bool = True) -> None:
        self._terminal = terminal
        self._stats = stats
        self._waiting_for = waiting_for
        self._pictures = pictures
        self._media_type = ""
        self._image_bytes = 0
        self._images = 0
        self._characters = 0
        self._follows_picture = False

    def __enter__(self) -> Self:
        self._terminal.watch(self._waiting)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._terminal.settle()

    def show(self, event: Event) -> None:
        """Show one event, if it is one to be seen."""
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                self._say(text)
            case ReasoningDelta(text=text):
                self._terminal.think(text)
            case ImageStart(media_type=media_type):
                self._media_type, self._image_bytes = media_type or "", 0
                self._terminal.watch(self._receiving)
            case ImageDelta(data=data):
                self._image_bytes += len(data)
            case ImageDiscard():
                self._terminal.settle()
            case ImageEnd(image=image):
                self._show_image(image)
            case StreamEnd(message=message):
                self._terminal.note(summary(message, self._stats()))

    def _say(self, text: str) -> None:
        # The blank line between a paragraph and the next is not needed where a picture stands between them.
        if self._follows_picture:
            text = text.lstrip("\n")
        self._characters += len(text)
        if text:
            self._follows_picture = False
            self._terminal.write(text)

    def _show_image(self, image: Image) -> None:
        self._images += 1
        shown = self._pictures and image.path is not None and self._terminal.picture(_read(image.path))
        pixels = f" · {image.width}x{image.height}" if image.width else ""
        size = f" · {file_size(image.size)}" if image.size else ""
        self._terminal.note(f"picture {self._images}{pixels}{size} · {image.path or image.url}")
        if shown:
            self._terminal.gap()
        self._follows_picture = shown
        self._terminal.watch(self._waiting)

    def _waiting(self) -> str:
        stats = self._stats()
        heartbeats = f" · {stats.heartbeats} heartbeats" if stats.heartbeats else ""
        attempt = f" · attempt {stats.attempts}" if stats.attempts > 1 else ""
        if self._characters or self._images:
            return f"{self._characters:,} characters have come · {stats.seconds:.1f} s"
        return f"waiting for {self._waiting_for} · {stats.seconds:.1f} s{heartbeats}{attempt}"

    def _receiving(self) -> str:
        kind = self._media_type.removeprefix("image/").upper()
        return f"picture {self._images + 1} is arriving · {kind} · {file_size(self._image_bytes)} · {self._stats().seconds:.1f} s"


def summary(message: Message, stats: StreamStats) -> str:
    """What the answer took, in one line. Parts that nobody said are left out."""
    usage = message.usage
    parts = [
        f"{stats.seconds:.1f} s",
        *([f"first content after {stats.seconds_to_first_content:.2f} s"] if stats.seconds_to_first_content is not None else []),
        *([f"{usage.total_tokens:,} tokens"] if usage and usage.total_tokens is not None else []),
        *([f"${usage.cost:.4f}"] if usage and usage.cost is not None else []),
        *([message.id] if message.id else []),
    ]
    stopped = "" if message.finish_reason in ("stop", None) else f", stopped by {message.finish_reason}"
    empty = "" if message.text or message.images or message.refusal else ": the answer is empty"
    return f"done{stopped}{empty} · " + " · ".join(parts)


def file_size(size: int) -> str:
    """Bytes in the unit that people use."""
    return f"{size / 1e6:.1f} MB" if size >= 1_000_000 else f"{size / 1e3:.0f} kB" if size >= 1000 else f"{size} bytes"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
