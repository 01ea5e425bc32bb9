"""TLS: nginx terminates it with a certificate of trustme's; what is not trusted is a ConnectionFailed, before the key is sent."""

import asyncio
import datetime as dt
import os
import ssl
import sys

import aiohttp
import pytest
import trustme
from counterparties import nginx

from or_stream import BadRequest, ConnectionFailed, ProviderUnavailable
from or_stream.emulator import Scenario, Stall, scenarios
from or_stream.emulator.recording import Recording, exchange_folders

TEXT = "The lamp turns above the grey sea"


@pytest.fixture
async def trusting(authority):
    """A session that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        yield session


def to(emulator):
    return f"location / {{ proxy_pass http://127.0.0.1:{emulator.port}; proxy_http_version 1.1; proxy_buffering off; }}"


async def test_text_and_images_come_through_unharmed(emulator, client_of, tmp_path, certificate, trusting):
    """Through TLS, text and images are those that were sent."""
    emulator.play(scenarios.text_and_images(2, 1_500_000), times=2)
    direct = await client_of(f"http://127.0.0.1:{emulator.port}").generate("hi")
    with nginx(tmp_path, to(emulator), certificate=certificate) as address:
        message = await client_of(address, session=trusting).generate("hi")
    assert address.startswith("https:")
    assert (message.text, message.images) == (direct.text, direct.images)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_many_streams_at_once(emulator, client_of, tmp_path, certificate, trusting, version):
    """Both versions of TLS carry many streams at once."""
    with nginx(tmp_path, f"ssl_protocols {version}; {to(emulator)}", certificate=certificate) as address:
        client = client_of(address, session=trusting)
        messages = await asyncio.gather(*(client.generate("hi") for _ in range(16)))
    assert all(message.status == "complete" for message in messages)


async def test_leaving_reaches_the_provider(emulator, client_of, tmp_path, certificate, trusting):
    """A stream that is left ends the generation at once. nginx looks for the end of the connection, not for a close_notify."""
    first, *_ = scenarios.text(TEXT, heartbeats=0).steps
    emulator.play(Scenario((first, Stall())), times=4)
    with nginx(tmp_path, to(emulator), certificate=certificate) as address:
        client = client_of(address, session=trusting)
        for _ in range(4):
            async with client.stream("hi"):
                pass
        async with asyncio.timeout(10):
            for request in emulator.requests:
                await request.disconnected.wait()


async def test_an_unknown_authority_is_connection_failed(emulator, client_of, tmp_path, certificate):
    """The default client trusts no authority of ours, says so, and sends nothing."""
    with nginx(tmp_path, to(emulator), certificate=certificate) as address:
        with pytest.raises(ConnectionFailed, match="certificate verify failed") as caught:
            await client_of(address).generate("hi")
    assert isinstance(caught.value.__cause__, aiohttp.ClientConnectorCertificateError)
    assert emulator.requests == []


@pytest.mark.parametrize("flaw", ["other name", "expired"])
async def test_a_certificate_that_does_not_hold_is_connection_failed(
    emulator, client_of, tmp_path, authority: trustme.CA, trusting, flaw
):
    """A trusted authority does not help a certificate for another name, or of last year."""
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    issued = (
        authority.issue_cert("elsewhere.example") if flaw == "other name" else authority.issue_cert("127.0.0.1", not_after=past)
    )
    path = tmp_path / "flawed.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(str(path))
    with nginx(tmp_path, to(emulator), certificate=path) as address:
        with pytest.raises(ConnectionFailed, match="certificate verify failed"):
            await client_of(address, session=trusting).generate("hi")
    assert emulator.requests == []


async def test_https_to_a_server_without_tls_is_connection_failed(emulator, client_of):
    """The handshake fails, and that is no answer."""
    with pytest.raises(ConnectionFailed):
        await client_of(f"https://127.0.0.1:{emulator.port}").generate("hi")


async def test_http_to_a_server_with_tls_is_bad_request(emulator, client_of, tmp_path, certificate):
    """nginx says in HTML that the plain request came to an HTTPS port."""
    with nginx(tmp_path, to(emulator), certificate=certificate) as address:
        with pytest.raises(BadRequest, match="plain HTTP request was sent to HTTPS port"):
            await client_of(address.replace("https", "http")).generate("hi")


async def test_no_common_version_is_connection_failed(emulator, client_of, tmp_path, certificate, authority):
    """A client that wants TLS 1.3 and a server that has 1.2."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with nginx(tmp_path, f"ssl_protocols TLSv1.2; {to(emulator)}", certificate=certificate) as address:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
            with pytest.raises(ConnectionFailed):
                await client_of(address, session=session).generate("hi")


async def test_the_command_line_trusts_what_openssl_is_told_to(emulator, tmp_path, certificate, authority):
    """SSL_CERT_FILE is enough for a private authority: no option, no code."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    emulator.play(scenarios.text(TEXT))
    with nginx(tmp_path, to(emulator), certificate=certificate) as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "or_stream", "generate", "hi"),
            env={
                "PATH": os.environ["PATH"],
                "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
                "OPENROUTER_BASE_URL": f"{address}/api/v1",
                "OPENROUTER_API_KEY": "sk-or-v1-interop",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaints = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, complaints.decode()
    assert said.decode().strip() == TEXT


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_a_recorder_in_front_of_https(emulator, client_of, tmp_path, certificate, authority, is_trusted):
    """Plain HTTP on this side, TLS on the other, with the authorities of OpenSSL; without trust a 502 that says so."""
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    emulator.play(scenarios.text(TEXT))
    trust = {"SSL_CERT_FILE": str(tmp_path / "authority.pem")} if is_trusted else {}
    with nginx(tmp_path, to(emulator), certificate=certificate) as address:
        recorder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "or_stream", "emulate", "--port", "0"),
            *("--record", str(tmp_path / "rec"), "--upstream", f"{address}/api/v1"),
            env={"PATH": os.environ["PATH"], **trust},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert recorder.stdout is not None
        try:
            base_url = (await asyncio.wait_for(recorder.stdout.readline(), 60)).decode().strip()
            client = client_of(base_url.removesuffix("/api/v1"))
            if is_trusted:
                assert (await client.generate("hi")).text == TEXT
            else:
                with pytest.raises(ProviderUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                    await client.generate("hi")
            # The client has its answer with [DONE], in front of the end that is recorded.
            async with asyncio.timeout(10):
                while any(folder.suffix == ".partial" for folder in (tmp_path / "rec").iterdir()):  # noqa: ASYNC110  # a process
                    await asyncio.sleep(0.01)
        finally:
            recorder.terminate()
            await recorder.wait()
    (recording,) = (Recording.read(path) for path in exchange_folders(tmp_path / "rec"))
    assert (recording.end, bool(recording.answer.made_here)) == ("complete", not is_trusted)
    assert b"sk-or-v1-interop" not in b"".join(path.read_bytes() for path in (tmp_path / "rec").rglob("*.*") if path.is_file())
