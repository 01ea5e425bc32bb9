"""Where prompts come from: a file, which is counted first, or a pipe, which is read as it comes; all of it or a part."""

import asyncio
import re
import threading
import zlib
from array import array
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from or_stream.cli.batches._formats import Format, FormatName, Record, open_format
from or_stream.errors import ConfigurationError, OrStreamError

__all__ = ["Prompts", "Shard", "open_prompts"]

_BY_SUFFIX: Final[dict[str, FormatName]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "lines",
}
_READ_AHEAD: Final = 256
_JOURNAL: Final = re.compile(r"journal(?:-\d+-of-(\d+))?\.jsonl")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, from 1 on. Which part a prompt belongs to follows from what its line says."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """`2/8` is the second of eight parts. Raises ValueError for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise ValueError(f"{text!r} is not like 2/8, the second of eight parts")
        return cls(int(match[1]), int(match[2]))

    @property
    def suffix(self) -> str:
        """What the names of this part's own files end in."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"

    def check(self, folder: Path) -> None:
        """Raises ConfigurationError where a run has made another division: what it has done would be done again."""
        for other in folder.glob("journal*.jsonl"):
            match = _JOURNAL.fullmatch(other.name)
            if match is not None and int(match[1] or 1) != self.count:
                raise ConfigurationError(
                    f"{str(other)!r} is of a run in {match[1] or 1} parts, of which this one knows nothing and would pay again: "
                    "use the same --shard, or another folder"
                )

    def takes(self, record: Record) -> bool:
        """Whether it is of this part. Equal lines are of the same one."""
        return self.count == 1 or zlib.crc32(record.identity) % self.count == self.number - 1


def open_prompts(source: str, named: FormatName | None, shard: Shard, *, ignores_unknown: bool) -> "_PromptFile | _PromptPipe":
    """The prompts of a file, or of standard input where it is `-`. What can be counted has a length.

    Waits for the first prompt, and raises ConfigurationError for what cannot be read as a whole. A bad line is a
    ConfigurationError among the prompts.
    """
    path = Path(source)
    if source != "-" and (not path.exists() or path.is_dir()):
        raise ConfigurationError(f"{source!r} is {'a folder' if path.is_dir() else 'not there'}: name a file of prompts")
    name = named or _guessed(source)
    read = partial(open_format, name, is_guessed=named is None, ignores_unknown=ignores_unknown)
    if source != "-" and path.is_file():
        return _PromptFile(source, read, shard)
    return _PromptPipe(source, read, shard)


def _guessed(source: str) -> FormatName:
    if source == "-":
        return "lines"
    suffix = Path(source).suffix.lower()
    if suffix not in _BY_SUFFIX:
        raise ConfigurationError(f"{source!r} does not say by its name what is in it: say --format jsonl, csv, tsv or lines")
    return _BY_SUFFIX[suffix]


class _Prompts:
    """An input of `batch`, iterable in one of the two ways, that knows its lines."""

    def __init__(self, source: str, read: "partial[Format]", shard: Shard) -> None:
        self._source = source
        self._open = read
        self._shard = shard
        self._begins_at = array("Q")

    def line_of(self, index: int) -> int:
        """In which line of the input the prompt begins that was read as number `index`, from 0 on."""
        return self._begins_at[index]

    def _read(self) -> Iterator[Any]:
        self._begins_at = array("Q")
        with _opened(self._source) as file:
            records = self._open(_lines(file, self._source))
            for record in records:
                if self._shard.takes(record):
                    self._begins_at.append(record.line)
                    yield records.read(record)


class _PromptFile(_Prompts):
    """May be iterated more than once."""

    def __init__(self, source: str, read: "partial[Format]", shard: Shard) -> None:
        super().__init__(source, read, shard)
        with _opened(source) as file:
            self._count = sum(1 for record in read(file) if shard.takes(record))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        return self._read()


class _PromptPipe(_Prompts):
    """The first prompt is waited for here, before anything is made for the others."""

    def __init__(self, source: str, read: "partial[Format]", shard: Shard) -> None:
        super().__init__(source, read, shard)
        rest = self._read()
        self._prompts = chain(list(islice(rest, 1)), rest)

    def __aiter__(self) -> AsyncIterator[Any]:
        return _from_thread(self._prompts)


Prompts = _PromptFile | _PromptPipe


def _lines(file: BinaryIO, source: str) -> Iterator[bytes]:
    try:
        yield from file
    except OSError as error:
        raise OrStreamError(f"{source!r} could not be read to its end: {error.strerror or error}") from error


def _opened(source: str) -> BinaryIO:
    try:
        # Not sys.stdin: a thread may still wait for it when the process ends.
        return open(0, "rb", closefd=False) if source == "-" else Path(source).open("rb")
    except OSError as error:
        raise ConfigurationError(f"{source!r} cannot be read: {error.strerror or error}") from error


async def _from_thread(prompts: Iterator[Any]) -> AsyncIterator[Any]:
    """The same prompts, read in a thread that nobody waits for: whoever writes into a pipe may take all day."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[tuple[Any, bool]] = asyncio.Queue()
    room = threading.Semaphore(_READ_AHEAD)

    def pump() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody wants any more
            try:
                for prompt in prompts:
                    loop.call_soon_threadsafe(arrived.put_nowait, (prompt, False))
                    room.acquire()
            except Exception as error:  # noqa: BLE001  # raised where the prompts are taken
                loop.call_soon_threadsafe(arrived.put_nowait, (error, True))
            else:
                loop.call_soon_threadsafe(arrived.put_nowait, (None, True))

    threading.Thread(target=pump, daemon=True).start()
    while True:
        prompt, is_end = await arrived.get()
        if is_end:
            break
        room.release()
        yield prompt
    if prompt is not None:
        raise prompt
