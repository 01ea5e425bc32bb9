"""A stream that is cut at each of its bytes ends honestly: with an error that holds what came before, or whole once finished."""

import asyncio
import base64
import json
from itertools import pairwise

import pytest

from or_stream import StreamEnd, StreamTruncated, TextDelta
from support.raw_server import RawServer, chunked, head

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
IMAGE_QUOTE = b'ggg=="'

BODY = b"".join(
    event + b"\n\n"
    for event in (
        b": OPENROUTER PROCESSING",
        b'data: {"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant","content":"H\xc3\xa9"},"finish_reason":null}]}',
        b'data: {"id":"gen-1","choices":[{"index":0,"delta":{"images":[{"image_url":{"url":"data:image/png;base64,%b"}}]}}]}'
        % base64.b64encode(PIXEL),
        b'data: {"id":"gen-1","choices":[{"delta":{"tool_calls":[{"id":"c","function":{"name":"f","arguments":"{}"}}]}}]}',
        b'data: {"id":"gen-1","choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}',
        b'data: {"id":"gen-1","choices":[],"usage":{"cost":0.5}}',
        b"data: [DONE]",
    )
)
OFFSETS = range(len(BODY) + 1)
# 40 bytes a chunk: a chunk's end is now inside an event, now between two.
PIECES = [BODY[start:end] for start, end in pairwise([*range(0, len(BODY), 40), len(BODY)])]
CHUNKED = chunked(*PIECES)


def documents_of(data: bytes, *, is_clean_end: bool):
    """What is whole in `data`; at a clean end also a last event that lacks nothing but its blank line."""
    *blocks, rest = data.split(b"\n\n")
    blocks += [rest] if is_clean_end else []
    for block in blocks:
        payload = block.removeprefix(b"data: ").strip()
        if block.startswith(b"data: ") and payload.endswith((b"}", b"[DONE]")):
            try:
                yield None if payload == b"[DONE]" else json.loads(payload)
            except ValueError:
                continue


def expected_of(data: bytes, *, is_clean_end: bool):
    """(text, tool calls, is finished, the least and the most images) that this much of the body holds."""
    documents = list(documents_of(data, is_clean_end=is_clean_end))
    deltas = [choice["delta"] for document in documents if document for choice in document["choices"]]
    finishes = [choice.get("finish_reason") for document in documents if document for choice in document["choices"]]
    text = "".join(delta.get("content") or "" for delta in deltas)
    is_finished = any(finishes) or None in documents
    whole = sum("images" in delta for delta in deltas)
    # An image is whole with its last quote, well before its event is.
    return text, sum("tool_calls" in delta for delta in deltas), is_finished, whole, int(IMAGE_QUOTE in data)


def dechunked(wire: bytes) -> tuple[bytes, bool]:
    """(the body bytes in a piece of the chunked body, whether its end is there)."""
    body = b""
    while b"\r\n" in wire:
        size, _, wire = wire.partition(b"\r\n")
        if size == b"0":
            return body, wire.startswith(b"\r\n")
        body += wire[: int(size, 16)]
        wire = wire[int(size, 16) + 2 :]
    return body, False


async def outcome(client, offset):
    """The stream that was cut there, what it handed out, and its error."""
    stream, texts, ends, error = client.stream("x", extra_headers={"X-Cut": str(offset)}), [], 0, None
    try:
        async for event in stream:
            texts += [event.text] if isinstance(event, TextDelta) else []
            ends += isinstance(event, StreamEnd)
    except StreamTruncated as caught:
        error = caught
    return stream, "".join(texts), ends, error


async def check(client, offset, data, *, is_clean_end):
    stream, text, ends, error = await outcome(client, offset)
    expected_text, calls, is_finished, fewest, most = expected_of(data, is_clean_end=is_clean_end)
    message = stream.message
    found = (text, message.text, len(message.tool_calls), ends, error is None, stream.status)
    status = "complete" if is_finished else "truncated"
    assert found == (expected_text, expected_text, calls, int(is_finished), is_finished, status), offset
    assert fewest <= len(message.images) <= most, offset
    assert all(image.data == PIXEL for image in message.images)
    if error is not None:
        assert error.partial == message


async def check_all(client, cuts, *, is_clean_end=False):
    """`cuts` are (offset, the bytes of the body in front of it, whether the end is one in order)."""
    gate = asyncio.Semaphore(50)

    async def one(offset, data, is_clean):
        async with gate:
            await check(client, offset, data, is_clean_end=is_clean)

    async with asyncio.TaskGroup() as group:
        for cut in cuts:
            group.create_task(one(*cut))


def server_of(beginning: bytes, body: bytes, *, reset: bool):
    async def play(connection):
        request = await connection.request()
        connection.send(beginning + body[: int(request.headers["x-cut"])])
        if reset:
            await connection.reset()
        else:
            connection.finish()

    return RawServer(play)


def test_the_oracle_reads_the_whole_body():
    """What the cuts are compared with finds everything in the body as a whole."""
    assert expected_of(BODY, is_clean_end=False) == ("Hé!", 1, True, 1, 1)
    assert dechunked(CHUNKED) == (BODY, True)


async def test_end_of_a_body_without_a_length(client_of):
    """A body that ends with its connection: each end is one in order."""
    async with server_of(head(Connection="close"), BODY, reset=False) as server, client_of(server) as client:
        await check_all(client, [(offset, BODY[:offset], True) for offset in OFFSETS])


async def test_cut_inside_a_length(client_of):
    """FIN before the announced length."""
    beginning = head(Content_Length=str(len(BODY) + 1))
    async with server_of(beginning, BODY, reset=False) as server, client_of(server) as client:
        await check_all(client, [(offset, BODY[:offset], False) for offset in OFFSETS])


async def test_cut_inside_chunked_encoding(client_of):
    """FIN anywhere in the chunks, between them and in their sizes."""
    async with server_of(head(Transfer_Encoding="chunked"), CHUNKED, reset=False) as server, client_of(server) as client:
        await check_all(client, [(offset, *dechunked(CHUNKED[:offset])) for offset in range(len(CHUNKED) + 1)])


@pytest.mark.parametrize("framing", ["chunked", "length"])
async def test_reset(client_of, framing):
    """RST right behind the bytes, which must not be lost with it."""
    if framing == "chunked":
        beginning, body = head(Transfer_Encoding="chunked"), chunked(BODY, end=False)
        start = body.index(b"\r\n") + 2
        cuts = [(start + offset, BODY[:offset], False) for offset in OFFSETS]
    else:
        beginning, body = head(Content_Length=str(len(BODY) + 1)), BODY
        cuts = [(offset, BODY[:offset], False) for offset in OFFSETS]
    async with server_of(beginning, body, reset=True) as server, client_of(server) as client:
        await check_all(client, cuts)


async def test_bytes_in_the_buffer_survive_the_break(client_of):
    """A consumer that is slower than the break still gets all that came in front of it."""
    broken = asyncio.Event()
    middle = BODY.index(b"data: ", BODY.index(b"data: ") + 1)

    async def play(connection):
        await connection.request()
        connection.send(head(Content_Length=str(len(BODY) + 1)) + BODY[:middle])
        await slow.wait()
        connection.send(BODY[middle:])
        await connection.reset()
        broken.set()

    slow = asyncio.Event()
    async with RawServer(play) as server, client_of(server) as client:
        texts = []
        async for event in client.stream("x"):
            if isinstance(event, TextDelta):
                texts.append(event.text)
                slow.set()
                await broken.wait()
                await asyncio.sleep(0.05)  # until the reset is known here
        assert (texts, type(event)) == (["Hé", "!"], StreamEnd)
