"""The examples of web backends, served as their last lines do it, against the emulator."""

import asyncio
import json

import aiohttp
import pytest

from or_stream.emulator import scenarios
from or_stream.sse import SSEParser
from support.examples import load_example


@pytest.fixture
def loaded(emulator, monkeypatch):
    """Gives an example as a module, with the emulator as its provider."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "test")
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    return load_example


async def events_of(response):
    assert response.status == 200
    return [event.data if event.data == "[DONE]" else event.json() for event in SSEParser().feed(await response.read())]


async def test_fastapi_chat(emulator, loaded, serve_asgi, browser):
    """The body is that of `useChat`, with a picture of each side, and the answer has text and a picture."""
    emulator.play("image-with-text")
    picture = {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AAAA"}
    messages = [
        {"id": "1", "role": "user", "parts": [{"type": "text", "text": "Draw"}, picture]},
        {
            "id": "2",
            "role": "assistant",
            "parts": [{"type": "step-start"}, {"type": "text", "text": "Here", "state": "done"}, picture],
        },
        {"id": "3", "role": "user", "parts": [{"type": "text", "text": "Again"}]},
    ]
    url = await serve_asgi(loaded("fastapi_chat.py").app)
    async with browser.post(f"{url}/api/chat", json={"id": "c", "messages": messages, "trigger": "submit-message"}) as response:
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        parts = await events_of(response)
    assert {"text-delta", "file"} <= {part["type"] for part in parts[:-1]}
    image = {"type": "image_url", "image_url": {"url": picture["url"]}}
    assert emulator.requests[0].body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Draw"}, image]},
        {"role": "assistant", "content": "Here", "images": [image]},
        {"role": "user", "content": "Again"},
    ]


async def test_fastapi_images(emulator, loaded, serve_asgi, browser):
    """The page is there, and the picture is at the address that its beginning says."""
    emulator.play("image-with-text")
    url = await serve_asgi(loaded("fastapi_images.py").app)
    async with browser.get(url) as response:
        assert "EventSource" in await response.text()
    async with browser.get(f"{url}/draw", params={"prompt": "a lamp"}) as response:
        [start] = [event for event in await events_of(response) if event["type"] == "image_start"]
    async with browser.get(url + start["url"]) as response:
        assert (response.status, response.content_type, (await response.read())[1:4]) == (200, "image/png", b"PNG")


@pytest.fixture
async def relay_url(loaded, serve_app):
    return await serve_app(loaded("aiohttp_relay.py").app) + "/v1/chat/completions"


async def test_aiohttp_relay(emulator, relay_url, browser):
    """What an OpenAI client asks for reaches the provider, under the key of the server."""
    emulator.play("text")
    asked = {"model": "a/model", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    async with browser.post(relay_url, json=asked, headers={"Authorization": "Bearer theirs"}) as response:
        chunks = await events_of(response)
    assert chunks[-1] == "[DONE]"
    [request] = emulator.requests
    assert (request.body["model"], request.headers["authorization"]) == ("a/model", "Bearer test")


async def test_aiohttp_relay_says_it_in_its_own_words(emulator, relay_url, browser):
    """An error that it knows, and a request that it does not serve."""
    emulator.play(scenarios.rate_limited(3600))
    async with browser.post(relay_url, json={"messages": [{"role": "user", "content": "hi"}], "stream": True}) as response:
        assert (response.status, (await response.json())["error"]["message"]) == (
            429,
            "So many guests today! Come back in a minute.",
        )
    for body in (b'{"messages": [{"role": "user", "content": "hi"}]}', b'{"messages": [], "stream": true}', b"nonsense", b"[]"):
        async with browser.post(relay_url, data=body) as response:
            assert (body, response.status) == (body, 400)


@pytest.mark.parametrize("leaves", [False, True])
async def test_starlette_journal(emulator, loaded, serve_asgi, tmp_path, leaves):
    """There is a line for an answer that was read to its end, and for one that was left."""
    example = loaded("starlette_journal.py")
    example.JOURNAL = tmp_path / "journal.jsonl"
    emulator.play(scenarios.silence("The lamp") if leaves else "text")
    async with aiohttp.request("POST", await serve_asgi(example.app) + "/api/chat", data="a lamp") as response:
        await (response.content.readany() if leaves else response.read())
    async with asyncio.timeout(5):
        while not example.JOURNAL.exists():  # noqa: ASYNC110  # the example has no event for it
            await asyncio.sleep(0.01)
    [line] = example.JOURNAL.read_text().splitlines()
    entry = json.loads(line)
    assert entry["prompt"] == "a lamp"
    assert (entry["status"], entry["text"]) == (("cancelled", "The lamp") if leaves else ("complete", scenarios.TEXT))
    assert entry["id"] == emulator.requests[0].generation_id
