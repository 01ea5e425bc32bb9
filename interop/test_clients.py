"""Clients of other makers against the emulator in its own process. What one of them does otherwise is named beside the claim."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from peers import PEERS, Report, ask, emulator_process

from or_stream.emulator import Emulator, FixedWindow, Scenario, scenarios

PAINTER, TALKER = "google/gemini-3.1-flash-image", "openai/gpt-4o"
SPECIMEN = hashlib.sha256(scenarios.specimen()).hexdigest()
CASES = (
    "stream:emulator/text",
    "stream:emulator/text-and-images",
    "stream:emulator/tool-call",
    "stream:emulator/reasoning-details",
    "stream:emulator/refusal",
    "stream:emulator/midstream-error",
    "stream:emulator/midstream-error-bare",
    "stream:emulator/refused-402",
    "stream:emulator/rate-limited",
    f"stream:{TALKER}",
    f"whole:{TALKER}",
    f"stream:{PAINTER}",
    f"whole:{PAINTER}",
    "retried:emulator/rate-limited-then-text",
)
HELPER = ("helper:emulator/text", "helper:emulator/text-and-images", "helper:emulator/tool-call")
MORE = {
    "openai_python": (*HELPER, "helper:emulator/image-index-missing"),
    "openai_node": HELPER,
    "litellm_client": tuple(case.replace("helper:", "built:") for case in HELPER),
}

# Fields that OpenRouter adds to OpenAI's, by the path at which openai-python keeps them without a type.
UNKNOWN_TO_OPENAI = {
    "provider",
    "choices.native_finish_reason",
    *(f"choices.{place}.{name}" for place in ("delta", "message") for name in ("images", "reasoning", "reasoning_details")),
    *(f"usage.{name}" for name in ("cost", "cost_details", "is_byok")),
    "usage.prompt_tokens_details.video_tokens",
    "usage.completion_tokens_details.image_tokens",
}
# Recorded from the service, and missing in its own SDK.
UNKNOWN_TO_OPENROUTER = {
    "provider",
    "choices.native_finish_reason",
    "choices.delta.images",
    "choices.message.images.type",
    "usage.completion_tokens_details.image_tokens",
}


@pytest.fixture(scope="module", params=PEERS)
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Report]:
    """What one client got, all cases asked in one run of it."""
    with emulator_process(tmp_path_factory.mktemp(request.param)) as base_url:
        yield ask(request.param, base_url, (*CASES, *MORE.get(request.param, ())))


def usage_of(scenario: Scenario) -> dict[str, Any]:
    """What the bytes of a scenario say was used."""
    *_, last = (json.loads(line[6:]) for line in scenario.body().splitlines() if line.startswith(b"data: {"))
    return {name: last["usage"][name] for name in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")}


def test_text(peer):
    """Every word, the finish, the tokens and the cost."""
    answer = peer.answers["stream:emulator/text"]
    assert (answer["text"], answer["finish_reason"], answer["error"]) == (scenarios.TEXT, "stop", None)
    assert answer["usage"] == usage_of(scenarios.text())


def test_an_assistant_says_the_same_streamed_and_whole(peer):
    """`stream: false` is answered in the shape that the client wants, with usage."""
    streamed, whole = peer.answers[f"stream:{TALKER}"], peer.answers[f"whole:{TALKER}"]
    assert streamed["error"] is whole["error"] is None
    assert whole["text"] == streamed["text"] != ""
    assert (whole["finish_reason"], whole["usage"]) == (streamed["finish_reason"], streamed["usage"])
    assert whole["usage"]["cost"] > 0


# Without an exception, and without the picture. None of the three has a place for it:
DROP_STREAMED_IMAGES = {
    "openrouter_sdk",  # ChatStreamDelta has no `images`
    "pydantic_ai_client",  # _OpenRouterChoiceDelta has none, and what maps a delta to parts reads none
    "langchain_client",  # stands on the SDK above
}
DROP_WHOLE_IMAGES = DROP_STREAMED_IMAGES - {"openrouter_sdk"}  # ChatAssistantMessage has `images`; the others do not read it


def test_a_streamed_image(peer):
    """The picture in a delta arrives byte for byte, or is dropped where the client has no place for it; the text arrives."""
    answer = peer.answers["stream:emulator/text-and-images"]
    assert answer["images"] == ([] if peer.name in DROP_STREAMED_IMAGES else [SPECIMEN])
    assert (answer["text"], answer["error"]) == ("Here you go: picture 1.", None)
    assert answer["usage"] == usage_of(scenarios.text_and_images())


def test_pictures_of_a_painter(peer):
    """Two pictures asked for with `modalities` come, streamed and whole, beside the text."""
    streamed, whole = peer.answers[f"stream:{PAINTER}"], peer.answers[f"whole:{PAINTER}"]
    assert streamed["error"] is whole["error"] is None
    assert len(set(streamed["images"])) == (0 if peer.name in DROP_STREAMED_IMAGES else 2)
    assert len(set(whole["images"])) == (0 if peer.name in DROP_WHOLE_IMAGES else 2)
    assert streamed["images"] == whole["images"] or not streamed["images"]
    assert streamed["text"].split() == whole["text"].split() != []


def test_a_tool_call(peer):
    """The arguments, which come in pieces, are whole; the text before them is there."""
    answer = peer.answers["stream:emulator/tool-call"]
    assert [(name, json.loads(arguments)) for name, arguments in answer["tool_calls"]] == [
        ("light_lamp", {"color": "red", "seconds": 3})
    ]
    assert (answer["text"], answer["error"]) == ("I light it.", None)
    assert answer["finish_reason"] in ("tool_calls", "tool-calls", "tool_call")  # as each spells it


def test_reasoning(peer):
    """`reasoning` beside `reasoning_details` is read once, not twice."""
    answer = peer.answers["stream:emulator/reasoning-details"]
    assert (answer["reasoning"], answer["text"], answer["error"]) == ("A lamp at night.", scenarios.TEXT, None)


# What comes of the four fragments of a refusal where it is not the whole of it:
REFUSALS = {
    "litellm_client": "I'm",  # its `is_chunk_non_empty` knows no `refusal`, so that all chunks but the first are left out
    "langchain_client": "",  # the word is nowhere in langchain_openrouter
    "ai_sdk": "",  # nor in @openrouter/ai-sdk-provider
}


def test_a_refusal(peer):
    """What the model will not do is said in `refusal`, and is no error."""
    answer = peer.answers["stream:emulator/refusal"]
    assert (answer["refusal"], answer["error"]) == (REFUSALS.get(peer.name, "I'm sorry, no."), None)


# Whose exception it is, None where it is none:
INSIDE = {
    "openai_python": "APIError",
    "openrouter_sdk": "chunk.error",  # no exception: a caller must look at each chunk
    "litellm_client": "MidStreamFallbackError",
    "pydantic_ai_client": "ModelServerError",
    "langchain_client": None,  # an ordinary end with finish_reason "error": it reads `error` only where there are no choices
    "openai_node": "APIError",
    "ai_sdk": "AI_StreamProviderError",  # in a part `error`
}


def test_an_error_inside_the_stream(peer):
    """The documented form reaches the caller with its message, after the text that came before it."""
    answer = peer.answers["stream:emulator/midstream-error"]
    assert answer["text"] == scenarios.TEXT
    assert (answer["error"] or {}).get("type") == INSIDE[peer.name]
    if INSIDE[peer.name] is None:
        assert answer["finish_reason"] == "error"
    else:
        assert "Provider disconnected" in answer["error"]["message"]


def test_an_error_alone_in_its_chunk(peer):
    """`{"error": ...}` without choices reaches the caller; the SDK refuses it as no chunk, and with it who stands on the SDK."""
    error = peer.answers["stream:emulator/midstream-error-bare"]["error"]
    if peer.name in ("openrouter_sdk", "langchain_client"):
        # Their ChatStreamChunk requires id, created, model, object and choices, which the recorded event has not.
        assert error["type"] == "ResponseValidationError"
    else:
        assert error["type"] == INSIDE[peer.name]
        assert "Upstream error from Venice" in error["message"]


def test_no_credit(peer):
    """402 before the stream, with the service's words."""
    error = peer.answers["stream:emulator/refused-402"]["error"]
    assert error["status"] == 402
    assert "requires more credits" in error["message"]


RAISE_429 = {"openrouter_sdk", "langchain_client"}  # the SDK's retries are for "5XX" alone, and langchain stands on it


def test_a_rate_limit(peer):
    """429 with its Retry-After, where the exception shows headers."""
    error = peer.answers["stream:emulator/rate-limited"]["error"]
    assert error["status"] == 429
    assert error["retry_after"] == (None if peer.name == "litellm_client" else "1")  # litellm makes a response of its own


def test_a_rate_limit_is_got_over(peer):
    """With its own retries on, a client asks again and has its answer."""
    answer = peer.answers["retried:emulator/rate-limited-then-text"]
    if peer.name in RAISE_429:
        assert answer["error"]["status"] == 429
    else:
        assert (answer["text"], answer["error"]) == (scenarios.TEXT, None)


# litellm asks again at once, and then by a clock of its own.
@pytest.mark.parametrize("name", [name for name in PEERS if name != "litellm_client"])
async def test_a_real_window(name):
    """Six requests where three are taken in two seconds: who is refused comes back when it was told to, or says so."""
    async with Emulator(rate_limit=FixedWindow(requests=3, seconds=2)) as emulator:
        cases = [f"retried:openai/lamp-{number}" for number in range(6)]
        answers = (await asyncio.to_thread(ask, name, emulator.base_url, cases)).answers.values()
        raised = [answer["error"]["status"] for answer in answers if answer["error"]]
        assert raised == ([429] * emulator.refused if name in RAISE_429 else [])
        assert emulator.refused > 0
        assert emulator.early == 0


def test_their_types_accept_every_field(peer):
    """Nothing is rejected or warned of, and what has no type with them is what they lack."""
    assert peer.warnings == []
    assert told(peer, "rejected") == set()
    assert told(peer, "unknown") <= {"openai_python": UNKNOWN_TO_OPENAI, "openrouter_sdk": UNKNOWN_TO_OPENROUTER}.get(
        peer.name, set()
    )


def told(peer: Report, field: str) -> set[str]:
    """What all answers say in `rejected` or `unknown`; the clients in JavaScript say none."""
    return {entry for answer in peer.answers.values() for entry in answer.get(field, ())}


@pytest.mark.parametrize("peer", MORE, indirect=True)
def test_what_is_put_together(peer):
    """The final message of the `.stream()` helpers, and of litellm's builder, has the text, the picture and the call."""
    text, image, call = (answer for case, answer in peer.answers.items() if case in MORE[peer.name][:3])
    assert (text["text"], text["error"]) == (scenarios.TEXT, None)
    assert (image["text"], image["images"], image["error"]) == ("Here you go: picture 1.", [SPECIMEN], None)
    assert (call["text"], call["error"]) == ("I light it.", None)
    assert [json.loads(arguments) for _, arguments in call["tool_calls"]] == [{"color": "red", "seconds": 3}]


@pytest.mark.parametrize("peer", ["openai_python"], indirect=True)
def test_images_without_an_index_are_more_than_the_helper_takes(peer):
    """Two pictures in the form since 2026-03: openai-python's accumulator wants an `index` on each entry of a list."""
    error = peer.answers["helper:emulator/image-index-missing"]["error"]
    assert error["type"] == "RuntimeError"
    assert "to have an `index` key" in error["message"]
