"""`or-stream batch` as a process of its own: what it leaves when it is stopped or killed, pipes, and a terminal."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from or_stream.batching import read_journal
from or_stream.emulator import Scenario, Signal, WaitFor, scenarios

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo terminals of POSIX")

DEADLINE_SECONDS = 20
TEXT = ("--modalities", "text", "--concurrency", "4")


def ended(process: subprocess.Popen) -> tuple[int, str, str]:
    output, notes = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, output.decode(), notes.decode()


def prompt_of(request) -> str:
    return request.body["messages"][0]["content"]


@pytest.fixture
def gate(served):
    """Prompts with `slow` in them are answered when it is set."""
    signal_ = Signal()

    def script(request):
        answer = scenarios.text(f"about {prompt_of(request)}")
        return Scenario((answer.steps[0], WaitFor(signal_), *answer.steps[1:])) if "slow" in prompt_of(request) else answer

    served.emulator.script = script
    return signal_


@pytest.fixture
def file(tmp_path):
    """Twenty prompts at once, and two slow ones."""
    path = tmp_path / "in.txt"
    path.write_text("".join(f"number {number}\n" for number in range(20)) + "slow one\nslow two\n")
    return str(path)


@pytest.fixture
def stopped_at_the_slow_ones(start, gate, file):
    """Starts a run and returns it when all but the slow ones are done."""

    def run(*arguments):
        process = start("batch", file, "-o", "out", "--json", *TEXT, *arguments)
        done = [json.loads(process.stdout.readline())["prompt"] for _ in range(20)]
        assert {f"number {number}" for number in range(20)} == set(done)
        return process

    return run


def times_asked(served):
    prompts = [prompt_of(request) for request in served.emulator.requests if request.method == "POST"]
    return {prompt: prompts.count(prompt) for prompt in prompts}


@posix
def test_interrupted(start, served, gate, stopped_at_the_slow_ones, tmp_path):
    """Ctrl-C ends a run at once, with its summary, its sheet and what to do; the same command then does the rest alone."""
    process = stopped_at_the_slow_ones()
    process.send_signal(signal.SIGINT)
    code, _, notes = ended(process)
    assert 130 == code
    assert "done      20 of 22" in notes
    assert "or-stream: interrupted: run the same command again to go on" == notes.splitlines()[-1]
    assert "20 done" in (tmp_path / "out/index.html").read_text()
    gate.set()
    code, _, notes = ended(start("batch", "in.txt", "-o", "out", *TEXT))
    assert 0 == code, notes
    assert "done      22 of 22, 20 of them by earlier runs" in notes
    assert {1} == {count for prompt, count in times_asked(served).items() if "slow" not in prompt}


@posix
def test_killed(start, served, gate, stopped_at_the_slow_ones, tmp_path):
    """After kill -9 the same command does what is not done, and nothing twice."""
    process = stopped_at_the_slow_ones()
    process.kill()
    process.wait(DEADLINE_SECONDS)
    gate.set()
    code, _, notes = ended(start("batch", "in.txt", "-o", "out", *TEXT))
    assert 0 == code, notes
    assert {1} == {count for prompt, count in times_asked(served).items() if "slow" not in prompt}
    items = list(read_journal(tmp_path / "out/journal.jsonl"))
    assert sorted(f"about {item.prompt}" for item in items) == sorted(item.message.text for item in items)
    assert 22 == len(items)
    assert ["index.html", "journal.jsonl", "pictures"] == sorted(path.name for path in (tmp_path / "out").iterdir())


def test_second_process(start, gate, stopped_at_the_slow_ones):
    """A second run on the same folder is refused while the first goes on, which it does not disturb."""
    first = stopped_at_the_slow_ones()
    code, _, notes = ended(start("batch", "in.txt", "-o", "out", *TEXT))
    assert 2 == code
    assert "in use by another run" in notes
    gate.set()
    code, _, notes = ended(first)
    assert 0 == code, notes


def test_standard_input(start, served, gate):
    """From a pipe each prompt is asked for as soon as its line has come."""
    process = start("batch", "-", "-o", "out", "--json", *TEXT, stdin=subprocess.PIPE)
    for prompt in ("first", "second"):
        process.stdin.write(f"{prompt}\n".encode())
        process.stdin.flush()
        assert f"about {prompt}" == json.loads(process.stdout.readline())["text"]
    code, _, notes = ended(process)
    assert 0 == code, notes
    assert "done      2 of 2" in notes


@posix
def test_interrupted_while_nobody_writes(start, gate):
    """Ctrl-C ends it also while it waits for a pipe."""
    process = start("batch", "-", "-o", "out", "--json", *TEXT, stdin=subprocess.PIPE)
    process.stdin.write(b"first\n")
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    assert 130 == process.wait(DEADLINE_SECONDS)
    assert b"Traceback" not in process.stderr.read()


@posix
def test_interrupted_before_anything(start, gate, file, tmp_path):
    """Ctrl-C before anything was sent leaves the sheet of the run before, and says nothing of a cost that it does not know."""
    gate.set()
    assert 0 == ended(start("batch", file, "-o", "out", *TEXT))[0]
    before = (tmp_path / "out/index.html").stat().st_mtime_ns
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        environment = {"OPENROUTER_BASE_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}/api/v1"}
        process = start("batch", file, "-o", "out", "--budget", "1", *TEXT, env=environment)
        with nobody.accept()[0]:
            process.send_signal(signal.SIGINT)
            assert (130, "or-stream: interrupted: run the same command again to go on\n") == ended(process)[::2]
    assert before == (tmp_path / "out/index.html").stat().st_mtime_ns


@posix
@pytest.mark.parametrize(("number", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_terminated(stopped_at_the_slow_ones, tmp_path, number, code):
    """What ends a service or a session ends a run as Ctrl-C does, with its own exit code."""
    process = stopped_at_the_slow_ones()
    process.send_signal(getattr(signal, number))
    assert code == process.wait(DEADLINE_SECONDS)
    assert b"interrupted: run the same command again to go on" in process.stderr.read()
    assert "20 done" in (tmp_path / "out/index.html").read_text()


@posix
def test_signal_that_is_ignored(start, served, gate, file):
    """Under nohup a session that ends does not end the run."""
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); from or_stream.cli import main; main()"
    process = start("batch", file, "-o", "out", "--json", *TEXT, command=("-c", ignoring))
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    gate.set()
    code, _, notes = ended(process)
    assert 0 == code, notes


def test_refused_pipe(start, tmp_path):
    """A pipe that cannot be used makes nothing."""
    process = start("batch", "-", "-o", "out", "--format", "csv", stdin=subprocess.PIPE)
    _, notes = process.communicate(b"text\nhi\n", DEADLINE_SECONDS)
    assert 2 == process.returncode
    assert b"the first row must name the columns" in notes
    assert not (tmp_path / "out").exists()


@posix
def test_closed_pipe(start, served, gate, stopped_at_the_slow_ones):
    """A reader that goes away ends the run, which is not done and says so."""
    process = stopped_at_the_slow_ones()
    process.stdout.close()
    gate.set()
    assert 1 == process.wait(DEADLINE_SECONDS)
    notes = process.stderr.read().decode()
    assert "done      2" in notes
    assert "nobody reads the output any more: run the same command again to go on" in notes.splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk of Linux")
def test_results_on_a_full_disk(start, file, tmp_path):
    """Results that cannot be written end the run with its sheet and a line that says so."""
    with Path("/dev/full").open("wb") as full:
        process = start("batch", file, "-o", "out", "--json", *TEXT, stdout=full)
        _, notes = process.communicate(timeout=DEADLINE_SECONDS)
    assert 1 == process.returncode
    assert b"or-stream: the output cannot be written: No space left on device" == notes.splitlines()[-1]
    assert (tmp_path / "out/index.html").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk of Linux")
def test_log_on_a_full_disk(start, gate, file):
    """A log that cannot be written ends nothing."""
    gate.set()
    with Path("/dev/full").open("wb") as full:
        process = start("batch", file, "-o", "out", "--json", *TEXT, stderr=full)
        output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert (0, 22) == (process.returncode, len(output.splitlines()))


@posix
def test_closed_streams(start, gate, file, tmp_path):
    """A run without any of the three streams, as a service may be started, is done like any other."""
    gate.set()
    closing = (
        "import os, sys; [os.close(number) for number in range(3)]; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    process = start("-m", "or_stream", "batch", file, "-o", "out", "--json", *TEXT, command=("-c", closing))
    assert 0 == process.wait(DEADLINE_SECONDS)
    assert 22 == sum(1 for _ in read_journal(tmp_path / "out/journal.jsonl"))


@posix
def test_terminal(start, served, gate, file):
    """On a terminal lines move: how far it is, how fast, how many are under way, what it costs; the summary stays."""
    ours, theirs = os.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    process = start("batch", file, "-o", "out", *TEXT, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = ""
    try:
        while piece := os.read(ours, 65536):
            shown += piece.decode(errors="replace")
            if "20 of 22" in shown:
                gate.set()
    except OSError:
        pass  # Linux says EIO where others say end of file
    finally:
        os.close(ours)
    assert 0 == process.wait(DEADLINE_SECONDS), shown
    assert "2 of 4 under way" in shown
    assert "━" in shown
    assert "of about $" in shown
    assert "done      22 of 22" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0
