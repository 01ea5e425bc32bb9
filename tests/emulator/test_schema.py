"""What the emulator answers, against the schema that the service publishes: it is read where it lies beside the checkout.

Where recorded traffic contradicts the schema the recording wins, and the difference is named here.
"""

import importlib.util
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from or_stream.emulator import Emulator, FixedWindow, scenarios
from or_stream.emulator._endpoints._models import models

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


# Where a scenario sends what was recorded, or what a client must survive, and the schema forbids it (docs/wire.md).
FORBIDDEN = {
    "finish-unnormalized": {"choices[].finish_reason"},
    "image-in-message": {"choices[]"},  # without a delta
    "logprobs-odd": {"choices[].logprobs"},
    "midstream-error-bare": {"", "error.metadata"},
    "midstream-error-beside-stop": {"error.metadata"},  # error_type is required, and was never recorded
    "null-deltas": {"", "choices", "choices[]", "choices[].delta"},
    "tool-call-arguments-null": {"choices[].delta.tool_calls[].function.arguments"},
    "tool-call-id-empty": {"choices[].delta.tool_calls[].type"},
    "tool-call-id-null": {"choices[].delta.tool_calls[].id", "choices[].delta.tool_calls[].function.name"},
    "tool-call-index-missing": {"choices[].delta.tool_calls[]"},
    "unknown-fields": {"object", "choices[].finish_reason", "choices[].delta.reasoning_details[]"},
}
# What is sent, was recorded, and has no place in the schema.
UNDECLARED = {
    "provider",
    "user_id",
    "error.metadata.raw",
    "error.metadata.provider_name",
    "choices[].native_finish_reason",
    "choices[].error",
    "choices[].delta.images",
    "choices[].delta.annotations",
    "usage.completion_tokens_details.image_tokens",
}
# Other shapes altogether, whose fields are nobody's.
OTHER_SHAPES = {"null-deltas", "unknown-fields", "image-in-message", "image-repeated-in-message", "logprobs-odd"}


def chunks_of(name: str) -> list[Any]:
    """The JSON of a scenario's events."""
    events = scenarios.by_name(name)[0].body().replace(b"\r", b"").split(b"\n\n")
    return [json.loads(event.partition(b":")[2]) for event in events if event.startswith((b"data: {", b"data:{"))]


STREAMS = [
    name
    for name in scenarios.names()
    if scenarios.by_name(name)[0].content_type == "text/event-stream"
    and name not in {"event-too-large", "malformed-json", "end-inside-event", "image-cut"}
]


@pytest.mark.parametrize("name", STREAMS)
def test_a_chunk(name):
    """Every chunk of every scenario is as the schema says, but where it is named that and why it is not."""
    found = {path.removeprefix("$").lstrip(".") for chunk in chunks_of(name) for path in paths(chunk, named("ChatStreamChunk"))}
    assert found == FORBIDDEN.get(name, set())


def paths(value: Any, schema: dict[str, Any]) -> set[str]:
    """The places of faults, whatever the index."""
    return {re.sub(r"\[\d+\]", "[]", fault.partition(": ")[0]) for fault in faults(value, schema)}


def test_what_the_schema_does_not_have():
    """All fields that are sent beyond the schema are known, and docs/wire.md names each."""
    found = {
        path
        for name in STREAMS
        if name not in OTHER_SHAPES
        for chunk in chunks_of(name)
        for path in undeclared(chunk, [named("ChatStreamChunk")], "")
    }
    assert found == UNDECLARED
    document = (Path(__file__).parents[2] / "docs" / "wire.md").read_text(encoding="utf-8")
    assert [path for path in found if f"`{path.removeprefix('choices[].')}`" not in document] == []


def undeclared(value: Any, schemas: list[dict[str, Any]], path: str) -> Iterator[str]:
    """The places of fields that none of these schemas has."""
    known = [each for schema in schemas for each in alternatives(schema)]
    if isinstance(value, list):
        for entry in value:
            yield from undeclared(entry, [each["items"] for each in known if "items" in each], f"{path}[]")
    if isinstance(value, dict) and any("properties" in each for each in known):
        for name, inner in value.items():
            below = f"{path}.{name}".lstrip(".")
            having = [each["properties"][name] for each in known if name in each.get("properties", {})]
            yield from undeclared(inner, having, below) if having else [below]


def alternatives(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema, and all that it is made of."""
    if "$ref" in schema:
        schema = specification()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    yield schema
    for kind in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(kind, ()):
            yield from alternatives(each)


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


@pytest.mark.parametrize("status", [status for status in scenarios.REFUSALS if status != 504])  # which it does not have
def test_a_refusal_by_name(status):
    """The bodies of `refused-400` and the like."""
    assert [] == faults(scenarios.REFUSALS[status], answer_of("/chat/completions", status, "post"))


def test_all_parameters_of_the_catalogue_are_known():
    """GET /models is asked for each value that the schema lists, and for one that is out of each range it gives."""
    wrong: list[str] = []
    for parameter in specification()["paths"]["/models"]["get"]["parameters"]:
        name, schema = parameter["name"], parameter["schema"]
        good = schema.get("enum", ())
        bad = (
            ["no-such"] if good else [str(schema[end] + step) for end, step in (("minimum", -1), ("maximum", 1)) if end in schema]
        )
        wrong += [f"{name}={value}" for value in good if models({name: value}).status != 200]
        wrong += [f"{name}={value}" for value in bad if models({name: value}).status != 400]
    assert wrong == []


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
