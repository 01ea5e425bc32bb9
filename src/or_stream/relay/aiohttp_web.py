"""A stream as the response of an aiohttp.web handler: `return await stream_response(request, client.stream(prompt))`."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Final
from weakref import WeakKeyDictionary

from aiohttp import web

from or_stream.events import Event
from or_stream.relay._failure import ErrorText
from or_stream.relay._frames import ProtocolName
from or_stream.relay._relay import DEFAULT_KEEP_ALIVE_SECONDS, Relay
from or_stream.relay.images import ImageStore

__all__ = ["image_handler", "stream_response"]

_LOOK_SECONDS: Final = 0.05


async def stream_response(
    request: web.Request,
    stream: AsyncIterable[Event],
    protocol: ProtocolName = "events",
    *,
    images: ImageStore | None = None,
    error_text: ErrorText | None = None,
    keep_alive_seconds: float = DEFAULT_KEEP_ALIVE_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Relay a stream to the browser, and return the response when that is over. The arguments are those of `StreamResponse`.

    A browser that leaves ends the stream, at once where the server runs with `handler_cancellation=True`, else within 0.05
    seconds: aiohttp tells a handler nothing then, so that one timer looks at all connections.
    """
    relay = Relay(stream, protocol, images=images, error_text=error_text, keep_alive_seconds=keep_alive_seconds, headers=headers)
    async with relay:
        with _leaving_with(request.transport, relay.leave):
            if request.method == "HEAD":
                relay.leave()
                return web.Response(headers=relay.headers)
            refusal = await relay.opening()
            if refusal is not None:
                return web.Response(status=refusal.status, headers=refusal.headers, body=refusal.body)
            response = web.StreamResponse(headers=relay.headers)
            with suppress(ConnectionError):
                await response.prepare(request)
                while data := await relay.read():
                    await response.write(data)
                if not relay.is_left:
                    await response.write_eof()
    return response


def image_handler(store: ImageStore) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A handler that serves a store.

    `app.router.add_get("/images/{name}", image_handler(store))`
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        answer, image = store.answer(request.method, headers, request.path.rpartition("/")[2])
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        if image is not None:
            try:
                async with aclosing(image.pieces(answer.start, answer.stop)) as pieces:
                    async for piece in pieces:
                        await response.write(piece)
            except (EOFError, OSError):
                if request.transport is not None:
                    request.transport.abort()  # or the part of a picture would look like the whole
                return response
        await response.write_eof()
        return response

    return serve


class _Lookout:
    """Looks after the connections of one event loop, while there are any, and says which have gone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self.watched: dict[object, tuple[asyncio.Transport, Callable[[], None]]] = {}

    def start(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._timer = None
        for transport, leave in list(self.watched.values()):
            if transport.is_closing():
                leave()
        if self.watched:
            self.start()


_LOOKOUTS: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, _Lookout]] = WeakKeyDictionary()


@contextmanager
def _leaving_with(transport: asyncio.Transport | None, leave: Callable[[], None]) -> Iterator[None]:
    """Have `leave` called when the connection is lost."""
    if transport is None:
        leave()
        yield
        return
    loop = asyncio.get_running_loop()
    lookout = _LOOKOUTS.get(loop) or _LOOKOUTS.setdefault(loop, _Lookout(loop))
    key = object()
    lookout.watched[key] = (transport, leave)
    lookout.start()
    try:
        yield
    finally:
        del lookout.watched[key]
