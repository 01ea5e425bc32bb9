"""`or-stream inspect`: what is in a recorded answer, event by event."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import typer

from or_stream.cli._outcome import run
from or_stream.cli.terminal import file_size, printable
from or_stream.emulator.recording import Recording, exchange_folders, read_head, read_pieces
from or_stream.emulator.recording.inspection import Explained, Inspection
from or_stream.errors import ConfigurationError
from or_stream.protocol import API

__all__ = ["inspect"]

_READ_BYTES: Final = 64 * 1024
_COLUMNS: Final = 140
_MARGIN: Final = " " * 21
_COMMON_AT_LEAST: Final = 40


def inspect(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A recording, a folder of recordings, or a file of bytes. [bold]-[/bold] reads standard input."
        ),
    ],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: one for each event, the summary last.")] = False,
) -> None:
    """Explain a recorded answer, event by event.

    Each event with its place in bytes, when it came where that is known, and its data without base64;
    below it what or_stream makes of it, and what is odd in it. At the end what it all comes to.
    Takes recordings of [bold]or-stream emulate --record[/bold], and any file with a stream or a JSON answer in it,
    be it damaged or no stream at all. Of a folder of recordings it tells what is in there.
    """

    async def show() -> None:
        _show(file, _Lines() if as_json else _Table())

    run(show)


def _show(file: str, tell: "_Lines | _Table") -> None:
    path = Path(file)
    if file == "-":
        _explain(_read(sys.stdin.buffer), None, tell)
    elif (exchange := _exchange_of(path)) is not None:
        _explain(read_pieces(exchange), read_head(exchange), tell)
    elif path.is_dir():
        for folder in _recordings_in(path):
            tell.recording(read_head(folder))
    else:
        with _opened(path) as opened:
            _explain(_read(opened), None, tell)


class _Lines:
    """For programs: JSON lines."""

    def recording(self, recording: Recording) -> None:
        request, answer = asdict(recording.request), asdict(recording.answer) if recording.answer else None
        self._print(recording={"name": recording.name, "request": request, "answer": answer, "end": recording.end})

    def event(self, explained: Explained) -> None:
        self._print(**asdict(explained))

    def summary(self, summary: dict[str, Any]) -> None:
        self._print(summary=summary)

    def _print(self, **said: Any) -> None:
        print(json.dumps(said))


class _Table:
    """For people. What an event has in common with the one before is left out: most of a chunk is. Comments in a row are one."""

    def __init__(self) -> None:
        self._before = ""
        self._comment: Explained | None = None
        self._comments = 0

    def recording(self, recording: Recording) -> None:
        asked, answer = recording.request, recording.answer
        self._print(recording.name)
        self._print(f"  {asked.method} {asked.path}{'?' if asked.query else ''}{asked.query} · {asked.started}")
        status = f"HTTP {answer.status} after {answer.seconds:.3f} s" if answer else "no answer"
        made_here = f" · made by the recorder: {answer.made_here}" if answer and answer.made_here else ""
        self._print(f"  {status} · {recording.end} after {recording.seconds:.3f} s{made_here}")

    def event(self, explained: Explained) -> None:
        first, is_plain = self._comment, explained.kind == "comment" and not explained.oddities
        if first is not None and is_plain and (explained.shown, explained.events) == (first.shown, first.events):
            self._comments += 1
            return
        self._tell_comments()
        if is_plain:
            self._comment, self._comments = explained, 1
        else:
            self._row(explained)

    def _tell_comments(self) -> None:
        comment, self._comment = self._comment, None
        if comment is not None:
            times = f" x{self._comments}" if self._comments > 1 else ""
            self._row(replace(comment, shown=comment.shown + times, events=[told + times for told in comment.events]))

    def _row(self, explained: Explained) -> None:
        seconds = f"{explained.seconds:8.3f} s" if explained.seconds is not None else " " * 10
        self._print(f"{explained.offset:>9}{seconds}  {explained.kind:9} {self._news(explained.shown)}")
        for told in explained.events:
            self._print(f"{_MARGIN}  -> {told}")
        if explained.oddities:
            self._print(f"{_MARGIN}  ! {', '.join(explained.oddities)}")

    def summary(self, summary: dict[str, Any]) -> None:
        self._tell_comments()
        print()
        for name, value in _summary_rows(summary):
            self._print(f"{name:11}{value}")

    def _news(self, shown: str) -> str:
        if not shown.startswith("{"):
            return shown
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(self._before, shown, strict=False)))
        begin = shown.rfind(',"', 0, common)
        self._before = shown
        return shown if begin < _COMMON_AT_LEAST else f"{{…{shown[begin:]}"

    def _print(self, line: str) -> None:
        text = printable(line).replace("\n", " ")
        print(text if len(text) <= _COLUMNS else f"{text[: _COLUMNS - 1]}…")


def _explain(pieces: Iterable[tuple[float | None, bytes]], recording: Recording | None, tell: _Lines | _Table) -> None:
    inspection = Inspection()
    if recording is not None:
        tell.recording(recording)
        if recording.answer is not None:
            api: API = "images" if recording.request.path.endswith(("/images", "/images/generations")) else "chat"
            inspection = Inspection(content_type=recording.content_type, status=recording.answer.status, api=api)
    for seconds, data in pieces:
        for explained in inspection.feed(data, seconds):
            tell.event(explained)
    for explained in inspection.finish(recording.end if recording is not None else "complete"):
        tell.event(explained)
    tell.summary(inspection.summary())


def _summary_rows(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is worth a line, and the line."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in summary["kinds"].items())
    yield "what", f"{summary['what']} of {file_size(summary['bytes'])}: {kinds or 'nothing'}"
    yield "or_stream", summary["conclusion"]
    if summary["connection"] != "complete":
        yield "connection", summary["connection"]
    yield from ((name, str(summary[name])) for name in ("id", "model", "provider") if summary.get(name))
    if summary.get("text_characters"):
        yield "text", f"{summary['text_characters']} characters: {summary['text']!r}"
    if summary.get("reasoning_characters"):
        yield "reasoning", f"{summary['reasoning_characters']} characters"
    if summary.get("refusal"):
        yield "refusal", repr(summary["refusal"])
    for image in summary.get("images", ()):
        pixels = f" {image['width']}x{image['height']}" if image["width"] else ""
        yield "image", image.get("url") or f"{image['media_type']}{pixels}, {image['bytes']} bytes, sha256 {image['sha256'][:12]}"
    for call in summary.get("tool_calls", ()):
        yield "tool call", f"{call['name']}({call['arguments']})"
    if summary.get("audio_bytes"):
        yield "audio", file_size(summary["audio_bytes"])
    if summary.get("usage"):
        counters = {name: value for name, value in summary["usage"].items() if isinstance(value, int) and name != "is_byok"}
        yield "usage", ", ".join(f"{name} {value}" for name, value in counters.items() if value) or "nothing"
    if summary.get("cost") is not None:
        yield "cost", f"${summary['cost']:.6f}"
    if summary.get("finish_reason"):
        native = summary["native_finish_reason"]
        yield "finish", summary["finish_reason"] + (f" (the provider said {native})" if native else "")
    if summary.get("first_content_seconds") is not None:
        yield "first", f"content after {summary['first_content_seconds']:.3f} s"
    odd = ", ".join(name if count == 1 else f"{name} ({count} times)" for name, count in summary["oddities"].items())
    yield "odd", odd or "nothing"


def _exchange_of(path: Path) -> Path | None:
    """The folder of the exchange that the path is, or whose answer it is."""
    folder = path if path.is_dir() else path.parent
    is_of_it = path.is_dir() or path.name.partition(".")[0] in ("exchange", "answer")
    return folder if is_of_it and (folder / "exchange.jsonl").is_file() else None


def _recordings_in(folder: Path) -> list[Path]:
    if found := exchange_folders(folder):
        return found
    raise ConfigurationError(f"there are no recordings in {folder}")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror or error}") from error


def _read(opened: BinaryIO) -> Iterator[tuple[None, bytes]]:
    while data := opened.read(_READ_BYTES):
        yield None, data
