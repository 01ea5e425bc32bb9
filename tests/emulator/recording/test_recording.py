"""What a folder says, whole or damaged, and what the emulator is told to play."""

import asyncio
import json
from pathlib import Path

import pytest

from or_stream.emulator import Close, Emulator, Reset, Send, Stall
from or_stream.emulator.recording import Answer, Piece, Recording, RequestHead, exchange_folders, read_pieces
from or_stream.errors import ConfigurationError

LINES = [
    {"request": {"format": 1, "method": "POST", "path": "/p", "query": "a=1", "headers": [["A", "b"]], "started": "then"}},
    {"answer": {"status": 200, "reason": "OK", "seconds": 0.5, "headers": [["Content-Type", "text/event-stream"]]}},
    {"piece": [0.6, 4]},
    {"piece": [0.7, 2]},
    {"end": "complete", "seconds": 0.8},
]


def written(folder: Path, lines: list[bytes], body: bytes | None = b"abcdef") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "exchange.jsonl").write_bytes(b"\n".join(lines))
    if body is not None:
        (folder / "answer.sse").write_bytes(body)
    return folder


def encoded(lines: list) -> list[bytes]:
    return [json.dumps(line).encode() for line in lines]


def test_all_of_it(tmp_path):
    """Everything that was written is there."""
    folder = written(tmp_path / "000007-post-p", encoded(LINES))
    (folder / "request.json").write_bytes(b"{}")
    assert Recording.read(folder) == Recording(
        RequestHead("POST", "/p", "a=1", (("A", "b"),), "then"),
        b"{}",
        Answer(200, "OK", (("Content-Type", "text/event-stream"),), 0.5),
        b"abcdef",
        (Piece(0.6, 4), Piece(0.7, 2)),
        "complete",
        0.8,
        "000007-post-p",
    )


@pytest.mark.parametrize(
    ("lines", "body", "pieces", "end"),
    [
        (encoded(LINES[:3]), b"abcd", (Piece(0.6, 4),), "stopped"),
        (encoded(LINES[:4]), b"abc", (Piece(0.6, 3),), "stopped"),
        (encoded(LINES[:3]), b"abcdef", (Piece(0.6, 4), Piece(0.6, 2)), "stopped"),
        ([*encoded(LINES[:3]), b'{"piece": [0.7, '], b"abcdef", (Piece(0.6, 4), Piece(0.6, 2)), "stopped"),
        ([*encoded(LINES[:2]), b"\xff\x00", *encoded(LINES[2:])], b"abcdef", (Piece(0.6, 4), Piece(0.7, 2)), "complete"),
        ([*encoded(LINES[:2]), b'{"piece": [1, -5]}', b'{"piece": "x"}', b"[]"], b"ab", (Piece(0.0, 2),), "stopped"),
        (encoded([*LINES[:2], {"end": "nonsense"}]), None, (), "stopped"),
    ],
    ids=["killed", "body shorter", "body longer", "half a line", "foreign bytes", "foreign pieces", "no body"],
)
def test_damaged(tmp_path, lines, body, pieces, end):
    """What is damaged or missing takes away only what it held, and pieces always add up to the body."""
    recording = Recording.read(written(tmp_path / "1-x", lines, body))
    assert (pieces, end) == (recording.pieces, recording.end)
    assert len(recording.body) == sum(piece.length for piece in recording.pieces)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"request": 5}',
        b'{"answer": {"status": "x"}}',
        b'{"answer": {"status": 1}}',
        b'{"answer": {"status": 200, "headers": "x", "seconds": null, "reason": 5}}',
        b'{"answer": {"status": 200, "headers": [5, [], ["a"], ["a", 5]]}}',
        b"[" * 100_000,
    ],
)
def test_nonsense(tmp_path, line):
    """No content of a file is an exception, nor is playing it."""
    recording = Recording.read(written(tmp_path / "1-x", [line]))
    assert recording.scenario().name == "1-x"


def test_no_recording(tmp_path):
    """Where there is none, that is said."""
    with pytest.raises(ConfigurationError, match="no recording"):
        Recording.read(tmp_path)


def test_order_of_recordings(tmp_path):
    """Folders are in the order of their numbers, and what is no recording is none."""
    for name in ("10-b", "9-a.partial", "x", "000002-c"):
        written(tmp_path / name, [b""])
    (tmp_path / "3-empty").mkdir()
    assert ["x", "000002-c", "9-a.partial", "10-b"] == [path.name for path in exchange_folders(tmp_path)]


def test_pieces_without_the_whole(tmp_path):
    """Read one after the other they are what `body` and `pieces` are."""
    folder = written(tmp_path / "1-x", encoded(LINES))
    assert [(0.6, b"abcd"), (0.7, b"ef")] == list(read_pieces(folder))
    assert [] == list(read_pieces(written(tmp_path / "2-x", encoded(LINES), None)))


@pytest.mark.parametrize(
    ("end", "body", "step"),
    [
        ("complete", b"x", Send),
        ("cut", b"x", Close),
        ("stopped", b"x", Close),
        ("reset", b"x", Reset),
        ("left", b"x", Stall),
        ("left", b"data: [DONE]\n\n", Send),
    ],
)
def test_end_of_the_scenario(end, body, step):
    """The last step does what the server did; where the client left, nothing more comes unless all had."""
    recording = Recording(RequestHead(), answer=Answer(), body=body, pieces=(Piece(0.0, len(body)),), end=end)
    assert isinstance(recording.scenario("none").steps[-1], step)


def test_headers_of_the_scenario():
    """Those of the connection and cookies are not sent again, several of one name are one, the type is the recorded one."""
    headers = (("CONTENT-TYPE", "a/b"), ("Transfer-Encoding", "chunked"), ("Set-Cookie", "***"), ("X-A", "1"), ("x-a", "2"))
    scenario = Recording(RequestHead(), answer=Answer(headers=(*headers, ("cache-control", "private")))).scenario()
    assert ("a/b", {"x-a": "1, 2", "Cache-Control": "private"}) == (scenario.content_type, dict(scenario.headers))


def test_pieces_of_the_scenario():
    """A piece of any size is written at once, as it came."""
    recording = Recording(RequestHead(), answer=Answer(), body=b"x" * 70_000, pieces=(Piece(0, 50_000), Piece(0, 20_000)))
    assert (50_000, 20_000) == recording.scenario().pieces


async def test_one_scenario_played_at_once(ask):
    """Each answer runs on its own clock, however often the scenario is played."""
    body = b"data: 1\n\ndata: 2\n\n"
    recording = Recording(
        RequestHead(), answer=Answer(), body=body, pieces=(Piece(0.1, 9), Piece(0.3, 9)), end="complete", seconds=0.3
    )
    loop = asyncio.get_running_loop()

    async def seconds_taken(delay: float) -> float:
        await asyncio.sleep(delay)
        began = loop.time()
        async with ask(emulator) as response:
            assert body == await response.read()
        return loop.time() - began

    async with Emulator(scenario=recording.scenario()) as emulator:
        taken = await asyncio.gather(*map(seconds_taken, (0, 0.15)))
    assert min(taken) >= 0.29
