"""What real servers send for images: each peculiarity as the bytes of a small stream, and what becomes of them."""

import base64

import pytest

from or_stream.events import Event, ImageDiscard, ImageEnd, ImageStart, StreamStart
from or_stream.values import Image
from support.pipelines import DONE, Outcome, data_line, said, same_outcome

GIF = b"GIF89a\x01\x00\x02\x00\x00\x00\x00" + b"\xff" * 60
JPEG = b"\xff\xd8\xff\xe0" + b"\xff" * 60
GIF_URL = b"data:image/gif;base64," + base64.b64encode(GIF)
JPEG_URL = b"data:image/png;base64," + base64.b64encode(JPEG)


def read(*documents: bytes, done: bool = True) -> Outcome:
    """The outcome of a stream of these JSON texts, in every way to cut it."""
    return same_outcome(b"".join(map(data_line, documents)) + (DONE if done else b""))


def delta(members: bytes, rest: bytes = b'"finish_reason":null') -> bytes:
    return b'{"id":"gen-1","choices":[{"index":0,"delta":{"role":"assistant",%b},%b}]}' % (members, rest)


def content(text: bytes) -> bytes:
    return delta(b'"content":"%b"' % text)


def image(url: bytes = GIF_URL, members: bytes = b'"content":""', rest: bytes = b'"finish_reason":null') -> bytes:
    return delta(b'%b,"images":[{"type":"image_url","image_url":{"url":"%b"},"index":0}]' % (members, url), rest)


def call(members: bytes, rest: bytes = b'"finish_reason":null') -> bytes:
    return delta(b'"content":null,"tool_calls":[%b]' % members, rest)


STOP = b'{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":"stop","native_finish_reason":"STOP"}]}'
USAGE = b'"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"cost":0.5}'


def events_of(outcome: Outcome, *kinds: type) -> list[Event]:
    return [event for event in outcome.events if isinstance(event, kinds)]


def test_image_with_the_finish():
    """The image shares its chunk with the finish; usage follows."""
    outcome = read(
        content(b"Here:"), image(rest=b'"finish_reason":"stop","native_finish_reason":"STOP"'), b'{"choices":[],%b}' % USAGE
    )
    assert said(outcome) == ["text_delta", "image_start", "image_delta", "image_end", "usage_update"]
    assert outcome.message.parts == ["Here:", Image.from_bytes(GIF)]
    assert outcome.message.finish_reason == "stop"


def test_image_first():
    """The image may be the very first thing."""
    outcome = read(image())
    assert outcome.events[:2] == [StreamStart("gen-1"), ImageStart(0, "image/gif")]


@pytest.mark.parametrize("name", [b"delta", b"message"])
@pytest.mark.parametrize(
    "entry",
    [
        b'{"type":"image_url","image_url":{"url":"%b"}}',
        b'{"type":"image_url","image_url":"%b"}',
        b'{"url":"%b"}',
        b'"%b"',
        b'{"index":0,"image_url":{"url":"%b"}}',
        b'{"image_url":{"url":"%b"},"url":"%b"}',
        b'{"url":"%b","image_url":{"url":"%b"}}',
    ],
)
def test_places_of_an_image(name: bytes, entry: bytes):
    """An image stands in a delta or a message, as an object or alone, with an index or without."""
    entry = entry.replace(b"%b", GIF_URL)
    outcome = read(b'{"choices":[{"index":0,"%b":{"role":"assistant","content":"","images":[%b]}}]}' % (name, entry))
    assert outcome.message.images == [Image.from_bytes(GIF)]


def test_same_index_twice():
    """Two pictures with one index are two pictures."""
    outcome = read(image(GIF_URL), image(JPEG_URL))
    assert [event.index for event in events_of(outcome, ImageEnd) if isinstance(event, ImageEnd)] == [0, 1]


def test_identical_repeat():
    """A byte-identical repeat, in a delta or in a `message` at the end, is delivered once."""
    whole = (
        b'{"choices":[{"delta":{},"message":{"role":"assistant","content":"","images":["%b"]},"finish_reason":"stop"}]}' % GIF_URL
    )
    outcome = read(image(), image(), whole)
    assert events_of(outcome, ImageDiscard) == [ImageDiscard(1, 0), ImageDiscard(2, 0)]
    assert outcome.message.images == [Image.from_bytes(GIF)]


def test_twin_of_other_bytes():
    """A picture that differs in one byte is delivered too: a client cannot know that they look the same."""
    twin = b"data:image/gif;base64," + base64.b64encode(GIF[:-1] + b"\0")
    assert len(read(image(), image(twin)).message.images) == 2


def test_jpeg_called_png():
    """The media type is what the bytes say."""
    outcome = read(image(JPEG_URL))
    assert outcome.events[1] == ImageStart(0, "image/jpeg")
    assert outcome.message.images[0].media_type == "image/jpeg"


def test_image_by_address():
    """An address is not fetched; two of them are two images."""
    outcome = read(image(b"https://example.org/a.png"), image(rb"https:\/\/example.org\/b.png"))
    assert [made.url for made in outcome.message.images] == ["https://example.org/a.png", "https://example.org/b.png"]
    assert said(outcome) == ["image_start", "image_end"] * 2


def test_escaped_slashes():
    r"""`\/` for every slash, in the head and in the payload."""
    assert b"/" in GIF_URL.split(b",")[1]
    assert read(image(GIF_URL.replace(b"/", rb"\/"))).message.images == [Image.from_bytes(GIF)]


def test_missing_padding():
    """Base64 without its padding is whole."""
    assert GIF_URL.endswith(b"=")
    assert read(image(GIF_URL.rstrip(b"="))).message.images == [Image.from_bytes(GIF)]


@pytest.mark.parametrize("line_end", [rb"\n", rb"\r\n"])
def test_base64_in_lines(line_end: bytes):
    """Base64 in lines, as tools print it, is whole, the line end behind it included."""
    head, _, payload = GIF_URL.partition(b",")
    lines = line_end.join([head + b"," + payload[:76], payload[76:], b""])
    assert read(image(lines)).message.images == [Image.from_bytes(GIF)]


@pytest.mark.parametrize("members", [b'"images":[]', b'"images":null', b'"images":[{"image_url":{"url":""}}]', b'"images":[{}]'])
def test_no_image(members: bytes):
    """An empty list, null and an entry without an address are no image."""
    outcome = read(delta(members), STOP)
    assert said(outcome) == []
    assert outcome.failure is None


def test_text_about_an_image():
    """A data URL in a text, in arguments, in reasoning and in a file annotation stays where it is."""
    url = GIF_URL
    arguments = b'{\\"images\\":[{\\"image_url\\":{\\"url\\":\\"%b\\"}}]}' % url
    file = b'{"type":"file","file":{"hash":"h","content":[{"type":"image_url","image_url":{"url":"%b"}}]}}' % url
    outcome = read(
        content(b'see \\"%b\\" ' % url),
        content(b"%b" % url),
        call(b'{"index":0,"id":"a","function":{"name":"f","arguments":"%b"}}' % arguments),
        delta(b'"reasoning":"%b","reasoning_details":[{"type":"t","index":0,"text":"%b"}]' % (url, url)),
        delta(b'"annotations":[%b]' % file),
    )
    told = url.decode()
    assert outcome.message.images == []
    assert outcome.message.text == f'see "{told}" {told}'
    assert outcome.message.tool_calls[0].json() == {"images": [{"image_url": {"url": told}}]}
    assert outcome.message.reasoning == told
    assert outcome.message.annotations[0]["file"]["content"][0]["image_url"]["url"] == told


def test_text_around_images():
    """Text and images alternate as they came; text behind an image in one delta is behind it."""
    one = b'{"id":"gen-1","choices":[{"index":0,"delta":{"images":["%b"],"content":"b"},"finish_reason":null}]}' % GIF_URL
    outcome = read(content(b"a"), one, image(JPEG_URL, b'"content":"c"'), content(b"d"))
    assert outcome.message.parts == ["a", Image.from_bytes(GIF), "bc", Image.from_bytes(JPEG), "d"]
