"""The processes of bench_batch.py: `python batch_roles.py ROLE ARGUMENT...`. What each has measured it prints as JSON.

A provider prints its address, and then its figures for each line on standard input, until that ends.
"""

import asyncio
import hashlib
import itertools
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from or_stream import BatchItem, Client, Message
from or_stream.batching import batch
from or_stream.batching.records import Journal, Task
from or_stream.emulator import Comment, Emulator, FixedWindow, RecordedRequest, Scenario, TokenBucket, Wait, scenarios

MODEL = "google/gemini-3.1-flash-image"
ALLOWED_PER_MINUTE = (600, 100, 600)
KILLED_AT_ONCE = 16
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


async def provide_text() -> None:
    """Short answers at once, to as many as ask."""
    async with Emulator(scenario=scenarios.text("one two three four five six seven eight")) as emulator:
        await say(emulator, lambda: emulator.peak_active)


async def provide_pictures() -> None:
    """A picture of 100 kB each, a packet every 2 ms. The record is how often each prompt was asked for."""
    asked: Counter[str] = Counter()
    picture = scenarios.text_and_images(byte_size=100_000).cut(16384, 0.002)

    def answer(request: RecordedRequest) -> Scenario:
        asked[request.body["messages"][-1]["content"]] += 1
        return picture

    async with Emulator(script=answer) as emulator:
        await say(emulator, lambda: {"asked": asked, "bill": {entry.generation_id: entry.cost for entry in emulator.bill}})


async def say(emulator: Emulator, figures: Callable[[], Any]) -> None:
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


async def run_batch(address: str, count: str, concurrency: str, journal: str) -> None:
    """The batch that is measured."""
    meter = Meter(int(count))
    async with Client(api_key="k", base_url=address) as client:
        prompts = (f"prompt {number}" for number in range(int(count)))
        options = {"model": MODEL, "modalities": ["text"], "concurrency": int(concurrency), "journal": journal or None}
        async for item in batch(prompts, client=client, **options):
            meter.ended(item.message)
    meter.print()


async def run_loop(address: str, count: str, concurrency: str) -> None:
    """What one would write without a batch, and no less."""
    meter = Meter(int(count))
    semaphore = asyncio.Semaphore(int(concurrency))

    async def ask(prompt: str) -> None:
        try:
            meter.ended(await client.generate(prompt, model=MODEL, modalities=["text"]))
        finally:
            semaphore.release()

    async with Client(api_key="k", base_url=address) as client, asyncio.TaskGroup() as group:
        for number in range(int(count)):
            await semaphore.acquire()
            group.create_task(ask(f"prompt {number}"))
    meter.print()


async def run_pictures(address: str, journal: str, folder: str, count: str) -> None:
    """The batch that is killed."""
    prompts = (f"picture {number}" for number in range(int(count)))
    options = {"model": MODEL, "concurrency": KILLED_AT_ONCE, "journal": journal, "save_to": folder, "skip_finished": True}
    async with Client(api_key="k", base_url=address) as client:
        running = batch(prompts, client=client, **options)
        async for item in running:
            assert item.error is None, item.error
    print(json.dumps({"cost": running.stats.cost, "unsettled": running.stats.unsettled}))


async def write_journal(kind: str, path: str, count: str) -> None:
    """Write every item in a transaction of its own."""
    started = time.perf_counter()
    with SqliteJournal(path) if kind == "sqlite" else Journal(path) as journal:
        for task in tasks(int(count)):
            journal.begun(task.key, f"gen-{task.index}")
            journal.ended(task, item_of(task))
    size = sum(file.stat().st_size for file in Path(path).parent.iterdir())
    print(json.dumps({"seconds": time.perf_counter() - started, "megabytes": size / MEGABYTE}))


async def read_back(kind: str, path: str, count: str) -> None:
    """Open it, as a second run does, and look up every item."""
    started = time.perf_counter()
    with SqliteJournal(path) if kind == "sqlite" else Journal(path) as journal:
        opened = time.perf_counter()
        found = sum(journal.finished(task) is not None for task in tasks(int(count)))
    assert found == int(count), found
    ended = time.perf_counter()
    print(json.dumps({"open": opened - started, "look_up": ended - opened}))


async def run_million(path: str, address: str) -> None:
    """A dry run over the file."""
    async with Client(api_key="k", base_url=address) as client:
        with Path(path).open(encoding="utf-8") as lines:  # noqa: ASYNC230  # lazy reading is what is measured
            running = batch(map(json.loads, lines), client=client, model=MODEL, dry_run=True)
            await batch(["any"], client=client, model=MODEL, dry_run=True).collect()
            before, started = resident_megabytes(), time.process_time()
            await running.collect()
        cpu_seconds = time.process_time() - started
    grown = resident_megabytes() - before
    print(json.dumps({"prompts": running.stats.total, "megabytes": grown, "cpu_seconds": cpu_seconds}))


def resident_megabytes() -> float:
    """What the process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE


class Meter:
    """CPU time of this process from the first item to the last, and its memory after a tenth of them and after all."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.ended_count = 0
        self.megabytes: list[float] = []
        self.cpu_seconds = time.process_time()

    def ended(self, message: Message | None) -> None:
        """An item has ended."""
        assert message is not None
        assert message.text
        self.ended_count += 1
        if self.ended_count in (self.count // 10, self.count):
            self.megabytes.append(resident_megabytes())

    def print(self) -> None:
        """As JSON."""
        begin, end = self.megabytes
        print(json.dumps({"cpu_seconds": time.process_time() - self.cpu_seconds, "grown": end - begin, "megabytes": end}))


class SqliteJournal:
    """The same records in a table by key; WAL and NORMAL are what gives the safety of a write without fsync."""

    def __init__(self, path: str) -> None:
        self.database = sqlite3.connect(path, isolation_level=None)
        self.database.execute("PRAGMA journal_mode=WAL")
        self.database.execute("PRAGMA synchronous=NORMAL")
        self.database.execute("CREATE TABLE IF NOT EXISTS items (key TEXT PRIMARY KEY, request TEXT, record TEXT, message TEXT)")
        self.database.execute("CREATE TABLE IF NOT EXISTS begun (generation_id TEXT PRIMARY KEY, key TEXT)")

    def begun(self, key: str, generation_id: str) -> None:
        """A request is under way."""
        self.database.execute("INSERT INTO begun VALUES (?, ?)", (generation_id, key))

    def ended(self, task: Task, item: BatchItem) -> None:
        """The item is done."""
        record = {"index": item.index, "model": item.model, "attempts": item.attempts, "cost": item.cost, "prompt": item.prompt}
        record |= {"seconds": item.seconds, "generation_ids": item.generation_ids}
        message = item.message.model_dump_json(exclude_defaults=True)
        self.database.execute("BEGIN")
        self.database.execute("REPLACE INTO items VALUES (?, ?, ?, ?)", (item.key, task.request, json.dumps(record), message))
        self.database.executemany("DELETE FROM begun WHERE generation_id = ?", ((one,) for one in item.generation_ids))
        self.database.execute("COMMIT")

    def finished(self, task: Task) -> BatchItem | None:
        """The item, if it is done."""
        row = self.database.execute("SELECT record, message FROM items WHERE key = ?", (task.key,)).fetchone()
        return row and BatchItem(key=task.key, message=Message.model_validate_json(row[1]), **json.loads(row[0]))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.database.close()


def tasks(count: int) -> Iterator[Task]:
    """Prompts of a hundred bytes."""
    for number in range(count):
        key = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
        yield Task(number, key, key, f"prompt {number} ".ljust(100, "x"), MODEL, {})


def item_of(task: Task) -> BatchItem:
    """An answer of three hundred bytes."""
    message = Message(text="word " * 60, id=f"gen-{task.index}", model=MODEL, finish_reason="stop")
    return BatchItem(task.index, task.key, task.prompt, MODEL, message, None, 1, 6e-05, 1.25, [f"gen-{task.index}"])


ROLES = {
    role.__name__: role
    for role in (
        *(provide_limited, provide_text, provide_pictures),
        *(run_limited, run_batch, run_loop, run_pictures, run_million),
        *(write_journal, read_back),
    )
}

if __name__ == "__main__":
    asyncio.run(ROLES[sys.argv[1]](*sys.argv[2:]))
