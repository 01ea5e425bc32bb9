"""From the workers to the loop of the caller: as items end, or in order; never more of them than there is room for."""

import asyncio
from collections import deque

from or_stream.batching.records import BatchItem

__all__ = ["Delivery"]


class Delivery:
    """`room` bounds the prompts that were taken from the input and not handed out yet: `admit` one, `hand_over` its item."""

    def __init__(self, *, room: int, ordered: bool) -> None:
        self._room = asyncio.Semaphore(room)
        self._ordered = ordered
        self._early: dict[int, BatchItem | None] = {}
        self._next_index = 0
        self._ready: deque[BatchItem] = deque()
        self._arrival = asyncio.Event()
        self._is_over = False

    async def admit(self) -> None:
        """Wait until another prompt may be taken from the input."""
        await self._room.acquire()

    def hand_over(self, index: int, item: BatchItem | None) -> None:
        """The item of that prompt; None where there is nothing to hand out."""
        if not self._ordered:
            self._offer(item)
            return
        self._early[index] = item
        while self._next_index in self._early:
            self._offer(self._early.pop(self._next_index))
            self._next_index += 1

    def close(self) -> None:
        """Nothing more comes: hand out what waits for those in front of it, too."""
        for index in sorted(self._early):
            self._offer(self._early.pop(index))
        self._is_over = True
        self._arrival.set()

    async def take(self) -> BatchItem | None:
        """The next item; None after the last."""
        while not self._ready:
            if self._is_over:
                return None
            self._arrival.clear()
            await self._arrival.wait()
        self._room.release()
        return self._ready.popleft()

    def _offer(self, item: BatchItem | None) -> None:
        if item is None:
            self._room.release()
            return
        self._ready.append(item)
        self._arrival.set()
