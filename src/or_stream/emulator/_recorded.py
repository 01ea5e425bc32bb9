"""What came: one `RecordedRequest` for each request, and the `Signal` that tells tests what became of it."""

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


class Signal:
    """Something that happens once. It may be set, awaited and looked at in any thread and in any event loop.

    As a gate it holds an answer: `WaitFor(signal)`.
    """

    __slots__ = ("_happened", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._happened = threading.Event()
        self._waiting: list[asyncio.Future[None]] = []

    def set(self) -> None:
        """It has happened. May be called again."""
        with self._lock:
            self._happened.set()
            waiting, self._waiting = self._waiting, []
        for future in waiting:
            with suppress(RuntimeError):  # that loop has been closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_resolve, future)

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._happened.is_set()

    async def wait(self) -> None:
        """Return once it has happened."""
        with self._lock:
            if self._happened.is_set():
                return
            future = asyncio.get_running_loop().create_future()
            self._waiting.append(future)
        try:
            await future
        finally:
            with self._lock, suppress(ValueError):
                self._waiting.remove(future)

    def block(self, timeout_seconds: float | None = None) -> bool:
        """Hold the calling thread until it has happened, and return whether it has."""
        return self._happened.wait(timeout_seconds)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


@dataclass(eq=False, slots=True)
class RecordedRequest:
    """A request that came.

    `headers` have lower-case names; `body` is the parsed JSON, None where there is none. `received_seconds` is on the clock of
    `time.monotonic`. `finished` is set when the answer has been given to the end that its scenario has, `disconnected` when the
    client left before; neither is set while the answer goes on. `status` is 0 until it is known what is answered.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: Any
    received_seconds: float
    generation_id: str
    scenario: str = ""
    status: int = 0
    bytes_sent: int = 0
    finished: Signal = field(default_factory=Signal)
    disconnected: Signal = field(default_factory=Signal)

    @property
    def closed_early(self) -> bool:
        """Whether the client dropped the connection before the answer was complete."""
        return self.disconnected.is_set()

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        return self.body.get("model") if isinstance(self.body, dict) else None
