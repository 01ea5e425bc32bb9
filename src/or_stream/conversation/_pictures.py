"""Pictures as a conversation keeps them: a file, an address, or in memory where there is no folder; and back for sending."""

import hashlib
import os
import re
from pathlib import Path

from or_stream._image_format import media_type_of
from or_stream.client import ImageInput, Picture
from or_stream.client.request import loaded_picture
from or_stream.errors import ConfigurationError
from or_stream.values import Image

__all__ = ["inflated", "kept", "taken_in", "written"]


def taken_in(given: ImageInput, folder: Path | None) -> tuple[Picture, Image]:
    """A picture to send: as it goes out now, and as it is kept.

    Raises ConfigurationError for what cannot be sent, and where the folder does not take it.
    """
    picture = given if isinstance(given, Picture) else Picture(given)
    loaded = loaded_picture(picture)
    path = _path_of(picture)
    is_kept_there = path is not None and (folder is None or path.parent.resolve() == folder.resolve())
    image = _as_file(loaded, path) if path is not None and is_kept_there else kept(loaded, folder)
    return Picture(loaded, detail=picture.detail), image


def kept(image: Image, folder: Path | None) -> Image:
    """As history keeps it. Raises ConfigurationError for an empty one, a file that is gone, and a folder that takes nothing."""
    if image.path is not None:
        try:
            return _as_file(image, image.path)
        except OSError as error:
            raise ConfigurationError(f"cannot read {image!r}: {error}") from error
    if not image.data and not image.url:
        raise ConfigurationError("a picture has no data: make it with Image.from_bytes(...) or Image.from_file(...)")
    return written(image, folder) if image.data and folder is not None else image


def written(image: Image, folder: Path) -> Image:
    """A picture in memory as a file of the folder, whole or not at all. Its name is its SHA-256, so that it is there once."""
    digest = image.sha256 or ""
    path = folder / f"{digest}{image.suffix}"
    try:
        if not path.is_file() or path.stat().st_size != image.size:
            image.save(folder / digest)
    except OSError as error:
        raise ConfigurationError(f"a picture cannot be written to {str(folder)!r}: {error}") from error
    return _as_file(image, path)


def inflated(image: Image, turn: int) -> Image:
    """With its bytes, where it is in a file. Raises ConfigurationError for a file that is gone or is not what it was."""
    if image.path is None:
        return image
    name, advice = f"the picture {str(image.path)!r} of turn {turn}", "put it back, or drop it with forget_pictures()"
    try:
        if image.path.exists() and not image.path.is_file():  # a pipe would be waited for
            raise ConfigurationError(f"{name} is no file; {advice}")
        data = image.path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror or error}; {advice}") from error
    if hashlib.sha256(data).hexdigest() != image.known_sha256:
        raise ConfigurationError(f"{name} has changed since it was kept; {advice}")
    if media_type_of(data) is None:
        raise ConfigurationError(f"{name} is not a picture of a known kind: drop it with forget_pictures()")
    return Image.from_bytes(data)


def _as_file(image: Image, path: Path) -> Image:
    return image.model_copy(update={"data": b"", "path": path, "known_sha256": image.sha256})


def _path_of(picture: Picture) -> Path | None:
    """The file that has the very bytes that are sent."""
    source = picture.source
    if picture.max_pixels is not None:
        return None
    if isinstance(source, Image):
        return source.path
    if isinstance(source, str) and re.match("https?://|data:", source, re.IGNORECASE):
        return None
    return Path(source) if isinstance(source, str | os.PathLike) else None
