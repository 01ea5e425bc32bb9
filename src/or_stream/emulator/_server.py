"""The `Emulator`: listens, records what comes, chooses what to answer."""

import asyncio
import itertools
import json
import secrets
import string
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from or_stream.emulator import scenarios
from or_stream.emulator._assistant import DEFAULT_MODEL, Pace, answer, complaint, model_of, paints, provider_of
from or_stream.emulator._player import Player
from or_stream.emulator._script import Identity, Scenario

_ALPHABET = string.ascii_letters + string.digits
_REQUEST_BYTES_AT_MOST = 256 * 2**20
_SCENARIO_HEADER = "x-emulator-scenario"
_SCENARIO_MODEL = "emulator/"


@dataclass(eq=False, slots=True)
class RecordedRequest:
    """A request that came.

    `headers` have lower-case names; `body` is the parsed JSON, None where there is none. `received_seconds` is on the clock of
    `time.monotonic`. `finished` is set when the answer has been given to the end that its scenario has, `disconnected` when the
    client left before; neither is set while the answer goes on.
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
    bytes_sent: int = 0
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def closed_early(self) -> bool:
        """Whether the client dropped the connection before the answer was complete."""
        return self.disconnected.is_set()


Script = Callable[[RecordedRequest], Scenario | None]


class Emulator:
    """OpenRouter on a loopback port. Use it with `async with`, or `start` and `aclose`.

    `api_key`: the only key accepted; None accepts any. `scenario`: what is answered where nothing else is asked for, a Scenario
    or a name; None is the assistant. `script`: called with each request that has no answer yet; may say None. The two times
    are the assistant's. `port=0` takes a free port.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        scenario: Scenario | str | None = None,
        script: Script | None = None,
        text_delay_seconds: float = 0.0,
        image_seconds: float = 0.0,
        keep_requests: int = 10_000,
    ) -> None:
        self.host: str = host
        self.port: int = port
        self.api_key = api_key
        self.scenario = scenario
        self.script = script
        self.pace: Pace = Pace(text_delay_seconds, image_seconds)
        self.requests: list[RecordedRequest] = []
        self.peak_active: int = 0
        self._keep_requests = keep_requests
        self._received = 0
        self._arrival = asyncio.Event()
        self._queue: deque[Scenario] = deque()
        self._turns: dict[str, itertools.count[int]] = {}
        self._runner: web.AppRunner | None = None
        self._painter: ThreadPoolExecutor | None = None
        self._closing = False
        self._answering: set[asyncio.Task[Any]] = set()

    @property
    def base_url(self) -> str:
        """The address for `base_url=` of a client, `http://127.0.0.1:PORT/api/v1`. RuntimeError before `start`."""
        if self._runner is None:
            raise RuntimeError("the emulator is not running: enter it with `async with`, or await start()")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/api/v1"

    @property
    def active(self) -> int:
        """How many answers are under way."""
        return len(self._answering)

    async def start(self) -> None:
        """Listen. OSError where the port is taken."""
        if self._runner is not None:
            raise RuntimeError("the emulator is running already")
        app = web.Application(client_max_size=_REQUEST_BYTES_AT_MOST)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)
        await runner.setup()
        try:
            await web.TCPSite(runner, self.host, self.port, backlog=2048).start()
        except OSError:
            await runner.cleanup()
            raise
        self._closing = False
        self._runner, self.port = runner, runner.addresses[0][1]

    async def aclose(self) -> None:
        """Stop listening and drop every connection. Answers that go on are broken off. May be called twice."""
        runner, self._runner = self._runner, None
        self._closing = True
        if runner is not None:
            for site in list(runner.sites):
                await site.stop()
            # Not left to aiohttp: it waits its shutdown_timeout twice before it cancels, and under coverage on CPython 3.11 that
            # wait lets a CancelledError of its own out.
            for answering in self._answering:
                answering.cancel()
            if self._answering:
                await asyncio.wait(self._answering)
            await runner.cleanup()
        painter, self._painter = self._painter, None
        if painter is not None:
            await asyncio.to_thread(painter.shutdown, cancel_futures=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def play(self, *played: Scenario | str, times: int = 1) -> None:
        """Answer the next requests with these, in order and each once, all of it `times` over. A str is a scenario's name."""
        for _ in range(times):
            for scenario in played:
                self._queue.extend(scenarios.by_name(scenario) if isinstance(scenario, str) else (scenario,))

    async def received(self, count: int = 1) -> list[RecordedRequest]:
        """Wait until that many requests have come since the start, and return those kept."""
        while self._received < count:
            self._arrival.clear()
            await self._arrival.wait()
        return self.requests

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return await Player(request, scenarios.refused(413), Identity()).play()
        record = self._record(request, raw)
        task = asyncio.current_task()
        assert task is not None, "aiohttp runs every handler in a task"
        self._answering.add(task)
        self.peak_active = max(self.peak_active, self.active)
        try:
            return await self._answer(request, record)
        except (ConnectionError, asyncio.CancelledError):
            if not self._closing:
                record.disconnected.set()
            raise
        finally:
            self._answering.discard(task)

    def _record(self, request: web.Request, raw: bytes) -> RecordedRequest:
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        generation_id = f"gen-{int(time.time())}-{''.join(secrets.choice(_ALPHABET) for _ in range(20))}"
        headers = {name.lower(): value for name, value in request.headers.items()}
        record = RecordedRequest(
            request.method, request.path, dict(request.query), headers, raw, body, time.monotonic(), generation_id
        )
        self.requests.append(record)
        del self.requests[: -self._keep_requests]
        self._received += 1
        self._arrival.set()
        return record

    async def _answer(self, request: web.Request, record: RecordedRequest) -> web.StreamResponse:
        scenario = self._refusal(record)
        model = model_of(record.body) if scenario is None else DEFAULT_MODEL
        identity = Identity(record.generation_id, int(time.time()), model, provider_of(model))
        scenario = scenario or self._chosen(record) or await self._assistant(record.body, identity)
        record.scenario = scenario.name
        player = Player(request, scenario, identity)
        try:
            response = await player.play()
        finally:
            record.bytes_sent = player.bytes_sent
        record.finished.set()
        return response

    def _refusal(self, record: RecordedRequest) -> Scenario | None:
        """What is refused whatever the scenario: no such endpoint, no key, no chat request."""
        if (record.method, record.path) != ("POST", "/api/v1/chat/completions"):
            return scenarios.refused(404, {"error": {"message": "Not Found", "code": 404}})
        scheme, _, key = record.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return scenarios.refused(401)
        if self.api_key is not None and key.strip() != self.api_key:
            return scenarios.refused(401, {"error": {"message": "User not found.", "code": 401}})
        return complaint(record.body)

    def _chosen(self, record: RecordedRequest) -> Scenario | None:
        """By header, by model, from the queue, by the script, the default; None is the assistant."""
        name = record.headers.get(_SCENARIO_HEADER)
        model = model_of(record.body)
        if name is not None:
            return self._named(name)
        if model.startswith(_SCENARIO_MODEL):
            return self._named(model.removeprefix(_SCENARIO_MODEL))
        if self._queue:
            return self._queue.popleft()
        scripted = self.script(record) if self.script is not None else None
        if scripted is not None:
            return scripted
        return self._named(self.scenario) if isinstance(self.scenario, str) else self.scenario

    def _named(self, name: str) -> Scenario:
        try:
            turns = scenarios.by_name(name)
        except KeyError:
            return scenarios.refused(400, {"error": {"message": f"{_SCENARIO_MODEL}{name} is not a valid model ID", "code": 400}})
        turn = next(self._turns.setdefault(name, itertools.count()))
        return turns[turn % len(turns)]

    async def _assistant(self, body: dict[str, Any], identity: Identity) -> Scenario:
        if not paints(body):
            return answer(body, identity, self.pace)
        # One thread: drawing holds the interpreter's lock anyway, and the loop's own threads stay free for the client's use.
        if self._painter is None:
            self._painter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="or-stream-emulator")
        return await asyncio.get_running_loop().run_in_executor(self._painter, answer, body, identity, self.pace)
