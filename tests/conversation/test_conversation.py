"""Turns: when they are kept, how they are sent back, how they are forgotten."""

import asyncio
import base64
import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import PIL.Image
import pytest

from or_stream import (
    ConfigurationError,
    Conversation,
    Image,
    ImageEnd,
    Message,
    NoImageProduced,
    Picture,
    StreamEnd,
    StreamFailed,
    StreamTruncated,
    TextDelta,
    ToolCall,
)
from or_stream.emulator import Signal, WaitFor, data_url, picture, scenarios

DETAILS = [{"type": "reasoning.encrypted", "data": "Eq==", "format": "google-gemini-v1", "index": 0}]
PNG = picture("a lamp", 8, 8)


def thoughtful():
    """An answer with a picture and reasoning details."""
    details = b'"content":"Here","reasoning_details":' + json.dumps(DETAILS).encode()
    return scenarios.replay(scenarios.text_and_images().body().replace(b'"content":"Here"', details))


def sent(emulator, request=-1):
    return emulator.requests[request].body["messages"]


def url_of(data):
    return "data:image/png;base64," + base64.b64encode(data).decode()


def pictures_in(message):
    """The addresses of a message's pictures, whoever sent them."""
    parts = message["content"] if isinstance(message["content"], list) else []
    return [part["image_url"]["url"] for part in [*parts, *message.get("images", ())] if part["type"] == "image_url"]


async def refusal_of(conversation, prompt="again", **options):
    with pytest.raises(ConfigurationError) as caught:
        await conversation.generate(prompt, **options)
    return str(caught.value)


# ---- what is sent back


async def test_second_turn_has_the_first_in_it(emulator, conversation):
    """The picture as base64 and the reasoning details untouched, read back from the file that history has instead."""
    emulator.play(thoughtful())
    first = await conversation.generate("Draw a village")
    await conversation.generate("Now make it night")
    user, assistant, request = sent(emulator)
    assert (user, request) == (
        {"role": "user", "content": "Draw a village"},
        {"role": "user", "content": "Now make it night"},
    )
    assert assistant["reasoning_details"] == DETAILS
    assert pictures_in(assistant) == [url_of(first.images[0].path.read_bytes())]
    assert conversation.answers[0].images[0].data == b""


async def test_pictures_sent_in_are_sent_again(emulator, conversation, tmp_path):
    """Bytes, a path, an address, an earlier result, a PIL image and a data URL, each where it was, with its detail."""
    path = tmp_path / "mine.png"
    path.write_bytes(PNG)
    images = [PNG, path, "https://a.example/b.png", Image.from_bytes(PNG), PIL.Image.new("RGB", (8, 8)), url_of(PNG)]
    await conversation.generate("What is it?", images=[*images, Picture(PNG, detail="low")])
    await conversation.generate("Again")
    assert sent(emulator, 0)[0] == sent(emulator, 1)[0]
    assert len(pictures_in(sent(emulator)[0])) == 7
    assert sent(emulator)[0]["content"][-1]["image_url"]["detail"] == "low"


async def test_smaller_picture_is_the_one_that_is_kept(emulator, conversation):
    """Not the one that it was made from."""
    await conversation.generate("What is it?", images=[Picture(picture("a", 64, 64), max_pixels=100)])
    await conversation.generate("Again")
    assert (conversation.turns[0].images[0].width, sent(emulator, 0)[0]) == (10, sent(emulator, 1)[0])


async def test_smaller_picture_of_a_file_is_kept(emulator, client, tmp_path):
    """In memory where there is no folder: the file has another one."""
    path = tmp_path / "a.png"
    path.write_bytes(picture("a", 64, 64))
    conversation = Conversation(client=client)
    await conversation.generate("What is it?", images=[Picture(path, max_pixels=100)])
    await conversation.generate("Again")
    assert (conversation.turns[0].images[0].width, sent(emulator, 0)[0]) == (10, sent(emulator, 1)[0])


def test_other_answers_are_not_kept(conversation):
    """Of several answers to one question only the first is sent back."""
    conversation.add("x", Message(text="one", alternatives=[Message(text="two", images=[Image.from_bytes(PNG)])]))
    assert (conversation.answers[0].text, conversation.answers[0].alternatives) == ("one", [])


async def test_options_of_the_conversation_hold(emulator, client):
    """Model, system and parameters go with each turn, and a turn may bring its own."""
    conversation = Conversation(client=client, model="google/gemini-3-pro-image", system="You paint.", temperature=0.5)
    await conversation.generate("one")
    await conversation.generate("two", temperature=1, model="google/gemini-2.5-flash-image")
    one, two = (request.body for request in emulator.requests)
    assert (one["model"], one["temperature"]) == ("google/gemini-3-pro-image", 0.5)
    assert (two["model"], two["temperature"]) == ("google/gemini-2.5-flash-image", 1)
    assert [message["role"] for message in two["messages"]] == ["system", "user", "assistant", "user"]


async def test_results_of_tools_are_a_turn(emulator, conversation):
    """Messages may be passed instead of a text, and are sent back as they are."""
    conversation.add("What is 2+2?", Message(tool_calls=[ToolCall(id="a", name="add", arguments='{"x":2}')]))
    result = {"role": "tool", "tool_call_id": "a", "content": "4"}
    emulator.play(scenarios.text(), scenarios.text())
    await conversation.generate([result])
    await conversation.generate("Thanks")
    assert [message["role"] for message in sent(emulator)] == ["user", "assistant", "tool", "assistant", "user"]
    assert sent(emulator)[2] == result


async def test_image_api_gets_the_last_picture(emulator, client, folder):
    """A model that only draws is sent the picture of the answer before."""
    conversation = Conversation(client=client, model="openai/gpt-image-2", save_to=folder)
    first = await conversation.generate("A village")
    await conversation.generate("At night")
    (reference,) = emulator.requests[-1].body["input_references"]
    assert reference["image_url"]["url"] == first.images[0].data_url()


async def test_shared_client(emulator, monkeypatch):
    """Without a client the key and the address come from the environment."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "test")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    conversation = Conversation()
    await conversation.generate("one")
    assert len(conversation) == 1


# ---- when a turn is kept


async def test_turn_is_kept_when_its_stream_is_complete(conversation):
    """Not before, whatever has come."""
    stream = conversation.stream("Draw a village")
    async for event in stream:
        if isinstance(event, TextDelta) and stream.status == "streaming":
            assert len(conversation) == 0
    assert (len(conversation), conversation.turns[0].prompt) == (1, "Draw a village")
    assert conversation.answers[0].text == stream.message.text


@pytest.mark.parametrize(
    ("scenario", "failure"),
    [(scenarios.midstream_error(), StreamFailed), (scenarios.end_without_finish(), StreamTruncated)],
)
async def test_failed_turn_is_not_kept(emulator, conversation, scenario, failure):
    """A turn that fails or is cut leaves everything as it was; what came can be kept on purpose."""
    await conversation.generate("one")
    emulator.play(scenario)
    with pytest.raises(failure) as caught:
        await conversation.generate("two")
    assert len(conversation) == 1
    conversation.add("two", caught.value.partial)
    await conversation.generate("three")
    assert sent(emulator)[3]["content"] == caught.value.partial.text != ""


async def test_turn_without_the_required_image_is_not_kept(emulator, conversation):
    """An answer that is refused is no turn."""
    emulator.play(scenarios.text())
    with pytest.raises(NoImageProduced):
        await conversation.generate("one", require_image=True)
    assert len(conversation) == 0


async def test_left_stream_is_not_kept(emulator, conversation):
    """A reader that leaves before the end keeps the conversation as it was, and may go on with it."""
    emulator.play(scenarios.text_for_ever())
    async for event in conversation.stream("one"):
        if isinstance(event, TextDelta):
            break
    assert len(conversation) == 0
    await conversation.generate("two")
    assert [turn.prompt for turn in conversation] == ["two"]


async def test_stream_that_is_never_read_is_nothing(emulator, conversation):
    """It sends nothing and holds nothing up."""
    waiting = conversation.stream("one")
    await conversation.generate("two")
    assert (len(emulator.requests), waiting.status) == (1, "pending")


async def test_two_at_once_are_refused(emulator, conversation):
    """The second one, before it is sent; the first goes on."""
    gate = Signal()
    emulator.play(scenarios.text().after(WaitFor(gate)))
    first = asyncio.create_task(conversation.generate("one"))
    await emulator.received(1)
    assert "under way" in await refusal_of(conversation)
    gate.set()
    await first
    assert (len(conversation), len(emulator.requests)) == (1, 1)


async def test_history_is_that_of_the_moment_of_sending(emulator, conversation):
    """A stream that was made before another turn is sent with that turn in it."""
    later = conversation.stream("two")
    await conversation.generate("one")
    await later.final()
    assert [message["content"] for message in sent(emulator) if message["role"] == "user"] == ["one", "two"]


async def test_cancelled_while_pictures_are_read(emulator, conversation):
    """Nothing is sent, and the conversation can be gone on with."""
    stream = conversation.stream("one", images=[PNG])
    task = asyncio.create_task(stream.final())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (stream.status, len(emulator.requests), len(conversation)) == ("cancelled", 0, 0)
    await conversation.generate("two")


async def test_loop_goes_on_while_pictures_are_read(emulator, conversation, tmp_path):
    """A file that is slow, here a pipe that waits for its writer, holds up no other task."""
    pipe = tmp_path / "slow.png"
    os.mkfifo(pipe)
    task = asyncio.create_task(conversation.generate("Edit it", images=[pipe]))
    await asyncio.sleep(0)
    await asyncio.to_thread(pipe.write_bytes, PNG)
    await task
    assert pictures_in(sent(emulator)[0]) == [url_of(PNG)]


async def test_closed_while_pictures_are_read(emulator, conversation):
    """Leaving from another task is heard when they have been read."""
    stream = conversation.stream("one", images=[PNG])
    task = asyncio.create_task(stream.final())
    await asyncio.sleep(0)
    await stream.aclose()
    with pytest.raises(StreamTruncated):
        await task
    assert (len(emulator.requests), len(conversation)) == (0, 0)


# ---- where pictures are kept


async def test_pictures_are_files(conversation, folder):
    """Received and sent in: in the folder, the latter under their digest, once each."""
    for _ in range(2):
        await conversation.generate("Edit it", images=[PNG])
    (one,), (other,) = (turn.images for turn in conversation)
    assert one.path == other.path == folder / f"{hashlib.sha256(PNG).hexdigest()}.png"
    assert all(image.path.parent == folder for message in conversation.answers for image in message.images)
    assert not list(folder.glob(".*"))


async def test_without_a_folder(client, tmp_path):
    """A path stays a path, bytes stay in memory, an address stays an address."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    conversation = Conversation(client=client)
    await conversation.generate("Edit it", images=[path, str(path), Image.from_file(path), PNG, "https://a.example/b.png"])
    named, again, earlier, held, remote = conversation.turns[0].images
    assert [named.path, again.path, earlier.path] == [path] * 3
    assert (named.data, held.data, held.path, remote.url) == (b"", PNG, None, "https://a.example/b.png")


async def test_path_is_copied_into_the_folder(emulator, conversation, tmp_path):
    """What becomes of the caller's file afterwards does not matter."""
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    await conversation.generate("Edit it", images=[path])
    path.unlink()
    await conversation.generate("Again")
    assert pictures_in(sent(emulator)[0]) == [url_of(PNG)]


async def test_earlier_result_is_not_copied(conversation, folder):
    """A picture that is in the folder already is named, not written again."""
    first = await conversation.generate("Draw a village")
    await conversation.generate("Edit it", images=[first.images[0]])
    assert conversation.turns[1].images[0].path == first.images[0].path


async def test_history_holds_no_pictures(emulator, client, conversation):
    """Twenty pictures of 5 MB, sent back three times, and between turns less memory than one of them."""
    emulator.scenario = scenarios.text_and_images(images=5, byte_size=5_000_000)
    await client.generate("A lamp")  # what is loaded at first use
    tracemalloc.start()
    try:
        for number in range(4):
            await conversation.generate(f"Number {number}")
        await client.generate("A lamp")  # the emulator holds the last request of a connection
        emulator.requests.clear()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(image.size for message in conversation.answers for image in message.images) == 100_000_000
    assert held < 5_000_000 < peak


# ---- what has become of a picture


async def test_picture_that_is_gone(emulator, conversation):
    """Which one, of which turn, and what to do; after that it works."""
    first = await conversation.generate("Draw a village")
    first.images[0].path.unlink()
    said = await refusal_of(conversation)
    assert str(first.images[0].path) in said
    assert "turn 1" in said
    assert "forget_pictures()" in said
    assert (len(conversation), len(emulator.requests)) == (1, 1)
    conversation.forget_pictures()
    await conversation.generate("Again")
    assert len(conversation) == 2


async def test_pipe_in_place_of_a_picture(conversation):
    """It is not waited for."""
    await conversation.generate("Draw a village")
    path = conversation.answers[0].images[0].path
    path.unlink()
    os.mkfifo(path)
    assert "of turn 1 is no file" in await refusal_of(conversation)


async def test_picture_that_has_changed(conversation):
    """A file that is not what it was is not sent."""
    first = await conversation.generate("Draw a village")
    first.images[0].path.write_bytes(PNG)
    assert "has changed since it was kept" in await refusal_of(conversation)


async def test_file_of_no_known_kind(conversation, folder):
    """What is no picture is not sent as one."""
    (folder / "a.png").write_bytes(b"a secret")
    conversation.add("Draw", Message(images=[Image.from_file(folder / "a.png")]))
    assert "not a picture" in await refusal_of(conversation)


# ---- forgetting


@pytest.fixture
async def long(emulator, conversation):
    """Three turns, each with a picture sent in and one received."""
    emulator.play(thoughtful(), thoughtful(), thoughtful())
    for number in range(3):
        await conversation.generate(f"turn {number}", images=[PNG])
    return conversation


async def test_forget_pictures(emulator, long):
    """Those of the last turns stay, with their reasoning details; the words of all do."""
    long.forget_pictures(keep_last=1)
    await long.generate("Again")
    messages = sent(emulator)
    assert [len(pictures_in(message)) for message in messages] == [0, 0, 0, 0, 1, 1, 0]
    assert ["reasoning_details" in message for message in messages] == [False, False, False, False, False, True, False]
    assert messages[0]["content"] == "turn 0"
    assert messages[1]["content"] == long.answers[0].text != ""


def test_answer_without_pictures_stays_as_it_is(conversation):
    """Its reasoning details belong to its words."""
    conversation.add("x", Message(text="y", reasoning_details=DETAILS), images=[PNG])
    conversation.forget_pictures()
    assert (conversation.turns[0].images, conversation.answers[0].reasoning_details) == ((), DETAILS)


async def test_answer_of_a_picture_alone_is_never_empty(emulator, conversation):
    """Some providers refuse a message without content."""
    emulator.play(scenarios.image_only())
    await conversation.generate("Draw")
    conversation.forget_pictures()
    await conversation.generate("Again")
    assert sent(emulator)[1]["content"] == "(a picture that is no longer shown)"


async def test_forget_turns(long):
    """The last ones stay."""
    long.forget_turns(keep_last=2)
    assert [turn.prompt for turn in long] == ["turn 1", "turn 2"]
    long.forget_turns(keep_last=5)
    assert len(long) == 2


async def test_undo(long):
    """The last turn is dropped and handed out."""
    assert long.undo().prompt == "turn 2"
    assert [turn.prompt for turn in long] == ["turn 0", "turn 1"]
    long.clear()
    with pytest.raises(ConfigurationError, match="no turn to undo"):
        long.undo()


async def test_forgetting_leaves_files(long, folder):
    """They are the caller's."""
    before = sorted(folder.iterdir())
    long.forget_pictures()
    long.clear()
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize("count", [-1, 1.5, True, None])
def test_count_is_refused(conversation, count):
    """How many to keep is a whole number."""
    for forget in (conversation.forget_pictures, conversation.forget_turns):
        with pytest.raises(ConfigurationError, match="keep_last"):
            forget(keep_last=count)


# ---- what is refused


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"temprature": 1}, "did you mean"), ({"images": [PNG]}, "go with a turn"), ({"save_to": 5}, "a folder")],
)
def test_conversation_is_refused(client, options, hint):
    """At once, where it is made."""
    with pytest.raises(ConfigurationError, match=hint):
        Conversation(client=client, **options)


@pytest.mark.parametrize(
    ("prompt", "options", "hint"),
    [
        ("", {}, "prompt is empty"),
        ("hi", {"images": "a.png"}, "a list"),
        ("hi", {"images": Picture("a.png")}, "a list"),
        ("hi", {"temprature": 1}, "did you mean"),
    ],
)
def test_turn_is_refused_at_once(conversation, prompt, options, hint):
    """The call itself raises."""
    with pytest.raises(ConfigurationError, match=hint):
        conversation.stream(prompt, **options)


@pytest.mark.parametrize(
    ("images", "hint"),
    [
        (["/nowhere/a.png"], "/nowhere/a.png"),
        ([b"hello"], "not a picture"),
        ([5], "int"),
        (["data:image/png;base64,%%"], "no base64"),
        (["data:image/png,x"], "must hold base64"),
    ],
)
async def test_picture_is_refused_when_it_is_read(emulator, conversation, images, hint):
    """Nothing is sent, and nothing is kept."""
    assert hint in await refusal_of(conversation, images=images)
    assert (len(conversation), len(emulator.requests)) == (0, 0)


def test_answer_among_what_is_asked_is_refused(conversation):
    """The conversation has its answers already."""
    for take in (conversation.stream, lambda prompt: conversation.add(prompt, Message())):
        with pytest.raises(ConfigurationError, match="has its answers already"):
            take([Message(text="x"), {"role": "user", "content": "y"}])


def test_answer_that_is_no_message_is_refused(conversation):
    """A text is not one."""
    with pytest.raises(ConfigurationError, match="must be a Message, not str"):
        conversation.add("x", "y")


@pytest.mark.parametrize("image", [Image(), Image(path=Path("/nowhere/a.png"))])
def test_answer_with_a_picture_that_is_not_there_is_refused(conversation, image):
    """It could not be sent, and not be saved."""
    with pytest.raises(ConfigurationError, match=r"no data|/nowhere/a\.png"):
        conversation.add("x", Message(images=[image]))
    assert len(conversation) == 0


async def test_folder_that_takes_nothing(emulator, conversation, folder):
    """Found before anything is sent, and so before it is paid for."""
    stream = conversation.stream("Edit it", images=[PNG])
    folder.rmdir()
    folder.touch()
    with pytest.raises(ConfigurationError, match="cannot be"):
        await stream.final()
    assert emulator.requests == []


async def test_repr(long, conversation):
    """Says how much there is, and shows no data."""
    assert repr(long) == "<Conversation of 3 turns, 6 pictures>"
    conversation.add("x", Message(images=[Image.from_bytes(picture("a", 64, 64))]))
    assert len(repr(Conversation(client=long._client))) < 100
    assert all(len(repr(turn)) < 3000 for turn in long)


def test_data_url_is_kept_as_bytes(conversation):
    """So that it can be a file."""
    conversation.add("x", Message(text="y"), images=[data_url(PNG)])
    assert conversation.turns[0].images[0].path.read_bytes() == PNG


async def test_picture_that_is_moved_before_the_end(emulator, conversation, folder):
    """A turn whose picture the user has already taken away is kept all the same, and says so when it is sent."""
    emulator.scenario = scenarios.image_with_text()
    async for event in conversation.stream("Draw"):
        if type(event) is ImageEnd:
            event.image.path.rename(folder / "taken.png")
    assert type(event) is StreamEnd
    assert len(conversation) == 1
    (image,) = conversation.answers[0].images
    assert image.known_sha256 == hashlib.sha256((folder / "taken.png").read_bytes()).hexdigest()
    with pytest.raises(ConfigurationError, match="put it back"):
        await conversation.generate("Again")
