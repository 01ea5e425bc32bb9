"""The body of a request to the Image API: one vocabulary, its words."""

import base64
import json

import pytest

from or_stream import ConfigurationError, Image, Message
from or_stream.catalog import ImageOptions
from or_stream.client.request import build_request
from or_stream.client.request._image_api import check_image_parameters
from or_stream.emulator import picture

PNG = picture("a lamp", 8, 8)
URL = "https://example.com/a.png"
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
MODEL = "bytedance-seed/seedream-4.5"


def body_of(prompt="draw a lamp", **options):
    return json.loads(build_request(prompt, MODEL, options).body)


def refusal_of(prompt="draw a lamp", **options):
    with pytest.raises(ConfigurationError) as caught:
        build_request(prompt, MODEL, options)
    return str(caught.value)


def reference(url):
    return {"type": "image_url", "image_url": {"url": url}}


def test_least():
    """A model, a prompt, and the wish for a stream."""
    assert body_of() == {"model": MODEL, "prompt": "draw a lamp", "stream": True}


def test_words():
    """`image_config` is flat here, sizes have other names, and what is not known is passed on."""
    config = {"aspect_ratio": "16:9", "image_size": "0.5K", "quality": "high", "output_format": "webp", "strength": 0.2}
    expected = {"aspect_ratio": "16:9", "resolution": "512", "quality": "high", "output_format": "webp", "strength": 0.2}
    body = body_of(image_config=config, n=2, seed=7, provider={"order": ["seed"]}, extra_body={"quality": "low"})
    assert body.items() >= (expected | {"n": 2, "seed": 7, "provider": {"order": ["seed"]}, "quality": "low"}).items()


@pytest.mark.parametrize(("api", "name", "smallest"), [("chat", "image_size", "0.5K"), ("images", "resolution", "512")])
@pytest.mark.parametrize(
    "said", [{"image_size": "0.5K"}, {"resolution": "512"}, {"image_size": "512"}, {"resolution": "0.5K", "image_size": None}]
)
def test_one_vocabulary(api, name, smallest, said):
    """A size in the words of one endpoint is sent in those of the other."""
    body = body_of(image_config=said, api=api)
    assert (body if api == "images" else body["image_config"])[name] == smallest
    assert "give one of them" in refusal_of(image_config={"image_size": "1K", "resolution": "1K"})


@pytest.mark.parametrize("api", ["chat", "images"])
def test_image_config_twice(api):
    """What `extra_body` says of pictures replaces the argument, and is said in the words of the endpoint as well."""
    extra = {"image_config": {"resolution": "2K"}, "modalities": ["image"]}
    body = body_of(
        image_config={"aspect_ratio": "1:1", "image_size": "1K"}, modalities=["text", "image"], extra_body=extra, api=api
    )
    over_chat = {
        "messages": [{"role": "user", "content": "draw a lamp"}],
        "modalities": ["image"],
        "image_config": {"image_size": "2K"},
    }
    expected = over_chat if api == "chat" else {"prompt": "draw a lamp", "resolution": "2K"}
    assert body == {"model": MODEL, "stream": True, **expected}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"image_config": "2K"}, "image_config must be a mapping"),
        ({"modalities": "image"}, "must be a list"),
        ({"modalities": [["image"]]}, "must be texts"),
    ],
)
def test_extra_body_that_cannot_be_said(extra, said):
    """What neither endpoint could be told is refused."""
    assert said in refusal_of(extra_body=extra)


@pytest.mark.parametrize("name", ["model", "prompt", "stream", "n", "seed", "provider", "input_references"])
def test_image_config_names_an_argument(name):
    """`image_config` stands among the other parameters on the Image API, and replaces none of them."""
    assert f"'{name}' is no part of image_config" in refusal_of(image_config={name: 2})
    assert body_of(image_config={name: 2}, api="chat")["image_config"] == {name: 2}


@pytest.mark.parametrize("api", ["chat", "images"])
def test_nothing_in_image_config(api):
    """None is as good as nothing."""
    assert body_of(image_config={"aspect_ratio": None}, api=api).keys() <= body_of(image_config={}, api=api).keys()


def test_modalities_read_once():
    """Modalities may come from a generator."""
    assert body_of(modalities=(name for name in ("image", "text")))["modalities"] == ["image", "text"]


def test_pictures():
    """Pictures are references, each an object, even an address."""
    assert body_of(images=[PNG, URL])["input_references"] == [reference(PNG_URL), reference(URL)]
    assert "16 pictures at most, and 17" in refusal_of(images=[URL] * 17)


def test_conversation():
    """Of a conversation the last turn is sent, with the system's words in front and the pictures of the answer before it."""
    answer = Message(text="Here.", images=[Image.from_bytes(PNG)])
    turns = [
        {"role": "user", "content": "a village"},
        answer,
        {"role": "user", "content": [{"type": "text", "text": "at night"}]},
    ]
    body = body_of(turns, system="Paint in oil.", images=[URL])
    assert body["prompt"] == "Paint in oil.\n\nat night"
    assert body["input_references"] == [reference(PNG_URL), reference(URL)]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "ends with a message of 'assistant'"),
        ([{"role": "user", "content": [reference(URL)]}], "say in words"),
        ([{"role": "user", "content": [{"type": "file", "file": {}}, {"type": "text", "text": "a"}]}], "no 'file'"),
    ],
)
def test_what_is_no_prompt(prompt, said):
    """What cannot be made a prompt is refused."""
    assert said in refusal_of(prompt)


@pytest.mark.parametrize("option", ["tools", "max_tokens", "temperature", "response_format", "reasoning", "models", "plugins"])
def test_only_chat(option):
    """What would be ignored without a word is refused, with what to do."""
    value = {"tools": [{}], "max_tokens": 5, "temperature": 1, "models": ["a/b"], "plugins": [{"id": "web"}]}.get(option, {})
    assert f"no parameter {option!r}" in refusal_of(**{option: value})
    assert 'api="chat"' in refusal_of(**{option: value})
    assert body_of(**{option: value}, api="chat")[option] == value


@pytest.mark.parametrize("count", [0, 11, 1.5, True, "2"])
def test_count(count):
    """A request makes one to ten pictures."""
    assert "1 to 10" in refusal_of(n=count)


def test_other_refusals():
    """A provider field, an api, modalities that the Image API does not have."""
    assert "no provider field 'zdr'" in refusal_of(provider={"zdr": True})
    assert 'must be "auto"' in refusal_of(api="image")
    assert "modalities are for chat" in refusal_of(api="images", modalities=["text"])
    assert "leave `stream` out" in refusal_of(extra_body={"stream": False})


def test_what_the_caller_puts_into_the_body_wins():
    """`extra_body` is sent as it is, also where nothing could come of it."""
    assert body_of(extra_body={"model": 5, "prompt": "b"}) == {"model": 5, "prompt": "b", "stream": True}


def test_session():
    """The session is named in a header: the body has no place for it."""
    request = build_request("x", MODEL, {"session_id": "s", "user": "u"})
    assert (request.headers["x-session-id"], "session_id" in json.loads(request.body)) == ("s", False)
    assert "x-session-id" not in build_request("x", None, {"session_id": "s"}).headers


OPTIONS = ImageOptions.read(
    {
        "supported_parameters": {
            "aspect_ratio": {"type": "enum", "values": ["1:1", "16:9"]},
            "resolution": {"type": "enum", "values": ["1K", "2K"]},
            "n": {"type": "range", "min": 1, "max": 4},
            "seed": {"type": "boolean"},
        }
    }
)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"aspect_ratio": "16:9", "resolution": "2K", "n": 4, "seed": 1}, None),
        ({"aspect_ratio": "auto", "quality": "auto", "n": 1, "size": "640x480"}, None),
        ({"strength": 1, "quality": "high", "output_compression": 5}, None),
        ({"aspect_ratio": "4:3"}, r"aspect_ratio='4:3', only \('1:1', '16:9'\)"),
        ({"size": "4K"}, "resolution='4K'"),
        ({"n": 5}, "n=5, only from 1.0 to 4.0"),
        ({"background": "transparent"}, "takes no background"),
        ({"input_references": [reference(URL)]}, "takes no pictures, and 1"),
        ({"messages": [], "image_config": {"image_size": "4K"}}, "resolution='4K'"),
        ({"messages": [], "image_config": {"quality": "high"}, "n": 9}, None),
    ],
)
def test_what_a_model_says_it_cannot(asked, said):
    """What a model says it cannot do is refused; what it does not speak of, and what the service fits to it, is not."""
    if said is None:
        check_image_parameters("a/b", OPTIONS, asked)
    else:
        with pytest.raises(ConfigurationError, match=said):
            check_image_parameters("a/b", OPTIONS, asked)
    check_image_parameters("a/b", ImageOptions(), asked)
