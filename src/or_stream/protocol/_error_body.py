"""The error object of the API, wherever it comes: in a body, in a chunk, in a choice. Knows its field names; decides nothing."""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from or_stream._short_repr import shorten_data_urls
from or_stream.errors import APIStatusError, StreamFailed, error_class_for_status

__all__ = ["ErrorBody", "conceal", "redact"]

_MAX_RAW_CHARACTERS: Final = 500
_MAX_MESSAGE_CHARACTERS: Final = 4000
# An error may say so much about a provider, or give so much as its type or its code.
_MAX_WORD_CHARACTERS: Final = 200
_MAX_DEPTH: Final = 32
# "key" or "test" serves as a key of a server that wants none, and is a word that errors need.
_SHORTEST_SECRET: Final = 8
_SECRETS: Final = re.compile(r"(sk-(?:or-)?)[A-Za-z0-9_-]{8,}|(Bearer )[^\s\"']+")


def redact(text: str) -> str:
    """`text` without anything that looks like a key, and with data URLs shortened."""
    return shorten_data_urls(_SECRETS.sub(lambda match: f"{match[1] or match[2]}...", text))


def conceal(error: BaseException | None, authorization: str) -> None:
    """Take the key of a request out of all that an exception and its causes say: servers repeat it, and not all look like keys.

    `authorization` is the value of the header, `Bearer` and the key.
    """
    secret = authorization.rpartition(" ")[2]
    if len(secret) < _SHORTEST_SECRET:
        return
    spellings = {secret, quote(secret, safe=""), b64encode(secret.encode()).decode()}
    pattern = re.compile("|".join(re.escape(spelling) for spelling in spellings), re.IGNORECASE)
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        error.args = tuple(_replaced(argument, pattern) for argument in error.args)
        for name, value in vars(error).items():
            setattr(error, name, _replaced(value, pattern))
        error = error.__cause__ or error.__context__


def _replaced(value: Any, pattern: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return pattern.sub("...", value)
    if isinstance(value, dict):
        return {_replaced(name, pattern): _replaced(item, pattern) for name, item in value.items()}
    return [_replaced(item, pattern) for item in value] if isinstance(value, list) else value


def _redacted(value: Any, depth: int = 0) -> Any:
    """`value` as an exception may show it: without keys and data, and not so deep that a walk through it takes all the stack."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict | list) and depth >= _MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        return {redact(name): _redacted(item, depth + 1) for name, item in value.items()}
    return [_redacted(item, depth + 1) for item in value] if isinstance(value, list) else value


@dataclass(slots=True)
class ErrorBody:
    """What an error object says. `status` is its code where that is an HTTP status; `retry_after` is in seconds.

    `reset_at_milliseconds` is when the rate limit starts anew, in Unix time (recorded: a string, in the body as in the headers).
    """

    message: str
    code: int | str | None = None
    status: int | None = None
    error_type: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    retry_after: float | None = None
    reset_at_milliseconds: float | None = None
    provider: str | None = None
    retryable: bool | None = None

    @classmethod
    def read(cls, error: Any) -> "ErrorBody":
        """From the value of an `error` field, of any type: proxies send plain strings."""
        if not isinstance(error, dict):
            return cls(message=redact(str(_redacted(error)))[:_MAX_RAW_CHARACTERS])
        metadata = _redacted(_mapping(error.get("metadata")))
        availability = _redacted(_mapping(error.get("availability")))
        if availability:
            metadata["availability"] = availability
        code = error.get("code")
        status = _number(code) or _number(error.get("http_status"))
        headers = {str(name).lower(): value for name, value in _mapping(metadata.get("headers")).items()}
        provider = _word(metadata.get("provider_name"))
        return cls(
            message=_message(error.get("message"), metadata, provider),
            code=code if isinstance(code, int) else _word(code),
            status=int(status) if status and 100 <= status <= 599 else None,
            error_type=_word(metadata.get("error_type") or error.get("error_type") or error.get("type")),
            metadata=metadata,
            retry_after=_first_number(
                availability.get("retry_after"), metadata.get("retry_after_seconds"), headers.get("retry-after")
            ),
            reset_at_milliseconds=_number(headers.get("x-ratelimit-reset")),
            provider=provider,
            retryable=availability["retryable"] if isinstance(availability.get("retryable"), bool) else None,
        )

    def stream_failed(self, unix_seconds: float | None = None) -> StreamFailed:
        """The exception for an error inside a stream; the time now, if known, tells how far away a reset is."""
        return StreamFailed(
            self.message,
            status=self.status,
            code=self.code,
            error_type=self.error_type,
            metadata=self.metadata,
            retry_after=self._seconds_to_wait(self.status, unix_seconds),
            provider=self.provider,
            retryable=self.retryable,
        )

    def api_status_error(self, status: int, unix_seconds: float | None = None) -> APIStatusError:
        """The exception for an answer with this HTTP status; under 200 the body's own code counts."""
        status = self.status if status < 400 and self.status else status
        if status < 400:
            status = 500
        return error_class_for_status(status, self.metadata)(
            f"HTTP {status}: {self.message}",
            status=status,
            code=self.code,
            error_type=self.error_type,
            metadata=self.metadata,
            retry_after=self._seconds_to_wait(status, unix_seconds),
            provider=self.provider,
            retryable=self.retryable,
        )

    def _seconds_to_wait(self, status: int | None, unix_seconds: float | None) -> float | None:
        if self.retry_after is not None or self.reset_at_milliseconds is None or unix_seconds is None or status != 429:
            return self.retry_after
        return max(0.0, self.reset_at_milliseconds / 1000 - unix_seconds)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _word(value: Any) -> str | None:
    return redact(value[:_MAX_WORD_CHARACTERS]) if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < float("inf") else None


def _first_number(*values: Any) -> float | None:
    return next((number for value in values if (number := _number(value)) is not None), None)


def _message(message: Any, metadata: Mapping[str, Any], provider: str | None) -> str:
    """The error's own words, and what the provider said behind "Provider returned error" (a JSON text, prose, or an object)."""
    text = (
        message[:_MAX_MESSAGE_CHARACTERS]
        if isinstance(message, str) and message
        else "the server sent an error without a message"
    )
    raw = metadata.get("raw")
    if isinstance(raw, str):
        try:
            raw = _redacted(json.loads(raw))
        except (ValueError, RecursionError):
            raw = raw.strip()
    inner = _mapping(raw).get("error", raw)
    detail = _mapping(inner).get("message", inner)
    if detail and detail != text:
        detail = detail if isinstance(detail, str) else json.dumps(detail, default=str)
        text = f"{text}: {detail[:_MAX_RAW_CHARACTERS]}"
    if provider:
        text = f"{text} (provider {provider})"
    return redact(text)
