"""`StreamResponse` in Litestar, and under Hypercorn, another server than uvicorn."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config
from litestar import Litestar, asgi, post
from litestar.types import ASGIApp

from or_stream import Client
from or_stream.emulator import Chunk, Emulator, Repeat, Scenario, WaitFor, scenarios
from or_stream.relay import ImageStore
from or_stream.relay.asgi import StreamResponse
from or_stream.sse import SSEParser
from support.slow_browser import CountingClient
from support.web_servers import served_by_uvicorn

FLOOD = Scenario((Repeat((Chunk({"choices": [{"index": 0, "delta": {"content": "x" * 8000}}]}),)),))


def litestar(client: Any) -> ASGIApp:
    """A route, and a store that is mounted."""
    store = ImageStore("/pictures")

    @post("/", status_code=200)
    async def chat() -> ASGIApp:
        return StreamResponse(client.stream("hi"), images=store)

    return Litestar([chat, asgi("/pictures", is_mount=True, copy_scope=True)(store.asgi_app)], openapi_config=None)


def bare(client: Any) -> ASGIApp:
    """No framework."""
    store = ImageStore("/pictures")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            is_picture = scope["path"].startswith("/pictures/")
            await (store.asgi_app if is_picture else StreamResponse(client.stream("hi"), images=store))(scope, receive, send)

    return app


@contextlib.asynccontextmanager
async def served_by_hypercorn(app: ASGIApp) -> AsyncIterator[str]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.graceful_timeout = 1.0
    config.errorlog = None
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))
    yield f"http://127.0.0.1:{port}"
    stop.set()
    await serving


SERVED = {
    "Litestar under uvicorn": (litestar, served_by_uvicorn),
    "Litestar under Hypercorn": (litestar, served_by_hypercorn),
    "Hypercorn": (bare, served_by_hypercorn),
}


@pytest.fixture(params=SERVED.values(), ids=SERVED.keys())
async def serve_with(request) -> AsyncIterator[Callable[[Any], Any]]:
    """Gives the address of an application around a client."""
    make, served = request.param
    async with contextlib.AsyncExitStack() as stack:
        yield lambda client: stack.enter_async_context(served(make(client)))


@pytest.fixture
async def client(emulator: Emulator, client_of) -> Client:
    return client_of(f"http://127.0.0.1:{emulator.port}")


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_answer(emulator, client, serve_with, browser):
    """The whole answer under headers that proxies leave alone, and the picture at its address."""
    emulator.play("image-with-text")
    url = await serve_with(client)
    async with browser.post(url) as response:
        assert (response.status, response.content_type, response.headers["x-accel-buffering"]) == (200, "text/event-stream", "no")
        events = {event.event: event.json() for event in SSEParser().feed(await response.read())}
    assert events["stream_end"]["message"]["finish_reason"] == "stop"
    async with browser.get(url + events["image_start"]["url"]) as response:
        assert (response.content_type, await response.read()) == ("image/png", scenarios.specimen())


async def test_first_delta_comes_at_once(emulator, client, serve_with, browser):
    """While the model is still at it."""
    gate = asyncio.Event()
    first, *rest = scenarios.text("one two", heartbeats=0).steps
    emulator.play(Scenario((first, WaitFor(gate), *rest)))
    async with browser.post(await serve_with(client)) as response:
        data = b""
        async with asyncio.timeout(10):
            while b"one" not in data:
                data += await response.content.readany()
        gate.set()
        await response.read()


async def test_browser_leaves_while_the_model_is_silent(emulator, client, serve_with, browser):
    """The provider is stopped."""
    emulator.play(scenarios.silence("The lamp"))
    async with browser.post(await serve_with(client)) as response:
        await response.content.readany()
    async with asyncio.timeout(5):
        await emulator.requests[0].disconnected.wait()


async def test_browser_leaves_before_anything_came(emulator, client, serve_with, browser):
    """Also while there is not even a response."""
    emulator.play("no-headers")
    asking = asyncio.create_task(browser.post(await serve_with(client)))
    [request] = await emulator.received()
    asking.cancel()
    async with asyncio.timeout(5):
        await request.disconnected.wait()


async def test_browser_that_does_not_read(emulator, client, serve_with):
    """It holds up its own provider, and its leaving is noticed while the writer waits."""
    emulator.play(FLOOD)
    leave = await (counting := CountingClient(client)).stall(await serve_with(counting))
    [flood] = await emulator.received()
    assert not flood.disconnected.is_set()
    leave()
    async with asyncio.timeout(5):
        await flood.disconnected.wait()
    assert flood.bytes_sent < 32 * 2**20


async def test_refusal(emulator, client, serve_with, browser):
    """A status, and words of ours."""
    emulator.play("rate-limited")
    async with browser.post(await serve_with(client)) as response:
        assert (response.status, response.headers["retry-after"]) == (429, "1")
        assert (await response.json())["text"] == "The service is busy. Try again in a moment."
