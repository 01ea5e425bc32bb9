"""What the decoder has said so far, kept in a form that grows in linear time and becomes a `Message` when asked."""

from typing import Any

from or_stream.events import AudioDelta, Event
from or_stream.protocol._payloads import Base64Decoder
from or_stream.protocol._tool_calls import ToolCallTracker
from or_stream.values import Audio, Image, Message, Status, Usage

__all__ = ["MessageBuilder"]

# Native finish reasons that mean "cut at the length limit", recorded beside finish_reason "tool_calls" (docs/wire.md).
_CUT_REASONS = frozenset({"length", "max_output_tokens", "max_tokens", "MAX_TOKENS"})
# Copies of it are not validated, and take half as long as `model_construct`.
_NOTHING_SAID = Message()


class MessageBuilder:
    """The message of one choice, under construction. The lists are the decoder's to append to; `build` may be called any time."""

    def __init__(self, choice: int) -> None:
        self.choice = choice
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.reasoning_details: list[dict[str, Any]] | None = None
        self.annotations: list[dict[str, Any]] = []
        self.tool_calls = ToolCallTracker(choice)
        self.finish_reason: str | None = None
        self.native_finish_reason: str | None = None
        self.usage: Usage | None = None
        # The kinds of parts that came in deltas, which a `message` may only repeat. An empty set takes 216 bytes.
        self.said: frozenset[str] = frozenset()
        self.logprobs: Any = None
        self._images: list[Image] = []
        self._image_offsets: list[int] = []
        self._audio: _AudioBuilder | None = None
        self._detail_pieces: dict[str, list[str]] = {}  # of the last reasoning detail: what its growing texts are made of

    @property
    def has_begun(self) -> bool:
        """Whether the stream has said anything of this choice."""
        return bool(self.said or self.finish_reason or self.native_finish_reason)

    @property
    def was_cut(self) -> bool:
        """Whether the model hit its length limit, whatever the finish reason says."""
        return self.finish_reason == "length" or self.native_finish_reason in _CUT_REASONS

    def add_image(self, image: Image) -> None:
        """A whole image, at this place in the text."""
        self._join_text()
        self._image_offsets.append(len(self.text[0]))
        self._images.append(image)

    def add_audio(self, audio: dict[str, Any]) -> list[Event]:
        """A fragment of sound; its base64 may be cut anywhere."""
        if self._audio is None:
            self._audio = _AudioBuilder(self.choice)
        return self._audio.feed(audio)

    def add_reasoning_details(self, details: list[dict[str, Any]], *, are_whole: bool = False) -> None:
        """Fragments of reasoning details, or whole ones. A fragment continues the one before it of the same type and index."""
        if self.reasoning_details is None:
            self.reasoning_details = []
        for detail in details:
            last = self.reasoning_details[-1] if self.reasoning_details else None
            if last is not None and not are_whole and _continues(detail, last):
                self._join_detail(last, detail)
            else:
                self._join_detail_pieces()
                self._detail_pieces = {}
                self.reasoning_details.append(dict(detail))

    def add_finish(self, reason: str | None, native_reason: str | None) -> None:
        """A finish; the first of several counts (recorded: `tool_calls`, then `stop`)."""
        self.finish_reason = self.finish_reason or reason
        self.native_finish_reason = self.native_finish_reason or native_reason

    def add_logprobs(self, logprobs: Any) -> None:
        """Log probabilities of any type: lists of tokens are joined, of anything else the last one stays."""
        if isinstance(logprobs, dict) and isinstance(self.logprobs, dict):
            for name, value in logprobs.items():
                known = self.logprobs.get(name)
                if isinstance(known, list) and isinstance(value, list):
                    known.extend(value)
                elif value is not None:
                    self.logprobs[name] = value
        elif isinstance(logprobs, dict):
            self.logprobs = _copied(logprobs)
        else:
            self.logprobs = logprobs

    def finish(self) -> list[Event]:
        """The stream ended honestly: nothing more belongs to the sound and the tool calls."""
        events = self._audio.finish() if self._audio is not None else []
        return events + self.tool_calls.finish(was_cut=self.was_cut)

    def build(self, status: Status, extra: dict[str, Any], **identity: Any) -> Message:
        """The message so far, sharing its big values with this builder and its lists with nobody."""
        self._join_text()
        self._join_detail_pieces()
        details = None if self.reasoning_details is None else [dict(detail) for detail in self.reasoning_details]
        return _NOTHING_SAID.model_copy(
            update={
                **identity,
                "text": self.text[0],
                "reasoning": "".join(self.reasoning),
                "reasoning_details": details,
                "refusal": "".join(self.refusal),
                "images": list(self._images),
                "image_offsets": list(self._image_offsets),
                "audio": self._audio.build() if self._audio is not None else None,
                "tool_calls": self.tool_calls.calls(was_cut=self.was_cut),
                "annotations": list(self.annotations),
                "usage": self.usage,
                "finish_reason": self.finish_reason,
                "native_finish_reason": self.native_finish_reason,
                "status": status,
                "alternatives": [],  # the copy would share that of the original
                "extra": extra if self.logprobs is None else {**extra, "logprobs": _copied(self.logprobs)},
            }
        )

    def _join_text(self) -> None:
        self.text[:] = ["".join(self.text)]

    def _join_detail(self, last: dict[str, Any], detail: dict[str, Any]) -> None:
        """Text grows; of everything else the last value that is not empty stays (Anthropic sends `"signature": ""` first)."""
        for name, value in detail.items():
            if name in ("text", "summary", "data") and isinstance(value, str) and isinstance(last.get(name), str):
                self._detail_pieces.setdefault(name, [last[name]]).append(value)
            elif name not in last or value not in (None, ""):
                last[name] = value

    def _join_detail_pieces(self) -> None:
        for name, pieces in self._detail_pieces.items():
            assert self.reasoning_details is not None
            pieces[:] = ["".join(pieces)]
            self.reasoning_details[-1][name] = pieces[0]


class _AudioBuilder:
    def __init__(self, choice: int) -> None:
        self._choice = choice
        self._decoder = Base64Decoder()
        self._id: str | None = None
        self._data = bytearray()
        self._transcript: list[str] = []
        self._expires_at: int | None = None

    def feed(self, audio: dict[str, Any]) -> list[Event]:
        if isinstance(audio.get("id"), str):
            self._id = audio["id"]
        if isinstance(audio.get("expires_at"), int):
            self._expires_at = audio["expires_at"]
        text, transcript = audio.get("data"), audio.get("transcript")
        if self._decoder.is_padded:
            self._decoder = Base64Decoder()  # each fragment may also be a base64 text of its own
        data = self._decoder.feed(text.encode()) if isinstance(text, str) and text else b""
        transcript = transcript if isinstance(transcript, str) and transcript else None
        self._data += data
        if transcript:
            self._transcript.append(transcript)
        return [AudioDelta(data, transcript, self._choice)] if data or transcript else []

    def finish(self) -> list[Event]:
        data = self._decoder.finish()
        self._data += data
        return [AudioDelta(data, None, self._choice)] if data else []

    def build(self) -> Audio:
        return Audio.model_construct(
            id=self._id, data=bytes(self._data), transcript="".join(self._transcript), expires_at=self._expires_at
        )


def _continues(detail: dict[str, Any], last: dict[str, Any]) -> bool:
    return bool(detail.get("type") == last.get("type") and detail.get("index") == last.get("index") and "index" in detail)


def _copied(logprobs: Any) -> Any:
    if not isinstance(logprobs, dict):
        return logprobs
    return {name: list(value) if isinstance(value, list) else value for name, value in logprobs.items()}
