"""The clocks of one stream: one timer for all of them, moved only when it goes off, so that an event costs no timer."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from or_stream.client._timeouts import Timeouts
from or_stream.errors import StreamTimeout, TimeoutPhase

__all__ = ["Clocks"]

_FOREVER = float("inf")


class Clocks:
    """Started with the first request. `waiting` raises StreamTimeout where a clock ran out meanwhile."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._started_at = loop.time()
        self._requested_at = self._started_at
        self._content_at: float | None = None  # when the wait for the content after the last one began
        self._is_waiting = False
        self._expired: TimeoutPhase | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._on_expiry: Callable[[], None] | None = None

    def elapsed_seconds(self) -> float:
        """Since the first request."""
        return self._loop.time() - self._started_at

    def total_ends_within(self, seconds: float) -> bool:
        """Whether the total clock runs out in that time."""
        total = self._timeouts.total
        return total is not None and self.elapsed_seconds() + seconds >= total

    def content_came(self) -> None:
        """Content came: the first-content clock is done, the idle clock starts anew."""
        self._content_at = self._loop.time()
        self._is_waiting = False

    @asynccontextmanager
    async def waiting_for_headers(self) -> AsyncIterator[None]:
        """Around a request. The first-content clock starts, and rules until the headers are here."""
        self._requested_at = self._loop.time()
        self._content_at = None
        deadline, phase = self._next()
        try:
            async with asyncio.timeout_at(None if deadline == _FOREVER else deadline):
                yield
        except TimeoutError as error:
            raise self._timed_out(phase) from error

    def watch(self, on_expiry: Callable[[], None]) -> None:
        """From now on call `on_expiry`, which must end the wait for bytes, when a clock runs out."""
        self._on_expiry = on_expiry
        self._arm()

    def stop(self) -> None:
        """No clock matters any more."""
        self._on_expiry = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around a wait for bytes; the idle clock runs only here."""
        if self._expired is not None:
            raise self._timed_out(self._expired)
        if self._content_at is not None and not self._is_waiting:
            self._content_at = self._loop.time()
        self._is_waiting = True
        try:
            yield
        except Exception as error:
            if self._expired is not None:
                raise self._timed_out(self._expired) from error
            raise

    def _next(self) -> tuple[float, TimeoutPhase]:
        """Which clock runs out next, and when."""
        timeouts = self._timeouts
        choices: list[tuple[float, TimeoutPhase]] = [(_FOREVER, "total")]
        if timeouts.total is not None:
            choices.append((self._started_at + timeouts.total, "total"))
        if self._content_at is None and timeouts.first_content is not None:
            choices.append((self._requested_at + timeouts.first_content, "first_content"))
        if self._content_at is not None and timeouts.idle is not None:
            since = self._content_at if self._is_waiting else self._loop.time()
            choices.append((since + timeouts.idle, "idle"))
        return min(choices)

    def _arm(self) -> None:
        deadline, _ = self._next()
        if deadline < _FOREVER:
            # Weak: a timer must not keep alive a stream that nobody holds.
            self._timer = self._loop.call_at(deadline, _call, weakref.WeakMethod(self._look))

    def _look(self) -> None:
        deadline, phase = self._next()
        if deadline > self._loop.time():
            self._arm()
        elif self._on_expiry is not None:
            self._expired = phase
            self._on_expiry()

    def _timed_out(self, phase: TimeoutPhase) -> StreamTimeout:
        seconds = getattr(self._timeouts, phase)
        return StreamTimeout(f"Timeouts.{phase}={seconds} seconds ran out", phase=phase)


def _call(method: "weakref.WeakMethod[Callable[[], None]]") -> None:
    bound = method()
    if bound is not None:
        bound()
