"""An emulator in a thread, since the command has an event loop, or a process, of its own."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest
from typer.testing import CliRunner, Result

from or_stream.cli._application import application
from or_stream.emulator import Emulator

# A shell that runs the tests in the background has SIGINT ignored, and children inherit that.
_COMMAND = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from or_stream.cli import main; main()"
# What tells a command which terminal the tests happen to run in.
_TERMINAL = {"COLORTERM", "FORCE_COLOR", "KITTY_WINDOW_ID", "LC_TERMINAL", "NO_COLOR", "STY", "TERM_PROGRAM", "TMUX"}


class ThreadedEmulator:
    """`emulator` is served by `loop`; use `call` to wait for something of it."""

    def __init__(self):
        self.emulator = Emulator()
        self.loop: asyncio.AbstractEventLoop | None = None

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def serve(self, started: Future[None]):
        self.loop = asyncio.get_running_loop()
        self.stop = asyncio.Event()
        async with self.emulator:
            started.set_result(None)
            await self.stop.wait()

    @property
    def environment(self) -> dict[str, str]:
        return {"OPENROUTER_API_KEY": "sk-test", "OPENROUTER_BASE_URL": self.emulator.base_url}


@pytest.fixture
def served() -> Iterator[ThreadedEmulator]:
    threaded, started = ThreadedEmulator(), Future()
    thread = threading.Thread(target=lambda: asyncio.run(threaded.serve(started)))
    thread.start()
    started.result(10)
    yield threaded
    threaded.loop.call_soon_threadsafe(threaded.stop.set)
    thread.join(10)


@pytest.fixture
def invoke(served, tmp_path, monkeypatch):
    """Runs the command in this process, in an empty folder, against the emulator."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **options) -> Result:
        return CliRunner().invoke(application(), arguments, env=options.pop("env", served.environment), **options)

    return run


@pytest.fixture
def start(served, tmp_path):
    """Starts the command as a process of its own, in an empty folder, against the emulator."""
    processes = []

    def popen(*arguments: str, command: tuple[str, ...] = ("-c", _COMMAND), **options) -> subprocess.Popen:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        inherited = {name: value for name, value in os.environ.items() if name not in _TERMINAL}
        environment = {**inherited, **served.environment, **options.pop("env", {})}
        argv = [sys.executable, "-X", "dev", "-W", "error", *command, *arguments]
        process = subprocess.Popen(argv, cwd=tmp_path, env=environment, **{**pipes, **options})
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()
