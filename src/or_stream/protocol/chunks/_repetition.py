"""The text of chunks that repeat but for it, without SSE and JSON for each."""

import re
from typing import Final

from pydantic_core import from_json

from or_stream._json import parse_json
from or_stream.protocol.chunks._chunk import only_text

__all__ = ["TextRepetition"]

_CONTENT: Final = re.compile(rb'"content":"([^"\\]*(?:\\.[^"\\]*)*)"')
_STRING: Final = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*')
_BACKSLASH: Final = b"\\"[0]
_BLANK_LINE: Final = b"\n\n"
# Within so many events a stream that has text to say says it; one that has not is not cut into single events for longer.
_FIRST_EVENTS: Final = 8
_MAX_LEARNED_BYTES: Final = 65536  # of a chunk that is looked through for its text; deltas have some hundred


class TextRepetition:
    """Knows what surrounds the text in the events of a stream, once it has learned one.

    In recorded streams 93 of 100 text deltas repeat; through SSE and JSON each costs three times as much as here. What surrounds
    the text is compared byte for byte and the text itself is parsed as JSON, so that nothing is guessed. What is taken goes to
    `texts`; an empty text says nothing and is left out there. Where an event could be larger than `max_event_bytes` nothing is
    taken.
    """

    __slots__ = ("_end", "_max_event_bytes", "_patience", "_seam", "_start", "_texts", "_unproven", "is_at_beginning")

    def __init__(self, texts: list[str], max_event_bytes: int) -> None:
        self.is_at_beginning: bool = False  # of an event, with the next bytes
        self._texts = texts
        self._max_event_bytes = max_event_bytes
        self._start = self._end = b""  # of an event: up to its text, and from behind it
        self._seam = b""  # the end of one event and the start of the next: one comparison instead of two
        self._unproven: tuple[bytes, int, str] | None = None  # the chunk learned from, the place of its text in it, and the text
        self._patience = _FIRST_EVENTS

    def learn(self, raw: bytes, text: str) -> None:
        """Remember what surrounds the text in a chunk that has nothing but this text to say, as `only_text` tells.

        A chunk of several lines is no such: what ends a line in it is more than that in the event.
        """
        most = min(_MAX_LEARNED_BYTES, self._max_event_bytes // 2 - len(b"data: \n\n"))  # what `take` takes is not twice as long
        texts = list(_CONTENT.finditer(raw)) if len(raw) <= most and b"\n" not in raw else []
        if len(texts) == 1:
            start, end = texts[0].span(1)
            self._start, self._end = b"data: " + raw[:start], raw[end:] + _BLANK_LINE
            self._seam = self._end + self._start
            self._unproven = raw, start, text

    def _prove(self, raw: bytes, place: int, text: str) -> bool:
        """Whether the place that was learned is the text's: it may also be in a key, or one of two texts that are the same.

        Another text there proves it. Tried when an event begins alike: where none ever does, it would be a third of the cost.
        """
        self._unproven = None
        if only_text(parse_json(raw[:place] + b"?" + raw[place:])) == f"?{text}":
            return True
        self._start = self._seam = b""
        return False

    def take(self, data: bytes) -> str | None:
        """The text of the next bytes where they are one event that repeats, as they come live; None for any others."""
        around = len(self._seam)
        size = len(data) - around  # of the text, if it is one event: were it as long as what surrounds it, it could be two
        if not (0 < size < around and self.is_at_beginning and data.startswith(self._start) and data.endswith(self._end)):
            return None
        if self._unproven is not None and not self._prove(*self._unproven):
            return None
        first = len(self._start)
        try:
            text: str = from_json(data[first - 1 : first + size + 1])
        except ValueError:
            return None
        self._texts.append(text)
        return text

    def take_all(self, data: bytes, position: int) -> tuple[list[str], int]:
        """The texts of the events that repeat, from this beginning of an event on, and the place behind them."""
        start = self._start
        if not start or len(data) - position > self._max_event_bytes or not data.startswith(start, position):
            return [], position
        if self._unproven is not None and not self._prove(*self._unproven):
            return [], position
        first = position + len(start)
        last = data.find(b'"', first)
        try:
            pieces, behind = self._pieces_at(data, first, last)
            # No piece has a quote that is not escaped. After one that ends in half an escape, strings and what is between them
            # change places, which is no JSON: each that is read was a string of its own.
            texts = list(filter(None, from_json(b'["' + b'","'.join(pieces) + b'"]'))) if pieces else []
        except ValueError:
            return [], position
        self._texts += texts
        return texts, behind

    def _pieces_at(self, data: bytes, first: int, last: int) -> tuple[list[bytes], int]:
        """The texts as JSON, from the one that begins at `first` and may end at `last` on, and the place behind their events."""
        seam, seam_size = self._seam, len(self._seam)
        pieces: list[bytes] = []
        while True:
            is_seam = data.startswith(seam, last)
            if not is_seam and last > first and data[last - 1] == _BACKSLASH and (string := _STRING.match(data, first)):
                last = string.end()
                is_seam = data.startswith(seam, last)
            if not is_seam:
                break
            pieces.append(data[first:last])
            first = last + seam_size
            last = data.find(b'"', first)
        if last >= 0 and data.startswith(self._end, last):
            pieces.append(data[first:last])
            return pieces, last + len(self._end)
        return pieces, first - len(self._start)

    def next_beginning(self, data: bytes, position: int) -> int:
        """Where the next event may begin that repeats, or the first to learn from; the end of the data where there is none."""
        if self._start:
            found = data.find(_BLANK_LINE + self._start, position)
        elif self._patience:
            self._patience -= 1
            found = data.find(_BLANK_LINE, position)
        else:
            found = -1
        return found + len(_BLANK_LINE) if found >= 0 else len(data)
