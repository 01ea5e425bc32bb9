"""tinyproxy as the way out of a company's network: CONNECT for https, a plain relay for http, by argument and by environment."""

import asyncio
import os
import ssl
import sys
import traceback

import aiohttp
import pytest
from counterparties import closed_port, nginx, tinyproxy

from or_stream import Client, ConnectionFailed
from or_stream.emulator import Scenario, Stall, scenarios

TEXT = "The lamp turns above the grey sea"
PASSWORD = "lamp-oil-57"


@pytest.fixture
async def trusting(authority):
    """A session that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


@pytest.fixture
def secure(emulator, tmp_path, certificate):
    """The https address of the emulator."""
    lines = f"location / {{ proxy_pass http://127.0.0.1:{emulator.port}; proxy_http_version 1.1; proxy_buffering off; }}"
    with nginx(tmp_path, lines, certificate=certificate) as address:
        yield address


def connections(folder) -> int:
    """How many requests tinyproxy has logged."""
    return (folder / "tinyproxy" / "log").read_text().count("Request (file descriptor")


async def test_https_goes_through_connect(emulator, client_of, tmp_path, secure, trusting):
    """`proxy=` is used for https, by CONNECT, and text and images are unharmed."""
    emulator.play(scenarios.text_and_images(2, 1_500_000), times=2)
    direct = await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    with tinyproxy(tmp_path) as port:
        message = await client_of(secure, session=trusting, proxy=f"http://127.0.0.1:{port}").generate("hi")
    assert (message.text, message.images) == (direct.text, direct.images)
    assert "CONNECT 127.0.0.1" in (tmp_path / "tinyproxy" / "log").read_text()


async def test_http_goes_through_the_relay(emulator, client_of, tmp_path):
    """`proxy=` is used for http, and the request shows whom it came through."""
    with tinyproxy(tmp_path) as port:
        await client_of(f"http://127.0.0.1:{emulator.port}", proxy=f"http://127.0.0.1:{port}").generate("hi")
    assert "tinyproxy" in emulator.requests[0].headers["via"]


async def test_a_session_of_the_caller_keeps_its_own_ways(client_of, tmp_path, secure, authority, monkeypatch):
    """A session with `trust_env` goes through the environment's proxy, because it is used as it is."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connector = aiohttp.TCPConnector(ssl=context)
    with tinyproxy(tmp_path) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        async with aiohttp.ClientSession(connector=connector, trust_env=True) as session:
            await client_of(secure, session=session).generate("hi")
    assert connections(tmp_path) == 1


async def test_http_proxy_of_the_environment(emulator, client_of, tmp_path, monkeypatch):
    """Without `proxy=` the environment's is used for http."""
    with tinyproxy(tmp_path) as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    assert "via" in emulator.requests[0].headers


@pytest.mark.parametrize("exception", ["127.0.0.1", "*", "host and port"])
async def test_no_proxy_of_the_environment(emulator, client_of, monkeypatch, exception):
    """`no_proxy` names what is reached directly, a host or a host and port."""
    with closed_port() as port:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", f"127.0.0.1:{emulator.port}" if exception == "host and port" else exception)
        await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    assert "via" not in emulator.requests[0].headers


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY"])
async def test_the_command_line_goes_through_the_environment(emulator, tmp_path, secure, authority, name):
    """`https_proxy` and SSL_CERT_FILE are all that the command needs behind a company's proxy."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    emulator.play(scenarios.text(TEXT))
    with tinyproxy(tmp_path) as port:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "or_stream", "generate", "hi"),
            env={
                "PATH": os.environ["PATH"],
                "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
                name: f"http://127.0.0.1:{port}",
                "OPENROUTER_BASE_URL": f"{secure}/api/v1",
                "OPENROUTER_API_KEY": "sk-or-v1-interop",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    assert said.decode().strip() == TEXT
    assert connections(tmp_path) == 1


async def test_a_proxy_that_forbids_the_port_is_connection_failed(emulator, client_of, tmp_path, secure, trusting):
    """403 to CONNECT is the proxy's word, not the API's."""
    with tinyproxy(tmp_path, "ConnectPort 563") as port:
        with pytest.raises(ConnectionFailed, match="proxy refused: HTTP 403"):
            await client_of(secure, session=trusting, proxy=f"http://127.0.0.1:{port}").generate("hi")
    assert emulator.requests == []


async def test_a_proxy_that_finds_nobody_is_connection_failed(client_of, tmp_path):
    """The proxy's 5xx to CONNECT."""
    with closed_port() as nobody, tinyproxy(tmp_path) as port:
        with pytest.raises(ConnectionFailed, match="proxy refused: HTTP 5"):
            await client_of(f"https://127.0.0.1:{nobody}", proxy=f"http://127.0.0.1:{port}").generate("hi")


async def test_a_proxy_that_is_not_there_is_connection_failed(client_of, secure, trusting):
    """Nobody listens."""
    with closed_port() as port:
        with pytest.raises(ConnectionFailed):
            await client_of(secure, session=trusting, proxy=f"http://127.0.0.1:{port}").generate("hi")


async def test_a_password_of_the_proxy_is_used(client_of, tmp_path, secure, trusting):
    """Name and password in the address of the proxy are sent to it."""
    with tinyproxy(tmp_path, f"BasicAuth keeper {PASSWORD}") as port:
        await client_of(secure, session=trusting, proxy=f"http://keeper:{PASSWORD}@127.0.0.1:{port}").generate("hi")
    assert connections(tmp_path) == 1


async def test_a_wrong_password_is_connection_failed_and_stays_secret(client_of, tmp_path, secure, trusting):
    """401 to CONNECT, where others say 407; a traceback does not repeat the password."""
    with tinyproxy(tmp_path, "BasicAuth keeper another") as port:
        with pytest.raises(ConnectionFailed, match=r"proxy refused: HTTP 40[17]") as caught:
            await client_of(secure, session=trusting, proxy=f"http://keeper:{PASSWORD}@127.0.0.1:{port}").generate("hi")
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


async def test_leaving_reaches_the_provider_through_the_proxy(emulator, client_of, tmp_path, secure, trusting):
    """A stream that is left ends the generation behind tinyproxy and nginx."""
    first, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, Stall())))
    with tinyproxy(tmp_path) as port:
        client: Client = client_of(secure, session=trusting, proxy=f"http://127.0.0.1:{port}")
        async with asyncio.timeout(10):
            async with client.stream("hi"):
                pass
            await emulator.requests[0].disconnected.wait()
