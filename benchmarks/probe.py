"""One measurement in a process of its own: `python probe.py CORE PORT CLIENT WORK STREAMS LOOP` prints it as JSON.

CPU is user and system time of the process. Memory is what the peak of the resident size rose by. A loop is `asyncio`, `uvloop`,
`watched`, which is asyncio with a note of the longest time between two looks at the sockets: nothing else gets its turn then, or
`profiled`, which is asyncio with the functions that take most to standard error. A decoder needs neither port, streams nor loop.
"""

import asyncio
import cProfile
import gc
import json
import os
import pstats
import resource
import selectors
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from clients import CLIENTS, DECODERS, Decode, Generate, OpenClient
from inputs import decoder_pieces, text_events

Measures = dict[str, float | int | None]


class Watch(selectors.DefaultSelector):
    """A selector that notes the longest time for which the loop did not ask it."""

    longest_seconds = 0.0
    _returned: float | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready."""
        if self._returned is not None:
            self.longest_seconds = max(self.longest_seconds, time.monotonic() - self._returned)
        ready = super().select(timeout)
        self._returned = time.monotonic()
        return ready

    def restart(self) -> None:
        """Forget what was."""
        self.longest_seconds, self._returned = 0.0, None


def memory_bytes(field: str) -> int:
    """A field of /proc/self/status."""
    return int(Path("/proc/self/status").read_text().split(f"{field}:")[1].split()[0]) * 1024


def reset_peak_memory() -> None:
    """Let VmHWM begin anew: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


async def warm_up(generate: Generate, work: str) -> None:
    """Let Python specialise its code and the session open its first connection."""
    await generate("text-1000", lambda: None)
    if work.startswith("image"):
        await generate("image-1", lambda: None)
    gc.collect()


async def measure_run(generate: Generate, work: str, streams: int, watch: Watch) -> Measures:
    """CPU, time and memory from the first request to the end of the last stream."""
    begun_at: list[float] = []
    reset_peak_memory()
    before = memory_bytes("VmRSS")
    watch.restart()
    started, started_cpu = time.monotonic(), time.process_time()
    delivered = await asyncio.gather(*(generate(work, lambda: begun_at.append(time.monotonic())) for _ in range(streams)))
    cpu_seconds, seconds = time.process_time() - started_cpu, time.monotonic() - started
    return {
        "cpu_seconds": cpu_seconds,
        "seconds": seconds,
        "peak_bytes": memory_bytes("VmHWM") - before,
        "longest_hold_seconds": watch.longest_seconds or None,
        "first_event_seconds": median(begun_at) - started,
        "characters": delivered[0].characters,
        "image_bytes": delivered[0].image_bytes,
    }


async def measure_idle(generate: Generate, streams: int) -> Measures:
    """What an open stream takes whose first event has come."""
    all_open, opened = asyncio.Event(), 0

    def begun() -> None:
        nonlocal opened
        opened += 1
        if opened == streams:
            all_open.set()

    before = memory_bytes("VmRSS")
    tasks = [asyncio.create_task(generate("idle", begun)) for _ in range(streams)]
    await all_open.wait()
    gc.collect()
    taken = memory_bytes("VmRSS") - before
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {"bytes_per_stream": taken / streams}


async def measure(client: str, url: str, work: str, streams: int, watch: Watch) -> Measures:
    """Open the client, warm it up, and let it work."""
    async with client_named(client)(url) as generate:
        await warm_up(generate, work)
        if work == "idle":
            return await measure_idle(generate, streams)
        return await measure_run(generate, work, streams, watch)


def profiled(run: Callable[[], Measures]) -> Measures:
    """What the run measured; the functions that took most of it, without what they called, go to standard error."""
    profile = cProfile.Profile()
    measures = profile.runcall(run)
    pstats.Stats(profile, stream=sys.stderr).strip_dirs().sort_stats("tottime").print_stats(25)
    return measures


def measure_decoding(decode: Decode, pieces: list[bytes]) -> Measures:
    """Making events of the pieces, and letting go of each."""
    gc.collect()
    started = time.process_time()
    for _ in decode(pieces):
        pass
    return {"cpu_seconds": time.process_time() - started}


def client_named(name: str) -> OpenClient:
    """The client; the packages of others are loaded only where one of them is asked for."""
    if name in CLIENTS:
        return CLIENTS[name]
    from peers import PEERS

    return PEERS[name]


def decoder_named(name: str) -> Decode:
    """As `client_named`."""
    if name in DECODERS:
        return DECODERS[name]
    from peers import PEER_DECODERS

    return PEER_DECODERS[name]


def new_loop(kind: str, watch: Watch) -> asyncio.AbstractEventLoop:
    """The event loop that was asked for."""
    if kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return asyncio.SelectorEventLoop(watch if kind == "watched" else None)


def main() -> None:
    """Measure what the arguments say."""
    core, port, client, work, streams, loop = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    most_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    if client.endswith(" decoder"):
        measure_decoding(decoder_named(client), text_events(1000))
        print(json.dumps(measure_decoding(decoder_named(client), decoder_pieces(work))))
        return
    watch = Watch()
    with asyncio.Runner(loop_factory=lambda: new_loop(loop, watch)) as runner:

        def run() -> Measures:
            return runner.run(measure(client, f"http://127.0.0.1:{port}", work, int(streams), watch))

        print(json.dumps(profiled(run) if loop == "profiled" else run()))


if __name__ == "__main__":
    main()
