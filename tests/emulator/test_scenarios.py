"""Each named answer does what its name says, judged from its bytes."""

import base64
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from or_stream.emulator import Scenario, scenarios

ENDLESS = {"heartbeats-for-ever", "empty-deltas-for-ever", "text-for-ever", "silence", "no-headers"}
SLOW = {"slow-headers"}
BROKEN = {"closed", "closed-after-finish", "closed-before-headers", "connection-reset", "reset-before-headers"}
LARGE = {"event-too-large"}


def payloads(scenario: Scenario) -> list[dict]:
    """The JSON of every event, read as leniently as the scenario needs."""
    lines = scenario.body().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]


def choices(scenario: Scenario) -> list[dict]:
    return [choice for payload in payloads(scenario) for choice in payload.get("choices") or []]


def finishes(scenario: Scenario) -> list[str]:
    return [choice["finish_reason"] for choice in choices(scenario) if choice.get("finish_reason")]


def image_bytes(scenario: Scenario) -> list[bytes]:
    entries = [entry for choice in choices(scenario) for entry in (choice.get("delta") or {}).get("images") or []]
    entries += [entry for choice in choices(scenario) for entry in choice.get("message", {}).get("images", [])]
    return [base64.b64decode(entry["image_url"]["url"].split(",")[1]) for entry in entries]


def fragments(scenario: Scenario) -> list[dict]:
    return [entry for choice in choices(scenario) for entry in (choice["delta"]).get("tool_calls", [])]


@pytest.mark.parametrize("name", sorted(set(scenarios.names()) - ENDLESS - SLOW - BROKEN - LARGE))
async def test_every_name_can_be_asked_for_as_a_model(emulator, chat, name):
    """The answer over HTTP is the scenario's own: its status, its type, and as many bytes as it has."""
    expected = scenarios.by_name(name)[0]
    async with chat.post(model=f"emulator/{name}") as response:
        assert response.status == expected.status
        assert response.headers["Content-Type"] == expected.content_type
        assert (await response.read()).count(b"\n") == expected.body().count(b"\n")
    assert emulator.requests[0].scenario == name


RECORDED = Path(__file__).parents[2].parent / "shared" / "captures"
OF_TODAY = "ruby_llm__chat_streaming_responses_openrouter_claude-haiku-4-5_supports_streaming_responses_0.sse"


def shape(value: Any) -> Any:
    """Keys in their order, without the values."""
    if isinstance(value, dict):
        return [(key, shape(inner)) for key, inner in value.items()]
    return [shape(inner) for inner in value] if isinstance(value, list) else None


@pytest.mark.skipif(not (RECORDED / OF_TODAY).exists(), reason="the recorded traffic is not beside the checkout")
def test_an_answer_of_today_has_the_shape_of_a_recorded_one():
    """The first chunk, the finish and the usage chunk have the same keys in the same order, all the way down."""
    recorded = payloads(scenarios.replay((RECORDED / OF_TODAY).read_bytes()))
    emulated = payloads(scenarios.text())
    assert [shape(emulated[at]) for at in (0, -2, -1)] == [shape(recorded[at]) for at in (0, -2, -1)]


def test_every_function_of_the_door_has_a_name():
    """The registry leaves out only what needs arguments or is no answer."""
    for name in scenarios.names():
        assert all(isinstance(scenario, Scenario) for scenario in scenarios.by_name(name) if name not in LARGE)
    assert {f"refused-{status}" for status in scenarios.REFUSALS} < set(scenarios.names())


def test_an_unknown_name_is_an_error():
    """It says which names are near."""
    with pytest.raises(ValueError, match="perhaps 'text'"):
        scenarios.by_name("txt")


@pytest.mark.parametrize("status", scenarios.REFUSALS)
def test_refusals_are_json_with_their_own_code(status):
    """Also to a streaming request, as in 78 of 78 recordings."""
    scenario = scenarios.refused(status)
    assert (scenario.status, scenario.content_type) == (status, "application/json")
    assert json.loads(scenario.body())["error"]["code"] == status


@pytest.mark.parametrize(
    ("scenario", "keys", "finish"),
    [
        (scenarios.usage_2024_11(), {"prompt_tokens", "completion_tokens", "total_tokens"}, [None]),
        (scenarios.usage_2025(), None, [None]),
        (scenarios.usage_2026_03(), None, []),
        (scenarios.text(), None, ["stop"]),
    ],
    ids=["2024-11", "2025", "2026-03", "now"],
)
def test_usage_has_the_shape_of_its_era(scenario, keys, finish):
    """Usage is on the last chunk, whose choice has a null finish, is missing, or repeats the finish."""
    last = payloads(scenario)[-1]
    assert [choice["finish_reason"] for choice in last["choices"]] == finish
    assert keys is None or set(last["usage"]) == keys


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        (scenarios.finish_conflicting(), ["tool_calls", "stop", "stop"]),
        (scenarios.finish_three_times(), ["tool_calls"] * 4),
        (scenarios.finish_unnormalized(), ["end_turn", "end_turn"]),
        (scenarios.midstream_error_on_usage(), ["length", "length"]),
        (scenarios.empty_completion(), []),
        (scenarios.end_without_finish(), []),
    ],
)
def test_finishes(scenario, expected):
    """Repeated, conflicting, foreign, or none at all."""
    assert finishes(scenario) == expected


def test_fifteen_calls_share_one_index():
    """All with index 0, all with an id of their own."""
    calls = fragments(scenarios.tool_calls_same_index())
    assert {call["index"] for call in calls} == {0}
    assert len({call["id"] for call in calls}) == 15
    assert [json.loads(call["function"]["arguments"])["number"] for call in calls] == list(range(15))


@pytest.mark.parametrize("name", [name for name in scenarios.names() if name.startswith("tool-call-")])
def test_a_call_in_pieces_adds_up(name):
    """Joined, the arguments are JSON, or nothing, or cut on purpose."""
    (scenario,) = scenarios.by_name(name)
    arguments = "".join(entry["function"].get("arguments") or "" for entry in fragments(scenario))
    if name == "tool-call-truncated":
        with pytest.raises(ValueError, match="Unterminated"):
            json.loads(arguments)
        assert choices(scenario)[-1]["native_finish_reason"] == "max_output_tokens"
    else:
        assert arguments == "" if name == "tool-call-parameterless" else json.loads(arguments) == {"color": "red"}


def test_two_calls_in_one_delta():
    """One delta, two entries."""
    assert max(len(choice["delta"].get("tool_calls", [])) for choice in choices(scenarios.tool_calls_in_one_delta())) == 2


@pytest.mark.parametrize("name", [name for name in scenarios.names() if name.startswith("reasoning-")])
def test_reasoning_is_told_twice_or_once_but_never_differently(name):
    """Where both are present, `reasoning` and the details say the same."""
    (scenario,) = scenarios.by_name(name)
    for choice in choices(scenario):
        details = choice["delta"].get("reasoning_details") or []
        told = "".join(detail.get("text", detail.get("summary", "")) for detail in details)
        assert not told or told == choice["delta"]["reasoning"]


@pytest.mark.parametrize(
    ("scenario", "count", "different"),
    [
        (scenarios.text_and_images(3), 3, 3),
        (scenarios.image_with_finish(), 1, 1),
        (scenarios.image_in_message(), 1, 1),
        (scenarios.images_in_one_delta(), 2, 2),
        (scenarios.image_repeated(), 2, 1),
        (scenarios.image_repeated_in_message(), 2, 1),
        (scenarios.image_twins(), 2, 2),
        (scenarios.image_index_repeated(), 2, 2),
        (scenarios.image_slashes_escaped(), 1, 1),
        (scenarios.image_misnamed(), 1, 1),
        (scenarios.image_formats(), 4, 4),
    ],
)
def test_images_are_whole_and_as_many_as_said(scenario, count, different):
    """Another decoder reads each of them; repeats are repeats."""
    images = image_bytes(scenario)
    assert len(images) == count
    assert len({hashlib.sha256(image).digest() for image in images}) == different
    for image in images:
        Image.open(io.BytesIO(image)).load()


def test_an_image_of_two_megabytes_is_one_line():
    """A size that breaks every line reader."""
    assert max(map(len, scenarios.text_and_images(1, 2 * 2**20).body().split(b"\n"))) > 2.6 * 2**20


def test_a_misnamed_image_is_a_jpeg():
    """Called PNG, and none."""
    assert image_bytes(scenarios.image_misnamed())[0][:3] == b"\xff\xd8\xff"


def test_base64_without_padding_needs_it():
    """Its length is no multiple of four."""
    entry = choices(scenarios.image_unpadded())[0]["delta"]["images"][0]
    assert len(entry["image_url"]["url"].split(",")[1]) % 4


def test_audio_fragments_decode_only_when_joined():
    """Each is cut anywhere; together they are sixteen bytes."""
    data = [choice["delta"]["audio"]["data"] for choice in choices(scenarios.audio()) if "audio" in choice["delta"]]
    assert base64.b64decode("".join(data)) == bytes(range(16))
    assert any(len(part) % 4 for part in data)


@pytest.mark.parametrize("name", [name for name in scenarios.names() if name.startswith("midstream-error")])
def test_errors_in_a_stream_are_where_they_are_said_to_be(name):
    """Every shape has its error at the top, in a choice, or only in a finish or native reason."""
    (scenario,) = scenarios.by_name(name)
    found = [payload["error"] for payload in payloads(scenario) if "error" in payload]
    found += [choice["error"] for choice in choices(scenario) if "error" in choice]
    if name == "midstream-error-finish-only":
        assert finishes(scenario)[-1] == "error"
    elif name == "midstream-error-masked":
        assert choices(scenario)[-1]["native_finish_reason"] == "network_error"
    else:
        assert [error["code"] for error in found] in ([502], [400])


def test_a_rate_limit_says_when_in_each_of_its_places():
    """In the header, in the body's metadata, in `availability`, or nowhere."""
    assert scenarios.rate_limited(7).headers == {"Retry-After": "7"}
    in_body, available = (scenarios.rate_limited(7, where=where) for where in ("body", "availability"))
    assert json.loads(in_body.body())["error"]["metadata"]["retry_after_seconds"] == 7
    assert json.loads(available.body())["error"]["availability"]["retry_after"] == 7
    assert not in_body.headers
    assert not scenarios.rate_limited(None).headers


async def test_refused_first_then_answered(emulator, chat):
    """A name that stands for two answers gives them in turn."""
    statuses = []
    for _ in range(3):
        async with chat.post(model="emulator/rate-limited-then-text") as response:
            statuses.append(response.status)
    assert statuses == [429, 200, 429]


def test_an_event_can_be_larger_than_any_limit():
    """Its length is what was asked for, in one line."""
    assert max(map(len, scenarios.event_too_large(3 * 2**20).body().split(b"\n"))) > 3 * 2**20


def test_proxies_are_imitated():
    """CRLF and a byte order mark, no space, no last blank line."""
    assert scenarios.crlf().body().startswith(b"\xef\xbb\xbf: OPENROUTER PROCESSING\r\n\r\n")
    assert b"data: " not in scenarios.no_space().body()
    assert scenarios.unterminated().body().endswith(b"data: [DONE]")
