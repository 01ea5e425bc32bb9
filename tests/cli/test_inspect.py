"""`or-stream inspect`: files, recordings, folders and standard input, for people and for programs."""

import json

import pytest

from or_stream.emulator import scenarios

LINES = [
    {"request": {"method": "POST", "path": "/api/v1/chat/completions", "query": "x=1", "started": "2026-08-22T10:00:00+00:00"}},
    {"answer": {"status": 200, "reason": "OK", "seconds": 0.5, "headers": [["Content-Type", "text/event-stream"]]}},
]


@pytest.fixture
def capture(tmp_path):
    """Writes the bytes of a scenario into a file."""

    def write(name: str) -> str:
        (tmp_path / "capture.sse").write_bytes(scenarios.by_name(name)[0].body())
        return "capture.sse"

    return write


@pytest.fixture
def exchange(tmp_path):
    """A recording of an ordinary answer that came in one piece."""
    folder = tmp_path / "rec" / "000001-post-chat-completions"
    folder.mkdir(parents=True)
    body = scenarios.text("A lamp").body()
    lines = [*LINES, {"piece": [0.75, len(body)]}, {"end": "complete", "seconds": 0.875}]
    (folder / "exchange.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "answer.sse").write_bytes(body)
    (folder / "request.json").write_bytes(b'{"model":"a/b"}')
    return folder


def test_capture(invoke, capture):
    """A file of bytes is explained, without its base64."""
    result = invoke("inspect", capture("text-and-images"))
    assert 0 == result.exit_code
    assert "-> StreamStart" in result.stdout
    assert "-> ImageEnd 0: image/png" in result.stdout
    assert "or_stream  complete" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 140


def test_what_repeats_is_left_out(invoke, capture):
    """A chunk is shown from where it differs from the one before."""
    shown = invoke("inspect", capture("text")).stdout
    assert 1 == shown.count('"object":"chat.completion.chunk"')
    assert '{…,"delta":{"content":" lamp"' in shown


def test_comments_in_a_row_are_one(invoke, capture):
    """Their number is told once; one that is interrupted begins anew."""
    lines = invoke("inspect", capture("comment-before-usage")).stdout.splitlines()
    told = [line.split("OPENROUTER PROCESSING")[1] for line in lines if " comment " in line]
    assert [" x2", "", ""] == told


def test_an_ordinary_answer_has_nothing_odd(invoke, capture):
    """The summary says what it came to."""
    summary = invoke("inspect", capture("tool-call")).stdout.splitlines()[-6:]
    assert "odd        nothing" == summary[-1]
    assert 'tool call  light_lamp({"color": "red", "seconds": 3})' in summary


def test_oddities(invoke, capture):
    """What is odd is named where it is and in the summary."""
    lines = invoke("inspect", capture("finish-conflicting")).stdout.splitlines()
    assert any(line.strip().startswith("! ") and "conflicting finish" in line for line in lines)
    assert "conflicting finish" in lines[-1]


@pytest.mark.parametrize("part", ["", "exchange.jsonl", "answer.sse"])
def test_recording(invoke, exchange, part):
    """A recording, or a part of it, is explained with its times."""
    result = invoke("inspect", str(exchange / part))
    assert "POST /api/v1/chat/completions?x=1" in result.stdout
    assert "HTTP 200 after 0.500 s · complete after 0.875 s" in result.stdout
    assert "0.750 s  comment" in result.stdout


def test_request_of_a_recording(invoke, exchange):
    """The request is not its answer."""
    result = invoke("inspect", str(exchange / "request.json"))
    assert "no answer of a model" in result.stdout


def test_folder_of_recordings(invoke, exchange):
    """A folder of recordings is a list of them."""
    result = invoke("inspect", str(exchange.parent))
    assert (0, 1) == (result.exit_code, result.stdout.count("000001-post-chat-completions"))


def test_recording_without_an_answer(invoke, exchange):
    """Also what was never answered is explained."""
    (exchange / "exchange.jsonl").write_text(json.dumps(LINES[0]) + "\n" + json.dumps({"end": "reset", "seconds": 1}))
    (exchange / "answer.sse").unlink()
    result = invoke("inspect", str(exchange))
    assert 0 == result.exit_code
    assert "no answer · reset after 1.000 s" in result.stdout


def test_json_lines(invoke, exchange):
    """Each line is an object; the recording is the first and the summary the last."""
    first, *events, last = map(json.loads, invoke("inspect", "--json", str(exchange)).stdout.splitlines())
    assert "/api/v1/chat/completions" == first["recording"]["request"]["path"]
    assert {"offset", "length", "seconds", "kind", "shown", "events", "oddities"} == events[0].keys()
    assert ("complete", "A lamp") == (last["summary"]["conclusion"], last["summary"]["text"])


def test_json_list_of_recordings(invoke, exchange):
    """So is each recording of a folder."""
    (line,) = invoke("inspect", "--json", str(exchange.parent)).stdout.splitlines()
    assert "000001-post-chat-completions" == json.loads(line)["recording"]["name"]


def test_standard_input(start, capture, tmp_path):
    """`-` reads standard input."""
    with (tmp_path / capture("text")).open("rb") as opened:
        output, notes = start("inspect", "-", stdin=opened).communicate(timeout=20)
    assert b"or_stream  complete" in output
    assert not notes


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n\x00\x1b[2J", b"<html>", b"{", b"data: \xff\xfe\n\n", b"data: \x1b[2J\n\n"]
)
def test_what_is_no_stream(invoke, tmp_path, data):
    """Whatever the bytes, they are explained, and none of them steers the terminal."""
    (tmp_path / "x").write_bytes(data)
    result = invoke("inspect", "x")
    assert 0 == result.exit_code
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("name", ["missing.sse", "."])
def test_nothing_to_inspect(invoke, name):
    """No such file, or a folder without recordings, is exit code 2 and one line."""
    result = invoke("inspect", name)
    assert 2 == result.exit_code
    assert 1 == len(result.stderr.splitlines())


def test_closed_pipe(start, capture):
    """A reader that has seen enough ends it quietly."""
    process = start("inspect", capture("emoji"))
    process.stdout.read(10)
    process.stdout.close()
    assert 0 == process.wait(20)
    assert b"" == process.stderr.read()
