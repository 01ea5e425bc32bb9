"""The pixels of a picture: by Pillow where it is installed, else of the plain PNGs that models send."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

__all__ = ["Pixels", "as_png", "decode", "decode_png"]

# Undoing PNG's filters in Python takes about 1 s a megapixel; beyond this nobody would wait.
_PIXELS_AT_MOST: Final = 2_500_000
_SAMPLES: Final = 3  # a side: how many pixels are averaged into one
_CHANNELS: Final = {0: 1, 2: 3, 4: 2, 6: 4}  # PNG (third edition) 11.2.1: grey, RGB, grey with alpha, RGBA
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"

Colour = tuple[int, int, int]


class Pixels(NamedTuple):
    """Rows of colours."""

    width: int
    height: int
    rows: list[list[Colour]]


Fit = Callable[[int, int], tuple[int, int]]


def decode(data: bytes, fit: Fit) -> Pixels | None:
    """The picture in the size that `fit` makes of its own. None where it cannot be read."""
    try:
        return _decode_with_pillow(data, fit)
    except ImportError:
        pass
    except Exception:  # noqa: BLE001  # Pillow raises whatever its plugins raise; a picture nobody can show is still in its file
        return None
    try:
        return decode_png(data, fit)
    except (ValueError, IndexError, struct.error, zlib.error):
        return None


def as_png(data: bytes) -> bytes | None:
    """The picture as a PNG, None where that takes what is not there."""
    if data.startswith(_SIGNATURE):
        return data
    try:
        from PIL import Image

        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            target = io.BytesIO()
            image.convert("RGBA").save(target, "PNG")
            return target.getvalue()
    except Exception:  # noqa: BLE001  # as in `decode`
        return None


def _decode_with_pillow(data: bytes, fit: Fit) -> Pixels:
    from PIL import Image

    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
        width, height = fit(*image.size)
        small = image.convert("RGBA").resize((width, height), Image.Resampling.BOX)
        raw = small.tobytes()
    pixels = [_over_black(raw[at : at + 4]) for at in range(0, len(raw), 4)]
    return Pixels(width, height, [pixels[row * width : (row + 1) * width] for row in range(height)])


def decode_png(data: bytes, fit: Fit) -> Pixels:
    """A PNG of 8 bits a channel, not interlaced, no palette. Raises ValueError, struct.error or zlib.error for anything else."""
    chunks = dict.fromkeys((b"IHDR", b"IDAT"), b"")
    for kind, content in _chunks(data):
        if kind in chunks:
            chunks[kind] += content
    width, height, depth, colour_type, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if depth != 8 or interlaced or colour_type not in _CHANNELS or not 0 < width * height <= _PIXELS_AT_MOST:
        raise ValueError("not a plain PNG")
    channels = _CHANNELS[colour_type]
    length = (width * channels + 1) * height
    raw = zlib.decompressobj().decompress(chunks[b"IDAT"], length)  # never more than the header promises
    if len(raw) < length:
        raise ValueError("the PNG is cut short")
    return _shrunk(list(_scanlines(raw, width * channels, channels)), width, channels, *fit(width, height))


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not data.startswith(_SIGNATURE):
        raise ValueError("not a PNG")
    at = len(_SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += length + 12


def _scanlines(raw: bytes, stride: int, channels: int) -> Iterator[bytes]:
    above = bytes(stride)
    for at in range(0, len(raw), stride + 1):
        above = _unfiltered(raw[at], raw[at + 1 : at + 1 + stride], above, channels)
        yield above


def _unfiltered(kind: int, line: bytes, above: bytes, channels: int) -> bytes:
    """PNG (third edition) 9.2: each byte was stored as its difference from what the filter type predicts."""
    if kind == 0:
        return line
    if kind == 2:
        return bytes([(value + up) & 255 for value, up in zip(line, above, strict=True)])
    if kind not in (1, 3, 4):
        raise ValueError(f"filter type {kind}")
    result = bytearray(channels) + line  # a pixel of zeros in front: what is left of the first one
    corner = bytes(channels) + above
    for at, value in enumerate(line):
        left, up, upper_left = result[at], above[at], corner[at]
        if kind == 1:
            predicted = left
        elif kind == 3:
            predicted = (left + up) >> 1
        else:
            to_left, to_up, to_corner = abs(up - upper_left), abs(left - upper_left), abs(left + up - 2 * upper_left)
            predicted = left if to_left <= to_up and to_left <= to_corner else up if to_up <= to_corner else upper_left
        result[at + channels] = (value + predicted) & 255
    return bytes(result[channels:])


def _shrunk(lines: list[bytes], width: int, channels: int, columns: int, rows: int) -> Pixels:
    """Each pixel the mean of a few of those it stands for, evenly spread."""

    def spots(index: int, count: int, of: int) -> list[int]:
        return sorted({(2 * (index * _SAMPLES + part) + 1) * of // (2 * count * _SAMPLES) for part in range(_SAMPLES)})

    def pixel(x: int, y: int) -> Colour:
        lines_of_it, columns_of_it = spots(y, rows, len(lines)), across[x]
        return _mean([_colour(lines[line][at * channels : (at + 1) * channels]) for line in lines_of_it for at in columns_of_it])

    across = [spots(x, columns, width) for x in range(columns)]
    return Pixels(columns, rows, [[pixel(x, y) for x in range(columns)] for y in range(rows)])


def _mean(colours: list[Colour]) -> Colour:
    red, green, blue = (sum(channel) // len(colours) for channel in zip(*colours, strict=True))
    return red, green, blue


def _colour(pixel: bytes) -> Colour:
    match tuple(pixel):
        case [grey]:
            return grey, grey, grey
        case [grey, alpha]:
            return _over_black((grey, grey, grey, alpha))
        case [red, green, blue]:
            return red, green, blue
    return _over_black(pixel)


def _over_black(pixel: bytes | tuple[int, int, int, int]) -> Colour:
    red, green, blue, alpha = pixel
    return red * alpha // 255, green * alpha // 255, blue * alpha // 255
