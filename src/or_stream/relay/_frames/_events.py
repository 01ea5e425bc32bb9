"""Our own events, as JSON: `event:` is the type, `data:` what pydantic reads back with `TypeAdapter(Event).validate_json`."""

import json
from typing import Final

import pybase64
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from or_stream.events import AudioDelta, Event, ImageDelta, ImageEnd, ImagePreview, ImageStart, Restart, StreamEnd
from or_stream.relay._failure import ABORTED, Failure
from or_stream.relay._frames._sse import Frames, as_json, frame
from or_stream.values import Image, Message

__all__ = ["EventFrames"]

_ADAPTER: Final[TypeAdapter[Event]] = TypeAdapter(Event)


class EventFrames(Frames):
    """The bytes of a picture are sent once, in `image_delta`; neither `image_end` nor `stream_end` repeats them.

    Each `image_delta` and `audio_delta` is base64 on its own, of the alphabet that a browser's `atob` reads. The last event is
    `stream_end` or `error`. A path on this machine is never sent.
    """

    def __init__(self, created: int) -> None:
        super().__init__(created)
        self._images_with_bytes: set[int] = set()
        self._is_ended = False

    def feed(self, event: Event, address: str | None = None) -> bytes:
        """One server-sent event, two where a picture comes whole."""
        match event:
            case ImageDelta(index=index, data=data, choice=choice):
                self._images_with_bytes.add(index)
                # By hand: pydantic's base64 is that of URLs, which `atob` refuses.
                encoded = pybase64.b64encode(data)
                return frame(b'{"index":%d,"data":"%b","choice":%d,"type":"image_delta"}' % (index, encoded, choice), event.type)
            case AudioDelta(data=data):
                text = pybase64.b64encode_as_string(data)
                audio = {"data": text, "transcript": event.transcript, "choice": event.choice, "type": event.type}
                return frame(as_json(audio), event.type)
            case ImageStart() if address is not None:
                value = {"index": event.index, "media_type": event.media_type, "url": address}
                return frame(as_json({**value, "choice": event.choice, "type": event.type}), event.type)
            case ImageEnd(index=index, image=image, choice=choice):
                missing = b""
                if index not in self._images_with_bytes and (image.data or image.path):
                    missing = self.feed(ImageDelta(index, image.read_bytes(), choice))
                return missing + _dumped(ImageEnd(index, _described(image), choice))
            case ImagePreview(index=index, image=image, choice=choice):
                shown = _described(image).model_copy(update={"url": image.data_url()})
                return _dumped(ImagePreview(index, shown, choice))
            case Restart(attempt=attempt, discarded=discarded):
                # Its `error` is what the upstream said.
                return _dumped(Restart(attempt, "", _without_bytes(discarded)))
            case StreamEnd(message=message):
                self._is_ended = True
                return _dumped(StreamEnd(_without_bytes(message)))
            case _:
                return _dumped(event)

    def finish(self) -> bytes:
        """Nothing after a `StreamEnd`."""
        return b"" if self._is_ended else self.fail(ABORTED)

    def fail(self, failure: Failure) -> bytes:
        """An event of type `error`."""
        return frame(self.refusal(failure)[1], "error")

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """The data of that event as a document."""
        value = {"text": failure.text, "code": failure.code, "retryable": failure.retryable, "retry_after": failure.retry_after}
        return "application/json", as_json({**value, "type": "error"})


def _dumped(event: Event) -> bytes:
    try:
        data = _ADAPTER.dump_json(event)
    except PydanticSerializationError:
        data = json.dumps(_ADAPTER.dump_python(event, mode="json")).encode()  # as in `as_json`
    return frame(data, event.type)


def _described(image: Image) -> Image:
    """An image without its bytes and without a path on this machine."""
    return image.model_copy(update={"data": b"", "path": None})


def _without_bytes(message: Message) -> Message:
    update: dict[str, object] = {
        "images": [_described(image) for image in message.images],
        "alternatives": [_without_bytes(alternative) for alternative in message.alternatives],
    }
    if message.audio is not None:
        update["audio"] = message.audio.model_copy(update={"data": b""})
    return message.model_copy(update=update)
