"""Questions to the service beside generations: asked once, kept, retried, bounded, and answered in the one tree of errors."""

import asyncio
import contextlib
import time

import pytest

from or_stream import (
    APIStatusError,
    Client,
    ConfigurationError,
    ConnectionFailed,
    NotFound,
    OrStreamError,
    PermissionDenied,
    ProtocolViolation,
    RateLimited,
    RetryPolicy,
    ServerFailed,
    StreamTimeout,
    Timeouts,
)
from or_stream.catalog import Model
from or_stream.client import _catalog
from or_stream.client._catalog import Catalog
from or_stream.client.transport import _session
from support.raw_server import RawServer, head
from support.service import Service, refusal

ONCE = RetryPolicy(attempts=1)
AT_ONCE = RetryPolicy(base_seconds=0)


def listed(*ids: str, outputs: tuple[str, ...] = ("text",)):
    return 200, {"data": [{"id": one, "architecture": {"output_modalities": [*outputs]}} for one in ids]}


def ids(models: list[Model]) -> list[str]:
    return [model.id for model in models]


@pytest.fixture
async def asked(key):
    """Makes a service from its answers, and a client of it."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(answers, **options):
            service = await stack.enter_async_context(Service(answers))
            options = {"api_key": key, "base_url": service.base_url, "retry": ONCE, **options}
            return service, await stack.enter_async_context(Client(**options))

        yield start


# ---- the list of models


async def test_name_with_half_a_character(asked):
    """Half of a surrogate pair is replaced, so that the model can be printed and written."""
    _, client = await asked({"/models": (200, b'{"data":[{"id":"a/b","name":"lamp\\ud83d"}]}')})
    (model,) = await client.models()
    assert Model.model_validate_json(model.model_dump_json()).name == "lamp\ufffd"


async def test_models(asked):
    """Both lists are asked for, with those that only draw, and are one."""
    service, client = await asked({"/models": listed("a/talks"), "/images/models": listed("a/draws", outputs=("image",))})
    assert ["a/talks", "a/draws"] == ids(await client.models())
    assert ["a/draws"] == ids(await client.models(output_modalities={"image"}))
    assert {"output_modalities": "all"} in service.queries
    assert {"/models": 1, "/images/models": 1} == service.asked


async def test_models_refreshed(asked):
    """A refresh asks again, and what it gives is kept."""
    _, client = await asked({"/models": [listed("a/old"), listed("a/new")]})
    assert ["a/old"] == ids(await client.models())
    assert ["a/old"] == ids(await client.models())
    assert ["a/new"] == ids(await client.models(refresh=True))
    assert ["a/new"] == ids(await client.models())


@pytest.fixture
async def aging(asked):
    """Makes a service, a catalogue of it, and a clock whose only item is the time."""

    async def start(answers):
        service, client = await asked(answers)
        clock = [0.0]
        return service, Catalog(client._get_json, timeouts=Timeouts(), retry=ONCE, now=lambda: clock[0]), clock

    return start


async def test_models_grow_old(aging):
    """After an hour the list is asked for again."""
    _, catalog, clock = await aging({"/models": [listed("a/old"), listed("a/new")]})
    await catalog.models(refresh=False)
    clock[0] += 3599
    assert ["a/old"] == ids(await catalog.models(refresh=False))
    clock[0] += 1
    assert ["a/new"] == ids(await catalog.models(refresh=False))


async def test_one_fetch_for_many(asked):
    """However many ask at the same time, the service is asked once."""
    service, client = await asked({"/models": listed("a/b")})
    lists = await asyncio.gather(*(client.models() for _ in range(100)))
    assert [["a/b"]] * 100 == [ids(models) for models in lists]
    assert 1 == service.asked["/models"]


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # what the server has seen so far has no event
            await asyncio.sleep(0.001)


async def test_one_of_many_leaves(asked):
    """One who waits may be cancelled: the others get the list of the same fetch."""
    service, client = await asked({"/models": listed("a/b")})
    service.open.clear()
    waiting = [asyncio.ensure_future(client.models()) for _ in range(3)]
    await until(lambda: service.asked["/models"])
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    service.open.set()
    assert [["a/b"]] * 2 == [ids(models) for models in await asyncio.gather(*waiting[1:])]
    assert 1 == service.asked["/models"]


async def test_all_leave(asked):
    """When the last who waits is cancelled the fetch is dropped, and whoever asks in that moment gets one of their own."""
    service, client = await asked({"/models": listed("a/b")})
    service.open.clear()

    async def ask_twice():
        with contextlib.suppress(asyncio.CancelledError):
            await client.models()
        return await client.models()

    asking = asyncio.ensure_future(ask_twice())
    await until(lambda: service.asked["/models"])
    asking.cancel()
    await until(lambda: service.left["/models"])
    service.open.set()
    assert ["a/b"] == ids(await asking)


async def test_other_loop_meanwhile(asked):
    """Whoever asks from another loop is told that it is the wrong one, and disturbs nobody."""
    service, client = await asked({"/models": listed("a/b")})
    service.open.clear()
    waiting = asyncio.ensure_future(client.models())
    await until(lambda: service.asked["/models"])
    with pytest.raises(ConfigurationError, match="another event loop"):
        await asyncio.to_thread(asyncio.run, client.models())
    service.open.set()
    assert ["a/b"] == ids(await waiting)


async def test_built_in_models(asked):
    """Where the list cannot be had, the built-in table serves, and says what it is; the service is not asked again at once."""
    service, client = await asked({"/models": refusal(500)})
    models = await client.models(output_modalities={"image"})
    assert models
    assert all(model.is_built_in for model in models)
    await client.models()
    assert 1 == service.asked["/models"]


async def test_last_list_serves(aging):
    """A list that has grown old is better than the built-in table."""
    _, catalog, clock = await aging({"/models": [listed("a/old"), refusal(500)]})
    await catalog.models(refresh=False)
    clock[0] += 3600
    assert ["a/old"] == ids(await catalog.models(refresh=False))


async def test_service_recovers(aging):
    """A minute after a failure the service is asked again, and not before."""
    service, catalog, clock = await aging({"/models": [refusal(500), listed("a/b")]})
    await catalog.models(refresh=False)
    clock[0] += 59
    assert (await catalog.models(refresh=False))[0].is_built_in
    assert 1 == service.asked["/models"]
    clock[0] += 1
    assert ["a/b"] == ids(await catalog.models(refresh=False))


@pytest.mark.parametrize("wanted", [{"refresh": True}, {"provider": "X"}])
async def test_failure_is_told(asked, wanted):
    """Who asks for a new list, or for what only the service knows, is told that it cannot be had."""
    _, client = await asked({"/models": refusal(500)})
    with pytest.raises(ServerFailed):
        await client.models(**wanted)


@pytest.mark.parametrize("body", [{"data": []}, {"data": None}, {}])
async def test_empty_list(asked, body):
    """A list without a model is a failure, not a catalogue."""
    _, client = await asked({"/models": (200, body)})
    with pytest.raises(ProtocolViolation, match="no model in it"):
        await client.models(refresh=True)


async def test_service_without_image_api(asked):
    """Models are listed where there is no Image API."""
    _, client = await asked({"/models": listed("a/b"), "/images/models": refusal(404)})
    assert ["a/b"] == ids(await client.models(refresh=True))


async def test_provider(asked):
    """Who serves a model only the service knows: it is asked, and the answer kept."""
    service, client = await asked({"/models": [listed("a/b", "a/c"), listed("a/c")]})
    assert ["a/c"] == ids(await client.models(provider="Some One"))
    assert ["a/c"] == ids(await client.models(provider="Some One"))
    assert [{"output_modalities": "all", "providers": "Some One"}] == [said for said in service.queries if "providers" in said]


async def test_providers_are_bounded(asked):
    """What is kept of providers has a limit, and the oldest goes."""
    service, client = await asked({"/models": listed("a/b")})
    for number in range(_catalog._PROVIDERS_AT_MOST + 1):
        await client.models(provider=str(number))
    assert _catalog._PROVIDERS_AT_MOST == len(client._catalog._served)
    before = service.asked["/models"]
    await client.models(provider="1")
    assert before == service.asked["/models"]
    await client.models(provider="0")
    assert before + 1 == service.asked["/models"]


async def test_unknown_filter(asked):
    """A filter that is none is named, before anything is sent."""
    service, client = await asked({})
    with pytest.raises(ConfigurationError, match="'output'"):
        await client.models(output={"image"})
    with pytest.raises(ConfigurationError, match="max_price must be"):
        await client.models(max_price=-1)
    assert not service.asked


def test_two_loops(key):
    """A client that lives longer than its loop fetches again in the next."""
    client = Client(api_key=key, base_url="http://127.0.0.1:1")
    assert ["a/b"] == asyncio.run(in_a_loop(client))
    assert ["a/b"] == asyncio.run(in_a_loop(client))


async def in_a_loop(client):
    async with Service({"/models": listed("a/b")}) as service, client:
        client._base_url = service.base_url
        return ids(await client.models(refresh=True))


# ---- endpoints


ENDPOINT = {"provider_name": "OpenAI", "tag": "openai", "pricing": {"prompt": "0.1", "completion": "0.2"}}
IMAGE_ENDPOINT = {
    "provider_name": "Bytedance",
    "supported_parameters": {},
    "pricing": [{"billable": "output_image", "unit": "image", "cost_usd": 0.05}],
}


def served(*endpoints, outputs=("text",)):
    return 200, {"data": {"id": "a/b", "architecture": {"output_modalities": [*outputs]}, "endpoints": [*endpoints]}}


async def test_endpoints(asked):
    """Each provider of a model is there, and of a model that only talks nothing else is asked for."""
    service, client = await asked({"/models/a/b:free/endpoints": served(ENDPOINT, 5)})
    assert [("OpenAI", 0.1)] == [(one.provider, one.pricing.prompt) for one in await client.endpoints("a/b:free")]
    assert 1 == service.asked.total()


async def test_endpoints_of_a_model_that_draws(asked):
    """A model that draws has its endpoints on the Image API too, with their own prices."""
    answers = {
        "/models/a/b/endpoints": served(ENDPOINT, outputs=("text", "image")),
        "/images/models/a/b/endpoints": (200, {"id": "a/b", "endpoints": [IMAGE_ENDPOINT]}),
    }
    _, client = await asked(answers)
    chat, images = await client.endpoints("a/b")
    assert (("OpenAI", None), ("Bytedance", 0.05)) == ((chat.provider, chat.image), (images.provider, images.image_prices[0].usd))


async def test_endpoints_of_the_image_api_alone(asked):
    """A model that is only on the Image API has endpoints."""
    _, client = await asked({"/images/models/a/b/endpoints": (200, {"id": "a/b", "endpoints": [IMAGE_ENDPOINT]})})
    assert ["Bytedance"] == [one.provider for one in await client.endpoints("a/b")]


async def test_endpoints_of_no_model(asked):
    """A model that nobody serves is not found."""
    _, client = await asked({})
    with pytest.raises(NotFound):
        await client.endpoints("a/b")


@pytest.mark.parametrize(
    "model", [5, None, b"a/b", "", "a", "a/b/c", "../key", "a/..", "a/.", "./b", "a/b?x", "a/b#x", "a b/c", "a/%2e%2e", "/b"]
)
async def test_no_model_id(asked, model):
    """What is no id of a model cannot be turned into another address."""
    service, client = await asked({})
    with pytest.raises(ConfigurationError, match="author/name"):
        await client.endpoints(model)
    assert not service.asked


# ---- generations, the key, credits


UNKNOWN = refusal(404, "Generation gen-1 not found")
KNOWN = (200, {"data": {"id": "gen-1", "total_cost": 0.5, "cancelled": True}})


async def test_generation(asked):
    """What a generation cost is asked for by its id."""
    service, client = await asked({"/generation": KNOWN})
    generation = await client.generation("gen-1")
    assert (0.5, True, [{"id": "gen-1"}]) == (generation.cost, generation.cancelled, service.queries)


async def test_generation_that_is_not_known_yet(asked):
    """While the service does not know of it, it is asked again."""
    service, client = await asked({"/generation": [UNKNOWN, UNKNOWN, KNOWN]})
    assert 0.5 == (await client.generation("gen-1", wait_seconds=20)).cost
    assert 3 == service.asked["/generation"]


async def test_generation_that_is_never_known(asked):
    """After `wait_seconds` it is not found, and the error says how long it was asked for."""
    service, client = await asked({"/generation": UNKNOWN})
    started = time.monotonic()
    with pytest.raises(NotFound, match=r"Generation gen-1 not found .asked 3 times in 0\.4 seconds") as caught:
        await client.generation("gen-1", wait_seconds=0.4)
    assert 0.4 <= time.monotonic() - started < 5
    assert ("gen-1", 3, 404, 3) == (caught.value.generation_id, caught.value.attempts, caught.value.status, service.asked.total())


@pytest.mark.parametrize(
    ("asked", "left_seconds", "pause_seconds"), [(1, 30, 0.25), (2, 30, 0.5), (3, 30, 1), (6, 30, 4), (999, 30, 4), (3, 0.1, 0.1)]
)
def test_pauses_grow(asked, left_seconds, pause_seconds):
    """Each pause is twice the one before, up to some seconds and to the time that is left."""
    assert pause_seconds == _catalog._pause_seconds(asked, left_seconds)


async def test_generation_without_waiting(asked):
    """With no time to wait, the service is asked once."""
    service, client = await asked({"/generation": UNKNOWN})
    with pytest.raises(NotFound):
        await client.generation("gen-1", wait_seconds=0)
    assert 1 == service.asked.total()


@pytest.mark.parametrize(("id", "seconds"), [("", 1), (5, 1), *(("gen-1", wait) for wait in (-1, float("nan"), "5", None, True))])
async def test_generation_of_nothing(asked, id, seconds):
    """An id is needed, and a time that is one."""
    _, client = await asked({"/generation": KNOWN})
    with pytest.raises(ConfigurationError):
        await client.generation(id, wait_seconds=seconds)


async def test_id_is_quoted(asked):
    """An id with characters of an address arrives as it is."""
    service, client = await asked({"/generation": KNOWN})
    await client.generation("gen&id=2#ü")
    assert [{"id": "gen&id=2#ü"}] == service.queries


async def test_key_and_credits(asked):
    """What may be spent, typed."""
    answers = {"/key": (200, {"data": {"limit": 100}}), "/credits": (200, {"data": {"total_credits": 3, "total_usage": 1}})}
    _, client = await asked(answers)
    assert (100, 2) == ((await client.key()).limit, (await client.credits()).remaining)


async def test_credits_of_another_key(asked):
    """A key that may not see the credits is told so."""
    _, client = await asked({"/credits": refusal(403, "Only management keys can perform this operation")})
    with pytest.raises(PermissionDenied, match="management keys"):
        await client.credits()


# ---- how it is asked


async def test_retries(asked):
    """What may pass is tried again."""
    service, client = await asked({"/key": [refusal(503), refusal(502), (200, {"data": {"limit": 1}})]}, retry=AT_ONCE)
    assert 1 == (await client.key()).limit
    assert 3 == service.asked["/key"]


async def test_retries_are_counted(asked):
    """The last failure is raised, with how many requests it took."""
    _, client = await asked({"/key": refusal(429, "slow down")}, retry=AT_ONCE)
    with pytest.raises(RateLimited) as caught:
        await client.key()
    assert 3 == caught.value.attempts


async def test_no_retry(asked):
    """What will not pass is not tried again."""
    service, client = await asked({"/key": refusal(401)}, retry=AT_ONCE)
    with pytest.raises(APIStatusError):
        await client.key()
    assert 1 == service.asked["/key"]


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<html>", ProtocolViolation),
        (b"", ProtocolViolation),
        (b"[1]", ProtocolViolation),
        (b"{}", ProtocolViolation),
        (b'{"data": 5}', ProtocolViolation),
        (b"[" * 100_000, ProtocolViolation),
        (b'{"error": {"code": 402, "message": "no credit"}}', APIStatusError),
        (b"\xff\xfe{", ProtocolViolation),
    ],
)
async def test_wrong_answer(asked, body, error):
    """Whatever comes under HTTP 200 is an answer or an error of this library."""
    _, client = await asked({"/key": (200, body)})
    with pytest.raises(error):
        await client.key()


async def test_answer_without_end(client_of, monkeypatch):
    """An answer that is too long is given up, not collected."""
    monkeypatch.setattr(_session, "_MAX_JSON_BODY_BYTES", 2**20)

    async def play(connection):
        await connection.request()
        connection.send(head(content_type="application/json"))
        while not connection.left.is_set():
            connection.send(b" " * 2**16)
            await asyncio.sleep(0)

    async with RawServer(play) as server, client_of(server) as client:
        with pytest.raises(ProtocolViolation, match="more than 1,048,576 bytes"):
            await client.key()
        async with asyncio.timeout(10):
            await server.connections[0].left.wait()


async def test_answer_that_breaks_off(client_of):
    """Half an answer is none."""

    async def play(connection):
        await connection.request()
        connection.send(head(content_type="application/json", Content_Length="100") + b'{"data": ')
        connection.finish()

    async with RawServer(play) as server, client_of(server) as client:
        with pytest.raises(ConnectionFailed, match="the body ended too early"):
            await client.key()


@pytest.mark.parametrize("phase", ["first_content", "total"])
@pytest.mark.parametrize("sent", [b"", head(content_type="application/json", Content_Length="100") + b"{"])
async def test_silence(client_of, phase, sent):
    """A service that does not come to the end of its answer runs into the clocks of the client, and is left."""

    async def play(connection):
        await connection.request()
        connection.send(sent)
        await connection.left.wait()

    async with RawServer(play) as server, client_of(server, timeouts=Timeouts(**{phase: 0.2})) as client:
        with pytest.raises(StreamTimeout) as caught:
            await client.key()
        assert phase == caught.value.phase
        async with asyncio.timeout(10):
            await server.connections[0].left.wait()


async def test_cancelled(client_of):
    """Who is cancelled while they wait leaves the service at once."""

    async def play(connection):
        await connection.request()
        await connection.left.wait()

    async with RawServer(play) as server, client_of(server) as client:
        asking = asyncio.ensure_future(client.key())
        await until(lambda: server.connections and server.connections[0].requests)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(10):
            await server.connections[0].left.wait()


async def test_connection_is_kept(client_of):
    """Question after question goes over one connection."""

    async def play(connection):
        while True:
            await connection.request()
            connection.send(head(content_type="application/json", Content_Length="12") + b'{"data": {}}')

    async with RawServer(play) as server, client_of(server) as client:
        for _ in range(3):
            await client.key()
        assert 1 == len(server.connections)


async def test_key_is_sent_and_not_shown(asked, key):
    """The service gets the key, and no failure shows it."""
    service, client = await asked({"/key": refusal(401, f"no such key {key}")})
    with pytest.raises(OrStreamError) as caught:
        await client.key()
    assert f"Bearer {key}" == service.headers[0]["authorization"]
    assert key not in f"{caught.value} {caught.value!r}"


async def test_closed_client(key):
    """A closed client asks nothing."""
    client = Client(api_key=key)
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.key()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.models()


async def test_look_up_of_a_silent_catalogue():
    """A list that does not come is waited for a little, and not asked for again by the next request, but after a minute."""
    asked, clock = [], [0.0]

    async def never(path, query, connect_seconds):
        asked.append(path)
        await asyncio.Event().wait()

    catalog = Catalog(never, timeouts=Timeouts(), retry=ONCE, now=lambda: clock[0])
    for seconds in (0.0, 59.0, 61.0):
        clock[0] = seconds
        assert await catalog.look_up("a/b", wait_seconds=0.01) is None
    assert asked == ["/models", "/images/models"] * 2


async def test_silent_list_of_the_image_api(monkeypatch):
    """The list of the Image API that does not come costs little and is dropped, and the other one is there."""
    monkeypatch.setattr(_catalog, "_IMAGE_LIST_SECONDS", 0.01)
    asked, dropped = [], asyncio.Event()

    async def get_json(path, query, wait):
        asked.append(path)
        if path == "/models":
            return listed("a/b", outputs=("image",))[1]
        try:
            return await asyncio.Event().wait()
        finally:
            dropped.set()

    catalog = Catalog(get_json, timeouts=Timeouts(), retry=ONCE)
    for _ in range(2):
        assert (await catalog.look_up("a/b")).output_modalities == ("image",)
    assert asked == ["/models", "/images/models"]
    async with asyncio.timeout(10):
        await dropped.wait()


async def test_look_up(asked):
    """A model is found by its id, with or without a variant behind it; the list is asked for once."""
    service, client = await asked({"/models": listed("a/b", outputs=("image",)), "/images/models": listed()})
    catalog = client._catalog
    assert catalog.known("a/b") is None
    for model in ("a/b", "a/b:free", "a/c"):
        found = await catalog.look_up(model)
        assert (found and found.id) == (None if model == "a/c" else "a/b")
    assert catalog.known("a/b:free").output_modalities == ("image",)
    assert service.asked.total() == 2
