"""Requests that are wrong in one place: whatever stands there, they are refused or answered, and nothing breaks down."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from or_stream.emulator import Identity, Scenario
from or_stream.emulator._endpoints import Pace, generator_of, route

PARAMETERS = {"type": "object", "properties": {"color": {"enum": ["red"]}, "times": {"type": "array", "items": {"minimum": 1}}}}
CHAT = {
    "model": "openai/gpt-5.4-mini",
    "models": ["openai/gpt-5.4-mini"],
    "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    "stream": True,
    "modalities": ["text"],
    "image_config": {"aspect_ratio": "1:1", "image_size": "0.5K"},
    "reasoning": {"effort": "low", "max_tokens": 5, "exclude": False, "enabled": True},
    "reasoning_effort": "low",
    "provider": {"only": ["openai"]},
    "response_format": {"type": "json_schema", "json_schema": {"schema": {**PARAMETERS, "$defs": {"x": {"$ref": "#/$defs/x"}}}}},
    "tools": [{"type": "function", "function": {"name": "light_lamp", "parameters": PARAMETERS}}],
    "tool_choice": {"type": "function", "function": {"name": "light_lamp"}},
    "metadata": {"run": "1"},
    "plugins": [{"id": "web"}],
    "stop": ["."],
    "max_tokens": 100,
    "temperature": 1.0,
    "user": "u",
    "session_id": "s",
}
IMAGES = {
    "model": "openai/gpt-image-2",
    "prompt": "hi",
    "n": 1,
    "stream": True,
    "size": "16x16",
    "quality": "low",
    "output_format": "png",
    "input_references": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
    "provider": {"only": ["openai"]},
}
ODD = st.sampled_from(
    [None, True, 0, -1, 5, 10**30, 0.5, float("nan"), "", "x", "auto", [], [5], [None], [[]], {}, {"a": 5}, "\ud800"]
)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a JSON value."""
    if way:
        yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in inner:
        yield from places(below, (*way, key))


def decided(path: str, body: Any) -> Scenario:
    """What the emulator answers, without a server."""
    generator = generator_of("POST", f"/api/v1{path}")
    assert generator is not None
    wrong = generator.complaint(body)
    if wrong is not None:
        return wrong
    model = route(body, generator.objection, frozenset())
    if isinstance(model, Scenario):
        return model
    return generator.answer(body, Identity(model=model.id), Pace())


@pytest.mark.parametrize("path", ["/chat/completions", "/images"])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_one_wrong_place(path, data):
    """Any value in any place, or none there, or one that is too many."""
    body = copy.deepcopy(CHAT if path == "/chat/completions" else IMAGES)
    way = data.draw(st.sampled_from(list(places(body))))
    holder: Any = body
    for key in way[:-1]:
        holder = holder[key]
    if data.draw(st.booleans()):
        holder[way[-1]] = data.draw(ODD)
    else:
        del holder[way[-1]]
    answer = decided(path, body)
    assert answer.status in (200, 400, 404)
    assert answer.body()


@pytest.mark.parametrize("model", ["google/gemini-3.1-flash-image", "openai/gpt-5.4-mini"])
@settings(deadline=None)
@given(
    schema=st.recursive(
        ODD,
        lambda inner: st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "enum", "anyOf", "minItems", "$ref", "$defs", "definitions", "x", "minimum"]
            ),
            inner,
        ),
    )
)
def test_any_schema(model, schema):
    """What `response_format` asks for may be nonsense, or lead to itself."""
    wanted = {"type": "json_schema", "json_schema": {"schema": schema if isinstance(schema, dict) else {"anyOf": [schema]}}}
    body = {"model": model, "prompt": "hi", "modalities": ["text"], "response_format": wanted}
    assert decided("/chat/completions", body).status == 200


@pytest.mark.parametrize(
    "loop", [{"$ref": "#/$defs/x"}, {"anyOf": [{"$ref": "#/$defs/x"}]}, {"properties": {"a": {"$ref": "#/$defs/x"}}}]
)
def test_a_schema_that_leads_to_itself(loop):
    """It ends."""
    wanted = {"type": "json_schema", "json_schema": {"schema": {"$ref": "#/$defs/x", "$defs": {"x": loop}}}}
    assert decided("/chat/completions", {"prompt": "hi", "response_format": wanted, "model": "openai/gpt-5.4-mini"}).status == 200
