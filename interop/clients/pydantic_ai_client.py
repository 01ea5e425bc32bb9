"""pydantic-ai's OpenRouterModel, by its direct requests, streamed and whole."""

from collections.abc import Mapping
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import FilePart, ModelRequest, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.openrouter import OpenRouterProvider
from pydantic_ai.tools import ToolDefinition
from report import API_KEY, PROMPT, TOOL, Answer, Ask, main, modalities

MESSAGES = [ModelRequest.user_text_prompt(PROMPT)]


def ways(base_url: str) -> Mapping[str, Ask]:
    """`stream` and `whole` ask once; `retried` leaves the retries of the client below on."""
    once = OpenRouterProvider(openai_client=AsyncOpenAI(base_url=base_url, api_key=API_KEY, max_retries=0))
    retrying = OpenRouterProvider(openai_client=AsyncOpenAI(base_url=base_url, api_key=API_KEY))

    async def stream(model: str, answer: Answer, provider: OpenRouterProvider = once) -> None:
        async with model_request_stream(OpenRouterModel(model, provider=provider), MESSAGES, **options(model)) as events:
            try:
                async for _ in events:
                    pass
            finally:
                read(events.get(), answer)

    async def retried(model: str, answer: Answer) -> None:
        await stream(model, answer, retrying)

    async def whole(model: str, answer: Answer) -> None:
        read(await model_request(OpenRouterModel(model, provider=once), MESSAGES, **options(model)), answer)

    return {"stream": stream, "retried": retried, "whole": whole}


def options(model: str) -> dict[str, Any]:
    """Its own way to say which tools there are and that images are welcome."""
    function = TOOL["function"]
    lamp = ToolDefinition(
        name=function["name"], description=function["description"], parameters_json_schema=function["parameters"]
    )
    parameters = ModelRequestParameters(function_tools=[lamp] if "tool" in model else [])
    return {"model_request_parameters": parameters, "model_settings": {"extra_body": modalities(model)}}


def read(response: ModelResponse, answer: Answer) -> None:
    """What the response holds."""
    details = response.provider_details or {}
    answer.finish_reason = response.finish_reason
    usage = response.usage
    answer.usage = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cost": details.get("cost"),
    }
    answer.refusal = details.get("refusal") or ""
    for part in response.parts:
        match part:
            case TextPart():
                answer.text += part.content
            case ThinkingPart():
                answer.reasoning += part.content
            case ToolCallPart():
                answer.tool_calls.append([part.tool_name, part.args_as_json_str()])
            case FilePart():
                answer.images.append(part.content.identifier)


if __name__ == "__main__":
    main(ways)
