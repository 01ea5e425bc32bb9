"""Every exception this library raises. Imports nothing of ours, so that every layer can raise from here.

OrStreamError
├── ConfigurationError          bad input, found before anything was sent
├── ConnectionFailed            no response: DNS, TCP, TLS, proxy, reset before the headers
├── APIStatusError              the server said no before anything was made
│   ├── BadRequest              400, 422 and other 4xx
│   ├── AuthenticationFailed    401
│   ├── PaymentRequired         402
│   ├── PermissionDenied        403
│   │   └── ModerationBlocked   403 with moderation reasons
│   ├── NotFound                404
│   ├── RequestTimeout          408, 504, 524
│   ├── PayloadTooLarge         413
│   ├── RateLimited             429
│   ├── ServerFailed            500 and other 5xx
│   ├── ProviderUnavailable     502, 503
│   └── Overloaded              529
├── StreamFailed                an error came inside a stream that had begun
├── StreamTruncated             the stream ended with neither a finish nor [DONE]
├── StreamTimeout               one of the clocks of `Timeouts` ran out
├── ProtocolViolation           not SSE, not JSON, an image that is not base64, a limit passed
├── NoImageProduced             an image was required and none came
├── ImageNotSaved               the disk did not take an image: it is in memory instead
└── BudgetExceeded              the next request would pass the budget
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

__all__ = [
    "APIStatusError",
    "AuthenticationFailed",
    "BadRequest",
    "BudgetExceeded",
    "ConfigurationError",
    "ConnectionFailed",
    "ImageNotSaved",
    "ModerationBlocked",
    "NoImageProduced",
    "NotFound",
    "OrStreamError",
    "Overloaded",
    "PayloadTooLarge",
    "PaymentRequired",
    "PermissionDenied",
    "ProtocolViolation",
    "ProviderUnavailable",
    "RateLimited",
    "RequestTimeout",
    "ServerFailed",
    "StreamFailed",
    "StreamTimeout",
    "StreamTruncated",
    "TimeoutPhase",
]

# What was given as a path or a name may be a whole picture in base64. The rest is what a server may say.
_LONG_WORD = re.compile(r"(?<!\S)(\S{200})\S{300,}")
_MAX_MESSAGE_CHARACTERS = 6000

TimeoutPhase = Literal["connect", "first_content", "idle", "total"]


class OrStreamError(Exception):
    """Base of all errors of this library.

    `partial` is the `Message` received so far, images included, or None where no response had begun. `generation_id` is what
    `GET /generation` wants, None when the server had not sent it. `retryable` says whether the same request may succeed later;
    `attempts` how many requests were sent.
    """

    retryable: bool = False

    def __init__(self, message: str) -> None:
        super().__init__(_LONG_WORD.sub(r"\1...", message)[:_MAX_MESSAGE_CHARACTERS])
        self.partial: Any = None
        self.generation_id: str | None = None
        self.attempts: int = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy: the classes below want more than a message, which `args` does not hold."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[OrStreamError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> OrStreamError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class ConfigurationError(OrStreamError):
    """No key, an unknown option, or input that cannot be sent. Nothing was sent."""


class ConnectionFailed(OrStreamError):
    """There was no response: DNS, TCP, TLS, a proxy, or a reset before the headers."""

    retryable = True


class _ServerError(OrStreamError):
    """What the server says when it says no, in whichever place it says it."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: int | str | None = None,
        error_type: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        provider: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status: int | None = status
        self.code: int | str | None = code
        self.error_type: str | None = error_type
        self.metadata: Mapping[str, Any] = metadata or {}
        self.retry_after: float | None = retry_after
        self.provider: str | None = provider
        self.retryable: bool = status in _RETRYABLE_STATUSES if retryable is None else retryable


class APIStatusError(_ServerError):
    """The server refused before anything was made, also with a JSON error under HTTP 200.

    `status` is the HTTP status, or the body's code under HTTP 200. `code` and `error_type` are the body's own words, None when
    it has none; `metadata` also has `error.availability`, under that name. `retry_after` is in seconds, None when the server
    gave no hint; `provider` is who refused, None when it was the router. `retryable` is what the server says
    (`error.availability.retryable`), else it follows from the status.
    """


class BadRequest(APIStatusError):
    """400, 422: the request is wrong, too long or refused. Sending it again will not help."""


class AuthenticationFailed(APIStatusError):
    """401: no key, or one the server does not know."""


class PaymentRequired(APIStatusError):
    """402: out of credit, or the key's limit is reached."""


class PermissionDenied(APIStatusError):
    """403: the key, a guardrail, the region or the provider forbids it."""


class ModerationBlocked(PermissionDenied):
    """403 with reasons from moderation, in `metadata["reasons"]`."""


class NotFound(APIStatusError):
    """404: no such model, or no endpoint that can do what was asked."""


class RequestTimeout(APIStatusError):
    """408, 504, 524: the server gave up waiting."""


class PayloadTooLarge(APIStatusError):
    """413: send smaller images, or their addresses."""


class RateLimited(APIStatusError):
    """429: too many requests, of this key or upstream."""


class ServerFailed(APIStatusError):
    """500 and other 5xx."""


class ProviderUnavailable(APIStatusError):
    """502, 503: the provider failed or none is available."""


class Overloaded(APIStatusError):
    """529: the provider is overloaded."""


class StreamFailed(_ServerError):
    """An error came inside a stream that had begun; `status` is the error's own code, None when it has none."""


class StreamTruncated(OrStreamError):
    """The stream ended, or was cut, with neither a finish nor [DONE]."""

    retryable = True


class StreamTimeout(OrStreamError):
    """A clock ran out; `phase` names it."""

    retryable = True

    def __init__(self, message: str, *, phase: TimeoutPhase) -> None:
        super().__init__(message)
        self.phase: TimeoutPhase = phase


class ProtocolViolation(OrStreamError):
    """What came is not what the API sends: not SSE, not JSON, not base64, or larger than a limit."""


class NoImageProduced(OrStreamError):
    """`require_image=True`, and the answer has none; `text` and `native_finish_reason` say what came instead."""

    def __init__(self, message: str, *, text: str, native_finish_reason: str | None) -> None:
        super().__init__(message)
        self.text: str = text
        self.native_finish_reason: str | None = native_finish_reason


class ImageNotSaved(OrStreamError):
    """The stream came to an honest end, but an image could not be written under `save_to`: a full disk, a folder without leave.

    Nothing is lost: `.partial` has all of the text and every image, those that were not written as `data` in memory.
    """


class BudgetExceeded(OrStreamError):
    """The budget does not allow another request."""


# https://openrouter.ai/docs/api/reference/errors-and-debugging: timeouts, rate limits and unavailable providers may pass; 500
# is masked and may do so.
_RETRYABLE_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 524, 529})

_BY_STATUS: dict[int, type[APIStatusError]] = {
    401: AuthenticationFailed,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    408: RequestTimeout,
    413: PayloadTooLarge,
    429: RateLimited,
    502: ProviderUnavailable,
    503: ProviderUnavailable,
    504: RequestTimeout,
    524: RequestTimeout,
    529: Overloaded,
}


def error_class_for_status(status: int, metadata: Mapping[str, Any]) -> type[APIStatusError]:
    """The class for an HTTP status, or for a code in that range."""
    if status == 403 and "reasons" in metadata:
        return ModerationBlocked
    return _BY_STATUS.get(status) or (ServerFailed if status >= 500 else BadRequest)
