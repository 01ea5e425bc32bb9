"""or_stream.protocol.Pipeline: bytes to events, however they are cut, and one honest end."""

import base64
import json
from typing import Any

import pytest

from or_stream.emulator import scenarios
from or_stream.errors import (
    ConnectionFailed,
    ProtocolViolation,
    RateLimited,
    ServerFailed,
    StreamFailed,
    StreamTruncated,
)
from or_stream.events import Event, Heartbeat, ImageDelta, StreamEnd, StreamStart, TextDelta
from or_stream.protocol import Limits, MemorySink, Pipeline
from or_stream.values import Image
from support.pipelines import DONE, chunk, data_line, outcome_of, said, same_outcome

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(90))
HEAD = "data:image/png;base64,"
URL = HEAD + base64.b64encode(PNG).decode()


def image(url: str = URL, finish_reason: str | None = None, **delta: Any) -> bytes:
    return chunk({"role": "assistant", **delta, "images": [{"image_url": {"url": url}}]}, finish_reason)


def text(content: str) -> bytes:
    return chunk({"role": "assistant", "content": content})


# ---- every scenario of the emulator


@pytest.mark.parametrize("name", [name for name in scenarios.names() if name != "event-too-large"])
def test_scenarios_do_not_depend_on_their_cuts(name: str):
    """Every oddity that is known gives the same events in whatever pieces it comes, and ends in exactly one way."""
    for scenario in scenarios.by_name(name):
        is_stream = scenario.content_type == "text/event-stream"
        same_outcome(scenario.body(), "few", framing="sse" if is_stream else "json")


# ---- the end


def test_every_end_is_honest():
    """A stream cut at any byte is truncated until its finish is whole, and complete from there on."""
    words = text("Hello") + image()
    finish = chunk({"role": "assistant", "content": "!"}, "stop")
    data = words + finish + data_line({"usage": {"cost": 1}, "choices": []}) + DONE
    finish_is_whole = len(words + finish) - 2
    for end in range(len(data) + 1):
        outcome = outcome_of([data[:end]])
        if end < finish_is_whole:
            assert isinstance(outcome.failure, StreamTruncated), end
            assert outcome.failure.retryable
        else:
            assert outcome.failure is None, end
            assert (outcome.message.text, len(outcome.message.images)) == ("Hello!", 1)


def test_image_cut_behind_the_finish_is_no_honest_end():
    """A finish does not excuse an image that broke off: what began as an image must end as one."""
    data = chunk({}, "stop") + image()
    for end in range(len(data) - 250, len(data)):
        outcome = outcome_of([data[:end]])
        begun = said(outcome).count("image_start")
        assert begun == said(outcome).count("image_end") or isinstance(outcome.failure, StreamTruncated)


def test_broken_connection():
    """A connection that breaks fails the stream, unless everything but usage had come."""
    reset = ConnectionFailed("reset")
    pipeline = Pipeline()
    pipeline.feed(text("a"))
    assert pipeline.close(reset) == []
    assert pipeline.failure is reset
    pipeline = Pipeline()
    pipeline.feed(text("a") + chunk({}, "stop"))
    (end,) = pipeline.close(reset)
    assert isinstance(end, StreamEnd)
    assert pipeline.failure is None
    assert pipeline.is_done


def test_broken_connection_inside_an_image():
    """A finish that came does not excuse a connection that breaks inside an image."""
    pipeline = Pipeline()
    pipeline.feed(chunk({}, "stop") + image()[:-60])
    assert pipeline.close(ConnectionFailed("reset")) == []
    assert isinstance(pipeline.failure, ConnectionFailed)


def test_broken_connection_with_broken_sound():
    """What the end itself finds wrong is the failure."""
    pipeline = Pipeline()
    pipeline.feed(chunk({"audio": {"data": "A"}}, "stop"))
    assert pipeline.close(ConnectionFailed("reset")) == []
    assert isinstance(pipeline.failure, ProtocolViolation)


def test_close_that_nobody_asked_for():
    """Closing without a failure is no end, and a half image is forgotten."""
    discarded = []

    class Sink(MemorySink):
        def discard(self) -> None:
            discarded.append(self)

    pipeline = Pipeline(open_sink=lambda _: Sink())
    pipeline.feed(image()[:-60])
    assert pipeline.is_lifting
    assert pipeline.close() == []
    assert pipeline.failure is None
    assert len(discarded) == 1


def test_nothing_after_the_end():
    """Behind [DONE], behind a failure and behind the end nothing is read."""
    for end in (DONE, data_line({"error": "no"}), b"data: {\n\n"):
        pipeline = Pipeline()
        pipeline.feed(end + text("never"))
        assert pipeline.feed(text("never")) == []
        assert pipeline.finish() == []
        assert pipeline.close(ConnectionFailed("reset")) == []
        assert not isinstance(pipeline.failure, ConnectionFailed)
        assert pipeline.message("complete").text == ""


@pytest.mark.parametrize(
    "done", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n", b"data:   [DONE]", b"data: [DONE]\n"]
)
def test_done(done: bytes):
    """[DONE] ends the stream with or without blanks around it, and where the body ends before its blank line."""
    outcome = same_outcome(text("a") + done)
    assert outcome.failure is None


@pytest.mark.parametrize("data", [b"", b"\n", b": a\n\n", b"data:\n\n", b"data: [DONE", b"data: {", b"event: done\n\n"])
def test_silence_is_a_truncation(data: bytes):
    """A stream that says nothing is truncated."""
    assert isinstance(same_outcome(data).failure, StreamTruncated)


# ---- framing


def test_heartbeats():
    """A comment is a heartbeat, also one that a proxy wrapped into data; it says how long the request has been running."""
    seconds = iter([7.5, 7.5, 9])
    pipeline = Pipeline(elapsed_seconds=lambda: next(seconds))
    assert pipeline.feed(b": OPENROUTER PROCESSING\n\ndata: : OPENROUTER PROCESSING\n\n") == [
        Heartbeat("OPENROUTER PROCESSING", 7.5),
        Heartbeat("OPENROUTER PROCESSING", 7.5),
    ]
    assert pipeline.feed(b":last") == []
    assert pipeline.finish() == [Heartbeat("last", 9)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends(end: bytes, mark: bytes):
    """A stream is the same with any line end, and behind a byte order mark."""
    data = mark + (b": hi\n\n" + text("a") + image() + chunk({}, "stop") + DONE).replace(b"\n", end)
    assert said(same_outcome(data, "few")) == ["heartbeat", "text_delta", "image_start", "image_delta", "image_end"]


def test_two_documents_in_one_event():
    """Two JSON texts on two lines of one event are two chunks, in their order, images included."""
    first, second = text("A"), image(content="B")
    data = first.removesuffix(b"\n") + second + second.removesuffix(b"\n") + text("C") + DONE
    outcome = same_outcome(data, "few")
    assert outcome.message.text == "ABBC"
    assert said(outcome)[:4] == ["text_delta", "text_delta", "image_start", "image_delta"]
    assert said(outcome)[-1] == "text_delta"


def test_document_over_several_lines():
    """A JSON text may be spread over lines of data, its image on any of them."""
    document = json.dumps(json.loads(image(content="B").removeprefix(b"data: ")), indent=1)
    data = "".join(f"data: {line}\n" for line in document.split("\n")).encode() + b"\n" + DONE
    assert said(same_outcome(data, "few")) == ["text_delta", "image_start", "image_delta", "image_end"]


def test_event_without_its_blank_line():
    """A whole event at the end counts though its blank line is missing; one that is not whole does not."""
    data = text("a") + chunk({"content": "b"}, "stop")
    assert outcome_of([data[:-2]]).message.text == "ab"
    assert isinstance(outcome_of([data[:-3]]).failure, StreamTruncated)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (rb'"a\ud83db"', "a\ufffdb"),
        (rb'"\udc00\ud800"', "\ufffd\ufffd"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (b'"a\xffb"', "a\ufffdb"),
        (b'"\xf0\x9f\x98"', "\ufffd"),
        (rb'"\ud83d \ufeff"', "\ufffd \ufeff"),
    ],
)
def test_what_is_no_unicode_is_replaced(raw: bytes, expected: str):
    """Halves of surrogate pairs and bytes that are no UTF-8 are replaced; the message can always be written."""
    data = b'data: {"choices":[{"index":0,"delta":{"content":%b,"\\ud800":[1]},"finish_reason":"stop"}]}\n\n' % raw
    outcome = same_outcome(data)
    assert outcome.message.text == expected
    assert outcome.message.model_dump_json()


@pytest.mark.parametrize(
    "raw", [b"{", b"{]}", b"<html>", b"{}{}", b"{}\n{", b"[" * 100_000, b"[DONE]]", b"undefined", b"9" * 5000]
)
def test_malformed_json(raw: bytes):
    """An event that is no JSON is a violation that shows how it begins; what came before it came out."""
    data = text("a") + b"".join(b"data: %b\n" % line for line in raw.split(b"\n")) + b"\n" + DONE
    outcome = outcome_of([data])
    assert isinstance(outcome.failure, ProtocolViolation)
    assert raw[:20].decode() in str(outcome.failure).replace("\\n", "\n")
    assert len(str(outcome.failure)) < 200
    assert said(outcome) == ["text_delta"]


# ---- failures


def test_error_ends_the_stream():
    """An error in the stream is its failure; what came before it came out, and nothing after it does."""
    outcome = same_outcome(text("a") + data_line({"error": {"code": 502, "message": "no"}}) + text("b") + DONE)
    assert isinstance(outcome.failure, StreamFailed)
    assert (outcome.failure.status, outcome.message.text) == (502, "a")
    assert said(outcome) == ["text_delta"]


def test_bad_image_loses_nothing_before_it():
    """What came in front of a bad image comes out, also when it came in the same bytes."""
    outcome = same_outcome(b": hi\n\n" + text("a") + image() + image(HEAD + "QUJD~~~~", content="b") + DONE)
    assert isinstance(outcome.failure, ProtocolViolation)
    assert said(outcome)[:6] == ["heartbeat", "text_delta", "image_start", "image_delta", "image_end", "text_delta"]
    assert outcome.message.text == "ab"


def test_bad_image_that_was_not_lifted_loses_nothing_before_it():
    """The same holds inside one chunk, for an image that only the JSON parser found."""
    content = [{"text": "b"}, {"image_url": {"url": HEAD + "~~~~"}}]
    outcome = same_outcome(text("a") + chunk({"content": content}) + DONE)
    assert isinstance(outcome.failure, ProtocolViolation)
    assert said(outcome) == ["text_delta", "text_delta"]
    assert outcome.message.text == "ab"


def test_bad_image_behind_the_end_is_not_read():
    """What is wrong behind [DONE] does not matter, though it comes in the same bytes."""
    assert same_outcome(text("a") + DONE + image(HEAD + "~~~~")).failure is None


# ---- limits


def test_largest_event():
    """The bytes of an image do not count as an event's; text does."""
    small = Limits(event_bytes=400)
    assert outcome_of([image(HEAD + "QUJD" * 1000) + DONE], limits=small).failure is None
    outcome = same_outcome(text("a") + text("b" * 400) + DONE, limits=small)
    assert isinstance(outcome.failure, ProtocolViolation)
    assert said(outcome) == ["text_delta"]


def test_largest_answer():
    """The same holds for a JSON answer."""
    small = Limits(event_bytes=200)
    answer = {"choices": [{"message": {"content": "a", "images": [HEAD + "QUJD" * 1000]}}]}
    assert outcome_of([json.dumps(answer).encode()], framing="json", limits=small).failure is None
    outcome = outcome_of([json.dumps(answer).encode(), b" " * 200], framing="json", limits=small)
    assert isinstance(outcome.failure, ProtocolViolation)
    assert "event_bytes=200" in str(outcome.failure)


@pytest.mark.parametrize("limits", [Limits(image_bytes=len(PNG) - 1), Limits(images=0)])
def test_largest_image(limits: Limits):
    """An image that is too large, or one too many, fails the stream and keeps what came before."""
    outcome = same_outcome(text("a") + image(content="b") + DONE, limits=limits)
    assert isinstance(outcome.failure, ProtocolViolation)
    assert said(outcome)[:2] == ["text_delta", "text_delta"]
    assert outcome.message.images == []
    assert outcome.message.text == "ab"


# ---- JSON answers


def answer(**fields: Any) -> bytes:
    return json.dumps({"id": "gen-1", "choices": [{"index": 0, "message": {"content": "a"}, **fields}]}).encode()


def test_json_answer():
    """A whole answer as JSON, behind white space that kept the connection alive, gives the same events as a stream."""
    data = b"\n         \n" * 3 + answer(
        message={"content": "a", "images": [{"image_url": {"url": URL}}], "reasoning_details": []}, finish_reason="stop"
    )
    outcome = same_outcome(data, framing="json")
    assert said(outcome) == ["text_delta", "image_start", "image_delta", "image_end"]
    assert outcome.message.images == [Image.from_bytes(PNG)]
    assert outcome.message.reasoning_details == []


def test_json_image_comes_early():
    """The bytes of an image in a JSON answer come out while the answer is on its way."""
    pipeline = Pipeline(framing="json")
    data = answer(message={"images": [{"image_url": {"url": URL}}]})
    events = pipeline.feed(data[: data.index(b"base64,") + 100])
    assert [event.type for event in events] == ["stream_start", "image_start", "image_delta"]


def test_json_answer_needs_no_finish_reason():
    """A whole JSON answer is an honest end, whatever its finish reason (29 were recorded with none)."""
    assert same_outcome(answer(finish_reason=None), framing="json").failure is None


def test_json_error_in_a_choice():
    """An error inside a choice fails the answer behind what it says."""
    outcome = same_outcome(answer(error={"code": 502, "message": "no", "metadata": {"raw": {"retryable": True}}}), framing="json")
    assert isinstance(outcome.failure, StreamFailed)
    assert said(outcome) == ["text_delta"]


def test_json_error_alone():
    """An error in the place of an answer is a refusal with the body's own code."""
    assert isinstance(outcome_of([b'{"error":{"code":429,"message":"no"}}'], framing="json").failure, RateLimited)
    assert isinstance(outcome_of([b'{"error":"no"}'], framing="json").failure, ServerFailed)


@pytest.mark.parametrize("cut", [1, 20, len(URL)])
def test_json_answer_cut_short(cut: int):
    """One that ends before its JSON does is truncated, as a stream is, and the pictures that were whole stay."""
    data = answer(message={"images": [{"image_url": {"url": URL}}, {"image_url": {"url": URL}}]})
    outcome = same_outcome(data[:-cut], framing="json")
    assert isinstance(outcome.failure, StreamTruncated)
    assert outcome.message.images[:1] == [Image.from_bytes(PNG)]


@pytest.mark.parametrize(
    "data", [b"", b"   ", b"<html>", b'{"choices":[x', b"[DONE]", b"{}", b"[]", b"null", b'{"choices":[]}', b'{"detail":"gone"}']
)
def test_json_answer_that_is_none(data: bytes):
    """A body that is no JSON, or JSON without an answer in it, is a violation."""
    assert isinstance(same_outcome(data, framing="json").failure, ProtocolViolation)


def test_json_with_byte_order_mark():
    """A byte order mark in front of a JSON answer means nothing."""
    outcome = same_outcome(b"\xef\xbb\xbf" + answer(message={"images": [URL]}), framing="json")
    assert outcome.failure is None
    assert said(outcome) == ["image_start", "image_delta", "image_end"]


def test_events_come_as_soon_as_they_can():
    """Nothing is held back: a text comes with its blank line, an image's bytes with each group of four characters."""
    pipeline = Pipeline()
    assert pipeline.feed(text("a")[:-1]) == []
    assert pipeline.generation_id is None
    events: list[Event] = pipeline.feed(b"\n")
    assert events == [StreamStart("gen-1", None, None), TextDelta("a")]
    assert pipeline.generation_id == "gen-1"
    data = image()
    payload = data.index(b"base64,") + len(b"base64,")
    assert pipeline.feed(data[: payload + 84]) == []
    assert [event.type for event in pipeline.feed(data[payload + 84 : payload + 88])] == ["image_start", "image_delta"]
    assert pipeline.feed(data[payload + 88 : payload + 92]) == [ImageDelta(0, PNG[66:69])]
