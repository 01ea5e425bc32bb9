"""One request over aiohttp: `stream`, `generate`, and `Client` for many of them over one session."""

from or_stream.client._client import DEFAULT_BASE_URL, Client, generate, open_stream, stream
from or_stream.client._clocks import StreamStats, Timeouts
from or_stream.client._image_fetching import fetch_image
from or_stream.client._retry import RetryPolicy
from or_stream.client._stream import ChatStream
from or_stream.client.request import DEFAULT_MODEL, GenerationOptions, ImageConfig, ImageInput, MessageParam, Picture

__all__ = [
    "DEFAULT_BASE_URL",
    "DEFAULT_MODEL",
    "ChatStream",
    "Client",
    "GenerationOptions",
    "ImageConfig",
    "ImageInput",
    "MessageParam",
    "Picture",
    "RetryPolicy",
    "StreamStats",
    "Timeouts",
    "fetch_image",
    "generate",
    "open_stream",
    "stream",
]
