"""A stream of server-sent events cut at its blank lines, each block with its place and with base64 left out.

A picture is megabytes of base64 on one line: it is gone from a block before the block is whole, so that memory stays small.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Block", "Blocks", "Shortened"]

# A blank line, with any line ends (section 9.2.5 of the HTML standard).
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")
_LONGEST_BLANK_LINE: Final = 4
_BLOCK_BYTES_AT_MOST: Final = 256 * 1024

_BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"
_RUN_AT_MOST: Final = 120
_RUN_SHOWN: Final = 24
# From where a run begins, so that a short one is not tried from each of its characters.
_RUN: Final = re.compile(rb"(?<![\w+/=-])(?:[\w+/=-]|\\/){%d,}" % (_RUN_AT_MOST + 1))
_END_OF_RUN: Final = re.compile(rb"[^\w+/=\\-]|\\(?!/)")
_OTHER_ESCAPE: Final = re.compile(rb"\\(?!/)")


@dataclass(frozen=True, slots=True)
class Block:
    """What stood up to a blank line, its end included: `length` bytes from `offset` on.

    `text` is without long runs of base64, and cut off where `is_cut`. `is_open` where the stream ended before the blank line.
    """

    offset: int
    length: int
    text: bytes
    is_cut: bool = False
    is_open: bool = False


class Blocks:
    """`feed` gives the bytes back in pieces that end where a block ends, each with the block that ends there, if one does.

    `offset` is how many bytes came.
    """

    def __init__(self) -> None:
        self.offset: int = 0
        self._begin = 0
        self._ending = b""  # the last bytes of the block so far: a blank line may have begun
        self._text = Shortened(_BLOCK_BYTES_AT_MOST)

    def feed(self, data: bytes) -> Iterator[tuple[bytes, Block | None]]:
        """The next bytes."""
        at = 0
        while at < len(data):
            known = len(self._ending)
            match = _BLANK_LINE.search(self._ending + data[at:] if known else data, 0 if known else at)
            # A CR at the very end may be half of a CRLF: the block ends with the next byte, or with the stream.
            if match is None or (match.end() == len(match.string) and match.string.endswith(b"\r")):
                self._take(data[at:])
                yield data[at:], None
                return
            end = at + match.end() - known if known else match.end()
            self._take(data[at:end])
            yield data[at:end], self._close()
            at = end

    def finish(self) -> Block | None:
        """The block that was not ended, if there is one."""
        return self._close(is_open=_BLANK_LINE.search(self._ending) is None)

    def _take(self, data: bytes) -> None:
        self.offset += len(data)
        self._text.feed(data)
        self._ending = (self._ending + data[-_LONGEST_BLANK_LINE:])[1 - _LONGEST_BLANK_LINE :]

    def _close(self, *, is_open: bool = False) -> Block | None:
        text, is_cut = self._text.finish()
        begin, self._begin = self._begin, self.offset
        self._ending = b""
        self._text = Shortened(_BLOCK_BYTES_AT_MOST)
        return Block(begin, self.offset - begin, text, is_cut, is_open) if text.strip() else None


class Shortened:
    """A text without its long runs of base64, and no longer than that. JSON that held such runs is JSON still."""

    def __init__(self, bytes_at_most: int) -> None:
        self._bytes_at_most = bytes_at_most
        self._kept = bytearray()
        self._is_cut = False
        self._unsure = b""  # the end of what came: a run that may become long, or half an escape
        self._skipped = 0  # how much of a long run is left out so far

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        if self._is_cut:
            return
        text = self._unsure + data
        self._unsure = b""
        if self._skipped:
            end = _END_OF_RUN.search(text, 0, len(text) - text.endswith(b"\\"))
            stop = end.start() if end else len(text) - text.endswith(b"\\")
            self._skipped += stop
            text = text[stop:]
            if end is None:
                self._unsure = text
                return
            self._end_run()
        self._take(text)

    def finish(self) -> tuple[bytes, bool]:
        """(the text, whether it is cut off)."""
        if self._skipped:
            self._end_run()
        self._keep(self._unsure)
        return bytes(self._kept), self._is_cut

    def _take(self, text: bytes) -> None:
        begin = len(text.rstrip(_BASE64 + b"\\"))
        for escape in _OTHER_ESCAPE.finditer(text, begin, len(text) - text.endswith(b"\\")):
            begin = escape.end()
        self._keep(_RUN.sub(_shorten, text[:begin]))
        run = text[begin:]
        if len(run) <= _RUN_AT_MOST:
            self._unsure = run
        else:
            self._keep(run[:_RUN_SHOWN].rstrip(b"\\"))
            self._unsure = run[len(run.rstrip(b"\\")) :]
            self._skipped = len(run) - _RUN_SHOWN - len(self._unsure)

    def _end_run(self) -> None:
        self._keep(_left_out(self._skipped))
        self._skipped = 0

    def _keep(self, text: bytes) -> None:
        room = self._bytes_at_most - len(self._kept)
        self._kept += text[:room]
        self._is_cut = self._is_cut or len(text) > room


def _shorten(run: re.Match[bytes]) -> bytes:
    text = run[0]
    return text[:_RUN_SHOWN].rstrip(b"\\") + _left_out(len(text) - _RUN_SHOWN)


def _left_out(length: int) -> bytes:
    return f"[{length} more]".encode()
