"""Answers without images: text, usage in each era, finishes, reasoning, annotations, audio, refusals, odd framing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from or_stream.emulator._script import JSON_TYPE, SSE_TYPE, Chunk, Comment, Done, Identity, Scenario, Send, Step, dump
from or_stream.emulator._wire import (
    JSON_KEEP_ALIVE,
    choice,
    completion,
    delta,
    ending,
    finish,
    opening,
    thought,
    usage,
    usage_chunk,
    words,
)

TEXT = "The lamp turns, and the sea answers."


def text(content: str = TEXT, *, heartbeats: int = 2) -> Scenario:
    """An ordinary answer of today: comments, words, the finish, the finish again with usage, [DONE]."""
    return Scenario((*opening(heartbeats), *words(content), *ending()))


def replay(
    body: bytes,
    pieces: int | tuple[int, ...] | None = None,
    *,
    status: int = 200,
    content_type: str = SSE_TYPE,
    headers: Mapping[str, str] | None = None,
    pace_seconds: float = 0.0,
) -> Scenario:
    """A recorded answer, byte for byte, in writes of the recorded lengths or of any other."""
    return Scenario((Send(body),), status, content_type, headers or {}, pieces=pieces, pace_seconds=pace_seconds)


# Usage and finish


def usage_2024_11() -> Scenario:
    """The oldest form: old key order, no native reason, three counters and no cost, on a choice whose finish is null."""
    return Scenario((*_old_words(native=False), _old_usage(native=False), Done()))


def usage_2025() -> Scenario:
    """2025-04 to 2026-02: old key order, `logprobs: null`, usage on a choice whose finish is null."""
    return Scenario((*opening(), *_old_words(native=True), _old_usage(native=True), Done()))


def usage_2026_03() -> Scenario:
    """Early March 2026: usage on a chunk whose `choices` is empty."""
    return Scenario((*opening(), *words(TEXT), finish(), Chunk({"choices": [], "usage": usage()}), Done()))


def usage_missing() -> Scenario:
    """A finish and [DONE], but no usage."""
    return Scenario((*words(TEXT), finish(), Done()))


def usage_with_nulls() -> Scenario:
    """Usage whose parts are null, as the schema allows."""
    empty = {"prompt_tokens_details": None, "completion_tokens_details": None, "cost_details": None, "cost": None}
    return Scenario((*words(TEXT), finish(), usage_chunk({**usage(), **empty}), Done()))


def comment_before_usage() -> Scenario:
    """A comment between the words, and another between finish and usage."""
    first, *rest = words(TEXT)
    return Scenario((*opening(), first, Comment(), *rest, finish(), Comment(), usage_chunk(), Done()))


def finish_missing_done() -> Scenario:
    """A finish and usage, and the body ends in order: no [DONE]."""
    return Scenario((*words(TEXT), finish(), usage_chunk()))


def finish_with_content() -> Scenario:
    """The last words are in the chunk that finishes."""
    *most, last = words(TEXT)
    final = choice({"content": last.payload["choices"][0]["delta"]["content"], "role": "assistant"}, "stop", "stop")
    return Scenario((*most, final, usage_chunk(), Done()))


def finish_length() -> Scenario:
    """Cut by the token limit."""
    return Scenario((*words("The lamp turns, and the"), *ending(None, "length", "max_output_tokens")))


def finish_unnormalized() -> Scenario:
    """A provider's own word leaks through as finish reason (2024-11)."""
    return Scenario((*words(TEXT), *ending(None, "end_turn", "end_turn")))


def content_filter() -> Scenario:
    """Stopped by a filter after some text."""
    return Scenario((*words("I can tell you that"), *ending(None, "content_filter", "content_filter")))


def empty_completion() -> Scenario:
    """Nothing but usage with zero completion tokens, and no finish reason at all."""
    nothing = choice({"content": "", "role": "assistant"}, usage=usage(completion_tokens=0))
    return Scenario((*opening(), nothing, Done()))


def empty_length() -> Scenario:
    """The whole budget went into hidden reasoning: finish "length", nothing visible."""
    return Scenario((*opening(), delta(""), *ending(usage(reasoning_tokens=24), "length", "max_output_tokens")))


# Reasoning


def reasoning_plain() -> Scenario:
    """`reasoning` alone, without details."""
    thoughts = [delta("", reasoning=part) for part in ("A lamp", " at night", ".")]
    return Scenario((*opening(), *thoughts, *words(TEXT), *ending(usage(reasoning_tokens=6))))


def reasoning_details() -> Scenario:
    """The same text twice: in `reasoning` and in `reasoning_details`. The signature comes in a detail without text."""
    thoughts = [thought(part) for part in ("A lamp", " at night", ".")]
    signed = {"type": "reasoning.text", "signature": "EqQBCkYIAxgCKkD=", "format": "anthropic-claude-v1", "index": 0}
    return Scenario((*thoughts, delta("", reasoning=None, reasoning_details=[signed]), *words(TEXT), *ending()))


def reasoning_late_signature() -> Scenario:
    """The signature comes when the text of the answer has begun."""
    first, *rest = words(TEXT)
    signed = {"type": "reasoning.text", "signature": "EqQBCkYIAxgCKkD=", "format": "anthropic-claude-v1", "index": 0}
    return Scenario((thought("A lamp."), first, delta("", reasoning=None, reasoning_details=[signed]), *rest, *ending()))


def reasoning_summary_encrypted() -> Scenario:
    """A summary, then an encrypted detail with the same index."""
    summary = [
        delta(
            "",
            reasoning=part,
            reasoning_details=[{"type": "reasoning.summary", "summary": part, "format": "openai-responses-v1", "index": 0}],
        )
        for part in ("**Thinking", " of lamps**")
    ]
    return Scenario((*summary, _encrypted(0), *words(TEXT), *ending()))


def reasoning_encrypted_only() -> Scenario:
    """Reasoning that cannot be read: `reasoning` is null."""
    return Scenario((_encrypted(0), *words(TEXT), *ending()))


def reasoning_interleaved() -> Scenario:
    """Content, reasoning, content, then both in the delta that finishes."""
    both = {"content": " end", "role": "assistant", "reasoning": " done", "reasoning_details": []}
    return Scenario((delta("Well,"), thought("A lamp"), delta(" the"), choice(both, "stop", "stop"), usage_chunk(), Done()))


# Other deltas


def annotations() -> Scenario:
    """Citations in two deltas, one of them empty, and an empty list."""
    citation = {"url": "https://example.org/lamp", "title": "Lamps", "start_index": 0, "end_index": 0, "content": "A lamp."}
    return Scenario(
        (
            delta("", annotations=[{"type": "url_citation", "url_citation": citation}]),
            delta("", annotations=[{"type": "url_citation", "url_citation": {}}]),
            delta("", annotations=[]),
            *words(TEXT),
            *ending(),
        )
    )


def audio() -> Scenario:
    """Audio, whose base64 is in fragments that are no multiple of four, with a transcript beside it."""
    parts = ("AAEC", "AwQFB", "gcICQoL", "DA0ODw==")
    said = ("The", " lamp", " turns", ".")
    sound = [
        delta(None, audio={"id": "audio_1", "data": part, "transcript": word, "expires_at": 1787588264})
        for part, word in zip(parts, said, strict=True)
    ]
    return Scenario((*opening(), *sound, *ending(usage(audio_tokens=12))))


def refusal() -> Scenario:
    """The model says no, in `refusal`, beside empty content and with an ordinary finish."""
    return Scenario((*(delta("", refusal=part) for part in ("I'm", " sorry", ", no", ".")), *ending()))


def logprobs() -> Scenario:
    """Log probabilities as documented."""
    entry = {"token": "The", "bytes": [84, 104, 101], "logprob": -0.01, "top_logprobs": []}
    fields = {"logprobs": {"content": [entry], "refusal": None}}
    return Scenario((choice({"content": "The", "role": "assistant"}, choice_fields=fields), *ending()))


def logprobs_odd() -> Scenario:
    """`logprobs` that is a number, then the legacy object of nulls. Nobody asked for either."""
    legacy = {"tokens": None, "token_logprobs": None, "top_logprobs": None, "text_offset": None}
    return Scenario(
        (
            choice({"content": "The", "role": "assistant"}, choice_fields={"logprobs": -1.7881393e-06}),
            choice({"content": " lamp", "role": "assistant"}, choice_fields={"logprobs": legacy}),
            *ending(),
        )
    )


def unknown_fields() -> Scenario:
    """Fields, enum values and chunk kinds of next year."""
    odd = {
        "content": "The lamp",
        "role": "assistant",
        "hologram": {"depth": 3},
        "reasoning_details": [{"type": "reasoning.dream"}],
    }
    return Scenario(
        (
            Chunk({"choices": [], "debug": {"echo_upstream_body": {"model": "x"}}}),
            Chunk({"object": "chat.completion.weather", "choices": [], "weather": "fog"}),
            choice(odd, choice_fields={"mood": "calm"}, era="next"),
            *ending(None, "dreamt", "DREAMT"),
        )
    )


def null_deltas() -> Scenario:
    """`delta: null`, no delta, `content: null`, `choices: null`, no choices."""
    bare = {"index": 0, "finish_reason": None, "native_finish_reason": None}
    return Scenario(
        (choice(None), Chunk({"choices": [bare]}), delta(None), Chunk({"choices": None}), Chunk({}), *words(TEXT), *ending())
    )


# Framing


def emoji() -> Scenario:
    """Characters of two, three and four bytes, a byte at a time."""
    return text("Zürich 灯台 🗼🌊 — naïve", heartbeats=1).cut(1)


def crlf() -> Scenario:
    """CRLF at the ends of lines and a byte order mark, as a proxy may send; the service never did."""
    return Scenario((Send(b"\xef\xbb\xbf" + text().body().replace(b"\n", b"\r\n")),))


def no_space() -> Scenario:
    """`data:{...}` without the space."""
    return Scenario((Send(text().body().replace(b"data: ", b"data:")),))


def unterminated() -> Scenario:
    """The body ends right after `data: [DONE]`, without the blank line."""
    return Scenario((Send(text().body().rstrip(b"\n")),))


def trailing_bytes() -> Scenario:
    """Events, and bytes that are none, after [DONE]."""
    return Scenario((*text().steps, Comment(), *words("Never read this."), Send(b"\x00\xff garbage")))


def gzip() -> Scenario:
    """Compressed, and flushed after every event. The service was never seen to do it; gateways do."""
    return replace(text(), gzip=True)


# Answers that are not streams


def json_answer(content: str = TEXT) -> Scenario:
    """A whole answer as JSON though a stream was asked for, after the whitespace that keeps the connection alive."""
    return json_body(completion(Identity().fields(), content), keep_alive=3)


def json_body(body: Any, status: int = 200, *, keep_alive: int = 0, headers: Mapping[str, str] | None = None) -> Scenario:
    """Any JSON."""
    steps: tuple[Step, ...] = (*(Send(JSON_KEEP_ALIVE) for _ in range(keep_alive)), Send(dump(body)))
    return Scenario(steps, status, JSON_TYPE, headers or {}, generation_header=status < 300)


def _encrypted(index: int) -> Chunk:
    detail = {
        "type": "reasoning.encrypted",
        "data": "gAAAAABqekwW==",
        "format": "openai-responses-v1",
        "id": "rs_1",
        "index": index,
    }
    return delta("", reasoning=None, reasoning_details=[detail])


def _old_words(*, native: bool) -> list[Chunk]:
    old: list[Chunk] = []
    for chunk in (delta(""), *words(TEXT), finish()):
        only = dict(chunk.payload["choices"][0])
        if not native:
            del only["native_finish_reason"]
        old.append(replace(chunk, payload={"choices": [{**only, "logprobs": None}]}, order="2024"))
    return old


def _old_usage(*, native: bool) -> Chunk:
    only: dict[str, Any] = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    if native:
        only["native_finish_reason"] = None
    full = usage()
    counters = full if native else {key: full[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
    return Chunk({"choices": [{**only, "logprobs": None}], "usage": counters}, order="2024")
