"""What a model takes on the Image API, as the published schema describes it."""

import pytest

from or_stream.catalog import ImageOptions, ImageParameter, ImagePrice

SAID = {
    "supports_streaming": True,
    "supported_parameters": {
        "resolution": {"type": "enum", "values": ["512", "1K", "2K", "4K"]},
        "aspect_ratio": {"type": "enum", "values": ["1:1", "16:9", 5]},
        "size": {"type": "enum", "values": ["2048x2048"]},
        "n": {"type": "range", "min": 1, "max": 4},
        "input_references": {"type": "range", "min": 0, "max": 16},
        "output_compression": {"type": "range", "min": 0, "max": 100},
        "seed": {"type": "boolean"},
        "strange": 5,
    },
}


def test_what_it_can():
    """The descriptors everybody asks for have names."""
    image = ImageOptions.read(SAID)
    assert (("512", "1K", "2K", "4K"), ("1:1", "16:9"), ("2048x2048",)) == (image.resolutions, image.aspect_ratios, image.sizes)
    assert (4, 16, True) == (image.max_images, image.max_input_images, image.streams)


@pytest.mark.parametrize(
    ("parameters", "allowed"),
    [
        ({"aspect_ratio": "16:9", "resolution": "2K"}, True),
        ({"aspect_ratio": "16:9", "resolution": "8K"}, False),
        ({"aspect_ratio": "16:9", "image_size": "2K"}, True),
        ({"image_size": "0.5K"}, True),
        ({"image_size": "8K"}, False),
        ({"n": 4}, True),
        ({"n": 5}, False),
        ({"n": 0}, False),
        ({"n": "4"}, False),
        ({"n": True}, False),
        ({"seed": 42}, True),
        ({"background": "transparent"}, False),
        ({"strange": 5}, False),
        ({}, True),
    ],
)
def test_allows(parameters, allowed):
    """All of what is asked for must be allowed, and what is not described is not supported."""
    assert ImageOptions.read(SAID).allows(**parameters) is allowed


@pytest.mark.parametrize("said", [{}, None, {"supported_parameters": None}, {"supported_parameters": ["n"]}])
def test_nothing_said(said):
    """Where nothing is described, nothing is known."""
    image = ImageOptions.read(said)
    assert (None, None, None, ()) == (image.allows(n=1), image.max_images, image.max_input_images, image.sizes)


def test_one_picture_and_none_in():
    """A model that does not say how many draws one picture, and takes none in."""
    image = ImageOptions.read({"supported_parameters": {"seed": {"type": "boolean"}}})
    assert (1, 0) == (image.max_images, image.max_input_images)
    assert (True, False) == (image.allows(n=1), image.allows(n=2))


@pytest.mark.parametrize(
    ("descriptor", "most"),
    [({"type": "enum", "values": [1, 2]}, 2), ({"type": "boolean"}, None), ({"type": "range", "max": "many"}, None)],
)
def test_most_in_other_words(descriptor, most):
    """The largest of a list is as good as the end of a range."""
    assert most == ImageOptions.read({"supported_parameters": {"n": descriptor}}).max_images


@pytest.mark.parametrize("descriptor", [{}, {"type": "new"}, {"type": 5}])
def test_unknown_descriptor(descriptor):
    """A kind of descriptor that is not known forbids nothing."""
    assert ImageParameter.read(descriptor).allows("anything")


def test_price():
    """A line of a price list keeps its unit."""
    line = ImagePrice.read({"billable": "output_image", "unit": "megapixel", "cost_usd": 0.03, "variant": "4K"})
    assert ImagePrice(billable="output_image", unit="megapixel", usd=0.03, variant="4K") == line
