"""What the emulator answers, against the schema that the service publishes: it is read where it lies beside the checkout.

Where recorded traffic contradicts the schema the recording wins, and the difference is named here.
"""

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from or_stream.emulator import Emulator, FixedWindow, scenarios

SCHEMA = Path(__file__).parents[2].parent / "shared" / "facts" / "openapi.yaml"
MISSING = [name for name in ("yaml", "jsonschema") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(not SCHEMA.exists(), reason="the published schema is not beside the checkout"),
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} read and apply the schema, and are not installed"),
]


@cache
def specification() -> dict[str, Any]:
    import yaml

    document: dict[str, Any] = yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    return document


def faults(value: Any, schema: dict[str, Any]) -> list[str]:
    """What is wrong with a value, as the path to it and why."""
    from jsonschema import Draft202012Validator

    whole = {**schema, "components": specification()["components"]}
    return [f"{error.json_path}: {error.message[:200]}" for error in Draft202012Validator(whole).iter_errors(value)]


def named(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def answer_of(path: str, status: int, method: str = "get", content_type: str = "application/json") -> dict[str, Any]:
    """The schema of one answer of one endpoint."""
    schema: dict[str, Any] = specification()["paths"][path][method]["responses"][str(status)]["content"][content_type]["schema"]
    return schema


@pytest.fixture
async def emulator():
    async with Emulator(generation_delay_seconds=0) as running:
        yield running


async def got(session, emulator, path):
    async with session.get(emulator.base_url + path) as response:
        return await response.json()


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/models?output_modalities=all", "/models"),
        ("/models/count", "/models/count"),
        ("/model/deepseek/deepseek-v4", "/model/{author}/{slug}"),
        ("/models/deepseek/deepseek-v4/endpoints", "/models/{author}/{slug}/endpoints"),
        ("/images/models", "/images/models"),
        ("/images/models/openai/gpt-image-2/endpoints", "/images/models/{author}/{slug}/endpoints"),
        ("/key", "/key"),
        ("/credits", "/credits"),
    ],
)
async def test_what_is_shown(emulator, session, path, endpoint):
    """Every document is as its schema says."""
    assert [] == faults(await got(session, emulator, path), answer_of(endpoint, 200))


@pytest.mark.parametrize("path", ["/chat/completions", "/images"])
async def test_a_generation(emulator, session, path):
    """What GET /generation says of chat and of a picture."""
    body = {"model": "google/gemini-3.1-flash-image", "prompt": "a boat", "resolution": "512"}
    async with session.post(emulator.base_url + path, json=body) as response:
        await response.read()
        generation_id = response.headers["X-Generation-Id"]
    shown = await got(session, emulator, f"/generation?id={generation_id}")
    assert [] == faults(shown, answer_of("/generation", 200))


@pytest.mark.parametrize("name", ["text", "reasoning-details", "tool-call", "image-only", "midstream-error", "audio"])
def test_a_chunk(name):
    """Every chunk of a stream; what is sent beyond the schema it allows."""
    lines = scenarios.by_name(name)[0].body().splitlines()
    for line in lines:
        if line.startswith(b"data: {"):
            assert [] == faults(json.loads(line[6:]), named("ChatStreamChunk"))


async def test_a_whole_answer(emulator, session):
    """`stream: false`."""
    body = {"model": "google/gemini-3.1-flash-image", "prompt": "a boat", "modalities": ["image", "text"]}
    async with session.post(f"{emulator.base_url}/chat/completions", json=body) as response:
        assert [] == faults(await response.json(), named("ChatResult"))


@pytest.mark.parametrize("model", ["openai/gpt-image-2", "quiver/arrow-1"])
async def test_the_image_api_streamed(emulator, session, model):
    """Each event, which the schema calls the `data` of one."""
    body = {"model": model, "prompt": "a boat", "stream": True, "resolution": "512"}
    async with session.post(f"{emulator.base_url}/images", json=body) as response:
        lines = (await response.read()).splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    assert [[]] * len(events) == [faults({"data": event}, named("ImageStreamingResponse")) for event in events]


async def test_the_image_api_in_one_piece(emulator, session):
    """The document with all pictures."""
    body = {"model": "google/gemini-3.1-flash-image", "prompt": "a boat", "resolution": "512"}
    async with session.post(f"{emulator.base_url}/images", json=body) as response:
        assert [] == faults(await response.json(), named("ImageGenerationResponse"))


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"prompt": "hi", "temperature": 5}),
        (400, {"prompt": "hi", "model": "nobody/knows"}),
        (402, {"prompt": "hi", "model": "anthropic/claude-sonnet-5", "max_tokens": 10**9}),
        (403, {"prompt": "[flag: violence]", "model": "anthropic/claude-sonnet-5"}),
        (404, {"prompt": "hi", "model": "openai/gpt-image-2"}),
        (404, {"prompt": "hi", "modalities": ["audio"]}),
    ],
)
async def test_a_refusal(session, status, body):
    """The body of each status."""
    async with Emulator(credits=10) as emulator, session.post(f"{emulator.base_url}/chat/completions", json=body) as response:
        assert response.status == status
        assert [] == faults(await response.json(), answer_of("/chat/completions", status, "post"))


async def test_too_many_requests(emulator, session):
    """The 429 of a rate limit."""
    emulator.rate_limit = FixedWindow(requests=1, seconds=60)
    for status in (200, 429):
        async with session.post(f"{emulator.base_url}/chat/completions", json={"prompt": "hi"}) as response:
            assert response.status == status
            shown = await response.json()
    assert [] == faults(shown, answer_of("/chat/completions", 429, "post"))


async def test_no_key(emulator, session):
    """The 401 of what needs one."""
    del session.headers["Authorization"]
    assert [] == faults(await got(session, emulator, "/key"), answer_of("/key", 401))


def test_the_schema_can_be_broken():
    """A check that finds nothing wrong with what is wrong would prove nothing."""
    assert faults({"data": {"total_credits": "many"}}, answer_of("/credits", 200))
    assert faults({"id": 3}, named("ChatStreamChunk"))
