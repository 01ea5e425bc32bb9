"""Pictures drawn from a prompt, in pure Python: the same words give the same bytes."""

from or_stream.emulator._painting._pictures import (
    ASPECT_RATIOS,
    GIF,
    IMAGE_SIZES,
    JPEG,
    WEBP,
    base64_of,
    data_url,
    dimensions,
    picture,
    picture_url,
    with_other_metadata,
)
from or_stream.emulator._painting._scene import Scene
from or_stream.emulator._painting._svg import svg

__all__ = [
    "ASPECT_RATIOS",
    "GIF",
    "IMAGE_SIZES",
    "JPEG",
    "WEBP",
    "Scene",
    "base64_of",
    "data_url",
    "dimensions",
    "picture",
    "picture_url",
    "svg",
    "with_other_metadata",
]
