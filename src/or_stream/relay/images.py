"""Pictures by address: a store that relays put them into and browsers fetch them from, so that none goes through SSE as text."""

import os
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from or_stream._image_format import SUFFIXES
from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.events import Event, ImageDelta, ImageDiscard, ImageEnd, ImagePreview, ImageStart, Restart, StreamEnd
from or_stream.relay._image_answer import ImageAnswer, answer_for
from or_stream.relay._stored_image import StoredImage
from or_stream.values import Image, Message

__all__ = ["DEFAULT_EXPIRE_SECONDS", "DEFAULT_MAX_BYTES", "Deposit", "ImageStore"]

DEFAULT_MAX_BYTES: Final = 256 * 2**20
"""Bytes of all pictures in a store: about 180 of the largest that were recorded (1.4 MB)."""
DEFAULT_EXPIRE_SECONDS: Final = 3600.0

_TOKEN_BYTES: Final = 24  # 192 bits: an address is a secret that nobody guesses
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{32}(\.[a-z]{2,4})", re.ASCII)
_MEDIA_TYPES: Final = {suffix: media_type for media_type, suffix in SUFFIXES.items()}
_OCTETS: Final = "application/octet-stream"
_SWEEP_SECONDS: Final = 60.0
_FILLED_TO: Final = 0.9
_PART_SUFFIX: Final = ".part"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ImageStore:
    """Pictures under addresses that nobody can guess, each until it has been whole for so long, or newer ones need its room.

    `base_url` is where the application serves the store: `asgi_app`, or `or_stream.relay.aiohttp_web.image_handler`. With
    `folder` the pictures are files there, which several processes can serve and which outlive them; one that is still being made
    is served by the process that makes it. Whoever knows an address can fetch the picture: put the store behind the
    application's own login where that is not enough.

    A picture that is larger than `max_bytes` alone, or that the disk does not take, fails its stream with an OrStreamError. A
    store is used in one thread, like the event loop whose streams fill it.
    """

    def __init__(
        self,
        base_url: str = "/images",
        *,
        folder: str | os.PathLike[str] | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        expire_seconds: float = DEFAULT_EXPIRE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if max_bytes < 1 or expire_seconds <= 0:
            raise ConfigurationError("max_bytes and expire_seconds must be above 0")
        self._base_url = base_url.rstrip("/")
        self._folder = None if folder is None else Path(folder)
        self._max_bytes = max_bytes
        self._expire_seconds = expire_seconds
        self._clock = clock
        self._images: dict[str, StoredImage] = {}  # in a folder: only those under way; the oldest is first
        self._held_bytes = 0  # in memory: of all of them; in a folder: of the files, as of the last sweep and since
        self._swept_seconds = float("-inf")
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)

    def address_of(self, image: StoredImage) -> str:
        """Where a browser fetches it."""
        return f"{self._base_url}/{image.name}"

    def add(self, image: Image) -> str:
        """Keep a finished picture and return its address. Raises OrStreamError where it cannot be kept."""
        stored = self.begin(image.media_type)
        try:
            self.write(stored, image.read_bytes())
            self.finish(stored, image.data or None)
        except BaseException:
            self.discard(stored)
            raise
        return self.address_of(stored)

    def begin(self, media_type: str | None) -> StoredImage:
        """A picture to `write`, then to `finish` or `discard`. It can be fetched at once."""
        self._sweep()
        suffix = SUFFIXES.get(media_type or "", ".bin")
        name = secrets.token_urlsafe(_TOKEN_BYTES) + suffix
        path = None if self._folder is None else self._folder / (name + _PART_SUFFIX)
        if path is not None:
            with _told_as_ours():
                path.touch(exist_ok=False)
        image = self._images[name] = StoredImage(name, _MEDIA_TYPES.get(suffix, _OCTETS), path)
        return image

    def write(self, image: StoredImage, data: bytes) -> None:
        """Append bytes. Raises OrStreamError where they do not fit."""
        self._make_room(len(data), image)
        with _told_as_ours():
            image.write(data)
        self._held_bytes += len(data)

    def finish(self, image: StoredImage, data: bytes | None = None) -> None:
        """All bytes are there. `data` are the same where somebody holds them already, so that they are held once."""
        image.expires_seconds = self._clock() + self._expire_seconds
        if image.path is None:
            image.finish(data)
            return
        with _told_as_ours():
            final = image.path.replace(image.path.with_name(image.name))
        image.finish(path=final)
        del self._images[image.name]

    def discard(self, image: StoredImage) -> None:
        """Forget a picture; whoever is reading one that is not complete learns that it never will be."""
        image.cut()
        if self._images.pop(image.name, None) is not None or image.path is not None:
            self._held_bytes -= image.size
        if image.path is not None:
            with suppress(OSError):  # gone already; or on Windows somebody reads it, and the next sweep gets it
                image.path.unlink()

    def get(self, name: str) -> StoredImage | None:
        """The picture of that name, or None where there is none any more."""
        image = self._images.get(name)
        if image is None and self._folder is not None:
            image = self._on_disk(self._folder, name)
        return None if image is None or image.expires_seconds <= self._clock() else image

    def answer(self, method: str, headers: dict[str, str], name: str) -> tuple[ImageAnswer, StoredImage | None]:
        """What to answer to a request for a picture, for a framework of your own. Names of headers are in lower case."""
        image = self.get(name)
        max_age_seconds = 0.0 if image is None else image.expires_seconds - self._clock()
        return answer_for(method, headers, image, max_age_seconds), image

    async def asgi_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the store: `app.mount("/images", store.asgi_app)`."""
        if scope["type"] != "http":
            raise ConfigurationError(f"an ImageStore serves http, not {scope['type']}")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        name = scope["path"].rstrip("/").rpartition("/")[2]  # Litestar puts a slash behind what it mounts
        answer, image = self.answer(scope["method"], headers, name)
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": raw})
        if image is not None:
            try:
                async with aclosing(image.pieces(answer.start, answer.stop)) as pieces:
                    async for piece in pieces:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
            except (EOFError, OSError):
                return  # a body without an end is how ASGI says that it is cut; an OSError may also be a browser that left
        await send({"type": "http.response.body", "body": b""})

    def _on_disk(self, folder: Path, name: str) -> StoredImage | None:
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        path = folder / name
        try:
            status = path.stat()
        except OSError:
            return None
        image = StoredImage(name, _MEDIA_TYPES.get(match[1], _OCTETS), path, status.st_size, is_complete=True)
        image.expires_seconds = status.st_mtime + self._expire_seconds
        return image

    def _make_room(self, count: int, writing: StoredImage) -> None:
        """Drop the oldest finished pictures until there is room for so many bytes, and some to spare: looking costs."""
        if writing.size + count > self._max_bytes:
            raise OrStreamError(f"an image is larger than the max_bytes of its ImageStore, {self._max_bytes}")
        if self._held_bytes + count <= self._max_bytes:
            return
        self._sweep(at_once=True)
        wanted_bytes = self._max_bytes * _FILLED_TO - count
        for image in self._oldest_first():
            if self._held_bytes <= wanted_bytes:
                break
            self.discard(image)
        if self._held_bytes + count > self._max_bytes:
            raise OrStreamError("the images under way fill their ImageStore: raise its max_bytes")

    def _oldest_first(self) -> list[StoredImage]:
        if self._folder is None:
            return [image for image in self._images.values() if image.is_complete]
        found = [image for path in self._folder.iterdir() if (image := self._on_disk(self._folder, path.name)) is not None]
        return sorted(found, key=lambda image: image.expires_seconds)

    def _sweep(self, at_once: bool = False) -> None:
        """Drop what has expired."""
        now = self._clock()
        if now < self._swept_seconds + _SWEEP_SECONDS and not at_once:
            return
        self._swept_seconds = now
        for image in [image for image in self._images.values() if image.expires_seconds <= now]:
            self.discard(image)
        if self._folder is None:
            return
        self._held_bytes = 0
        for path in list(self._folder.iterdir()):
            name = path.name.removesuffix(_PART_SUFFIX)
            if _NAME.fullmatch(name) is None:
                continue
            try:
                status = path.stat()
                if status.st_mtime + self._expire_seconds <= now and name not in self._images:
                    path.unlink()
                else:
                    self._held_bytes += status.st_size
            except FileNotFoundError:
                continue  # another process was quicker


class Deposit:
    """The pictures of one stream on their way into a store: `take` each event, `close` in any case."""

    def __init__(self, store: ImageStore) -> None:
        self._store = store
        self._under_way: dict[int, StoredImage] = {}
        self._by_address: list[tuple[Image, Image]] = []  # each with what stands for it

    def take(self, event: Event) -> tuple[Event | None, str | None]:
        """What to relay instead of the event, None for nothing, and the address of a picture that begins."""
        store = self._store
        match event:
            case ImageStart(index=index, media_type=str(media_type)):
                image = self._under_way[index] = store.begin(media_type)
                return event, store.address_of(image)
            case ImageDelta(index=index, data=data) if index in self._under_way:
                store.write(self._under_way[index], data)
                return None, None
            case ImageEnd(index=index, image=finished, choice=choice):
                return ImageEnd(index, self._kept(index, finished), choice), None
            case ImageDiscard(index=index) if index in self._under_way:
                # A repeat is whole, and whoever is fetching it already may have it to its end.
                image = self._under_way.pop(index)
                store.finish(image)
            case ImagePreview(index=index, image=preview, choice=choice):
                return ImagePreview(index, _standing_for(preview, store.add(preview)), choice), None
            case Restart():
                self.close()  # the indices begin again
            case StreamEnd(message=message):
                return StreamEnd(self._by_addresses(message)), None
        return event, None

    def close(self) -> None:
        """Drop what never became whole."""
        for image in self._under_way.values():
            self._store.discard(image)
        self._under_way.clear()

    def _kept(self, index: int, finished: Image) -> Image:
        stored = self._under_way.get(index)
        if stored is not None:
            if stored.size == 0:  # the application has left the deltas out
                self._store.write(stored, finished.read_bytes())
            self._store.finish(stored, finished.data or None)
            del self._under_way[index]
            address = self._store.address_of(stored)
        elif finished.data or finished.path is not None:
            address = self._store.add(finished)
        else:
            return finished  # it is an address already
        stand_in = _standing_for(finished, address)
        self._by_address.append((finished, stand_in))
        return stand_in

    def _by_addresses(self, message: Message) -> Message:
        images = [self._stand_in(image) for image in message.images]
        alternatives = [self._by_addresses(alternative) for alternative in message.alternatives]
        return message.model_copy(update={"images": images, "alternatives": alternatives})

    def _stand_in(self, image: Image) -> Image:
        return next((stand_in for original, stand_in in self._by_address if original is image), image)


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """What the disk refuses fails a stream as errors of ours do."""
    try:
        yield
    except OSError as error:
        raise OrStreamError(f"cannot keep an image: {error.strerror or error}") from error


def _standing_for(image: Image, address: str) -> Image:
    return image.model_copy(update={"data": b"", "path": None, "url": address})
