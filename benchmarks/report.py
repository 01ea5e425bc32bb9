"""The tables of a result, as Markdown: what is held against the goals, and everything that was measured."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from goals import GOALS, MEGABYTE, Case, Goal, Round, medians, round_of


def report(result: Mapping[str, Any]) -> str:
    """The whole result of run.py."""
    rounds = [round_of((Case(**sample["case"]), sample["measures"]) for sample in one) for one in result["rounds"]]
    machine = result["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    changed = " with changes" if machine["changed"] else ""
    about = (
        f"{result['date']}, commit {machine['commit'][:12]}{changed}, {len(rounds)} rounds; {machine['processor']}, "
        f"{machine['cores']} cores, load {machine['load']} at the start; {machine['system']}, "
        f"Python {machine['python']}, {packages}."
    )
    return "\n".join([about, "", *goal_table(GOALS, rounds), "", *measure_table(rounds)])


def goal_table(goals: Iterable[Goal], rounds: Sequence[Round]) -> Iterator[str]:
    """One row a goal that was measured."""
    yield "| work | what | goal | measured | |"
    yield "|---|---|---|---|---|"
    for goal in goals:
        values = goal.values(rounds)
        if values:
            word, unit = "≥" if goal.is_least else "≤", goal.unit_name
            spread = f"{figure(median(values))} {unit} ({figure(min(values))} to {figure(max(values))})"
            verdict = "holds" if goal.holds(median(values)) else "**does not hold**"
            yield f"| {goal.work} | {goal.claim} | {word} {figure(goal.bound)} {unit} | {spread} | {verdict} |"


def measure_table(rounds: Sequence[Round]) -> Iterator[str]:
    """One row a case, with the median of its rounds."""
    yield "| work | client | CPU ms | peak MB | besides |"
    yield "|---|---|---|---|---|"
    for case in dict.fromkeys(case for one in rounds for case in sorted(one)):
        measures = medians([one[case] for one in rounds if case in one])
        streams = f", {case.streams:,} streams" if case.streams > 1 else ""
        client = f"{case.client}, uvloop" if case.loop == "uvloop" else case.client
        cpu = figure(measures["cpu_seconds"] * 1e3) if "cpu_seconds" in measures else ""
        peak = figure(measures["peak_bytes"] / MEGABYTE) if "peak_bytes" in measures else ""
        yield f"| {case.work}{streams} | {client} | {cpu} | {peak} | {', '.join(remarks(case, measures))} |"


def remarks(case: Case, measures: Mapping[str, float]) -> Iterator[str]:
    """What only some works have."""
    if "longest_hold_seconds" in measures:
        yield f"loop held for {figure(measures['longest_hold_seconds'] * 1e3)} ms at most"
    if case.work.startswith("together"):
        yield f"first event after {figure(measures['first_event_seconds'] * 1e3)} ms"
    if "bytes_per_stream" in measures:
        yield f"{figure(measures['bytes_per_stream'] / 1e3)} kB a stream"
    if case.work.startswith("image") and measures.get("image_bytes") == 0:
        yield "**drops the image**"


def figure(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
