"""What every request of a run passes, and what shuts it."""

import asyncio

import pytest

from or_stream import (
    BadRequest,
    Overloaded,
    ProviderUnavailable,
    RateLimited,
    ServerFailed,
    StreamFailed,
    StreamTruncated,
)
from or_stream.batching.pacing import Gate, Stopped, is_refusal
from or_stream.batching.pacing._gate import limiter_of


def gate(account="here key", **options):
    defaults = {"requests_per_minute": None, "tokens_per_minute": None, "longest_wait_seconds": 60}
    return Gate(account, **{**defaults, **options})


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (RateLimited("x", status=429), True),
        (Overloaded("x", status=529), True),
        (StreamFailed("x", status=429), True),
        (StreamFailed("x", error_type="rate_limit_exceeded"), True),
        (ServerFailed("x", status=500, error_type="provider_overloaded"), True),
        (StreamFailed("x", status=502), False),
        (ProviderUnavailable("x", status=503), False),
        (BadRequest("x", status=400), False),
        (StreamTruncated("x"), False),
    ],
)
def test_refusals(error, answer):
    """Too many requests are what a status, a body or a stream says they are."""
    assert is_refusal(error) is answer


def test_one_limiter_for_a_key_and_a_model():
    """Two runs with one key share what they find out about a model, and nothing else."""
    one = limiter_of("a", "m", is_capped=False)
    assert one is limiter_of("a", "m", is_capped=False)
    assert one is not limiter_of("a", "n", is_capped=False)
    assert one is not limiter_of("b", "m", is_capped=False)


@pytest.mark.parametrize(
    ("model", "is_capped", "per_minute"), [("m:free", False, 20), ("m:free", True, 6000), ("m", False, 6000)]
)
def test_free_models(model, is_capped, per_minute):
    """A free model starts at its documented limit, unless the caller knows better."""
    assert limiter_of("a", model, is_capped=is_capped).requests_per_minute == per_minute


async def test_refusal_of_one_run_stops_the_other():
    """The gate is common: what one run is told, another one heeds."""
    one, other = gate(), gate()
    _, sent_at = None, (await one.enter("m"))[0]
    one.failed("m", RateLimited("x", status=429, retry_after=50), sent_at)
    waiting = asyncio.ensure_future(other.enter("m"))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    other.stop()
    with pytest.raises(Stopped):
        await waiting


async def test_unavailable_with_a_time_shuts():
    """503 with Retry-After shuts the gate, without it shuts nothing."""
    one = gate()
    sent_at, _ = await one.enter("m")
    one.failed("m", ProviderUnavailable("x", status=503), sent_at)
    await asyncio.wait_for(one.enter("m"), 1)
    one.failed("m", ProviderUnavailable("x", status=503, retry_after=1000), sent_at)
    with pytest.raises(ProviderUnavailable):
        await one.enter("m")


async def test_longer_than_allowed():
    """A server that wants a longer wait than is allowed is not waited for: its refusal is raised."""
    one = gate()
    sent_at, _ = await one.enter("m")
    refusal = RateLimited("come back tomorrow", status=429, retry_after=86_400)
    one.failed("m", refusal, sent_at)
    with pytest.raises(RateLimited, match="tomorrow"):
        await one.enter("m")


async def test_requests_per_minute():
    """The cap of a run holds for all its models together."""
    one = gate(requests_per_minute=600)
    first, _ = await one.enter("m")
    second, _ = await one.enter("n")
    assert 0.09 < second - first < 1


async def test_tokens_per_minute():
    """What a request took is held against the next."""
    one = gate(tokens_per_minute=60_000)
    first, expected = await one.enter("m")
    one.spent(expected, 200)
    second, expected = await one.enter("m")
    assert expected == 200
    assert 0.19 < second - first < 1


async def test_stop_wakes_who_waits():
    """A pause ends with the run."""
    one = gate()
    pausing = asyncio.ensure_future(one.pause(50))
    await asyncio.sleep(0)
    one.stop()
    with pytest.raises(Stopped):
        await pausing
    with pytest.raises(Stopped):
        await one.enter("m")
