"""Serves the streams of inputs.py, built before the first request, so that it is never what is measured.

`python server.py CORE`. `/text-20000/...` is one HTTP chunk an event, `/image-20/...` 16 KiB chunks. Prints its port and stops
when its standard input ends.
"""

import asyncio
import contextlib
import os
import re
import sys
from functools import cache

from inputs import image_stream, text_events

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WRITE_BYTES = 2**18


@cache
def answer(kind: str, size: int) -> bytes:
    """The whole answer, chunked."""
    if kind == "text":
        pieces = text_events(size)
    else:
        body = image_stream(size)
        pieces = [body[start : start + 16384] for start in range(0, len(body), 16384)]
    return _HEAD + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            kind, size = re.search(rb"/(text|image)-(\d+)/", head).groups()
            body = memoryview(answer(kind.decode(), int(size)))
            for start in range(0, len(body), _WRITE_BYTES):
                writer.write(body[start : start + _WRITE_BYTES])
                await writer.drain()
    writer.close()


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    asyncio.run(main())
