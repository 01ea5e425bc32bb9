"""Between a stream and a browser: one task reads the events, whoever has the connection writes the bytes. Knows no framework."""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.events import Event, Heartbeat
from or_stream.relay._failure import ErrorText, Failure, failure_of
from or_stream.relay._frames import KEEP_ALIVE, ProtocolName, frames_for
from or_stream.relay.images import Deposit, ImageStore

__all__ = ["DEFAULT_KEEP_ALIVE_SECONDS", "Refusal", "Relay"]

DEFAULT_KEEP_ALIVE_SECONDS: Final = 15.0
"""What the HTML standard advises (section 9.2.7); proxies break off what is silent for 30 to 60 seconds."""

# As much again waits in the server's own buffer and in the sockets. Where it is full the stream is not read, and so on upstream.
_MAX_UNWRITTEN_BYTES: Final = 2**16

# `no-transform`: whatever compresses would hold deltas back. `X-Accel-Buffering` is what nginx asks for.
_HEADERS: Final = {
    "content-type": "text/event-stream",
    "cache-control": "no-store, no-transform",
    "x-accel-buffering": "no",
}

_LOGGER: Final = logging.getLogger("or_stream.relay")


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a browser where the stream failed before any of it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


class Relay:
    """The bytes for one browser. `async with` it, then `await opening()`, then `await read()` until that is empty.

    The stream is read ahead by a bounded amount. `leave()` ends it at once, wherever reading and writing are. What the stream
    raises that is no OrStreamError is shown to the browser as a failure too, and raised on leaving `async with`.
    """

    def __init__(
        self,
        stream: AsyncIterable[Event],
        protocol: ProtocolName,
        *,
        images: ImageStore | None = None,
        error_text: ErrorText | None = None,
        keep_alive_seconds: float = DEFAULT_KEEP_ALIVE_SECONDS,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        if keep_alive_seconds <= 0:
            raise ConfigurationError("keep_alive_seconds must be above 0")
        self._stream = stream
        self._frames = frames_for(protocol, int(time.time()))
        self._deposit = None if images is None else Deposit(images)
        self._error_text = error_text
        self._keep_alive_seconds = keep_alive_seconds
        self._own_headers = {name.lower(): value for name, value in (headers or {}).items()}
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._refusal: Refusal | None = None
        self._is_open = False
        self._is_over = False
        self._change: asyncio.Future[None] | None = None  # what the writer waits for
        self._room: asyncio.Future[None] | None = None  # what the reader waits for
        self.is_left = False

    @property
    def headers(self) -> dict[str, str]:
        """Those of a response with status 200, names in lower case."""
        return {**_HEADERS, **self._frames.headers, **self._own_headers}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._wrote_seconds = self._loop.time()
        self._timer = self._loop.call_later(self._keep_alive_seconds, self._tick)
        self._reading = self._loop.create_task(self._pull())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._reading.cancel()
        await asyncio.wait((self._reading,))
        await _close(self._stream)  # a task that is cancelled before its first step closes nothing
        error = None if self._reading.cancelled() else self._reading.exception()
        if error is not None and exc is None:
            raise error

    async def opening(self) -> Refusal | None:
        """Wait until something is to be sent; a Refusal where that is an error.

        Heartbeats of the upstream are not waited for, because an error may still follow them. But a browser waits no longer than
        `keep_alive_seconds`: what fails later fails inside the protocol.
        """
        while not self._is_open and not self._is_over:
            await self._changed()
        return self._refusal

    async def read(self) -> bytes:
        """What is to be written next, all there is of it; b"" when that was the last."""
        while not self._unwritten and not self._is_over:
            await self._changed()
        data = self._unwritten[0] if len(self._unwritten) == 1 else b"".join(self._unwritten)
        self._unwritten.clear()
        self._unwritten_bytes = 0
        self._wrote_seconds = self._loop.time()
        _set(self._room)
        return data

    def leave(self) -> None:
        """The browser is gone: stop the upstream now, though the writer may still hang in a write."""
        self.is_left = self._is_over = True
        self._unwritten.clear()
        self._reading.cancel()
        _set(self._change)

    async def _pull(self) -> None:
        """Read the stream to its end and put down the bytes."""
        try:
            events = aiter(self._stream)
            try:
                async for event in events:
                    self._feed(event)
                    if self._unwritten_bytes >= _MAX_UNWRITTEN_BYTES:
                        await self._has_room()
            finally:
                await _close(events)
                await _close(self._stream)
            self._put(self._frames.finish())
        except asyncio.CancelledError:
            self._put(self._frames.finish())  # where the browser is still there, what the stream waited for was cancelled
            raise
        except Exception as error:
            self._fail(error)
            if not isinstance(error, OrStreamError):
                raise
        finally:
            if self._deposit is not None:
                self._deposit.close()
            self._is_over = True
            _set(self._change)

    def _feed(self, event: Event) -> None:
        relayed: Event | None = event
        address = None
        if self._deposit is not None:
            relayed, address = self._deposit.take(event)
        if relayed is not None:
            self._put(self._frames.feed(relayed, address))
        if type(event) is not Heartbeat:
            self._is_open = True

    def _put(self, data: bytes) -> None:
        if data and not self.is_left:
            self._unwritten.append(data)
            self._unwritten_bytes += len(data)
            _set(self._change)

    def _fail(self, error: Exception) -> None:
        failure = failure_of(error, self._error_text)
        # %r, so that no line of the upstream's becomes one of the log.
        _LOGGER.warning("a stream failed: %s: %r", type(error).__name__, str(error))
        if self._is_open:
            self._put(self._frames.fail(failure))
        else:
            self._refusal = self._refused(failure)

    def _refused(self, failure: Failure) -> Refusal:
        content_type, body = self._frames.refusal(failure)
        headers = {**self._own_headers, "content-type": content_type, "cache-control": "no-store"}
        # For OpenAI's clients, which else try everything from 500 on again.
        headers["x-should-retry"] = "true" if failure.retryable else "false"
        if failure.retry_after is not None:
            headers["retry-after"] = str(max(1, round(failure.retry_after)))
        return Refusal(failure.status, headers, body)

    def _tick(self) -> None:
        """One timer for the whole stream, moved when it goes off."""
        now = self._loop.time()
        due = self._wrote_seconds + self._keep_alive_seconds
        if now >= due:
            if not self._unwritten:
                self._put(KEEP_ALIVE)
            self._is_open = True
            _set(self._change)
            due = now + self._keep_alive_seconds
        self._timer = self._loop.call_at(due, self._tick)

    async def _changed(self) -> None:
        self._change = self._loop.create_future()
        await self._change

    async def _has_room(self) -> None:
        self._room = self._loop.create_future()
        await self._room


def _set(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


async def _close(stream: AsyncIterable[Any] | AsyncIterator[Any]) -> None:
    if (aclose := getattr(stream, "aclose", None)) is not None:
        await aclose()
