"""What is answered when nobody says what."""

import base64
import io
import json
import re

import pytest
from PIL import Image

from or_stream.emulator import Emulator, Identity
from or_stream.emulator._endpoints._chat import Pace, answer, images_asked_for, prompt_of

MODEL = "google/gemini-3.1-flash-image"
BOTH = ["image", "text"]


def pictures_in(events):
    entries = [entry for event in events for entry in event["choices"][0]["delta"].get("images", [])]
    return [opened(entry["image_url"]["url"]) for entry in entries]


def opened(url):
    head, data = url.split(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def text_of(events):
    return "".join(event["choices"][0]["delta"]["content"] for event in events)


async def test_text_comes_a_word_at_a_time(chat):
    """The prompt is in the answer, and no chunk holds more than a word."""
    events = await chat.events("Is the lamp lit?")
    assert "Is the lamp lit?" in text_of(events)
    assert all(len(event["choices"][0]["delta"]["content"].split()) <= 1 for event in events)


async def test_comments_come_first(chat):
    """The provider is at work before it speaks."""
    assert (await chat.read()).startswith(b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n")


async def test_the_answer_has_the_form_of_2026(chat):
    """Key order, id, role on every delta, the finish twice, usage with cost and tier on the last chunk only."""
    events = await chat.events(model=MODEL)
    for event in events:
        assert re.fullmatch(r"gen-\d{10}-[A-Za-z0-9]{20}", event["id"])
        assert list(event)[:5] == ["id", "object", "created", "model", "provider"]
        assert (event["model"], event["provider"]) == (MODEL, "Google")
        assert event["choices"][0]["delta"]["role"] == "assistant"
    finishes = [event["choices"][0]["finish_reason"] for event in events]
    assert finishes[-2:] == ["stop", "stop"]
    assert set(finishes[:-2]) == {None}
    assert [list(event) for event in events if "usage" in event] == [
        ["id", "object", "created", "model", "provider", "service_tier", "choices", "usage"]
    ]
    assert events[-1]["usage"]["cost"] > 0


async def test_pictures_are_drawn_where_they_are_asked_for(chat):
    """As many as the prompt names, all different, each whole in a delta of its own beside empty content."""
    events = await chat.events("Draw two pictures of a lighthouse at dusk", model=MODEL, modalities=BOTH)
    pictures = pictures_in(events)
    assert [picture.size for picture in pictures] == [(1024, 1024), (1024, 1024)]
    assert pictures[0].tobytes() != pictures[1].tobytes()
    assert all(event["choices"][0]["delta"]["content"] == "" for event in events if event["choices"][0]["delta"].get("images"))
    assert events[-1]["usage"]["completion_tokens_details"]["image_tokens"] == 2 * 1290


async def test_text_and_pictures_alternate(chat):
    """Words come before and after a picture."""
    events = await chat.events("Draw a boat", model=MODEL, modalities=BOTH, image_config={"image_size": "0.5K"})
    at = next(number for number, event in enumerate(events) if "images" in event["choices"][0]["delta"])
    assert text_of(events[:at])
    assert text_of(events[at:])


async def test_image_config_is_honoured(chat):
    """Ratio and size decide the pixels."""
    config = {"aspect_ratio": "16:9", "image_size": "0.5K"}
    events = await chat.events("a boat", model=MODEL, modalities=["image"], image_config=config)
    assert [picture.size for picture in pictures_in(events)] == [(672, 384)]


async def test_image_alone_is_image_alone(chat):
    """Without text among the modalities nothing is said."""
    events = await chat.events("a boat", model="black-forest-labs/flux.2-pro", modalities=["image"])
    assert text_of(events) == ""
    assert len(pictures_in(events)) == 1


async def test_no_picture_unless_asked_for(chat):
    """Without modalities there is only text."""
    assert pictures_in(await chat.events("Draw a boat", model=MODEL)) == []


async def test_a_whole_answer_is_json(chat):
    """`stream: false` gives one document, after the whitespace that keeps the connection alive."""
    async with chat.post("Draw a boat", model=MODEL, modalities=BOTH, stream=False) as response:
        assert response.content_type == "application/json"
        body = await response.read()
    assert body.startswith(b"\n  ")
    message = json.loads(body)["choices"][0]["message"]
    assert "Draw a boat" in message["content"]
    assert opened(message["images"][0]["image_url"]["url"]).size == (1024, 1024)


async def test_max_tokens_cuts_the_answer(chat):
    """A limit of five words gives five words and finish "length"."""
    events = await chat.events(max_tokens=5)
    assert len(text_of(events).split()) == 5
    assert events[-1]["choices"][0]["finish_reason"] == "length"


async def test_an_image_takes_its_time(session):
    """`image_seconds` is spread over the writes of an image, so that it can be seen to arrive."""
    body = {"modalities": ["image"], "messages": [{"role": "user", "content": "a boat"}], "stream": True}
    scenario = answer(body, Identity(), Pace(text_delay_seconds=0.0, image_seconds=3.0))
    assert [step.seconds for step in scenario.steps if getattr(step, "seconds", 0)] == [3.0]


@pytest.mark.parametrize(
    ("prompt", "images"),
    [
        ("a lighthouse", 1),
        ("two pictures of a boat", 2),
        ("Draw 3 small images", 3),
        ("four nice large Paintings", 4),
        ("20 images", 4),
        ("0 pictures", 1),
        ("a picture of two boats", 1),
    ],
)
def test_the_prompt_says_how_many(prompt, images):
    """A number beside a word for pictures counts, up to four; any other number does not."""
    assert images_asked_for(prompt) == images


def test_the_prompt_is_the_last_thing_the_user_said():
    """Parts are joined; the assistant's turns do not count."""
    parts = [
        {"type": "text", "text": "make it"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "night"},
    ]
    messages = [
        {"role": "user", "content": "a boat"},
        {"role": "assistant", "content": "here"},
        {"role": "user", "content": parts},
    ]
    assert prompt_of({"messages": messages}) == "make it night"


def test_half_a_surrogate_pair_does_no_harm():
    """JSON may hold one; what is answered can be sent."""
    body = {"messages": [{"role": "user", "content": [{"type": "text", "text": "\ud83d lamp"}]}], "stream": True}
    assert "“?".encode() in answer(body, Identity(), Pace()).body()


# Refusals


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "Input required"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "role"),
        ({"messages": [{"role": "user", "content": 3}]}, "content"),
        ({"prompt": "hi", "stream": "yes"}, "stream"),
        ({"prompt": "hi", "model": 3}, "model"),
        ({"prompt": "hi", "modalities": "image"}, "modalities"),
        ({"prompt": "hi", "max_tokens": True}, "max_tokens"),
        ({"prompt": "hi", "temperature": 5}, "at most 2"),
        ({"prompt": "hi", "image_config": {"aspect_ratio": "7:5"}}, "aspect_ratio"),
        ({"prompt": "hi", "image_config": {"image_size": [1]}}, "image_size"),
        ({"prompt": "hi", "model": "emulator/no-such"}, "not a valid model ID"),
    ],
)
async def test_wrong_requests_are_refused_with_400(emulator, session, body, message):
    """The error has the service's shape and says what is wrong."""
    async with session.post(f"{emulator.base_url}/chat/completions", json=body) as response:
        assert response.status == 400
        error = (await response.json())["error"]
    assert error["code"] == 400
    assert message in error["message"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff"])
async def test_what_is_no_json_object_is_refused(emulator, session, raw):
    """Nothing, half an object, a list and no UTF-8 are all refused with 400."""
    async with session.post(f"{emulator.base_url}/chat/completions", data=raw) as response:
        assert response.status == 400


async def test_text_from_a_model_that_only_paints_is_404(chat):
    """The refusal that five projects have met."""
    async with chat.post(model="black-forest-labs/flux.2-pro", modalities=BOTH) as response:
        assert response.status == 404
        error = (await response.json())["error"]
    assert error["message"] == "No endpoints found that support the requested output modalities: image, text"
    assert error["metadata"]["failed_routing_step"] == "Filter by Model Output Modalities"


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}])
async def test_no_key_is_401(emulator, session, headers):
    """Without a bearer key nothing is answered."""
    session.headers.pop("Authorization")
    async with session.post(f"{emulator.base_url}/chat/completions", json={"prompt": "hi"}, headers=headers) as response:
        assert response.status == 401
        assert await response.json() == {"error": {"message": "Missing Authentication header", "code": 401}}


async def test_only_the_right_key_is_accepted_where_one_is_set(session):
    """`api_key=` makes every other key unknown."""
    async with Emulator(api_key="right") as emulator:
        url = f"{emulator.base_url}/chat/completions"
        async with session.post(url, json={"prompt": "hi"}) as response:
            assert response.status == 401
        async with session.post(url, json={"prompt": "hi"}, headers={"Authorization": "Bearer right"}) as response:
            assert response.status == 200


# Tools, thoughts, sound

LIGHT = {
    "type": "function",
    "function": {
        "name": "light_lamp",
        "parameters": {
            "type": "object",
            "properties": {
                "color": {"enum": ["red", "green"]},
                "seconds": {"type": "integer", "minimum": 3},
                "where": {"$ref": "#/$defs/Place"},
                "names": {"type": "array", "items": {"type": "string"}},
            },
            "$defs": {"Place": {"properties": {"deep": {"anyOf": [{"type": "boolean"}, {"type": "null"}]}}}},
        },
    },
}
ARGUMENTS = {"color": "red", "seconds": 3, "where": {"deep": True}, "names": ["lamp"]}
TALKER = "mistralai/mistral-small-4"
THINKER = "anthropic/claude-sonnet-5"


@pytest.mark.parametrize(
    ("prompt", "choice"),
    [("hi", "required"), ("hi", {"type": "function", "function": {"name": "light_lamp"}}), ("call light_lamp", "auto")],
)
async def test_a_tool_is_called_where_it_must_or_is_named(chat, prompt, choice):
    """Its arguments fit its schema, and the finish says so."""
    events = await chat.events(prompt, model=TALKER, tools=[LIGHT], tool_choice=choice)
    (call,) = events[0]["choices"][0]["delta"]["tool_calls"]
    assert (call["index"], call["type"], call["function"]["name"]) == (0, "function", "light_lamp")
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS
    assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_tool_is_called_in_a_whole_answer(chat):
    """The same, in a message whose content is null."""
    async with chat.post(model=TALKER, tools=[LIGHT], tool_choice="required", stream=False) as response:
        message = (await response.json())["choices"][0]["message"]
    assert message["content"] is None
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == ARGUMENTS


@pytest.mark.parametrize(
    "body", [{"tool_choice": "none"}, {}, {"tool_choice": "required", "messages": [{"role": "tool", "content": "lit"}]}]
)
async def test_a_tool_is_not_called_otherwise(chat, body):
    """Not where it must not, nor unasked, nor when its result is there."""
    assert text_of(await chat.events("hi", model=TALKER, tools=[LIGHT], **body))


async def test_structured_output_fits_its_schema(chat):
    """The content is JSON with what was asked for."""
    schema = LIGHT["function"]["parameters"]
    wanted = {"type": "json_schema", "json_schema": {"name": "lamp", "schema": schema}}
    assert json.loads(text_of(await chat.events(model=TALKER, response_format=wanted))) == ARGUMENTS


@pytest.mark.parametrize(
    ("body", "thinks"),
    [
        ({}, False),
        ({"reasoning": {"effort": "low"}}, True),
        ({"reasoning_effort": "low"}, True),
        ({"reasoning": {"enabled": True}}, True),
        ({"reasoning": {"max_tokens": 100}}, True),
        ({"reasoning": {"effort": "low", "exclude": True}}, False),
        ({"reasoning": {"effort": "none"}}, False),
        ({"model": "deepseek/deepseek-v4"}, True),
        ({"model": "deepseek/deepseek-v4", "include_reasoning": False}, False),
        ({"model": TALKER, "reasoning": {"effort": "low"}}, False),
    ],
)
async def test_reasoning_comes_where_it_is_asked_for(chat, body, thinks):
    """Or where the model does it unasked, unless it is excluded; it is told twice, and counted once."""
    events = await chat.events(**{"model": THINKER, **body})
    deltas = [event["choices"][0]["delta"] for event in events]
    thoughts = [delta["reasoning"] for delta in deltas if delta.get("reasoning")]
    assert bool(thoughts) == thinks
    assert thoughts == [delta["reasoning_details"][0]["text"] for delta in deltas if delta.get("reasoning_details")]
    assert events[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == len(thoughts)


async def test_a_voice_is_base64_in_fragments(chat):
    """Joined, they decode; the transcript is the answer."""
    events = await chat.events("hi", model="openai/gpt-audio", modalities=["text", "audio"])
    sound = [event["choices"][0]["delta"]["audio"] for event in events if "audio" in event["choices"][0]["delta"]]
    assert len(base64.b64decode("".join(part["data"] for part in sound), validate=True)) == 32 * len(sound)
    assert "“hi”" in "".join(part["transcript"] for part in sound)
