"""Pictures that are sent in: whatever a caller has, as an address or a data URL."""

import binascii
import os
import re
from pathlib import Path
from typing import Any, Final

import pybase64

from or_stream._image_format import jpeg_scan
from or_stream.client.request._options import ImageInput, ImageSource, Picture
from or_stream.client.request._pillow import is_pillow, pillow_bytes, shrunk
from or_stream.errors import ConfigurationError
from or_stream.values import Image

__all__ = ["image_part", "loaded_picture"]

# https://openrouter.ai/docs/guides/overview/multimodal/images: the kinds that chat completions take.
_ACCEPTED: Final = frozenset(("image/png", "image/jpeg", "image/webp", "image/gif"))


def image_part(image: ImageInput) -> dict[str, Any]:
    """The part of a chat message that shows a picture. Raises what `loaded_picture` raises."""
    image_url = {"url": loaded_picture(image).data_url()}
    if isinstance(image, Picture) and image.detail is not None:
        image_url["detail"] = image.detail
    return {"type": "image_url", "image_url": image_url}


def loaded_picture(image: ImageInput) -> Image:
    """A picture to send, in memory, or an Image that is only its address.

    Raises ConfigurationError, which names the picture, for a file that cannot be read and for what is empty, cut short or of a
    kind that the service does not take. What an address leads to is not looked at. Bytes are sent as they are, EXIF included,
    unless a `Picture` asks for fewer pixels; a picture of Pillow is encoded, and turned as its EXIF says.
    """
    max_pixels = None
    if isinstance(image, Picture):
        max_pixels = image.max_pixels
        image = image.source
    if (data_url := _data_url_of(image)) is not None:
        image = _decoded(data_url)
    address = _address_of(image)
    if address is not None:
        if max_pixels is not None:
            raise ConfigurationError(
                "max_pixels needs the picture, not its address: pass its bytes, or what `await fetch_image(...)` gets"
            )
        return address
    if is_pillow(image):
        name = f"the PIL image of {image.size[0]} x {image.size[1]} pixels"
        data = pillow_bytes(image, max_pixels, name)
        max_pixels = None
    else:
        name = _name_of(image)
        data = _bytes_of(image, name)
    loaded = Image.from_bytes(data)
    _check(loaded, name)
    return loaded if max_pixels is None else Image.from_bytes(shrunk(data, max_pixels, name))


def _address_of(image: ImageSource) -> Image | None:
    if isinstance(image, str) and re.match("https?://", image, re.IGNORECASE):
        return Image(url=image)
    if isinstance(image, Image) and image.url is not None and not image.data and image.path is None:
        return image
    return None


def _data_url_of(image: ImageSource) -> str | None:
    url = image.url if isinstance(image, Image) and not image.data and image.path is None else image
    return url if isinstance(url, str) and url[:5].lower() == "data:" else None


def _decoded(data_url: str) -> bytes:
    head, _, data = data_url.partition(",")
    if not head.lower().endswith(";base64"):
        raise ConfigurationError("a data URL must hold base64: data:image/png;base64,...")
    try:
        return pybase64.b64decode("".join(data.split()), validate=True)  # lines of 76 characters are common
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError(f"a data URL holds no base64: {error}") from error


def _name_of(image: ImageSource) -> str:
    if isinstance(image, Image):
        return repr(image)
    if isinstance(image, bytes | bytearray):
        return f"the image of {len(image)} bytes"
    if isinstance(image, str | os.PathLike):
        return f"the image {os.fspath(image)!r}"
    raise ConfigurationError(f"an image must be a path, bytes, an address, an Image or a PIL image, not {type(image).__name__}")


def _bytes_of(image: ImageSource, name: str) -> bytes:
    if isinstance(image, bytes | bytearray):
        return bytes(image)
    try:
        return image.read_bytes() if isinstance(image, Image) else Path(image).read_bytes()  # type: ignore[arg-type]  # see _name_of
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
            return image.data.find(b"\xff\xd9", jpeg_scan(image.data)) < 0
        case "image/gif":
            return b"\x00;" not in image.data  # can be there by chance; a whole one has it always
        case "image/webp":
            return len(image.data) < int.from_bytes(image.data[4:8], "little") + 8
    return False
