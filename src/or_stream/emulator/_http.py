"""HTTP: a `Listener` that knows nothing of what it answers, and a `Player` of one `Scenario` on one request."""

import asyncio
import itertools
import socket
import struct
import sys
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Protocol, Self

from aiohttp import web

if sys.platform != "win32":
    import fcntl
    import termios

from or_stream.emulator._script import (
    Chunk,
    Close,
    Comment,
    Done,
    Event,
    Identity,
    Repeat,
    Reset,
    Scenario,
    Send,
    Sent,
    Stall,
    Step,
    Wait,
    WaitFor,
    encode,
    piece_lengths,
)

_REQUEST_BYTES_AT_MOST: Final = 256 * 2**20

# The window bits that make zlib write the gzip format.
_GZIP = 31

# SO_LINGER on, for no time at all: the close that follows is a RST.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def _unsent_bytes(transport: asyncio.WriteTransport) -> int:
    """What the kernel still holds, on systems that tell."""
    if sys.platform != "win32":
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return int.from_bytes(answer, sys.byteorder)
    return 0


class Listener(ABC):
    """Listens and hands every request to `_answer`, whose task is cancelled when the client leaves.

    Use it with `async with`, or `start` and `aclose`. `port=0` takes a free port.
    """

    # Whether the body of a request is read as what it says, or as the bytes that came.
    _inflates: bool = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host: str = host
        self.port: int = port
        self._runner: web.AppRunner | None = None
        self._answering: set[asyncio.Task[Any]] = set()
        self._closing = False

    @property
    def base_url(self) -> str:
        """The address for `base_url=` of a client, `http://127.0.0.1:PORT/api/v1`. RuntimeError before `start`."""
        if self._runner is None:
            raise RuntimeError("nothing is listening: enter it with `async with`, or await start()")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/api/v1"

    async def start(self) -> None:
        """Listen. OSError where the port is taken."""
        if self._runner is not None:
            raise RuntimeError("it is running already")
        app = web.Application(client_max_size=_REQUEST_BYTES_AT_MOST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05, auto_decompress=self._inflates
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=2048).start()
        except OSError:
            await runner.cleanup()
            raise
        self._closing = False
        self._runner, self.port = runner, runner.addresses[0][1]

    async def aclose(self) -> None:
        """Stop listening and drop every connection. May be called twice."""
        runner, self._runner = self._runner, None
        self._closing = True
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            # Not left to aiohttp: it waits its shutdown_timeout twice before it cancels, and under coverage on CPython 3.11 that
            # wait lets a CancelledError of its own out.
            for answering in self._answering:
                answering.cancel()
            if self._answering:
                await asyncio.wait(self._answering)
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None, "aiohttp runs every handler in a task"
        self._answering.add(task)
        try:
            return await self._answer(request)
        finally:
            self._answering.discard(task)

    @abstractmethod
    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""


class _BrokenOff(Exception):
    """The scenario has broken the connection: there is nothing more to say."""


class _Enough(Exception):
    """The byte has been sent after which the scenario breaks off."""


class Meter(Protocol):
    """Who counts what is sent."""

    def begin(self) -> None:
        """The status line is sent now."""

    def sending(self, step: Sent, data: bytes) -> None:
        """A step is sent now."""

    def cut(self, step: Sent, data: bytes) -> None:
        """Of that step only these bytes could be sent."""

    def end(self) -> None:
        """The answer ends with what has been counted."""


class Player:
    """One answer. `bytes_sent` counts the body; `meter` is told of every step, and before the last of them that it ends."""

    def __init__(
        self,
        request: web.Request,
        scenario: Scenario,
        identity: Identity,
        meter: Meter | None = None,
    ) -> None:
        self.bytes_sent = 0
        self._request, self._scenario, self._identity, self._meter = request, scenario, identity, meter
        self._lengths = piece_lengths(scenario.pieces)
        self._writes = 0
        self._left = scenario.broken_after_bytes
        self._compressor = zlib.compressobj(wbits=_GZIP) if scenario.gzip else None
        headers = {"Content-Type": scenario.content_type, "Cache-Control": "no-cache"}
        if scenario.generation_header:
            headers["X-Generation-Id"] = identity.id
        if scenario.gzip:
            headers["Content-Encoding"] = "gzip"
        self._response = web.StreamResponse(status=scenario.status, headers={**headers, **scenario.headers})

    async def play(self) -> web.StreamResponse:
        """The whole answer. Raises ConnectionError or is cancelled when the client leaves before its end."""
        try:
            for step in self._scenario.before:
                await self._perform(step)
            if self._meter is not None:
                self._meter.begin()
            await self._response.prepare(self._request)
            await self._steps()
            await self._response.write_eof(self._compressor.flush() if self._compressor and self._has_body() else b"")
        except _BrokenOff:
            pass
        return self._response

    async def _steps(self) -> None:
        try:
            for step in self._scenario.steps:
                await self._perform(step)
        except _Enough:
            for step in self._scenario.broken_by:
                await self._perform(step)

    async def _perform(self, step: Step) -> None:
        match step:
            case Send() | Comment() | Chunk() | Event() | Done():
                await self._send(step)
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case WaitFor(event):
                await event.wait()
            case Stall():
                await asyncio.Event().wait()
            case Repeat(steps, times):
                for _ in itertools.count() if times is None else range(times):
                    for inner in steps:
                        await self._perform(inner)
                    await asyncio.sleep(0)
            case Close():
                self._transport().close()
                raise _BrokenOff
            case Reset():
                await self._reset()

    async def _send(self, step: Sent) -> None:
        data = encode(step, self._identity)
        allowed = data if self._left is None else data[: self._left]
        seconds = step.seconds if isinstance(step, Send | Chunk | Event) else 0.0
        before = self.bytes_sent
        if self._meter is not None:
            self._meter.sending(step, allowed)
            if self._scenario.steps and step is self._scenario.steps[-1]:
                self._meter.end()
        try:
            await self._write(allowed, seconds)
        except (ConnectionError, asyncio.CancelledError):
            if self._meter is not None:
                self._meter.cut(step, allowed[: self.bytes_sent - before])
            raise
        if self._left is not None:
            self._left -= len(allowed)
            if not self._left:
                raise _Enough

    async def _write(self, data: bytes, seconds: float) -> None:
        if self._compressor is not None:
            data = self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        pieces = list(self._pieces(data)) if self._has_body() else []
        pause = max(self._scenario.pace_seconds, seconds / max(1, len(pieces)))
        for piece in pieces:
            if self._writes:
                await self._between_writes(pause)
            self._writes += 1
            await self._response.write(piece)
            self.bytes_sent += len(piece)

    def _has_body(self) -> bool:
        return self._request.method != "HEAD"

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        view, at = memoryview(data), 0
        while at < len(data):
            length = next(self._lengths)
            yield bytes(view[at : at + length])
            at += length

    async def _between_writes(self, pause: float) -> None:
        if pause:
            await asyncio.sleep(pause)
            return
        await asyncio.sleep(0)
        if self._scenario.pieces is not None:
            # In one turn a client on the same loop has not yet read the piece before, and would get both at once.
            await asyncio.sleep(0)

    async def _reset(self) -> None:
        transport = self._transport()
        # A reset discards what has not left, and neither asyncio nor the socket has a way to wait until all has.
        while transport.get_write_buffer_size() or _unsent_bytes(transport):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
        raise _BrokenOff

    def _transport(self) -> asyncio.WriteTransport:
        transport = self._request.transport
        if not isinstance(transport, asyncio.WriteTransport):
            raise ConnectionResetError("the client has left")
        return transport
