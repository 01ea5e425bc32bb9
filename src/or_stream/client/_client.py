"""Client: a key, an address and one session for any number of streams; and the ones that `stream` and `generate` share."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, Unpack
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from or_stream.client._clocks import HeadersWait, Timeouts
from or_stream.client._retry import RetryPolicy
from or_stream.client._stream import ChatStream
from or_stream.client.request import GenerationOptions, Prompt, Request, Route, build_request, checked_headers
from or_stream.client.transport import Response, Session, Transport
from or_stream.errors import ConfigurationError
from or_stream.protocol import Limits
from or_stream.values import Message

if TYPE_CHECKING:
    from or_stream.batching import BatchOptions, BatchRun
    from or_stream.catalog import Credits, Endpoint, Generation, Key, Model, ModelFilter, Receipt
    from or_stream.client._catalog import Catalog

__all__ = ["DEFAULT_BASE_URL", "Client", "generate", "open_stream", "stream"]

DEFAULT_BASE_URL: Final = "https://openrouter.ai/api/v1"

# Models whose names mislead. There are some hundred models; what this bounds is a caller who makes up names.
_LEARNED_AT_MOST: Final = 1000
# A refusal may be for who is at hand today: an endpoint that is down makes a model one that only talks.
_LEARNED_SECONDS: Final = 3600

# Of the time that a stream gives its request, how much may go into learning where to send it.
_LOOK_UP_SHARE: Final = 0.25


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
        checked = checked_headers({name: value for name, value in attribution.items() if value})
        self._headers = {"Authorization": _Secret(f"Bearer {self._api_key}"), **checked}
        proxy = _checked_proxy(proxy) if proxy else None if session else _proxy_for(self._base_url)
        self._transport = Transport(session, max_connections=max_connections, proxy=proxy)
        self._opened_catalog: Catalog | None = None
        self._learned: dict[str, tuple[Route, float]] = {}  # where a guess was refused: what was right, and until when it holds

    def stream(self, prompt: Prompt, *, model: str | None = None, **options: Unpack[GenerationOptions]) -> ChatStream:
        """One generation, as an async iterator of events. Nothing is sent before it is iterated or entered.

        `prompt` is a text, or a whole conversation. Raises ConfigurationError for what cannot be sent.
        """
        return self._open(build_request(prompt, model, options), options)

    async def generate(self, prompt: Prompt, *, model: str | None = None, **options: Unpack[GenerationOptions]) -> Message:
        """One generation, waited for: the message, or an OrStreamError with what had come in `.partial`. Cancelling stops it."""
        async with self.stream(prompt, model=model, **options) as generation:
            return await generation.final()

    def batch(self, prompts: Iterable[Any] | AsyncIterable[Any], **options: Unpack["BatchOptions"]) -> "BatchRun":
        """Generations for many prompts over this session, as an async iterator of items; see `or_stream.batch`."""
        from or_stream.batching import batch

        return batch(prompts, client=self, **options)

    async def models(self, *, refresh: bool = False, **wanted: Unpack["ModelFilter"]) -> "list[Model]":
        """The models that have everything that is wanted: `await client.models(output_modalities={"image"}, max_price=5)`.

        The list is kept for an hour; `refresh` asks for a new one. Where it cannot be had the last one serves, else a small table
        of models that draw, each with `is_built_in` set; with `refresh`, and for a `provider`, the error is raised.
        """
        return await self._catalog.models(refresh=refresh, **wanted)

    async def endpoints(self, model: str) -> "list[Endpoint]":
        """Who serves a model, how and for how much. Raises NotFound where nobody does."""
        return await self._catalog.endpoints(model)

    async def generation(self, generation_id: str, *, wait_seconds: float = 30) -> "Generation":
        """What a generation was and cost, also one that was left or cut.

        The service may know of it only some seconds after its end: it is asked again for `wait_seconds`, then NotFound is raised.
        """
        return await self._catalog.generation(generation_id, wait_seconds=wait_seconds)

    async def key(self) -> "Key":
        """What the key in use may spend, and has spent."""
        return await self._catalog.key()

    async def credits(self) -> "Credits":
        """What the account has bought and used. Raises PermissionDenied for a key that is no management key."""
        return await self._catalog.credits()

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

    def _open(self, request: Request, options: Mapping[str, Any], **hooks: Any) -> ChatStream:
        return ChatStream(
            request,
            self._send,
            timeouts=options.get("timeouts") or self._timeouts,
            retry=options.get("retry") or self._retry,
            limits=self._limits,
            settle=self._settle,
            **hooks,
        )

    async def _settle(
        self, message: Message, stats: Mapping[str, Any], generation_id: str | None, wait_seconds: float
    ) -> "Receipt":
        return await self._catalog.receipt(message, stats, generation_id, wait_seconds)

    @property
    def _catalog(self) -> "Catalog":
        if self._opened_catalog is None:
            from or_stream.client._catalog import Catalog

            self._opened_catalog = Catalog(self._get_json, timeouts=self._timeouts, retry=self._retry)
        return self._opened_catalog

    async def _get_json(self, path: str, query: Mapping[str, str], wait: HeadersWait) -> dict[str, Any]:
        return await self._transport.get_json(f"{self._base_url}{path}", query, self._headers, wait=wait)

    async def _send(self, request: Request, wait: HeadersWait) -> Response:
        if not request.is_decided:
            learned = self._lesson_for(request)
            request.decide(await self._what_is_known(request, learned, wait), learned)
        headers = {**self._headers, **request.headers}
        url, is_for_disk = f"{self._base_url}{request.path}", request.save_to is not None
        response = await self._transport.post(url, request.body, headers, wait=wait, is_for_disk=is_for_disk)
        if request.corrections:
            self._learn(request)
        return response

    def _learn(self, request: Request) -> None:
        self._learned.pop(request.learned_as, None)
        if len(self._learned) >= _LEARNED_AT_MOST:
            self._learned.pop(next(iter(self._learned)))
        self._learned[request.learned_as] = request.route, time.monotonic() + _LEARNED_SECONDS

    def _lesson_for(self, request: Request) -> Route | None:
        if not self._learned:
            return None
        route, until = self._learned.get(request.learned_as, (None, 0.0))
        return request.usable(route) if time.monotonic() < until else None

    async def _what_is_known(self, request: Request, learned: Route | None, wait: HeadersWait) -> "Model | None":
        """Of the request's model. The service is asked only where that is worth a wait."""
        known = self._opened_catalog.known(request.model) if self._opened_catalog is not None else None
        if known is None and request.is_worth_asking and learned is None:
            known = await self._catalog.look_up(request.model, wait_seconds=wait.seconds_left() * _LOOK_UP_SHARE)
        return known


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


def open_stream(
    client: Client | None,
    request: Request,
    options: Mapping[str, Any],
    *,
    prepare: Callable[[], Awaitable[Request]] | None = None,
    when_complete: Callable[[Message], None] | None = None,
) -> ChatStream:
    """A stream for the layers above, whose pictures in files have their digests: `Image.known_sha256`.

    `prepare` is awaited once, before anything is sent: what it returns is sent, what it raises is the stream's failure.
    `when_complete` is called once, with the message of an honest end that lacks nothing: an OrStreamError that it raises is the
    stream's failure. Without `client`, as in `stream`.
    """
    hooks = {"prepare": prepare, "when_complete": when_complete, "takes_digests": True}
    return (client or _SharedClient())._open(request, options, **hooks)  # noqa: SLF001


class _SharedClient(Client):
    """Sends through the client of the running loop, because a stream may be made where no loop runs yet."""

    async def _send(self, request: Request, wait: HeadersWait) -> Response:
        client = _client_of_running_loop(self._api_key, self._base_url)
        return await client._send(request, wait)  # noqa: SLF001  # a Client too

    @property
    def _catalog(self) -> "Catalog":
        return _client_of_running_loop(self._api_key, self._base_url)._catalog  # noqa: SLF001  # a Client too


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
