"""What became of a run: one item as JSON, and all of them in a few lines."""

import json
import os
from pathlib import Path
from typing import Any, Final

from or_stream.batching import BatchItem, BatchStats
from or_stream.cli.batches._input import Prompts
from or_stream.cli.batches._progress import duration, money
from or_stream.cli.terminal import Terminal
from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.values import Image

__all__ = ["Tally", "json_line"]

_UNSENDABLE_KEPT: Final = 1000
_EXAMPLE_CHARACTERS: Final = 160


def json_line(item: BatchItem, line: int, folder: Path) -> str:
    """What a program wants of an item, in one line. Pictures are their paths in the folder, wherever it was when they were made,
    or addresses where the service sent those. `line` is where the prompt stands in the input.
    """
    message = item.message
    record: dict[str, Any] = {
        "index": item.index,
        "line": line,
        "key": item.key,
        "prompt": item.prompt,
        "model": item.model,
        "text": None if message is None else message.text,
        "pictures": [] if message is None else [_place(image, folder) for image in message.images],
        "error": None if item.error is None else {"type": type(item.error).__name__, "text": str(item.error)},
        "attempts": item.attempts,
        "cost": item.cost,
        "seconds": round(item.seconds, 3),
        "generation_ids": item.generation_ids,
        "resumed": item.is_resumed,
    }
    return json.dumps(record, default=str)


class Tally:
    """Counts nothing that the run counts itself; keeps an example of each kind of failure, and what was never sent."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts
        self.unsendable: list[BatchItem] = []
        self._examples: dict[str, str] = {}

    def add(self, item: BatchItem) -> None:
        """An item that has ended. The error of one that cannot be sent gets its line, where reading it has not said it."""
        if item.error is None:
            return
        line = f"line {self._prompts.line_of(item.index)}"
        if isinstance(item.error, ConfigurationError) and not str(item.error).startswith("line"):
            item.error.args = (f"{line}: {item.error}",)
        self._examples.setdefault(type(item.error).__name__, _example(item.error, line))
        if isinstance(item.error, ConfigurationError) and len(self.unsendable) < _UNSENDABLE_KEPT:
            self.unsendable.append(item)

    def report(self, terminal: Terminal, stats: BatchStats, journal: Path, sheet: Path | None) -> None:
        """The summary, to standard error."""
        ended = stats.finished - stats.resumed + stats.failed
        rate = f", {ended / stats.seconds:.1f}/s" if ended and stats.seconds else ""
        resumed = f", {stats.resumed:,} of them by earlier runs" if stats.resumed else ""
        duplicates = f", and {stats.duplicates:,} said the same as another" if stats.duplicates else ""
        terminal.note(f"done      {stats.finished:,}{_of(stats)}{resumed}{duplicates}", bold=True)
        if stats.failed:
            is_hopeless = stats.failures.keys() == {ConfigurationError.__name__}
            advice = "the input is to be mended" if is_hopeless else "the same command tries them again"
            terminal.note(f"failed    {stats.failed:,}; {advice}", bold=True)
            for kind, count in stats.failures.most_common():
                terminal.note(f"          {count:,} {kind}, such as {self._examples[kind]}")
        retries = f", {stats.retries:,} of them again" if stats.retries else ""
        terminal.note(
            f"took      {duration(stats.seconds)}{rate}, {stats.requests:,} request{'' if stats.requests == 1 else 's'}{retries}"
        )
        unsettled = f", and what {stats.unsettled:,} requests cost that nobody could tell" if stats.unsettled else ""
        terminal.note(f"cost      {money(stats.cost)}{_in_all(stats)}{unsettled}")
        terminal.note(f"journal   {journal}")
        if sheet is not None:
            terminal.note(f"sheet     {sheet}")

    def report_dry_run(self, terminal: Terminal, stats: BatchStats) -> None:
        """What a run would do."""
        total = (stats.total or 0) - stats.duplicates
        todo = total - stats.finished - stats.failed
        resumed = f", {stats.finished:,} are done" if stats.finished else ""
        terminal.note(f"prompts   {total:,}{resumed}, {todo:,} would be sent", bold=True)
        if stats.failed:
            example = next(iter(self._examples.values()))
            terminal.note(f"unusable  {stats.failed:,}, such as {example}", bold=True)
        known = todo - stats.unsettled
        estimate = 0.0 if stats.projected_cost is None else stats.projected_cost - stats.cost
        spent = f", beside the {money(stats.cost)} spent" if stats.cost else ""
        if known or not todo:
            terminal.note(f"cost      about {money(estimate)}{spent}, at the prices of the catalogue")
        if stats.unsettled:
            terminal.note(f"          {stats.unsettled:,} have a model without a known price")


def _example(error: OrStreamError, line: str) -> str:
    text = " ".join(str(error).split())
    short = text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[:_EXAMPLE_CHARACTERS]}…"
    return short if isinstance(error, ConfigurationError) else f"{line}: {short}"


def _place(image: Image, folder: Path) -> str:
    return os.fspath(folder / Path(image.path).name) if image.path else image.url or ""


def _of(stats: BatchStats) -> str:
    return "" if stats.total is None else f" of {stats.total - stats.duplicates:,}"


def _in_all(stats: BatchStats) -> str:
    return " with all earlier runs" if stats.resumed else ""
