"""Answers of the Image API -> events, and what they add up to. The one file that knows the names of their fields.

The same answer may come as one document, `{"data": [{"b64_json": ...}]}`, though a stream was asked for, or as events: a preview
or a picture each, or a piece of the text of an SVG. As with chat, the decoder is told of a lifted picture by `begin_image`,
`feed_image` and `end_image`, before the rest of its document comes to `feed`.
"""

import re
from typing import Any, Final, Literal, NamedTuple

from or_stream._image_format import media_type_of
from or_stream.errors import ProtocolViolation
from or_stream.events import Event, ImagePreview, ReasoningDelta, StreamStart, TextDelta, UsageUpdate
from or_stream.protocol._error_body import ErrorBody
from or_stream.protocol._images import ImageAssembler, MemorySink
from or_stream.protocol._message import MessageBuilder
from or_stream.protocol._payloads import Base64Decoder, JSONPath, PayloadOpening
from or_stream.protocol.chunks import read_usage
from or_stream.values import Image, Message, Status

__all__ = ["B64_JSON", "ImageApiDecoder", "is_image_document", "is_picture_path"]

B64_JSON: Final = PayloadOpening(
    start=b'"b64_json"', pattern=re.compile(rb'"b64_json"[ \t\r\n]{0,50}:[ \t\r\n]{0,50}"'), is_opened_by=lambda leaf: leaf == ""
)
"""How a payload begins here: base64 without the head of a data URL."""

_PATHS: Final = {("b64_json",), ("data", "b64_json"), ("data", None, "b64_json")}
_KNOWN_FIELDS: Final = {
    *("b64_json", "created", "data", "error", "id", "media_type", "model", "object", "partial_image_index", "phase"),
    *("provider", "text", "type", "url", "usage", "user_id"),
}


class _Picture(NamedTuple):
    """A picture as it came. `kind` is None where the document does not yet say: an event may give its type behind its data."""

    kind: Literal["preview", "image"] | None
    claimed_media_type: str | None
    base64: str
    address: str | None

    @property
    def is_open(self) -> bool:
        """Whether its data is yet to come."""
        return self.address is None and self.base64 == ""


def is_picture_path(path: JSONPath) -> bool:
    """Whether the JSON string at `path` is a picture in base64."""
    return path in _PATHS


def is_image_document(document: Any) -> bool:
    """Whether a whole JSON document is an answer of the Image API, be it one without a picture."""
    return isinstance(document, dict) and isinstance(document.get("data"), list)


class ImageApiDecoder:
    """`feed` documents, then `finish`; `message` at any time. After an error document `failure` says what it said.

    Where a part of a document is not what it should be, the events in front of it are returned and `violation` is set.
    `images_wanted` is how many were asked for: with as many the answer is whole, whether or not [DONE] comes. The body names
    neither the generation nor, as a rule, the model and its provider: they come from elsewhere.
    """

    def __init__(
        self,
        images: ImageAssembler,
        *,
        images_wanted: int,
        max_preview_bytes: int,
        generation_id: str | None = None,
        model: str | None = None,
        provider: str | None = None,
    ) -> None:
        self.failure: ErrorBody | None = None
        self.violation: ProtocolViolation | None = None
        self.is_started: bool = False
        self.generation_id: str | None = generation_id
        self._images = images
        self._images_wanted = images_wanted
        self._max_preview_bytes = max_preview_bytes
        self._model = model
        self._provider = provider
        self._created: int | None = None
        self._extra: dict[str, Any] = {}
        self._builder = MessageBuilder(0)
        self._whole = 0  # pictures that came, repeats among them
        self._said = 0  # pictures of the document whose data is being lifted
        self._markup: list[str] = []  # of an SVG that has not come as a picture yet
        self._aside: MemorySink | None = None  # data that is no picture's, or may be none's
        self._aside_bytes = 0
        self._aside_is_preview = False
        self._is_passing_over = False  # the payload that is being lifted belongs to no picture

    @property
    def is_finished(self) -> bool:
        """Whether as many pictures as were asked for are here."""
        return self._whole >= self._images_wanted

    def feed(self, document: Any) -> list[Event]:
        """The events of one document. Where it holds an error `failure` is set."""
        event = _event_of(document)
        if event.get("error") or event.get("type") == "error":
            self.failure = ErrorBody.read(event.get("error") or event)
            return []
        events = self._start()
        self._identify(event)
        pictures, said = _pictures_in(event), self._said
        self._said = 0
        try:
            if self._aside is not None and 0 < said <= len(pictures):
                self._say_aside(pictures[said - 1], events)
            for picture in pictures[said:]:
                self._say_picture(picture, events)
        except ProtocolViolation as violation:
            self.violation = violation
            return events
        self._whole += sum(picture.kind != "preview" for picture in pictures)
        self._say_text(event, events)
        if isinstance(event.get("usage"), dict):
            self._builder.usage = read_usage(event["usage"])
            events.append(UsageUpdate(self._builder.usage))
        return events

    def begin_image(self, document: Any) -> list[Event]:
        """The data of a picture follows; it is the last thing in `document`, the beginning of an event or of an answer."""
        events = self._start()
        pictures = _pictures_in(_event_of(document))
        # An event that has pictures in two places has those of the first.
        self._is_passing_over = not (pictures and pictures[-1].is_open)
        if self._is_passing_over:
            return events
        picture, earlier = pictures[-1], pictures[self._said : -1]
        self._said = len(pictures)
        try:
            for other in earlier:
                self._say_picture(other, events)
            if picture.kind == "image":
                self._images.begin(0, picture.claimed_media_type)
            else:
                self._aside, self._aside_bytes, self._aside_is_preview = MemorySink(), 0, picture.kind == "preview"
        except ProtocolViolation as violation:
            self.violation = violation
        return events

    def feed_image(self, data: bytes) -> list[Event]:
        """The next decoded bytes of the picture."""
        if self._is_passing_over:
            return []
        if self._aside is None:
            return self._images.feed(data)
        self._aside_bytes += len(data)
        if self._aside_bytes > self._max_preview_bytes:
            raise ProtocolViolation(
                f"a preview is larger than max_image_bytes={self._max_preview_bytes}: raise that limit to allow it"
            )
        self._aside.write(data)
        return []

    def end_image(self) -> list[Event]:
        """The picture is whole."""
        events: list[Event] = []
        if self._is_passing_over:
            return events
        if self._aside is None:
            self._end_image(events)
        elif self._aside_is_preview:
            self._say_preview(events)
        return events

    def finish(self) -> list[Event]:
        """The stream ended honestly: the last events of what was open."""
        events: list[Event] = []
        data = "".join(self._markup).encode("utf-8", "replace")
        if media_type_of(data) == "image/svg+xml":
            self._say_image(data, None, events)
            self._whole += 1
        if self._whole:
            self._builder.finish_reason = "stop"
        return events

    def message(self, status: Status) -> Message:
        """What has come so far."""
        identity = {"id": self.generation_id, "model": self._model, "provider": self._provider, "created": self._created}
        return self._builder.build(status, dict(self._extra), **identity)

    def _start(self) -> list[Event]:
        if self.is_started:
            return []
        self.is_started = True
        return [StreamStart(self.generation_id, self._model, self._provider)]

    def _identify(self, event: dict[str, Any]) -> None:
        self.generation_id = self.generation_id or _text(event.get("id"))
        self._model = _text(event.get("model")) or self._model
        self._provider = self._provider or _text(event.get("provider"))
        created = event.get("created")
        if isinstance(created, int) and created > 0:  # 0 was recorded
            self._created = self._created or created
        self._extra.update({name: value for name, value in event.items() if name not in _KNOWN_FIELDS and value is not None})

    def _say_text(self, event: dict[str, Any], events: list[Event]) -> None:
        """The markup of an SVG; what is no markup that counts is told as reasoning."""
        text = _text(event.get("text"))
        if text is None:
            return
        if event.get("phase") in (None, "content"):
            self._markup.append(text)
            self._builder.text.append(text)
            events.append(TextDelta(text))
        else:
            self._builder.reasoning.append(text)
            events.append(ReasoningDelta(text))

    def _say_picture(self, picture: _Picture, events: list[Event]) -> None:
        """A picture that was not lifted: an address, or data that the lifter left alone."""
        if picture.address is not None:
            ending, image = self._images.add_address(0, picture.address)
            self._keep(image)
            events += ending
            return
        decoder = Base64Decoder()
        data = decoder.feed(picture.base64.encode("ascii", "replace")) + decoder.finish()
        if picture.kind != "preview":
            self._say_image(data, picture.claimed_media_type, events)
        elif data:
            events.append(ImagePreview(self._images.next_index, Image.from_bytes(data, claimed_media_type=None)))

    def _say_aside(self, picture: _Picture, events: list[Event]) -> None:
        """Data that came in front of what says whether it is a preview's."""
        if picture.kind == "preview":
            self._say_preview(events)
            return
        assert self._aside is not None
        data, self._aside = self._aside.finish(None).data, None
        self._say_image(data, picture.claimed_media_type, events)

    def _say_preview(self, events: list[Event]) -> None:
        assert self._aside is not None
        image, self._aside = self._aside.finish(None), None
        if image.data:
            events.append(ImagePreview(self._images.next_index, image))

    def _say_image(self, data: bytes, claimed_media_type: str | None, events: list[Event]) -> None:
        self._images.begin(0, claimed_media_type)
        events += self._images.feed(data)
        self._end_image(events)

    def _end_image(self, events: list[Event]) -> None:
        self._markup.clear()
        ending, image = self._images.end()
        self._keep(image)
        events += ending

    def _keep(self, image: Image | None) -> None:
        if image is not None:
            self._builder.add_image(image)


def _event_of(document: Any) -> dict[str, Any]:
    """The published schema has each event inside `data`, its examples have not: both are read."""
    if not isinstance(document, dict):
        return {}
    inner = document.get("data")
    return inner if isinstance(inner, dict) and not document.get("error") else document


def _pictures_in(event: dict[str, Any]) -> list[_Picture]:
    entries = event.get("data")
    if isinstance(entries, list):
        pictures = [_picture(entry, "image") for entry in entries if isinstance(entry, dict)]
    else:
        pictures = [_picture(event, _kind_of(event.get("type")))]
    return [picture for picture in pictures if picture is not None]


def _kind_of(said: Any) -> Literal["preview", "image"] | None:
    """`image_generation.completed`, or with another word in front; a picture of any other type is a preview."""
    if not isinstance(said, str):
        return None
    return "image" if said.endswith(".completed") else "preview"


def _picture(entry: dict[str, Any], kind: Literal["preview", "image"] | None) -> _Picture | None:
    data, address, claimed = entry.get("b64_json"), entry.get("url"), _text(entry.get("media_type"))
    if isinstance(data, str):
        return _Picture(kind, claimed, data, None)
    if isinstance(address, str) and address.startswith("http"):
        return _Picture(kind, claimed, "", address)
    if isinstance(address, str) and address.startswith("data:") and ";base64," in address:
        head, _, base64 = address.partition(";base64,")
        return _Picture(kind, claimed or _text(head.removeprefix("data:")), base64, None)
    return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
