"""A provider, a client of it, and web servers around an application."""

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

from or_stream import Client, RetryPolicy
from or_stream.emulator import Emulator
from support.web_servers import served_by_aiohttp, served_by_uvicorn

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
async def servers():
    """Stops the servers of a test."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def serve_asgi(servers):
    """Under uvicorn. Gives the address of an application."""
    return lambda app: servers.enter_async_context(served_by_uvicorn(app))


@pytest.fixture
def serve_app(servers):
    """Under aiohttp.web. Gives the address of an application."""
    return lambda app, handler_cancellation=False: servers.enter_async_context(served_by_aiohttp(app, handler_cancellation))


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
