"""A recorder between a bare client and a bare server: what goes through, when, and how it ends for each."""

import asyncio
import gzip
import io
import json
import shutil
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from or_stream.emulator import Chunk, Done, Reset, Scenario, Send, Stall, WaitFor, scenarios
from or_stream.emulator.recording import Recorder
from or_stream.emulator.recording._recorder import _pieces, _proxy_for
from or_stream.errors import ConfigurationError
from support.raw_server import Connection, RawServer, answer, chunked, head

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"

Play = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def in_front_of(play: Play, folder: Path, **options) -> AsyncIterator[tuple[Recorder, RawServer]]:
    async with RawServer(play) as server, Recorder(folder, upstream=server.base_url, **options) as recorder:
        yield recorder, server


async def say_ok(connection: Connection) -> None:
    await connection.request()
    connection.send(answer(b"{}", content_type="application/json"))


async def test_request_goes_through(tmp_path, session):
    """Method, path, query and body arrive as they were written; Host is the server's own, what is hop-by-hop is gone."""
    async with in_front_of(say_ok, tmp_path) as (recorder, server):
        headers = {"X-Mine": "1", "Connection": "x-private", "X-Private": "2", "Accept-Encoding": "br", "TE": "trailers"}
        url = f"{recorder.base_url}/a%2Fb/%7Ec?x=%20%41&x=+z&empty="
        async with session.put(aiohttp.client.URL(url, encoded=True), data=b"\x00\xff", headers=headers) as response:
            assert await response.read() == b"{}"
        (request,) = server.connections[0].requests
    assert request.line == "PUT /api/v1/a%2Fb/%7Ec?x=%20%41&x=+z&empty= HTTP/1.1"
    assert request.body == b"\x00\xff"
    assert request.headers["host"] == server.base_url.split("/")[2]
    assert request.headers["x-mine"] == "1"
    assert request.headers["authorization"] == "Bearer any"
    assert not request.headers.keys() & {"x-private", "te"}
    assert request.headers["accept-encoding"] == "identity"


async def test_nothing_is_added_for_the_client(tmp_path):
    """A header that the client did not send is not made up."""
    async with in_front_of(say_ok, tmp_path) as (recorder, server):
        reader, writer = await asyncio.open_connection(recorder.host, recorder.port)
        writer.write(b"GET /api/v1/models HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"{}")
        writer.close()
        await writer.wait_closed()
        (request,) = server.connections[0].requests
    assert request.headers.keys() <= {"host", "accept-encoding", "connection"}


async def test_answer_goes_through(tmp_path, session, recorded):
    """Status, reason, headers and body arrive as they were sent, a redirect too."""

    async def redirect(connection: Connection) -> None:
        await connection.request()
        connection.send(answer(b"over there", 307, "text/plain", Location="http://elsewhere.invalid/", X_Mine="1"))

    async with (
        in_front_of(redirect, tmp_path) as (recorder, _),
        session.get(recorder.base_url, allow_redirects=False) as response,
    ):
        assert (response.status, response.reason) == (307, "Said")
        assert response.headers["Location"] == "http://elsewhere.invalid/"
        assert response.headers["X-Mine"] == "1"
        assert await response.read() == b"over there"
    (recording,) = recorded()
    assert (recording.answer.status, recording.answer.reason, recording.body) == (307, "Said", b"over there")


@pytest.mark.parametrize("status", [204, 304])
async def test_answer_without_a_body(tmp_path, session, status, recorded):
    """What has no body ends at once."""

    async def nothing(connection: Connection) -> None:
        await connection.request()
        connection.send(head(status, None))

    async with in_front_of(nothing, tmp_path) as (recorder, _), session.get(recorder.base_url) as response:
        assert (response.status, await response.read()) == (status, b"")
    assert "complete" == recorded()[0].end


async def test_head_request(recorder, session, recorded):
    """The answer to HEAD has a length and no body."""
    async with session.head(f"{recorder.base_url}/models") as response:
        assert await response.read() == b""
    assert (b"", "complete") == (recorded()[0].body, recorded()[0].end)


async def test_large_upload(recorder, emulator, session, recorded):
    """A body of megabytes arrives and is recorded byte for byte."""
    body = {"messages": [{"role": "user", "content": "ab" * 2_000_000}]}
    async with session.post(f"{recorder.base_url}/chat/completions", data=io.BytesIO(json.dumps(body).encode())) as response:
        await response.read()
    assert emulator.requests[0].raw == recorded()[0].request_body
    assert len(emulator.requests[0].raw) > 4_000_000


async def test_pieces_come_at_once(recorder, emulator, ask):
    """What the server has sent is with the client while the server waits."""
    gate = asyncio.Event()
    emulator.play(Scenario((Send(b"data: 1\n\n"), WaitFor(gate), Done())))
    async with ask(recorder) as response:
        assert await response.content.readany() == b"data: 1\n\n"
        gate.set()
        assert await response.read() == b"data: [DONE]\n\n"


async def test_pieces_are_recorded_as_they_came(recorder, emulator, recorded, ask):
    """Each chunk of HTTP is a piece, with a time that does not go back."""
    emulator.play(scenarios.replay(b"abcdefghij", pieces=(1, 4, 2), pace_seconds=0.01))
    async with ask(recorder) as response:
        assert await response.read() == b"abcdefghij"
    (recording,) = recorded()
    assert [1, 4, 2, 3] == [piece.length for piece in recording.pieces]
    times = [recording.answer.seconds, *(piece.seconds for piece in recording.pieces), recording.seconds]
    assert times == sorted(times)
    assert times[-1] - times[0] >= 0.03


async def test_many_clients_at_once(recorder, recorded, ask):
    """Each has its own answer, and each its own recording, however they interleave."""
    names = [f"emulator/{name}" for name in ("text", "text-and-images", "emoji", "json-answer", "refused-402")] * 8

    async def body_of(name: str) -> bytes:
        async with ask(recorder, model=name) as response:
            return await response.read()

    bodies = await asyncio.gather(*map(body_of, names))
    models = {json.loads(each.request_body)["model"] for each in recorded()}
    assert models == set(names)
    for name in models:
        got = sorted(len(body) for body, asked in zip(bodies, names, strict=True) if asked == name)
        kept = [each for each in recorded() if json.loads(each.request_body)["model"] == name]
        assert got == sorted(len(each.body) for each in kept)
        assert {"complete"} == {each.end for each in kept}
        if name != "emulator/refused-402":  # which has a user id, and that is hidden
            assert sorted(each.body for each in kept) == sorted(
                body for body, asked in zip(bodies, names, strict=True) if asked == name
            )


async def test_slow_client_slows_the_server(tmp_path, session, recorded):
    """Where the client does not read, the server cannot send on for ever."""
    blocked = asyncio.Event()

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head())
        try:
            while True:
                writer.write(b"x" * 2**16)
                async with asyncio.timeout(0.5):
                    await writer.drain()
        except TimeoutError:
            blocked.set()
        finally:
            writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
    async with server, Recorder(tmp_path, upstream=upstream) as recorder, session.get(recorder.base_url):
        await asyncio.wait_for(blocked.wait(), 10)
    assert len(recorded()[0].body) < 50_000_000


async def test_slow_server_slows_the_client(tmp_path, session):
    """Where the server does not read, the client cannot send on for ever."""
    sent = 0

    async def flood() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**16
            yield b"x" * 2**16

    async def do_not_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reader._transport.pause_reading()
        await done.wait()
        writer.close()

    done = asyncio.Event()
    server = await asyncio.start_server(do_not_read, "127.0.0.1", 0)
    upstream = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
    async with server, Recorder(tmp_path, upstream=upstream) as recorder:
        upload = asyncio.ensure_future(session.post(recorder.base_url, data=flood()))
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.3)
        upload.cancel()
        done.set()
    assert 0 < sent < 50_000_000


async def test_client_that_leaves(recorder, emulator, recorded, ask):
    """It takes the server's connection along at once, and is recorded as having left."""
    emulator.play("text-for-ever")
    async with ask(recorder) as response:
        await response.content.readany()
        response.close()
        await asyncio.wait_for(emulator.requests[0].disconnected.wait(), 5)
    (recording,) = recorded()
    assert "left" == recording.end
    assert recording.body.startswith(b": OPENROUTER PROCESSING")


async def test_client_that_leaves_before_the_answer(recorder, emulator, recorded, ask):
    """Also where the server has not said a word."""
    emulator.play("no-headers")
    asking = asyncio.ensure_future(ask(recorder).__aenter__())
    await emulator.received()
    asking.cancel()
    await asyncio.wait_for(emulator.requests[0].disconnected.wait(), 5)
    (recording,) = recorded()
    assert ("left", None) == (recording.end, recording.answer)


async def test_recorder_that_is_stopped(emulator, tmp_path, recorded, ask, read_all):
    """What was under way then is recorded as stopped, and its connections are closed."""
    emulator.play("text-for-ever")
    async with Recorder(tmp_path, upstream=emulator.base_url) as recorder:
        response = await ask(recorder).__aenter__()
        await response.content.readany()
    assert "stopped" == recorded()[0].end
    await asyncio.wait_for(emulator.requests[0].disconnected.wait(), 5)
    assert (await read_all(response))[1] is not None
    response.close()


@pytest.mark.parametrize("length", ["Content_Length", None])
async def test_cut(tmp_path, session, length, recorded, read_all):
    """A body that ends too early ends too early for the client, with all that had come."""

    async def cut(connection: Connection) -> None:
        await connection.request()
        connection.send(
            head(**{length: "100"}) + b"some" if length else head(Transfer_Encoding="chunked") + chunked(b"some", end=False)
        )
        connection.finish()

    async with in_front_of(cut, tmp_path) as (recorder, _), session.get(recorder.base_url) as response:
        got, broken = await read_all(response)
    assert (b"some", True) == (got, isinstance(broken, aiohttp.ClientPayloadError))
    assert (b"some", "cut") == (recorded()[0].body, recorded()[0].end)


async def test_reset_loses_nothing(recorder, emulator, recorded, ask, read_all):
    """What came in front of a reset is recorded and passed on, though the client was slow; then the reset is too."""
    emulator.play(Scenario((Send(b"x" * 300_000), Reset())))
    async with ask(recorder) as response:
        await emulator.requests[0].finished.wait()
        got, broken = await read_all(response)
    assert 300_000 == len(recorded()[0].body)
    assert "reset" == recorded()[0].end
    assert "ConnectionResetError" in str(broken)
    assert got == b"x" * len(got)


async def test_break_loses_nothing(session):
    """What came in front of a break is read though the break is known already."""

    async def cut(connection: Connection) -> None:
        await connection.request()
        connection.send(head(Transfer_Encoding="chunked") + chunked(b"a" * 10, b"b" * 10, end=False))
        connection.finish()

    got = b""

    async def read(response: aiohttp.ClientResponse) -> None:
        nonlocal got
        async for piece in _pieces(response):
            got += piece

    async with RawServer(cut) as server, session.get(server.base_url) as response:
        while response.content.exception() is None:  # noqa: ASYNC110  # aiohttp has no other way to wait for it
            await asyncio.sleep(0.001)
        with pytest.raises(aiohttp.ClientPayloadError):
            await read(response)
    assert b"a" * 10 + b"b" * 10 == got


async def test_nobody_upstream(tmp_path, unused_port, recorded, ask):
    """Where there is no server the client gets a 502 in the service's shape, and that is recorded as the recorder's own."""
    async with Recorder(tmp_path, upstream=f"http://127.0.0.1:{unused_port}/api/v1") as recorder, ask(recorder) as response:
        error = (await response.json())["error"]
        assert (502, 502) == (response.status, error["code"])
        assert "recorder" in error["message"]
    (recording,) = recorded()
    assert recording.answer.made_here
    assert json.loads(recording.body)["error"] == error


async def test_no_proper_http_upstream(tmp_path, session, recorded):
    """Nor is what speaks something else a reason to break down."""

    async def speak(connection: Connection) -> None:
        await connection.request()
        connection.send(b"SSH-2.0-OpenSSH_9.6\r\n")

    async with in_front_of(speak, tmp_path) as (recorder, _), session.get(recorder.base_url) as response:
        assert 502 == response.status
    assert "not proper HTTP" in recorded()[0].answer.made_here


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_answer(tmp_path, session, coding, compress, recorded):
    """The client gets it as it is; recorded is what it says, so that no secret is hidden in it."""
    body = json.dumps({"echo": KEY, "more": "x" * 5000}).encode()

    async def say(connection: Connection) -> None:
        await connection.request()
        connection.send(answer(compress(body), content_type="application/json", Content_Encoding=coding))

    async with in_front_of(say, tmp_path) as (recorder, _), session.get(recorder.base_url) as response:
        assert await response.read() == body
    (recording,) = recorded()
    assert KEY not in recording.body.decode()
    assert len(body) == len(recording.body)
    assert not {"content-encoding", "content-length"} & {name.lower() for name, _ in recording.answer.headers}


@pytest.mark.parametrize(("coding", "body"), [("br", b"\x0b\x02\x80hello\x03"), ("gzip", b"this is no gzip")])
async def test_answer_that_cannot_be_read(tmp_path, coding, body, recorded):
    """What could hold a secret that nobody can see is passed on and not stored."""

    async def say(connection: Connection) -> None:
        await connection.request()
        connection.send(answer(body, Content_Encoding=coding))

    async with (
        in_front_of(say, tmp_path) as (recorder, _),
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.get(recorder.base_url) as response,
    ):
        assert await response.read() == body
    assert (b"", "complete") == (recorded()[0].body, recorded()[0].end)


async def test_no_secret_is_stored(tmp_path, session):
    """Not from any place in the request, not from any place in an answer that says it all again, however that is cut."""
    secrets = ["hunter2-hunter2", 's/ession"cookie-1', "x-key-12345678", "query+key-12345", "user_2abcDEFghiJKLmnoPQRstuVWX"]
    bearer, cookie, header, _query, user = secrets

    async def echo(connection: Connection) -> None:
        request = await connection.request()
        said = "\n".join([request.line, str(request.headers), request.body.decode(), json.dumps(secrets)]).encode()
        headers = {"X_Echo": bearer, "Set_Cookie": "session=fresh-cookie-77; Path=/"}
        connection.send(head(Transfer_Encoding="chunked", **headers))
        for at in range(0, len(said), 7):
            connection.send(chunked(said[at : at + 7], end=False))
        connection.send(chunked(b"fresh-cookie-77"))

    async with in_front_of(echo, tmp_path) as (recorder, _):
        headers = {"Authorization": f"Bearer {bearer}", "Cookie": f"session={cookie}", "X-Api-Key": header}
        url = f"{recorder.base_url}/chat/{bearer}?api_key=query%2Bkey-12345&a={header}"
        body = {"messages": [{"role": "user", "content": " ".join(secrets)}], "user_id": user, "api_key": "in-the-body"}
        async with session.post(aiohttp.client.URL(url, encoded=True), json=body, headers=headers) as response:
            assert bearer in (await response.read()).decode()
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file())
    names = " ".join(path.name for path in tmp_path.rglob("*"))
    assert b"chat/****" in stored
    for secret in [*secrets, "query%2Bkey-12345", json.dumps(cookie)[1:-1], "in-the-body", "fresh-cookie-77"]:
        assert secret.encode() not in stored
        assert secret.lower() not in names


async def test_given_secrets_are_not_stored(tmp_path, emulator, recorded, ask):
    """A secret that only the caller knows of is gone too."""
    message = {"role": "user", "content": "of project-moonlight"}
    async with (
        Recorder(tmp_path, upstream=emulator.base_url, secrets=["project-moonlight"]) as recorder,
        ask(recorder, messages=[message]) as response,
    ):
        await response.read()
    assert b"of *****************" in recorded()[0].request_body


async def test_numbers_go_on(emulator, tmp_path, ask):
    """A second recorder in the same folder adds to it."""
    for _ in range(2):
        async with Recorder(tmp_path, upstream=emulator.base_url) as recorder, ask(recorder) as response:
            await response.read()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["000001-post-chat-completions", "000002-post-chat-completions"]


async def test_whole_only_by_name(recorder, emulator, tmp_path, recorded, ask):
    """While an exchange goes on its folder says so, and what has come is readable in it."""
    gate = asyncio.Event()
    emulator.play(Scenario((Chunk({"choices": []}), WaitFor(gate))))
    async with ask(recorder) as response:
        await response.content.readany()
        (folder,) = tmp_path.iterdir()
        assert folder.name.endswith(".partial")
        (recording,) = recorded()
        assert ("stopped", 200) == (recording.end, recording.answer.status)
        assert recording.body.endswith(b"\n\n")
        assert emulator.requests[0].raw == recording.request_body
        gate.set()
        await response.read()
    (folder,) = tmp_path.iterdir()
    assert not folder.name.endswith(".partial")


async def test_failing_disk(recorder, emulator, tmp_path, ended, ask):
    """Where nothing can be written any more, the client gets its answer all the same, and the failure is told."""
    shutil.rmtree(tmp_path)
    async with ask(recorder) as response:
        assert (await response.read()).endswith(b"data: [DONE]\n\n")
    assert ended[0].failure
    assert "complete" == ended[0].ended


async def test_folder_that_cannot_be(tmp_path):
    """A file where the folder should be is wrong usage."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigurationError, match="taken"):
        Recorder(tmp_path / "taken")


@pytest.mark.parametrize("upstream", ["openrouter.ai", "ftp://a/b", "https://me:secret@a/b", "https://a/b?c=d", "https://"])
async def test_upstream_that_is_none(tmp_path, upstream):
    """An address that is no base address is wrong usage."""
    with pytest.raises(ConfigurationError, match="upstream"):
        Recorder(tmp_path, upstream=upstream)


@pytest.mark.parametrize(
    ("upstream", "proxies", "proxy"),
    [
        ("https://a.example/v1", {"https": "http://p:1"}, "http://p:1"),
        ("https://a.example/v1", {"http": "http://p:1"}, None),
        ("http://a.example/v1", {"all": "http://p:2"}, "http://p:2"),
    ],
)
def test_proxy_of_the_environment(upstream, proxies, proxy):
    """The proxy is the one for the scheme of the server, or the one for all."""
    assert proxy == _proxy_for(upstream, proxies)


async def test_path_outside_of_the_base(tmp_path, session):
    """A path that is not below /api/v1 is asked of the server as it is."""
    async with in_front_of(say_ok, tmp_path) as (recorder, server):
        async with session.get(f"http://{recorder.host}:{recorder.port}/health?x=1"):
            pass
        assert "GET /health?x=1 HTTP/1.1" == server.connections[0].requests[0].line


async def test_no_address_before_the_start(tmp_path):
    """An address is known once it listens."""
    with pytest.raises(RuntimeError):
        _ = Recorder(tmp_path).base_url


async def test_port_that_is_taken(recorder, tmp_path):
    """A port that somebody has is an OSError, and nothing is left open."""
    with pytest.raises(OSError, match=str(recorder.port)):
        await Recorder(tmp_path, port=recorder.port).start()


async def test_stall_is_no_end(recorder, emulator, ended, ask):
    """A silent server is waited for: nothing here gives up on its own."""
    emulator.play(Scenario((Send(b": 1\n\n"), Stall())))
    async with ask(recorder) as response:
        await response.content.readany()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await response.content.readany()
        assert not ended


@pytest.mark.parametrize("case", [("closed-before-headers", "cut"), ("reset-before-headers", "reset"), ("closed", "cut")])
async def test_end_of_the_server(recorder, emulator, ended, ask, case):
    """A close is told from a reset, also where no answer had begun, and the client is not told that all was well."""
    name, end = case
    emulator.play(name)
    with pytest.raises(aiohttp.ClientError):
        async with ask(recorder) as response:
            await response.read()
    assert end == ended[0].ended
