"""Serves the streams of inputs.py on a core of its own, built before the first request, so that it is never what is measured.

`python server.py CORE WORK...` prints its port and stops when its standard input ends. The model that a request asks for is the
work to be done:

    text-20000          that many deltas, one HTTP chunk each, as fast as the client reads
    live-2000           the same, one a millisecond, each a TCP segment of its own
    together-1000x200   200 deltas to each of 1,000 streams: the first at once, the others in turn when all streams are open
    idle                the first delta, and then nothing
    image-50            one image of 50 MB of base64 in HTTP chunks of 16 KiB
"""

import asyncio
import contextlib
import os
import re
import resource
import sys
import time

from inputs import cut, http_chunk, image_stream, text_events

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"
_WRITE_BYTES = 2**18
_LIVE_SECONDS = 0.001
_DELTAS_A_TURN = 10


def pieces_of(work: str) -> list[bytes]:
    """What is written at once, for each time that something is."""
    kind, _, size = work.partition("-")
    if kind == "image":
        chunks = [http_chunk(piece) for piece in cut(image_stream(int(size)), 16384)]
    else:
        chunks = [http_chunk(event) for event in text_events(int(size.rpartition("x")[2] or 1))]
    match kind:
        case "live":
            return chunks
        case "idle":
            return chunks[:1]
        case "together":
            turns = range(1, len(chunks), _DELTAS_A_TURN)
            return [chunks[0], *(b"".join(chunks[turn : turn + _DELTAS_A_TURN]) for turn in turns)]
    return cut(b"".join(chunks), _WRITE_BYTES)


class Server:
    """Answers each request with the pieces of the work it asks for."""

    def __init__(self, works: list[str]) -> None:
        self._pieces = {work: pieces_of(work) for work in works}
        self._together: list[asyncio.StreamWriter] = []
        self._all_have_all = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1]))
                work = re.search(rb'"model": *"([^"]+)"', body)[1].decode()
                writer.write(_HEAD)
                await self._answer(work, reader, writer)
                writer.write(_END)
        writer.close()

    async def _answer(self, work: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if work.startswith("together"):
            await self._answer_together(work, writer)
        else:
            due = time.monotonic()
            for piece in self._pieces[work]:
                # Asking again and again, because a timer may be a millisecond late: this core has nothing else to do.
                while work.startswith("live") and time.monotonic() < due:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                due = time.monotonic() + _LIVE_SECONDS
                writer.write(piece)
                await writer.drain()
            if work == "idle":
                await reader.read()

    async def _answer_together(self, work: str, writer: asyncio.StreamWriter) -> None:
        """The last of the streams writes for all of them."""
        first, *turns = self._pieces[work]
        writer.write(first)
        self._together.append(writer)
        if len(self._together) < int(re.search(r"\d+", work)[0]):
            await self._all_have_all.wait()
            return
        writers, self._together = self._together, []
        for piece in turns:
            for one in writers:
                one.write(piece)
            for one in writers:
                await one.drain()
        self._all_have_all.set()
        self._all_have_all = asyncio.Event()


async def main() -> None:
    """Serve until standard input ends."""
    server = await asyncio.start_server(Server(sys.argv[2:]).serve, "127.0.0.1", 0, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    asyncio.run(main())
