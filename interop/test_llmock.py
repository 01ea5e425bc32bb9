"""llmock: an OpenAI-shaped server that breaks on demand and judges, from its side of the wire, how the client took it."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from counterparties import binary, free_port, running

from or_stream import (
    AuthenticationFailed,
    BadRequest,
    Client,
    NotFound,
    PayloadTooLarge,
    PermissionDenied,
    ProtocolViolation,
    ProviderUnavailable,
    RateLimited,
    RequestTimeout,
    Restart,
    RetryPolicy,
    ServerFailed,
    StreamTimeout,
    StreamTruncated,
    TextDelta,
    Timeouts,
)
from or_stream.client import ChatStream

QUICK = RetryPolicy(base_seconds=0.05)
RESTARTING = RetryPolicy(base_seconds=0.05, restart=True)


def serve(folder: Path, *options: str) -> Iterator[str]:
    port = free_port()
    command = [binary("llmock"), "serve", "--host", "127.0.0.1", "--port", str(port), "--stream-chunk-delay-ms", "5", *options]
    with running(command, port, folder, environment={"PATH": os.environ["PATH"], "NO_COLOR": "1"}):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield from serve(tmp_path_factory.mktemp("llmock"), "--rpm", "300")


@pytest.fixture
def busy_address(tmp_path: Path) -> Iterator[str]:
    """A server with a quota of one request a second, and sixty to begin with."""
    yield from serve(tmp_path, "--rpm", "60")


class Judge:
    """llmock's control API."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._control, self._session = f"{address}/_llmock", session

    async def reset(self) -> None:
        (await self._session.post(f"{self._control}/reset")).raise_for_status()

    async def plan(self, *behaviors: dict[str, Any]) -> None:
        """What befalls the next requests."""
        (await self._session.post(f"{self._control}/scenario", json={"behaviors": behaviors})).raise_for_status()

    async def requests(self) -> list[dict[str, Any]]:
        document = await (await self._session.get(f"{self._control}/requests")).json()
        return list(document["requests"])

    async def verdict(self) -> str:
        return await (await self._session.get(f"{self._control}/verdict", params={"format": "text"})).text()


@pytest.fixture
async def judge(address) -> AsyncIterator[Judge]:
    async with aiohttp.ClientSession() as session:
        made = Judge(address, session)
        await made.reset()
        yield made


@pytest.fixture
async def client(address) -> AsyncIterator[Client]:
    async with Client(base_url=f"{address}/v1", api_key="sk-interop", retry=QUICK) as made:
        yield made


def ask(client: Client, **options: Any) -> ChatStream:
    return client.stream("hello", model="gpt-4o", **options)


def fail(status: int, **fields: Any) -> dict[str, Any]:
    return {"type": "fail", "status": status, **fields}


def fault(kind: str, after_chunks: int, **fields: Any) -> dict[str, Any]:
    return {"type": "stream_fault", "kind": kind, "after_chunks": after_chunks, **fields}


async def test_a_stream_of_another_make_is_read(client, judge):
    """Text and finish of a server that knows nothing of OpenRouter."""
    message = await ask(client).final()
    assert message.text == "Simulated answer from gpt-4o for 'hello'."
    assert (message.finish_reason, message.status) == ("stop", "complete")
    assert "PASS" in await judge.verdict()


async def test_usage_of_another_make_is_read(client, judge):
    """`stream_options.include_usage`, OpenAI's way, passes through and its chunk is counted."""
    message = await ask(client, extra_body={"stream_options": {"include_usage": True}}).final()
    assert message.usage is not None
    assert message.usage.completion_tokens


async def test_tool_calls_of_another_make_are_read(client, judge):
    """A tool call in fragments comes out whole."""
    await judge.plan({"type": "reply", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]})
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": parameters}}
    message = await ask(client, tools=[tool]).final()
    assert [(call.name, call.json()) for call in message.tool_calls] == [("get_weather", {"city": "Paris"})]
    assert message.finish_reason == "tool_calls"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 529])
async def test_a_passing_failure_is_tried_again(client, judge, status):
    """Each status that may pass is followed by a second request that succeeds, and the judge passes it."""
    await judge.plan(fail(status, retry_after=0.2))
    stream = ask(client)
    assert (await stream.final()).text
    assert stream.stats.attempts == 2
    assert "PASS" in await judge.verdict()


async def test_retry_after_is_waited_for(client, judge):
    """No request comes sooner than the server asked for, twice over."""
    await judge.plan(fail(429, retry_after=1.5), fail(503, retry_after=0.5))
    stream = ask(client)
    await stream.final()
    assert stream.stats.attempts == 3
    assert stream.stats.seconds >= 2.0
    assert "PASS" in await judge.verdict()


STATUSES = {
    400: BadRequest,
    401: AuthenticationFailed,
    403: PermissionDenied,
    404: NotFound,
    413: PayloadTooLarge,
    422: BadRequest,
}


@pytest.mark.parametrize("status", STATUSES)
async def test_a_lasting_failure_is_not_tried_again(client, judge, status):
    """One request, the right class, and the server's own words."""
    await judge.plan(fail(status, message="the lamp is out", code="lamp_out"))
    with pytest.raises(STATUSES[status], match="the lamp is out") as caught:
        await ask(client).final()
    assert (caught.value.code, caught.value.attempts) == ("lamp_out", 1)
    assert "PASS" in await judge.verdict()


PASSING = {408: RequestTimeout, 429: RateLimited, 500: ServerFailed, 503: ProviderUnavailable}


@pytest.mark.parametrize("status", PASSING)
async def test_a_failure_that_stays_is_raised_after_three_requests(client, judge, status):
    """The class of the status, after three requests; the judge finds that in order. After a 500 the catalogue is asked, too."""
    await judge.plan(fail(status, retry_after=0.1, times=20))
    with pytest.raises(PASSING[status]) as caught:
        await ask(client).final()
    assert caught.value.attempts == 3
    assert "PASS" in await judge.verdict()


async def test_a_wait_beyond_the_cap_is_raised_at_once(client, judge):
    """A server that asks for an hour is not waited for."""
    await judge.plan(fail(429, retry_after=3600))
    with pytest.raises(RateLimited) as caught:
        await ask(client).final()
    assert (caught.value.retry_after, caught.value.attempts) == (3600, 1)


@pytest.mark.parametrize("kind", ["disconnect", "truncate"])
async def test_a_broken_stream_is_a_truncation(client, judge, kind):
    """A dropped connection, and a clean end without a finish, are StreamTruncated with what came; asking again is right."""
    await judge.plan(fault(kind, 3))
    with pytest.raises(StreamTruncated) as caught:
        await ask(client).final()
    assert caught.value.partial.text == "Simulated answer "
    assert caught.value.partial.status == "truncated"
    assert caught.value.retryable
    assert (await ask(client).final()).text.endswith("'hello'.")
    assert "PASS" in await judge.verdict()


@pytest.mark.parametrize("kind", ["disconnect", "truncate"])
async def test_a_broken_stream_starts_over_where_wanted(client, judge, kind):
    """With `restart` the stream goes on with a second request, behind an event that says so, and the judge passes it."""
    await judge.plan(fault(kind, 3))
    events = [event async for event in ask(client, retry=RESTARTING)]
    restarts = [index for index, event in enumerate(events) if isinstance(event, Restart)]
    assert len(restarts) == 1
    words = [event.text for event in events[restarts[0] :] if isinstance(event, TextDelta)]
    assert "".join(words) == "Simulated answer from gpt-4o for 'hello'."
    assert "PASS" in await judge.verdict()


@pytest.mark.parametrize("kind", ["disconnect", "truncate"])
async def test_a_stream_that_breaks_before_its_first_chunk_is_tried_again(client, judge, kind):
    """Nothing has been handed out, so that a second request repeats nothing."""
    await judge.plan(fault(kind, 0))
    stream = ask(client)
    assert (await stream.final()).text == "Simulated answer from gpt-4o for 'hello'."
    assert stream.stats.attempts == 2
    assert "PASS" in await judge.verdict()


async def test_a_malformed_chunk_is_a_protocol_violation(client, judge):
    """A chunk that is no JSON ends the stream with what came before it; the judge, who cannot see that, only warns."""
    await judge.plan(fault("malformed", 3))
    with pytest.raises(ProtocolViolation) as caught:
        await ask(client).final()
    assert caught.value.partial.text == "Simulated answer "
    assert "0 error(s)" in await judge.verdict()


async def test_a_stall_is_an_idle_timeout(client, judge):
    """A silence longer than `idle` ends the stream, and the judge sees the client leave in time."""
    await judge.plan(fault("stall", 3, stall_seconds=20))
    with pytest.raises(StreamTimeout) as caught:
        await ask(client, timeouts=Timeouts(idle=0.4)).final()
    assert caught.value.phase == "idle"
    assert caught.value.partial.text == "Simulated answer "
    assert "PASS" in await judge.verdict()


async def test_a_stall_shorter_than_idle_is_sat_out(client, judge):
    """A pause that the clocks allow loses nothing."""
    await judge.plan(fault("stall", 3, stall_seconds=0.4))
    assert (await ask(client, timeouts=Timeouts(idle=10)).final()).text == "Simulated answer from gpt-4o for 'hello'."


async def test_a_slow_first_token_is_waited_for(client, judge):
    """Only `first_content` rules the time to the first token, not `idle`."""
    await judge.plan({"type": "slow_first_token", "seconds": 1})
    stream = ask(client, timeouts=Timeouts(first_content=10, idle=0.3))
    assert (await stream.final()).text
    assert stream.stats.seconds_to_first_content >= 1


async def test_a_first_token_too_slow_is_a_timeout(client, judge):
    """`first_content` runs out although the headers came."""
    await judge.plan({"type": "slow_first_token", "seconds": 20})
    with pytest.raises(StreamTimeout) as caught:
        await ask(client, timeouts=Timeouts(first_content=0.4)).final()
    assert caught.value.phase == "first_content"


async def test_the_total_clock_ends_a_slow_answer(client, judge):
    """`total` counts the wait for the headers too."""
    await judge.plan({"type": "delay", "seconds": 20})
    with pytest.raises(StreamTimeout) as caught:
        await ask(client, timeouts=Timeouts(total=0.4)).final()
    assert caught.value.phase == "total"


async def test_a_real_quota_is_kept_to_by_many_at_once(busy_address):
    """Seventy at once on a quota of sixty: the refused wait as they are told, all succeed, and the judge passes them."""
    retry = RetryPolicy(attempts=10, base_seconds=0.5)
    async with Client(base_url=f"{busy_address}/v1", api_key="sk-interop", retry=retry) as client:
        streams = [client.stream(f"question {number}", model="gpt-4o") for number in range(70)]
        messages = await asyncio.gather(*(stream.final() for stream in streams))
    assert all(message.status == "complete" for message in messages)
    assert sum(stream.stats.attempts > 1 for stream in streams) >= 1
    async with aiohttp.ClientSession() as session:
        assert "PASS" in await Judge(busy_address, session).verdict()
