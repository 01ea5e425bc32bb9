"""The inputs of the benchmarks hold what they promise: otherwise the figures would be of something else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from or_stream.events import Event, Heartbeat, StreamEnd, TextDelta
from or_stream.protocol import Pipeline


@pytest.fixture(scope="module")
def inputs() -> ModuleType:
    path = Path(__file__).parents[1] / "benchmarks" / "inputs.py"
    spec = importlib.util.spec_from_file_location("benchmark_inputs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def events_of(stream: bytes) -> list[Event]:
    pipeline = Pipeline()
    return pipeline.feed(stream)


def test_text_stream_has_the_promised_deltas(inputs):
    """401 deltas, a comment every 200, usage and an honest end, about 300 bytes an event."""
    pieces = inputs.text_events(401)
    events = events_of(b"".join(pieces))
    assert sum(isinstance(event, TextDelta) for event in events) == 401
    assert sum(isinstance(event, Heartbeat) for event in events) == 3
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].message.usage.cost == 0.001
    assert 270 <= sum(map(len, pieces)) / len(pieces) <= 330


def test_inputs_are_the_same_in_every_run(inputs):
    """A seed gives the same bytes every time."""
    assert inputs.text_events(50) == inputs.text_events(50)
    assert inputs.text_events(50) != inputs.text_events(50, seed=9)


def test_image_stream_has_an_image_of_the_promised_size(inputs):
    """A megabyte of base64 is 750,000 bytes of one image that calls itself PNG."""
    message = events_of(inputs.image_stream(1))[-1].message
    assert [(image.media_type, image.size) for image in message.images] == [("image/png", 750_000)]
