"""Which recording answers, when its bytes come, and what is said where there is none."""

import asyncio
import json
from typing import Any

import pytest

from or_stream.emulator import Emulator, scenarios
from or_stream.emulator.recording import Answer, Piece, Recorder, Recording, Replay, ReplayServer, RequestHead
from or_stream.errors import ConfigurationError

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
BODY = {"model": "a/b", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def recording(name: str, body: Any = BODY, *, path: str = "/api/v1/chat/completions", query: str = "") -> Recording:
    """An answer whose body is its name."""
    head = RequestHead("POST" if body is not None else "GET", path, query)
    raw = b"" if body is None else json.dumps(body).encode()
    answer = Answer(200, "OK", (("Content-Type", "text/plain"),))
    return Recording(head, raw, answer, name.encode(), (Piece(0.0, len(name)),), "complete", 0.0, name)


def asked(replay: Replay, body: Any = BODY, *, path: str = "/api/v1/chat/completions", query: str = "", key: str = "any") -> str:
    """The name of the recording that answers."""
    headers = (("authorization", f"Bearer {key}"),)
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return replay.answer(RequestHead("GET" if body is None else "POST", path, query, headers), raw).name


def test_the_same_request():
    """Of several recordings a request gets its own."""
    replay = Replay([recording("one", {**BODY, "seed": 1}), recording("two", {**BODY, "seed": 2})])
    assert ["two", "one"] == [asked(replay, {**BODY, "seed": seed}) for seed in (2, 1)]


@pytest.mark.parametrize(
    "body",
    [
        dict(reversed(BODY.items())),
        json.dumps(BODY, indent=3).encode(),
        {**BODY, "user": "u-1", "session_id": "s", "metadata": {"run": "7"}},
    ],
)
def test_what_does_not_matter(body):
    """The order of keys, white space, and who asks in which run make no other request."""
    replay = Replay([recording("other", {**BODY, "seed": 1}), recording("this")])
    assert "this" == asked(replay, body)


def test_secrets_do_not_matter():
    """A request with a key in its body is the same with another key."""
    recorded = {**BODY, "api_key": "*" * 12}
    replay = Replay([recording("other", {**BODY, "seed": 1}), recording("this", recorded)])
    assert "this" == asked(replay, {**BODY, "api_key": KEY}, key=KEY)


def test_query_matters():
    """The same path with another query is another request, whatever the order of its parameters."""
    replay = Replay([recording(name, None, path="/api/v1/generation", query=f"id={name}&x=1") for name in ("gen-1", "gen-2")])
    assert ["gen-2", "gen-1"] == [
        asked(replay, None, path="/api/v1/generation", query=f"x=1&id={name}") for name in ("gen-2", "gen-1")
    ]


def test_repeated_request():
    """The same request again gets the next recording of it, and after the last one the last again."""
    replay = Replay([recording("first"), recording("other", {**BODY, "seed": 1}), recording("second")])
    assert ["first", "second", "second"] == [asked(replay) for _ in range(3)]


def test_nearest_request():
    """An unknown body gets the next of its path and model that was not given, in the order of recording; then the last."""
    replay = Replay(
        [
            recording("one"),
            recording("foreign", {**BODY, "model": "c/d"}),
            recording("two", {**BODY, "seed": 2}),
            recording("three"),
        ]
    )
    assert "two" == asked(replay, {**BODY, "seed": 2})
    assert ["one", "three", "three"] == [asked(replay, {**BODY, "seed": 9}) for _ in range(3)]


@pytest.mark.parametrize(
    ("body", "path"),
    [({**BODY, "model": "c/d"}, "/api/v1/chat/completions"), (None, "/api/v1/chat/completions"), (BODY, "/api/v1/images")],
)
def test_no_such_recording(body, path):
    """Another model, method or path is a 404 in the service's shape that says what there is."""
    scenario = Replay([recording("one")]).answer(RequestHead("GET" if body is None else "POST", path), json.dumps(body).encode())
    error = json.loads(scenario.body())["error"]
    assert (404, 404) == (scenario.status, error["code"])
    assert "POST /api/v1/chat/completions with model a/b" in error["message"]


def test_long_list_of_recordings():
    """Only so many are listed."""
    replay = Replay([recording("x", {**BODY, "model": f"m/{number}"}) for number in range(50)])
    scenario = replay.answer(RequestHead("GET", "/x"), b"")
    assert "and 30 more" in json.loads(scenario.body())["error"]["message"]


@pytest.mark.parametrize("body", [b"\xff\x00", b"[1]", b"", b'{"model": 5}', b"[" * 100_000])
def test_body_of_any_kind(body):
    """What is no chat request is matched too."""
    replay = Replay([Recording(RequestHead("POST", "/x"), body, Answer(), name="this")])
    assert "this" == asked(replay, body, path="/x")


def test_folder_without_recordings(tmp_path):
    """An empty folder is wrong usage, and so is none."""
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(ConfigurationError, match="no recordings"):
            Replay(folder)


async def test_in_the_emulator(emulator, tmp_path, ask, recorder):
    """As the emulator's script it answers chat requests, and the rest is the emulator's."""
    async with ask(recorder) as response:
        body = await response.read()
    async with Emulator(script=Replay(tmp_path)) as replaying:
        async with ask(replaying) as response:
            assert body == await response.read()
        assert replaying.requests[0].scenario == "000001-post-chat-completions"
        async with ask(replaying, model="emulator/refused-402") as response:
            assert 402 == response.status


async def test_server_asks_for_no_key(session, ask):
    """Whatever was recorded is served to whoever asks, on any path and with any key."""
    models = recording("models", None, path="/api/v1/models", query="x=1")
    told = []
    async with ReplayServer(Replay([models]), on_end=lambda *what: told.append(what)) as server:
        async with session.get(f"{server.base_url}/models?x=1", headers={"Authorization": "none"}) as response:
            assert b"models" == await response.read()
        async with ask(server) as response:
            assert 404 == response.status
    assert ("GET /api/v1/models", "models", 6) == (told[0][0], told[0][1].name, told[0][2])


async def test_recorded_pace(emulator, recorder, recorded, ask, tmp_path):
    """A replay takes as long as what was recorded, and its pieces come at their times without adding up delays."""
    pieces = tuple([10] * 40)
    emulator.play(scenarios.replay(b"x" * 400, pieces=pieces, pace_seconds=0.01))
    async with ask(recorder) as response:
        await response.read()
    (first,) = recorded()
    async with (
        ReplayServer(Replay(tmp_path)) as server,
        Recorder(tmp_path / "again", upstream=server.base_url) as again,
        ask(again) as response,
    ):
        await response.read()
    second = Recording.read(tmp_path / "again" / "000001-post-chat-completions")
    late = [two.seconds - one.seconds for one, two in zip(first.pieces, second.pieces, strict=True)]
    assert min(late) > -0.01
    assert sorted(late)[len(late) // 2] < 0.1
    assert late[-1] < 0.2


@pytest.mark.parametrize(("pace", "least"), [("none", 0.0), (0.05, 0.14)])
async def test_other_pace(ask, pace, least):
    """Without a pace nothing is waited for; with one in seconds, so much between two pieces."""
    pieces = tuple(Piece(float(number), 1) for number in range(1, 5))
    slow = Recording(recording("x").request, json.dumps(BODY).encode(), Answer(seconds=1.0), b"abcd", pieces, "complete", 5.0)
    loop = asyncio.get_running_loop()
    async with ReplayServer(Replay([slow], pace=pace)) as server:
        began = loop.time()
        async with ask(server) as response:
            assert b"abcd" == await response.read()
        assert least <= loop.time() - began < 1.0


async def test_several_answers_in_turn(emulator, tmp_path, ask):
    """A refusal and the answer to the same request again are replayed in that order."""
    async with Recorder(tmp_path, upstream=emulator.base_url) as recorder:
        emulator.play("rate-limited-then-text")
        for _ in range(2):
            async with ask(recorder) as response:
                await response.read()
    statuses = []
    async with ReplayServer(Replay(tmp_path, pace="none")) as server:
        for _ in range(3):
            async with ask(server) as response:
                statuses.append(response.status)
    assert [429, 200, 200] == statuses


async def test_stopping_while_it_replays(ask):
    """An answer that goes on for ever does not keep the server from being stopped."""
    silent = Recording(RequestHead("POST", "/api/v1/chat/completions"), json.dumps(BODY).encode(), Answer(), end="left")
    async with ReplayServer(Replay([silent])) as server:
        response = await ask(server).__aenter__()
    response.close()
