"""What a model puts out, as far as its name tells: for where nobody has asked the catalogue, or it cannot be had."""

import re
from functools import lru_cache
from typing import Final

__all__ = ["outputs_by_name"]

# Which family draws how: docs/catalog.md. Of those that also write, the id must say "image", since their siblings draw nothing.
_DRAWING_FAMILIES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), outputs)
    for pattern, outputs in (
        (r"(^|/)(flux|seedream|recraft|riverflow|gpt-image|grok-imagine|mai-image|imagen|krea)", ("image",)),
        (r"(^|/)(gemini|gpt-\d)[^/]*-image|(^|/)openrouter/auto", ("text", "image")),
    )
)


@lru_cache(maxsize=256)
def outputs_by_name(model_id: str) -> tuple[str, ...] | None:
    """The modalities that a family of models which draw puts out; None for a name of no such family."""
    return next((outputs for name, outputs in _DRAWING_FAMILIES if name.search(model_id)), None)
