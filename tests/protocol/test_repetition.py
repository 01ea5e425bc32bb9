"""Chunks that differ in their text only: the short way says what JSON says, and leaves the rest alone."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.errors import ProtocolViolation, StreamTruncated
from or_stream.events import Event, TextDelta
from or_stream.protocol import Limits, Pipeline
from or_stream.protocol.chunks import TextRepetition, only_text
from support.pipelines import DONE


def chunk(content: bytes, rest: bytes = b"") -> bytes:
    return b'{"id":"g","choices":[{"index":0,"delta":{"content":%b,"role":"assistant"},"finish_reason":null}]%b}' % (
        content,
        rest,
    )


def event(content: bytes, rest: bytes = b"") -> bytes:
    return b"data: " + chunk(content, rest) + b"\n\n"


def learned(raw: bytes) -> TextRepetition:
    repetition = TextRepetition([], 2**20)
    repetition.is_at_beginning = True
    repetition.learn(raw, only_text(json.loads(raw)) or "")
    return repetition


WORDS = [b'""', b'"a"', b'"a\\"b"', b'"\\\\"', b'"\\u00e9\\n"', '"夜"'.encode(), b'"},\\"content\\":\\"x"', b'"\\\\\\""']


@pytest.mark.parametrize("first", [b'"x"', b'"\\"content\\":"', b'"\\\\"'])
def test_texts(first: bytes):
    """The texts of events that differ in nothing else are what JSON says they are."""
    data = b"".join(map(event, WORDS))
    assert learned(chunk(first)).take_all(data, 0) == ([json.loads(word) for word in WORDS if word != b'""'], len(data))


@pytest.mark.parametrize("word", [*WORDS, b'"\x7f"', '"\u2028\xa0"'.encode()])
def test_text_of_a_live_event(word: bytes):
    """One event is read for itself only where it is whole and alone and says something."""
    repetition, data = learned(chunk(b'"x"')), event(word)
    assert repetition.take(data) == (json.loads(word) or None)
    for other in (data * 2, data[:-1], data + b"d", data[1:], b"", data.replace(b'"g"', b'"h"')):
        assert repetition.take(other) is None


def test_a_long_text_that_comes_live():
    """As long as what surrounds it, it might be two events, and is left to those that look closer."""
    around = len(event(b'""'))
    for size in (around - 1, around):
        text = "y" * size
        repetition, data = learned(chunk(b'"x"')), event(b'"%b"' % text.encode())
        assert repetition.take(data) == (text if size < around else None)
        assert repetition.take_all(data, 0) == ([text], len(data))


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize(
    "odd",
    [
        b": comment\n\n",
        event(b"null"),
        event(b"5"),
        event(b'["a"]'),
        event(b'"a","refusal":"b"'),
        event(b'"a","content":"b"'),
        event(b'"a" '),
        event(b'"a'),
        event(b'"a"', b',"usage":{}'),
        event(b'"a"').replace(b"null", b'"stop"'),
        event(b'"a"').replace(b"null", b'"no"'),
        event(b'"a"').replace(b'"g"', b'"h"'),
        event(b'"a"').replace(b"\n", b"\r\n"),
        event(b'"a"')[:-1] + b"id: 1\n\n",
        event(b'"a"')[:-1],
        event(b'"a"')[:-20],
        event(b'"a')[:70],
        b"",
    ],
)
def test_what_does_not_repeat(odd: bytes, before: int):
    """The texts in front of anything else are read, and that is left to the parser."""
    data = event(b'"x"') * before + odd
    assert learned(chunk(b'"x"')).take_all(data, 0) == (["x"] * before, before * len(event(b'"x"')))
    assert learned(chunk(b'"x"')).take(odd) is None


@pytest.mark.parametrize("text", [b'"a\xff"', b'"\\ud83d"', b'"a\tb"', b'"a\nb"', b'"\\x"', b'"\\u12"'])
def test_text_that_needs_a_closer_look(text: bytes):
    """What is no JSON string as it stands is left to the parser, and so is what stands before it in one piece."""
    assert learned(chunk(b'"x"')).take_all(event(b'"x"') + event(text), 0) == ([], 0)
    assert learned(chunk(b'"x"')).take(event(text)) is None


@pytest.mark.parametrize("text", [b'"a\\"', b'"\\\\\\"'])
@pytest.mark.parametrize("before", [0, 1])
def test_text_that_ends_in_half_an_escape(text: bytes, before: int):
    """It takes the next one into its string: all are left to the parser."""
    data = event(b'"x"') * before + event(text) + event(b'"y"') * 2
    assert learned(chunk(b'"x"')).take_all(data, 0) == ([], 0)
    assert learned(chunk(b'"x"')).take(event(text)) is None


@pytest.mark.parametrize("raw", [chunk(b'"a"', b',"message":{"content":"b"}'), chunk(b'"' + b"a" * 70_000 + b'"'), b"{}"])
def test_nothing_to_learn(raw: bytes):
    """Two texts, or one too large to look through, teach nothing."""
    assert learned(raw).take_all(b"data: " + raw + b"\n\n", 0) == ([], 0)


ODD = [
    b": OPENROUTER PROCESSING\n\n",
    b"event: message\n",
    b"id: 7\n\n",
    b"\n",
    b"data:\n\n",
    b"\r",
    event(b'"x"').replace(b'"g"', b'"h"'),
    event(b'"r"').replace(b"content", b"reasoning"),
    event(b'"a"').replace(b"\n", b"\r\n"),
    event(b'"\\ud83d"'),
    event(b'"a\\"'),
    event(b'"m"').replace(b',"choices"', b'\ndata: ,"choices"'),
    event(b'"m"').replace(b',"choices"', b'\n,"choices"'),
    event(b'"%b"' % (b"long" * 9)),
]


def fed_live(pipeline: Pipeline, data: bytes) -> list[Event]:
    """As a stream feeds what it reads."""
    text = pipeline.take_live(data)
    return pipeline.feed(data) if text is None else [TextDelta(text)]


@given(
    st.lists(st.sampled_from(ODD) | st.text(max_size=5).map(lambda text: event(json.dumps(text).encode())), max_size=12),
    st.sampled_from([2**20, 300, 130, 110]),
    st.data(),
)
def test_no_way_to_cut_matters(pieces: list[bytes], event_bytes: int, choose: st.DataObject):
    """Whatever stands between them and however the bytes are cut, the events are those of one byte at a time."""
    data = b"".join([*pieces, DONE])
    cuts = sorted(choose.draw(st.lists(st.integers(0, len(data)), max_size=4)))
    bounds = [0, *cuts, len(data)]
    by_byte, by_cut, by_event = (Pipeline(limits=Limits(event_bytes=event_bytes)) for _ in range(3))
    expected = [found for at in range(len(data)) for found in by_byte.feed(data[at : at + 1])]
    assert [found for start, end in itertools.pairwise(bounds) for found in fed_live(by_cut, data[start:end])] == expected
    assert [found for piece in [*pieces, DONE] for found in fed_live(by_event, piece)] == expected
    for other in (by_cut, by_event):
        assert (type(other.failure), str(other.failure)) == (type(by_byte.failure), str(by_byte.failure))
        assert other.message("complete").text == "".join(found.text for found in expected if isinstance(found, TextDelta))


@pytest.mark.parametrize("joined", [False, True])
def test_an_event_that_is_too_large(joined: bool):
    """It fails the stream whichever way it comes; the texts in front of it were said."""
    pipeline = Pipeline(limits=Limits(event_bytes=2 * len(event(b'"x"'))))
    pieces = [event(b'"x"')] * 3 + [event(b'"%b"' % (b"y" * 200)), event(b'"x"')]
    for data in [b"".join(pieces)] if joined else pieces:
        fed_live(pipeline, data)
    assert isinstance(pipeline.failure, ProtocolViolation)
    assert pipeline.message("failed").text == "xxx"


def test_nothing_repeats_after_a_failure():
    """A pipeline that has failed says no more texts."""
    pipeline = Pipeline()
    assert len(pipeline.feed(event(b'"x"') * 2)) == 3
    assert pipeline.feed(b"data: {no JSON\n\n") == []
    assert fed_live(pipeline, event(b'"x"')) == []


def test_nothing_repeats_after_the_connection_failed():
    """Nor does one whose connection has."""
    pipeline = Pipeline()
    pipeline.feed(event(b'"x"') * 2)
    pipeline.close(StreamTruncated("cut"))
    assert fed_live(pipeline, event(b'"x"')) == fed_live(pipeline, event(b'"x"') * 2) == []


def test_nothing_repeats_after_the_end():
    """Bytes behind [DONE], or behind an end without it, are ignored."""
    for end in (lambda pipeline: pipeline.feed(DONE), lambda pipeline: pipeline.finish()):
        pipeline = Pipeline()
        pipeline.feed(event(b'"x"') * 2 + event(b'"y"').replace(b"null", b'"stop"') + event(b'"z"'))
        end(pipeline)
        assert pipeline.is_done
        assert fed_live(pipeline, event(b'"x"')) == fed_live(pipeline, event(b'"x"') * 2) == []
        assert pipeline.message("complete").text == "xxyz"


def test_empty_texts_leave_nothing():
    """A flood of deltas that say nothing takes no memory."""
    pipeline = Pipeline()
    pipeline.feed(event(b'"x"') + event(b'""') * 1000)
    pipeline.feed(event(b'""'))
    assert pipeline._decoder.texts == ["x"]


def test_a_second_content_is_what_json_says():
    """Of two texts in one chunk the last counts, however the first is spelled, each time."""
    for first in (b'"a","content": "real"', b'"real","content": "real"'):
        pipeline = Pipeline()
        for odd in (first, first, b'"b","content": "real"'):
            assert fed_live(pipeline, event(odd))[-1] == TextDelta("real")


def test_a_chunk_of_several_lines():
    """Nothing is learned from one: a line that ends inside the next is no part of its data."""
    pipeline = Pipeline()
    two_lines = event(b'"x"').replace(b',"choices"', b'\ndata: ,"choices"')
    assert TextDelta("x") in fed_live(pipeline, two_lines)
    assert fed_live(pipeline, two_lines.replace(b"\ndata: ", b"\n")) == []
    assert isinstance(pipeline.failure, ProtocolViolation)


def test_a_key_that_looks_like_a_text():
    """What ends as the key of a text does is no text for that."""
    pipeline = Pipeline()
    for key in (b"x", b"x", b"FAKE"):
        odd = event(b'"x"').replace(b'"content":', b'"content": ').replace(b'"id"', b'"x\\"content":"%b","id"' % key)
        assert [found for found in fed_live(pipeline, odd) if isinstance(found, TextDelta)] in ([], [TextDelta("x")])


def test_the_image_api_repeats_no_chat():
    """What looks like chat is none of its events, once or often."""
    pipeline = Pipeline(api="images")
    for _ in range(3):
        assert not any(isinstance(found, TextDelta) for found in fed_live(pipeline, event(b'"x"')))


def test_messages_share_no_list():
    """Each message has lists of its own."""
    first, second = Pipeline().message("streaming"), Pipeline().message("streaming")
    assert all(getattr(first, name) is not getattr(second, name) for name in ("alternatives", "images", "annotations", "extra"))
