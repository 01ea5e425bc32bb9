"""A plain HTTP server: what `Recorder` and `ReplayServer` have in common. Knows nothing of what it answers."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

__all__ = ["Listener"]

_REQUEST_BYTES_AT_MOST: Final = 256 * 2**20


class Listener(ABC):
    """Listens and hands every request to `_answer`, whose task is cancelled when the client leaves.

    Use it with `async with`, or `start` and `aclose`. `port=0` takes a free port.
    """

    # Whether the body of a request is read as what it says, or as the bytes that came.
    _inflates: bool = True

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host: str = host
        self.port: int = port
        self._runner: web.AppRunner | None = None
        self._answering: set[asyncio.Task[Any]] = set()
        self._closing = False

    @property
    def base_url(self) -> str:
        """The address for `base_url=` of a client, `http://127.0.0.1:PORT/api/v1`. RuntimeError before `start`."""
        if self._runner is None:
            raise RuntimeError("nothing is listening: enter it with `async with`, or await start()")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/api/v1"

    async def start(self) -> None:
        """Listen. OSError where the port is taken."""
        app = web.Application(client_max_size=_REQUEST_BYTES_AT_MOST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05, auto_decompress=self._inflates
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=2048).start()
        except OSError:
            await runner.cleanup()
            raise
        self._closing = False
        self._runner, self.port = runner, runner.addresses[0][1]

    async def aclose(self) -> None:
        """Stop listening and drop every connection. May be called twice."""
        runner, self._runner = self._runner, None
        self._closing = True
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            for answering in self._answering:
                answering.cancel()
            if self._answering:
                await asyncio.wait(self._answering)
            await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None, "aiohttp runs every handler in a task"
        self._answering.add(task)
        try:
            return await self._answer(request)
        finally:
            self._answering.discard(task)

    @abstractmethod
    async def _answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
