"""How fast requests may be sent to one model with one key. Pure: time comes in as an argument, and nothing sleeps here.

The limit of a server is unknown, changes, and is of one of two kinds: so many in a window (refused until it ends), or a bucket
that is refilled. Three rules find both. A refusal shuts a gate for everybody until the time that the server names. When it opens
again, the rate is a little less than what was accepted of late, the wait included. Then it stays nearly level for ten seconds,
so that refusals are rare, and after that grows ever faster, so that a limit that was lifted is found within twenty. What was
measured while the rate rose to a new limit is too little; then all that takes half the time.
"""

import math
from threading import Lock
from typing import Final

__all__ = ["Allowance", "Limiter"]

_FIRST_RATE: Final = 100.0  # requests a second, doubled every second until the first refusal
_SLOWEST_RATE: Final = 1 / 30
_BACK_OFF: Final = 0.96  # of what was accepted
_GROWTH_SECONDS: Final = 18.0  # after the gate has opened the rate has grown e-fold
_GROWTH_POWER: Final = 12
_FASTEST_GROWTH: Final = 0.25  # a second, e-fold: a limit that is met at a high rate is met by many at once
_NEW_LIMIT: Final = 2  # times the rate at the beginning of the round
_FULL_USE: Final = 0.9  # of the rate: more is not to be expected with timers that are late
_TRUSTED_COUNT: Final = 10  # accepted requests make a measurement, fewer are chance
_RECENT_SECONDS: Final = 2.0
_IDLE_SECONDS: Final = 10.0
_LATENESS_SECONDS: Final = 0.004  # of a timer of asyncio, which is made up for; more would be a burst
_ROUNDING_SECONDS: Final = 1.0  # Retry-After is in whole seconds
_PART_OF_A_SHORT_PAUSE: Final = 0.25  # that the server wanted; the rest is rounding
_FIRST_PAUSE_SECONDS: Final = 1.0  # where the server names none, doubled with each refusal in a row
_LONGEST_PAUSE_SECONDS: Final = 60.0
_PATIENT_REFUSALS: Final = 3  # in a row, after which a server that names too short a time is not believed


class Limiter:
    """Ask before each request, and tell what became of it. May be shared by threads; times are of one clock of the caller.

    `requests_per_minute` is a cap that is never passed; what the server allows is found below it.
    """

    def __init__(self, *, requests_per_minute: float | None = None) -> None:
        self._fastest = math.inf if requests_per_minute is None else requests_per_minute / 60
        self._rate = min(_FIRST_RATE, self._fastest)
        self._next_at = self._last_at = self._shut_until = -math.inf
        self._is_binding = False  # somebody had to wait for the rate since the last request
        self._has_met_the_limit = False
        self._refused_in_a_row = 0
        self._refused_at: float | None = None  # in this round, which began when the gate opened and ends when it opens again
        self._began_at = -math.inf
        self._first_rate = self._rate  # of this round
        self._growth_seconds = _GROWTH_SECONDS
        self._accepted = 0  # in this round
        self._recent = 0.0  # the same, older ones counting less and less
        self._recent_at = 0.0
        self._lock = Lock()

    @property
    def requests_per_minute(self) -> float:
        """The rate in use."""
        return self._rate * 60

    def seconds_to_wait(self, now: float) -> float:
        """0.0 lets one request through, which the caller must send; else wait that long and ask again."""
        with self._lock:
            if now < self._shut_until:
                return self._shut_until - now
            if self._refused_at is not None:
                is_new_limit = self._rate > _NEW_LIMIT * self._first_rate
                self._growth_seconds = _GROWTH_SECONDS / 2 if is_new_limit else _GROWTH_SECONDS
                self._rate = self._first_rate = self._rate_after_refusal(self._refused_at)
                self._begin_round(self._shut_until)
                self._has_met_the_limit = True
            elif now - self._last_at > _IDLE_SECONDS:
                self._begin_round(now)  # what was measured before is old
            if now < self._next_at:
                self._is_binding = True
                return self._next_at - now
            if self._is_binding:
                self._rate = min(self._fastest, self._rate * math.exp(self._growth_until(now)))
            self._next_at = max(self._next_at, now - _LATENESS_SECONDS) + 1 / self._rate
            self._last_at = now
            self._is_binding = False
            return 0.0

    def accepted(self, now: float) -> None:
        """The server let a request in."""
        with self._lock:
            self._accepted += 1
            self._recent = self._faded(now) + 1
            self._recent_at = now
            self._refused_in_a_row = 0

    def refused(self, now: float, *, sent_at: float, retry_after: float | None) -> None:
        """The server refused a request because there are too many. `retry_after` is what it asks for, in seconds."""
        with self._lock:
            # What was sent before the gate shut is refused as well: that is the same news once more.
            if self._refused_at is None and sent_at >= self._began_at:
                self._refused_at = now
                self._refused_in_a_row += 1
            pause = retry_after or 0.0
            if pause <= 0 or self._refused_in_a_row > _PATIENT_REFUSALS:
                doublings = min(max(0, self._refused_in_a_row - 1), 10)
                pause = max(pause, min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**doublings))
            self._shut_until = max(self._shut_until, now + pause)

    def shut(self, now: float, seconds: float) -> None:
        """Let nothing through for that long, though the rate is not to blame."""
        with self._lock:
            self._shut_until = max(self._shut_until, now + seconds)

    def _rate_after_refusal(self, refused_at: float) -> float:
        """A window is measured whole, from its beginning to its end; a bucket by what it let through of late."""
        pause = self._shut_until - refused_at
        wait = max(pause - _ROUNDING_SECONDS, _PART_OF_A_SHORT_PAUSE * min(pause, _ROUNDING_SECONDS))
        took = max(refused_at - self._began_at, 1e-3)
        recent_seconds = _RECENT_SECONDS * -math.expm1(-took / _RECENT_SECONDS)
        measured = max(self._accepted / (took + wait), self._faded(refused_at) / (recent_seconds + wait))
        if self._accepted < _TRUSTED_COUNT:
            measured = max(measured, self._rate / 2)
        elif measured >= _FULL_USE * self._rate:
            measured = self._rate  # what was accepted lags behind a rate that grows
        return min(self._fastest, max(_SLOWEST_RATE, min(self._rate, measured) * _BACK_OFF))

    def _begin_round(self, now: float) -> None:
        self._refused_at = None
        self._began_at = self._last_at = now
        self._next_at = max(self._next_at, now)
        self._is_binding = False
        self._accepted, self._recent = 0, 0.0

    def _faded(self, now: float) -> float:
        return self._recent * math.exp(-max(0.0, now - self._recent_at) / _RECENT_SECONDS)

    def _growth_until(self, now: float) -> float:
        """The logarithm of how much the rate grows since the last request: at most twofold a second until it meets the limit."""
        seconds = now - self._last_at
        if not self._has_met_the_limit:
            return math.log(2) * seconds
        return min(_FASTEST_GROWTH * seconds, self._growth(now) - self._growth(self._last_at))

    def _growth(self, now: float) -> float:
        """Of the whole round: next to nothing at first, then more and more."""
        return float(((now - self._began_at) / self._growth_seconds) ** _GROWTH_POWER)


class Allowance:
    """A fixed cap: so much a minute, spent evenly. What something takes may be corrected when it is known."""

    def __init__(self, per_minute: float) -> None:
        self._per_second = per_minute / 60
        self._balance = 0.0
        self._at = -math.inf

    def seconds_to_wait(self, now: float) -> float:
        """0.0 where there is something left."""
        earned = (now - self._at) * self._per_second if self._at > -math.inf else 0.0
        self._balance = min(self._balance + earned, self._per_second * _LATENESS_SECONDS)
        self._at = now
        return max(0.0, -self._balance / self._per_second)

    def take(self, amount: float) -> None:
        """Spend so much; a negative amount gives back."""
        self._balance -= amount
