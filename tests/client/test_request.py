"""Arguments -> JSON body and headers; and what is refused before anything is sent."""

import base64
import io
import json
from pathlib import Path
from types import MappingProxyType

import PIL.ExifTags
import PIL.Image
import pytest
from aioresponses import CallbackResult, aioresponses

from or_stream import Client, ConfigurationError, Image, Message, RetryPolicy, Timeouts, ToolCall
from or_stream.client.request import DEFAULT_MODEL, BodyOptions, build_request
from or_stream.emulator import picture, scenarios

PNG = picture("a lamp", 8, 8)
PNG_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
URL = "https://openrouter.ai/api/v1/chat/completions"

# One value for each parameter that goes into the body as it is.
BODY_VALUES = {
    "audio": {"voice": "alloy", "format": "wav"},
    "cache_control": {"type": "ephemeral"},
    "debug": {"echo_upstream_body": True},
    "frequency_penalty": 0.5,
    "include_reasoning": False,
    "logit_bias": {"50256": -100},
    "logprobs": True,
    "max_completion_tokens": 100,
    "max_tokens": 0,
    "metadata": {"team": "ops"},
    "min_p": 0.0,
    "models": ["a/b", "c/d"],
    "n": 2,
    "parallel_tool_calls": False,
    "plugins": [{"id": "web"}],
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": -1,
    "preset": "mine",
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "provider": {"order": ["novita"], "allow_fallbacks": False},
    "reasoning": {"effort": "low"},
    "reasoning_effort": "low",
    "repetition_penalty": 1.1,
    "response_format": {"type": "json_object"},
    "route": "fallback",
    "seed": 7,
    "service_tier": "flex",
    "session_id": "s",
    "stop": ["a", "b"],
    "stop_server_tools_when": [{"type": "max_cost", "max_cost_in_dollars": 1}],
    "stream_options": {"include_usage": True},
    "structured_outputs": True,
    "temperature": 0,
    "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "top_a": 0.1,
    "top_k": 3,
    "top_logprobs": 2,
    "top_p": 0.9,
    "trace": {"trace_id": "t"},
    "transforms": ["middle-out"],
    "usage": {"include": True},
    "user": "u",
    "verbosity": "low",
    "web_search_options": {"search_context_size": "low"},
}


def body_of(prompt="draw a lamp", model=None, **options):
    return json.loads(build_request(prompt, model, options).body)


def refusal_of(prompt="draw a lamp", model=None, **options):
    with pytest.raises(ConfigurationError) as caught:
        build_request(prompt, model, options)
    return str(caught.value)


async def sent(client, prompt="draw a lamp", **options):
    """The one request that the client sends, as aioresponses saw it."""
    seen = []

    def reply(url, **arguments):
        seen.append((str(url), arguments))
        return CallbackResult(body=scenarios.text().body(), headers={"Content-Type": "text/event-stream"})

    with aioresponses() as mocked:
        mocked.post(URL, callback=reply)
        message = await client.generate(prompt, **options)
    assert message.text == scenarios.TEXT
    ((url, arguments),) = seen
    return url, arguments


# ---- the shape of a request


async def test_request_on_the_wire(key):
    """The address, the headers and the body of an ordinary request."""
    async with Client(api_key=key, app_url="https://example.org", app_title="Lamps") as client:
        url, arguments = await sent(client)
    assert url == URL
    assert dict(arguments["headers"]) == {
        "Authorization": f"Bearer {key}",
        "HTTP-Referer": "https://example.org",
        "X-OpenRouter-Title": "Lamps",
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "Accept-Encoding": "identity",
    }
    assert json.loads(arguments["data"]) == {
        "model": DEFAULT_MODEL,
        "messages": [{"role": "user", "content": "draw a lamp"}],
        "modalities": ["image", "text"],
        "stream": True,
    }
    assert arguments["allow_redirects"] is False


async def test_no_total_timeout(key):
    """The 300 seconds after which aiohttp ends a request by default do not apply."""
    async with Client(api_key=key, timeouts=Timeouts(connect=7)) as client:
        _, arguments = await sent(client)
    timeout = arguments["timeout"]
    assert (timeout.total, timeout.sock_read, timeout.connect, timeout.sock_connect) == (None, None, None, None)


async def test_extra_headers_win(key):
    """A header of the caller replaces one of ours, whatever its capitals."""
    async with Client(api_key=key) as client:
        _, arguments = await sent(client, extra_headers={"authorization": "Bearer other", "X-Trace": "1"})
    assert arguments["headers"]["X-Trace"] == "1"
    assert arguments["headers"]["authorization"] == "Bearer other"


def test_every_body_option_has_a_value_here():
    """The table of this module covers every parameter that is passed on."""
    assert set(BODY_VALUES) == set(BodyOptions.__annotations__)


@pytest.mark.parametrize("name", BODY_VALUES)
def test_body_option_is_passed_on(name):
    """A parameter goes into the body under its name, false and zero included."""
    assert body_of(**{name: BODY_VALUES[name]})[name] == BODY_VALUES[name]


@pytest.mark.parametrize("name", BODY_VALUES)
def test_none_is_left_out(name):
    """None means that the parameter is not sent."""
    assert name not in body_of(**{name: None})


def test_text_is_sent_as_itself():
    """Characters go out as UTF-8 and not as escapes."""
    assert "灯台 🗼".encode() in build_request("灯台 🗼", None, {}).body


def test_mappings_of_any_kind():
    """What is a mapping but no dict is written as an object."""
    assert body_of(metadata=MappingProxyType({"a": "b"}), image_config=MappingProxyType({"x": 1}))["metadata"] == {"a": "b"}


def test_extra_body_wins():
    """What is in extra_body replaces what the parameters say."""
    assert body_of(temperature=0, extra_body={"temperature": 1, "new": [1]}) | {"messages": 0} == {
        "model": DEFAULT_MODEL,
        "messages": 0,
        "modalities": ["image", "text"],
        "stream": True,
        "temperature": 1,
        "new": [1],
    }


def test_model_from_environment(monkeypatch):
    """$OR_STREAM_MODEL is the default, and an argument wins over it."""
    monkeypatch.setenv("OR_STREAM_MODEL", "a/env")
    assert (body_of()["model"], body_of(model="a/b")["model"]) == ("a/env", "a/b")


# ---- modalities


@pytest.mark.parametrize("model", ["google/gemini-2.5-flash-image", "openai/gpt-5-image", "somebody/unknown"])
def test_modalities_by_default(model):
    """Text and images, where the name does not say that the model makes images alone."""
    assert body_of(model=model)["modalities"] == ["image", "text"]


def test_modalities_as_given():
    """What the caller says is sent."""
    assert body_of(modalities=("text",))["modalities"] == ["text"]


async def test_mended_guess_over_the_wire(emulator, client):
    """The second request goes out at once and is answered."""
    emulator.play(scenarios.refused(404), scenarios.text())
    message = await client.generate("x", model="a/talker", retry=RetryPolicy(attempts=1))
    assert message.text == scenarios.TEXT
    assert [request.body["modalities"] for request in emulator.requests] == [["image", "text"], ["text"]]


# ---- conversations


def test_system_message_goes_first():
    """`system` is a message in front of the prompt."""
    assert body_of(system="be brief")["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "draw a lamp"},
    ]


def test_conversation_with_an_earlier_answer():
    """A Message goes back with its images, its reasoning details and its tool calls."""
    details = [{"type": "reasoning.encrypted", "data": "x"}]
    answer = Message(
        text="here",
        images=[Image.from_bytes(PNG)],
        reasoning_details=details,
        tool_calls=[ToolCall(id="1", name="f", arguments="{}"), ToolCall(id="2", name="g", arguments="{", complete=False)],
    )
    messages = body_of([{"role": "user", "content": "hi"}, answer, {"role": "user", "content": "again"}])["messages"]
    assert messages[1] == {
        "role": "assistant",
        "content": "here",
        "images": [{"type": "image_url", "image_url": {"url": PNG_URL}}],
        "reasoning_details": details,
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }


def test_conversation_is_not_changed():
    """The caller's messages stay as they are, images added or not."""
    conversation = [{"role": "user", "content": [{"type": "text", "text": "a"}]}]
    body_of(conversation, system="s", images=[PNG])
    assert conversation == [{"role": "user", "content": [{"type": "text", "text": "a"}]}]


# ---- images as input


@pytest.fixture
def png_path(tmp_path):
    path = tmp_path / "lamp.jpg"  # a wrong suffix on purpose
    path.write_bytes(PNG)
    return path


@pytest.mark.parametrize(
    "kind",
    ["path", "str", "bytes", "bytearray", "Image", "Image in a file", "data URL", "data URL in lines", "Image of a data URL"],
)
def test_image_becomes_a_data_url(png_path, kind):
    """Each kind of picture is sent whole, with the media type that its bytes prove, behind the text."""
    image = {
        "path": png_path,
        "str": str(png_path),
        "bytes": PNG,
        "bytearray": bytearray(PNG),
        "Image": Image.from_bytes(PNG),
        "Image in a file": Image.from_file(png_path),
        "data URL": PNG_URL,
        "data URL in lines": "DATA" + PNG_URL[4:80] + "\n" + PNG_URL[80:] + "\n",
        "Image of a data URL": Image(url=PNG_URL),
    }[kind]
    (message,) = body_of(images=[image])["messages"]
    assert message["content"] == [
        {"type": "text", "text": "draw a lamp"},
        {"type": "image_url", "image_url": {"url": PNG_URL}},
    ]


def test_image_by_address_is_not_fetched():
    """An address is passed on as it is."""
    (message,) = body_of(images=["HTTPS://example.org/a.png"])["messages"]
    assert message["content"][1]["image_url"]["url"] == "HTTPS://example.org/a.png"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a", [{"type": "text", "text": "a"}]),
        ([{"type": "text", "text": "a"}], [{"type": "text", "text": "a"}]),
        (None, []),
        ("", []),
    ],
)
def test_images_join_the_last_user_message(content, expected):
    """Whatever that message has as its content."""
    *_, last = body_of([{"role": "user", "content": content}], images=[PNG])["messages"]
    assert last["content"][:-1] == expected


def test_images_join_a_message_without_content():
    """A message that has only a role takes them too."""
    assert len(body_of([{"role": "user"}], images=[PNG])["messages"][0]["content"]) == 1


def test_images_behind_an_answer_make_a_message():
    """They are never added to what the assistant said."""
    messages = body_of([{"role": "user", "content": "a"}, Message(text="b")], images=[PNG])["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]


def encoded_picture(kind, **options):
    """A picture as another program writes it."""
    file = io.BytesIO()
    PIL.Image.effect_noise((40, 30), 50).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_kinds_that_the_service_takes(kind):
    """Four kinds are sent as they are, also with bytes behind their end."""
    data = encoded_picture(kind) + b"behind"
    (message,) = body_of(images=[data])["messages"]
    assert base64.b64decode(message["content"][1]["image_url"]["url"].partition(",")[2]) == data


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_kept(kind, orientation):
    """What EXIF says about the way up reaches the service."""
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = orientation
    (message,) = body_of(images=[encoded_picture(kind, exif=exif)])["messages"]
    sent = base64.b64decode(message["content"][1]["image_url"]["url"].partition(",")[2])
    with PIL.Image.open(io.BytesIO(sent)) as opened:
        assert opened.getexif()[PIL.ExifTags.Base.Orientation] == orientation


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_picture_cut_short_is_refused(tmp_path, kind):
    """A file whose end is missing is named before anything is sent."""
    path = tmp_path / "half"
    path.write_bytes(encoded_picture(kind)[:-20])
    assert refusal_of(images=[path]) == f"the image {str(path)!r} is cut short: its end is missing; send the whole file"
    assert "cut short" in refusal_of(images=[Image.from_file(path)])


def test_photo_cut_short_behind_its_thumbnail_is_refused():
    """The end of the small picture in its EXIF is not that of the photo."""
    photo, thumbnail = encoded_picture("JPEG"), encoded_picture("JPEG")
    exif = b"\xff\xe1" + (len(thumbnail) + 8).to_bytes(2, "big") + b"Exif\0\0" + thumbnail
    whole = photo[:2] + exif + photo[2:]
    assert body_of(images=[whole])["messages"]
    assert "cut short" in refusal_of(images=[whole[:-20]])


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"<svg/>", "image/svg+xml"),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x1cftypheic", "image/heic"),
        (b"BM" + bytes(60), "image/bmp"),
        (b"II*\0", "image/tiff"),
    ],
)
def test_kind_that_the_service_does_not_take_is_refused(data, media_type):
    """The refusal says what it is and what to do, for bytes and for an Image alike."""
    advice = f"is {media_type}, which the service does not take: convert it to PNG or JPEG"
    assert advice in refusal_of(images=[data])
    assert advice in refusal_of(images=[Image.from_bytes(data)])
    assert advice in refusal_of(images=["data:image/png;base64," + base64.b64encode(data).decode()])


def test_empty_picture_is_refused(tmp_path):
    """A file of no bytes and no bytes at all."""
    (tmp_path / "empty.png").touch()
    assert "empty.png' is empty" in refusal_of(images=[tmp_path / "empty.png"])
    assert "is empty" in refusal_of(images=[b""])


def test_large_picture_is_sent_without_a_warning(tmp_path):
    """More than a megabyte is written in pieces, where aiohttp warns of it as one; see test_transport."""
    assert len(build_request("x", None, {"images": [picture("a", 8, 8, 2_000_000)]}).body) > 2_000_000


# ---- what is refused


@pytest.mark.parametrize(
    ("prompt", "hint"),
    [
        ("", "say what to generate"),
        (" \n", "say what to generate"),
        ([], "at least one message"),
        ({"role": "user", "content": "x"}, "a string or a list"),
        (Message(text="x"), "a string or a list"),
        (b"x", "a string or a list"),
        (None, "a string or a list"),
        (5, "a string or a list"),
        (["x"], "message 0"),
        ([{"role": "user", "content": "x"}, {"content": "x"}], "message 1"),
        ("\ud83d", "surrogate"),
        ([{"role": "user", "content": "\udc00"}], "surrogate"),
    ],
)
def test_prompt_is_refused(prompt, hint):
    """A prompt that cannot be sent says why."""
    assert hint in refusal_of(prompt)


@pytest.mark.parametrize("model", ["", " ", "a\nb", "a b", "a/b ", "a\u2028b", "a\x85b", "a\x00", 5])
def test_model_is_refused(model):
    """A model name with white space or control characters, or none at all."""
    assert "model" in refusal_of(model=model)


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"temprature": 1}, "did you mean 'temperature'?"),
        ({"client": None}, "an item of a batch have theirs"),
        ({"entirely_new": 1}, "extra_body"),
        ({"api_key": "x"}, "Client(api_key=...)"),
        ({"base_url": "x"}, "Client(base_url=...)"),
        ({"system": "a", "prompt_is": 1}, "unknown option 'prompt_is'"),
        ({"modalities": "image"}, '["image"]'),
        ({"modalities": 5}, "a list"),
        ({"modalities": []}, "leave it out"),
        ({"system": 5}, "system must be a text"),
        ({"modalities": ["text"], "require_image": True}, "drop require_image"),
        ({"modalities": ["text"], "image_config": {"aspect_ratio": "1:1"}}, "drop image_config"),
        ({"image_config": "16:9"}, "aspect_ratio"),
        ({"reasoning": "low"}, "effort"),
        ({"reasoning": {"effort": "low", "max_tokens": 5}}, "not both"),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, "give one of them"),
        ({"extra_body": "x"}, "a mapping"),
        ({"extra_body": {"stream": False}}, "leave `stream` out"),
        ({"extra_headers": [("a", "b")]}, "a mapping"),
        ({"extra_headers": {"X-A": "b\r\nEvil: 1"}}, "one line"),
        ({"extra_headers": {"X-A\r\nEvil": "1"}}, "name of a header"),
        ({"extra_headers": {"X A": "1"}}, "name of a header"),
        ({"extra_headers": {"": "1"}}, "name of a header"),
        ({"extra_headers": {1: "1"}}, "name of a header"),
        ({"extra_headers": {"X-A": 1}}, "one line"),
        ({"extra_headers": {"X-A": "\udcff"}}, "one line"),
        ({"extra_headers": {"X-A": "\x00"}}, "one line"),
        ({"metadata": {"a": {1, 2}}}, "JSON"),
        ({"metadata": {(1, 2): 3}}, "JSON"),
        ({"user": object()}, "JSON"),
        ({"user": "\ud800"}, "surrogate"),
        ({"temperature": float("nan")}, "JSON"),
        ({"temperature": float("inf")}, "JSON"),
        ({"timeouts": 30}, "Timeouts(total=300)"),
        ({"retry": 3}, "RetryPolicy(attempts=1)"),
        ({"save_to": 5}, "a folder"),
        ({"save_to": "a\x00b"}, "save_to"),
        ({"save_to": "/dev/null"}, "save_to"),
        ({"save_to": "/dev/null/x"}, "save_to"),
        ({"images": "a.png"}, "a list"),
        ({"images": Path("a.png")}, "a list"),
        ({"images": bytearray(b"x")}, "a list"),
        ({"images": 5}, "a list"),
        ({"images": [None]}, "NoneType"),
        ({"images": ["/nowhere/lamp.png"]}, "/nowhere/lamp.png"),
        ({"images": ["/"]}, "cannot read"),
        ({"images": ["a\x00b"]}, "cannot read"),
        ({"images": [b""]}, "PNG, JPEG, WebP or GIF"),
        ({"images": [b"hello"]}, "PNG, JPEG, WebP or GIF"),
        ({"images": [Image(path=Path("/nowhere/lamp.png"))]}, "/nowhere/lamp.png"),
        ({"images": [Image()]}, "Image.from_bytes"),
    ],
)
def test_options_are_refused(options, hint):
    """Each says what to do, and nothing was sent."""
    assert hint in refusal_of(**options)


def test_nested_too_deep():
    """Neither a loop nor the depth of a value ends in another exception."""
    loop = {}
    loop["again"] = loop
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert "JSON" in refusal_of(metadata=loop)
    assert "JSON" in refusal_of(metadata={"deep": deep})


def test_two_system_messages():
    """`system` and a system message in the conversation exclude each other."""
    assert "not both" in refusal_of([{"role": "system", "content": "a"}, {"role": "user", "content": "b"}], system="c")


def test_images_beside_content_of_another_kind():
    """They cannot be added to a number."""
    assert "text or a list of parts" in refusal_of([{"role": "user", "content": 5}], images=[PNG])


def test_image_of_an_earlier_answer_is_gone():
    """A Message whose picture was in a file that is no more names the message."""
    answer = Message(images=[Image(path=Path("/nowhere/lamp.png"))])
    assert "message 1" in refusal_of([{"role": "user", "content": "a"}, answer])


def test_folder_that_cannot_be_written(tmp_path, monkeypatch):
    """save_to is tried before a generation is paid for."""
    monkeypatch.setattr("os.access", lambda *_: False)  # for root every folder can be written to
    assert "choose another folder" in refusal_of(save_to=tmp_path)


def test_folder_is_made(tmp_path):
    """save_to makes the folders that are missing."""
    build_request("x", None, {"save_to": tmp_path / "a" / "b"})
    assert (tmp_path / "a" / "b").is_dir()


async def test_nothing_is_sent_for_a_refused_request(emulator, client):
    """The call itself raises, before it is iterated."""
    with pytest.raises(ConfigurationError):
        client.stream("")
    assert emulator.requests == []
