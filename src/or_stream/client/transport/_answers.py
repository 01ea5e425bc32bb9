"""What an answer that is none means, and what aiohttp raises: every foreign exception is mapped here."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from or_stream.errors import (
    APIStatusError,
    ConfigurationError,
    ConnectionFailed,
    OrStreamError,
    ProtocolViolation,
    StreamTimeout,
    StreamTruncated,
)
from or_stream.protocol import ErrorBody, redact

__all__ = ["FOREIGN", "MappedErrors", "beginning", "retry_after", "status_error", "translated"]

FOREIGN: Final = (aiohttp.ClientError, HttpProcessingError, OSError)
"""What aiohttp lets through of its own and of the system's."""


def status_error(status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
    """The exception for an answer with an error status and a body of any kind: JSON, HTML, text or nothing."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.get("error"):
        said = ErrorBody.read(document["error"])
    else:
        said = ErrorBody.read(beginning(body) if body.strip() else "the answer has no body")
    if said.retry_after is None:
        said.retry_after = _asked_seconds(headers)
    error = said.api_status_error(status, time.time())
    if error.retry_after is None:
        error.retry_after = retry_after(status, headers)
    return error


def retry_after(status: int | None, headers: Mapping[str, str]) -> float | None:
    """The seconds to wait that headers ask for: Retry-After, and behind 429 else the end of the rate limit."""
    asked = _asked_seconds(headers)
    if asked is None and status == 429:
        with suppress(KeyError, ValueError):
            return max(0.0, float(headers["X-RateLimit-Reset"]) / 1000 - time.time())  # Unix time in milliseconds, as recorded
    return asked


def _asked_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After, in seconds or as a date (RFC 9110 section 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    with suppress(ValueError):
        return max(0.0, float(text))
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def beginning(body: bytes) -> str:
    """The first words of a body, for a message."""
    return _one_line(body[:2000].decode(errors="replace"))


def _one_line(text: str) -> str:
    """What somebody else said, fit for a message."""
    text = redact(" ".join(text.split()))
    return text if len(text) <= 200 else f"{text[:200]}..."


class MappedErrors:
    """A context in which what aiohttp raises becomes an error of this library. No generator: that takes 1 µs of each request."""

    __slots__ = ("_before_response",)

    def __init__(self, *, before_response: bool) -> None:
        self._before_response = before_response

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, exc_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            # Without its cause, whose text has the address of the proxy, and the password in it.
            raise translated(error, before_response=self._before_response) from None
        if isinstance(error, FOREIGN):
            raise translated(error, before_response=self._before_response) from error
        if isinstance(error, ValueError):
            # What aiohttp finds out only now: a host that is no name, credentials of the caller's session beside the key.
            raise ConfigurationError(f"this request cannot be sent: {_one_line(str(error))}") from error


def translated(error: Exception, *, before_response: bool) -> OrStreamError:
    """The error of this library for one of `FOREIGN`."""
    message = getattr(error, "message", None)  # without the address, which `str` repeats
    said = _one_line(message if isinstance(message, str) else str(error))
    if isinstance(error, aiohttp.InvalidURL | aiohttp.NonHttpUrlClientError):
        return ConfigurationError(f"base_url or proxy is no http address: {said}")
    if isinstance(error, aiohttp.ServerTimeoutError):
        return StreamTimeout("no connection within Timeouts.connect", phase="connect")
    if isinstance(error, ContentEncodingError) or isinstance(error.__cause__, ContentEncodingError):
        return ProtocolViolation(f"the body cannot be decompressed: {said}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refusal = ConnectionFailed(f"the proxy refused: HTTP {error.status} {said}")
        refusal.retryable = error.status >= 500
        return refusal
    if isinstance(error, aiohttp.ClientResponseError | HttpProcessingError):
        return ProtocolViolation(f"the answer is not proper HTTP: {said}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        distrust = ConnectionFailed(f"the server's certificate does not hold: {said}")
        distrust.retryable = False
        return distrust
    if isinstance(error, aiohttp.ServerDisconnectedError):
        said = "the server closed the connection"
    elif isinstance(error, aiohttp.ClientPayloadError):
        said = "the body ended too early"
    if before_response:
        return ConnectionFailed(f"no answer: {said or type(error).__name__}")
    return StreamTruncated(f"the connection broke: {said or type(error).__name__}; what came is in .partial")
