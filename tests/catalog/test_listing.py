"""The two lists of the service as one, what is wanted of it, and the table that stands in for it."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from or_stream import ConfigurationError
from or_stream.catalog import Model, Pricing, built_in_model, built_in_models, read_models, select

RECORDED = Path(__file__).parents[3] / "shared" / "captures" / "jp__test_models_0.json"


def entry(id: str, outputs: list[str], inputs: tuple[str, ...] = ("text",), **fields: Any) -> dict[str, Any]:
    return {"id": id, "architecture": {"input_modalities": [*inputs], "output_modalities": outputs}, **fields}


LISTED = {
    "data": [
        entry("a/talks", ["text"], supported_parameters=["tools"], pricing={"prompt": "0.000001", "completion": "0.000005"}),
        entry("a/both", ["text", "image"], ("text", "image"), pricing={"prompt": "0", "completion": "0.000006"}),
        entry("a/routes", ["text"], pricing={"prompt": "-1", "completion": "-1"}),
    ]
}
DRAWING = {
    "data": [
        entry("a/both", ["image", "text"], supported_parameters={"seed": {"type": "boolean"}}, supports_streaming=True),
        entry("a/draws", ["image"], ("text", "image"), supported_parameters={"n": {"type": "range", "min": 1, "max": 4}}),
    ]
}
MODELS = read_models(LISTED, DRAWING)


def ids(**wanted: Any) -> list[str]:
    return [model.id.removeprefix("a/") for model in select(MODELS, **wanted)]


def test_both_lists():
    """A model on both lists is one, with its prices and its descriptors, and one that is only on the second is there too."""
    assert ["talks", "both", "routes", "draws"] == ids()
    both = MODELS[1]
    assert (0.000006, True, ["seed"]) == (both.pricing.completion, both.image.streams, [*both.image.parameters])


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"output_modalities": {"image"}}, ["both", "draws"]),
        ({"output_modalities": "image"}, ["both", "draws"]),
        ({"output_modalities": ["image", "text"]}, ["both"]),
        ({"input_modalities": {"image"}, "output_modalities": {"text"}}, ["both"]),
        ({"supported_parameters": ["tools"]}, ["talks"]),
        ({"supported_parameters": "n"}, ["draws"]),
        ({"max_price": 5}, ["talks"]),
        ({"max_price": 6}, ["talks", "both"]),
        ({"max_price": 0}, []),
        ({"output_modalities": (), "provider": "whoever"}, ["talks", "both", "routes", "draws"]),
    ],
)
def test_select(wanted, found):
    """What is found has everything that is wanted."""
    assert found == ids(**wanted)


@pytest.mark.parametrize("name", ["output_modalities", "input_modalities", "supported_parameters"])
@pytest.mark.parametrize("value", [5, True, b"image", ["image", 5], [["image"]], [b"image"], {1}])
def test_wrong_list(name, value):
    """What is neither a text nor a list of texts is refused, by its name."""
    with pytest.raises(ConfigurationError, match=f"{name} must be a text or a list of texts"):
        ids(**{name: value})


@pytest.mark.parametrize(
    ("name", "values"),
    [("max_price", [-1, -0.1, float("nan"), "5", True, [5]]), ("provider", ["", " ", 5, b"Google", ["Google"]])],
)
def test_wrong_value(name, values):
    """A price that is none, and a name that is none, are refused."""
    for value in values:
        with pytest.raises(ConfigurationError, match=f"{name} must be"):
            ids(**{name: value})


def test_nothing_wanted():
    """None and an empty list ask for nothing; a price without bound leaves out what has no price."""
    everything = ["talks", "both", "routes", "draws"]
    assert everything == ids(output_modalities=None, input_modalities=[], supported_parameters=(), max_price=None, provider=None)
    assert ["talks", "both"] == ids(max_price=float("inf"))


@pytest.mark.parametrize("document", [None, [], "x", {}, {"data": None}, {"data": {"id": "a"}}, {"data": [None, 5, []]}])
def test_no_list(document):
    """What is no list of models has none."""
    assert [] == read_models(document, document)


def test_models_without_an_id():
    """Models that cannot be told apart are all kept."""
    named = {"data": [{"name": "one"}, {"name": "two", "id": 5}]}
    assert ["one", "two"] == [model.name for model in read_models(named, {})]
    assert ["one", "two"] == [model.name for model in read_models({}, named)]


def test_built_in_table():
    """Each model of the table draws, and says so of itself without a price."""
    models = built_in_models()
    assert len(models) == len({model.id for model in models}) >= 5
    assert {"chat", "images"} == {model.image_api for model in models}
    assert all(model.is_built_in and model.pricing == Pricing() for model in models)


@pytest.mark.parametrize(
    ("model", "how"),
    [
        ("google/gemini-2.5-flash-image-preview", "chat"),
        ("openai/gpt-5-image-mini", "chat"),
        ("openrouter/auto", "chat"),
        ("openai/gpt-image-1.5", "images"),
        ("black-forest-labs/flux.2-pro", "images"),
        ("bytedance-seed/seedream-5-0-pro", "images"),
        ("x-ai/grok-imagine-image", "images"),
        ("krea/krea-1", "images"),
        ("google/gemini-2.5-flash", None),
        ("openai/gpt-5", None),
        ("mistralai/mistral-small", None),
    ],
)
def test_family(model, how):
    """The family is enough to know how a model draws; of others nothing is said."""
    found = built_in_model(model)
    assert how == (found and found.image_api)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    if not RECORDED.is_file():
        pytest.skip("the folder shared/captures is not beside this checkout")
    return json.loads(RECORDED.read_bytes())


def test_recorded_list(recorded):
    """All 345 recorded models are read, with every part that every one of them has."""
    models = read_models(recorded, None)
    assert 345 == len(models) == len({model.id for model in models})
    for model in models:
        assert all((model.name, model.created, model.context_length, model.input_modalities, model.output_modalities))
        assert model.estimate(prompt_tokens=1000, completion_tokens=1000) is not None or model.id.startswith("openrouter/")
    assert [11, 16, 7] == [
        len(select(models, output_modalities="image")),
        sum(model.is_free for model in models),
        sum(model.expiration_date is not None for model in models),
    ]


def test_recorded_prices(recorded):
    """Every recorded price is read as it was written, but for those of routers."""
    for said, model in zip(recorded["data"], read_models(recorded, None), strict=True):
        written = {name: float(price) for name, price in said["pricing"].items() if isinstance(price, str) and price != "-1"}
        assert written == {name: price for name in written if (price := getattr(model.pricing, name)) is not None}
        assert len(said["pricing"].get("overrides", ())) == len(model.pricing.overrides)


def test_recorded_models_damaged(recorded):
    """Whatever happens to any field of any recorded model, all models are there, and the fields beside it are as they were."""
    whole = {model.id: model for model in read_models(recorded, None)}
    dice = random.Random(0)
    for wrong in (None, 5, "x", [], {}, [None, {"a": 1}], True, -1.5):
        damaged = [dict(said) for said in recorded["data"]]
        hit = [dice.choice([name for name in said if name != "id"]) for said in damaged]
        for said, name in zip(damaged, hit, strict=True):
            said[name] = wrong
            said["new"] = wrong
        for model, name in zip(read_models({"data": damaged}, None), hit, strict=True):
            lifted = {
                "architecture": {"input_modalities", "output_modalities"},
                "top_provider": {"max_completion_tokens", "is_moderated"},
            }
            intact = Model.model_fields.keys() - {"extra"} - lifted.get(name, {name})
            assert all(getattr(whole[model.id], field) == getattr(model, field) for field in intact)
