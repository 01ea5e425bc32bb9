"""docs/emulator.md is true: its program runs, its tables are complete. Its tests are run by test_pytest_plugin.py."""

import ast
import re
from pathlib import Path

from or_stream.emulator import Emulator
from or_stream.emulator.scenarios._options import OPTIONS
from or_stream.emulator.testing import OpenRouter

DOCUMENT = Path(__file__).parents[2] / "docs" / "emulator.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
(TESTS,) = [block for block in BLOCKS if "def test_" in block]
PROGRAM = "".join(block for block in BLOCKS if block != TESTS)


async def test_program(tmp_path, monkeypatch):
    """The blocks under "In a program" and after, one after the other, as one program."""
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "document"}
    running = eval(compile(PROGRAM, str(DOCUMENT), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    await running


def members(thing):
    return {name for name in dir(thing) if not name.startswith("_")}


def test_everything_that_the_fixture_has_is_in_the_table():
    """And nothing that it has not."""
    table = TEXT[TEXT.index("| `openrouter.`") : TEXT.index("Without pytest")]
    first = [row.split("|")[1] for row in table.splitlines()[2:] if row.startswith("|")]
    named = {name for cell in first for name in re.findall(r"`(?:await )?(\w+)", cell)}
    assert named == (members(OpenRouter) | {"api_key"}) - {"start", "close", "emulator"}


def test_every_option_of_a_name_is_in_the_table():
    """And nothing that is none."""
    table = TEXT[TEXT.index("| option |") : TEXT.index("| `gzip` |") + 10]
    assert set(re.findall(r"`(\w+)", table)) == set(OPTIONS)


async def test_every_endpoint_in_the_table_answers(session):
    """Each path that it names, with the first model that paints, is no 404."""
    table = TEXT[TEXT.index("| endpoint |") : TEXT.index("The catalogue has")]
    paths = re.findall(r"`(?:GET |POST )?(/[\w/]+)[?=id]*`", table)
    assert len(paths) == 12
    async with Emulator() as emulator:
        for path in paths:
            method = "POST" if path in {"/chat/completions", "/images", "/images/generations"} else "GET"
            address = emulator.base_url + path.replace("/A/S", "/google/gemini-3.1-flash-image")
            async with session.request(method, address, json={"model": "google/gemini-3.1-flash-image"}) as response:
                assert response.status == (400 if method == "POST" or path == "/generation" else 200), path
