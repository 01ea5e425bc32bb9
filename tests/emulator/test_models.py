"""The catalogue, as GET /models and its neighbours show it."""

from xml.etree import ElementTree as ET

import pytest

from or_stream.emulator._endpoints import MODELS, find

RECORDED_KEYS = (
    "id canonical_slug hugging_face_id name created description context_length architecture pricing top_provider "
    "per_request_limits supported_parameters default_parameters supported_voices knowledge_cutoff expiration_date links"
)


@pytest.fixture
def get(emulator, session):
    """The JSON of a GET."""

    async def got(path, status=200, **query):
        async with session.get(emulator.base_url + path, params=query) as response:
            assert response.status == status, await response.text()
            return await response.json()

    return got


@pytest.fixture
def ids(get):
    """The ids that GET /models lists."""

    async def listed(**query):
        return [model["id"] for model in (await get("/models", **query))["data"]]

    return listed


def those(keeps):
    """The ids of models that a query must list, whatever their order."""
    return {model.id for model in MODELS if keeps(model)}


async def test_what_only_paints_is_hidden_unless_asked_for(ids):
    """Text is the default; `image`, several, and `all` show the rest."""
    assert set(await ids()) == those(lambda model: "text" in model.outputs)
    assert set(await ids(output_modalities="image")) == those(lambda model: "image" in model.outputs)
    assert set(await ids(output_modalities="text,image")) == those(lambda model: {"text", "image"} & set(model.outputs))
    assert set(await ids(output_modalities="all")) == {model.id for model in MODELS}
    assert "black-forest-labs/flux.2-pro" not in await ids()


@pytest.mark.parametrize(
    ("query", "keeps"),
    [
        ({"input_modalities": "text,audio"}, lambda model: {"text", "audio"} <= set(model.inputs)),
        ({"supported_parameters": "tools,seed"}, lambda model: {"tools", "seed"} <= set(model.parameters)),
        ({"category": "programming"}, lambda model: "programming" in model.categories),
        ({"q": "GeMiNi"}, lambda model: "gemini" in model.id),
        ({"context": "200000"}, lambda model: (model.context_length or 0) >= 200_000),
        ({"arch": "claude"}, lambda model: model.tokenizer == "Claude"),
        ({"model_authors": "openai,google"}, lambda model: model.author in {"openai", "google"}),
        ({"providers": "OpenAI,deepseek"}, lambda model: model.provider in {"OpenAI", "DeepSeek"}),
        ({"distillable": "true"}, lambda model: model.is_distillable),
        ({"distillable": "false"}, lambda model: not model.is_distillable),
        ({"zdr": "true"}, lambda model: model.keeps_no_data),
        ({"region": "eu"}, lambda model: "eu" in model.regions),
        ({"min_price": "1"}, lambda model: model.prompt_price >= 1),
        ({"max_price": "0"}, lambda model: model.prompt_price <= 0),
        ({"min_output_price": "2", "max_output_price": "3"}, lambda model: 2 <= model.completion_price <= 3),
        ({"min_age_days": "1"}, lambda model: True),
        ({"max_age_days": "1"}, lambda model: False),
        ({"min_intelligence_index": "50"}, lambda model: (model.intelligence or 0) >= 50),
        ({"max_coding_index": "60"}, lambda model: model.coding is not None and model.coding <= 60),
        ({"min_agentic_index": "50"}, lambda model: (model.agentic or 0) >= 50),
        ({"min_tool_success_rate": "0.95"}, lambda model: (model.tool_success_rate or 0) >= 0.95),
    ],
    ids=lambda value: "&".join(value) if isinstance(value, dict) else "",
)
async def test_a_query_keeps_what_it_names(ids, query, keeps):
    """Every parameter of the schema that filters."""
    assert set(await ids(output_modalities="all", **query)) == those(keeps)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        ("newest", lambda model: -model.created),
        ("pricing-low-to-high", lambda model: model.prompt_price + model.completion_price),
        ("pricing-high-to-low", lambda model: -model.prompt_price - model.completion_price),
        ("context-high-to-low", lambda model: -(model.context_length or 0)),
        ("throughput-high-to-low", lambda model: -model.tokens_per_second),
        ("latency-low-to-high", lambda model: model.latency_seconds),
        ("intelligence-high-to-low", lambda model: -(model.intelligence or 0)),
        ("coding-high-to-low", lambda model: -(model.coding or 0)),
        ("agentic-high-to-low", lambda model: -(model.agentic or 0)),
        ("design-arena-elo-high-to-low", lambda model: -(model.elo or 0)),
        ("most-popular", MODELS.index),
        ("top-weekly", MODELS.index),
    ],
)
async def test_a_query_sorts(ids, order, key):
    """Every order of the schema; what has no score comes last."""
    keys = [key(find(name)) for name in await ids(output_modalities="all", sort=order)]
    assert keys == sorted(keys)


async def test_pages_add_up_to_the_whole(get, ids):
    """Following `links.next` gives every model once."""
    whole, page, seen = await ids(), await get("/models", limit=4), []
    while True:
        seen += [model["id"] for model in page["data"]]
        assert page["total_count"] == len(whole)
        if page["links"]["next"] is None:
            break
        page = await get(page["links"]["next"].removeprefix("/api/v1"))
    assert seen == whole


@pytest.mark.parametrize(
    "query",
    [
        {"sort": "best"},
        {"limit": "0"},
        {"limit": "1001"},
        {"offset": "-1"},
        {"context": "many"},
        {"min_price": "nan"},
        {"region": "moon"},
        {"max_tool_success_rate": "2"},
        {"category": "poetry"},
    ],
    ids="&".join,
)
async def test_a_wrong_query_is_400(get, query):
    """The error names the parameter."""
    error = (await get("/models", 400, **query))["error"]
    assert error["code"] == 400
    assert next(iter(query)) in error["message"]


async def test_a_model_has_the_recorded_fields(get):
    """The keys that all 345 recorded models have, in their order."""
    for model in (await get("/models", output_modalities="all"))["data"]:
        assert " ".join(model).startswith(RECORDED_KEYS)
        assert all(isinstance(price, str) and float(price) >= 0 for price in model["pricing"].values())


async def test_nobody_needs_a_key_for_the_catalogue(get, session):
    """As with the service."""
    del session.headers["Authorization"]
    for path in ("/models", "/models/count", "/images/models", "/model/deepseek/deepseek-v4"):
        await get(path)


async def test_one_model_and_how_many(get):
    """GET /model/... and /models/count say what the list says."""
    listed = (await get("/models"))["data"]
    assert (await get(f"/model/{listed[0]['id']}"))["data"] == listed[0]
    assert (await get("/models/count"))["data"]["count"] == len(listed)


async def test_endpoints_of_a_model(get):
    """What `links.details` of a model leads to is about that model."""
    for model in (await get("/models", output_modalities="all"))["data"]:
        shown = (await get(model["links"]["details"].removeprefix("/api/v1")))["data"]
        (endpoint,) = shown["endpoints"]
        assert (shown["id"], endpoint["model_id"], endpoint["status"]) == (model["id"], model["id"], 0)
        assert endpoint["pricing"].items() >= model["pricing"].items()


async def test_what_can_paint(get):
    """GET /images/models lists every model with image output, and its `endpoints` leads to prices and parameters."""
    listed = (await get("/images/models"))["data"]
    assert {model["id"] for model in listed} == those(lambda model: "image" in model.outputs)
    for model in listed:
        shown = await get(model["endpoints"].removeprefix("/api/v1"))
        assert shown["id"] == model["id"]
        assert shown["endpoints"][0]["supports_streaming"] == model["supports_streaming"]
        assert shown["endpoints"][0]["pricing"][0]["cost_usd"] > 0


@pytest.mark.parametrize(
    "path", ["/models/no/such/endpoints", "/model/no/such", "/images/models/deepseek/deepseek-v4/endpoints", "/models/one"]
)
async def test_a_model_that_is_not_there(get, path):
    """404 in the service's shape."""
    assert (await get(path, 404))["error"]["code"] == 404


@pytest.mark.parametrize(("chat", "start"), [("true", "https://openrouter.ai/chat?models="), ("false", "https://openrouter.ai/")])
async def test_the_catalogue_as_a_feed(emulator, session, ids, chat, start):
    """`use_rss` gives as many items as there are models, with links to their pages or to a chat with them."""
    query = {"use_rss": "true", "use_rss_chat_links": chat}
    async with session.get(f"{emulator.base_url}/models", params=query) as response:
        assert response.content_type == "application/rss+xml"
        feed = ET.fromstring(await response.text())
    assert [link.text for link in feed.iter("link")] == [start + name for name in await ids()]


async def test_a_reader_can_be_made_to_fail(emulator, get):
    """`play(path=...)` is for requests that make nothing, and leaves those that do alone."""
    emulator.play("refused-500", path="/models")
    emulator.play("refused-402")
    await get("/models", 500)
    await get("/models")
