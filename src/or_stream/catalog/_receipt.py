"""Receipt: what a stream knows of itself and what the service knows of it, in one value."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from or_stream.catalog._account import Generation
from or_stream.values import Message, Status, Usage

__all__ = ["Receipt"]


_CONFIG = ConfigDict(defer_build=True, frozen=True)


class Receipt(BaseModel):
    """What one stream was and what it cost, whichever way it ended. Each part is None where nobody said.

    `cost` is in US dollars. `is_settled` is whether it is final: the answer said it, or the service did; else `unsettled_because`
    says why not, and the rest is what the stream itself knew. `generation` is the service's own account, which is asked for only
    where the answer did not say the cost. Seconds run from the first request; `attempts` are requests.
    """

    model_config = _CONFIG

    generation_id: str | None = None
    status: Status = "pending"
    model: str | None = None
    provider: str | None = None
    finish_reason: str | None = None
    native_finish_reason: str | None = None
    cost: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    image_tokens: int | None = None
    seconds_to_headers: float | None = None
    seconds_to_first_content: float | None = None
    seconds: float = 0.0
    bytes: int = 0
    events: int = 0
    heartbeats: int = 0
    attempts: int = 0
    generation: Generation | None = None
    is_settled: bool = False
    unsettled_because: str | None = None

    @classmethod
    def of(
        cls,
        message: Message,
        stats: Mapping[str, Any],
        *,
        generation_id: str | None,
        generation: Generation | None = None,
        unsettled_because: str | None = None,
    ) -> "Receipt":
        """What the answer said wins over what the service says of it; `stats` has the fields of `StreamStats`."""
        said, kept = message.usage or Usage(), generation or Generation()
        tokens = {
            "prompt_tokens": _first(said.prompt_tokens, kept.native_prompt_tokens, kept.prompt_tokens),
            "completion_tokens": _first(said.completion_tokens, kept.native_completion_tokens, kept.completion_tokens),
            "reasoning_tokens": _first(said.reasoning_tokens, kept.reasoning_tokens),
            "cached_tokens": _first(said.cached_tokens, kept.cached_tokens),
            "image_tokens": _first(said.image_tokens, kept.image_tokens),
        }
        cost = said.cost if said.cost is not None else kept.cost
        return cls.model_validate(
            {
                **stats,
                **tokens,
                "generation_id": generation_id,
                "status": message.status,
                "model": message.model or kept.model,
                "provider": message.provider or kept.provider,
                "finish_reason": message.finish_reason or kept.finish_reason,
                "native_finish_reason": message.native_finish_reason or kept.native_finish_reason,
                "cost": cost,
                "generation": generation,
                "is_settled": cost is not None,
                "unsettled_because": unsettled_because if cost is None else None,
            }
        )


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)
