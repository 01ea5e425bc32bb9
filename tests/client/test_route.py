"""Which endpoint a request goes to: by name, by the catalogue, by what the caller says, and after a refusal."""

import asyncio
import copy
import json

import pytest

from or_stream import BadRequest, Client, ConfigurationError, NotFound, RetryPolicy, StreamFailed, Timeouts
from or_stream.catalog import Model
from or_stream.client import _client
from or_stream.client.request import Route, build_request
from or_stream.emulator import Chunk, Emulator, Scenario, scenarios
from or_stream.emulator.scenarios import image_api
from or_stream.protocol import ErrorBody

DRAWS = "openai/gpt-image-2"  # and nothing else
DRAWS_UNNAMED = "quiver/arrow-1"  # the same, and its name does not say so
DRAWS_AND_TALKS = "google/gemini-2.5-flash-image"
TALKS = "anthropic/claude-sonnet-5"

CHAT, BOTH = "/api/v1/chat/completions", Route("chat", ("image", "text"))
TALK, DRAW, IMAGES = Route("chat", ("text",)), Route("chat", ("image",)), Route("images")
MISMATCH = "No endpoints found that support the requested output modalities: image, text"


def routed(model=None, known=None, **options):
    request = build_request("x", model, options)
    request.decide(known)
    return request.route


def model_of(*outputs, **fields):
    return Model.read({"id": "a/b", "architecture": {"output_modalities": list(outputs)}, **fields})


def refused(message=MISMATCH, status=404, **error):
    return ErrorBody.read({"message": message, "code": status, **error}).api_status_error(status)


def wrong_endpoint(detail="/api/v1/images"):
    constraint = {"field": "model", "detail": detail}
    return refused("not here", availability={"code": "wrong_endpoint", "constraint": constraint})


@pytest.fixture
def paths(emulator):
    return lambda: [request.path.removeprefix("/api/v1") for request in emulator.requests]


@pytest.mark.parametrize(
    ("model", "known", "options", "route"),
    [
        (None, None, {}, BOTH),
        ("a/unknown", None, {}, BOTH),
        ("black-forest-labs/flux.2-pro", None, {}, IMAGES),
        ("a/b", model_of("image"), {}, IMAGES),
        ("a/b", model_of("text", "image"), {}, BOTH),
        ("a/b", model_of("text"), {}, TALK),
        ("a/b", model_of(), {}, BOTH),
        ("a/flux", model_of("text"), {}, TALK),
        ("a/b", None, {"api": "images"}, IMAGES),
        ("a/b", model_of("text", "image"), {"api": "images"}, IMAGES),
        ("a/b", model_of("image"), {"api": "chat"}, DRAW),
        ("a/b", model_of("image"), {"modalities": ["image"]}, IMAGES),
        ("a/b", model_of("text", "image"), {"modalities": ["image"]}, DRAW),
        ("a/b", model_of("image"), {"modalities": ["image"], "api": "chat"}, DRAW),
        ("a/b", model_of("image"), {"modalities": ["image", "text"]}, BOTH),
        ("a/b", model_of("image"), {"modalities": ["text"]}, TALK),
        ("a/b", model_of("image"), {"api": "auto"}, IMAGES),
    ],
)
def test_route(model, known, options, route):
    """What the caller fixes wins, then the catalogue, then the name."""
    assert routed(model, known, **options) == route


@pytest.mark.parametrize(
    ("model", "options", "error", "second"),
    [
        ("a/talker", {}, refused(), TALK),
        ("a/image-maker", {}, refused(), IMAGES),
        ("a/x", {"require_image": True}, refused(), IMAGES),
        ("a/x", {"image_config": {"aspect_ratio": "1:1"}, "api": "chat"}, refused(), DRAW),
        ("a/x", {}, refused("none", metadata={"failed_routing_step": "Filter by Model Output Modalities"}), TALK),
        ("a/x", {}, wrong_endpoint(), IMAGES),
        ("a/x", {}, wrong_endpoint(None), IMAGES),
        ("a/x", {}, ErrorBody.read({"message": "no", "availability": {"code": "wrong_endpoint"}}).stream_failed(), IMAGES),
        ("a/x", {"modalities": ["image"]}, wrong_endpoint(), IMAGES),
        ("a/x", {"extra_body": {"modalities": ["image"]}}, refused(), IMAGES),
        ("a/x", {"tools": [{"type": "function"}], "require_image": True}, refused(), DRAW),
        ("openai/gpt-image-1", {}, wrong_endpoint("/api/v1/chat/completions"), DRAW),
        ("openai/gpt-image-1", {}, refused("Not Found"), DRAW),
        ("openai/gpt-image-1", {}, refused("Method Not Allowed", 405), DRAW),
        ("a/flux-writer", {}, refused(), TALK),
    ],
)
def test_correction(model, options, error, second):
    """A refusal that says it was the wrong place leads to the other one."""
    request = build_request("x", model, options)
    assert request.correct(error)
    assert request.route == second
    assert (json.loads(request.body).get("modalities") or ()) == list(second.modalities) or second == IMAGES


WRONG_AT_IMAGES = wrong_endpoint("/api/v1/chat/completions")
NO_SUCH_PATH = refused("Not Found")
NO_SUCH_MODEL = refused("No such model")


@pytest.mark.parametrize(
    ("model", "options", "errors", "routes"),
    [
        ("a/x", {}, [refused()] * 3, [TALK, IMAGES]),
        ("a/x", {}, [refused(), wrong_endpoint()], [TALK, IMAGES]),
        ("a/x", {}, [refused(), refused(), NO_SUCH_PATH, refused()], [TALK, IMAGES, DRAW]),
        ("a/x", {}, [refused(), refused(), NO_SUCH_MODEL], [TALK, IMAGES]),
        ("a/x", {}, [refused(), refused(), WRONG_AT_IMAGES], [TALK, IMAGES]),
        ("a/x", {"api": "chat"}, [refused()] * 3, [TALK, DRAW]),
        ("a/x", {"temperature": 1}, [refused()] * 3, [TALK, DRAW]),
        ("a/x", {"require_image": True}, [refused(), WRONG_AT_IMAGES], [IMAGES]),
        ("a/image-teller", {}, [refused(), WRONG_AT_IMAGES, refused()], [IMAGES, TALK]),
        (DRAWS, {}, [WRONG_AT_IMAGES, wrong_endpoint()], [DRAW]),
        (DRAWS, {}, [NO_SUCH_PATH, refused(), refused()], [DRAW, TALK]),
    ],
)
def test_corrections(model, options, errors, routes):
    """Each refusal leads to a place that was not tried, until there is none."""
    request = build_request("x", model, options)
    taken = [request.route for error in errors if request.correct(error)]
    assert (taken, request.corrections) == (routes, len(routes))


@pytest.mark.parametrize(
    ("model", "options", "error"),
    [
        ("a/x", {}, refused("No endpoints found that support tool use")),
        ("a/x", {}, refused(status=400)),
        ("a/x", {}, wrong_endpoint("/api/v1/embeddings")),
        ("a/x", {}, ConfigurationError("output modalities")),
        ("a/x", {"api": "chat"}, wrong_endpoint()),
        ("a/x", {"api": "images"}, refused("Not Found")),
        ("a/x", {"modalities": ["image", "text"]}, refused()),
        ("a/x", {"extra_body": {"modalities": None}}, refused()),
        (DRAWS, {}, refused("No such model")),
        (DRAWS, {}, refused(f"{DRAWS} was not found")),
        (DRAWS, {}, refused("No endpoints found matching your data policy")),
        (DRAWS, {}, refused("gone", availability={"code": "no_endpoints"})),
        (DRAWS, {}, wrong_endpoint("/api/v1/embeddings")),
        (DRAWS, {"require_image": True}, refused()),
        ("a/x", {"tools": [{"type": "function"}]}, wrong_endpoint()),
    ],
)
def test_no_correction(model, options, error):
    """Any other refusal stands; so does what the caller has fixed, and what the other endpoint cannot do."""
    request = build_request("x", model, options)
    before = request.body
    route = request.route
    assert not request.correct(error)
    assert (request.body, request.route) == (before, route)


@pytest.mark.parametrize(
    ("model", "errors", "told"),
    [
        ("a/x", [refused(), refused()], MISMATCH),
        ("a/x", [wrong_endpoint(), refused("No allowed providers")], "No allowed providers"),
        ("a/x", [wrong_endpoint(), refused("wrong size", 400)], "wrong size"),
        ("a/image-teller", [refused(), WRONG_AT_IMAGES], MISMATCH),
        ("a/image-teller", [refused(), NO_SUCH_PATH], MISMATCH),
        (DRAWS, [refused("Nothing here"), refused()], "Nothing here"),
        (DRAWS, [NO_SUCH_PATH, NO_SUCH_MODEL], "No such model"),
    ],
)
def test_what_is_told(model, errors, told):
    """Of several refusals the one is raised that says why; that an endpoint was the wrong one as well explains nothing."""
    request = build_request("x", model, {})
    errors = [copy.copy(error) for error in errors]
    assert request.correct(errors[0])
    assert str(request.telling(errors[-1])).partition(": ")[2].startswith(told)


@pytest.mark.parametrize(
    ("model", "options", "asked"),
    [
        (DRAWS, {}, ["/images"]),
        (DRAWS_AND_TALKS, {}, ["/chat/completions"]),
        (TALKS, {"modalities": ["text"]}, ["/chat/completions"]),
        (DRAWS_UNNAMED, {}, ["/chat/completions", "/images"]),
        (DRAWS_UNNAMED, {"require_image": True}, ["/models", "/images/models", "/images"]),
        (DRAWS_AND_TALKS, {"image_config": {"image_size": "2K"}}, ["/chat/completions"]),
        (DRAWS_AND_TALKS, {"api": "images"}, ["/images"]),
        (DRAWS_UNNAMED, {"modalities": ["image"]}, ["/models", "/images/models", "/images"]),
    ],
)
async def test_who_is_asked(client, paths, model, options, asked):
    """The catalogue is asked only for a picture, and only where the name does not tell that chat will do."""
    await client.generate("a lamp", model=model, **options)
    assert paths() == asked


async def test_text_model(client, paths, emulator):
    """A model that only talks refuses the guess, and is never asked wrongly again."""
    for _ in range(2):
        assert (await client.generate("hi", model=TALKS)).text
    assert paths() == ["/chat/completions"] * 3
    assert [request.body["modalities"] for request in emulator.requests] == [["image", "text"], ["text"], ["text"]]


def test_what_has_another_cause_is_told_alone():
    """A limit that is reached, behind a correction, has nothing to do with where it was asked."""
    request = build_request("x", DRAWS, {})
    request.correct(refused("Not Found"))
    assert str(request.telling(refused("slow down", 429))) == "HTTP 429: slow down"


async def test_no_correction_behind_content(client, paths, emulator):
    """What has been handed out is not taken back, whatever the service says then."""
    begun = scenarios.midstream_error_no_choices().steps[:-1]
    emulator.play(
        Scenario((*begun, Chunk({"choices": [], "error": {"code": 404, "message": MISMATCH}}))), path="/chat/completions"
    )
    with pytest.raises(StreamFailed):
        await client.generate("a lamp", model=DRAWS_UNNAMED)
    assert paths() == ["/chat/completions"]


async def test_model_whose_name_says_nothing(client, paths, emulator):
    """One that only draws refuses both guesses over chat with the 404 for its output; the Image API is remembered."""
    emulator.play(scenarios.refused(404), scenarios.refused(404), path="/chat/completions")
    for _ in range(3):
        assert (await client.generate("a lamp", model=DRAWS_UNNAMED)).images
    assert paths() == ["/chat/completions", "/chat/completions", "/images", "/images", "/images"]


async def test_model_that_fails_over_chat(emulator, paths):
    """Some models that only draw fail over chat without a word: the catalogue is asked before the request is sent again."""
    emulator.play(scenarios.refused(500), path="/chat/completions")
    async with Client(api_key="test", base_url=emulator.base_url, retry=RetryPolicy(base_seconds=0)) as client:
        assert (await client.generate("a lamp", model=DRAWS_UNNAMED)).images
    assert paths() == ["/chat/completions", "/models", "/images/models", "/images"]


async def test_model_that_fails_over_chat_where_it_belongs(emulator, paths):
    """One that belongs there is asked there again, and no catalogue where the name tells."""
    for model, options, between in (
        (TALKS, {}, ["/models", "/images/models"]),
        (TALKS, {"api": "chat", "modalities": ["text"]}, []),
        (DRAWS_AND_TALKS, {}, []),
    ):
        emulator.requests.clear()
        emulator.play(scenarios.refused(500), scenarios.refused(500), path="/chat/completions")
        async with Client(api_key="test", base_url=emulator.base_url, retry=RetryPolicy(base_seconds=0)) as client:
            await client.generate("hi", model=model, **options)
        assert paths() == ["/chat/completions", *between, *["/chat/completions"] * 2]


async def test_what_is_learned_of_some_providers(client, paths, emulator):
    """That the providers which were asked for only talk says nothing of the others."""
    emulator.play(scenarios.refused(404), path="/chat/completions")
    only = {"provider": {"only": ["someone"]}}
    for options in (only, only, {}):
        await client.generate("hi", model="openai/gpt-5-mystery", **options)
    assert [len(request.body["modalities"]) for request in emulator.requests] == [2, 1, 1, 2]


async def test_picture_of_a_model_that_was_learned_to_talk(client, paths):
    """A lesson learned without a wish for a picture is not the answer to one: the catalogue says what the model can do."""
    await client.generate("hi", model=TALKS)
    with pytest.raises(ConfigurationError, match="makes no pictures, only text"):
        await client.generate("a lamp", model=TALKS, require_image=True)


async def test_lessons_are_bounded(client, emulator, monkeypatch):
    """What is remembered has a limit, and the oldest goes."""
    monkeypatch.setattr(_client, "_LEARNED_AT_MOST", 1)
    for model in (TALKS, "openai/gpt-5.4-mini", TALKS):
        await client.generate("hi", model=model)
    assert [request.body["modalities"] == ["text"] for request in emulator.requests] == [False, True] * 3


async def test_lessons_grow_old(client, emulator, monkeypatch):
    """What a refusal taught holds for a while, since it may have been for an endpoint that was down."""
    monkeypatch.setattr(_client, "_LEARNED_SECONDS", 0)
    for _ in range(2):
        await client.generate("hi", model=TALKS)
    assert [request.body["modalities"] == ["text"] for request in emulator.requests] == [False, True] * 2


async def test_the_reason_of_the_image_api_is_told(client, paths, emulator):
    """A model that the Image API does not know is not asked over chat, whose refusal would hide the reason."""
    emulator.play(scenarios.refused(404, {"error": {"code": 404, "message": "No such model"}}), path="/images")
    with pytest.raises(NotFound, match="No such model"):
        await client.generate("a lamp", model=DRAWS)
    assert paths() == ["/images"]


async def test_gateway_without_an_image_api(client, paths, emulator):
    """A path that is not there leads to chat; where that refuses too both are told, and in vain is nothing remembered."""
    emulator.play(*[scenarios.refused(404, {"detail": "Not Found"})] * 2, path="/images")
    emulator.play(scenarios.refused(400), scenarios.text(), path="/chat/completions")
    with pytest.raises(BadRequest, match=r"HTTP 400.*\(asked on the Image API: HTTP 404: .*Not Found"):
        await client.generate("a lamp", model=DRAWS)
    for _ in range(2):
        await client.generate("a lamp", model=DRAWS_AND_TALKS)
    assert paths() == ["/images", *["/chat/completions"] * 3]


async def test_corrections_use_up_no_retry(emulator):
    """What passes is retried as often behind corrections as without."""
    emulator.play(scenarios.refused(404), scenarios.refused(404), path="/chat/completions")
    emulator.play(scenarios.refused(503), scenarios.refused(503), path="/images")
    async with Client(api_key="test", base_url=emulator.base_url, retry=RetryPolicy(base_seconds=0)) as client:
        assert (await client.generate("a lamp", model=DRAWS_UNNAMED)).images
    assert len(emulator.requests) == 5


async def test_what_is_cached_is_used(client, paths):
    """Once the catalogue is there no request is sent to the wrong place, and none to the catalogue."""
    await client.models()
    await client.generate("hi", model=TALKS)
    await client.generate("a lamp", model=DRAWS_UNNAMED, image_config={"aspect_ratio": "16:9"})
    assert paths()[2:] == ["/chat/completions", "/images"]


async def test_a_hundred_streams_ask_once(client, paths):
    """Streams that begin together wait for one and the same list."""
    config = {"aspect_ratio": "1:1", "image_size": "512"}
    messages = [client.generate("a lamp", model=DRAWS_UNNAMED, image_config=config) for _ in range(20)]
    assert all(message.images for message in await asyncio.gather(*messages))
    assert sorted(set(paths())) == ["/images", "/images/models", "/models"]
    assert [paths().count(path) for path in ("/models", "/images/models", "/images")] == [1, 1, 20]


async def test_without_a_catalogue(emulator, client, paths):
    """A catalogue that cannot be had holds up nothing: the guess is sent, and the next request does not ask again."""
    emulator.play(*[scenarios.refused(404)] * 2, path="/models")
    emulator.play(*[scenarios.refused(404)] * 2, path="/images/models")
    for _ in range(2):
        assert (await client.generate("a lamp", model=DRAWS, require_image=True)).images
    assert paths() == ["/models", "/images/models", "/images", "/images"]


async def test_silent_catalogue_and_a_short_clock(client, paths, emulator):
    """A catalogue that does not answer takes a part of a stream's time, not all of it, and only once."""
    emulator.play(*[scenarios.silence()] * 2, path="/models")
    for _ in range(2):
        assert (await client.generate("a lamp", model=DRAWS, require_image=True, timeouts=Timeouts(first_content=2))).images
    assert [paths().count(path) for path in ("/models", "/images")] == [1, 2]


async def test_correction_needs_no_retry(emulator):
    """The second request is no retry: it is sent where retries are off, and counts as an attempt."""
    async with Client(api_key="test", base_url=emulator.base_url, retry=RetryPolicy(attempts=1)) as client:
        stream = client.stream("a lamp", model=DRAWS_UNNAMED)
        assert (await stream.final()).images
        assert stream.stats.attempts == 2
        with pytest.raises(NotFound) as caught:
            await client.generate("a lamp", model=DRAWS_UNNAMED, api="chat")
    assert caught.value.metadata["availability"]["code"] == "wrong_endpoint"


async def test_a_model_that_cannot(client, emulator):
    """What the catalogue says a model cannot do is refused before it is asked."""
    await client.models()
    emulator.requests.clear()
    for options, said in (
        ({"model": TALKS, "require_image": True}, "makes no pictures, only text"),
        ({"model": DRAWS_UNNAMED, "image_config": {"aspect_ratio": "7:3"}}, "aspect_ratio='7:3'"),
        ({"model": DRAWS, "image_config": {"quality": "best"}}, "quality='best'"),
        ({"model": "bytedance-seed/seedream-4.5", "image_config": {"background": "opaque"}}, "takes no background"),
        ({"model": "bytedance-seed/seedream-4.5", "n": 2}, "takes no n"),
        ({"model": DRAWS_AND_TALKS, "image_config": {"image_size": "8K"}}, "resolution='8K'"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            await client.generate("a lamp", **options)
    assert emulator.requests == []
    await client.generate("a lamp", model=DRAWS_UNNAMED, n=1, image_config={"quality": "auto", "size": "64x64"})


async def test_the_shared_client():
    """`generate` without a client routes as one of its own does."""
    async with Emulator() as emulator:
        emulator.play(image_api.stream(), path="/images")
        client = Client(api_key="test", base_url=emulator.base_url)
        message = await client.generate("a lamp", model=DRAWS)
        await client.aclose()
    assert (message.model, message.images[0].media_type) == (DRAWS, "image/png")
