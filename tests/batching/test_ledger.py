"""Money: what is set aside, what is spent, and when it is enough."""

import asyncio

import pytest

from or_stream import BudgetExceeded
from or_stream.batching.pacing import BatchStats, Ledger


@pytest.fixture
def stats():
    return BatchStats()


async def test_without_a_budget(stats):
    """Any number of requests may be under way."""
    ledger = Ledger(stats, None)
    for _ in range(100):
        assert await ledger.reserve("m", 5.0) == 5.0


async def test_reserved_counts(stats):
    """What is under way is held against the budget at its price, until it has ended."""
    ledger = Ledger(stats, 0.35)
    for _ in range(3):
        await ledger.reserve("m", 0.1)
    waiting = asyncio.ensure_future(ledger.reserve("m", 0.1))
    await asyncio.sleep(0)
    assert not waiting.done()
    ledger.charge("m", 0.1)
    ledger.release(0.1)
    await asyncio.sleep(0)
    assert not waiting.done()
    ledger.charge("m", 0.05)
    ledger.release(0.1)
    assert await waiting == pytest.approx(0.075)


async def test_nothing_left(stats):
    """Where nothing is under way and the next request would pass it, that is the end."""
    stats.cost = 0.95
    with pytest.raises(BudgetExceeded, match=r"\$0.95"):
        await Ledger(stats, 1.0).reserve("m", 0.1)


async def test_unknown_price_goes_alone(stats):
    """A model of which nobody knows the price is asked once, and then its own cost is the estimate."""
    ledger = Ledger(stats, 1.0)
    await ledger.reserve("m", None)
    waiting = asyncio.ensure_future(ledger.reserve("m", None))
    await asyncio.sleep(0)
    assert not waiting.done()
    ledger.charge("m", 0.25)
    ledger.release(0.0)
    assert await waiting == 0.25


async def test_mean_wins_over_the_price(stats):
    """What requests have cost says more than the catalogue."""
    ledger = Ledger(stats, None)
    ledger.charge("m", 0.1)
    ledger.charge("m", 0.3)
    assert await ledger.reserve("m", 9.0) == pytest.approx(0.2)
    assert await ledger.reserve("n", 9.0) == 9.0


def test_unknown_cost_is_counted(stats):
    """A request of which nobody can say what it cost is no zero."""
    Ledger(stats, None).charge("m", None)
    assert (stats.cost, stats.unsettled) == (0, 1)


async def test_unknown_cost_is_held_against_the_budget(stats):
    """What nobody can tell is taken for what was expected, so that the budget ends a run all the same."""
    ledger = Ledger(stats, 0.25)
    for _ in range(2):
        reserved = await ledger.reserve("m", 0.1)
        ledger.charge("m", None, expected=reserved)
        ledger.release(reserved)
    with pytest.raises(BudgetExceeded):
        await ledger.reserve("m", 0.1)


def test_projection(stats):
    """What is left to do costs what an item has cost so far."""
    ledger = Ledger(stats, None)
    assert ledger.project(10) is None
    ledger.charge("m", 0.2)
    ledger.charge("m", 0.2)
    stats.finished = 1
    assert ledger.project(None) is None
    assert ledger.project(10) == pytest.approx(4.4)
    assert ledger.project(0) == pytest.approx(0.4)
