"""Answers of the Image API as bytes, and what becomes of them: in one piece, in two cut anywhere, and byte by byte."""

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from or_stream.errors import NotFound, ProtocolViolation, StreamFailed, StreamTruncated
from or_stream.events import ImageEnd, ImagePreview, ReasoningDelta, StreamStart
from or_stream.protocol import Limits, Pipeline
from support.pipelines import DONE, Outcome, data_line, outcome_of, said, same_outcome

GIF = b"GIF89a\x01\x00\x02\x00\x00\x00\x00" + b"\xff" * 60
OTHER = b"GIF89a\x03\x00\x04\x00\x00\x00\x00" + b"\xfe" * 61
GIF64, OTHER64 = (base64.b64encode(data).decode() for data in (GIF, OTHER))
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><circle r="4"/></svg>'
USAGE = {"prompt_tokens": 5, "completion_tokens": 1537, "total_tokens": 1542, "cost": 0.03}
IMAGE = ["image_start", "image_delta", "image_end"]
RECORDED = Path(__file__).parents[2].parent / "shared" / "captures"


def preview(b64: Any = OTHER64) -> bytes:
    return data_line({"type": "image_generation.partial_image", "partial_image_index": 0, "b64_json": b64})


def completed(b64: Any = GIF64, **fields: Any) -> bytes:
    return data_line({"type": "image_generation.completed", "b64_json": b64, "created": 1748372400, **fields})


def text_chunk(text: str, phase: str = "content") -> bytes:
    return data_line({"type": "image_generation.text_chunk", "phase": phase, "text": text})


def read(*lines: bytes, done: bool = True, **options: Any) -> Outcome:
    """The outcome of a stream of these events, in every way to cut it."""
    return same_outcome(b"".join(lines) + (DONE if done else b""), api="images", **options)


def read_document(document: Any, indent: int | None = None, **options: Any) -> Outcome:
    """The outcome of an answer in one piece, in every way to cut it."""
    return same_outcome(json.dumps(document, indent=indent).encode(), api="images", framing="json", **options)


def test_stream_of_one_picture():
    """Previews come whole and once each, the picture while it arrives, then usage and the end."""
    outcome = read(preview(), preview(), completed(media_type="image/gif", usage=USAGE))
    assert said(outcome) == ["image_preview", "image_preview", *IMAGE, "usage_update"]
    assert [event.image.data for event in outcome.events if isinstance(event, ImagePreview)] == [OTHER, OTHER]
    assert outcome.message.images[0].data == GIF
    assert outcome.message.usage is not None
    assert (outcome.message.usage.cost, outcome.message.created, outcome.message.finish_reason) == (0.03, 1748372400, "stop")


def test_preview_names_the_picture_to_come():
    """The index of a preview is that of the picture which replaces it."""
    outcome = read(preview(), completed(), preview(), completed(OTHER64), images_wanted=2)
    previews = [event.index for event in outcome.events if isinstance(event, ImagePreview)]
    assert previews == [event.index for event in outcome.events if isinstance(event, ImageEnd)] == [0, 1]


@pytest.mark.parametrize("kind", ["partial_image", "completed"])
def test_type_behind_the_data(kind: str):
    """An event that says what it is only behind its data is what it says."""
    outcome = read(b'data: {"b64_json":"%b","type":"image_generation.%b"}\n\n' % (OTHER64.encode(), kind.encode()), completed())
    assert said(outcome) == [*(["image_preview"] if kind == "partial_image" else IMAGE), *IMAGE]


def test_event_inside_data():
    """An event inside `data`, as the published schema has it, is the event."""
    inner = {"type": "image_generation.completed", "b64_json": GIF64, "usage": USAGE}
    assert said(read(data_line({"data": inner}))) == [*IMAGE, "usage_update"]


def test_unknown_event():
    """An event of no known type is passed over, what it says is kept, and a picture in it is taken for a preview."""
    outcome = read(data_line({"type": "image_generation.weather", "weather": "fog", "b64_json": OTHER64}), completed())
    assert said(outcome) == ["image_preview", *IMAGE]
    assert outcome.message.extra == {"weather": "fog"}


@pytest.mark.parametrize("nothing", [None, "", 7, [], {}])
def test_preview_without_data(nothing: Any):
    """A preview that has no picture is none."""
    assert said(read(preview(nothing), completed())) == IMAGE


def test_escaped_slashes():
    """Base64 with escaped slashes is base64."""
    data = b"GIF89a" + b"\xff" * 90
    escaped = base64.b64encode(data).replace(b"/", b"\\/")
    outcome = read(b'data: {"type":"image_generation.completed","b64_json" : "%b"}\n\n' % escaped)
    assert outcome.message.images[0].data == data


def test_answer_in_one_piece():
    """A document is decoded like a stream: the pictures while they arrive, however it is laid out."""
    document = {"created": 0, "data": [{"b64_json": GIF64, "media_type": "image/gif"}, {"b64_json": OTHER64}], "usage": USAGE}
    for indent in (None, 2):
        outcome = read_document(document, indent, generation_id="gen-img-1", model="a/b", provider="Google")
        assert said(outcome) == [*IMAGE, *IMAGE, "usage_update"]
        assert outcome.events[0] == StreamStart("gen-img-1", "a/b", "Google")
        assert [image.data for image in outcome.message.images] == [GIF, OTHER]
        assert (outcome.message.id, outcome.message.model, outcome.message.created) == ("gen-img-1", "a/b", None)


def test_picture_comes_before_the_end_of_the_document():
    """A picture is handed out when its data is here, though usage and the end of the document are not."""
    data = json.dumps({"created": 0, "data": [{"b64_json": GIF64}], "usage": USAGE}).encode()
    pipeline = Pipeline(api="images", framing="json")
    events = pipeline.feed(data[: data.index(b'"usage"')])
    assert [event.type for event in events] == ["stream_start", *IMAGE]


def test_repeat():
    """A picture that comes twice is delivered once."""
    document = {"data": [{"b64_json": GIF64}, {"b64_json": GIF64}]}
    assert said(read_document(document)) == [*IMAGE, "image_start", "image_delta", "image_discard"]


def test_no_picture():
    """An answer without a picture is an answer."""
    assert read_document({"created": 0, "data": []}).message.images == []


def test_picture_as_an_address():
    """A picture that comes as an address has it."""
    outcome = read_document({"data": [{"url": "https://example.com/a.png"}, {"b64_json": GIF64}]})
    assert [image.url for image in outcome.message.images] == ["https://example.com/a.png", None]


def test_picture_as_a_data_url():
    """A data URL where an address is expected is the picture itself."""
    outcome = read_document(
        {"data": [{"url": f"data:image/gif;base64,{GIF64}"}, {"url": "data:text/plain,no"}, {"url": "data:"}]}
    )
    assert said(outcome) == IMAGE
    assert outcome.message.images[0].data == GIF


def test_completed_by_another_name():
    """What says that it is completed is no preview, whatever made it: gateways have `image_edit.completed`."""
    assert said(read(data_line({"type": "image_edit.completed", "b64_json": GIF64}))) == IMAGE


def test_svg():
    """The markup is text, thoughts and drafts are reasoning, and the picture comes once."""
    pieces = [text_chunk(SVG[:20]), text_chunk(SVG[20:])]
    done = completed(base64.b64encode(SVG.encode()).decode(), media_type="image/svg+xml")
    outcome = read(text_chunk("A lamp.", "reasoning"), text_chunk("<svg>", "draft"), *pieces, done)
    assert (outcome.message.text, outcome.message.reasoning) == (SVG, "A lamp.<svg>")
    assert [(image.media_type, image.data.decode()) for image in outcome.message.images] == [("image/svg+xml", SVG)]
    assert ReasoningDelta("<svg>") in outcome.events
    assert said(outcome).count("image_start") == 1


def test_svg_without_a_picture():
    """Markup that nobody sends as a picture is the picture."""
    outcome = read(text_chunk(SVG[:20]), text_chunk(SVG[20:]))
    assert [image.data.decode() for image in outcome.message.images] == [SVG]
    assert read(text_chunk("I cannot draw that.")).message.images == []


@pytest.mark.parametrize("wanted", [1, 2])
def test_end_without_done(wanted: int):
    """With as many pictures as were asked for the end is one; with fewer only [DONE] makes it one, since fewer may be made."""
    outcome = read(completed(), done=False, images_wanted=wanted)
    assert isinstance(outcome.failure, StreamTruncated) == (wanted == 2)
    assert read(completed(), images_wanted=wanted).failure is None
    assert len(outcome.message.images) == 1


def test_broken_connection_after_the_picture():
    """A break of the connection after the picture does not undo it; one after a preview is a failure."""
    for line, honest in ((completed(), True), (preview(), False)):
        pipeline = Pipeline(api="images")
        pipeline.feed(line)
        pipeline.close(StreamTruncated("the connection broke"))
        assert (pipeline.failure is None) == honest


def test_error():
    """An error after a preview, its code a word, is a failure of the stream; alone in a document it is a refusal."""
    error = {"message": "The upstream provider failed", "code": "server_error", "type": "provider_error", "param": None}
    failure = read(preview(), data_line({"type": "error", "error": error})).failure
    assert isinstance(failure, StreamFailed)
    assert (failure.code, failure.error_type) == ("server_error", "provider_error")
    for rest in ({}, {"data": {}}, {"data": []}):
        assert isinstance(read_document({"error": {"message": "no such model", "code": 404}, **rest}).failure, NotFound)


@pytest.mark.parametrize("document", [{}, {"data": None}, {"choices": []}, [], "x", {"data": {}}])
def test_no_answer(document: Any):
    """A document that is neither an answer nor an error is a violation."""
    assert isinstance(read_document(document).failure, ProtocolViolation)


@pytest.mark.parametrize(
    "document", [{"data": [None, 7, {}, {"b64_json": None}, {"b64_json": GIF64}], "usage": 7, "created": "x"}]
)
def test_fields_of_other_types(document: Any):
    """What is of another type than documented is passed over, and the picture is not lost."""
    assert [image.data for image in read_document(document).message.images] == [GIF]


@pytest.mark.parametrize("kind", ["partial_image", "completed"])
def test_far_behind_the_beginning(kind: str):
    """A picture behind more than is looked through is read all the same, only late."""
    event = {"type": f"image_generation.{kind}", "note": "x" * 1_100_000, "b64_json": OTHER64}
    outcome = outcome_of([data_line(event), completed(), DONE], api="images")
    assert said(outcome) == [*(["image_preview"] if kind == "partial_image" else IMAGE), *IMAGE]


@pytest.mark.parametrize(
    "text",
    [
        '{"data":{"type":"image_generation.weather"},"b64_json":"%s"}',
        '{"data":{"type":"image_generation.completed","b64_json":"%s"},"b64_json":"%s"}',
        '{"data":[{"b64_json":"%s"}],"b64_json":"%s"}',
    ],
)
def test_pictures_in_two_places(text: str):
    """An event that has pictures in two places has those of the first."""
    found = 1 if text.count("%s") == 2 else 0
    line = b"data: " + text.replace("%s", OTHER64).encode() + b"\n\n"
    assert said(read(line, completed())) == [*IMAGE * found, *IMAGE]


def damaged(value: Any, dice: random.Random) -> Any:
    """The same JSON with parts of it gone or of another type."""
    if dice.random() < 0.15:
        return dice.choice([None, 1, "x", [], {}, True, 1.5, "", [[]], {"a": 1}])
    if isinstance(value, dict):
        return {name: damaged(item, dice) for name, item in value.items() if dice.random() > 0.1}
    return [damaged(item, dice) for item in value] if isinstance(value, list) else value


def test_damage():
    """Whatever becomes of any field, an answer ends in exactly one way, the same in small pieces as in one."""
    dice = random.Random(7)
    document = {"created": 0, "data": [{"b64_json": GIF64, "media_type": "x"}, {"url": "http://x"}], "usage": USAGE}
    events = [
        {"type": "image_generation.partial_image", "b64_json": GIF64},
        {"b64_json": OTHER64, "type": "x"},
        {"data": document},
    ]
    for _ in range(400):
        answers: list[tuple[Any, bytes]] = [
            ("json", json.dumps(damaged(document, dice)).encode()),
            ("sse", b"".join(data_line(damaged(event, dice)) for event in events) + DONE),
        ]
        for framing, data in answers:
            small = [data[at : at + 7] for at in range(0, len(data), 7)]
            whole = outcome_of([data], api="images", framing=framing)
            assert outcome_of(small, api="images", framing=framing).told == whole.told


def test_broken_base64():
    """Data that is no base64 is a violation, and the picture before it is kept."""
    outcome = read(completed(), completed("****"))
    assert isinstance(outcome.failure, ProtocolViolation)
    assert len(outcome.message.images) == 1


def test_large_preview():
    """A preview is bounded as an image is."""
    limits = Limits(image_bytes=50)
    assert "max_image_bytes=50" in str(outcome_of([preview()], api="images", limits=limits).failure)
    assert "max_images=0" in str(outcome_of([completed()], api="images", limits=Limits(images=0)).failure)


@pytest.mark.parametrize(
    "path", sorted(RECORDED.glob("*v1_images.json")) or [None], ids=lambda path: path.name[:20] if path else ""
)
def test_recorded(path: Path | None):
    """The recorded answers of the service are read whole, in reads of any size."""
    if path is None:
        pytest.skip("the recorded answers are not here")
    data = path.read_bytes()
    expected = base64.b64decode(json.loads(data)["data"][0]["b64_json"])
    for size in (len(data), 65536, 1000):
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        outcome = outcome_of(pieces, api="images", framing="json")
        assert [(image.media_type, image.data) for image in outcome.message.images] == [("image/jpeg", expected)]
        assert outcome.message.usage is not None
        assert (outcome.message.usage.cost, outcome.message.usage.image_tokens) == (0.03422675, 1120)
