"""haproxy: joins events into one read, cuts by its own clocks, refuses in HTML."""

import asyncio

import pytest
from counterparties import closed_port, haproxy

from or_stream import ProviderUnavailable, RateLimited, RequestTimeout, RetryPolicy, StreamTruncated
from or_stream.emulator import Close, Comment, Repeat, Reset, Scenario, Stall, Wait, WaitFor, scenarios

TEXT = "The lamp turns above the grey sea"
IMAGE_BYTES = 1_500_000


async def test_text_and_images_come_through_unharmed(emulator, client_of, tmp_path):
    """However haproxy joins or splits them, text and images are those that were sent, and the usage too."""
    emulator.play(scenarios.text_and_images(2, IMAGE_BYTES).cut(1000), times=2)
    direct = await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    with haproxy(tmp_path, emulator.port) as address:
        message = await client_of(address).generate("hi")
    assert (message.text, message.images, message.usage) == (direct.text, direct.images, direct.usage)


async def test_first_words_come_before_the_answer_is_made(emulator, client_of, tmp_path):
    """haproxy may be late with an event, but does not wait for the next."""
    gate = asyncio.Event()
    first, *rest = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, WaitFor(gate), *rest)))
    with haproxy(tmp_path, emulator.port) as address:
        async with asyncio.timeout(10), client_of(address).stream("hi") as stream:
            words = aiter(stream.text)
            assert await anext(words) == "The"
            gate.set()
            assert "".join([word async for word in words]) == TEXT.removeprefix("The")


@pytest.mark.parametrize("end", [Stall(), Close(), Reset()], ids=["timeout server", "closed", "reset"])
async def test_an_answer_that_breaks_is_a_truncation(emulator, client_of, tmp_path, end):
    """A silence that `timeout server` cuts, or a server that goes away, is a StreamTruncated with what had come."""
    first, second, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, second, end)))
    with haproxy(tmp_path, emulator.port, "timeout server 1s") as address:
        with pytest.raises(StreamTruncated) as caught:
            await client_of(address).generate("hi")
    assert caught.value.partial.text == "The lamp"
    assert caught.value.retryable


async def test_silence_before_the_answer_is_a_request_timeout(emulator, client_of, tmp_path):
    """504 in HTML."""
    emulator.play(scenarios.text(TEXT).after(Stall()))
    with haproxy(tmp_path, emulator.port, "timeout server 1s") as address:
        with pytest.raises(RequestTimeout) as caught:
            await client_of(address).generate("hi")
    assert caught.value.status == 504


async def test_nobody_behind_it_is_provider_unavailable(client_of, tmp_path):
    """503 in HTML."""
    with closed_port() as port, haproxy(tmp_path, port) as address:
        with pytest.raises(ProviderUnavailable) as caught:
            await client_of(address).generate("hi")
    assert caught.value.status == 503
    assert "503 Service Unavailable" in str(caught.value)
    assert caught.value.retryable


async def test_a_server_that_leaves_before_its_answer_is_provider_unavailable(emulator, client_of, tmp_path):
    """502 in HTML."""
    emulator.play(scenarios.text(TEXT).after(Close()))
    with haproxy(tmp_path, emulator.port) as address:
        with pytest.raises(ProviderUnavailable) as caught:
            await client_of(address).generate("hi")
    assert caught.value.status == 502


async def test_a_denied_request_is_rate_limited_and_tried_again_when_told(emulator, client_of, tmp_path):
    """`deny_status 429` with a Retry-After: the hint is in the error, and rules the wait."""
    lines = 'http-request return status 429 content-type text/html string "<h1>Too Many</h1>" hdr Retry-After 1'
    with haproxy(tmp_path, emulator.port, lines) as address:
        with pytest.raises(RateLimited) as caught:
            await client_of(address).generate("hi")
        assert caught.value.retry_after == 1
        async with asyncio.timeout(10):
            with pytest.raises(RateLimited) as caught:
                await client_of(address, retry=RetryPolicy(attempts=2, base_seconds=0)).generate("hi")
    assert caught.value.attempts == 2
    assert emulator.requests == []


async def test_a_queue_that_is_full_too_long_is_provider_unavailable(emulator, client_of, tmp_path):
    """One request at a time, and no patience: the second is refused with 503, and succeeds when tried again."""
    gate = asyncio.Event()
    emulator.play(Scenario((WaitFor(gate), *scenarios.text("first").steps)), scenarios.text("second"))
    lines = "timeout queue 200ms\n    default-server maxconn 1"
    with haproxy(tmp_path, emulator.port, lines) as address:
        client = client_of(address)
        first = asyncio.ensure_future(client.generate("hi"))
        await emulator.received(1)
        with pytest.raises(ProviderUnavailable):
            await client.generate("hi")
        gate.set()
        assert (await first).text == "first"
        assert (await client.generate("hi")).text == "second"


async def test_leaving_reaches_the_provider_through_haproxy(emulator, client_of, tmp_path):
    """A stream that is left ends the generation behind haproxy once the provider says anything, if only a comment."""
    first, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, Repeat((Wait(0.1), Comment())))))
    with haproxy(tmp_path, emulator.port) as address:
        async with asyncio.timeout(10):
            async with client_of(address).stream("hi"):
                pass
            await emulator.requests[0].disconnected.wait()


async def test_many_streams_at_once_keep_to_themselves(emulator, client_of, tmp_path):
    """Sixty-four at once through one haproxy, each with its own answer."""
    emulator.script = lambda request: scenarios.text(f"answer to {request.body['messages'][0]['content']}")
    with haproxy(tmp_path, emulator.port) as address:
        client = client_of(address)
        messages = await asyncio.gather(*(client.generate(f"question {number}") for number in range(64)))
    assert [message.text for message in messages] == [f"answer to question {number}" for number in range(64)]
