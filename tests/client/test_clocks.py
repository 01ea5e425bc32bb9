"""The clocks of a stream, against servers that are too slow. Upper bounds are generous, lower ones are not."""

import asyncio
import socket
import time

import pytest

from or_stream import (
    Client,
    ConfigurationError,
    Heartbeat,
    RetryPolicy,
    StreamEnd,
    StreamStart,
    StreamTimeout,
    TextDelta,
    Timeouts,
)
from or_stream.client._clocks import Clocks, StreamStats
from or_stream.emulator import Comment, Done, Scenario, Wait, WaitFor, scenarios
from support.raw_server import RawServer, answer, head

ONCE = RetryPolicy(attempts=1)
WORDS = scenarios.text("one").steps  # comments, words, ending


async def timeout_of(client, seconds, *, model=None, **clocks):
    """The timeout that a stream ends with, after about that many seconds and not before."""
    started = time.monotonic()
    with pytest.raises(StreamTimeout) as caught:
        await client.generate("x", model=model, timeouts=Timeouts(**clocks), retry=ONCE)
    assert seconds * 0.95 <= time.monotonic() - started < seconds + 2
    assert f"Timeouts.{caught.value.phase}" in str(caught.value)
    return caught.value


# ---- Timeouts


def test_defaults():
    """What the documentation says."""
    timeouts = Timeouts()
    assert (timeouts.connect, timeouts.first_content, timeouts.idle, timeouts.total) == (10, 120, 60, None)


@pytest.mark.parametrize("name", ["connect", "first_content", "idle", "total"])
@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), "5"])
def test_seconds_are_checked(name, seconds):
    """A time that is none is refused, and None is offered for no limit."""
    with pytest.raises(ConfigurationError, match=rf"Timeouts\.{name} .* None for no limit"):
        Timeouts(**{name: seconds})


@pytest.mark.parametrize("name", ["connect", "first_content", "idle", "total"])
def test_no_limit(name):
    """None is no limit."""
    assert getattr(Timeouts(**{name: None}), name) is None


# ---- connect


async def test_connect_tcp(key):
    """A host that takes no more connections."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        try:
            async with Client(api_key=key, base_url=f"http://127.0.0.1:{full.getsockname()[1]}") as client:
                assert (await timeout_of(client, 0.2, connect=0.2)).phase == "connect"
        finally:
            for one in waiting:
                one.close()


async def test_connect_name(key, monkeypatch):
    """A name that nobody resolves."""
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lambda *_, **__: asyncio.sleep(60))
    async with Client(api_key=key, base_url="http://lamp.invalid/api/v1") as client:
        assert (await timeout_of(client, 0.2, connect=0.2)).phase == "connect"


async def test_connect_is_over_when_connected(client_of):
    """A server that takes longer with its headers than `connect` allows, on a new connection and on one that is used again."""

    async def play(connection):
        while True:
            await connection.request()
            await asyncio.sleep(0.4)
            connection.send(answer(scenarios.text("one").body()))

    async with RawServer(play) as server, client_of(server, timeouts=Timeouts(connect=0.2)) as client:
        assert [(await client.generate("x")).text for _ in range(2)] == ["one", "one"]
        assert len(server.connections) == 1


async def test_connect_tls(client_of):
    """A TLS handshake that is never answered."""

    async def play(connection):
        await connection.left.wait()

    async with RawServer(play) as server:
        server.base_url = server.base_url.replace("http:", "https:")
        async with client_of(server) as client:
            assert (await timeout_of(client, 0.2, connect=0.2)).phase == "connect"


# ---- first content


@pytest.mark.parametrize("name", ["no-headers", "silence", "heartbeats-for-ever", "empty-deltas-for-ever"])
async def test_first_content(client, name):
    """Only content ends it: neither headers nor comments nor empty deltas do."""
    error = await timeout_of(client, 0.3, model=f"emulator/{name}", first_content=0.3)
    assert (error.phase, error.retryable, error.partial.text) == ("first_content", True, "")


async def test_first_content_counts_headers_and_body(emulator, client):
    """It runs from the request, through the headers into the body."""
    emulator.play(scenarios.silence().after(Wait(0.2)))
    assert (await timeout_of(client, 0.4, first_content=0.4)).phase == "first_content"


async def test_content_ends_first_content(emulator, client):
    """After content only the idle clock matters."""
    gate = asyncio.Event()
    emulator.play(Scenario((*WORDS[:4], WaitFor(gate), *WORDS[4:])))
    asyncio.get_running_loop().call_later(0.5, gate.set)
    assert (await client.generate("x", timeouts=Timeouts(first_content=0.3))).text == "one"


# ---- idle


@pytest.mark.parametrize("name", ["heartbeats", "silence"])
async def test_idle(emulator, client, name):
    """After the last content, whatever comments still come; what came is kept."""
    emulator.play(scenarios.heartbeats_for_ever("one") if name == "heartbeats" else scenarios.silence("one"))
    error = await timeout_of(client, 0.3, idle=0.3)
    assert (error.phase, error.partial.text) == ("idle", "one")


async def test_idle_is_not_as_long_as_first_content(emulator, client):
    """A long first-content clock does not hold up a short idle one."""
    emulator.play(scenarios.silence("one"))
    assert (await timeout_of(client, 0.2, idle=0.2, first_content=60)).phase == "idle"


async def test_content_resets_idle(emulator, client):
    """Each piece of content gives it all its time again."""
    emulator.play(scenarios.text("a b c d e f g h").cut(None, pace_seconds=0.08))
    assert (await client.generate("x", timeouts=Timeouts(idle=0.3))).text == "a b c d e f g h"


@pytest.mark.parametrize("slow_on", [TextDelta, Heartbeat])
async def test_slow_consumer_does_not_trip_idle(emulator, client, slow_on):
    """The time that the caller takes is the caller's, after content and after a comment."""
    gate = asyncio.Event()
    emulator.play(Scenario((*WORDS[:4], Comment(), WaitFor(gate), *WORDS[4:])))
    was_slow = False
    async for event in client.stream("x", timeouts=Timeouts(idle=0.3)):
        if isinstance(event, slow_on) and (was_slow or slow_on is TextDelta or event.elapsed):
            await asyncio.sleep(0.5)
            was_slow = True
            gate.set()
    assert was_slow
    assert isinstance(event, StreamEnd)


async def test_slow_consumer_of_live_deltas_does_not_trip_idle(emulator, client):
    """Also between deltas of which each comes alone."""
    emulator.play(scenarios.text("a b c d e").cut(None, pace_seconds=0.05))
    async for event in client.stream("x", timeouts=Timeouts(idle=0.3)):
        if isinstance(event, TextDelta) and "c" in event.text:
            await asyncio.sleep(0.5)
    assert isinstance(event, StreamEnd)


async def test_waits_between_comments_add_up(emulator, client):
    """Time that the server takes counts, though the caller takes time in between."""
    emulator.play(scenarios.heartbeats_for_ever("one", every_seconds=0.1))
    waited = 0.0

    async def read():
        nonlocal waited
        async for event in client.stream("x", timeouts=Timeouts(idle=0.3), retry=ONCE):
            if isinstance(event, Heartbeat) and waited < 0.5:
                await asyncio.sleep(0.05)
                waited += 0.05

    with pytest.raises(StreamTimeout, match="idle"):
        await read()


async def test_slow_consumer_does_not_trip_first_content(emulator, client):
    """Content that is there, but that nobody has asked for, is not late."""
    emulator.play("text")
    async with client.stream("x", timeouts=Timeouts(first_content=0.2)) as stream:
        await asyncio.sleep(0.4)
        assert (await stream.final()).text == scenarios.TEXT


async def test_finish_is_the_end_for_idle_too(emulator, client):
    """A server that hangs between its finish and [DONE] has finished."""
    emulator.play(Scenario((*scenarios.text("one").steps[:-1], *scenarios.silence().steps)))
    message = await client.generate("x", timeouts=Timeouts(idle=0.2))
    assert (message.text, message.status, message.finish_reason) == ("one", "complete", "stop")


# ---- total


@pytest.mark.parametrize("name", ["text-for-ever", "no-headers", "heartbeats-for-ever"])
async def test_total(client, name):
    """It ends a stream that is as busy as can be, and one that is not."""
    error = await timeout_of(client, 0.3, model=f"emulator/{name}", total=0.3)
    assert error.phase == "total"


async def test_total_holds_though_nobody_reads(emulator, client):
    """The connection is dropped at that time, also where the caller is busy with something else."""

    async def read():
        async for event in client.stream("x", model="emulator/text-for-ever", timeouts=Timeouts(total=0.3)):
            if isinstance(event, TextDelta):
                async with asyncio.timeout(2):
                    await emulator.requests[0].disconnected.wait()

    with pytest.raises(StreamTimeout, match="total"):
        await read()


async def test_total_spans_the_attempts(emulator, client):
    """It begins with the first request."""
    emulator.play(scenarios.refused(503), scenarios.silence())
    with pytest.raises(StreamTimeout) as caught:
        await client.generate("x", timeouts=Timeouts(total=0.4))
    assert (caught.value.phase, caught.value.attempts) == ("total", 2)


async def test_no_clock_at_all(emulator, client):
    """With None everywhere a slow stream comes to its end."""
    emulator.play(Scenario((*WORDS[:4], Wait(0.1), *WORDS[4:], Done())))
    clocks = Timeouts(connect=None, first_content=None, idle=None, total=None)
    assert (await client.generate("x", timeouts=clocks)).text == "one"


async def test_timeout_closes_the_connection(emulator, client):
    """The server sees at once that nobody waits any more."""
    await timeout_of(client, 0.2, model="emulator/heartbeats-for-ever", first_content=0.2)
    async with asyncio.timeout(1):
        await emulator.requests[0].disconnected.wait()


async def test_timeouts_of_the_caller_are_the_callers(client):
    """`asyncio.timeout` around a stream raises TimeoutError and not one of ours."""
    stream = client.stream("x", model="emulator/no-headers", timeouts=Timeouts(first_content=5))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await stream.final()
    assert stream.status == "cancelled"


async def test_timers_do_not_outlive_the_stream():
    """A timer of a stream that nobody holds does nothing."""
    loop = asyncio.get_running_loop()
    clocks = Clocks(loop, Timeouts(total=0.02), StreamStats())
    called = []
    clocks.waiting_for_headers()
    clocks.watch(lambda: called.append(1))
    del clocks
    await asyncio.sleep(0.1)
    assert called == []


async def test_one_timer_for_many_reads(client, emulator):
    """Reading sets no timer: the one there is moves when it goes off."""
    loop = asyncio.get_running_loop()
    emulator.play(scenarios.text("word " * 300).cut(400))
    stream = client.stream("x", timeouts=Timeouts(idle=30, total=60))
    count, call_at = 0, loop.call_at

    def counting(*arguments, **options):
        nonlocal count
        count += arguments[1].__module__.startswith("or_stream")
        return call_at(*arguments, **options)

    loop.call_at = counting  # the loop of this test alone
    async for event in stream:
        assert not isinstance(event, StreamStart) or stream.status == "streaming"
    assert count <= 3


@pytest.mark.parametrize("content", [b"", b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'])
async def test_flood_of_comments(client_of, content):
    """Comments that come faster than they can be read leave no moment in which nobody waits, and keep no stream alive."""

    async def play(connection):
        await connection.request()
        connection.send(head() + content)
        while not connection.left.is_set():
            if connection.unsent_bytes < 1_000_000:
                connection.send(b": OPENROUTER PROCESSING\n\n" * 10_000)
            await asyncio.sleep(0)

    async with RawServer(play) as server, client_of(server, timeouts=Timeouts(first_content=0.5, idle=0.5)) as client:
        with pytest.raises(StreamTimeout) as caught:
            async with asyncio.timeout(20):
                await client.generate("x")
    assert caught.value.phase == ("idle" if content else "first_content")


def test_stop_after_the_loop_was_closed(monkeypatch):
    """The timer of a closed loop is not touched: at the end of the interpreter asyncio's debug mode cannot cancel it."""

    async def started():
        clocks = Clocks(asyncio.get_running_loop(), Timeouts(), StreamStats())
        clocks.waiting_for_headers()
        return clocks

    clocks = asyncio.run(started())
    monkeypatch.setattr(asyncio.TimerHandle, "cancel", lambda _: pytest.fail("cancelled"))
    clocks.stop()
