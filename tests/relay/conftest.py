"""A provider, a client of it, and web servers around an application."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from or_stream import Client, RetryPolicy
from or_stream.emulator import Emulator

KEY = "sk-or-v1-0123456789abcdef-not-a-real-key"


@pytest.fixture
async def emulator():
    async with Emulator() as running:
        yield running


@pytest.fixture
async def client(emulator):
    """Sends each request once."""
    async with Client(api_key=KEY, base_url=emulator.base_url, retry=RetryPolicy(attempts=1)) as running:
        yield running


@pytest.fixture
async def serve_asgi():
    """Under uvicorn. Gives the address of an application."""
    async with contextlib.AsyncExitStack() as stack:

        async def serve(app):
            listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
            server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
            serving = asyncio.create_task(server.serve([listening]))

            async def stop():
                server.should_exit = True
                await serving

            stack.push_async_callback(stop)
            return f"http://127.0.0.1:{listening.getsockname()[1]}"

        yield serve


@pytest.fixture
async def serve_app():
    """Under aiohttp.web. Gives the address of an application."""
    async with contextlib.AsyncExitStack() as stack:

        async def serve(app, handler_cancellation=False):
            runner = web.AppRunner(app, handler_cancellation=handler_cancellation, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
            return f"http://127.0.0.1:{runner.addresses[0][1]}"

        yield serve


@pytest.fixture
def serve_aiohttp(serve_app):
    """Under aiohttp.web, one handler for every path. Gives its address."""

    def serve(handler, handler_cancellation=False):
        app = web.Application()
        app.router.add_route("*", "/{name:.*}", handler)
        return serve_app(app, handler_cancellation)

    return serve


@pytest.fixture
async def browser():
    """A session that stands for all browsers."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


class Stall(asyncio.Protocol):
    """A browser that asks, and stops reading at the first bytes."""

    def __init__(self):
        self.begun = asyncio.Event()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")

    def data_received(self, data):
        self.transport.pause_reading()
        self.begun.set()


class CountingClient:
    """A client whose streams count the events that are taken from them."""

    def __init__(self, client):
        self.client = client
        self.taken = 0

    async def stream(self, prompt):
        async for event in self.client.stream(prompt):
            self.taken += 1
            yield event

    async def stall(self, url):
        """Have a browser ask and not read, until nothing is taken for it any more. Returns what makes it leave."""
        _, stall = await asyncio.get_running_loop().create_connection(Stall, "127.0.0.1", int(url.rpartition(":")[2]))
        await stall.begun.wait()
        before = -1
        while before != self.taken:
            before = self.taken
            await asyncio.sleep(0.2)
        return stall.transport.abort


@pytest.fixture
def counting(client):
    return CountingClient(client)
