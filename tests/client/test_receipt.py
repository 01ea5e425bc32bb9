"""Receipts: what a stream was and cost, after every way in which it can end."""

import asyncio

import pytest

from or_stream import Client, ConfigurationError, OrStreamError, RetryPolicy, TextDelta, Timeouts, stream
from or_stream.client._client import _client_of_running_loop
from or_stream.emulator import Emulator, scenarios
from support.raw_server import RawServer, answer, head

ONCE = RetryPolicy(attempts=1)
CHUNK = b'data: {"id":"gen-1","model":"a/b","provider":"P","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'


async def left_after_first_text(client, **options):
    """A stream that is left as soon as there is text."""
    generation = client.stream("a lamp", **options)
    async for event in generation:
        if isinstance(event, TextDelta):
            break
    return generation


async def test_complete(emulator, client):
    """A stream that came to its end knows its cost: the service is not asked."""
    generation = client.stream("a lamp")
    message = await generation.final()
    receipt = await generation.receipt()
    assert (message.usage.cost, True, None) == (receipt.cost, receipt.is_settled, receipt.generation)
    assert (message.provider, message.model, "stop", message.native_finish_reason) == (
        receipt.provider,
        receipt.model,
        receipt.finish_reason,
        receipt.native_finish_reason,
    )
    assert (generation.generation_id, "complete") == (receipt.generation_id, receipt.status)
    assert ["POST"] == [request.method for request in emulator.requests]


async def test_left(emulator, client):
    """A stream that was left is settled by the service, which knows that it was cancelled."""
    emulator.play(scenarios.silence("The lamp"))
    generation = await left_after_first_text(client)
    receipt = await generation.receipt()
    entry = emulator.bill[generation.generation_id]
    assert ("cancelled", True, True, entry.cost) == (
        receipt.status,
        receipt.is_settled,
        receipt.generation.cancelled,
        receipt.cost,
    )
    assert (entry.prompt_tokens, entry.completion_tokens) == (receipt.prompt_tokens, receipt.completion_tokens)


async def test_what_it_took(emulator, client):
    """A receipt has all that the stream counted."""
    emulator.play(scenarios.refused(503), scenarios.silence("The lamp"))
    generation = await left_after_first_text(client)
    receipt, stats = await generation.receipt(), generation.stats
    for name in ("seconds_to_headers", "seconds_to_first_content", "seconds", "bytes", "events", "heartbeats", "attempts"):
        assert getattr(stats, name) == getattr(receipt, name)
    assert 2 == receipt.attempts
    assert receipt.bytes


async def test_service_that_lags(key):
    """The service may know of it only a moment later."""
    async with Emulator(generation_delay_seconds=0.3) as emulator, Client(api_key=key, base_url=emulator.base_url) as client:
        emulator.play(scenarios.silence("The lamp"))
        generation = await left_after_first_text(client)
        assert (await generation.receipt()).is_settled


async def test_service_that_lags_too_long(key):
    """When the service still does not know of it, the receipt has what the stream knew, and says so."""
    async with Emulator(generation_delay_seconds=60) as emulator, Client(api_key=key, base_url=emulator.base_url) as client:
        emulator.play(scenarios.silence("The lamp"))
        generation = await left_after_first_text(client)
        receipt = await generation.receipt(wait_seconds=0.2)
    assert (None, False, "cancelled") == (receipt.cost, receipt.is_settled, receipt.status)
    assert "asked" in receipt.unsettled_because
    assert (generation.generation_id, receipt.seconds) == (receipt.generation_id, generation.stats.seconds)


async def ended(client, server_says, service_says):
    """The stream and the receipt where both requests are answered like this."""

    async def play(connection):
        request = await connection.request()
        connection.send(service_says if request.line.startswith("GET") else server_says)
        connection.finish()

    async with RawServer(play) as server, client(server) as running:
        generation = running.stream("a lamp")
        with pytest.raises(OrStreamError):
            await generation.final()
        return generation, await generation.receipt(wait_seconds=0)


SETTLED = answer(b'{"data": {"total_cost": 0.5, "provider_name": "Q", "native_tokens_prompt": 7}}', 200, "application/json")


async def test_cut(client_of):
    """A stream that was cut is settled too; what it said itself wins."""
    generation, receipt = await ended(client_of, head(X_Generation_Id="gen-1") + CHUNK, SETTLED)
    assert ("truncated", 0.5, "P", 7) == (generation.status, receipt.cost, receipt.provider, receipt.prompt_tokens)


async def test_failed_before_the_stream(client_of):
    """A refusal with an id is settled by that id."""
    refused = answer(b'{"error": {"code": 502, "message": "no"}}', 502, "application/json", X_Generation_Id="gen-9")
    _, receipt = await ended(client_of, refused, SETTLED)
    assert ("failed", "gen-9", 0.5) == (receipt.status, receipt.generation_id, receipt.cost)


async def test_failed_without_an_id(client_of):
    """Where the server sent no id there is nothing to ask for, and the receipt says so."""
    _, receipt = await ended(client_of, answer(b"", 500), SETTLED)
    assert (None, False, "failed") == (receipt.cost, receipt.is_settled, receipt.status)
    assert "no generation id" in receipt.unsettled_because


@pytest.mark.parametrize(
    ("says", "because"),
    [
        (answer(b'{"error": {"code": 403, "message": "not yours"}}', 403, "application/json"), "not yours"),
        (answer(b"<html>", 200, "text/html"), "text/html"),
        (answer(b'{"data": {"id": "gen-1"}}', 200, "application/json"), "does not say the cost"),
        (b"", "closed the connection"),
    ],
)
async def test_service_that_fails(client_of, says, because):
    """Whatever goes wrong with the service, there is a receipt, and it says what went wrong."""
    generation, receipt = await ended(client_of, head(X_Generation_Id="gen-1") + CHUNK, says)
    assert because in receipt.unsettled_because
    assert ("a/b", "P", generation.stats.bytes) == (receipt.model, receipt.provider, receipt.bytes)


async def test_timed_out(emulator, client):
    """A stream that a clock ended is settled, and its receipt says that it failed."""
    emulator.play(scenarios.silence("The lamp"))
    generation = client.stream("a lamp", timeouts=Timeouts(idle=0.2))
    with pytest.raises(OrStreamError):
        await generation.final()
    receipt = await generation.receipt()
    assert ("failed", True) == (receipt.status, receipt.is_settled)


async def test_task_cancelled(emulator, client):
    """A stream whose task was cancelled has a receipt."""
    emulator.play(scenarios.silence("The lamp"))
    generation = client.stream("a lamp")
    begun = asyncio.Event()

    async def read():
        async for event in generation:
            if isinstance(event, TextDelta):
                begun.set()

    task = asyncio.ensure_future(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await generation.receipt()).is_settled


async def test_too_early(emulator, client):
    """Before its end a stream has no receipt."""
    generation = client.stream("a lamp")
    with pytest.raises(ConfigurationError, match="pending"):
        await generation.receipt()
    async with generation:
        with pytest.raises(ConfigurationError, match="streaming"):
            await generation.receipt()


@pytest.mark.parametrize("wait_seconds", [-1, float("nan"), "5", None])
async def test_wait_that_is_none(emulator, client, wait_seconds):
    """A time that is none is refused."""
    stream = await left_after_first_text(client)
    with pytest.raises(ConfigurationError, match="wait_seconds must be"):
        await stream.receipt(wait_seconds=wait_seconds)


async def test_never_begun(emulator, client):
    """A stream that was closed before it was sent cost nothing that anybody knows of."""
    generation = client.stream("a lamp")
    await generation.aclose()
    receipt = await generation.receipt()
    assert ("cancelled", False, 0) == (receipt.status, receipt.is_settled, receipt.attempts)
    assert not emulator.requests


async def test_client_closed_meanwhile(emulator, key):
    """After its client was closed a stream still has what it knew itself."""
    async with Client(api_key=key, base_url=emulator.base_url) as client:
        emulator.play(scenarios.silence("The lamp"))
        generation = await left_after_first_text(client)
    receipt = await generation.receipt()
    assert "closed" in receipt.unsettled_because
    assert receipt.bytes


async def test_shared_client(emulator, monkeypatch):
    """A stream without a client of its own asks through the one it was sent with."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "test")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    emulator.play(scenarios.silence("The lamp"))
    generation = stream("a lamp")
    async for event in generation:
        if isinstance(event, TextDelta):
            break
    assert (await generation.receipt()).is_settled
    assert _client_of_running_loop("test", emulator.base_url)._opened_catalog is not None
