"""Server-sent events, both ways: bytes in any pieces to events, and one event to bytes. No I/O, and nothing of OpenRouter.

Follows section 9.2 of the HTML standard. What providers put on top (`[DONE]`, errors as data) belongs to the caller.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, overload

from pydantic_core import from_json
from typing_extensions import TypeVar

from or_stream.errors import ConfigurationError, ProtocolViolation

__all__ = [
    "DEFAULT_MAX_COMMENT_SIZE",
    "DEFAULT_MAX_EVENT_SIZE",
    "Comment",
    "SSEParser",
    "ServerSentEvent",
    "encode_event",
]

# Bytes of one event's data. An image of 20 MB is one line of 27 MB in base64; httpx2 and cohere stop at 1 MiB and lose it.
DEFAULT_MAX_EVENT_SIZE = 64 * 2**20
# Bytes of a comment's text; what is longer is cut there. Real ones are a few words (": OPENROUTER PROCESSING").
DEFAULT_MAX_COMMENT_SIZE = 4096

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_FEED, _CARRIAGE_RETURN = b"\n\r"
_FIELDS = frozenset({b"data", b"event", b"id", b"retry"})
_LONGEST_RETRY = 2**63 - 1
_REPR_CHARACTERS = 60


class ServerSentEvent:
    """One event.

    `raw` is its data as it came, in bytes. `id` is the last event ID at this event, "" when none was ever set. `retry` is the
    reconnection time in effect, in milliseconds, None until the server sets one. `incomplete` is True where the stream ended
    before the event did.
    """

    __slots__ = ("_data", "event", "id", "incomplete", "raw", "retry")

    def __init__(
        self, raw: bytes, event: str = "message", id: str = "", retry: int | None = None, incomplete: bool = False
    ) -> None:
        self.raw: bytes = raw
        self.event: str = event
        self.id: str = id
        self.retry: int | None = retry
        self.incomplete: bool = incomplete
        self._data: str | None = None

    @property
    def data(self) -> str:
        """The data as text; bytes that are not UTF-8 are replaced by U+FFFD."""
        if self._data is None:
            self._data = self.raw.decode("utf-8", "replace")
        return self._data

    def json(self) -> Any:
        """The data read as JSON. Raises ValueError where it is none."""
        try:
            return from_json(self.raw)
        except ValueError:
            # It refuses what providers do send: lone surrogates (\ud83d cut from its pair), and bytes that are not UTF-8.
            pass
        try:
            return json.loads(self.data)
        except RecursionError as error:
            raise ValueError("JSON nested too deep") from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServerSentEvent):
            return NotImplemented
        return self._values() == other._values()

    __hash__: ClassVar[None] = None  # type: ignore[assignment]

    def _values(self) -> tuple[bytes, str, str, int | None, bool]:
        return self.raw, self.event, self.id, self.retry, self.incomplete

    def __repr__(self) -> str:
        data = _shortened(self.raw[: 4 * _REPR_CHARACTERS].decode("utf-8", "replace"))
        size = f" ({len(self.raw)} bytes)" if len(data) > _REPR_CHARACTERS else ""
        parts = [f"event={_shortened(self.event)!r}", f"data={data!r}{size}"]
        if self.id:
            parts.append(f"id={_shortened(self.id)!r}")
        if self.retry is not None:
            parts.append(f"retry={self.retry}")
        if self.incomplete:
            parts.append("incomplete=True")
        return f"ServerSentEvent({', '.join(parts)})"


@dataclass(slots=True)
class Comment:
    """A line that begins with a colon: a sign of life. `text` is without the colon and one space after it."""

    text: str


ItemT = TypeVar("ItemT", bound=ServerSentEvent | Comment, default=ServerSentEvent)


class SSEParser(Generic[ItemT]):
    """Turns the bytes of one stream into events, whatever the pieces they come in.

    A field's value of more than `max_event_size` bytes (for `data`: the joined lines of an event) is a ProtocolViolation, found
    before its line has ended. Items that were complete before it are not lost: `feed` returns them and sets `failure`, which the
    next `feed` or `flush` raises. The parser is then dead until `reset`. Comments and unknown fields have no limit: they are not
    kept, but for the first DEFAULT_MAX_COMMENT_SIZE bytes of a comment's text.

    `on_comment` is called with the text of a comment when its line ends; with `comments=True` the lists that `feed` and `flush`
    return hold a `Comment` at that place too. What `on_comment` raises goes through `feed`, and the parser is dead as well.

    `last_event_id` is where an earlier connection had got to.

    `.last_event_id` and `.retry` (milliseconds, None until set) are what a reconnection needs.
    """

    __slots__ = (
        "_at_start",
        "_comments",
        "_data",
        "_event",
        "_harmless_size",
        "_id",
        "_max_event_size",
        "_on_comment",
        "_partial_line",
        "_skip_line_feed",
        "_smallest_limit",
        "failure",
        "last_event_id",
        "retry",
    )

    @overload
    def __init__(
        self: "SSEParser[ServerSentEvent]",
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
        last_event_id: str = "",
        *,
        comments: Literal[False] = False,
    ) -> None: ...

    @overload
    def __init__(
        self: "SSEParser[ServerSentEvent | Comment]",
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
        last_event_id: str = "",
        *,
        comments: Literal[True],
    ) -> None: ...

    def __init__(
        self,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
        last_event_id: str = "",
        *,
        comments: bool = False,
    ) -> None:
        if max_event_size < 1:
            raise ConfigurationError(f"max_event_size must be 1 byte or more, not {max_event_size}")
        self._max_event_size = max_event_size
        self._on_comment = on_comment
        self._comments = comments
        # No line up to this size needs a look before it has ended, were it not for the data before it.
        self._smallest_limit = min(max_event_size, DEFAULT_MAX_COMMENT_SIZE)
        self.last_event_id: str = last_event_id
        self.retry: int | None = None
        self.reset()

    def reset(self, keep_last_event_id: bool = True) -> None:
        """Make ready for the first byte of a new stream; what was unfinished is dropped.

        `last_event_id` and `retry` outlive a connection and are kept, unless `keep_last_event_id=False`: then both are as new.
        """
        if not keep_last_event_id:
            self.last_event_id = ""
            self.retry = None
        self.failure: ProtocolViolation | None = None
        self._at_start = True
        self._skip_line_feed = False
        self._partial_line = bytearray()
        self._data: bytes | bytearray | None = None  # None: no data field yet; b"": an empty one, which does make an event
        self._event = "message"
        # By the letter a new connection begins with an empty ID buffer, whose first blank line would erase the last event ID.
        self._id = self.last_event_id

    @property
    def is_between_events(self) -> bool:
        """Whether the next byte begins an event: nothing has come since the last blank line, and there was one."""
        return (
            not (self._partial_line or self._at_start or self._skip_line_feed) and self._data is None and self._event == "message"
        )

    def feed(self, data: bytes | bytearray | memoryview) -> list[ItemT]:
        """The events that these bytes complete; none is held back for a byte that cannot change it."""
        if self.failure is not None:
            raise self.failure
        chunk = data if type(data) is bytes else bytes(memoryview(data))
        if self._skip_line_feed and chunk:
            self._skip_line_feed = False
            chunk = chunk.removeprefix(b"\n")
        if self._at_start:
            chunk = self._without_byte_order_mark(chunk)
        if not chunk:
            return []
        # bytes.splitlines knows CR, LF and CRLF and no other line end (str.splitlines knows eight more).
        lines = chunk.splitlines()
        tail = b""
        if chunk[-1] == _CARRIAGE_RETURN:
            self._skip_line_feed = True
        elif chunk[-1] != _LINE_FEED:
            tail = lines.pop()
        if lines:
            if self._partial_line:
                lines[0] = self._completed(lines[0])
            items = self._read(lines)
        else:
            items = []
        if tail and self.failure is None:
            self._hold(tail)
        if self.failure is not None and not items:
            raise self.failure
        return items

    def flush(self) -> list[ItemT]:
        """At a clean end of the stream: the unterminated event, if any, marked `incomplete`; then `reset`.

        The standard discards that event. It may lack no more than its blank line, or be cut anywhere: look before using it, and
        do not call this after a broken connection. Its id and retry do not become the parser's.
        """
        if self.failure is not None:
            raise self.failure
        last_event_id, retry = self.last_event_id, self.retry
        lines = [self._completed(b"")] if self._partial_line else []
        items = self._read([*lines, b""])
        self.last_event_id, self.retry = last_event_id, retry
        if self.failure is not None:
            raise self.failure
        for item in items:
            if isinstance(item, ServerSentEvent):
                item.incomplete = True
        self.reset()
        return items

    def _without_byte_order_mark(self, chunk: bytes) -> bytes:
        """The chunk, once it is sure whether the stream begins with a mark; until then nothing, and up to two bytes are kept."""
        start = bytes(self._partial_line) + chunk
        if len(start) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(start):
            self._partial_line[:] = start
            return b""
        self._partial_line.clear()
        self._at_start = False
        return start.removeprefix(_BYTE_ORDER_MARK)

    def _completed(self, end: bytes) -> bytes:
        self._partial_line += end
        line = bytes(self._partial_line)
        self._partial_line.clear()
        return line

    def _hold(self, tail: bytes) -> None:
        """Keep the beginning of a line, as far as it can matter."""
        # One growing buffer: a list of pieces takes 8 bytes for a piece of one byte, and the limit would bound nothing.
        line = self._partial_line
        if not line:
            self._harmless_size = self._smallest_limit - len(self._data or b"")
        line += tail
        if len(line) > self._harmless_size:
            self._bound(line)

    def _bound(self, line: bytearray) -> None:
        name, _, value = bytes(line[:8]).partition(b":")
        if name not in _FIELDS:
            # A comment, or a field to be ignored. The kept beginning shows as much when the line ends: ": " and the text.
            del line[2 + DEFAULT_MAX_COMMENT_SIZE :]
        else:
            before_value = len(name) + (2 if value[:1] == b" " else 1)
            self._harmless_size = before_value + self._max_event_size
            if name == b"data" and self._data is not None:
                self._harmless_size -= len(self._data) + 1
            if len(line) > self._harmless_size:
                self._fail(name)

    def _fail(self, field: bytes) -> None:
        self.failure = ProtocolViolation(
            f"the {field.decode()} of a server-sent event is larger than {self._max_event_size} bytes; "
            "if such events are to be expected, raise max_event_size"
        )
        self._partial_line.clear()
        self._data = None

    def _read(self, lines: list[bytes]) -> list[Any]:
        items: list[Any] = []
        data = self._data
        limit = self._max_event_size
        for line in lines:
            if line[:6] == b"data: ":
                value = line[6:]
            elif not line:
                self.last_event_id = self._id
                if data is not None:
                    raw = data if type(data) is bytes else bytes(data)
                    items.append(ServerSentEvent(raw, self._event, self._id, self.retry))
                    data = None
                self._event = "message"
                continue
            elif line[:7] == b"event: " and len(line) <= limit:
                # In step with _read_other; here it makes streams that name each event 1.3 times as fast.
                self._event = line[7:].decode("utf-8", "replace") or "message"
                continue
            elif line[:5] == b"data:" or line == b"data":
                value = line[5:]
            else:
                self._read_other(line, items)
                if self.failure is not None:
                    return items
                continue
            if data is None:
                data = value
            else:
                if type(data) is bytes:
                    data = bytearray(data)
                data += b"\n"
                data += value
            if len(data) > limit:
                self._fail(b"data")
                return items
        self._data = data
        return items

    def _read_other(self, line: bytes, items: list[Any]) -> None:
        """A line that is neither data nor blank."""
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if not name:
            self._read_comment(value[:DEFAULT_MAX_COMMENT_SIZE].decode("utf-8", "replace"), items)
        elif name in _FIELDS and len(value) > self._max_event_size:
            self._fail(name)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace") or "message"
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit():  # ASCII digits only, as bytes
            digits = value.lstrip(b"0")
            # int() refuses more than 4300 digits.
            self.retry = min(int(digits or b"0"), _LONGEST_RETRY) if len(digits) < 20 else _LONGEST_RETRY

    def _read_comment(self, text: str, items: list[Any]) -> None:
        if self._comments:
            items.append(Comment(text))
        if self._on_comment is not None:
            try:
                self._on_comment(text)
            except BaseException:
                self.failure = ProtocolViolation("on_comment raised, and the rest of what was fed then is lost; reset() to go on")
                raise


def encode_event(data: str, event: str | None = None, id: str | None = None, retry: int | None = None) -> bytes:
    """One event as bytes; a parser gives back the same, with each line end in `data` as a line feed.

    Raises ConfigurationError for what the format cannot carry: a line end in `event` or `id`, NUL in `id`, a `retry` that is
    not a whole number of milliseconds below 2**63, a lone surrogate.
    """
    lines = []
    if event is not None:
        if "\r" in event or "\n" in event:
            raise ConfigurationError("the event of a server-sent event cannot hold a line end")
        lines.append(f"event: {event}")
    if id is not None:
        if "\r" in id or "\n" in id or "\0" in id:
            raise ConfigurationError("the id of a server-sent event cannot hold a line end or NUL")
        lines.append(f"id: {id}")
    if retry is not None:
        if not 0 <= retry <= _LONGEST_RETRY:
            raise ConfigurationError("the retry of a server-sent event must be 0 or more milliseconds, below 2**63")
        lines.append(f"retry: {retry:d}")
    lines += [f"data: {line}" for line in data.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    try:
        return "\n".join([*lines, "", ""]).encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError("a server-sent event is UTF-8 and cannot hold a lone surrogate") from error


def _shortened(text: str) -> str:
    return text if len(text) <= _REPR_CHARACTERS else text[:_REPR_CHARACTERS] + "…"
