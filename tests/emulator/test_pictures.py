"""Pictures are real: another decoder reads them."""

import io
from statistics import median

import pytest
from PIL import Image

from or_stream.emulator import picture
from or_stream.emulator._painting import ASPECT_RATIOS, GIF, IMAGE_SIZES, JPEG, WEBP, dimensions, with_other_metadata
from or_stream.emulator._painting._scene import PALETTES, Scene


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (7, 5), (1, 300), (300, 1), (16, 128), (96, 64), (333, 222)])
def test_a_picture_has_the_size_asked_for(size):
    """Any width and height makes a PNG of just that size."""
    assert decoded(picture("a lighthouse at dusk", *size)).size == size


@pytest.mark.parametrize("hour", PALETTES)
def test_every_hour_is_painted_in_many_colours(hour):
    """A picture is a picture: hundreds of colours, and a sky that is lighter at the horizon."""
    words = {"dawn": "sunrise", "day": "sunny", "dusk": "sunset", "night": "stars"}[hour]
    image = decoded(picture(f"a lighthouse and a boat, {words}", 128, 128))
    assert len(image.getcolors(20_000)) > 200
    zenith, horizon = (median(sum(image.getpixel((x, y))) for x in range(128)) for y in (0, 70))
    assert zenith < horizon


def test_the_same_words_give_the_same_bytes():
    """Prompt and index decide everything."""
    first = picture("boats", 64, 64)
    assert first == picture("boats", 64, 64)
    assert first != picture("boats", 64, 64, index=1)
    assert first != picture("bats", 64, 64)


def test_the_prompt_is_in_the_file():
    """A PNG text chunk says what was asked for, in any script."""
    assert decoded(picture("灯台", 8, 8)).text == {"Description": "灯台"}


@pytest.mark.parametrize("byte_size", [9_000, 65_537, 3 * 2**20])
def test_a_picture_can_have_an_exact_length(byte_size):
    """Filling up changes the length and not the pixels."""
    filled = picture("boats", 64, 64, byte_size)
    assert len(filled) == byte_size
    assert decoded(filled).tobytes() == decoded(picture("boats", 64, 64)).tobytes()


def test_a_length_that_is_too_small_is_refused():
    """The error says how many bytes are needed."""
    with pytest.raises(ValueError, match="needs"):
        picture("boats", 64, 64, 60)


def test_twins_differ_in_bytes_and_not_in_pixels():
    """What gemini-3-pro-image does can be done to any PNG."""
    png = picture("boats", 64, 64)
    twin = with_other_metadata(png)
    assert twin != png
    assert decoded(twin).tobytes() == decoded(png).tobytes()


@pytest.mark.parametrize(("data", "kind"), [(JPEG, "JPEG"), (WEBP, "WEBP"), (GIF, "GIF")])
def test_specimens_of_other_formats_are_valid(data, kind):
    """Each is what it is called."""
    image = decoded(data)
    assert (image.format, image.size) == (kind, (24, 16))


def test_every_ratio_and_size_has_whole_pixels():
    """2K doubles 1K; the ratio is as named, to within the rounding of the service's own table."""
    for ratio in ASPECT_RATIOS:
        across, down = map(int, ratio.split(":"))
        for size, scale in IMAGE_SIZES.items():
            width, height = dimensions(ratio, size)
            assert width / height == pytest.approx(across / down, rel=0.03)
            assert (width, height) == tuple(int(side * scale) for side in dimensions(ratio))


def test_words_of_the_prompt_are_in_the_scene():
    """What is named is painted, and described."""
    scene = Scene.of("A lighthouse at night, a boat")
    assert (scene.hour, scene.lighthouse, scene.boat) == ("night", True, True)
    assert "lighthouse" in scene.describe()
    assert "boat" in scene.describe()
