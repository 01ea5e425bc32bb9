"""Each oddity of the wire has a name, and an ordinary answer has none."""

import json

import pytest

from or_stream.emulator import scenarios
from or_stream.emulator.recording.inspection._oddities import Oddities, kind_of, oddities_of_answer


def oddities_of(name: str) -> set[str]:
    odd = Oddities()
    found: set[str] = set()
    for line in scenarios.by_name(name)[0].body().splitlines():
        if line.startswith(b"data: {"):
            found |= set(odd.of(json.loads(line[6:])))
    return found | set(odd.at_end())


@pytest.mark.parametrize(
    ("name", "oddity"),
    [
        ("usage-2026-03", "usage without choices"),
        ("usage-missing", "no usage"),
        ("end-without-finish", "no finish reason"),
        ("finish-conflicting", "conflicting finish (tool_calls, then stop)"),
        ("finish-three-times", "repeated finish"),
        ("finish-unnormalized", "unknown finish (end_turn)"),
        ("finish-with-content", "finish beside content"),
        ("image-with-finish", "finish beside an image"),
        ("images-in-one-delta", "several images in a delta"),
        ("image-list-empty", "empty list of images"),
        ("image-by-address", "image by address"),
        ("image-url-plain", "image_url is a string"),
        ("image-in-message", "message in a stream"),
        ("midstream-error", "error in the stream"),
        ("midstream-error-no-choices", "error without choices"),
        ("midstream-error-in-choice", "error in a choice"),
        ("midstream-error-finish-only", "error finish without an error"),
        ("midstream-error-masked", "failure that says stop (network_error)"),
        ("tool-call-index-missing", "tool call without an index"),
        ("tool-call-id-empty", "tool call with an empty id"),
        ("tool-calls-same-index", "tool calls of one index"),
        ("tool-calls-in-one-delta", "several tool calls in a delta"),
        ("empty-deltas-for-ever", "empty delta"),
    ],
)
def test_scenario(name: str, oddity: str):
    """What a scenario does on purpose is named."""
    assert oddity in oddities_of(name)


@pytest.mark.parametrize("name", ["text", "image-only", "reasoning-plain", "tool-call"])
def test_ordinary_answer(name: str):
    """An answer of today has its usage on a chunk that finishes again, and that is not odd."""
    assert oddities_of(name) == set()


def test_other_api():
    """An event of the Image API lacks nothing that only a chunk has."""
    odd = Oddities()
    assert [] == odd.of({"type": "image_generation.completed", "usage": {"total_tokens": 1}}) + odd.at_end()


@pytest.mark.parametrize(
    ("chunks", "oddity"),
    [
        ([{"id": "a", "choices": []}, {"id": "b", "choices": []}], "another id"),
        ([{"choices": [{"index": 0, "delta": None}]}], "delta is null"),
        ([{"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]}], "several choices"),
        (
            [
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
                {"choices": [{"index": 0, "delta": {"content": "a"}}]},
            ],
            "content after the finish",
        ),
        ([{"choices": [], "usage": {}}, {"choices": [], "usage": {}}], "repeated usage"),
        ([[]], "no JSON object"),
    ],
)
def test_chunks(chunks: list, oddity: str):
    """What no scenario does is named too."""
    odd = Oddities()
    assert oddity in [name for chunk in chunks for name in odd.of(chunk)]


@pytest.mark.parametrize("value", [None, 5, "x", [], {}, [None], {"choices": 5}, {"choices": [5, {"delta": 5, "index": []}]}])
def test_nonsense(value: object):
    """Nothing of any type is an exception."""
    nested = {"choices": [{"delta": {"images": value, "tool_calls": value}, "finish_reason": value, "index": 0}], "error": value}
    for chunk in (value, nested, {"usage": value, "id": value}):
        Oddities().of(chunk)
        oddities_of_answer(chunk, status=None)
        assert kind_of(chunk)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"choices": []}, "chunk"),
        ({"choices": [{"message": {}}]}, "answer"),
        ({"choices": [], "error": {"code": 1}}, "error"),
        ({"type": "image_generation.completed"}, "image_generation.completed"),
        ({"data": []}, "JSON"),
        ([], "JSON"),
    ],
)
def test_kinds(document: object, kind: str):
    """A document is known by its fields."""
    assert kind == kind_of(document)
