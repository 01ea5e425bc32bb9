"""What models do not do, and the bodies in which the service says so."""

import pytest

from or_stream.emulator import Emulator, scenarios

TOOL = {"type": "function", "function": {"name": "light_lamp", "parameters": {"type": "object", "properties": {}}}}
PAINTER = "google/gemini-3.1-flash-image"
THINKER = "google/gemini-3.5-flash"


@pytest.fixture
def refusal(chat):
    """The status and the error of an answer."""

    async def of(prompt="hi", **body):
        async with chat.post(prompt, **body) as response:
            return response.status, (await response.json())["error"]

    return of


@pytest.mark.parametrize("model", ["nobody/knows", "gpt-4o", "openai/", "/x", "opnai/gpt-5"])
async def test_an_unknown_model(chat, model):
    """400 with the name, and a `user_id` beside the error."""
    async with chat.post(model=model) as response:
        assert response.status == 400
        body = await response.json()
    assert body == {"error": {"message": f"{model} is not a valid model ID", "code": 400}, "user_id": "user_emulated"}


@pytest.mark.parametrize("model", [PAINTER, "openai/gpt-9", "openai/gpt-9:nitro", "~openai/gpt-latest", "test/model"])
async def test_a_model_of_a_known_author_is_taken(chat, model):
    """Listed or not, with a variant or not, and what tests call a model."""
    async with chat.post(model=model) as response:
        assert response.status == 200


async def test_other_models_can_be_added(session):
    """`models=` makes an id known."""
    async with Emulator(models=("nobody/knows",)) as emulator:
        body = {"prompt": "hi", "model": "nobody/knows"}
        async with session.post(f"{emulator.base_url}/chat/completions", json=body) as response:
            assert response.status == 200


async def test_the_first_model_that_can_answers(chat):
    """`models` are tried in order; where none can, the first refusal is said."""
    events = await chat.events(model="nobody/knows", models=["nobody/else", "deepseek/deepseek-v4"])
    assert events[0]["model"] == "deepseek/deepseek-v4"
    async with chat.post(models=["nobody/knows", "nobody/else"]) as response:
        assert "nobody/knows" in (await response.json())["error"]["message"]


@pytest.mark.parametrize("model", [PAINTER, "nousresearch/hermes-4-70b"])
async def test_tools_for_a_model_without(refusal, model):
    """404, as recorded."""
    status, error = await refusal(model=model, tools=[TOOL])
    assert (status, error["code"]) == (404, 404)
    assert error["message"].startswith("No endpoints found that support tool use. ")


@pytest.mark.parametrize(
    ("model", "modalities"),
    [
        ("black-forest-labs/flux.2-pro", ["image", "text"]),
        ("anthropic/claude-sonnet-5", ["text", "image"]),
        ("deepseek/deepseek-v4", ["audio"]),
    ],
)
async def test_modalities_that_a_model_does_not_put_out(refusal, model, modalities):
    """404 with the funnel of the router."""
    status, error = await refusal(model=model, modalities=modalities)
    assert status == 404
    assert error == {
        "message": f"No endpoints found that support the requested output modalities: {', '.join(sorted(modalities))}",
        "code": 404,
        "metadata": {
            "routing_funnel": [{"step": "Initial Endpoints", "endpoint_count": 1}],
            "failed_routing_step": "Filter by Model Output Modalities",
        },
    }


@pytest.mark.parametrize(
    ("model", "right"),
    [("openai/gpt-image-2", "/api/v1/images"), ("openai/text-embedding-3-small", "/api/v1/embeddings")],
)
async def test_a_model_of_another_endpoint(refusal, model, right):
    """404, with the availability that names the endpoint."""
    status, error = await refusal(model=model)
    assert (status, error["availability"]["code"]) == (404, "wrong_endpoint")
    assert error["availability"]["constraint"] == {"field": "model", "detail": right}


async def test_a_flagged_prompt(refusal):
    """403 with reasons and the input, where the model moderates."""
    status, error = await refusal(f"[flag: violence] {'x' * 200}", model="anthropic/claude-sonnet-5")
    assert (status, error["code"], error["metadata"]["reasons"]) == (403, 403, ["violence"])
    assert len(error["metadata"]["flagged_input"]) == 100


async def test_a_model_that_does_not_moderate(chat):
    """The same prompt is answered."""
    async with chat.post("[flag: violence]", model="deepseek/deepseek-v4") as response:
        assert response.status == 200


async def test_a_prompt_that_is_too_long(refusal):
    """400 with both numbers."""
    status, error = await refusal("word " * 40_000, model="google/gemini-2.5-flash-image")
    assert status == 400
    assert "maximum context length is 32768 tokens. However, you requested about 50000 tokens" in error["message"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"top_p": 1.5}, "Expected top_p to be at most 1, received 1.5"),
        ({"frequency_penalty": -3}, "at least -2"),
        ({"max_tokens": 0}, "at least 1"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"provider": {"colour": "red"}}, "colour"),
        ({"reasoning": {"effort": "high"}, "reasoning_effort": "low"}, "reasoning_effort"),
        ({"session_id": "x" * 257}, "session_id"),
        ({"metadata": {str(number): "" for number in range(17)}}, "metadata"),
        ({"model": THINKER, "reasoning": {"effort": "none"}}, "mandatory"),
        ({"model": "openai/gpt-audio", "modalities": ["text", "audio"], "stream": False}, "requires stream: true"),
    ],
)
async def test_wrong_parameters(refusal, body, message):
    """400, and what is wrong."""
    status, error = await refusal(**body)
    assert (status, error["code"]) == (400, 400)
    assert message in error["message"]


async def test_what_a_test_scripts_is_played_whatever_the_model(chat, emulator):
    """What models cannot do is for the emulator's own answers to say."""
    emulator.play(scenarios.replay(b"scripted"))
    assert await chat.read(model="nobody/knows", tools=[TOOL], modalities=["audio"]) == b"scripted"


async def test_a_wrong_key_is_401_before_all_else(session):
    """The message is the service's."""
    async with Emulator(api_key="right") as emulator, session.get(f"{emulator.base_url}/key") as response:
        assert response.status == 401
        assert await response.json() == {"error": {"message": "User not found.", "code": 401}}
