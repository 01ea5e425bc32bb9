"""nginx, as it stands in front of most services: it buffers, compresses, cuts, and refuses in HTML."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from counterparties import closed_port, free_port, nginx

from or_stream import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    Client,
    ConnectionFailed,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    ProviderUnavailable,
    RateLimited,
    RequestTimeout,
    RetryPolicy,
    ServerFailed,
    StreamTruncated,
)
from or_stream.emulator import Close, Emulator, Scenario, Stall, Wait, WaitFor, scenarios

TEXT = "The lamp turns above the grey sea"
IMAGE_BYTES = 1_500_000

MODERN = "proxy_http_version 1.1; proxy_set_header Connection '';"
FORMS = {
    "as it comes": "",
    "http 1.1": MODERN,
    "unbuffered": f"{MODERN} proxy_buffering off;",
    "small buffers": f"{MODERN} proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k;",
}


def in_front_of(emulator: Emulator, lines: str = "") -> str:
    """A location that hands everything to the emulator."""
    return f"location / {{ proxy_pass http://127.0.0.1:{emulator.port}; {lines} }}"


@contextmanager
def compressing(folder: Path, emulator: Emulator) -> Iterator[str]:
    """nginx that compresses although the client does not ask for it, as some gateways do: one server asks another to."""
    port = free_port()
    types = "gzip_types text/event-stream; gzip_min_length 1; gzip_proxied any;"
    inner = f"server {{ listen 127.0.0.1:{port}; gzip on; {types} {in_front_of(emulator, FORMS['unbuffered'])} }}"
    asking = f"{FORMS['unbuffered']} proxy_set_header Accept-Encoding gzip; access_log encodings.txt encodings;"
    http = f"log_format encodings '$sent_http_content_encoding'; {inner}"
    with nginx(folder, f"location / {{ proxy_pass http://127.0.0.1:{port}; {asking} }}", http=http) as address:
        yield address
        log, deadline = folder / "nginx" / "encodings.txt", time.monotonic() + 10
        while not log.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)  # it is written a moment after the answer
    assert set(log.read_text().split()) == {"gzip"}


async def first_word_comes_alone(emulator: Emulator, client: Client, headers: Mapping[str, str] | None = None) -> None:
    """Checks that the first word of an answer is here before the second is made."""
    gate = asyncio.Event()
    first, *rest = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, WaitFor(gate), *rest), headers=headers or {}))
    async with asyncio.timeout(10), client.stream("hi") as stream:
        words = aiter(stream.text)
        assert await anext(words) == "The"
        gate.set()
        assert "".join([word async for word in words]) == TEXT.removeprefix("The")


@pytest.mark.parametrize("lines", FORMS.values(), ids=FORMS.keys())
async def test_text_and_images_come_through_unharmed(emulator, client_of, tmp_path, lines):
    """However nginx buffers or compresses, text and images are those that were sent, and the usage too."""
    answer = scenarios.text_and_images(2, IMAGE_BYTES)
    emulator.play(answer, times=2)
    direct = await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    with nginx(tmp_path, in_front_of(emulator, lines)) as address:
        message = await client_of(address).generate("hi")
    assert message.text == direct.text
    assert [image.sha256 for image in message.images] == [image.sha256 for image in direct.images]
    assert message.images[0].size == IMAGE_BYTES
    assert message.usage == direct.usage


async def test_an_answer_compressed_unasked_comes_through_unharmed(emulator, client_of, tmp_path):
    """Text and images in a gzip body are those that were sent."""
    emulator.play(scenarios.text_and_images(2, IMAGE_BYTES), times=2)
    direct = await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    with compressing(tmp_path, emulator) as address:
        message = await client_of(address).generate("hi")
    assert (message.text, message.images) == (direct.text, direct.images)


async def test_first_words_are_prompt_without_buffering(emulator, client_of, tmp_path):
    """With `proxy_buffering off` the first word is here while the second is not even made."""
    with nginx(tmp_path, in_front_of(emulator, FORMS["unbuffered"])) as address:
        await first_word_comes_alone(emulator, client_of(address))


async def test_first_words_are_prompt_in_a_compressed_answer(emulator, client_of, tmp_path):
    """The words are decompressed one after the other, as they come."""
    with compressing(tmp_path, emulator) as address:
        await first_word_comes_alone(emulator, client_of(address))


async def test_first_words_are_prompt_where_the_server_forbids_buffering(emulator, client_of, tmp_path):
    """`X-Accel-Buffering: no`, which streaming servers send, has the same effect."""
    with nginx(tmp_path, in_front_of(emulator, MODERN)) as address:
        await first_word_comes_alone(emulator, client_of(address), headers={"X-Accel-Buffering": "no"})


@pytest.mark.parametrize("form", ["as it comes", "unbuffered"])
async def test_silence_that_nginx_cuts_is_a_truncation(emulator, client_of, tmp_path, form):
    """`proxy_read_timeout` within an answer is a StreamTruncated with what had come; a buffering nginx withholds that."""
    first, second, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, second, Stall())))
    with nginx(tmp_path, in_front_of(emulator, f"{FORMS[form]} proxy_read_timeout 1s;")) as address:
        with pytest.raises(StreamTruncated) as caught:
            await client_of(address).generate("hi")
    assert caught.value.partial.text == ("The lamp" if form == "unbuffered" else "")
    assert caught.value.retryable


async def test_a_break_that_nginx_hides_is_a_truncation(emulator, client_of, tmp_path):
    """Over HTTP/1.0, nginx's default, it takes a broken answer for a whole one and ends it in order; we do not."""
    first, second, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, second, Close())))
    with nginx(tmp_path, in_front_of(emulator)) as address:
        with pytest.raises(StreamTruncated) as caught:
            await client_of(address).generate("hi")
    assert caught.value.partial.text == "The lamp"


async def test_silence_before_the_answer_is_a_request_timeout(emulator, client_of, tmp_path):
    """`proxy_read_timeout` before the headers is nginx's 504 in HTML: RequestTimeout, worth another try."""
    emulator.play(scenarios.text(TEXT).after(Stall()))
    with nginx(tmp_path, in_front_of(emulator, "proxy_read_timeout 1s;")) as address:
        with pytest.raises(RequestTimeout) as caught:
            await client_of(address).generate("hi")
    assert caught.value.status == 504
    assert caught.value.retryable


async def test_nobody_behind_it_is_provider_unavailable(client_of, tmp_path):
    """502 in HTML."""
    with closed_port() as port, nginx(tmp_path, f"location / {{ proxy_pass http://127.0.0.1:{port}; }}") as address:
        with pytest.raises(ProviderUnavailable) as caught:
            await client_of(address).generate("hi")
    assert caught.value.status == 502
    assert "502 Bad Gateway" in str(caught.value)


STATUSES = {
    400: BadRequest,
    401: AuthenticationFailed,
    402: PaymentRequired,
    403: PermissionDenied,
    404: NotFound,
    405: BadRequest,
    413: PayloadTooLarge,
    429: RateLimited,
    500: ServerFailed,
    502: ProviderUnavailable,
    503: ProviderUnavailable,
    504: RequestTimeout,
    529: Overloaded,
    301: BadRequest,
    307: BadRequest,
}


async def test_pages_of_nginx_are_the_right_errors(client_of, tmp_path):
    """Each status that nginx answers with a page of its own, or with nothing, has the class of that status."""
    locations = "".join(f"location /{status}/ {{ return {status}{' /new' if status < 400 else ''}; }}\n" for status in STATUSES)
    raised = {}
    with nginx(tmp_path, locations) as address:
        for status in STATUSES:
            with pytest.raises(APIStatusError) as caught:
                await client_of(f"{address}/{status}").generate("hi")
            assert caught.value.status == status
            raised[status] = type(caught.value)
    assert raised == STATUSES


async def test_limit_req_is_rate_limited_without_a_hint(emulator, client_of, tmp_path):
    """`limit_req` says 429 in HTML and no Retry-After: RateLimited, with `retry_after` None."""
    with nginx(tmp_path, in_front_of(emulator, "limit_req zone=requests; limit_req_status 429;")) as address:
        client = client_of(address)
        await client.generate("hi")
        with pytest.raises(RateLimited) as caught:
            await client.generate("hi")
    assert caught.value.retry_after is None
    assert caught.value.retryable


async def test_a_passing_failure_is_tried_again(emulator, client_of, tmp_path):
    """A 504 of nginx is followed by a second request, which succeeds."""
    emulator.play(scenarios.text("late").after(Wait(30)), scenarios.text("in time"))
    with nginx(tmp_path, in_front_of(emulator, "proxy_read_timeout 1s;")) as address:
        message = await client_of(address, retry=RetryPolicy(base_seconds=0.01)).generate("hi")
    assert message.text == "in time"
    assert len(emulator.requests) == 2


async def test_an_upload_that_nginx_refuses_halfway_is_payload_too_large(emulator, client_of, tmp_path):
    """nginx answers 413 while the request is still being sent; the answer is read all the same."""
    with nginx(tmp_path, in_front_of(emulator, "client_max_body_size 1m;")) as address:
        with pytest.raises(PayloadTooLarge):
            await client_of(address).generate("hi" * 5_000_000)
    assert emulator.requests == []


async def test_a_connection_closed_without_a_word_is_connection_failed(client_of, tmp_path):
    """nginx's 444."""
    with nginx(tmp_path, "location / { return 444; }") as address:
        with pytest.raises(ConnectionFailed):
            await client_of(address).generate("hi")


async def test_connections_that_nginx_closes_after_each_answer_do_no_harm(emulator, client_of, tmp_path):
    """With `keepalive_requests 1` no request is sent on a connection that is already closed."""
    with nginx(tmp_path, f"keepalive_requests 1; {in_front_of(emulator, MODERN)}") as address:
        client = client_of(address)
        for _ in range(20):
            await client.generate("hi")
    assert len(emulator.requests) == 20


async def test_connections_are_kept_through_nginx(emulator, client_of, tmp_path):
    """Requests one after the other share connections to nginx; a second one opens where an answer's end is a moment late."""
    lines = in_front_of(emulator, f"{MODERN} access_log connections.txt connections;")
    with nginx(tmp_path, lines, http="log_format connections '$connection';") as address:
        client = client_of(address)
        for _ in range(20):
            await client.generate("hi")
    connections = (tmp_path / "nginx" / "connections.txt").read_text().split()
    assert len(connections) == 20
    assert len(set(connections)) <= 5


@pytest.mark.parametrize("lines", [FORMS["http 1.1"], FORMS["unbuffered"]], ids=["buffered", "unbuffered"])
async def test_leaving_reaches_the_provider_through_nginx(emulator, client_of, tmp_path, lines):
    """A stream that is left ends the generation behind nginx as well, because it costs money."""
    first, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, Stall())))
    with nginx(tmp_path, in_front_of(emulator, lines)) as address:
        async with asyncio.timeout(10):
            async with client_of(address).stream("hi"):
                pass
            await emulator.requests[0].disconnected.wait()


async def test_many_streams_at_once_keep_to_themselves(emulator, client_of, tmp_path):
    """Sixty-four at once through one nginx, each with its own answer."""
    emulator.script = lambda request: scenarios.text(f"answer to {request.body['messages'][0]['content']}")
    with nginx(tmp_path, in_front_of(emulator, FORMS["unbuffered"])) as address:
        client = client_of(address)
        messages = await asyncio.gather(*(client.generate(f"question {number}") for number in range(64)))
    assert [message.text for message in messages] == [f"answer to question {number}" for number in range(64)]


def test_nginx_stops(tmp_path: Path) -> None:
    """Nothing listens any more once the block is left."""
    with nginx(tmp_path, "location / { return 404; }"):
        pass
    assert not (tmp_path / "nginx" / "nginx.pid").exists()
