"""What the protocols share: they are server-sent events whose data is JSON."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from pydantic_core import PydanticSerializationError, to_json

from or_stream.events import Event
from or_stream.relay._failure import Failure

__all__ = ["DONE", "KEEP_ALIVE", "Frames", "as_json", "frame"]

KEEP_ALIVE: Final = b": keep-alive\n\n"
DONE: Final = b"data: [DONE]\n\n"


class Frames(ABC):
    """Turns the events of one stream into bytes. `feed` each event, then `finish`, or `fail` at any moment; nothing after that.

    What `feed` raises is a failure of the stream, to be given to `fail`.
    """

    headers: ClassVar[Mapping[str, str]] = {}
    """The headers of the response that only this protocol has."""

    def __init__(self, created: int) -> None:
        """`created` is when, in Unix seconds."""
        self._created = created

    @abstractmethod
    def feed(self, event: Event, address: str | None = None) -> bytes:
        """The bytes for an event, if any. `address` is where the bytes of a picture that begins can be fetched."""

    @abstractmethod
    def finish(self) -> bytes:
        """The stream is over. Where there was no `StreamEnd` it was broken off, and is not to look complete."""

    @abstractmethod
    def fail(self, failure: Failure) -> bytes:
        """The stream failed after bytes were sent."""

    @abstractmethod
    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """Content type and body for a stream that failed before any bytes were sent."""


def as_json(value: Any) -> bytes:
    """JSON on one line."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        # A lone surrogate, which half of a pair that a provider cut becomes: JSON can say it, UTF-8 cannot.
        return json.dumps(json.loads(json.dumps(value), parse_constant=lambda constant: None)).encode()


def frame(data: bytes, event: str | None = None) -> bytes:
    """One server-sent event. Not `encode_event`: JSON has no line ends to look for, and may be megabytes."""
    if event is None:
        return b"data: %b\n\n" % data
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
