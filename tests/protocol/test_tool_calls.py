"""or_stream.protocol._tool_calls: fragments whose index, id and name may lie."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.events import ToolCallDelta, ToolCallEnd, ToolCallStart
from or_stream.protocol._tool_calls import ToolCallTracker
from or_stream.values import ToolCall

Fragment = tuple[int | None, str | None, str | None, str | None]


def calls(*fragments: Fragment, was_cut: bool = False) -> list[tuple[str, str, str, bool]]:
    tracker = ToolCallTracker(0)
    for wire_index, call_id, name, arguments in fragments:
        tracker.feed(wire_index, call_id, name, arguments, {})
    return [(call.id, call.name, call.arguments, call.complete) for call in tracker.calls(was_cut=was_cut)]


def test_events_of_a_call():
    """A call begins, grows and ends when the stream does; each event says its choice."""
    tracker = ToolCallTracker(3)
    events = [
        *tracker.feed(0, "a", "f", None, {}),
        *tracker.feed(0, None, None, '{"x":', {}),
        *tracker.feed(0, None, None, "1}", {}),
    ]
    assert events == [ToolCallStart(0, "a", "f", 3), ToolCallDelta(0, '{"x":', 3), ToolCallDelta(0, "1}", 3)]
    assert tracker.finish(was_cut=False) == [ToolCallEnd(0, ToolCall(id="a", name="f", arguments='{"x":1}'), 3)]


def test_parallel_calls_interleaved():
    """Fragments go to the call of their index."""
    fragments = [(0, "a", "f", "["), (1, "b", "g", "["), (0, None, None, "1]"), (1, None, None, "2]")]
    assert calls(*fragments) == [("a", "f", "[1]", True), ("b", "g", "[2]", True)]


def test_fresh_id_at_a_used_index():
    """15 calls, all with index 0 and each with an id of its own, are 15 calls."""
    assert len(calls(*[(0, f"id-{number}", "f", "{}") for number in range(15)])) == 15


def test_fragments_at_a_used_index_follow_their_id():
    """A fragment that repeats the id of an earlier call at the same index continues that one."""
    fragments = [(0, "a", "f", "["), (0, "b", "f", "["), (0, "a", None, "1]"), (0, "b", None, "2]")]
    assert calls(*fragments) == [("a", "f", "[1]", True), ("b", "f", "[2]", True)]


def test_one_id_at_two_indexes():
    """Two indexes are two calls, though a careless server gives both one id."""
    fragments = [(0, "a", "f", '{"x":1}'), (1, "a", "f", '{"x":2}')]
    assert calls(*fragments) == [("a", "f", '{"x":1}', True), ("a", "f", '{"x":2}', True)]


@pytest.mark.parametrize("call_id", [None, "a"])
@pytest.mark.parametrize("name", [None, "f"])
def test_later_fragments_may_repeat(call_id: str | None, name: str | None):
    """Later fragments may repeat id and name or leave them out."""
    assert calls((0, "a", "f", "["), (0, call_id, name, "1]")) == [("a", "f", "[1]", True)]


@pytest.mark.parametrize("index", [None, 0])
def test_index_missing(index: int | None):
    """Without an index a fragment continues the last call, and an id of its own begins another."""
    fragments = [(index, "a", "f", "["), (None, None, None, "1]"), (None, "b", "f", "[2]"), (None, "a", None, " ")]
    assert calls(*fragments) == [("a", "f", "[1] ", True), ("b", "f", "[2]", True)]


def test_no_id_at_all():
    """Without ids, another name at the same index is another call."""
    assert calls((0, None, "f", "[1]"), (0, None, "g", "[2]")) == [("", "f", "[1]", True), ("", "g", "[2]", True)]


def test_id_and_name_that_come_late():
    """An id or a name may follow the arguments."""
    assert calls((0, None, None, "["), (0, "a", None, "1"), (0, None, "f", "]")) == [("a", "f", "[1]", True)]


@pytest.mark.parametrize("arguments", [None, " ", "\n"])
def test_parameterless(arguments: str | None):
    """A call to which nothing is passed has an empty object for its arguments."""
    assert calls((0, "a", "f", arguments)) == [("a", "f", "{}", True)]


@pytest.mark.parametrize("arguments", ['{"x":', "{}{}", '{"x":1}}', "[" * 100_000, "9" * 5000, "{x:1}"])
def test_arguments_that_are_not_whole(arguments: str):
    """Arguments that are no JSON text make the call incomplete."""
    assert calls((0, "a", "f", arguments)) == [("a", "f", arguments, False)]


def test_cut_before_the_arguments():
    """Where the model hit its limit, a last call without arguments is not complete; one before it is."""
    assert calls((0, "a", "f", None), (1, "b", "g", None), was_cut=True) == [("a", "f", "{}", True), ("b", "g", "{}", False)]


def test_extra_fields_are_kept():
    """Fields of a call that have no place are kept, the last value of each."""
    tracker = ToolCallTracker(0)
    tracker.feed(0, "a", "f", None, {"thoughtSignature": "x"})
    tracker.feed(0, None, None, "{}", {"thoughtSignature": "y", "other": 1})
    assert tracker.calls(was_cut=False)[0].extra == {"thoughtSignature": "y", "other": 1}


def test_calls_are_copies():
    """What was read of the calls does not change when more comes."""
    tracker = ToolCallTracker(0)
    tracker.feed(0, "a", "f", "[", {"x": 1})
    before = tracker.calls(was_cut=False)[0]
    tracker.feed(0, None, None, "]", {"x": 2})
    assert (before.arguments, before.extra) == ("[", {"x": 1})


WORDS = st.sampled_from([None, "", "a", "b"])


@given(st.lists(st.tuples(st.sampled_from([None, 0, 1, -1]), WORDS, WORDS, st.sampled_from([None, "", "{", "}", "1"]))))
def test_nothing_is_lost(fragments: list[Any]):
    """Whatever the fragments say, their arguments are in the calls and in the events, and the indexes count the calls."""
    tracker = ToolCallTracker(0)
    events = [event for fragment in fragments for event in tracker.feed(fragment[0], fragment[1], fragment[2], fragment[3], {})]
    starts = [event.index for event in events if isinstance(event, ToolCallStart)]
    assert starts == list(range(len(starts)))
    for event in tracker.finish(was_cut=False):
        assert isinstance(event, ToolCallEnd)
        told = "".join(delta.arguments for delta in events if isinstance(delta, ToolCallDelta) and delta.index == event.index)
        assert event.call.arguments == (told or "{}")
    assert sum(len(fragment[3] or "") for fragment in fragments) == sum(
        len(event.arguments) for event in events if isinstance(event, ToolCallDelta)
    )
