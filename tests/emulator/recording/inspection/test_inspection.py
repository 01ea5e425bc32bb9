"""An answer explained: every scenario, every recording there is, damaged bytes, and bytes that are nothing."""

import base64
import json
import random
import tracemalloc
from pathlib import Path

import pytest

from or_stream.emulator import Scenario, picture, scenarios
from or_stream.emulator.recording.inspection import Explained, Inspection
from or_stream.events import ImagePreview
from or_stream.protocol import API
from support.feeding import cut
from support.pipelines import outcome_of

CAPTURES = Path(__file__).parents[4].parent / "shared" / "captures"
RECORDED = sorted(path for path in CAPTURES.glob("*__*")) if CAPTURES.is_dir() else []
ENDLESS_OR_HUGE = {"event-too-large"}
NAMES = [name for name in scenarios.names() if name not in ENDLESS_OR_HUGE]


def explained(data: bytes, **options) -> tuple[list[Explained], dict]:
    inspection = Inspection(**options)
    rows = inspection.feed(data) + inspection.finish()
    return rows, inspection.summary()


def of(scenario: Scenario) -> tuple[list[Explained], dict]:
    return explained(scenario.body(), content_type=scenario.content_type, status=scenario.status)


def test_ordinary_answer():
    """Each event is a row at its place, with what the library makes of it."""
    body = scenarios.text("A lamp", heartbeats=1).body()
    rows, summary = explained(body)
    assert ["comment", "chunk", "chunk", "chunk", "chunk", "done"] == [row.kind for row in rows]
    assert "OPENROUTER PROCESSING" == rows[0].shown
    assert ["TextDelta ' lamp'"] == rows[2].events
    assert ["StreamEnd stop"] == rows[-1].events
    for row, after in zip(rows, [*rows[1:], None], strict=True):
        assert row.offset + row.length == (after.offset if after else len(body))
    assert ("stream", "complete", "A lamp") == (summary["what"], summary["conclusion"], summary["text"])
    assert {} == summary["oddities"]


def test_pictures():
    """A picture has its type, its size and its digest, and its base64 is not shown."""
    rows, summary = of(scenarios.text_and_images(1, 50_000))
    (image,) = summary["images"]
    assert ("image/png", 50_000) == (image["media_type"], image["bytes"])
    assert image["width"]
    assert all(len(row.shown) <= 1000 for row in rows)
    assert any("more]" in row.shown for row in rows)


@pytest.mark.parametrize(
    ("name", "oddity"),
    [
        ("finish-missing-done", "missing [DONE]"),
        ("crlf", "CR at the end of lines"),
        ("crlf", "byte order mark"),
        ("no-space", "no space behind data:"),
        ("unterminated", "no blank line at the end"),
        ("trailing-bytes", "after [DONE]"),
        ("malformed-json", "not JSON"),
        ("image-repeated", "duplicate image"),
        ("image-misnamed", "image of another type than it says"),
        ("image-slashes-escaped", "slashes escaped"),
        ("error-as-json", "error under HTTP 200"),
        ("json-answer", "white space in front"),
    ],
)
def test_oddity(name: str, oddity: str):
    """What is odd about the stream as a whole is named."""
    assert oddity in of(scenarios.by_name(name)[0])[1]["oddities"]


@pytest.mark.parametrize("name", NAMES)
def test_conclusion(name: str):
    """What it comes to is what the library comes to: the same text, the same pictures, the same failure."""
    scenario = scenarios.by_name(name)[0]
    if scenario.status != 200 or scenario.content_type not in ("text/event-stream", "application/json") or "api" in name:
        return
    framing = "json" if scenario.content_type == "application/json" else "sse"
    outcome = outcome_of([scenario.body()], framing=framing)
    _, summary = of(scenario)
    said = "complete" if outcome.failure is None else type(outcome.failure).__name__
    assert summary["conclusion"].startswith(said)
    assert summary["text"] == outcome.message.text
    assert [image["sha256"] for image in summary["images"]] == [image.sha256 for image in outcome.message.images]


@pytest.mark.parametrize("name", [name for name in scenarios.names("images") if name.startswith("image-api-")])
@pytest.mark.parametrize("api", [None, "images"])
def test_answers_of_the_image_api(name: str, api: API | None):
    """They are known by their bytes as by their path; previews are told, and it comes to what the library comes to."""
    scenario = scenarios.by_name(name)[0]
    if api is None and name == "image-api-empty":
        return  # a document without a picture could be anything
    framing = "json" if scenario.content_type == "application/json" else "sse"
    outcome = outcome_of([scenario.body()], api="images", framing=framing)
    rows, summary = explained(scenario.body(), content_type=scenario.content_type, status=200, api=api)
    said = "complete" if outcome.failure is None else type(outcome.failure).__name__
    assert summary["conclusion"].startswith(said)
    assert [image["sha256"] for image in summary["images"]] == [image.sha256 for image in outcome.message.images]
    told = [line for row in rows for line in row.events if line.startswith("ImagePreview")]
    assert len(told) == sum(isinstance(event, ImagePreview) for event in outcome.events)


@pytest.mark.parametrize("name", [name for name in scenarios.names() if name.startswith("refused-")])
def test_refusal(name: str):
    """A refusal is the exception that the client would raise."""
    _, summary = of(scenarios.by_name(name)[0])
    assert f"HTTP {name.removeprefix('refused-')}: " in summary["conclusion"]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_recorded_traffic(path: Path):
    """Every recording can be explained, each byte of it in one row, and by its bytes alone it is known for what it is."""
    data = path.read_bytes()
    rows, summary = explained(data)
    assert summary["what"] == ("stream" if path.suffix == ".sse" else "answer")
    assert len(data) == sum({row.offset: row.length for row in rows}.values())
    assert not {"not JSON", "no SSE"} & summary["kinds"].keys()


@pytest.mark.parametrize("name", ["text-and-images", "tool-calls-parallel", "crlf", "json-answer", "error-html"])
def test_cuts_change_nothing(name: str):
    """However the bytes come, the same is said of them; only how many pieces a picture came in may differ."""
    data = scenarios.by_name(name)[0].body()
    whole, summary = explained(data)
    dice = random.Random(name)
    for _ in range(20):
        inspection = Inspection()
        places = sorted(dice.randrange(len(data)) for _ in range(9))
        rows = [row for piece in cut(data, places) for row in inspection.feed(piece)] + inspection.finish()
        assert summary == inspection.summary()
        assert [(row.offset, row.kind, row.shown, row.oddities) for row in whole] == [
            (row.offset, row.kind, row.shown, row.oddities) for row in rows
        ]


@pytest.mark.parametrize("seed", range(30))
def test_damaged(seed: int):
    """Damage is explained, not raised."""
    dice = random.Random(seed)
    data = bytearray(scenarios.by_name(dice.choice(["text-and-images", "reasoning-details", "json-answer"]))[0].body())
    for _ in range(dice.randrange(1, 20)):
        at = dice.randrange(len(data))
        data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(4))
    rows, summary = explained(bytes(data[: dice.randrange(len(data))]))
    assert json.dumps([summary, [row.shown for row in rows]])


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"\x89PNG\r\n\x1a\n" * 1000, b"<!doctype html>\n<title>x</title>", b"\x1f\x8b\x08rest", b"{", b"hello\n"]
)
def test_no_stream(data: bytes):
    """What is neither events nor JSON is called that, and takes no more than a row."""
    rows, summary = explained(data)
    assert len(rows) <= 1
    assert "complete" != summary["conclusion"]


def test_content_type_is_believed_where_bytes_say_nothing():
    """A stream that begins with nonsense is one if it calls itself one."""
    rows, _ = explained(b"nonsense\n\ndata: [DONE]\n\n", content_type="text/event-stream; charset=utf-8")
    assert ["no SSE", "done"] == [row.kind for row in rows]


@pytest.mark.parametrize(
    ("ended", "conclusion"),
    [
        ("complete", "StreamTruncated: the stream ended"),
        ("cut", "StreamTruncated: the server closed"),
        ("left", "StreamTruncated: the client"),
    ],
)
def test_end_of_the_connection(ended: str, conclusion: str):
    """How a recording ended is in what it comes to."""
    inspection = Inspection()
    inspection.feed(scenarios.end_without_finish().body())
    inspection.finish(ended)
    assert inspection.summary()["conclusion"].startswith(conclusion)


def test_times():
    """An event has the time of the piece that ended it, and the first content its own."""
    inspection = Inspection()
    first, rest = cut(scenarios.text("A lamp", heartbeats=1).body(), [30])
    rows = inspection.feed(first, 0.5) + inspection.feed(rest, 1.5) + inspection.finish()
    assert [0.5, 1.5] == [row.seconds for row in rows][:2]
    assert 1.5 == inspection.summary()["first_content_seconds"]


def test_no_secret_is_shown():
    """A key in a capture is not put on the screen."""
    key = "sk-or-v1-0123456789abcdef0123456789abcdef"
    rows, summary = of(scenarios.text(f"Your key is {key}."))
    assert key not in json.dumps([summary, [row.shown + str(row.events) for row in rows]])


def test_memory_is_bounded():
    """A picture of any size is explained in a few megabytes."""
    piece = base64.b64encode(picture("x", 8, 8, 2**20))[: 2**20]
    head = b'data: {"choices":[{"index":0,"delta":{"images":[{"image_url":{"url":"data:image/png;base64,'
    inspection = Inspection()
    tracemalloc.start()
    try:
        inspection.feed(head)
        for _ in range(48):
            inspection.feed(piece)
        inspection.feed(b'"}}]}}]}\n\n')
        inspection.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 48 * 2**20 * 3 // 4 == inspection.summary()["images"][0]["bytes"]
    assert peak < 16 * 2**20
