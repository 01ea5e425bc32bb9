"""The endpoints around chat, read by the official SDK for Python, whose types are generated from the service's own schema."""

from collections.abc import Iterator

import pytest
from peers import Report, ask, emulator_process

PAINTER, IMAGE_ONLY, VECTOR, TALKER = (
    "google/gemini-3.1-flash-image",
    "openai/gpt-image-2",
    "quiver/arrow-1",
    "openai/gpt-5.4-mini",
)
MODELS, IMAGE_MODELS, ENDPOINTS = "endpoint:models", "endpoint:models image", f"endpoint:endpoints {PAINTER}"
GENERATION = f"endpoint:generation {TALKER}"
CASES = (MODELS, IMAGE_MODELS, ENDPOINTS, "endpoint:images/models", "endpoint:key", "endpoint:credits", GENERATION)
PICTURES = (
    f"images:{PAINTER}",
    f"images-stream:{IMAGE_ONLY}",
    f"images-stream:{VECTOR}",
    "images-stream:emulator/image-api-error",
)


@pytest.fixture(scope="module")
def sdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    with emulator_process(tmp_path_factory.mktemp("endpoints")) as base_url:
        yield ask("openrouter_sdk", base_url, (*CASES, *PICTURES))


@pytest.mark.parametrize("case", [*CASES, *PICTURES[:3]])
def test_every_field_has_its_type(sdk, case):
    """Nothing is missing, of another type, or not in their schema."""
    assert (sdk.answers[case]["error"], sdk.answers[case]["unknown"], sdk.warnings) == (None, [], [])


def test_models(sdk):
    """What only paints is hidden unless images are asked for."""
    shown, painting = sdk.answers[MODELS]["seen"], sdk.answers[IMAGE_MODELS]["seen"]
    assert {PAINTER, TALKER} <= set(shown)
    assert IMAGE_ONLY not in shown
    assert {PAINTER, IMAGE_ONLY, VECTOR} <= set(painting)
    assert TALKER not in painting
    assert sorted(sdk.answers["endpoint:images/models"]["seen"]) == sorted(painting)


def test_endpoints_of_a_model(sdk):
    """Who serves it."""
    assert sdk.answers[ENDPOINTS]["seen"] == ["Google"]


def test_the_receipt_of_a_generation(sdk):
    """After a moment `GET /generation` has the id, the model and the cost that the answer had."""
    assert sdk.answers[GENERATION]["seen"] == [True, TALKER, True]


def test_pictures_whole(sdk):
    """POST /images without `stream`: base64, usage and cost."""
    answer = sdk.answers[f"images:{PAINTER}"]
    assert len(answer["images"]) == 1
    assert answer["usage"]["cost"] > 0


def test_pictures_streamed(sdk):
    """Previews, then the picture, with usage and cost."""
    answer = sdk.answers[f"images-stream:{IMAGE_ONLY}"]
    assert set(answer["seen"][:-1]) == {"image_generation.partial_image"}
    assert answer["seen"][-1] == "image_generation.completed"
    assert len(answer["images"]) == 1
    assert answer["usage"]["cost"] > 0


def test_a_picture_that_is_text(sdk):
    """SVG comes as text chunks before it is whole."""
    answer = sdk.answers[f"images-stream:{VECTOR}"]
    assert set(answer["seen"]) == {"image_generation.text_chunk", "image_generation.completed"}
    assert len(answer["images"]) == 1


def test_an_error_among_previews(sdk):
    """An event of type `error`, which the SDK hands out and does not raise."""
    answer = sdk.answers["images-stream:emulator/image-api-error"]
    assert answer["seen"] == ["image_generation.partial_image", "error"]
    assert answer["error"] == {"type": "error event", "status": "server_error", "message": "The upstream provider failed"}
