"""A running emulator, and ways to talk to it that are not ours: a bare aiohttp session and a bare socket."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from or_stream.emulator import Emulator

HEADERS = {"Authorization": "Bearer any"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=15)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=HEADERS, timeout=timeout, connector=connector) as open_session:
        yield open_session


class Caller:
    """Chat requests with the least that is needed."""

    def __init__(self, emulator: Emulator, session: aiohttp.ClientSession) -> None:
        self.emulator, self.session = emulator, session

    def post(self, prompt: str = "hi", **body: Any) -> Any:
        """The request's context manager."""
        whole = {"messages": [{"role": "user", "content": prompt}], "stream": True, **body}
        return self.session.post(f"{self.emulator.base_url}/chat/completions", json=whole)

    async def read(self, prompt: str = "hi", **body: Any) -> bytes:
        """The body of the answer."""
        async with self.post(prompt, **body) as response:
            data: bytes = await response.read()
            return data

    async def events(self, prompt: str = "hi", **body: Any) -> list[Any]:
        """The JSON of the events of a stream that ends with [DONE]."""
        return parse(await self.read(prompt, **body))


def parse(body: bytes) -> list[Any]:
    *events, done, rest = [part for part in body.split(b"\n\n") if not part.startswith(b":")]
    assert done == b"data: [DONE]"
    assert rest == b""
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


@pytest.fixture
def chat(emulator: Emulator, session: aiohttp.ClientSession) -> Caller:
    return Caller(emulator, session)
