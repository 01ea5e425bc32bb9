"""The same bytes through or_stream and through openai-python: both read the same, or it is written here what differs and why."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from peers import ask

from or_stream import Client, Message, OrStreamError, RetryPolicy, Timeouts
from or_stream.emulator import Emulator, RecordedRequest, Scenario, scenarios

CAPTURES = Path(__file__).parents[2] / "shared" / "captures"
FIELDS = ("text", "reasoning", "refusal", "images", "tool_calls", "finish_reason", "usage")

# Answers of another endpoint.
NAMES = [name for name in scenarios.names() if not name.startswith("image-api-")]
ENDLESS = ("empty-deltas-for-ever", "heartbeats-for-ever", "no-headers", "silence", "text-for-ever")
ENDLESS_SECONDS = 3.0

_ENDED = "the stream ended without a finish; openai-python takes any end for a whole answer"
_NO_STREAM = "no stream came; openai-python sees none of the body, and an empty stream"
_MARKED = "an error that is marked in other places than the top of a chunk; openai-python looks there alone"
_ONCE = "or_stream hands out the same image once"
_BOTH_FAIL = "both raise; or_stream also keeps what the failing chunk says"

# What differs, and why. Where `error` is named one of the two raises: or_stream, but for the names in `THEIRS_RAISES`.
DIFFERENT: dict[str, tuple[set[str], str]] = {
    "closed-after-finish": ({"error"}, "the answer is finished, only its usage is missing: for or_stream it is whole"),
    "end-at-once": ({"error"}, _ENDED),
    "end-inside-event": ({"error"}, _ENDED),
    "end-without-finish": ({"error"}, _ENDED),
    "image-cut": ({"error"}, _ENDED),
    "error-as-json": ({"error"}, _NO_STREAM),
    "error-in-json-choice": ({"error", "text", "usage"}, _NO_STREAM),
    "html-at-200": ({"error"}, _NO_STREAM),
    "json-answer": ({"text", "usage", "finish_reason"}, _NO_STREAM),
    "midstream-error-finish-only": ({"error"}, _MARKED),
    "midstream-error-in-choice": ({"error"}, _MARKED),
    "midstream-error-masked": ({"error"}, _MARKED),
    "midstream-error": ({"finish_reason"}, _BOTH_FAIL),
    "midstream-error-beside-stop": ({"finish_reason"}, _BOTH_FAIL),
    "midstream-error-on-usage": ({"usage"}, _BOTH_FAIL),
    "event-too-large": ({"error", "text", "usage", "finish_reason"}, "openai-python has no limit, and takes 80 MiB of text"),
    "finish-conflicting": ({"finish_reason"}, "a finish that tells of the calls is not overwritten by the stop that follows"),
    "tool-calls-same-index": ({"tool_calls", "finish_reason"}, "calls that share an index are told apart by their ids"),
    "tool-call-parameterless": ({"tool_calls"}, "no arguments at all are `{}`"),
    "image-list-empty": ({"images"}, "an entry without an address is no image"),
    "image-repeated": ({"images"}, _ONCE),
    "image-repeated-in-message": ({"images"}, _ONCE),
    "image-url-plain": ({"error", "images", "finish_reason", "usage"}, "for openai-python the caller must know that form too"),
    # recordings
    "pydantic-ai__test_openrouter_stream_error_0.sse": ({"usage"}, _BOTH_FAIL),
    "quoted__masked_network_error_2026-08.sse": ({"error"}, _MARKED),
    "req_llm__google_gemini_2_5_flash_lite_object_streaming-v2.sse": ({"tool_calls"}, "as tool-calls-same-index"),
    "pydantic-ai__test_openrouter_errors_raised_0-v3.json": (
        {"error"},
        "HTTP 200: for openai-python a completion without choices",
    ),
    "req_llm__google_gemini_2_5_flash_lite_object_basic-v2.json": ({"error"}, _MARKED),
    "req_llm__nousresearch_hermes_4_405b_token_limit.json": ({"error"}, _MARKED),
    "ruby_llm__chat_web_search_with_openrouter_openai_gpt-5_2_searches_transparently_returning_citations_and_usage_counters_0-v2.json": (  # noqa: E501
        {"reasoning"},
        "it is in `reasoning_details` alone, which a caller of openai-python must read for himself",
    ),
    "req_llm__google_gemini_2_5_pro_preview_05_06_object_streaming-v2.sse": ({"finish_reason"}, "as finish-conflicting"),
}
THEIRS_RAISES = {"closed-after-finish", "image-url-plain"}


def recordings() -> list[Path]:
    """All recorded answers of the chat endpoint: streams, whole answers, refusals."""
    index: dict[str, Any] = json.loads((CAPTURES / "index.json").read_bytes()) if CAPTURES.is_dir() else {}
    paths = [CAPTURES / name for name in sorted(index)]
    return [path for path in paths if path.suffix == ".sse" or is_chat(json.loads(path.read_bytes()))]


def is_chat(body: Any) -> bool:
    return isinstance(body, dict) and not body.keys().isdisjoint({"choices", "error"})


RECORDINGS = recordings()
Pairs = dict[str, tuple[dict[str, Any], dict[str, Any]]]


def recorded(request: RecordedRequest) -> Scenario | None:
    """The recording whose number is in the model."""
    _, _, number = request.body["model"].partition("openrouter/recording-")
    if not number:
        return None
    path = RECORDINGS[int(number)]
    status = json.loads((CAPTURES / "index.json").read_bytes())[path.name]["status"]
    kind = "text/event-stream" if path.suffix == ".sse" else "application/json"
    return scenarios.replay(path.read_bytes(), status=status, content_type=kind)


@pytest.fixture
async def bytes_of() -> AsyncIterator[Emulator]:
    async with Emulator(script=recorded) as emulator:
        yield emulator


async def ours(base_url: str, cases: list[str], seconds: float) -> dict[str, dict[str, Any]]:
    once, clocks = RetryPolicy(attempts=1), Timeouts(connect=seconds, first_content=seconds, idle=seconds, total=seconds)
    async with Client(base_url=base_url, api_key="sk-or-v1-interop", retry=once, timeouts=clocks) as client:
        read = await asyncio.gather(*(one(client, case) for case in cases))
    return dict(zip(cases, read, strict=True))


async def one(client: Client, case: str) -> dict[str, Any]:
    error = None
    try:
        message = await client.stream("hello", model=case.partition(":")[2]).final()
    except OrStreamError as raised:
        message, error = raised.partial or Message(), raised
    usage = message.usage
    return {
        "text": message.text,
        "reasoning": message.reasoning,
        "refusal": message.refusal,
        "images": [image.sha256 or image.url for image in message.images],
        "tool_calls": [[call.name, call.arguments] for call in message.tool_calls],
        "finish_reason": message.finish_reason,
        "usage": usage and {n: getattr(usage, n) for n in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")},
        "error": error,
    }


async def both(emulator: Emulator, cases: dict[str, str], seconds: float = 60) -> Pairs:
    """By name, what or_stream reads and what openai-python reads. Scenarios that take turns begin anew for the second."""
    mine = await ours(emulator.base_url, list(cases.values()), seconds)
    async with Emulator(script=recorded) as fresh:
        theirs = await asyncio.to_thread(ask, "openai_python", fresh.base_url, list(cases.values()), seconds)
    return {name: (mine[case], theirs.answers[case]) for name, case in cases.items()}


def differences(mine: dict[str, Any], theirs: dict[str, Any]) -> set[str]:
    different = {field for field in FIELDS if mine[field] != theirs[field]}
    return different | ({"error"} if bool(mine["error"]) != bool(theirs["error"]) else set())


def compare(read: Pairs) -> None:
    found = {name: differences(*pair) for name, pair in read.items()}
    expected = {name: DIFFERENT[name][0] if name in DIFFERENT else set() for name in read}
    assert {name: fields for name, fields in found.items() if fields != expected[name]} == {}
    raising = {name for name, (_, theirs) in read.items() if "error" in found[name] and theirs["error"]}
    assert raising <= THEIRS_RAISES


async def test_every_scenario_is_read_alike(bytes_of):
    """Text, images, tool calls, usage and the failure of each named answer, but for what is listed above."""
    read = await both(bytes_of, {name: f"stream:emulator/{name}" for name in NAMES if name not in ENDLESS})
    assert len(read) > 80
    compare(read)


async def test_what_never_ends_is_given_up_by_both(bytes_of):
    """With a limit on the whole answer both say that they ran out of time."""
    read = await both(bytes_of, {name: f"stream:emulator/{name}" for name in ENDLESS}, ENDLESS_SECONDS)
    assert {name for name, (mine, theirs) in read.items() if not (mine["error"] and theirs["error"])} == set()


@pytest.mark.skipif(not RECORDINGS, reason="the folder shared/captures is not beside this checkout")
async def test_every_recording_is_read_alike(bytes_of):
    """The same of each recorded answer of the service, streamed and whole, and of its refusals."""
    ways = {".sse": "stream", ".json": "whole"}
    cases = {path.name: f"{ways[path.suffix]}:openrouter/recording-{number}" for number, path in enumerate(RECORDINGS)}
    compare(await both(bytes_of, cases))


def test_each_difference_is_of_something():
    """The list names nothing that is gone."""
    known = {*NAMES, *(path.name for path in RECORDINGS)}
    assert {name for name in DIFFERENT if name not in known and (RECORDINGS or "__" not in name)} == set()
