"""Pictures that are sent in: whatever a caller has, as an address or a data URL."""

import os
import re
from pathlib import Path

from or_stream.client.request._options import ImageInput
from or_stream.errors import ConfigurationError
from or_stream.values import Image

__all__ = ["image_url"]


def image_url(image: ImageInput) -> str:
    """An address or a data URL for a picture to send."""
    if isinstance(image, Image):
        try:
            return image.data_url()
        except OSError as error:
            raise ConfigurationError(f"cannot read {image!r}: {error}") from error
    if isinstance(image, str) and re.match(r"(https?://|data:)", image, re.IGNORECASE):
        return image
    if isinstance(image, bytes | bytearray):
        loaded, name = Image.from_bytes(bytes(image)), f"{len(image)} bytes"
    elif isinstance(image, str | os.PathLike):
        name = os.fspath(image)
        try:
            loaded = Image.from_bytes(Path(image).read_bytes())
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read the image {name!r}: {error}") from error
    else:
        raise ConfigurationError(f"an image must be a path, bytes, an address or an Image, not {type(image).__name__}")
    if loaded.media_type is None:
        raise ConfigurationError(f"{name!r} is not a picture of a known kind: send PNG, JPEG, WebP or GIF")
    return loaded.data_url()
