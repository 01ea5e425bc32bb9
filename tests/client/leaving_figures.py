"""How soon a server sees that a stream was left, in each way there is, and what a thousand of them leave behind.

    PYTHONPATH=tests:tests/client python -X dev -W error tests/client/leaving_figures.py

Prints the median and the slowest of some streams a way, then the memory of this process and its sockets, tasks and objects after
each thousand abandoned streams. It fails where a median is over a tenth of a second. docs/errors.md keeps the result.
"""

import asyncio
import gc
import logging
import statistics
import subprocess
import sys
import time
from pathlib import Path

import test_leaving
from test_leaving import Holder, busy

from or_stream import Client
from or_stream.emulator import Emulator

STREAMS = 11
CHILD = """
import asyncio, os, sys, time
from or_stream import TextDelta, stream
async def main(way):
    global stream_, events
    stream_ = stream("x", model="emulator/text-for-ever")
    events = aiter(stream_)
    while not isinstance(await anext(events), TextDelta): pass
    if way == "a cancelled main task": asyncio.get_running_loop().call_later(0.05, asyncio.current_task().cancel)
    while way == "a cancelled main task": await anext(events)
    print(time.monotonic(), flush=True)
    if way == "interpreter exit": sys.exit()
way = sys.argv[1]
try: asyncio.run(main(way))
except asyncio.CancelledError: print(time.monotonic(), flush=True)
"""
SERVER = """
import asyncio, sys
from or_stream.emulator import Emulator, scenarios
async def main():
    async with Emulator() as emulator:
        emulator.scenario = scenarios.text_for_ever()
        print(emulator.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""
OF_PROCESSES = ["loop shutdown", "interpreter exit", "a cancelled main task"]


def report(name: str, seconds: list[float]) -> bool:
    median = statistics.median(seconds)
    print(f"| {name} | {median * 1000:.1f} | {max(seconds) * 1000:.1f} |", flush=True)
    return median < 0.1


async def in_this_process(emulator: Emulator, client: Client, way) -> list[float]:
    seconds, kept = [], []
    for _ in range(STREAMS):
        emulator.play(busy())
        holder = Holder(client.stream("x"))
        kept.append(holder)
        number = len(emulator.requests)
        await way(holder)
        left_at = time.monotonic()
        async with asyncio.timeout(5):
            await emulator.requests[number].disconnected.wait()
        seconds.append(time.monotonic() - left_at)
    return seconds


async def in_another(emulator: Emulator, way: str) -> list[float]:
    seconds = []
    environment = {"OPENROUTER_BASE_URL": emulator.base_url, "OPENROUTER_API_KEY": "k", "PYTHONPATH": str(test_leaving.SOURCE)}
    for _ in range(STREAMS):
        number = len(emulator.requests)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "dev", "-W", "error", "-c", CHILD, way, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        await emulator.received(number + 1)
        await emulator.requests[number].disconnected.wait()
        seen_at = time.monotonic()
        output, complaints = await child.communicate()
        said = [line for line in complaints.decode().splitlines() if not line.startswith("Executing <")]
        if said or child.returncode:
            raise SystemExit(f"{way}: {said}")
        seconds.append(max(0.0, seen_at - float(output.split()[-1])))
    return seconds


def resident_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


async def abandon_a_thousand(client: Client) -> None:
    gate = asyncio.Semaphore(50)

    async def abandon(number: int) -> None:
        async with gate:
            async for event in client.stream("x"):
                if test_leaving.first_text(event) or number % 3 == 0:
                    break

    await asyncio.gather(*(abandon(number) for number in range(1000)))
    await asyncio.sleep(0.5)
    gc.collect()


def left_behind() -> str:
    kinds = ("ChatStream", "Pipeline", "Response")
    objects = sum(type(thing).__name__ in kinds for thing in gc.get_objects())
    files = len(list(Path("/proc/self/fd").iterdir()))
    return f"{resident_megabytes():.1f} | {files} | {len(asyncio.all_tasks())} | {objects} |"


async def abandon_thousands() -> None:
    """The server is another process: the emulator keeps what it was asked."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, **pipes)
    base_url = (await server.stdout.readline()).decode().strip()
    print("\n| abandoned | memory, MB | sockets and files | tasks | streams, pipelines, responses |\n|---|---|---|---|---|")
    async with Client(base_url=base_url, api_key="k") as client:
        for thousands in range(1, 9):
            await abandon_a_thousand(client)
            print(f"| {thousands},000 | {left_behind()}", flush=True)
    server.stdin.close()
    await server.wait()


async def main() -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # callbacks that were slow, which on a loaded machine they are
    print(f"Python {sys.version.split()[0]}\n\n| way | median, ms | slowest, ms |\n|---|---|---|")
    async with Emulator() as emulator, Client(base_url=emulator.base_url, api_key="k") as client:
        is_prompt = [
            report(way.__name__.removeprefix("by_").replace("_", " "), await in_this_process(emulator, client, way))
            for way in test_leaving.WAYS
        ]
        is_prompt += [report(way, await in_another(emulator, way)) for way in OF_PROCESSES]
    await abandon_thousands()
    if not all(is_prompt):
        raise SystemExit("a median is over a tenth of a second")


asyncio.run(main())
