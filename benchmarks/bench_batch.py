"""What a batch costs and keeps to: `python benchmarks/bench_batch.py cost|limits|kills|journal|million`. Nothing is kept.

`cost`     10,000 prompts, 64 at once with a journal, beside a bare loop of `client.generate` under a semaphore, in processes of
           their own in turn: CPU time of the process alone, ratios per round; and what it grew by from item 1,000 to 10,000.
`limits`   a server that takes 600, then 100, then 600 requests a minute, in real time, of three kinds side by side; all figures
           are from the server's own record. Counted is from the 20th second of each phase on; of windows of a minute from the
           second window on, as the first may be used up by then, and must be waited for to its end.
`kills`    2,000 pictures, SIGKILL at 20 random moments, run again each time: journal, server and files are compared.
`journal`  100,000 items written one by one and read again, as the journal does it and in SQLite, WAL mode.
`million`  a JSON Lines file of a million prompts, read lazily by a dry run: what a prompt takes of memory.

The emulator is a process of its own, on another core where there are two.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batch_roles import ALLOWED_PER_MINUTE, KILLED_AT_ONCE, MEGABYTE

from or_stream.batching import read_journal

ROLES = Path(__file__).with_name("batch_roles.py")
FIRST_SECONDS = 20
IN_FLIGHT_SECONDS = 0.25
FIGURES_OF_A_JOURNAL = (("seconds", "s"), ("megabytes", "MB"), ("open", "s"), ("look_up", "s"))


class Process:
    """One of the roles in a process of its own, on the first core or on the last."""

    def __init__(self, role: str, *arguments: object, core: int = -1) -> None:
        self.popen = subprocess.Popen(  # noqa: S603  # our own
            [sys.executable, str(ROLES), role, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
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


def figures_of(role: str, *arguments: object) -> dict[str, Any]:
    """What a process of that role measured, once it has ended."""
    process = Process(role, *arguments)
    line = process.line()
    process.stop()
    return json.loads(line)


def spread(values: list[float], unit: str) -> str:
    """The median, and the range."""
    return f"{statistics.median(values):.3g} {unit} ({min(values):.3g} to {max(values):.3g})"


def cost(options: argparse.Namespace) -> None:
    """In turn, and the other way round every second time."""
    provider = Process("provide_text", core=0)
    address, rounds = provider.line(), []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            size = (address, options.prompts, options.concurrency)
            runs = {
                "loop": ("run_loop", *size),
                "batch": ("run_batch", *size, f"{folder}/run.jsonl"),
                "bare": ("run_batch", *size, ""),
            }
            order = sorted(runs, reverse=number % 2 > 0)
            rounds.append({name: figures_of(*runs[name]) for name in order})
    provider.stop()
    print("| | CPU | of the loop's | memory from a tenth to all |\n|---|---|---|---|")
    for name, title in (("loop", "`generate` in a loop"), ("batch", "batch, with a journal"), ("bare", "batch, without")):
        cpu = [one[name]["cpu_seconds"] for one in rounds]
        ratios = [one[name]["cpu_seconds"] / one["loop"]["cpu_seconds"] for one in rounds]
        grown = [one[name]["grown"] for one in rounds]
        print(f"| {title} | {spread(cpu, 's')} | {spread(ratios, 'x')} | {spread(grown, 'MB')} |")


def kills(options: argparse.Namespace) -> None:
    """Start, kill, look, and start again."""
    dice, provider = random.Random(options.seed), Process("provide_pictures", core=0)
    address = provider.line()
    asked_again_wrongly, most_under_way, asked, moments = 0, 0, Counter[str](), []
    with tempfile.TemporaryDirectory() as folder:
        journal, pictures = Path(folder, "run.jsonl"), Path(folder, "out")
        run = ("run_pictures", address, journal, pictures, options.prompts)
        for number in range(options.kills + 1):
            done = done_in(journal)
            process = Process(*run)
            if number < options.kills:
                wait_for_more(provider, asked, dice.randint(1, options.prompts // options.kills))
                time.sleep(dice.uniform(0, 0.05))
                process.popen.send_signal(signal.SIGKILL)
            said = process.line()
            process.stop()
            now = Counter(provider.ask()["asked"])
            sent, asked = now - asked, now
            asked_again_wrongly += len(set(sent) & done) + sum(count > 1 for count in sent.values())
            under_way = set(sent) - done_in(journal)
            most_under_way = max(most_under_way, len(under_way))
            moments.append(len(done_in(journal)))
        finished = Counter(item.prompt for item in read_journal(journal) if item.error is None)
        images = [image for item in read_journal(journal) if item.message for image in item.message.images]
        whole = sum(hashlib.sha256(image.path.read_bytes()).hexdigest() == image.sha256 for image in images)
        files = sum(file.is_file() for file in pictures.iterdir())
        heard_of = ids_in(journal)
        left = [file.name for file in pictures.iterdir() if not file.is_file()]
    bill = provider.ask()["bill"]
    provider.stop()
    print(f"done after each kill: {moments}")
    print(f"{len(finished)} items, done once each: {set(finished.values()) == {1}}")
    print(f"asked for again: {sum(asked.values()) - len(asked)}, of them without need: {asked_again_wrongly}")
    print(f"under way at a kill: at most {most_under_way} of {KILLED_AT_ONCE}")
    print(f"pictures whole: {whole} of {len(images)}, files: {files}, other things left: {left}")
    figures = json.loads(said)
    unheard = [price for generation_id, price in bill.items() if generation_id not in heard_of]
    print(
        f"bill ${sum(bill.values()):.6f}, ledger ${figures['cost']:.6f}, of which nobody says {figures['unsettled']} costs; ",
        end="",
    )
    print(f"killed before the journal had their ids: {len(unheard)} for ${sum(unheard):.6f}")


def done_in(journal: Path) -> set[str]:
    """The prompts that are done by now."""
    if not journal.exists():
        return set()
    return {str(item.prompt) for item in read_journal(journal) if item.error is None}


def ids_in(journal: Path) -> set[str]:
    """The generations that the journal knows of."""
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    known = {record["generation_id"] for record in records if record["kind"] == "begun"}
    return known.union(*(record.get("generation_ids", ()) for record in records))


def wait_for_more(provider: Process, asked: Counter[str], count: int) -> None:
    """Until so many more were asked for."""
    while sum(provider.ask()["asked"].values()) < sum(asked.values()) + count:
        time.sleep(0.005)


def journal(options: argparse.Namespace) -> None:
    """In turn, each step in a fresh process."""
    rounds = []
    for _ in range(options.rounds):
        one: dict[str, dict[str, float]] = {}
        for kind in ("jsonl", "sqlite"):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                written = figures_of("write_journal", kind, f"{folder}/run", options.items)
                one[kind] = written | figures_of("read_back", kind, f"{folder}/run", options.items)
        rounds.append(one)
    print("| | written | size | opened | all looked up |\n|---|---|---|---|---|")
    for kind, title in (("jsonl", "JSON Lines"), ("sqlite", "SQLite, WAL")):
        cells = [spread([one[kind][name] for one in rounds], unit) for name, unit in FIGURES_OF_A_JOURNAL]
        print(f"| {title} | {' | '.join(cells)} |")


def million(options: argparse.Namespace) -> None:
    """The file is made first."""
    provider = Process("provide_text", core=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "prompts.jsonl")
        with path.open("w", encoding="utf-8") as lines:
            lines.writelines(
                json.dumps({"prompt": f"A picture of a cat number {number}"}) + "\n" for number in range(options.prompts)
            )
        figures = figures_of("run_million", path, provider.line())
        size = path.stat().st_size / MEGABYTE
    provider.stop()
    each = figures["megabytes"] * MEGABYTE / figures["prompts"]
    print(f"{figures['prompts']} prompts, {size:.0f} MB: {figures['megabytes']:.0f} MB, {each:.0f} B a prompt", end="")
    print(f", {figures['cpu_seconds'] / figures['prompts'] * 1e6:.0f} µs of CPU a prompt")


def limits(options: argparse.Namespace) -> None:
    """All kinds at once, as they are idle most of the time. With windows of a minute a phase has at least 180 seconds."""
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
        used = ", ".join(
            f"{used_of(record, *phase, phase_seconds, first_seconds):.1%}" for phase in enumerate(ALLOWED_PER_MINUTE)
        )
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


# What each work can be told, and what it is told otherwise.
WORKS: dict[Callable[[argparse.Namespace], None], dict[str, int]] = {
    cost: {"prompts": 10_000, "concurrency": 64, "rounds": 7},
    limits: {"phase": 120},
    kills: {"prompts": 2000, "kills": 20, "seed": 1},
    journal: {"items": 100_000, "rounds": 5},
    million: {"prompts": 1_000_000},
}


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    works = parser.add_subparsers(dest="work", required=True)
    for measure, told in WORKS.items():
        work = works.add_parser(measure.__name__, help=measure.__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        work.set_defaults(measure=measure)
        for name, default in told.items():
            work.add_argument(f"--{name}", type=int, default=default, help=" ")
    works.choices["limits"].add_argument("--kinds", nargs="+", default=["bucket", "window-12", "window-60"], help=" ")
    works.choices["limits"].add_argument("--keep", help="a folder for the server's records")
    works.choices["journal"].add_argument("--folder", help="on the disk that is to be measured")
    options = parser.parse_args()
    options.measure(options)


if __name__ == "__main__":
    main()
