"""The key is in no repr, no text of an exception and no log."""

import asyncio
import logging
import traceback
from base64 import b64encode
from urllib.parse import quote_plus

import pytest

from or_stream import Client, OrStreamError, RetryPolicy, stream
from or_stream.emulator import scenarios
from support.raw_server import RawServer, answer, head


def shown(error):
    """Everything that a log or a debugger would show of an exception, local variables included."""
    captured = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(captured.format()) + repr(error) + str(error) + repr(error.args) + repr(error.__dict__.get("partial"))


async def test_reprs(emulator, client, key):
    """Of a client, its transport, a stream, a request, a message, at any moment."""
    generation = client.stream("x", model="emulator/text")
    things = [client, client._transport, generation, generation._request, generation.stats, generation.text, client.__dict__]
    assert all(key not in repr(thing) for thing in things)
    message = await generation.final()
    assert all(key not in repr(thing) for thing in [*things, message, generation.__class__])


def test_repr_of_the_shared_client(monkeypatch, key):
    """Of a stream without a client as well."""
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    generation = stream("x")
    assert key not in repr(generation) + repr(generation._send) + repr(generation._request.headers)


ECHO = "you sent Authorization: Bearer {key}"


@pytest.mark.parametrize(
    "make",
    [
        lambda echo: answer(echo, 401, "text/plain"),
        lambda echo: answer(b'{"error":{"message":"' + echo + b'","code":401}}', 401, "application/json"),
        lambda echo: answer(b'{"error":"' + echo + b'"}', 200, "application/json"),
        lambda echo: answer(echo, 200, "text/html"),
        lambda echo: answer(b"data: " + echo + b"\n\n"),
        lambda echo: answer(b'data: {"error":{"message":"' + echo + b'","code":502}}\n\n'),
        lambda echo: answer(b"", 302, None, Location="http://x/" + echo.decode().replace(" ", "+")),
        lambda echo: echo + b"\r\n\r\n",
        lambda echo: head(200, None, X=echo.decode()),
        lambda echo: b"",
    ],
    ids=[
        "text",
        "json",
        "json 200",
        "html 200",
        "sse not json",
        "sse error",
        "redirect",
        "not HTTP",
        "half an answer",
        "nothing",
    ],
)
async def test_server_that_repeats_the_key(client_of, key, make):
    """What a server says is shown, but not the key that it says again."""

    async def play(connection):
        await connection.request()
        connection.send(make(ECHO.format(key=key).encode()))
        connection.finish()

    async with RawServer(play) as server, client_of(server) as client:
        with pytest.raises(OrStreamError) as caught:
            await client.generate("x", modalities=["text"])
    assert key not in str(caught.value) + repr(caught.value)
    assert key not in "".join(traceback.format_exception(caught.value))


ODD_KEY = "team7.Lamp/Key+42=="


@pytest.mark.parametrize("spelling", [str, str.upper, quote_plus, lambda key: b64encode(key.encode()).decode()])
@pytest.mark.parametrize(
    "make",
    [
        lambda echo: answer(echo, 401, "text/plain"),
        lambda echo: answer(b'{"error":{"message":"%b","code":401}}' % echo, 401, "application/json"),
        lambda echo: answer(b'{"error":{"message":"no","code":"%b","metadata":{"%b":[{"a":"%b"}]}}}' % (echo, echo, echo), 403),
        lambda echo: answer(b'{"error":{"message":"no","metadata":{"raw":"%b","provider_name":"%b"}}}' % (echo, echo), 403),
        lambda echo: answer(b'data: {"error":{"message":"%b","code":502,"metadata":{"a":"%b"}}}\n\n' % (echo, echo)),
        lambda echo: answer(b"data: " + echo + b"\n\n"),
        lambda echo: echo + b"\r\n\r\n",
    ],
)
async def test_key_that_looks_like_none(client_of, make, spelling):
    """A key of a gateway, in any form in which a server might say it again, is in nothing that is printed of an error."""
    said = spelling(ODD_KEY)

    async def play(connection):
        await connection.request()
        connection.send(make(b"your key %b!" % said.encode()))
        connection.finish()

    async with RawServer(play) as server, client_of(server, api_key=ODD_KEY) as client:
        with pytest.raises(OrStreamError) as caught:
            await client.generate("x", modalities=["text"])
    error = caught.value
    printed = [*traceback.format_exception(error), *map(repr, vars(error).values())]
    assert [line for line in printed if said in line or said in line.replace("\\", "")] == []


async def test_traceback_with_local_variables(key):
    """Nor is it in the variables of a traceback, ours or aiohttp's."""
    async with Client(api_key=key, base_url="http://127.0.0.1:1", retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(OrStreamError) as caught:
            await client.generate("x")
    assert key not in shown(caught.value).replace(f"key = '{key}'", "")


async def test_debug_logs(emulator, client, key, caplog):
    """Everything at DEBUG, the event loop's own log included."""
    caplog.set_level(logging.DEBUG)
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 0
    emulator.play(scenarios.refused(401), "midstream-error", "text-and-images")
    for _ in range(2):
        with pytest.raises(OrStreamError):
            await client.generate("x")
    await client.generate("x")
    loop.set_debug(False)
    assert caplog.records
    assert all(key not in record.getMessage() for record in caplog.records)
