"""Pictures that came as an address, fetched because the caller asks."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from or_stream._image_format import media_type_of
from or_stream.client._image_files import FileSink, new_stem
from or_stream.client.request import checked_folder
from or_stream.client.transport import is_public, read_foreign_address
from or_stream.errors import ConfigurationError, ImageNotSaved, ProtocolViolation, StreamTimeout
from or_stream.protocol import MemorySink
from or_stream.values import Image, Message

__all__ = ["DEFAULT_MAX_FETCHED_BYTES", "fetch_image", "fetch_image_from"]

DEFAULT_MAX_FETCHED_BYTES: Final = 64 * 2**20
"""Bytes of a picture at an address; an uncompressed 4K picture has 50 MB."""
# An SVG may begin with comments and a document type of several lines.
_HEAD_BYTES: Final = 2**10


async def fetch_image(
    image: Image | str,
    *,
    save_to: str | os.PathLike[str] | None = None,
    max_bytes: int = DEFAULT_MAX_FETCHED_BYTES,
    timeout_seconds: float = 60,
) -> Image:
    """The picture behind an address: `fetch_image(message.images[0])`. One that has its data already is returned as it is.

    Whoever made the answer chose the address, so this is careful: http and https alone, never an address of a private network,
    by redirect neither, without the API key, cookies and proxy. With `save_to` the picture is written into that folder and not
    kept in memory. Raises ProtocolViolation for what must not be fetched, is no picture or has more than `max_bytes`;
    StreamTimeout after `timeout_seconds`; else what a request raises. Cancelling leaves no file.
    """
    return await fetch_image_from(
        image, save_to=save_to, max_bytes=max_bytes, timeout_seconds=timeout_seconds, may_connect=is_public
    )


async def fetch_image_from(
    image: Image | str,
    *,
    save_to: str | os.PathLike[str] | None,
    max_bytes: int,
    timeout_seconds: float,
    may_connect: Callable[[str], bool],
) -> Image:
    """The same, with a say in which IP addresses may be connected to."""
    address = image.url if isinstance(image, Image) else image
    if isinstance(image, Image) and (image.data or image.path is not None):
        return image
    if not isinstance(address, str) or not address:
        raise ConfigurationError("there is nothing to fetch: give an Image that has an address, or the address")
    received = _Received(checked_folder(save_to), max_bytes)
    try:
        async with asyncio.timeout(timeout_seconds):
            await read_foreign_address(address, received.write, may_connect=may_connect)
        return received.finish().model_copy(update={"url": address})
    except TimeoutError as error:
        raise StreamTimeout(f"timeout_seconds={timeout_seconds} seconds ran out", phase="total") from error
    finally:
        received.close()


class _Received:
    """The bytes of one picture so far, if they are one."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._head: bytes | None = b""  # until there is enough of it to tell a picture
        self._failure: ImageNotSaved | None = None
        self._sink: FileSink | MemorySink | None = (
            MemorySink() if folder is None else FileSink(folder, new_stem(), 0, self._note_failure)
        )

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_bytes:
            raise ProtocolViolation(f"the picture has more than max_bytes={self._max_bytes:,}: raise that limit to allow it")
        if self._head is not None:
            self._head += data
            if len(self._head) < _HEAD_BYTES:
                return
            data = self._checked_head()
        assert self._sink is not None
        self._sink.write(data)

    def finish(self) -> Image:
        assert self._sink is not None
        if self._head is not None:
            self._sink.write(self._checked_head())
        image = self._sink.finish(None)
        self._sink = None
        if self._failure is not None:
            self._failure.partial = Message(images=[image], status="failed")
            raise self._failure
        return image

    def close(self) -> None:
        """Nothing stays of a picture that is not whole."""
        if self._sink is not None:
            self._sink.discard()
            self._sink = None

    def _checked_head(self) -> bytes:
        head, self._head = self._head or b"", None
        kind = media_type_of(head)
        if kind is None or (kind == "image/svg+xml" and b"<svg" not in head):
            raise ProtocolViolation("what is at the address is no picture of a known kind")
        return head

    def _note_failure(self, failure: ImageNotSaved) -> None:
        self._failure = failure
