"""Chunks of chat completions -> events, and what they add up to.

The decoder is told of a lifted image three times: `begin_image` with the beginning of its chunk, `feed_image`, `end_image`. When
the rest of that chunk comes to `feed`, what was already said is not said again.
"""

import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from or_stream.errors import ProtocolViolation
from or_stream.events import AnnotationDelta, Event, ReasoningDelta, RefusalDelta, StreamStart, TextDelta, UsageUpdate
from or_stream.protocol._error_body import ErrorBody
from or_stream.protocol._images import ImageAssembler
from or_stream.protocol._message import MessageBuilder
from or_stream.protocol._payloads import Base64Decoder
from or_stream.protocol.chunks import Chunk, ImageEntry, Part, only_text, read_chunk
from or_stream.values import Image, Message, Status

__all__ = ["ChatDecoder"]

_DATA_URL_HEAD: Final = re.compile(r"data:[^,]*?(;base64)?,", re.IGNORECASE)


class ChatDecoder:
    """`feed` documents, then `finish`; `message` at any time. After an error document `failure` says what it said.

    Where a part of a document is not what it should be, the events in front of it are returned and `violation` is set. `texts` is
    the text so far: whoever knows that a chunk has nothing but text to say, like one that was fed, may append it there instead.
    """

    def __init__(self, images: ImageAssembler, *, generation_id: str | None = None) -> None:
        self.failure: ErrorBody | None = None
        self.violation: ProtocolViolation | None = None
        self.is_started: bool = False
        self._images = images
        self._generation_id = generation_id
        self._model: str | None = None
        self._provider: str | None = None
        self._created: int | None = None
        self._extra: dict[str, Any] = {}
        self._first = MessageBuilder(0)
        self.texts: list[str] = self._first.text
        self._others: dict[int, MessageBuilder] = {}  # of further choices, which few streams have
        self._said_parts = 0  # of the chunk whose image is being lifted
        self._image_choice = 0
        self._is_passing_over = False  # the payload that is being lifted belongs to no image

    @property
    def generation_id(self) -> str | None:
        """The id of the generation, None until it is known."""
        return self._generation_id

    @property
    def is_finished(self) -> bool:
        """Whether every choice that began has given a finish reason, and one has."""
        finished = [builder.finish_reason or builder.native_finish_reason for builder in self._all() if builder.has_begun]
        return bool(finished) and all(finished)

    def feed(self, document: Any) -> list[Event]:
        """The events of one chunk. Where it holds an error, they come first and `failure` is set."""
        if self.is_started and not self._said_parts and (text := only_text(document)) is not None:
            return self._say(Part("text", 0, text, False)) if text else []
        chunk = read_chunk(document)
        events = self._start(chunk) if chunk.parts or not chunk.error else self._identify(chunk)
        parts, self._said_parts = chunk.parts[self._said_parts :], 0
        self._say_all(parts, events)
        if self.violation is None:
            self._conclude(chunk, events)
        return events

    def begin_image(self, document: Any) -> list[Event]:
        """An image follows; it is the last thing in `document`, the beginning of a chunk."""
        chunk = read_chunk(document)
        events = self._start(chunk)
        parts, self._said_parts = chunk.parts[self._said_parts :], len(chunk.parts)
        # An entry that names its image twice, in `image_url` and in `url`, is one image: the first that came.
        self._is_passing_over = not (parts and parts[-1].kind == "image" and parts[-1].value.is_open)
        self._say_all(parts if self._is_passing_over else parts[:-1], events)
        if not self._is_passing_over and self.violation is None:
            self._image_choice = parts[-1].choice
            try:
                self._images.begin(self._image_choice, parts[-1].value.claimed_media_type)
            except ProtocolViolation as violation:
                self.violation = violation
        return events

    def feed_image(self, data: bytes) -> list[Event]:
        """The next decoded bytes of the image."""
        return [] if self._is_passing_over else self._images.feed(data)

    def end_image(self) -> list[Event]:
        """The image is whole."""
        if self._is_passing_over:
            return []
        events, image = self._images.end()
        self._keep(image, self._image_choice)
        return events

    def finish(self) -> list[Event]:
        """The stream ended honestly: the last events of what was open."""
        return [event for builder in self._all() for event in builder.finish()]

    def message(self, status: Status) -> Message:
        """What has come so far."""
        identity = {"id": self._generation_id, "model": self._model, "provider": self._provider, "created": self._created}
        message = self._first.build(status, dict(self._extra), **identity)
        if self._others:
            message.alternatives = [builder.build(status, {}, **identity) for _, builder in sorted(self._others.items())]
        return message

    def _start(self, chunk: Chunk) -> list[Event]:
        self._identify(chunk)
        if self.is_started:
            return []
        self.is_started = True
        return [StreamStart(self._generation_id, self._model, self._provider)]

    def _identify(self, chunk: Chunk) -> list[Event]:
        self._generation_id = self._generation_id or chunk.id
        self._model = self._model or chunk.model
        self._provider = self._provider or chunk.provider
        self._created = self._created or chunk.created
        self._extra.update(chunk.extra)
        return []

    def _conclude(self, chunk: Chunk, events: list[Event]) -> None:
        """What a chunk says beside its parts."""
        for finish in chunk.finishes:
            self._builder(finish.choice).add_finish(finish.reason, finish.native_reason)
        for choice, logprobs in chunk.logprobs:
            self._builder(choice).add_logprobs(logprobs)
        if chunk.usage is not None:
            self._first.usage = chunk.usage
            if self.is_started:
                events.append(UsageUpdate(chunk.usage))
        self.failure = chunk.error

    def _builder(self, choice: int) -> MessageBuilder:
        if choice == 0:
            return self._first
        if choice not in self._others:
            self._others[choice] = MessageBuilder(choice)
        return self._others[choice]

    def _all(self) -> list[MessageBuilder]:
        return [self._first, *self._others.values()]

    def _say_all(self, parts: list[Part], events: list[Event]) -> None:
        try:
            for part in parts:
                events += self._say(part)
        except ProtocolViolation as violation:
            self.violation = violation

    def _say(self, part: Part) -> list[Event]:
        builder = self._builder(part.choice)
        if not part.is_whole:
            builder.said |= {part.kind}
        elif part.kind in builder.said and part.kind != "image":
            return []
        match part.kind:
            case "text":
                return self._say_text(builder, part.value)
            case "reasoning":
                return self._say_reasoning(builder, part.value)
            case "reasoning_details":
                builder.add_reasoning_details(part.value, are_whole=part.is_whole)
                return []
            case "refusal":
                return self._say_refusal(builder, part.value)
            case "image":
                return self._say_image(builder, part.value)
            case "tool_call":
                return builder.tool_calls.feed(*part.value)
            case "audio":
                return builder.add_audio(part.value)
            case _:
                return self._say_annotation(builder, part.value)

    def _say_text(self, builder: MessageBuilder, text: str) -> list[Event]:
        builder.text.append(text)
        return [TextDelta(text, builder.choice)]

    def _say_reasoning(self, builder: MessageBuilder, text: str) -> list[Event]:
        builder.reasoning.append(text)
        return [ReasoningDelta(text, builder.choice)]

    def _say_refusal(self, builder: MessageBuilder, text: str) -> list[Event]:
        builder.refusal.append(text)
        return [RefusalDelta(text, builder.choice)]

    def _say_annotation(self, builder: MessageBuilder, annotation: dict[str, Any]) -> list[Event]:
        builder.annotations.append(annotation)
        return [AnnotationDelta(annotation, builder.choice)]

    def _say_image(self, builder: MessageBuilder, entry: ImageEntry) -> list[Event]:
        """An image that was not lifted: an address, or a data URL in a form or place that the lifter leaves alone."""
        head = _DATA_URL_HEAD.match(entry.url)
        is_drawing = entry.claimed_media_type == "image/svg+xml"
        if head is None or not (head[1] or is_drawing):
            if entry.url[:5].lower() == "data:":
                raise ProtocolViolation("an image in the stream is a data URL without base64")
            events, image = self._images.add_address(builder.choice, entry.url)
            self._keep(image, builder.choice)
            return events
        self._images.begin(builder.choice, entry.claimed_media_type)
        decoder = Base64Decoder()
        payload, events = entry.url[head.end() :], []
        if head[1]:
            pieces = (decoder.feed(payload.encode("ascii", "replace")), decoder.finish())
        else:
            pieces = (unquote_to_bytes(payload), b"")  # RFC 2397: a drawing is text
        for data in pieces:
            if data:
                events += self._images.feed(data)
        ending, image = self._images.end()
        self._keep(image, builder.choice)
        return events + ending

    def _keep(self, image: Image | None, choice: int) -> None:
        if image is not None:
            self._builder(choice).add_image(image)
