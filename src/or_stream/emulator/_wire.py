"""Deltas, finishes, usage and error bodies in the shapes the service sends today (last recorded 2026-08).

What differs from today, or is odd, is not here but in `scenarios`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from or_stream.emulator._script import Chunk, Comment, Done, Step

# `service_tier` of the usage chunk is null or "default", by provider.
SERVICE_TIER = "default"


def delta(content: str | None = "", /, *, seconds: float = 0.0, **fields: Any) -> Chunk:
    """A chunk with one delta. `role` is on every delta of the service, not only on the first."""
    return choice({"content": content, "role": "assistant", **fields}, seconds=seconds)


def choice(
    delta: Mapping[str, Any] | None,
    finish_reason: str | None = None,
    native_finish_reason: str | None = None,
    *,
    seconds: float = 0.0,
    choice_fields: Mapping[str, Any] | None = None,
    **chunk_fields: Any,
) -> Chunk:
    """A chunk with one choice, whose delta is given whole."""
    only = {"index": 0, "delta": delta, "finish_reason": finish_reason, "native_finish_reason": native_finish_reason}
    return Chunk({"choices": [{**only, **(choice_fields or {})}], **chunk_fields}, seconds=seconds)


def words(text: str) -> list[Chunk]:
    """The text, a word at a time, spaces in front as tokenizers have them."""
    first, *rest = text.split(" ")
    return [delta(word) for word in (first, *(f" {word}" for word in rest))]


def thought(text: str, format: str = "anthropic-claude-v1") -> Chunk:
    """Reasoning: the same words twice, as the service sends them."""
    detail = {"type": "reasoning.text", "text": text, "format": format, "index": 0}
    return delta("", reasoning=text, reasoning_details=[detail])


def finish(reason: str = "stop", native: str | None = "stop") -> Chunk:
    """The chunk that ends the answer; its content is empty but not absent."""
    return choice({"content": "", "role": "assistant"}, reason, native)


def usage(
    *,
    prompt_tokens: int = 12,
    completion_tokens: int = 24,
    reasoning_tokens: int = 0,
    image_tokens: int = 0,
    audio_tokens: int = 0,
    costs: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """The usage object. `costs` are those of prompt and completion; None is for 0.30, 2.50 and, a token of an image, 30 dollars
    a million, as Gemini image models have had them.
    """
    completion_price = (completion_tokens - image_tokens) * 2.5e-6 + image_tokens * 30e-6
    prompt_cost, completion_cost = costs or (prompt_tokens * 0.3e-6, completion_price)
    cost = round(prompt_cost + completion_cost, 10)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "cost": cost,
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0, "video_tokens": 0},
        "cost_details": {
            "upstream_inference_cost": cost,
            "upstream_inference_prompt_cost": round(prompt_cost, 10),
            "upstream_inference_completions_cost": round(completion_cost, 10),
        },
        "completion_tokens_details": {
            "reasoning_tokens": reasoning_tokens,
            "image_tokens": image_tokens,
            "audio_tokens": audio_tokens,
        },
    }


def usage_chunk(tokens: Mapping[str, Any] | None = None, reason: str = "stop", native: str | None = "stop") -> Chunk:
    """The last chunk since 2026-03-16: the finish reason a second time, and the usage."""
    last = {"index": 0, "delta": {"content": "", "role": "assistant"}, "finish_reason": reason, "native_finish_reason": native}
    return Chunk({"service_tier": SERVICE_TIER, "choices": [last], "usage": dict(tokens or usage())})


def ending(tokens: Mapping[str, Any] | None = None, reason: str = "stop", native: str | None = "stop") -> tuple[Step, ...]:
    """Finish, usage, [DONE]."""
    return (finish(reason, native), usage_chunk(tokens, reason, native), Done())


def opening(heartbeats: int = 2) -> tuple[Step, ...]:
    """The comments that come while the provider has not begun."""
    return (Comment(count=heartbeats),) if heartbeats else ()


def image_entry(url: str, **fields: Any) -> dict[str, Any]:
    """An entry of `images`. It had an `index` until 2026-03; it has none since."""
    return {"type": "image_url", "image_url": {"url": url}, **fields}


def image_delta(*urls: str, content: str = "", seconds: float = 0.0) -> Chunk:
    """A delta with whole images, beside empty content."""
    return delta(content, seconds=seconds, images=[image_entry(url) for url in urls])


def error_body(code: int | str | None, message: str, metadata: Mapping[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The body of a refusal. A `user_id` beside `error` is in three of four recorded ones."""
    error: dict[str, Any] = {"message": message}
    if code is not None:
        error["code"] = code
    if metadata is not None:
        error["metadata"] = dict(metadata)
    return {"error": error, **fields}


def completion(
    identity_fields: Mapping[str, Any],
    content: str | None,
    *,
    images: Sequence[str] = (),
    reason: str = "stop",
    native: str | None = "stop",
    tokens: Mapping[str, Any] | None = None,
    choice_fields: Mapping[str, Any] | None = None,
    message_fields: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The whole answer to `stream: false`."""
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None, "reasoning": None}
    if images:
        message["images"] = [image_entry(url) for url in images]
    message.update(message_fields or {})
    only = {"index": 0, "logprobs": None, "finish_reason": reason, "native_finish_reason": native, "message": message}
    return {
        **identity_fields,
        "object": "chat.completion",
        "system_fingerprint": None,
        "service_tier": SERVICE_TIER,
        "choices": [{**only, **(choice_fields or {})}],
        "usage": dict(tokens or usage()),
    }


# The Image API: events without an identity, each with a whole picture or a piece of text.


def partial_image(index: int, base64_data: str) -> dict[str, Any]:
    """A preview: a whole picture of lower quality, which a later one replaces."""
    return {"type": "image_generation.partial_image", "partial_image_index": index, "b64_json": base64_data}


def text_chunk(text: str, phase: str = "content") -> dict[str, Any]:
    """A piece of a picture that is text. `phase` is content, reasoning or draft."""
    return {"type": "image_generation.text_chunk", "phase": phase, "text": text}


def image_completed(
    base64_data: str, media_type: str | None, created: int, tokens: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A picture that is done. Usage comes with the last of them."""
    typed = {} if media_type is None else {"media_type": media_type}
    used = {} if tokens is None else {"usage": dict(tokens)}
    return {"type": "image_generation.completed", "b64_json": base64_data, **typed, "created": created, **used}


def images_body(images: Sequence[tuple[str, str]], created: int, tokens: Mapping[str, Any]) -> dict[str, Any]:
    """The answer in one piece: base64 and media type of each picture."""
    data = [{"b64_json": base64_data, "media_type": media_type} for base64_data, media_type in images]
    return {"created": created, "data": data, "usage": dict(tokens)}


# What comes before a JSON answer while the provider is at work, so that the connection stays alive.
JSON_KEEP_ALIVE = b"\n         \n"
