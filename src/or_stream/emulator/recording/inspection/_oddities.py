"""What is odd in a chunk, by name; in an ordinary answer of today nothing is.

Knows the wire on its own: what the core makes of a chunk must not decide what is odd.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["Oddities", "kind_of", "oddities_of_answer"]

_FINISHES: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "error"})
_SPEAKING: Final = ("content", "reasoning", "refusal", "images", "tool_calls", "audio", "annotations", "reasoning_details")


def kind_of(document: Any) -> str:
    """What a JSON document of the API is."""
    if not isinstance(document, dict):
        return "JSON"
    if document.get("error"):
        return "error"
    choices = _mappings(document.get("choices"))
    if any("message" in choice for choice in choices):
        return "answer"
    if isinstance(document.get("choices"), list):
        return "chunk"
    if any("b64_json" in entry for entry in _mappings(document.get("data"))):
        return "pictures"
    kind = document.get("type")
    return kind if isinstance(kind, str) and kind else "JSON"


class Oddities:
    """Reads the chunks of one stream in their order."""

    def __init__(self) -> None:
        self._has_chunks = self._has_finish = self._has_usage = False
        self._finishes: dict[Any, str] = {}
        self._id: Any = None
        self._calls: dict[tuple[Any, Any], Any] = {}

    def of(self, chunk: Any) -> list[str]:
        """What is odd in the next chunk."""
        if not isinstance(chunk, dict):
            return ["no JSON object"]
        choices = chunk.get("choices")
        self._has_chunks = self._has_chunks or isinstance(choices, list)
        odd = [*self._at_the_top(chunk)]
        for choice in _mappings(choices):
            odd += self._in_choice(choice, chunk)
        return list(dict.fromkeys(odd))

    def at_end(self) -> list[str]:
        """What the stream lacks, if it is one of a chat completion."""
        if not self._has_chunks:
            return []
        return [*([] if self._has_finish else ["no finish reason"]), *([] if self._has_usage else ["no usage"])]

    def _at_the_top(self, chunk: Mapping[str, Any]) -> Iterator[str]:
        has_choices = bool(chunk.get("choices"))
        if chunk.get("error"):
            yield "error in the stream" if has_choices else "error without choices"
        if isinstance(chunk.get("usage"), dict):
            if "choices" in chunk and not has_choices:
                yield "usage without choices"
            if self._has_usage:
                yield "repeated usage"
            self._has_usage = True
        if len(_mappings(chunk.get("choices"))) > 1:
            yield "several choices"
        if isinstance(identity := chunk.get("id"), str) and identity:
            if self._id not in (None, identity):
                yield "another id"
            self._id = identity

    def _in_choice(self, choice: Mapping[str, Any], chunk: Mapping[str, Any]) -> Iterator[str]:
        index, reason = choice.get("index"), choice.get("finish_reason")
        delta = choice.get("delta")
        said = delta if isinstance(delta, dict) else {}
        speaks = any(said.get(name) for name in _SPEAKING)
        if delta is None:
            yield "message in a stream" if "message" in choice else "delta is null"
        elif not speaks and not reason and not chunk.get("usage"):
            yield "empty delta"
        if choice.get("error"):
            yield "error in a choice"
        if speaks and index in self._finishes:
            yield "content after the finish"
        if reason:
            yield from self._of_finish(index, str(reason), choice, chunk)
            if speaks:
                yield "finish beside content" if not said.get("images") else "finish beside an image"
        yield from self._of_images(said)
        yield from self._of_tool_calls(index, said)

    def _of_finish(self, index: Any, reason: str, choice: Mapping[str, Any], chunk: Mapping[str, Any]) -> Iterator[str]:
        self._has_finish = True
        earlier = self._finishes.get(index)
        if earlier is not None and earlier != reason:
            yield f"conflicting finish ({earlier}, then {reason})"
        elif earlier is not None and not chunk.get("usage"):  # beside usage it is the form of today
            yield "repeated finish"
        self._finishes.setdefault(index, reason)
        if reason not in _FINISHES:
            yield f"unknown finish ({reason})"
        if reason == "error" and not (choice.get("error") or chunk.get("error")):
            yield "error finish without an error"
        if reason != "error" and "error" in str(choice.get("native_finish_reason")).lower():
            yield f"failure that says {reason} ({choice.get('native_finish_reason')})"

    def _of_images(self, said: Mapping[str, Any]) -> Iterator[str]:
        images = said.get("images")
        if images == []:
            yield "empty list of images"
        entries = _mappings(images)
        if len(entries) > 1:
            yield "several images in a delta"
        for entry in entries:
            place = entry.get("image_url")
            url = place.get("url") if isinstance(place, dict) else place
            if isinstance(place, str):
                yield "image_url is a string"
            if isinstance(url, str) and not url.startswith("data:"):
                yield "image by address"

    def _of_tool_calls(self, choice: Any, said: Mapping[str, Any]) -> Iterator[str]:
        calls = _mappings(said.get("tool_calls"))
        if len(calls) > 1:
            yield "several tool calls in a delta"
        for call in calls:
            if "index" not in call:
                yield "tool call without an index"
            place, identity = (choice, call.get("index")), call.get("id")
            if identity == "":
                yield "tool call with an empty id"
            elif identity and self._calls.setdefault(place, identity) != identity:
                yield "tool calls of one index"


def oddities_of_answer(answer: Any, *, status: int | None) -> list[str]:
    """What is odd in a whole answer to a request."""
    if not isinstance(answer, dict):
        return ["no JSON object"]
    odd = ["error under HTTP 200"] if answer.get("error") and status == 200 else []
    choices = _mappings(answer.get("choices"))
    odd += ["error in a choice"] if any(choice.get("error") for choice in choices) else []
    if choices and not isinstance(answer.get("usage"), dict):
        odd.append("no usage")
    return odd


def _mappings(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
