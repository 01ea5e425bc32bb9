"""or_stream.protocol._decoder: documents to events, and images that were lifted from them."""

from typing import Any

import pytest

from or_stream.errors import ProtocolViolation
from or_stream.events import (
    AnnotationDelta,
    Event,
    ImageDelta,
    ImageEnd,
    ImageStart,
    ReasoningDelta,
    RefusalDelta,
    StreamStart,
    TextDelta,
    ToolCallEnd,
    UsageUpdate,
)
from or_stream.protocol import MemorySink
from or_stream.protocol._decoder import ChatDecoder
from or_stream.protocol._images import ImageAssembler
from or_stream.values import Image, Usage

HEAD = "data:image/png;base64,"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(60)


def new_decoder(**options: Any) -> ChatDecoder:
    return ChatDecoder(ImageAssembler(lambda _: MemorySink(), max_images=10, max_image_bytes=1000), **options)


def document(delta: Any = None, finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "gen-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason, **fields}]}


def words(text: str, **fields: Any) -> dict[str, Any]:
    return document({"role": "assistant", "content": text}, **fields)


def images(*urls: str, **delta: Any) -> dict[str, Any]:
    return document({**delta, "images": [{"image_url": {"url": url}} for url in urls]})


def started(*documents: Any) -> tuple[ChatDecoder, list[Event]]:
    """A decoder that was fed these documents, and their events without the first, which is StreamStart."""
    decoder = new_decoder()
    events = [event for item in documents for event in decoder.feed(item)]
    assert events[:1] == [StreamStart("gen-1", None, None)]
    return decoder, events[1:]


def test_start_says_who_speaks():
    """The first chunk, be it empty, starts the stream; what is learnt later is in the message."""
    decoder = new_decoder()
    assert decoder.feed({"id": "gen-1", "provider": "P"}) == [StreamStart("gen-1", None, "P")]
    assert decoder.feed({"id": "gen-2", "model": "m", "created": 5, "choices": []}) == []
    message = decoder.message("streaming")
    assert (message.id, message.model, message.provider, message.created) == ("gen-1", "m", "P", 5)
    assert message.status == "streaming"


def test_generation_id_of_the_headers_wins():
    """The id that the headers gave is known before the first chunk and is not replaced."""
    decoder = new_decoder(generation_id="gen-0")
    assert decoder.generation_id == "gen-0"
    assert decoder.feed(words("a")) == [StreamStart("gen-0", None, None), TextDelta("a")]


def test_text_in_both_ways():
    """Text is the same from a chunk with nothing else and from a full one; empty text is no event."""
    decoder, events = started(words(""), words("a"), words(""), words("b", mood="calm"), words("c"))
    assert events == [TextDelta("a"), TextDelta("b"), TextDelta("c")]
    assert decoder.message("complete").text == "abc"


@pytest.mark.parametrize("first", [words(""), words("Hi")])
def test_message_that_repeats_its_deltas(first: Any):
    """A `message` behind deltas says nothing again."""
    rest = [] if first == words("Hi") else [words("Hi")]
    whole = {"choices": [{"message": {"content": "Hi", "refusal": "no"}, "finish_reason": "stop"}]}
    decoder, events = started(first, *rest, whole)
    assert events == [TextDelta("Hi"), RefusalDelta("no")]
    assert decoder.message("complete").text == "Hi"


def test_message_with_another_image():
    """A `message` behind a delta's image may have one more: images are told apart by what they are."""
    address = "https://example.org/{}.png"
    whole = {"choices": [{"message": {"images": [address.format("a"), address.format("b")]}}]}
    decoder, _ = started(document({"images": [address.format("a")]}), whole)
    assert [image.url for image in decoder.message("complete").images] == [address.format("a"), address.format("b")]


def test_message_beside_text():
    """A `message` beside a delta of nothing but text is read."""
    _, events = started(words(""), words("", message={"images": [{"url": "https://example.org/a.png"}]}))
    assert [type(event) for event in events] == [ImageStart, ImageEnd]


def test_native_reason_beside_text():
    """A native finish reason beside a delta of nothing but text is read."""
    decoder, _ = started(words("a"), words("b", native_finish_reason="STOP"))
    assert decoder.message("complete").native_finish_reason == "STOP"
    assert decoder.is_finished


def test_order_inside_a_delta():
    """One delta may say everything; its order is kept."""
    delta = {"reasoning": "r", "content": "t", "refusal": "n", "annotations": [{"type": "url_citation"}, {}]}
    _, events = started(document(delta))
    assert events == [ReasoningDelta("r"), TextDelta("t"), RefusalDelta("n"), AnnotationDelta({"type": "url_citation"})]


def test_several_choices():
    """Each choice has its message; the stream is finished when every one is."""
    decoder, events = started(
        {"id": "gen-1", "choices": [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]},
        document({}, "stop"),
    )
    assert events == [TextDelta("b", 1), TextDelta("a", 0)]
    assert not decoder.is_finished
    decoder.feed({"choices": [{"index": 1, "finish_reason": "length"}], "usage": {"cost": 1}})
    assert decoder.is_finished
    message = decoder.message("complete")
    assert (message.text, message.finish_reason) == ("a", "stop")
    assert [(other.text, other.finish_reason, other.id) for other in message.alternatives] == [("b", "length", "gen-1")]


def test_last_usage_holds():
    """Each usage is an event, and the last one is the message's."""
    decoder, events = started({"id": "gen-1", "usage": {"cost": 1}}, {"usage": {"cost": 2}})
    assert events == [UsageUpdate(Usage(cost=1)), UsageUpdate(Usage(cost=2))]
    assert decoder.message("complete").usage == Usage(cost=2)


def test_unknown_fields_are_in_the_message():
    """Unknown fields and log probabilities are kept beside each other."""
    decoder, _ = started({"id": "gen-1", "citations": ["a"], "choices": [{"logprobs": -1.5, "delta": {}}]})
    assert decoder.message("complete").extra == {"citations": ["a"], "logprobs": -1.5}


def test_error_alone_is_no_start():
    """An error that says nothing else brings no event, so that the request can be sent again; its usage is kept."""
    decoder = new_decoder()
    assert decoder.feed({"id": "gen-1", "choices": [], "error": {"message": "no"}, "usage": {"cost": 1}}) == []
    assert decoder.failure is not None
    assert decoder.message("failed").usage == Usage(cost=1)
    assert decoder.generation_id == "gen-1"


def test_error_beside_content():
    """What comes beside an error is said, behind a start."""
    decoder = new_decoder()
    assert decoder.feed({**words("a"), "error": "no"}) == [StreamStart("gen-1", None, None), TextDelta("a")]
    assert decoder.failure is not None
    assert decoder.failure.message == "no"


def test_calls_end_with_the_stream():
    """A call ends when the stream does, and not with its finish reason, behind which more may come."""
    decoder, events = started(
        document({"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "["}}]}, "tool_calls"),
        document({"tool_calls": [{"index": 0, "function": {"arguments": "1]"}}]}, "stop"),
    )
    assert not any(isinstance(event, ToolCallEnd) for event in events)
    (end,) = decoder.finish()
    assert isinstance(end, ToolCallEnd)
    assert (end.call.arguments, end.call.complete) == ("[1]", True)


# ---- images that were lifted


def test_lifted_image():
    """A lifted image is said while it comes; the rest of its chunk says what is new."""
    decoder = new_decoder()
    events = decoder.begin_image(images(HEAD, content="a"))
    events += decoder.feed_image(PNG) + decoder.end_image()
    events += decoder.feed(images(f"{HEAD}#1", content="a") | {"usage": {"cost": 1}})
    image = Image.from_bytes(PNG)
    assert events == [
        StreamStart("gen-1", None, None),
        TextDelta("a"),
        ImageStart(0, "image/png"),
        ImageDelta(0, PNG),
        ImageEnd(0, image),
        UsageUpdate(Usage(cost=1)),
    ]
    assert decoder.message("complete").parts == ["a", image]


def test_two_lifted_images_of_one_delta():
    """What was said with the first is not said with the second, and an address between them is said once."""
    decoder = new_decoder()
    address = "https://example.org/a.png"
    events = decoder.begin_image(images(HEAD)) + decoder.feed_image(PNG) + decoder.end_image()
    events += decoder.begin_image(images(f"{HEAD}#1", address, HEAD)) + decoder.feed_image(PNG + b"2") + decoder.end_image()
    events += decoder.feed(images(f"{HEAD}#1", address, f"{HEAD}#2"))
    assert [event.image.url for event in events if isinstance(event, ImageEnd)] == [None, address, None]


def test_lifted_image_of_another_choice():
    """A lifted image belongs to the choice it stands in."""
    decoder = new_decoder()
    begun = {"choices": [{"index": 1, "delta": {"images": [HEAD]}}]}
    decoder.begin_image(begun)
    assert decoder.feed_image(PNG) == [ImageStart(0, "image/png", 1), ImageDelta(0, PNG, 1)]
    decoder.end_image()
    assert decoder.message("complete").images == []
    assert decoder.message("complete").alternatives[0].images == [Image.from_bytes(PNG)]


def test_text_after_a_lifted_image():
    """The chunk behind a lifted image's is read in the short way again."""
    decoder = new_decoder()
    decoder.begin_image(images(HEAD))
    decoder.feed_image(PNG)
    decoder.end_image()
    assert decoder.feed(images(f"{HEAD}#1")) == []
    assert decoder.feed(words("a")) == [TextDelta("a")]


@pytest.mark.parametrize(
    "entry", [{"url": f"{HEAD}#1", "image_url": {"url": HEAD}}, {"image_url": {"url": f"{HEAD}#1"}, "url": HEAD}]
)
def test_entry_that_names_its_image_twice(entry: Any):
    """The second address of one entry is no second image."""
    decoder = new_decoder()
    decoder.begin_image(images(HEAD))
    decoder.feed_image(PNG)
    decoder.end_image()
    assert decoder.begin_image(document({"images": [entry]})) == []
    assert decoder.feed_image(b"other") == []
    assert decoder.end_image() == []
    assert len(decoder.message("complete").images) == 1


def test_chunk_that_has_lost_its_image():
    """Where a name stands twice, the image that was lifted may not be in its chunk; the next chunk is read in full."""
    decoder = new_decoder()
    decoder.begin_image(images(HEAD))
    decoder.feed_image(PNG)
    decoder.end_image()
    assert decoder.feed(words("a")) == []
    assert decoder.feed(document({"content": "b", "refusal": None})) == [TextDelta("b")]


def test_payload_beside_an_address():
    """An address that stands in front of a payload in the same entry is the entry's image."""
    decoder = new_decoder()
    entry = {"image_url": "https://example.org/a.png", "url": HEAD}
    events = decoder.begin_image(document({"images": [entry]})) + decoder.feed_image(PNG) + decoder.end_image()
    events += decoder.feed(document({"images": [{**entry, "url": f"{HEAD}#1"}]}))
    assert [type(event) for event in events] == [StreamStart, ImageStart, ImageEnd]


# ---- images that were not


@pytest.mark.parametrize("url", [f"{HEAD}QUJD", "DATA:IMAGE/PNG;BASE64,QUJD", f"{HEAD}QU\nJD\n", "data:;base64,QUJD"])
def test_image_that_was_not_lifted(url: str):
    """A data URL that reached the decoder as text is decoded there."""
    decoder, events = started(document({"content": [{"type": "image_url", "image_url": {"url": url}}]}))
    assert b"".join(event.data for event in events if isinstance(event, ImageDelta)) == b"ABC"
    assert decoder.message("complete").images[0].data == b"ABC"


@pytest.mark.parametrize("url", [f"{HEAD}~~", f"{HEAD}#1", HEAD, "data:image/png,QUJD", "DATA:", f"{HEAD}é", f"{HEAD}QU\\/D"])
def test_image_that_is_no_image(url: str):
    """A data URL without base64 in it is a violation, and what the chunk said in front of it is not lost."""
    decoder, events = started(document({"content": [{"text": "in front"}, {"image_url": url}]}))
    assert isinstance(decoder.violation, ProtocolViolation)
    assert TextDelta("in front") in events
