"""The images of one stream: from decoded bytes to `ImageStart`, `ImageDelta`, and `ImageEnd` or `ImageDiscard`."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from or_stream._image_format import HEAD_BYTES, media_type_of
from or_stream.errors import ProtocolViolation
from or_stream.events import Event, ImageDelta, ImageDiscard, ImageEnd, ImageStart
from or_stream.values import Image

__all__ = ["DEFAULT_MAX_IMAGES", "DEFAULT_MAX_IMAGE_BYTES", "ImageAssembler", "ImageSink", "MemorySink"]

DEFAULT_MAX_IMAGES: Final = 1000
"""Images in one stream. The Image API makes at most 10 a request; what this bounds is a server gone mad."""
DEFAULT_MAX_IMAGE_BYTES: Final = 512 * 1024 * 1024
"""Decoded bytes of one image. The largest recorded is 1.4 MB; an uncompressed 4K picture has 50 MB."""
# Of each image so much is kept to compare others with: JPEGs of one encoder differ only behind some hundred bytes. Those that are
# alike in it may be files, which are opened for each piece: not for more than so many.
_KEPT_BYTES: Final = 4096
_MOST_OPENED: Final = 8


class ImageSink(Protocol):
    """Where the bytes of one image go. Ends with `finish`, or with `discard` where it is a repeat or will never be whole."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes."""

    def finish(self, claimed_media_type: str | None, /) -> Image:
        """The bytes are all there: the image of them."""

    def discard(self) -> None:
        """Forget the bytes. Also called after `finish`, for a repeat."""


@dataclass(frozen=True, slots=True)
class _Finished:
    """An image that was delivered. `head` has its first bytes, none where it is an address."""

    image: Image
    head: bytes
    index: int
    choice: int


class MemorySink:
    """Keeps an image in memory: one growing buffer, which becomes the image's bytes without a copy."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self.write: Callable[[bytes], int] = self._buffer.write

    def finish(self, claimed_media_type: str | None, /) -> Image:
        """The image."""
        return Image.from_bytes(self._buffer.getvalue(), claimed_media_type=claimed_media_type)

    def discard(self) -> None:
        """Let the buffer go."""
        self._buffer.close()


class ImageAssembler:
    """Follows one image at a time: `begin`, any number of `feed`, `end`; or `add_address`. `close` when the stream is over.

    Images are told apart by their bytes alone, because an index on the wire repeats (GEMISIS/leviath PR 823: two pictures of one
    answer on two deltas): a byte-identical repeat is discarded, everything else is delivered. They are compared while they come,
    which ends with the first bytes of nearly all, or by their digests where the sink has taken them: that is a quarter of what an
    image into a file costs. A large one without, whose file has been moved, is not compared, nor are more than 8 that begin
    alike: rather an image twice than one too few.
    """

    def __init__(self, open_sink: Callable[[int], ImageSink], *, max_images: int, max_image_bytes: int) -> None:
        self._open_sink = open_sink
        self._max_images = max_images
        self._max_image_bytes = max_image_bytes
        self._begun = 0
        self._finished: list[_Finished] = []
        self._sink: ImageSink | None = None
        self._index = 0
        self._choice = 0
        self._claimed: str | None = None
        self._head: bytes | None = b""  # the first bytes, until there are enough of them to tell the media type
        self._kept = b""  # the first bytes, which later images are compared with
        self._size = 0
        self._alike: list[_Finished] = []  # the earlier images of the answer whose bytes are the same so far

    @property
    def next_index(self) -> int:
        """The index that the next image will have."""
        return self._begun

    def begin(self, choice: int, claimed_media_type: str | None) -> None:
        """The bytes of an image follow."""
        self._count()
        self._sink = self._open_sink(self._index)
        self._choice = choice
        self._claimed = claimed_media_type
        self._head = b""
        self._kept = b""
        self._size = 0
        self._alike = [earlier for earlier in self._finished if earlier.choice == choice]

    def feed(self, data: bytes) -> list[Event]:
        """The next decoded bytes."""
        assert self._sink is not None
        if self._alike:
            self._compare(data)
        if self._size < _KEPT_BYTES:
            self._kept += data[: _KEPT_BYTES - self._size]
        self._size += len(data)
        if self._size > self._max_image_bytes:
            raise ProtocolViolation(
                f"an image is larger than max_image_bytes={self._max_image_bytes}: raise that limit to allow it"
            )
        if self._head is None:
            self._sink.write(data)
            return [ImageDelta(self._index, data, self._choice)]
        self._head += data
        return self._start() if len(self._head) >= HEAD_BYTES else []

    def end(self) -> tuple[list[Event], Image | None]:
        """The image is whole: its last events, and the image if it is no repeat."""
        assert self._sink is not None
        if not self._size:
            raise ProtocolViolation("an image in the stream has no data")
        events = self._start() if self._head is not None else []
        sink, self._sink = self._sink, None
        image = None
        for earlier in self._alike:
            if earlier.image.size != self._size:
                continue
            if earlier.image.known_sha256 is not None:
                image = image or sink.finish(self._claimed)
                if image.sha256 != earlier.image.known_sha256:
                    continue
            sink.discard()
            return [*events, ImageDiscard(self._index, earlier.index, self._choice)], None
        return self._deliver(events, image or sink.finish(self._claimed), self._kept)

    def add_address(self, choice: int, url: str) -> tuple[list[Event], Image | None]:
        """An image that comes as an address. It is not fetched."""
        self._count()
        self._choice = choice
        start = ImageStart(self._index, None, choice)
        for earlier in self._finished:
            if earlier.choice == choice and earlier.image.url == url:
                return [start, ImageDiscard(self._index, earlier.index, choice)], None
        return self._deliver([start], Image(url=url), b"")

    def close(self) -> None:
        """Nothing more comes: forget an image that is not whole."""
        if self._sink is not None:
            self._sink.discard()
            self._sink = None

    def _count(self) -> None:
        if self._begun >= self._max_images:
            raise ProtocolViolation(f"more than max_images={self._max_images} images in one stream: raise that limit to allow it")
        self._index = self._begun
        self._begun += 1

    def _start(self) -> list[Event]:
        assert self._sink is not None
        assert self._head is not None
        head, self._head = self._head, None
        self._sink.write(head)
        media_type = media_type_of(head) or self._claimed
        return [ImageStart(self._index, media_type, self._choice), ImageDelta(self._index, head, self._choice)]

    def _compare(self, data: bytes) -> None:
        """Leave out the earlier images that do not have these bytes at this place."""
        offset = self._size
        if offset < _KEPT_BYTES:
            head = data[: _KEPT_BYTES - offset]
            self._alike = [earlier for earlier in self._alike if earlier.head.startswith(head, offset)]
        if offset + len(data) > _KEPT_BYTES:
            self._alike = [earlier for earlier in self._alike[:_MOST_OPENED] if _has_at(earlier.image, offset, data)]

    def _deliver(self, events: list[Event], image: Image, head: bytes) -> tuple[list[Event], Image]:
        self._finished.append(_Finished(image, head, self._index, self._choice))
        return [*events, ImageEnd(self._index, image, self._choice)], image


def _has_at(image: Image, offset: int, data: bytes) -> bool:
    """Whether the image has these bytes there, as far as its file can be read; True where its digest will tell."""
    if image.known_sha256 is not None:
        return True
    if image.path is None:
        return image.data.startswith(data, offset)
    try:
        with image.path.open("rb") as file:
            file.seek(offset)
            return file.read(len(data)) == data
    except OSError:
        return False
