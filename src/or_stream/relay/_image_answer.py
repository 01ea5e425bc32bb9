"""What HTTP says about a picture: status, headers and which bytes, by RFC 9110 and without I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from or_stream.relay._stored_image import StoredImage

__all__ = ["ImageAnswer", "answer_for"]

# One range of bytes; the standard lets a server ignore the header, and this one does where there are several.
_RANGE: Final = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE | re.ASCII)

# A picture must run nothing in this origin. An SVG shown on its own would be a page with scripts: it is downloaded, its scripts
# are off, and its own styles still work; in <img> none of this shows.
_HARMLESS: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
_SHOWN_INLINE: Final = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif", "image/bmp", "image/jxl"})


@dataclass(frozen=True, slots=True)
class ImageAnswer:
    """The bytes of the body are those from `start` to `stop`; None is all that will ever come, an unknown number."""

    status: int
    headers: dict[str, str]
    start: int = 0
    stop: int | None = 0


def answer_for(method: str, headers: Mapping[str, str], image: StoredImage | None, max_age_seconds: float) -> ImageAnswer:
    """The answer to a request, whose `headers` have lower-case names. `image` is None where there is none of that name."""
    if method not in ("GET", "HEAD"):
        return ImageAnswer(405, {"allow": "GET, HEAD", "content-length": "0"})
    if image is None:
        return ImageAnswer(404, {"cache-control": "no-store", "content-length": "0"})
    described = {"content-type": image.media_type, **_HARMLESS}
    if image.media_type not in _SHOWN_INLINE:
        described["content-disposition"] = f'attachment; filename="{image.name}"'
    if not image.is_complete:
        # Nothing between here and the browser may keep the beginning of a picture, or wait for its end.
        described |= {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
        return ImageAnswer(200, described, 0, None if method == "GET" else 0)
    # What is behind a name never changes, so that the name itself is a strong validator.
    entity_tag = f'"{image.name}"'
    validators = {"etag": entity_tag, "cache-control": f"private, max-age={max(0, int(max_age_seconds))}, immutable"}
    if _is_listed(entity_tag, headers.get("if-none-match", "")):
        return ImageAnswer(304, validators)
    described |= {**validators, "accept-ranges": "bytes"}
    wanted = headers.get("range", "") if method == "GET" and headers.get("if-range", entity_tag) == entity_tag else ""
    part = _part_of(wanted, image.size)
    if part is None:
        described["content-length"] = str(image.size)
        return ImageAnswer(200, described, 0, image.size if method == "GET" else 0)
    start, stop = part
    if start >= stop:
        return ImageAnswer(416, {**_HARMLESS, "content-range": f"bytes */{image.size}", "content-length": "0"})
    described |= {"content-length": str(stop - start), "content-range": f"bytes {start}-{stop - 1}/{image.size}"}
    return ImageAnswer(206, described, start, stop)


def _part_of(header: str, size: int) -> tuple[int, int] | None:
    """RFC 9110 section 14.1.2: from where to where; nothing of it where no byte is in range; None is the whole picture."""
    match = _RANGE.fullmatch(header)
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _is_listed(entity_tag: str, header: str) -> bool:
    """RFC 9110 section 13.1.2, with the weak comparison it asks for."""
    return header.strip() == "*" or entity_tag in {item.strip().removeprefix("W/") for item in header.split(",")}
