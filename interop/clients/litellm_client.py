"""litellm: `acompletion` streamed and whole, and `stream_chunk_builder`, which makes one message of the chunks."""

import os
from collections.abc import Mapping
from typing import Any

# Its table of prices is fetched at import otherwise.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
from report import API_KEY, PROMPT, Answer, Ask, collect_calls, digest, main, modalities, tools

MESSAGES: Any = [{"role": "user", "content": PROMPT}]


def ways(base_url: str) -> Mapping[str, Ask]:
    """`stream`, `whole` and `built` ask once; `retried` lets litellm try again, which it does not unless told."""
    litellm.suppress_debug_info = True
    litellm.telemetry = False

    async def ask(model: str, **options: Any) -> Any:
        return await litellm.acompletion(
            model=f"openrouter/{model}",
            messages=MESSAGES,
            api_base=base_url,
            api_key=API_KEY,
            **{"max_retries": 0, **modalities(model), **tools(model), **options},
        )

    async def stream(model: str, answer: Answer) -> None:
        async for chunk in await ask(model, stream=True, stream_options={"include_usage": True}):
            read(chunk, answer)

    async def retried(model: str, answer: Answer) -> None:
        async for chunk in await ask(model, stream=True, num_retries=2):
            read(chunk, answer)

    async def whole(model: str, answer: Answer) -> None:
        read(await ask(model), answer)

    async def built(model: str, answer: Answer) -> None:
        chunks = [chunk async for chunk in await ask(model, stream=True, stream_options={"include_usage": True})]
        read(litellm.stream_chunk_builder(chunks), answer)

    return {"stream": stream, "retried": retried, "whole": whole, "built": built}


def read(received: Any, answer: Answer) -> None:
    """Add a chunk, or a whole completion, to what has come."""
    usage = getattr(received, "usage", None)
    if usage:
        names = ("prompt_tokens", "completion_tokens", "total_tokens", "cost")
        answer.usage = {name: getattr(usage, name, None) for name in names}
    for choice in received.choices:
        message: Any = choice.delta if hasattr(choice, "delta") else choice.message
        fields = message.model_dump()
        answer.finish_reason = choice.finish_reason or answer.finish_reason
        answer.text += fields.get("content") or ""
        answer.refusal += fields.get("refusal") or ""
        answer.reasoning += fields.get("reasoning_content") or ""
        answer.images += [digest(image["image_url"]["url"]) for image in fields.get("images") or ()]
        calls = fields.get("tool_calls") or []
        collect_calls(answer.tool_calls, [{"index": index, **call} for index, call in enumerate(calls)])


if __name__ == "__main__":
    main(ways)
