"""The iterator that a loop holds: what it picks, and that it leaves the stream when it is dropped."""

import sys

import pytest

from or_stream import Heartbeat, TextDelta
from or_stream.client._view import View


class Source:
    """Batches of events, as a stream would fill them in."""

    def __init__(self, *batches):
        self.ready, self.batches, self.left = [], list(batches), 0

    async def next(self):
        if not self.batches:
            return None
        batch = self.batches.pop(0)
        if isinstance(batch, Exception):
            raise batch
        self.ready[:0] = reversed(batch)
        return self.ready.pop()

    def leave(self):
        self.left += 1

    def view(self, pick=None):
        return View(self.ready, self.next, self.leave, pick)


async def test_all_events():
    """Without a choice every event comes."""
    source = Source([1, 2], [3])
    assert [event async for event in source.view()] == [1, 2, 3]


async def test_chosen_events():
    """What the choice says None to is passed over."""
    source = Source([Heartbeat("x")], [TextDelta("a"), Heartbeat("x")], [TextDelta("")])
    texts = source.view(lambda event: event.text if isinstance(event, TextDelta) else None)
    assert [text async for text in texts] == ["a", ""]


async def test_dropped_while_in_use():
    """A loop that is left drops its view, and the view leaves the stream."""
    source = Source([1, 2])
    async for _ in source.view():
        break
    assert source.left == 1


async def test_dropped_while_its_frame_is_kept():
    """The frame of the waiting, as an exception that came up below keeps it from Python 3.12 on, does not hold the view."""
    source, frames = Source([1], [2]), []
    view = View(source.ready, lambda: frames.append(sys._getframe(1)) or source.next(), source.leave, None)
    assert await anext(view) == 1
    assert frames[0].f_code is View.__anext__.__code__
    del view
    assert source.left == 1


async def test_never_used():
    """A view that was only looked at leaves nothing."""
    source = Source([1])
    view = source.view()
    assert aiter(view) is view
    del view
    assert source.left == 0


async def test_refused():
    """Nor does one that could not read: another task may be reading."""
    source = Source(ValueError("another task"))
    with pytest.raises(ValueError, match="another"):
        await anext(source.view())
    assert source.left == 0
