"""A recorded exchange: one request and its answer, byte for byte, with the time of each piece. Read from its folder.

    000001-post-chat-completions/      `.partial` behind its name until the exchange has ended
        exchange.jsonl                 what was said and when, a JSON object a line
        request.json                   the body of the request (`.bin` where it is no JSON); absent where there was none
        answer.sse                     the body of the answer (`.json`, `.bin`)

Bodies are files of their own so that they stay what they were, byte for byte, and every tool can read them. The rest is written
a line at a time as it happens, not as one document at the end: whatever kills the recorder, what had come is readable. The lines
are `{"request": ...}`, `{"answer": ...}`, `{"piece": [seconds, bytes]}` for each read, and `{"end": ..., "seconds": ...}`;
seconds run from the arrival of the request. A line or a file that is damaged or missing takes away only what it held.
"""

import asyncio
import json
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from or_stream.emulator._script import Close, Reset, Scenario, Send, Stall, Step, WaitFor
from or_stream.emulator.recording._scrubbing import Headers
from or_stream.errors import ConfigurationError

__all__ = [
    "HOP_BY_HOP",
    "LOG_NAME",
    "UNFINISHED",
    "Answer",
    "End",
    "Pace",
    "Piece",
    "Recording",
    "RequestHead",
    "exchange_folders",
    "header_of",
    "number_of",
    "read_body",
    "read_head",
    "read_pieces",
]

End = Literal["complete", "cut", "reset", "left", "stopped"]
"""How it ended: in order, cut off or reset by the server, left by the client, or with the recorder."""

Pace = Literal["recorded", "none"] | float
"""When a replay sends each piece: as recorded, at once, or with so many seconds between two of them."""

LOG_NAME: Final = "exchange.jsonl"
UNFINISHED: Final = ".partial"

_READ_BYTES: Final = 64 * 1024

# RFC 9110 section 7.6.1: they belong to one connection, and are made anew by whoever answers.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Piece(NamedTuple):
    """So many bytes of the body came together, so many seconds after the request."""

    seconds: float
    length: int


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What was asked, without its body. `query` is as it was written; secrets are `*`."""

    method: str = ""
    path: str = ""
    query: str = ""
    headers: Headers = field(default=(), repr=False)
    started: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, without its body. `made_here` says why the recorder itself answered, where it did."""

    status: int = 200
    reason: str = ""
    headers: Headers = field(default=(), repr=False)
    seconds: float = 0.0
    made_here: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """One exchange. `answer` is None where it ended before there was one; the lengths of `pieces` add up to the length of `body`.

    `Recording.read(folder)` reads one; `emulator.play(recording.scenario())` answers with it.
    """

    request: RequestHead
    request_body: bytes = field(default=b"", repr=False)
    answer: Answer | None = None
    body: bytes = field(default=b"", repr=False)
    pieces: tuple[Piece, ...] = field(default=(), repr=False)
    end: End = "stopped"
    seconds: float = 0.0
    name: str = ""

    @classmethod
    def read(cls, folder: str | Path) -> "Recording":
        """The exchange in that folder, as much of it as is there. Raises ConfigurationError where it is no exchange."""
        folder = Path(folder)
        lines = _read_lines(folder)
        body = read_body(folder, "answer")
        pieces = tuple(_fitted(lines, len(body)))
        whole = replace(_head_of(folder, lines), request_body=read_body(folder, "request"), body=body, pieces=pieces)
        return whole if whole.seconds or not pieces else replace(whole, seconds=pieces[-1].seconds)

    @property
    def content_type(self) -> str:
        """What the answer calls itself, "" where it does not."""
        return header_of(self.answer.headers, "content-type") if self.answer is not None else ""

    def scenario(self, pace: Pace = "recorded") -> Scenario:
        """The answer as one that the emulator plays: the same bytes in the same writes, and the same end.

        Where the client had left the rest is not known: then nothing more comes, unless the answer was whole.
        """
        clock = _Clock()
        timed = pace == "recorded"

        def at(seconds: float) -> tuple[Step, ...]:
            return (WaitFor(_Moment(clock, seconds)),) if timed else ()

        begin: tuple[Step, ...] = (WaitFor(clock),) if timed else ()
        end = (*at(self.seconds), *self._break())
        if self.answer is None:
            return Scenario((), before=(*begin, *end), name=self.name)
        headers = _end_to_end(self.answer.headers)
        return Scenario(
            (*(step for seconds, data in self._timed_bytes() for step in (*at(seconds), Send(data))), *end),
            self.answer.status,
            headers.pop("content-type", "application/octet-stream"),
            {_NAMES.get(name, name): value for name, value in headers.items()},
            (*begin, *at(self.answer.seconds)),
            tuple(piece.length for piece in self.pieces) or None,
            pace if isinstance(pace, float | int) else 0.0,
            generation_header=False,
            name=self.name,
        )

    def _timed_bytes(self) -> Iterator[tuple[float, bytes]]:
        at = 0
        for seconds, length in self.pieces:
            yield seconds, self.body[at : at + length]
            at += length

    def _break(self) -> tuple[Step, ...]:
        match self.end:
            case "complete":
                return ()
            case "reset":
                return (Reset(),)
            case "left":
                return () if self.body.rstrip().endswith(b"data: [DONE]") else (Stall(),)
            case _:
                return (Close(),)


# Headers that the emulator sets itself, under the names that it gives them.
_NAMES: Final = {"cache-control": "Cache-Control"}


class _Clock:
    """Knows when each task that plays its scenario began to: a scenario may be played many times, also at once."""

    def __init__(self) -> None:
        self._starts: weakref.WeakKeyDictionary[asyncio.Task[Any], float] = weakref.WeakKeyDictionary()

    async def wait(self) -> None:
        """Begin."""
        self._starts[_this_task()] = asyncio.get_running_loop().time()

    async def until(self, seconds: float) -> None:
        """Return when so much time has passed since the beginning."""
        await asyncio.sleep(self._starts[_this_task()] + seconds - asyncio.get_running_loop().time())


class _Moment:
    """Opens at its time after the beginning. Waits measured from one piece to the next would add up their delays."""

    def __init__(self, clock: _Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    async def wait(self) -> None:
        """Return at that time."""
        await self._clock.until(self._seconds)


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None, "a scenario is played in a task"
    return task


def _end_to_end(headers: Headers) -> dict[str, str]:
    """The headers to send again, by lower-case name. Several of one name are one list (RFC 9110 section 5.3)."""
    named: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        if lower not in HOP_BY_HOP and lower != "set-cookie":
            named[lower] = f"{named[lower]}, {value}" if lower in named else value
    return named


def header_of(headers: Headers, name: str) -> str:
    """The value of the first header of that name, given in lower case; "" where there is none."""
    return next((value for known, value in headers if known.lower() == name), "")


def exchange_folders(folder: str | Path) -> list[Path]:
    """The exchanges in a folder of recordings, in the order in which they came; those that were cut short too."""
    found = [path.parent for path in Path(folder).glob(f"*/{LOG_NAME}")]
    return sorted(found, key=lambda path: (number_of(path), path.name))


def number_of(folder: Path) -> int:
    """The number that a folder's name begins with, 0 where it begins with none."""
    digits = folder.name.partition("-")[0]
    return int(digits) if digits.isascii() and digits.isdigit() else 0


def _read_lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of an exchange that can be read. Raises ConfigurationError where there is no such file."""
    try:
        text = (folder / LOG_NAME).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"no recording can be read in {folder}: {error.strerror or error}") from error
    lines = (_parsed(line) for line in text.splitlines())
    return [line for line in lines if line is not None]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _request_head(lines: list[dict[str, Any]]) -> RequestHead:
    """What was asked, from the lines of an exchange."""
    said = _first(lines, "request")
    texts = {name: str(said.get(name, "")) for name in ("method", "path", "query", "started")}
    return RequestHead(headers=_headers(said), **texts)


def _answer_of(lines: list[dict[str, Any]]) -> Answer | None:
    """What was answered, from the lines of an exchange; None where nothing was."""
    said = _first(lines, "answer")
    if not isinstance(status := said.get("status"), int) or not 100 <= status <= 999:
        return None
    return Answer(
        status, str(said.get("reason", "")), _headers(said), _number(said.get("seconds")), str(said.get("made_here", ""))
    )


def read_head(folder: str | Path) -> Recording:
    """A recording without its bodies and pieces. Raises ConfigurationError where there is none."""
    return _head_of(Path(folder), _read_lines(Path(folder)))


def _head_of(folder: Path, lines: list[dict[str, Any]]) -> Recording:
    end: dict[str, Any] = next((line for line in reversed(lines) if line.get("end") in get_args(End)), {})
    return Recording(
        _request_head(lines),
        answer=_answer_of(lines),
        end=end.get("end", "stopped"),
        seconds=_number(end.get("seconds")),
        name=folder.name.removesuffix(UNFINISHED),
    )


def _first(lines: list[dict[str, Any]], key: str) -> Mapping[str, Any]:
    return next((line[key] for line in lines if isinstance(line.get(key), dict)), {})


def _headers(said: Mapping[str, Any]) -> Headers:
    listed = said.get("headers")
    pairs = listed if isinstance(listed, list) else []
    return tuple((str(pair[0]), str(pair[1])) for pair in pairs if isinstance(pair, list) and len(pair) == 2)


def _piece(line: Mapping[str, Any]) -> Piece | None:
    match line.get("piece"):
        case [int() | float() as seconds, int() as length] if length > 0:
            return Piece(float(seconds), length)
    return None


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _fitted(lines: list[dict[str, Any]], size: int) -> Iterator[Piece]:
    """The pieces cut to the bytes that are there, and one more for those that no piece tells of."""
    seconds = 0.0
    for line in lines:
        if size and (piece := _piece(line)) is not None:
            seconds = piece.seconds
            yield Piece(seconds, min(piece.length, size))
            size -= min(piece.length, size)
    if size:
        yield Piece(seconds, size)


def read_pieces(folder: str | Path) -> Iterator[tuple[float, bytes]]:
    """The answer's body and when it came, without ever holding all of it. Raises ConfigurationError as `Recording.read` does."""
    folder = Path(folder)
    path = _body_path(folder, "answer")
    if path is None:
        return
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            for seconds, length in _fitted(_read_lines(folder), size):
                at = 0
                while at < length and (data := file.read(min(length - at, _READ_BYTES))):
                    at += len(data)
                    yield seconds, data
    except OSError as error:
        raise ConfigurationError(f"no recording can be read in {folder}: {error.strerror or error}") from error


def _body_path(folder: Path, stem: str) -> Path | None:
    """The file of a body, None where there is none."""
    return min(folder.glob(f"{stem}.*"), default=None)


def read_body(folder: Path, stem: str) -> bytes:
    """A body, empty where there is none."""
    path = _body_path(folder, stem)
    try:
        return path.read_bytes() if path is not None else b""
    except OSError:
        return b""
