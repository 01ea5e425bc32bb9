"""Pictures that are sent in: whatever a caller has, as an address or a data URL."""

import os
import re
from pathlib import Path
from typing import Final

from or_stream.client.request._options import ImageInput
from or_stream.errors import ConfigurationError
from or_stream.values import Image

__all__ = ["image_url"]

# https://openrouter.ai/docs/guides/overview/multimodal/images: the kinds that chat completions take.
_ACCEPTED: Final = frozenset(("image/png", "image/jpeg", "image/webp", "image/gif"))


def image_url(image: ImageInput) -> str:
    """An address or a data URL for a picture to send.

    Raises ConfigurationError, which names the picture, for a file that cannot be read and for what is empty, cut short or of a
    kind that the service does not take. What an address leads to is not looked at. The bytes are sent as they are, EXIF included.
    """
    if isinstance(image, str) and re.match(r"(https?://|data:)", image, re.IGNORECASE):
        return image
    if isinstance(image, Image):
        if image.url is not None and not image.data and image.path is None:
            return image.url
        name = repr(image)
    elif isinstance(image, bytes | bytearray):
        name = f"the image of {len(image)} bytes"
    elif isinstance(image, str | os.PathLike):
        name = f"the image {os.fspath(image)!r}"
    else:
        raise ConfigurationError(f"an image must be a path, bytes, an address or an Image, not {type(image).__name__}")
    loaded = Image.from_bytes(_bytes_of(image, name))
    _check(loaded, name)
    return loaded.data_url()


def _bytes_of(image: ImageInput, name: str) -> bytes:
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    try:
        return image.read_bytes() if isinstance(image, Image) else Path(image).read_bytes()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read {name}: {error}") from error


def _check(image: Image, name: str) -> None:
    if not image.data:
        raise ConfigurationError(f"{name} is empty: send a whole PNG, JPEG, WebP or GIF")
    if image.media_type is None:
        raise ConfigurationError(f"{name} is not a picture of a known kind: send PNG, JPEG, WebP or GIF")
    if image.media_type not in _ACCEPTED:
        raise ConfigurationError(f"{name} is {image.media_type}, which the service does not take: convert it to PNG or JPEG")
    if _is_cut_short(image):
        raise ConfigurationError(f"{name} is cut short: its end is missing; send the whole file")


def _is_cut_short(image: Image) -> bool:
    """Whether the end that the format asks for is missing. Bytes behind that end are common and allowed."""
    match image.media_type:
        case "image/png":
            return b"IEND\xaeB`\x82" not in image.data
        case "image/jpeg":
            return b"\xff\xd9" not in image.data
        case "image/webp":
            return len(image.data) < int.from_bytes(image.data[4:8], "little") + 8
    return False
