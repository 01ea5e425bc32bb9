"""A run while it goes on: lines that a clock repaints, where they can move, and a line of a log every few seconds elsewhere.

What an item costs here is nothing: its end is seen at the next tick.
"""

import asyncio
import shutil
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from or_stream.batching import BatchStats
from or_stream.cli.terminal import Terminal

__all__ = ["Progress", "duration", "money"]

_TICK_SECONDS: Final = 0.25
_LOG_SECONDS: Final = 10.0
_RATE_SECONDS: Final = 30.0
_BAR_COLUMNS: Final = 24
_KINDS_SHOWN: Final = 3


class Progress:
    """Shown while it is entered. `concurrency` is what the run may have under way; `stats` says how it stands."""

    def __init__(
        self, terminal: Terminal, stats: Callable[[], BatchStats], *, concurrency: int, log_seconds: float = _LOG_SECONDS
    ) -> None:
        self._terminal = terminal
        self._stats = stats
        self._concurrency = concurrency
        self._log_seconds = log_seconds
        self._rate = Rate()
        self._lines: list[str] = ["starting"]
        self._ticking: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._terminal.watch(lambda: "\n".join(self._lines))
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._ticking is not None
        self._ticking.cancel()
        with suppress(asyncio.CancelledError):
            await self._ticking
        self._terminal.settle()

    async def _tick(self) -> None:
        logged_at = time.monotonic()
        while True:
            stats, now = self._stats(), time.monotonic()
            self._rate.note(now, _ended(stats))
            self._lines = describe(stats, self._rate.per_second, concurrency=self._concurrency, columns=self._columns())
            if not self._terminal.moves and now - logged_at >= self._log_seconds:
                logged_at = now
                self._terminal.note(" · ".join(self._lines))
            await asyncio.sleep(min(_TICK_SECONDS, self._log_seconds))

    def _columns(self) -> int:
        return shutil.get_terminal_size().columns if self._terminal.moves else 0


class Rate:
    """Items a second, over the last half minute."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, ended: int) -> None:
        """So many have ended by now."""
        self._seen.append((now, ended))
        while now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()

    @property
    def per_second(self) -> float:
        """0 as long as nothing can be told."""
        if len(self._seen) < 2:
            return 0.0
        (began, before), (now, ended) = self._seen[0], self._seen[-1]
        return (ended - before) / (now - began) if now > began else 0.0


def describe(stats: BatchStats, per_second: float, *, concurrency: int, columns: int = 0) -> list[str]:
    """How far it is, what it takes, and what has failed, a line each. A bar is there where `columns` leave room for one."""
    ended = stats.finished + stats.failed
    if stats.total is None:
        far = [f"{ended:,} done"]
    else:
        total = max(0, stats.total - stats.duplicates)
        share = ended / total if total else 1.0
        far = [f"{ended:,} of {total:,}", f"{share:.0%}"]
        if columns >= 3 * _BAR_COLUMNS:
            full = round(share * _BAR_COLUMNS)
            far[0] = f"{'━' * full}{'─' * (_BAR_COLUMNS - full)} {far[0]}"
    if per_second:
        far.append(_pace(per_second))
        if stats.total is not None:
            far.append(f"{duration((total - ended) / per_second)} left")
    takes = [f"{stats.running} of {concurrency} under way", _money_so_far(stats)]
    if stats.retries:
        takes.append(
            f"{stats.retries:,} {'retry' if stats.retries == 1 else 'retries'}"
            + (f", {stats.refused:,} rate limited" if stats.refused else "")
        )
    lines = [" · ".join(far), " · ".join(takes)]
    if stats.failed:
        kinds = [f"{count:,} {kind}" for kind, count in stats.failures.most_common(_KINDS_SHOWN)]
        lines.append(f"{stats.failed:,} failed: {', '.join(kinds)}")
    return lines


def money(dollars: float) -> str:
    """Cents, and more digits where those say nothing."""
    return f"${dollars:,.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}" if dollars >= 0.01 else f"${dollars:.2g}"


def duration(seconds: float) -> str:
    """In the two largest units."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _pace(per_second: float) -> str:
    return f"{per_second:,.1f}/s" if per_second >= 1 else f"{per_second * 60:,.1f}/min"


def _money_so_far(stats: BatchStats) -> str:
    projected = stats.projected_cost
    return money(stats.cost) + ("" if projected is None else f" of about {money(projected)}")


def _ended(stats: BatchStats) -> int:
    return stats.finished - stats.resumed + stats.failed
