"""One picture of an `ImageStore`: written once, read by many, also while it is being written."""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final

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
        self.expires_seconds: float = math.inf  # Unix time
        self._data: bytes | bytearray = bytearray()
        self._waiting: set[asyncio.Future[None]] = set()

    def write(self, data: bytes) -> None:
        """Append. Raises OSError where the disk does not take it, or the file is gone: half of a picture must not look whole."""
        if self.path is None:
            assert isinstance(self._data, bytearray), "nothing is written after `finish`"
            self._data += data
        else:
            with self.path.open("r+b") as file:
                file.seek(self.size)
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

    async def pieces(self, start: int, stop: int | None) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` to `stop`, None for all that will ever come, also where the store drops the picture meanwhile.

        To be closed. Raises EOFError where the picture was cut, OSError where its file is gone.
        """
        with ExitStack() as files:
            file: BinaryIO | None = None
            while stop is None or start < stop:
                if file is None and self.path is not None and self.is_complete:
                    file = files.enter_context(self.path.open("rb"))
                count = _PIECE_BYTES if stop is None else min(_PIECE_BYTES, stop - start)
                if piece := self._read(file, start, count) if start < self.size else b"":
                    start += len(piece)
                    yield piece
                elif self.is_complete:
                    return
                elif self.is_cut:
                    raise EOFError("the picture will never be whole")
                else:
                    await self._grown()

    def _read(self, file: BinaryIO | None, start: int, count: int) -> bytes:
        if self.path is None:
            return bytes(self._data[start : start + count])
        if file is None:  # opened for each piece while it is written: what is open cannot be renamed on Windows
            with self.path.open("rb") as opened:
                return self._read(opened, start, count)
        file.seek(start)
        return file.read(count)

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
