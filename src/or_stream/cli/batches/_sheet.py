"""The contact sheet: pages that open from disk, with every item of a journal, in the order of the input."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import IO, Final, NamedTuple

from or_stream.batching import BatchItem, read_journal
from or_stream.cli.batches._page import END, Totals, head, item_html
from or_stream.errors import OrStreamError

__all__ = ["write_sheet"]

_ITEMS_A_PAGE: Final = 10_000


class _Piece(NamedTuple):
    """Where the HTML of an item stands among the others, while the pages are not written yet."""

    position: int
    offset: int
    size: int
    pictures: int | None  # None for a failed item


def write_sheet(
    journal: Path,
    sheet: Path,
    pictures: Path,
    *,
    title: str,
    cost: float,
    unsendable: Iterable[BatchItem] = (),
    items_a_page: int = _ITEMS_A_PAGE,
) -> None:
    """Write the sheet, and further pages beside it, from the journal and from items that never came so far. `cost` is of all.

    An item is held in memory only while it is written; a page is there whole, or as it was before. Raises OrStreamError where
    the disk does not take it.
    """
    try:
        with tempfile.TemporaryFile(dir=sheet.parent) as pieces:
            known = ((item.key, item) for item in read_journal(journal))
            strange = ((index, item) for index, item in enumerate(unsendable))  # their keys may be those of others
            kept = _write_pieces(chain(known, strange), pieces, _seen_from(sheet.parent, pictures))
            totals = _totals(kept, cost)
            pages = [kept[start : start + items_a_page] for start in range(0, len(kept), items_a_page)] or [[]]
            names = [sheet.name, *(f"{sheet.stem}-page-{number}{sheet.suffix}" for number in range(2, len(pages) + 1))]
            for number, (name, page) in enumerate(zip(names, pages, strict=True), 1):
                with _replaced(sheet.with_name(name)) as file:
                    file.write(head(title, totals, number, names).encode())
                    for piece in page:
                        pieces.seek(piece.offset)
                        file.write(pieces.read(piece.size))
                    file.write(END.encode())
    except OSError as error:
        raise OrStreamError(f"the sheet {str(sheet)!r} cannot be written: {error.strerror or error}") from error


def _write_pieces(items: Iterable[tuple[str | int, BatchItem]], file: IO[bytes], pictures: str) -> list[_Piece]:
    """All items as HTML; of those with one name, the last."""
    by_name: dict[str | int, _Piece] = {}
    offset = 0
    for name, item in items:
        html = item_html(item, pictures).encode()
        file.write(html)
        pictures_made = None if item.message is None else len(item.message.images)
        by_name[name] = _Piece(item.index, offset, len(html), pictures_made)
        offset += len(html)
    return sorted(by_name.values())


def _totals(pieces: list[_Piece], cost: float) -> Totals:
    totals = Totals(cost=cost, written_at=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"))
    for piece in pieces:
        if piece.pictures is None:
            totals.failed += 1
        else:
            totals.done += 1
            totals.pictures += piece.pictures
    return totals


def _seen_from(folder: Path, pictures: Path) -> str:
    return Path(os.path.relpath(pictures, folder)).as_posix()


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of this one once it is whole."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
