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
    """`count` text deltas of about 300 bytes, a comment every 200, usage and [DONE]: one element an HTTP chunk."""
    dice = random.Random(seed)
    events = []
    for number in range(count):
        if number % 200 == 0:
            events.append(b": OPENROUTER PROCESSING\n\n")
        events.append(_event(_delta(f'"content":{json.dumps(dice.choice(_WORDS), ensure_ascii=False)}')))
    return events + _ending()


def image_stream(megabytes: int, *, seed: int = 2) -> bytes:
    """One delta with one data URL of `megabytes` * 10^6 base64 characters, usage and [DONE]."""
    data = b"\x89PNG\r\n\x1a\n" + random.Random(seed).randbytes(megabytes * 750_000 - 8)
    image = f'"images":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{base64.b64encode(data).decode()}"}}}}]'
    return _event(_delta(f'"content":"",{image}')) + b"".join(_ending())
