"""The examples of the catalogue and of receipts, run as a user runs them."""

import asyncio
import os
import re
import sys
from pathlib import Path

from or_stream.emulator import scenarios

EXAMPLES = Path(__file__).parents[2] / "examples"


async def output_of(name, emulator, folder):
    environment = {
        **os.environ,
        "OPENROUTER_API_KEY": "test",
        "OPENROUTER_BASE_URL": emulator.base_url,
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-W", "error", str(EXAMPLES / name)]
    pipes = {"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, **pipes)
    output, errors = await process.communicate()
    assert (b"", 0) == (errors, process.returncode)
    return output.decode()


async def test_cheapest_image_model(emulator, tmp_path):
    """The first of the prices is the lowest, and that model is asked for 16:9 at 2K."""
    *prices, saved = (await output_of("cheapest_image_model.py", emulator, tmp_path)).splitlines()
    dollars = [line.split()[0] for line in prices]
    assert sorted(dollars) == dollars
    assert len(prices) > 1
    request = emulator.requests[-1].body
    assert (prices[0].split()[1], "16:9", "2K") == (request["model"], request["aspect_ratio"], request["resolution"])
    assert re.fullmatch(r"out.\S+: \d+ pixels wide, \$0\.\d+", saved)


async def test_receipt_after_break(emulator, tmp_path):
    """A stream that is left in the middle has a cost, which the key has spent."""
    emulator.play(scenarios.silence("The lamp"))
    receipt, key = (await output_of("receipt_after_break.py", emulator, tmp_path)).splitlines()
    assert re.fullmatch(r"cancelled after \d+ bytes from \w+: \$0\.\d{6}", receipt)
    assert re.fullmatch(r"the key has spent \$0\.\d{6}", key)
