"""The pixels of a picture, with Pillow and without."""

import io
import random
import struct
import sys
import zlib

import pytest
from PIL import Image

from or_stream.cli.terminal._png import as_png, decode, decode_png

WIDTH, HEIGHT = 7, 5


def same_size(width: int, height: int) -> tuple[int, int]:
    return width, height


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def noise(mode: str) -> Image.Image:
    channels = len(mode)
    return Image.frombytes(mode, (WIDTH, HEIGHT), random.Random(1).randbytes(WIDTH * HEIGHT * channels))


def predicted(kind: int, left: int, up: int, corner: int) -> int:
    """PNG (third edition) 9.2, written the way the standard writes it."""
    if kind == 4:
        estimate = left + up - corner
        distances = (abs(estimate - left), abs(estimate - up), abs(estimate - corner))
        return (left, up, corner)[distances.index(min(distances))]
    return (0, left, up, (left + up) // 2)[kind]


def filtered_png(rows: list[bytes], channels: int, kind: int, header: bytes | None = None) -> bytes:
    raw, above = b"", bytes(len(rows[0]))
    for row in rows:
        raw += bytes([kind])
        for at, value in enumerate(row):
            left, corner = (row[at - channels], above[at - channels]) if at >= channels else (0, 0)
            raw += bytes([(value - predicted(kind, left, above[at], corner)) & 255])
        above = row
    colour_type = {1: 0, 3: 2}[channels]
    header = header or struct.pack(">IIBBBBB", len(rows[0]) // channels, len(rows), 8, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", range(5))
@pytest.mark.parametrize("channels", [1, 3])
def test_filter(kind: int, channels: int):
    """Each filter of PNG is undone."""
    image = noise("L" if channels == 1 else "RGB")
    raw = image.tobytes()
    rows = [raw[at : at + WIDTH * channels] for at in range(0, len(raw), WIDTH * channels)]
    expected = [(red, green, blue) for red, green, blue in zip(*[iter(image.convert("RGB").tobytes())] * 3, strict=True)]
    pixels = decode_png(filtered_png(rows, channels, kind), same_size)
    assert expected == [colour for row in pixels.rows for colour in row]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_with_and_without_pillow(mode: str, monkeypatch):
    """Pillow and the reader that stands in for it see the same pixels, transparency over black."""
    data = saved(noise(mode))
    with_pillow = decode(data, same_size)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert with_pillow is not None
    assert with_pillow == decode(data, same_size)


def test_shrinking():
    """A picture of four quarters keeps them when it is made small."""
    image = Image.new("RGB", (90, 90), (255, 0, 0))
    image.paste((0, 0, 255), (45, 0, 90, 45))
    pixels = decode_png(saved(image), lambda width, height: (2, 2))
    assert [[(255, 0, 0), (0, 0, 255)], [(255, 0, 0), (255, 0, 0)]] == pixels.rows


HEADER = struct.Struct(">IIBBBBB")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        saved(noise("RGB"))[:20],
        saved(noise("RGB"))[:60],
        saved(noise("RGB").convert("P")),
        saved(noise("RGB").convert("1")),
        filtered_png([b"abc"], 3, 0, HEADER.pack(1, 1, 8, 2, 0, 0, 1)),
        filtered_png([b"abc"], 3, 0, HEADER.pack(100_000, 100_000, 8, 2, 0, 0, 0)),
        filtered_png([b"abc"], 3, 0, HEADER.pack(1, 9, 8, 2, 0, 0, 0)),
        filtered_png([b"abc"], 3, 0, HEADER.pack(0, 0, 8, 2, 0, 0, 0)),
        saved(noise("RGB")).replace(b"IDAT", b"IDAT\xff"),
    ],
)
def test_not_read_without_pillow(data: bytes, monkeypatch):
    """What the small reader cannot read, cut short, odd or huge, is None and no exception."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert decode(data, same_size) is None


def test_unreadable_with_pillow():
    """What Pillow cannot read is None and no exception."""
    assert decode(saved(noise("RGB"))[:60], same_size) is None


def test_no_more_is_unpacked_than_the_header_promises():
    """A small picture with a great deal of data behind it is read as the small picture."""
    rows = [b"abc"] + [bytes(3)] * 10_000
    pixels = decode_png(filtered_png(rows, 3, 0, HEADER.pack(1, 1, 8, 2, 0, 0, 0)), same_size)
    assert [[(97, 98, 99)]] == pixels.rows


def test_png_stays_as_it_is():
    """A PNG is not written anew."""
    data = saved(noise("RGB"))
    assert as_png(data) is data


def test_other_formats_need_pillow(monkeypatch):
    """A JPEG becomes a PNG with Pillow and nothing without."""
    data = saved(noise("RGB"), "JPEG")
    assert as_png(data) is not None
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert as_png(data) is None
