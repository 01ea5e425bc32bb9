"""Prompts -> tasks: what is taken, and which two are the same."""

from pathlib import Path

import PIL.Image
import pytest

from or_stream import ConfigurationError, Image, Message, Picture
from or_stream.batching.records import read_task
from or_stream.batching.records._item import file_stem


def key_of(prompt, model=None, **options):
    return read_task({"prompt": prompt, **options}, 0, model, {}).key


def test_text_and_mapping_are_the_same():
    """A prompt alone and a mapping with nothing else ask for the same."""
    assert read_task("hi", 0, None, {}).key == key_of("hi")


def test_own_options_win():
    """An option of an item replaces the one of the batch."""
    task = read_task({"prompt": "hi", "model": "b", "seed": 2}, 0, "a", {"seed": 1, "n": 3})
    assert (task.model, dict(task.options)) == ("b", {"seed": 2, "n": 3})


def test_key_is_stable():
    """The key of a request is the same for ever, or no journal could be taken up again."""
    assert key_of("a lighthouse", "some/model", seed=1) == "2ddb43881027257a1affa0c6546b11e4"


@pytest.mark.parametrize(
    "other", [{"prompt": "ho"}, {"model": "b"}, {"seed": 1}, {"system": "s"}, {"image_config": {"aspect_ratio": "1:1"}}]
)
def test_what_is_asked_for_makes_the_key(other):
    """Another prompt, model or option is another key."""
    assert key_of("hi", "a") != key_of(**{"prompt": "hi", "model": "a", **other})


@pytest.mark.parametrize("other", [{"save_to": "out"}, {"extra_headers": {"X": "1"}}, {"timeouts": None}, {"seed": None}])
def test_what_does_not_make_the_key(other):
    """How a request is sent and kept changes nothing of what it is."""
    assert key_of("hi", "a") == key_of("hi", "a", **other)


def test_default_model_makes_the_key(monkeypatch):
    """The model that the environment names is the one that answers, so that it counts."""
    before = key_of("hi")
    monkeypatch.setenv("OR_STREAM_MODEL", "another/model")
    assert key_of("hi") != before == key_of("hi", "google/gemini-2.5-flash-image")


def test_order_of_options_does_not_matter():
    """Mappings are the same in whatever order."""
    assert key_of("hi", seed=1, n=2) == key_of("hi", n=2, seed=1)


def test_picture_counts_by_its_bytes(tmp_path):
    """The same picture under another name is the same request; another one under the same name is not."""
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.write_bytes(b"x")
    two.write_bytes(b"x")
    before = key_of("hi", images=[one])
    assert before == key_of("hi", images=[str(two)]) == key_of("hi", images=[b"x"])
    one.write_bytes(b"y")
    assert before != key_of("hi", images=[one])


def test_addresses_and_messages_have_keys():
    """Everything that `stream` takes can be told apart."""
    image = Image.from_bytes(b"x")
    keys = {key_of("hi", images=[given]) for given in ("https://a/b.png", "data:image/png;base64,AA==", image)}
    keys |= {key_of([Message(text=text)]) for text in ("a", "b")}
    assert len(keys) == 5


def test_picture_of_pillow_counts_by_its_pixels():
    """Two that show the same are the same request; wishes and another pixel make another one."""
    one, same, other = (PIL.Image.new("RGB", (2, 2), colour) for colour in ("red", "red", "blue"))
    assert key_of("hi", images=[one]) == key_of("hi", images=[same]) != key_of("hi", images=[other])
    keys = {key_of("hi", images=[given]) for given in (one, Picture(one), Picture(one, max_pixels=1), Picture(one, detail="low"))}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (1, "a prompt must be a string or a list of messages, not int"),
        (None, "a prompt must be a string or a list of messages, not NoneType"),
        (b"hi", "a prompt must be a string or a list of messages, not bytes"),
        ({}, 'there is no "prompt"'),
        ({"text": "hi"}, 'there is no "prompt"'),
        ({"prompt": None}, "a prompt must be a string or a list of messages, not NoneType"),
        ({"prompt": "hi", "key": ""}, "a key must be text or a number, not ''"),
        ({"prompt": "hi", "key": 1.5}, "a key must be text or a number, not 1.5"),
    ],
)
def test_what_is_no_prompt(given, said):
    """Anything else is refused."""
    with pytest.raises(ConfigurationError) as caught:
        read_task(given, 3, None, {})
    assert str(caught.value) == said


@pytest.mark.parametrize("options", [{"metadata": {1, 2}}, {"images": [Path("/none.png")]}])
def test_what_cannot_be_told_apart(options):
    """A value that is no JSON, or a picture that is not there, is refused."""
    with pytest.raises(ConfigurationError):
        key_of("hi", **options)


def test_number_as_a_key():
    """A number is a key as its digits."""
    assert key_of("hi", key=17) == "17"


@pytest.mark.parametrize("key", ["a", "lighthouse-3", "0123456789abcdef", "a.b_c"])
def test_plain_key_is_a_file_name(key):
    """A key that every file system takes is the name itself."""
    assert file_stem(key) == key


@pytest.mark.parametrize(
    "key",
    ["../../etc/passwd", "/a", "A", "a b", "", ".a", "é", "a" * 300, "a\0", "con/aux", "nul.txt", "a~failed", "\ud800", "a\n"],
)
def test_odd_key_is_made_safe(key):
    """Any other is turned into letters, digits and a digest, so that it stays in the folder and is nobody else's."""
    stem = file_stem(key)
    assert stem.replace("-", "").isalnum()
    assert stem.isascii()
    assert stem == stem.lower() != file_stem(key + "x")
    assert len(stem) <= 80
