"""`stream_response` and `image_handler` in aiohttp.web, with `handler_cancellation` on and off."""

import asyncio

import aiohttp
import pytest

from or_stream.emulator import Chunk, Repeat, Scenario, scenarios
from or_stream.relay import ImageStore
from or_stream.relay import aiohttp_web as relay_door
from or_stream.relay.aiohttp_web import image_handler, stream_response
from or_stream.sse import SSEParser
from or_stream.values import Image

GENEROUS_SECONDS = 2
FLOOD = Scenario((Repeat((Chunk({"choices": [{"index": 0, "delta": {"content": "x" * 8000}}]}),)),))
EITHER_SETTING = pytest.mark.parametrize("handler_cancellation", [False, True])
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(250)) * 4


def relaying(client, **options):
    async def handle(request):
        return await stream_response(request, client.stream("hi"), **options)

    return handle


async def test_answer(emulator, client, serve_aiohttp, browser):
    """The whole answer, under headers that proxies leave alone."""
    emulator.play("text")
    async with browser.post(await serve_aiohttp(relaying(client))) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
        assert response.headers["x-accel-buffering"] == "no"
        events = [event.json() for event in SSEParser().feed(await response.read())]
    assert events[-1]["message"]["text"] == scenarios.TEXT


async def test_connection_is_kept(emulator, client, serve_aiohttp, browser):
    """The next request of the same browser uses it again."""
    emulator.play("text", "text")
    url = await serve_aiohttp(relaying(client))
    for _ in range(2):
        async with browser.post(url) as response:
            await response.read()
    [connections] = browser.connector._conns.values()
    assert len(connections) == 1


@EITHER_SETTING
@pytest.mark.parametrize("scenario", ["silence", "no-headers"])
async def test_browser_leaves_while_nothing_comes(emulator, client, serve_aiohttp, handler_cancellation, scenario):
    """The upstream is told at once, whether aiohttp tells the handler or not."""
    emulator.play(scenario)
    url = await serve_aiohttp(relaying(client), handler_cancellation)
    _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    [request] = await emulator.received()
    writer.close()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await request.disconnected.wait()
    assert not relay_door._LOOKOUTS[asyncio.get_running_loop()].watched


@EITHER_SETTING
async def test_browser_that_does_not_read(emulator, counting, serve_aiohttp, browser, handler_cancellation):
    """It holds up the provider of its own stream and of no other, and its leaving is noticed while the writer waits."""
    emulator.play(FLOOD, "text")
    url = await serve_aiohttp(relaying(counting), handler_cancellation)
    leave = await counting.stall(url)
    [flood] = await emulator.received()
    async with browser.post(url) as response:
        assert scenarios.TEXT.encode() in await response.read()
    assert not flood.disconnected.is_set()
    leave()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await flood.disconnected.wait()
    assert 2**16 < flood.bytes_sent < 32 * 2**20


async def test_nobody_is_there_any_more(emulator, client, serve_aiohttp, browser):
    """A handler that comes to relaying only after the browser has left asks the provider for nothing."""
    begun, handled = asyncio.Event(), asyncio.Event()

    async def handle(request):
        begun.set()
        while request.transport is not None:  # noqa: ASYNC110  # aiohttp has no event for it
            await asyncio.sleep(0.01)
        try:
            return await stream_response(request, client.stream("hi"))
        finally:
            handled.set()

    asking = asyncio.create_task(browser.post(await serve_aiohttp(handle)))
    await begun.wait()
    asking.cancel()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await handled.wait()
    assert emulator.requests == []


async def test_refusal(emulator, client, serve_aiohttp, browser):
    """What failed before anything was sent has an HTTP status."""
    emulator.play("refused-401")
    async with browser.post(await serve_aiohttp(relaying(client, protocol="openai"))) as response:
        assert response.status == 500
        assert (await response.json())["error"]["message"] == "The service is not available at the moment."


async def test_head_generates_nothing(emulator, client, serve_aiohttp, browser):
    """The provider is not asked."""
    async with browser.head(await serve_aiohttp(relaying(client))) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert emulator.requests == []


async def test_openai_client_of_ours_behind_it(emulator, client, serve_aiohttp):
    """or_stream reads what its relay writes: the same text, reasoning, picture and cost."""
    url = await serve_aiohttp(relaying(client, protocol="openai"))
    for name in ("image-with-text", "reasoning-plain", "tool-call"):
        emulator.play(name, name)
        direct = await client.generate("hi")
        async with type(client)(api_key="x", base_url=url) as behind:
            relayed = await behind.generate("hi")
        for field in ("text", "reasoning", "images", "tool_calls", "finish_reason", "model", "provider"):
            assert getattr(direct, field) == getattr(relayed, field), field
        assert direct.usage.cost == relayed.usage.cost


async def test_many_leave_at_once(emulator, client, serve_aiohttp):
    """All upstreams are closed, though aiohttp tells no handler."""
    count = 100
    emulator.play(scenarios.silence("The lamp"), times=count)
    url = await serve_aiohttp(relaying(client))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as browsers:
        responses = await asyncio.gather(*(browsers.post(url) for _ in range(count)))
        await asyncio.gather(*(response.content.readany() for response in responses))
        for response in responses:
            response.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*(request.disconnected.wait() for request in emulator.requests))
    assert emulator.active == 0


# ---- pictures


async def test_picture(serve_aiohttp, browser):
    """Served with its headers, in whole and in part."""
    store = ImageStore()
    url = await serve_aiohttp(image_handler(store)) + store.add(Image.from_bytes(PNG))
    async with browser.get(url) as response:
        assert (response.status, response.content_type, await response.read()) == (200, "image/png", PNG)
    async with browser.get(url, headers={"Range": "bytes=-8"}) as response:
        assert (response.status, await response.read()) == (206, PNG[-8:])
    async with browser.get(url, headers={"If-None-Match": response.headers["etag"]}) as response:
        assert response.status == 304
    async with browser.head(url) as response:
        assert (response.status, response.headers["content-length"]) == (200, "1008")
    async with browser.get(url + "x") as response:
        assert response.status == 404


async def test_picture_under_way(serve_aiohttp, browser):
    """What is there comes at once, and the rest when it is made."""
    store = ImageStore()
    image = store.begin("image/png")
    store.write(image, PNG[:100])
    async with browser.get(await serve_aiohttp(image_handler(store)) + store.address_of(image)) as response:
        async with asyncio.timeout(GENEROUS_SECONDS):
            assert await response.content.readexactly(100) == PNG[:100]
        store.write(image, PNG[100:])
        store.finish(image)
        assert await response.read() == PNG[100:]


async def test_picture_that_is_cut(serve_aiohttp, browser):
    """The browser sees that it is no whole picture."""
    store = ImageStore()
    image = store.begin("image/png")
    store.write(image, PNG)
    async with browser.get(await serve_aiohttp(image_handler(store)) + store.address_of(image)) as response:
        await response.content.readany()
        store.discard(image)
        with pytest.raises(aiohttp.ClientError):
            await response.content.readany()
