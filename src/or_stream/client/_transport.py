"""HTTP over aiohttp, whose every exception is mapped here. The only file of the client that imports it."""

import asyncio
import io
import json
import socket
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any, Final

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError, HttpProcessingError

from or_stream.errors import (
    APIStatusError,
    BadRequest,
    ConfigurationError,
    ConnectionFailed,
    OrStreamError,
    ProtocolViolation,
    StreamTimeout,
    StreamTruncated,
)
from or_stream.protocol import ErrorBody, Framing, redact

__all__ = ["Response", "Session", "Transport"]

Session = aiohttp.ClientSession

# Larger reads cost less and 256 KiB is where it levels off; aiohttp before 3.14 has 64 KiB by default.
_READ_BUFFER_BYTES: Final = 2**18
_MAX_ERROR_BODY_BYTES: Final = 2**20
# The list of all models was 0.8 MB when it was recorded, with 345 of them.
_MAX_JSON_BODY_BYTES: Final = 2**25
# A refusal is one, whether or not the rest of its body ever comes.
_ERROR_BODY_SECONDS: Final = 5
# Above this size aiohttp warns of bytes written at once, and writes what it can `read` in pieces.
_LARGE_BODY_BYTES: Final = 2**20
# After [DONE] the connection can be used again once the end of the body is here, usually within a millisecond.
_LINGER_SECONDS: Final = 0.5


_FOREIGN: Final = (aiohttp.ClientError, HttpProcessingError, OSError)


class Response:
    """An answer with status 200 whose body is to be read. `framing` tells what its body is."""

    def __init__(
        self, response: aiohttp.ClientResponse, framing: Framing, linger: Callable[[aiohttp.ClientResponse], None]
    ) -> None:
        self._response = response
        self._loop = asyncio.get_running_loop()
        self._linger = linger
        self.framing: Framing = framing
        self.generation_id: str | None = response.headers.get("X-Generation-Id")

    async def read(self) -> bytes:
        """What has come, at least a byte; b"" at the end of the body. Raises an OrStreamError where the connection broke."""
        content = self._response.content
        try:
            return await content.readany()
        except _FOREIGN as error:
            # aiohttp raises as soon as it knows of the break, though what came in front of it is still in its buffer.
            if data := content._read_nowait(-1):  # noqa: SLF001  # the public one raises too
                return data
            raise _translated(error, before_response=False) from error

    async def read_whole(self, max_bytes: int) -> bytes:
        """All of a body that is of use only as a whole. Raises ProtocolViolation for a longer one."""
        body = bytearray()
        with _mapped(before_response=True):  # half of it is as good as no answer
            async for data in self._response.content.iter_any():
                body += data
                if len(body) > max_bytes:
                    raise ProtocolViolation(f"the answer has more than {max_bytes:,} bytes")
        return bytes(body)

    def close(self) -> None:
        """Drop the connection now."""
        connection, content = self._response.connection, self._response.content
        if content.exception() is None:
            # aiohttp has one exception for all readers, whose traceback would keep the frames of each of them for ever.
            content.set_exception(aiohttp.ClientConnectionError("the stream was closed here"))
        transport = None if connection is None else connection.transport
        self._response.close()
        if transport is None:
            return
        if self._loop.is_closed():
            # asyncio can close nothing any more; the server must learn of it all the same.
            with suppress(OSError):
                transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        else:
            # A TLS connection that is closed waits up to 30 s for the server's close_notify, and the server goes on generating.
            transport.abort()

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
        self._closer: AsyncGenerator[None, None] | None = None
        self._is_closed = False
        self._responses: weakref.WeakSet[Response] = weakref.WeakSet()
        self._lingering: dict[aiohttp.ClientResponse, asyncio.TimerHandle] = {}

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, connect_seconds: float | None) -> Response:
        """Send a request and return the answer once its headers are here. Raises an APIStatusError for an answer that says no."""
        data = body if len(body) <= _LARGE_BODY_BYTES else io.BytesIO(body)
        return await self._request("POST", url, headers, connect_seconds=connect_seconds, data=data)

    async def get_json(
        self, url: str, query: Mapping[str, str], headers: Mapping[str, str], *, connect_seconds: float | None
    ) -> dict[str, Any]:
        """The JSON object at an address. Raises an APIStatusError for an answer that says no, also under HTTP 200."""
        response = await self._request("GET", url, headers, connect_seconds=connect_seconds, params=query)
        try:
            body = await response.read_whole(_MAX_JSON_BODY_BYTES)
        finally:
            response.close()  # after the end of the body its connection is no longer the response's, and is used again
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ProtocolViolation(f"the answer is no JSON: {_beginning(body)}") from error
        if not isinstance(document, dict):
            raise ProtocolViolation(f"the answer is no JSON object: {_beginning(body)}")
        if document.get("error"):
            raise _status_error(200, {}, body)
        return document

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], *, connect_seconds: float | None, **content: Any
    ) -> Response:
        timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect_seconds, sock_read=None)
        session = await self._running_session()
        with _mapped(before_response=True):
            response = await session.request(
                method,
                url,
                **content,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
                raise_for_status=False,
                proxy=self._proxy,
                read_bufsize=_READ_BUFFER_BYTES,
            )
        try:
            return await self._accepted(response)
        except BaseException:
            response.close()
            raise

    def __del__(self) -> None:
        if self._closer is not None and self._loop is not None and self._loop.is_closed():
            _close_after_loop(self._session)

    def reopen(self) -> None:
        """After `aclose`: allow requests again."""
        self._is_closed = False

    async def aclose(self) -> None:
        """Close what was opened here, and allow no more requests: a stream that is still open must not send its own again."""
        self._is_closed = True
        self._close_responses()
        if self._closer is not None:
            closer, self._closer, self._session = self._closer, None, None
            await closer.aclose()

    def _close_responses(self) -> None:
        """Before the session is closed, because aiohttp would then leave whoever reads waiting."""
        for response in list(self._responses):
            response.close()
        for lingering in list(self._lingering):
            self._end_lingering(lingering)

    def _linger(self, response: aiohttp.ClientResponse) -> None:
        if response.content.at_eof() or response.connection is None:
            response.close()
        else:
            loop = asyncio.get_running_loop()
            self._lingering[response] = loop.call_later(_LINGER_SECONDS, self._end_lingering, response)

    def _end_lingering(self, response: aiohttp.ClientResponse) -> None:
        self._lingering.pop(response).cancel()
        response.close()

    async def _running_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._is_closed:
            raise ConfigurationError("this Client is closed: make another")
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise ConfigurationError("this Client is in use in another event loop: make one Client per loop")
        if self._owns_session and (self._loop is not loop or self._session is None):
            _close_after_loop(self._session)
            # aiohttp's own limit of 100 connections would queue the rest without a word.
            connector = aiohttp.TCPConnector(limit=self._max_connections or 0)
            # Not `trust_env`: it looks into files in a thread twice a request, and a .netrc entry would clash with the key.
            self._session = aiohttp.ClientSession(connector=connector)
            # asyncio closes every started async generator when a loop shuts down (`shutdown_asyncgens`): the one public hook.
            self._closer = _close_with_loop(self._session, weakref.WeakMethod(self._close_responses))
            await anext(self._closer)
        self._loop = loop
        if self._session is None or self._session.closed:
            raise ConfigurationError("the aiohttp session of this Client is closed: make another Client")
        return self._session

    async def _accepted(self, response: aiohttp.ClientResponse) -> Response:
        """The answer if it is one to read; else raises what it says."""
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status == 200 and (content_type == "text/event-stream" or content_type.endswith("json")):
            accepted = Response(response, "json" if content_type.endswith("json") else "sse", self._linger)
            self._responses.add(accepted)
            return accepted
        body = await self._error_body(response)
        generation_id = response.headers.get("X-Generation-Id")
        response.close()
        error: OrStreamError
        if response.status < 300:
            kind = f"content type {content_type!r}" if content_type else "no content type"
            error = ProtocolViolation(
                f"the server answered with status {response.status} and {kind} instead of a stream: {_beginning(body)}"
            )
        elif response.status < 400:
            place = redact(response.headers.get("Location", "nowhere"))
            error = BadRequest(
                f"HTTP {response.status}: the server redirects to {place!r}, which is not followed: correct base_url",
                status=response.status,
            )
        else:
            error = _status_error(response.status, response.headers, body)
        error.generation_id = generation_id
        raise error

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body of an answer that is no stream, or as much of it as comes."""
        body = b""
        reader = Response(response, "json", self._linger)
        with suppress(OrStreamError, TimeoutError):
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                while len(body) < _MAX_ERROR_BODY_BYTES and (data := await reader.read()):
                    body += data
        return body[:_MAX_ERROR_BODY_BYTES]


async def _close_with_loop(
    session: aiohttp.ClientSession, close_responses: "weakref.WeakMethod[Callable[[], None]]"
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        if (close := close_responses()) is not None:
            close()
        await session.close()


def _close_after_loop(session: aiohttp.ClientSession | None) -> None:
    """Close a session whose loop was closed without being shut down: aiohttp then has nothing to wait for."""
    if session is not None and not session.closed:
        with suppress(StopIteration):
            session.close().send(None)


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
        said.retry_after = _retry_after(headers)
    if said.reset_at_milliseconds is None:
        with suppress(KeyError, ValueError):
            said.reset_at_milliseconds = float(headers["X-RateLimit-Reset"])
    return said.api_status_error(status, time.time())


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Retry-After, in seconds or as a date (RFC 9110 section 10.2.3)."""
    text = headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    with suppress(ValueError, OverflowError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _beginning(body: bytes) -> str:
    return _one_line(body[:2000].decode(errors="replace"))


def _one_line(text: str) -> str:
    """What somebody else said, fit for a message."""
    text = redact(" ".join(text.split()))
    return text if len(text) <= 200 else f"{text[:200]}..."


@contextmanager
def _mapped(*, before_response: bool) -> Iterator[None]:
    """Turns what aiohttp raises into errors of this library."""
    try:
        yield
    except aiohttp.ClientHttpProxyError as error:
        # Without its cause, whose text has the address of the proxy, and the password in it.
        raise _translated(error, before_response=before_response) from None
    except _FOREIGN as error:
        raise _translated(error, before_response=before_response) from error
    except ValueError as error:
        # What aiohttp finds out only now: a host that is no name, credentials of the caller's session beside the key.
        raise ConfigurationError(f"this request cannot be sent: {_one_line(str(error))}") from error


def _translated(error: Exception, *, before_response: bool) -> OrStreamError:
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
