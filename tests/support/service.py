"""An API that answers what a test says, path by path: for what the emulator has no reason to do."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from aiohttp import web

__all__ = ["Service", "refusal"]

Answer = tuple[int, Any]


def refusal(status: int, message: str = "no", **error: Any) -> Answer:
    """An answer with an error object."""
    return status, {"error": {"code": status, "message": message, **error}}


class Service:
    """`async with Service({"/models": (200, {...})}) as service`. Bytes are sent as they are, everything else as JSON.

    Of a list of answers each is given once, the last again and again. `open` may be cleared, to hold every answer back. A path
    without an answer is not found.
    """

    def __init__(self, answers: Mapping[str, Answer | list[Answer]]) -> None:
        self.answers = {path: list(given) if isinstance(given, list) else [given] for path, given in answers.items()}
        self.asked: Counter[str] = Counter()
        self.queries: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.left: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.open.set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api/v1{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/api/v1"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.open.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        self.asked[path] += 1
        self.queries.append(dict(request.query))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.left[path] += 1
            raise
        given = self.answers.get(path, [refusal(404, "Resource not found")])
        status, body = given.pop(0) if len(given) > 1 else given[0]
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=data, content_type="application/json")
