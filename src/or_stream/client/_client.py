"""Client: a key, an address and one session for any number of streams; and the ones that `stream` and `generate` share."""

import asyncio
import os
import re
from types import TracebackType
from typing import Final, Self, Unpack
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from or_stream.client._clocks import Timeouts
from or_stream.client._request import GenerationOptions, Prompt, Request, build_request, checked_headers
from or_stream.client._retry import RetryPolicy
from or_stream.client._stream import ChatStream
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
        attribution = {"HTTP-Referer": app_url, "X-OpenRouter-Title": app_title}
        self._headers = checked_headers({name: value for name, value in attribution.items() if value})
        proxy = _checked_proxy(proxy) if proxy else None if session else _proxy_for(self._base_url)
        self._transport = Transport(session, max_connections=max_connections, proxy=proxy)

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
        """Close the session, and with it every stream that is still open. Enter the client again to use it again."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        self._transport.reopen()
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
        client = _client_of_running_loop(self._api_key, self._base_url)
        return await client._send(request, connect_seconds)  # noqa: SLF001  # a Client too


_shared: dict[tuple[asyncio.AbstractEventLoop, str, str], Client] = {}


def _client_of_running_loop(api_key: str, base_url: str) -> Client:
    for old in list(_shared):  # a copy, and `pop`: loops in other threads share the dictionary
        if old[0].is_closed():
            _shared.pop(old, None)
    key = (asyncio.get_running_loop(), api_key, base_url)
    if key not in _shared:
        _shared[key] = Client(api_key=api_key, base_url=base_url)
    return _shared[key]


class _Secret(str):
    """Text that a repr does not show, so that no traceback with local variables, here or in aiohttp, does."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def _proxy_for(base_url: str) -> str | None:
    """The proxy that the environment names for an address (http_proxy, https_proxy, no_proxy)."""
    parts = urlsplit(base_url)
    is_excepted = proxy_bypass(parts.hostname or "") or proxy_bypass(parts.netloc)  # no_proxy may name a port too
    proxy = None if is_excepted else getproxies().get(parts.scheme)
    return _checked_proxy(proxy) if proxy else None


def _checked_proxy(proxy: str) -> str:
    if not _is_http_address(proxy):
        raise ConfigurationError("the proxy, which may be set in the environment, must be an http address: http://host:port")
    return proxy


def _checked_key(api_key: str | None) -> str:
    api_key = (os.environ.get("OPENROUTER_API_KEY") if api_key is None else api_key) or ""
    if not isinstance(api_key, str) or not api_key.strip():
        raise ConfigurationError(
            "no API key: set OPENROUTER_API_KEY, or pass Client(api_key=...); keys are at https://openrouter.ai/keys"
        )
    if not re.fullmatch(r"[\x21-\x7e]+", api_key.strip()):
        raise ConfigurationError("the API key has white space or a character in it that no key has: copy it again")
    return api_key.strip()


def _checked_address(base_url: str | None) -> str:
    base_url = base_url or os.environ.get("OPENROUTER_BASE_URL") or DEFAULT_BASE_URL
    if _is_http_address(base_url) and "@" in urlsplit(base_url).netloc:
        raise ConfigurationError("base_url must be without a user and a password: the key goes into api_key")
    if not _is_http_address(base_url) or re.search(r"[\s?#]", base_url):
        raise ConfigurationError(f"base_url must be an http address such as {DEFAULT_BASE_URL!r}, not {base_url!r}")
    return base_url.rstrip("/")


def _is_http_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        port_is_right = parts.port is None or parts.port > 0
    except (ValueError, TypeError, AttributeError):
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port_is_right
