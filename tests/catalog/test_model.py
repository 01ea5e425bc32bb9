"""Models and endpoints: every field from where the service has it, and no damage that spreads."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.catalog import Endpoint, Model

# Recorded 2026-08-15, shortened.
GEMINI: dict[str, Any] = {
    "id": "google/gemini-2.5-flash-image",
    "canonical_slug": "google/gemini-2.5-flash-image",
    "name": "Google: Nano Banana (Gemini 2.5 Flash Image)",
    "created": 1759870431,
    "description": "Gemini 2.5 Flash Image, a.k.a. Nano Banana",
    "context_length": 32768,
    "architecture": {
        "modality": "text+image->text+image",
        "input_modalities": ["image", "text"],
        "output_modalities": ["image", "text"],
        "tokenizer": "Gemini",
        "instruct_type": None,
    },
    "pricing": {"prompt": "0.0000003", "completion": "0.0000025", "image_output": "0.00003"},
    "top_provider": {"context_length": 32768, "max_completion_tokens": 32768, "is_moderated": False},
    "per_request_limits": None,
    "supported_parameters": ["max_tokens", "seed"],
    "expiration_date": "2026-12-31",
    "benchmarks": {"design_arena": []},
}
# From the published schema.
SEEDREAM: dict[str, Any] = {
    "id": "bytedance-seed/seedream-4.5",
    "name": "Seedream 4.5",
    "created": 1692901234,
    "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]},
    "supported_parameters": {"resolution": {"type": "enum", "values": ["1K", "2K", "4K"]}, "seed": {"type": "boolean"}},
    "supports_streaming": False,
    "endpoints": "/api/v1/images/models/bytedance-seed/seedream-4.5/endpoints",
}
FIELDS_OF = {
    "id": {"id"},
    "canonical_slug": {"canonical_slug"},
    "name": {"name"},
    "created": {"created"},
    "description": {"description"},
    "context_length": {"context_length"},
    "architecture": {"input_modalities", "output_modalities"},
    "pricing": {"pricing"},
    "top_provider": {"max_completion_tokens", "is_moderated"},
    "supported_parameters": {"supported_parameters"},
    "expiration_date": {"expiration_date"},
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def test_fields():
    """What the service has in parts of a model is in fields of its own, the rest is in `extra`."""
    model = Model.read(GEMINI)
    assert (32768, False, ("image", "text")) == (model.max_completion_tokens, model.is_moderated, model.output_modalities)
    assert (1759870431, date(2026, 12, 31), ("max_tokens", "seed")) == (
        model.created,
        model.expiration_date,
        model.supported_parameters,
    )
    assert {"tokenizer": "Gemini", "modality": "text+image->text+image", "instruct_type": None} == model.extra["architecture"]
    assert GEMINI["benchmarks"] == model.extra["benchmarks"]


def test_image_model():
    """A model of the Image API has descriptors in place of parameters."""
    model = Model.read_image_model(SEEDREAM)
    assert (("1K", "2K", "4K"), False, ()) == (model.image.resolutions, model.image.streams, model.supported_parameters)
    assert ("Seedream 4.5", ("image",)) == (model.name, model.output_modalities)


def test_json_there_and_back():
    """A model can be written down and read again."""
    for model in (Model.read(GEMINI), Model.read_image_model(SEEDREAM)):
        assert model == Model.model_validate_json(model.model_dump_json())


def test_document_is_left_alone():
    """Reading changes nothing in what is read."""
    before = repr(GEMINI)
    Model.read(GEMINI)
    assert before == repr(GEMINI)


@given(st.dictionaries(st.sampled_from(sorted(FIELDS_OF)), JSON), st.sets(st.sampled_from(sorted(FIELDS_OF))))
def test_damage_does_not_spread(changed, removed):
    """With any of its fields removed, or of any other value, a model is read, and the other fields are as they were."""
    said = {name: value for name, value in {**GEMINI, **changed}.items() if name not in removed}
    model, whole = Model.read(said), Model.read(GEMINI)
    intact = FIELDS_OF.keys() - changed.keys() - removed
    for name in set().union(*(FIELDS_OF[name] for name in intact)):
        assert getattr(whole, name) == getattr(model, name)
    assert model.estimate(prompt_tokens=5, images=1) is None or model.estimate(prompt_tokens=5, images=1) >= 0


@given(st.dictionaries(st.sampled_from(sorted(GEMINI["pricing"])) | st.text(max_size=9), JSON))
def test_any_prices(prices):
    """Prices of any kind leave the model as it is, and the prices beside them."""
    model = Model.read({**GEMINI, "pricing": {**GEMINI["pricing"], **prices}})
    assert Model.read(GEMINI).model_copy(update={"pricing": model.pricing}) == model
    assert {"prompt", "completion", "image_output"} - prices.keys() <= model.pricing.model_fields_set


@given(JSON)
def test_anything(document):
    """Whatever is there for a model is one, and so is an endpoint."""
    assert isinstance(Model.read(document), Model)
    assert isinstance(Model.read_image_model(document), Model)
    assert isinstance(Endpoint.read(document), Endpoint)


@given(st.dictionaries(st.text(min_size=1), JSON))
def test_new_fields(new):
    """New fields disturb none that is known."""
    model = Model.read({**new, **GEMINI})
    assert Model.read(GEMINI).model_copy(update={"extra": model.extra}) == model
    assert {name for name, value in new.items() if name not in GEMINI and value is not None} <= {
        *model.extra,
        *(name for names in FIELDS_OF.values() for name in names),
    }


@pytest.mark.parametrize(
    ("outputs", "how"), [(["text"], None), (["image", "text"], "chat"), (["image"], "images"), ([], None), (None, None)]
)
def test_how_it_draws(outputs, how):
    """A model that also writes draws over chat, one that only draws on the Image API."""
    assert how == Model.read({"architecture": {"output_modalities": outputs}}).image_api


@pytest.mark.parametrize(
    ("said", "is_free"),
    [
        ({"id": "a/b:free"}, True),
        ({"id": "a/b", "pricing": {"prompt": "0", "completion": "0"}}, True),
        ({"id": "a/b", "pricing": {"prompt": "0", "completion": "0.1"}}, False),
        ({"id": "a/b", "pricing": {"prompt": "0", "completion": "0", "request": "0.1"}}, False),
        ({"id": "a/b", "pricing": {"prompt": "-1", "completion": "-1"}}, False),
        ({"id": "a/b"}, False),
    ],
)
def test_free(said, is_free):
    """Free is what says that nothing has a price."""
    assert is_free is Model.read({**said, "architecture": {"output_modalities": ["text"]}}).is_free


def test_pictures_without_a_price_are_not_free():
    """A model that draws and lists no price for it may be charged for elsewhere."""
    said = {"id": "a/b", "pricing": {"prompt": "0", "completion": "0"}, "architecture": {"output_modalities": ["image"]}}
    assert not Model.read(said).is_free
    assert Model.read({**said, "pricing": {**said["pricing"], "image_output": "0"}}).is_free


def test_endpoint():
    """Who serves a model, at what price and how well."""
    endpoint = Endpoint.read(
        {
            "provider_name": "OpenAI",
            "tag": "openai/flex",
            "status": -2,
            "pricing": {"prompt": "0.00003", "completion": "0.00006", "discount": 0},
            "supported_parameters": ["seed"],
            "uptime_last_1d": 99.8,
            "latency_last_30m": {"p50": 0.25, "p99": 0.85},
            "quantization": None,
        }
    )
    assert ("OpenAI", "openai/flex", -2, 0.00003, 99.8) == (
        endpoint.provider,
        endpoint.tag,
        endpoint.status,
        endpoint.pricing.prompt,
        endpoint.uptime_last_1d,
    )
    assert ({"p50": 0.25, "p99": 0.85}, None, ()) == (endpoint.latency_last_30m, endpoint.image, endpoint.image_prices)


def test_image_endpoint():
    """An endpoint of the Image API says in which unit it charges, and what it takes."""
    endpoint = Endpoint.read(
        {
            "provider_name": "Bytedance",
            "provider_tag": "bytedance",
            "supported_parameters": {"seed": {"type": "boolean"}},
            "supports_streaming": False,
            "pricing": [{"billable": "output_image", "cost_usd": 0.05, "unit": "image"}, 5],
            "allowed_passthrough_parameters": ["watermark"],
        }
    )
    assert ("Bytedance", "bytedance", [0.05]) == (endpoint.provider, endpoint.tag, [line.usd for line in endpoint.image_prices])
    assert (True, ["watermark"]) == (endpoint.image.allows(seed=1), endpoint.extra["allowed_passthrough_parameters"])
