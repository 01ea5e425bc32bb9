"""A web backend: POST a prompt, get the events as server-sent events. A browser that leaves ends the generation."""

from collections.abc import AsyncIterator

from aiohttp import web
from pydantic import TypeAdapter

from or_stream import Client, Event, ImageDelta, OrStreamError
from or_stream.sse import encode_event

CLIENT = web.AppKey("client", Client)
TO_JSON = TypeAdapter(Event).dump_json


async def open_client(app: web.Application) -> AsyncIterator[None]:
    async with Client() as client:
        app[CLIENT] = client
        yield


async def chat(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    try:
        async for event in request.app[CLIENT].stream(await request.text()):
            if not isinstance(event, ImageDelta):  # ImageEnd has the whole picture; StreamEnd need not repeat it
                data = TO_JSON(event, exclude={"message": {"images"}}).decode()
                await response.write(encode_event(data, event=event.type))
    except OrStreamError as error:
        await response.write(encode_event(str(error), event="error"))
    return response


app = web.Application()
app.cleanup_ctx.append(open_client)
app.router.add_post("/api/chat", chat)

if __name__ == "__main__":
    web.run_app(app, handler_cancellation=True)  # else a handler is not told that the browser has left
