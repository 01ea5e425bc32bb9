"""A run with a journal: the second time does what the first has not done."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from or_stream import ConfigurationError
from or_stream.batching import read_journal
from or_stream.batching.records import Journal
from or_stream.emulator import scenarios

PROMPTS = [f"prompt {number}" for number in range(12)]


def records(path, kind):
    return [record for line in path.read_text().splitlines() if (record := json.loads(line))["kind"] == kind]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


async def test_second_run_sends_nothing(emulator, run, path):
    """What is done is handed out from the journal, as it was."""
    first = await run(PROMPTS, journal=path, ordered=True).collect()
    running = run(PROMPTS, journal=path, ordered=True)
    second = await running.collect()
    assert [item.message for item in second] == [item.message for item in first]
    assert all(item.is_resumed for item in second)
    assert len(emulator.requests) == 12
    assert running.stats.cost == pytest.approx(emulator.bill.total)
    assert (running.stats.finished, running.stats.resumed, running.stats.requests) == (12, 12, 0)


async def test_skip_finished(run, path):
    """Or not at all."""
    await run(PROMPTS[:8], journal=path).collect()
    items = await run(PROMPTS, journal=path, skip_finished=True, ordered=True).collect()
    assert [item.index for item in items] == [8, 9, 10, 11]


async def test_failed_are_tried_again(emulator, run, path):
    """An item that failed is not done."""
    emulator.play(scenarios.refused(400))
    await run(PROMPTS, journal=path, concurrency=1).collect()
    items = await run(PROMPTS, journal=path, skip_finished=True).collect()
    assert [(item.prompt, item.error) for item in items] == [("prompt 0", None)]


async def test_left_run_goes_on(emulator, run, path):
    """What was under way when the loop was left is undone, and done by the next run, which may begin at once."""
    async for _ in run(PROMPTS, journal=path, concurrency=4):
        break
    items = await run(PROMPTS, journal=path, ordered=True).collect()
    assert [item.prompt for item in items] == PROMPTS
    assert all(item.error is None for item in items)
    assert sorted(record["index"] for record in records(path, "done")) == list(range(12))


@pytest.mark.parametrize("turns", range(5))
async def test_run_that_is_left_at_once(run, path, turns):
    """However early a run is left, its journal is free for the next one."""
    for _ in range(5):
        async with run(PROMPTS, journal=path):
            for _ in range(turns):
                await asyncio.sleep(0)
        Journal(path).close()


async def test_duplicates_are_done_once(emulator, run, path):
    """With a journal equal prompts are one."""
    running = run(["a", "b", "a", "a"], journal=path, ordered=True)
    assert [item.prompt for item in await running.collect()] == ["a", "b"]
    assert (running.stats.duplicates, len(emulator.requests)) == (2, 2)


async def test_duplicates_are_done_each(emulator, run, path):
    """Unless each is asked for: then they have numbers, which the next run finds again."""
    for _ in range(2):
        items = await run(["a", "b", "a"], journal=path, duplicates="each", ordered=True).collect()
        assert [item.prompt for item in items] == ["a", "b", "a"]
        assert items[2].key == f"{items[0].key}#2"
    assert len(emulator.requests) == 3


async def test_number_of_a_duplicate_is_nobody_elses_key(emulator, run):
    """A prompt that has the key which a duplicate would get keeps it to itself."""
    given = [{"prompt": prompt, "key": key} for prompt, key in [("b", "a#2"), *[("a", "a")] * 3]]
    items = await run(given, duplicates="each", ordered=True).collect()
    assert [item.key for item in items] == ["a#2", "a", "a#3", "a#4"]


async def test_key_of_a_numbered_duplicate(run):
    """A prompt that comes with the key which a duplicate got is told so."""
    given = [{"prompt": prompt, "key": key} for prompt, key in [*[("a", "a")] * 2, ("b", "a#2")]]
    items = await run(given, duplicates="each", ordered=True).collect()
    assert [type(item.error) for item in items] == [type(None), type(None), ConfigurationError]


async def test_duplicates_without_a_journal(emulator, run):
    """Nothing is remembered, so that the same prompt four times is four answers."""
    assert len(await run(["a"] * 4).collect()) == len(emulator.requests) == 4


async def test_one_key_for_two_requests(run, path):
    """Two prompts under one key are a mistake, not a duplicate."""
    given = [{"prompt": "a", "key": "k"}, {"prompt": "b", "key": "k"}]
    items = await run(given, journal=path, ordered=True).collect()
    assert [type(item.error) for item in items] == [type(None), ConfigurationError]


async def test_key_of_another_request(run, path):
    """A prompt that was changed under its key is not answered with the old answer."""
    await run([{"prompt": "a", "key": "k"}], journal=path).collect()
    (item,) = await run([{"prompt": "b", "key": "k"}], journal=path).collect()
    assert isinstance(item.error, ConfigurationError)


async def test_journal_in_use(emulator, run, path, monkeypatch):
    """A second run on a journal in use does not begin."""
    monkeypatch.setattr("or_stream.batching.records._journal._LOCK_SECONDS", 0)
    emulator.scenario = scenarios.text_for_ever()
    async with run(PROMPTS, journal=path, concurrency=2):
        await emulator.received(2)
        with pytest.raises(ConfigurationError, match="in use"):
            await run(PROMPTS, journal=path).collect()
    assert len(emulator.requests) == 2


async def test_journal_that_cannot_be_written(emulator, run, path):
    """A full disk ends the run, and what is finished is handed out all the same."""
    await run(["a"], journal=path).collect()
    script = Path(__file__).with_name("full_disk.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, emulator.base_url, path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert output.decode().splitlines()[-1] == "OrStreamError True", output
    assert [item.prompt for item in read_journal(path)][:1] == ["a"]
    assert path.read_bytes().endswith(b"\n")
    items = await run(PROMPTS, journal=path).collect()
    assert len(items) == 12


# ---- pictures


async def test_pictures(emulator, run, path, tmp_path):
    """Pictures are files named by their keys, and the journal has where they are and their digests."""
    emulator.scenario = None
    given = [{"prompt": "two small pictures of a cat", "key": "cat"}, {"prompt": "a dog", "key": "Dog/1"}]
    out = tmp_path / "out"
    items = await run(given, save_to=out, journal=path, image_config={"image_size": "0.5K"}, ordered=True).collect()
    assert [item.error for item in items] == [None, None]
    assert [image.path.name for image in items[0].message.images] == ["cat-0.png", "cat-1.png"]
    assert items[1].message.images[0].path.name.startswith("dog-1-")
    assert sorted(file.name for file in out.iterdir()) == sorted(
        image.path.name for item in items for image in item.message.images
    )
    for item in await run(given, save_to=out, journal=path, image_config={"image_size": "0.5K"}).collect():
        for image in item.message.images:
            assert hashlib.sha256(image.path.read_bytes()).hexdigest() == image.known_sha256


async def test_pictures_of_failed_items(emulator, run, tmp_path):
    """What was whole before a stream was cut is kept, under a name that says so; of a repeated one nothing stays."""
    cut = scenarios.image_with_text()
    cut = type(cut)(tuple(step for step in cut.steps[:-3]))
    emulator.play(cut)
    (item,) = await run([{"prompt": "a", "key": "a"}], save_to=tmp_path, retry=None).collect()
    assert item.error is None
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == []
    emulator.scenario = cut
    (item,) = await run([{"prompt": "a", "key": "a", "retry": once()}], save_to=tmp_path).collect()
    assert item.error is not None
    assert [file.name for file in tmp_path.iterdir()] == [item.error.partial.images[0].path.name] == ["a~failed-0.png"]


def once():
    from or_stream import RetryPolicy

    return RetryPolicy(attempts=1)


# ---- a kill


async def test_kill(emulator, path, tmp_path):
    """Killed three times: in the end every item is done exactly once, and only those under way were asked for twice."""
    emulator.scenario = None
    emulator.pace = type(emulator.pace)(0.0, 0.02)
    script, out = Path(__file__).with_name("killable.py"), tmp_path / "out"
    kills, under_way = 0, 0
    while True:
        process = await asyncio.create_subprocess_exec(sys.executable, script, emulator.base_url, path, out, "40", "4")
        if kills < 3:
            wanted = len(emulator.requests) + 8
            while len(emulator.requests) < wanted and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
            kills += 1
            under_way += 4
        elif await process.wait() == 0:
            break
    chats = [record for record in emulator.requests if record.method == "POST"]
    assert sorted(record["index"] for record in records(path, "done")) == list(range(40))
    assert len(chats) <= 40 + under_way
    items = list(read_journal(path))
    assert all(
        hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256 for item in items for image in item.message.images
    )
    assert sorted(file.name for file in out.iterdir()) == sorted(
        image.path.name for item in items for image in item.message.images
    )
