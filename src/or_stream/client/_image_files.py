"""Images written to a folder while they arrive."""

import hashlib
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from or_stream._image_format import HEAD_BYTES, SUFFIXES, media_type_of
from or_stream.errors import ImageNotSaved
from or_stream.protocol import MemorySink
from or_stream.values import Image

__all__ = ["FileSink", "new_stem"]


def new_stem() -> str:
    """A file name stem that the server has no say in: when, and a few random letters."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(6)}"


class FileSink:
    """One image into `folder`, as `stem-index.suffix`. It has a hidden temporary name until it is whole.

    `takes_digest`: the SHA-256 is taken on the way, which costs a third more.

    Writes go to the page cache and take microseconds, so they are done in the event loop. An image that the disk does not take
    is kept in memory from there on, and `on_failure` is told why.
    """

    def __init__(
        self, folder: Path, stem: str, index: int, on_failure: Callable[[ImageNotSaved], None], *, takes_digest: bool = False
    ) -> None:
        self._name = folder / f"{stem}-{index}"
        self._temporary = folder / f".{stem}-{index}.part"
        self._on_failure = on_failure
        self._digest = hashlib.sha256() if takes_digest else None
        self._head = b""
        self._final: Path | None = None
        self._file: FileIO | None = None
        self._memory: MemorySink | None = None
        try:
            self._file = self._temporary.open("x+b", buffering=0)
        except OSError as error:
            self._go_on_in_memory(error)

    def write(self, data: bytes, /) -> None:
        """Append the next bytes."""
        view = memoryview(data)
        if self._file is not None:
            try:
                while view:
                    written = self._file.write(view)
                    if self._digest is not None:
                        self._digest.update(view[:written])
                    view = view[written:]
            except OSError as error:
                self._go_on_in_memory(error)
        if self._memory is not None:
            self._memory.write(bytes(view))
        elif len(self._head) < HEAD_BYTES:
            self._head += data[:HEAD_BYTES]

    def finish(self, claimed_media_type: str | None, /) -> Image:
        """Give the file its name, with the suffix its bytes ask for."""
        if self._file is not None:
            suffix = SUFFIXES.get(media_type_of(self._head) or claimed_media_type or "", ".bin")
            final = self._name.with_name(self._name.name + suffix)
            try:
                self._file.close()
                self._temporary.replace(final)
                self._final = final
                image = Image.from_file(final, claimed_media_type=claimed_media_type)
                image.known_sha256 = self._digest.hexdigest() if self._digest is not None else None
                return image
            except OSError as error:
                self._go_on_in_memory(error)
        assert self._memory is not None
        return self._memory.finish(claimed_media_type)

    def discard(self) -> None:
        """Remove what was written, whole or not, as far as the disk allows it."""
        for path in (self._temporary, self._final):
            with suppress(OSError):
                if self._file is not None:
                    self._file.close()
                if path is not None:
                    path.unlink(missing_ok=True)

    def _go_on_in_memory(self, error: OSError) -> None:
        """Take back what the disk has. Raises ImageNotSaved at once where even that is not possible."""
        failure = ImageNotSaved(
            f"cannot write an image to {str(self._name.parent)!r}: {error.strerror or error}; what was not written is in the "
            "images of .partial: save it elsewhere"
        )
        failure.__cause__ = error
        self._memory = MemorySink()
        try:
            self._memory.write(self._read_back())
        except OSError:
            raise failure from error
        finally:
            self.discard()
            self._file = None
        self._on_failure(failure)

    def _read_back(self) -> bytes:
        if self._file is None:
            return b""
        if self._file.closed:
            return (self._final or self._temporary).read_bytes()
        self._file.seek(0)
        return self._file.readall()
