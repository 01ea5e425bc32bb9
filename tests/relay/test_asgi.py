"""`StreamResponse` in FastAPI, Starlette and bare ASGI, under uvicorn, with browsers that leave and browsers that do not read."""

import asyncio
import subprocess
import sys

import aiohttp
import pytest
from fastapi import BackgroundTasks, FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.routing import Route

from or_stream.emulator import Chunk, Repeat, Scenario, WaitFor, scenarios
from or_stream.errors import ConfigurationError
from or_stream.events import TextDelta
from or_stream.relay import ImageStore
from or_stream.relay.asgi import StreamResponse
from or_stream.sse import SSEParser

GENEROUS_SECONDS = 2
FLOOD = Scenario((Repeat((Chunk({"choices": [{"index": 0, "delta": {"content": "x" * 8000}}]}),)),))


def bare(client, **options):
    """No framework."""

    async def app(scope, receive, send):
        assert scope["type"] == "http", "what uvicorn is told of an application without lifespan"
        await StreamResponse(client.stream("hi"), **options)(scope, receive, send)

    return app


def starlette(client, **options):
    """A route, under a middleware that compresses what it can."""

    async def chat(request):
        return StreamResponse(client.stream("hi"), **options)

    app = Starlette(routes=[Route("/", chat, methods=["GET", "POST"])])
    app.add_middleware(GZipMiddleware, minimum_size=1)
    return app


def fastapi(client, **options):
    """A route that says what it returns."""
    app = FastAPI()

    @app.post("/")
    async def chat() -> StreamResponse:
        return StreamResponse(client.stream("hi"), **options)

    return app


def fastapi_with_middleware(client, **options):
    """A route that does not, under a middleware of the kind that stands between it and the connection."""
    app = FastAPI()

    @app.middleware("http")
    async def pass_on(request, call_next):
        return await call_next(request)

    @app.post("/")
    async def chat():
        return StreamResponse(client.stream("hi"), **options)

    return app


EVERY_FRAMEWORK = pytest.mark.parametrize("framework", [bare, starlette, fastapi, fastapi_with_middleware])


async def text_of(response):
    events = [event.json() for event in SSEParser().feed(await response.read())]
    assert events[-1]["type"] == "stream_end"
    return "".join(event["text"] for event in events if event["type"] == "text_delta")


@EVERY_FRAMEWORK
async def test_answer(emulator, client, serve_asgi, browser, framework):
    """The whole answer, under headers that proxies leave alone, uncompressed."""
    emulator.play("text")
    async with browser.post(await serve_asgi(framework(client)), headers={"Accept-Encoding": "gzip"}) as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-store, no-transform"
        assert response.headers["x-accel-buffering"] == "no"
        assert "content-encoding" not in response.headers
        assert await text_of(response) == scenarios.TEXT


@EVERY_FRAMEWORK
async def test_first_delta_comes_at_once(emulator, client, serve_asgi, browser, framework):
    """While the model is still at it."""
    gate = asyncio.Event()
    whole = scenarios.text("one two")
    emulator.play(Scenario((*whole.steps[:-3], WaitFor(gate), *whole.steps[-3:])))
    async with browser.post(await serve_asgi(framework(client))) as response:
        data = b""
        async with asyncio.timeout(GENEROUS_SECONDS):
            while b"one" not in data:
                data += await response.content.readany()
        gate.set()
        await response.read()


@EVERY_FRAMEWORK
async def test_browser_leaves_while_the_model_is_silent(emulator, client, serve_asgi, browser, framework):
    """The upstream is told at once."""
    emulator.play(scenarios.silence("The lamp"))
    async with browser.post(await serve_asgi(framework(client))) as response:
        await response.content.readany()
    [request] = await emulator.received()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await request.disconnected.wait()


@EVERY_FRAMEWORK
async def test_browser_leaves_before_anything_came(emulator, client, serve_asgi, browser, framework):
    """Also while there is not even a response."""
    emulator.play("no-headers")
    asking = asyncio.create_task(browser.post(await serve_asgi(framework(client))))
    [request] = await emulator.received()
    asking.cancel()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await request.disconnected.wait()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("framework", [bare, fastapi])
async def test_browser_that_does_not_read(emulator, counting, serve_asgi, browser, framework):
    """It holds up the provider of its own stream and of no other, and its leaving is noticed while the writer waits."""
    emulator.play(FLOOD, "text")
    url = await serve_asgi(framework(counting))
    leave = await counting.stall(url)
    [flood] = await emulator.received()
    async with browser.post(url) as response:
        assert await text_of(response) == scenarios.TEXT
    assert not flood.disconnected.is_set()
    leave()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await flood.disconnected.wait()
    assert 2**16 < flood.bytes_sent < 32 * 2**20


@EVERY_FRAMEWORK
async def test_refusal(emulator, client, serve_asgi, browser, framework):
    """What failed before anything was sent has an HTTP status, and says nothing of what the upstream said."""
    emulator.play("rate-limited")
    async with browser.post(await serve_asgi(framework(client, protocol="ui-message"))) as response:
        assert (response.status, await response.text()) == (429, "The service is busy. Try again in a moment.")
        assert "retry-after" in response.headers


async def test_failure_inside(emulator, client, serve_asgi, browser):
    """The response ends properly, with an error of the protocol."""
    emulator.play("midstream-error")
    async with browser.post(await serve_asgi(fastapi(client))) as response:
        assert SSEParser().feed(await response.read())[-1].json()["code"] == "provider_failed"


async def test_head_generates_nothing(emulator, client, serve_asgi, browser):
    """The headers are those of a stream, and the provider is not asked."""
    async with browser.head(await serve_asgi(starlette(client))) as response:
        assert (response.status, response.headers["content-type"]) == (200, "text/event-stream")
    assert emulator.requests == []


async def test_background(emulator, client, serve_asgi, browser):
    """FastAPI's background tasks run when the stream is over, also where the browser left."""
    ran = asyncio.Event()
    app = FastAPI()

    @app.post("/")
    async def chat(tasks: BackgroundTasks):
        tasks.add_task(ran.set)
        return StreamResponse(client.stream("hi"))

    emulator.play(scenarios.silence("The lamp"))
    async with browser.post(await serve_asgi(app)) as response:
        await response.content.readany()
        assert not ran.is_set()
    async with asyncio.timeout(GENEROUS_SECONDS):
        await ran.wait()


async def test_images_by_address(emulator, client, serve_asgi, browser):
    """A store mounted in FastAPI serves what a stream put into it."""
    app, store = FastAPI(), ImageStore("/pictures")
    app.mount("/pictures", store.asgi_app)

    @app.post("/")
    async def chat():
        return StreamResponse(client.stream("hi"), images=store)

    emulator.play("image-with-text")
    url = await serve_asgi(app)
    async with browser.post(url) as response:
        events = {event.event: event.json() for event in SSEParser().feed(await response.read())}
    assert "image_delta" not in events
    address = events["image_start"]["url"]
    assert [events["image_end"]["image"]["url"], events["stream_end"]["message"]["images"][0]["url"]] == [address, address]
    async with browser.get(url + address) as response:
        assert (response.content_type, len(await response.read())) == ("image/png", events["image_end"]["image"]["size"])


async def test_fastapi_documents_it(client):
    """The route has a schema, so that /docs works."""
    assert "/" in fastapi(client).openapi()["paths"]


async def test_it_is_a_response_of_starlette(client):
    """Where Starlette is loaded: cookies and headers can be set as on any."""
    response = StreamResponse(client.stream("hi"), headers={"X-Mine": "1"})
    response.set_cookie("session", "1")
    assert isinstance(response, Response)
    assert (response.headers["x-mine"], response.headers["set-cookie"].partition(";")[0]) == ("1", "session=1")


def test_starlette_is_not_loaded():
    """Without it an instance is what its class says."""
    script = (
        "import sys; from or_stream.relay.asgi import StreamResponse as S; print(type(S(())) is S, 'starlette' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "True False\n"


async def test_server_that_raises_for_a_browser_that_left():
    """As from version 2.4 of ASGI on: the stream is closed, and nothing is raised."""
    is_closed = asyncio.Event()

    async def events():
        try:
            while True:
                yield TextDelta("x")
                await asyncio.sleep(0)
        finally:
            is_closed.set()

    async def send(message):
        if message["type"] == "http.response.body":
            raise OSError("gone")

    await StreamResponse(events())({"type": "http", "method": "POST"}, asyncio.Event().wait, send)
    assert is_closed.is_set()


async def test_only_http():
    """A WebSocket is refused."""
    with pytest.raises(ConfigurationError):
        await StreamResponse(())({"type": "websocket"}, None, None)


async def test_many_leave_at_once(emulator, client, serve_asgi):
    """All upstreams are closed, and no task is left."""
    count = 100
    emulator.play(scenarios.silence("The lamp"), times=count)
    url = await serve_asgi(bare(client))
    before = len(asyncio.all_tasks())
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as browsers:
        responses = await asyncio.gather(*(browsers.post(url) for _ in range(count)))
        await asyncio.gather(*(response.content.readany() for response in responses))
        for response in responses:
            response.close()
        async with asyncio.timeout(10):
            await asyncio.gather(*(request.disconnected.wait() for request in emulator.requests))
    async with asyncio.timeout(GENEROUS_SECONDS):
        while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110  # tasks of others end too
            await asyncio.sleep(0.01)
    assert emulator.active == 0
