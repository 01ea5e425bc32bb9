"""The emulator as a whole: choosing, recording, many at once, and leaving nothing behind."""

import asyncio
import gc
import json
import os
import resource
import subprocess
import sys
import threading
import time

import aiohttp
import pytest

from or_stream.emulator import Emulator, Scenario, Send, Signal, Stall, WaitFor, scenarios
from or_stream.emulator._painting import _pictures


async def test_it_starts_at_once():
    """Listening takes less than 50 ms, by the processor's clock."""
    async with Emulator():
        pass
    started = time.process_time()
    emulator = Emulator()
    await emulator.start()
    seconds = time.process_time() - started
    await emulator.aclose()
    assert seconds < 0.05


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of this machine")
async def test_it_is_heard_on_one_address(emulator):
    """127.0.0.1 alone: not even another loopback address reaches it, unless `host` says so."""
    assert emulator.base_url == f"http://127.0.0.1:{emulator.port}/api/v1"
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.2", emulator.port)
    async with Emulator(host="127.0.0.2") as another:
        _, writer = await asyncio.open_connection("127.0.0.2", another.port)
        writer.close()
        await writer.wait_closed()


async def test_requests_are_recorded(emulator, chat):
    """Method, path, headers, body and bytes are as they were sent."""
    await chat.read("hi", seed=3)
    (request,) = emulator.requests
    assert (request.method, request.path) == ("POST", "/api/v1/chat/completions")
    assert request.headers["authorization"] == "Bearer any"
    assert request.body["seed"] == 3
    assert json.loads(request.raw) == request.body
    assert request.bytes_sent > 500


async def test_the_oldest_requests_are_forgotten(session):
    """Their number is bounded; waiting counts all the same."""
    async with Emulator(keep_requests=2) as emulator:
        for number in range(4):
            async with session.get(f"{emulator.base_url}/{number}") as response:
                await response.read()
        kept = await emulator.received(4)
    assert [request.path for request in kept] == ["/api/v1/2", "/api/v1/3"]


async def test_queued_scenarios_are_played_once_and_in_order(emulator, chat):
    """First come first served, names and scenarios alike, then the assistant."""
    emulator.play("refused-503", scenarios.replay(b"a"), times=2)
    statuses = []
    for _ in range(5):
        async with chat.post() as response:
            statuses.append((response.status, await response.read()))
    assert [status for status, _ in statuses] == [503, 200, 503, 200, 200]
    assert statuses[1][1] == statuses[3][1] == b"a"
    assert b"emulator speaking" not in statuses[3][1]
    assert statuses[4][1].endswith(b"data: [DONE]\n\n")


async def test_a_script_decides_by_the_request(emulator, chat):
    """It sees each request, and may leave it to the assistant."""
    emulator.script = lambda request: scenarios.replay(b"seven") if request.body.get("seed") == 7 else None
    assert await chat.read(seed=7) == b"seven"
    assert (await chat.read(seed=8)).endswith(b"data: [DONE]\n\n")


async def test_a_header_names_a_scenario(emulator, session):
    """And leaves the queue as it is."""
    emulator.play(scenarios.replay(b"queued"))
    url, body = f"{emulator.base_url}/chat/completions", {"prompt": "hi"}
    async with session.post(url, json=body, headers={"x-emulator-scenario": "refused-402"}) as response:
        assert response.status == 402
    async with session.post(url, json=body) as response:
        assert await response.read() == b"queued"


async def test_the_default_scenario_answers_the_rest(session):
    """`scenario=` is played whenever nothing else is asked for."""
    async with Emulator(scenario="refused-529") as emulator:
        for _ in range(2):
            async with session.post(f"{emulator.base_url}/chat/completions", json={"prompt": "hi"}) as response:
                assert response.status == 529


async def test_a_wrong_request_uses_nothing_up(emulator, session):
    """A refusal of the request itself comes before any scenario."""
    emulator.play(scenarios.replay(b"queued"))
    url = f"{emulator.base_url}/chat/completions"
    async with session.post(url, json={}) as response:
        assert response.status == 400
    async with session.post(url, json={"prompt": "hi"}) as response:
        assert await response.read() == b"queued"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/chat/completions"), ("POST", "/models"), ("GET", "/models/one"), ("POST", "/nothing")]
)
async def test_what_is_not_there_is_404_in_the_services_shape(emulator, session, method, path):
    """Other endpoints, and other methods."""
    async with session.request(method, emulator.base_url + path) as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == 404


async def test_a_thousand_streams_at_once(session):
    """All under way at the same time, all with their own answer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        if hard != resource.RLIM_INFINITY and hard < 4096:
            pytest.skip("not enough file descriptors: a thousand streams need two thousand, in one process")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))
    gate = asyncio.Event()

    async def one(number: int) -> None:
        body = {"messages": [{"role": "user", "content": f"number {number}"}], "stream": True}
        async with session.post(f"{emulator.base_url}/chat/completions", json=body) as response:
            assert await response.read() == f"begun number {number}".encode()

    async with Emulator() as emulator, asyncio.TaskGroup() as group:
        emulator.script = lambda request: Scenario(
            (Send(b"begun "), WaitFor(gate), Send(request.body["messages"][0]["content"].encode()))
        )
        for number in range(1000):
            group.create_task(one(number))
        await emulator.received(1000)
        assert emulator.active == emulator.peak_active == 1000
        gate.set()


async def test_drawing_does_not_hold_the_loop(chat):
    """While a large picture is drawn, others on the loop go on."""
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    heart = asyncio.create_task(beat())
    await chat.read("a boat drawn large", modalities=["image"], image_config={"image_size": "2K"})
    heart.cancel()
    assert beats > 3


async def test_many_requests_for_one_picture_draw_it_once(chat):
    """Answers share their drawings."""
    drawn = _pictures._drawn.cache_info().misses
    body = {"modalities": ["image"], "image_config": {"image_size": "0.5K"}}
    answers = await asyncio.gather(*(chat.read("one boat for all", **body) for _ in range(50)))
    assert [answer.count(b"data:image/png") for answer in answers] == [1] * 50
    assert _pictures._drawn.cache_info().misses == drawn + 1


async def test_closing_drops_the_streams_that_go_on(emulator, chat):
    """Nobody is waited for; the client sees the connection end, and is not said to have left."""
    emulator.play(Scenario((Send(b"x"), Stall())), times=20)

    async def one() -> None:
        async with chat.post() as response:
            with pytest.raises(aiohttp.ClientError):
                await response.read()

    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(one())
        await emulator.received(20)
        async with asyncio.timeout(2):
            await emulator.aclose()
    assert not any(request.closed_early for request in emulator.requests)


async def test_it_leaves_no_task_and_no_thread(chat, emulator, session):
    """After aclose there is what there was before, the painter's thread included."""
    tasks, threads = asyncio.all_tasks(), {thread.name for thread in threading.enumerate()}
    async with Emulator() as another:
        url = f"{another.base_url}/chat/completions"
        body = {"messages": [{"role": "user", "content": "a boat"}], "modalities": ["image"], "stream": True}
        async with session.post(url, json=body) as response:
            await response.read()
    await session.close()
    gc.collect()
    left = {thread.name for thread in threading.enumerate()} - threads
    assert asyncio.all_tasks() <= tasks
    assert not [name for name in left if "emulator" in name]


async def test_it_can_be_started_again():
    """Closing twice is allowed, and so is a second life on the same port."""
    emulator = Emulator()
    await emulator.start()
    first = emulator.base_url
    await emulator.aclose()
    await emulator.aclose()
    await emulator.start()
    assert emulator.base_url == first
    await emulator.aclose()


async def test_a_taken_port_is_an_os_error(emulator):
    """And leaves nothing behind."""
    with pytest.raises(OSError, match="in use"):
        await Emulator(port=emulator.port).start()


async def test_it_cannot_be_started_twice(emulator):
    """One emulator, one port."""
    with pytest.raises(RuntimeError, match="running already"):
        await emulator.start()


def test_there_is_no_address_before_the_start():
    """The error says what to do."""
    with pytest.raises(RuntimeError, match="async with"):
        _ = Emulator().base_url


def test_nothing_is_left_behind_under_dev_mode():
    """A whole run with every warning an error, a stalled stream included, prints nothing."""
    program = """
import asyncio, aiohttp
from or_stream.emulator import Emulator, scenarios
async def main():
    async with Emulator() as emulator:
        emulator.play(scenarios.text(), scenarios.connection_reset(), scenarios.closed(), scenarios.silence("x"))
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer k"}) as session:
            for _ in range(3):
                try:
                    async with session.post(emulator.base_url + "/chat/completions", json={"prompt": "hi"}) as response:
                        await response.read()
                except aiohttp.ClientError:
                    pass
            async with session.post(emulator.base_url + "/chat/completions", json={"prompt": "hi"}) as response:
                await response.content.readany()
                await emulator.aclose()
asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_a_seed_makes_two_emulators_alike(session):
    """Ids, times and bytes follow from it; another seed has other ids."""
    answers = []
    for seed in (7, 7, 8):
        async with Emulator(seed=seed) as emulator:
            url, body = f"{emulator.base_url}/chat/completions", {"prompt": "a boat", "stream": True}
            got = []
            for _ in range(2):
                async with session.post(url, json=body) as response:
                    got.append(await response.read())
            answers.append(got)
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]
    assert answers[0] != answers[2]


async def test_a_signal_reaches_every_thread_and_loop():
    """Set in one thread, it is seen in another, in the loop that waits, and by who asks late."""
    signal = Signal()
    waiting = [asyncio.create_task(signal.wait()) for _ in range(2)]
    given_up = asyncio.create_task(signal.wait())
    blocked = asyncio.create_task(asyncio.to_thread(signal.block, 10))
    await asyncio.sleep(0)
    given_up.cancel()
    assert not signal.block(0)
    threading.Thread(target=signal.set).start()
    await asyncio.gather(*waiting)
    assert await blocked
    await signal.wait()
    signal.set()
    assert signal.is_set()


def test_a_signal_outlives_the_loops_that_waited():
    """Who waited in a loop that is closed is forgotten."""
    signal = Signal()
    loop = asyncio.new_event_loop()
    task = loop.create_task(signal.wait())
    loop.run_until_complete(asyncio.sleep(0))
    task._log_destroy_pending = False
    loop.close()
    signal.set()
    assert signal.is_set()
