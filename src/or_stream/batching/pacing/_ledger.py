"""What a run has spent, what is under way, and whether the budget allows one more. No I/O but waiting for others to end."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from or_stream.errors import BudgetExceeded

__all__ = ["BatchStats", "Ledger"]

_ROUNDING = 1e-9  # US dollars


@dataclass(slots=True)
class BatchStats:
    """How a run stands. Costs are in US dollars.

    `total` is how many prompts there are, None as long as nobody knows. `finished` are those that are done, `resumed` of them by
    an earlier run; `failed` ended with an error, `failures` counts those by kind; `duplicates` were left out; `running` are under
    way. `requests` were sent, `retries` of them again, and `refused` for the rate limit. `cost` counts earlier runs of the same
    journal too; `unsettled` requests may have cost something that nobody could say. `projected_cost` is for all prompts, None
    where that cannot be told. `requests_per_minute` is what the limiter allows at present.
    """

    total: int | None = None
    finished: int = 0
    failed: int = 0
    resumed: int = 0
    duplicates: int = 0
    running: int = 0
    requests: int = 0
    retries: int = 0
    refused: int = 0
    cost: float = 0.0
    projected_cost: float | None = None
    unsettled: int = 0
    seconds: float = 0.0
    requests_per_minute: float | None = None
    failures: Counter[str] = field(default_factory=Counter)


class Ledger:
    """Money. `reserve` before a request, `release` once its cost is known."""

    def __init__(self, stats: BatchStats, budget: float | None) -> None:
        self._stats = stats
        self._budget = budget
        self._reserved = 0.0
        self._unsettled = 0.0  # what requests may have cost of which nobody can say it
        self._under_way = 0
        self._charged: dict[str, tuple[int, float]] = {}  # by model: how many requests, what they cost
        self._change = asyncio.Event()

    @property
    def budget(self) -> float | None:
        """What may be spent, None for no limit."""
        return self._budget

    def estimate(self, model: str) -> float | None:
        """What one request is expected to cost, from those before it."""
        count, cost = self._charged.get(model, (0, 0.0))
        return cost / count if count else None

    async def reserve(self, model: str, price: float | None) -> float:
        """Wait until a request fits into the budget, and set its cost aside. `price` is what the catalogue says of the first.

        Raises BudgetExceeded where it does not fit and nothing is under way that may turn out cheaper. Where nobody knows what a
        request costs, one is sent on its own to find out.
        """
        while True:
            estimate = self.estimate(model)
            estimate = price if estimate is None else estimate
            if self._fits(estimate):
                reserved = estimate or 0.0
                self._reserved += reserved
                self._under_way += 1
                return reserved
            if not self._under_way:
                raise BudgetExceeded(
                    f"${self._stats.cost:.6f} of the budget of ${self._budget} are spent, and the next request may pass it: "
                    "run it again with a higher budget"
                )
            self._change.clear()
            await self._change.wait()

    def release(self, reserved: float) -> None:
        """The request has ended; `charge` says what it cost."""
        self._reserved -= reserved
        self._under_way -= 1
        if not self._under_way:
            self._reserved = 0.0  # no rounding errors are left over
        self._change.set()

    def charge(self, model: str, cost: float | None, *, expected: float = 0.0) -> None:
        """One request has cost that much; None where nobody can say: the budget then counts what was expected."""
        if cost is None:
            self._stats.unsettled += 1
            self._unsettled += expected
            return
        self._stats.cost += cost
        count, before = self._charged.get(model, (0, 0.0))
        self._charged[model] = (count + 1, before + cost)
        self._change.set()

    def project(self, todo: int | None) -> float | None:
        """What all will have cost when `todo` more prompts are done, at the mean cost so far."""
        count = sum(count for count, _ in self._charged.values())
        if todo is None or not (count or not todo):
            return None
        ended = self._stats.finished - self._stats.resumed + self._stats.failed
        spent = sum(cost for _, cost in self._charged.values())
        return self._stats.cost + (todo * spent / ended if ended else todo * spent / max(count, 1))

    def _fits(self, estimate: float | None) -> bool:
        if self._budget is None:
            return True
        if estimate is None:
            return self._stats.cost < self._budget and not self._under_way
        return self._stats.cost + self._unsettled + self._reserved + estimate <= self._budget + _ROUNDING
