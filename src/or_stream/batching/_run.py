"""BatchRun: many generations as one async iterator. Workers take prompts, the caller's loop takes items."""

import asyncio
import inspect
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import anyio

from or_stream.batching._attempts import Attempts, OnEvent, RunOver
from or_stream.batching._delivery import Delivery
from or_stream.batching._doors import account_of
from or_stream.batching._prices import expected_cost, models_by_id
from or_stream.batching._source import Duplicates, Source
from or_stream.batching.pacing import BatchStats, Gate, Ledger, Stopped
from or_stream.batching.records import BatchItem, Journal, PictureFolder, Task
from or_stream.catalog import Model
from or_stream.client import Client, RetryPolicy
from or_stream.errors import ConfigurationError, ModerationBlocked, NoImageProduced, OrStreamError

__all__ = ["BatchRun", "Plan"]

# What a failure of one prompt is, and says nothing of the others.
_OF_THE_PROMPT: Final = (ConfigurationError, ModerationBlocked, NoImageProduced)
_SETTLING_AT_ONCE: Final = 8
_SECONDS_FOR_OLD_COSTS: Final = 5.0  # of all of them
_SKIPS_BETWEEN_PAUSES: Final = 64

OnProgress = Callable[[BatchStats], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the caller of `batch` asked for."""

    prompts: object
    client: Client | None
    model: str | None
    options: dict[str, Any]
    concurrency: int
    ordered: bool
    duplicates: Duplicates
    skip_finished: bool
    journal: str | os.PathLike[str] | None
    save_to: str | os.PathLike[str] | None
    budget: float | None
    requests_per_minute: float | None
    tokens_per_minute: float | None
    max_failures_in_a_row: int
    on_event: OnEvent | None
    on_progress: OnProgress | None
    dry_run: bool
    retry: RetryPolicy


class BatchRun:
    """Many generations. Iterate it for the items; nothing is sent before that, or before it is entered.

    Leaving the loop in any way, `async with`, or `aclose` stops the run: what is under way is dropped at once and stays undone.
    A run that cannot go on finishes what is under way, hands it out, and then raises why: see `batch`.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._stats = BatchStats()
        self._delivery = Delivery(room=2 * plan.concurrency, ordered=plan.ordered)
        self._root: asyncio.Task[None] | None = None
        self._failure: BaseException | None = None
        self._is_left = False
        self._began_at: float | None = None
        self._gate = Gate(
            account_of(plan.client),
            requests_per_minute=plan.requests_per_minute,
            tokens_per_minute=plan.tokens_per_minute,
            longest_wait_seconds=plan.retry.cap_seconds,
        )
        self._ledger = Ledger(self._stats, plan.budget)
        self._input = asyncio.Lock()
        self._source: Source | None = None
        self._is_input_broken = False
        self._reading: anyio.CancelScope | None = None
        self._prices: dict[str, Model] = {}
        self._last_failure: tuple[type[BaseException], str] | None = None
        self._failures_in_a_row = 0

    @property
    def stats(self) -> BatchStats:
        """How the run stands; the same object for the whole run."""
        if self._began_at is not None and self._root is not None and not self._root.done():
            self._stats.seconds = time.monotonic() - self._began_at
            self._stats.requests_per_minute = self._gate.requests_per_minute or None
        return self._stats

    def __aiter__(self) -> AsyncIterator[BatchItem]:
        return _Items(self)

    async def collect(self) -> list[BatchItem]:
        """All items in one list. What is raised has those that came before it in `.partial`."""
        items: list[BatchItem] = []
        async with self:
            try:
                async for item in self:
                    items.append(item)  # noqa: PERF401  # what came before a failure is wanted too
            except OrStreamError as error:
                error.partial = items
                raise
        return items

    async def aclose(self) -> None:
        """Stop, and wait until everything is closed. May be called at any time and more than once."""
        self.leave()
        if self._root is not None:
            await asyncio.wait([self._root])

    def leave(self) -> None:
        """Stop, for where nothing can be awaited."""
        self._is_left = True
        root = self._root
        if root is not None and not root.done() and not root.get_loop().is_closed():
            root.get_loop().call_soon_threadsafe(root.cancel)

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def next(self) -> BatchItem | None:
        """The next item, None after the last. Raises why the run ended early, once all items are out."""
        if self._is_left:
            return None
        self._start()
        item = await self._delivery.take()
        if item is None and self._failure is not None:
            raise self._failure
        return item

    def _start(self) -> None:
        if self._root is None and not self._is_left:
            self._began_at = time.monotonic()
            self._root = asyncio.get_running_loop().create_task(self._main())

    async def _main(self) -> None:
        plan, journal, pictures = self._plan, None, None
        try:
            journal = await _open_journal(plan)
            if journal is not None:
                self._stats.cost = journal.cost
            self._source = Source(
                plan.prompts, model=plan.model, options=plan.options, duplicates=plan.duplicates, journal=journal
            )
            self._stats.total = self._source.total
            if plan.budget is not None or plan.dry_run:
                self._prices = await models_by_id(plan.client)
            if plan.save_to is not None:
                pictures = PictureFolder(plan.save_to, None if journal is None else journal.path)
            await self._work_all(journal, pictures)
        except asyncio.CancelledError:
            self._is_left = True
            raise
        except Exception as error:  # noqa: BLE001  # raised by `next`
            self._stop(error)
        finally:
            await self._close(journal, pictures)

    async def _close(self, journal: Journal | None, pictures: PictureFolder | None) -> None:
        self.stats.running = 0
        try:
            with anyio.CancelScope(shield=True):
                if self._source is not None:
                    await self._source.aclose()
        except Exception as error:  # noqa: BLE001  # the caller's own input: `next` raises it
            self._failure = self._failure or error
        if pictures is not None:
            pictures.close()
        if journal is not None:
            journal.close()
        self._delivery.close()

    async def _work_all(self, journal: Journal | None, pictures: PictureFolder | None) -> None:
        plan = self._plan
        attempts = Attempts(
            plan.client,
            self._gate,
            self._ledger,
            self._stats,
            plan.retry,
            journal,
            pictures,
            plan.on_event,
            lambda task: expected_cost(task, self._prices.get(task.model)),
        )
        if journal is not None and journal.unsettled and not plan.dry_run:
            await self._settle_past(journal)
        async with anyio.create_task_group() as workers:
            for _ in range(1 if plan.dry_run else plan.concurrency):
                workers.start_soon(self._work, attempts)

    async def _work(self, attempts: Attempts) -> None:
        while (task := await self._next_task()) is not None:
            if self._plan.dry_run:
                self._count_in(task, attempts)
                continue
            self._stats.running += 1
            item: BatchItem | None = None
            try:
                item = await attempts.finish(task)
            except Stopped:
                pass
            except RunOver as over:
                item = over.item
                self._stop(over.failure)
            except Exception as error:  # noqa: BLE001  # also what a callback raises; `next` raises it
                self._stop(error)
            finally:
                self._stats.running -= 1
            if item is not None:
                self._count(item)
                await self._show_progress()
            self._delivery.hand_over(task.index, item)

    async def _next_task(self) -> Task | None:
        """The next prompt that wants a request; what needs none is handed over on the way."""
        assert self._source is not None
        skipped = 0
        async with self._input:
            while not self._gate.is_stopped:
                await self._delivery.admit()
                if self._gate.is_stopped:
                    break
                found = await self._read_input(self._source)
                if isinstance(found, Task):
                    return found
                if found is None:
                    self._stats.total = self._source.total
                    break
                self._pass_over(found)
                skipped += 1
                if skipped % _SKIPS_BETWEEN_PAUSES == 0:
                    await asyncio.sleep(0)
        return None

    async def _read_input(self, source: Source) -> Task | BatchItem | int | None:
        """What raises is the caller's own input: `next` raises it, once all that was taken before is done."""
        if self._is_input_broken:
            return None
        try:
            if not source.may_wait:
                return await source.next()
            with anyio.CancelScope() as self._reading:
                return await source.next()
        except Exception as error:  # noqa: BLE001
            self._is_input_broken = True
            self._failure = self._failure or error
        return None

    def _pass_over(self, found: BatchItem | int) -> None:
        if isinstance(found, int):
            self._stats.duplicates += 1
            self._delivery.hand_over(found, None)
            return
        if found.is_resumed:
            self._stats.finished += 1
            self._stats.resumed += 1
        else:
            self._count(found)
        is_hidden = found.is_resumed and (self._plan.skip_finished or self._plan.dry_run)
        self._delivery.hand_over(found.index, None if is_hidden else found)

    def _count_in(self, task: Task, attempts: Attempts) -> None:
        """In a dry run."""
        try:
            attempts.open(task)
        except ConfigurationError as error:
            self._pass_over(BatchItem(task.index, task.key, task.prompt, model=task.model, error=error))
            return
        price = expected_cost(task, self._prices.get(task.model))
        if price is None:
            self._stats.unsettled += 1
        else:
            self._stats.projected_cost = (self._stats.projected_cost or self._stats.cost) + price
        self._delivery.hand_over(task.index, None)

    def _count(self, item: BatchItem) -> None:
        stats = self._stats
        if item.error is None:
            stats.finished += 1
            self._failures_in_a_row = 0
        else:
            stats.failed += 1
            stats.failures[type(item.error).__name__] += 1
            self._notice(item.error)
        if stats.total is not None and not self._plan.dry_run:
            todo = max(0, stats.total - stats.finished - stats.failed - stats.duplicates)
            stats.projected_cost = self._ledger.project(todo)

    def _notice(self, failure: OrStreamError) -> None:
        """Stop a run in which one item after the other fails for the same reason."""
        if isinstance(failure, _OF_THE_PROMPT):
            return
        same = (type(failure), str(failure))
        self._failures_in_a_row = self._failures_in_a_row + 1 if same == self._last_failure else 1
        self._last_failure = same
        if self._failures_in_a_row >= self._plan.max_failures_in_a_row:
            self._stop(failure)

    async def _show_progress(self) -> None:
        if self._plan.on_progress is None:
            return
        try:
            shown = self._plan.on_progress(self.stats)
            if inspect.isawaitable(shown):
                await shown
        except Exception as error:  # noqa: BLE001  # `next` raises it
            self._stop(error)

    def _stop(self, failure: Exception) -> None:
        """Send nothing more. What is under way is finished; the first failure is the one that counts."""
        if self._failure is None:
            self._failure = failure
        self._gate.stop()
        if self._reading is not None:
            self._reading.cancel()  # an input may have nothing to give for ever

    async def _settle_past(self, journal: Journal) -> None:
        """Ask what the requests have cost that an earlier run was killed in."""
        waiting = journal.unsettled
        ends_at = time.monotonic() + _SECONDS_FOR_OLD_COSTS

        async def settle(client: Client) -> None:
            while waiting:
                generation_id, wait_seconds = waiting.pop(), max(0.0, ends_at - time.monotonic())
                try:
                    generation = await client.generation(generation_id, wait_seconds=wait_seconds)
                except OrStreamError:  # the next run asks again
                    self._stats.unsettled += 1
                    continue
                cost = generation.cost or 0.0
                journal.settled(generation_id, cost)
                self._stats.cost += cost

        client = self._plan.client or Client()
        try:
            async with anyio.create_task_group() as group:
                for _ in range(min(_SETTLING_AT_ONCE, len(waiting))):
                    group.start_soon(settle, client)
        finally:
            if client is not self._plan.client:
                await client.aclose()


async def _open_journal(plan: Plan) -> Journal | None:
    """A dry run makes none. A run that is left meanwhile leaves none open."""
    if plan.journal is None or (plan.dry_run and not await anyio.Path(plan.journal).exists()):
        return None
    opening = asyncio.ensure_future(asyncio.to_thread(Journal, plan.journal))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_journal)
        await asyncio.wait([opening])
        raise


def _close_journal(opening: asyncio.Future[Journal]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


class _Items:
    """The async iterator that a loop over a run holds. When it is dropped, as by a loop that is left, the run is stopped."""

    def __init__(self, run: BatchRun) -> None:
        self._run = run

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchItem:
        try:
            item = await self._run.next()
        except asyncio.CancelledError:
            self._run.leave()
            raise
        if item is None:
            raise StopAsyncIteration
        return item

    def __del__(self) -> None:
        self._run.leave()
