"""Every recorded stream through the whole client, over a real socket, at the recorded chunk lengths and in seeded random pieces.

`tests/protocol/test_captures.py` proves that the core reads the recordings as it should; here the way from the socket to there
is proved to change nothing. The recordings are not part of this project: where `shared/captures` is not beside the checkout,
these tests skip.
"""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from or_stream import Client, Message, OrStreamError, RetryPolicy
from or_stream.emulator import Emulator, scenarios
from or_stream.protocol import Pipeline

CAPTURES = Path(__file__).parents[3] / "shared" / "captures"
INDEX: dict[str, Any] = json.loads((CAPTURES / "index.json").read_text()) if CAPTURES.is_dir() else {}
STREAMS = sorted(name for name in INDEX if name.endswith(".sse"))

pytestmark = pytest.mark.skipif(not INDEX, reason="the folder shared/captures is not beside this checkout")


def expected(body: bytes) -> tuple[Message, str]:
    """The message and the failure that the core gives for the whole body."""
    pipeline = Pipeline()
    pipeline.feed(body)
    pipeline.finish()
    return pipeline.message("complete"), str(pipeline.failure)


def random_pieces(size: int) -> tuple[int, ...]:
    dice = random.Random(size)
    pieces = []
    while sum(pieces) < size:
        pieces.append(dice.choice((1, 7, 80, 900, 20_000)))
    return tuple(pieces)


@pytest.mark.parametrize("how", ["recorded", "random"])
@pytest.mark.parametrize("name", STREAMS)
async def test_recorded_stream_over_a_socket(name: str, how: str):
    """What was recorded comes out of the client as out of the core."""
    body = (CAPTURES / name).read_bytes()
    recorded = tuple(INDEX[name].get("chunk_lengths") or ()) or None
    message, failure = expected(body)
    async with Emulator() as emulator, Client(base_url=emulator.base_url, api_key="any") as client:
        emulator.play(scenarios.replay(body, pieces=recorded if how == "recorded" else random_pieces(len(body))))
        try:
            got, said = await client.generate("hi", retry=RetryPolicy(attempts=1)), "None"
        except OrStreamError as error:
            got, said = error.partial, str(error)
    keep = {"id", "status"}  # the id of the emulator's header wins, and a failure has a status of its own
    assert said == failure
    assert got.model_dump(exclude=keep) == message.model_dump(exclude=keep)
