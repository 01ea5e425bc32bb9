"""langchain-openrouter's ChatOpenRouter: `astream`, whose chunks are added up, and `ainvoke`."""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langchain_openrouter import ChatOpenRouter
from report import API_KEY, PROMPT, TOOL, Answer, Ask, digest, main, modalities


def ways(base_url: str) -> Mapping[str, Ask]:
    """`stream` and `whole` ask once; `retried` leaves its own retries on."""

    def chat(model: str, **options: Any) -> Any:
        made = ChatOpenRouter(
            model=model, api_key=API_KEY, base_url=base_url, model_kwargs=modalities(model), **{"max_retries": 0, **options}
        )
        return made.bind_tools([TOOL]) if "tool" in model else made

    async def stream(model: str, answer: Answer, **options: Any) -> None:
        message: Any = None
        try:
            async for chunk in chat(model, **options).astream(PROMPT):
                message = chunk if message is None else message + chunk
        finally:
            if message is not None:
                read(message, answer)

    async def retried(model: str, answer: Answer) -> None:
        await stream(model, answer, max_retries=2)

    async def whole(model: str, answer: Answer) -> None:
        read(await chat(model).ainvoke(PROMPT), answer)

    return {"stream": stream, "retried": retried, "whole": whole}


def read(message: AIMessage, answer: Answer) -> None:
    """What the message holds."""
    answer.text = message.text
    answer.reasoning = message.additional_kwargs.get("reasoning_content") or ""
    answer.refusal = message.additional_kwargs.get("refusal") or ""
    answer.images = [digest(image["image_url"]["url"]) for image in message.additional_kwargs.get("images") or ()]
    answer.tool_calls = [[call["name"], json.dumps(call["args"])] for call in message.tool_calls]
    answer.finish_reason = message.response_metadata.get("finish_reason")
    answer.seen = sorted(message.response_metadata)
    if message.usage_metadata:
        usage = message.usage_metadata
        answer.usage = {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
            "cost": message.response_metadata.get("cost"),
        }


if __name__ == "__main__":
    main(ways)
