"""A run as its caller sees it: what goes in, what comes out, and in which ways it ends."""

import asyncio
import gc
import inspect
import itertools
from typing import get_type_hints

import pytest

from or_stream import (
    AuthenticationFailed,
    BatchOptions,
    Client,
    ConfigurationError,
    GenerationOptions,
    NotFound,
    PaymentRequired,
    RateLimited,
    Restart,
    RetryPolicy,
    ServerFailed,
    StreamEnd,
    StreamTruncated,
    TextDelta,
)
from or_stream.batching import batch
from or_stream.emulator import Wait, scenarios

AT_ONCE = RetryPolicy(attempts=3, base_seconds=0, restart=True)


def prompt_of(record):
    return record.body["messages"][-1]["content"]


def prompts(count):
    return [f"prompt {number}" for number in range(count)]


async def everything_closed(emulator):
    async with asyncio.timeout(2):
        while emulator.active:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# ---- what goes in and comes out


async def test_items(run):
    """Each prompt comes back once, with its answer and what it cost."""
    items = await run(prompts(20), concurrency=4).collect()
    assert sorted(item.prompt for item in items) == sorted(prompts(20))
    assert {(item.message.text, item.error, item.attempts, item.is_resumed) for item in items} == {("one two", None, 1, False)}
    assert all(item.cost > 0 and item.seconds > 0 and len(item.generation_ids) == 1 for item in items)
    assert [prompts(20)[item.index] for item in items] == [item.prompt for item in items]


async def test_async_iterable(run):
    """The input may be an async iterable."""

    async def source():
        for prompt in prompts(5):
            yield prompt

    assert len(await run(source()).collect()) == 5


async def test_empty_input(run):
    """No prompts, no items, no requests."""
    assert await run([]).collect() == []


async def test_mappings(emulator, run):
    """An item may bring its own key, model and options."""
    given = [
        {"prompt": "a", "key": "mine", "model": "openai/gpt-5-image", "seed": 7},
        {"prompt": [{"role": "user", "content": "b"}]},
    ]
    items = await run(given, ordered=True, system="be brief").collect()
    assert (items[0].key, items[0].model) == ("mine", "openai/gpt-5-image")
    bodies = {prompt_of(record): record.body for record in emulator.requests}
    assert (bodies["a"]["seed"], bodies["a"]["model"]) == (7, "openai/gpt-5-image")
    assert bodies["b"]["messages"][0] == {"role": "system", "content": "be brief"}


@pytest.mark.parametrize(
    "bad",
    [
        17,
        {"text": "no prompt"},
        {"prompt": ""},
        *[{"prompt": "x", **own} for own in ({"colour": "red"}, {"retry": 3}, {"modalities": 5}, {1: 2})],
    ],
)
async def test_bad_item(run, bad):
    """What is no prompt is an item with an error, and the others go on."""
    items = await run(["a", bad, "b"], ordered=True).collect()
    assert [item.error is None for item in items] == [True, False, True]
    assert type(items[1].error) is ConfigurationError


async def test_input_without_a_prompt(emulator, run):
    """An input may give an error in place of a prompt: it is an item with that error, and nothing is sent for it."""
    error = ConfigurationError("line 2 is not JSON")
    items = await run(["a", error, "b"], ordered=True).collect()
    assert [item.error for item in items] == [None, error, None]
    assert items[1].prompt is None
    assert {prompt_of(record) for record in emulator.requests} == {"a", "b"}


@pytest.mark.parametrize("own", [{"n": "two"}, {"max_tokens": "many"}])
@pytest.mark.parametrize("more", [{"budget": 1}, {"dry_run": True}])
async def test_item_whose_price_cannot_be_told(run, own, more):
    """An option that no price follows from ends no run."""
    running = run(["a", {"prompt": "x", **own}, "b"], **more)
    assert len(await running.collect()) == (0 if "dry_run" in more else 3)
    assert running.stats.unsettled == ("dry_run" in more)


async def test_ordered(emulator, run):
    """In order, though the first is the slowest."""
    emulator.script = lambda record: scenarios.text().after(Wait(0.2)) if prompt_of(record) == "prompt 0" else None
    items = [item.index async for item in run(prompts(12), ordered=True, concurrency=3)]
    assert items == list(range(12))


async def test_as_they_end(emulator, run):
    """Without `ordered` the slow one comes last."""
    emulator.script = lambda record: scenarios.text().after(Wait(0.3)) if prompt_of(record) == "prompt 0" else None
    items = [item.index async for item in run(prompts(4), concurrency=2)]
    assert items[-1] == 0


@pytest.mark.parametrize("ordered", [False, True])
async def test_input_is_pulled_lazily(run, ordered):
    """From an endless input no more is taken than there is room for."""
    taken = itertools.count()
    source = (f"prompt {next(taken)}" for _ in itertools.count())
    async with run(source, concurrency=3, ordered=ordered) as running:
        async for item in running:
            if item.index > 10:
                break
    assert next(taken) <= 30


async def test_concurrency(emulator, run):
    """So many at once, and no more."""
    emulator.scenario = scenarios.text().after(Wait(0.05))
    await run(prompts(30), concurrency=5).collect()
    assert emulator.peak_active == 5


async def test_slow_reader_slows_the_run(emulator, run):
    """Nothing is sent for a caller who does not take what is ready."""
    async with run(prompts(100), concurrency=2) as running:
        await anext(aiter_kept := aiter(running))
        await asyncio.sleep(0.3)
        assert len(emulator.requests) <= 2 * 2 + 2
        del aiter_kept


async def test_without_a_client(emulator, monkeypatch):
    """The key and the address come from the environment, as for one stream."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    assert len(await batch(["a", "b"]).collect()) == 2


async def test_of_a_client(emulator, client):
    """A client makes batches over its own session, which stays open."""
    items = await client.batch(["a", "b"], concurrency=2, seed=7).collect()
    assert [item.error for item in items] == [None, None]
    assert [record.body["seed"] for record in emulator.requests] == [7, 7]
    assert (await client.generate("c")).text == "one two"


def test_options_of_both_doors():
    """`Client.batch` takes what `batch` takes, but for the client."""
    own = {name for name in inspect.signature(batch).parameters if name not in ("prompts", "client", "options")}
    assert set(get_type_hints(BatchOptions)) == own | set(get_type_hints(GenerationOptions))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"prompts": "one prompt"}, r"batch\(\[prompt\]\)"),
        ({"prompts": 5}, "iterable"),
        ({"concurrency": 0}, "concurrency"),
        ({"budget": -1}, "budget"),
        ({"budget": "5"}, "budget"),
        ({"budget": True}, "budget"),
        ({"journal": 5}, "journal"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"tokens_per_minute": "60"}, "tokens_per_minute"),
        ({"duplicates": "twice"}, "duplicates"),
        ({"temprature": 1}, "temperature"),
        ({"retry": 3}, "retry"),
        ({"max_failures_in_a_row": 0}, "max_failures_in_a_row"),
    ],
)
def test_wrong_arguments(arguments, says):
    """What is wrong for every prompt is said at once, and not by each item."""
    with pytest.raises(ConfigurationError, match=says):
        batch(**{"prompts": ["a"], "client": Client(api_key="k"), **arguments})


def test_no_key():
    """Without a key nothing begins."""
    with pytest.raises(ConfigurationError, match="API key"):
        batch(["a"])


# ---- events and progress


async def test_events(run):
    """Everything that comes can be seen as it comes, with the item it is for."""
    seen = []
    items = await run(["a", "b"], on_event=lambda item, event: seen.append((item.prompt, event))).collect()
    assert len(items) == 2
    for prompt in ("a", "b"):
        events = [event for whose, event in seen if whose == prompt]
        assert type(events[-1]) is StreamEnd
        assert "".join(event.text for event in events if type(event) is TextDelta) == "one two"


async def test_restart_is_shown(emulator, run):
    """Who shows events is told when an answer starts over."""
    emulator.play(scenarios.closed("half"))
    seen = []

    async def show(item, event):
        seen.append(event)

    (item,) = await run(["a"], on_event=show, retry=AT_ONCE).collect()
    (restart,) = [event for event in seen if type(event) is Restart]
    assert (item.attempts, restart.attempt, restart.discarded.text) == (2, 2, "half")


async def test_progress(run):
    """After each item the numbers are there."""
    seen = []
    running = run(prompts(10), concurrency=2, on_progress=lambda stats: seen.append((stats.finished, stats.total)))
    await running.collect()
    assert seen == [(count, 10) for count in range(1, 11)]
    assert (running.stats.requests, running.stats.running, running.stats.failed) == (10, 0, 0)


@pytest.mark.parametrize("callback", ["on_event", "on_progress"])
async def test_callback_that_raises(run, callback):
    """What a callback raises is raised by the loop."""

    def fail(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(prompts(5), **{callback: fail}).collect()


# ---- failures of items


async def test_failed_item_goes_on(emulator, run):
    """An item that fails is an item with its error; the others are answered."""
    emulator.script = lambda record: scenarios.refused(400) if prompt_of(record) == "prompt 1" else None
    items = await run(prompts(4), ordered=True).collect()
    assert [type(item.error).__name__ for item in items] == ["NoneType", "BadRequest", "NoneType", "NoneType"]


async def test_retries(emulator, run):
    """What may pass is asked for again: a server error, a broken connection, a stream that was cut."""
    for failing in (scenarios.refused(500), scenarios.reset_before_headers(), scenarios.closed("half")):
        emulator.play(failing)
        (item,) = await run([failing.name or "x"], retry=AT_ONCE).collect()
        assert (item.error, item.message.text, item.attempts) == (None, "one two", 2)


async def test_retries_end(emulator, run):
    """After as many requests as the policy allows the last error stays."""
    emulator.scenario = scenarios.refused(500)
    running = run(["a"], retry=AT_ONCE)
    (item,) = await running.collect()
    assert (type(item.error), item.attempts, item.error.attempts, len(emulator.requests)) == (ServerFailed, 3, 3, 3)
    assert (running.stats.retries, running.stats.failures) == (2, {"ServerFailed": 1})


async def test_cut_stream_is_not_repeated_against_the_will(emulator, run):
    """With a policy that does not restart, a stream that was cut is an error, and is paid for once."""
    emulator.scenario = scenarios.closed("half")
    (item,) = await run(["a"], retry=RetryPolicy(attempts=3)).collect()
    assert (type(item.error), item.attempts, item.error.partial.text) == (StreamTruncated, 1, "half")


async def test_a_tenth_of_everything(emulator, run):
    """Cut, refused and slow ones among the others: every item is done, or has the cause in it."""

    def play(record):
        number = int(prompt_of(record).split()[1])
        if record.headers.get("x-again") or number % 10 > 2:
            return None
        return (scenarios.closed("half"), scenarios.refused(502), scenarios.text().after(Wait(0.2)))[number % 10]

    emulator.script = play
    items = await run(prompts(60), concurrency=16, retry=AT_ONCE).collect()
    assert len({item.key for item in items}) == 60
    assert {item.index % 10 for item in items if item.error} == {0, 1}
    assert all((item.message is None) == (item.error is not None) for item in items)


async def test_wrong_guess_is_made_once(emulator, run):
    """A model that does not take the modalities guessed is asked wrongly by the first, and rightly by all after."""
    items = await run(prompts(6), model="mistralai/mistral-small-2603", concurrency=1).collect()
    assert all(item.error is None for item in items)
    assert len(emulator.requests) <= 7


# ---- rate limits


async def test_refusals_are_waited_for(emulator, run):
    """429 is no attempt that is used up: nothing comes before its time, and everything is answered."""
    emulator.play(*[scenarios.rate_limited(1)] * 2)
    running = run(prompts(3), concurrency=1, retry=RetryPolicy(attempts=2, base_seconds=0))
    items = await running.collect()
    assert all(item.error is None for item in items)
    assert running.stats.refused == 2
    times = [record.received_seconds for record in emulator.requests]
    assert all(later - earlier > 0.95 for earlier, later in itertools.pairwise(times[:3]))


async def test_in_stream_refusal_is_a_refusal(emulator, run):
    """An error 429 under HTTP 200 shuts the gate too."""
    emulator.play(scenarios.error_as_json())
    running = run(["a"])
    (item,) = await running.collect()
    assert (item.error, running.stats.refused) == (None, 1)


async def test_daily_limit_ends_the_run(emulator, run):
    """A server that wants a wait until tomorrow ends the run, whose items stay undone."""
    emulator.scenario = scenarios.rate_limited(86_400)
    running = run(prompts(50), concurrency=4)
    with pytest.raises(RateLimited) as caught:
        await running.collect()
    assert len(emulator.requests) <= 4
    assert len(caught.value.partial) <= 4


# ---- what ends a run


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationFailed), (402, PaymentRequired)])
async def test_hopeless(emulator, run, status, kind):
    """No key and no credit stop it at once, instead of 1000 times."""
    emulator.scenario = scenarios.refused(status)
    with pytest.raises(kind) as caught:
        await run(prompts(1000), concurrency=8).collect()
    assert len(emulator.requests) <= 8
    assert all(type(item.error) is kind for item in caught.value.partial)


async def test_hopeless_finishes_what_is_under_way(emulator, run):
    """What is being answered meanwhile is paid for: it is finished and handed out."""
    emulator.script = lambda record: scenarios.refused(402) if prompt_of(record) == "no" else scenarios.text().after(Wait(0.2))
    with pytest.raises(PaymentRequired) as caught:
        await run(["a", "b", "no", *prompts(50)], concurrency=3).collect()
    assert {item.prompt for item in caught.value.partial if item.error is None} == {"a", "b"}


async def test_all_fail_alike(emulator, run):
    """A run in which one after the other fails for the same reason is given up."""
    emulator.scenario = scenarios.refused(404, {"error": {"message": "No endpoints found", "code": 404}})
    with pytest.raises(NotFound):
        await run(prompts(1000), concurrency=4, max_failures_in_a_row=10).collect()
    assert len(emulator.requests) <= 14


@pytest.mark.parametrize("is_async", [False, True])
async def test_input_that_raises(run, is_async):
    """What the input raises is raised, after what had been taken from it is done."""

    def source():
        yield from prompts(5)
        raise ZeroDivisionError

    async def async_source():
        for prompt in source():
            yield prompt

    items = []
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async for item in run(async_source() if is_async else source(), concurrency=2):
            items.append(item)  # noqa: PERF401  # what came before
    assert sorted(item.index for item in items) == list(range(5))


async def test_break(emulator, run):
    """Leaving the loop closes every connection, though the run is still referenced."""
    emulator.script = lambda record: None if prompt_of(record) == "prompt 0" else scenarios.text_for_ever()
    running = run(prompts(100), concurrency=8)
    async for _ in running:
        break
    await asyncio.wait([running._root])
    await asyncio.sleep(0.05)  # what was on its way is heard of, and nothing else comes
    await everything_closed(emulator)
    assert len(emulator.requests) <= 9
    assert running.stats.running == 0


async def test_dropped(emulator, run):
    """A run that nobody holds any more is over."""
    emulator.scenario = scenarios.text_for_ever()
    iterator = aiter(run(prompts(5)))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting := asyncio.ensure_future(anext(iterator))), 0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    del iterator, waiting
    gc.collect()
    await everything_closed(emulator)


@pytest.mark.parametrize("when", ["before", "during", "after"])
async def test_aclose(emulator, run, when):
    """May be called at any time and twice, and everything is closed when it returns."""
    running = run(prompts(5))
    if when == "during":
        emulator.scenario = scenarios.text_for_ever()
        async with running:
            await emulator.received(5)
    if when == "after":
        await running.collect()
    await running.aclose()
    await running.aclose()
    assert [item async for item in running] == []
    await everything_closed(emulator)


async def test_cancelled_task(emulator, run):
    """A caller who is cancelled leaves nothing open."""
    emulator.scenario = scenarios.text_for_ever()
    task = asyncio.ensure_future(run(prompts(9), concurrency=9).collect())
    await emulator.received(9)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await everything_closed(emulator)


async def test_input_that_waits(emulator, run):
    """A run that cannot go on ends, though its input has nothing to give and no end."""
    emulator.scenario = scenarios.refused(401)
    closed = []

    async def source():
        yield "a"
        try:
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    with pytest.raises(AuthenticationFailed):
        await asyncio.wait_for(run(source(), concurrency=2).collect(), 5)
    assert closed == [True]


async def test_generator_is_closed(run):
    """The input learns that the run is over."""
    closed = []

    def source():
        try:
            yield from prompts(1000)
        finally:
            closed.append(True)

    async with run(source()) as running:
        async for _ in running:
            break
    assert closed == [True]


async def test_generator_that_raises_when_closed(emulator, run):
    """An input that cannot be closed keeps nothing else from being closed."""

    def source():
        try:
            yield from prompts(1000)
        finally:
            raise ZeroDivisionError

    async with run(source()) as running:
        async for _ in running:
            break
    await everything_closed(emulator)
    assert running.stats.running == 0
