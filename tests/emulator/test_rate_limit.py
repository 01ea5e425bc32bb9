"""Rate limits: as arithmetic, and as a client meets them."""

import asyncio
import math
import time

import pytest

from or_stream.emulator import Emulator, FixedWindow, TokenBucket
from or_stream.emulator._rate_limit import IN_FLIGHT_SECONDS, Patience, Refusal


def taken(limit, *times):
    return [limit.take(at) is None for at in times]


def test_a_window_takes_so_many_and_no_more():
    """The next one is refused, until the window is over."""
    assert taken(FixedWindow(requests=2, seconds=10), 100, 101, 102, 109.9, 110, 111, 112) == [1, 1, 0, 0, 1, 1, 0]


def test_a_window_begins_with_a_request():
    """A request long after the last window opens one of its own."""
    assert taken(FixedWindow(requests=1, seconds=10), 0, 25, 30, 35) == [1, 1, 0, 1]


def test_a_window_says_when_it_is_over():
    """What is left of it, in whole seconds for the header."""
    window = FixedWindow(requests=1, seconds=10)
    window.take(0)
    refusal = window.take(2.5)
    assert (refusal.limit, refusal.wait_seconds, refusal.retry_after_seconds) == (1, 7.5, 8)


def test_a_bucket_takes_a_burst_and_then_evenly():
    """It starts full, and fills at its rate."""
    assert taken(TokenBucket(requests_per_second=2, burst=3), 0, 0, 0, 0, 0.5, 0.5, 0.9, 1.0) == [1, 1, 1, 0, 1, 0, 0, 1]


def test_a_bucket_does_not_overflow():
    """An hour of rest is worth one burst."""
    assert taken(TokenBucket(requests_per_second=2, burst=2), 0, 3600, 3600, 3600) == [1, 1, 1, 0]


def test_a_bucket_says_when_there_is_a_token():
    """The wait is for one whole token."""
    bucket = TokenBucket(requests_per_second=0.5)
    bucket.take(0)
    assert bucket.take(0.5).wait_seconds == pytest.approx(1.5)


@pytest.mark.parametrize("seconds", [0.001, 0.4, 1.0])
def test_a_header_never_says_too_few_seconds(seconds):
    """Part of a second is a whole one, as the header has no parts."""
    assert Refusal(1, seconds).retry_after_seconds == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda: FixedWindow(requests=0, seconds=1),
        lambda: FixedWindow(requests=1, seconds=0),
        lambda: FixedWindow(requests=1, seconds=math.inf),
        lambda: FixedWindow(requests=1, seconds=math.nan),
        lambda: TokenBucket(requests_per_second=0),
        lambda: TokenBucket(requests_per_second=math.nan),
        lambda: TokenBucket(requests_per_second=1, burst=0),
    ],
)
def test_a_limit_that_takes_nothing_is_an_error(make):
    """It would refuse for ever, and nobody could ask for it by mistake and notice."""
    with pytest.raises(ValueError, match="at"):
        make()


def test_who_waits_is_not_early():
    """A client that comes back when it was told to is only counted as refused."""
    patience = Patience()
    patience.came(0, Refusal(1, 5))
    patience.came(5, None)
    assert (patience.refused, patience.early, patience.refused_early) == (1, 0, 0)


def test_who_does_not_wait_is_early():
    """Refused again or not."""
    patience = Patience()
    patience.came(0, Refusal(1, 5))
    patience.came(1, Refusal(1, 4))
    patience.came(2, None)
    assert (patience.refused, patience.early, patience.refused_early) == (2, 2, 1)


def test_what_was_on_its_way_is_not_early():
    """Requests sent together are refused together, and none of them could have known."""
    patience = Patience()
    for number in range(10):
        patience.came(number * IN_FLIGHT_SECONDS / 10, Refusal(1, 5))
    assert (patience.refused, patience.early) == (10, 0)


async def test_a_refusal_says_when_in_headers_and_body(chat, emulator):
    """Limit, rest and reset, in headers and as strings in the body; Retry-After in seconds; on success nothing."""
    emulator.rate_limit = FixedWindow(requests=1, seconds=60)
    async with chat.post() as response:
        assert not [name for name in response.headers if name.startswith("X-RateLimit")]
    async with chat.post() as response:
        assert (response.status, response.content_type) == (429, "application/json")
        error = (await response.json())["error"]
    hint = error["metadata"]["headers"]
    assert (error["code"], hint["X-RateLimit-Limit"], hint["X-RateLimit-Remaining"]) == (429, "1", "0")
    assert hint == {name: response.headers[name] for name in hint}
    assert response.headers["Retry-After"] == "60"
    assert 58 < int(hint["X-RateLimit-Reset"]) / 1000 - time.time() < 61


async def test_a_refused_request_plays_nothing(chat, emulator):
    """What is queued stays for a request that is taken."""
    emulator.rate_limit = FixedWindow(requests=1, seconds=60)
    await chat.read()
    emulator.play("refused-402")
    async with chat.post() as response:
        assert response.status == 429
    emulator.rate_limit = None
    async with chat.post() as response:
        assert response.status == 402


async def test_only_generations_are_limited(session):
    """The catalogue and the key may be asked for as often as one likes."""
    async with Emulator(rate_limit=FixedWindow(requests=1, seconds=60)) as emulator:
        for _ in range(3):
            async with session.get(f"{emulator.base_url}/key") as response:
                assert response.status == 200


async def test_many_at_once_are_refused_and_nobody_is_early(chat, emulator):
    """Sixteen at once meet a limit of four: twelve are refused, none of which could know."""
    emulator.rate_limit = TokenBucket(requests_per_second=0.01, burst=4)

    async def one() -> int:
        async with chat.post() as response:
            await response.read()
            return response.status

    statuses = await asyncio.gather(*(one() for _ in range(16)))
    assert (statuses.count(200), emulator.refused, emulator.refused_early) == (4, 12, 0)


async def test_an_impatient_client_is_found_out(chat, emulator):
    """A second try before the time is over is counted."""
    emulator.rate_limit = FixedWindow(requests=1, seconds=60)
    for wait_seconds in (0, 0, IN_FLIGHT_SECONDS + 0.1):
        await asyncio.sleep(wait_seconds)
        await chat.read()
    assert (emulator.refused, emulator.early, emulator.refused_early) == (2, 1, 1)
