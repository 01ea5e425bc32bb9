"""Backends that relay to a browser, in a process of their own: `python relaying.py SERVER PORT PROVIDER_URL`.

Every protocol has a path, and whoever asks names the model. Below `/by-address` pictures go into a store; below `/without-end`
the end is taken off the stream, as a backend does that breaks it off.
"""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from typing import Any, Literal, NamedTuple

import uvicorn
from aiohttp import web
from fastapi import FastAPI, Request

from or_stream import Client, Event, RetryPolicy, StreamEnd
from or_stream.relay import ImageStore
from or_stream.relay.aiohttp_web import image_handler, stream_response
from or_stream.relay.asgi import StreamResponse

ProtocolName = Literal["events", "openai", "ui-message"]
PROTOCOLS: dict[str, ProtocolName] = {"/v1/chat/completions": "openai", "/chat": "ui-message", "/events": "events"}
PLACES = ("", "/by-address", "/without-end")
STORE = ImageStore("/pictures")


class Relayed(NamedTuple):
    """The arguments of a relay."""

    stream: AsyncIterable[Event]
    protocol: ProtocolName
    images: ImageStore | None
    keep_alive_seconds: float = 0.2  # often enough for each client to meet comments


def asked(client: Client, path: str, body: Mapping[str, Any]) -> Relayed:
    """What is asked for by OpenAI's body, or by that of `useChat` with the model beside it."""
    messages = [
        {"role": message["role"], "content": message.get("content") or "".join(part["text"] for part in message["parts"])}
        for message in body["messages"]
    ]
    options = {name: body[name] for name in ("model", "modalities", "tools") if body.get(name)}
    stream: AsyncIterable[Event] = client.stream(messages, **options)
    place = next(place for place in reversed(PLACES) if path.startswith(place))
    if place == "/without-end":
        stream = without_end(stream)
    return Relayed(stream, PROTOCOLS[path.removeprefix(place)], STORE if place == "/by-address" else None)


def asked_by_address(query: Mapping[str, str]) -> dict[str, Any]:
    """The body for an EventSource, which has none."""
    return {"model": query["model"], "messages": [{"role": "user", "content": query["prompt"]}]}


async def without_end(stream: AsyncIterable[Event]) -> AsyncIterator[Event]:
    """A stream that is broken off before it can say that it is complete."""
    async for event in stream:
        if not isinstance(event, StreamEnd):
            yield event


async def serve_with_fastapi(client: Client, port: int) -> None:
    """FastAPI under uvicorn."""
    app = FastAPI()
    app.mount("/pictures", STORE.asgi_app)

    async def chat(request: Request) -> StreamResponse:
        body = await request.json() if request.method == "POST" else asked_by_address(request.query_params)
        return StreamResponse(**asked(client, request.url.path, body)._asdict())

    for place, path in itertools.product(PLACES, PROTOCOLS):
        app.add_api_route(place + path, chat, methods=["GET", "POST"])
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none")).serve()


async def serve_with_aiohttp(client: Client, port: int) -> None:
    """aiohttp.web as it is by default, without handler cancellation."""
    app = web.Application()
    app.router.add_get("/pictures/{name}", image_handler(STORE))

    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.method == "POST" else asked_by_address(request.query)
        return await stream_response(request, **asked(client, request.path, body)._asdict())

    for place, path in itertools.product(PLACES, PROTOCOLS):
        app.router.add_route("*", place + path, chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


SERVERS = {"FastAPI": serve_with_fastapi, "aiohttp.web": serve_with_aiohttp}


async def serve(server: str, port: int, provider_url: str) -> None:
    """Until the process is ended."""
    async with Client(base_url=provider_url, api_key="sk-or-v1-of-the-backend", retry=RetryPolicy(attempts=1)) as client:
        await SERVERS[server](client, port)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
