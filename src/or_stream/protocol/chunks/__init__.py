"""The JSON of one event -> `Chunk`, and the short way for those that repeat but for their text."""

from or_stream.protocol.chunks._chunk import (
    Chunk,
    Finish,
    ImageEntry,
    Part,
    is_answer,
    is_image_path,
    only_text,
    read_chunk,
    read_usage,
)
from or_stream.protocol.chunks._repetition import TextRepetition

__all__ = [
    "Chunk",
    "Finish",
    "ImageEntry",
    "Part",
    "TextRepetition",
    "is_answer",
    "is_image_path",
    "only_text",
    "read_chunk",
    "read_usage",
]
