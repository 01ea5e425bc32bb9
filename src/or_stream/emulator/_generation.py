"""One generation while it is made: counts what is sent, and puts it on the bill."""

import copy
import time
from collections.abc import Mapping
from typing import Any

from or_stream.emulator._bill import Bill, BillEntry, Tally
from or_stream.emulator._endpoints import Model, prompt_tokens_of
from or_stream.emulator._recorded import RecordedRequest
from or_stream.emulator._script import Identity, Scenario, Send, Sent


class Generation:
    """The bill is written before the last bytes leave, so that whoever has them finds it there, and corrected if they do not."""

    def __init__(self, bill: Bill, record: RecordedRequest, endpoint: str, identity: Identity, model: Model) -> None:
        self._bill, self._record, self._endpoint, self._identity, self._model = bill, record, endpoint, identity, model
        self._tally = Tally(model.image_tokens)
        self._before = self._tally
        self._began_seconds: float | None = None

    def begin(self) -> None:
        """The status line is sent now."""
        self._began_seconds = time.monotonic()

    def sending(self, step: Sent, data: bytes) -> None:
        """Count what is about to be sent."""
        self._before = copy.copy(self._tally)
        self._tally.sent(step, data)

    def cut(self, step: Sent, data: bytes) -> None:
        """Of the step before, only these bytes were sent."""
        self._tally = self._before
        if data:
            self._tally.sent(step, data, is_whole=False)

    def complete(self, scenario: Scenario) -> None:
        """Count an answer in one piece as a whole: who does not wait for it pays it all the same."""
        self._tally = Tally(self._model.image_tokens)
        for step in scenario.steps:
            if isinstance(step, Send):
                self._tally.sent(step, step.data)

    def end(self, *, cancelled: bool = False) -> None:
        """Put it on the bill as it is now. May be called again."""
        if self._began_seconds is None:
            return
        tally, now = self._tally, time.monotonic()
        usage = _Usage(tally.usage)
        image_tokens = usage.detail("image_tokens", tally.images * self._model.image_tokens)
        prompt_tokens = usage.count("prompt_tokens", prompt_tokens_of(self._record.body))
        completion_tokens = usage.count("completion_tokens", tally.completion_tokens)
        entry = BillEntry(
            generation_id=self._identity.id,
            endpoint=self._endpoint,
            model=self._identity.model,
            provider=self._identity.provider,
            cost=self._cost(usage, prompt_tokens, completion_tokens, image_tokens, cancelled=cancelled),
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            reasoning_tokens=usage.detail("reasoning_tokens", tally.reasoning_tokens),
            image_tokens=image_tokens,
            images=tally.images,
            cancelled=cancelled,
            streamed=bool(self._record.body.get("stream")),
            finish_reason="error" if tally.has_failed else tally.finish_reason,
            native_finish_reason=tally.native_finish_reason,
            created=self._identity.created,
            latency_milliseconds=round((self._began_seconds - self._record.received_seconds) * 1000),
            generation_milliseconds=round((now - self._began_seconds) * 1000),
            ended_seconds=now,
            headers=self._record.headers,
            user=self._record.body.get("user"),
        )
        self._bill.add(entry)

    def _cost(self, usage: "_Usage", prompt: int, completion: int, images: int, *, cancelled: bool) -> float:
        """What the usage said; else by the prices, but for what failed, what said nothing, and pictures of the Image API that
        nobody waited for, none of which is charged.
        """
        if usage.cost is not None:
            return usage.cost
        if self._tally.has_failed or not self._tally.says_something or (cancelled and self._endpoint == "images"):
            return 0.0
        return round(sum(self._model.cost(prompt, completion, images)), 10)


class _Usage:
    """A usage object that may miss any part, or be missing."""

    def __init__(self, sent: Mapping[str, Any] | None) -> None:
        self._sent = sent or {}
        cost = self._sent.get("cost")
        self.cost: float | None = float(cost) if isinstance(cost, int | float) else None

    def count(self, name: str, otherwise: int) -> int:
        found = self._sent.get(name)
        return found if isinstance(found, int) else otherwise

    def detail(self, name: str, otherwise: int) -> int:
        found = (self._sent.get("completion_tokens_details") or {}).get(name)
        return found if isinstance(found, int) else otherwise
