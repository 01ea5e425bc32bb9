"""Lines in, prompts out: JSON lines, CSV and plain lines. Nothing is read ahead, and a bad line spoils only itself.

A format first cuts the lines into records, which is cheap and enough to count them, and then reads those that are wanted.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final, Literal, Protocol, get_type_hints

from or_stream.client import GenerationOptions, ImageConfig
from or_stream.errors import ConfigurationError

__all__ = ["Format", "FormatName", "Record", "open_format"]

FormatName = Literal["jsonl", "csv", "tsv", "lines"]

_TYPES: Final = get_type_hints(GenerationOptions)
# What a file cannot hold, or the command decides for all prompts.
_NOT_IN_A_FILE: Final = frozenset({"retry", "save_to", "timeouts"})
_FIELDS: Final = frozenset({"prompt", "key", "model", *_TYPES}) - _NOT_IN_A_FILE
_OF_PICTURES: Final = frozenset(ImageConfig.__annotations__)
_TEXTS: Final = frozenset(
    {"prompt", "key", "model", "api", *(name for name, kind in _TYPES.items() if kind in (str, str | None))}
)
_LISTS: Final = frozenset({"images", "modalities", "models", "stop"})
_WORDS: Final = frozenset({"tool_choice"})
_TOO_LONG: Final = "field larger than field limit"
_IGNORE: Final = "--ignore-unknown leaves such out"


@dataclass(frozen=True, slots=True)
class Record:
    """What stands for one prompt, not looked into yet: a line, the cells of a row, or why there are none; where it begins."""

    line: int
    content: str | list[str] | ConfigurationError

    @property
    def identity(self) -> bytes:
        """The same for the same content, wherever it stands."""
        cells = [self.content] if isinstance(self.content, str) else self.content
        text = f"line {self.line}" if isinstance(cells, ConfigurationError) else "\0".join(cells)
        return text.encode(errors="surrogateescape")


class Format(Protocol):
    """Lines of a file, which may raise ConfigurationError where the file as a whole cannot be used."""

    def __iter__(self) -> Iterator[Record]:
        """All records."""

    def read(self, record: Record) -> Any:
        """The prompt, as `batch` takes it; for a bad record a ConfigurationError, which is not raised."""


def open_format(name: FormatName, lines: Iterable[bytes], *, is_guessed: bool, ignores_unknown: bool) -> Format:
    """The format over these lines. One that was guessed is refused where the first line says otherwise."""
    text = _decoded(lines)
    if name == "jsonl":
        return _JsonLines(text, ignores_unknown=ignores_unknown)
    if name == "lines":
        return _PlainLines(text, is_guessed=is_guessed)
    return _Rows(text, "," if name == "csv" else "\t", ignores_unknown=ignores_unknown)


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Bytes that are no UTF-8 become lone surrogates, for `_text` to complain of in their own record."""
    for number, line in enumerate(lines):
        if number == 0:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in line:
                raise ConfigurationError("the input is UTF-16 or no text at all: save it as UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
        yield line.decode(errors="surrogateescape")


class _PlainLines:
    def __init__(self, lines: Iterator[str], *, is_guessed: bool) -> None:
        self._lines = lines
        self._is_guessed = is_guessed

    def __iter__(self) -> Iterator[Record]:
        for record in _full_lines(self._lines):
            if self._is_guessed and _is_json_prompt(record.content):
                raise ConfigurationError(
                    "the first line is JSON, but the input would be read as plain lines: say --format jsonl, or --format lines"
                )
            self._is_guessed = False
            yield record

    def read(self, record: Record) -> str | ConfigurationError:
        try:
            return _text(record)
        except ConfigurationError as error:
            return error


class _JsonLines:
    def __init__(self, lines: Iterator[str], *, ignores_unknown: bool) -> None:
        self._lines = lines
        self._ignores_unknown = ignores_unknown

    def __iter__(self) -> Iterator[Record]:
        return _full_lines(self._lines)

    def read(self, record: Record) -> Any:
        try:
            return self._prompt(_json(_text(record), record.line), record.line)
        except ConfigurationError as error:
            return error

    def _prompt(self, value: object, line: int) -> Any:
        if not isinstance(value, dict):
            return _checked_prompt(value, line)
        given = {name: part for name, part in value.items() if name in _FIELDS}
        if unknown := sorted(value.keys() - _FIELDS):
            _refuse_unknown(unknown[0], f"line {line}: ", ignores_unknown=self._ignores_unknown)
        if "prompt" not in given:
            raise ConfigurationError(f'line {line} has no "prompt"')
        _checked_prompt(given["prompt"], line)
        return given


class _Rows:
    """The first row names the columns."""

    def __init__(self, lines: Iterator[str], delimiter: str, *, ignores_unknown: bool) -> None:
        first = next(lines, "")
        if delimiter not in first and ";" in first:  # what spreadsheets write where a comma is a decimal point
            delimiter = ";"
        self._reader = csv.reader(chain([first], lines), delimiter=delimiter, strict=True)
        self._ignores_unknown = ignores_unknown
        self._columns: list[str] = []

    def __iter__(self) -> Iterator[Record]:
        while (record := self._next()) is not None:
            if not record.content:
                continue
            if self._columns:
                yield record
            else:
                self._columns = self._header(record)

    def read(self, record: Record) -> Any:
        try:
            return self._prompt(record)
        except ConfigurationError as error:
            return error

    def _next(self) -> Record | None:
        begins_at = self._reader.line_num + 1
        try:
            return Record(begins_at, next(self._reader))
        except StopIteration:
            return None
        except csv.Error as error:
            ends_at = self._reader.line_num
            place = f"line {begins_at}" if ends_at <= begins_at else f"lines {begins_at} to {ends_at}"
            if str(error).startswith(_TOO_LONG):  # what follows may stand inside of a cell, and would be sent as if it did not
                limit = f"{csv.field_size_limit():,} characters"
                raise ConfigurationError(
                    f"{place}: a cell of more than {limit}: is a quote missing, or is JSON better?"
                ) from None
            return Record(begins_at, ConfigurationError(f"{place}: not well quoted: {error}"))

    def _header(self, record: Record) -> list[str]:
        columns = [column.strip() for column in _cells(record)]
        if "prompt" not in columns:
            raise ConfigurationError(
                f"the first row must name the columns, one of them `prompt`: it is {', '.join(columns)[:200]!r}"
            )
        for column in columns:
            if columns.count(column) > 1:
                raise ConfigurationError(f"two columns are named {column!r}")
            if column not in _FIELDS | _OF_PICTURES:
                _refuse_unknown(column, "column ", ignores_unknown=self._ignores_unknown)
        return columns

    def _prompt(self, record: Record) -> dict[str, Any]:
        cells, line = _cells(record), record.line
        if len(cells) != len(self._columns):
            raise ConfigurationError(f"line {line} has {len(cells)} cells, the first row {len(self._columns)}")
        given: dict[str, Any] = {}
        for column, cell in zip(self._columns, cells, strict=True):
            if column in _FIELDS and cell.strip():
                given[column] = _value(column, cell, line)
        pictures = {column: cell.strip() for column, cell in zip(self._columns, cells, strict=True) if column in _OF_PICTURES}
        if any(pictures.values()):
            own = given.get("image_config", {})
            if not isinstance(own, Mapping):
                raise ConfigurationError(f"line {line}: image_config must be a JSON object")
            given["image_config"] = {**own, **{name: value for name, value in pictures.items() if value}}
        _checked_prompt(given.get("prompt", ""), line)
        return given


def _full_lines(lines: Iterator[str]) -> Iterator[Record]:
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text:
            yield Record(number, text)


def _text(record: Record) -> str:
    assert isinstance(record.content, str)
    return _utf8(record.content, record.line)


def _cells(record: Record) -> list[str]:
    if isinstance(record.content, ConfigurationError):
        raise record.content
    return [_utf8(cell, record.line) for cell in record.content]


def _utf8(text: str, line: int) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = ord(text[error.start]) - 0xDC00
        raise ConfigurationError(f"line {line} is not UTF-8: there is a byte 0x{byte:02x} in it") from None
    return text


def _json(text: str, line: int) -> Any:
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"line {line} is not JSON: {error}") from None


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_json_prompt(content: object) -> bool:
    try:
        value = json.loads(str(content))
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "prompt" in value


def _checked_prompt(prompt: object, line: int) -> object:
    if not isinstance(prompt, str | list):
        raise ConfigurationError(f"line {line}: a prompt is a text, or a list of messages, not {json.dumps(prompt)[:60]}")
    if not (prompt.strip() if isinstance(prompt, str) else prompt):
        raise ConfigurationError(f"line {line}: the prompt is empty")
    return prompt


def _refuse_unknown(name: str, place: str, *, ignores_unknown: bool) -> None:
    if name in _NOT_IN_A_FILE:
        raise ConfigurationError(f"{place}{name!r} cannot be said in a file")
    if not ignores_unknown:
        raise ConfigurationError(f"{place}{name!r} is neither `prompt` nor `key` nor an option of a request: {_IGNORE}")


def _value(column: str, cell: str, line: int) -> Any:
    """A cell as the option wants it: a text, or a number, a truth value or other JSON."""
    if column in _TEXTS:
        return cell
    text = cell.strip()
    if column in _LISTS and not text.startswith("["):
        return [text]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return json.loads(text, parse_constant=_no_json)
    except (ValueError, RecursionError):
        if column in _WORDS:
            return text
    raise ConfigurationError(f"line {line}: {column} must be a number or other JSON, not {text[:60]!r}")
