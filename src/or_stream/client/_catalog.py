"""Catalog: what the service says beside generations - its models, what a generation cost, what the key may spend.

Asks, waits, retries and keeps; what the answers mean is in `or_stream.catalog`.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, Unpack

from or_stream.catalog import (
    Credits,
    Endpoint,
    Generation,
    Key,
    Model,
    ModelFilter,
    Receipt,
    built_in_models,
    check_filter,
    read_models,
    select,
)
from or_stream.client._clocks import Clocks, HeadersWait, StreamStats, Timeouts
from or_stream.client._retry import RetryPolicy, seconds_before_retry
from or_stream.errors import ConfigurationError, NotFound, OrStreamError, ProtocolViolation
from or_stream.values import Message

__all__ = ["Catalog"]

_FRESH_SECONDS: Final = 3600
# A catalogue that cannot be had is not asked for before every request.
_SECONDS_BEFORE_ASKING_AGAIN: Final = 60
# How long a request for a picture waits to learn what its model can: one takes seconds to minutes.
_LOOK_UP_SECONDS: Final = 5.0
# How long the list of models waits for what the Image API says of some of them.
_IMAGE_LIST_SECONDS: Final = 2.0
_PROVIDERS_AT_MOST: Final = 32
_FIRST_PAUSE_SECONDS: Final = 0.25
_LONGEST_PAUSE_SECONDS: Final = 4.0
_MODEL_ID: Final = re.compile(r"(?!\.\.?/)[\w.:~@+-]+/(?!\.\.?$)[\w.:~@+-]+")

GetJson = Callable[[str, Mapping[str, str], HeadersWait], Awaitable[dict[str, Any]]]
T = TypeVar("T")


class Catalog:
    """Questions to one service with one key. `get_json` sends one request: path, query, the wait it is part of."""

    def __init__(
        self, get_json: GetJson, *, timeouts: Timeouts, retry: RetryPolicy, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._get_json = get_json
        self._timeouts = timeouts
        self._retry = retry
        self._now = now
        self._listed = _Kept(self._fetch_models, now)
        self._served: dict[str, _Kept[frozenset[str]]] = {}  # the ids of what each provider serves
        self._by_id: tuple[Sequence[Model], dict[str, Model]] = ((), {})
        self._asks_again_at = 0.0
        self._looks_up_again_at = 0.0

    async def models(self, *, refresh: bool, **wanted: Unpack[ModelFilter]) -> list[Model]:
        """The models that have what is wanted. Where the list cannot be had: the last one, else the built-in table."""
        check_filter(wanted)
        models = await self._all_models(refresh=refresh)
        if provider := wanted.get("provider"):
            served = await self._served_by(provider).get(refresh=refresh)
            models = [model for model in models if model.id in served]
        return select(models, **wanted)

    def known(self, model: str) -> Model | None:
        """What the list of models says of one, however old the list is; None where it was not asked for or has no such model."""
        models = self._listed.last or ()
        if self._by_id[0] is not models:
            self._by_id = models, {one.id: one for one in models}
        by_id = self._by_id[1]
        return by_id.get(model) or by_id.get(model.partition(":")[0])  # author/name:free is a way to have author/name

    async def look_up(self, model: str, *, wait_seconds: float = _LOOK_UP_SECONDS) -> Model | None:
        """The same, with a new list where it is old; None also where that cannot be had in so many seconds.

        Then nobody looks up for a minute.
        """
        if self._now() >= self._looks_up_again_at:
            try:
                async with asyncio.timeout(min(wait_seconds, _LOOK_UP_SECONDS)):
                    await self._all_models(refresh=False)
            except (TimeoutError, OrStreamError):
                self._looks_up_again_at = self._now() + _SECONDS_BEFORE_ASKING_AGAIN
        return self.known(model)

    async def endpoints(self, model: str) -> list[Endpoint]:
        """Who serves a model: over chat, and on the Image API if it draws. Raises NotFound where it is on neither."""
        if not isinstance(model, str) or not _MODEL_ID.fullmatch(model):
            raise ConfigurationError(f"the id of a model is author/name, not {model!r}")
        missing: NotFound | None = None
        over_chat: dict[str, Any] = {}
        try:
            over_chat = _data(await self._ask(f"/models/{model}/endpoints"))
        except NotFound as error:
            missing = error
        endpoints = _endpoints(over_chat)
        if missing is not None or "image" in Model.read(over_chat).output_modalities:
            try:
                endpoints += _endpoints(await self._ask(f"/images/models/{model}/endpoints"))
            except NotFound:
                if missing is not None:
                    raise missing from None
        return endpoints

    async def generation(self, generation_id: str, *, wait_seconds: float) -> Generation:
        """What the service keeps of a generation, which it may know only some seconds after the end."""
        if not isinstance(generation_id, str) or not generation_id:
            raise ConfigurationError(f"generation wants the id of one, not {generation_id!r}")
        _check_wait(wait_seconds)
        ends_at = self._now() + wait_seconds
        asked = 0
        while True:
            asked += 1
            try:
                return Generation.read(_data(await self._ask("/generation", {"id": generation_id})))
            except NotFound as error:
                left_seconds = ends_at - self._now()
                if left_seconds <= 0:
                    raise _still_unknown(error, generation_id, asked, wait_seconds) from error
            await asyncio.sleep(_pause_seconds(asked, left_seconds))

    async def receipt(
        self, message: Message, stats: Mapping[str, Any], generation_id: str | None, wait_seconds: float
    ) -> Receipt:
        """Of a stream that has ended. The service is asked only where the answer did not say what it cost."""
        _check_wait(wait_seconds)
        generation, because = None, None
        if message.usage is None or message.usage.cost is None:
            if generation_id is None:
                because = "the server sent no generation id, so there is nothing to ask for"
            else:
                try:
                    generation = await self.generation(generation_id, wait_seconds=wait_seconds)
                    because = "the service does not say the cost"
                except OrStreamError as error:
                    because = str(error)
        return Receipt.of(message, stats, generation_id=generation_id, generation=generation, unsettled_because=because)

    async def key(self) -> Key:
        """What the key may spend."""
        return Key.read(_data(await self._ask("/key")))

    async def credits(self) -> Credits:
        """What the account has bought and used."""
        return Credits.read(_data(await self._ask("/credits")))

    async def _ask(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """One question, with the clocks and the retries of a stream: the whole answer is its first content."""
        clocks = Clocks(asyncio.get_running_loop(), self._timeouts, StreamStats())
        attempt = 0
        while True:
            attempt += 1
            try:
                async with clocks.waiting_for_headers() as wait:
                    return await self._get_json(path, query or {}, wait)
            except OrStreamError as error:
                error.attempts = attempt
                seconds = seconds_before_retry(
                    self._retry,
                    attempt=attempt,
                    error=error,
                    elapsed_seconds=clocks.elapsed_seconds(),
                    random_fraction=random.random(),
                )
                if seconds is None or clocks.total_ends_within(seconds):
                    raise
            finally:
                clocks.stop()
            await clocks.pause(seconds)

    async def _all_models(self, *, refresh: bool) -> list[Model]:
        if refresh:
            return await self._listed.get(refresh=True)
        if self._listed.is_stale() and self._now() >= self._asks_again_at:
            try:
                return await self._listed.get()
            except ConfigurationError:
                raise
            except OrStreamError:
                self._asks_again_at = self._now() + _SECONDS_BEFORE_ASKING_AGAIN
        return self._listed.last or built_in_models()

    async def _fetch_models(self) -> list[Model]:
        """Both lists. A service without the Image API still has models, and so has one whose second list does not come."""
        image_models = asyncio.ensure_future(self._answer_or_failure("/images/models", {}))
        try:
            # By default those that only draw are left out.
            models = await self._ask("/models", {"output_modalities": "all"})
            await asyncio.wait((image_models,), timeout=_IMAGE_LIST_SECONDS)
            listed = read_models(models, image_models.result() if image_models.done() else None)
        finally:
            image_models.cancel()
        if not listed:
            raise ProtocolViolation("the service's list of models has no model in it")
        return listed

    async def _answer_or_failure(self, path: str, query: Mapping[str, str]) -> dict[str, Any] | OrStreamError:
        try:
            return await self._ask(path, query)
        except OrStreamError as error:
            return error

    def _served_by(self, provider: str) -> "_Kept[frozenset[str]]":
        async def fetch() -> frozenset[str]:
            models = await self._ask("/models", {"output_modalities": "all", "providers": provider})
            return frozenset(model.id for model in read_models(models, None))

        while len(self._served) >= _PROVIDERS_AT_MOST and provider not in self._served:
            self._served.pop(next(iter(self._served)))
        return self._served.setdefault(provider, _Kept(fetch, self._now))


class _Kept(Generic[T]):
    """What a fetch gave, for a while; fetched once for all who wait, and given up when the last of them has left."""

    def __init__(self, fetch: Callable[[], Awaitable[T]], now: Callable[[], float]) -> None:
        self._fetch = fetch
        self._now = now
        self._fetching: asyncio.Task[T] | None = None
        self._waiting = 0
        self._fresh_until = 0.0
        self.last: T | None = None

    def is_stale(self) -> bool:
        """Whether `get` would fetch."""
        return self.last is None or self._now() >= self._fresh_until

    async def get(self, *, refresh: bool = False) -> T:
        """What is kept, unless it is old or `refresh` asks for a new one. Raises what the fetch raises."""
        if self.last is not None and not refresh and not self.is_stale():
            return self.last
        fetching = self._fetching
        if fetching is None or fetching.done() or fetching.get_loop() is not asyncio.get_running_loop():
            fetching = self._fetching = asyncio.ensure_future(self._fetch_and_keep())
            self._waiting = 0
        self._waiting += 1
        try:
            return await asyncio.shield(fetching)
        finally:
            if fetching is self._fetching:
                self._waiting -= 1
                if not self._waiting:
                    self._fetching = None
                    fetching.cancel()

    async def _fetch_and_keep(self) -> T:
        self.last = await self._fetch()
        self._fresh_until = self._now() + _FRESH_SECONDS
        return self.last


def _check_wait(seconds: float) -> None:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ConfigurationError(f"wait_seconds must be 0 seconds or more, not {seconds!r}")


def _pause_seconds(asked: int, left_seconds: float) -> float:
    """Before a generation is asked for again: longer each time, and no longer than there is time."""
    return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(asked - 1, 9), _LONGEST_PAUSE_SECONDS, left_seconds)


def _data(document: dict[str, Any]) -> dict[str, Any]:
    data = document.get("data")
    if not isinstance(data, dict):
        raise ProtocolViolation("the answer has no object `data`")
    return data


def _endpoints(document: dict[str, Any]) -> list[Endpoint]:
    entries = document.get("endpoints")
    return [Endpoint.read(entry) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _still_unknown(error: NotFound, generation_id: str, asked: int, wait_seconds: float) -> NotFound:
    unknown = NotFound(
        f"{error} (asked {asked} times in {wait_seconds:g} seconds: there is no such generation, or none is known of yet)",
        status=error.status,
        code=error.code,
        error_type=error.error_type,
        metadata=error.metadata,
        provider=error.provider,
        retryable=True,
    )
    unknown.generation_id, unknown.attempts = generation_id, asked
    return unknown
