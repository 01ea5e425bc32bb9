"""`or-stream generate` in this process: what goes where, what is asked for, and the exit codes."""

import pytest
from PIL import Image
from pydantic import TypeAdapter

from or_stream.emulator import Chunk, Done, Scenario, picture, scenarios
from or_stream.events import Event, ImageDelta, StreamEnd, TextDelta


def test_text_on_standard_output(served, invoke):
    """The answer's text, and nothing else, is on standard output, its last line ended."""
    served.emulator.play(scenarios.text("Hello, world"))
    result = invoke("generate", "hi")
    assert (0, "Hello, world\n") == (result.exit_code, result.stdout)


def test_summary_on_standard_error(served, invoke):
    """The last line on standard error says what it took and which generation it was."""
    result = invoke("generate", "hi")
    last = result.stderr.splitlines()[-1]
    assert last.startswith("done · ")
    assert all(part in last for part in ("first content after", "tokens", "$", served.emulator.requests[0].generation_id))


def test_pictures_in_a_folder(invoke, tmp_path):
    """Pictures are written whole to the folder, which is made, and their paths are on standard error."""
    result = invoke("generate", "two pictures of a boat", "-o", "new/folder")
    files = sorted((tmp_path / "new/folder").iterdir())
    assert 2 == len(files)
    for file in files:
        with Image.open(file) as image:
            image.load()
        assert file.name in result.stderr


def test_pictures_here_by_default(invoke, tmp_path):
    """Without a folder, pictures go to the current one."""
    invoke("generate", "a picture of a boat")
    assert [".png"] == [file.suffix for file in tmp_path.iterdir()]


def test_no_escape_sequences_in_a_file(served, invoke):
    """Where neither stream is a terminal, nothing is drawn."""
    served.emulator.play("text-and-images")
    result = invoke("generate", "hi")
    assert "\x1b" not in result.output


def test_reasoning_on_standard_error(served, invoke):
    """Reasoning is not part of the answer."""
    steps = [{"reasoning": "Let me think."}, {"content": "42"}]
    chunks = [Chunk({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}) for delta in steps]
    stop = Chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    served.emulator.play(Scenario((*chunks, stop, Done())))
    result = invoke("generate", "hi")
    assert "42\n" == result.stdout
    assert "Let me think.\n" in result.stderr


def test_json_lines(invoke):
    """Each line is an event that pydantic reads back, and together they are the whole stream."""
    result = invoke("generate", "a picture of a boat", "--json")
    events = [TypeAdapter(Event).validate_json(line) for line in result.stdout.splitlines()]
    assert isinstance(events[-1], StreamEnd)
    assert events[-1].message.text == "".join(event.text for event in events if isinstance(event, TextDelta))
    assert picture("a picture of a boat") == b"".join(event.data for event in events if isinstance(event, ImageDelta))


def test_json_alone(invoke):
    """With --json there is no progress to be filtered out."""
    assert not invoke("generate", "hi", "--json").stderr


def test_options_reach_the_request(served, invoke, tmp_path):
    """Every option is in the request."""
    (tmp_path / "in.png").write_bytes(picture("x", 8, 8))
    address = "https://example.com/b.png"
    options = {"--system": "Be brief", "--aspect-ratio": "16:9", "--image-size": "0.5K", "--max-tokens": "5", "-m": "x/y"}
    result = invoke("generate", "hi", "-i", "in.png", "-i", address, *(part for pair in options.items() for part in pair))
    assert 0 == result.exit_code, result.stderr
    body = served.emulator.requests[-1].body
    assert ("x/y", 5) == (body["model"], body["max_tokens"])
    assert {"aspect_ratio": "16:9", "image_size": "0.5K"} == body["image_config"]
    system, user = body["messages"]
    assert {"role": "system", "content": "Be brief"} == system
    assert ["text", "image_url", "image_url"] == [part["type"] for part in user["content"]]
    assert address == user["content"][2]["image_url"]["url"]


def test_unsaid_options_are_not_sent(served, invoke):
    """What was not asked for is left to the service."""
    invoke("generate", "hi")
    assert {"model", "messages", "modalities", "stream"} == served.emulator.requests[0].body.keys()


def test_prompt_from_standard_input(served, invoke):
    """`-` reads the prompt."""
    invoke("generate", "-", input="a prompt\nof two lines")
    assert "a prompt\nof two lines" == served.emulator.requests[0].body["messages"][0]["content"]


def test_prompt_that_is_no_text(invoke):
    """Bytes that are no text are wrong usage."""
    result = invoke("generate", "-", input=b"\xff\xfe\xff")
    assert 2 == result.exit_code
    assert "not text" in result.stderr


def test_no_key(invoke, served):
    """Without a key nothing is sent, and one line says what to do."""
    result = invoke("generate", "hi", env={"OPENROUTER_BASE_URL": served.emulator.base_url})
    assert 2 == result.exit_code
    assert not served.emulator.requests
    (line,) = result.stderr.splitlines()
    assert "OPENROUTER_API_KEY" in line


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate"],
        ["generate", "hi", "--unknown"],
        ["generate", "hi", "--max-tokens", "0"],
        ["generate", "hi", "--timeout-total", "0"],
        ["generate", "hi", "-i", "missing.png"],
        ["generate", "  "],
        ["generate", "-"],
        ["unknown"],
    ],
)
def test_wrong_usage(invoke, served, arguments):
    """What cannot be meant is exit code 2, nothing sent and no traceback."""
    result = invoke(*arguments)
    assert 2 == result.exit_code
    assert not served.emulator.requests
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        ("refused-401", "AuthenticationFailed"),
        ("midstream-error", "StreamFailed"),
        ("end-without-finish", "StreamTruncated"),
        ("html-at-200", "ProtocolViolation"),
    ],
)
def test_failure(invoke, scenario, name):
    """A failure is exit code 1 and ends standard error with one line that names it."""
    result = invoke("generate", "hi", "-m", f"emulator/{scenario}")
    assert 1 == result.exit_code
    assert result.stderr.splitlines()[-1].startswith(f"or-stream: {name}: ")
    assert "Traceback" not in result.stderr


def test_failure_is_one_line(served, invoke):
    """What a server says in several lines, or to a terminal, is one line of plain text."""
    served.emulator.play(scenarios.refused(400, {"error": {"message": "first\nsecond \x1b[2Jthird", "code": 400}}))
    (line,) = invoke("generate", "hi").stderr.splitlines()
    assert "first second [2Jthird" in line


def test_failure_after_something_came(served, invoke):
    """What came before a failure stays printed, and the line says how much it was and which generation."""
    served.emulator.play(scenarios.midstream_error("Half an answer"))
    result = invoke("generate", "hi")
    assert "Half an answer\n" == result.stdout
    last = result.stderr.splitlines()[-1]
    assert "14 characters had come" in last
    assert served.emulator.requests[0].generation_id in last


def test_timeout_total(invoke):
    """--timeout-total ends an answer that would go on."""
    result = invoke("generate", "hi", "-m", "emulator/text-for-ever", "--timeout-total", "0.2")
    assert 1 == result.exit_code
    assert "StreamTimeout" in result.stderr


def test_version(invoke):
    """--version names the command and what it runs on."""
    result = invoke("--version")
    assert 0 == result.exit_code
    assert result.stdout.startswith("or-stream ")


@pytest.mark.parametrize("arguments", [["--help"], ["generate", "-h"], ["demo", "--help"]])
def test_help(invoke, arguments):
    """Help is help and no error."""
    result = invoke(*arguments)
    assert 0 == result.exit_code
    assert "Usage" in result.stdout
