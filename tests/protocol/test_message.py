"""or_stream.protocol._message: what was said, in a form that grows and becomes a message at any time."""

import time
from typing import Any

import pytest

from or_stream.errors import ProtocolViolation
from or_stream.events import AudioDelta, ToolCallEnd
from or_stream.protocol._message import MessageBuilder
from or_stream.values import Audio, Image, Message

IMAGE = Image.from_bytes(b"\x89PNG\r\n\x1a\n")


def build(builder: MessageBuilder) -> Message:
    return builder.build("complete", {})


def details(*fragments: dict[str, Any]) -> list[dict[str, Any]] | None:
    builder = MessageBuilder(0)
    for fragment in fragments:
        builder.add_reasoning_details([fragment])
    return build(builder).reasoning_details


def test_nothing_said():
    """A builder to which nothing was said builds an empty message."""
    assert build(MessageBuilder(0)) == Message()


def test_images_stand_where_they_came():
    """Images keep their places between the texts."""
    builder = MessageBuilder(0)
    builder.text += ["a", "b"]
    builder.add_image(IMAGE)
    builder.text.append("c")
    builder.add_image(IMAGE)
    assert build(builder).parts == ["ab", IMAGE, "c", IMAGE]
    assert build(builder).image_offsets == [2, 3]


def test_built_messages_do_not_change():
    """A message that was built stays as it is when more is said."""
    builder = MessageBuilder(0)

    def say() -> None:
        builder.text.append("a")
        builder.reasoning.append("r")
        builder.add_image(IMAGE)
        builder.annotations.append({"type": "url_citation"})
        builder.add_reasoning_details([{"type": "reasoning.text", "index": 0, "text": "r"}])
        builder.add_audio({"data": "QUJD", "transcript": "a"})
        builder.tool_calls.feed(0, "id", "f", " ", {"n": 1})
        builder.add_logprobs({"content": [{"token": "a"}], "refusal": None})

    say()
    message = build(builder)
    before = message.model_dump_json()
    say()
    assert message.model_dump_json() == before
    assert build(builder).model_dump_json() != before


# ---- reasoning details


def test_details_grow():
    """Fragments of one type and index are one detail, whose text grows."""
    fragment = {"type": "reasoning.text", "index": 0, "format": "x"}
    assert details({**fragment, "text": "a"}, {**fragment, "text": "b"}, {**fragment, "text": "c"}) == [
        {**fragment, "text": "abc"}
    ]


def test_details_may_be_looked_at_while_they_grow():
    """Building a message in between loses nothing of a detail."""
    builder = MessageBuilder(0)
    for text in "abc":
        builder.add_reasoning_details([{"type": "t", "index": 0, "text": text, "summary": text}])
        build(builder)
    assert build(builder).reasoning_details == [{"type": "t", "index": 0, "text": "abc", "summary": "abc"}]


@pytest.mark.parametrize("second", [{"type": "b", "index": 0}, {"type": "a", "index": 1}, {"type": "b", "index": 1}])
def test_details_are_told_apart_by_type_and_index(second: dict[str, Any]):
    """Another type or another index is another detail; one that comes back does not continue the earlier."""
    first = {"type": "a", "index": 0}
    assert details(first, second, first) == [first, second, first]


def test_details_without_index_are_whole():
    """Without an index every detail is one of its own."""
    assert details({"type": "a", "text": "x"}, {"type": "a", "text": "y"}) == [
        {"type": "a", "text": "x"},
        {"type": "a", "text": "y"},
    ]


def test_signature_comes_late():
    """A signature that follows the text joins it, and an empty one does not replace it."""
    text = {"type": "reasoning.text", "index": 0, "text": "a", "signature": ""}
    signature = {"type": "reasoning.text", "index": 0, "signature": "EqQB"}
    again = {"type": "reasoning.text", "index": 0, "text": "b", "signature": None, "id": None}
    assert details(text, signature, again) == [{**text, "text": "ab", "signature": "EqQB", "id": None}]


@pytest.mark.parametrize(
    ("first", "second", "joined"), [(None, "a", "a"), ("a", None, "a"), ("a", "", "a"), (5, "a", "a"), ("a", 5, 5)]
)
def test_details_of_odd_types(first: Any, second: Any, joined: Any):
    """Only text grows; of anything else the last that is not empty stays."""
    fragment = {"type": "t", "index": 0}
    assert details({**fragment, "text": first}, {**fragment, "text": second}) == [{**fragment, "text": joined}]


def test_details_are_not_the_servers_objects():
    """Joining details does not change what was given."""
    fragment = {"type": "t", "index": 0, "text": "a"}
    details(fragment, fragment)
    assert fragment == {"type": "t", "index": 0, "text": "a"}


def test_empty_details_are_details():
    """An empty list of details is a list; none at all is None."""
    builder = MessageBuilder(0)
    assert build(builder).reasoning_details is None
    builder.add_reasoning_details([])
    assert build(builder).reasoning_details == []


def test_cost_of_details_is_linear():
    """Twice as many fragments of one detail take at most about twice as long."""

    def seconds(count: int) -> float:
        builder = MessageBuilder(0)
        fragment = {"type": "t", "index": 0, "text": "x" * 50}
        start = time.process_time()
        for _ in range(count):
            builder.add_reasoning_details([fragment])
        return time.process_time() - start

    small, large = (min(seconds(count) for _ in range(3)) for count in (20_000, 40_000))
    assert large < 4 * small + 0.02


# ---- sound


def sound(*fragments: dict[str, Any]) -> tuple[list[AudioDelta], Audio | None]:
    builder = MessageBuilder(1)
    events = [event for fragment in fragments for event in builder.add_audio(fragment)]
    events += builder.finish()
    assert all(isinstance(event, AudioDelta) and event.choice == 1 for event in events)
    return events, build(builder).audio  # type: ignore[return-value]


@pytest.mark.parametrize("cut", range(9))
def test_sound_may_be_cut_at_any_character(cut: int):
    """Fragments of base64 are joined before they are decoded."""
    text = "AAECAwQ="
    events, audio = sound({"id": "a", "data": text[:cut]}, {"data": text[cut:]})
    assert audio == Audio(id="a", data=bytes(range(5)))
    assert b"".join(event.data for event in events) == bytes(range(5))
    assert all(event.data for event in events)


def test_sound_whose_fragments_are_whole():
    """A fragment behind padding is a base64 text of its own."""
    assert sound({"data": "QQ=="}, {"data": "Qg=="}, {"data": "QUJD"}, {"data": "RA"})[1] == Audio(data=b"ABABCD")


def test_sound_in_lines():
    """Line ends in the base64 mean nothing, nor does missing padding."""
    assert sound({"data": "QUJD\nQU"}, {"data": "I\r\n"})[1] == Audio(data=b"ABCAB")


def test_transcript():
    """The transcript grows beside the sound, and may come alone."""
    events, audio = sound(
        {"transcript": "a"}, {"data": "QUJD", "transcript": "b"}, {"data": "", "transcript": ""}, {"expires_at": 5}
    )
    assert events == [AudioDelta(b"", "a", 1), AudioDelta(b"ABC", "b", 1)]
    assert audio == Audio(data=b"ABC", transcript="ab", expires_at=5)


def test_odd_sound():
    """Fields of other types say nothing."""
    assert sound({"id": 5, "data": None, "transcript": [], "expires_at": "soon"}) == ([], Audio())


@pytest.mark.parametrize("fragments", [["~~~~"], ["A"], ["é"], ["QU\\nI"], ["AA=A"]])
def test_sound_that_is_no_base64(fragments: list[str]):
    """Sound that is not base64 is a violation, at its end at the latest."""
    with pytest.raises(ProtocolViolation):
        sound(*({"data": fragment} for fragment in fragments))


# ---- the rest


def test_first_finish_counts():
    """Of several finish reasons the first counts, of the native ones too."""
    builder = MessageBuilder(0)
    for reasons in [(None, None), ("tool_calls", None), ("stop", "STOP"), ("length", "length")]:
        builder.add_finish(*reasons)
    assert (build(builder).finish_reason, build(builder).native_finish_reason) == ("tool_calls", "STOP")


@pytest.mark.parametrize(
    ("reasons", "is_whole"),
    [
        (("tool_calls", "tool_calls"), True),
        (("length", None), False),
        (("tool_calls", "max_output_tokens"), False),
        (("tool_calls", "MAX_TOKENS"), False),
        ((None, "length"), False),
    ],
)
def test_cut_at_the_length_limit(reasons: tuple[str | None, str | None], is_whole: bool):
    """A call whose arguments had not begun at the length limit is not complete, whatever the finish reason claims."""
    builder = MessageBuilder(0)
    builder.tool_calls.feed(0, "a", "f", None, {})
    builder.add_finish(*reasons)
    assert build(builder).tool_calls[0].complete is is_whole
    (end,) = builder.finish()
    assert isinstance(end, ToolCallEnd)
    assert end.call.complete is is_whole


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ([{"content": [1], "refusal": None}, {"content": [2], "refusal": [3]}], {"content": [1, 2], "refusal": [3]}),
        ([{"content": [1]}, {"content": None}], {"content": [1]}),
        ([{"tokens": None}, {"tokens": None}], {"tokens": None}),
        ([-1.5, {"content": [1]}], {"content": [1]}),
        ([{"content": [1]}, -1.5], -1.5),
        (["odd", [1]], [1]),
    ],
)
def test_logprobs(given: list[Any], kept: Any):
    """Log probabilities of any type are kept; lists of tokens are joined."""
    builder = MessageBuilder(0)
    for logprobs in given:
        builder.add_logprobs(logprobs)
    assert build(builder).extra == {"logprobs": kept}
