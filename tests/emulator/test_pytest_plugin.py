"""The fixture `openrouter`, in projects of strangers: pytest in a process of its own, with tests as they would write them."""

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

# Where or_stream is installed, its entry point loads the plugin; in a bare checkout it has to be named.
INSTALLED = bool(entry_points(group="pytest11", name="or_stream"))
# A leak is an error. What starlette would rather see installed is not ours to say.
WARNINGS = ["-W", "error", "-W", "ignore:Using `httpx` with"]
OPTIONS = ["-q", *WARNINGS, "-p", "no:cacheprovider", *([] if INSTALLED else ["-p", "pytest_or_stream"])]
SECONDS_AT_MOST = 60

FASTAPI = """
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
import or_stream

app = FastAPI()

@app.post("/posters")
async def poster(about: str):
    async def words():
        async with or_stream.stream(f"Draw {about}", model="google/gemini-3.1-flash-image") as answer:
            async for text in answer.text:
                yield text
    return StreamingResponse(words(), media_type="text/plain")

@pytest.mark.parametrize("about", ["a boat", "a lamp"])
def test_poster(openrouter, about):
    openrouter.play("text-and-images")
    assert TestClient(app).post("/posters", params={"about": about}).text == "Here you go: picture 1."
    openrouter.assert_requested(prompt=about, modalities=["image", "text"], times=1)
    assert openrouter.bill.total > 0

def test_poster_without_credit(openrouter):
    openrouter.credits = 0
    with pytest.raises(or_stream.PaymentRequired):
        TestClient(app).post("/posters", params={"about": "a boat"})
"""

AIOHTTP = """
import os
import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from or_stream.emulator import Stall, scenarios

async def chat(request):
    headers = {"Authorization": "Bearer " + os.environ["OPENROUTER_API_KEY"]}
    url = os.environ["OPENROUTER_BASE_URL"] + "/chat/completions"
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.post(url, json={"model": "openai/gpt-5.4-mini", "prompt": await request.text()}) as answer:
            return web.json_response(await answer.json(), status=answer.status)

@pytest_asyncio.fixture
async def client():
    app = web.Application()
    app.router.add_post("/chat", chat)
    async with TestClient(TestServer(app)) as client:
        yield client

@pytest.mark.asyncio
async def test_chat(openrouter, client):
    async with client.post("/chat", data="Is the lamp lit?") as response:
        body = await response.json()
    assert "Is the lamp lit?" in body["choices"][0]["message"]["content"]
    assert openrouter.bill[body["id"]].cost == body["usage"]["cost"]

@pytest.mark.asyncio
@pytest.mark.openrouter(api_key="another")
async def test_options(openrouter, client):
    async with client.post("/chat", data="hi") as response:
        assert response.status == 401
"""

PLAIN = """
import asyncio
import os
import anyio
import pytest
import or_stream
from or_stream.emulator import Emulator

def test_asyncio_run(openrouter):
    openrouter.play("text")
    message = asyncio.run(or_stream.generate("hi"))
    assert message.text == "The lamp turns, and the sea answers."
    assert openrouter.last_request.generation_id == message.id

@pytest.mark.anyio
async def test_anyio(openrouter):
    openrouter.play("text-for-ever")
    async with or_stream.stream("hi") as stream:
        async for _ in stream.text:
            break
    with anyio.fail_after(10):
        await openrouter.last_request.disconnected.wait()

@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("number", [1, 2])
async def test_a_loop_for_all_tests(openrouter, number):
    assert str(number) in (await or_stream.generate(f"lamp {number}", modalities=["text"])).text
    openrouter.assert_requested(times=1)

@pytest.fixture
def anyio_backend():
    return "asyncio"

def test_the_environment_is_as_it_was():
    assert "OPENROUTER_BASE_URL" not in os.environ
    assert "OPENROUTER_API_KEY" not in os.environ

def test_a_failure_is_readable(openrouter):
    asyncio.run(or_stream.generate("hi", model="openai/gpt-5.4-mini", modalities=["text"]))
    openrouter.assert_requested(model="openai/gpt-5.4")
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [sys.executable, "-m", "pytest", *OPTIONS, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS_AT_MOST, check=False)


@pytest.mark.parametrize(
    ("project", "passed", "failed"),
    [(FASTAPI, 3, 0), (AIOHTTP, 2, 0), (PLAIN, 5, 1)],
    ids=["fastapi", "aiohttp", "asyncio-and-anyio"],
)
def test_a_project_of_a_stranger(tmp_path, project, passed, failed):
    """Synchronous tests of an ASGI application, tests in a loop of theirs, and tests with neither."""
    (tmp_path / "test_theirs.py").write_text(project)
    done = run_pytest(tmp_path)
    assert f"{f'{failed} failed, ' if failed else ''}{passed} passed" in done.stdout, done.stdout + done.stderr
    if failed:
        assert "no such request among 1: model='openai/gpt-5.4'" in done.stdout
        assert "1. POST /chat/completions: model is 'openai/gpt-5.4-mini'" in done.stdout


def test_pytest_alone(tmp_path):
    """Without a plugin for asyncio, and without configuration, a project has nothing but pytest and or_stream."""
    (tmp_path / "test_theirs.py").write_text(PLAIN[: PLAIN.index("@pytest.mark.anyio")])
    plugins = ("asyncio", "anyio", "aioresponses", "llmock")
    command = [sys.executable, "-m", "pytest", *OPTIONS, *(f"-pno:{name}" for name in plugins)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS_AT_MOST, check=False)
    assert done.stdout.startswith("."), done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_document(tmp_path):
    """The tests in docs/emulator.md pass as they stand."""
    text = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")
    (block,) = [block for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if "def test_" in block]
    (tmp_path / "test_theirs.py").write_text(block)
    done = run_pytest(tmp_path, "-o", "asyncio_mode=auto", "--strict-markers")
    assert f"{block.count('def test_')} passed" in done.stdout, done.stdout + done.stderr


def test_a_run_without_the_fixture_loads_nothing(tmp_path):
    """Neither the package nor aiohttp: whoever has it installed pays nothing where it is not used."""
    (tmp_path / "test_theirs.py").write_text(
        "import sys\ndef test_modules(): assert not {'aiohttp', 'or_stream', 'pydantic'} & set(sys.modules)\n"
    )
    done = run_pytest(tmp_path, "-p", "no:aioresponses", "-p", "no:anyio")
    assert "1 passed" in done.stdout, done.stdout


def test_the_marker_and_the_fixture_are_listed(tmp_path):
    """`--strict-markers` takes it, and --fixtures says what it is."""
    (tmp_path / "test_theirs.py").write_text("import pytest\n@pytest.mark.openrouter(seed=1)\ndef test_one(): pass\n")
    done = run_pytest(tmp_path, "--strict-markers", "--fixtures")
    assert "An emulator of OpenRouter on loopback" in done.stdout, done.stdout + done.stderr
