"""Text and images from OpenRouter, streamed, for asyncio.

    async for event in stream("Draw a lighthouse at dusk, then describe it"): ...

The layers, each of which imports only those to its left:

    errors ◀─ values ◀─ events ◀─ sse ◀─ protocol ◀─ client ◀─ batching ◀─ cli
    what can   what you  what      bytes   bytes      one       many at     the command
    go wrong   keep      happens   to SSE  to events  request   once        or-stream

`conversation` stands beside `batching`: turns that are kept and sent back.

`or_stream.emulator` is a provider in a box, for tests.
A layer is loaded when the first of its names is used: `import or_stream` alone loads none.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from or_stream.batching import BatchItem, BatchOptions, BatchRun, BatchStats, batch, read_journal
    from or_stream.client import (
        DEFAULT_MODEL,
        ChatStream,
        Client,
        GenerationOptions,
        ImageConfig,
        ImageInput,
        MessageParam,
        Picture,
        RetryPolicy,
        StreamStats,
        Timeouts,
        fetch_image,
        generate,
        stream,
    )
    from or_stream.conversation import Conversation, Turn
    from or_stream.errors import (
        APIStatusError,
        AuthenticationFailed,
        BadRequest,
        BudgetExceeded,
        ConfigurationError,
        ConnectionFailed,
        ImageNotSaved,
        ModerationBlocked,
        NoImageProduced,
        NotFound,
        OrStreamError,
        Overloaded,
        PayloadTooLarge,
        PaymentRequired,
        PermissionDenied,
        ProtocolViolation,
        ProviderUnavailable,
        RateLimited,
        RequestTimeout,
        ServerFailed,
        StreamFailed,
        StreamTimeout,
        StreamTruncated,
        TimeoutPhase,
    )
    from or_stream.events import (
        AnnotationDelta,
        AudioDelta,
        Event,
        Heartbeat,
        ImageDelta,
        ImageDiscard,
        ImageEnd,
        ImagePreview,
        ImageStart,
        ReasoningDelta,
        RefusalDelta,
        Restart,
        StreamEnd,
        StreamStart,
        TextDelta,
        ToolCallDelta,
        ToolCallEnd,
        ToolCallStart,
        UsageUpdate,
    )
    from or_stream.protocol import Limits
    from or_stream.values import Audio, Image, Message, Status, ToolCall, Usage

__all__ = [
    "DEFAULT_MODEL",
    "APIStatusError",
    "AnnotationDelta",
    "Audio",
    "AudioDelta",
    "AuthenticationFailed",
    "BadRequest",
    "BatchItem",
    "BatchOptions",
    "BatchRun",
    "BatchStats",
    "BudgetExceeded",
    "ChatStream",
    "Client",
    "ConfigurationError",
    "ConnectionFailed",
    "Conversation",
    "Event",
    "GenerationOptions",
    "Heartbeat",
    "Image",
    "ImageConfig",
    "ImageDelta",
    "ImageDiscard",
    "ImageEnd",
    "ImageInput",
    "ImageNotSaved",
    "ImagePreview",
    "ImageStart",
    "Limits",
    "Message",
    "MessageParam",
    "ModerationBlocked",
    "NoImageProduced",
    "NotFound",
    "OrStreamError",
    "Overloaded",
    "PayloadTooLarge",
    "PaymentRequired",
    "PermissionDenied",
    "Picture",
    "ProtocolViolation",
    "ProviderUnavailable",
    "RateLimited",
    "ReasoningDelta",
    "RefusalDelta",
    "RequestTimeout",
    "Restart",
    "RetryPolicy",
    "ServerFailed",
    "Status",
    "StreamEnd",
    "StreamFailed",
    "StreamStart",
    "StreamStats",
    "StreamTimeout",
    "StreamTruncated",
    "TextDelta",
    "TimeoutPhase",
    "Timeouts",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallEnd",
    "ToolCallStart",
    "Turn",
    "Usage",
    "UsageUpdate",
    "batch",
    "fetch_image",
    "generate",
    "read_journal",
    "stream",
]

_LAYERS: Final = ("errors", "values", "events", "sse", "protocol", "client", "conversation", "batching")
"""Where the names above are looked for, lowest layer first."""


def __getattr__(name: str) -> Any:
    if name in _LAYERS:
        return importlib.import_module(f"or_stream.{name}")
    if name in __all__:
        for layer in _LAYERS:
            module = importlib.import_module(f"or_stream.{layer}")
            if name in module.__all__:
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module 'or_stream' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
