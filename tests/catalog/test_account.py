"""What was spent and what is left, from answers as they were recorded or published."""

from datetime import UTC, datetime

import pytest

from or_stream.catalog import Credits, Generation, Key

# Recorded 2025-12-27.
RECORDED = {
    "created_at": "2025-12-27T21:02:37.87881+00:00",
    "model": "allenai/olmo-3.1-32b-think-20251215:free",
    "app_id": 179379,
    "external_user": None,
    "streamed": True,
    "cancelled": False,
    "latency": 1382,
    "moderation_latency": None,
    "generation_time": 8228,
    "tokens_prompt": 5,
    "tokens_completion": 150,
    "native_tokens_prompt": 56,
    "native_tokens_completion": 151,
    "native_tokens_completion_images": None,
    "native_tokens_reasoning": 183,
    "native_tokens_cached": 48,
    "num_media_completion": 0,
    "is_byok": False,
    "finish_reason": "length",
    "native_finish_reason": "max_tokens",
    "usage": 0.25,
    "id": "gen-1766869347-QzsyzjOeNJG4Y4c0K12Z",
    "total_cost": 0.5,
    "upstream_inference_cost": 0,
    "provider_name": "Parasail",
}


def test_generation():
    """Every part is in a field with its unit in its name."""
    generation = Generation.read(RECORDED)
    assert (
        Generation(
            id="gen-1766869347-QzsyzjOeNJG4Y4c0K12Z",
            model="allenai/olmo-3.1-32b-think-20251215:free",
            provider="Parasail",
            cost=0.5,
            cancelled=False,
            streamed=True,
            created_at=datetime(2025, 12, 27, 21, 2, 37, 878810, UTC),
            finish_reason="length",
            native_finish_reason="max_tokens",
            prompt_tokens=5,
            completion_tokens=150,
            native_prompt_tokens=56,
            native_completion_tokens=151,
            reasoning_tokens=183,
            cached_tokens=48,
            images_out=0,
            latency_seconds=1.382,
            generation_seconds=8.228,
            is_byok=False,
            upstream_inference_cost=0,
            extra={"app_id": 179379, "usage": 0.25},
        )
        == generation
    )


@pytest.mark.parametrize(
    ("said", "cost"),
    [({"total_cost": 0.1, "usage": 0.2}, 0.1), ({"total_cost": None, "usage": 0.2}, 0.2), ({"usage": 0}, 0), ({}, None)],
)
def test_cost(said, cost):
    """The total, else the usage, which is money too."""
    assert cost == Generation.read(said).cost


@pytest.mark.parametrize("name", sorted(RECORDED))
@pytest.mark.parametrize("wrong", [None, [], {"a": 1}, "x", True])
def test_damaged_generation(name, wrong):
    """A field of another type costs no other field."""
    whole, damaged = Generation.read(RECORDED), Generation.read({**RECORDED, name: wrong})
    changed = [field for field in Generation.model_fields if getattr(whole, field) != getattr(damaged, field)]
    assert len(set(changed) - {"extra"}) <= 1


def test_key():
    """What a key may still spend, and until when it holds."""
    key = Key.read({"label": "sk-or-v1-au7...890", "limit": 100, "limit_remaining": 74.5, "expires_at": "2027-12-31T23:59:59Z"})
    assert ("sk-or-v1-au7...890", 100, 74.5, datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)) == (
        key.label,
        key.limit,
        key.limit_remaining,
        key.expires_at,
    )


def test_key_without_limit():
    """A key without a limit has none, not zero."""
    assert (None, None) == (Key.read({"limit": None}).limit, Key.read({"limit": None}).limit_remaining)


def test_credits():
    """What is left is what was bought less what was used, where both are known."""
    assert pytest.approx(74.75) == Credits.read({"total_credits": 100.5, "total_usage": 25.75}).remaining
    assert Credits.read({"total_credits": 100.5}).remaining is None
