"""One task from its first request to its end: wait, ask, read, settle, ask again."""

import inspect
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from or_stream.batching._doors import seconds_before_retry
from or_stream.batching.pacing import BatchStats, Gate, Ledger, is_refusal
from or_stream.batching.records import BatchItem, Journal, PictureFolder, Task
from or_stream.catalog import Receipt
from or_stream.client import ChatStream, Client, RetryPolicy, open_stream
from or_stream.client.request import build_request
from or_stream.errors import (
    APIStatusError,
    AuthenticationFailed,
    ConfigurationError,
    ConnectionFailed,
    ImageNotSaved,
    OrStreamError,
    PaymentRequired,
    StreamFailed,
)
from or_stream.events import Event, Restart, StreamEnd
from or_stream.values import Message, Usage

__all__ = ["Attempts", "OnEvent", "RunOver"]

OnEvent = Callable[[BatchItem, Event], Any]
_ONCE: Final = RetryPolicy(attempts=1)
# What every other request would meet as well.
_HOPELESS: Final = (AuthenticationFailed, PaymentRequired, ImageNotSaved)


class RunOver(Exception):
    """No further request makes sense. `item` is the one that met the failure."""

    def __init__(self, failure: Exception, item: BatchItem) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.item = item


@dataclass
class Attempts:
    """What all tasks of a run share. `prices` are dollars for one request by model, as far as they are known."""

    client: Client | None
    gate: Gate
    ledger: Ledger
    stats: BatchStats
    retry: RetryPolicy
    journal: Journal | None
    pictures: PictureFolder | None
    on_event: OnEvent | None
    price_of: Callable[[Task], float | None]
    _unsettled: dict[int, list[str]] = field(default_factory=dict)  # by index, of items that have not ended

    async def finish(self, task: Task) -> BatchItem:
        """The item, done or failed, and written down. Raises Stopped where it stays undone, RunOver where all others will."""
        item = BatchItem(task.index, task.key, task.prompt, model=task.model)
        try:
            await self._until_done(task, item)
        except RunOver as over:
            self._write_down(task, over.item)
            raise
        self._write_down(task, item)
        return item

    async def _until_done(self, task: Task, item: BatchItem) -> None:
        policy = task.options.get("retry") or self.retry
        began = first_refused = None
        tries = 0
        while True:
            try:
                opened = self.open(task)
            except ConfigurationError as error:
                item.error = error
                return
            failure, sent_at = await self._once(task, item, opened)
            began = sent_at if began is None else began
            now = time.monotonic()
            item.seconds = now - began
            if failure is None:
                return
            item.error = failure
            failure.attempts = item.attempts
            if isinstance(failure, _HOPELESS):
                raise RunOver(failure, item)
            if is_refusal(failure) and policy.attempts > 1:
                first_refused = sent_at if first_refused is None else first_refused
                if now - first_refused > policy.total_seconds:
                    raise RunOver(failure, item)
                self.stats.refused += 1
            else:
                tries += 1
                wait = _pause(policy, tries, failure, now - began)
                if wait is None:
                    self._keep_partial(item, failure)
                    return
                await self._show_restart(item, failure)
                await self.gate.pause(wait)
            self._discard_partial(failure)
            self.stats.retries += 1
            item.error = None

    def open(self, task: Task) -> ChatStream:
        """The stream of one request, which is not sent yet. Raises ConfigurationError where it cannot be."""
        options = {**task.options, "retry": _ONCE}
        if self.pictures is not None:
            options["save_to"] = self.pictures.unfinished
        return open_stream(self.client, build_request(task.prompt, task.model, options), options)

    async def _once(self, task: Task, item: BatchItem, opened: ChatStream) -> tuple[OrStreamError | None, float]:
        """One request. Returns why it failed, and when it was sent."""
        reserved = await self.ledger.reserve(task.model, self.price_of(task))
        expected_tokens, tokens = 0.0, None
        try:
            sent_at, expected_tokens = await self._enter(task, item)
            item.attempts += 1
            self.stats.requests += 1
            failure: OrStreamError | None = None
            try:
                item.message = self._kept(await self._read(item, opened), item.key)
            except OrStreamError as error:
                failure = error
                self.gate.failed(task.model, error, sent_at)
            tokens = await self._settle(task, item, opened, failure, reserved)
        finally:
            opened.leave()
            self.ledger.release(reserved)
            self.gate.spent(expected_tokens, tokens)
        return failure, sent_at

    async def _enter(self, task: Task, item: BatchItem) -> tuple[float, float]:
        try:
            return await self.gate.enter(task.model)
        except OrStreamError as refusal:
            item.error = refusal
            raise RunOver(refusal, item) from refusal

    async def _read(self, item: BatchItem, opened: ChatStream) -> Message:
        async with opened:
            self.gate.accepted(item.model)
            if opened.generation_id is not None:
                item.generation_ids.append(opened.generation_id)
                if self.journal is not None:
                    self.journal.begun(item.key, opened.generation_id)
            if self.on_event is None:
                return await opened.final()
            async for event in opened:
                await self._show(item, event)
                if type(event) is StreamEnd:
                    return event.message
            return await opened.final()

    async def _settle(
        self, task: Task, item: BatchItem, opened: ChatStream, failure: OrStreamError | None, expected: float
    ) -> int | None:
        """Put what the request has cost into the books. Returns the tokens it took, where somebody said."""
        message = opened.message if item.message is None else item.message
        if failure is not None and not _may_cost(failure, message):
            return 0
        generation_id = opened.generation_id
        if generation_id is not None and generation_id not in item.generation_ids:
            item.generation_ids.append(generation_id)
        said: Usage | Receipt | None = message.usage
        if said is None or said.cost is None:
            said = await opened.receipt()
        if said.cost is not None:
            item.cost = (item.cost or 0.0) + said.cost
        elif generation_id is not None:
            self._unsettled.setdefault(task.index, []).append(generation_id)
        self.ledger.charge(task.model, said.cost, expected=expected)
        return (said.prompt_tokens or 0) + (said.completion_tokens or 0)

    def _kept(self, message: Message, key: str) -> Message:
        return message if self.pictures is None else self.pictures.keep(message, key)

    def _keep_partial(self, item: BatchItem, failure: OrStreamError) -> None:
        if self.pictures is not None and isinstance(failure.partial, Message):
            self.pictures.keep(failure.partial, item.key, failed=True)

    def _discard_partial(self, failure: OrStreamError) -> None:
        if self.pictures is not None and isinstance(failure.partial, Message):
            self.pictures.discard(failure.partial)

    def _write_down(self, task: Task, item: BatchItem) -> None:
        unsettled = self._unsettled.pop(task.index, [])
        if self.journal is not None and not isinstance(item.error, ConfigurationError):
            try:
                self.journal.ended(task, item)
                for generation_id in unsettled:
                    self.journal.begun(item.key, generation_id)  # so that the next run asks
            except OrStreamError as error:
                raise RunOver(error, item) from error

    async def _show(self, item: BatchItem, event: Event) -> None:
        assert self.on_event is not None
        shown = self.on_event(item, event)
        if inspect.isawaitable(shown):
            await shown

    async def _show_restart(self, item: BatchItem, failure: OrStreamError) -> None:
        if self.on_event is not None and isinstance(failure.partial, Message):
            await self._show(item, Restart(item.attempts + 1, str(failure), failure.partial))


def _pause(policy: RetryPolicy, tries: int, failure: OrStreamError, elapsed_seconds: float) -> float | None:
    """How long to wait before the next request; None where there is to be none."""
    if not policy.restart and _has_content(failure.partial):
        return None
    return seconds_before_retry(
        policy, attempt=tries, error=failure, elapsed_seconds=elapsed_seconds, random_fraction=random.random()
    )


def _may_cost(failure: OrStreamError, message: Message) -> bool:
    """Not where no answer began, nor where the server failed before it made anything: that is not charged.

    https://openrouter.ai/docs/guides/features/zero-completion-insurance
    """
    if isinstance(failure, APIStatusError | ConnectionFailed | ConfigurationError):
        return False
    said_cost = message.usage is not None and message.usage.cost is not None
    return said_cost or _has_content(message) or not isinstance(failure, StreamFailed)


def _has_content(message: Any) -> bool:
    return isinstance(message, Message) and bool(
        message.text or message.reasoning or message.refusal or message.images or message.tool_calls or message.audio
    )
