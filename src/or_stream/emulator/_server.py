"""The `Emulator`: listens, records what comes, chooses what to answer, and keeps the bill."""

import asyncio
import itertools
import json
import math
import random
import string
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from or_stream.emulator import scenarios
from or_stream.emulator._bill import Bill
from or_stream.emulator._endpoints import (
    Account,
    Generator,
    Pace,
    find,
    generator_of,
    is_open,
    looked_up,
    models_of,
    no_key,
    not_found,
    out_of_credit,
    route,
    unknown_model,
    wrong_key,
)
from or_stream.emulator._generation import Generation
from or_stream.emulator._http import Listener, Player
from or_stream.emulator._rate_limit import Patience, RateLimit
from or_stream.emulator._recorded import RecordedRequest
from or_stream.emulator._script import JSON_TYPE, Identity, Scenario

_ALPHABET = string.ascii_letters + string.digits
_PREFIX = "/api/v1"
_SCENARIO_HEADER = "x-emulator-scenario"
_SCENARIO_MODEL = "emulator/"
# When everything happens where a seed is given.
_SEEDED_TIME = 1787584664

Script = Callable[[RecordedRequest], Scenario | None]


class Emulator(Listener):
    """OpenRouter on a loopback port. Use it with `async with`, or `start` and `aclose`.

    `api_key`: the only key accepted; None accepts any. `scenario`: what is answered where nothing else is asked for, a Scenario
    or a name; None is the assistant. `script`: called with each request for a generation that has no answer yet; may say None.
    `text_delay_seconds` (between two words) and `image_seconds` (for the bytes of one) are the assistant's. `port=0` takes a free
    port. `credits`: USD there are to spend; None is no end of them. `rate_limit`: a `FixedWindow` or a `TokenBucket`, and may be
    set at any time. For `generation_delay_seconds` after its end a generation is not yet known to GET /generation. `seed` makes
    ids and times follow from it, in the order in which requests come. `models`: ids that are taken as well.
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
        credits: float | None = None,
        rate_limit: RateLimit | None = None,
        generation_delay_seconds: float = 0.1,
        seed: int | None = None,
        models: tuple[str, ...] = (),
        keep_requests: int = 10_000,
    ) -> None:
        super().__init__(host, port)
        self.api_key = api_key
        self.scenario = scenario
        self.script = script
        self.pace: Pace = Pace(text_delay_seconds, image_seconds)
        self.rate_limit = rate_limit
        self.models: set[str] = set(models)
        self.requests: list[RecordedRequest] = []
        self.peak_active: int = 0
        self.bill: Bill = Bill(keep_requests)
        self.credits = credits
        self.generation_delay_seconds = generation_delay_seconds
        self._patience = Patience()
        self._random = random.SystemRandom() if seed is None else random.Random(seed)
        self._clock: Callable[[], float] = time.time if seed is None else lambda: _SEEDED_TIME
        self._keep_requests = keep_requests
        self._received = 0
        self._arrival = asyncio.Event()
        self._queues: defaultdict[str | None, deque[Scenario]] = defaultdict(deque)
        self._turns: dict[str, itertools.count[int]] = {}
        self._painter: ThreadPoolExecutor | None = None

    @property
    def scenario(self) -> Scenario | str | None:
        """What is answered where nothing else is asked for; None is the assistant. ValueError for a name that is none."""
        return self._scenario

    @scenario.setter
    def scenario(self, scenario: Scenario | str | None) -> None:
        if isinstance(scenario, str):
            scenarios.by_name(scenario)
        self._scenario = scenario

    @property
    def active(self) -> int:
        """How many answers are under way."""
        return len(self._answering)

    @property
    def refused(self) -> int:
        """How many requests the rate limit refused, each with a 429."""
        return self._patience.refused

    @property
    def early(self) -> int:
        """How many requests came before the Retry-After of a 429 was over. Those that came within 0.25 s of it had been on their
        way, and are not counted.
        """
        return self._patience.early

    @property
    def refused_early(self) -> int:
        """Those of `early` that were refused again."""
        return self._patience.refused_early

    async def aclose(self) -> None:
        """Stop listening and drop every connection. Answers that go on are broken off. May be called twice."""
        await super().aclose()
        painter, self._painter = self._painter, None
        if painter is not None:
            await asyncio.to_thread(painter.shutdown, cancel_futures=True)

    def play(self, *played: Scenario | str, times: int = 1, path: str | None = None) -> None:
        """Answer the next requests with these, in order and each once, all of it `times` over. A str is a scenario's name.

        Requests for a generation, unless `path` says which others: "/models", "/generation", also "/images" alone.
        """
        for _ in range(times):
            for scenario in played:
                self._queues[path].extend(scenarios.by_name(scenario) if isinstance(scenario, str) else (scenario,))

    async def received(self, count: int = 1) -> list[RecordedRequest]:
        """Wait until that many requests have come since the start, and return those kept."""
        while self._received < count:
            self._arrival.clear()
            await self._arrival.wait()
        return self.requests

    # One request

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return await Player(request, scenarios.refused(413), Identity()).play()
        record = self._record(request, raw)
        self.peak_active = max(self.peak_active, self.active)
        try:
            return await self._play(request, record)
        except asyncio.CancelledError:
            if not self._closing:
                record.disconnected.set()
            raise
        except ConnectionError:
            # Not raised further: aiohttp would log it as an error of the handler.
            record.disconnected.set()
            return web.Response()

    def _record(self, request: web.Request, raw: bytes) -> RecordedRequest:
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = None
        kind = "gen-img-" if "/images" in request.path else "gen-"
        generation_id = f"{kind}{int(self._clock())}-{''.join(self._random.choices(_ALPHABET, k=20))}"
        headers = {name.lower(): value for name, value in request.headers.items()}
        record = RecordedRequest(
            request.method, request.path, dict(request.query), headers, raw, body, time.monotonic(), generation_id
        )
        self.requests.append(record)
        del self.requests[: -self._keep_requests]
        self._received += 1
        self._arrival.set()
        return record

    async def _play(self, request: web.Request, record: RecordedRequest) -> web.StreamResponse:
        scenario, identity, generation = await self._choose(record)
        record.scenario, record.status = scenario.name, scenario.status
        player = Player(request, scenario, identity, generation if scenario.status < 300 else None)
        cancelled = False
        try:
            response = await player.play()
        except (ConnectionError, asyncio.CancelledError):
            cancelled = not self._closing
            if generation is not None and scenario.content_type == JSON_TYPE and not record.body.get("stream"):
                generation.complete(scenario)
            raise
        finally:
            record.bytes_sent = player.bytes_sent
            if generation is not None:
                generation.end(cancelled=cancelled)
        record.finished.set()
        return response

    async def _choose(self, record: RecordedRequest) -> tuple[Scenario, Identity, Generation | None]:
        """What is answered, and who answers; and a generation where something is made."""
        identity = Identity(record.generation_id, int(self._clock()))
        generator = generator_of(record.method, record.path)
        if generator is None:
            return self._shown(record), identity, None
        scenario = self._refusal(record, generator)
        if scenario is not None:
            return scenario, identity, None
        scenario = self._chosen(record)
        model = find(models_of(record.body)[0]) if scenario else route(record.body, generator.objection, self.models)
        if isinstance(model, Scenario):
            return model, identity, None
        identity = Identity(identity.id, identity.created, model.id, model.provider)
        scenario = scenario or await self._made(generator, record.body, identity)
        return scenario, identity, Generation(self.bill, record, generator.name, identity, model)

    def _shown(self, record: RecordedRequest) -> Scenario:
        """The answer of an endpoint that makes nothing."""
        queued = self._queues.get(record.path.removeprefix(_PREFIX))
        if queued:
            return queued.popleft()
        shown = looked_up(record, self._account(), time.monotonic())
        return not_found() if shown is None else (not is_open(record) and self._wrong_key(record)) or shown

    def _refusal(self, record: RecordedRequest, generator: Generator) -> Scenario | None:
        """What is refused whatever the scenario: no key, one request too many, no such request, no credit."""
        return (
            self._wrong_key(record) or self._too_many(record) or generator.complaint(record.body) or self._no_credit(record.body)
        )

    def _wrong_key(self, record: RecordedRequest) -> Scenario | None:
        scheme, _, key = record.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return no_key()
        return wrong_key() if self.api_key is not None and key.strip() != self.api_key else None

    def _too_many(self, record: RecordedRequest) -> Scenario | None:
        now = time.monotonic()
        refusal = None if self.rate_limit is None else self.rate_limit.take(now)
        self._patience.came(now, refusal)
        if refusal is None:
            return None
        reset_milliseconds = math.ceil((time.time() + refusal.wait_seconds) * 1000)
        return scenarios.rate_limited_by_router(reset_milliseconds, limit=refusal.limit, retry_after=refusal.retry_after_seconds)

    def _no_credit(self, body: dict[str, Any]) -> Scenario | None:
        left = self._account().credits_left
        if left is None:
            return None
        if not left:
            return out_of_credit()
        price = find(models_of(body)[0]).completion_price / 1e6
        wanted = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        affordable = left / price if price else math.inf
        return out_of_credit(wanted, int(affordable + 1e-6)) if wanted > affordable else None

    def _account(self) -> Account:
        return Account(self.bill, self.credits, self.generation_delay_seconds)

    def _chosen(self, record: RecordedRequest) -> Scenario | None:
        """By header, by model, from the queue, by the script, the default; None is the endpoint's own answer."""
        name = record.headers.get(_SCENARIO_HEADER)
        model = models_of(record.body)[0]
        if name is not None:
            return self._named(name)
        if model.startswith(_SCENARIO_MODEL):
            return self._named(model.removeprefix(_SCENARIO_MODEL))
        for path in (record.path.removeprefix(_PREFIX), None):
            if self._queues.get(path):
                return self._queues[path].popleft()
        scripted = self.script(record) if self.script is not None else None
        if scripted is not None:
            return scripted
        return self._named(self.scenario) if isinstance(self.scenario, str) else self.scenario

    def _named(self, name: str) -> Scenario:
        try:
            turns = scenarios.by_name(name)
        except ValueError as error:
            return unknown_model(f"{_SCENARIO_MODEL}{name}", str(error))
        turn = next(self._turns.setdefault(name, itertools.count()))
        return turns[turn % len(turns)]

    async def _made(self, generator: Generator, body: dict[str, Any], identity: Identity) -> Scenario:
        if not generator.draws(body, identity):
            return generator.answer(body, identity, self.pace)
        # One thread: drawing holds the interpreter's lock anyway, and the loop's own threads stay free for the client's use.
        if self._painter is None:
            self._painter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="or-stream-emulator")
        return await asyncio.get_running_loop().run_in_executor(self._painter, generator.answer, body, identity, self.pace)
