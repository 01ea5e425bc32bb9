"""A stream as the response of an ASGI application: FastAPI, Starlette, Litestar, or none at all. Imports no framework."""

import asyncio
import sys
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from or_stream.errors import ConfigurationError
from or_stream.events import Event
from or_stream.relay._failure import ErrorText
from or_stream.relay._frames import ProtocolName
from or_stream.relay._relay import DEFAULT_KEEP_ALIVE_SECONDS, Refusal, Relay
from or_stream.relay.images import ImageStore

__all__ = ["StreamResponse"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STARLETTE: Final = "starlette.responses"
_JOINED: Final[dict[type, type]] = {}


class StreamResponse:
    """An ASGI application that relays one stream: `return StreamResponse(client.stream(prompt), protocol="ui-message")`.

    `stream` is any async iterable of events; it is closed in every case, within moments of the browser's leaving. With `images`
    pictures go by address. `error_text` is called with each error and may return what the browser is told of it; None keeps the
    default, which depends on the kind of error alone. A comment is sent where there was nothing to send for
    `keep_alive_seconds`. `background` is awaited when the response is over, also where the browser left.

    Where Starlette is loaded an instance is one of its `Response` too, which is what FastAPI asks for.
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """An instance; of Starlette's class as well, where there is one."""
        response = getattr(sys.modules.get(_STARLETTE), "Response", None)
        joined: type[Self] = cls if response is None or issubclass(cls, response) else _joined(cls, response)
        return object.__new__(joined)

    def __init__(
        self,
        stream: AsyncIterable[Event],
        protocol: ProtocolName = "events",
        *,
        images: ImageStore | None = None,
        error_text: ErrorText | None = None,
        keep_alive_seconds: float = DEFAULT_KEEP_ALIVE_SECONDS,
        headers: Mapping[str, str] | None = None,
        background: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._relay = Relay(
            stream, protocol, images=images, error_text=error_text, keep_alive_seconds=keep_alive_seconds, headers=headers
        )
        self.status_code: int = 200
        self.media_type: str = "text/event-stream"
        self.raw_headers: list[tuple[bytes, bytes]] = _encoded(self._relay.headers)
        self.background: Callable[[], Awaitable[None]] | None = background

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lets FastAPI take it as the annotated type of a result."""
        return core_schema.any_schema()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ConfigurationError(f"a StreamResponse answers http, not {scope['type']}")
        async with self._relay as relay:
            watching = asyncio.create_task(_leave_with_browser(relay, receive))
            try:
                await self._answer(relay, scope["method"], send)
            except OSError:
                relay.leave()  # what a server raises for a browser that is gone, from version 2.4 of the specification on
            finally:
                watching.cancel()
                await asyncio.wait((watching,))
        if self.background is not None:
            await self.background()

    async def _answer(self, relay: Relay, method: str, send: Send) -> None:
        if method == "HEAD":
            relay.leave()  # before its first step: nothing is generated for headers alone
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": b""})
            return
        refusal = await relay.opening()
        if refusal is not None:
            await _refuse(refusal, send)
            return
        if not relay.is_left:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        while data := await relay.read():
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if not relay.is_left:
            await send({"type": "http.response.body", "body": b""})


def _joined(cls: Any, response: type) -> Any:
    """One class for each of ours, made at the first response."""
    if cls not in _JOINED:
        _JOINED[cls] = type(cls.__name__, (cls, response), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})
    return _JOINED[cls]


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _leave_with_browser(relay: Relay, receive: Receive) -> None:
    """Wait for the browser to leave. What it still sends of its request is not wanted."""
    while (await receive())["type"] != "http.disconnect":
        pass
    relay.leave()


async def _refuse(refusal: Refusal, send: Send) -> None:
    headers = _encoded({**refusal.headers, "content-length": str(len(refusal.body))})
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})
