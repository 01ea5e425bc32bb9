"""Client: what it is made of, whom it belongs to, when it closes; and the one that `stream` and `generate` share."""

import asyncio
import threading

import aiohttp
import pytest

from or_stream import (
    Client,
    ConfigurationError,
    ConnectionFailed,
    OrStreamError,
    RetryPolicy,
    StreamTruncated,
    TextDelta,
    Timeouts,
    generate,
    stream,
)
from or_stream.client import DEFAULT_BASE_URL
from or_stream.client import _client as module
from or_stream.emulator import Emulator, scenarios
from support.raw_server import RawServer, answer, chunked, head

TEXT = scenarios.TEXT


@pytest.fixture
def environment(emulator, monkeypatch, key):
    """The shared client finds the emulator."""
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)


# ---- what it is made of


@pytest.mark.parametrize("api_key", [None, "", "  ", 5])
def test_no_key(api_key):
    """Without a key the error says where it can come from."""
    with pytest.raises(ConfigurationError, match=r"OPENROUTER_API_KEY.*api_key=.*openrouter\.ai/keys"):
        Client(api_key=api_key)


def test_no_key_for_the_shared_client():
    """The call itself raises, before it is awaited or iterated."""
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        stream("x")


@pytest.mark.parametrize("api_key", ["a b", "a\r\nX: y", "ключ", "\x00", "a\x7f"])
def test_key_that_cannot_be_one(api_key):
    """A key with white space or other characters inside is not sent, and not shown."""
    with pytest.raises(ConfigurationError) as caught:
        Client(api_key=api_key)
    assert api_key not in str(caught.value)


async def test_key_from_the_environment(emulator, monkeypatch):
    """$OPENROUTER_API_KEY is the default; white space around a key is a copying mistake."""
    monkeypatch.setenv("OPENROUTER_API_KEY", " from-environment\n")
    async with Client(base_url=emulator.base_url) as client, Client(base_url=emulator.base_url, api_key="given") as other:
        await client.generate("x")
        await other.generate("x")
    assert [request.headers["authorization"] for request in emulator.requests] == ["Bearer from-environment", "Bearer given"]


@pytest.mark.parametrize(
    "base_url",
    [
        "x",
        "openrouter.ai/api/v1",
        "ftp://x/y",
        "http://",
        "http:///x",
        "http://h:port",
        "http://h:99999",
        "http://h:0",
        "http://[::1",
        "http://h/v1?x=1",
        "http://h/v1#x",
        "http://h\n/",
        " http://h",
        5,
    ],
)
def test_base_url_is_checked(key, base_url):
    """What is no http address is shown, beside one that is."""
    with pytest.raises(ConfigurationError, match="base_url"):
        Client(api_key=key, base_url=base_url)


def test_base_url_with_a_password(key):
    """Credentials do not belong there, and are not shown."""
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        Client(api_key=key, base_url="https://user:hush@example.org/v1")
    assert "hush" not in str(caught.value)


def test_base_url_by_default(key, monkeypatch):
    """$OPENROUTER_BASE_URL, else the service itself; a slash at the end does not matter."""
    assert repr(Client(api_key=key)) == f"<Client of {DEFAULT_BASE_URL}>"
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://h/v1/")
    assert repr(Client(api_key=key)) == "<Client of http://h/v1>"


@pytest.mark.parametrize("proxy", ["socks5://h:1", "h:1", "http://", 5])
def test_proxy_is_checked(key, proxy):
    """A proxy of a kind that is not supported is refused before it fails."""
    with pytest.raises(ConfigurationError, match="http://host:port"):
        Client(api_key=key, proxy=proxy)


async def test_proxy_of_the_environment(key, monkeypatch):
    """http_proxy is used, no_proxy is heeded, and a session of the caller's knows for itself."""

    async def play(connection):
        await connection.request()
        connection.send(answer(scenarios.text().body()))

    async with RawServer(play) as proxy, aiohttp.ClientSession() as own:
        monkeypatch.setenv("http_proxy", proxy.base_url.removesuffix("/api/v1"))
        once = RetryPolicy(attempts=1)
        async with Client(api_key=key, base_url="http://lamp.invalid/v1", retry=once) as client:
            assert (await client.generate("x")).text == TEXT
        with pytest.raises(ConnectionFailed):
            await Client(api_key=key, base_url="http://lamp.invalid/v1", retry=once, session=own).generate("x")
        monkeypatch.setenv("no_proxy", "lamp.invalid")
        async with Client(api_key=key, base_url="http://lamp.invalid/v1", retry=once) as client:
            with pytest.raises(ConnectionFailed):
                await client.generate("x")


@pytest.mark.parametrize(
    "options", [{"app_title": "x\r\nEvil: 1"}, {"app_url": "http://x\n"}, {"app_title": "\udcff"}, {"app_title": 5}]
)
def test_attribution_is_checked(key, options):
    """A header is not a way to send another."""
    with pytest.raises(ConfigurationError, match="one line"):
        Client(api_key=key, **options)


async def test_attribution_in_any_language(emulator, key):
    """A title may have characters that are not ASCII."""
    async with Client(api_key=key, base_url=emulator.base_url, app_title="Zürich 灯台") as client:
        await client.generate("x")
    assert emulator.requests[0].headers["x-openrouter-title"] == "Zürich 灯台"


@pytest.mark.parametrize("number", [0, -1])
def test_max_connections_is_checked(key, number):
    """No connection at all is no client."""
    with pytest.raises(ConfigurationError, match="max_connections"):
        Client(api_key=key, max_connections=number)


async def test_max_connections(emulator, key):
    """No more connections than that are open at a time."""
    async with Client(api_key=key, base_url=emulator.base_url, max_connections=2) as client:
        await asyncio.gather(*(client.generate("x", model="emulator/text") for _ in range(8)))
    assert emulator.peak_active == 2


async def test_options_of_a_stream_win(emulator, key):
    """`timeouts` and `retry` of a stream replace the client's."""
    async with Client(
        api_key=key, base_url=emulator.base_url, timeouts=Timeouts(first_content=0.01), retry=RetryPolicy(attempts=1)
    ) as client:
        emulator.play(scenarios.refused(503), scenarios.slow_headers(0.1))
        options = {"timeouts": Timeouts(), "retry": RetryPolicy(base_seconds=0)}
        assert (await client.generate("x", **options)).text == TEXT


# ---- sessions and loops


async def test_session_of_the_caller(emulator, key):
    """It is used as it is, and left open."""
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}) as own:
        async with Client(api_key=key, base_url=emulator.base_url, session=own) as client:
            await client.generate("x")
        assert not own.closed
    assert emulator.requests[0].headers["x-mine"] == "1"


async def test_session_that_is_closed(key):
    """A session that was closed by its owner is named."""
    async with aiohttp.ClientSession() as own:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await Client(api_key=key, session=own).generate("x")


async def test_closed_client(emulator, client):
    """A closed client sends nothing; entered again, it does. Closing twice is closing."""
    await client.generate("x")
    await client.aclose()
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.generate("x")
    async with client:
        await client.generate("x")
    assert len(emulator.requests) == 2


@pytest.mark.parametrize("name", ["text-for-ever", "silence", "no-headers", "heartbeats-for-ever"])
async def test_closing_the_client_ends_its_streams(emulator, client, name):
    """A task that reads is told at once, and does not send the request again through a session that nobody would close."""
    task = asyncio.create_task(client.generate("x", model=f"emulator/{name}"))
    await emulator.received()
    await asyncio.sleep(0.05)
    await client.aclose()
    async with asyncio.timeout(1):
        with pytest.raises((StreamTruncated, ConfigurationError)):
            await task
        await emulator.requests[0].disconnected.wait()
    assert len(emulator.requests) == 1


async def test_closing_the_client_ends_streams_of_a_foreign_session(emulator, key):
    """Its streams end also where the session is not its own."""
    async with aiohttp.ClientSession() as own:
        client = Client(api_key=key, base_url=emulator.base_url, session=own)
        task = asyncio.create_task(client.generate("x", model="emulator/silence"))
        await emulator.received()
        await asyncio.sleep(0.05)
        await client.aclose()
        with pytest.raises(OrStreamError):
            async with asyncio.timeout(1):
                await task


def in_a_thread(work):
    """What `work()` returns or raises in a thread of its own."""
    results = []

    def run():
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  # it is handed on
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return results[0]


class EmulatorInAThread:
    """For tests that run loops of their own."""

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.emulator = Emulator()
        self.loop.run_until_complete(self.emulator.start())
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self.emulator

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.run_until_complete(self.emulator.aclose())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture
def emulator_elsewhere():
    with EmulatorInAThread() as running:
        yield running


def test_one_loop_after_the_other(emulator_elsewhere, key):
    """A client that is not closed serves the next loop, and its session went with its own."""
    client = Client(api_key=key, base_url=emulator_elsewhere.base_url)
    for _ in range(3):
        assert asyncio.run(client.generate("x")).status == "complete"


def test_loops_without_a_shutdown(emulator_elsewhere, key):
    """Loops that were only closed leave a client that works, and no session that complains."""
    client = Client(api_key=key, base_url=emulator_elsewhere.base_url)
    for _ in range(2):
        loop = asyncio.new_event_loop()
        message = loop.run_until_complete(client.generate("x", extra_headers={"Connection": "close"}))
        loop.run_until_complete(asyncio.sleep(0.1))  # for asyncio would complain of a connection that is still open
        loop.close()
        assert message.status == "complete"
    asyncio.run(client.generate("x"))


async def test_two_loops_at_a_time(emulator, client):
    """A client of a loop that still runs refuses another loop, and says what to do."""
    await client.generate("x")
    with pytest.raises(ConfigurationError, match="one Client per loop"):
        await asyncio.to_thread(in_a_thread, lambda: asyncio.run(client.generate("x")))


# ---- the shared client


async def test_shared_client(environment, emulator):
    """`stream` and `generate` need no client, and share a connection."""
    assert (await generate("x", model="emulator/text")).text == TEXT
    assert [event.text async for event in stream("x", model="emulator/text") if isinstance(event, TextDelta)]
    assert len(emulator.requests) == 2


async def test_client_as_an_argument(emulator, client, monkeypatch):
    """With `client=` the environment is not asked."""
    assert (await generate("x", model="emulator/text", client=client)).text == TEXT
    assert (await stream("x", model="emulator/text", client=client).final()).text == TEXT


def test_shared_client_of_two_runs(emulator_elsewhere, monkeypatch, key):
    """Each loop has its own, the next run drops the one before."""
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator_elsewhere.base_url)
    for _ in range(3):
        assert asyncio.run(generate("x")).status == "complete"
        assert len([entry for entry in module._shared if entry[2] == emulator_elsewhere.base_url]) == 1


def test_shared_clients_of_threads(emulator_elsewhere, monkeypatch, key):
    """Loops in threads, at the same time and one after the other."""
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator_elsewhere.base_url)
    statuses = []

    def work():
        statuses.extend(asyncio.run(generate("x", model="emulator/text")).status for _ in range(3))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == ["complete"] * 18


def test_stream_made_without_a_loop(emulator_elsewhere, key):
    """A stream may be made where no loop runs, and belongs to the one that begins it."""
    prepared = stream("x", model="emulator/text", client=Client(api_key=key, base_url=emulator_elsewhere.base_url))
    assert asyncio.run(prepared.final()).text == TEXT


async def test_generate_cancelled(emulator, client):
    """Cancelling `generate` drops the connection."""
    task = asyncio.create_task(client.generate("x", model="emulator/silence"))
    await emulator.received()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(1):
        await emulator.requests[0].disconnected.wait()


async def test_connection_that_went_stale(client_of):
    """A kept connection that the server has closed meanwhile costs an attempt and not the generation."""
    body = scenarios.text().body()

    async def play(connection):
        await connection.request()
        connection.send(head(Transfer_Encoding="chunked") + chunked(body))
        await connection.request()
        connection.finish()

    async with RawServer(play) as server, client_of(server, retry=RetryPolicy(base_seconds=0)) as client:
        assert (await client.generate("x")).text == TEXT
        assert (await client.generate("x")).text == TEXT
        assert len(server.connections) == 2


@pytest.mark.parametrize("name", ["no-headers", "silence"])
async def test_closed_under_a_request(emulator, client, name):
    """Whoever waits learns at once that the client was closed, and nothing is sent again."""
    task = asyncio.create_task(client.generate("x", model=f"emulator/{name}", retry=RetryPolicy(base_seconds=30)))
    await emulator.received()
    await asyncio.sleep(0.05)  # until the client waits
    await client.aclose()
    async with asyncio.timeout(5):
        with pytest.raises(OrStreamError, match="closed") as caught:
            await task
    assert (len(emulator.requests), caught.value.attempts) == (1, 1)
