"""The async iterator that a loop over a stream holds."""

from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

from or_stream.events import Event, ImageEnd, TextDelta
from or_stream.values import Image

__all__ = ["View", "image_of", "text_of"]

ItemT = TypeVar("ItemT")


class View(Generic[ItemT]):
    """An async iterator over some of a stream's events. When it is dropped, as by a loop that is left, the stream is left too."""

    __slots__ = ("_is_used", "_leave", "_pick", "_ready", "_wait_for_next")

    def __init__(
        self,
        ready: list[Event],
        wait_for_next: Callable[[], Awaitable[Event | None]],
        leave: Callable[[], None],
        pick: Callable[[Event], ItemT | None] | None,
    ) -> None:
        self._ready = ready
        self._wait_for_next = wait_for_next
        self._leave = leave
        self._pick = pick
        self._is_used = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ItemT:
        while (event := self._ready.pop() if self._ready else await self._wait_for_next()) is not None:
            self._is_used = True
            # Without `pick` the items are the events.
            if (item := event if self._pick is None else self._pick(event)) is not None:
                # From Python 3.12 on an exception that somebody keeps, or that hangs in a circle, keeps this frame too where it
                # came up below: a loop that is left would not drop the iterator.
                del self
                return item  # type: ignore[return-value]
        raise StopAsyncIteration

    def __del__(self) -> None:
        if self._is_used:
            self._leave()


def text_of(event: Event) -> str | None:
    """The visible text of an event, None where it has none."""
    return event.text if type(event) is TextDelta and event.choice == 0 else None


def image_of(event: Event) -> Image | None:
    """The finished image of an event, None where it has none."""
    return event.image if type(event) is ImageEnd else None
