"""The UI message stream, version 1, of the AI SDK (npm `ai`): what `useChat` reads.

In the dialect that versions 5.0.0 to 7 all accept, tried with each: no key that 5.0.0 does not know (it is strict), so that the
finish reason is in the metadata, and `abort` gives no reason.
"""

from typing import Any, Final

import pybase64

from or_stream.errors import StreamTruncated
from or_stream.events import (
    AnnotationDelta,
    AudioDelta,
    Event,
    ImageDiscard,
    ImageEnd,
    ImagePreview,
    ImageStart,
    ReasoningDelta,
    RefusalDelta,
    Restart,
    StreamEnd,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    UsageUpdate,
)
from or_stream.relay._failure import ABORTED, Failure
from or_stream.relay._frames._sse import DONE, Frames, as_json, frame
from or_stream.values import Image, Usage

__all__ = ["UIMessageFrames"]

_OCTETS: Final = "application/octet-stream"


class UIMessageFrames(Frames):
    """Text, reasoning and pictures become parts of one message, in their order. The protocol knows one choice: the first.

    A picture that begins, and each preview of it, is a transient `data-image` part, which `onData` gets and the message does not
    keep. What was shown cannot be taken back, so a `Restart` is a failure.
    """

    headers = {"x-vercel-ai-ui-message-stream": "v1"}  # noqa: RUF012  # declared in the base class

    def __init__(self, created: int) -> None:
        super().__init__(created)
        self._is_begun = False
        self._is_ended = False
        self._open: tuple[str, str] | None = None  # kind and id of the part that deltas belong to
        self._parts = 0
        self._calls: dict[int, str] = {}

    def feed(self, event: Event, address: str | None = None) -> bytes:
        """Any number of parts."""
        if event.choice != 0:
            return b""
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                return self._delta("text", text)
            case ReasoningDelta(text=text):
                return self._delta("reasoning", text)
            case StreamStart():
                return self._begin(event)
            case ImageStart(index=index, media_type=media_type):
                return self._progress(index, "started", mediaType=media_type, url=address)
            case ImagePreview(index=index, image=image):
                return self._progress(index, "preview", mediaType=image.media_type, url=image.data_url())
            case ImageDiscard(index=index):
                return self._progress(index, "discarded")
            case ImageEnd(image=image):
                return self._part("file", mediaType=_media_type(image), url=image.data_url())
            case ToolCallStart(index=index, id=id, name=name):
                # The client tells calls apart by this; a server may say none, or the same twice.
                self._calls[index] = id if id and id not in self._calls.values() else f"{id or 'call'}-{index}"
                return self._part("tool-input-start", toolCallId=self._calls[index], toolName=name)
            case ToolCallDelta(index=index, arguments=arguments):
                return self._part("tool-input-delta", toolCallId=self._calls[index], inputTextDelta=arguments)
            case ToolCallEnd(index=index, call=call):
                if not call.complete:
                    return b""
                call_id = self._calls[index]
                return self._part("tool-input-available", toolCallId=call_id, toolName=call.name, input=call.json())
            case AnnotationDelta(annotation=annotation):
                return self._annotation(annotation)
            case AudioDelta(data=data, transcript=transcript):
                audio = {"data": pybase64.b64encode_as_string(data), "transcript": transcript}
                return self._part("data-audio", data=audio, transient=True)
            case UsageUpdate(usage=usage):
                return self._part("message-metadata", messageMetadata={"usage": _usage(usage)})
            case Restart(error=error):
                raise StreamTruncated(error)
            case StreamEnd(message=message):
                self._is_ended = True
                metadata = {"finishReason": message.finish_reason or "stop"}
                return self._part("finish-step") + _frame("finish", messageMetadata=metadata)
            case _:
                return b""

    def finish(self) -> bytes:
        """[DONE]. Where the stream was broken off, `abort`, and `error` behind it: no version of `useChat` shows an abort."""
        return DONE if self._is_ended else self._part("abort") + self.fail(ABORTED)

    def fail(self, failure: Failure) -> bytes:
        """`error`, which becomes the `error` of `useChat`."""
        return self._part("error", errorText=failure.text) + DONE

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """The text alone: `useChat` makes the whole body its error's message."""
        return "text/plain; charset=utf-8", failure.text.encode(errors="replace")

    def _begin(self, start: StreamStart) -> bytes:
        self._is_begun = True
        identity = {} if start.generation_id is None else {"messageId": start.generation_id}
        metadata = {name: value for name in ("model", "provider") if (value := getattr(start, name)) is not None}
        if metadata:
            return _frame("start", **identity, messageMetadata=metadata) + _frame("start-step")
        return _frame("start", **identity) + _frame("start-step")

    def _delta(self, kind: str, text: str) -> bytes:
        if self._open is not None and self._open[0] == kind:
            return _frame(f"{kind}-delta", id=self._open[1], delta=text)
        self._parts += 1
        identity = str(self._parts)
        opening = self._part(f"{kind}-start", id=identity)
        self._open = (kind, identity)
        return opening + _frame(f"{kind}-delta", id=identity, delta=text)

    def _part(self, type: str, **fields: Any) -> bytes:
        """A part that is no delta: what is open ends in front of it."""
        before = b"" if self._is_begun else self._begin(StreamStart())
        if self._open is not None and not (type.startswith("data-") or type == "message-metadata"):
            kind, identity = self._open
            self._open = None
            before += _frame(f"{kind}-end", id=identity)
        return before + _frame(type, **fields)

    def _progress(self, index: int, state: str, **fields: str | None) -> bytes:
        data = {"index": index, "state": state, **{name: value for name, value in fields.items() if value is not None}}
        return self._part("data-image", id=f"image-{index}", data=data, transient=True)

    def _annotation(self, annotation: dict[str, Any]) -> bytes:
        citation = annotation.get("url_citation")
        url = citation.get("url") if isinstance(citation, dict) else None
        if not isinstance(citation, dict) or not isinstance(url, str):
            return self._part("data-annotation", data=annotation)
        self._parts += 1
        title = citation.get("title")
        return self._part(
            "source-url", sourceId=str(self._parts), url=url, **({"title": title} if isinstance(title, str) else {})
        )


def _frame(type: str, **fields: Any) -> bytes:
    return frame(as_json({"type": type, **fields}))


def _media_type(image: Image) -> str:
    """The part must have one; an address alone does not say."""
    return image.media_type or ("image/*" if image.url else _OCTETS)


def _usage(usage: Usage) -> dict[str, Any]:
    return usage.model_dump(mode="json", exclude_none=True, exclude={"extra"})
