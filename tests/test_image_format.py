"""or_stream._image_format: media types and sizes from first bytes, against files that Pillow wrote."""

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from or_stream._image_format import HEAD_BYTES, SUFFIXES, media_type_of, pixel_size

SIZES = [(1, 1), (3, 2), (255, 257), (4000, 3)]


def picture(kind: str, width: int, height: int, **options: Any) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), 1).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("kind", "media_type", "options"),
    [
        ("PNG", "image/png", {}),
        ("GIF", "image/gif", {}),
        ("JPEG", "image/jpeg", {}),
        ("JPEG", "image/jpeg", {"progressive": True, "exif": b"Exif\0\0" + bytes(60_000), "icc_profile": bytes(150_000)}),
        ("WEBP", "image/webp", {}),
        ("WEBP", "image/webp", {"lossless": True}),
        ("WEBP", "image/webp", {"exif": b"Exif\0\0II*\0" + bytes(8)}),
        ("BMP", "image/bmp", {}),
    ],
)
def test_files_of_pillow(kind: str, media_type: str, options: dict[str, Any], size: tuple[int, int]):
    """Type and size of what Pillow writes are what Pillow was told; 64 bytes tell the type."""
    data = picture(kind, *size, **options)
    assert media_type_of(data) == media_type_of(data[:HEAD_BYTES]) == media_type
    assert pixel_size(data) == size


@pytest.mark.parametrize(("kind", "media_type"), [("TIFF", "image/tiff"), ("ICO", "image/x-icon"), ("AVIF", "image/avif")])
def test_types_without_a_size(kind: str, media_type: str):
    """Of some kinds the type alone is told."""
    if kind not in Pillow.registered_extensions().values():
        pytest.skip(f"this Pillow knows no {kind}")
    data = picture(kind, 16, 16)
    assert media_type_of(data[:HEAD_BYTES]) == media_type
    assert pixel_size(data) is None


@pytest.mark.parametrize(
    ("head", "media_type"),
    [
        (b"MM\x00*\x00\x00", "image/tiff"),
        (b"\xff\x0a\x00", "image/jxl"),
        (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "image/jxl"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1", "image/heic"),
        (b"\x00\x00\x00\x1cftypavis", "image/avif"),
        (b"\x00\x00\x00\x18ftypmp42", None),
        (b"<svg xmlns=", "image/svg+xml"),
        (b"\xef\xbb\xbf \n<?xml version=", "image/svg+xml"),
        (b"<!DOCTYPE svg", "image/svg+xml"),
        (b" " * HEAD_BYTES + b"<svg", None),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_first_bytes(head: bytes, media_type: str | None):
    """Magic numbers, brands and the beginnings of SVG; what proves nothing is None."""
    assert media_type_of(head) == media_type


def test_every_type_has_a_suffix():
    """A suffix begins with a dot and is used once."""
    assert len(set(SUFFIXES.values())) == len(SUFFIXES)
    assert all(suffix.startswith(".") for suffix in SUFFIXES.values())


def test_bitmap_from_top_to_bottom():
    """A bitmap whose height is negative is as high as without the sign."""
    data = bytearray(picture("BMP", 3, 2))
    data[22:26] = struct.pack("<i", -2)
    assert pixel_size(bytes(data)) == (3, 2)


def test_odd_markers_of_a_jpeg():
    """Fill bytes, markers without a length and restart markers may stand in front of the frame."""
    frame = b"\xff\xc2\x00\x11\x08\x00\x02\x00\x03" + bytes(10)
    assert pixel_size(b"\xff\xd8\xff\xff\xff\x01\xff\xd0\xff\xfe\x00\x04ab\xff\xc4\x00\x02" + frame) == (3, 2)
    assert pixel_size(b"\xff\xd8\xff\xfe\x00\x04abX" + frame) is None


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP", "BMP"])
def test_files_cut_short(kind: str):
    """A header that is cut short has the right size or none."""
    data = picture(kind, 30, 20)
    assert {pixel_size(data[:length]) for length in range(len(data))} == {None, (30, 20)}


def test_unknown_webp():
    """A WebP whose first chunk is unknown has no size."""
    assert pixel_size(b"RIFF\x00\x00\x00\x00WEBPNEW " + bytes(20)) is None


MAGIC = [
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"\xff\xd8\xff",
    b"RIFF1234WEBPVP8X",
    b"RIFF1234WEBPVP8L",
    b"RIFF1234WEBPVP8 ",
    b"BM",
]


@given(st.sampled_from(MAGIC), st.binary(max_size=60))
def test_any_bytes(magic: bytes, rest: bytes):
    """Any bytes behind a magic number raise nothing."""
    media_type_of(magic + rest)
    size = pixel_size(magic + rest)
    assert size is None or min(size) >= 0
