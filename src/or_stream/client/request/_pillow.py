"""Pictures of Pillow, an optional extra: made into bytes that the service takes, upright, and smaller where that is asked for."""

import io
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from or_stream.errors import ConfigurationError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

__all__ = ["is_pillow", "pillow_bytes", "shrunk"]

_INSTALL: Final = "pip install 'or-stream[pillow]'"
# What each kind can hold without a change. Anything else goes out as PNG, the kind that loses nothing.
_MODES: Final = {
    "PNG": {"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"},
    "JPEG": {"L", "RGB"},
    "WEBP": {"RGB", "RGBA"},
    "GIF": {"1", "L", "P"},
}
_CONVERSIONS: Final = {
    "CMYK": "RGB",
    "HSV": "RGB",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "PA": "RGBA",
    "RGBa": "RGBA",
    "La": "LA",
}
_QUALITY: Final = 95  # above it JPEG grows and nobody sees more (Pillow's own advice)
_ORIENTATION: Final = 0x0112  # TIFF 6.0; 1 is upright


def is_pillow(image: object) -> "TypeGuard[PillowImage]":
    """Whether it is a picture of Pillow. Who has one has imported Pillow, so that it need not be imported to find out."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def pillow_bytes(image: "PillowImage", max_pixels: int | None, name: str) -> bytes:
    """The frame at which the picture stands, in the format it was opened in, or as PNG. `image` stays as it is.

    Raises ConfigurationError for what Pillow cannot read or write, and for brightness without a fixed range (modes I and F).
    """
    with _failures(name):
        return _encoded(image, _smaller_size(image.size, max_pixels))


def shrunk(data: bytes, max_pixels: int, name: str) -> bytes:
    """The first frame of an encoded picture in at most so many pixels; `data` itself where it has no more.

    Raises ConfigurationError without Pillow, and for what Pillow does not open.
    """
    try:
        import PIL.Image
    except ImportError as error:
        raise ConfigurationError(f"max_pixels needs Pillow: {_INSTALL}") from error
    with _failures(name), PIL.Image.open(io.BytesIO(data)) as image:
        size = _smaller_size(image.size, max_pixels)
        if size is None:
            return data
        image.draft(None, size)  # a JPEG is then decoded smaller: one of 48 megapixels in 0.26 s instead of 0.64
        return _encoded(image, size)


@contextmanager
def _failures(name: str) -> Iterator[None]:
    from PIL.Image import DecompressionBombError, DecompressionBombWarning

    try:
        yield
    except ConfigurationError:
        raise
    except (DecompressionBombError, DecompressionBombWarning) as error:
        raise ConfigurationError(
            f"{name} has more pixels than Pillow opens: raise PIL.Image.MAX_IMAGE_PIXELS if you trust it ({error})"
        ) from error
    except Exception as error:  # Pillow raises whatever its plugins raise
        raise ConfigurationError(f"{name} cannot be read or written by Pillow: {error}") from error


def _smaller_size(size: tuple[int, int], max_pixels: int | None) -> tuple[int, int] | None:
    """Width and height in the same proportion, as far as whole pixels allow it; None where the picture is small enough."""
    width, height = size
    if max_pixels is None or width * height <= max_pixels:
        return None
    scale = math.sqrt(max_pixels / (width * height))
    width = min(max(1, int(width * scale)), max_pixels)
    return width, min(max(1, int(height * scale)), max_pixels // width)


def _encoded(image: "PillowImage", size: tuple[int, int] | None) -> bytes:
    from PIL import ImageOps

    if not image.width or not image.height:
        raise ConfigurationError(f"the picture of {image.width} x {image.height} pixels is empty: send one that shows something")
    kind = "JPEG" if image.format == "MPO" else image.format or "PNG"  # MPO: a JPEG of a phone, with more behind it
    ready = _in_a_known_mode(image)
    if size is not None:
        ready = _resized(ready, size)
    if ready.getexif().get(_ORIENTATION, 1) != 1:
        ready = ImageOps.exif_transpose(ready)
    if ready.mode not in _MODES.get(kind, ()):
        kind = "PNG"
    options: dict[str, Any] = {}
    if kind in ("JPEG", "WEBP"):
        options["quality"] = "keep" if ready.format == "JPEG" else _QUALITY
    if "icc_profile" in ready.info:
        options["icc_profile"] = ready.info["icc_profile"]
    target = io.BytesIO()
    ready.save(target, kind, **options)
    return target.getvalue()


def _in_a_known_mode(image: "PillowImage") -> "PillowImage":
    if image.mode in _MODES["PNG"]:
        return image
    if image.mode not in _CONVERSIONS:
        raise _unknown_mode(image)
    converted = image.convert(_CONVERSIONS[image.mode])
    converted.info.pop("icc_profile", None)  # it describes the colours as they were
    return converted


def _resized(image: "PillowImage", size: tuple[int, int]) -> "PillowImage":
    from PIL.Image import Resampling

    if image.mode.startswith("I;16"):  # Pillow resizes 16 bits only by leaving out pixels
        raise _unknown_mode(image)
    if "transparency" in image.info:
        image = image.convert("RGBA")
    elif image.mode in ("P", "1"):
        image = image.convert("RGB" if image.mode == "P" else "L")
    return image.resize(size, Resampling.LANCZOS, reducing_gap=2.0)


def _unknown_mode(image: "PillowImage") -> ConfigurationError:
    return ConfigurationError(f"Pillow's mode {image.mode!r} cannot be sent like this: convert it, such as with .convert('RGB')")
