"""What a request will cost, from the prices in the catalogue: an estimate, with sizes that are guesses."""

from typing import Any, Final

from or_stream.batching.records import Task
from or_stream.catalog import Model
from or_stream.client import Client
from or_stream.errors import OrStreamError

__all__ = ["expected_cost", "models_by_id"]

_BYTES_PER_TOKEN: Final = 4
_ANSWER_TOKENS: Final = 500
_TOKENS_PER_IMAGE: Final = 1290  # a picture of 1024 x 1024 pixels of Gemini


async def models_by_id(client: Client | None) -> dict[str, Model]:
    """The catalogue; empty where it cannot be had."""
    try:
        if client is not None:
            return {model.id: model for model in await client.models()}
        async with Client() as own:
            return {model.id: model for model in await own.models()}
    except OrStreamError:
        return {}


def expected_cost(task: Task, model: Model | None) -> float | None:
    """US dollars for one request; None where the model, a price or a size that it needs is unknown.

    A token of the prompt is four bytes, an answer has `max_tokens` or 500 of them, and one picture where the model draws.
    """
    options = task.options
    limit = options.get("max_completion_tokens") or options.get("max_tokens")
    answers = options.get("n") or 1
    if model is None or not isinstance(limit, int | None) or not isinstance(answers, int):
        return None
    modalities = options.get("modalities") or model.output_modalities
    draws = "image" in modalities and "image" in model.output_modalities
    return model.estimate(
        prompt_tokens=len(str(task.prompt).encode(errors="replace")) // _BYTES_PER_TOKEN + 1,
        completion_tokens=answers * (min(limit, _ANSWER_TOKENS) if limit else _ANSWER_TOKENS) if "text" in modalities else 0,
        images=answers if draws else 0,
        tokens_per_image=_TOKENS_PER_IMAGE,
        input_images=_count(options.get("images")),
    )


def _count(images: Any) -> int:
    return len(images) if isinstance(images, list | tuple) else 0
