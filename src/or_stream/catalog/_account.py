"""What a generation has cost, and what a key may still spend. The field names of these answers are known here only."""

from datetime import datetime
from typing import Any, Final, Self

from pydantic import StrictBool

from or_stream.catalog._record import Count, Number, Record

__all__ = ["Credits", "Generation", "Key"]

_NAMES_ON_THE_WIRE: Final = {
    "provider": "provider_name",
    "cost": "total_cost",
    "prompt_tokens": "tokens_prompt",
    "completion_tokens": "tokens_completion",
    "native_prompt_tokens": "native_tokens_prompt",
    "native_completion_tokens": "native_tokens_completion",
    "reasoning_tokens": "native_tokens_reasoning",
    "cached_tokens": "native_tokens_cached",
    "image_tokens": "native_tokens_completion_images",
    "images_in": "num_media_prompt",
    "images_out": "num_media_completion",
}
_MILLISECONDS_ON_THE_WIRE: Final = {
    "latency_seconds": "latency",
    "generation_seconds": "generation_time",
    "moderation_seconds": "moderation_latency",
}


class Generation(Record):
    """What the service keeps of one generation, also of one that was cancelled. Each part is None where it did not say.

    `cost` is in US dollars. `prompt_tokens` and `completion_tokens` are counted alike for all models, the `native` ones by the
    model itself: those are paid for. `cancelled` is whether the client left before the end. `images_in` and `images_out` count
    every kind of media.
    """

    id: str = ""
    model: str | None = None
    provider: str | None = None
    cost: Number | None = None
    cancelled: StrictBool | None = None
    streamed: StrictBool | None = None
    created_at: datetime | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    native_prompt_tokens: Count | None = None
    native_completion_tokens: Count | None = None
    reasoning_tokens: Count | None = None
    cached_tokens: Count | None = None
    image_tokens: Count | None = None
    images_in: Count | None = None
    images_out: Count | None = None
    latency_seconds: Number | None = None
    generation_seconds: Number | None = None
    moderation_seconds: Number | None = None
    is_byok: StrictBool | None = None
    upstream_inference_cost: Number | None = None
    cache_discount: Number | None = None

    @classmethod
    def read(cls, document: Any) -> Self:
        """From the `data` of `GET /generation`."""
        said = dict(document) if isinstance(document, dict) else {}
        if said.get("total_cost") is None and said.get("usage") is not None:
            said["total_cost"] = said.pop("usage")  # the same in the published schema: dollars, not tokens
        for name, wire_name in _NAMES_ON_THE_WIRE.items():
            if wire_name in said:
                said[name] = said.pop(wire_name)
        for name, wire_name in _MILLISECONDS_ON_THE_WIRE.items():
            if isinstance(said.get(wire_name), int | float) and not isinstance(said[wire_name], bool):
                said[name] = said.pop(wire_name) / 1000
        return super().read(said)


class Key(Record):
    """What the key in use may do. Money is in US dollars; `limit` and `limit_remaining` are None where there is no limit."""

    label: str = ""
    limit: Number | None = None
    limit_remaining: Number | None = None
    limit_reset: str | None = None
    usage: Number | None = None
    usage_daily: Number | None = None
    usage_weekly: Number | None = None
    usage_monthly: Number | None = None
    byok_usage: Number | None = None
    include_byok_in_limit: StrictBool | None = None
    is_free_tier: StrictBool | None = None
    is_management_key: StrictBool | None = None
    expires_at: datetime | None = None


class Credits(Record):
    """What the account has bought and used, in US dollars."""

    total_credits: Number | None = None
    total_usage: Number | None = None

    @property
    def remaining(self) -> float | None:
        """What is left; None where the service did not say."""
        if self.total_credits is None or self.total_usage is None:
            return None
        return self.total_credits - self.total_usage
