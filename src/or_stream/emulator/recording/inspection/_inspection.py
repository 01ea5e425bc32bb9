"""The `Inspection`: each event that came, what or_stream makes of it, what is odd in it, and what it all comes to."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from or_stream.emulator.recording.inspection._blocks import Block, Blocks, Shortened
from or_stream.emulator.recording.inspection._oddities import Oddities, kind_of, oddities_of_answer
from or_stream.emulator.recording.inspection._view import View, describe_failure, shortened
from or_stream.protocol import API, ErrorBody
from or_stream.sse import Comment, ServerSentEvent, SSEParser
from or_stream.values import Image

__all__ = ["Explained", "Inspection"]

_SNIFFED_BYTES: Final = 4096
# What an answer of the Image API has near its beginning, and no other has.
_OF_IMAGES: Final = re.compile(rb'"type"\s*:\s*"image_generation\.|"b64_json"')
_TELLING_BYTES: Final = 256
_SHOWN_CHARACTERS: Final = 1000
# Of a JSON answer, without its base64: a list of all models has 0.8 MB.
_DOCUMENT_BYTES_AT_MOST: Final = 4 * 2**20
_FIELD: Final = re.compile(rb"(?:\xef\xbb\xbf)?(?:(?:data|event|id|retry)[ \t]*:|:)")
_LINE_OF_DATA: Final = re.compile(rb"^data:?", re.MULTILINE)
_NO_SPACE: Final = re.compile(rb"^data:[^ \r\n]", re.MULTILINE)
_CLAIM: Final = re.compile(r"data:(image/[\w.+-]+)[;,]")
_BROKEN: Final = {
    "cut": "the server closed the connection before the end",
    "reset": "the server reset the connection",
    "left": "the client left",
    "stopped": "the recorder was stopped",
}


@dataclass(slots=True)
class Explained:
    """One event of a stream, or a whole answer. `offset` and `length` are in bytes; `seconds` is None where no time is known.

    `kind` is "comment", "chunk", "error", "done", "answer", the `type` that the event says, "JSON", or what else it is.
    `shown` is its data without base64; `events` are or_stream's, in words; `oddities` have names.
    """

    offset: int
    length: int
    seconds: float | None
    kind: str
    shown: str = ""
    events: list[str] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)


class Inspection:
    """Explains one answer: `feed` its bytes in any pieces, `finish` at their end; both return what is explained by then.

    `content_type`, `status` and `api` are those of the answer where they are known; else its bytes tell. `summary` is for after
    the end. Takes no more memory for a picture of any size.
    """

    def __init__(self, *, content_type: str = "", status: int | None = None, api: API | None = None) -> None:
        self._content_type = content_type.partition(";")[0].strip().lower()
        self._status = status
        self._api = api
        self._held: list[tuple[bytes, float | None]] | None = []  # what came before it was known what it is
        self._reader: _StreamReader | _DocumentReader | _OtherReader = _OtherReader()
        self._size = 0
        self._counts: Counter[str] = Counter()
        self._oddities: Counter[str] = Counter()
        self._ended = "complete"

    def feed(self, data: bytes, seconds: float | None = None) -> list[Explained]:
        """The next bytes, and when they came."""
        self._size += len(data)
        if self._held is None:
            return self._counted(self._reader.feed(data, seconds))
        self._held.append((data, seconds))
        return self._let_go() if self._is_known(b"".join(piece for piece, _ in self._held)) else []

    def finish(self, ended: str = "complete") -> list[Explained]:
        """There is no more. `ended` is how a recording says that it ended."""
        self._ended = ended
        if self._held is not None:
            self._is_known(b"".join(piece for piece, _ in self._held), is_all=True)
        return self._let_go() + self._counted(self._reader.finish(_BROKEN.get(ended, "")))

    def summary(self) -> dict[str, Any]:
        """What it all comes to. `conclusion` is "complete" or the exception that or_stream would raise."""
        self._oddities.update(self._reader.oddities_at_end)
        return {
            "what": self._reader.what,
            "status": self._status,
            "bytes": self._size,
            "kinds": dict(self._counts),
            "connection": self._ended,
            **self._reader.result(),
            "oddities": dict(self._oddities),
        }

    def _counted(self, explained: Iterator[Explained]) -> list[Explained]:
        counted = list(explained)
        for one in counted:
            self._counts[one.kind] += 1
            self._oddities.update(one.oddities)
        return counted

    def _let_go(self) -> list[Explained]:
        """Explain what was held."""
        held, self._held = self._held or [], None
        return self._counted(explained for piece, seconds in held for explained in self._reader.feed(piece, seconds))

    def _is_known(self, head: bytes, *, is_all: bool = False) -> bool:
        """Choose the reader, once the bytes say which; what the answer calls itself is believed only where they do not."""
        begin = head.lstrip(b" \t\r\n")
        is_stream = self._content_type == "text/event-stream" or _FIELD.match(begin) is not None
        if not is_stream and begin[:1] not in (b"{", b"[") and not (self._content_type.endswith("json") and begin):
            return len(begin) >= _SNIFFED_BYTES or (bool(begin) and b"\n" in begin)
        told = begin.partition(b"data:")[2] if is_stream else begin
        if self._api is None and not is_all and len(told) < _TELLING_BYTES and len(begin) < _SNIFFED_BYTES:
            return False
        api: API = self._api or ("images" if _OF_IMAGES.search(begin) else "chat")
        self._reader = _StreamReader(api) if is_stream else _DocumentReader(api, self._status)
        return True


class _StreamReader:
    what = "stream"

    def __init__(self, api: API) -> None:
        self.oddities_at_end: list[str] = []
        self._blocks = Blocks()
        self._view = View(api, "sse")
        self._odd = Oddities()
        self._is_done = False

    def feed(self, data: bytes, seconds: float | None) -> Iterator[Explained]:
        for piece, block in self._blocks.feed(data):
            self._view.feed(piece, seconds)
            if block is not None:
                yield from self._explain(block, seconds)

    def finish(self, broken: str) -> Iterator[Explained]:
        self._view.finish(broken)
        if block := self._blocks.finish():
            yield from self._explain(block, None)
        else:
            told, _ = self._view.take()
            if told and told != ["not read any more"]:
                yield Explained(self._blocks.offset, 0, None, "end", events=told)
        self.oddities_at_end = self._odd.at_end() + ([] if self._is_done else ["missing [DONE]"])

    def result(self) -> dict[str, Any]:
        return {"conclusion": self._view.conclusion(), **self._view.result()}

    def _explain(self, block: Block, seconds: float | None) -> Iterator[Explained]:
        told, images = self._view.take()
        parser = SSEParser(comments=True)
        items = parser.feed(block.text + b"\n\n") if not block.is_open else [*parser.feed(block.text), *parser.flush()]
        rows = [self._row(block, item, seconds) for item in items]
        if not rows:
            is_known = any(_FIELD.match(line) for line in block.text.splitlines())
            shown = shortened(block.text.decode(errors="replace"), _SHOWN_CHARACTERS)
            rows = [Explained(block.offset, block.length, seconds, "fields" if is_known else "no SSE", shown)]
        rows[-1].events = told
        rows[-1].oddities += _oddities_of_block(block) + _oddities_of_images(rows[-1].shown, told, images)
        yield from rows

    def _row(self, block: Block, item: ServerSentEvent | Comment, seconds: float | None) -> Explained:
        row = Explained(block.offset, block.length, seconds, "comment")
        if self._is_done:
            row.oddities.append("after [DONE]")
        if isinstance(item, Comment):
            row.shown = shortened(item.text, _SHOWN_CHARACTERS)
            return row
        name = f"event: {item.event} " if item.event != "message" else ""
        row.shown = name + shortened(item.data, _SHOWN_CHARACTERS)
        data = item.data.strip()
        if data == "[DONE]":
            row.kind, self._is_done = "done", True
        elif data.startswith(":"):
            row.kind = "comment"
            row.oddities.append("comment inside data")
        elif block.is_cut:
            row.kind = "event"
            row.oddities.append("too large to be shown")
        else:
            self._read(item, row)
        return row

    def _read(self, item: ServerSentEvent, row: Explained) -> None:
        try:
            document = item.json()
        except ValueError:
            row.kind = "not JSON" if item.data.strip() else "empty"
            row.oddities.append(f"{row.kind} event" if row.kind == "empty" else row.kind)
            return
        row.kind = kind_of(document)
        row.oddities += self._odd.of(document)


class _DocumentReader:
    what = "answer"

    def __init__(self, api: API, status: int | None) -> None:
        self.oddities_at_end: list[str] = []
        self._api = api
        self._status = status
        self._text = Shortened(_DOCUMENT_BYTES_AT_MOST)
        self._view = View(api, "json")
        self._size = 0
        self._seconds: float | None = None
        self._refusal = ""

    def feed(self, data: bytes, seconds: float | None) -> Iterator[Explained]:
        self._text.feed(data)
        self._view.feed(data, seconds)
        self._size += len(data)
        self._seconds = seconds if seconds is not None else self._seconds
        return iter(())

    def finish(self, broken: str) -> Iterator[Explained]:
        self._view.finish(broken)
        text, is_cut = self._text.finish()
        row = Explained(0, self._size, self._seconds, "JSON", shortened(text.decode(errors="replace"), _SHOWN_CHARACTERS))
        row.events, images = self._view.take()
        if text[:1].isspace():
            row.oddities.append("white space in front")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            row.oddities.append("too large to be shown" if is_cut else "not JSON")
        else:
            row.kind = kind_of(document)
            row.oddities += oddities_of_answer(document, status=self._status)
            self._judge(document, row)
        row.oddities += _oddities_of_images(row.shown, row.events, images)
        yield row

    def result(self) -> dict[str, Any]:
        return {"conclusion": self._refusal or self._view.conclusion(), **self._view.result()}

    def _judge(self, document: Any, row: Explained) -> None:
        if row.kind == "error" and self._status is not None and self._status >= 400:
            self._refusal = describe_failure(ErrorBody.read(document["error"]).api_status_error(self._status))
            row.events = [f"raises {self._refusal}"]
        elif self._api == "chat" and row.kind not in ("error", "answer"):
            self._refusal = "no answer of a model"
            row.events = []


class _OtherReader:
    what = "neither events nor JSON"

    def __init__(self) -> None:
        self.oddities_at_end: list[str] = []
        self._head = b""
        self._size = 0
        self._seconds: float | None = None

    def feed(self, data: bytes, seconds: float | None) -> Iterator[Explained]:
        self._head += data[: _SNIFFED_BYTES - len(self._head)]
        self._size += len(data)
        self._seconds = seconds if self._seconds is None else self._seconds
        return iter(())

    def finish(self, _broken: str) -> Iterator[Explained]:
        if self._size:
            shown = shortened(repr(self._head[:_SHOWN_CHARACTERS])[2:-1], _SHOWN_CHARACTERS)
            yield Explained(0, self._size, self._seconds, "no SSE", shown, oddities=["gzip"] if self._is_gzip else [])

    def result(self) -> dict[str, Any]:
        return {"conclusion": "nothing came" if not self._size else "no answer of the API"}

    @property
    def _is_gzip(self) -> bool:
        return self._head.startswith(b"\x1f\x8b")


def _oddities_of_block(block: Block) -> list[str]:
    text = block.text
    named = {
        "byte order mark": block.offset == 0 and text.startswith(b"\xef\xbb\xbf"),
        "CR at the end of lines": b"\r" in text,
        "no space behind data:": _NO_SPACE.search(text) is not None,
        "data on several lines": len(_LINE_OF_DATA.findall(text)) > 1,
        "slashes escaped": b"\\/" in text,
        "no blank line at the end": block.is_open,
    }
    return [name for name, is_so in named.items() if is_so]


def _oddities_of_images(shown: str, told: list[str], images: list[Image]) -> list[str]:
    odd = ["duplicate image"] if any(line.startswith("ImageDiscard") for line in told) else []
    claims = _CLAIM.findall(shown)
    if len(claims) == len(images) and any(
        claim != image.media_type for claim, image in zip(claims, images, strict=True) if image.media_type
    ):
        odd.append("image of another type than it says")
    return odd
