"""Measures everything in interleaved rounds: `python benchmarks/run.py`, or `make bench`.

The server runs on the first core that this process may use, each client in a fresh process on the last. The result goes to
results/ and its tables into README.md. `--quick` measures only what can regress, without other packages, and prints it; `--check`
does the same and exits with 1 where a ratio is past its goal by more than half, twice in a row.
"""

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

from goals import BESIDE, GOALS, PROFILED, QUICK_GOALS, Case, Goal, Measures, Sample, cases_of, round_of, times_a_round
from report import goal_table, measure_table, report

FOLDER = Path(__file__).parent
PACKAGES = ("aiohttp", "pydantic", "pydantic_core", "pybase64", "uvloop", "openai", "openrouter", "litellm", "httpx-sse")
WARM_UP_WORKS = ["text-1000", "image-1"]
MARGIN = 1.5
GIVE_UP_SECONDS = 300

# In an interpreter that has loaded nothing yet.
TIMED_IMPORT = """
import json, os, time
os.sched_setaffinity(0, {{{core}}})
started = time.process_time()
{statement}
print(json.dumps({{"cpu_seconds": time.process_time() - started}}))
"""


@contextlib.contextmanager
def serving(cases: Iterable[Case]) -> Iterator[Callable[[Case], list[str]]]:
    """Start the server with what the cases ask it for; how to measure one of them, as a command that prints JSON."""
    cores = sorted(os.sched_getaffinity(0))
    works = sorted({case.work for case in cases if not is_without_server(case)} | set(WARM_UP_WORKS))
    command = [sys.executable, str(FOLDER / "server.py"), str(cores[0]), *works]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603  # our own
        port = server.stdout.readline().strip()

        def command_of(case: Case) -> list[str]:
            if server.poll() is not None:
                sys.exit(f"the server is gone: it ended with {server.returncode}")
            if case.work == "import":
                return [sys.executable, "-c", TIMED_IMPORT.format(core=cores[-1], statement=case.client)]
            arguments = (cores[-1], port, case.client, case.work, case.streams, case.loop)
            return [sys.executable, str(FOLDER / "probe.py"), *map(str, arguments)]

        try:
            yield command_of
        finally:
            server.stdin.close()


def measure(command: list[str]) -> Measures | None:
    """What the command measured, None where it failed."""
    # An installed package has its bytecode; a checkout has it from the second run on, unless the environment forbids it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    try:
        done = subprocess.run(  # noqa: S603  # ours
            command, check=True, capture_output=True, text=True, timeout=GIVE_UP_SECONDS, env=environment
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        print(f"{error}\n{error.stderr}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def is_without_server(case: Case) -> bool:
    """Whether nothing goes over a socket."""
    return case.work == "import" or case.client.endswith(" decoder")


def measure_rounds(cases: list[Case], count: int) -> list[list[Sample]]:
    """What each round measured: every case, those of one work side by side, in an order that changes."""
    dice = random.Random(count)
    rounds: list[list[Sample]] = []
    with serving(cases) as command_of:
        for number in range(count):
            started = time.monotonic()
            works = sorted({case.work for case in cases}, key=lambda _: dice.random())
            order: list[Case] = []
            for work in works:
                of_work = [case for case in cases if case.work == work for _ in range(times_a_round(case))]
                order += dice.sample(of_work, len(of_work))
            rounds.append([(case, measures) for case in order if (measures := measure(command_of(case)))])
            print(f"round {number + 1} of {count}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    return rounds


def about_the_machine() -> dict[str, Any]:
    """What the figures depend on."""
    installed = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    models = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "commit": git("rev-parse", "HEAD"),
        "changed": bool(git("status", "--porcelain", "src", "benchmarks")),
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "python": platform.python_version(),
        "packages": installed,
    }


def git(*arguments: str) -> str:
    """What git says of this checkout; nothing where there is none."""
    command = ["git", "-C", str(FOLDER.parent), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()  # noqa: S603


def keep(result: dict[str, Any]) -> None:
    """Into results/, and as tables into README.md."""
    path = FOLDER / "results" / f"{result['date']}.json"
    rounds = ",\n".join("[\n" + ",\n".join(json.dumps(sample) for sample in one) + "\n]" for one in result["rounds"])
    path.write_text(f"{json.dumps({**result, 'rounds': None}, indent=1).replace('null', f'[{rounds}]')}\n")
    write_tables(result)


def write_tables(result: dict[str, Any]) -> None:
    """Between the two markers of README.md."""
    readme = FOLDER / "README.md"
    before, begin, rest = readme.read_text().partition("<!-- results -->\n")
    _, end, after = rest.partition("<!-- end of results -->")
    readme.write_text(f"{before}{begin}\n{report(result)}\n\n{end}{after}")


def check(rounds: int) -> list[Goal]:
    """The goals that are missed by more than the margin, and again when only they are measured anew."""
    missed = [goal for goal in QUICK_GOALS if goal.is_steady]
    for _ in range(2):
        measured = [round_of(samples) for samples in measure_rounds(cases_of(missed), rounds)]
        print(*goal_table(missed, measured), sep="\n")
        missed = [goal for goal in missed if (value := goal.value(measured)) is None or not goal.holds(value, MARGIN)]
        if not missed:
            break
    return missed


def profile() -> None:
    """Where the time goes: by Python function, and with perf also by what is compiled."""
    with serving(PROFILED) as command_of, tempfile.TemporaryDirectory() as folder:
        for case in PROFILED:
            print(f"\n{case.work}, {case.client}", flush=True)
            subprocess.run(command_of(case._replace(loop="profiled")), check=True)  # noqa: S603
            if shutil.which("perf"):
                recorded = f"{folder}/perf.data"
                subprocess.run(["perf", "record", "-q", "-o", recorded, *command_of(case)], check=True)  # noqa: S603, S607
                report = ["perf", "report", "-q", "-i", recorded, "--stdio", "-F", "overhead,dso,symbol", "--percent-limit", "1"]
                subprocess.run(report, check=True)  # noqa: S603


def main() -> int:
    """Do what the arguments say."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="what can regress, without other packages; nothing is kept")
    arguments.add_argument("--check", action="store_true", help="exit with 1 where a ratio has regressed")
    arguments.add_argument("--profile", action="store_true", help="measure nothing, show where the time of or_stream goes")
    arguments.add_argument("--tables", type=Path, metavar="JSON", help="measure nothing, write the tables of a result anew")
    arguments.add_argument("--only", default="", metavar="WORK", help="the works that begin so; nothing is kept")
    arguments.add_argument("--rounds", type=int, help="7, or 3 with --quick and --check")
    options = arguments.parse_args()
    if options.tables:
        write_tables(json.loads(options.tables.read_text()))
        return 0
    if options.profile:
        profile()
        return 0
    if options.check:
        missed = check(options.rounds or 3)
        print(*(f"regressed: {goal.work}: {goal.claim}" for goal in missed), sep="\n")
        return bool(missed)
    machine = about_the_machine()
    goals = QUICK_GOALS if options.quick else GOALS
    cases = [case for case in cases_of(goals) + ([] if options.quick else BESIDE) if case.work.startswith(options.only)]
    samples = measure_rounds(cases, options.rounds or (3 if options.quick else 7))
    if options.quick or options.only:
        rounds = [round_of(one) for one in samples]
        print(*goal_table(goals, rounds), "", *measure_table(rounds), sep="\n")
        return 0
    rounds = [
        [{"case": case._asdict(), "measures": measures} for case, measures in sorted(one, key=itemgetter(0))] for one in samples
    ]
    keep({"date": dt.datetime.now(dt.UTC).date().isoformat(), "machine": machine, "rounds": rounds})
    return 0


if __name__ == "__main__":
    sys.exit(main())
