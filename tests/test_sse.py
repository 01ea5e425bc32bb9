"""or_stream.sse against the conformance corpus in sse_cases.jsonl, its limits, and its encoder."""

import base64
import itertools
import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.errors import ConfigurationError, ProtocolViolation
from or_stream.sse import DEFAULT_MAX_COMMENT_SIZE, Comment, ServerSentEvent, SSEParser, encode_event
from support.feeding import chunkings

CASES = [json.loads(line) for line in (Path(__file__).parent / "sse_cases.jsonl").read_text().splitlines()]


class Outcome(NamedTuple):
    """All that a stream made a parser say, and what it remembers."""

    items: list[ServerSentEvent | Comment]
    comments: list[str]
    flushed: list[ServerSentEvent | Comment]
    failure: str | None
    last_event_id: str
    retry: int | None


def outcome_of(pieces: Iterable[bytes], max_event_size: int = 2**20) -> Outcome:
    comments: list[str] = []
    items: list[ServerSentEvent | Comment] = []
    flushed: list[ServerSentEvent | Comment] = []
    parser = SSEParser(max_event_size, comments.append, comments=True)
    try:
        for piece in pieces:
            items += parser.feed(piece)
        flushed = parser.flush()
    except ProtocolViolation:
        assert parser.failure is not None
    failure = None if parser.failure is None else str(parser.failure)
    return Outcome(items, comments, flushed, failure, parser.last_event_id, parser.retry)


def same_outcome(data: bytes, max_event_size: int = 2**20) -> Outcome:
    """The outcome of these bytes, which must not depend on how they are cut."""
    whole = outcome_of([data], max_event_size)
    for name, pieces in chunkings(data):
        assert outcome_of(pieces, max_event_size) == whole, name
    return whole


def events_of(data: bytes) -> list[ServerSentEvent]:
    return SSEParser().feed(data)


# ---- the corpus


def case_input(case: dict[str, Any]) -> bytes:
    if case["input_b64"] is not None:
        return base64.b64decode(case["input_b64"])
    return b"".join(base64.b64decode(text) * count for text, count in case["input_repeat"])


def expected_events(case: dict[str, Any], key: str) -> list[dict[str, Any]]:
    expected = []
    for event in case[key]:
        fields = {
            name: "".join(text * count for text, count in event[f"{name}_repeat"]) if event[name] is None else event[name]
            for name in ("data", "id")
        }
        expected += [{**fields, "event": event["event"], "retry": event["retry"]}] * event.get("times", 1)
    return expected


def compared(case: dict[str, Any], event: ServerSentEvent) -> dict[str, Any]:
    return kept(case, {"data": event.data, "id": event.id, "event": event.event, "retry": event.retry})


def kept(case: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Without what the case says to ignore; the standard sets no largest retry, ours is 63 bits."""
    if fields["retry"] is not None:
        fields = {**fields, "retry": min(fields["retry"], 2**63 - 1)}
    return {name: value for name, value in fields.items() if name not in case.get("ignore", ())}


def assert_case_holds(case: dict[str, Any], pieces: list[bytes]) -> None:
    """Events, their moment, the state at the end, and the lenient end, for one way to cut the input."""
    parser = SSEParser()
    events: list[ServerSentEvent] = []
    fed = 0
    for piece in pieces:
        events += parser.feed(piece)
        fed += len(piece)
        assert len(events) == sum(offset <= fed for offset in case["dispatch_at"])
    assert [compared(case, event) for event in events] == [kept(case, event) for event in expected_events(case, "events")]
    assert not any(event.incomplete for event in events)
    final = kept(case, {"last_event_id": parser.last_event_id, "retry": parser.retry})
    flushed = parser.flush()
    assert [compared(case, event) for event in flushed] == [kept(case, event) for event in expected_events(case, "flush_events")]
    assert all(event.incomplete for event in flushed)
    assert parser.flush() == []
    assert kept(case, {"last_event_id": parser.last_event_id, "retry": parser.retry}) == final == kept(case, case["final"])


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case_holds_however_it_is_cut(case: dict[str, Any]) -> None:
    """Each case of the corpus gives its events, at its moments, and its state in every chunking."""
    for name, pieces in chunkings(case_input(case), case.get("splits", ())):
        try:
            assert_case_holds(case, pieces)
        except AssertionError as error:
            error.add_note(f"chunking: {name}")
            raise


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_no_event_waits_for_a_byte_it_does_not_need(case: dict[str, Any]) -> None:
    """Fed byte by byte, each event comes with the very byte that determines it."""
    parser = SSEParser()
    data = case_input(case)
    moments = [end for end in range(1, len(data) + 1) for _ in parser.feed(data[end - 1 : end])]
    assert moments == case["dispatch_at"]


# ---- feeding


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_of_bytes_can_be_fed(kind: Any) -> None:
    """bytes, bytearray and memoryview give the same events, whose raw data are bytes."""
    (event,) = SSEParser().feed(kind(b"data: a\ndata: b\n\n"))
    assert (type(event.raw), event.raw) == (bytes, b"a\nb")


@pytest.mark.parametrize("wrong", ["data: a\n\n", 5, None])
def test_what_is_not_bytes_is_refused(wrong: Any) -> None:
    """Text, or a number (which bytes() would turn into zeros), is a TypeError."""
    with pytest.raises(TypeError):
        SSEParser().feed(wrong)


def test_a_fed_buffer_may_be_used_again() -> None:
    """Nothing of a bytearray is looked at after feed has returned."""
    buffer = bytearray(b"data: first")
    parser = SSEParser()
    parser.feed(buffer)
    buffer[:] = b"xxxxxxxxxxx"
    assert [event.data for event in parser.feed(b"\n\n")] == ["first"]


@pytest.mark.parametrize(("piece_size", "size"), [(1, 2**15), (1024, 2**20), (65536, 2**22)])
def test_a_long_line_is_gathered_in_one_buffer(piece_size: int, size: int) -> None:
    """A line takes about its own size while it is gathered, however small its pieces."""
    line = b"data: " + b"x" * size
    pieces = [line[start : start + piece_size] for start in range(0, len(line), piece_size)]
    parser = SSEParser()
    tracemalloc.start()
    try:
        for piece in pieces:
            parser.feed(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1.3 * len(line)
    assert [len(event.raw) for event in parser.feed(b"\n\n")] == [size]


# ---- the end, and the next connection


def test_flush_leaves_the_id_of_an_incomplete_event_alone() -> None:
    """An unterminated event carries its id, but a reconnection must ask for what follows the last whole one."""
    parser = SSEParser()
    parser.feed(b"id: 1\nretry: 5\ndata: a\n\nid: 2\nretry: 6\ndata: b")
    (event,) = parser.flush()
    assert (event.id, event.incomplete, parser.last_event_id) == ("2", True, "1")


def test_flush_does_not_take_a_retry_whose_line_is_cut() -> None:
    """`retry: 30` may be the beginning of `retry: 3000`."""
    parser = SSEParser()
    parser.feed(b"retry: 5\n\nretry: 30")
    parser.flush()
    assert parser.retry == 5


def test_a_flushed_parser_reads_the_next_stream() -> None:
    """After flush a new connection may follow: byte order mark, ID and all."""
    parser = SSEParser()
    parser.feed(b"id: 1\ndata: a\n\ndata: cut\r")
    parser.flush()
    assert parser.feed(b"\xef\xbb\xbfdata: b\n\n") == [ServerSentEvent(b"b", id="1")]


def test_reset_drops_what_was_unfinished() -> None:
    """Nothing of a broken connection reaches the next one but the ID and the reconnection time."""
    parser = SSEParser()
    parser.feed(b"id: 1\nretry: 7\ndata: a\n\nevent: e\nid: 2\ndata: b\ndata: c")
    parser.reset()
    assert parser.feed(b"\ndata: d\n\n") == [ServerSentEvent(b"d", id="1", retry=7)]


def test_reset_can_forget_everything() -> None:
    """keep_last_event_id=False makes the parser as new."""
    parser = SSEParser()
    parser.feed(b"id: 1\nretry: 7\ndata: a\n\n")
    parser.reset(keep_last_event_id=False)
    assert parser.feed(b"data: b\n\n") == [ServerSentEvent(b"b")]


def test_the_last_event_id_of_an_earlier_connection_holds_until_a_new_one() -> None:
    """A blank line does not erase the ID given to the constructor."""
    parser = SSEParser(last_event_id="41")
    assert [event.id for event in parser.feed(b"\ndata: a\n\nid: 42\ndata: b\n\n")] == ["41", "42"]


# ---- comments


def test_comments_stand_in_order_with_the_events() -> None:
    """With comments=True a comment is an item where its line ended, in every chunking."""
    outcome = same_outcome(b": one\ndata: a\n:two\n\n:\rdata: b\r\n\r\n::  three \n")
    assert outcome.items == [
        Comment("one"),
        Comment("two"),
        ServerSentEvent(b"a"),
        Comment(""),
        ServerSentEvent(b"b"),
        Comment(":  three "),
    ]


def test_comments_are_told_while_feed_runs() -> None:
    """on_comment is called before feed returns, and by default the list holds events only."""
    seen: list[str] = []
    events = SSEParser(on_comment=seen.append).feed(b": OPENROUTER PROCESSING\n\ndata: a\n\n: again\n")
    assert (events, seen) == ([ServerSentEvent(b"a")], ["OPENROUTER PROCESSING", "again"])


def test_a_comment_cut_by_the_end_is_told_by_flush() -> None:
    """The unterminated line at a clean end is a line, a comment too."""
    outcome = same_outcome(b"data: a\n: bye")
    assert outcome.flushed == [Comment("bye"), ServerSentEvent(b"a", incomplete=True)]


@pytest.mark.parametrize("prefix", [b":", b": "])
@pytest.mark.parametrize("size", [DEFAULT_MAX_COMMENT_SIZE, DEFAULT_MAX_COMMENT_SIZE + 1, 3 * DEFAULT_MAX_COMMENT_SIZE])
def test_a_comment_is_cut_at_its_limit(prefix: bytes, size: int) -> None:
    """The text of a comment has at most 4096 bytes, the same in every chunking."""
    outcome = same_outcome(prefix + b"c" * size + b"\ndata: a\n\n")
    assert outcome.items == [Comment("c" * DEFAULT_MAX_COMMENT_SIZE), ServerSentEvent(b"a")]


@pytest.mark.parametrize("beginning", [b":", b"unknown: ", b"no colon at all ", b"database: ", b"\xef\xbb\xbf: "])
def test_lines_without_a_meaning_are_not_kept(beginning: bytes) -> None:
    """A comment or an unknown field may go on for ever: it takes no memory and breaks no limit."""
    parser = SSEParser(max_event_size=1000)
    parser.feed(beginning)
    piece = b"x" * 10_000
    tracemalloc.start()
    try:
        for _ in range(100):
            parser.feed(piece)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 40_000
    assert parser.feed(b"\ndata: a\n\n") == [ServerSentEvent(b"a")]


def test_an_error_of_on_comment_leaves_a_dead_parser() -> None:
    """The rest of the piece is lost, so that going on in silence would make wrong events."""

    def refuse(comment: str) -> None:
        raise LookupError(comment)

    parser = SSEParser(on_comment=refuse)
    with pytest.raises(LookupError):
        parser.feed(b"data: a\n: no\n\n")
    with pytest.raises(ProtocolViolation, match=r"on_comment.*reset"):
        parser.feed(b"data: b\n\n")


# ---- limits

TOO_LONG = {
    "one line": b"data: 12345678901",
    "no space": b"data:12345678901",
    "two lines": b"data: 12345\ndata: 67890",
    "two lines, no space": b"data:12345\ndata:67890",
    "empty lines": b"data\n" * 12,
    "second line bare": b"data: 1234567890\ndata\n",
    "event": b"event: 12345678901",
    "event, no space": b"event:12345678901",
    "id": b"id: 12345678901",
    "id with NUL": b"id: \x002345678901",
    "retry": b"retry: 12345678901",
}


@pytest.mark.parametrize("offending", TOO_LONG.values(), ids=TOO_LONG.keys())
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n\n: never seen\ndata: never seen\n\n", b"\n\nid: too long as well"])
def test_a_value_over_the_limit_is_found_in_every_chunking(offending: bytes, ending: bytes) -> None:
    """What was complete before it is delivered, what comes after it is not, and the error says what to do."""
    outcome = same_outcome(b"data: 1\n\n: c\ndata: 2\n\n" + offending + ending, max_event_size=10)
    assert outcome.items == [ServerSentEvent(b"1"), Comment("c"), ServerSentEvent(b"2")]
    assert outcome.failure is not None
    assert "raise max_event_size" in outcome.failure


@pytest.mark.parametrize(
    "fitting",
    [
        b"data: 1234567890\n\n",
        b"data:1234567890\n\n",
        b"data: 12345\ndata: 6789\n\n",
        b"data\n" * 11 + b"\n",
        b"event: 1234567890\nid: 1234567890\nretry: 1234567890\ndata: 1234567890\n\n",
        b"\xef\xbb\xbfdata: 1234567890\n\n",
    ],
)
def test_a_value_of_exactly_the_limit_passes(fitting: bytes) -> None:
    """The limit is on the value of a field, not on its line, its event's other fields or the byte order mark."""
    outcome = same_outcome(fitting, max_event_size=10)
    assert (outcome.failure, len(outcome.items)) == (None, 1)


def test_many_events_that_are_big_in_total_pass() -> None:
    """The limit is one event's."""
    outcome = same_outcome(b"data: 1234567890\n\n" * 100, max_event_size=10)
    assert (outcome.failure, len(outcome.items)) == (None, 100)


@pytest.mark.parametrize(
    ("before", "harmless"),
    [
        (b"", b"data: 1234567890"),
        (b"", b"event: 1234567890"),
        (b"data: 12345\n", b"data: 6789"),
        (b"data: 1234567890\n", b"data"),
    ],
)
def test_an_unterminated_line_trips_at_the_first_byte_too_many(before: bytes, harmless: bytes) -> None:
    """The line end is not waited for, and no byte is refused that could still turn out well."""
    parser = SSEParser(max_event_size=10)
    parser.feed(before + harmless)
    assert parser.failure is None
    with pytest.raises(ProtocolViolation, match="larger than 10 bytes"):
        parser.feed(b":")


def test_a_line_at_the_limit_may_still_be_no_data() -> None:
    """`data` without its colon is not yet a data line: `database` is an unknown field."""
    outcome = same_outcome(b"data: 1234567890\ndatabase: 1\n\n", max_event_size=10)
    assert outcome.items == [ServerSentEvent(b"1234567890")]


def test_a_bare_data_line_at_the_end_can_pass_the_limit() -> None:
    """The line feed that it adds is one byte too many, found by flush."""
    outcome = same_outcome(b"data: 1234567890\ndata", max_event_size=10)
    assert outcome.failure is not None


def test_events_before_a_violation_are_returned_and_the_violation_can_be_seen() -> None:
    """`failure` is set when feed returns; the next call raises it."""
    parser = SSEParser(max_event_size=10)
    assert parser.feed(b"data: 1\n\ndata: 12345678901") == [ServerSentEvent(b"1")]
    assert parser.failure is not None
    with pytest.raises(ProtocolViolation) as raised:
        parser.flush()
    assert raised.value is parser.failure


def test_a_parser_is_dead_after_a_violation_until_reset() -> None:
    """Each call raises the same error again; reset begins a new stream."""
    parser = SSEParser(max_event_size=10)
    for piece in (b"data: 12345678901", b"\n\ndata: 1\n\n", b""):
        with pytest.raises(ProtocolViolation, match="max_event_size"):
            parser.feed(piece)
    parser.reset()
    assert parser.feed(b"data: 2\n\n") == [ServerSentEvent(b"2")]


def test_a_limit_below_one_byte_is_refused() -> None:
    """It could only be a mistake."""
    with pytest.raises(ConfigurationError, match="max_event_size"):
        SSEParser(max_event_size=0)


@pytest.mark.parametrize(
    ("digits", "expected"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", 2**63 - 1),
        ("9" * 5000, 2**63 - 1),
        ("0" * 5000, 0),
        ("0" * 5000 + "12", 12),
    ],
)
def test_retry_has_a_largest_value(digits: str, expected: int) -> None:
    """Beyond 63 bits it is clamped, and the digits that int() refuses are no error."""
    parser = SSEParser()
    parser.feed(f"retry: {digits}\n".encode())
    assert parser.retry == expected


# ---- one event


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b'{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        (b'"\\ud83d"', "\ud83d"),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        ('"\u2028"'.encode(), "\u2028"),
    ],
)
def test_json_reads_what_providers_send(raw: bytes, expected: object) -> None:
    """Lone surrogates and bytes that are not UTF-8 included."""
    assert ServerSentEvent(raw).json() == expected


@pytest.mark.parametrize("raw", [b"", b"[DONE]", b'{"a":', b"[" * 100_000])
def test_json_of_something_else_is_a_value_error(raw: bytes) -> None:
    """Half a text, or one nested without end, is a ValueError and nothing worse."""
    with pytest.raises(ValueError, match=r"^(Expecting|JSON nested)"):
        ServerSentEvent(raw).json()


def test_data_is_decoded_once() -> None:
    """Reading `data` again gives the same string object."""
    event = ServerSentEvent("Größe".encode())
    assert event.data is event.data


def test_events_compare_by_value() -> None:
    """Each field counts, and other objects are unequal."""
    event = ServerSentEvent(b"a", "e", "1", 5)
    others = [
        ServerSentEvent(b"b", "e", "1", 5),
        ServerSentEvent(b"a", "f", "1", 5),
        ServerSentEvent(b"a", "e", "2", 5),
        ServerSentEvent(b"a", "e", "1", 6),
        ServerSentEvent(b"a", "e", "1", 5, incomplete=True),
        "a",
    ]
    assert event == ServerSentEvent(b"a", "e", "1", 5)
    assert all(event != other for other in others)


def test_an_event_takes_no_other_attribute() -> None:
    """There is no __dict__: events are made by the thousand."""
    with pytest.raises(AttributeError):
        ServerSentEvent(b"").other = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (ServerSentEvent(b"a"), "ServerSentEvent(event='message', data='a')"),
        (
            ServerSentEvent(b"a", "e", "1", 5, incomplete=True),
            "ServerSentEvent(event='e', data='a', id='1', retry=5, incomplete=True)",
        ),
        (ServerSentEvent(b"x" * 10**6), f"ServerSentEvent(event='message', data='{'x' * 60}…' (1000000 bytes))"),
    ],
)
def test_repr_is_short(event: ServerSentEvent, expected: str) -> None:
    """A megabyte of data does not end up in a log line."""
    assert repr(event) == expected


# ---- the encoder

lines = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"))
texts = st.lists(st.sampled_from(["\n", "\r", "\r\n", " ", "data: ", ":", "\ufeff", "\u2028", "\0", "x"]) | lines).map("".join)


@given(
    data=texts,
    event=st.none() | lines.filter(bool),
    id=st.none() | lines.filter(lambda text: "\0" not in text),
    retry=st.none() | st.integers(0, 2**63 - 1),
)
def test_what_is_encoded_is_parsed_back(data: str, event: str | None, id: str | None, retry: int | None) -> None:
    """Each field survives, leading spaces too; each line end in data comes back as a line feed."""
    (parsed,) = events_of(encode_event(data, event, id, retry))
    expected = data.replace("\r\n", "\n").replace("\r", "\n")
    assert (parsed.data, parsed.event, parsed.id, parsed.retry) == (expected, event or "message", id or "", retry)


def test_encoded_events_can_follow_each_other() -> None:
    """Each ends with its blank line."""
    assert [event.data for event in events_of(encode_event("a") + encode_event("") + encode_event(" b\n"))] == ["a", "", " b\n"]


def test_the_encoding_is_the_usual_one() -> None:
    """The bytes themselves, and not only our own parser, say that the format is right."""
    assert encode_event("a\nb", "e", "1", 5) == b"event: e\nid: 1\nretry: 5\ndata: a\ndata: b\n\n"


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: f"a{end}b"} for name, end in itertools.product(("event", "id"), "\r\n")),
        {"id": "a\0"},
        {"retry": -1},
        {"retry": 2**63},
    ],
)
def test_what_cannot_be_encoded_is_refused(wrong: dict[str, Any]) -> None:
    """A line end in a name would let its writer make up other fields."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        encode_event("data", **wrong)


def test_a_lone_surrogate_cannot_be_encoded() -> None:
    """It has no UTF-8; the error is ours."""
    with pytest.raises(ConfigurationError, match="surrogate"):
        encode_event("\ud83d")
