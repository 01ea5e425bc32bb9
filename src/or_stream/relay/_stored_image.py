"""One picture of an `ImageStore`: written once, read by many, also while it is being written."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

__all__ = ["StoredImage"]

_PIECE_BYTES: Final = 2**16


class StoredImage:
    """The bytes of a picture, in memory or in the file `path`.

    `write` any number of times, then `finish`, or `cut` where the rest will never come. `is_complete` and `is_cut` say which.
    """

    def __init__(self, name: str, media_type: str, path: Path | None = None, size: int = 0, is_complete: bool = False) -> None:
        self.name: str = name
        self.media_type: str = media_type
        self.path: Path | None = path
        self.size: int = size
        self.is_complete: bool = is_complete
        self.is_cut: bool = False
        self.expires_seconds: float = 0.0
        self._data: bytes | bytearray = bytearray()
        self._waiting: set[asyncio.Future[None]] = set()

    def write(self, data: bytes) -> None:
        """Append. Raises OSError where the disk does not take it."""
        if self.path is None:
            assert isinstance(self._data, bytearray), "nothing is written after `finish`"
            self._data += data
        else:
            with self.path.open("ab") as file:
                file.write(data)
        self.size += len(data)
        self._wake()

    def finish(self, data: bytes | None = None, path: Path | None = None) -> None:
        """All is there. `data` are the same bytes where somebody holds them already, `path` the file's final name."""
        if self.path is None:
            self._data = data or bytes(self._data)
        else:
            self.path = path
        self.is_complete = True
        self._wake()

    def cut(self) -> None:
        """The rest will never come: whoever reads learns of it."""
        self.is_cut = not self.is_complete
        self._wake()

    def read(self, start: int, count: int) -> bytes:
        """Up to `count` bytes from `start`. Raises OSError where the file is gone."""
        if self.path is None:
            return bytes(self._data[start : start + count])
        # Opened for each piece: a reader that is left holds no file open, and a file that is open cannot be renamed on Windows.
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(count)

    async def pieces(self, start: int, stop: int | None) -> AsyncIterator[bytes]:
        """The bytes from `start` to `stop`, None for all that will ever come. Raises EOFError where the picture was cut."""
        while stop is None or start < stop:
            count = _PIECE_BYTES if stop is None else min(_PIECE_BYTES, stop - start)
            if piece := self.read(start, count) if start < self.size else b"":
                start += len(piece)
                yield piece
            elif self.is_complete:
                return
            elif self.is_cut:
                raise EOFError("the picture will never be whole")
            else:
                await self._grown()

    async def _grown(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
