"""The Image API over the wire: the same events, message, clocks, files and endings as over chat."""

import asyncio
import base64
import contextlib
import json
import os
import tracemalloc

import pytest

from or_stream import (
    Client,
    ImageEnd,
    ImagePreview,
    NoImageProduced,
    ProviderUnavailable,
    RetryPolicy,
    StreamFailed,
    StreamTimeout,
    StreamTruncated,
    Timeouts,
    batch,
)
from or_stream.emulator import Scenario, picture, scenarios
from or_stream.emulator.scenarios import image_api
from support.raw_server import answer

MODEL = "openai/gpt-image-2"
IMAGE = ["image_start", "image_end"]
ONCE = RetryPolicy(attempts=1)
MEGABYTE = 1_000_000


async def kinds_of(stream):
    """The kinds of events, deltas of images left out."""
    return [event.type async for event in stream if event.type not in ("image_delta", "heartbeat")]


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        (image_api.stream(), ["stream_start", "image_preview", "image_preview", *IMAGE, "usage_update", "stream_end"]),
        (image_api.stream(0, 2), ["stream_start", *IMAGE, *IMAGE, "usage_update", "stream_end"]),
        (image_api.json(2), ["stream_start", *IMAGE, *IMAGE, "usage_update", "stream_end"]),
        (image_api.jpeg(), ["stream_start", *IMAGE, "usage_update", "stream_end"]),
        (image_api.untyped(), ["stream_start", *IMAGE, "stream_end"]),
        (image_api.empty(), ["stream_start", "usage_update", "stream_end"]),
        (image_api.comments(), ["stream_start", "image_preview", *IMAGE, "usage_update", "stream_end"]),
        (image_api.unknown(), ["stream_start", *IMAGE, "usage_update", "stream_end"]),
    ],
)
async def test_what_comes(client, emulator, scenario, kinds):
    """Streamed or in one piece, the events are those of chat, and the message says who made it and what it cost."""
    emulator.play(scenario)
    stream = client.stream("a lamp", model=MODEL)
    assert await kinds_of(stream) == kinds
    assert emulator.requests[-1].path == "/api/v1/images"
    message = stream.message
    assert (message.model, message.status, message.id) == (MODEL, "complete", stream.generation_id)
    assert len(message.images) == kinds.count("image_end")
    assert (message.usage is not None) == ("usage_update" in kinds)


async def test_svg(client, emulator):
    """The markup of an SVG is text as it is written, and a picture at the end."""
    emulator.play(image_api.svg())
    stream = client.stream("a lamp", model=MODEL)
    text = "".join([piece async for piece in stream.text])
    (image,) = stream.message.images
    assert image.media_type == "image/svg+xml"
    assert text == stream.message.text == image.data.decode()
    assert stream.message.reasoning == "A lamp.<svg>"


@pytest.mark.parametrize(
    ("scenario", "kind", "status"),
    [
        (image_api.error(), StreamFailed, "failed"),
        (image_api.error(previews=0), StreamFailed, "failed"),
        (image_api.cut(), StreamTruncated, "truncated"),
        (image_api.unfinished(), StreamTruncated, "truncated"),
        (scenarios.refused(502), ProviderUnavailable, "failed"),
    ],
)
async def test_failures(client, emulator, scenario, kind, status):
    """A failure is the exception that it is over chat."""
    emulator.play(scenario)
    stream = client.stream("a lamp", model=MODEL, retry=ONCE)
    with pytest.raises(kind):
        await stream.final()
    assert stream.status == status


@pytest.mark.parametrize(("count", "status"), [(1, "complete"), (2, "truncated")])
async def test_connection_that_ends_after_a_picture(client, emulator, count, status):
    """An answer without [DONE] is whole when as many pictures came as were asked for."""
    emulator.play(Scenario(image_api.stream().steps[:-1]))
    stream = client.stream("a lamp", model=MODEL, n=count, retry=ONCE)
    with contextlib.suppress(StreamTruncated):
        await stream.final()
    assert (stream.status, len(stream.message.images)) == (status, 1)


async def test_retry(client, emulator):
    """What failed before anything came is asked again."""
    emulator.play(scenarios.refused(502), image_api.error(previews=0))
    stream = client.stream("a lamp", model=MODEL)
    with pytest.raises(StreamFailed):  # its code is a word, which does not say that it passes
        await stream.final()
    assert [request.path for request in emulator.requests] == ["/api/v1/images"] * 2


async def test_restart(client, emulator):
    """With `restart` a stream that was cut after a preview starts over, behind a Restart event."""
    emulator.play(image_api.cut(), image_api.stream(previews=1))
    stream = client.stream("a lamp", model=MODEL, retry=RetryPolicy(base_seconds=0, restart=True))
    kinds = await kinds_of(stream)
    assert kinds[kinds.index("restart") :] == ["restart", "stream_start", "image_preview", *IMAGE, "usage_update", "stream_end"]
    assert len(stream.message.images) == 1


async def test_required_image(client, emulator):
    """An answer without a picture is a failure for who requires one."""
    emulator.play(image_api.empty())
    with pytest.raises(NoImageProduced):
        await client.generate("a lamp", model="google/gemini-2.5-flash-image", api="images", require_image=True)


async def test_clocks(client, emulator):
    """A preview is content; an answer in one piece is silent until it comes, and only then over."""
    stream = client.stream("a lamp", model=MODEL)
    async for event in stream:
        if isinstance(event, ImagePreview):
            break
    assert stream.stats.seconds_to_first_content is not None
    emulator.play(scenarios.silence(), path="/images")
    with pytest.raises(StreamTimeout) as caught:
        await client.generate("a lamp", model=MODEL, timeouts=Timeouts(first_content=0.1))
    assert caught.value.phase == "first_content"


async def test_leaving(client, emulator):
    """Leaving after a preview drops the connection; nothing was made, so that nothing is billed."""
    emulator.play(image_api.stream(byte_size=4 * MEGABYTE).cut(2**16, 0.05))
    stream = client.stream("a lamp", model=MODEL)
    async for event in stream:
        if isinstance(event, ImagePreview):
            break
    await emulator.requests[0].disconnected.wait()
    receipt = await stream.receipt()
    assert (stream.status, receipt.cost, receipt.is_settled, receipt.model) == ("cancelled", 0.0, True, MODEL)


async def test_receipt(client):
    """A receipt has the provider, the tokens, the cost and the times."""
    stream = client.stream("a lamp", model=MODEL)
    await stream.final()
    receipt = await stream.receipt()
    assert (receipt.provider, receipt.model, receipt.status, receipt.is_settled) == ("OpenAI", MODEL, "complete", True)
    assert receipt.cost == stream.message.usage.cost > 0
    assert receipt.generation_id.startswith("gen-")
    assert receipt.seconds_to_headers <= receipt.seconds_to_first_content <= receipt.seconds
    assert (receipt.attempts, receipt.bytes > 0, receipt.image_tokens) == (1, True, 4175)


@pytest.mark.parametrize("scenario", [image_api.stream(images=2), image_api.json(2), image_api.svg(), image_api.jpeg()])
async def test_save_to(client, emulator, tmp_path, scenario):
    """Pictures are written while they arrive, with the suffix that their bytes ask for; previews are not."""
    emulator.play(scenario)
    events = [event async for event in client.stream("a lamp", model=MODEL, save_to=tmp_path)]
    images = [event.image for event in events if isinstance(event, ImageEnd)]
    assert sorted(tmp_path.iterdir()) == sorted(image.path for image in images)
    assert all(image.data == b"" and image.suffix == image.path.suffix for image in images)
    assert all(event.image.path is None for event in events if isinstance(event, ImagePreview))


async def test_batch(client, emulator, tmp_path):
    """A batch of pictures by a model that only draws, whose name does not say so, is refused once."""
    run = batch(["a", "b", "c", "d"], client=client, model="quiver/arrow-1", concurrency=1, save_to=tmp_path)
    items = [item async for item in run]
    assert [len(item.message.images) for item in items] == [1, 1, 1, 1]
    asked = [request.path.removeprefix("/api/v1") for request in emulator.requests if request.method == "POST"]
    assert asked == ["/chat/completions", *["/images"] * 4]


@pytest.mark.parametrize(("to_files", "most"), [(False, lambda size: 1.3 * size + 8 * MEGABYTE), (True, lambda _: 4 * MEGABYTE)])
@pytest.mark.parametrize("in_one_piece", [True, False])
async def test_memory(tmp_path, to_files, most, in_one_piece):
    """A large answer, in one piece or streamed, takes the memory of its picture, or none where that goes to a file."""
    size = 20 * MEGABYTE
    data = picture("a lamp", 8, 8) + os.urandom(size)
    base64_text = base64.b64encode(data)
    usage = json.dumps({"cost": 0.5}).encode()
    document = b'{"created":0,"data":[{"b64_json":"%b","media_type":"image/png"}],"usage":%b}' % (base64_text, usage)
    event = b'data: {"type":"image_generation.completed","b64_json":"%b","usage":%b}\n\ndata: [DONE]\n\n' % (base64_text, usage)

    whole = answer(document, content_type="application/json") if in_one_piece else answer(event)

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(whole), 2**16):
            writer.write(whole[at : at + 2**16])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Client(api_key="test", base_url=address, retry=ONCE) as client:
        tracemalloc.start()
        try:
            stream = client.stream("a lamp", model=MODEL, save_to=tmp_path if to_files else None)
            async for _ in stream:
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert stream.message.images[0].size == len(data)
    assert stream.message.usage.cost == 0.5
    assert peak < most(size)
