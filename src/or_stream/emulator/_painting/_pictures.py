"""Pictures as bytes: PNGs drawn from a prompt, in any size and of any length, and one small specimen of each other format."""

import base64
import random
import struct
import zlib
from functools import lru_cache

from or_stream.emulator._painting._painter import paint
from or_stream.emulator._painting._scene import Scene

# Width and height of `image_config.aspect_ratio` at `image_size` 1K, as Gemini image models have them.
ASPECT_RATIOS: dict[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
    "1:4": (512, 2048),
    "4:1": (2048, 512),
    "1:8": (384, 3072),
    "8:1": (3072, 384),
}
IMAGE_SIZES: dict[str, float] = {"0.5K": 0.5, "1K": 1, "2K": 2, "4K": 4}

# A private, ancillary chunk that is safe to copy: every decoder skips it.
_PADDING_TYPE = b"orPd"
_CHUNK_OVERHEAD = 12

# 24x16 pixels each.
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAA0JCgsKCA0LCgsODg0PEyAVExISEyccHhcgLikxMC4pLSwzOko+MzZGNywtQFdBRkxOUlNSMj5aYVpQYEpRUk//"
    "2wBDAQ4ODhMREyYVFSZPNS01T09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT09PT0//wAARCAAQABgDASIAAhEBAxEB/8QA"
    "FwAAAwEAAAAAAAAAAAAAAAAAAAQFA//EACIQAAICAgEDBQAAAAAAAAAAAAECAwQAEQUSIYExMkFxsf/EABYBAQEBAAAAAAAAAAAAAAAAAAQCA//EABoRAAID"
    "AQEAAAAAAAAAAAAAAAECAAQRAyH/2gAMAwEAAhEDEQA/AIEUeVOMpNduRV1YKXPuPwANn8xWKPHIFZGVlJVgdgjsQc062DnhlvUG+iWOV4WOgiSwSM0bHpIf"
    "134+sMxlsWLbK1iQuVGh2AA8DDBrYYDGOmE61VLaoyf/2Q=="
)
WEBP = base64.b64decode(
    "UklGRo4AAABXRUJQVlA4IIIAAABQBACdASoYABAAPrVIn0mnJCKhMAgA4BaJbACdMoAljEo8VTqUbWXVMSwgAP75ULywEqx7Svu7savNrSjUhOpEyukEIK/8"
    "EakWN7b1P7luAUR4wD0bXb1C/638iSXWrQxreM64Dw+xxEnXJ+/oCuRGk9aTVnS8+g4ZjvdAzoCf1YAA"
)
GIF = base64.b64decode(
    "R0lGODdhGAAQAIIAANnBgFORdol1W0FygIBaYIBEYEBagEBEgCwAAAAAGAAQAEAIegAPCBRooKDBAQgTKkxYoGFDAhAjRhQAoGLFABgDDCRosKBCixczOnwo"
    "kYCAkyhTotx4oKPHhQozsnRpICFIiyJHlpyoUuXIAhJ7Cj050yVMmBo30lxocUDGpAOXIrwZMsDPnTap5nS4kyfOp1d3Dk0ZludYlGXP9gwIADs="
)


def dimensions(aspect_ratio: str = "1:1", image_size: str = "1K") -> tuple[int, int]:
    """Width and height in pixels. Raises KeyError for a value the service does not know."""
    width, height = ASPECT_RATIOS[aspect_ratio]
    scale = IMAGE_SIZES[image_size]
    return int(width * scale), int(height * scale)


def picture(prompt: str, width: int = 1024, height: int = 1024, byte_size: int | None = None, *, index: int = 0) -> bytes:
    """A PNG whose content follows from the prompt and the index. The same arguments give the same bytes.

    With `byte_size` the file has exactly that length, filled up with bytes that do not compress; ValueError where the picture
    itself is longer. Drawing 1024x1024 takes about 0.1 s; the last 64 drawings are kept.
    """
    head, tail = _drawn(prompt, width, height, index)
    return head + _padding(byte_size, len(head) + len(tail)) + tail


@lru_cache(maxsize=64)
def _drawn(prompt: str, width: int, height: int, index: int) -> tuple[bytes, bytes]:
    """The file, in the two parts between which chunks may be put in."""
    rows = paint(Scene.of(prompt, index), width, height)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 6)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    title = _chunk(b"iTXt", b"Description\0\0\0\0\0" + prompt.encode())
    return b"\x89PNG\r\n\x1a\n" + header + title, _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def data_url(data: bytes, media_type: str = "image/png") -> str:
    """The bytes as a data URL."""
    return f"data:{media_type};base64,{base64_of(data)}"


def base64_of(data: bytes) -> str:
    """The bytes as text."""
    return base64.b64encode(data).decode()


@lru_cache(maxsize=64)
def picture_url(prompt: str, width: int, height: int, index: int = 0) -> str:
    """`picture` as a data URL. Both are cached, so that a thousand requests for one picture draw it once."""
    return data_url(picture(prompt, width, height, index=index))


def with_other_metadata(png: bytes) -> bytes:
    """The same pixels in other bytes: a PNG with one more text chunk before its end."""
    return png[:-_CHUNK_OVERHEAD] + _chunk(b"tEXt", b"Software\0or-stream emulator") + png[-_CHUNK_OVERHEAD:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _padding(byte_size: int | None, without: int) -> bytes:
    if byte_size is None or byte_size == without:
        return b""
    length = byte_size - without - _CHUNK_OVERHEAD
    if length < 0:
        raise ValueError(
            f"this picture needs {without} bytes, or {without + _CHUNK_OVERHEAD} and more; {byte_size} were asked for"
        )
    return _chunk(_PADDING_TYPE, random.Random(byte_size).randbytes(length))
