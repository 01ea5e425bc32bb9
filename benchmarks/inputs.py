"""Seeded streams to measure with. No timing here; tests/test_benchmark_inputs.py proves that they hold what they promise."""

import base64
import json
import random

_HEAD = (
    '"id":"gen-1785160442-abcdefghijklmnopqrst","object":"chat.completion.chunk","created":1785160442,'
    '"model":"author/model-name","provider":"Somebody"'
)
_WORDS = (" the", " light", ' "keeper"', " café", " turns\n", " slowly", " 夜")


def _event(choices: str, more: str = "") -> bytes:
    return f'data: {{{_HEAD},"choices":[{choices}]{more}}}\n\n'.encode()


def _delta(fields: str, finish: str = "null") -> str:
    return f'{{"index":0,"delta":{{{fields},"role":"assistant"}},"finish_reason":{finish},"native_finish_reason":{finish}}}'


def _ending() -> list[bytes]:
    usage = ',"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"cost":0.001}'
    return [_event(_delta('"content":""', '"stop"')), _event(_delta('"content":""', '"stop"'), usage), b"data: [DONE]\n\n"]


def text_events(count: int, *, seed: int = 1) -> list[bytes]:
    """`count` text deltas of about 300 bytes, with a comment in front of every 200; then usage and [DONE]."""
    dice = random.Random(seed)
    events = [_event(_delta(f'"content":{json.dumps(dice.choice(_WORDS), ensure_ascii=False)}')) for _ in range(count)]
    for start in range(0, count, 200):
        events[start] = b": OPENROUTER PROCESSING\n\n" + events[start]
    return events + _ending()


def image_stream(megabytes: int, *, seed: int = 2) -> bytes:
    """One delta with one data URL of `megabytes` * 10^6 base64 characters, usage and [DONE]."""
    data = b"\x89PNG\r\n\x1a\n" + random.Random(seed).randbytes(image_bytes(megabytes) - 8)
    image = f'"images":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{base64.b64encode(data).decode()}"}}}}]'
    return _event(_delta(f'"content":"",{image}')) + b"".join(_ending())


def image_bytes(megabytes: int) -> int:
    """The size of the image itself: base64 is a third larger."""
    return megabytes * 750_000


def long_line(size: int) -> bytes:
    """One event whose data are `size` bytes in one line."""
    return b"data: " + b"QUJD" * (size // 4) + b"\n\n"


def cut(stream: bytes, size: int) -> list[bytes]:
    """The stream in pieces of `size` bytes."""
    return [stream[start : start + size] for start in range(0, len(stream), size)]


def decoder_pieces(work: str) -> list[bytes]:
    """What a decoder is fed: `events-chunk` and `events-16384` are 20,000 text events, one each or in pieces of that many bytes;
    `line-1-500000` is one line of 500,000 bytes in pieces of one.
    """
    kind, piece, *size = work.split("-")
    if kind == "line":
        return cut(long_line(int(size[0])), int(piece))
    events = text_events(20_000)
    return events if piece == "chunk" else cut(b"".join(events), int(piece))


def http_chunk(piece: bytes) -> bytes:
    """One chunk of HTTP's chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
