"""What the first bytes of a picture say about it: its media type and its size in pixels. Nothing is decoded."""

from collections.abc import Iterator
from typing import Final

__all__ = ["HEAD_BYTES", "SUFFIXES", "jpeg_scan", "media_type_of", "pixel_size"]

HEAD_BYTES: Final = 64
"""How many bytes `media_type_of` wants to see: enough for every magic number below."""

SUFFIXES: Final = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/svg+xml": ".svg",
    "image/avif": ".avif",
    "image/heic": ".heic",
    "image/bmp": ".bmp",
    "image/tiff": ".tiff",
    "image/jxl": ".jxl",
    "image/x-icon": ".ico",
}

_MAGIC_NUMBERS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"\xff\x0a", "image/jxl"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
)
# ISO/IEC 14496-12: the major brand of an ISO base media file stands at offset 8, behind `ftyp`.
_BRANDS: Final = {
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heic",
}


def media_type_of(head: bytes) -> str | None:
    """The media type that the first bytes prove, or None where they prove none. Looks at no more than HEAD_BYTES."""
    head = head[:HEAD_BYTES]
    for magic, media_type in _MAGIC_NUMBERS:
        if head.startswith(magic):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<svg", b"<?xml", b"<!DOCTYPE svg")):
        return "image/svg+xml"
    return None


def pixel_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a PNG, GIF, JPEG, WebP or BMP from its header, or None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return _big_endian(data[16:20]), _big_endian(data[20:24])
    if data[:4] == b"GIF8" and len(data) >= 10:
        return _little_endian(data[6:8]), _little_endian(data[8:10])
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:2] == b"BM" and len(data) >= 26:
        return _little_endian(data[18:22]), abs(int.from_bytes(data[22:26], "little", signed=True))  # negative: top row first
    return None


def _big_endian(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little_endian(data: bytes) -> int:
    return int.from_bytes(data, "little")


def jpeg_scan(data: bytes) -> int:
    """Where the pixels of a JPEG begin, behind the small picture that its EXIF may hold; 0 where that cannot be told."""
    return next((position for marker, position in _jpeg_segments(data) if marker == 0xDA), 0)


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """From the first frame header (SOF)."""
    for marker, position in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return _big_endian(data[position + 7 : position + 9]), _big_endian(data[position + 5 : position + 7])
    return None


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """ITU-T T.81 B.1.1: the marker of each segment, and where it stands, as far as the segments can be followed."""
    position = 2
    while position + 9 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        yield marker, position
        position += 2 if marker in (0x01, *range(0xD0, 0xD9)) else 2 + _big_endian(data[position + 2 : position + 4])


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """https://developers.google.com/speed/webp/docs/riff_container: three kinds of first chunk, three places."""
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8X":
        return _little_endian(data[24:27]) + 1, _little_endian(data[27:30]) + 1
    if kind == b"VP8L":
        bits = _little_endian(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return _little_endian(data[26:28]) & 0x3FFF, _little_endian(data[28:30]) & 0x3FFF
    return None
