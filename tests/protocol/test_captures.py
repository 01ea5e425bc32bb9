"""The pure core against recorded traffic: every stream and every answer says what captures_expected.json says it says.

The recordings are not part of this project; where the folder `shared/captures` beside the checkout is missing these tests skip.
"""

import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from or_stream.errors import APIStatusError, OrStreamError, StreamFailed
from or_stream.events import Heartbeat, ReasoningDelta, StreamStart, TextDelta
from or_stream.protocol import ErrorBody
from or_stream.values import Image, Message
from support.feeding import chunkings, cut
from support.oracle import EXPECTED, digest, digest_list, distinct, error_of
from support.pipelines import Outcome, outcome_of

CAPTURES = Path(__file__).parents[2].parent / "shared" / "captures"
INDEX: dict[str, Any] = json.loads((CAPTURES / "index.json").read_bytes()) if CAPTURES.is_dir() else {}
EXPECTATIONS: dict[str, dict[str, Any]] = json.loads(EXPECTED.read_bytes())

needs_captures = pytest.mark.skipif(not INDEX, reason="the folder shared/captures is not beside this checkout")

ANSWERS = [name for name, entry in EXPECTATIONS.items() if entry["kind"] in ("stream", "message")]
ERRORS = [name for name, entry in EXPECTATIONS.items() if entry["kind"] == "error"]
# finish_reason "stop" beside native_finish_reason "network_error": a failure for us, whatever the finish reason claims.
MASKED = "quoted__masked_network_error_2026-08.sse"

_LARGEST_CUT_IN_TWO = 1_700
_LARGEST_BY_BYTE = 12_500


def raw_bytes(name: str) -> bytes:
    return (CAPTURES / name).read_bytes()


def ways(name: str, data: bytes) -> Iterator[tuple[str, list[bytes]]]:
    lengths = INDEX[name].get("chunk_lengths")
    if lengths:
        yield "as recorded", cut(data, [*accumulate(lengths)][:-1])
    for way, pieces in chunkings(data):
        if len(data) <= _LARGEST_CUT_IN_TWO or not way.startswith("cut"):
            yield way, pieces


def read(name: str, pieces: list[bytes]) -> Outcome:
    return outcome_of(pieces, framing="sse" if name.endswith(".sse") else "json")


def observed(outcome: Outcome) -> dict[str, Any]:
    """What the oracle's `expectation` tells of an answer, told by the pipeline."""
    message, failure = outcome.message, outcome.failure
    ending = "complete" if failure is None else "failed" if isinstance(failure, (StreamFailed, APIStatusError)) else "truncated"
    usage = message.usage
    return {
        "ending": ending,
        "ids": len(distinct([message.id])),
        "model": message.model,
        "provider": message.provider,
        "text": digest(message.text),
        "reasoning": digest(message.reasoning),
        "refusal": digest(message.refusal),
        "reasoning_details": digest_list(message.reasoning_details or []),
        "images": [observed_image(image) for image in message.images],
        "parts": ["image" if isinstance(part, Image) else "text" for part in message.parts],
        "tool_calls": [
            {"name": call.name, "arguments": digest(call.arguments), "complete": call.complete} for call in message.tool_calls
        ],
        "tool_call_ids": len(distinct(call.id for call in message.tool_calls)),
        "annotations": digest_list(message.annotations),
        "finish_reason": message.finish_reason,
        "native_finish_reason": message.native_finish_reason,
        "usage": None if usage is None else {name: getattr(usage, name) for name in USAGE_FIELDS},
    }


USAGE_FIELDS = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cost",
    "reasoning_tokens",
    "image_tokens",
    "cached_tokens",
)


def observed_image(image: Image) -> dict[str, Any]:
    told = {name: getattr(image, name) for name in ("media_type", "width", "height", "size", "sha256")}
    return {**told, "url": digest(image.url)} if image.url else told


@needs_captures
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_is_what_was_recorded(name: str):
    """A recorded answer comes to what an independent reader makes of it; past a failure nothing is read."""
    expected = EXPECTATIONS[name]
    told = observed(read(name, [raw_bytes(name)]))
    passed_over = set(expected.get("after_error") or ())
    if name == MASKED:
        passed_over |= {"ending"}
    assert {field: told[field] for field in told if field not in passed_over} == {
        field: expected[field] for field in told if field not in passed_over
    }


@needs_captures
@pytest.mark.parametrize("name", ANSWERS)
def test_answer_does_not_depend_on_its_cuts(name: str):
    """A recorded answer gives the same events in whatever pieces it comes."""
    data = raw_bytes(name)
    told = read(name, [data]).told
    for way, pieces in ways(name, data):
        assert read(name, pieces).told == told, way


@needs_captures
@pytest.mark.parametrize("name", ANSWERS)
def test_events_add_up_to_the_message(name: str):
    """The deltas of a recorded answer joined are the texts of its message, and its heartbeats are its comments."""
    outcome = read(name, [raw_bytes(name)])
    events = outcome.events
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == outcome.message.text
    assert "".join(event.text for event in events if isinstance(event, ReasoningDelta)) == outcome.message.reasoning
    assert [type(event) for event in events if not isinstance(event, Heartbeat)][:1] in ([StreamStart], [])
    if outcome.failure is None:
        assert sum(isinstance(event, Heartbeat) for event in events) == EXPECTATIONS[name].get("comments", 0)


@needs_captures
@pytest.mark.parametrize("name", [name for name in ANSWERS if EXPECTATIONS[name]["error"]])
def test_failure_says_what_the_server_said(name: str):
    """The exception for a recorded failure carries the server's code and words."""
    failure = read(name, [raw_bytes(name)]).failure
    assert isinstance(failure, StreamFailed)
    expected = EXPECTATIONS[name]["error"]
    assert failure.code == expected["code"]
    assert sorted(failure.metadata) == (expected["metadata_keys"] or [])


@needs_captures
def test_masked_failure_is_a_failure():
    """A native finish reason that says network_error fails the stream though finish_reason says stop."""
    failure = read(MASKED, [raw_bytes(MASKED)]).failure
    assert isinstance(failure, StreamFailed)


@needs_captures
@pytest.mark.parametrize("name", ERRORS)
def test_refusal_says_what_the_server_said(name: str):
    """A recorded refusal becomes an exception with the status, the code, the words and the provider of the server."""
    body = json.loads(raw_bytes(name))
    expected = error_of(body)
    status = EXPECTATIONS[name]["status"]
    failure = ErrorBody.read(body["error"]).api_status_error(status)
    assert expected is not None
    assert failure.status == (status if status >= 400 else expected["code"])
    assert failure.code == expected["code"]
    assert expected["message"] in str(failure)
    assert failure.metadata == (expected["metadata"] or {})
    assert failure.provider == EXPECTATIONS[name]["error"]["provider_name"]


@needs_captures
@pytest.mark.parametrize("name", ERRORS)
def test_refusal_read_as_an_answer_fails(name: str):
    """A refusal that comes under HTTP 200 fails the answer before anything was said."""
    outcome = read(name, [raw_bytes(name)])
    assert isinstance(outcome.failure, OrStreamError)
    assert outcome.events == []
    assert outcome.message == Message(status="failed", extra=outcome.message.extra)


@needs_captures
def test_every_expectation_has_its_recording():
    """The expectations are of the recordings that are there."""
    assert set(EXPECTATIONS) == set(INDEX)
