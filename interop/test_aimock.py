"""aimock: a server in another language that imitates OpenRouter's own shape, from ids and comments to errors and cost."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from counterparties import binary, free_port, running, unavailable

from or_stream import Client, Heartbeat, NotFound, RateLimited, RetryPolicy, StreamEnd, StreamStart, StreamTruncated

TEXT = "The lamp turns above the grey sea"
SLOW = {"latency": 40, "chunkSize": 5}
ANSWERS: dict[str, dict[str, Any]] = {
    "hello": {
        "response": {
            "content": TEXT,
            "reasoning": "A lamp.",
            "usage": {"prompt_tokens": 3, "completion_tokens": 8, "total_tokens": 11, "cost": 0.0123},
        },
        "openRouterProcessing": True,
        "chunkSize": 10,
    },
    "slow": {"response": {"content": TEXT}, **SLOW},
    "limit": {"response": {"error": {"message": "slow down", "type": "rate_limit"}, "status": 429, "retryAfter": 1}},
    "cut": {"response": {"content": TEXT}, **SLOW, "disconnectAfterMs": 100},
    "weather": {"response": {"toolCalls": [{"name": "get_weather", "arguments": '{"city":"Paris"}'}]}},
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    program = Path(sys.prefix) / "npm" / "node_modules" / "@copilotkit" / "aimock" / "dist" / "cli.js"
    if not program.exists():
        unavailable("aimock is not installed (`make interop` does)")
    port, folder = free_port(), tmp_path_factory.mktemp("aimock")
    fixtures = [{"match": {"userMessage": prompt}, **answer} for prompt, answer in ANSWERS.items()]
    (folder / "fixtures.json").write_text(json.dumps({"fixtures": fixtures}))
    with running([binary("node"), str(program), "-p", str(port), "-f", "fixtures.json"], port, folder):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(address) -> AsyncIterator[Client]:
    async with Client(base_url=f"{address}/api/v1", api_key="sk-or-v1-interop", retry=RetryPolicy(attempts=1)) as made:
        yield made


async def test_an_answer_in_the_shape_of_openrouter(client):
    """Comment, start, text, reasoning under its other name, native finish and cost are all understood."""
    events = [event async for event in client.stream("hello", model="openai/gpt-4o")]
    beat, start, *_, end = events
    assert isinstance(beat, Heartbeat)
    assert isinstance(start, StreamStart)
    assert isinstance(end, StreamEnd)
    assert beat.comment == "OPENROUTER PROCESSING"
    assert start.generation_id.startswith("gen-")
    message = end.message
    assert (message.text, message.reasoning, message.finish_reason, message.native_finish_reason) == (
        TEXT,
        "A lamp.",
        "stop",
        "stop",
    )
    assert message.usage.cost == 0.0123


async def test_tool_calls(client):
    """A call whose arguments come after its name."""
    message = await client.generate("weather", model="openai/gpt-4o")
    assert [(call.name, call.json()) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]


async def test_a_rate_limit(client):
    """The error of OpenRouter's shape, in a chunked body: code, message and Retry-After."""
    with pytest.raises(RateLimited, match="slow down") as caught:
        await client.generate("limit", model="openai/gpt-4o")
    assert (caught.value.code, caught.value.retry_after) == (429, 1)


async def test_a_prompt_that_nothing_matches(client):
    """404 in OpenRouter's shape."""
    with pytest.raises(NotFound, match="No fixture matched") as caught:
        await client.generate("what", model="openai/gpt-4o")
    assert caught.value.code == 404


async def test_a_connection_that_is_cut(client):
    """StreamTruncated with the beginning of the text."""
    with pytest.raises(StreamTruncated) as caught:
        await client.generate("cut", model="openai/gpt-4o")
    assert TEXT.startswith(caught.value.partial.text)
    assert caught.value.partial.text != TEXT


async def test_many_streams_at_once(client):
    """Thirty-two slow streams side by side take about the time of one."""
    async with asyncio.timeout(20):
        messages = await asyncio.gather(*(client.generate("slow", model="openai/gpt-4o") for _ in range(32)))
    assert {message.text for message in messages} == {TEXT}
