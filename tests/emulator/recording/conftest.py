"""A recorder in front of the emulator, and what is asked of it and found in its folder."""

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from or_stream.emulator import Emulator
from or_stream.emulator.recording import Exchange, Recorder, Recording, exchange_folders


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[], list[Recording]]:
    """`recorded()`: the recordings in the test's folder."""
    return lambda: [Recording.read(path) for path in exchange_folders(tmp_path)]


@pytest.fixture
def ended() -> list[Exchange]:
    """The exchanges that the recorder has told of."""
    return []


@pytest.fixture
async def recorder(emulator: Emulator, tmp_path: Path, ended: list[Exchange]) -> AsyncIterator[Recorder]:
    async with Recorder(tmp_path, upstream=emulator.base_url, on_end=ended.append) as running:
        yield running


@pytest.fixture
def ask(session: aiohttp.ClientSession) -> Callable[..., Any]:
    """`ask(server, model=..., ...)`: a chat request's context manager."""

    def post(server: Any, **body: Any) -> Any:
        whole = {"model": "a/b", "messages": [{"role": "user", "content": "hi"}], "stream": True, **body}
        return session.post(f"{server.base_url}/chat/completions", json=whole)

    return post


@pytest.fixture
def read_all() -> Callable[..., Any]:
    """To be called with a response: all that comes of its body, and what broke it."""

    async def read(response: aiohttp.ClientResponse) -> tuple[bytes, Exception | None]:
        got = b""
        try:
            while piece := await response.content.readany():
                got += piece
        except aiohttp.ClientError as error:
            return got + response.content._read_nowait(-1), error
        return got, None

    return read


@pytest.fixture
def unused_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
