"""How a command ends: every outcome of its coroutine as an exit code and at most one line on standard error."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer

from or_stream.cli.terminal import printable
from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.values import Message

__all__ = ["Terminated", "describe", "discard_output", "outcome", "run", "run_loop"]


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, which end a command as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def run(command: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Make the coroutine and run it. Raises `typer.Exit` unless it was done."""
    with outcome():
        run_loop(command())


def run_loop(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it to its end. A signal cancels it, and is then KeyboardInterrupt, or Terminated; a second one ends the process."""
    received: list[int] = []
    try:
        asyncio.run(_until_signal(coroutine, received))
    except asyncio.CancelledError:
        if received:
            raise Terminated(received[0]) from None
        raise


async def _until_signal(coroutine: Coroutine[Any, Any, None], received: list[int]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    watched: list[int] = []
    if sys.platform != "win32":  # one that is ignored, as under nohup, stays so
        watched += [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(number: int) -> None:
        received.append(number)
        for other in watched:
            loop.remove_signal_handler(other)
        task.cancel()

    for number in watched:
        loop.add_signal_handler(number, stop, number)
    await coroutine


@contextmanager
def outcome(after_ctrl_c: str = "the connection was dropped") -> Iterator[None]:
    """What the block raises becomes `typer.Exit`. `after_ctrl_c` is what is said then.

    A reader that has seen enough (`| head -1`) is no failure: the exit code is then 0.
    """
    try:
        yield
    except ConfigurationError as error:
        _say(str(error))
        raise typer.Exit(2) from None
    except OrStreamError as error:
        _say(describe(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt as interrupt:
        _say(f"interrupted: {after_ctrl_c}")
        raise typer.Exit(interrupt.exit_code if isinstance(interrupt, Terminated) else 130) from None
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        _say(f"the output cannot be written: {error.strerror or error}")
        discard_output()
        raise typer.Exit(1) from None


def describe(error: OrStreamError) -> str:
    """A failure in one line: what it is, what came before it, and under which id the server knows it."""
    name = type(error).__name__
    details = [
        *([f"after {error.attempts} attempts"] if error.attempts > 1 else []),
        *_what_came(error.partial),
        *([f"generation {error.generation_id}"] if error.generation_id else []),
    ]
    return f"{name}: {error}" + (f" ({', '.join(details)})" if details else "")


def _what_came(partial: Message | None) -> list[str]:
    if partial is None or not (partial.text or partial.images):
        return []
    pictures = f" and {_count(len(partial.images), 'picture')}" if partial.images else ""
    return [f"{_count(len(partial.text), 'character')}{pictures} had come"]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _say(message: str) -> None:
    with suppress(OSError):
        print("or-stream:", " ".join(printable(message).split()), file=sys.stderr)


def discard_output() -> None:
    """What is still buffered goes nowhere, else the interpreter would complain when it flushes at exit."""
    with suppress(OSError, ValueError):  # a standard stream that is no file, as under a test runner
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, sys.stdout.fileno())
        finally:
            os.close(nowhere)
