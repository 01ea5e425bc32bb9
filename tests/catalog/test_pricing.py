"""What a request comes to, from prices as they were recorded."""

import pytest

from or_stream import ConfigurationError
from or_stream.catalog import Pricing

GEMINI = {
    "prompt": "0.0000003",
    "completion": "0.0000025",
    "image": "0.0000003",
    "image_output": "0.00003",
    "web_search": "0.014",
}
BY_PICTURE = {"prompt": "0", "completion": "0", "image": "0.002", "image_output": "0.04", "request": "0.001"}
LONG = {
    "prompt": "0.000003",
    "completion": "0.000015",
    "overrides": [
        {"min_prompt_tokens": 200_000, "prompt": "0.000006"},
        {"min_prompt_tokens": 500_000, "prompt": "0.00001", "completion": "0.00002"},
        {"utc_start": 100, "utc_end": 400, "min_prompt_tokens": 1, "prompt": "0"},
        {"prompt": "9"},
        "nonsense",
    ],
}


@pytest.mark.parametrize(
    ("prices", "size", "usd"),
    [
        (GEMINI, {}, 0),
        (GEMINI, {"prompt_tokens": 1_000_000, "completion_tokens": 1_000_000}, 2.8),
        (GEMINI, {"images": 1, "tokens_per_image": 1290}, 0.0387),
        (GEMINI, {"images": 1}, None),
        (GEMINI, {"input_images": 3}, 0),
        (GEMINI, {"web_searches": 2}, 0.028),
        (BY_PICTURE, {}, 0.001),
        (BY_PICTURE, {"images": 2, "input_images": 3}, 0.087),
        (BY_PICTURE, {"images": 2, "tokens_per_image": 1290}, 0.081),
        ({"prompt": "1"}, {"completion_tokens": 1}, None),
        ({"completion": "1"}, {"prompt_tokens": 1}, None),
        ({}, {}, 0),
        ({}, {"images": 1, "tokens_per_image": 1}, None),
        ({"prompt": "-1", "completion": "-1"}, {"prompt_tokens": 1}, None),
        ({"prompt": "0", "completion": "0", "image_output": "0"}, {"prompt_tokens": 5, "images": 4}, 0),
    ],
)
def test_estimate(prices, size, usd):
    """The parts add up, and one unknown price that is needed makes the whole unknown."""
    assert (None if usd is None else pytest.approx(usd)) == Pricing.read(prices).estimate(**size)


@pytest.mark.parametrize(("tokens", "prompt", "completion"), [(200_000, 3, 15), (200_001, 6, 15), (500_001, 10, 20)])
def test_long_prompts(tokens, prompt, completion):
    """Above a threshold other prices hold, the last that applies wins, and those of certain hours are left out."""
    prices = Pricing.read(LONG).for_prompt(tokens)
    assert (pytest.approx(prompt), pytest.approx(completion)) == (prices.prompt * 1e6, prices.completion * 1e6)


def test_long_prompt_estimate():
    """An estimate uses the prices that hold for its prompt."""
    assert pytest.approx(1.8) == Pricing.read(LONG).estimate(prompt_tokens=300_000)


@pytest.mark.parametrize(
    ("price", "per_image", "per_token"),
    [("0.04", 0.04, None), ("0.003", 0.003, None), ("0.00012", None, 0.00012), ("0", 0, None), (None, None, None)],
)
def test_per_image_or_per_token(price, per_image, per_token):
    """The same field is for a picture with some models, for a token with others."""
    prices = Pricing.read({"image_output": price})
    assert (per_image, per_token) == (prices.usd_per_image, prices.usd_per_image_token)


def test_price_of_a_router():
    """-1 is no price, and is kept."""
    prices = Pricing.read({"prompt": "-1", "completion": "-1"})
    assert (None, {"prompt": "-1", "completion": "-1"}) == (prices.prompt, prices.extra)


@pytest.mark.parametrize(
    ("size", "said"),
    [
        ({"output_tokens": 5}, "no 'output_tokens', only"),
        ({"prompt_tokens": -1}, "prompt_tokens must be"),
        ({"images": float("nan")}, "images must be"),
        ({"web_searches": "2"}, "web_searches must be"),
        ({"completion_tokens": None}, "completion_tokens must be"),
        ({"images": True}, "images must be"),
    ],
)
def test_wrong_size(size, said):
    """What is no count, or the count of something else, is refused, and not taken for nothing."""
    with pytest.raises(ConfigurationError, match=said):
        Pricing().estimate(**size)
