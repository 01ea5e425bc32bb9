"""One aiohttp session: requests, what is accepted as an answer, and what becomes of connections."""

import asyncio
import io
import os
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import aiohttp

from or_stream._json import parse_json
from or_stream.client._clocks import HeadersWait
from or_stream.client.transport._answers import FOREIGN, MappedErrors, beginning, status_error
from or_stream.client.transport._response import OF_PARENT, Readers, Response
from or_stream.errors import BadRequest, ConfigurationError, OrStreamError, ProtocolViolation
from or_stream.protocol import Framing, conceal, redact

__all__ = ["Session", "Transport"]

Session = aiohttp.ClientSession

# Larger reads cost less and 256 KiB is where it levels off; aiohttp before 3.14 has 64 KiB by default.
_READ_BUFFER_BYTES: Final = 2**18
# 50 images at once take 10 MB with this one and 24 with the other, for a seventh more CPU; one alone takes a quarter more.
_READ_BUFFER_BYTES_FOR_DISK: Final = 2**16
_MAX_ERROR_BODY_BYTES: Final = 2**20
# The list of all models was 0.8 MB when it was recorded, with 345 of them.
_MAX_JSON_BODY_BYTES: Final = 2**25
# A refusal is one, whether or not the rest of its body ever comes.
_ERROR_BODY_SECONDS: Final = 5
# Above this size aiohttp warns of bytes written at once, and writes what it can `read` in pieces.
_LARGE_BODY_BYTES: Final = 2**20
_REQUESTS_A_TURN: Final = 16
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
# After [DONE] the connection can be used again once the end of the body is here, usually within a millisecond.
_LINGER_SECONDS: Final = 0.5


class Transport:
    """One aiohttp session, made at the first request unless the caller brings one, which `aclose` then leaves open."""

    def __init__(self, session: aiohttp.ClientSession | None, *, max_connections: int | None, proxy: str | None) -> None:
        self._session = session
        self._owns_session = session is None
        self._max_connections = max_connections
        self._proxy = proxy
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns = _Turns()
        self._closer: AsyncGenerator[None, None] | None = None
        self._is_closed = False
        self._process = os.getpid()
        self._readers: Readers = {}
        self._lingering: dict[aiohttp.ClientResponse, float] = {}  # until when, the first to end first

    def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, wait: HeadersWait, is_for_disk: bool = False
    ) -> Awaitable[Response]:
        """Send a request and return the answer once its headers are here. Raises an APIStatusError for an answer that says no.

        `is_for_disk`: what comes is not kept, so that the buffer is the memory it takes.
        """
        data = body if len(body) <= _LARGE_BODY_BYTES else io.BytesIO(body)
        read_bufsize = _READ_BUFFER_BYTES_FOR_DISK if is_for_disk else _READ_BUFFER_BYTES
        return self._request("POST", url, headers, wait=wait, data=data, read_bufsize=read_bufsize)

    async def get_json(
        self, url: str, query: Mapping[str, str], headers: Mapping[str, str], *, wait: HeadersWait
    ) -> dict[str, Any]:
        """The JSON object at an address. Raises an APIStatusError for an answer that says no, also under HTTP 200."""
        response = await self._request("GET", url, headers, wait=wait, params=query, read_bufsize=_READ_BUFFER_BYTES)
        try:
            body = await response.read_whole(_MAX_JSON_BODY_BYTES)
        finally:
            response.close()  # after the end of the body its connection is no longer the response's, and is used again
        try:
            document = parse_json(body)
        except (ValueError, RecursionError) as error:
            raise ProtocolViolation(f"the answer is no JSON: {beginning(body)}") from error
        if not isinstance(document, dict):
            raise ProtocolViolation(f"the answer is no JSON object: {beginning(body)}")
        if document.get("error"):
            raise status_error(200, {}, body)
        return document

    async def _request(self, method: str, url: str, headers: Mapping[str, str], *, wait: HeadersWait, **content: Any) -> Response:
        await self._turns.next()
        session = await self._running_session()
        connector, task = session.connector, asyncio.current_task()
        if isinstance(connector, _Connector):
            connector.waits[task] = wait
            timeout = _NO_TIMEOUT
        else:
            timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=wait.connect_seconds, sock_read=None)
        try:
            with MappedErrors(before_response=True):
                response = await session.request(
                    method,
                    url,
                    **content,
                    headers=headers,
                    timeout=timeout,
                    allow_redirects=False,
                    raise_for_status=False,
                    proxy=self._proxy,
                )
            try:
                return await self._accepted(response, headers.get("Authorization", ""))
            except BaseException:
                response.close()
                raise
        except OrStreamError as error:
            conceal(error, headers.get("Authorization", ""))
            if self._is_closed:
                raise ConfigurationError("this Client was closed while the request was on its way") from error
            raise
        finally:
            if isinstance(connector, _Connector):
                connector.waits.pop(task, None)

    def __del__(self) -> None:
        if self._closer is not None and self._loop is not None and self._loop.is_closed():
            _close_after_loop(self._session)

    def reopen(self) -> None:
        """After `aclose`: allow requests again."""
        self._is_closed = False

    async def aclose(self) -> None:
        """Close what was opened here, and allow no more requests: a stream that is still open must not send its own again."""
        self._is_closed = True
        self._leave_to_parent()
        self._close_responses()
        if self._closer is not None:
            closer, self._closer, self._session = self._closer, None, None
            await closer.aclose()

    def _leave_to_parent(self) -> None:
        """In a forked process: forget what was opened before the fork, without touching it."""
        if self._process != os.getpid():
            OF_PARENT.append((self._session, self._closer, dict(self._lingering)))
            self._process = os.getpid()
            self._readers = {}
            self._lingering.clear()
            if self._owns_session and self._session is not None:
                OF_PARENT.append(self._session.connector)
                self._session.detach()
                self._session = self._closer = self._loop = None

    def _close_responses(self) -> None:
        """Before the session is closed, because aiohttp would then leave whoever reads waiting."""
        for reference in list(self._readers.values()):
            if (response := reference()) is not None:
                response.close_for_good()
        while self._lingering:
            self._lingering.popitem()[0].close()

    def _linger(self, response: aiohttp.ClientResponse) -> None:
        if response.content.at_eof() or response.connection is None:
            response.close()
            return
        loop = asyncio.get_running_loop()
        if not self._lingering:  # else there is a timer, the same for all
            loop.call_later(_LINGER_SECONDS, self._end_lingering, loop)
        self._lingering[response] = loop.time() + _LINGER_SECONDS

    def _end_lingering(self, loop: asyncio.AbstractEventLoop) -> None:
        for response, deadline in list(self._lingering.items()):
            if deadline > loop.time():
                loop.call_at(deadline, self._end_lingering, loop)
                return
            del self._lingering[response]
            response.close()

    async def _running_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        self._leave_to_parent()
        if self._is_closed:
            raise ConfigurationError("this Client is closed: make another")
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise ConfigurationError("this Client is in use in another event loop: make one Client per loop")
        if self._owns_session and (self._loop is not loop or self._session is None):
            _close_after_loop(self._session)
            # aiohttp's own limit of 100 connections would queue the rest without a word.
            connector = _Connector(limit=self._max_connections or 0)
            # Not `trust_env`: it looks into files in a thread twice a request, and a .netrc entry would clash with the key.
            self._readers = {}
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
            # asyncio closes every started async generator when a loop shuts down (`shutdown_asyncgens`): the one public hook.
            self._closer = _close_with_loop(self._session, weakref.WeakMethod(self._close_responses))
            await anext(self._closer)
        self._loop = loop
        if self._session is None or self._session.closed:
            raise ConfigurationError("the aiohttp session of this Client is closed: make another Client")
        return self._session

    async def _accepted(self, response: aiohttp.ClientResponse, authorization: str) -> Response:
        """The answer if it is one to read; else raises what it says."""
        content_type = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status == 200 and (content_type == "text/event-stream" or content_type.endswith("json")):
            framing: Framing = "json" if content_type.endswith("json") else "sse"
            return Response(response, framing, self._readers, self._linger, authorization)
        body = await self._error_body(response)
        generation_id = response.headers.get("X-Generation-Id")
        error: OrStreamError
        if response.status < 300:
            kind = f"content type {content_type!r}" if content_type else "no content type"
            error = ProtocolViolation(
                f"the server answered with status {response.status} and {kind} instead of a stream: {beginning(body)}"
            )
        elif response.status < 400:
            place = redact(response.headers.get("Location", "nowhere"))
            error = BadRequest(
                f"HTTP {response.status}: the server redirects to {place!r}, which is not followed: correct base_url",
                status=response.status,
            )
        else:
            error = status_error(response.status, response.headers, body)
        error.generation_id = generation_id
        raise error

    async def _error_body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body of an answer that is no stream, or as much of it as comes."""
        body = b""
        reader = Response(response, "json", self._readers, self._linger, "")
        try:
            async with asyncio.timeout(_ERROR_BODY_SECONDS):
                while len(body) < _MAX_ERROR_BODY_BYTES and (data := await reader.read()):
                    body += data
        except TimeoutError:
            pass
        except FOREIGN as error:
            with suppress(OrStreamError):
                body += reader.rest_after(error)
        finally:
            reader.close()
        return body[:_MAX_ERROR_BODY_BYTES]


class _Turns:
    """Of a burst of requests a few begin in each turn of the event loop.

    Where all began in one, each would be answered about when the last is: of 1,000 the median waits half as long for its first
    event this way, and nothing else in the loop waits for 1,000 requests to be written.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begun = 0  # in this turn
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def next(self) -> None:
        """Return in a turn that has room; the first who ask come first."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._begun, self._waiting = loop, 0, deque()
        if self._waiting or self._begun >= _REQUESTS_A_TURN:
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            await turn
            return
        if not self._begun:
            loop.call_soon(self._begin_turn, loop)
        self._begun += 1

    def _begin_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begun = 0
        while self._waiting and self._begun < _REQUESTS_A_TURN:
            turn = self._waiting.popleft()
            if not turn.done():  # as it is when its task was cancelled
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            loop.call_soon(self._begin_turn, loop)


class _Connector(aiohttp.TCPConnector):
    """Tells the wait that a request is part of when a connection is made for it, from the name to TLS.

    aiohttp's own `sock_connect` leaves out the name and counts each address anew; its `connect` counts the wait for a free one.
    Its tracing tells the same, for a tenth of what opening a stream takes.
    """

    def __init__(self, *, limit: int) -> None:
        super().__init__(limit=limit)
        self.waits: dict[asyncio.Task[Any] | None, HeadersWait] = {}  # by the task that makes the request
        self._process = os.getpid()

    async def _create_connection(self, *arguments: Any, **options: Any) -> Any:
        """What aiohttp documents as the place of connectors to make a connection in."""
        wait = self.waits[asyncio.current_task()]
        wait.connecting(True)
        connection = await super()._create_connection(*arguments, **options)
        wait.connecting(False)
        return connection

    def __del__(self, *warnings: Any) -> None:
        if self._process == os.getpid():
            super().__del__(*warnings)


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
