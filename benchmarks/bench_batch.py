"""What a batch costs and keeps to: `python benchmarks/bench_batch.py cost|limits|kills|journal|million`. Nothing is written here.

`cost`     10,000 prompts, 64 at once with a journal, beside a bare loop of `client.generate` under a semaphore, in fresh processes
           in turn: CPU time of the process alone, ratios per round; and what its memory grew by from item 1,000 to item 10,000.
`limits`   a server that takes 600, then 100, then 600 requests a minute, in real time, of three kinds side by side; all figures
           are from the server's own record. Counted is from the 20th second of each phase on; of windows of a minute from the
           second window on, as the first may be used up by then, and must be waited for to its end.
`kills`    2,000 pictures, SIGKILL at 20 random moments, run again each time: journal, server and files are compared.
`journal`  100,000 items written one by one and read again, as the journal does it and in SQLite, WAL mode.
`million`  a JSON Lines file of a million prompts, read lazily by a dry run: what a prompt takes of memory.

The emulator is a process of its own, on another core where there are two.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import random
import resource
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from or_stream import BatchItem, Client, Message
from or_stream.batching import batch, read_journal
from or_stream.batching.records import Journal, Task
from or_stream.emulator import Comment, Emulator, FixedWindow, Scenario, TokenBucket, Wait, scenarios

MODEL = "google/gemini-3.1-flash-image"
ALLOWED_PER_MINUTE = (600, 100, 600)
FIRST_SECONDS = 20
IN_FLIGHT_SECONDS = 0.25
MEGABYTE = 1e6


class ChangingLimit:
    """One limit after the other, each for a while from the first request on. `record` is when each request came, and the
    Retry-After it was refused with, 0 where it was taken.
    """

    def __init__(self, limits: list[FixedWindow | TokenBucket], phase_seconds: float) -> None:
        self.limits = limits
        self.phase_seconds = phase_seconds
        self.record: list[tuple[float, int]] = []
        self.began = 0.0

    def take(self, now_seconds: float) -> Any:
        """Count one request at that time; None where it is taken."""
        self.began = self.began or now_seconds
        phase = int((now_seconds - self.began) / self.phase_seconds)
        refusal = self.limits[min(phase, len(self.limits) - 1)].take(now_seconds)
        self.record.append((now_seconds - self.began, 0 if refusal is None else refusal.retry_after_seconds))
        return refusal


def limit_of(kind: str, per_minute: int) -> FixedWindow | TokenBucket:
    """`bucket`, or `window-12` of so many seconds."""
    name, _, seconds = kind.partition("-")
    if name == "bucket":
        return TokenBucket(requests_per_second=per_minute / 60, burst=10)
    return FixedWindow(requests=per_minute * int(seconds) // 60, seconds=int(seconds))


async def provide_limited(kind: str, phase_seconds: str) -> None:
    """Answers that take two seconds. A line on standard input asks for the record."""
    limit = ChangingLimit([limit_of(kind, per_minute) for per_minute in ALLOWED_PER_MINUTE], float(phase_seconds))
    text = scenarios.text("one two")
    slow = Scenario((Comment(), Wait(2), *text.steps))
    async with Emulator(scenario=slow, rate_limit=limit) as emulator:
        await say(emulator, lambda: limit.record)


async def say(emulator: Emulator, figures: Any) -> None:
    """The address, and the figures for each line on standard input."""
    print(emulator.base_url, flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps(figures()), flush=True)


async def run_limited(address: str, seconds: str) -> None:
    """A batch without end, left after a while."""
    async with Client(api_key="k", base_url=address) as client:
        prompts = (f"prompt {number}" for number in itertools.count())
        async with batch(prompts, client=client, model=MODEL, modalities=["text"], concurrency=64) as running:
            try:
                async with asyncio.timeout(float(seconds)):
                    async for item in running:
                        assert item.error is None, item.error
            except TimeoutError:
                print(running.stats)


ROLES = {"provide_limited": provide_limited, "run_limited": run_limited}


class Process:
    """One of the roles in a process of its own, on the first core or on the last."""

    def __init__(self, role: str, *arguments: object, core: int = -1) -> None:
        self.popen = subprocess.Popen(  # noqa: S603  # this file
            [sys.executable, __file__, "--role", role, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.popen.pid, {sorted(os.sched_getaffinity(0))[core]})

    def line(self) -> str:
        """The next line that it prints."""
        return self.popen.stdout.readline().strip()

    def ask(self) -> Any:
        """The figures of a provider."""
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()
        return json.loads(self.line())

    def stop(self) -> None:
        """End it by the end of its input, and wait."""
        self.popen.stdin.close()
        self.popen.stdout.close()
        self.popen.wait()


def limits(options: argparse.Namespace) -> None:
    """All kinds at once: they are idle most of the time."""
    pairs = {}
    for kind in options.kinds:
        phase_seconds = max(options.phase, 180) if kind == "window-60" else options.phase
        provider = Process("provide_limited", kind, phase_seconds, core=0)
        pairs[kind, phase_seconds] = provider, Process("run_limited", provider.line(), 3 * phase_seconds)
    print("| limit | used of 600, 100, 600 a minute | requests | refused | early |\n|---|---|---|---|---|")
    for (kind, phase_seconds), (provider, client) in pairs.items():
        client.line()
        record = provider.ask()
        if options.keep:
            Path(options.keep, f"limits-{kind}.json").write_text(json.dumps(record))
        first_seconds = 60 if kind == "window-60" else FIRST_SECONDS
        used = ", ".join(f"{used_of(record, *phase, phase_seconds, first_seconds):.1%}" for phase in enumerate(ALLOWED_PER_MINUTE))
        refused = sum(retry_after > 0 for _, retry_after in record)
        print(f"| {kind} | {used} | {len(record)} | {refused / len(record):.1%} | {early_in(record)} |", flush=True)
        client.stop()
        provider.stop()


def used_of(record: list[tuple[float, int]], phase: int, per_minute: int, phase_seconds: float, first_seconds: float) -> float:
    """The part of what a phase allows that was taken, from so many seconds on."""
    begin, end = phase * phase_seconds + first_seconds, (phase + 1) * phase_seconds
    taken = sum(begin <= at < end for at, retry_after in record if not retry_after)
    return taken / (per_minute * (end - begin) / 60)


def early_in(record: list[tuple[float, int]]) -> int:
    """Requests that came before a Retry-After was over, and were not on their way when it was said."""
    told = until = -1.0
    early = 0
    for at, retry_after in record:
        early += told + IN_FLIGHT_SECONDS < at < until
        if retry_after:
            told = at if at >= until else told
            until = max(until, at + retry_after)
    return early


def main() -> None:
    """Be one of the processes, or run them."""
    if sys.argv[1:2] == ["--role"]:
        asyncio.run(ROLES[sys.argv[2]](*sys.argv[3:]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = parser.add_subparsers(dest="work", required=True)
    limited = works.add_parser("limits")
    limited.add_argument("--phase", type=float, default=120, help="seconds of a phase; with windows of a minute at least 180")
    limited.add_argument("--kinds", nargs="+", default=["bucket", "window-12", "window-60"])
    limited.add_argument("--keep", help="a folder for the records")
    limited.set_defaults(measure=limits)
    options = parser.parse_args()
    options.measure(options)


if __name__ == "__main__":
    main()
