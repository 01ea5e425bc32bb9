"""Timeouts, and the clocks of one stream that hold it to them.

A timer is moved only when it goes off, so that an event costs no timer.
"""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Self

from or_stream.errors import ConfigurationError, OrStreamError, StreamTimeout, TimeoutPhase

__all__ = ["Clocks", "HeadersWait", "Timeouts"]

_FOREVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait, in seconds; None waits for ever.

    `connect`: for a connection, from its name to TLS. `first_content`: from the request to the first content. `idle`: between
    content and content, not counting the time in which nobody asked for more. `total`: for everything, retries included. Content
    is text, reasoning, refusal, image or audio bytes, a piece of a tool call, an annotation; comments, roles and empty deltas
    are not.
    """

    connect: float | None = 10
    first_content: float | None = 120
    idle: float | None = 60
    total: float | None = None

    def __post_init__(self) -> None:
        for clock in fields(self):
            seconds = getattr(self, clock.name)
            if seconds is not None and not (isinstance(seconds, int | float) and 0 < seconds < float("inf")):
                raise ConfigurationError(
                    f"Timeouts.{clock.name} must be more than 0 seconds, or None for no limit, not {seconds!r}"
                )


class Clocks:
    """Started with the first request. A wait, for headers or for bytes, raises StreamTimeout where a clock ran out meanwhile.

    The total clock always runs, the other two only while somebody waits: content that nobody has asked for is not late.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._started_at = loop.time()
        self._requested_at = self._started_at
        self._has_content = False  # since the request
        self._waiting_since: float | None = None
        self._waited_seconds = 0.0  # since the last content, in the waits before this one
        self._expired: TimeoutPhase | None = None
        self._timer: asyncio.TimerHandle | None = None  # of the first-content and the idle clock
        self._total_timer: asyncio.TimerHandle | None = None
        self._on_expiry: Callable[[], None] | None = None
        self._interruptible: asyncio.Timeout | None = None

    def elapsed_seconds(self) -> float:
        """Since the first request."""
        return self._loop.time() - self._started_at

    def total_ends_within(self, seconds: float) -> bool:
        """Whether the total clock runs out in that time."""
        total = self._timeouts.total
        return total is not None and self.elapsed_seconds() + seconds >= total

    def content_came(self) -> None:
        """Content came: the first-content clock is done, the idle clock starts anew."""
        self._waited_seconds = 0.0
        if not self._has_content:
            self._has_content = True
            self._disarm()  # the idle clock may run out long before the first-content clock would have

    async def pause(self, seconds: float) -> None:
        """Sleep, unless `stop` ends it."""
        try:
            async with asyncio.timeout(None) as self._interruptible:
                await asyncio.sleep(seconds)
        except TimeoutError:
            pass
        finally:
            self._interruptible = None

    def waiting_for_headers(self) -> "HeadersWait":
        """Around a request. The first-content clock starts, and rules until the headers are here; `stop` ends the wait too."""
        self._requested_at = self._waiting_since = self._loop.time()
        self._has_content = False
        self._waited_seconds = 0.0
        self._expired = None
        deadline, phase = min(self._wait_ends(), self._total_ends())
        return HeadersWait(self, deadline, phase, self._timeouts.connect)

    def begin_headers(self, timeout: asyncio.Timeout) -> None:
        """`timeout` is what `stop` ends."""
        self._interruptible = timeout

    def end_headers(self) -> None:
        """The wait for headers is over, however it ended."""
        self._interruptible = self._waiting_since = None

    def watch(self, on_expiry: Callable[[], None]) -> None:
        """From now on call `on_expiry`, which must end the wait for bytes, when a clock runs out."""
        self._on_expiry = on_expiry
        deadline, _ = self._total_ends()
        if deadline < _FOREVER:
            self._total_timer = self._loop.call_at(deadline, _call, Clocks._total_ran_out, weakref.ref(self))

    def stop(self) -> None:
        """No clock matters any more, and nobody wants what is waited for."""
        self._on_expiry = None
        self._disarm()
        if self._total_timer is not None:
            self._total_timer.cancel()
            self._total_timer = None
        if self._interruptible is not None and not self._interruptible.expired() and not self._loop.is_closed():
            self._interruptible.reschedule(self._loop.time())

    def begin_wait(self) -> None:
        """In front of a wait for bytes. Not a context manager, which would cost a tenth of what a live delta does."""
        if self._expired is not None:
            raise self.timed_out(self._expired)
        self._waiting_since = self._loop.time()
        if self._timer is None:
            self._arm()

    def end_wait(self) -> None:
        """Behind it, however it ended."""
        assert self._waiting_since is not None
        self._waited_seconds += self._loop.time() - self._waiting_since
        self._waiting_since = None

    def check(self, error: OrStreamError) -> None:
        """Where a wait for bytes failed with this error: raises StreamTimeout if that was because a clock ran out."""
        if self._expired is not None:
            raise self.timed_out(self._expired) from error

    def _total_ends(self) -> tuple[float, TimeoutPhase]:
        total = self._timeouts.total
        return (_FOREVER if total is None else self._started_at + total, "total")

    def _wait_ends(self) -> tuple[float, TimeoutPhase]:
        """Until when the wait may last that goes on, and which clock says so."""
        if self._has_content:
            since, seconds = (self._waiting_since or 0.0) - self._waited_seconds, self._timeouts.idle
        else:
            since, seconds = self._requested_at, self._timeouts.first_content
        phase: TimeoutPhase = "idle" if self._has_content else "first_content"
        return (_FOREVER if seconds is None or self._waiting_since is None else since + seconds, phase)

    def _arm(self) -> None:
        deadline, _ = self._wait_ends()
        if deadline < _FOREVER:
            self._timer = self._loop.call_at(deadline, _call, Clocks._look, weakref.ref(self))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        deadline, phase = self._wait_ends()
        if deadline > self._loop.time():
            self._arm()
        else:
            self._expire(phase)

    def _total_ran_out(self) -> None:
        self._expire("total")

    def _expire(self, phase: TimeoutPhase) -> None:
        if self._on_expiry is not None:
            self._expired = phase
            self._on_expiry()

    def timed_out(self, phase: TimeoutPhase) -> StreamTimeout:
        """The exception for a clock that ran out."""
        seconds = getattr(self._timeouts, phase)
        return StreamTimeout(f"Timeouts.{phase}={seconds} seconds ran out", phase=phase)


class HeadersWait:
    """The wait for the headers of one answer, as an asynchronous context manager: raises StreamTimeout where a clock runs out.

    The connect clock runs between `connecting(True)` and `connecting(False)`, which is for whoever makes the connection to say.
    It is no generator: the frames of two took a tenth of the time to a first event, and of the memory of an open stream.
    """

    __slots__ = ("__weakref__", "_clocks", "_deadline", "_is_connecting", "_phase", "_timeout", "connect_seconds")

    def __init__(self, clocks: Clocks, deadline: float, phase: TimeoutPhase, connect_seconds: float | None) -> None:
        self.connect_seconds: float | None = connect_seconds
        self._clocks = clocks
        self._deadline = deadline
        self._phase = phase
        self._is_connecting = False  # and the connect clock is the first to run out
        self._timeout = asyncio.timeout_at(_deadline_or_none(deadline))

    def connecting(self, runs: bool) -> None:
        """A connection is being made, or that is over."""
        connect_ends = _FOREVER
        if runs and self.connect_seconds is not None:
            connect_ends = asyncio.get_running_loop().time() + self.connect_seconds
        self._is_connecting = connect_ends < self._deadline
        if not self._timeout.expired():
            self._timeout.reschedule(_deadline_or_none(min(connect_ends, self._deadline)))

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._clocks.begin_headers(self._timeout)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._clocks.end_headers()
        try:
            await self._timeout.__aexit__(exc_type, exc, traceback)
        except TimeoutError as error:
            raise self._clocks.timed_out("connect" if self._is_connecting else self._phase) from error


def _deadline_or_none(deadline: float) -> float | None:
    return None if deadline == _FOREVER else deadline


def _call(look: Callable[[Clocks], None], reference: weakref.ref[Clocks]) -> None:
    """A timer must not keep alive a stream that nobody holds."""
    clocks = reference()
    if clocks is not None:
        look(clocks)
