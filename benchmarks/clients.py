"""What is measured: two floors and or_stream, each as a session that any number of streams share.

A client is an asynchronous context manager of `generate(work, begun)`, which asks the server for a work, calls `begun` at its
first event, reads to the end and says what was delivered. A decoder gives something of each event in pieces of a stream. peers.py
has the clients and the decoders of others.
"""

import io
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

import aiohttp
from pydantic_core import from_json

from or_stream import Client, ImageStart, TextDelta
from or_stream.protocol import Pipeline
from or_stream.sse import SSEParser


class Delivered(NamedTuple):
    """How much of the text and of the image reached the user; None where the client does not look."""

    characters: int | None = None
    image_bytes: int | None = None


Generate = Callable[[str, Callable[[], None]], Awaitable[Delivered]]
OpenClient = Callable[[str], AbstractAsyncContextManager[Generate]]
Decode = Callable[[list[bytes]], Iterable[object]]

Answers = Callable[[str], AbstractAsyncContextManager[aiohttp.ClientResponse]]


@asynccontextmanager
async def plain_session(url: str) -> AsyncIterator[Answers]:
    """Nothing but aiohttp, with the settings that or_stream uses."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**18) as session:
        yield lambda work: session.post(f"{url}/chat/completions", data=json.dumps({"model": work}))


@asynccontextmanager
async def raw(url: str) -> AsyncIterator[Generate]:
    """Read with aiohttp, and throw away."""
    async with plain_session(url) as answer_to:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            async with answer_to(work) as answer:
                await answer.content.readany()
                begun()
                async for _ in answer.content.iter_any():
                    pass
            return Delivered()

        yield generate


@asynccontextmanager
async def kept(url: str) -> AsyncIterator[Generate]:
    """Read with aiohttp, and put three quarters of it into one buffer: what a decoded image costs before anything is decoded."""
    async with plain_session(url) as answer_to:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            buffer = io.BytesIO()
            async with answer_to(work) as answer:
                async for data in answer.content.iter_any():
                    if not buffer.tell():
                        begun()
                    buffer.write(memoryview(data)[: len(data) * 3 // 4])
            return Delivered()

        yield generate


@asynccontextmanager
async def parsed(url: str) -> AsyncIterator[Generate]:
    """Read with aiohttp, split into lines, parse each event to dicts."""
    async with plain_session(url) as answer_to:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            rest, started = b"", False
            async with answer_to(work) as answer:
                async for data in answer.content.iter_any():
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        if line.startswith(b"data: {"):
                            from_json(line[6:])
                            if not started:
                                started = True
                                begun()
            return Delivered()

        yield generate


@asynccontextmanager
async def or_stream(url: str, *, save_to: str | None = None) -> AsyncIterator[Generate]:
    """The whole public path: typed events and the accumulated message, images in memory."""
    async with Client(base_url=url, api_key="none") as client:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            events = aiter(client.stream("hi", model=work, save_to=save_to))
            while not isinstance(event := await anext(events), TextDelta | ImageStart):
                pass
            begun()
            async for event in events:  # noqa: B007  # the last one holds the message
                pass
            return Delivered(len(event.message.text), sum(image.size for image in event.message.images))

        yield generate


@asynccontextmanager
async def or_stream_saving(url: str) -> AsyncIterator[Generate]:
    """The same, images into a folder while they arrive."""
    with tempfile.TemporaryDirectory() as folder:
        async with or_stream(url, save_to=folder) as generate:
            yield generate


def or_stream_decoder(pieces: list[bytes]) -> Iterator[object]:
    """The public parser alone: the data of each event."""
    parser = SSEParser()
    for piece in pieces:
        for event in parser.feed(piece):
            yield event.data


def or_stream_pipeline_decoder(pieces: list[bytes]) -> Iterator[object]:
    """All of or_stream but its network: typed events, and the message at the end."""
    pipeline = Pipeline()
    for piece in pieces:
        yield from pipeline.feed(piece)


CLIENTS: dict[str, OpenClient] = {
    "aiohttp, read": raw,
    "aiohttp, read and keep": kept,
    "aiohttp, read and parse": parsed,
    "or_stream": or_stream,
    "or_stream, save_to": or_stream_saving,
}

DECODERS: dict[str, Decode] = {
    "or_stream decoder": or_stream_decoder,
    "or_stream pipeline decoder": or_stream_pipeline_decoder,
}
