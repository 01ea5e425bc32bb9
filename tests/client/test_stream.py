"""ChatStream against every scenario of the emulator: events, message, status, stats."""

import asyncio
import traceback

import pytest

from or_stream import (
    APIStatusError,
    AudioDelta,
    ChatStream,
    Client,
    ConfigurationError,
    ConnectionFailed,
    Heartbeat,
    ImageDelta,
    ImageDiscard,
    ImageEnd,
    ImageStart,
    Limits,
    NoImageProduced,
    OrStreamError,
    ProtocolViolation,
    ReasoningDelta,
    RetryPolicy,
    StreamEnd,
    StreamFailed,
    StreamStart,
    StreamTimeout,
    StreamTruncated,
    TextDelta,
    Timeouts,
    ToolCallEnd,
)
from or_stream.client.request import build_request
from or_stream.client.transport import Response
from or_stream.emulator import Scenario, WaitFor, scenarios
from or_stream.protocol.chunks import TextRepetition

TEXT = scenarios.TEXT
ONCE = RetryPolicy(attempts=1)
SHORT = Timeouts(first_content=0.3, idle=0.3, total=2)

# How each scenario ends that does not end well: the error and the text in front of it.
FAILURES = {
    "closed": (StreamTruncated, TEXT),
    "closed-before-headers": (ConnectionFailed, ""),
    "connection-reset": (StreamTruncated, TEXT),
    "empty-deltas-for-ever": (StreamTimeout, ""),
    "end-at-once": (StreamTruncated, ""),
    "end-inside-event": (StreamTruncated, TEXT),
    "end-without-finish": (StreamTruncated, TEXT),
    "error-as-json": (APIStatusError, ""),
    "error-empty": (APIStatusError, ""),
    "error-html": (APIStatusError, ""),
    "error-in-json-choice": (StreamFailed, "The lamp"),
    "error-plain-string": (APIStatusError, ""),
    "event-too-large": (ProtocolViolation, ""),
    "heartbeats-for-ever": (StreamTimeout, ""),
    "html-at-200": (ProtocolViolation, ""),
    "image-cut": (StreamTruncated, scenarios.CAPTION),
    "image-not-base64": (ProtocolViolation, scenarios.CAPTION),
    "malformed-json": (ProtocolViolation, TEXT),
    "midstream-error": (StreamFailed, TEXT),
    "midstream-error-bare": (StreamFailed, ""),
    "midstream-error-beside-stop": (StreamFailed, TEXT),
    "midstream-error-finish-only": (StreamFailed, TEXT),
    "midstream-error-in-choice": (StreamFailed, TEXT),
    "midstream-error-masked": (StreamFailed, ""),
    "midstream-error-no-choices": (StreamFailed, TEXT),
    "midstream-error-on-usage": (StreamFailed, TEXT),
    "no-headers": (StreamTimeout, ""),
    "rate-limited": (APIStatusError, ""),
    "rate-limited-by-router": (APIStatusError, ""),
    "rate-limited-then-text": (APIStatusError, ""),
    "reset-before-headers": (ConnectionFailed, ""),
    "silence": (StreamTimeout, ""),
    "slow-headers": (StreamTimeout, ""),
    "text-for-ever": (StreamTimeout, None),
    "unavailable-then-text": (APIStatusError, ""),
    **{f"refused-{status}": (APIStatusError, "") for status in scenarios.REFUSALS},
}
SUCCESSES = [name for name in scenarios.names() if name not in FAILURES]
IMAGES = {
    **dict.fromkeys((name for name in SUCCESSES if name.startswith("image") or name == "text-and-images"), 1),
    **dict.fromkeys(("image-index-missing", "image-index-repeated", "image-twins", "images-in-one-delta"), 2),
    "image-formats": 4,
    "image-missing": 0,
}


async def events_of(stream):
    """(events, the error that ended them or None)."""
    events = []
    try:
        async for event in stream:
            events.append(event)  # noqa: PERF401  # the exception would lose them
    except OrStreamError as error:
        return events, error
    return events, None


def check_order(events):
    """What holds for the events of every stream, however it ends."""
    kinds = [type(event) for event in events]
    assert kinds.count(StreamStart) <= 1
    assert kinds.count(StreamEnd) <= 1
    told = [kind for kind in kinds if kind is not Heartbeat]
    assert not told or told[0] is StreamStart
    assert StreamEnd not in kinds[:-1]
    open_images, begun = set(), 0
    for event in events:
        if isinstance(event, ImageStart):
            assert event.index == begun
            begun += 1
            open_images.add(event.index)
        elif isinstance(event, ImageDelta):
            assert event.index in open_images
        elif isinstance(event, ImageEnd | ImageDiscard):
            open_images.remove(event.index)
    return open_images


@pytest.mark.parametrize("name", SUCCESSES)
async def test_scenario_that_ends_well(client, name):
    """Its events add up to the message, and all views agree."""
    stream = client.stream("x", model=f"emulator/{name}")
    events, error = await events_of(stream)
    assert error is None
    assert check_order(events) == set()
    message = events[-1].message
    assert isinstance(events[-1], StreamEnd)
    assert (stream.status, message.status) == ("complete", "complete")
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == message.text
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == message.reasoning
    assert [event.image for event in events if isinstance(event, ImageEnd)] == message.images
    assert len(message.images) == IMAGES.get(name, 0)
    assert [event.call for event in events if isinstance(event, ToolCallEnd)] == message.tool_calls
    sound = b"".join(event.data for event in events if isinstance(event, AudioDelta))
    assert sound == (message.audio.data if message.audio else b"")
    assert stream.message == message == await stream.final()
    assert stream.stats.events == len(events)
    assert stream.stats.heartbeats == sum(isinstance(event, Heartbeat) for event in events)


@pytest.mark.parametrize("name", SUCCESSES)
async def test_views_of_a_scenario(client, name):
    """`text` and `images` give what the message holds, and nothing else."""
    stream = client.stream("x", model=f"emulator/{name}")
    assert "".join([text async for text in stream.text]) == stream.message.text
    stream = client.stream("x", model=f"emulator/{name}")
    assert [image async for image in stream.images] == stream.message.images


@pytest.mark.parametrize("name", FAILURES)
async def test_scenario_that_fails(client, name):
    """It ends in its error, with everything in front of it, and the server is left."""
    kind, text = FAILURES[name]
    timeouts = Timeouts() if kind is ProtocolViolation else SHORT
    stream = client.stream("x", model=f"emulator/{name}", modalities=["text"], retry=ONCE, timeouts=timeouts)
    events, error = await events_of(stream)
    assert type(error) is kind or (kind is APIStatusError and isinstance(error, APIStatusError))
    check_order(events)
    assert not any(isinstance(event, StreamEnd) for event in events)
    assert stream.status == ("truncated" if kind is StreamTruncated else "failed") == error.partial.status
    assert error.attempts == 1
    assert error.partial == stream.message
    assert text is None or error.partial.text == text
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == error.partial.text
    with pytest.raises(type(error)) as again:
        await stream.final()
    assert again.value is error


def test_every_scenario_is_here():
    """A failure in the table is a scenario."""
    assert set(FAILURES) <= set(scenarios.names())


@pytest.mark.parametrize("name", ["text", "text-and-images", "tool-calls-parallel", "reasoning-details", "audio", "emoji"])
async def test_a_byte_at_a_time(emulator, client, name):
    """What comes does not depend on how it is cut."""
    (scenario,) = scenarios.by_name(name)
    whole = await client.generate("x", model=f"emulator/{name}")
    emulator.play(Scenario(scenario.steps, pieces=1))
    apart = await client.generate("x", model=f"emulator/{name}")
    ignored = {"id": None, "created": None}
    assert whole.model_copy(update=ignored) == apart.model_copy(update=ignored)


async def test_generation_id_is_in_the_headers(emulator, client):
    """It is known before the first chunk, so that also an abandoned generation can be looked up."""
    emulator.play("silence")
    async with client.stream("x") as stream:
        assert stream.generation_id == emulator.requests[0].generation_id
        assert stream.status == "streaming"
    assert stream.generation_id == emulator.requests[0].generation_id


async def test_generation_id_is_in_the_error(emulator, client):
    """An error carries it too."""
    emulator.play("connection-reset")
    with pytest.raises(StreamTruncated) as caught:
        await client.generate("x")
    assert caught.value.generation_id == emulator.requests[0].generation_id


async def test_before_the_start(emulator, client):
    """A stream that nobody has touched has sent nothing and says so."""
    stream = client.stream("x")
    assert (stream.status, stream.generation_id, stream.message.text) == ("pending", None, "")
    assert stream.stats.attempts == 0
    await stream.aclose()
    assert stream.status == "cancelled"
    assert [event async for event in stream] == []
    assert emulator.requests == []


async def test_left_before_the_start(client):
    """`final` of a stream that was left says that it was."""
    stream = client.stream("x")
    await stream.aclose()
    with pytest.raises(StreamTruncated, match="left"):
        await stream.final()


async def test_stats(emulator, client):
    """Times in their order, and counts."""
    emulator.play("text-and-images")
    stream = client.stream("x")
    await stream.final()
    stats = stream.stats
    assert 0 < stats.seconds_to_headers <= stats.seconds_to_first_content <= stats.seconds < 10
    assert stats.bytes == emulator.requests[0].bytes_sent
    assert (stats.attempts, stats.heartbeats > 0) == (1, True)
    seconds = stats.seconds
    await asyncio.sleep(0.01)
    assert stream.stats.seconds == seconds


async def test_live_deltas(emulator, client, monkeypatch):
    """All but the first of those that come one at a time go the short way, and count as what comes at once."""
    taken, take = [], TextRepetition.take
    monkeypatch.setattr(TextRepetition, "take", lambda self, data: taken.append(take(self, data)) or taken[-1])
    emulator.play(scenarios.text("a b c d e f").cut(None, pace_seconds=0.01))
    stream = client.stream("x")
    events, error = await events_of(stream)
    assert error is None
    assert list(filter(None, taken)) == [event.text for event in events if isinstance(event, TextDelta)][1:]
    assert (stream.stats.events, stream.stats.bytes) == (len(events), emulator.requests[0].bytes_sent)


async def test_stats_while_it_runs(client):
    """The clock goes on as long as the stream does."""
    async with client.stream("x", model="emulator/silence") as stream:
        first = stream.stats.seconds
        await asyncio.sleep(0.01)
        assert stream.stats.seconds > first


async def test_message_at_any_moment(client):
    """It grows with the events."""
    stream = client.stream("x", model="emulator/text")
    lengths = [len(stream.message.text) async for _ in stream]
    assert lengths == sorted(lengths)
    assert lengths[-1] == len(TEXT)


async def test_message_inside_the_loop_says_streaming(emulator, client):
    """Its status is the stream's."""
    gate = asyncio.Event()
    emulator.play(Scenario((*scenarios.text("one").steps[:4], WaitFor(gate), *scenarios.text("one").steps[4:])))
    async with client.stream("x") as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                assert (stream.status, stream.message.status) == ("streaming", "streaming")
                gate.set()
    assert stream.message.status == "complete"


async def test_entering_waits_for_the_headers(emulator, client):
    """`async with` is where a refusal is raised."""
    emulator.play("refused-401")
    with pytest.raises(APIStatusError):
        async with client.stream("x"):
            pytest.fail("a refused stream was entered")


async def test_entered_in_the_middle(client):
    """Events that are there when a stream is entered are still handed out."""
    stream = client.stream("x", model="emulator/text")
    view = aiter(stream)
    while not isinstance(await anext(view), StreamStart):
        pass
    async with stream:  # the first text came with the start
        events = [event async for event in view]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == TEXT


async def test_entered_twice(emulator, client):
    """Entering and iterating send one request."""
    async with client.stream("x", model="emulator/text") as stream, stream as again:
        assert (await again.final()).text == TEXT
    assert len(emulator.requests) == 1


async def test_second_iteration_after_the_end(client):
    """A stream that is over gives nothing more, and nothing new is sent."""
    stream = client.stream("x", model="emulator/text")
    assert len([event async for event in stream]) > 3
    assert [event async for event in stream] == []
    assert [text async for text in stream.text] == []


async def test_second_iteration_after_a_failure(client):
    """A stream that failed fails again."""
    stream = client.stream("x", model="emulator/midstream-error")
    for _ in range(2):
        with pytest.raises(StreamFailed):
            async for _ in stream:
                pass


async def test_final_after_a_part_was_read(emulator, client):
    """`final` reads the rest; the message is whole all the same."""
    async with client.stream("x", model="emulator/text") as stream:
        events = aiter(stream)
        await anext(events)
        assert (await stream.final()).text == TEXT
        assert len(emulator.requests) == 1


async def test_two_readers(emulator, client):
    """A second task is told that it may not read, and the first goes on."""
    gate = asyncio.Event()
    emulator.play(Scenario((*scenarios.text("one").steps[:4], WaitFor(gate), *scenarios.text("one").steps[4:])))
    stream = client.stream("x")
    first = asyncio.create_task(stream.final())
    await emulator.received()
    for intruder in (stream.text, stream.images, stream):
        with pytest.raises(ConfigurationError, match="another task"):
            async for _ in intruder:
                pass
    with pytest.raises(ConfigurationError, match="another task"):
        await stream.final()
    del intruder
    gate.set()
    assert (await first).text == "one"


async def test_require_image(client):
    """An answer without an image is an error that says what came instead."""
    stream = client.stream("x", model="emulator/image-missing", require_image=True)
    events, error = await events_of(stream)
    assert isinstance(error, NoImageProduced)
    assert (error.text, error.native_finish_reason) == ("I cannot draw that, but imagine a lamp.", "NO_IMAGE")
    assert (stream.status, error.partial.text, error.attempts) == ("failed", error.text, 1)
    assert error.generation_id == stream.generation_id is not None
    assert not any(isinstance(event, StreamEnd) for event in events)


async def test_require_image_with_one(client):
    """An answer with an image is no error."""
    assert (await client.generate("x", model="emulator/image-only", require_image=True)).images


async def test_limits_of_the_client(emulator):
    """Each limit of `Limits` holds, and its error names it."""
    for limits, name in (
        (Limits(images=1), "images-in-one-delta"),
        (Limits(image_bytes=100), "image-only"),
        (Limits(event_bytes=50), "text"),
    ):
        async with Client(api_key="k", base_url=emulator.base_url, limits=limits) as client:
            with pytest.raises(ProtocolViolation, match=r"raise that limit|larger than"):
                await client.generate("x", model=f"emulator/{name}")


async def test_first_event_of_a_large_read(emulator, client):
    """A read of a megabyte of text is taken apart in slices, and nothing of it is lost."""
    words = "lamp " * 20_000 + "."
    emulator.play(scenarios.replay(scenarios.text(words).body(), pieces=2**20))
    assert (await client.generate("x")).text == words


async def test_error_behind_a_large_read(emulator, client):
    """An error at the end of a large read comes behind everything in front of it."""
    words = "lamp " * 5_000 + "."
    body = scenarios.text(words).body().split(b'"finish_reason":"stop"')[0].rpartition(b"data: ")[0]
    emulator.play(scenarios.replay(body + b'data: {"error":{"code":502,"message":"m"}}\n\n', pieces=2**20))
    events, error = await events_of(client.stream("x"))
    assert isinstance(error, StreamFailed)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == words == error.partial.text


async def test_many_streams_at_once(emulator, client):
    """Hundreds of streams of one client run at the same time; no limit of aiohttp's queues them."""
    gate = asyncio.Event()
    emulator.scenario = Scenario((*scenarios.text("one").steps[:4], WaitFor(gate), *scenarios.text("one").steps[4:]))
    tasks = [asyncio.create_task(client.generate("x")) for _ in range(200)]
    await emulator.received(200)
    gate.set()
    assert {message.text for message in await asyncio.gather(*tasks)} == {"one"}
    assert emulator.peak_active == 200


class FakeResponse:
    """An answer in pieces; a callable among them is called, as if another task did something just then."""

    framing = "sse"
    provider = None
    generation_id = None
    is_of_parent = False

    def __init__(self, *pieces):
        self.pieces, self.closed = list(pieces), False

    async def read(self):
        piece = self.pieces.pop(0)
        while callable(piece):
            piece()
            piece = self.pieces.pop(0)
        return piece

    def close(self):
        self.closed = True

    def explain(self, error):
        pass

    end = close


def stream_of(send):
    """A stream on its own, without a client."""
    return ChatStream(build_request("x", None, {}), send, timeouts=Timeouts(), retry=ONCE, limits=Limits(), settle=send)


async def test_left_between_the_headers_and_their_reader():
    """Another task leaves when the headers are here and the task that waited for them has not run yet."""
    response = FakeResponse()

    async def send(request, connect_seconds):
        await stream.aclose()
        return response

    stream = stream_of(send)
    assert [event async for event in stream] == []
    assert (response.closed, stream.status) == (True, "cancelled")


async def test_left_between_the_bytes_and_their_reader():
    """The same with bytes: they are not told any more, and an image in them meets no closed file."""
    response = FakeResponse()

    async def send(request, connect_seconds):
        return response

    stream = stream_of(send)
    body = scenarios.image_only().body()
    middle = body.index(b"base64,") + 100
    response.pieces = [body[:middle], stream.leave, body[middle:]]
    events, error = await events_of(stream)
    assert error is None
    assert isinstance(events[-1], ImageStart | ImageDelta | StreamStart)
    assert (response.closed, stream.status, stream.stats.bytes) == (True, "cancelled", middle)


async def test_large_reads_of_two_streams():
    """Each of two streams with a large read gets its first events before either gets its last."""
    data = b"".join(b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number for number in range(8000))
    told = []

    async def note(name):
        async def send(request, connect_seconds):
            return FakeResponse(data + b"data: [DONE]\n\n")

        async for _ in stream_of(send).text:
            told.append(name)  # noqa: PERF401  # the order in which two loops come to it is what counts

    await asyncio.gather(note("a"), note("b"))
    assert told.count("a") == told.count("b") == 8000
    assert told.index("b") < 4000


async def test_a_failure_keeps_no_connection(emulator, client):
    """An error that came with the body, which may be kept for long, holds neither the answer nor what was read of it."""
    emulator.play("midstream-error")
    with pytest.raises(StreamFailed) as caught:
        await client.generate("hi", retry=ONCE)
    held = [value for frame, _ in traceback.walk_tb(caught.value.__traceback__) for value in frame.f_locals.values()]
    assert any(isinstance(value, ChatStream) for value in held)
    assert not any(isinstance(value, Response) or (isinstance(value, bytes) and value) for value in held)
