"""What was made, and what it cost: a `Tally` counts one answer while it is sent, the `Bill` keeps the result."""

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from or_stream.emulator._script import Chunk, Event, Sent

# A `data:` line longer than this is an image: it is counted without being parsed.
_LINE_BYTES_AT_MOST = 64 * 1024
_USAGE_BYTES_AT_MOST = 4 * 1024


@dataclass(slots=True)
class Tally:
    """What an answer has said so far.

    `usage` is the object that was sent; until there is one, a word counts as a token and a picture as `image_tokens`.
    """

    image_tokens: int
    usage: Mapping[str, Any] | None = None
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    has_failed: bool = False
    says_something: bool = field(default=False, init=False)

    def sent(self, step: Sent, data: bytes, *, is_whole: bool = True) -> None:
        """Count a step of which these bytes have been sent. Of a part of an event nobody has the usage, which stands last."""
        said = getattr(step, "says", None) or step
        if isinstance(said, Chunk | Event):
            self._payload(said.payload if is_whole else {**said.payload, "usage": None})
        elif data:
            self._bytes(data)

    def _bytes(self, data: bytes) -> None:
        """Bytes of a recording, or of a JSON answer."""
        for line in data.split(b"\n"):
            text = line.removeprefix(b"data: ").strip()
            if len(text) > _LINE_BYTES_AT_MOST:
                self._images((b'"images"' in text or b'"b64_json"' in text) and b"partial_image" not in text)
                self.usage = _usage_in(text) or self.usage
            elif text.startswith(b"{"):
                try:
                    self._payload(json.loads(text))
                except ValueError:
                    continue

    def _payload(self, payload: Mapping[str, Any]) -> None:
        if isinstance(payload.get("usage"), Mapping):
            self.usage = payload["usage"]
        self.has_failed = self.has_failed or bool(payload.get("error")) or payload.get("type") == "error"
        self._images(payload.get("type") == "image_generation.completed")
        self._images(sum("b64_json" in image for image in payload.get("data") or ()))
        for choice in payload.get("choices") or ():
            self._choice(choice)

    def _choice(self, choice: Mapping[str, Any]) -> None:
        reason = choice.get("finish_reason")
        if reason and self.finish_reason is None:
            self.finish_reason, self.native_finish_reason = reason, choice.get("native_finish_reason")
        self.has_failed = self.has_failed or reason == "error" or bool(choice.get("error"))
        part = choice.get("delta") or choice.get("message") or {}
        self._images(len(part.get("images") or ()))
        self.reasoning_tokens += _words(part.get("reasoning"))
        spoken = sum(_words(part.get(name)) for name in ("content", "reasoning", "refusal"))
        fragments = len(part.get("tool_calls") or ()) + bool(part.get("audio"))
        self.completion_tokens += spoken + fragments
        self.says_something = self.says_something or bool(spoken + fragments)

    def _images(self, count: int) -> None:
        self.images += count
        self.completion_tokens += count * self.image_tokens
        self.says_something = self.says_something or bool(count)


def _words(text: Any) -> int:
    return max(1, len(text.split())) if isinstance(text, str) and text else 0


def _usage_in(line: bytes) -> Mapping[str, Any] | None:
    """The usage object in a line that is too long to be parsed: it comes after the image."""
    _, found, rest = line.rpartition(b'"usage":')
    if not found:
        return None
    try:
        usage, _ = json.JSONDecoder().raw_decode(rest[:_USAGE_BYTES_AT_MOST].decode(errors="replace").lstrip())
    except ValueError:
        return None
    return usage if isinstance(usage, Mapping) else None


@dataclass(frozen=True, slots=True)
class BillEntry:
    """One generation. `cost` is in USD. A `cancelled` one was left by its client, and cost what had been sent."""

    generation_id: str
    endpoint: str
    model: str
    provider: str
    cost: float
    prompt_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    image_tokens: int
    images: int
    cancelled: bool
    streamed: bool
    finish_reason: str | None
    native_finish_reason: str | None
    created: int
    latency_milliseconds: float
    generation_milliseconds: float
    ended_seconds: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    user: str | None = None


class Bill:
    """All generations, by id and in the order in which they ended. `total` is in USD, those that were forgotten included."""

    def __init__(self, keep: int = 10_000) -> None:
        self.total: float = 0.0
        self._entries: OrderedDict[str, BillEntry] = OrderedDict()
        self._keep = keep

    def add(self, entry: BillEntry) -> None:
        """Put it on the bill, in the place of what was there for the same generation."""
        before = self._entries.get(entry.generation_id)
        self.total = round(self.total + entry.cost - (before.cost if before else 0.0), 10)
        self._entries[entry.generation_id] = entry
        while len(self._entries) > self._keep:
            self._entries.popitem(last=False)

    def get(self, generation_id: str) -> BillEntry | None:
        """The entry of that generation, None where there is none."""
        return self._entries.get(generation_id)

    def __getitem__(self, generation_id: str) -> BillEntry:
        return self._entries[generation_id]

    def __contains__(self, generation_id: object) -> bool:
        return generation_id in self._entries

    def __iter__(self) -> Iterator[BillEntry]:
        return iter(list(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Bill of ${self.total:.6f} for {len(self)} generations>"
