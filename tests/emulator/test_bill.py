"""The bill, and the endpoints that read it: what was sent is what is charged."""

import asyncio
import json

import pytest

from or_stream.emulator import Close, Comment, Emulator, Event, Repeat, Scenario, Send, Stall, Wait, scenarios
from or_stream.emulator._wire import ending, usage, words

MODEL = "anthropic/claude-sonnet-5"  # 3 and 15 dollars a million
PAINTER = "google/gemini-3.1-flash-image"


async def known(session, emulator, generation_id):
    """What GET /generation says, once it says something."""
    url = f"{emulator.base_url}/generation"
    async with asyncio.timeout(10):
        while True:
            async with session.get(url, params={"id": generation_id}) as response:
                if response.status == 200:
                    return (await response.json())["data"]
            await asyncio.sleep(0.02)


@pytest.fixture
async def emulator():
    async with Emulator(generation_delay_seconds=0) as running:
        yield running


@pytest.mark.parametrize("model", [MODEL, PAINTER, "deepseek/deepseek-v4"])
async def test_usage_bill_generation_and_credits_agree(chat, emulator, session, model):
    """The cost that was streamed is the cost everywhere, for what it says are its tokens."""
    sent = (await chat.events("Is the lamp lit?", model=model))[-1]["usage"]
    (entry,) = emulator.bill
    told = await known(session, emulator, entry.generation_id)
    async with session.get(f"{emulator.base_url}/credits") as response:
        used = (await response.json())["data"]["total_usage"]
    assert sent["cost"] == entry.cost == told["total_cost"] == told["usage"] == used == emulator.bill.total > 0
    assert (sent["prompt_tokens"], sent["completion_tokens"]) == (told["tokens_prompt"], told["tokens_completion"])
    assert (told["model"], told["finish_reason"], told["cancelled"]) == (model, "stop", False)


async def test_a_price_is_that_of_the_catalogue(chat, session, emulator):
    """Tokens times the strings that GET /models shows."""
    sent = (await chat.events("Is the lamp lit?", model=MODEL))[-1]["usage"]
    async with session.get(f"{emulator.base_url}/model/{MODEL}") as response:
        prices = (await response.json())["data"]["pricing"]
    expected = sent["prompt_tokens"] * float(prices["prompt"]) + sent["completion_tokens"] * float(prices["completion"])
    assert sent["cost"] == pytest.approx(expected)


async def test_pictures_cost_what_their_tokens_cost(chat, emulator):
    """1290 tokens each, at the price of pictures."""
    events = await chat.events("two pictures of a boat", model=PAINTER, modalities=["image"], image_config={"image_size": "0.5K"})
    (entry,) = emulator.bill
    assert (entry.images, entry.image_tokens) == (2, 2580)
    assert entry.cost == events[-1]["usage"]["cost"] == pytest.approx(2580 * 30e-6 + entry.prompt_tokens * 0.3e-6)


async def test_free_is_free(chat, emulator):
    """A model with `:free` costs nothing, and is on the bill all the same."""
    assert (await chat.events(model="z-ai/glm-4.5-air:free"))[-1]["usage"]["cost"] == 0
    assert [entry.cost for entry in emulator.bill] == [0]


async def test_the_whole_answer_is_charged_like_the_streamed_one(chat, emulator):
    """`stream: false` gives as many tokens for as much money."""
    await chat.read("hi", model="mistralai/mistral-small-4")
    await chat.read("hi", model="mistralai/mistral-small-4", stream=False)
    streamed, whole = emulator.bill
    assert (streamed.cost, streamed.completion_tokens) == (whole.cost, whole.completion_tokens)
    assert (streamed.streamed, whole.streamed) == (True, False)


async def test_a_generation_is_not_known_while_it_goes_on(chat, emulator, session):
    """404 with its id, as the service says it."""
    emulator.play(Scenario((*words("The lamp"), Stall())))
    async with chat.post() as response:
        await response.content.readany()
        asked = response.headers["X-Generation-Id"]
        async with session.get(f"{emulator.base_url}/generation", params={"id": asked}) as answer:
            assert answer.status == 404
            assert await answer.json() == {"error": {"message": f"Generation {asked} not found", "code": 404}}


async def test_a_generation_is_not_known_at_once(session):
    """For as long as one says, it is 404; then the truth."""
    async with Emulator(generation_delay_seconds=0.3) as emulator:
        async with session.post(f"{emulator.base_url}/chat/completions", json={"prompt": "hi"}) as response:
            await response.read()
        url, query = f"{emulator.base_url}/generation", {"id": emulator.requests[0].generation_id}
        async with session.get(url, params=query) as response:
            assert response.status == 404
        assert (await known(session, emulator, query["id"]))["total_cost"] > 0


@pytest.mark.parametrize(("query", "status"), [({"id": "gen-1-nobody"}, 404), ({}, 400), ({"id": ""}, 400)])
async def test_a_generation_that_never_was(emulator, session, query, status):
    """Unknown is 404, none asked for is 400."""
    async with session.get(f"{emulator.base_url}/generation", params=query) as response:
        assert response.status == status


async def test_a_client_that_leaves_pays_what_it_was_sent(chat, emulator, session):
    """Three words of an endless answer are three tokens, and it is `cancelled`."""
    emulator.play(Scenario((*words("one two three"), Stall())))
    async with chat.post("a prompt of forty characters, or nearly so", model=MODEL) as response:
        await response.content.readuntil(b"three")
    await emulator.requests[0].disconnected.wait()
    told = await known(session, emulator, emulator.requests[0].generation_id)
    assert (told["cancelled"], told["finish_reason"]) == (True, None)
    assert (told["tokens_prompt"], told["tokens_completion"]) == (10, 3)
    assert told["total_cost"] == pytest.approx(10 * 3e-6 + 3 * 15e-6)
    assert emulator.bill.total == told["total_cost"]


async def test_an_answer_that_is_cut_is_charged_for_what_was_sent(chat, emulator):
    """The server ended it, so that it is not `cancelled`."""
    emulator.play(Scenario((*words("one two"), Close())))
    async with chat.post(model=MODEL) as response:
        await asyncio.gather(response.read(), return_exceptions=True)
    (entry,) = emulator.bill
    assert (entry.cancelled, entry.completion_tokens, entry.finish_reason) == (False, 2, None)
    assert entry.cost == pytest.approx(1 * 3e-6 + 2 * 15e-6)


async def test_who_leaves_before_anything_came_pays_nothing(chat, emulator):
    """Nothing was said, nothing is charged."""
    emulator.play(Scenario((Comment(), Repeat((Wait(0.01), Comment())))))
    async with chat.post() as response:
        await response.content.readany()
    await emulator.requests[0].disconnected.wait()
    assert [(entry.cancelled, entry.cost) for entry in emulator.bill] == [(True, 0.0)]


async def test_an_answer_in_one_piece_cannot_be_cancelled(chat, emulator):
    """Who does not wait for it pays it all the same."""
    whole = scenarios.json_answer()
    emulator.play(Scenario((whole.steps[0], Wait(30), *whole.steps[1:]), content_type=whole.content_type))
    async with chat.post(stream=False) as response:
        await response.content.readany()
    await emulator.requests[0].disconnected.wait()
    (entry,) = emulator.bill
    assert entry.cost == usage()["cost"]


@pytest.mark.parametrize("name", ["midstream-error", "midstream-error-bare", "empty-completion", "error-as-json"])
async def test_what_failed_is_not_charged(chat, emulator, name):
    """An error at the end, or nothing at all, costs nothing."""
    await chat.read(model=f"emulator/{name}")
    (entry,) = emulator.bill
    assert entry.cost == (usage(completion_tokens=0)["cost"] if name == "empty-completion" else 0)


@pytest.mark.parametrize("name", ["refused-402", "refused-503", "rate-limited"])
async def test_what_was_refused_is_not_on_the_bill(chat, emulator, name):
    """No generation, no entry."""
    await chat.read(model=f"emulator/{name}")
    assert len(emulator.bill) == 0


@pytest.mark.parametrize("name", ["text", "usage-2026-03", "image-with-finish", "tool-call", "json-answer", "gzip"])
async def test_usage_that_was_sent_is_what_counts(chat, emulator, name):
    """Whatever the scenario, also where it is played from recorded bytes."""
    body = await chat.read(model=f"emulator/{name}")
    emulator.play(scenarios.replay(body))
    await chat.read()
    played, replayed = emulator.bill
    sent = json.loads(body[body.rindex(b'{"prompt_tokens"') : body.rindex(b"}}") + 1])
    assert sent["cost"] == played.cost == replayed.cost
    assert sent["completion_tokens"] == played.completion_tokens == replayed.completion_tokens


async def test_a_replay_that_is_left_counts_what_was_sent(chat, emulator):
    """Events that never left are not charged."""
    recorded = Scenario(tuple(words("one two three four"))).body()
    emulator.play(Scenario((Send(recorded), *ending()), pieces=len(recorded) // 2, pace_seconds=30))
    async with chat.post() as response:
        await response.content.readany()
    await emulator.requests[0].disconnected.wait()
    (entry,) = emulator.bill
    assert (entry.cancelled, entry.completion_tokens) == (True, 2)


async def test_half_a_picture_is_charged_as_a_picture(chat, emulator):
    """It had been made; what the usage behind it would have said is not known."""
    made = scenarios.json_body({"choices": [{"message": {"images": [{}]}}], "usage": {"cost": 9.0}})
    says = Event({"choices": [{"message": {"images": [{}]}}], "usage": {"cost": 9.0}})
    emulator.play(Scenario((Send(b"x" * 2**24, says=says), *made.steps), pieces=2**16, pace_seconds=0.05))
    async with chat.post(model=PAINTER) as response:
        await response.content.readany()
    await emulator.requests[0].disconnected.wait()
    (entry,) = emulator.bill
    assert (entry.cancelled, entry.images) == (True, 1)
    assert entry.cost == pytest.approx(0.3e-6 + 1290 * 30e-6)


async def test_a_picture_of_megabytes_is_counted_without_being_parsed(chat, emulator):
    """A recorded line of two megabytes is one picture."""
    recorded = scenarios.text_and_images(2, 2**21).body()
    emulator.play(Scenario((Send(recorded[: recorded.rindex(b"data: {")]), Close())))
    async with chat.post() as response:
        await asyncio.gather(response.read(), return_exceptions=True)
    assert [entry.images for entry in emulator.bill] == [2]


async def test_the_bill_is_written_before_the_last_bytes(chat, emulator):
    """Whoever has read [DONE] finds the generation on it."""
    emulator.play(Scenario((*words("one"), *ending())), times=20)
    for number in range(20):
        async with chat.post() as response:
            await response.content.readuntil(b"[DONE]")
            assert len(emulator.bill) == number + 1


async def test_the_bill_forgets_and_keeps_its_total(session):
    """Its length is bounded; what it adds up to is not lost."""
    async with Emulator(keep_requests=2) as emulator:
        for _ in range(3):
            async with session.post(f"{emulator.base_url}/chat/completions", json={"prompt": "hi"}) as response:
                await response.read()
        assert len(emulator.bill) == 2
        assert emulator.bill.total == pytest.approx(3 * next(iter(emulator.bill)).cost)
        assert emulator.requests[-1].generation_id in emulator.bill
        assert emulator.bill.get("gen-1-forgotten") is None


# Credit


async def test_credit_comes_to_an_end(session):
    """The answer that spends the last of it is given; the next is 402."""
    async with Emulator(credits=1e-6) as emulator:
        statuses = []
        for _ in range(2):
            async with session.post(f"{emulator.base_url}/chat/completions", json={"prompt": "hi"}) as response:
                statuses.append(response.status)
                body = await response.json()
        assert statuses == [200, 402]
        assert (body["error"]["code"], body["error"]["metadata"]) == (402, {"provider_name": None})
        async with session.get(f"{emulator.base_url}/key") as response:
            key = (await response.json())["data"]
        assert (key["limit"], key["limit_remaining"], key["usage"]) == (1e-6, 0, emulator.bill.total)


async def test_more_tokens_than_there_is_credit_for(session):
    """The refusal says how many could be paid."""
    async with Emulator(credits=0.015) as emulator:
        body = {"prompt": "hi", "model": MODEL, "max_tokens": 16384}
        async with session.post(f"{emulator.base_url}/chat/completions", json=body) as response:
            assert response.status == 402
            message = (await response.json())["error"]["message"]
    assert "You requested up to 16384 tokens, but can only afford 1000." in message


async def test_without_an_end_of_credit_the_key_has_no_limit(emulator, session):
    """`limit` is null."""
    async with session.get(f"{emulator.base_url}/key") as response:
        key = (await response.json())["data"]
    assert (key["limit"], key["limit_remaining"], key["usage"]) == (None, None, 0)


@pytest.mark.parametrize("path", ["/key", "/credits", "/generation?id=gen-1-a"])
async def test_the_account_is_shown_to_who_has_a_key(emulator, session, path):
    """Without one it is 401."""
    del session.headers["Authorization"]
    async with session.get(emulator.base_url + path) as response:
        assert response.status == 401
