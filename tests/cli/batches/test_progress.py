"""What is said of a run while it goes on."""

import asyncio
import io
from collections import Counter

import pytest

from or_stream.batching import BatchStats
from or_stream.cli.batches._progress import Progress, Rate, _ended, describe, duration, money
from or_stream.cli.terminal import Terminal

RUNNING = BatchStats(
    total=10_000,
    finished=2_400,
    failed=100,
    duplicates=2,
    running=64,
    retries=1_012,
    refused=7,
    cost=10.004,
    projected_cost=40.1,
    failures=Counter({"ServerFailed": 90, "NotFound": 7, "StreamFailed": 3}),
)


def test_all_that_is_asked_for():
    """Progress, rate, time left, concurrency in use, cost and its projection, retries and the commonest failures are there."""
    assert [
        "2,500 of 9,998 · 25% · 12.5/s · 10 min 00 s left",
        "64 of 64 under way · $10.00 of about $40.10 · 1,012 retries, 7 rate limited",
        "100 failed: 90 ServerFailed, 7 NotFound, 3 StreamFailed",
    ] == describe(RUNNING, 12.5, concurrency=64)


def test_what_nobody_knows():
    """Of a pipe nobody knows how long it is: what is done is said, and nothing is made up."""
    assert ["3 done · 30.0/min", "1 of 16 under way · $0.00"] == describe(
        BatchStats(finished=3, running=1), 0.5, concurrency=16, columns=200
    )


def test_nothing_to_do():
    """No prompts at all is no division by zero."""
    assert "0 of 0 · 100%" == describe(BatchStats(total=0), 0.0, concurrency=1)[0]


@pytest.mark.parametrize(("columns", "bar"), [(80, "━━━━━━──────────────────"), (40, "")])
def test_bar(columns, bar):
    """A bar is there where there is room for it."""
    assert describe(RUNNING, 0.0, concurrency=1, columns=columns)[0].startswith(f"{bar} 2,500".strip())


def test_rate():
    """The rate is that of the last half minute, not of the whole run."""
    rate = Rate()
    assert 0.0 == rate.per_second
    for second in range(100):
        rate.note(second, 0)
        assert 0.0 == rate.per_second
    for second in range(100, 131):
        rate.note(second, 2 * (second - 100))
    assert 2.0 == rate.per_second


def test_rate_of_no_time():
    """Two looks at one moment tell no rate."""
    rate = Rate()
    rate.note(1.0, 0)
    rate.note(1.0, 5)
    assert 0.0 == rate.per_second


def test_rate_of_this_run():
    """What earlier runs have done is no part of the rate."""
    assert 3 == _ended(BatchStats(finished=5, resumed=3, failed=1))


@pytest.mark.parametrize(
    ("dollars", "text"), [(0, "$0.00"), (1234.5, "$1,234.50"), (0.0388, "$0.0388"), (0.000091, "$9.1e-05"), (1, "$1.00")]
)
def test_money(dollars, text):
    """Little money has the digits that say something."""
    assert text == money(dollars)


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0 s"), (61, "1 min 01 s"), (3600 * 30 + 120, "30 h 02 min")])
def test_duration(seconds, text):
    """A duration is in the two largest units."""
    assert text == duration(seconds)


class Watched(io.StringIO):
    """Sets `written` with the first line."""

    def __init__(self):
        super().__init__()
        self.written = asyncio.Event()

    def write(self, text):
        self.written.set()
        return super().write(text)


async def test_log():
    """Where there is no terminal a line is logged every few seconds, without a bar and without escape sequences."""
    notes = Watched()
    terminal = Terminal(io.StringIO(), notes, {})
    async with Progress(terminal, lambda: RUNNING, concurrency=64, log_seconds=0.01):
        await notes.written.wait()
    assert notes.getvalue().splitlines()[0].startswith("2,500 of 9,998 · 25% · 64 of 64 under way")
    assert "\x1b" not in notes.getvalue()


async def test_no_log_of_a_short_run():
    """A run that is over before a line is due logs nothing."""
    notes = io.StringIO()
    async with Progress(Terminal(io.StringIO(), notes, {}), BatchStats, concurrency=1):
        await asyncio.sleep(0)
    assert not notes.getvalue()
