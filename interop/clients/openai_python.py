"""openai-python: `create` streamed and whole, and the `.stream()` helper, as an asynchronous program uses them."""

from collections.abc import Iterator, Mapping
from typing import Any

from openai import AsyncOpenAI, BaseModel
from pydantic import ValidationError
from report import API_KEY, PROMPT, Answer, Ask, collect_calls, digest, main, modalities, tools

MESSAGES: Any = [{"role": "user", "content": PROMPT}]


def ways(base_url: str) -> Mapping[str, Ask]:
    """`stream`, `whole` and `helper` ask once, `left` leaves at the first words; `retried` leaves the client's own retries on."""
    client = AsyncOpenAI(base_url=base_url, api_key=API_KEY, max_retries=0)
    retrying = AsyncOpenAI(base_url=base_url, api_key=API_KEY)

    def request(model: str) -> dict[str, Any]:
        return {"model": model, "messages": MESSAGES, "extra_body": modalities(model), **tools(model)}

    async def stream(model: str, answer: Answer, client: AsyncOpenAI = client) -> None:
        async with await client.chat.completions.create(**request(model), stream=True) as chunks:
            async for chunk in chunks:
                judge(chunk, answer)
                read(chunk, answer)

    async def left(model: str, answer: Answer) -> None:
        async with await client.chat.completions.create(**request(model), stream=True) as chunks:
            async for chunk in chunks:
                read(chunk, answer)
                if answer.text:
                    break

    async def retried(model: str, answer: Answer) -> None:
        await stream(model, answer, retrying)

    async def whole(model: str, answer: Answer) -> None:
        completion = await client.chat.completions.create(**request(model))
        judge(completion, answer)
        read(completion, answer)

    async def helper(model: str, answer: Answer) -> None:
        async with client.chat.completions.stream(**request(model)) as events:
            async for event in events:
                if event.type == "content.delta":
                    answer.text += event.delta
            completion = await events.get_final_completion()
        answer.text = ""
        read(completion, answer)

    return {"stream": stream, "left": left, "retried": retried, "whole": whole, "helper": helper}


def judge(received: BaseModel, answer: Answer) -> None:
    """openai-python builds its models unchecked. Check them, and note what they have no field for."""
    try:
        type(received).model_validate(received.to_dict())
    except ValidationError as error:
        answer.rejected |= {f"{'.'.join(str(at) for at in each['loc'])}: {each['msg']}" for each in error.errors()}
    answer.unknown |= set(extras(received, ""))


def extras(value: Any, path: str) -> Iterator[str]:
    """The paths of all fields without a type."""
    if isinstance(value, list):
        for entry in value:
            yield from extras(entry, path)
    elif isinstance(value, BaseModel):
        for name in value.model_extra or {}:
            yield f"{path}{name}"
        for name, held in vars(value).items():
            yield from extras(held, f"{path}{name}.")


def read(received: BaseModel, answer: Answer) -> None:
    """Add a chunk, or a whole completion, to what has come."""
    fields = received.to_dict()
    usage: Any = fields.get("usage")
    if usage:
        answer.usage = {name: usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")}
    choices: Any = fields.get("choices")
    for choice in choices or ():
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason
        message = choice.get("delta") or choice.get("message") or {}
        answer.text += message.get("content") or ""
        answer.refusal += message.get("refusal") or ""
        answer.reasoning += message.get("reasoning") or ""
        answer.images += [digest(image["image_url"]["url"]) for image in message.get("images") or ()]
        calls = message.get("tool_calls") or []
        collect_calls(answer.tool_calls, [{"index": index, **call} for index, call in enumerate(calls)])


if __name__ == "__main__":
    main(ways)
