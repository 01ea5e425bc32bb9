"""CPU and memory of the whole public path against two floors, in one interleaved run: `python benchmarks/bench_client.py`.

The server is a process of its own on another core. `raw` reads and throws away with aiohttp; `parsed` splits lines and parses
each event to dicts with pydantic_core.from_json; `or_stream` and `or_stream, save_to` iterate `client.stream(...)`. Ratios are
per round, then their median: only they mean something on a shared machine. See README.md for how to read the table.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
from pydantic_core import from_json

from or_stream import Client

Run = Callable[[str], Awaitable[None]]


@contextlib.asynccontextmanager
async def response(url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A plain aiohttp answer, with the settings that or_stream uses."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout, read_bufsize=2**18) as session,
        session.post(f"{url}chat/completions", data=b"{}") as answer,
    ):
        yield answer


async def raw(url: str) -> None:
    """Read and discard."""
    async with response(url) as answer:
        async for _ in answer.content.iter_any():
            pass


async def parsed(url: str) -> None:
    """Read, split, parse to dicts."""
    rest = b""
    async with response(url) as answer:
        async for data in answer.content.iter_any():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.startswith(b"data: {"):
                    from_json(line[6:])


async def or_stream(url: str) -> None:
    """The public path, images in memory."""
    async with Client(base_url=url, api_key="none") as client:
        async for _ in client.stream("hi"):
            pass


async def or_stream_saving(url: str) -> None:
    """The public path, images into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        async with Client(base_url=url, api_key="none") as client:
            async for _ in client.stream("hi", save_to=folder):
                pass


WORK: dict[str, dict[str, Run]] = {
    "text-20000": {"parsed": parsed, "raw": raw, "or_stream": or_stream},
    "image-5": {"raw": raw, "or_stream": or_stream, "or_stream, save_to": or_stream_saving},
    "image-20": {"raw": raw, "or_stream": or_stream, "or_stream, save_to": or_stream_saving},
    "image-50": {"raw": raw, "or_stream": or_stream, "or_stream, save_to": or_stream_saving},
}


def memory_megabytes(field: str) -> float:
    """A field of /proc/self/status."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def reset_peak_memory() -> None:
    """Let VmHWM begin anew (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


async def measure(run: Run, url: str) -> tuple[float, float]:
    """(CPU milliseconds, megabytes of memory above what there was)."""
    reset_peak_memory()
    before, started = memory_megabytes("VmRSS"), time.process_time()
    await run(url)
    return (time.process_time() - started) * 1e3, memory_megabytes("VmHWM") - before


async def compare(port: int, rounds: int) -> list[dict[str, object]]:
    """The rows of the table; the first entry of each kind of work is what the others are compared with."""
    rows: list[dict[str, object]] = []
    for work, runs in WORK.items():
        url = f"http://127.0.0.1:{port}/{work}/"
        for run in runs.values():
            await run(url)
        results = [{name: await measure(run, url) for name, run in runs.items()} for _ in range(rounds)]
        floor = next(iter(runs))
        for name in runs:
            milliseconds = [result[name][0] for result in results]
            rows.append(
                {
                    "work": work,
                    "client": name,
                    "cpu_milliseconds": round(statistics.median(milliseconds), 1),
                    "cpu_ratio": round(statistics.median(result[name][0] / result[floor][0] for result in results), 2),
                    "peak_megabytes": round(max(result[name][1] for result in results), 1),
                }
            )
    return rows


def main() -> None:
    """Run, print the table, and keep the results where `--json` says."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    server = subprocess.Popen(  # noqa: S603  # our own server
        [sys.executable, str(Path(__file__).with_name("server.py")), str(cores[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    os.sched_setaffinity(0, {cores[-1]})
    with server:
        rows = asyncio.run(compare(int(server.stdout.readline()), options.rounds))
        server.stdin.close()
    for row in rows:
        print("{work:12} {client:20} {cpu_milliseconds:9} ms {cpu_ratio:6} x {peak_megabytes:8} MB".format(**row))
    if options.json:
        machine = {
            "python": platform.python_version(),
            "aiohttp": aiohttp.__version__,
            "machine": platform.processor() or platform.machine(),
        }
        options.json.write_text(json.dumps({"machine": machine, "rounds": options.rounds, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
