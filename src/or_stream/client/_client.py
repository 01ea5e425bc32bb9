"""Client: a key, an address and one session for any number of streams; and the ones that `stream` and `generate` share."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Final, Self, Unpack
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from or_stream.client._request import GenerationOptions, Prompt, Request, build_request
from or_stream.client._retry import RetryPolicy
from or_stream.client._stream import ChatStream
from or_stream.client._timeouts import Timeouts
from or_stream.client._transport import Response, Session, Transport
from or_stream.errors import ConfigurationError
from or_stream.protocol import Limits
from or_stream.values import Message

__all__ = ["DEFAULT_BASE_URL", "Client", "generate", "stream"]

DEFAULT_BASE_URL: Final = "https://openrouter.ai/api/v1"


class Client:
    """Streams over one session: `async with Client() as client: ...`, or `aclose` it yourself.

    `api_key` is by default $OPENROUTER_API_KEY, `base_url` $OPENROUTER_BASE_URL. `timeouts`, `retry` and `limits` hold for every
    stream that brings none of its own. `max_connections` bounds the connections open at once, by default not at all; `proxy` is
    an http address, by default what the environment says. `app_url` and `app_title` tell the service who calls. A `session` of
    yours is used as it is and not closed. One client serves one event loop at a time. Raises ConfigurationError without a key.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeouts: Timeouts | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        max_connections: int | None = None,
        proxy: str | None = None,
        app_url: str | None = None,
        app_title: str | None = None,
        session: Session | None = None,
    ) -> None:
        self._api_key = _Secret(_checked_key(api_key))
        self._base_url = _checked_address(base_url)
        self._timeouts = timeouts or Timeouts()
        self._retry = retry or RetryPolicy()
        self._limits = limits or Limits()
        if max_connections is not None and max_connections < 1:
            raise ConfigurationError("max_connections must be 1 or more, or None for no limit")
        # https://openrouter.ai/docs/app-attribution
        self._headers = {name: value for name, value in (("HTTP-Referer", app_url), ("X-OpenRouter-Title", app_title)) if value}
        self._transport = Transport(session, max_connections=max_connections, proxy=proxy or _proxy_for(self._base_url))

    def stream(self, prompt: Prompt, *, model: str | None = None, **options: Unpack[GenerationOptions]) -> ChatStream:
        """One generation, as an async iterator of events. Nothing is sent before it is iterated or entered.

        `prompt` is a text, or a whole conversation. Raises ConfigurationError for what cannot be sent.
        """
        return self._open(build_request(prompt, model, options), options)

    async def generate(self, prompt: Prompt, *, model: str | None = None, **options: Unpack[GenerationOptions]) -> Message:
        """One generation, waited for: the message, or an OrStreamError with what had come in `.partial`. Cancelling stops it."""
        async with self.stream(prompt, model=model, **options) as generation:
            return await generation.final()

    async def aclose(self) -> None:
        """Close the session, and with it every stream that is still open. The next request would open another."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<Client of {self._base_url}>"

    def _open(self, request: Request, options: GenerationOptions) -> ChatStream:
        return ChatStream(
            request,
            self._send,
            timeouts=options.get("timeouts") or self._timeouts,
            retry=options.get("retry") or self._retry,
            limits=self._limits,
        )

    async def _send(self, request: Request, connect_seconds: float | None) -> Response:
        headers = {"Authorization": _Secret(f"Bearer {self._api_key}"), **self._headers, **request.headers}
        return await self._transport.post(
            f"{self._base_url}/chat/completions", request.body, headers, connect_seconds=connect_seconds
        )


def stream(
    prompt: Prompt, *, model: str | None = None, client: Client | None = None, **options: Unpack[GenerationOptions]
) -> ChatStream:
    """One generation, as an async iterator of events; see `Client.stream`.

    Without `client`, the key and the address come from the environment and one client is shared in each event loop; it is closed
    when its loop shuts down.
    """
    return (client or _SharedClient()).stream(prompt, model=model, **options)


async def generate(
    prompt: Prompt, *, model: str | None = None, client: Client | None = None, **options: Unpack[GenerationOptions]
) -> Message:
    """One generation, waited for; see `Client.generate`. Without `client`, as in `stream`."""
    return await (client or _SharedClient()).generate(prompt, model=model, **options)


class _SharedClient(Client):
    """Sends through the client of the running loop, because a stream may be made where no loop runs yet."""

    async def _send(self, request: Request, connect_seconds: float | None) -> Response:
        client = await _client_of_running_loop(self._api_key, self._base_url)
        return await client._send(request, connect_seconds)  # noqa: SLF001  # a Client too


_Shared = tuple[Client, AsyncGenerator[None, None]]
_shared: dict[tuple[asyncio.AbstractEventLoop, str, str], _Shared] = {}


async def _client_of_running_loop(api_key: str, base_url: str) -> Client:
    for old in [key for key in _shared if key[0].is_closed()]:
        del _shared[old]
    key = (asyncio.get_running_loop(), api_key, base_url)
    if key not in _shared:
        client = Client(api_key=api_key, base_url=base_url)
        closer = _close_with_loop(client, key)
        _shared[key] = (client, closer)
        # asyncio closes every started async generator when a loop shuts down (`loop.shutdown_asyncgens`): the one public hook.
        await anext(closer)
    return _shared[key][0]


async def _close_with_loop(client: Client, key: tuple[asyncio.AbstractEventLoop, str, str]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _shared.pop(key, None)
        await client.aclose()


class _Secret(str):
    """Text that a repr does not show, so that no traceback with local variables, here or in aiohttp, does."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for an address (http_proxy, https_proxy, no_proxy)."""
    parts = urlsplit(base_url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _checked_key(api_key: str | None) -> str:
    api_key = (os.environ.get("OPENROUTER_API_KEY") if api_key is None else api_key) or ""
    if not api_key.strip():
        raise ConfigurationError(
            "no API key: set OPENROUTER_API_KEY, or pass Client(api_key=...); keys are at https://openrouter.ai/keys"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", api_key.strip()):
        raise ConfigurationError("the API key has white space or a character in it that no key has: copy it again")
    return api_key.strip()


def _checked_address(base_url: str | None) -> str:
    base_url = base_url or os.environ.get("OPENROUTER_BASE_URL") or DEFAULT_BASE_URL
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", base_url):
        raise ConfigurationError(f"base_url must be an http address such as {DEFAULT_BASE_URL!r}, not {base_url!r}")
    return base_url.rstrip("/")
