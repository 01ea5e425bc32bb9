"""Every block of Python in the README runs as it stands, against the emulator."""

import ast
import asyncio
import inspect
import os
import re
import sys
from pathlib import Path

import aiohttp
import pytest

from or_stream import errors, events
from or_stream.emulator import Emulator
from or_stream.emulator.testing import OpenRouter
from or_stream.sse import SSEParser
from support.web_servers import served_by_aiohttp, served_by_uvicorn

README = Path(__file__).parents[1] / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in BLOCK.finditer(README.read_text(encoding="utf-8"))]
PYTHON = [text for language, text in BLOCKS if language == "python"]
PROGRAM, *SNIPPETS = PYTHON
# How many bytes a picture has, and so its digest, depends on the zlib of the platform.
COMPRESSION = re.compile(r"[\d.]+ [kM]B sha256:\w+")


@pytest.fixture
async def emulator(monkeypatch, tmp_path):
    """The service that the README's blocks find in their environment, and an empty folder to write into."""
    async with Emulator() as emulator:
        monkeypatch.setenv("OPENROUTER_API_KEY", "test")
        monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
        monkeypatch.chdir(tmp_path)
        yield emulator


async def run_snippet(source: str) -> dict[str, object]:
    """Run a block whose `await` stands at the top level, as `python -m asyncio` does; return what it defined."""
    names: dict[str, object] = {"__name__": "readme"}
    running = eval(compile(source, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.isawaitable(running):
        await running
    return names


async def test_first_program(emulator):
    """The program of the first screen prints what stands below it."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        PROGRAM,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    output, complaints = await program.communicate()
    assert (b"", 0) == (complaints, program.returncode)
    promised = BLOCKS[BLOCKS.index(("python", PROGRAM)) + 1]
    assert promised == ("text", COMPRESSION.sub("0.1 MB sha256:ffb9", output.decode()))


@pytest.mark.parametrize("source", SNIPPETS, ids=lambda source: source.splitlines()[-1].strip())
async def test_snippet(emulator, source):
    """A snippet runs; the tests that it defines pass."""
    for name, defined in (await run_snippet(source)).items():
        if name.startswith("test_"):
            await asyncio.to_thread(run_as_a_test, defined)


def run_as_a_test(defined):
    """A test of the README, with the fixture that it takes."""
    with OpenRouter() as openrouter, pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENROUTER_BASE_URL", openrouter.base_url)
        defined(openrouter)


async def test_fastapi_backend(emulator):
    """The first backend of the README answers in the protocol of `useChat`, with a picture that can be fetched."""
    (source,) = (snippet for snippet in SNIPPETS if "FastAPI(" in snippet)
    async with served_by_uvicorn((await run_snippet(source))["app"]) as url, aiohttp.ClientSession() as session:
        async with session.post(f"{url}/api/chat", params={"prompt": "A lamp"}) as response:
            parts = [event.json() for event in SSEParser().feed(await response.read()) if event.data != "[DONE]"]
        assert "".join(part["delta"] for part in parts if part["type"] == "text-delta").startswith(
            "Here is what I made of “A lamp”"
        )
        (picture,) = (part for part in parts if part["type"] == "file")
        async with session.get(url + picture["url"]) as response:
            assert (response.status, response.content_type) == (200, picture["mediaType"])


async def test_aiohttp_backend(emulator):
    """The second answers in chunks of OpenAI."""
    (source,) = (snippet for snippet in SNIPPETS if "web.Application" in snippet)
    async with (
        served_by_aiohttp((await run_snippet(source))["app"]) as url,
        aiohttp.request("POST", f"{url}/v1/chat/completions", data="A lamp") as response,
    ):
        *chunks, done = SSEParser().feed(await response.read())
    text = "".join(event.json()["choices"][0]["delta"].get("content", "") for event in chunks)
    assert (text[:34], done.data) == ("Here is what I made of “A lamp”: a", "[DONE]")


async def test_conversation_is_sent_back(emulator):
    """The conversation of the README sends the first answer back with its picture."""
    (source,) = (snippet for snippet in SNIPPETS if "conversation" in snippet)
    await run_snippet(source)
    roles = [(message["role"], len(message.get("images", ()))) for message in emulator.requests[-1].body["messages"]]
    assert roles == [("user", 0), ("assistant", 1), ("user", 0)]


def test_events_are_all_named():
    """The README names every event that a stream of chat completions can have."""
    text = README.read_text(encoding="utf-8")
    assert [] == [name for name in events.__all__ if name not in ("Event", "ImagePreview") and f"`{name}`" not in text]


def test_errors_are_all_named():
    """The README names every exception that a stream can raise."""
    text = README.read_text(encoding="utf-8")
    assert [] == [name for name in errors.__all__ if name != "TimeoutPhase" and name not in text]
