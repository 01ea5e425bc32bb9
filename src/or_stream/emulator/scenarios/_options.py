"""What may stand behind the name of a scenario, for clients of any language: `text-and-images?pieces=7&reset=900`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from urllib.parse import parse_qsl

from or_stream.emulator._script import Close, Reset, Scenario, Stall, Step, Wait


def _number(value: str, at_least: int) -> int:
    number = int(value)
    if number < at_least:
        raise ValueError(value)
    return number


def _seconds(value: str) -> float:
    seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise ValueError(value)
    return seconds


def _broken(*steps: Step) -> Callable[[Scenario, str], Scenario]:
    return lambda scenario, value: scenario.broken(_number(value, 0), *steps)


OPTIONS: Mapping[str, Callable[[Scenario, str], Scenario]] = {
    "pieces": lambda scenario, value: replace(scenario, pieces=_number(value, 1)),
    "pace": lambda scenario, value: replace(scenario, pace_seconds=_seconds(value)),
    "wait": lambda scenario, value: scenario.after(Wait(_seconds(value))),
    "end": _broken(),
    "close": _broken(Close()),
    "reset": _broken(Reset()),
    "stall": _broken(Stall()),
    "gzip": lambda scenario, _: replace(scenario, gzip=True),
}


def with_options(scenario: Scenario, options: str) -> Scenario:
    """The same answer, otherwise sent. ValueError where an option is none, or its value makes no sense."""
    for name, value in parse_qsl(options, keep_blank_values=True):
        if name not in OPTIONS:
            raise ValueError(f"no scenario has the option {name!r}; there are {', '.join(OPTIONS)}")
        try:
            scenario = OPTIONS[name](scenario, value)
        except ValueError:
            raise ValueError(f"{name}={value} makes no sense for a scenario") from None
    return scenario
