"""Servers and workers on a clock of their own, to see in milliseconds what a limiter does in minutes."""

import heapq
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from or_stream.batching.pacing._limiter import Limiter


class FixedWindow:
    """So many in each window; the windows follow one another from 0 on. Retry-After is in whole seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.quota, self.began, self.taken = seconds, 0.0, 0.0, 0

    def limit(self, now: float, per_minute: float) -> None:
        self.quota = per_minute * self.seconds / 60

    def take(self, now: float) -> float | None:
        if now >= self.began + self.seconds:
            self.began, self.taken = now // self.seconds * self.seconds, 0
        if self.taken < self.quota:
            self.taken += 1
            return None
        return math.ceil(self.began + self.seconds - now)


class TokenBucket:
    """Refilled evenly, full after `seconds`, and never smaller than one request."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.per_second, self.tokens, self.at = seconds, 0.0, math.inf, 0.0

    def limit(self, now: float, per_minute: float) -> None:
        self.per_second = per_minute / 60

    def take(self, now: float) -> float | None:
        self.tokens += (now - self.at) * self.per_second
        self.tokens, self.at = min(self.tokens, max(1, self.per_second * self.seconds)), now
        if self.tokens >= 1 - 1e-9:
            self.tokens -= 1
            return None
        return math.ceil((1 - self.tokens) / self.per_second)


@dataclass
class Outcome:
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    too_early: int = 0

    @property
    def refused_share(self) -> float:
        return len(self.refused) / (len(self.accepted) + len(self.refused))

    def per_minute(self, begin: float, end: float) -> float:
        return sum(begin <= at < end for at in self.accepted) * 60 / (end - begin)


def simulate(
    limiter: Limiter,
    server: FixedWindow | TokenBucket,
    phases: list[tuple[float, float]],
    *,
    seed: int,
    round_trip_seconds: float,
    service_seconds: float,
    workers: int = 64,
) -> Outcome:
    """Workers that always have work. A phase is how long it lasts and what it allows a minute."""
    dice, outcome, numbers = random.Random(seed), Outcome(), itertools.count()
    events: list[tuple[float, int, Callable[..., None], tuple[float, ...]]] = []
    state = {"free": workers, "told": -math.inf}

    def at(time: float, call: Callable[..., None], *arguments: float) -> None:
        heapq.heappush(events, (time, next(numbers), call, arguments))

    def trip() -> float:
        return round_trip_seconds * dice.uniform(0.4, 0.6)

    def ask(now: float) -> None:
        if not state["free"]:
            return
        wait = limiter.seconds_to_wait(now)
        if wait:
            at(now + wait + dice.random() * 0.003, ask)
            return
        state["free"] -= 1
        outcome.too_early += now < state["told"]
        at(now + trip(), arrive, now)
        at(now, ask)

    def arrive(now: float, sent_at: float) -> None:
        retry_after = server.take(now)
        (outcome.accepted if retry_after is None else outcome.refused).append(now)
        at(now + trip(), answer, sent_at, math.nan if retry_after is None else retry_after)

    def answer(now: float, sent_at: float, retry_after: float) -> None:
        if math.isnan(retry_after):
            limiter.accepted(now)
            at(now + service_seconds * dice.uniform(0.5, 1.5), done)
        else:
            state["told"] = max(state["told"], now + retry_after)
            limiter.refused(now, sent_at=sent_at, retry_after=retry_after)
            done(now)

    def done(now: float) -> None:
        state["free"] += 1
        if state["free"] == 1:
            at(now, ask)

    begin = 0.0
    for seconds, per_minute in phases:
        at(begin, server.limit, per_minute)
        begin += seconds
    at(0.0, ask)
    while events[0][0] < begin:
        now, _, call, arguments = heapq.heappop(events)
        call(now, *arguments)
    return outcome
