"""HTTP over aiohttp: POST, status, bytes, and every exception of aiohttp mapped. The only file of the client that imports it."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from or_stream.errors import (
    APIStatusError,
    ConfigurationError,
    ConnectionFailed,
    OrStreamError,
    ProtocolViolation,
    StreamTimeout,
    StreamTruncated,
)
from or_stream.protocol import ErrorBody, Framing

__all__ = ["Response", "Session", "Transport"]

Session = aiohttp.ClientSession

# Larger reads cost less and 256 KiB is where it levels off; aiohttp before 3.14 has 64 KiB by default.
_READ_BUFFER_BYTES: Final = 2**18
_MAX_ERROR_BODY_BYTES: Final = 2**20
# After [DONE] the connection can be used again once the end of the body is here, usually within a millisecond.
_LINGER_SECONDS: Final = 0.5


class Response:
    """An answer with status 200 whose body is to be read. `framing` tells what its body is."""

    def __init__(
        self, response: aiohttp.ClientResponse, framing: Framing, linger: Callable[[aiohttp.ClientResponse], None]
    ) -> None:
        self._response = response
        self._linger = linger
        self.framing: Framing = framing
        self.generation_id: str | None = response.headers.get("X-Generation-Id")

    async def read(self) -> bytes:
        """What has come, at least a byte; b"" at the end of the body. Raises an OrStreamError where the connection broke."""
        with _mapped(before_response=False):
            return await self._response.content.readany()

    def close(self) -> None:
        """Drop the connection now."""
        self._response.close()

    def end(self) -> None:
        """All that matters was read: keep the connection for reuse if the body ends by itself shortly, else drop it."""
        self._linger(self._response)


class Transport:
    """One aiohttp session, made at the first request unless the caller brings one, which `aclose` then leaves open."""

    def __init__(self, session: aiohttp.ClientSession | None, *, max_connections: int | None, proxy: str | None) -> None:
        self._session = session
        self._owns_session = session is None
        self._max_connections = max_connections
        self._proxy = proxy
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lingering: dict[aiohttp.ClientResponse, asyncio.TimerHandle] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, connect_seconds: float | None) -> Response:
        """Send a request and return the answer once its headers are here. Raises an APIStatusError for an answer that says no."""
        timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect_seconds, sock_read=None)
        session = self._running_session()
        with _mapped(before_response=True):
            response = await session.post(
                url,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                proxy=self._proxy,
                read_bufsize=_READ_BUFFER_BYTES,
            )
        try:
            return await self._accepted(response)
        except BaseException:
            response.close()
            raise

    async def aclose(self) -> None:
        """Close what was opened here."""
        for response in list(self._lingering):
            self._end_lingering(response)
        if self._owns_session and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _linger(self, response: aiohttp.ClientResponse) -> None:
        if response.content.at_eof() or response.connection is None:
            response.close()
        else:
            loop = asyncio.get_running_loop()
            self._lingering[response] = loop.call_later(_LINGER_SECONDS, self._end_lingering, response)

    def _end_lingering(self, response: aiohttp.ClientResponse) -> None:
        self._lingering.pop(response).cancel()
        response.close()

    def _running_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop not in (None, loop):
            if self._loop is not None and not self._loop.is_closed():
                raise ConfigurationError("this Client is in use in another event loop: make one Client per loop")
            self._session = None if self._owns_session else self._session
        if self._session is None:
            if not self._owns_session:
                raise ConfigurationError("this Client is closed: make another")
            # aiohttp's own limit of 100 connections would queue the rest without a word.
            connector = aiohttp.TCPConnector(limit=self._max_connections or 0)
            # Not `trust_env`: it looks into files in a thread twice a request, and a .netrc entry would clash with the key.
            self._session = aiohttp.ClientSession(connector=connector)
        self._loop = loop
        if self._session.closed:
            raise ConfigurationError("the aiohttp session of this Client is closed: make another Client")
        return self._session

    async def _accepted(self, response: aiohttp.ClientResponse) -> Response:
        """The answer if it is one to read; else raises what it says."""
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status == 200 and content_type == "text/event-stream":
            return Response(response, "sse", self._linger)
        if response.status == 200 and content_type.endswith("json"):
            return Response(response, "json", self._linger)
        with _mapped(before_response=False):
            body = await response.content.read(_MAX_ERROR_BODY_BYTES)
        generation_id = response.headers.get("X-Generation-Id")
        response.close()
        error: OrStreamError
        if response.status == 200:
            kind = f"content type {content_type!r}" if content_type else "no content type"
            error = ProtocolViolation(f"the server answered with {kind} instead of a stream: {_beginning(body)}")
        else:
            error = _status_error(response.status, response.headers, body)
        error.generation_id = generation_id
        raise error


def _status_error(status: int, headers: Mapping[str, str], body: bytes) -> APIStatusError:
    """The exception for an answer with an error status and a body of any kind: JSON, HTML, text or nothing."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if isinstance(document, dict) and document.get("error"):
        said = ErrorBody.read(document["error"])
    else:
        said = ErrorBody.read(_beginning(body) if body.strip() else "the answer has no body")
    if said.retry_after is None:
        said.retry_after = _seconds_until(headers, said)
    if 300 <= status < 400:
        said.message = f"the server redirects to {headers.get('Location', 'nowhere')!r}, which is not followed: correct base_url"
    return said.api_status_error(status)


def _seconds_until(headers: Mapping[str, str], said: ErrorBody) -> float | None:
    """Retry-After in seconds or as a date (RFC 9110 section 10.2.3), else the reset time (Unix time in milliseconds)."""
    text = headers.get("Retry-After", "").strip()
    if text:
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except ValueError:
            pass
    reset = said.reset_at_milliseconds
    try:
        reset = float(headers["X-RateLimit-Reset"]) if reset is None else reset
    except (KeyError, ValueError):
        return None
    return max(0.0, reset / 1000 - time.time())


def _beginning(body: bytes) -> str:
    text = " ".join(body[:2000].decode(errors="replace").split())
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def _mapped(*, before_response: bool) -> Iterator[None]:
    """Turns what aiohttp raises into errors of this library."""
    try:
        yield
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise ConfigurationError(f"base_url is no http address: {error}") from error
    except aiohttp.ServerTimeoutError as error:
        raise StreamTimeout("no connection within Timeouts.connect", phase="connect") from error
    except aiohttp.ContentTypeError as error:
        raise ProtocolViolation(str(error)) from error
    except HttpProcessingError as error:
        raise ProtocolViolation(f"the server does not speak HTTP: {error.message}") from error
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
        said = str(error) or type(error).__name__
        if isinstance(error.__cause__, HttpProcessingError) and "encod" in said.lower():
            raise ProtocolViolation(f"the body cannot be decompressed: {said}") from error
        if before_response:
            raise ConnectionFailed(f"no answer: {said}") from error
        raise StreamTruncated(f"the connection broke: {said}; what came is in .partial") from error
