"""What a relay costs beside the client alone: `python benchmarks/bench_relay.py [--streams 500] [--rounds 3]`.

500 streams of 200 deltas at once, every delta in a packet of its own. `client` iterates `client.stream(...)` and does nothing;
the relays do the same and serve a browser each. Provider and browsers are other processes on another core. The CPU time is that
of the measured process alone; ratios are per round, then their median. `leaving` is the time from a browser's leaving, while the
model is silent, until the provider has lost the connection (median of 20), `storm` the same when all leave at once.
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
END = chunk({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection of the provider: each request is answered with so many deltas, in their time."""

    def __init__(self, connections: "set[Connection]", pause_seconds: float) -> None:
        self.connections = connections
        self.pause_seconds = pause_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it."""
        self.transport = transport
        self.connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Count it no more."""
        self.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        """A request, which the client sends in one packet or two: its body ends in a brace."""
        if data.endswith(b"}"):
            self.transport.write(HEAD)
            self.tell(DELTAS)

    def tell(self, left: int) -> None:
        """The next delta, or the end."""
        if self.transport.is_closing():
            return
        self.transport.write(DELTA if left else END)
        if left:
            asyncio.get_running_loop().call_later(self.pause_seconds, self.tell, left - 1)


async def provide(pause_seconds: float) -> None:
    """Answer every request with so many deltas; on standard input `count` asks how many connections there are."""
    connections: set[Connection] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(connections, pause_seconds), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(len(connections), flush=True)


async def relay_with_aiohttp(client: Client) -> None:
    """One handler."""

    async def chat(request: web.Request) -> web.StreamResponse:
        return await stream_response(request, client.stream("hi"))

    app = web.Application()
    app.router.add_post("/chat", chat)
    runner = web.AppRunner(app, access_log=None)
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
    roles = {"client": read_alone, "aiohttp.web": relay_with_aiohttp, "FastAPI": relay_with_fastapi}
    async with Client(base_url=f"http://127.0.0.1:{provider_port}/", api_key="none") as client:
        await roles[role](client)


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


async def storm(provider: Process, relay: Process, streams: int) -> float:
    """Seconds from the moment all browsers leave until the provider has lost its last connection."""

    async def read_some() -> None:
        async with browser(relay.port) as reader:
            await reader.read(2**16)
            begun.release()
            await leaving.wait()

    begun, leaving = asyncio.Semaphore(0), asyncio.Event()
    browsers = asyncio.gather(*(read_some() for _ in range(streams)))
    for _ in range(streams):
        await begun.acquire()
    started = time.monotonic()
    leaving.set()
    await browsers
    while provider.ask("count") != "0":  # noqa: ASYNC110  # of another process
        await asyncio.sleep(0.001)
    return time.monotonic() - started


async def leave_alone(provider: Process, relay: Process) -> float:
    """The same for one browser that leaves while the model is silent, the median of twenty."""
    return statistics.median([await storm(provider, relay, 1) for _ in range(20)])


async def compare(options: argparse.Namespace) -> None:
    """Run and print."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[0]})
    provider = Process(cores[0], "provider", str(options.pause))
    silent = Process(cores[0], "provider", "3600")
    measured = {role: Process(cores[-1], role, str(provider.port)) for role in ("client", "aiohttp.web", "FastAPI")}
    for process in measured.values():
        await measure(process, min(options.streams, 50))
    rounds = [
        {role: await measure(process, options.streams) for role, process in measured.items()} for _ in range(options.rounds)
    ]
    for role, process in measured.items():
        seconds = statistics.median(result[role] for result in rounds)
        ratio = statistics.median(result[role] / result["client"] for result in rounds)
        microseconds = seconds / (options.streams * DELTAS) * 1e6
        line = f"{role:12} {seconds:6.2f} s CPU  {microseconds:6.1f} µs a delta  {ratio:5.2f} x the client"
        if process.port:
            silent_relay = Process(cores[-1], role, str(silent.port))
            line += f"  leaving: {await leave_alone(silent, silent_relay) * 1e3:.0f} ms"
            silent_relay.stop()
            storms = [await storm(provider, process, options.streams) for _ in range(options.rounds)]
            line += f"  storm: {statistics.median(storms):.2f} s"
        print(line)
    for process in (*measured.values(), provider, silent):
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
