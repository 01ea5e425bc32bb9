"""Between a stream and a browser: opening, keep-alives, room, leaving, failures. No framework and no sockets."""

import asyncio
import contextlib
import logging

import pytest

from or_stream.errors import ConfigurationError, RateLimited, StreamFailed
from or_stream.events import Heartbeat, ImageDelta, ImageStart, Restart, StreamEnd, StreamStart, TextDelta
from or_stream.relay import ImageStore
from or_stream.relay._relay import Relay
from or_stream.values import Message

ANSWER = [StreamStart("gen-1"), TextDelta("hi"), StreamEnd(Message(text="hi"))]


class Source:
    """A stream of given events, then an error, silence or its end. Counts what was asked for and notes its closing."""

    def __init__(self, *events, error=None, is_silent=False):
        self.events = iter(events)
        self.error = error
        self.is_silent = is_silent
        self.given = 0
        self.begun = asyncio.Event()
        self.closed = asyncio.Event()

    def __aiter__(self):
        return Iterator(self)

    async def aclose(self):
        self.closed.set()


class Iterator:
    """What iterates a source; like that of a ChatStream it has nothing to close."""

    def __init__(self, source):
        self.source = source

    def __aiter__(self):
        return self

    async def __anext__(self):
        source = self.source
        for event in source.events:
            source.given += 1
            source.begun.set()
            return event
        if source.is_silent:
            await asyncio.Event().wait()
        if source.error is not None:
            raise source.error
        raise StopAsyncIteration


async def everything(relay):
    data = b""
    while piece := await relay.read():
        data += piece
    return data


async def test_answer():
    """What is read is the whole answer, and the stream is closed."""
    source = Source(*ANSWER)
    async with Relay(source, "openai") as relay:
        assert await relay.opening() is None
        assert (await everything(relay)).endswith(b"data: [DONE]\n\n")
    assert source.closed.is_set()


async def test_deltas_that_are_there_are_written_at_once():
    """A burst costs one write."""
    async with Relay(Source(*[TextDelta("x")] * 50, *ANSWER), "events") as relay:
        assert (await relay.read()).count(b"event: text_delta") == 51


async def test_async_generator_is_closed():
    """Any async iterable will do; a generator's `finally` runs when the browser leaves."""
    is_closed = asyncio.Event()

    async def events():
        try:
            yield TextDelta("x")
            await asyncio.Event().wait()
        finally:
            is_closed.set()

    async with Relay(events(), "events") as relay:
        await relay.read()
        relay.leave()
        async with asyncio.timeout(5):
            await is_closed.wait()
            assert await relay.read() == b""


async def test_leaving_does_not_wait_for_the_writer():
    """The stream is closed though whoever writes still hangs in a write."""
    source = Source(TextDelta("x"), is_silent=True)
    async with Relay(source, "events") as relay:
        await relay.read()
        relay.leave()
        async with asyncio.timeout(5):
            await source.closed.wait()


async def test_iterator_of_its_own_is_closed():
    """An iterable that makes a generator for each loop has nothing to close but that."""
    is_closed = False

    class Events:
        async def __aiter__(self):
            nonlocal is_closed
            try:
                for event in [*ANSWER[:2], Restart(2, "why", Message()), *ANSWER]:
                    yield event
            finally:
                is_closed = True

    async with Relay(Events(), "openai") as relay:
        assert b'"error"' in await everything(relay)
        assert is_closed


async def test_leaving_before_the_first_step_closes_too():
    """A stream that nobody has begun to read is closed."""
    source = Source(*ANSWER)
    async with Relay(source, "events") as relay:
        relay.leave()
    assert (source.closed.is_set(), source.given) == (True, 0)


async def test_cancelled_handler_closes():
    """The task that writes may be cancelled anywhere."""
    source = Source(TextDelta("x"), is_silent=True)

    async def handle():
        async with Relay(source, "events") as relay:
            await everything(relay)

    handling = asyncio.create_task(handle())
    async with asyncio.timeout(5):
        await source.begun.wait()
    handling.cancel()
    await asyncio.wait((handling,))
    assert handling.cancelled()
    assert source.closed.is_set()


async def test_reading_ahead_is_bounded():
    """Nobody reads: the stream is asked for about 64 KiB and no more, until there is room."""
    source = Source(*[TextDelta("x" * 1000)] * 1000, *ANSWER)
    async with Relay(source, "events") as relay:
        await relay.opening()
        await asyncio.sleep(0.02)
        assert 50 < source.given < 80
        first = await relay.read()
        assert len(first) < 2**16 + 2000
        assert len(await everything(relay)) > 900_000


async def test_heartbeats_do_not_open():
    """An error behind them is an error in front of the answer."""
    source = Source(Heartbeat("PROCESSING"), error=RateLimited("sk-or-v1-secret", status=429, retry_after=2.2))
    async with Relay(source, "openai") as relay:
        refusal = await relay.opening()
    assert refusal.status == 429
    assert (refusal.headers["retry-after"], refusal.headers["x-should-retry"]) == ("2", "true")
    assert b"secret" not in refusal.body


async def test_error_inside():
    """It is told inside the protocol, in words that are safe or the application's."""
    source = Source(*ANSWER[:2], error=StreamFailed("sk-or-v1-secret said the upstream", status=502))
    async with Relay(source, "events", error_text=lambda error: f"Oh: {type(error).__name__}") as relay:
        assert await relay.opening() is None
        data = await everything(relay)
    assert b"event: error" in data
    assert b"Oh: StreamFailed" in data
    assert b"secret" not in data


@pytest.mark.parametrize("begun", [[], ANSWER[:2]])
async def test_error_of_the_application(begun):
    """An exception that is not ours is told to the browser, and raised for the framework to log."""
    data = b""

    async def handle():
        nonlocal data
        async with Relay(Source(*begun, error=ZeroDivisionError("of the application")), "events") as relay:
            refusal = await relay.opening()
            data = await everything(relay) if refusal is None else refusal.body

    with pytest.raises(ZeroDivisionError):
        await handle()
    assert b"internal_error" in data
    assert b"of the application" not in data


async def test_failure_is_logged(caplog):
    """What the browser is not told, the log of the backend has, on one line."""
    with caplog.at_level(logging.WARNING, "or_stream.relay"):
        async with Relay(Source(error=RateLimited("words\nERROR of upstream", status=429)), "events") as relay:
            await relay.opening()
    assert caplog.messages == [r"a stream failed: RateLimited: 'words\nERROR of upstream'"]


async def test_keep_alive():
    """Comments come while there is nothing to say, the first of them opens, and an error then is inside the protocol."""
    gate = asyncio.Event()

    async def events():
        await gate.wait()
        raise RateLimited("x", status=429)
        yield

    async with Relay(events(), "events", keep_alive_seconds=0.02) as relay:
        assert await relay.opening() is None
        assert [await relay.read(), await relay.read()] == [b": keep-alive\n\n"] * 2
        gate.set()
        assert b"event: error" in await everything(relay)


@pytest.mark.parametrize("protocol", ["events", "openai", "ui-message"])
async def test_heartbeats_do_not_put_the_opening_off(protocol):
    """However often the upstream says that it is alive, the browser has its headers after `keep_alive_seconds`."""

    async def events():
        while True:
            yield Heartbeat("PROCESSING")
            await asyncio.sleep(0.01)

    async with asyncio.timeout(3), Relay(events(), protocol, keep_alive_seconds=0.05) as relay:
        assert await relay.opening() is None
        assert await relay.read()


async def test_no_keep_alive_while_there_is_something_to_write():
    """A browser that does not read gets no more of them, and one that is talked to none."""
    async with Relay(Source(TextDelta("x"), is_silent=True), "events", keep_alive_seconds=0.01) as relay:
        await relay.opening()
        await asyncio.sleep(0.1)
        assert b"keep-alive" not in await relay.read()


async def test_stream_without_an_end_was_broken_off():
    """It does not look complete."""
    async with Relay(Source(*ANSWER[:2]), "ui-message") as relay:
        assert b'"type":"abort"' in await everything(relay)


async def test_stream_that_is_cancelled_from_within():
    """What it waited for was cancelled elsewhere: to the browser, which is still there, it was broken off."""

    async def events():
        yield TextDelta("x")
        waiting = asyncio.create_task(asyncio.Event().wait())
        asyncio.get_running_loop().call_soon(waiting.cancel)
        await waiting

    async with Relay(events(), "events") as relay:
        assert b'"code":"aborted"' in await everything(relay)


async def test_picture_that_never_was_whole_is_forgotten():
    """The store keeps nothing of it."""
    store = ImageStore()
    source = Source(ImageStart(0, "image/png"), ImageDelta(0, b"\x89PNG"), is_silent=True)
    async with Relay(source, "events", images=store) as relay:
        name = (await relay.read()).partition(b"/images/")[2].partition(b'"')[0].decode()
        assert store.get(name) is not None
        relay.leave()
    assert store.get(name) is None


@pytest.mark.parametrize("options", [{"keep_alive_seconds": 0}, {"protocol": "grpc"}])
async def test_bad_options(options):
    """They are refused before anything is read."""
    with pytest.raises(ConfigurationError):
        Relay(Source(), **{"protocol": "events", **options})


async def test_headers():
    """Proxies neither buffer nor change nor keep an answer; the application's own headers win."""
    async with Relay(Source(), "ui-message", headers={"X-Mine": "1", "Cache-Control": "no-cache"}) as relay:
        assert relay.headers == {
            "content-type": "text/event-stream",
            "cache-control": "no-cache",
            "x-accel-buffering": "no",
            "x-vercel-ai-ui-message-stream": "v1",
            "x-mine": "1",
        }


async def test_nothing_is_left_behind():
    """No task and no timer outlives a relay."""
    before = asyncio.all_tasks()
    async with Relay(Source(is_silent=True), "events") as relay:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await relay.opening()
    assert asyncio.all_tasks() == before
    assert relay._timer.cancelled()
