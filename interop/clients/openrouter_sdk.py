"""The official SDK of OpenRouter: chat streamed and whole, images streamed and whole, and the endpoints around them."""

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Any

import openrouter.types

# Its models drop what they have no field for. Kept, it can be told.
openrouter.types.BaseModel.model_config["extra"] = "allow"

from openrouter import OpenRouter  # noqa: E402
from openrouter.errors import NotFoundResponseError  # noqa: E402
from report import API_KEY, PROMPT, Answer, Ask, collect_calls, digest, main, modalities, tools  # noqa: E402

MESSAGES: Any = [{"role": "user", "content": PROMPT}]


def ways(base_url: str) -> Mapping[str, Ask]:
    """Chat by `stream`, `retried` (with the SDK's own retries) and `whole`, pictures by `images` and `images-stream`; the rest is
    named after its endpoint.
    """
    client = OpenRouter(api_key=API_KEY, server_url=base_url)

    async def chat(model: str, **options: Any) -> Any:
        return await client.chat.send_async(model=model, messages=MESSAGES, **modalities(model), **tools(model), **options)

    async def stream(model: str, answer: Answer, **options: Any) -> None:
        async with await chat(model, stream=True, **(options or {"retries": None})) as chunks:
            async for chunk in chunks:
                read(chunk, answer)

    async def retried(model: str, answer: Answer) -> None:
        await stream(model, answer, timeout_ms=20_000)

    async def whole(model: str, answer: Answer) -> None:
        read(await chat(model, retries=None), answer)

    async def images(model: str, answer: Answer) -> None:
        response = await client.images.generate_async(model=model, prompt=PROMPT, retries=None)
        answer.images = [hashlib.sha256(b64decode(image.b64_json)).hexdigest() for image in response.data]
        keep_usage(response.usage, answer)
        answer.unknown |= set(extras(response, ""))

    async def images_stream(model: str, answer: Answer) -> None:
        answer.seen = []
        async with await client.images.generate_async(model=model, prompt=PROMPT, stream=True, retries=None) as events:
            async for event in events:
                answer.seen.append(event.type)
                answer.unknown |= set(extras(event, ""))
                if event.type == "image_generation.completed":
                    answer.images.append(hashlib.sha256(b64decode(event.b64_json)).hexdigest())
                    keep_usage(event.usage, answer)
                if event.type == "error":
                    answer.error = {"type": "error event", "status": event.error.code, "message": event.error.message}

    async def endpoint(name: str, answer: Answer) -> None:
        answer.seen = await told(client, name, answer)

    return {
        "stream": stream,
        "retried": retried,
        "whole": whole,
        "images": images,
        "images-stream": images_stream,
        "endpoint": endpoint,
    }


async def told(client: OpenRouter, name: str, answer: Answer) -> Any:
    """What an endpoint says, in a few words."""
    response: Any
    words: Any
    match name.split(" "):
        case ["models", *modalities]:
            response = (await client.models.list_async(output_modalities=",".join(modalities) or None)).result
            words = [model.id for model in response.data]
        case ["images/models"]:
            response = await client.images.list_models_async()
            words = [model.id for model in response.data]
        case ["endpoints", model]:
            author, slug = model.split("/")
            response = await client.endpoints.list_async(author=author, slug=slug)
            words = [endpoint.provider_name for endpoint in response.data.endpoints]
        case ["key"]:
            response = await client.api_keys.get_current_key_metadata_async()
            words = [response.data.limit, response.data.limit_remaining, response.data.usage]
        case ["credits"]:
            response = await client.credits.get_credits_async()
            words = [response.data.total_credits, response.data.total_usage]
        case ["generation", model]:
            made = await client.chat.send_async(model=model, messages=MESSAGES, retries=None)
            response = await generation(client, made.id)
            words = [response.data.id == made.id, response.data.model, response.data.total_cost == made.usage.cost]
        case _:
            raise ValueError(name)
    answer.unknown |= set(extras(response, ""))
    return words


async def generation(client: OpenRouter, id: str) -> Any:
    """The receipt, which is not there at once."""
    while True:
        try:
            return await client.generations.get_generation_async(id=id, retries=None)
        except NotFoundResponseError:
            await asyncio.sleep(0.05)


def extras(value: Any, path: str) -> Iterator[str]:
    """The paths of all fields without a type, and of all variants that are not known."""
    if isinstance(value, list):
        for entry in value:
            yield from extras(entry, path)
    elif isinstance(value, openrouter.types.BaseModel):
        if getattr(value, "is_unknown", False):
            yield f"{path}?"
        for name in value.model_extra or {}:
            yield f"{path}{name}"
        for name, held in vars(value).items():
            yield from extras(held, f"{path}{name}.")


def keep_usage(usage: Any, answer: Answer) -> None:
    """The counters and the cost."""
    if usage:
        answer.usage = {name: getattr(usage, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")}


def read(received: Any, answer: Answer) -> None:
    """Add a chunk, or a whole completion, to what has come."""
    answer.unknown |= set(extras(received, ""))
    keep_usage(received.usage, answer)
    if getattr(received, "error", None):
        answer.error = {"type": "chunk.error", "status": received.error.code, "message": received.error.message}
    for choice in received.choices:
        message = getattr(choice, "delta", None) or choice.message
        answer.finish_reason = choice.finish_reason or answer.finish_reason
        answer.text += message.content or ""
        answer.refusal += message.refusal or ""
        answer.reasoning += message.reasoning or ""
        # Its type of a delta has no images; with `extra` they would be there, but no caller sees them.
        if "images" in type(message).model_fields:
            answer.images += [digest(image.image_url.url) for image in message.images or ()]
        calls = [call.model_dump() for call in message.tool_calls or ()]
        collect_calls(answer.tool_calls, [{"index": index, **call} for index, call in enumerate(calls)])


if __name__ == "__main__":
    main(ways)
