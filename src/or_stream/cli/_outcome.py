"""How a command ends: every outcome of its coroutine as an exit code and at most one line on standard error."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import typer

from or_stream.cli.terminal import printable
from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.values import Message

__all__ = ["describe", "run"]


def run(command: Callable[[], Coroutine[Any, Any, None]], *, after_ctrl_c: str = "the connection was dropped") -> None:
    """Make the coroutine and run it. Raises `typer.Exit` unless it was done. `after_ctrl_c` is what is said then.

    A reader that has seen enough (`| head -1`) is no failure: the exit code is then 0.
    """
    try:
        asyncio.run(command())
    except ConfigurationError as error:
        _say(str(error))
        raise typer.Exit(2) from None
    except OrStreamError as error:
        _say(describe(error))
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        _say(f"interrupted: {after_ctrl_c}")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        _discard_output()


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
    with suppress(BrokenPipeError):
        print("or-stream:", " ".join(printable(message).split()), file=sys.stderr)


def _discard_output() -> None:
    """What is still buffered goes nowhere, else the interpreter would complain when it flushes at exit."""
    with suppress(OSError, ValueError):  # a standard stream that is no file, as under a test runner
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
