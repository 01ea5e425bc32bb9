"""`or-stream emulate` as a process of its own: the emulator, a recorder, a replay; and how each is ended."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from or_stream.emulator import scenarios
from or_stream.emulator.recording import Recording, exchange_folders

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and pseudo terminals of POSIX")

DEADLINE_SECONDS = 20
KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"


@pytest.fixture
def listening(start):
    """Starts `or-stream emulate` on a free port; gives the process and its address."""

    def begin(*arguments: str, **options) -> tuple[subprocess.Popen, str]:
        process = start("emulate", "--port", "0", *arguments, **options)
        address = process.stdout.readline().decode().strip()
        assert address, process.stderr.read().decode()
        return process, address

    return begin


def begun(address: str, key: str = KEY, **body) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A chat request whose answer has begun. By a client that is nobody's of ours."""
    url = urlsplit(address)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=DEADLINE_SECONDS)
    whole = {"model": "a/b", "messages": [{"role": "user", "content": "hi"}], "stream": True, **body}
    connection.request("POST", f"{url.path}/chat/completions", json.dumps(whole), {"Authorization": f"Bearer {key}"})
    return connection, connection.getresponse()


def asked(address: str, **options) -> tuple[int, bytes]:
    connection, response = begun(address, **options)
    try:
        return response.status, response.read()
    finally:
        connection.close()


def told(process: subprocess.Popen, said: str) -> str:
    """The next line on standard error that says this."""
    for line in process.stderr:
        if said in line.decode():
            return line.decode()
    raise AssertionError(f"nobody said {said!r}")


def interrupted(process: subprocess.Popen) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, notes = process.communicate(timeout=DEADLINE_SECONDS)
    return process.returncode, notes.decode()


@posix
def test_emulator(listening):
    """The address is on standard output, an answer comes from it, each request is a line, and Ctrl-C ends it with 130."""
    process, address = listening("--verbose")
    status, body = asked(address)
    assert (200, True) == (status, body.endswith(b"data: [DONE]\n\n"))
    told(process, f"OPENROUTER_BASE_URL={address}")
    assert "kB" in told(process, "POST /api/v1/chat/completions · ")
    assert 402 == asked(address, model="emulator/refused-402")[0]
    assert "refused-402" in told(process, "POST /api/v1/chat/completions · ")
    assert (130, "or-stream: interrupted: the connection was dropped\n") == interrupted(process)


@posix
def test_quiet_in_a_file(listening):
    """Where standard error is no terminal there is no line for each request."""
    process, address = listening()
    asked(address)
    assert "chat/completions · " not in interrupted(process)[1]


@posix
def test_lines_on_a_terminal(listening):
    """Where it is one, there is."""
    ours, theirs = os.openpty()
    try:
        _, address = listening(stderr=theirs)
        asked(address)
        shown = b""
        while b"chat/completions \xc2\xb7 " not in shown:
            shown += os.read(ours, 65536)
    finally:
        os.close(theirs)
        os.close(ours)


def test_scenario_and_key(listening):
    """One scenario for all, and only one key."""
    _, address = listening("--scenario", "finish_length", "--api-key", KEY)
    assert b'"finish_reason":"length"' in asked(address)[1]
    assert 401 == asked(address, key="other")[0]


def test_credits_and_rate_limit(listening):
    """A window that takes two, and what there is to spend."""
    _, address = listening("--rate-limit", "2/60")
    assert [200, 200, 429] == [asked(address)[0] for _ in range(3)]
    _, address = listening("--credits", "0")
    assert 402 == asked(address)[0]


def test_text_delay(listening):
    """Words come with a delay."""
    _, address = listening("--text-delay", "0.01")
    assert 200 == asked(address)[0]


@posix
def test_record_and_replay(listening, served, tmp_path):
    """What was recorded of another server is served again, byte for byte, and nothing has the key in it."""
    recorder, address = listening("--record", "rec", "--upstream", served.emulator.base_url, "-v")
    _, body = asked(address, model="emulator/text-and-images")
    told(recorder, f"000001-post-chat-completions · HTTP 200 · {len(body) / 1000:.0f} kB in ")
    interrupted(recorder)
    (folder,) = exchange_folders(tmp_path / "rec")
    assert body == (folder / "answer.sse").read_bytes()
    assert KEY.encode() not in b"".join(path.read_bytes() for path in folder.iterdir())
    replayer, address = listening("--replay", "rec", "--pace", "none", "-v")
    assert (200, body) == asked(address, model="emulator/text-and-images", key="other")
    told(replayer, "POST /api/v1/chat/completions · 000001-post-chat-completions · ")
    assert 404 == asked(address, model="c/d")[0]


@posix
def test_recorder_that_is_killed(listening, served, tmp_path):
    """After kill -9 what had come is readable."""
    recorder, address = listening("--record", "rec", "--upstream", served.emulator.base_url)
    connection, response = begun(address, model="emulator/text-for-ever")
    seen = b"".join(response.readline() for _ in range(8))
    recorder.kill()
    recorder.wait(DEADLINE_SECONDS)
    connection.close()
    (folder,) = exchange_folders(tmp_path / "rec")
    recording = Recording.read(folder)
    assert recording.body.startswith(seen)
    assert "emulator/text-for-ever" == json.loads(recording.request_body)["model"]
    assert ("stopped", 200) == (recording.end, recording.answer.status)


@posix
def test_recorder_that_is_interrupted(listening, served, tmp_path):
    """Ctrl-C closes what is under way, here and upstream, and keeps it."""
    recorder, address = listening("--record", "rec", "--upstream", served.emulator.base_url)
    connection, response = begun(address, model="emulator/text-for-ever")
    response.readline()
    assert 130 == interrupted(recorder)[0]
    connection.close()
    served.call(served.emulator.requests[0].disconnected.wait())
    (folder,) = exchange_folders(tmp_path / "rec")
    assert "stopped" == Recording.read(folder).end


def test_key_of_the_environment_is_not_stored(listening, served, tmp_path):
    """The key in the environment is hidden also where a client sends it in the wrong place."""
    options = {"env": {"OPENROUTER_API_KEY": "my-very-own-key"}}
    _, address = listening("--record", "rec", "--upstream", served.emulator.base_url, **options)
    asked(address, messages=[{"role": "user", "content": "use my-very-own-key"}])
    stored = b"".join(path.read_bytes() for path in (tmp_path / "rec").rglob("*.*") if path.is_file())
    assert b"my-very-own-key" not in stored
    assert b"use ***************" in stored


def test_list(invoke):
    """Every scenario is a line that says what it does."""
    result = invoke("emulate", "--list")
    lines = result.stdout.splitlines()
    names = sorted({*scenarios.names(), *scenarios.names("images")})
    assert (0, names) == (result.exit_code, [line.split()[0] for line in lines])
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scenario", "no-such"],
        ["--replay", "missing"],
        ["--replay", ".", "--pace", "fast"],
        ["--replay", ".", "--pace", "-1"],
        ["--replay", ".", "--pace", "inf"],
        ["--record", "a", "--replay", "b"],
        ["--record", "a", "--scenario", "text"],
        ["--replay", "a", "--api-key", "secret"],
        ["--record", "a", "--credits", "0"],
        ["--rate-limit", "60"],
        ["--rate-limit", "0/1"],
        ["--rate-limit", "5/nan"],
        ["--credits", "-1"],
        ["--record", "a", "--upstream", "openrouter.ai"],
        ["--port", "65536"],
        ["--text-delay", "-1"],
        ["--host", "999.1.1.1"],
    ],
)
def test_wrong_usage(invoke, arguments):
    """What cannot be meant is exit code 2 and no traceback."""
    result = invoke("emulate", *arguments)
    assert 2 == result.exit_code, result.output
    assert isinstance(result.exception, SystemExit)


def test_port_that_is_taken(invoke):
    """A port that somebody has is exit code 2 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = invoke("emulate", "--port", str(taken.getsockname()[1]))
    assert 2 == result.exit_code
    (line,) = result.stderr.splitlines()
    assert "cannot listen" in line


def test_help(invoke):
    """Help is help and no error."""
    result = invoke("emulate", "--help")
    assert 0 == result.exit_code
    assert "--record" in result.stdout
