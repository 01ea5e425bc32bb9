"""Recorded, replayed and recorded again: every scenario gives the same bytes in the same pieces, and the same events."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from or_stream import Client, OrStreamError, RetryPolicy, Timeouts
from or_stream.emulator import Emulator, Scenario, scenarios
from or_stream.emulator.recording import Recorder, Recording, Replay, ReplayServer, exchange_folders
from or_stream.events import Event, Heartbeat, ImageDelta, TextDelta

# Where nothing ends it, the client's own clock does, or its patience.
ENDLESS = {"empty-deltas-for-ever", "heartbeats-for-ever", "no-headers", "silence", "text-for-ever"}
# The same in less time.
SMALLER: dict[str, Callable[[], Scenario]] = {
    "event-too-large": lambda: scenarios.event_too_large(2**20),
    "slow-headers": lambda: scenarios.slow_headers(0.1),
}
OF_THE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


async def listen(upstream: str, folder: Path, name: str) -> bytes:
    """What a bare client gets through a recorder, to the end, or until it has waited long enough."""
    is_over = asyncio.Event()
    body = {"model": "a/b", "messages": [{"role": "user", "content": name}], "stream": True}
    got = b""
    async with (
        Recorder(folder, upstream=upstream, on_end=lambda _exchange: is_over.set()) as recorder,
        aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session,
    ):
        try:
            async with (
                asyncio.timeout(0.3 if name in ENDLESS else 15),
                session.post(f"{recorder.base_url}/chat/completions", json=body) as response,
            ):
                while piece := await response.content.readany():
                    got += piece
        except (aiohttp.ClientError, TimeoutError):
            pass
        await is_over.wait()
    return got


async def recorded_once(name: str, folder: Path, run: Callable[[str, Path, str], Any]) -> Any:
    async with Emulator() as emulator:
        emulator.play(SMALLER[name]() if name in SMALLER else name)
        return await run(emulator.base_url, folder, name)


def only(folder: Path) -> Recording:
    (path,) = exchange_folders(folder)
    return Recording.read(path)


def lasting(recording: Recording) -> list[tuple[str, str]]:
    assert recording.answer is not None
    return sorted((name.lower(), value) for name, value in recording.answer.headers if name.lower() not in OF_THE_CONNECTION)


@pytest.mark.parametrize("name", scenarios.names())
async def test_bytes(name: str, tmp_path: Path):
    """A recording of a replay is the recording that was replayed: bytes, pieces, status, headers and end."""
    got = await recorded_once(name, tmp_path / "first", listen)
    async with ReplayServer(Replay(tmp_path / "first", pace="none")) as server:
        await listen(server.base_url, tmp_path / "second", name)
    first, second = only(tmp_path / "first"), only(tmp_path / "second")
    assert first.end == second.end == ("left" if name in ENDLESS else first.end) != "stopped"
    assert first.request_body == second.request_body
    assert (first.answer is None) == (second.answer is None)
    if first.answer is not None and second.answer is not None:
        assert (first.answer.status, first.answer.reason) == (second.answer.status, second.answer.reason)
        assert lasting(first) == lasting(second)
    assert first.body == second.body
    assert [piece.length for piece in first.pieces] == [piece.length for piece in second.pieces]
    # A user id is hidden in the recording, and a client may be told of a reset before it has read all that came.
    assert len(got) == len(first.body) or first.end in ("reset", "left")


async def events_of(upstream: str, folder: Path, name: str) -> list[Any]:
    """What this library's client tells of the scenario through a recorder."""
    timeouts = Timeouts(first_content=0.4, idle=0.4) if name in ENDLESS else Timeouts()
    async with Recorder(folder, upstream=upstream) as recorder:
        options = {"timeouts": timeouts, "retry": RetryPolicy(attempts=1), "modalities": ["text", "image"]}
        async with Client(base_url=recorder.base_url, api_key="any") as client:
            events: list[Event] = []
            try:
                async for event in client.stream("hi", **options):
                    events.append(event)
                    if name == "text-for-ever" and sum(isinstance(event, TextDelta) for event in events) == 5:
                        break
            except OrStreamError as error:
                return [*comparable(events), type(error), str(error)]
            return [*comparable(events)]


def comparable(events: list[Event]) -> Iterator[Any]:
    """Without heartbeats, whose times differ, and an image as one piece: how it is cut means nothing."""
    image = b""
    for event in events:
        if isinstance(event, ImageDelta):
            image += event.data
            continue
        if image:
            yield image
            image = b""
        if not isinstance(event, Heartbeat):
            yield event
    if image:
        yield image


@pytest.mark.parametrize("name", scenarios.names())
async def test_events(name: str, tmp_path: Path):
    """A client gets the same events, or the same failure, from the replay."""
    told = await recorded_once(name, tmp_path / "first", events_of)
    async with ReplayServer(Replay(tmp_path / "first")) as server:
        assert told == await events_of(server.base_url, tmp_path / "second", name)
