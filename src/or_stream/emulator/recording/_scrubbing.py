"""Secrets out of what is recorded. Pure: every secret byte becomes `*`, so that lengths, offsets and JSON stay what they were."""

import binascii
import json
import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

import pybase64

__all__ = ["PLACEHOLDER", "Headers", "Scrubber", "scrubbed_headers", "scrubbed_query", "secrets_of"]

Headers = Sequence[tuple[str, str]]

PLACEHOLDER: Final = "*"

# A header or a query parameter of such a name is secret whatever its value.
_SECRET_NAME: Final = re.compile(
    r"auth(?!or\b)|cookie|key|passw|secret|session|token(?!s)|user.?id|account|organization|workspace|email"
    r"|forwarded|real-ip|connecting-ip",
    re.IGNORECASE,
)
# What is shorter is no secret, and would be taken out of ordinary text: keys such as "any" and "test".
_SHORTEST_SECRET: Final = 8
_LONGEST_MATCH: Final = 8192

_FIELD: Final = (
    rb"(?i:[a-z_-]{0,40}api[_-]?key|access[_-]?token|refresh[_-]?token|client[_-]?secret|password|authorization"
    rb"|(?:[a-z]{1,20}_)?user_id|account_id|org(?:anization)?_id|workspace_id)"
)
# Each has one group: what is secret of it. None matches across a line end, on which `Scrubber` relies, nor inside standard
# base64, since every one needs a character that is not in it: a picture is never touched.
_PATTERNS: Final = (
    rb"(?:sk-(?:or|ant|proj)-(?:v1-)?|sk-(?<![\w-]sk-)|xai-(?<![\w-]xai-)|gsk_(?<![\w-]gsk_)|hf_(?<![\w-]hf_))([\w-]{16,4000})",
    rb"[Bb]earer[ ]([\w.~+/=-]{20,4000})",
    rb"(eyJ[\w-]{10,2000}\.[\w-]{10,2000}\.[\w-]{10,2000})",
    rb"(?:user|org)_([A-Za-z0-9]{20,100})",
    rb'"' + _FIELD + rb'"[ \t]{0,20}:[ \t]{0,20}"((?:[^"\\\r\n]|\\[^\r\n]){1,3000})',
    rb'\\"' + _FIELD + rb'\\{1,8}"[ \t]{0,20}:[ \t]{0,20}\\{1,8}"([^"\\\r\n]{1,3000})',
)
# Each needs one of these, and the inside of a picture has none: looking for them first is 100 times as fast there.
_NEEDED: Final = (b"-", b"_", b" ", b".", b'"')


class Scrubber:
    """Takes the known `secrets`, and whatever looks like one, out of a stream: `feed` its pieces, then `finish`.

    What comes out does not depend on how it was cut. Held back is at most the unfinished line, and of that the last
    8 KiB: no secret reaches over a line end.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        spelled = {spelling for secret in secrets for spelling in _spellings(secret)}
        known = [b"(" + b"|".join(re.escape(text) for text in sorted(spelled, key=len, reverse=True)) + b")"] if spelled else []
        self._pattern = re.compile(b"|".join([*known, *_PATTERNS]))
        self._longest = max(_LONGEST_MATCH, *(len(text) + 1 for text in spelled), 0)
        self._needed = (*_NEEDED, *spelled)
        self._held = b""
        self._context = 0  # how many bytes of `_held` were given out already: the one that a lookbehind asks for

    def feed(self, data: bytes) -> bytes:
        """The bytes that are certain now."""
        text = self._held + data
        certain = max(text.rfind(b"\n") + 1, len(text) - self._longest, self._context)
        return self._give(text, certain)

    def finish(self) -> bytes:
        """The last bytes."""
        return self._give(self._held, len(self._held))

    def text(self, text: str) -> str:
        """A whole text, apart from the stream."""
        data = text.encode("utf-8", "surrogateescape")
        return self._pattern.sub(_starred, data).decode("utf-8", "surrogateescape")

    def _give(self, text: bytes, certain: int) -> bytes:
        given = bytearray()
        at = self._context
        may_match = any(mark in text for mark in self._needed)
        for match in self._pattern.finditer(text, at) if may_match else ():
            if match.start() >= certain:
                break
            given += text[at : match.start()] + _starred(match)
            at = match.end()
        end = max(certain, at)
        given += text[at:end]
        self._context = min(1, end)
        self._held = text[end - self._context :]
        return bytes(given)


def _starred(match: re.Match[bytes]) -> bytes:
    start, end = (edge - match.start() for edge in match.span(match.lastindex or 0))
    whole = match[0]
    return whole[:start] + PLACEHOLDER.encode() * (end - start) + whole[end:]


def _spellings(secret: str) -> set[bytes]:
    """A secret as it may stand in a URL, in JSON, and in JSON that escapes slashes."""
    escaped = json.dumps(secret)[1:-1]
    ways = {secret, quote(secret, safe=""), quote_plus(secret), escaped, escaped.replace("/", "\\/")}
    # A line end cannot come from a header, and would break what `Scrubber.feed` relies on.
    return {way.encode("utf-8", "surrogateescape") for way in ways if len(way) >= _SHORTEST_SECRET and "\n" not in way}


def secrets_of(headers: Headers, query: str = "") -> set[str]:
    """The values that must appear nowhere: credentials, cookies, and what has the name of a secret."""
    found: set[str] = set()
    for name, value in headers:
        lower = name.lower()
        if "cookie" in lower:
            pairs = value.split(";")[:1] if lower == "set-cookie" else value.split(";")
            found |= {pair.partition("=")[2].strip() for pair in pairs}
        elif "authorization" in lower:
            scheme, _, credentials = value.strip().partition(" ")
            found |= {credentials.strip() or scheme, *(_password(credentials) if scheme.lower() == "basic" else ())}
        elif _SECRET_NAME.search(name):
            found.add(value.strip())
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if _SECRET_NAME.search(name):
            found |= {value, unquote_plus(value)}
    return {secret for secret in found if len(secret) >= _SHORTEST_SECRET}


def _password(credentials: str) -> tuple[str, ...]:
    try:
        return (pybase64.b64decode(credentials).decode().partition(":")[2],)
    except (binascii.Error, ValueError):
        return ()


def scrubbed_headers(headers: Headers, scrubber: Scrubber) -> list[tuple[str, str]]:
    """The headers, of a secret one only its name and, for credentials, its scheme."""
    return [(name, _scrubbed_value(name, value, scrubber)) for name, value in headers]


def _scrubbed_value(name: str, value: str, scrubber: Scrubber) -> str:
    if not _SECRET_NAME.search(name):
        return scrubber.text(value)
    scheme, space, _ = value.partition(" ")
    is_credentials = "authorization" in name.lower() and space
    return f"{scheme} {PLACEHOLDER * 3}" if is_credentials else PLACEHOLDER * 3


def scrubbed_query(query: str, scrubber: Scrubber) -> str:
    """The query as it was written, with the values of secret parameters gone."""
    parts = (part.partition("=") for part in query.split("&"))
    hidden = (f"{name}{sign}{PLACEHOLDER * 3 if value and _SECRET_NAME.search(name) else value}" for name, sign, value in parts)
    return scrubber.text("&".join(hidden))
