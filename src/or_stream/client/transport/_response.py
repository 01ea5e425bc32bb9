"""An answer whose body is to be read, and its connection to be kept or dropped."""

import asyncio
import os
import socket
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import aiohttp

from or_stream.client.transport._answers import MappedErrors, retry_after, translated
from or_stream.errors import APIStatusError, OrStreamError, ProtocolViolation, StreamFailed
from or_stream.protocol import Framing, conceal

__all__ = ["OF_PARENT", "Readers", "Response"]

OF_PARENT: Final[list[object]] = []
"""What a forked process must neither use nor finalise: connections that are its parent's, as is what the event loop waits on."""


class Response:
    """An answer with status 200 whose body is to be read. `framing` tells what its body is."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        framing: Framing,
        readers: "Readers",
        linger: Callable[[aiohttp.ClientResponse], None],
        authorization: str,
    ) -> None:
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._linger = linger
        self._authorization = authorization
        self._is_closed_for_good = False
        self._process = os.getpid()
        self.framing: Framing = framing
        self.generation_id: str | None = response.headers.get("X-Generation-Id")
        self.provider: str | None = response.headers.get("X-Provider-Name")  # recorded on the Image API only
        self.read: Callable[[], Awaitable[bytes]] = response.content.readany
        """What has come, at least a byte; b"" at the end of the body. Raises FOREIGN where the connection broke: `rest_after`."""
        self._protocol = response.connection.protocol if response.connection is not None else None
        closed = self._protocol.closed if self._protocol is not None else None
        if closed is not None:
            if closed not in readers:
                closed.add_done_callback(partial(_break_body, readers))
            readers[closed] = weakref.ref(self)

    @property
    def is_of_parent(self) -> bool:
        """Whether this process was forked since, so that the connection is its parent's."""
        return self._process != os.getpid()

    def rest_after(self, error: Exception) -> bytes:
        """What came in front of an error that `read` raised; where there is nothing, raises the error as one of this library."""
        # aiohttp raises as soon as it knows of the break, though what came in front of it is still in its buffer.
        if data := self._response.content._read_nowait(-1):  # noqa: SLF001  # the public one raises too
            return data
        broken = translated(error, before_response=False)
        if self._is_closed_for_good:
            broken.retryable = False
        raise broken from error

    async def read_whole(self, max_bytes: int) -> bytes:
        """All of a body that is of use only as a whole. Raises ProtocolViolation for a longer one."""
        body = bytearray()
        with MappedErrors(before_response=True):  # half of it is as good as no answer
            async for data in self._response.content.iter_any():
                body += data
                if len(body) > max_bytes:
                    raise ProtocolViolation(f"the answer has more than {max_bytes:,} bytes")
        return bytes(body)

    def close_for_good(self) -> None:
        """Drop the connection, and tell whoever reads that another request will not do better."""
        self._is_closed_for_good = True
        self.close()

    def close(self) -> None:
        """Drop the connection now."""
        if self.is_of_parent:
            OF_PARENT.append(self._response)
            return
        connection, content = self._response.connection, self._response.content
        if content.exception() is None:
            # aiohttp has one exception for all readers, whose traceback would keep the frames of each of them for ever.
            content.set_exception(aiohttp.ClientConnectionError("the stream was closed here"))
        transport = None if connection is None else connection.transport
        self._response.close()
        if transport is None:
            return
        if self._loop.is_closed():
            # asyncio can close nothing any more; the server must learn of it all the same.
            with suppress(OSError):
                transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        else:
            # A TLS connection that is closed waits up to 30 s for the server's close_notify, and the server goes on generating.
            transport.abort()

    def explain(self, error: OrStreamError) -> None:
        """Add what only the headers say to an error that the body brought, and take the key out of it."""
        if isinstance(error, APIStatusError | StreamFailed) and error.retry_after is None:
            error.retry_after = retry_after(error.status, self._response.headers)
        conceal(error, self._authorization)

    def end(self) -> None:
        """All that matters was read: keep the connection for reuse if the body ends by itself shortly, else drop it."""
        self._linger(self._response)

    def break_body(self) -> None:
        """The connection is closed: if the body has not ended, tell its reader.

        aiohttp itself does not where the bytes were no HTTP, as a chunk without a size: the reader would wait for ever.
        """
        content = self._response.content
        if self._protocol is not None and not content.is_eof() and content.exception() is None:
            content.set_exception(self._protocol.exception() or aiohttp.ClientPayloadError())


Readers = dict["asyncio.Future[None]", "weakref.ref[Response]"]
"""Who reads from a connection, by the future that is done when it is closed."""


def _break_body(readers: Readers, closed: "asyncio.Future[None]") -> None:
    if not closed.cancelled():
        closed.exception()  # else asyncio complains that nobody asked
    if (reader := readers.pop(closed)()) is not None:
        reader.break_body()
