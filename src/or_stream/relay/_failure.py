"""What a browser is told when a stream fails: chosen by the class of the error, never in the words of whoever failed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from or_stream.errors import (
    AuthenticationFailed,
    BadRequest,
    BudgetExceeded,
    ConfigurationError,
    ConnectionFailed,
    ImageNotSaved,
    ModerationBlocked,
    NoImageProduced,
    NotFound,
    OrStreamError,
    Overloaded,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    ProtocolViolation,
    ProviderUnavailable,
    RateLimited,
    RequestTimeout,
    ServerFailed,
    StreamFailed,
    StreamTimeout,
    StreamTruncated,
    error_class_for_status,
)

__all__ = ["ABORTED", "ErrorText", "Failure", "failure_of"]

ErrorText = Callable[[Exception], str | None]


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as it may be shown to anybody.

    `status` is the HTTP status where nothing was sent yet. `retry_after` is in seconds, None where nobody said.
    """

    text: str
    code: str
    status: int
    retryable: bool = False
    retry_after: float | None = None


ABORTED: Final = Failure("The answer was broken off.", "aborted", 500, retryable=True)

# What an upstream asks beyond that, infinity among it, is no time that a browser could wait for.
_LONGEST_WAIT_SECONDS: Final = 7 * 86400.0

_LOGGER: Final = logging.getLogger("or_stream.relay")

_UNAVAILABLE: Final = "The service is not available at the moment."
_BUSY: Final = "The service is busy. Try again in a moment."
_BROKEN: Final = "The answer broke off. Try again."
_LATE: Final = "The answer took too long. Try again."
_INTERNAL: Final = ("internal_error", 500, "Something went wrong here.")

# code, HTTP status, text. The status is this backend's own: a refusal of its key or its credit is no fault of the browser's.
_SHOWN: Final[dict[type[Exception], tuple[str, int, str]]] = {
    ConfigurationError: _INTERNAL,
    ConnectionFailed: ("unavailable", 502, _UNAVAILABLE),
    BadRequest: ("bad_request", 400, "The model does not accept this request. It may be too long."),
    AuthenticationFailed: ("unavailable", 500, _UNAVAILABLE),
    PaymentRequired: ("unavailable", 503, _UNAVAILABLE),
    PermissionDenied: ("forbidden", 403, "This request is not allowed."),
    ModerationBlocked: ("moderation", 403, "This request was refused by moderation."),
    NotFound: ("model_not_found", 404, "This model is not available."),
    RequestTimeout: ("timeout", 504, _LATE),
    PayloadTooLarge: ("too_large", 413, "The request is too large. Send less or smaller pictures."),
    RateLimited: ("rate_limited", 429, _BUSY),
    ServerFailed: ("provider_failed", 502, _UNAVAILABLE),
    ProviderUnavailable: ("unavailable", 503, _UNAVAILABLE),
    Overloaded: ("overloaded", 503, _BUSY),
    StreamFailed: ("provider_failed", 502, _BROKEN),
    StreamTruncated: ("truncated", 502, _BROKEN),
    StreamTimeout: ("timeout", 504, _LATE),
    ProtocolViolation: ("provider_failed", 502, _BROKEN),
    NoImageProduced: ("no_image", 502, "The model made no picture. Ask for one in other words."),
    ImageNotSaved: ("not_saved", 500, "A picture could not be saved."),
    BudgetExceeded: ("budget_exceeded", 503, "The budget is used up."),
    OrStreamError: _INTERNAL,
}


def failure_of(error: Exception, error_text: ErrorText | None = None) -> Failure:
    """What to show for an error.

    `error_text` may say it in the application's words; the default is kept where it returns None, or raises, which is logged.
    """
    code, status, text = next((_SHOWN[kind] for kind in _kind_of(error).__mro__ if kind in _SHOWN), _INTERNAL)
    wait = getattr(error, "retry_after", None)
    return Failure(
        text=_said_by(error_text, error) or text,
        code=code,
        status=status,
        retryable=getattr(error, "retryable", False) is True,
        retry_after=wait if wait is not None and 0 <= wait <= _LONGEST_WAIT_SECONDS else None,
    )


def _said_by(error_text: ErrorText | None, error: Exception) -> str | None:
    try:
        return None if error_text is None else error_text(error)
    except Exception:
        _LOGGER.exception("error_text raised; the default is shown")
        return None


def _kind_of(error: Exception) -> type[Exception]:
    """A refusal inside a stream is what the same one in front of it would be; what broke there is a break."""
    if isinstance(error, StreamFailed) and error.status is not None and 400 <= error.status < 500:
        return error_class_for_status(error.status, error.metadata)
    return type(error)
