"""or_stream.events: the vocabulary as data, in JSON and back."""

import dataclasses
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError

import or_stream.events
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
from or_stream.values import Audio, Image, Message, ToolCall, Usage

EVENTS: TypeAdapter[Any] = TypeAdapter(Event)
BYTES = bytes(range(256))
IMAGE = Image.from_bytes(b"\x89PNG\r\n\x1a\n" + BYTES)
MESSAGE = Message(
    id="gen-1",
    text="ab\u2028",
    images=[IMAGE, Image(url="https://example.org/a.png")],
    image_offsets=[1, 2],
    audio=Audio(data=BYTES),
    tool_calls=[ToolCall(id="a", name="f", complete=False)],
    usage=Usage(cost=0.5, extra={"x": [1]}),
    reasoning_details=[],
    alternatives=[Message(text="other")],
    status="truncated",
)
SPECIMENS = [
    StreamStart("gen-1", "m", None),
    Heartbeat("OPENROUTER PROCESSING", 1.5),
    TextDelta("a\ufffd", 2),
    ReasoningDelta("r"),
    RefusalDelta("n"),
    ImageStart(0, None),
    ImageDelta(0, BYTES),
    ImageEnd(0, IMAGE),
    ImageDiscard(1, 0),
    ImagePreview(0, IMAGE),
    AudioDelta(BYTES, None),
    ToolCallStart(0, "a", "f"),
    ToolCallDelta(0, "{"),
    ToolCallEnd(0, ToolCall(name="f")),
    AnnotationDelta({"type": "url_citation", "url_citation": {}}),
    UsageUpdate(Usage(cost=0.5)),
    Restart(1, "no", MESSAGE),
    StreamEnd(MESSAGE),
]


def kinds() -> tuple[type, ...]:
    return get_args(get_args(Event)[0])


def test_every_kind_is_here():
    """There is a specimen of each kind, and the module names each kind."""
    assert [type(event) for event in SPECIMENS] == list(kinds())
    assert {kind.__name__ for kind in kinds()} | {"Event"} == set(or_stream.events.__all__)


@pytest.mark.parametrize("event", SPECIMENS, ids=lambda event: event.type)
def test_through_json(event: Any):
    """An event is the same after JSON, and after plain Python data."""
    assert EVENTS.validate_json(EVENTS.dump_json(event)) == event
    assert EVENTS.validate_python(EVENTS.dump_python(event)) == event


@pytest.mark.parametrize("kind", kinds())
def test_shape_of_a_kind(kind: Any):
    """A kind has a docstring, a choice and a type of its own name in snake case, and no dictionary for each instance."""
    fields: dict[str, Any] = {field.name: field.default for field in dataclasses.fields(kind)}
    assert fields["choice"] == 0
    assert "".join(word.capitalize() for word in fields["type"].split("_")) == kind.__name__
    assert kind.__doc__
    assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind)


def test_kinds_are_told_apart_by_type():
    """`type` chooses the class; an unknown one is refused."""
    assert EVENTS.validate_json(b'{"type":"text_delta","text":"a"}') == TextDelta("a")
    with pytest.raises(ValidationError):
        EVENTS.validate_json(b'{"type":"smell_delta"}')


@pytest.mark.parametrize("kind", get_args(get_args(Event)[0]), ids=lambda kind: kind.__name__)
def test_repr_is_short(kind):
    """A repr reads as a dataclass's does, but shows neither the bytes nor the data URLs of an event."""
    long = "data:image/png;base64," + "iVBOR" * 10_000
    values = {"index": 1, "data": b"x" * 10_000, "elapsed": 1.5, "attempt": 2, "annotation": {"a": long}, "duplicate_of": 0}
    required = {
        field.name: values.get(field.name, long) for field in dataclasses.fields(kind) if field.default is dataclasses.MISSING
    }
    text = repr(kind(**required))
    assert text.startswith(f"{kind.__name__}(")
    assert len(text) < 300


def test_repr_of_an_event():
    """Short data is shown as it is."""
    assert repr(TextDelta("a")) == "TextDelta(text='a', choice=0, type='text_delta')"
    assert repr(ImageDelta(0, b"abc")) == "ImageDelta(index=0, data=b'abc', choice=0, type='image_delta')"
    assert "data=<10,000 bytes>" in repr(ImageDelta(0, bytes(10_000)))
