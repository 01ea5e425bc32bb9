"""Bytes -> events -> message, without I/O, clock or asyncio.

    bytes ──▶ _payloads ──▶ or_stream.sse ──▶ chunks ──▶ _decoder ──▶ events, message
              base64 out                      wire names  _images, _tool_calls, _message

`Pipeline` joins the stages: feed it the bytes of an answer in pieces of any size.
"""

from or_stream.protocol._error_body import ErrorBody, conceal, redact
from or_stream.protocol._images import ImageSink, MemorySink
from or_stream.protocol._pipeline import API, Framing, Limits, Pipeline

__all__ = ["API", "ErrorBody", "Framing", "ImageSink", "Limits", "MemorySink", "Pipeline", "conceal", "redact"]
