"""A provider, a client of it, and web servers around an application."""

import contextlib

import aiohttp
import pytest
from aiohttp import web

from or_stream import Client, RetryPolicy
from support.slow_browser import CountingClient
from support.web_servers import served_by_aiohttp, served_by_uvicorn

KEY = "sk-or-v1-0123456789abcdef-not-a-real-key"


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


@pytest.fixture
def counting(client):
    return CountingClient(client)
