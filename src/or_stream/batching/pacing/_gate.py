"""When the next request may be sent: the limiters that all runs of this process share, and what one run adds to them."""

import asyncio
import hashlib
import time
from dataclasses import dataclass, field
from threading import Lock

from or_stream.batching.pacing._limiter import Allowance, Limiter
from or_stream.errors import APIStatusError, OrStreamError, Overloaded, ProviderUnavailable, RateLimited, StreamFailed

__all__ = ["Gate", "Stopped", "is_refusal", "limiter_of"]

# https://openrouter.ai/docs/api-reference/limits: what a key may ask of free models.
_FREE_REQUESTS_PER_MINUTE = 20
_REFUSING_TYPES = ("rate_limit_exceeded", "provider_overloaded")
_FIRST_TOKENS = 1000  # what a request is taken for until one has ended

_LIMITERS_AT_MOST = 1000

_limiters: dict[tuple[str, str, bool], Limiter] = {}
_limiters_lock = Lock()


class Stopped(Exception):
    """The run is ending."""


def limiter_of(account: str, model: str, *, is_capped: bool) -> Limiter:
    """The one limiter of a key and a model. A free model starts at, and keeps to, what is documented, unless a cap is given."""
    per_minute = _FREE_REQUESTS_PER_MINUTE if model.endswith(":free") and not is_capped else None
    key = (hashlib.sha256(account.encode()).hexdigest(), model, per_minute is None)
    with _limiters_lock:
        if key not in _limiters:
            while len(_limiters) >= _LIMITERS_AT_MOST:
                _limiters.pop(next(iter(_limiters)))
            _limiters[key] = Limiter(requests_per_minute=per_minute)
        return _limiters[key]


def is_refusal(error: OrStreamError) -> bool:
    """Whether there were too many requests: in a status, in a body under status 200, or inside a stream."""
    if isinstance(error, RateLimited | Overloaded):
        return True
    return isinstance(error, APIStatusError | StreamFailed) and (
        error.status in (429, 529) or error.error_type in _REFUSING_TYPES
    )


@dataclass
class _Turnstile:
    """One of the waiting asks the limiter, the others queue behind it: a rate that rises is seen by all of them at once."""

    limiter: Limiter
    queue: asyncio.Lock = field(default_factory=asyncio.Lock)
    refusal: OrStreamError | None = None


class Gate:
    """What every request of one run passes. `requests_per_minute` and `tokens_per_minute` are caps of this run.

    `longest_wait_seconds` is how long a server may ask to wait: what it asks for beyond that ends the run.
    """

    def __init__(
        self, account: str, *, requests_per_minute: float | None, tokens_per_minute: float | None, longest_wait_seconds: float
    ) -> None:
        self._account = account
        self._requests = Allowance(requests_per_minute) if requests_per_minute else None
        self._tokens = Allowance(tokens_per_minute) if tokens_per_minute else None
        self._token_mean = _Mean()
        self._longest_wait_seconds = longest_wait_seconds
        self._turnstiles: dict[str, _Turnstile] = {}
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Let nobody through any more."""
        self._stopped.set()

    @property
    def is_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    @property
    def requests_per_minute(self) -> float:
        """What all models together are allowed now."""
        return sum(turnstile.limiter.requests_per_minute for turnstile in self._turnstiles.values())

    async def pause(self, seconds: float) -> None:
        """Sleep. Raises Stopped when the run ends meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return
        raise Stopped

    async def enter(self, model: str) -> tuple[float, float]:
        """Wait until a request may be sent; returns when that was, and the tokens it is taken for.

        Raises Stopped when the run ends meanwhile, and the refusal where the server wants a longer wait than is allowed.
        """
        turnstile = self._turnstile(model)
        async with turnstile.queue:
            while True:
                if self._stopped.is_set():
                    raise Stopped
                now = time.monotonic()
                wait = self._cap_seconds(now) or turnstile.limiter.seconds_to_wait(now)
                if not wait:
                    break
                if wait > self._longest_wait_seconds and turnstile.refusal is not None:
                    raise turnstile.refusal
                await self.pause(wait)
        return now, self._charge()

    def accepted(self, model: str) -> None:
        """The server let a request in."""
        turnstile = self._turnstile(model)
        turnstile.limiter.accepted(time.monotonic())

    def failed(self, model: str, error: OrStreamError, sent_at: float) -> None:
        """A request failed: shut the gate where the server says so."""
        turnstile, retry_after = self._turnstile(model), getattr(error, "retry_after", None)
        if is_refusal(error):
            turnstile.refusal = error
            turnstile.limiter.refused(time.monotonic(), sent_at=sent_at, retry_after=retry_after)
        elif isinstance(error, ProviderUnavailable) and retry_after:
            turnstile.refusal = error
            turnstile.limiter.shut(time.monotonic(), retry_after)

    def spent(self, expected_tokens: float, tokens: int | None) -> None:
        """A request has ended and took so many tokens; None where nobody said."""
        if self._tokens is not None:
            self._tokens.take((tokens or 0) - expected_tokens)
        if tokens:
            self._token_mean.add(tokens)

    def _turnstile(self, model: str) -> _Turnstile:
        if model not in self._turnstiles:
            limiter = limiter_of(self._account, model, is_capped=self._requests is not None)
            self._turnstiles[model] = _Turnstile(limiter)
        return self._turnstiles[model]

    def _cap_seconds(self, now: float) -> float:
        return max((cap.seconds_to_wait(now) for cap in (self._requests, self._tokens) if cap is not None), default=0.0)

    def _charge(self) -> float:
        expected_tokens = self._token_mean.value or _FIRST_TOKENS
        if self._requests is not None:
            self._requests.take(1)
        if self._tokens is not None:
            self._tokens.take(expected_tokens)
        return expected_tokens


@dataclass
class _Mean:
    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        self.total += value
        self.count += 1

    @property
    def value(self) -> float | None:
        return self.total / self.count if self.count else None
