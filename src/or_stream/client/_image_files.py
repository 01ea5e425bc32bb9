"""Images written to a folder while they arrive."""

import hashlib
import secrets
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from or_stream._image_format import HEAD_BYTES, SUFFIXES, media_type_of
from or_stream.errors import OrStreamError
from or_stream.values import Image

__all__ = ["FileSink", "new_stem"]


def new_stem() -> str:
    """A file name stem that the server has no say in: when, and a few random letters."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(6)}"


class FileSink:
    """One image into `folder`, as `stem-index.suffix`. It has a hidden temporary name until it is whole.

    Writes go to the page cache and take microseconds, so they are done in the event loop. Raises OrStreamError where the disk
    does not take them; nothing stays behind then.
    """

    def __init__(self, folder: Path, stem: str, index: int) -> None:
        self._name = folder / f"{stem}-{index}"
        self._temporary = folder / f".{stem}-{index}.part"
        self._digest = hashlib.sha256()
        self._head = b""
        self._final: Path | None = None
        try:
            self._file: BinaryIO = self._temporary.open("xb", buffering=0)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, data: bytes, /) -> None:
        """Append the next bytes."""
        if len(self._head) < HEAD_BYTES:
            self._head += data[:HEAD_BYTES]
        self._digest.update(data)
        view = memoryview(data)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            self.discard()
            raise self._failed(error) from error

    def finish(self, claimed_media_type: str | None, /) -> Image:
        """Give the file its name, with the suffix its bytes ask for."""
        suffix = SUFFIXES.get(media_type_of(self._head) or claimed_media_type or "", ".bin")
        final = self._name.with_name(self._name.name + suffix)
        try:
            self._file.close()
            self._temporary.replace(final)
            self._final = final
            return Image.from_file(final, claimed_media_type=claimed_media_type, sha256=self._digest.hexdigest())
        except OSError as error:
            self.discard()
            raise self._failed(error) from error

    def discard(self) -> None:
        """Remove what was written, whole or not, as far as the disk allows it."""
        for path in (self._temporary, self._final):
            with suppress(OSError):
                self._file.close()
                if path is not None:
                    path.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> OrStreamError:
        return OrStreamError(f"cannot write an image to {str(self._name.parent)!r}: {error.strerror or error}")
