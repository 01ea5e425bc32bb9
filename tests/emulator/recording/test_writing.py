"""An exchange on disk while it goes on: what is there at each moment, and under which name."""

import json
from pathlib import Path

import pytest

from or_stream.emulator.recording import Answer, Recording, RequestHead
from or_stream.emulator.recording._writing import Exchange, Shelf

SSE = (("Content-Type", "text/event-stream; charset=utf-8"),)


@pytest.fixture
def exchange(tmp_path: Path):
    """`exchange(method, path, headers)`: one that has begun."""
    shelf = Shelf(tmp_path)
    exchanges = []

    def begin(method: str = "POST", path: str = "/api/v1/chat/completions", headers=()) -> Exchange:
        begun = Exchange(shelf, RequestHead(method, path, "", headers))
        begun.begin()
        exchanges.append(begun)
        return begun

    yield begin
    for begun in exchanges:
        begun.end("stopped")


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/api/v1/chat/completions", "000001-post-chat-completions"),
        ("GET", "/api/v1/models/a/b.c:free/endpoints", "000001-get-models-a-b.c-free-endpoints"),
        ("GET", "/../..%2F\x00é", "000001-get-..-..-2f"),
        ("OPTIONS", "/" + "x" * 500, "000001-options-" + "x" * 52),
        ("GET", "/sk-or-v1-0123456789abcdef0123", "000001-get-sk-or-v1"),
    ],
)
def test_name(exchange, method, path, name):
    """A folder is named for its request, in characters that every file system takes, and never for a key."""
    assert name == exchange(method, path).name


def test_each_moment(exchange, tmp_path):
    """Whatever has come can be read, line by line of a stream, and the name is final once it is over."""
    under_way = exchange()
    under_way.request_body(b'{"model":"a/b"}')
    under_way.request_end()
    (folder,) = tmp_path.iterdir()
    assert "000001-post-chat-completions.partial" == folder.name
    assert b'{"model":"a/b"}' == Recording.read(folder).request_body
    under_way.answer(Answer(200, "OK", SSE))
    under_way.answer_body(b"data: 1\n\ndata: 2")
    assert b"data: 1\n\n" == Recording.read(folder).body
    under_way.end("cut")
    (folder,) = tmp_path.iterdir()
    assert ("cut", b"data: 1\n\ndata: 2") == (Recording.read(folder).end, Recording.read(folder).body)
    assert "000001-post-chat-completions" == folder.name


def test_first_end_counts(exchange, tmp_path):
    """An end after the end says nothing."""
    under_way = exchange()
    under_way.end("left")
    under_way.end("stopped")
    (folder,) = tmp_path.iterdir()
    assert "left" == Recording.read(folder).end
    assert 1 == (folder / "exchange.jsonl").read_text().count('"end"')


def test_secret_over_pieces(exchange, tmp_path):
    """A key that comes in pieces never stands on the disk, not for a moment."""
    key = "sk-or-v1-0123456789abcdef0123456789abcdef"
    under_way = exchange(headers=(("Authorization", f"Bearer {key}"),))
    under_way.answer(Answer(200, "OK", SSE))
    for letter in f"data: {key}!\n":
        under_way.answer_body(letter.encode())
        assert key[:20].encode() not in b"".join(path.read_bytes() for path in tmp_path.rglob("answer.*"))
    under_way.end("complete")
    (folder,) = tmp_path.iterdir()
    recording = Recording.read(folder)
    assert f"data: {'*' * len(key)}!\n".encode() == recording.body
    assert {1} == {piece.length for piece in recording.pieces}


@pytest.mark.parametrize(
    ("content_type", "suffix"),
    [("text/event-stream", ".sse"), ("Application/JSON", ".json"), ("text/html", ".bin"), ("", ".bin")],
)
def test_suffix(exchange, tmp_path, content_type, suffix):
    """The file of a body is named for what the body is."""
    under_way = exchange()
    under_way.answer(Answer(200, "OK", (("content-type", content_type),)))
    under_way.answer_body(b"x")
    under_way.end("complete")
    assert [f"answer{suffix}"] == [path.name for path in tmp_path.rglob("answer.*")]


def test_lines_are_json(exchange, tmp_path):
    """Every line is a JSON object, whatever stands in a header."""
    under_way = exchange(headers=(("X-Odd", "\udcff\x00\n\u2028"),))
    under_way.end("complete")
    (folder,) = tmp_path.iterdir()
    lines = (folder / "exchange.jsonl").read_bytes().splitlines()
    assert ["request", "end"] == [next(iter(json.loads(line.decode("utf-8", "replace")))) for line in lines]
