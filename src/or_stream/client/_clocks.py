"""Timeouts, the clocks of one stream that hold it to them, and what a stream took.

A timer is moved only when it goes off, so that neither a request nor an event moves any.
"""

import asyncio
import weakref
from collections.abc import Callable
from dataclasses import dataclass, fields
from time import monotonic
from types import TracebackType
from typing import Final, Self

from or_stream.errors import ConfigurationError, OrStreamError, StreamTimeout, TimeoutPhase
from or_stream.events import (
    AnnotationDelta,
    AudioDelta,
    ImageDelta,
    ImageEnd,
    ImagePreview,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

__all__ = ["CONTENT", "Clocks", "HeadersWait", "StreamStats", "Timeouts"]

_FOREVER = float("inf")
CONTENT: Final = frozenset(
    (
        *(TextDelta, ReasoningDelta, RefusalDelta, ImageDelta, ImageEnd, ImagePreview, AudioDelta),
        *(ToolCallStart, ToolCallDelta, AnnotationDelta),
    )
)
"""The events that are content for the clocks."""


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


@dataclass(slots=True)
class StreamStats:
    """What one stream took. Times are in seconds since the first request, None until it has come to that."""

    seconds_to_headers: float | None = None
    seconds_to_first_content: float | None = None
    seconds: float = 0.0
    bytes: int = 0
    events: int = 0
    heartbeats: int = 0
    attempts: int = 0


class Clocks:
    """Started with the first request. A wait, for headers or for bytes, raises StreamTimeout where a clock ran out meanwhile.

    The total clock always runs, the others only while somebody waits: content that nobody has asked for is not late. When the
    first content came is noted in `stats`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeouts: Timeouts, stats: StreamStats) -> None:
        self._loop = loop
        self._timeouts = timeouts
        self._stats = stats
        limits = (timeouts.connect, timeouts.first_content, timeouts.idle, timeouts.total)
        self._shortest_seconds = min(filter(None, limits), default=_FOREVER)
        self._started_at = monotonic()
        self._requested_at = self._started_at
        self._connecting_since: float | None = None
        self._has_content = False  # since the request
        self._waiting_since: float | None = None
        self._waited_seconds = 0.0  # since the last content, in the waits before this one
        self._expired: TimeoutPhase | None = None
        # The one timer of all clocks. It goes off when the first of them may have run out, which is looked into only then.
        self._timer: asyncio.TimerHandle | None = None
        self._on_expiry: Callable[[], None] | None = None
        self._interruptible: asyncio.Timeout | None = None

    def elapsed_seconds(self) -> float:
        """Since the first request."""
        return monotonic() - self._started_at

    def total_ends_within(self, seconds: float) -> bool:
        """Whether the total clock runs out in that time."""
        total = self._timeouts.total
        return total is not None and self.elapsed_seconds() + seconds >= total

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
        self._requested_at = self._waiting_since = monotonic()
        self._has_content = False
        self._waited_seconds = 0.0
        self._expired = None
        if self._timer is None:
            self._arm(self._requested_at, _FOREVER)
        return HeadersWait(self, self._timeouts.connect)

    def seconds_left(self) -> float:
        """Until the first of the clocks that run now runs out."""
        return self._first_end()[0] - monotonic()

    def begin_headers(self, timeout: asyncio.Timeout) -> None:
        """`timeout` is what a clock that runs out ends, and `stop`."""
        self._interruptible = timeout

    def connecting(self, runs: bool) -> None:
        """The connect clock starts, or stops."""
        self._connecting_since = monotonic() if runs else None

    def end_headers(self) -> None:
        """The wait for headers is over, however it ended."""
        self._interruptible = self._waiting_since = self._connecting_since = None

    def watch(self, on_expiry: Callable[[], None]) -> None:
        """From now on call `on_expiry`, which must end the wait for bytes, when a clock runs out."""
        self._on_expiry = on_expiry

    def stop(self) -> None:
        """No clock matters any more, and nobody wants what is waited for."""
        self._on_expiry = None
        if self._timer is not None and not self._loop.is_closed():  # in debug mode asyncio reads source files to cancel one
            self._timer.cancel()
        self._timer = None
        self._interrupt()

    def begin_wait(self) -> None:
        """In front of a wait for bytes. Not a context manager, which would cost a tenth of what a live delta does."""
        if self._expired is not None:
            raise self.timed_out()
        self._waiting_since = monotonic()

    def content_came(self) -> None:
        """The wait ended with content: the first-content clock is done, the idle clock starts anew with the next one."""
        if not self._has_content:
            self._has_content = True
            if self._stats.seconds_to_first_content is None:
                self._stats.seconds_to_first_content = self.elapsed_seconds()
        self._waiting_since = None
        self._waited_seconds = 0.0

    def end_wait(self) -> None:
        """The wait ended without."""
        if self._waiting_since is not None:
            self._waited_seconds += monotonic() - self._waiting_since
            self._waiting_since = None

    def cause_of(self, error: OrStreamError) -> OrStreamError:
        """Why a wait failed with this error: a StreamTimeout where a clock ran out."""
        if self._expired is None or isinstance(error, StreamTimeout):
            return error
        timeout = self.timed_out()
        timeout.__cause__ = error
        return timeout

    def timed_out(self) -> StreamTimeout:
        """The exception for the clock that ran out."""
        phase = self._expired or "first_content"  # where nobody wants the headers any more
        seconds = getattr(self._timeouts, phase)
        return StreamTimeout(f"Timeouts.{phase}={seconds} seconds ran out", phase=phase)

    def _first_end(self) -> tuple[float, TimeoutPhase]:
        """When the first of the clocks that run now will run out, and which it is."""
        timeouts, waiting_since = self._timeouts, self._waiting_since
        ends: list[tuple[float, TimeoutPhase]] = []
        if timeouts.total is not None:
            ends.append((self._started_at + timeouts.total, "total"))
        if self._connecting_since is not None and timeouts.connect is not None:
            ends.append((self._connecting_since + timeouts.connect, "connect"))
        if waiting_since is not None and self._has_content and timeouts.idle is not None:
            ends.append((waiting_since - self._waited_seconds + timeouts.idle, "idle"))
        if waiting_since is not None and not self._has_content and timeouts.first_content is not None:
            ends.append((self._requested_at + timeouts.first_content, "first_content"))
        return min(ends, default=(_FOREVER, "total"))

    def _arm(self, now: float, end: float) -> None:
        """Have a look then, or as soon as a clock that starts a moment from now could run out."""
        seconds = min(end - now, self._shortest_seconds)
        if seconds < _FOREVER:
            self._timer = self._loop.call_later(seconds, _look, weakref.ref(self))

    def look(self) -> None:
        """The timer went off."""
        now = monotonic()
        end, phase = self._first_end()
        if end > now:
            self._arm(now, end)
            return
        self._timer = None
        self._expired = phase
        self._interrupt()
        if self._on_expiry is not None:
            self._on_expiry()

    def _interrupt(self) -> None:
        if self._interruptible is not None and not self._interruptible.expired() and not self._loop.is_closed():
            self._interruptible.reschedule(self._loop.time())


class HeadersWait:
    """The wait for the headers of one answer, as an asynchronous context manager: raises StreamTimeout where a clock runs out.

    It is no generator: the frames of two took a tenth of the time to a first event, and of the memory of an open stream.
    """

    __slots__ = ("_clocks", "_timeout", "connect_seconds")

    def __init__(self, clocks: Clocks, connect_seconds: float | None) -> None:
        self.connect_seconds: float | None = connect_seconds
        self._clocks = clocks
        self._timeout = asyncio.timeout(None)

    def seconds_left(self) -> float:
        """Until a clock runs out, that for the connection left aside."""
        return self._clocks.seconds_left()

    def connecting(self, runs: bool) -> None:
        """For whoever makes a connection: it is being made, or that is over. The connect clock runs between the two."""
        self._clocks.connecting(runs)

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
            raise self._clocks.timed_out() from error


def _look(reference: weakref.ref[Clocks]) -> None:
    """A timer must not keep alive a stream that nobody holds."""
    clocks = reference()
    if clocks is not None:
        clocks.look()
