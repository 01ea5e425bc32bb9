"""Every recorded stream through the whole client, over a real socket, at the recorded chunk lengths and in seeded random pieces.

`tests/protocol/test_captures.py` proves that the core reads the recordings as it should; here the way from the socket to there
is proved to change nothing. The recordings are not part of this project: where `shared/captures` is not beside the checkout,
these tests skip.
"""

import asyncio
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from or_stream import Client, Message, OrStreamError, RetryPolicy, StreamFailed, StreamTruncated
from or_stream.emulator import Emulator, scenarios
from or_stream.protocol import Pipeline
from support.oracle import read_stream
from support.raw_server import RawServer, chunked, head

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


# A tool call beside another, and an error inside the stream. With OR_STREAM_ALL_CUTS=1 every recording without pictures of up to
# 8 kB, five minutes in all; but for an error that is masked as "stop", of which the other reader does not know.
CUT = [
    "rig__agent_tool_sessions_parallel_tool_calls_single_turn_streaming_0.sse",
    "pydantic-ai__test_openrouter_stream_error_0.sse",
]
if os.environ.get("OR_STREAM_ALL_CUTS"):
    BODIES = {name: (CAPTURES / name).read_bytes() for name in STREAMS if "masked_network_error" not in name}
    CUT = [name for name, body in BODIES.items() if b'"images":[' not in body and len(body) <= 8000]


def told_by_oracle(data: bytes) -> tuple[Any, ...]:
    """What the reader that never saw the code finds in so many bytes."""
    record = read_stream(data)
    calls = [(call["id"], call["name"], call["arguments"]) for call in record["tool_calls"]]
    return record["ending"], record["text"], record["reasoning"], record["refusal"], calls, record["finish_reason"]


def told(message: Message, ending: str) -> tuple[Any, ...]:
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    return ending, message.text, message.reasoning, message.refusal, calls, message.finish_reason


@pytest.mark.parametrize("how", ["fin", "fin in a chunk", "rst"])
@pytest.mark.parametrize("name", CUT)
async def test_recorded_stream_cut_at_every_byte(name: str, how: str):
    """Each cut gives the error that is true of it with exactly what had come, or success once the answer had finished."""
    body = (CAPTURES / name).read_bytes().replace(b"\r\n", b"\n")

    async def play(connection):
        while True:
            data = body[: int((await connection.request()).headers["x-cut"])]
            if how == "fin":
                connection.send(head(Connection="close") + data)
            else:
                connection.send(
                    head(Transfer_Encoding="chunked") + chunked(data, end=False) + b"99\r\n: a chunk that is not whole"
                )
            if how == "rst":
                await connection.reset()
            else:
                connection.finish()

    gate = asyncio.Semaphore(20)
    async with RawServer(play) as server, Client(base_url=server.base_url, api_key="any") as client:

        async def check(offset: int) -> None:
            async with gate:
                try:
                    options = {"retry": RetryPolicy(attempts=1), "extra_headers": {"X-Cut": str(offset)}}
                    message, ending = await client.generate("hi", **options), "complete"
                except (StreamFailed, StreamTruncated) as error:
                    message, ending = error.partial, "failed" if isinstance(error, StreamFailed) else "truncated"
            data = body[:offset] if how == "fin" else body[: body.rfind(b"\n\n", 0, offset) + 2]
            assert told(message, ending) == told_by_oracle(data), offset

        async with asyncio.TaskGroup() as group:
            for offset in range(len(body) + 1):
                group.create_task(check(offset))
