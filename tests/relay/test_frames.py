"""Events to the bytes of each protocol, without I/O."""

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from or_stream.errors import ConfigurationError, StreamTruncated
from or_stream.events import (
    AnnotationDelta,
    AudioDelta,
    Event,
    Heartbeat,
    ImageDelta,
    ImageDiscard,
    ImageEnd,
    ImagePreview,
    ImageStart,
    ReasoningDelta,
    RefusalDelta,
    Restart,
    StreamEnd,
    StreamStart,
    TextDelta,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    UsageUpdate,
)
from or_stream.relay import Failure
from or_stream.relay._frames import frames_for
from or_stream.sse import SSEParser
from or_stream.values import Audio, Image, Message, ToolCall, Usage

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 3
PICTURE = Image.from_bytes(PNG)
START = StreamStart("gen-1", "google/gemini", "Google")
USAGE = Usage(prompt_tokens=3, completion_tokens=4, total_tokens=7, cost=0.25, reasoning_tokens=2)
END = StreamEnd(Message(id="gen-1", text="hi", finish_reason="stop", usage=USAGE))
FAILURE = Failure("Busy.", "rate_limited", 429, retryable=True, retry_after=3.0)
PROTOCOLS = ["events", "openai", "ui-message"]
EVERY_KIND = [
    START,
    Heartbeat("OPENROUTER PROCESSING", 1.0),
    ReasoningDelta("hm"),
    TextDelta("hi"),
    RefusalDelta("no"),
    ImageStart(0, "image/png"),
    ImageDelta(0, PNG),
    ImageEnd(0, PICTURE),
    ImageStart(1, "image/png"),
    ImageDiscard(1, 0),
    ImagePreview(2, PICTURE),
    AudioDelta(b"\xff\xfe", "la"),
    ToolCallStart(0, "call_1", "light"),
    ToolCallDelta(0, '{"a":1}'),
    ToolCallEnd(0, ToolCall(id="call_1", name="light", arguments='{"a":1}')),
    AnnotationDelta({"type": "url_citation", "url_citation": {"url": "https://example.org", "title": "x"}}),
    UsageUpdate(USAGE),
    END,
]


def bytes_of(protocol, *events, finish=True):
    frames = frames_for(protocol, 1700000000)
    return b"".join(frames.feed(event) for event in events) + (frames.finish() if finish else b"")


def sent(protocol, *events, finish=True):
    """The data of each server-sent event; [DONE] as that text."""
    parsed = SSEParser().feed(bytes_of(protocol, *events, finish=finish))
    return [event.data if event.data == "[DONE]" else event.json() for event in parsed]


def test_unknown_protocol():
    """It is refused by name, and the known ones are listed."""
    with pytest.raises(ConfigurationError, match="'events', 'openai', 'ui-message', not 'grpc'"):
        frames_for("grpc", 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(text=st.text(min_size=1))
@example(text="half of a pair: \ud83d")
@example(text="line\r\nends\n\ndata: \u2028\0")
def test_any_text_arrives(protocol, text):
    """Line ends, quotes, control characters and lone surrogates: the reader gets what was said, in one event."""
    data = sent(protocol, START, TextDelta(text), finish=False)[-1]
    assert (
        text
        == {"events": lambda: data["text"], "openai": lambda: data["choices"][0]["delta"]["content"]}.get(
            protocol, lambda: data["delta"]
        )()
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), ["half of a pair: \ud83d", float("nan")]], ids=ascii)
def test_what_json_cannot_say_is_null(protocol, value):
    """A browser's JSON.parse takes every event."""

    def refuse(name):
        raise ValueError(name)

    cost = value if isinstance(value, float) else None
    strange = [AnnotationDelta({"score": value}), UsageUpdate(Usage(cost=cost)), StreamEnd(Message(usage=Usage(cost=cost)))]
    for event in SSEParser().feed(bytes_of(protocol, START, *strange)):
        assert event.data == "[DONE]" or json.loads(event.data, parse_constant=refuse)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_kind_of_event_is_taken(protocol):
    """No event of the vocabulary is an error, and what comes of them are whole server-sent events."""
    assert {event.type for event in EVERY_KIND} | {"restart"} == {
        member.__dataclass_fields__["type"].default for member in Event.__origin__.__args__
    }
    data = bytes_of(protocol, *EVERY_KIND)
    assert data.endswith(b"\n\n")
    assert SSEParser().feed(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_path_is_sent(protocol, tmp_path):
    """Where a picture lies on this machine is nobody's business; its bytes are sent all the same."""
    image = Image.from_file(PICTURE.save(tmp_path / "folder-of-ours" / "picture"))
    data = bytes_of(protocol, START, ImageEnd(0, image), StreamEnd(Message(images=[image])))
    assert b"folder-of-ours" not in data
    assert base64.b64encode(PNG) in data


# ---- events


def loaded(*events):
    """As a consumer in Python reads them."""
    adapter = TypeAdapter(Event)
    return [adapter.validate_json(event.raw) for event in SSEParser().feed(bytes_of("events", *events))]


def test_events_are_read_back():
    """Everything but the bytes of pictures, which come once, is what it was."""
    for before, after in zip(EVERY_KIND, loaded(*EVERY_KIND), strict=True):
        if not isinstance(before, ImageEnd | ImagePreview):
            assert before == after


def test_event_names_are_types():
    """`addEventListener("text_delta", ...)` works."""
    assert [event.event for event in SSEParser().feed(bytes_of("events", START, TextDelta("x"), END))] == [
        "stream_start",
        "text_delta",
        "stream_end",
    ]


@given(st.lists(st.binary(max_size=40)))
def test_fragments_decode_to_exactly_the_bytes(pieces):
    """Each fragment is base64 on its own, in the alphabet of `atob`, and together they are the picture."""
    events = [
        event for event in sent("events", *(ImageDelta(0, piece) for piece in pieces), END) if event["type"] == "image_delta"
    ]
    assert [base64.b64decode(event["data"], validate=True) for event in events] == pieces


def test_bytes_of_a_picture_come_once():
    """Neither its end nor the end of the stream repeats them."""
    end = StreamEnd(Message(images=[PICTURE], alternatives=[Message(images=[PICTURE])], audio=Audio(data=PNG)))
    data = bytes_of("events", ImageStart(0, "image/png"), ImageDelta(0, PNG), ImageEnd(0, PICTURE), end)
    assert data.count(base64.b64encode(PNG)) == 1
    assert data.count(base64.urlsafe_b64encode(PNG)) == 0


def test_picture_without_deltas_is_not_lost():
    """Where only the end came, the bytes come in front of it."""
    assert [event.type for event in loaded(ImageEnd(0, PICTURE), END)] == ["image_delta", "image_end", "stream_end"]


def test_address_of_a_picture_that_begins():
    """It is in `image_start`."""
    data = frames_for("events", 0).feed(ImageStart(0, "image/png"), "/images/x.png")
    assert SSEParser().feed(data)[0].json()["url"] == "/images/x.png"


def test_preview_can_be_shown_as_it_is():
    """Its `url` is the source of an `<img>`."""
    assert sent("events", ImagePreview(0, PICTURE), END)[0]["image"]["url"] == PICTURE.data_url()


def test_restart_does_not_tell_what_the_upstream_said():
    """It says that it is one, and what was discarded, without bytes."""
    restart = sent("events", Restart(2, "sk-or-secret", Message(text="lost", images=[PICTURE])), END)[0]
    assert (restart["type"], restart["error"], restart["discarded"]["text"]) == ("restart", "", "lost")
    assert restart["discarded"]["images"][0]["data"] == ""


def test_events_broken_off():
    """A stream that ends without its end is an error to the browser."""
    assert [(event["type"], event.get("code")) for event in sent("events", TextDelta("x"))][-1] == ("error", "aborted")


def test_events_failure():
    """It is an event of type `error` with what is needed to try again."""
    [event] = SSEParser().feed(frames_for("events", 0).fail(FAILURE))
    assert event.event == "error"
    assert event.json() == {"text": "Busy.", "code": "rate_limited", "retryable": True, "retry_after": 3.0, "type": "error"}


# ---- openai


def deltas(*events):
    return [chunk["choices"][0]["delta"] for chunk in sent("openai", START, *events, finish=False)[1:]]


def test_openai_chunk():
    """Each chunk has all that OpenAI's have, and the first says who speaks."""
    first, second = sent("openai", START, TextDelta("hi"), finish=False)
    assert {name: first[name] for name in ("id", "object", "created", "model", "provider")} == {
        "id": "gen-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": "google/gemini",
        "provider": "Google",
    }
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert second["choices"][0]["delta"] == {"content": "hi"}


def test_openai_end():
    """The finish and the usage are on one chunk that has choices, and [DONE] follows."""
    last, done = sent("openai", START, END)[-2:]
    assert done == "[DONE]"
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "total_tokens": 7,
        "cost": 0.25,
        "completion_tokens_details": {"reasoning_tokens": 2},
    }


@pytest.mark.parametrize(("said", "shown"), [("length", "length"), ("STOP", "stop"), (None, "stop"), ("error", "stop")])
def test_openai_finish_reason(said, shown):
    """Only what OpenAI's own clients know."""
    assert sent("openai", StreamEnd(Message(finish_reason=said)))[-2]["choices"][0]["finish_reason"] == shown


def test_openai_several_choices():
    """Each begins with its role, and each has its finish on the last chunk."""
    end = StreamEnd(Message(finish_reason="stop", alternatives=[Message(finish_reason="length")]))
    one, other, last, _ = sent("openai", TextDelta("a"), TextDelta("b", 1), end)
    assert [(chunk["choices"][0]["index"], chunk["choices"][0]["delta"]["role"]) for chunk in (one, other)] == [
        (0, "assistant"),
        (1, "assistant"),
    ]
    assert [(choice["index"], choice["finish_reason"]) for choice in last["choices"]] == [(0, "stop"), (1, "length")]


def test_openai_image():
    """It is where OpenRouter puts it."""
    assert deltas(ImageEnd(0, PICTURE)) == [
        {"content": "", "images": [{"type": "image_url", "index": 0, "image_url": {"url": PICTURE.data_url()}}]}
    ]


def test_openai_other_deltas():
    """Reasoning, refusals, citations and sound have their fields."""
    kinds = [ReasoningDelta("hm"), RefusalDelta("no"), AnnotationDelta({"a": 1}), AudioDelta(b"\xff", None)]
    assert deltas(*kinds) == [{"reasoning": "hm"}, {"refusal": "no"}, {"annotations": [{"a": 1}]}, {"audio": {"data": "/w=="}}]


def test_openai_tool_call():
    """A start with id and name, then the arguments."""
    start, delta = deltas(ToolCallStart(0, "c", "light"), ToolCallDelta(0, "{}"), ToolCallEnd(0, ToolCall(name="light")))
    assert start["tool_calls"] == [{"index": 0, "id": "c", "type": "function", "function": {"name": "light", "arguments": ""}}]
    assert delta["tool_calls"] == [{"index": 0, "function": {"arguments": "{}"}}]


def test_openai_tool_call_without_arguments():
    """A client that parses them gets an empty object and not an empty text; one without an id gets one."""
    start, end = deltas(ToolCallStart(0, "", "light"), ToolCallEnd(0, ToolCall(name="light")))
    assert start["tool_calls"][0]["id"] == "call_0_0"
    assert end["tool_calls"][0]["function"] == {"arguments": "{}"}


def test_openai_failure():
    """It is a chunk with an error, after which there is no [DONE]."""
    chunk = SSEParser().feed(frames_for("openai", 0).fail(FAILURE))[0].json()
    assert chunk["error"] == {"message": "Busy.", "type": "rate_limited", "code": "rate_limited", "param": None}
    assert sent("openai", TextDelta("x"))[-1]["error"]["code"] == "aborted"


# ---- ui-message


def kinds(*events, **options):
    return [part if part == "[DONE]" else part["type"] for part in sent("ui-message", *events, **options)]


def test_ui_order_of_parts():
    """Text around a picture is two parts, each begun and ended, in their order."""
    events = [START, ReasoningDelta("a"), TextDelta("b"), TextDelta("c"), ImageEnd(0, PICTURE), TextDelta("d"), END]
    assert kinds(*events) == [
        *("start", "start-step"),
        *("reasoning-start", "reasoning-delta", "reasoning-end"),
        *("text-start", "text-delta", "text-delta", "text-end"),
        "file",
        *("text-start", "text-delta", "text-end"),
        *("finish-step", "finish", "[DONE]"),
    ]


@given(st.lists(st.sampled_from(EVERY_KIND[2:-1]).filter(lambda event: "tool" not in event.type)))
def test_ui_parts_are_paired(events):
    """Whatever the order of events, every delta is inside its part, one part at a time."""
    is_open = None
    for part in sent("ui-message", START, *events, END)[:-1]:
        kind, _, stage = part["type"].rpartition("-")
        if kind not in ("text", "reasoning"):
            assert is_open is None or part["type"].startswith(("data-", "message-metadata"))
        elif stage == "start":
            assert is_open is None
            is_open = (kind, part["id"])
        else:
            assert is_open == (kind, part["id"])
            is_open = None if stage == "end" else is_open
    assert is_open is None


def test_ui_has_no_key_that_5_0_0_refuses():
    """Version 5.0.0 is strict: these are its parts and keys."""
    known = {
        "start": {"messageId", "messageMetadata"},
        "start-step": set(),
        "text-start": {"id"},
        "text-delta": {"id", "delta"},
        "text-end": {"id"},
        "reasoning-start": {"id"},
        "reasoning-delta": {"id", "delta"},
        "reasoning-end": {"id"},
        "file": {"url", "mediaType"},
        "source-url": {"sourceId", "url", "title"},
        "tool-input-start": {"toolCallId", "toolName"},
        "tool-input-delta": {"toolCallId", "inputTextDelta"},
        "tool-input-available": {"toolCallId", "toolName", "input"},
        "message-metadata": {"messageMetadata"},
        "finish-step": set(),
        "finish": {"messageMetadata"},
        "error": {"errorText"},
        "abort": set(),
    }
    failed = SSEParser().feed(frames_for("ui-message", 0).fail(FAILURE))
    parts = [*sent("ui-message", *EVERY_KIND), *sent("ui-message", TextDelta("x")), *(event.json() for event in failed[:-1])]
    for part in parts:
        if part != "[DONE]":
            kind = part.pop("type")
            assert set(part) <= (known[kind] if not kind.startswith("data-") else {"id", "data", "transient"}), kind


def test_ui_metadata():
    """Who answered, the usage and why it ended are the message's metadata."""
    parts = {part["type"]: part.get("messageMetadata") for part in sent("ui-message", START, UsageUpdate(USAGE), END)[:-1]}
    assert parts["start"] == {"model": "google/gemini", "provider": "Google"}
    assert parts["message-metadata"]["usage"]["cost"] == 0.25
    assert parts["finish"] == {"finishReason": "stop"}


def test_ui_progress_of_a_picture():
    """That it begins is told to `onData` with its address, and not kept in the message."""
    frames = frames_for("ui-message", 0)
    part = SSEParser().feed(frames.feed(START) + frames.feed(ImageStart(0, "image/png"), "/i/x.png"))[-1].json()
    assert part["data"] == {"index": 0, "state": "started", "mediaType": "image/png", "url": "/i/x.png"}
    assert (part["type"], part["id"], part["transient"]) == ("data-image", "image-0", True)


def test_ui_tool_call():
    """The input is the parsed value; of a call that was cut short there is none."""
    whole = [ToolCallStart(0, "c", "light"), ToolCallEnd(0, ToolCall(id="c", name="light", arguments='{"a":1}'))]
    cut = [ToolCallStart(1, "c", "light"), ToolCallEnd(1, ToolCall(id="c", name="light", arguments='{"a', complete=False))]
    start, available, other = sent("ui-message", START, *whole, *cut, finish=False)[2:]
    assert available == {"type": "tool-input-available", "toolCallId": "c", "toolName": "light", "input": {"a": 1}}
    assert (start["toolCallId"], other["toolCallId"]) == ("c", "c-1")


def test_ui_other_choices_are_not_mixed_in():
    """The protocol has one message."""
    assert kinds(START, TextDelta("a"), TextDelta("b", 1), finish=False) == ["start", "start-step", "text-start", "text-delta"]


def test_ui_broken_off_and_failed():
    """Either ends what is open, and the message has begun in any case."""
    assert kinds(TextDelta("a"))[-4:] == ["text-end", "abort", "error", "[DONE]"]
    failed = [event.data for event in SSEParser().feed(frames_for("ui-message", 0).fail(FAILURE))]
    assert [json.loads(data)["type"] for data in failed[:-1]] == ["start", "start-step", "error"]
    assert json.loads(failed[2])["errorText"] == "Busy."


@pytest.mark.parametrize("protocol", ["openai", "ui-message"])
def test_what_was_shown_cannot_be_taken_back(protocol):
    """A restart is a failure of the stream."""
    frames = frames_for(protocol, 0)
    with pytest.raises(StreamTruncated):
        frames.feed(Restart(2, "why", Message()))


@pytest.mark.parametrize(
    ("protocol", "content_type"),
    [("events", "application/json"), ("openai", "application/json"), ("ui-message", "text/plain; charset=utf-8")],
)
def test_refusal(protocol, content_type):
    """The body of an error status is what the protocol's clients show."""
    assert frames_for(protocol, 0).refusal(FAILURE)[0] == content_type
    assert b"Busy." in frames_for(protocol, 0).refusal(FAILURE)[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_refusal_in_any_words(protocol):
    """The application's own may repeat half of a pair of surrogates, which UTF-8 cannot say."""
    frames_for(protocol, 0).refusal(Failure("half: \ud83d", "busy", 503))[1].decode()
