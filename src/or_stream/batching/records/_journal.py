"""The journal: a JSON line for each thing that happened, appended and never changed, so that a run can be taken up again.

    {"kind":"journal","version":1}
    {"kind":"begun","key":K,"generation_id":G}              a request of that item is under way, and may be paid for
    {"kind":"done","key":K,"request":R,...,"message":M}     M is a whole Message; pictures in files have path and sha256
    {"kind":"failed","key":K,...,"error":E}                 is tried again by the next run
    {"kind":"begun","key":K,"generation_id":G}              again after that: nobody could say yet what it has cost
    {"kind":"settled","generation_id":G,"cost":C}           what a request of a run that was killed has cost

A line is one write, which outlives the process. It can be read with any tool while it grows, and a torn line at its end is the
only damage that a kill can do.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

from or_stream import errors
from or_stream.batching.records._item import BatchItem, Task
from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.values import Message

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

__all__ = ["Journal", "read_journal"]

_VERSION: Final = 1
_HEAD: Final = b'{"kind":"journal","version":%d}\n' % _VERSION
_LOCK_SECONDS: Final = 2.0
_LOCK_PAUSE_SECONDS: Final = 0.02
# A quote inside a JSON string is escaped, so that this stands in front of the message and nowhere else.
_MESSAGE: Final = b',"message":'
_FAR_AWAY: Final = 2**62
_OF_ERRORS: Final = ("status", "code", "error_type", "retry_after", "provider", "phase", "native_finish_reason", "retryable")


@dataclass(slots=True)
class _Past:
    """What earlier runs have left."""

    finished: dict[int, int] = field(default_factory=dict)  # a digest of the key -> where its line begins
    unsettled: dict[str, str] = field(default_factory=dict)  # generation id -> key
    cost: float = 0.0


class Journal:
    """One journal, open for writing. A second run on the same file is refused, as long as this one lives.

    Raises ConfigurationError for a file that is no journal or is in use, and OrStreamError where the disk does not take a line;
    the journal is then as it was before that line.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the journal {str(path)!r} cannot be opened: {error}") from error
        try:
            _lock(self._file, self.path)
            self._past = _Past()
            self._size = self._read()
            if self._size == 0:
                self._write(_HEAD)
        except BaseException:
            self._file.close()
            raise

    @property
    def cost(self) -> float:
        """What earlier runs have spent, in US dollars."""
        return self._past.cost

    @property
    def unsettled(self) -> list[str]:
        """Generations of earlier runs of which nobody has asked what they cost."""
        return list(self._past.unsettled)

    def __len__(self) -> int:
        return len(self._past.finished)

    def finished(self, task: Task) -> BatchItem | None:
        """The item, if an earlier run has finished it. Raises ConfigurationError where its key stood for another request."""
        offset = self._past.finished.get(hash(task.key))
        if offset is None:
            return None
        self._file.seek(offset)
        record = json.loads(_line(self._file))
        if record["key"] != task.key:
            return None  # two keys with one digest: the other one is done again
        if record.get("request") != task.request:
            raise ConfigurationError(
                f"the journal has the key {task.key!r} for another request: give it another key, or use another journal"
            )
        try:
            return _item(record, task)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"the line of {task.key!r} in the journal was changed: {error!r}") from error

    def begun(self, key: str, generation_id: str) -> None:
        """A request has an answer, which will cost something whatever becomes of it."""
        self._append({"kind": "begun", "key": key, "generation_id": generation_id})

    def settled(self, generation_id: str, cost: float) -> None:
        """What a generation of an earlier run has cost."""
        self._append({"kind": "settled", "generation_id": generation_id, "cost": cost})
        self._past.unsettled.pop(generation_id, None)

    def ended(self, task: Task, item: BatchItem) -> None:
        """The item is done, or has failed."""
        record: dict[str, Any] = {
            "kind": "done" if item.error is None else "failed",
            "key": item.key,
            "request": task.request,
            "index": item.index,
            "model": item.model,
            "attempts": item.attempts,
            "cost": item.cost,
            "seconds": round(item.seconds, 3),
            "generation_ids": item.generation_ids,
            "prompt": item.prompt if isinstance(item.prompt, str) else None,
        }
        if item.error is not None:
            record["error"] = _described(item.error)
            self._append(record)
        elif item.message is not None:
            message = item.message.model_dump_json(exclude_defaults=True).encode()
            self._write(_dumped(record)[:-1] + _MESSAGE + message + b"}\n")

    def close(self) -> None:
        """Let the next run have it."""
        with suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _append(self, record: dict[str, Any]) -> None:
        self._write(_dumped(record) + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            rest = memoryview(line)
            while rest:  # a disk that is nearly full takes a part, and says so at the next one
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self._file.truncate(self._size)
            raise OrStreamError(f"the journal {str(self.path)!r} cannot be written: {error.strerror or error}") from error
        self._size += len(line)

    def _read(self) -> int:
        """Take in what is there and cut off a torn line. Returns the size."""
        self._file.seek(0)
        reader = os.fdopen(os.dup(self._file.fileno()), "rb")
        with reader:
            offset = 0
            for number, line in enumerate(reader, 1):
                if not line.endswith(b"\n"):
                    if number == 1 and not _HEAD.startswith(line):
                        raise _foreign(number, self.path)
                    self._file.truncate(offset)
                    break
                record = _parsed(line, number, self.path)
                try:
                    self._take(record, offset)
                except (KeyError, TypeError) as error:
                    raise _foreign(number, self.path) from error
                offset += len(line)
        return offset

    def _take(self, record: dict[str, Any], offset: int) -> None:
        match record["kind"]:
            case "begun":
                self._past.unsettled[record["generation_id"]] = record["key"]
            case "settled":
                self._past.unsettled.pop(record["generation_id"], None)
                self._past.cost += record["cost"] or 0.0
            case "done" | "failed":
                for generation_id in record["generation_ids"]:
                    self._past.unsettled.pop(generation_id, None)
                self._past.cost += record["cost"] or 0.0
                if record["kind"] == "done":
                    self._past.finished[hash(record["key"])] = offset


def read_journal(path: str | os.PathLike[str]) -> Iterator[BatchItem]:
    """What a run has finished or failed at so far, line by line; the run may go on meanwhile. An item that failed and was done
    later comes twice. Raises ConfigurationError for a file that is no journal, OSError where it cannot be read.
    """
    path = Path(path)
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            record = _parsed(line, number, path, whole=True)
            if record["kind"] in ("done", "failed"):
                try:
                    item = _item(record, None)
                except (KeyError, TypeError, ValueError) as error:
                    raise _foreign(number, path) from error
                yield item


def _item(record: dict[str, Any], task: Task | None) -> BatchItem:
    item = BatchItem(
        record["index"] if task is None else task.index,
        record["key"],
        record["prompt"] if task is None else task.prompt,
        model=record["model"],
        attempts=record["attempts"],
        cost=record["cost"],
        seconds=record["seconds"],
        generation_ids=record["generation_ids"],
        is_resumed=True,
    )
    if record["kind"] == "done":
        item.message = Message.model_validate(record["message"])
    else:
        item.error = _error(record["error"])
    return item


def _parsed(line: bytes, number: int, path: Path, *, whole: bool = False) -> dict[str, Any]:
    head, found, _ = line.partition(_MESSAGE)
    try:
        record = json.loads(head + b"}" if found and not whole else line)
        kind = record["kind"]
    except (ValueError, TypeError, KeyError):
        kind = None
    if kind is None or (number == 1) != (kind == "journal"):
        raise _foreign(number, path)
    if kind == "journal" and record.get("version") != _VERSION:
        raise ConfigurationError(f"{str(path)!r} is a journal of version {record.get('version')!r}, this is version {_VERSION}")
    return dict(record)


def _foreign(number: int, path: Path) -> ConfigurationError:
    return ConfigurationError(f"line {number} of {str(path)!r} is no line of a journal: name another file")


def _line(file: Any) -> bytes:
    """The line that begins here, from a file without a buffer."""
    pieces: list[bytes] = []
    while piece := file.read(2**16):
        end = piece.find(b"\n")
        pieces.append(piece[: end + 1] if end >= 0 else piece)
        if end >= 0:
            break
    return b"".join(pieces)


def _described(error: OrStreamError) -> dict[str, Any]:
    said = {name: value for name in _OF_ERRORS if (value := getattr(error, name, None)) is not None}
    return {"type": type(error).__name__, "text": str(error), **said}


def _error(said: dict[str, Any]) -> OrStreamError:
    kind = getattr(errors, said["type"], None)
    if not (isinstance(kind, type) and issubclass(kind, OrStreamError)):
        kind = OrStreamError
    error = kind.__new__(kind, said["text"])
    OrStreamError.__init__(error, said["text"])
    for name in _OF_ERRORS:
        if name in said:
            setattr(error, name, said[name])
    return error


def _dumped(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), default=str).encode()


def _lock(file: BinaryIO | Any, path: Path) -> None:
    """Waits for a run that is just ending; the lock ends with the process, however it ends."""
    ends_at = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            if sys.platform == "win32":
                file.seek(_FAR_AWAY)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            if time.monotonic() > ends_at:
                raise ConfigurationError(f"the journal {str(path)!r} is in use by another run: wait for its end") from error
            time.sleep(_LOCK_PAUSE_SECONDS)
        else:
            return
