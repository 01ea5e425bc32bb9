"""The command as a process of its own: signals, pipes, terminals, and what it leaves behind. Every warning is an error in it."""

import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo terminals of POSIX")

DEADLINE_SECONDS = 20


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    output, notes = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, output.decode(), notes.decode()


def shown_on(terminal: int) -> str:
    """All that is written to a pseudo terminal until its other end is closed."""
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:
        pass  # Linux says EIO where others say end of file
    finally:
        os.close(terminal)
    return shown.decode()


def test_generate(start, tmp_path):
    """An answer comes through, its picture in a file, without a warning."""
    code, output, notes = ended(start("generate", "a picture of a boat", "-o", "out"))
    assert 0 == code, notes
    assert "boat" in output
    (file,) = (tmp_path / "out").iterdir()
    with Image.open(file) as image:
        image.load()


def test_failure(start):
    """A refusal is exit code 1 and one line."""
    code, output, notes = ended(start("generate", "hi", "-m", "emulator/refused-402"))
    assert (1, "") == (code, output)
    assert 1 == len(notes.splitlines())
    assert notes.startswith("or-stream: PaymentRequired: ")


def test_no_key(start):
    """Without a key it is exit code 2 and one line."""
    code, _, notes = ended(start("generate", "hi", env={"OPENROUTER_API_KEY": ""}))
    assert 2 == code
    assert 1 == len(notes.splitlines())


@posix
def test_interrupted(start, served):
    """Ctrl-C drops the connection, keeps what was printed, and says so in one line."""
    process = start("generate", "hi", "-m", "emulator/text-for-ever")
    begun = process.stdout.read(4)
    process.send_signal(signal.SIGINT)
    code, _, notes = ended(process)
    assert begun
    assert (130, "or-stream: interrupted: the connection was dropped\n") == (code, notes)
    served.call(served.emulator.requests[0].disconnected.wait())


@posix
def test_interrupted_while_reading_the_prompt(start):
    """Ctrl-C ends it also while it waits for standard input."""
    reading, writing = os.pipe()
    try:
        process = start("generate", "-", stdin=reading, command=("-c", READS_AND_IS_INTERRUPTED))
        code, _, notes = ended(process)
    finally:
        os.close(reading)
        os.close(writing)
    assert 130 == code
    assert "Traceback" not in notes


READS_AND_IS_INTERRUPTED = """
import io, signal, sys
from or_stream.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
class Prompt(io.StringIO):
    def read(self, size=-1):
        signal.raise_signal(signal.SIGINT)
sys.stdin = Prompt()
main()
"""


@posix
def test_closed_pipe(start, served):
    """A reader that has seen enough ends it quietly, and ends what would have cost money."""
    process = start("generate", "hi", "-m", "emulator/text-for-ever")
    process.stdout.read(4)
    process.stdout.close()
    assert 0 == process.wait(DEADLINE_SECONDS)
    assert b"" == process.stderr.read()
    served.call(served.emulator.requests[0].disconnected.wait())


def test_demo(start, tmp_path):
    """The demo needs neither key nor network, writes two pictures and says where."""
    code, output, notes = ended(
        start("demo", "--fast", env={"OPENROUTER_API_KEY": "", "OPENROUTER_BASE_URL": "http://nowhere.invalid"})
    )
    assert 0 == code, notes
    assert "lighthouse" in output
    files = list((tmp_path / "or_stream-demo").iterdir())
    assert 2 == len(files)
    for file in files:
        with Image.open(file) as image:
            image.load()
        assert file.name in notes
    assert "measured" in notes
    assert "or-stream generate" in notes


@posix
def test_demo_on_a_terminal(start):
    """On a terminal the demo shows its pictures and leaves the cursor visible."""
    ours, theirs = os.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = start("demo", "--fast", stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    text = shown_on(ours)
    assert 0 == process.wait(DEADLINE_SECONDS)
    assert text.count("▀") > 1000
    assert text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")


@posix
def test_json_on_a_terminal(start):
    """With --json no line moves on a terminal."""
    ours, theirs = os.openpty()
    process = start("generate", "hi", "--json", stdout=subprocess.DEVNULL, stderr=theirs, env={"TERM": "xterm-256color"})
    os.close(theirs)
    assert not shown_on(ours)
    assert 0 == process.wait(DEADLINE_SECONDS)


def test_as_a_module(start):
    """`python -m or_stream` is the same command."""
    code, output, _ = ended(start("--version", command=("-m", "or_stream")))
    assert 0 == code
    assert output.startswith("or-stream ")


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(start, missing):
    """Without the extra it is exit code 2 and one line that says what to install."""
    script = f"import sys; sys.modules[{missing!r}] = None; from or_stream.cli import main; main()"
    code, output, notes = ended(start(command=("-c", script)))
    assert (2, "") == (code, output)
    assert "the command needs an extra: pip install 'or-stream[cli]'\n" == notes
