"""Pictures at addresses: fetched when asked, from where a stranger may send a client and from nowhere else."""

import asyncio
import gzip
import socket

import pytest

from or_stream import (
    ConfigurationError,
    ConnectionFailed,
    Image,
    ImageNotSaved,
    NotFound,
    OrStreamError,
    ProtocolViolation,
    StreamTimeout,
    fetch_image,
)
from or_stream.client._image_fetching import fetch_image_from
from or_stream.client.transport import is_public
from or_stream.emulator import picture
from support.raw_server import RawServer, answer, chunked, head

PNG = picture("a lamp", 32, 32, byte_size=5000)


def serving(*parts, pause=0.0):
    async def play(connection):
        while True:
            await connection.request()
            for part in parts:
                connection.send(part)
                await asyncio.sleep(pause)

    return RawServer(play)


async def fetched(address, *, may_connect=lambda host: host == "127.0.0.1", **options):
    """What `fetch_image` does, but that this machine is a public one."""
    options = {"save_to": None, "max_bytes": 10_000, "timeout_seconds": 10, **options}
    return await fetch_image_from(address, may_connect=may_connect, **options)


async def failure_of(*parts, **options):
    async with serving(*parts) as server:
        with pytest.raises(OrStreamError) as caught:
            await fetched(server.base_url, **options)
    return caught.value


# ---- what may be connected to


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public(address):
    """Addresses of the Internet, also as IPv6 carries those of IPv4."""
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
    ],
)
def test_not_public(address):
    """Loopback, private, link-local and reserved networks, in every notation that carries one of them."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]", "[::ffff:127.0.0.1]"]
)
async def test_this_machine_is_not_asked(host):
    """However it is spelled, nobody here hears of it."""
    async with serving(answer(PNG)) as server:
        port = server.base_url.rpartition(":")[2].partition("/")[0]
        with pytest.raises(ProtocolViolation, match="is not fetched"):
            await fetch_image(Image(url=f"http://{host}:{port}/a.png"))
        assert server.connections == []


async def test_redirect_into_a_private_network():
    """Each step is checked, where it connects and not where it is named."""
    async with serving(answer(PNG)) as inside:
        inside_address = inside.base_url
        place = inside_address.replace("127.0.0.1", "127.0.0.2")
        error = await failure_of(answer(b"", 302, None, Location=place))
        assert isinstance(error, ProtocolViolation)
        assert "127.0.0.2, which is no public address" in str(error)
        assert not error.retryable
        assert inside.connections == []


async def test_name_that_resolves_to_something_else_later():
    """The address that is connected to is the address that was checked: there is no second look at the name."""
    async with serving(answer(PNG)) as server:
        asked = []

        def once(host):
            asked.append(host)
            return len(asked) == 1

        address = server.base_url.replace("127.0.0.1", "localhost")
        family = socket.getaddrinfo("localhost", 80)[0][0]
        if family == socket.AF_INET6:
            pytest.skip("localhost is ::1 here, where the server does not listen")
        assert (await fetched(address, may_connect=once)).data == PNG
        with pytest.raises(ProtocolViolation):
            await fetched(address, may_connect=once)


@pytest.mark.parametrize("address", ["ftp://a.example/x.png", "file:///etc/passwd", "data:image/png,abc", "//a/b", "a.png"])
async def test_other_schemes(address):
    """Nothing but http and https."""
    with pytest.raises(ProtocolViolation, match="no http address"):
        await fetch_image(address)


async def test_redirect_to_another_scheme():
    """By redirect neither."""
    assert "no http address" in str(await failure_of(answer(b"", 302, None, Location="file:///etc/passwd")))


async def test_redirects_in_a_circle():
    """Five are followed."""
    error = await failure_of(answer(b"", 302, None, Location="/api/v1"))
    assert "more than 5 times" in str(error)


# ---- what is sent and taken


async def test_picture_in_memory(monkeypatch):
    """The picture with its type, size and address; the request has neither key nor cookies, and no proxy is asked."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-0123456789")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    place = answer(b"", 302, None, Location="/b.png", Set_Cookie="a=b")

    async def play(connection):
        await connection.request()
        connection.send(place)
        await connection.request()
        connection.send(head(200, "text/html", Transfer_Encoding="chunked") + chunked(PNG[:10], PNG[10:70], PNG[70:]))

    async with RawServer(play) as server:
        address = server.base_url
        image = await fetched(Image(url=address))
        requests = server.connections[0].requests
    assert (image.data, image.media_type, image.width, image.url) == (PNG, "image/png", 32, address)
    assert [request.line for request in requests] == ["GET /api/v1 HTTP/1.1", "GET /b.png HTTP/1.1"]
    assert [{"authorization", "cookie", "referer"} & set(request.headers) for request in requests] == [set(), set()]


async def test_picture_into_a_folder(tmp_path):
    """The file has a name of our own and the suffix of its bytes."""
    async with serving(answer(PNG, 200, "image/jpeg")) as server:
        image = await fetched(f"{server.base_url}/../../etc/passwd", save_to=tmp_path / "new")
    assert image.data == b""
    assert image.path.parent == tmp_path / "new"
    assert image.path.suffix == ".png"
    assert image.path.read_bytes() == PNG


async def test_nothing_to_fetch():
    """A picture that is there is returned as it is; one that is nowhere is the caller's mistake."""
    image = Image.from_bytes(PNG)
    assert await fetch_image(image) is image
    with pytest.raises(ConfigurationError, match="nothing to fetch"):
        await fetch_image(Image())


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>" * 200,
        b"",
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        gzip.compress(b"<svg>" * 10_000),
        b"#!/bin/sh\n",
    ],
)
async def test_what_is_no_picture(tmp_path, body):
    """It is recognised by its first bytes, whatever it calls itself, and leaves no file."""
    error = await failure_of(answer(body, 200, "image/png", Content_Encoding="gzip"), save_to=tmp_path)
    assert isinstance(error, ProtocolViolation)
    assert "no picture" in str(error)
    assert list(tmp_path.iterdir()) == []


async def test_drawing():
    """An SVG behind a declaration is a picture."""
    svg = b'<?xml version="1.0"?>\n<!-- ' + b"-" * 300 + b' -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'
    async with serving(answer(svg)) as server:
        assert (await fetched(server.base_url)).media_type == "image/svg+xml"


@pytest.mark.parametrize("beginning", [head(Content_Length="99999"), head(Connection="close")])
async def test_too_large(tmp_path, beginning):
    """It is given up at the limit, and leaves no file."""
    error = await failure_of(beginning + PNG, b"x" * 6000, save_to=tmp_path)
    assert isinstance(error, ProtocolViolation)
    assert "max_bytes=10,000" in str(error)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", head(Content_Length="9999") + PNG])
async def test_too_slow(tmp_path, sent):
    """One clock for all of it."""
    error = await failure_of(sent, save_to=tmp_path, timeout_seconds=0.2)
    assert isinstance(error, StreamTimeout)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (answer(b"gone", 404, "text/plain"), NotFound),
        (head(404, "text/plain", Content_Length="99999") + b"x" * 5000, NotFound),
        (b"SSH-2.0\r\n\r\n", ProtocolViolation),
    ],
)
async def test_refusal(sent, expected):
    """An answer that says no is told as one of the API is."""
    assert type(await failure_of(sent)) is expected


async def test_cut_and_cancelled(tmp_path):
    """Half a picture is none, and leaves no file."""

    async def play(connection):
        await connection.request()
        connection.send(head(Content_Length="9999") + PNG)
        begun.set()
        if is_cut:
            await connection.reset()

    for is_cut in (True, False):
        begun = asyncio.Event()
        async with RawServer(play) as server:
            task = asyncio.create_task(fetched(server.base_url, save_to=tmp_path))
            await begun.wait()
            if is_cut:
                with pytest.raises(ConnectionFailed):
                    await task
            else:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                async with asyncio.timeout(5):
                    await server.connections[0].left.wait()
        assert list(tmp_path.iterdir()) == []


async def test_disk_that_does_not_take_it(tmp_path):
    """The picture is in the error, in memory."""
    folder = tmp_path / "f"

    async def play(connection):
        await connection.request()
        connection.send(head(Content_Length=str(len(PNG))) + PNG[:2000])
        while not list(folder.iterdir()):  # noqa: ASYNC110  # a file system has no event
            await asyncio.sleep(0.01)
        folder.joinpath(next(folder.iterdir()).name[1:].removesuffix(".part") + ".png").mkdir()
        connection.send(PNG[2000:])

    async with RawServer(play) as server:
        with pytest.raises(ImageNotSaved) as caught:
            await fetched(server.base_url, save_to=folder)
    assert [image.data for image in caught.value.partial.images] == [PNG]
