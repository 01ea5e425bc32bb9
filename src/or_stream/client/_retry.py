"""Whether to send a request again, and when. Pure: the clock and the dice come in as arguments."""

from dataclasses import dataclass

from or_stream.errors import ConfigurationError, OrStreamError, StreamTimeout

__all__ = ["RetryPolicy", "seconds_before_retry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How to go on after a failure that may pass.

    `attempts` is how many requests are sent at most. The wait before the next is random up to `base_seconds`, doubled each time,
    up to `cap_seconds` ("full jitter"). A server that asks for more than `cap_seconds`, or for a time that ends more than
    `total_seconds` after the first request, is not waited for: the error is raised at once. With `restart`, a stream that fails
    after content was handed out starts over behind a `Restart` event, and so does one that the first-content or the idle clock
    ended; without, never. A repeated request for an image may be billed again.
    """

    attempts: int = 3
    base_seconds: float = 0.5
    cap_seconds: float = 60
    total_seconds: float = 180
    restart: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(f"RetryPolicy.attempts must be 1 or more, not {self.attempts!r}")
        for name in ("base_seconds", "cap_seconds", "total_seconds"):
            seconds = getattr(self, name)
            if not isinstance(seconds, int | float) or not seconds >= 0:
                raise ConfigurationError(f"RetryPolicy.{name} must be 0 seconds or more, not {seconds!r}")


def seconds_before_retry(
    policy: RetryPolicy, *, attempt: int, error: OrStreamError, elapsed_seconds: float, random_fraction: float
) -> float | None:
    """How long to wait before the next request, or None to give up.

    `attempt` counts the requests sent; `random_fraction` is from 0 to 1. What the server asks for is the least that is waited.
    """
    if not error.retryable or attempt >= policy.attempts:
        return None
    if isinstance(error, StreamTimeout) and error.phase != "connect" and not policy.restart:
        return None  # the caller's own deadline: waiting for it three times over is not what was asked for
    seconds = min(policy.cap_seconds, policy.base_seconds * 2 ** min(attempt - 1, 60)) * random_fraction
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        if asked > policy.cap_seconds:
            return None
        seconds = asked + seconds
    return seconds if elapsed_seconds + seconds <= policy.total_seconds else None
