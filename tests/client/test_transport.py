"""HTTP: which answer is which error, what is not followed, what is reused, what is decompressed."""

import asyncio
import gc
import gzip
import json
import ssl
import tracemalloc
import zlib
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses

from or_stream import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    Client,
    ConfigurationError,
    ConnectionFailed,
    Limits,
    ModerationBlocked,
    NotFound,
    OrStreamError,
    Overloaded,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    ProtocolViolation,
    ProviderUnavailable,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    ServerFailed,
    StreamEnd,
    StreamFailed,
    StreamTimeout,
    StreamTruncated,
    TextDelta,
    Timeouts,
)
from or_stream.client import open_stream
from or_stream.client.request import build_request
from or_stream.emulator import picture, scenarios
from support.raw_server import RawServer, answer, chunked, head

BODY = scenarios.text().body()
TEXT = scenarios.TEXT
CLASSES = {
    400: BadRequest,
    401: AuthenticationFailed,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    408: RequestTimeout,
    413: PayloadTooLarge,
    418: BadRequest,
    422: BadRequest,
    429: RateLimited,
    500: ServerFailed,
    502: ProviderUnavailable,
    503: ProviderUnavailable,
    504: RequestTimeout,
    524: RequestTimeout,
    529: Overloaded,
    599: ServerFailed,
}


def says(*parts, reset=False, keep=False):
    """A server that answers each request with these parts, a moment between two, and closes unless it is to `keep` open."""

    async def play(connection):
        while True:
            await connection.request()
            for number, part in enumerate(parts):
                if number:
                    await asyncio.sleep(0.02)
                connection.send(part)
            if reset:
                await connection.reset()
            if not keep:
                connection.finish()

    return RawServer(play)


async def error_of(client_of, *parts, reset=False, keep=False, **options):
    async with says(*parts, reset=reset, keep=keep) as server, client_of(server, **options) as client:
        with pytest.raises(OrStreamError) as caught:
            async with asyncio.timeout(10):
                await client.generate("x", modalities=["text"])
    assert caught.value.attempts == 1
    assert caught.value.partial is not None
    return caught.value


async def message_of(client_of, *parts, **options):
    async with says(*parts) as server, client_of(server, **options) as client:
        return await client.generate("x")


# ---- refusals


def as_object(status):
    return json.dumps({"error": {"code": status, "message": "no lamp"}, "user_id": "u"}).encode()


@pytest.mark.parametrize(("status", "kind"), CLASSES.items())
async def test_status(client_of, status, kind):
    """Each status is its own class and keeps what the body says."""
    error = await error_of(client_of, answer(as_object(status), status, "application/json", X_Generation_Id="gen-7"))
    assert type(error) is kind
    assert (error.status, error.code, str(error)) == (status, status, f"HTTP {status}: no lamp")
    assert error.generation_id == "gen-7"


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (as_object(402), "application/json", "no lamp"),
        (b"\n\n  \n" + as_object(402), "application/json", "no lamp"),
        (as_object(402), "text/plain", "no lamp"),
        (b'{"error":"no lamp"}', "application/json", "no lamp"),
        (b'{"error":{"message":"no lamp"}}', "application/json", "no lamp"),
        (b'{"error":["no lamp"]}', "application/json", "no lamp"),
        (b'{"error":null,"detail":"no lamp"}', "application/json", "no lamp"),
        (b'{"detail":"no lamp"}', "application/json", "no lamp"),
        (b'["no lamp"]', "application/json", "no lamp"),
        (b"<html>\n  <h1>no lamp</h1></html>", "text/html", "<html> <h1>no lamp</h1></html>"),
        (b"no lamp \xff", "text/plain", "no lamp"),
        (b"", "application/json", "the answer has no body"),
        (b" \n", "application/json", "the answer has no body"),
        (b"[" * 100_000, "application/json", "[[["),
    ],
)
async def test_body_of_a_refusal(client_of, body, content_type, said):
    """A body of any kind is made something of; the status decides the class."""
    error = await error_of(client_of, answer(body, 402, content_type))
    assert isinstance(error, PaymentRequired)
    assert said in str(error)
    assert len(str(error)) < 600


async def test_body_of_a_refusal_in_pieces(client_of):
    """A body that comes in several reads is read whole."""
    body = as_object(402)
    beginning = head(402, "application/json", Content_Length=str(len(body) + 2)) + b"\n\n"
    assert str(await error_of(client_of, beginning, body[:20], body[20:])) == "HTTP 402: no lamp"


@pytest.mark.parametrize("reset", [False, True])
async def test_body_of_a_refusal_is_cut(client_of, reset):
    """The status says no, whether or not the body arrives."""
    error = await error_of(client_of, head(402, "application/json", Content_Length="999") + as_object(402)[:30], reset=reset)
    assert isinstance(error, PaymentRequired)


async def test_body_of_a_refusal_never_ends(client_of, monkeypatch):
    """Nor is it waited for very long."""
    monkeypatch.setattr("or_stream.client.transport._session._ERROR_BODY_SECONDS", 0.1)
    begun = head(429, "application/json", Content_Length="999") + as_object(429)
    error = await error_of(client_of, begun, keep=True)
    assert isinstance(error, RateLimited)
    assert str(error) == "HTTP 429: no lamp"


async def test_body_of_a_refusal_without_end(client_of):
    """A megabyte of it is enough."""
    error = await error_of(client_of, head(500, "text/plain", Connection="close"), *[b"x" * 2**18] * 6)
    assert isinstance(error, ServerFailed)
    assert len(str(error)) < 300


async def test_moderation(client_of):
    """403 with reasons is ModerationBlocked, and a PermissionDenied."""
    body = b'{"error":{"code":403,"message":"m","metadata":{"reasons":["violence"],"provider_name":"P"}}}'
    error = await error_of(client_of, answer(body, 403, "application/json"))
    assert isinstance(error, ModerationBlocked)
    assert (error.metadata["reasons"], error.provider, error.retryable) == (["violence"], "P", False)


async def test_availability_wins(client_of):
    """What the server says of retrying wins over the status."""
    body = b'{"error":{"message":"m","http_status":503,"error_type":"t","availability":{"retryable":false}}}'
    error = await error_of(client_of, answer(body, 503, "application/json"), retry=RetryPolicy())
    assert (error.retryable, error.error_type) == (False, "t")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(client_of, key, status):
    """The key and the prompt go to the address they were meant for and to no other."""
    elsewhere_heard = []

    async def elsewhere(connection):
        elsewhere_heard.append(await connection.request())

    async with RawServer(elsewhere) as other:
        place = f"{other.base_url}?key={key}"
        error = await error_of(client_of, answer(b"", status, None, Location=place), retry=RetryPolicy())
    assert elsewhere_heard == []
    assert isinstance(error, BadRequest)
    assert (error.status, error.retryable) == (status, False)
    assert "correct base_url" in str(error)
    assert key not in str(error)


@pytest.mark.parametrize("status", [201, 202, 206])
async def test_success_of_another_kind(client_of, status):
    """Only 200 is an answer."""
    error = await error_of(client_of, answer(BODY, status))
    assert isinstance(error, ProtocolViolation)
    assert str(status) in str(error)


# ---- 200, and what it says


@pytest.mark.parametrize("content_type", [None, "text/plain", "text/html; charset=utf-8", "application/octet-stream", "nonsense"])
async def test_neither_stream_nor_json(client_of, content_type):
    """A web page, or anything else that is no stream, is told with its beginning."""
    error = await error_of(client_of, answer(b"<h1>Please log in</h1>", 200, content_type))
    assert isinstance(error, ProtocolViolation)
    assert "Please log in" in str(error)


@pytest.mark.parametrize("content_type", ["text/event-stream", "text/event-stream;charset=UTF-8", "Text/Event-Stream ; x=y"])
async def test_stream_of_any_spelling(client_of, content_type):
    """Parameters and capitals of the content type do not matter."""
    assert (await message_of(client_of, answer(BODY, 200, content_type))).text == TEXT


@pytest.mark.parametrize(("status", "kind"), CLASSES.items())
async def test_json_error_under_200(client_of, status, kind):
    """An error as JSON is the error of the status in its body."""
    error = await error_of(client_of, answer(b"\n\n" + as_object(status), 200, "application/json"))
    assert isinstance(error, kind)
    assert error.status == status


async def test_json_answer_is_delivered_as_events(emulator, client):
    """A whole answer as JSON comes as the same events."""
    emulator.play("json-answer")
    events = [event async for event in client.stream("x")]
    assert [event.type for event in events] == ["stream_start", "text_delta", "usage_update", "stream_end"]
    assert events[-1].message.text == TEXT


async def test_json_answer_with_an_image(client_of):
    """Its images too."""
    url = scenarios.image_url_plain().body().split(b'"image_url":"')[1].split(b'"')[0].decode()
    body = {
        "id": "g",
        "choices": [{"message": {"content": "a", "images": [{"image_url": {"url": url}}]}, "finish_reason": "stop"}],
    }
    message = await message_of(client_of, answer(json.dumps(body).encode(), 200, "application/json; charset=utf-8"))
    assert (message.text, message.images[0].data) == ("a", scenarios.specimen())


async def test_json_answer_is_cut(client_of):
    """A document that stops before its length is truncated."""
    error = await error_of(client_of, head(200, "application/json", Content_Length="999") + b'{"id":')
    assert isinstance(error, StreamTruncated)


@pytest.mark.parametrize("body", [b"<html>", b"", b'{"id":', b"{}", b"[]", b"null", b" \n "])
async def test_json_that_is_no_answer(client_of, body):
    """A document that is no JSON, or has nothing to say, is an error and never an empty success."""
    error = await error_of(client_of, answer(body, 200, "application/json"))
    assert isinstance(error, ProtocolViolation | StreamTruncated)


async def test_error_in_a_choice_of_a_json_answer(emulator, client):
    """Text and an error beside it: the stream failed, and the text is kept."""
    emulator.play("error-in-json-choice")
    with pytest.raises(StreamFailed) as caught:
        await client.generate("x")
    assert (caught.value.status, caught.value.partial.text) == (502, "The lamp")


async def test_event_over_the_limit(client_of):
    """An event that never ends is given up at the limit, with what came before."""
    body = BODY.removesuffix(b"data: [DONE]\n\n") + b"data: " + b"x" * 5000
    async with says(head(Connection="close") + body) as server, client_of(server, limits=Limits(event_bytes=2000)) as client:
        stream = client.stream("x")
        with pytest.raises(ProtocolViolation, match="2000"):
            await stream.final()
    assert stream.message.text == TEXT


# ---- what is not HTTP


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff\xfe\r\n\r\n",
        b"<html>hello</html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX Y : a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
    ],
)
async def test_garbage_instead_of_http(client_of, data):
    """Somebody else listens there: an error that fits on one line, and no reason to ask again."""
    error = await error_of(client_of, data)
    assert isinstance(error, ProtocolViolation)
    assert not error.retryable
    assert "\n" not in str(error)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nConten"])
@pytest.mark.parametrize("reset", [False, True])
async def test_closed_before_the_headers(client_of, data, reset):
    """No answer at all, or only half of its head."""
    error = await error_of(client_of, data, reset=reset)
    assert isinstance(error, ConnectionFailed)
    assert error.retryable
    assert len(str(error)) < 200


@pytest.mark.parametrize("garbage", [b"zz not a size\r\n", b"f" * 20 + b"\r\n", b"4\r\n: a\nmore than that\r\n"])
@pytest.mark.parametrize("ending", [{}, {"keep": True}, {"reset": True}])
async def test_garbage_inside_chunked_encoding(client_of, garbage, ending):
    """A chunk without a size, or longer than it, after good ones ends the stream at once, whatever the server does then."""
    good = head(Transfer_Encoding="chunked") + chunked(BODY.partition(b"data: [DONE]")[0][:1000], end=False)
    error = await error_of(client_of, good, garbage, timeouts=Timeouts(idle=60), **ending)
    assert isinstance(error, ProtocolViolation)
    assert "not proper HTTP" in str(error)
    assert error.partial.text


@pytest.mark.parametrize("filler", [b"\n", b": \n", b"data:\n\n"])
async def test_compressed_flood(client_of, filler):
    """A few compressed kilobytes that unpack to gigabytes of nothing are read in bounded memory, until a clock runs out."""
    compressor = zlib.compressobj(wbits=31)
    body = b"".join([compressor.compress(filler * 1_000_000) for _ in range(300)])
    tracemalloc.start()
    try:
        error = await error_of(
            client_of,
            head(Content_Encoding="gzip", Content_Length=str(len(body) + 1)) + body,
            keep=True,
            timeouts=Timeouts(first_content=0.3),
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, StreamTimeout)
    assert error.phase == "first_content"
    assert peak < 20_000_000 + 2 * len(body)


@pytest.mark.parametrize(
    ("status", "content_type", "beginning", "expected"),
    [
        (200, "text/event-stream", b"data: ", ProtocolViolation),
        (200, "application/json", b"", ProtocolViolation),
        (500, "application/json", b"", ServerFailed),
    ],
)
async def test_compressed_bomb(client_of, status, content_type, beginning, expected):
    """One event, one document or one refusal that unpacks to more than its limit is given up there."""
    body = gzip.compress(beginning + b"x" * 50_000_000)
    said = head(status, content_type, Content_Encoding="gzip", Content_Length=str(len(body))) + body
    tracemalloc.start()
    try:
        error = await error_of(client_of, said, keep=True, limits=Limits(event_bytes=1_000_000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(error, expected)
    assert peak < 20_000_000


# ---- compression


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_compressed_all_the_same(client_of, name, compress):
    """A proxy that compresses though `identity` was asked for is understood."""
    assert (await message_of(client_of, answer(compress(BODY), Content_Encoding=name))).text == TEXT


@pytest.mark.parametrize("name", ["gzip", "br", "zstd"])
async def test_broken_compression(client_of, name):
    """A body that is not what its encoding says."""
    data = gzip.compress(BODY)
    error = await error_of(client_of, answer(data[:60] + b"\x00\x01\x02" + data[63:], Content_Encoding=name))
    assert isinstance(error, ProtocolViolation)


async def test_compressed_and_cut(client_of):
    """A compressed body that ends early is truncated."""
    error = await error_of(client_of, head(Content_Encoding="gzip", Connection="close") + gzip.compress(BODY)[:100])
    assert isinstance(error, StreamTruncated)


# ---- after the end


async def test_connection_is_used_again(client_of):
    """What stands behind [DONE] is ignored, and the connection reused once the body has ended."""
    behind = b": ignored\n\ndata: {not json}\n\n"
    async with (
        says(head(Transfer_Encoding="chunked") + chunked(BODY, end=False), chunked(behind), keep=True) as server,
        client_of(server) as client,
    ):
        for _ in range(3):
            assert (await client.generate("x")).text == TEXT
            await asyncio.sleep(0.1)  # for the end of the body to arrive
        assert len(server.connections) == 1


async def test_connection_that_is_used_again_is_watched_once(client_of):
    """However many answers a connection has brought, its end is told to the reader of the last, and once."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    slow = (head(Transfer_Encoding="chunked") + chunked(BODY, end=False), chunked(b": the end\n\n"))
    async with says(*slow, keep=True) as server, client_of(server) as client:
        for _ in range(3):
            await client.generate("x")
            await asyncio.sleep(0.1)  # for the end of the body to arrive
        await server.connections[0].reset()
        await asyncio.sleep(0.1)
        assert (len(server.connections), complaints) == (1, [])


async def test_connection_that_is_reset_when_used_again(emulator, client):
    """The failure is raised by the request that met it, and asyncio has nothing to complain of besides."""
    complaints = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    emulator.play(scenarios.text(), scenarios.reset_before_headers())
    for _ in range(2):
        await client.generate("hi")
    await client.aclose()
    gc.collect()
    assert (len(emulator.requests), complaints) == (3, [])


async def test_connection_that_stays_silent_after_done(client_of, monkeypatch):
    """A server that keeps the body open after [DONE] is not waited for, and each such connection is dropped soon."""
    monkeypatch.setattr("or_stream.client.transport._session._LINGER_SECONDS", 0.1)
    async with (
        says(head(Transfer_Encoding="chunked") + chunked(BODY, end=False), keep=True) as server,
        client_of(server) as client,
    ):
        async with asyncio.timeout(5):
            for _ in range(3):
                assert (await client.generate("x")).text == TEXT
                await asyncio.sleep(0.02)
            for connection in server.connections:
                await connection.left.wait()
        assert len(server.connections) == 3


async def test_connection_of_a_refusal_is_used_again(client_of):
    """A refusal whose body is whole leaves its connection to the next attempt."""
    async with says(answer(as_object(503), 503, "application/json"), keep=True) as server:
        async with client_of(server, retry=RetryPolicy(base_seconds=0)) as client:
            with pytest.raises(ProviderUnavailable):
                await client.generate("x")
        assert [len(connection.requests) for connection in server.connections] == [3]


async def test_cookies_are_not_kept(client_of):
    """A key is all that a request is known by: what a server sets on one answer comes back with no other."""
    async with says(answer(BODY, Set_Cookie="who=you; Path=/"), keep=True) as server:
        server.base_url = server.base_url.replace("127.0.0.1", "localhost")  # aiohttp takes no cookie from a bare address anyway
        async with client_of(server) as client:
            for _ in range(2):
                await client.generate("x")
        requests = [request for connection in server.connections for request in connection.requests]
    assert len(requests) == 2
    assert not any("cookie" in request.headers for request in requests)


async def test_closing_the_client_ends_what_lingers(client_of):
    """A connection that waits for the end of its body is closed with the client."""
    begun = head(Transfer_Encoding="chunked") + chunked(BODY, end=False)
    async with says(begun, keep=True) as server:
        async with client_of(server) as client:
            await client.generate("x")
        async with asyncio.timeout(1):
            await server.connections[0].left.wait()


async def test_whoever_keeps_the_message_breaks(client_of):
    """An error that is none of this library's is raised as it is, though the connection might have had the same."""

    def break_down(_message):
        raise OSError("the disk is gone")

    async with says(answer(BODY)) as server, client_of(server, retry=RetryPolicy(base_seconds=0)) as client:
        stream = open_stream(client, build_request("x", None, {}), {}, when_complete=break_down)
        with pytest.raises(OSError, match="the disk is gone"):
            await stream.final()
        assert len(server.connections) == 1


async def test_whoever_keeps_the_message_fails(client_of):
    """All that came with the end is handed out, then the error, which is the stream's."""

    def refuse(_message):
        raise ConfigurationError("cannot be kept")

    async def read():
        async for event in stream:
            events.append(event)  # noqa: PERF401  # the exception would lose them

    async with says(answer(BODY)) as server, client_of(server, retry=RetryPolicy(base_seconds=0)) as client:
        events, stream = [], open_stream(client, build_request("x", None, {}), {}, when_complete=refuse)
        with pytest.raises(ConfigurationError, match="cannot be kept") as caught:
            await read()
    assert "".join(event.text for event in events if type(event) is TextDelta) == caught.value.partial.text == TEXT
    assert (stream.status, type(events[-1]) is StreamEnd, len(server.connections)) == ("failed", False, 1)


# ---- addresses, proxies, sessions


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/api/v1", "http://lamp.invalid/api/v1"])
async def test_nobody_there(key, address):
    """No such port, no such name."""
    async with Client(api_key=key, base_url=address, retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.generate("x")
    assert caught.value.retryable


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".com"])
async def test_host_that_is_no_name(key, host):
    """What no resolver takes is the caller's mistake."""
    async with Client(api_key=key, base_url=f"http://{host}/api") as client:
        with pytest.raises(ConfigurationError, match="cannot be sent"):
            await client.generate("x")


async def test_tls_where_there_is_none(client_of):
    """A server that speaks http, at an https address."""

    async def play(connection):
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawServer(play) as server:
        server.base_url = server.base_url.replace("http:", "https:")
        async with client_of(server) as client:
            with pytest.raises(ConnectionFailed):
                await client.generate("x")


async def test_proxy_gets_the_request(client_of, key):
    """With `proxy` the request goes there, with the whole address."""
    async with says(answer(BODY)) as proxy:
        address = proxy.base_url.removesuffix("/api/v1")
        async with Client(api_key=key, base_url="http://lamp.invalid/api/v1", proxy=address) as client:
            assert (await client.generate("x")).text == TEXT
        assert proxy.connections[0].requests[0].line == "POST http://lamp.invalid/api/v1/chat/completions HTTP/1.1"


async def test_proxy_that_refuses(key):
    """A proxy that does not let a tunnel through is named, its password is not."""
    async with says(answer(b"no", 407, "text/plain")) as proxy:
        address = proxy.base_url.removesuffix("/api/v1").replace("http://", "http://user:hush@")
        options = {"proxy": address, "retry": RetryPolicy(attempts=1)}
        async with Client(api_key=key, base_url="https://lamp.invalid/api/v1", **options) as client:
            with pytest.raises(ConnectionFailed, match="proxy") as caught:
                await client.generate("x")
        assert "hush" not in str(caught.value)


async def test_netrc_does_not_replace_the_key(client_of, key, tmp_path, monkeypatch):
    """An entry of .netrc, which aiohttp would prefer, stays out of it."""
    (tmp_path / "netrc").write_text("default login somebody password hush\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with says(answer(BODY)) as server, client_of(server) as client:
        await client.generate("x")
        assert server.connections[0].requests[0].headers["authorization"] == f"Bearer {key}"


async def test_session_that_raises_for_status(client_of):
    """A session of the caller's that raises for a status of its own does not hide ours."""
    async with (
        says(answer(as_object(401), 401, "application/json")) as server,
        aiohttp.ClientSession(raise_for_status=True) as own,
    ):
        client = client_of(server, session=own)
        with pytest.raises(AuthenticationFailed):
            await client.generate("x")
        await client.aclose()
        assert not own.closed


@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
async def test_session_with_credentials(client_of):
    """A session of the caller's with credentials of its own cannot carry the key too."""
    async with says(answer(BODY)) as server, aiohttp.ClientSession(auth=aiohttp.BasicAuth("a", "b")) as own:
        with pytest.raises(ConfigurationError, match="AUTHORIZATION"):
            await client_of(server, session=own).generate("x")


async def test_large_body(client_of):
    """A prompt with a large picture goes out whole and without a warning, again for each attempt."""
    data = picture("a", 8, 8, 3_000_000)
    async with says(answer(as_object(503), 503, "application/json", Connection="close")) as server:
        async with client_of(server, retry=RetryPolicy(attempts=2, base_seconds=0)) as client:
            with pytest.raises(ProviderUnavailable):
                await client.generate("x", images=[data])
        bodies = [connection.requests[0].body for connection in server.connections]
    assert len(bodies) == 2
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) > 4_000_000


async def test_refusal_before_the_request_is_read(client_of):
    """A server that says no to a large request before it has read it is heard, or at least missed."""

    async def play(connection):
        connection.send(answer(as_object(413), 413, "application/json"))
        await asyncio.sleep(0.05)
        connection.finish()

    async with RawServer(play) as server, client_of(server) as client:
        with pytest.raises((PayloadTooLarge, ConnectionFailed)):
            await client.generate("x" * 20_000_000)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (aiohttp.ClientError("x"), ConnectionFailed),
        (aiohttp.ClientConnectionError(), ConnectionFailed),
        (aiohttp.ServerDisconnectedError(), ConnectionFailed),
        (aiohttp.ServerTimeoutError(), OrStreamError),
        (aiohttp.ClientPayloadError(), ConnectionFailed),
        (OSError(104, "reset"), ConnectionFailed),
        (ConnectionResetError(), ConnectionFailed),
        (aiohttp.http_exceptions.LineTooLong(b"x", 5), ProtocolViolation),
        (aiohttp.InvalidURL("x"), ConfigurationError),
        (aiohttp.NonHttpUrlClientError("x"), ConfigurationError),
        (UnicodeError("x"), ConfigurationError),
    ],
)
async def test_every_exception_of_aiohttp_is_mapped(key, raised, expected):
    """Nothing but our own errors comes out, with aiohttp's behind it."""
    async with Client(api_key=key, retry=RetryPolicy(attempts=1)) as client:
        with aioresponses() as mocked:
            mocked.post("https://openrouter.ai/api/v1/chat/completions", exception=raised)
            with pytest.raises(expected) as caught:
                await client.generate("x")
    assert isinstance(caught.value, OrStreamError)
    assert caught.value.__cause__ is raised


async def test_certificate_that_does_not_hold(key):
    """Nobody is asked again whose certificate was wrong, and it is said that it was."""
    error = aiohttp.ClientConnectorCertificateError(
        Mock(host="h", port=443, is_ssl=True), ssl.SSLCertVerificationError("expired")
    )
    async with Client(api_key=key) as client:
        with aioresponses() as mocked:
            mocked.post("https://openrouter.ai/api/v1/chat/completions", exception=error)
            with pytest.raises(ConnectionFailed, match="certificate") as caught:
                await client.generate("x")
    assert (caught.value.retryable, caught.value.attempts) == (False, 1)


def test_no_class_of_aiohttp_is_forgotten():
    """Every exception class that aiohttp has for a client is one of those that are mapped."""
    classes = [
        thing for thing in vars(aiohttp.client_exceptions).values() if isinstance(thing, type) and issubclass(thing, Exception)
    ]
    mapped = (aiohttp.ClientError, OSError, ValueError, aiohttp.http_exceptions.HttpProcessingError)
    ours = [thing for thing in classes if thing.__module__.startswith("aiohttp") and not thing.__name__.startswith("WS")]
    assert ours
    assert [thing for thing in ours if not issubclass(thing, mapped)] == []


async def test_aioresponses_of_the_users(key):
    """Users mock aiohttp: a whole body in one read works, an error status too."""
    async with Client(api_key=key, retry=RetryPolicy(base_seconds=0)) as client:
        with aioresponses() as mocked:
            url = "https://openrouter.ai/api/v1/chat/completions"
            mocked.post(url, status=503, payload={"error": {"code": 503, "message": "m"}})
            mocked.post(url, body=scenarios.text_and_images(byte_size=60_000).body(), content_type="text/event-stream")
            events = [event async for event in client.stream("x", timeouts=Timeouts(total=30))]
    assert type(events[-1]) is StreamEnd
    assert events[-1].message.images[0].size == 60_000


async def test_little_is_read_ahead_of_what_goes_to_disk(key, tmp_path):
    """What comes is not kept there, so that the buffer of the connection is the memory that a stream takes."""
    async with Client(api_key=key) as client:
        with aioresponses() as mocked:
            url = "https://openrouter.ai/api/v1/chat/completions"
            mocked.post(url, body=scenarios.text().body(), content_type="text/event-stream", repeat=True)
            for folder in (None, tmp_path):
                await client.generate("x", save_to=folder)
            buffers = [call.kwargs["read_bufsize"] for calls in mocked.requests.values() for call in calls]
    assert buffers == [2**18, 2**16]


def test_status_errors_have_one_base():
    """`except APIStatusError` catches every refusal."""
    assert all(issubclass(kind, APIStatusError) for kind in CLASSES.values())
