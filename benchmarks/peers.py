"""The clients and decoders of others, each through its normal public interface, from an environment of their own.

requirements.txt says which. Each is imported where it is used: none is measured with another in memory.
"""

import base64
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager

from clients import Decode, Delivered, Generate, OpenClient

_MESSAGES = [{"role": "user", "content": "hi"}]


def decoded_size(delta: object) -> int:
    """What the user does to have the images as bytes, where the client hands their data URLs on."""
    return sum(
        len(base64.b64decode(image["image_url"]["url"].partition(",")[2])) for image in getattr(delta, "images", None) or ()
    )


@asynccontextmanager
async def openai_create(url: str) -> AsyncIterator[Generate]:
    """openai-python, `create(stream=True)`, images decoded."""
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            characters = image_bytes = 0
            async for chunk in await client.chat.completions.create(model=work, messages=_MESSAGES, stream=True):
                if not characters:
                    begun()
                delta = chunk.choices[0].delta
                characters += len(delta.content or "")
                image_bytes += decoded_size(delta)
            return Delivered(characters, image_bytes)

        yield generate


@asynccontextmanager
async def openai_stream(url: str) -> AsyncIterator[Generate]:
    """openai-python, `.stream()`: its typed events and its accumulated message."""
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="none", timeout=600) as client:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            async with client.chat.completions.stream(model=work, messages=_MESSAGES) as stream:
                begun()
                async for _ in stream:
                    pass
                message = (await stream.get_final_completion()).choices[0].message
            return Delivered(len(message.content or ""), decoded_size(message))

        yield generate


@asynccontextmanager
async def openrouter_sdk(url: str) -> AsyncIterator[Generate]:
    """The official SDK of OpenRouter."""
    import openrouter

    async with openrouter.OpenRouter(api_key="none", server_url=url, timeout_ms=600_000) as client:

        async def generate(work: str, begun: Callable[[], None]) -> Delivered:
            characters = image_bytes = 0
            events = await client.chat.send_async(model=work, messages=_MESSAGES, stream=True)
            async with events:
                async for chunk in events:
                    if not characters:
                        begun()
                    delta = chunk.choices[0].delta
                    characters += len(delta.content or "")
                    image_bytes += decoded_size(delta)
            return Delivered(characters, image_bytes)

        yield generate


@asynccontextmanager
async def litellm_completion(url: str) -> AsyncIterator[Generate]:
    """litellm, `acompletion(stream=True)`."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network for prices
    import litellm

    async def generate(work: str, begun: Callable[[], None]) -> Delivered:
        characters = image_bytes = 0
        chunks = await litellm.acompletion(
            model=f"openrouter/{work}", api_base=url, api_key="none", messages=_MESSAGES, stream=True, timeout=600
        )
        async for chunk in chunks:
            if not characters:
                begun()
            delta = chunk.choices[0].delta
            characters += len(delta.content or "")
            image_bytes += decoded_size(delta)
        return Delivered(characters, image_bytes)

    yield generate


def openai_decoder(pieces: list[bytes]) -> Iterable[object]:
    """What openai-python's streams decode with."""
    from openai._streaming import SSEDecoder

    return (event.data for event in SSEDecoder().iter_bytes(iter(pieces)))


def httpx_sse_decoder(pieces: list[bytes]) -> Iterable[object]:
    """httpx-sse on an answer that brings its bytes along."""
    import httpx
    import httpx_sse

    class Stream(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return iter(pieces)

    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Stream())
    return (event.data for event in httpx_sse.EventSource(response).iter_sse())


PEERS: dict[str, OpenClient] = {
    "openai create": openai_create,
    "openai .stream()": openai_stream,
    "openrouter": openrouter_sdk,
    "litellm": litellm_completion,
}

PEER_DECODERS: dict[str, Decode] = {"openai decoder": openai_decoder, "httpx-sse decoder": httpx_sse_decoder}
