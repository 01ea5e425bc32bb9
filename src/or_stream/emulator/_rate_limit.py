"""How many requests are taken, and who comes back too early. Pure: the time of each request is passed in."""

import math
from dataclasses import dataclass
from typing import Protocol

# A client cannot know of a 429 that is still on its way to it: what comes this soon after one was on its way as well.
IN_FLIGHT_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Refusal:
    """One request too many: the limit it met, and how long it takes until the next one is taken."""

    limit: int
    wait_seconds: float

    @property
    def retry_after_seconds(self) -> int:
        """What the header says: whole seconds, and never too few."""
        return max(1, math.ceil(self.wait_seconds))


class RateLimit(Protocol):
    """What `Emulator.rate_limit` can be."""

    def take(self, now_seconds: float) -> Refusal | None:
        """Count one request at that time; None where it is taken. Time may come from any clock that does not go back."""
        ...


class FixedWindow:
    """At most `requests` in `seconds`. A window begins with the first request after the one before it."""

    def __init__(self, *, requests: int, seconds: float) -> None:
        if requests < 1 or not 0 < seconds < math.inf:
            raise ValueError(f"a window takes at least one request in some time, not {requests} in {seconds} seconds")
        self.requests: int = requests
        self.seconds: float = seconds
        self._began, self._taken = -math.inf, 0

    def take(self, now_seconds: float) -> Refusal | None:
        """Count one request at that time; None where it is taken. What is refused does not count."""
        if now_seconds >= self._began + self.seconds:
            self._began, self._taken = now_seconds, 0
        if self._taken < self.requests:
            self._taken += 1
            return None
        return Refusal(self.requests, self._began + self.seconds - now_seconds)


class TokenBucket:
    """`burst` requests at once, and from then on `requests_per_second`, evenly."""

    def __init__(self, *, requests_per_second: float, burst: int = 1) -> None:
        if not 0 < requests_per_second < math.inf or burst < 1:
            raise ValueError(f"a bucket holds at least one request and fills, not {burst} at {requests_per_second} a second")
        self.requests_per_second: float = requests_per_second
        self.burst: int = burst
        self._tokens, self._at = float(burst), -math.inf

    def take(self, now_seconds: float) -> Refusal | None:
        """Count one request at that time; None where it is taken. What is refused does not count."""
        self._tokens = min(self.burst, self._tokens + max(0.0, now_seconds - self._at) * self.requests_per_second)
        self._at = max(self._at, now_seconds)
        if self._tokens > 1 - 1e-9:
            self._tokens -= 1
            return None
        return Refusal(self.burst, (1 - self._tokens) / self.requests_per_second)


class Patience:
    """Who was told to wait, and did not.

    `refused`: requests that the limit refused. `early`: requests that came before the time they had been told was over, but for
    those that came `IN_FLIGHT_SECONDS` after the first such answer. `refused_early`: those of them that were refused again.
    """

    def __init__(self) -> None:
        self.refused = self.early = self.refused_early = 0
        self._told, self._until = -math.inf, -math.inf

    def came(self, now_seconds: float, refusal: Refusal | None) -> None:
        """Note a request, and what it was answered."""
        waiting = now_seconds < self._until
        early = waiting and now_seconds - self._told > IN_FLIGHT_SECONDS
        self.early += early
        if refusal is None:
            return
        self.refused += 1
        self.refused_early += early
        if not waiting:
            self._told = now_seconds
        self._until = max(self._until, now_seconds + refusal.retry_after_seconds)
