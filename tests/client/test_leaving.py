"""Leaving a stream, in every way there is, drops its connection at once: an abandoned generation costs money.

Whole programs run in processes of their own, where whatever Python and aiohttp have to complain of comes to stderr.
"""

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import anyio
import pytest

from or_stream import ImageEnd, OrStreamError, StreamEnd, StreamTruncated, TextDelta
from or_stream.emulator import Repeat, Scenario, Wait, scenarios

SOURCE = Path(__file__).parents[2] / "src"
SLOW_MACHINE_SECONDS = 1


class Holder:
    """Keeps a stream and its iterator referenced, so that no garbage collection can be what closes them."""

    def __init__(self, stream):
        self.stream = stream


def first_text(event):
    return isinstance(event, TextDelta)


async def by_break(holder):
    async for event in holder.stream:
        if first_text(event):
            break


async def by_return(holder):
    async for event in holder.stream:
        if first_text(event):
            return event
    return None


async def by_exception(holder):
    async def body():
        async for event in holder.stream:
            if first_text(event):
                raise KeyError("of the caller")

    with pytest.raises(KeyError):
        await body()


async def by_break_of_text(holder):
    async for _ in holder.stream.text:
        break


async def by_break_of_images(holder):
    async for _ in holder.stream.images:
        break


async def by_break_inside_async_with(holder):
    async with holder.stream as stream:
        async for event in stream:
            if first_text(event):
                break


async def by_async_with(holder):
    holder.events = aiter(holder.stream)
    async with holder.stream:
        await anext(holder.events)


async def by_exception_inside_async_with(holder):
    holder.events = aiter(holder.stream)

    async def body():
        async with holder.stream:
            await anext(holder.events)
            raise KeyError("of the caller")

    with pytest.raises(KeyError):
        await body()


async def by_aclose(holder):
    holder.events = aiter(holder.stream)
    await anext(holder.events)
    await holder.stream.aclose()
    await holder.stream.aclose()
    assert [event async for event in holder.events] == []


async def by_aclose_of_another_task(holder):
    task = asyncio.create_task(holder.stream.final())
    await asyncio.sleep(0.1)
    await holder.stream.aclose()
    with pytest.raises(StreamTruncated, match="left"):
        await task


async def by_aclose_while_another_task_iterates(holder):
    async def read():
        return [event async for event in holder.stream][-1]

    task = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    await holder.stream.aclose()
    assert not isinstance(await task, StreamEnd)


async def by_async_generator(holder):
    async def words():
        async for text in holder.stream.text:
            yield text

    generator = words()
    await anext(generator)
    await generator.aclose()


async def by_dropping_an_async_generator(holder):
    async def words():
        async for text in holder.stream.text:
            yield text

    await anext(words())
    gc.collect()


async def by_dropping_the_iterator(holder):
    await anext(aiter(holder.stream))


async def by_dropping_the_stream(holder):
    holder.events = aiter(holder.stream)
    await anext(holder.events)
    cycle = [holder.stream, holder.events]
    cycle.append(cycle)
    del holder.stream, holder.events, cycle
    gc.collect()


async def by_collection_in_another_thread(holder):
    asyncio.get_running_loop().set_debug(True)  # then what is called from the wrong thread raises
    gc.disable()
    try:
        events = aiter(holder.stream)
        await anext(events)
        cycle = [events]
        cycle.append(cycle)
        del events, cycle
        await asyncio.to_thread(gc.collect)
    finally:
        gc.enable()


async def by_cancelling(holder):
    task = asyncio.create_task(holder.stream.final())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_cancelling_the_body(holder):
    async def read():
        async for event in holder.stream:
            if first_text(event):
                await asyncio.sleep(60)

    task = asyncio.create_task(read())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_asyncio_timeout(holder):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await holder.stream.final()


async def by_wait_for(holder):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(holder.stream.final(), 0.1)


async def by_task_group(holder):
    async def both():
        async with asyncio.TaskGroup() as group:
            group.create_task(holder.stream.final())
            await asyncio.sleep(0.1)
            raise KeyError("of another task")

    with pytest.raises(ExceptionGroup):
        await both()


async def by_move_on_after(holder):
    with anyio.move_on_after(0.1) as scope:
        async for _ in holder.stream:
            pass
    assert scope.cancelled_caught


async def by_fail_after(holder):
    with pytest.raises(TimeoutError), anyio.fail_after(0.1):
        await holder.stream.final()


async def by_cancel_scope_around_async_with(holder):
    with anyio.move_on_after(0.1):
        async with holder.stream as stream, anyio.create_task_group() as group:
            group.start_soon(stream.final)
            await anyio.sleep(60)


WAYS = [value for name, value in globals().items() if name.startswith("by_")]
BEGINS_BY_ITSELF = [
    by_cancelling,
    by_asyncio_timeout,
    by_wait_for,
    by_task_group,
    by_move_on_after,
    by_fail_after,
    by_aclose_of_another_task,
]


def busy():
    """Words and pictures until the client leaves."""
    image = scenarios.text_and_images().steps
    return Scenario((*image[:-3], Repeat((*scenarios.text("on").steps[2:3], Wait(0.005)))))


async def seconds_until_noticed(request, since):
    """How long the server took to see that the client is gone."""
    async with asyncio.timeout(SLOW_MACHINE_SECONDS):
        await request.disconnected.wait()
    return time.monotonic() - since


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.removeprefix("by_"))
async def test_way_to_leave(emulator, client, way):
    """The server sees it, though the stream object is still there; nothing is left running; what came stays."""
    emulator.play(busy())
    tasks = asyncio.all_tasks()
    holder = Holder(client.stream("x"))
    await way(holder)
    assert await seconds_until_noticed(emulator.requests[0], time.monotonic()) < SLOW_MACHINE_SECONDS
    assert {task for task in asyncio.all_tasks() - tasks if "or_stream/client" in repr(task.get_coro())} == set()
    if hasattr(holder, "stream"):
        assert holder.stream.status == "cancelled"
        assert holder.stream.message.status == "cancelled"
        assert [event async for event in holder.stream] == []
        with pytest.raises(StreamTruncated) as caught:
            await holder.stream.final()
        assert caught.value.partial.text == holder.stream.message.text


@pytest.mark.parametrize("way", BEGINS_BY_ITSELF, ids=lambda way: way.__name__.removeprefix("by_"))
@pytest.mark.parametrize("name", ["no-headers", "silence", "heartbeats-for-ever"])
async def test_leaving_a_stream_that_has_not_begun(emulator, client, way, name):
    """It is the same before the headers, before the first event, and among comments."""
    holder = Holder(client.stream("x", model=f"emulator/{name}"))
    await way(holder)
    assert await seconds_until_noticed(emulator.requests[0], time.monotonic()) < SLOW_MACHINE_SECONDS
    assert holder.stream.status == "cancelled"
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("way", BEGINS_BY_ITSELF, ids=lambda way: way.__name__.removeprefix("by_"))
async def test_leaving_in_the_pause_before_a_retry(emulator, client, way):
    """No further request is sent, and nobody waits for the pause to end."""
    emulator.scenario = scenarios.rate_limited(30)
    holder = Holder(client.stream("x"))
    started = time.monotonic()
    await way(holder)
    assert time.monotonic() - started < 5
    assert (holder.stream.status, len(emulator.requests)) == ("cancelled", 1)


async def test_left_at_the_moment_of_the_headers(emulator, client):
    """Another task leaves while the headers are on their way, at any of the turns of the loop that this takes."""
    for turns in range(0, 60, 3):
        stream = client.stream("x", model="emulator/text-for-ever")
        task = asyncio.create_task(stream.final())
        for _ in range(turns):
            await asyncio.sleep(0)
        await stream.aclose()
        with pytest.raises(StreamTruncated):
            await task
        assert stream.status == "cancelled"
    async with asyncio.timeout(SLOW_MACHINE_SECONDS):
        while emulator.active:  # noqa: ASYNC110  # the emulator has no event for it
            await asyncio.sleep(0.01)


async def test_cancelled_at_any_moment(emulator, client):
    """Wherever a cancellation hits, the connection is dropped and CancelledError comes out."""
    for turns in range(60):
        stream = client.stream("x", model="emulator/text-and-images")
        task = asyncio.create_task(stream.final())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            assert stream.status in ("pending", "cancelled")
        else:
            assert stream.status == "complete"
    async with asyncio.timeout(SLOW_MACHINE_SECONDS):
        while emulator.active:  # noqa: ASYNC110  # the emulator has no event for it
            await asyncio.sleep(0.01)


async def test_connections_close_within_a_tenth_of_a_second(emulator, client):
    """The contract, as the median of 20 streams that are left with `break` while they are referenced."""
    seconds, kept = [], []
    for number in range(20):
        emulator.play(busy())
        holder = Holder(client.stream("x"))
        kept.append(holder)
        await by_break(holder)
        seconds.append(await seconds_until_noticed(emulator.requests[number], time.monotonic()))
    assert sorted(seconds)[10] < 0.1


async def test_reader_that_leaves_lets_the_answer_finish_nowhere(emulator, client):
    """A picture that is on its way is not read to its end."""
    emulator.play(scenarios.text_and_images(images=1, byte_size=50_000_000))
    async for event in client.stream("x"):
        assert not isinstance(event, ImageEnd)
        if isinstance(event, TextDelta):
            break
    await seconds_until_noticed(emulator.requests[0], time.monotonic())
    assert emulator.requests[0].bytes_sent < 20_000_000


async def test_a_thousand_abandoned_streams(emulator, client):
    """They leave no socket, no task, no file and no object."""
    await client.generate("x", model="emulator/text")
    await asyncio.sleep(0.1)
    gc.collect()

    def open_files():
        return len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0

    emulator.scenario = scenarios.text_for_ever()
    before, tasks = open_files(), len(asyncio.all_tasks())
    gate = asyncio.Semaphore(50)

    async def abandon(number):
        async with gate:
            stream = client.stream("x")
            async for event in stream:
                if first_text(event) or number % 3 == 0:
                    break

    await asyncio.gather(*(abandon(number) for number in range(1000)))
    async with asyncio.timeout(10):
        # One kept connection more or less.
        while emulator.active or open_files() > before + 1:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.02)
    gc.collect()
    assert len(asyncio.all_tasks()) <= tasks + 1
    assert [thing for thing in gc.get_objects() if type(thing).__name__ in ("ChatStream", "Pipeline", "Response")] == []


async def test_ways_to_leave_are_no_errors(emulator, client):
    """Only what fails raises: a stream that is left by the caller stays silent."""
    holder = Holder(client.stream("x", model="emulator/text-for-ever"))
    try:
        await by_break(holder)
    except OrStreamError:
        pytest.fail("leaving raised")


# ---- whole programs

PROGRAM = """
import asyncio, gc, glob, os, signal, sys, tempfile, threading, traceback, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
from or_stream import *
from or_stream.emulator import Emulator, Scenario, Stall, scenarios

FOREVER = "emulator/text-for-ever"

class Server:
    def __enter__(self):
        self.loop, ready = asyncio.new_event_loop(), threading.Event()
        self.emulator = Emulator()
        def run():
            self.loop.run_until_complete(self.emulator.start())
            ready.set()
            self.loop.run_forever()
            self.loop.run_until_complete(self.emulator.aclose())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
        self.thread = threading.Thread(target=run)
        self.thread.start()
        ready.wait()
        os.environ.update(OPENROUTER_BASE_URL=self.emulator.base_url, OPENROUTER_API_KEY="k")
        return self.emulator
    def __exit__(self, *_):
        requests = self.emulator.requests
        async def all_done():
            async with asyncio.timeout(1):
                while not all(request.finished.is_set() or request.disconnected.is_set() for request in requests):
                    await asyncio.sleep(0.01)
        try:
            asyncio.run_coroutine_threadsafe(all_done(), self.loop).result()
            print("served", len(requests))
        except TimeoutError:
            print("still open")
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

def in_a_fork(work):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work()
        gc.collect()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)

async def begin(stream):
    events = aiter(stream)
    while not isinstance(await anext(events), TextDelta):
        pass
    return events
"""

PROGRAMS = {
    "two runs of the shared client": """
        with Server():
            for _ in range(2): asyncio.run(generate("x"))
    """,
    "two runs of a client that is not closed": """
        with Server():
            client = Client()
            for _ in range(2): asyncio.run(client.generate("x"))
    """,
    "a run that ends with a stream suspended": """
        async def main():
            stream_ = stream("x", model=FOREVER)
            events = await begin(stream_)
        with Server(): asyncio.run(main())
    """,
    "a run that ends with a stream suspended that stays referenced": """
        async def main():
            global stream_, events
            stream_ = stream("x", model=FOREVER)
            events = await begin(stream_)
        with Server(): asyncio.run(main())
    """,
    "the same with a client of its own": """
        async def main():
            global stream_, events
            stream_ = stream("x", model=FOREVER, client=Client())
            events = await begin(stream_)
        with Server(): asyncio.run(main())
    """,
    "a run that ends inside an async generator": """
        async def words():
            async for text in stream("x", model=FOREVER).text: yield text
        async def main():
            async for text in words(): break
        with Server(): asyncio.run(main())
    """,
    "a run that ends with a task reading": """
        async def main():
            global task
            task = asyncio.create_task(generate("x", model=FOREVER))
            await asyncio.sleep(0.2)
        with Server(): asyncio.run(main())
    """,
    "a run that ends in the pause before a retry": """
        async def main():
            global task
            task = asyncio.create_task(generate("x", model="emulator/rate-limited"))
            await asyncio.sleep(0.2)
        with Server(): asyncio.run(main())
    """,
    "a run that ends while the body of a finished answer goes on": """
        async def main():
            async with Client() as client: await client.generate("x", model="emulator/trailing-bytes")
            await generate("x", model="emulator/trailing-bytes")
        with Server(): asyncio.run(main())
    """,
    "a fork after the shared client was used": """
        def once():
            asyncio.run(generate("x"))
        with Server():
            once()
            assert in_a_fork(once) == 0
            once()
    """,
    "a fork beside streams that are read": """
        async def main(folder):
            async with Client() as client:
                await client.generate("x")
                await generate("x")
                streams = [client.stream("x", model=FOREVER), stream("x", model=FOREVER)]
                open_ = [await begin(stream_) for stream_ in streams]
                half = client.stream("half", save_to=folder)
                pictures = aiter(half)
                while not isinstance(await anext(pictures), ImageStart): pass
                def work():
                    asyncio.run(client.generate("x"))
                    asyncio.run(generate("x"))
                    half.leave()
                    streams[0].leave()
                assert in_a_fork(work) == 0
                for events in open_:
                    for _ in range(50): await anext(events)
                assert len(os.listdir(folder)) == 1
                await client.generate("x")
                await generate("x")
                for stream_ in (*streams, half): await stream_.aclose()
        def script(request):
            return Scenario((*scenarios.image_cut().steps, Stall())) if "half" in str(request.body) else None
        with Server() as emulator, tempfile.TemporaryDirectory() as folder:
            emulator.script = script
            asyncio.run(main(folder))
    """,
    "a fork that drops a stream and a client": """
        loop = asyncio.new_event_loop()
        async def more(events):
            for _ in range(50): await anext(events)
        def work():
            global stream_, events, client
            del stream_, events, client
            gc.collect()
            asyncio.run(generate("x"))
        with Server():
            client = Client()
            stream_ = client.stream("x", model=FOREVER)
            events = loop.run_until_complete(begin(stream_))
            assert in_a_fork(work) == 0
            loop.run_until_complete(asyncio.wait_for(more(events), 5))
            loop.run_until_complete(stream_.aclose())
            loop.run_until_complete(client.aclose())
            loop.close()
    """,
    "loops in threads": """
        def work():
            asyncio.run(generate("x"))
            async def main():
                async for event in stream("x", model=FOREVER): break
            asyncio.run(main())
        with Server():
            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
    """,
    "an interrupt": """
        async def main():
            async for event in stream("x", model=FOREVER):
                if isinstance(event, TextDelta):
                    os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.sleep(5)
        with Server():
            try: asyncio.run(main())
            except KeyboardInterrupt: pass
    """,
    "sys.exit inside the loop": """
        async def main():
            async for event in stream("x", model=FOREVER):
                if isinstance(event, TextDelta): sys.exit(3)
        with Server():
            try: asyncio.run(main())
            except SystemExit: pass
    """,
    "streams that were never begun": """
        async def main():
            prepared = stream("x", client=Client(api_key="k"))
            prepared.text, prepared.images, aiter(prepared), prepared.message
        asyncio.run(main())
    """,
    "a picture half written": """
        with Server() as emulator, tempfile.TemporaryDirectory() as folder:
            emulator.script = lambda request: Scenario((*scenarios.image_cut().steps, Stall()))
            async def main():
                global stream_, events
                stream_ = stream("x", save_to=folder)
                events = aiter(stream_)
                while not isinstance(await anext(events), ImageStart): pass
                assert len(os.listdir(folder)) == 1
            asyncio.run(main())
            del stream_, events
            assert os.listdir(folder) == []
    """,
}


def run_program(body, *options):
    return subprocess.run(
        [sys.executable, *options, "-c", PROGRAM + textwrap.dedent(body)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_leaves_nothing_behind(name):
    """With every check of Python's on and warnings as errors, nothing is said, and no connection stays open."""
    done = run_program(PROGRAMS[name], "-X", "dev", "-W", "error")
    # The loop in debug mode tells of callbacks that were slow, which on a loaded machine they are.
    complaints = [line for line in done.stderr.splitlines() if not (line.startswith("Executing <") and " took " in line)]
    assert complaints == []
    assert done.returncode == 0
    assert "still open" not in done.stdout


@pytest.mark.parametrize(
    "body",
    [
        """
        with Server():
            loop = asyncio.new_event_loop()
            loop.run_until_complete(generate("x"))
            loop.close()
        """,
        """
        async def main():
            global stream_, events
            stream_ = stream("x", model=FOREVER)
            events = await begin(stream_)
        with Server():
            for _ in range(2):
                loop = asyncio.new_event_loop()
                loop.run_until_complete(main())
                loop.close()
            del stream_, events
        """,
    ],
    ids=["complete", "suspended"],
)
def test_loop_that_is_closed_without_being_shut_down(body):
    """Such a loop closes no connection; the streams do when they are dropped, and nothing is logged."""
    done = run_program(body)
    assert (done.returncode, done.stderr) == (0, "")
    assert "still open" not in done.stdout
