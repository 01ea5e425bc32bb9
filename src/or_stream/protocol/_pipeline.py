"""Joins the stages: bytes, payloads lifted, SSE events, chunks, events and message. The only file that knows their order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic_core import from_json

from or_stream._json import parse_json
from or_stream.errors import OrStreamError, ProtocolViolation, StreamTruncated
from or_stream.events import Event, Heartbeat, StreamEnd, TextDelta
from or_stream.protocol._decoder import ChatDecoder
from or_stream.protocol._error_body import redact
from or_stream.protocol._image_api import B64_JSON, ImageApiDecoder, is_image_document, is_picture_path
from or_stream.protocol._images import DEFAULT_MAX_IMAGE_BYTES, DEFAULT_MAX_IMAGES, ImageAssembler, ImageSink, MemorySink
from or_stream.protocol._payloads import PayloadData, PayloadEnd, PayloadLifter, PayloadStart
from or_stream.protocol.chunks import TextRepetition, is_answer, is_image_path, only_text
from or_stream.sse import DEFAULT_MAX_COMMENT_SIZE, DEFAULT_MAX_EVENT_SIZE, Comment, ServerSentEvent, SSEParser
from or_stream.values import Message, Status

__all__ = ["API", "Framing", "Limits", "Pipeline"]

API = Literal["chat", "images"]
"""Whose answer it is: that of chat completions, or that of the Image API."""

Framing = Literal["sse", "json"]
"""How an answer comes: as server-sent events, or as one JSON document."""

_DONE: Final = b"[DONE]"
# What is shorter has few events: looking for one that repeats costs more than it saves.
_WORTH_CUTTING_BYTES: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one stream may take in memory; past any of these it fails with a ProtocolViolation.

    `event_bytes` bounds one SSE event, or one JSON answer, without the images lifted from it; `image_bytes` one decoded image.
    """

    event_bytes: int = DEFAULT_MAX_EVENT_SIZE
    image_bytes: int = DEFAULT_MAX_IMAGE_BYTES
    images: int = DEFAULT_MAX_IMAGES


class Pipeline:
    """One answer of the API: `feed` its bytes in pieces of any size, `finish` at a clean end; events come as soon as they can.

    A failure ends it: `feed` and `finish` return the events in front of it, and then `failure` is the exception to raise. After
    `is_done`, which [DONE] brings, further bytes are ignored. `message` holds what has come, at any time. `elapsed_seconds`
    says how long ago the request was, which is what heartbeats tell; `requested_at` is the Unix time of the request, and serves
    to tell how far away the end of a rate limit is. `images_wanted`, `model` and `provider` are for the Image API, whose answers
    do not name them.
    """

    def __init__(
        self,
        *,
        api: API = "chat",
        framing: Framing = "sse",
        generation_id: str | None = None,
        model: str | None = None,
        provider: str | None = None,
        images_wanted: int = 1,
        elapsed_seconds: Callable[[], float] = lambda: 0.0,
        requested_at: float | None = None,
        open_sink: Callable[[int], ImageSink] | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self.failure: OrStreamError | None = None
        self.is_done: bool = False
        self._limits = limits
        self._elapsed_seconds = elapsed_seconds
        self._requested_at = requested_at
        self._images = ImageAssembler(open_sink or _open_memory, max_images=limits.images, max_image_bytes=limits.image_bytes)
        self._decoder: ChatDecoder | ImageApiDecoder
        if api == "chat":
            self._decoder = decoder = ChatDecoder(self._images, generation_id=generation_id)
            self._repetition = TextRepetition(decoder.texts, limits.event_bytes)
            self._lifter = PayloadLifter(is_image_path, in_lines=framing == "sse")
        else:
            self._repetition = TextRepetition([], limits.event_bytes)  # of no use: no chunk is learned from
            self._decoder = ImageApiDecoder(
                self._images,
                images_wanted=images_wanted,
                max_preview_bytes=limits.image_bytes,
                generation_id=generation_id,
                model=model,
                provider=provider,
            )
            self._lifter = PayloadLifter(is_picture_path, in_lines=framing == "sse", opening=B64_JSON)
        self._is_chat = api == "chat"
        self._is_answer = is_answer if self._is_chat else is_image_document
        self.take_live: Callable[[bytes], str | None] = self._repetition.take
        """The text of bytes that are one event with nothing but text, like one before; None for any others: `feed` them.

        Live, nearly all are: it halves what is added to the reading. Whoever calls makes the event, which saves a step.
        """
        self._parser = SSEParser(limits.event_bytes, comments=True) if framing == "sse" else None
        self._document = bytearray()  # the JSON answer so far, where the framing is "json"

    @property
    def is_lifting(self) -> bool:
        """Whether the next bytes are an image's, as far as can be told."""
        return self._lifter.is_lifting

    @property
    def generation_id(self) -> str | None:
        """The id of the generation, None until it is known."""
        return self._decoder.generation_id

    @property
    def _is_honest_end(self) -> bool:
        return self._decoder.is_finished and not self._lifter.is_lifting

    def message(self, status: Status) -> Message:
        """What has come so far, as a message of this status."""
        return self._decoder.message(status)

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes bring."""
        events: list[Event] = []
        position = self._take_texts(data, 0, events) if self._repetition.is_at_beginning else 0
        if position < len(data) and self.failure is None and not self.is_done:
            self._guard(self._take, data, position, events)
        return events

    def finish(self) -> list[Event]:
        """The bytes ended, cleanly as far as the connection tells: the last events, among them `StreamEnd` if that is honest."""
        events: list[Event] = []
        if self.failure is None and not self.is_done:
            self._guard(self._take_end, events)
        return events

    def close(self, failure: OrStreamError | None = None) -> list[Event]:
        """The bytes ended early: by `failure` of the connection, or because nobody wants them. Files half written are removed.

        A connection that breaks after the finish ends the stream honestly all the same: then `failure` is dropped.
        """
        events: list[Event] = []
        if failure is not None and self.failure is None and not self.is_done:
            if self._is_honest_end:
                self._guard(self._end, events)
            else:
                self.failure = failure
        self._repetition.is_at_beginning = False
        self._images.close()
        return events

    def _guard(self, step: Callable[..., None], *arguments: Any) -> None:
        try:
            step(*arguments)
        except OrStreamError as error:
            self.failure = error
        if self.failure is not None:
            self._repetition.is_at_beginning = False
            self._images.close()

    def _take(self, data: bytes, position: int, events: list[Event]) -> None:
        while position < len(data) and not self.is_done and self.failure is None:
            end = len(data)
            if end - position > _WORTH_CUTTING_BYTES and not self._lifter.is_lifting:
                end = self._repetition.next_beginning(data, position)
            self._take_anything(data[position:end] if end - position < len(data) else data, events)
            position = end
            parser, is_over = self._parser, self.is_done or self.failure is not None
            is_at_beginning = parser is not None and not is_over and parser.is_between_events and self._lifter.is_between_events
            self._repetition.is_at_beginning = is_at_beginning
            if is_at_beginning and position < len(data):
                position = self._take_texts(data, position, events)

    def _take_texts(self, data: bytes, position: int, events: list[Event]) -> int:
        """Take the events that repeat, from this beginning of an event on; where to go on."""
        texts, behind = self._repetition.take_all(data, position)
        events += map(TextDelta, texts)
        return behind

    def _take_anything(self, data: bytes, events: list[Event]) -> None:
        decoder = self._decoder
        for item in self._lifter.feed(data):
            if type(item) is bytes:
                if self._parser is None:
                    self._hold(item)
                else:
                    self._read(self._parser.feed(item), events)
                    if self._parser.failure is not None:
                        raise self._parser.failure
            elif type(item) is PayloadData:
                events += decoder.feed_image(item.data)
            elif type(item) is PayloadStart:
                events += decoder.begin_image(item.document)
                if decoder.violation is not None:
                    raise decoder.violation
            elif type(item) is PayloadEnd:
                events += decoder.end_image()
            if self.is_done or self.failure is not None:
                return
        if self._lifter.failure is not None:
            raise self._lifter.failure

    def _take_end(self, events: list[Event]) -> None:
        if self._parser is None:
            document = bytes(self._document)
            if _is_beginning(document):
                raise StreamTruncated("the answer ends inside its JSON; what came is in .partial")
            self._decode(document, events)
        else:
            # Proxies lose the last blank line: an event that is whole but for it counts.
            for item in self._parser.flush():
                if isinstance(item, Comment) or _is_whole(item):
                    self._read([item], events)
        if self.failure is None and not self.is_done:
            if self._parser is None or self._is_honest_end:
                self._end(events)
            else:
                raise StreamTruncated("the stream ended with neither a finish reason nor [DONE]; what came is in .partial")

    def _hold(self, data: bytes) -> None:
        self._document += data
        if len(self._document) > self._limits.event_bytes:
            raise ProtocolViolation(
                f"the answer is larger than event_bytes={self._limits.event_bytes}: raise that limit to allow it"
            )

    def _read(self, items: list[ServerSentEvent | Comment], events: list[Event]) -> None:
        for item in items:
            if type(item) is Comment:
                events.append(Heartbeat(item.text, self._elapsed_seconds()))
            else:
                assert isinstance(item, ServerSentEvent)
                raw = item.raw
                if raw[:1] == b"{":
                    self._decode(raw, events, is_error=item.event == "error")
                else:
                    self._read_word(raw.strip(), events)
                if self.is_done or self.failure is not None:
                    return

    def _read_word(self, raw: bytes, events: list[Event]) -> None:
        """Data that is no object at first sight: [DONE], a comment that a proxy wrapped into data, or white space before one."""
        if raw == _DONE:
            self._end(events)
        elif raw.startswith(b":"):
            text = raw[1 : DEFAULT_MAX_COMMENT_SIZE + 1].decode(errors="replace").strip()
            events.append(Heartbeat(text, self._elapsed_seconds()))
        elif raw:
            self._decode(raw, events)

    def _decode(self, raw: bytes, events: list[Event], *, is_error: bool = False) -> None:
        documents = _parse(raw)
        for document in documents:
            if is_error and isinstance(document, dict) and not document.get("error"):
                document = {"error": document}  # noqa: PLW2901  # `event: error`, as some gateways write it
            events += self._decoder.feed(document)
            if self._decoder.violation is not None:
                raise self._decoder.violation
            if self._decoder.failure is not None:
                error = self._decoder.failure
                is_refusal = self._parser is None and not self._decoder.is_started
                now = None if self._requested_at is None else self._requested_at + self._elapsed_seconds()
                self.failure = error.api_status_error(200, now) if is_refusal else error.stream_failed(now)
                return
            if self._parser is None and not self._is_answer(document):
                raise ProtocolViolation("the JSON that came is neither an error nor an answer to this kind of request")
        if self._is_chat and len(documents) == 1 and (text := only_text(documents[0])):
            self._repetition.learn(raw, text)

    def _end(self, events: list[Event]) -> None:
        events += self._decoder.finish()
        self.is_done = True
        self._repetition.is_at_beginning = False
        events.append(StreamEnd(self.message("complete")))


def _open_memory(_index: int) -> MemorySink:
    return MemorySink()


def _is_whole(event: ServerSentEvent) -> bool:
    raw = event.raw.strip()
    if raw == _DONE:
        return True
    try:
        _parse(raw)
    except ProtocolViolation:
        return False
    return True


def _is_beginning(document: bytes) -> bool:
    """Whether it is a JSON text whose end is missing."""
    try:
        from_json(document)
    except ValueError as error:
        return bool(document.strip()) and str(error).startswith("EOF while parsing")
    return False


def _parse(raw: bytes) -> list[Any]:
    """The JSON of one event. Several texts, a line each, are what some gateways send (GLM, Kimi)."""
    try:
        return [parse_json(raw)]
    except (ValueError, RecursionError) as error:
        if b"\n" in raw.strip():
            try:
                return [parse_json(line) for line in raw.split(b"\n") if line.strip()]
            except (ValueError, RecursionError):
                pass
        text = raw.decode("utf-8-sig", errors="replace")
        beginning = redact(text[:200])[:80] + ("..." if len(text) > 80 else "")
        raise ProtocolViolation(f"an event of the stream is not JSON: {beginning!r}") from error
