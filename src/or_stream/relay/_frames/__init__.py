"""Events -> the bytes of a protocol, without I/O. One file a protocol; what they share is in `_sse`."""

from typing import Final, Literal

from or_stream.errors import ConfigurationError
from or_stream.relay._frames._events import EventFrames
from or_stream.relay._frames._openai import OpenAIFrames
from or_stream.relay._frames._sse import KEEP_ALIVE, Frames
from or_stream.relay._frames._ui_message import UIMessageFrames

__all__ = ["KEEP_ALIVE", "Frames", "ProtocolName", "frames_for"]

ProtocolName = Literal["events", "openai", "ui-message"]

_PROTOCOLS: Final[dict[str, type[Frames]]] = {"events": EventFrames, "openai": OpenAIFrames, "ui-message": UIMessageFrames}


def frames_for(protocol: ProtocolName, created: int) -> Frames:
    """The stage for one stream, begun at that Unix time in seconds. ConfigurationError for a protocol that does not exist."""
    if protocol not in _PROTOCOLS:
        raise ConfigurationError(f"protocol must be one of {', '.join(map(repr, _PROTOCOLS))}, not {protocol!r}")
    return _PROTOCOLS[protocol](created)
