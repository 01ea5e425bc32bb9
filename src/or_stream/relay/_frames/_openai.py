"""`chat.completion.chunk`, as OpenAI's clients read it, with images, reasoning and costs where OpenRouter puts them."""

from typing import Any, Final

import pybase64

from or_stream.errors import StreamTruncated
from or_stream.events import (
    AnnotationDelta,
    AudioDelta,
    Event,
    ImageEnd,
    ReasoningDelta,
    RefusalDelta,
    Restart,
    StreamEnd,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from or_stream.relay._failure import ABORTED, Failure
from or_stream.relay._frames._sse import DONE, Frames, as_json, frame
from or_stream.values import Message, Usage

__all__ = ["OpenAIFrames"]

_FINISH_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter"})


class OpenAIFrames(Frames):
    """Usage comes on the last chunk, beside the finish: a chunk without choices breaks clients that read `choices[0]`.

    Not told, because this protocol has no place for it: heartbeats, previews, an image before it is whole, reasoning details.
    What was sent cannot be taken back, so a `Restart` is a failure. A failure is a chunk with `error` and no [DONE] after it.
    """

    def __init__(self, created: int) -> None:
        super().__init__(created)
        # What each chunk repeats; the id until the server says its own.
        self._identity: dict[str, Any] = {
            "id": f"chatcmpl-{created}",
            "object": "chat.completion.chunk",
            "created": created,
            "model": "",
        }
        self._begun: set[int] = set()  # choices
        self._calls_with_arguments: set[tuple[int, int]] = set()
        self._is_ended = False

    def feed(self, event: Event, address: str | None = None) -> bytes:
        """At most one chunk."""
        choice = event.choice
        match event:
            case TextDelta(text=text):
                return self._chunk(choice, {"content": text})
            case ReasoningDelta(text=text):
                return self._chunk(choice, {"reasoning": text})
            case RefusalDelta(text=text):
                return self._chunk(choice, {"refusal": text})
            case StreamStart():
                known = {"id": event.generation_id, "model": event.model, "provider": event.provider}
                self._identity.update({name: value for name, value in known.items() if value is not None})
                return self._chunk(choice, {"content": ""})
            case ImageEnd(index=index, image=image):
                entry = {"type": "image_url", "index": index, "image_url": {"url": image.data_url()}}
                return self._chunk(choice, {"content": "", "images": [entry]})
            case ToolCallStart(index=index, id=id, name=name):
                return self._call(
                    choice, index, {"name": name, "arguments": ""}, id=id or f"call_{choice}_{index}", type="function"
                )
            case ToolCallDelta(index=index, arguments=arguments):
                self._calls_with_arguments.add((choice, index))
                return self._call(choice, index, {"arguments": arguments})
            case ToolCallEnd(index=index, call=call):
                is_told = (choice, index) in self._calls_with_arguments
                return b"" if is_told else self._call(choice, index, {"arguments": call.arguments})
            case AnnotationDelta(annotation=annotation):
                return self._chunk(choice, {"annotations": [annotation]})
            case AudioDelta(data=data, transcript=transcript):
                audio = {"data": pybase64.b64encode_as_string(data), "transcript": transcript}
                return self._chunk(choice, {"audio": {name: value for name, value in audio.items() if value}})
            case Restart(error=error):
                raise StreamTruncated(error)
            case StreamEnd(message=message):
                self._is_ended = True
                return self._last_chunk(message)
            case _:
                return b""

    def finish(self) -> bytes:
        """[DONE]."""
        return DONE if self._is_ended else self.fail(ABORTED)

    def fail(self, failure: Failure) -> bytes:
        """A chunk that both of OpenAI's own clients raise, in the form in which OpenRouter sends it."""
        finish = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return frame(as_json({**self._identity, "error": _error(failure), "choices": [finish]}))

    def refusal(self, failure: Failure) -> tuple[str, bytes]:
        """The error object that OpenAI's API answers with."""
        return "application/json", as_json({"error": _error(failure)})

    def _call(self, choice: int, index: int, function: dict[str, str], **fields: str) -> bytes:
        return self._chunk(choice, {"tool_calls": [{"index": index, **fields, "function": function}]})

    def _chunk(self, choice: int, delta: dict[str, Any]) -> bytes:
        if choice not in self._begun:
            self._begun.add(choice)
            delta = {"role": "assistant", **delta}
        return frame(as_json({**self._identity, "choices": [{"index": choice, "delta": delta, "finish_reason": None}]}))

    def _last_chunk(self, message: Message) -> bytes:
        choices: list[dict[str, Any]] = [
            {
                "index": choice,
                "delta": {},
                "finish_reason": said.finish_reason if said.finish_reason in _FINISH_REASONS else "stop",
                "native_finish_reason": said.native_finish_reason,
            }
            for choice, said in enumerate([message, *message.alternatives])
        ]
        usage = {} if message.usage is None else {"usage": _usage(message.usage)}
        return frame(as_json({**self._identity, "choices": choices, **usage}))


def _error(failure: Failure) -> dict[str, Any]:
    return {"message": failure.text, "type": failure.code, "code": failure.code, "param": None}


def _usage(usage: Usage) -> dict[str, Any]:
    """In OpenAI's shape; what the server did not send is left out, but for the three counts that each usage has."""
    prompt, completion = usage.prompt_tokens or 0, usage.completion_tokens or 0
    prompt_details = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    completion_details = {
        "reasoning_tokens": usage.reasoning_tokens,
        "image_tokens": usage.image_tokens,
        "audio_tokens": usage.audio_tokens,
    }
    optional: dict[str, Any] = {
        "cost": usage.cost,
        "prompt_tokens_details": _known(prompt_details) or None,
        "completion_tokens_details": _known(completion_details) or None,
    }
    total = prompt + completion if usage.total_tokens is None else usage.total_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total, **_known(optional)}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
