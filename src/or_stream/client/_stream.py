"""ChatStream: one generation as an async iterator. Pulls bytes through a Pipeline, minds the clocks, retries, always closes."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from or_stream.client._clocks import CONTENT, Clocks, HeadersWait, StreamStats, Timeouts
from or_stream.client._image_files import FileSink, new_stem
from or_stream.client._retry import RetryPolicy, seconds_before_retry
from or_stream.client._view import View, image_of, text_of
from or_stream.client.request import Request
from or_stream.client.transport import FOREIGN, Response
from or_stream.errors import ConfigurationError, ImageNotSaved, NoImageProduced, OrStreamError, StreamTruncated
from or_stream.events import Event, Heartbeat, Restart, StreamEnd, TextDelta
from or_stream.protocol import ImageSink, Limits, Pipeline
from or_stream.values import Image, Message, Status

if TYPE_CHECKING:
    from or_stream.catalog import Receipt

__all__ = ["ChatStream"]

# Text is parsed in slices of this size, so that the first event of a large read waits neither for the parsing of all the others
# nor for those of other streams.
_SLICE_BYTES: Final = 2**17

Send = Callable[[Request, HeadersWait], Awaitable[Response]]
Settle = Callable[[Message, Mapping[str, Any], str | None, float], Awaitable["Receipt"]]


class ChatStream:
    """One generation. Iterate it for events, or one of its views; nothing is sent before that or before it is entered.

    Leaving the loop in any way drops the connection at once, because an abandoned generation costs money; so do leaving
    `async with`, `aclose`, and a cancelled task. Only an iterator or a view that is kept in a variable holds it open. What had
    come by then stays in `message`. A stream is for one task at a time.
    """

    def __init__(
        self,
        request: Request,
        send: Send,
        *,
        timeouts: Timeouts,
        retry: RetryPolicy,
        limits: Limits,
        settle: Settle,
        prepare: Callable[[], Awaitable[Request]] | None = None,
        when_complete: Callable[[Message], None] | None = None,
        takes_digests: bool = False,
    ) -> None:
        self._request = request
        self._prepare = prepare  # the request to send instead, made when it comes to that
        self._when_complete = when_complete  # told once, of an honest end alone
        self._takes_digests = takes_digests  # of images in files, on the way
        self._send = send
        self._settle = settle
        self._timeouts = timeouts
        self._retry = retry
        self._limits = limits
        self._status: Status = "pending"
        self._stats = StreamStats()
        self._ready: list[Event] = []  # the next one last; a deque takes 0.7 of the 8 kB of a stream
        self._failure: OrStreamError | None = None
        self._pipeline: Pipeline | None = None
        self._response: Response | None = None
        self._unread, self._unread_from = b"", 0  # a large read, of which the first bytes have been read
        self._has_handed_out = False  # anything but heartbeats, so that another request would repeat it
        self._is_reading = False
        self._unsaved: list[ImageNotSaved] = []
        self._pause_seconds = 0.0  # before the next request
        self._loop: asyncio.AbstractEventLoop | None = None
        self._clocks: Clocks | None = None

    @property
    def message(self) -> Message:
        """What has come so far; readable at any moment, also after an error."""
        return Message(status=self._status) if self._pipeline is None else self._pipeline.message(self._status)

    @property
    def status(self) -> Status:
        """How far the stream is, or how it ended."""
        return self._status

    @property
    def generation_id(self) -> str | None:
        """The id that tells what the generation cost (`GET /generation`); None until the server has sent it."""
        return self._pipeline.generation_id if self._pipeline is not None else None

    @property
    def stats(self) -> StreamStats:
        """What the stream has taken so far."""
        if self._clocks is not None and self._status == "streaming":
            self._stats.seconds = self._clocks.elapsed_seconds()
        return self._stats

    @property
    def text(self) -> "View[str]":
        """The visible text only, in pieces as they come."""
        return View(self._ready, self._next, self._leave_from_anywhere, text_of)

    @property
    def images(self) -> "View[Image]":
        """The finished images only."""
        return View(self._ready, self._next, self._leave_from_anywhere, image_of)

    def __aiter__(self) -> "View[Event]":
        return View(self._ready, self._next, self._leave_from_anywhere, None)

    async def __aenter__(self) -> Self:
        await self._next(until_open=True)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    async def aclose(self) -> None:
        """Drop the connection, if there is one. May be called at any time and more than once."""
        self.leave()

    async def final(self) -> Message:
        """Read to the end and return the message. Raises what iterating would raise; StreamTruncated if the stream was left."""
        while await self._next() is not None:
            self._ready.clear()
        if self._status == "cancelled":
            error = StreamTruncated("this stream was left before its end; what came is in .partial")
            raise self._described(error)
        return self.message

    async def receipt(self, *, wait_seconds: float = 30) -> "Receipt":
        """What the stream was and cost, once it has ended in any way.

        Of a stream that was left or cut only the service knows the cost, some seconds later: it is asked for `wait_seconds`.
        Where it does not answer, the receipt has what the stream knew, and says why. Raises ConfigurationError before the end.
        """
        if self._status in ("pending", "streaming"):
            raise ConfigurationError(f"this stream is {self._status}: there is a receipt once it has ended")
        generation_id = self.generation_id or (self._failure.generation_id if self._failure is not None else None)
        return await self._settle(self.message, asdict(self._stats), generation_id, wait_seconds)

    def leave(self) -> None:
        """What `aclose` does, for where nothing can be awaited."""
        if self._status in ("pending", "streaming"):
            self._ready.clear()
            self._end("cancelled")

    def __del__(self) -> None:
        self._leave_from_anywhere()

    def _leave_from_anywhere(self) -> None:
        """Leave from a finaliser, which the garbage collector may run in any thread and after the loop has closed."""
        loop = self._loop
        if loop is None or self._status != "streaming":
            return
        try:
            is_here = asyncio.get_running_loop() is loop or loop.is_closed()
        except RuntimeError:
            is_here = not loop.is_running()
        if is_here:
            self.leave()
        else:
            loop.call_soon_threadsafe(self.leave)

    async def _next(self, *, until_open: bool = False) -> Event | None:
        """The next event; None behind the last, where a failure is raised instead. `until_open`: None once there are headers."""
        while not (self._ready or (until_open and self._response is not None)):
            if self._status not in ("pending", "streaming"):
                if self._failure is not None:
                    raise self._failure
                return None
            if self._is_reading:
                raise ConfigurationError("this stream is being read by another task: give each task a stream of its own")
            self._is_reading = True
            failure: OrStreamError | None = None
            try:
                response = self._response
                if response is None:
                    await self._begin()
                else:
                    assert self._clocks is not None
                    assert self._pipeline is not None
                    self._clocks.begin_wait()
                    try:
                        data = await (self._next_slice() if self._unread else response.read())
                    except FOREIGN as error:
                        data = response.rest_after(error)
                    # What `_take` does, without its steps, each a tenth of what a live delta costs here. Text like this was
                    # handed out before, and of a stream that was left the pipeline takes none.
                    if (text := self._pipeline.take_live(data)) is not None:
                        self._stats.bytes += len(data)
                        self._stats.events += 1
                        self._clocks.content_came()
                        return TextDelta(text)
                    failure = self._take(data)
            except OrStreamError as error:
                failure = self._broken_by(error)
            except BaseException:
                self.leave()
                raise
            finally:
                self._is_reading = False
                response, data = None, b""  # else they are kept by the traceback of a failure, which may be kept for long
            if failure is not None and not self._is_left():
                self._fail(failure)
        return None if until_open else self._ready.pop()

    async def _begin(self) -> None:
        if self._clocks is None:
            self._loop = asyncio.get_running_loop()
            self._clocks = Clocks(self._loop, self._timeouts, self._stats)
            self._status = "streaming"
        if self._prepare is not None:
            prepare, self._prepare = self._prepare, None
            self._request = await prepare()
            if self._is_left():
                return
        if self._pause_seconds:
            await self._clocks.pause(self._pause_seconds)
            if self._is_left():
                return
        self._stats.attempts += 1
        self._pipeline = None
        async with self._clocks.waiting_for_headers() as wait:
            response = await self._send(self._request, wait)
        if self._is_left():
            response.close()
            return
        self._response = response
        if self._stats.seconds_to_headers is None:
            self._stats.seconds_to_headers = self._clocks.elapsed_seconds()
        self._pipeline = Pipeline(
            api=self._request.route.api,
            model=self._request.model,
            provider=response.provider,
            images_wanted=self._request.images_wanted,
            framing=response.framing,
            generation_id=response.generation_id,
            elapsed_seconds=self._clocks.elapsed_seconds,
            requested_at=time.time() - self._clocks.elapsed_seconds(),
            open_sink=self._sink_opener(),
            limits=self._limits,
        )
        self._clocks.watch(response.close)

    async def _next_slice(self) -> bytes:
        """Of a large read, in the next turn: each of many streams gets its first events before any gets the rest."""
        await asyncio.sleep(0)
        return self._slice()

    def _slice(self) -> bytes:
        """Of what is unread, what is to be read next: whole events where that can be."""
        unread, start, end = self._unread, self._unread_from, self._unread_from + _SLICE_BYTES
        if end >= len(unread):
            self._unread = b""
            return unread[start:]
        boundary = unread.rfind(b"\n\n", start, end)
        self._unread_from = end = end if boundary < 0 else boundary + 2
        return unread[start:end]

    def _take(self, data: bytes) -> OrStreamError | None:
        """Make events of what was read, and have them ready; what failed in it."""
        assert self._pipeline is not None
        assert self._clocks is not None
        if self._status == "cancelled":
            return None
        if len(data) > _SLICE_BYTES and not self._pipeline.is_lifting:
            self._unread, self._unread_from = data, 0
            data = self._slice()
        self._stats.bytes += len(data)
        self._make_ready(self._pipeline.feed(data) if data else self._pipeline.finish())
        return self._pipeline.failure

    def _is_left(self) -> bool:
        """Whether another task has left the stream meanwhile."""
        return self._status == "cancelled"

    def _broken_by(self, error: OrStreamError) -> OrStreamError | None:
        """What an error of the connection is for the stream: None where that had come to its end."""
        failure = error if self._clocks is None else self._clocks.cause_of(error)
        if self._response is None or self._pipeline is None or self._is_left():
            return failure
        self._make_ready(self._pipeline.close(failure))
        return self._pipeline.failure

    def _make_ready(self, events: list[Event]) -> None:
        """Notice what events mean for the stream, and have them handed out."""
        assert self._clocks is not None
        self._stats.events += len(events)
        kinds = set(map(type, events))
        if kinds.isdisjoint(CONTENT):
            # What it takes to look through the bytes counts too: those of a flood of comments are always there.
            self._clocks.end_wait()
        else:
            self._clocks.content_came()
        if Heartbeat in kinds:
            self._stats.heartbeats += sum(type(event) is Heartbeat for event in events)
            kinds.discard(Heartbeat)
        if kinds:
            self._has_handed_out = True
        if StreamEnd in kinds:
            self._note_end(events)
        events.reverse()
        self._ready += events

    def _note_end(self, events: list[Event]) -> None:
        """The end is taken from the events where the stream lacks what was asked for, or is not kept."""
        end = events[-1]
        assert isinstance(end, StreamEnd)
        shortfall = self._shortfall(end.message)
        if shortfall is None and self._when_complete is not None:
            try:
                self._when_complete(end.message)
            except OrStreamError as error:
                shortfall = error
        if shortfall is not None:
            events.pop()
            self._failure = self._described(shortfall)
        self._end("complete" if shortfall is None else "failed")

    def _shortfall(self, message: Message) -> OrStreamError | None:
        """What a message lacks that came to an honest end."""
        if self._request.require_image and not message.images:
            return NoImageProduced(
                f"the answer has no image (native finish reason {message.native_finish_reason!r}): ask for one in the prompt, "
                "and see .text for what the model said instead",
                text=message.text,
                native_finish_reason=message.native_finish_reason,
            )
        return self._unsaved[0] if self._unsaved else None

    def _fail(self, failure: OrStreamError) -> None:
        """Have the request sent again after a pause, or make the failure the end."""
        assert self._clocks is not None
        if self._response is not None:
            self._response.explain(failure)
        wait_seconds = None
        if not self._has_handed_out and self._request.correct(failure):
            wait_seconds = 0.0
        elif not self._has_handed_out or self._retry.restart:
            wait_seconds = seconds_before_retry(
                self._retry,
                attempt=self._stats.attempts - self._request.corrections,
                error=failure,
                elapsed_seconds=self._clocks.elapsed_seconds(),
                random_fraction=random.random(),
            )
        if wait_seconds is None or self._clocks.total_ends_within(wait_seconds):
            self._failure = self._described(self._request.telling(failure))
            self._end("truncated" if isinstance(failure, StreamTruncated) else "failed")
            return
        discarded = self.message
        self._drop_response()
        if self._has_handed_out:
            self._ready.insert(0, Restart(self._stats.attempts + 1, str(failure), discarded))
            self._has_handed_out = False
        self._pause_seconds = wait_seconds

    def _described(self, error: OrStreamError) -> OrStreamError:
        status: Status = "truncated" if isinstance(error, StreamTruncated) else "failed"
        error.attempts = self._stats.attempts
        error.partial = Message(status=status) if self._pipeline is None else self._pipeline.message(status)
        error.generation_id = error.generation_id or self.generation_id
        return error

    def _end(self, status: Status) -> None:
        if self._clocks is not None:
            self._stats.seconds = self._clocks.elapsed_seconds()
        if status == "complete" and self._response is not None:
            self._response.end()
            self._response = None
        self._drop_response()
        self._status = status

    def _drop_response(self) -> None:
        self._unread = b""
        if self._clocks is not None:
            self._clocks.stop()
        is_of_parent = self._response is not None and self._response.is_of_parent
        if self._response is not None:
            self._response.close()
            self._response = None
        if self._pipeline is not None and not is_of_parent:  # else the files that are half written are the parent's too
            self._pipeline.close()

    def _sink_opener(self) -> Callable[[int], ImageSink] | None:
        folder = self._request.save_to
        if folder is None:
            return None
        stem, takes_digest = new_stem(), self._takes_digests
        unsaved: list[ImageNotSaved] = []
        self._unsaved = unsaved
        # Without `self`: the pipeline holds this, and a stream that holds itself stays, with its request, for the collector.
        return lambda index: FileSink(folder, stem, index, unsaved.append, takes_digest=takes_digest)
