"""POST /images: previews and pictures, streamed or in one piece, judged by another decoder."""

import base64
import io
import json
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from or_stream.emulator import scenarios
from or_stream.emulator.scenarios import image_api

STREAMS = "openai/gpt-image-2"
BUFFERS = "google/gemini-3.1-flash-image"
VECTORS = "quiver/arrow-1"


@pytest.fixture
def paint(emulator, session):
    """The request's context manager."""

    def post(path="/images", **body):
        return session.post(emulator.base_url + path, json={"prompt": "a boat", "resolution": "512", **body})

    return post


async def events_of(response):
    assert (response.status, response.content_type) == (200, "text/event-stream")
    *events, done, rest = (await response.read()).split(b"\n\n")
    assert (done, rest) == (b"data: [DONE]", b"")
    return [json.loads(event.removeprefix(b"data: ")) for event in events]


def opened(entry):
    return Image.open(io.BytesIO(base64.b64decode(entry["b64_json"], validate=True)))


async def test_previews_come_before_the_picture(paint):
    """Each is a whole picture, smaller; the last event has the picture and the usage."""
    async with paint(model=STREAMS, stream=True) as response:
        *previews, done = await events_of(response)
    assert [event["type"] for event in previews] == ["image_generation.partial_image"] * 2
    assert [event["partial_image_index"] for event in previews] == [0, 1]
    assert [opened(event).size for event in previews] == [(64, 64)] * 2
    assert (done["type"], done["media_type"], opened(done).size) == ("image_generation.completed", "image/png", (512, 512))
    assert done["usage"]["cost"] == pytest.approx(4175 * 40e-6 + 5e-6)


async def test_several_pictures_are_several_events(paint, emulator):
    """All different; usage comes with the last, for all of them."""
    async with paint(model=STREAMS, stream=True, n=3) as response:
        done = [event for event in await events_of(response) if event["type"] == "image_generation.completed"]
    assert len({event["b64_json"] for event in done}) == 3
    assert ["usage" in event for event in done] == [False, False, True]
    assert next(iter(emulator.bill)).cost == done[-1]["usage"]["cost"]


async def test_a_picture_that_is_text_comes_in_pieces(paint):
    """The pieces are the picture, which is an SVG; thoughts are told from content."""
    async with paint(model=VECTORS, stream=True) as response:
        *chunks, done = await events_of(response)
    markup = "".join(chunk["text"] for chunk in chunks if chunk["phase"] == "content")
    assert chunks[0]["phase"] == "reasoning"
    assert base64.b64decode(done["b64_json"]).decode() == markup
    assert (done["media_type"], ET.fromstring(markup).get("width")) == ("image/svg+xml", "512")


async def test_a_model_that_cannot_stream_answers_with_json(paint, emulator):
    """Whatever was asked for: the id is in the header only, and `created` is 0, as recorded."""
    async with paint(model=BUFFERS, stream=True) as response:
        assert (response.content_type, response.headers["X-Provider-Name"]) == ("application/json", "Google")
        assert response.headers["X-Generation-Id"].startswith("gen-img-")
        body = await response.json()
    assert (list(body), body["created"]) == (["created", "data", "usage"], 0)
    assert opened(body["data"][0]).size == (512, 512)
    assert next(iter(emulator.bill)).cost == body["usage"]["cost"]


@pytest.mark.parametrize(("wanted", "kind"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_formats(paint, wanted, kind):
    """What is asked for is sent, and called by its name."""
    async with paint(model=BUFFERS, output_format=wanted) as response:
        (image,) = (await response.json())["data"]
    assert (opened(image).format, image["media_type"]) == (kind, f"image/{wanted}")


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"aspect_ratio": "16:9"}, (672, 384)),
        ({"resolution": None, "size": "300x200"}, (300, 200)),
        ({"resolution": None, "size": "512"}, (512, 512)),
        ({"aspect_ratio": "9:19.5"}, (512, 512)),
    ],
)
async def test_sizes(paint, body, size):
    """Ratio and tier, or pixels; a ratio that is not drawn is clamped."""
    async with paint(model=BUFFERS, **body) as response:
        assert opened((await response.json())["data"][0]).size == size


async def test_the_other_path_works_as_well(paint):
    """/images/generations is an alias, as observed."""
    async with paint("/images/generations", model=BUFFERS) as response:
        assert response.status == 200


async def test_who_leaves_a_painter_pays_nothing(paint, emulator):
    """On this endpoint it is all or nothing."""
    emulator.play(image_api.stream(previews=0, byte_size=2**22).cut(2**16, 0.05))
    async with paint(model=STREAMS, stream=True) as response:
        await response.content.readany()
    await emulator.requests[0].disconnected.wait()
    assert [(entry.cancelled, entry.cost) for entry in emulator.bill] == [(True, 0.0)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "model"),
        ({"model": BUFFERS, "prompt": ""}, "prompt"),
        ({"model": BUFFERS, "prompt": 3}, "prompt"),
        ({"model": BUFFERS, "n": 11}, "n"),
        ({"model": BUFFERS, "n": 2}, "n must be 1"),
        ({"model": BUFFERS, "aspect_ratio": "7:5"}, "aspect_ratio"),
        ({"model": BUFFERS, "resolution": "8K"}, "resolution"),
        ({"model": BUFFERS, "size": "9999x9999"}, "size"),
        ({"model": BUFFERS, "size": "512x512"}, "size"),
        ({"model": BUFFERS, "output_format": "svg"}, "svg"),
        ({"model": BUFFERS, "quality": "best"}, "quality"),
        ({"model": BUFFERS, "stream": "yes"}, "stream"),
        ({"model": BUFFERS, "input_references": ["https://example.org/a.png"]}, "input_references"),
        ({"model": BUFFERS, "input_references": [{"type": "image_url", "image_url": {"url": "x"}}] * 17}, "16"),
        ({"model": "nobody/knows"}, "nobody/knows is not a valid model ID"),
    ],
)
async def test_wrong_requests_are_400(paint, body, message):
    """The error says what is wrong."""
    async with paint(**body) as response:
        error = (await response.json())["error"]
        assert (response.status, error["code"]) == (400, 400)
    assert message in error["message"]


async def test_a_model_that_only_talks_is_at_another_endpoint(paint):
    """404, with the availability that names the right one."""
    async with paint(model="anthropic/claude-sonnet-5") as response:
        assert response.status == 404
        availability = (await response.json())["error"]["availability"]
    assert (availability["code"], availability["retryable"]) == ("wrong_endpoint", False)
    assert availability["constraint"]["detail"] == "/api/v1/chat/completions"


@pytest.mark.parametrize("name", scenarios.names("images"))
async def test_every_scenario_can_be_played_here(paint, emulator, name):
    """By header, by model, or queued: the status is the scenario's own."""
    emulator.play(name, path="/images")
    async with paint(model=STREAMS) as response:
        assert response.status == scenarios.by_name(name)[0].status
    assert emulator.requests[0].scenario == name


@pytest.mark.parametrize("name", [name for name in image_api.__all__ if name not in {"cut", "unfinished", "error", "empty"}])
def test_a_scenario_that_succeeds_has_a_picture(name):
    """One that another decoder reads."""
    lines = [line.removeprefix(b"data: ") for line in getattr(image_api, name)().body().splitlines()]
    payloads = [json.loads(line) for line in lines if line.startswith(b"{")]
    done = [
        entry for payload in payloads for entry in payload.get("data", [payload]) if entry.get("type", "").endswith("completed")
    ]
    done += [entry for payload in payloads for entry in payload.get("data", [])]
    assert done
    for entry in done:
        if entry.get("media_type") == "image/svg+xml":
            ET.fromstring(base64.b64decode(entry["b64_json"]))
        else:
            opened(entry).load()
