"""The `Recorder`: stands between any client and a server, passes everything on as it comes, and records it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from or_stream.emulator._http import Listener, Player
from or_stream.emulator._script import Close, Identity, Reset, Scenario, dump
from or_stream.emulator._wire import error_body
from or_stream.emulator.recording._recording import HOP_BY_HOP, Answer, RequestHead
from or_stream.emulator.recording._scrubbing import Headers
from or_stream.emulator.recording._writing import Exchange, Shelf
from or_stream.errors import ConfigurationError

__all__ = ["DEFAULT_UPSTREAM", "Recorder"]

DEFAULT_UPSTREAM: Final = "https://openrouter.ai/api/v1"
_LOCAL_BASE: Final = "/api/v1"
_CONNECT_SECONDS: Final = 30
# What aiohttp would add where the client did not say it.
_ADDED_BY_AIOHTTP: Final = (hdrs.USER_AGENT, hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE)
# Where no answer was begun: refused, no such host, no trust in the certificate, a proxy that says no, no proper HTTP.
_UNREACHABLE: Final = (aiohttp.ClientError, OSError, ValueError)


class Recorder(Listener):
    """Passes every request on to `upstream` and records it, and the answer, in `folder`.

        async with Recorder("recordings") as recorder:
            client = Client(base_url=recorder.base_url)

    An answer comes through piece by piece, as fast as the client reads and no faster. Whoever leaves takes the other side along
    at once; a cut is passed on as a cut and a reset as a reset. Where the server cannot be reached the client gets a 502 in the
    service's shape. `secrets` are what must not appear in a recording, besides what looks like a secret or is one by its place.
    `on_end` is called with each `Exchange` that has ended.
    """

    _inflates = False

    def __init__(
        self,
        folder: str | Path,
        *,
        upstream: str = DEFAULT_UPSTREAM,
        host: str = "127.0.0.1",
        port: int = 0,
        secrets: Iterable[str] = (),
        on_end: Callable[[Exchange], None] | None = None,
    ) -> None:
        super().__init__(host, port)
        self.upstream: str = _checked(upstream)
        self._proxy = _proxy_for(upstream)
        password = urlsplit(self._proxy).password if self._proxy else None
        self._shelf = Shelf(folder, frozenset({*secrets, *([password] if password else [])}))
        self._on_end = on_end
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Listen. OSError where the port is taken."""
        # A connection for each exchange: one that was kept may be closed by the server just when it is used again, and that
        # would be recorded as if this request had been refused.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        )
        try:
            await super().start()
        except BaseException:
            await self._session.close()
            raise

    async def aclose(self) -> None:
        """Stop. What was under way is recorded as `stopped`. May be called twice."""
        await super().aclose()
        if self._session is not None:
            await self._session.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        exchange = Exchange(self._shelf, RequestHead(request.method, *_target(request), _texts(request.raw_headers)))
        exchange.begin()
        try:
            return await self._pass_on(request, exchange)
        except (ConnectionError, asyncio.CancelledError):
            exchange.end("stopped" if self._closing else "left")
            raise
        finally:
            exchange.end("stopped")
            if self._on_end is not None:
                self._on_end(exchange)

    async def _pass_on(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        try:
            upstream = await self._ask(request, exchange)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
            if isinstance(error, aiohttp.ClientConnectorError):
                return await _refuse(request, exchange, error)
            is_reset = isinstance(error, OSError)
            exchange.end("reset" if is_reset else "cut")
            return await _break_off(request, reset=is_reset)
        except _UNREACHABLE as error:
            return await _refuse(request, exchange, error)
        try:
            return await self._relay(request, upstream, exchange)
        finally:
            upstream.close()

    async def _ask(self, request: web.Request, exchange: Exchange) -> aiohttp.ClientResponse:
        assert self._session is not None, "started"
        headers = CIMultiDict(_end_to_end(_texts(request.raw_headers)))
        headers.pop(hdrs.HOST, None)
        headers.pop(hdrs.EXPECT, None)  # answered here already
        # What is compressed cannot be read in a recording, and a secret in it not be seen.
        headers[hdrs.ACCEPT_ENCODING] = "identity"
        return await self._session.request(
            request.method,
            self._address(*_target(request)),
            headers=headers,
            data=_uploaded(request, exchange) if request.body_exists else None,
            allow_redirects=False,
            proxy=self._proxy,
            skip_auto_headers=_ADDED_BY_AIOHTTP,
        )

    def _address(self, path: str, query: str) -> URL:
        base = URL(self.upstream, encoded=True)
        below = path.removeprefix(_LOCAL_BASE) if path == _LOCAL_BASE or path.startswith(f"{_LOCAL_BASE}/") else None
        whole = path if below is None else base.raw_path.rstrip("/") + below
        return URL(f"{base.scheme}://{base.raw_authority}{whole}{'?' if query else ''}{query}", encoded=True)

    async def _relay(self, request: web.Request, upstream: aiohttp.ClientResponse, exchange: Exchange) -> web.StreamResponse:
        headers = _texts(upstream.raw_headers)
        exchange.answer(Answer(upstream.status, upstream.reason or "", headers))
        answer = web.StreamResponse(status=upstream.status, reason=upstream.reason, headers=CIMultiDict(_end_to_end(headers)))
        await answer.prepare(request)
        connection = upstream.connection
        try:
            async for piece in _pieces(upstream):
                exchange.answer_body(piece)
                await answer.write(piece)
        except aiohttp.ClientError:
            protocol = connection.protocol if connection is not None else None
            is_reset = protocol is not None and isinstance(protocol.exception(), OSError)
            exchange.end("reset" if is_reset else "cut")
            await _break_off(request, reset=is_reset)
            return answer
        # First this: who has the whole answer finds the whole recording.
        exchange.end("complete")
        await answer.write_eof()
        return answer


async def _pieces(upstream: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it arrives, never two chunks of HTTP in one piece. Raises what broke it once all that came has been given."""
    content = upstream.content
    while not content.at_eof():
        try:
            piece, _ = await content.readchunk()
        except aiohttp.ClientError:
            # aiohttp raises as soon as it knows of the break, though what came in front of it is still in its buffer.
            if rest := content._read_nowait(-1):  # noqa: SLF001  # the public one raises too
                yield rest
            raise
        if piece:
            yield piece


async def _uploaded(request: web.Request, exchange: Exchange) -> AsyncIterator[bytes]:
    while piece := await request.content.readany():
        exchange.request_body(piece)
        yield piece
    exchange.request_end()


async def _break_off(request: web.Request, *, reset: bool) -> web.StreamResponse:
    """Do to the client what the server has done, once all that came has been sent on."""
    return await Player(request, Scenario((), before=(Reset() if reset else Close(),)), Identity()).play()


async def _refuse(request: web.Request, exchange: Exchange, error: Exception) -> web.StreamResponse:
    reason = f"the recorder got no answer from upstream: {_said(error)}"
    body = dump(error_body(502, reason, {"error_type": "provider_unavailable", "provider_name": None}))
    answer = web.Response(body=body, status=502, content_type="application/json")
    exchange.answer(Answer(502, "Bad Gateway", (("Content-Type", "application/json"),), made_here=reason))
    exchange.answer_body(body)
    exchange.end("complete")
    return answer


def _said(error: Exception) -> str:
    """Without the address of a proxy, which may have a password in it."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy says HTTP {error.status}"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"what came is not proper HTTP: {error.message}"
    return " ".join(str(error).split()) or type(error).__name__


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    return [(name.decode("latin-1"), value.decode("utf-8", "surrogateescape")) for name, value in headers]


def _end_to_end(headers: Headers) -> Headers:
    """Without what belongs to the connection it came on (RFC 9110 section 7.6.1)."""
    named = {name.strip().lower() for key, value in headers if key.lower() == "connection" for name in value.split(",")}
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP | named]


def _target(request: web.Request) -> tuple[str, str]:
    """(path, query), each as it was written."""
    raw = request.raw_path
    if not raw.startswith("/"):  # RFC 9112 section 3.2.2: the absolute form
        raw = urlsplit(raw)._replace(scheme="", netloc="").geturl() or "/"
    path, _, query = raw.partition("#")[0].partition("?")
    return path, query


def _checked(upstream: str) -> str:
    parts = urlsplit(upstream)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ConfigurationError(f"upstream must be the base address of an API, such as {DEFAULT_UPSTREAM}")
    return upstream.rstrip("/")


def _proxy_for(upstream: str, proxies: Mapping[str, str] | None = None) -> str | None:
    """The proxy that the environment names for this address."""
    parts = urlsplit(upstream)
    named = getproxies() if proxies is None else proxies
    return None if proxy_bypass(parts.hostname or "") else named.get(parts.scheme) or named.get("all")
