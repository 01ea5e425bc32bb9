"""What a run says it has spent, against the bill of the emulator."""

import asyncio
import random
from itertools import cycle

import pytest

from or_stream import BudgetExceeded, ConfigurationError, RetryPolicy
from or_stream.batching import batch
from or_stream.batching.records import Journal
from or_stream.emulator import Scenario, Wait, scenarios

PRICE = 6.36e-05  # of the emulator's usual answer
SHORT = {"modalities": ["text"], "max_tokens": 20}  # so that the catalogue expects no more than that either


def prompts(count):
    return [f"prompt {number}" for number in range(count)]


def without_usage():
    steps = scenarios.text("one two").steps
    return Scenario(steps[:-2])


async def test_cost_is_the_bill(emulator, run):
    """Costs of items add up to the run's, and that is the bill."""
    running = run(prompts(30))
    items = await running.collect()
    assert sum(item.cost for item in items) == pytest.approx(running.stats.cost) == pytest.approx(emulator.bill.total)
    assert running.stats.projected_cost == pytest.approx(emulator.bill.total)


async def test_cut_streams_are_settled(emulator, run):
    """The cost of a stream that was cut, and of one that did not say its usage, is asked for and counted."""
    kinds = cycle([scenarios.closed("half"), scenarios.text("one two"), without_usage(), scenarios.midstream_error("half")])
    emulator.script = lambda record: next(kinds)
    running = run(prompts(40), concurrency=8, retry=RetryPolicy(attempts=4, base_seconds=0, restart=True))
    items = await running.collect()
    assert running.stats.cost == pytest.approx(emulator.bill.total, abs=1e-9)
    assert sum(item.cost or 0 for item in items) == pytest.approx(emulator.bill.total, abs=1e-9)
    assert running.stats.unsettled == 0


async def test_cost_that_comes_late(emulator, run):
    """The service knows of a generation only some time after its end."""
    emulator.generation_delay_seconds = 0.4
    emulator.play(scenarios.closed("half"))
    running = run(["a"], retry=RetryPolicy(attempts=1))
    (item,) = await running.collect()
    assert item.cost == pytest.approx(emulator.bill.total)
    assert emulator.bill.total > 0


async def test_costs_of_a_run_that_was_left(emulator, run, tmp_path):
    """What was under way when a run was left has its price, which the next one finds out."""
    emulator.play(scenarios.text("done"))
    emulator.scenario = scenarios.text_for_ever()
    async for _ in run(prompts(5), journal=tmp_path / "j", concurrency=3):
        await emulator.received(4)
        await asyncio.sleep(0.1)
        break
    await asyncio.sleep(0.1)
    emulator.scenario = scenarios.text("one two")
    running = run(prompts(5), journal=tmp_path / "j")
    await running.collect()
    assert len(emulator.bill) >= 6
    assert running.stats.cost == pytest.approx(emulator.bill.total)


async def test_budget(emulator, run, tmp_path):
    """No more is sent than fits; what is spent is handed out, and the rest is for a higher budget."""
    running = run(prompts(100), budget=10.5 * PRICE, concurrency=4, journal=tmp_path / "j", **SHORT)
    with pytest.raises(BudgetExceeded) as caught:
        await running.collect()
    assert len(caught.value.partial) == 10
    assert emulator.bill.total <= 10.5 * PRICE
    with pytest.raises(BudgetExceeded):
        await run(prompts(100), budget=10.5 * PRICE, journal=tmp_path / "j", **SHORT).collect()
    assert len(emulator.bill) == 10
    assert len(await run(prompts(12), budget=1, journal=tmp_path / "j", **SHORT).collect()) == 12


@pytest.mark.parametrize("seed", range(3))
async def test_budget_with_uneven_costs(emulator, client, seed):
    """Whatever an answer turns out to cost, no more is spent than the budget and what was under way."""
    dice, concurrency, budget = random.Random(seed), 4, 40 * PRICE
    costs = []

    def answer(_):
        scenario = scenarios.text(" ".join(["word"] * dice.randint(1, 80)))
        costs.append(0)
        return Scenario(scenario.steps[:-2]).after(Wait(dice.random() * 0.01))

    emulator.script = answer
    with pytest.raises(BudgetExceeded):
        await batch(prompts(2000), client=client, concurrency=concurrency, budget=budget, **SHORT).collect()
    dearest = max(entry.cost for entry in emulator.bill)
    assert budget - dearest <= emulator.bill.total <= budget + concurrency * dearest


async def test_budget_of_nothing(emulator, run):
    """A budget of 0 sends nothing."""
    with pytest.raises(BudgetExceeded):
        await run(prompts(3), budget=0).collect()
    assert len(emulator.bill) == 0


async def test_dry_run(emulator, run, tmp_path):
    """Nothing is sent and nothing made; what is to be done is counted and priced."""
    await run(prompts(2), journal=tmp_path / "j").collect()
    running = run(iter(prompts(10)), journal=tmp_path / "j", save_to=tmp_path / "out", dry_run=True)
    assert await running.collect() == []
    assert (running.stats.total, running.stats.resumed) == (10, 2)
    assert 0.2 < running.stats.projected_cost < 2
    assert sum(record.method == "POST" for record in emulator.requests) == 2
    assert not (tmp_path / "out").exists()


async def test_dry_run_makes_no_journal(run, tmp_path):
    """Where there is no journal yet, a dry run makes none."""
    running = run(prompts(3), journal=tmp_path / "new" / "j", dry_run=True)
    await running.collect()
    assert running.stats.total == 3
    assert not (tmp_path / "new").exists()


async def test_dry_run_shows_what_cannot_be_sent(run):
    """A prompt that could not be sent is an item with its error, and the others are counted all the same."""
    running = run(["a", {"prompt": "b", "colour": "red"}, 5, "c"], dry_run=True)
    items = await running.collect()
    assert [(item.index, type(item.error)) for item in items] == [(1, ConfigurationError), (2, ConfigurationError)]
    assert (running.stats.failed, running.stats.projected_cost) == (2, pytest.approx(2 * await price_of_one(run)))


async def price_of_one(run):
    running = run(["a"], dry_run=True)
    await running.collect()
    return running.stats.projected_cost


async def test_cost_that_comes_too_late(emulator, run, tmp_path):
    """Where the service does not say in time what a request has cost, the next run asks again."""
    emulator.play(scenarios.closed("half"))
    emulator.play(scenarios.refused(403), path="/generation")
    running = run(["a"], journal=tmp_path / "j", retry=RetryPolicy(attempts=2, base_seconds=0, restart=True))
    (item,) = await running.collect()
    assert (item.error, running.stats.unsettled) == (None, 1)
    assert running.stats.cost < emulator.bill.total
    for _ in range(2):
        running = run(["a"], journal=tmp_path / "j")
        await running.collect()
        assert (running.stats.unsettled, running.stats.cost) == (0, pytest.approx(emulator.bill.total))
    assert sum(record.path.endswith("/generation") for record in emulator.requests) == 2


async def test_old_costs_without_a_client(emulator, run, tmp_path, monkeypatch):
    """The key and the address come from the environment also where an old cost is asked for."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    await run(["a"]).collect()
    with Journal(tmp_path / "j") as journal:
        journal.begun("a", next(iter(emulator.bill)).generation_id)
    running = batch([], journal=tmp_path / "j")
    await running.collect()
    assert (running.stats.cost, running.stats.unsettled) == (pytest.approx(emulator.bill.total), 0)


async def test_many_costs_that_nobody_tells(emulator, run, tmp_path, monkeypatch):
    """All old costs share one time in which they may be asked for again; after it each is asked for once."""
    monkeypatch.setattr("or_stream.batching._run._SECONDS_FOR_OLD_COSTS", 0.6)
    with Journal(tmp_path / "j") as journal:
        for number in range(50):
            journal.begun("a", f"gen-{number}")
    running = run(["a"], journal=tmp_path / "j")
    await running.collect()
    assert running.stats.unsettled == 50
    assert sum(record.path.endswith("/generation") for record in emulator.requests) < 100


@pytest.mark.parametrize("status", [403, 500])
async def test_cost_of_a_killed_run_that_nobody_tells(emulator, run, tmp_path, status):
    """Where the service does not say what an earlier run has cost, the run goes on and says so; the next one asks again."""
    with Journal(tmp_path / "j") as journal:
        journal.begun("a", "gen-1")
    emulator.play(scenarios.refused(status), times=10, path="/generation")
    running = run(["a"], journal=tmp_path / "j")
    (item,) = await running.collect()
    assert (item.error, running.stats.unsettled) == (None, 1)
    with Journal(tmp_path / "j") as journal:
        assert journal.unsettled == ["gen-1"]
