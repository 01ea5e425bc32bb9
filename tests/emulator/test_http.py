"""What happens on the connection, seen with a bare aiohttp session and with a bare socket."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest

from or_stream.emulator import Close, Comment, Emulator, Repeat, Reset, Scenario, Send, Stall, Wait, WaitFor, scenarios

BODY = json.dumps({"messages": [{"role": "user", "content": "hi"}], "stream": True}).encode()
HEAD = (
    "POST /api/v1/chat/completions HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
    f"Authorization: Bearer k\r\nContent-Length: {len(BODY)}\r\n\r\n"
)


def received_by_a_blocking_socket(emulator: Emulator) -> tuple[bytes, OSError | None]:
    """All that comes, and how it ends. asyncio's reader would drop what it holds when the reset comes."""
    got = b""
    with socket.create_connection((emulator.host, emulator.port), timeout=10) as connection:
        connection.sendall(HEAD.encode() + BODY)
        try:
            while piece := connection.recv(4096):
                got += piece
        except OSError as error:
            return got, error
    return got, None


@asynccontextmanager
async def bare_request(emulator: Emulator) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A chat request over a plain socket, sent in full."""
    reader, writer = await asyncio.open_connection(emulator.host, emulator.port)
    writer.write(HEAD.encode() + BODY)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def test_recorded_bytes_come_as_recorded(emulator, chat):
    """A replay is byte for byte what was given."""
    recorded = scenarios.text().body()[:-7] + b"\xff\x00 odd"
    emulator.play(scenarios.replay(recorded))
    assert await chat.read() == recorded


async def test_each_piece_is_a_chunk_of_its_own(emulator):
    """Recorded lengths are the lengths of the HTTP chunks."""
    emulator.play(scenarios.replay(b"abcdefghij", pieces=(1, 4, 2)))
    async with bare_request(emulator) as (reader, _):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readuntil(b"0\r\n\r\n") == b"1\r\na\r\n4\r\nbcde\r\n2\r\nfg\r\n3\r\nhij\r\n0\r\n\r\n"


async def test_a_client_on_the_same_loop_gets_the_pieces_one_by_one(emulator, chat):
    """A byte at a time really arrives so, and is not gathered on the way."""
    emulator.play(scenarios.replay(b"lamp" * 8, pieces=1))
    async with chat.post() as response:
        pieces = [piece async for piece in response.content.iter_any()]
    assert b"".join(pieces) == b"lamp" * 8
    assert len(pieces) > 24


async def test_a_large_event_goes_out_in_small_writes(emulator, chat):
    """No write is larger than 64 KiB, though the event is one line."""
    emulator.play(Scenario((Send(b"x" * 200_000),)))
    async with chat.post() as response:
        lengths = [len(data) async for data, end in response.content.iter_chunks() if data]
    assert sum(lengths) == 200_000
    assert max(lengths) <= 65_536


async def test_pace_takes_time(emulator, chat):
    """Four pieces with three pauses take three pauses."""
    emulator.play(scenarios.replay(b"lamp", pieces=1, pace_seconds=0.02))
    started = asyncio.get_running_loop().time()
    await chat.read()
    assert asyncio.get_running_loop().time() - started >= 0.06


async def test_a_gate_holds_the_answer(emulator, chat):
    """What is before the gate has been sent, what is after comes when it opens."""
    gate = asyncio.Event()
    emulator.play(Scenario((Send(b"before"), WaitFor(gate), Send(b"after"))))
    async with chat.post() as response:
        assert await response.content.readexactly(6) == b"before"
        assert not emulator.requests[0].finished.is_set()
        gate.set()
        assert await response.read() == b"after"
    await emulator.requests[0].finished.wait()


@pytest.mark.parametrize(
    "steps", [(Stall(),), (Repeat((Comment(), Wait(0.01))),), (Wait(600),)], ids=["silent", "heartbeats", "waiting"]
)
async def test_a_client_that_leaves_is_noticed_at_once(emulator, chat, steps):
    """Whatever the server is at, it knows within a tenth of a second that the connection is gone."""
    emulator.play(Scenario((Send(b"x"), *steps)))
    async with chat.post() as response:
        await response.content.readexactly(1)
    async with asyncio.timeout(0.1):
        await emulator.requests[0].disconnected.wait()
    assert emulator.requests[0].closed_early
    assert not emulator.requests[0].finished.is_set()


async def test_a_client_that_leaves_in_the_middle_of_much_data_is_noticed(emulator, chat):
    """Also while the server waits for room in the socket's buffers."""
    emulator.play(Scenario(tuple(Send(b"x" * 2**20) for _ in range(64))))
    async with chat.post() as response:
        await response.content.readexactly(10)
    async with asyncio.timeout(1):
        await emulator.requests[0].disconnected.wait()
    assert emulator.requests[0].bytes_sent < 64 * 2**20


async def test_a_client_that_reads_to_the_end_has_not_left(emulator, chat):
    """A complete answer is finished, and closing afterwards is nobody's fault."""
    await chat.read()
    await emulator.requests[0].finished.wait()
    assert not emulator.requests[0].closed_early


async def test_close_ends_without_the_terminating_chunk(emulator):
    """The socket ends in order, the HTTP body does not."""
    emulator.play(Scenario((Send(b"abc"), Close())))
    async with bare_request(emulator) as (reader, _):
        assert (await reader.read()).endswith(b"\r\n\r\n3\r\nabc\r\n")
    assert emulator.requests[0].finished.is_set()
    assert not emulator.requests[0].closed_early


async def test_reset_resets_when_all_has_been_sent(emulator):
    """What came before arrives, then the connection is reset and not closed."""
    emulator.play(Scenario((Send(b"x" * 300_000), Reset())))
    got, error = await asyncio.to_thread(received_by_a_blocking_socket, emulator)
    assert isinstance(error, ConnectionResetError)
    assert got.partition(b"\r\n\r\n")[2].count(b"x") == 300_000


async def test_reset_before_headers(emulator, chat):
    """The client never hears a status."""
    emulator.play(scenarios.reset_before_headers())
    with pytest.raises(aiohttp.ClientOSError):
        await chat.read()


async def test_steps_before_the_headers_hold_the_status_back(emulator, chat):
    """The status line comes when `before` has been played."""
    gate = asyncio.Event()
    emulator.play(scenarios.text().after(WaitFor(gate)))
    answer = asyncio.create_task(chat.read())
    await emulator.received()
    assert not answer.done()
    gate.set()
    assert (await answer).endswith(b"data: [DONE]\n\n")


async def test_the_generation_id_is_in_the_header_and_on_every_chunk(emulator, chat):
    """Known before the first chunk, and the same as in the body."""
    emulator.play(scenarios.text())
    async with chat.post() as response:
        head = response.headers["X-Generation-Id"]
        assert response.headers["Content-Type"] == "text/event-stream"
        body = await response.read()
    assert head == emulator.requests[0].generation_id
    assert body.count(head.encode()) == body.count(b"data: {")


async def test_a_head_request_has_no_body(emulator, session):
    """Nothing follows the headers, so that the connection can be used again."""
    for _ in range(2):
        async with session.head(f"{emulator.base_url}/models") as response:
            assert response.status == 404


async def test_gzip_is_flushed_after_every_step(emulator, chat):
    """The first word can be read while the second is held back, and all of it is what was said."""
    gate = asyncio.Event()
    emulator.play(replace(Scenario((Send(b"before"), WaitFor(gate), Send(b"after"))), gzip=True))
    async with chat.post() as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert await response.content.readexactly(6) == b"before"
        gate.set()
        assert await response.read() == b"after"


@pytest.mark.parametrize("at", [0, 1, 20, 40])
@pytest.mark.parametrize(("end", "complete"), [((), True), ((Close(),), False), ((Reset(),), False)])
async def test_an_answer_breaks_at_the_byte(emulator, at, end, complete):
    """So many bytes come, then its end: in order, closed, or reset."""
    whole = bytes(range(40))
    scenario = Scenario((Send(whole[:10]), Send(whole[10:]))).broken(at, *end)
    emulator.play(scenario)
    got, error = await asyncio.to_thread(received_by_a_blocking_socket, emulator)
    body = got.partition(b"\r\n\r\n")[2]
    assert scenario.body() == whole[:at]
    assert whole[:at] in b"".join(piece for piece in body.split(b"\r\n") if len(piece) > 2) or at < 3
    assert emulator.requests[0].bytes_sent == at
    assert body.endswith(b"0\r\n\r\n") == complete
    assert isinstance(error, ConnectionResetError) == (end == (Reset(),))


async def test_a_break_inside_an_image_can_stall(emulator, chat):
    """What is left of the image never comes, while the connection stays."""
    emulator.play(scenarios.text_and_images().broken(900, Stall()))
    async with chat.post() as response:
        assert len(await response.content.readexactly(900)) == 900
        assert not emulator.requests[0].finished.is_set()


LEAVING = """
import asyncio, socket, struct
import aiohttp
from or_stream.emulator import Comment, Emulator, Repeat, Scenario, Send, Stall, Wait

HEAD = b"POST /api/v1/chat/completions HTTP/1.1\\r\\nHost: h\\r\\nAuthorization: Bearer k\\r\\nContent-Length: 15\\r\\n\\r\\n"

def reset(port, request):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(request)

async def main():
    async with Emulator() as emulator, aiohttp.ClientSession(headers={"Authorization": "Bearer k"}) as session:
        large, beats = (Send(b"x" * 2**20),) * 20, Repeat((Comment(), Wait(0.001)))
        for steps in [(Send(b"x"), Stall()), large, (beats,)]:
            emulator.play(Scenario(steps))
            async with session.post(emulator.base_url + "/chat/completions", json={"prompt": "hi"}) as response:
                await response.content.readany()
            await emulator.requests[-1].disconnected.wait()
        for _ in range(20):
            reset(emulator.port, HEAD + b'{"prompt":"hi"}')
            reset(emulator.port, HEAD)
        await emulator.received(23)
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_client_that_leaves_is_no_error(debug):
    """Nothing is logged, also in debug mode, wherever in an answer or a request the client leaves."""
    environment = {**os.environ, "PYTHONASYNCIODEBUG": debug, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, "")
