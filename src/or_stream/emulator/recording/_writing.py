"""Writes an exchange while it goes on, in the format that `_recording` describes. Every byte passes a `Scrubber` first."""

import itertools
import json
import re
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Concatenate, Final, ParamSpec

from or_stream.emulator.recording._recording import (
    LOG_NAME,
    UNFINISHED,
    Answer,
    End,
    RequestHead,
    exchange_folders,
    header_of,
    number_of,
)
from or_stream.emulator.recording._scrubbing import Headers, Scrubber, scrubbed_headers, scrubbed_query, secrets_of
from or_stream.errors import ConfigurationError

__all__ = ["Exchange", "Shelf"]

_FORMAT: Final = 1
_LONGEST_NAME: Final = 60
_INFLATED_BYTES_AT_ONCE: Final = 2**20
_GZIP_OR_ZLIB: Final = 32 + zlib.MAX_WBITS
_INFLATABLE: Final = frozenset({"gzip", "x-gzip", "deflate"})

Parameters = ParamSpec("Parameters")


class Shelf:
    """A folder of recordings, made if missing. New ones are numbered on from those that are there. `secrets` appear in none.

    Raises ConfigurationError where there can be no such folder.
    """

    def __init__(self, folder: str | Path, secrets: frozenset[str] = frozenset()) -> None:
        self.folder: Path = Path(folder)
        self.secrets: frozenset[str] = secrets
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"recordings cannot go to {folder}: {error.strerror or error}") from error
        self._numbers = itertools.count(max((number_of(path) for path in exchange_folders(self.folder)), default=0) + 1)

    def new_folder(self, name: str) -> Path:
        """An empty folder for an exchange that is under way. Raises OSError."""
        folder = self.folder / f"{next(self._numbers):06}-{name}{UNFINISHED}"
        folder.mkdir()
        return folder


def _tolerant(
    method: Callable[Concatenate["Exchange", Parameters], None],
) -> Callable[Concatenate["Exchange", Parameters], None]:
    """Where it cannot be written any more (a full disk), the client gets its answer all the same."""

    def run(self: "Exchange", /, *arguments: Parameters.args, **options: Parameters.kwargs) -> None:
        if not self.failure:
            try:
                method(self, *arguments, **options)
            except OSError as error:
                self.failure = error.strerror or str(error)

    run.__doc__ = method.__doc__
    return run


class Exchange:
    """One exchange under way: `begin`, `request_body`, `request_end`, `answer`, `answer_body`, `end`; the bodies in any pieces.

    `failure` is why nothing is written any more, "" while all is well. The other public attributes are for whoever tells of it.
    """

    def __init__(self, shelf: Shelf, head: RequestHead) -> None:
        self.head: RequestHead = head
        self.path: str = ""
        self.name: str = ""
        self.answered: Answer | None = None
        self.received_bytes: int = 0
        self.ended: End | None = None
        self.failure: str = ""
        self._shelf = shelf
        self._began = time.monotonic()
        self._secrets = shelf.secrets | secrets_of(head.headers, head.query)
        self._folder = shelf.folder
        self._log: BinaryIO | None = None
        self._request = self._answer = _Body(None)

    @property
    def seconds(self) -> float:
        """Since the request came."""
        return round(time.monotonic() - self._began, 6)

    @_tolerant
    def begin(self) -> None:
        """What is asked."""
        scrubber, head = Scrubber(self._secrets), self.head
        self.path = scrubber.text(head.path)
        self._folder = self._shelf.new_folder(_slug(head.method, self.path))
        self.name = self._folder.name.removesuffix(UNFINISHED)
        self._log = (self._folder / LOG_NAME).open("xb", buffering=0)
        said = {"format": _FORMAT, "started": datetime.now(UTC).isoformat(timespec="milliseconds")}
        asked = {"method": head.method, "path": self.path, "query": scrubbed_query(head.query, scrubber)}
        self._request = _Body(self._folder / "request", head.headers, scrubber)
        self._write_line(request={**said, **asked, "headers": scrubbed_headers(self._request.headers, scrubber)})

    @_tolerant
    def request_body(self, data: bytes) -> None:
        """The next bytes of it."""
        self._request.write(data)

    @_tolerant
    def request_end(self) -> None:
        """There is no more of it: what was held back of it is written."""
        self._request.finish()

    @_tolerant
    def answer(self, answer: Answer) -> None:
        """What is answered, now. Its `seconds` are taken here."""
        self.answered = answer
        scrubber = Scrubber(self._secrets | secrets_of([pair for pair in answer.headers if pair[0].lower() == "set-cookie"]))
        self._answer = _Body(self._folder / "answer", answer.headers, scrubber)
        self._write_line(
            answer={
                "status": answer.status,
                "reason": scrubber.text(answer.reason),
                "seconds": self.seconds,
                "headers": scrubbed_headers(self._answer.headers, scrubber),
                **({"made_here": scrubber.text(answer.made_here)} if answer.made_here else {}),
                **({"was_coded": self._answer.coding} if self._answer.coding else {}),
            }
        )

    @_tolerant
    def answer_body(self, data: bytes) -> None:
        """The next bytes of it, which came now."""
        seconds = self.seconds
        self.received_bytes += len(data)
        if stored := self._answer.write(data):
            self._write_line(piece=[seconds, stored])

    def end(self, how: End) -> None:
        """It is over: what was held back is written, and the folder gets its name. Only the first end counts."""
        if self.ended is None:
            self.ended = how
            self._end(how)
        if self._log is not None:
            self._log.close()
        self._request.close()
        self._answer.close()

    @_tolerant
    def _end(self, how: End) -> None:
        self._request.finish()
        self._answer.finish()
        self._write_line(end=how, seconds=self.seconds)
        self._folder.rename(self._folder.with_name(self.name))

    def _write_line(self, **said: Any) -> None:
        assert self._log is not None
        self._log.write(json.dumps(said, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


class _Body:
    """The file of one body. `headers` are those that fit what is stored.

    A compressed body is stored as what it says, because a secret in it could not be seen; one in a coding that cannot be undone
    here is not stored. The recorder asks for none, but may get one.
    """

    def __init__(self, stem: Path | None, headers: Headers = (), scrubber: Scrubber | None = None) -> None:
        coding = header_of(headers, "content-encoding").strip().lower()
        self.coding = "" if coding == "identity" else coding
        self.headers = headers
        if self.coding:
            self.headers = [pair for pair in headers if pair[0].lower() not in ("content-encoding", "content-length")]
        self._path = None if stem is None else stem.with_suffix(_suffix(header_of(headers, "content-type")))
        self._scrubber = scrubber or Scrubber()
        self._inflate = zlib.decompressobj(_GZIP_OR_ZLIB) if self.coding in _INFLATABLE else None
        self._is_withheld = bool(self.coding) and self._inflate is None
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> int:
        """Store the next bytes; return how many that makes, once all are written. Raises OSError."""
        stored = 0
        while data and not self._is_withheld:
            text, data = self._inflated(data)
            stored += len(text)
            self._store(self._scrubber.feed(text))
        return stored

    def finish(self) -> None:
        """The last bytes. Raises OSError."""
        self._store(self._scrubber.finish())

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _inflated(self, data: bytes) -> tuple[bytes, bytes]:
        """(the next text, what is left of the data)."""
        if self._inflate is None:
            return data, b""
        try:
            return self._inflate.decompress(data, _INFLATED_BYTES_AT_ONCE), self._inflate.unconsumed_tail
        except zlib.error:
            self._is_withheld = True
            return b"", b""

    def _store(self, text: bytes) -> None:
        if text and self._path is not None:
            if self._file is None:
                self._file = self._path.open("xb", buffering=0)
            self._file.write(text)


def _suffix(content_type: str) -> str:
    kind = content_type.partition(";")[0].strip().lower()
    return ".sse" if kind == "text/event-stream" else ".json" if kind.endswith("json") else ".bin"


def _slug(method: str, path: str) -> str:
    """A request as a name that every file system takes: `post-chat-completions`."""
    words = re.findall(r"[a-z0-9.]+", f"{method} {path.removeprefix('/api/v1')}".lower())
    return "-".join(words)[:_LONGEST_NAME].strip(".-") or "request"
