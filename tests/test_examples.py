"""The examples, run as a user runs them: as programs, against the emulator, with nothing on standard error."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from or_stream import Conversation, Image
from or_stream.emulator import Emulator, WaitFor, scenarios

EXAMPLES = Path(__file__).parents[1] / "examples"
LINES_AT_MOST = 40
BACKEND_LINES_AT_MOST = 60
WEB_FRAMEWORKS = ("aiohttp_", "fastapi_", "starlette_")


def start(name: str, emulator: Emulator, folder: Path):
    """The example as a process of its own, in which every warning is an error."""
    environment = {**os.environ, "OPENROUTER_API_KEY": "test", "OPENROUTER_BASE_URL": emulator.base_url}
    environment["PYTHONIOENCODING"] = "utf-8"
    return asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLES / name),
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def output_of(process: asyncio.subprocess.Process) -> str:
    output, errors = await process.communicate()
    assert (b"", 0) == (errors, process.returncode)
    return output.decode()


async def run(name: str, emulator: Emulator, folder: Path) -> str:
    return await output_of(await start(name, emulator, folder))


def image_types(folder: Path) -> list[bytes]:
    return [path.read_bytes()[1:4] for path in sorted((folder / "out").iterdir())]


async def test_stream_text_and_image(emulator, tmp_path):
    """Text is shown, a picture announced and saved under the name that is printed."""
    output = await run("stream_text_and_image.py", emulator, tmp_path)
    saved = Path("out", "lighthouse-0.png")
    assert output.startswith("Here is what I made of “Draw a lighthouse at dusk, then describe it”")
    assert f"\n[a picture begins: image/png]\n[saved {saved}, 1024x1024]\n" in output
    assert re.search(r"\n\[cost: \$0\.0\d+\]\n\Z", output)
    assert image_types(tmp_path) == [b"PNG"]


async def test_collect_message(emulator, tmp_path):
    """Text and pictures come out in the order in which they were made."""
    output = (await run("collect_message.py", emulator, tmp_path)).splitlines()
    assert [bool(line.startswith("![](")) for line in output if line] == [False, True, False, True, False, False]
    assert output[-1] == "google/gemini-2.5-flash-image by Google, stop"
    assert image_types(tmp_path) == [b"PNG", b"PNG"]


async def test_edit_picture_in_two_turns(emulator, tmp_path):
    """The second request has the first answer in it, with its picture and its reasoning details untouched."""
    details = [{"type": "reasoning.text", "text": "A village.", "signature": "Eq==", "format": "google-gemini-v1", "index": 0}]
    body = scenarios.text_and_images().body().replace(b'"content":"Here"', b'"content":"Here","reasoning_details":DETAILS')
    emulator.play(scenarios.replay(body.replace(b"DETAILS", str(details).replace("'", '"').encode())))
    output = await run("edit_picture_in_two_turns.py", emulator, tmp_path)
    user, assistant, request = emulator.requests[1].body["messages"]
    assert [user["content"], request["content"]] == ["Draw a fishing village", "Now make it night"]
    assert assistant["reasoning_details"] == details
    *saved, conversation = [line.rpartition(": ")[2] for line in output.splitlines()]
    assert assistant["images"][0]["image_url"]["url"] == Image.from_file(tmp_path / saved[0]).data_url()
    assert len(Conversation.load(tmp_path / conversation)) == len(saved) == 2


async def test_many_at_once(emulator, tmp_path):
    """All 64 requests are open at the same time, and one that fails does not end the others."""
    gate = asyncio.Event()
    emulator.play(scenarios.refused(402).after(WaitFor(gate)))
    emulator.play(scenarios.text_and_images().after(WaitFor(gate)), times=63)
    process = await start("many_at_once.py", emulator, tmp_path)
    async with asyncio.timeout(60):
        await emulator.received(64)
    assert emulator.active == 64
    gate.set()
    assert re.fullmatch(r"63 of 64 answered, 63 pictures in out/, \$\d+\.\d\d\n", await output_of(process))
    assert len(image_types(tmp_path)) == 63


async def test_handle_errors(emulator, tmp_path):
    """Each failure is told apart, what had come is kept, and a stream that is left early ends at the server too."""
    emulator.play(scenarios.midstream_error(), scenarios.text_for_ever())
    nothing, failed, left = (await run("handle_errors.py", emulator, tmp_path)).splitlines()
    assert nothing == "nothing was sent: the prompt is empty: say what to generate"
    assert failed == "StreamFailed after 1 requests, kept 'The lamp turns, and the sea answers.'"
    assert left.startswith("left: cancelled, had ")
    assert left.endswith(emulator.requests[1].generation_id)
    async with asyncio.timeout(10):
        await emulator.requests[1].disconnected.wait()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_example_is_short(path):
    """An example has at most 40 lines, a web backend 60, and says in its first what its one idea is."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= (BACKEND_LINES_AT_MOST if path.name.startswith(WEB_FRAMEWORKS) else LINES_AT_MOST)
    assert lines[0].startswith('"""')


def test_every_example_is_run():
    """No example is without a test."""
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.rglob("test_*.py"))
    assert [] == [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in tests]
