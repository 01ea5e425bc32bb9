"""What the emulator plays, as data: a `Scenario` is one HTTP answer, its `Step`s are what is sent, waited for and broken off.

Nothing here does I/O and nothing knows OpenRouter's chunks but for the fields that repeat on each of them (`Identity`).
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

SSE_TYPE = "text/event-stream"
JSON_TYPE = "application/json"

# One write of the server at most: the size of a TLS record, which is what a client of the service gets at once.
WRITE_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """What repeats on every chunk of one answer. The server makes a fresh one for each request."""

    id: str = "gen-1787584664-aB3dE5fG7hJ9kL1mN3pQ"
    created: int = 1787584664
    model: str = "google/gemini-3.1-flash-image"
    provider: str = "Google"

    def fields(self, order: Literal["2024", "2026"] = "2026") -> dict[str, Any]:
        """The fields of a chunk before its `choices`, in the order of that year. The order changed in March 2026."""
        kind = "chat.completion.chunk"
        if order == "2024":
            return {"id": self.id, "provider": self.provider, "model": self.model, "object": kind, "created": self.created}
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "provider": self.provider}


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes, as they are. `seconds` is how long sending them takes, spread over the writes.

    `says` is the step that was encoded into them, for the bill; without it the bill reads the bytes.
    """

    data: bytes
    seconds: float = 0.0
    says: "Chunk | Event | None" = None


@dataclass(frozen=True, slots=True)
class Comment:
    """An SSE comment, `count` times."""

    text: str = "OPENROUTER PROCESSING"
    count: int = 1


@dataclass(frozen=True, slots=True)
class Chunk:
    r"""One `data:` event. The identity's fields come first; a key of `payload` replaces the one of the same name.

    `escape_slashes` writes `\/` for `/`, as PHP and some proxies do. `seconds` is how long sending it takes.
    """

    payload: Mapping[str, Any]
    order: Literal["2024", "2026"] = "2026"
    escape_slashes: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """One `data:` event without an identity: what the Image API streams. `seconds` is how long sending it takes."""

    payload: Mapping[str, Any]
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """`data: [DONE]`."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing for that long."""

    seconds: float


class Gate(Protocol):
    """What can be waited for: a `Signal`, or an `asyncio.Event` of the emulator's own loop."""

    async def wait(self) -> Any:
        """Return when it is open."""
        ...


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Nothing until the test sets the event. What came before has been sent by then."""

    event: Gate


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing, until the client leaves or the emulator is closed."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The steps, `times` times; None is for ever."""

    steps: "tuple[Step, ...]"
    times: int | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """The connection is closed in order (FIN), but the answer is not: the terminating chunk of HTTP is never sent."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST). What was sent before has left this machine, unless the client does not read it."""


Step = Send | Comment | Chunk | Event | Done | Wait | WaitFor | Stall | Repeat | Close | Reset
Sent = Send | Comment | Chunk | Event | Done


@dataclass(frozen=True, slots=True)
class Scenario:
    """One answer.

    `before` is played before the status line is sent, so it may only wait, stall, close or reset. `pieces` are the lengths of
    the writes: one number for all, or one after the other (the rest goes in writes of `WRITE_BYTES`); a piece also ends where
    a step ends. Each write is an HTTP chunk of its own, with `pace_seconds` between two of them. `generation_header` sends
    X-Generation-Id, which successful answers of the service have. `gzip` compresses the body, flushed after every step.
    After `broken_after_bytes` of the body, if not None, the steps `broken_by` are played instead of the rest.
    """

    steps: tuple[Step, ...]
    status: int = 200
    content_type: str = SSE_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)
    before: tuple[Step, ...] = ()
    pieces: int | tuple[int, ...] | None = None
    pace_seconds: float = 0.0
    generation_header: bool = True
    gzip: bool = False
    broken_after_bytes: int | None = None
    broken_by: tuple[Step, ...] = ()
    name: str = ""

    def cut(self, pieces: int | tuple[int, ...] | None, pace_seconds: float = 0.0) -> "Scenario":
        """The same answer, cut into other writes."""
        return replace(self, pieces=pieces, pace_seconds=pace_seconds)

    def after(self, *steps: Step) -> "Scenario":
        """The same answer, once `steps` have been played and before the status line."""
        return replace(self, before=(*steps, *self.before))

    def broken(self, after_bytes: int, *steps: Step) -> "Scenario":
        """The same answer up to that byte of its body, then `steps`: `Close()`, `Reset()`, `Stall()`. Without any it ends."""
        return replace(self, broken_after_bytes=after_bytes, broken_by=steps)

    def body(self, identity: Identity | None = None) -> bytes:
        """All bytes of the body that come without waiting for ever: what a parser can be fed without a server."""
        return b"".join(_bodies(self.steps, identity or Identity()))[: self.broken_after_bytes]


def _bodies(steps: tuple[Step, ...], identity: Identity) -> Iterator[bytes]:
    for step in steps:
        match step:
            case Repeat(inner, times):
                for _ in range(times or 1):
                    yield from _bodies(inner, identity)
            case Stall() | Close() | Reset():
                return
            case Send() | Comment() | Chunk() | Event() | Done():
                yield encode(step, identity)
            case Wait() | WaitFor():
                pass


def encode(step: Sent, identity: Identity) -> bytes:
    """The bytes of one step, framed as the service does it: LF only, one line an event, one space after the colon."""
    match step:
        case Send(data):
            return data
        case Comment(text, count):
            return f": {text}\n\n".encode() * count
        case Done():
            return b"data: [DONE]\n\n"
        case Event(payload):
            return b"data: %b\n\n" % dump(payload)
        case Chunk(payload, order):
            data = dump({**identity.fields(order), **payload})
            return b"data: %b\n\n" % (data.replace(b"/", b"\\/") if step.escape_slashes else data)


def dump(value: Any) -> bytes:
    """JSON as the service writes it: no spaces, and characters as they are. Half a surrogate pair, which is none, becomes `?`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")


def piece_lengths(pieces: int | tuple[int, ...] | None) -> Iterator[int]:
    """The lengths of the writes, without end."""
    if isinstance(pieces, int):
        while True:
            yield pieces
    yield from pieces or ()
    while True:
        yield WRITE_BYTES
