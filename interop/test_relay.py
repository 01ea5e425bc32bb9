"""What browsers and OpenAI clients make of a relay: clients of other makers behind FastAPI and aiohttp.web, and nginx between."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from counterparties import nginx
from peers import ask, backend_process, emulator_process

from or_stream.emulator import Emulator, Scenario, Wait, WaitFor, scenarios

SERVERS = ("FastAPI", "aiohttp.web")
PATHS = {"openai_python": "/v1", "openai_node": "/v1", "ui_message": "/chat"}
AI_VERSIONS = ("5-first", "5", "6", "7")
CLIENTS = [
    *((name, way) for name in ("openai_python", "openai_node") for way in ("stream", "helper")),
    *(("ui_message", version) for version in AI_VERSIONS),
]
ONCE_EACH = [(name, way) for name, way in CLIENTS if way != "helper"]
NAMES = (
    "text",
    "text-and-images",
    "tool-call",
    "reasoning-details",
    "refused-402",
    "rate-limited",
    "midstream-error",
    "end-without-finish",
)
SPECIMEN = hashlib.sha256(scenarios.specimen()).hexdigest()
SILENT = scenarios.silence("The lamp")


@pytest.fixture(scope="module", params=SERVERS)
def told(request, tmp_path_factory) -> Iterator[dict]:
    """What each client got of each answer, by name and way of the client and name of the scenario."""
    folder = tmp_path_factory.mktemp("relay")
    with emulator_process(folder) as provider, backend_process(folder, request.param, provider) as backend:
        answers, warnings = {}, []
        for name, path in PATHS.items():
            ways = [way for client, way in CLIENTS if client == name]
            report = ask(name, backend + path, [f"{way}:emulator/{scenario}" for way in ways for scenario in NAMES])
            warnings += report.warnings
            for case, answer in report.answers.items():
                way, _, model = case.partition(":")
                answers[name, way, model.removeprefix("emulator/")] = answer
        assert warnings == []
        yield answers


EACH_CLIENT = pytest.mark.parametrize("client", CLIENTS, ids=" ".join)
EACH_SCRIPT = pytest.mark.parametrize("client", ONCE_EACH, ids=" ".join)


@EACH_CLIENT
def test_text(told, client):
    """Every word, why it ended, and what it cost."""
    answer = told[*client, "text"]
    assert (answer["text"], answer["finish_reason"], answer["error"]) == (scenarios.TEXT, "stop", None)
    assert (answer["usage"]["total_tokens"], answer["usage"]["cost"]) == (36, 6.36e-05)


@EACH_CLIENT
def test_picture(told, client):
    """It arrives byte for byte, beside the text."""
    answer = told[*client, "text-and-images"]
    assert (answer["images"], answer["text"], answer["error"]) == ([SPECIMEN], "Here you go: picture 1.", None)


@EACH_CLIENT
def test_tool_call(told, client):
    """Its name, and the arguments that came in pieces."""
    answer = told[*client, "tool-call"]
    assert [(name, json.loads(arguments)) for name, arguments in answer["tool_calls"]] == [
        ("light_lamp", {"color": "red", "seconds": 3})
    ]
    assert (answer["text"], answer["finish_reason"], answer["error"]) == ("I light it.", "tool_calls", None)


@EACH_SCRIPT
def test_reasoning(told, client):
    """It is read, and kept apart from the text."""
    answer = told[*client, "reasoning-details"]
    assert (answer["reasoning"], answer["text"], answer["error"]) == ("A lamp at night.", scenarios.TEXT, None)


@EACH_CLIENT
@pytest.mark.parametrize(("scenario", "status"), [("refused-402", 503), ("rate-limited", 429)])
def test_refusal(told, client, scenario, status):
    """Before the first word it is an HTTP status with words of ours; what the provider said stays in the backend."""
    error = told[*client, scenario]["error"]
    assert ("busy" if status == 429 else "not available") in error["message"]
    if client[0] != "ui_message":
        assert (error["status"], error["retry_after"]) == (status, "1" if status == 429 else None)
    elif client[1] == "7":  # earlier versions keep nothing of such an answer but its text
        assert error["status"] == status


@EACH_CLIENT
@pytest.mark.parametrize("scenario", ["midstream-error", "end-without-finish"])
def test_failure_inside(told, client, scenario):
    """An error of the provider, and a cut in front of the backend, is an error to the caller, who has what came before it."""
    answer = told[*client, scenario]
    assert scenarios.TEXT.startswith(answer["text"])
    assert answer["text"] or client == ("openai_node", "helper")  # which throws it away
    assert answer["error"]["message"] == "The answer broke off. Try again."


@pytest.mark.parametrize("version", AI_VERSIONS)
def test_progress_of_a_picture(told, version):
    """`onData` of the AI SDK is told that a picture has begun, which the message does not keep."""
    assert told["ui_message", version, "text-and-images"]["seen"]["progress"] == ["started"]


@pytest.fixture(params=SERVERS)
def backend(request, emulator, tmp_path) -> Iterator[str]:
    """The address of a backend in its own process, whose provider is the emulator of the test."""
    with backend_process(tmp_path, request.param, emulator.base_url) as address:
        yield address


async def asked(address: str, clients: Iterable[tuple[str, str]]) -> dict[tuple[str, str], dict]:
    """What each client, all of them at once, got of what the emulator plays."""
    ways = {name: [way for other, way in clients if other == name] for name, _ in clients}
    reports = await asyncio.gather(
        *(asyncio.to_thread(ask, name, address + PATHS[name], [f"{way}:any" for way in ways[name]]) for name in ways)
    )
    return {(report.name, case.removesuffix(":any")): answer for report in reports for case, answer in report.answers.items()}


async def all_disconnected(emulator: Emulator) -> None:
    """Wait until the provider has lost every connection."""
    async with asyncio.timeout(5):
        await asyncio.gather(*(request.disconnected.wait() for request in emulator.requests))


async def test_pictures_by_address(emulator, backend):
    """The file part of every version of `ai`, and the image of OpenAI's chunks, is an address where the picture is."""
    emulator.play("text-and-images", times=len(ONCE_EACH))
    for (name, _), answer in (await asked(f"{backend}/by-address", ONCE_EACH)).items():
        assert (len(answer["images"]), answer["error"]) == (1, None)
        if name == "ui_message":  # whose script fetches it
            assert answer["images"] == [SPECIMEN]
        else:
            assert answer["images"][0].startswith("/pictures/")


async def test_keep_alive_comments_are_read_over(emulator, backend):
    """A model that is silent first, and in the middle, is waited for by every client, and the text is whole."""
    first, *rest = scenarios.text(heartbeats=0).steps
    emulator.play(Scenario((Wait(0.5), first, Wait(0.5), *rest)), times=len(ONCE_EACH))
    answers = await asked(backend, ONCE_EACH)
    assert {client: (answer["text"], answer["error"]) for client, answer in answers.items()} == dict.fromkeys(
        ONCE_EACH, (scenarios.TEXT, None)
    )


async def test_client_that_leaves_stops_the_provider(emulator, backend):
    """`break`, and the stop button of `useChat`, end the generation while the model is silent."""
    leaving = [
        ("openai_python", "left"),
        ("openai_node", "left"),
        *(("ui_message", f"{version}-stop") for version in AI_VERSIONS),
    ]
    emulator.play(SILENT, times=len(leaving))
    for client, answer in (await asked(backend, leaving)).items():
        assert (client, answer["text"].split()[:1], answer["error"]) == (client, ["The"], None)
    await all_disconnected(emulator)


async def test_stream_that_the_backend_breaks_off(emulator, backend):
    """It does not look complete: an error to each client, after all of the text."""
    emulator.play("text", times=len(ONCE_EACH))
    for client, answer in (await asked(f"{backend}/without-end", ONCE_EACH)).items():
        assert (client, answer["text"], answer["finish_reason"]) == (client, scenarios.TEXT, None)
        assert answer["error"]["message"] == "The answer was broken off."


@asynccontextmanager
async def cutting(address: str, word: bytes) -> AsyncIterator[str]:
    """A network between client and backend that fails when a word has gone through it. Yields the address of its near end."""
    host, _, port = address.removeprefix("http://").partition(":")

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        sending = asyncio.create_task(pour(reader, far_writer))
        passed = b""
        while word not in passed and (data := await far_reader.read(2**16)):
            passed += data
            writer.write(data)
            await writer.drain()
        await asyncio.sleep(0.1)  # what is on its way is lost when a connection is reset
        sending.cancel()
        for end in (writer, far_writer):
            end.transport.abort()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)

    async with await asyncio.start_server(carry, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_cut_between_client_and_backend(emulator, backend):
    """Every client raises, has what came before, and the provider is stopped."""
    emulator.play(SILENT, times=len(ONCE_EACH))
    async with cutting(backend, b"lamp") as address:
        for client, answer in (await asked(address, ONCE_EACH)).items():
            assert (client, answer["text"], answer["error"] is not None) == (client, "The lamp", True)
        await all_disconnected(emulator)


# ---- nginx between browser and backend

COMPRESSION = "gzip on; gzip_types text/event-stream; gzip_min_length 0; gzip_proxied any; gzip_http_version 1.0;"
NGINX = {
    "as it comes": "",
    "compressing": COMPRESSION,
    "HTTP/1.1 behind": "proxy_http_version 1.1; proxy_set_header Connection '';",
}


@pytest.mark.parametrize("lines", NGINX.values(), ids=NGINX.keys())
async def test_first_delta_comes_through_nginx_at_once(emulator, backend, tmp_path, lines):
    """Also with `proxy_buffering on` and `gzip on`: while the second word is not even made, the first is here."""
    body = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    with nginx(tmp_path, f"location / {{ proxy_pass {backend}; {lines} }}") as address:
        for path in ("/events", "/chat", "/v1/chat/completions"):
            gate = asyncio.Event()
            first, *rest = scenarios.text("one two", heartbeats=0).steps
            emulator.play(Scenario((first, WaitFor(gate), *rest)))
            async with aiohttp.request("POST", address + path, json=body, headers={"Accept-Encoding": "gzip"}) as response:
                assert response.headers.get("Content-Encoding") == ("gzip" if "gzip" in lines else None)
                data = b""
                async with asyncio.timeout(10):
                    while b"one" not in data:
                        data += await response.content.readany()
                assert b"two" not in data
                gate.set()
                assert b"two" in await response.read()


@pytest.mark.parametrize("lines", NGINX.values(), ids=NGINX.keys())
async def test_leaving_through_nginx_stops_the_provider(emulator, backend, tmp_path, lines):
    """nginx passes it on."""
    emulator.play(SILENT)
    body = {"model": "any", "messages": [{"role": "user", "content": "hi"}]}
    with nginx(tmp_path, f"location / {{ proxy_pass {backend}; {lines} }}") as address:
        async with aiohttp.request("POST", f"{address}/events", json=body) as response:
            await response.content.readany()
        await all_disconnected(emulator)
