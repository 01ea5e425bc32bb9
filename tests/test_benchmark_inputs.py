"""The benchmarks measure what they say: the inputs hold what they promise, and a verdict follows from its samples."""

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from or_stream.events import Event, Heartbeat, StreamEnd, TextDelta
from or_stream.protocol import Pipeline

MODULES = ("inputs", "server", "goals", "report", "run", "batch_roles", "bench_batch")


@pytest.fixture(scope="module")
def benchmarks():
    """The scripts, which import one another by their bare names; afterwards nobody else can."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in MODULES})
    finally:
        sys.path.remove(folder)
        for name in MODULES:
            sys.modules.pop(name, None)


def events_of(stream: bytes) -> list[Event]:
    pipeline = Pipeline()
    return pipeline.feed(stream)


def without_http(chunks: bytes) -> list[bytes]:
    """The HTTP chunks of a body, one by one."""
    pieces = []
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        end = int(size, 16)
        assert rest[end : end + 2] == b"\r\n"
        pieces.append(rest[:end])
        chunks = rest[end + 2 :]
    return pieces


def test_text_stream_has_the_promised_deltas(benchmarks):
    """401 deltas, a comment every 200, usage and an honest end, about 300 bytes an event."""
    pieces = benchmarks.inputs.text_events(401)
    events = events_of(b"".join(pieces))
    assert sum(isinstance(event, TextDelta) for event in events) == 401
    assert sum(isinstance(event, Heartbeat) for event in events) == 3
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].message.usage.cost == 0.001
    assert 270 <= sum(map(len, pieces)) / len(pieces) <= 330


def test_inputs_are_the_same_in_every_run(benchmarks):
    """A seed gives the same bytes every time."""
    text_events = benchmarks.inputs.text_events
    assert text_events(50) == text_events(50)
    assert text_events(50) != text_events(50, seed=9)


def test_image_stream_has_an_image_of_the_promised_size(benchmarks):
    """A megabyte of base64 is 750,000 bytes of one image that calls itself PNG."""
    message = events_of(benchmarks.inputs.image_stream(1))[-1].message
    assert [(image.media_type, image.size) for image in message.images] == [("image/png", 750_000)]
    assert benchmarks.inputs.image_bytes(1) == 750_000


def test_decoders_get_the_same_events_in_other_pieces(benchmarks):
    """The two ways to cut the events for a decoder make the same stream, and only one piece is shorter than was asked for."""
    one_each = benchmarks.inputs.decoder_pieces("events-chunk")
    cut = benchmarks.inputs.decoder_pieces("events-16384")
    assert b"".join(one_each) == b"".join(cut)
    assert {len(piece) for piece in cut[:-1]} == {16384}


def test_long_line_is_one_line(benchmarks):
    """A long line is one event with as many bytes as promised, in pieces as small as promised."""
    pieces = benchmarks.inputs.decoder_pieces("line-64-1000")
    assert max(map(len, pieces)) == 64
    assert re.fullmatch(rb"data: \w{1000}\n\n", b"".join(pieces))


def test_text_goes_out_one_chunk_a_delta(benchmarks):
    """As fast as the client reads, each delta is an HTTP chunk of its own, however much is written at once."""
    chunks = without_http(b"".join(benchmarks.server.pieces_of("text-300")))
    assert chunks == benchmarks.inputs.text_events(300)


def test_live_text_is_written_delta_by_delta(benchmarks):
    """Live, each write is one delta."""
    writes = [without_http(piece) for piece in benchmarks.server.pieces_of("live-20")]
    assert writes == [[event] for event in benchmarks.inputs.text_events(20)]


def test_streams_together_get_a_first_delta_and_then_turns(benchmarks):
    """Of many streams together, each gets its first delta alone and all the others in turns."""
    first, *turns = benchmarks.server.pieces_of("together-7x25")
    assert len(without_http(first)) == 1
    assert len(turns) == 3
    assert without_http(first + b"".join(turns)) == benchmarks.inputs.text_events(25)


@pytest.mark.parametrize("client", ["or_stream", "or_stream, save_to"])
def test_probe_delivers_all_of_the_work(benchmarks, client):
    """What the server sends to a measured process reaches its user to the last byte."""
    case = benchmarks.goals.Case("image-1", client)
    with benchmarks.run.serving([case]) as command_of:
        measured = benchmarks.run.measure(command_of(case))
    assert measured["image_bytes"] == 750_000
    assert measured["cpu_seconds"] > 0


def round_of(benchmarks, **measures):
    """One round in which two cases `of` and `to` took so long."""
    return {benchmarks.goals.Case("work", name): {"cpu_seconds": value} for name, value in measures.items()}


def goal_of(benchmarks, **more):
    case = benchmarks.goals.Case
    goal = {"work": "work", "claim": "CPU", "measure": "cpu_seconds", "of": case("work", "of"), "to": case("work", "to")}
    return benchmarks.goals.Goal(**goal, **more)


def test_ratio_is_the_median_of_the_rounds(benchmarks):
    """A ratio is taken within each round that has both, and then the median: a round that was slow for both changes nothing."""
    rounds = [round_of(benchmarks, of=of, to=to) for of, to in [(2, 1), (300, 100), (9, 1)]] + [round_of(benchmarks, of=7)]
    goal = goal_of(benchmarks, bound=2.5)
    assert goal.values(rounds) == [2, 3, 9]
    assert goal.value(rounds) == 3
    assert goal.value(rounds[-1:]) is None


def test_medians_of_what_is_measured_often(benchmarks):
    """Live deltas are measured three times a round, each measure by itself; what was not taken counts for nothing."""
    case = benchmarks.goals.Case
    live, peer = case("live-2000", "or_stream"), case("live-2000", "openai create")
    assert [benchmarks.goals.times_a_round(one) for one in (live, peer, case("text-20000", "or_stream"))] == [3, 1, 1]
    samples = [{"a": 9, "b": None}, {"a": 1, "b": 5, "c": None}, {"a": 2, "b": 7, "d": 4}]
    measured = benchmarks.goals.round_of([(peer, {"a": 8}), *((live, sample) for sample in samples)])
    assert measured == {peer: {"a": 8}, live: {"a": 2, "b": 6, "d": 4}}


@pytest.mark.parametrize(("is_least", "good", "forgiven", "bad"), [(False, 2.0, 3.0, 3.1), (True, 2.0, 1.4, 1.3)])
def test_margin_is_forgiven(benchmarks, is_least, good, forgiven, bad):
    """A bound of two holds at two; with a margin of half, three or two thirds of it are forgiven and no more."""
    goal = goal_of(benchmarks, bound=2, is_least=is_least)
    assert [goal.holds(value) for value in (good, forgiven, bad)] == [True, False, False]
    assert [goal.holds(value, margin=1.5) for value in (good, forgiven, bad)] == [True, True, False]


def test_table_says_what_does_not_hold(benchmarks):
    """A goal's row has the bound, the median with its range, and the verdict."""
    rows = benchmarks.report.goal_table([goal_of(benchmarks, bound=1.9)], [round_of(benchmarks, of=4, to=2)])
    assert list(rows)[-1] == "| work | CPU | ≤ 1.9 × | 2 × (2 to 2) | **does not hold** |"  # noqa: RUF001


def test_table_says_who_drops_the_image(benchmarks):
    """A client that hands on no byte of an image is named; one that does not look is not."""
    sizes = {"drops": 0, "delivers": 750_000, "does not look": None}
    case = benchmarks.goals.Case
    one = {case("image-1", name): {"cpu_seconds": 1.0, "image_bytes": size} for name, size in sizes.items()}
    marked = [row.split(" | ")[1] for row in benchmarks.report.measure_table([one]) if "drops the image" in row]
    assert marked == ["drops"]


def test_quick_goals_need_no_other_packages(benchmarks):
    """What CI measures runs without the peers, and is most of the goals that can."""
    clients = {case.client for case in benchmarks.goals.cases_of(benchmarks.goals.QUICK_GOALS)}
    assert clients <= benchmarks.goals.OWN_CLIENTS
    assert {"or_stream", "or_stream, save_to", "or_stream decoder", "import or_stream"} <= clients


def test_used_part_of_a_limit(benchmarks):
    """What was taken in a phase is held against what it allows, both from the same second on."""
    record = [(at / 10, 0) for at in range(1200)] + [(125.0, 3)]
    assert benchmarks.bench_batch.used_of(record, 0, 600, 120, 20) == 1
    assert benchmarks.bench_batch.used_of(record, 1, 100, 120, 20) == 0


def test_early_requests(benchmarks):
    """A request before a Retry-After is over is early, unless it was on its way when the first refusal was said."""
    record = [(0.0, 0), (1.0, 5), (1.1, 5), (1.2, 0), (3.0, 0), (6.15, 9), (6.2, 0), (15.2, 0)]
    assert benchmarks.bench_batch.early_in(record) == 1


def test_limit_that_changes(benchmarks):
    """Each limit holds for its phase, counted from the first request on, and everything is written down."""
    window = benchmarks.batch_roles.limit_of
    limit = benchmarks.batch_roles.ChangingLimit([window("window-10", 12), window("window-10", 6)], 10.0)
    taken = [limit.take(at) is None for at in (100.0, 101.0, 102.0, 110.5, 111.0)]
    assert taken == [True, True, False, True, False]
    assert limit.record == [(0.0, 0), (1.0, 0), (2.0, 8), (10.5, 0), (11.0, 10)]
