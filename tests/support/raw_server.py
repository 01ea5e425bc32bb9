"""A server that says exactly these bytes: for what no HTTP library would send, and to see when a client leaves."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

__all__ = ["Connection", "RawServer", "Request", "answer", "chunked", "head"]

# SO_LINGER on, for no time at all: the close that follows is a RST.
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Request:
    """One request as it came. Header names are in lower case."""

    def __init__(self, raw_head: bytes, body: bytes) -> None:
        first, *lines = raw_head.decode("latin-1").split("\r\n")
        self.line = first
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.body = body


class Connection(asyncio.Protocol):
    """One connection: `await request()`, `send`, then `finish` (FIN) or `reset` (RST). `left` is set when the client goes."""

    def __init__(self, server: "RawServer") -> None:
        self._server = server
        self._received = b""
        self._arrival = asyncio.Event()
        self.left = asyncio.Event()
        self.left_at: float | None = None
        self.requests: list[Request] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.accept(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._arrival.set()

    def eof_received(self) -> bool:
        self._note_left()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._note_left()

    def _note_left(self) -> None:
        if self.left_at is None:
            self.left_at = asyncio.get_running_loop().time()
        self.left.set()
        self._arrival.set()

    async def request(self) -> Request:
        """Wait for the next request. Raises ConnectionResetError where the client leaves instead."""
        await self._until(lambda: b"\r\n\r\n" in self._received)
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        request = Request(head, b"")
        length = int(request.headers.get("content-length", 0))
        await self._until(lambda: len(self._received) >= length)
        request.body, self._received = self._received[:length], self._received[length:]
        self.requests.append(request)
        return request

    async def _until(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            if self.left.is_set():
                raise ConnectionResetError("the client has left")
            self._arrival.clear()
            await self._arrival.wait()

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    @property
    def unsent_bytes(self) -> int:
        """What was sent and has not left this process."""
        return self._transport.get_write_buffer_size()

    def finish(self) -> None:
        """FIN, behind all that was sent."""
        self._transport.close()

    async def reset(self) -> None:
        """RST, once all that was sent has left this process."""
        while self.unsent_bytes:  # noqa: ASYNC110  # asyncio has no public way to wait for it
            await asyncio.sleep(0.001)
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()


Play = Callable[[Connection], Awaitable[None]]


class RawServer:
    """Plays `play` on every connection: `async with RawServer(play) as server: Client(base_url=server.base_url)`."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections: list[Connection] = []

    def accept(self, connection: Connection) -> None:
        """Called by each new connection."""
        self.connections.append(connection)
        task = asyncio.ensure_future(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        with contextlib.suppress(ConnectionResetError):
            await self._play(connection)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=4096)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/api/v1"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for connection in self.connections:
            connection.finish()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def head(status: int = 200, content_type: str | None = "text/event-stream", **headers: str) -> bytes:
    """A status line and headers. `_` in a header's name is a hyphen."""
    lines = [f"HTTP/1.1 {status} Said"]
    lines += [f"Content-Type: {content_type}"] if content_type is not None else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(body: bytes, status: int = 200, content_type: str | None = "text/event-stream", **headers: str) -> bytes:
    """A whole answer with a Content-Length."""
    return head(status, content_type, Content_Length=str(len(body)), **headers) + body


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    """A body in chunks, RFC 9112 section 7.1; without `end` the terminating chunk is missing."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece) + (b"0\r\n\r\n" if end else b"")
