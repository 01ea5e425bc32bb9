"""The input of a run: prompts pulled one at a time, read into tasks, and told apart from those that were there before."""

from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping, Sized
from typing import Any, Literal

from or_stream.batching.records import BatchItem, Journal, Task, read_task
from or_stream.errors import ConfigurationError

__all__ = ["Duplicates", "Source"]

Duplicates = Literal["once", "each"]


class Source:
    """`next` gives a task to be done, or an item that needs no request, or the index of a duplicate; None at the end."""

    def __init__(
        self, prompts: object, *, model: str | None, options: Mapping[str, Any], duplicates: Duplicates, journal: Journal | None
    ) -> None:
        self._prompts: Iterator[Any] | AsyncIterator[Any]
        if isinstance(prompts, AsyncIterable):
            self._prompts = aiter(prompts)
        elif isinstance(prompts, Iterable) and not isinstance(prompts, str | bytes | Mapping):
            self._prompts = iter(prompts)
        else:
            raise ConfigurationError("the prompts must be a list or another iterable of prompts: batch([prompt])")
        self.may_wait: bool = isinstance(self._prompts, AsyncIterator)
        self.total = len(prompts) if isinstance(prompts, Sized) else None
        self._model = model
        self._options = options
        self._duplicates = duplicates
        self._journal = journal
        self.count = 0
        self._seen: dict[int, int] = {}  # a digest of the key -> one of the request; 64 bits each, for there may be millions
        self._repeats: Counter[str] = Counter()  # of the keys that came again

    async def next(self) -> Task | BatchItem | int | None:
        """Raises what the input raises."""
        try:
            given = await anext(self._prompts) if isinstance(self._prompts, AsyncIterator) else next(self._prompts)
        except (StopIteration, StopAsyncIteration):
            self.total = self.count
            return None
        index = self.count
        self.count += 1
        try:
            task = read_task(given, index, self._model, self._options)
            if self._is_repeated(task):
                if self._duplicates == "once":
                    return index
                task = self._renamed(task)
            finished = self._journal.finished(task) if self._journal is not None else None
        except ConfigurationError as error:
            return _unsendable(given, index, error)
        return task if finished is None else finished

    async def aclose(self) -> None:
        """Close a generator that was not read to its end."""
        if hasattr(self._prompts, "aclose"):
            await self._prompts.aclose()
        elif hasattr(self._prompts, "close"):
            self._prompts.close()

    def _is_repeated(self, task: Task) -> bool:
        key = hash(task.key)
        request = key if task.key == task.request else hash(task.request)  # one object where one will do
        if key not in self._seen:
            self._seen[key] = request
            return False
        if self._seen[key] != request:
            raise ConfigurationError(f"the key {task.key!r} is that of another one: give each a key of its own")
        return True

    def _renamed(self, task: Task) -> Task:
        """The next number makes a key that nobody else has."""
        while True:
            self._repeats[task.key] += 1
            key = f"{task.key}#{self._repeats[task.key] + 1}"
            if hash(key) not in self._seen:
                self._seen[hash(key)] = hash(task.request)
                return Task(task.index, key, task.request, task.prompt, task.model, task.options)


def _unsendable(given: object, index: int, error: ConfigurationError) -> BatchItem:
    own: Mapping[Any, Any] = given if isinstance(given, Mapping) else {"prompt": None if given is error else given}
    return BatchItem(index, str(own.get("key") or f"item-{index}"), own.get("prompt"), error=error)
