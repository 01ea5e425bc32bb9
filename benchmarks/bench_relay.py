"""What a relay costs beside the client alone: `python benchmarks/bench_relay.py [--streams 500] [--rounds 3]`.

500 streams of 200 deltas at once, every delta in a packet of its own. `client` iterates `client.stream(...)` and does nothing;
the relays do the same and serve a browser each. Provider and browsers are other processes on another core. The CPU time is that
of the measured process alone; ratios are per round, then their median.

`leaving` is the longest of 20 times from a browser's leaving until the provider has lost the connection: while the model is
silent, and while it floods a browser that does not read. `storm` is the same when all leave at once. What is open and held at the
end is compared with what was after the first round.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import uvicorn
from aiohttp import web
from fastapi import FastAPI

from or_stream import Client
from or_stream.relay.aiohttp_web import stream_response
from or_stream.relay.asgi import StreamResponse

DELTAS = 200
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "provider": "p"}
REQUEST = b"POST /chat HTTP/1.1\r\nHost: relay\r\nContent-Length: 0\r\n\r\n"


def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
    """One event of the provider, as one HTTP chunk."""
    data = {**CHUNK, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
    event = b"data: %b\n\n" % json.dumps(data).encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


DELTA = chunk({"content": "a word or "})
LONG_DELTA = chunk({"content": "a word or " * 800})
END = chunk({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection of the provider: each request is answered with so many deltas, in their time.

    Without a pause they are long and never end, and there are as many as are read.
    """

    def __init__(self, answering: "set[Connection]", pause_seconds: float) -> None:
        self.answering = answering
        self.pause_seconds = pause_seconds
        self.can_write = asyncio.Event()
        self.can_write.set()
        self.resume_writing = self.can_write.set
        self.pause_writing = self.can_write.clear

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for a request."""
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Whoever asked has left."""
        self.answering.discard(self)
        self.can_write.set()

    def data_received(self, data: bytes) -> None:
        """A request, which the client sends in one packet or two: its body ends in a brace."""
        if data.endswith(b"}"):
            self.answering.add(self)
            self.transport.write(HEAD)
            self.telling = asyncio.create_task(self.tell() if self.pause_seconds else self.flood())

    async def tell(self) -> None:
        """All deltas and the end."""
        for _ in range(DELTAS):
            if self.transport.is_closing():
                return
            self.transport.write(DELTA)
            await asyncio.sleep(self.pause_seconds)
        self.transport.write(END)
        self.answering.discard(self)

    async def flood(self) -> None:
        """Deltas for as long as somebody is there."""
        while not self.transport.is_closing():
            self.transport.write(LONG_DELTA)
            await self.can_write.wait()
            await asyncio.sleep(0)


async def provide(pause_seconds: float) -> None:
    """Answer every request; on standard input `count` asks how many answers are under way."""
    answering: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(answering, pause_seconds), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(len(answering), flush=True)


async def relay_with_aiohttp(client: Client, handler_cancellation: bool = False) -> None:
    """One handler."""

    async def chat(request: web.Request) -> web.StreamResponse:
        return await stream_response(request, client.stream("hi"))

    app = web.Application()
    app.router.add_post("/chat", chat)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=handler_cancellation)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


async def relay_with_fastapi(client: Client) -> None:
    """One route, served by uvicorn."""
    app = FastAPI()

    @app.post("/chat")
    async def chat() -> StreamResponse:
        return StreamResponse(client.stream("hi"))

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False, backlog=4096))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  # uvicorn has no event to wait for
        await asyncio.sleep(0.01)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


async def read_alone(client: Client) -> None:
    """As many streams as the line on standard input says, each iterated to its end."""

    async def read() -> None:
        async for _ in client.stream("hi"):
            pass

    print(0, flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        await asyncio.gather(*(read() for _ in range(int(line))))
        print("done", flush=True)


async def run_role(role: str, provider_port: str) -> None:
    """A measured process."""
    async with Client(base_url=f"http://127.0.0.1:{provider_port}/", api_key="none") as client:
        await ROLES[role](client)


ROLES = {
    "client": read_alone,
    "aiohttp.web": relay_with_aiohttp,
    "aiohttp.web, cancelling": partial(relay_with_aiohttp, handler_cancellation=True),
    "FastAPI": relay_with_fastapi,
}


class Process:
    """One of the roles, in a process of its own on a core."""

    def __init__(self, core: int, *arguments: str) -> None:
        self.popen = subprocess.Popen(  # noqa: S603  # this file
            [sys.executable, __file__, "--role", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        os.sched_setaffinity(self.popen.pid, {core})
        self.port = int(self.popen.stdout.readline())

    def cpu_seconds(self) -> float:
        """User and system time so far (proc(5), stat)."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def held(self) -> tuple[int, float]:
        """Open files, sockets among them, and resident megabytes (proc(5), fd and statm)."""
        pages = int(Path(f"/proc/{self.popen.pid}/statm").read_text().split()[1])
        return len(list(Path(f"/proc/{self.popen.pid}/fd").iterdir())), pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def ask(self, line: str) -> str:
        """Say a line and read one."""
        self.popen.stdin.write(line + "\n")
        self.popen.stdin.flush()
        return self.popen.stdout.readline().strip()

    def stop(self) -> None:
        """End it by the end of its input."""
        self.popen.stdin.close()
        self.popen.stdout.close()
        self.popen.wait()


@asynccontextmanager
async def browser(port: int) -> AsyncIterator[asyncio.StreamReader]:
    """A browser that has asked."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    try:
        yield reader
    finally:
        writer.transport.abort()


async def browse(port: int) -> None:
    """Read one answer to its end."""
    async with browser(port) as reader:
        end = b""
        while data := await reader.read(2**16):
            end = (end + data)[-8:]
            if end.endswith(b"\r\n0\r\n\r\n"):
                return
    raise RuntimeError("the answer was cut")


async def measure(process: Process, streams: int) -> float:
    """CPU seconds of so many streams at once."""
    before = process.cpu_seconds()
    if process.port:
        await asyncio.gather(*(browse(process.port) for _ in range(streams)))
    else:
        await asyncio.to_thread(process.ask, str(streams))
    return process.cpu_seconds() - before


async def storm(provider: Process, relay: Process, streams: int, settle_seconds: float = 0.0) -> float:
    """Seconds from the moment all browsers leave until nothing is answered any more."""

    async def read_some() -> None:
        async with browser(relay.port) as reader:
            await reader.read(2**16)
            begun.release()
            await leaving.wait()

    begun, leaving = asyncio.Semaphore(0), asyncio.Event()
    browsers = asyncio.gather(*(read_some() for _ in range(streams)))
    for _ in range(streams):
        await begun.acquire()
    await asyncio.sleep(settle_seconds)
    started = time.monotonic()
    leaving.set()
    await browsers
    while provider.ask("count") != "0":  # noqa: ASYNC110  # of another process
        await asyncio.sleep(0.001)
    return time.monotonic() - started


async def leaving(provider: Process, core: int, role: str, settle_seconds: float) -> float:
    """The longest of twenty times that it takes after one browser has left."""
    relay = Process(core, role, str(provider.port))
    seconds = [await storm(provider, relay, 1, settle_seconds) for _ in range(20)]
    relay.stop()
    return max(seconds)


async def compare(options: argparse.Namespace) -> None:
    """Run and print."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    talking, silent, flooding = (Process(cores[0], "provider", pause) for pause in (str(options.pause), "3600", "0"))
    measured = {role: Process(cores[-1], role, str(talking.port)) for role in ROLES}
    for process in measured.values():
        await measure(process, options.streams)
    before = {role: process.held() for role, process in measured.items()}
    rounds = [
        {role: await measure(process, options.streams) for role, process in measured.items()} for _ in range(options.rounds)
    ]
    for role, process in measured.items():
        seconds = statistics.median(result[role] for result in rounds)
        ratio = statistics.median(result[role] / result["client"] for result in rounds)
        microseconds = seconds / (options.streams * DELTAS) * 1e6
        line = f"{role:24}{seconds:6.2f} s CPU  {microseconds:5.1f} µs a delta  {ratio:5.2f} x"
        if process.port:
            storms = [await storm(talking, process, options.streams) for _ in range(options.rounds)]
            waiting = await leaving(silent, cores[-1], role, 0.0)
            writing = await leaving(flooding, cores[-1], role, 0.2)
            line += f"  leaving {waiting * 1e3:3.0f} ms, writing {writing * 1e3:3.0f} ms  storm {max(storms):.2f} s"
        (files, megabytes), (files_after, megabytes_after) = before[role], process.held()
        print(f"{line}  files {files} -> {files_after}  MB {megabytes:.0f} -> {megabytes_after:.0f}", flush=True)
    for process in (*measured.values(), talking, silent, flooding):
        process.stop()


def main() -> None:
    """Be one of the processes, or run them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pause", type=float, default=0.03, help="seconds between the deltas of a stream")
    parser.add_argument("--role", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role is None:
        asyncio.run(compare(options))
    elif options.role[0] == "provider":
        asyncio.run(provide(float(options.role[1])))
    else:
        asyncio.run(run_role(*options.role))


if __name__ == "__main__":
    main()
