"""The terminal: standard output, standard error, and a line that moves while one waits. Knows nothing of events.

On a screen the two streams meet, so that one ends the other's open line before it writes. Where they go elsewhere, what is
written is left as it is: no wrapping, no colour, no moving line.
"""

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.text import Text

from or_stream.cli.terminal._pictures import Size, terminal_picture

__all__ = ["Terminal", "printable"]

_PICTURE_COLUMNS: Final = 64
_PICTURE_ROWS: Final = 22
_FRAMES_PER_SECOND: Final = 10
_SPINNER: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
# A model may be made to say escape sequences, and a terminal obeys them.
_CONTROL_CHARACTERS: Final = {code: None for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_TOKENS: Final = re.compile(r"\n|[^\S\n]*[^\s]+|[^\S\n]+")


def printable(text: str) -> str:
    """The text without the characters that steer a terminal."""
    return text.translate(_CONTROL_CHARACTERS)


class Terminal:
    """Where a command writes: `write` for what was asked for, `note` and `think` for the rest, `watch` while one waits."""

    def __init__(
        self, output: TextIO | None = None, notes: TextIO | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._output = Pen(output or sys.stdout)
        self._notes = Pen(notes or sys.stderr, may_fail=True)
        self._is_shared = self._output.is_screen and self._notes.is_screen
        self._moves = self._notes.is_screen and self._environment.get("TERM") != "dumb"
        self._has_colour = self._notes.is_screen and not self._environment.get("NO_COLOR")
        self._live: Live | None = None
        self._ends_in_gap = False

    @property
    def moves(self) -> bool:
        """Whether `watch` shows anything."""
        return self._moves

    @property
    def is_shared(self) -> bool:
        """Whether the two streams meet on one screen."""
        return self._is_shared

    def write(self, text: str) -> None:
        """Text to standard output, at once."""
        self._turn_to(self._output)
        self._output.write(text)

    def write_line(self, line: str) -> None:
        """A line of data to standard output, as it is."""
        self._output.write_raw(f"{line}\n")

    def think(self, text: str) -> None:
        """Dimmed text to standard error."""
        self._turn_to(self._notes)
        self._notes.write(text, "\x1b[2m" if self._has_colour else "")

    def note(self, line: str, *, bold: bool = False) -> None:
        """A line of its own to standard error, dimmed unless `bold`."""
        self.settle()
        style = "\x1b[1m" if bold else "\x1b[2m"
        self._notes.write(line, style if self._has_colour else "")
        self._ends_in_gap = False
        self._notes.end_line()

    def gap(self) -> None:
        """An empty line, where the two streams meet on one screen and none was just left."""
        self.settle()
        if self._is_shared and not self._ends_in_gap:
            self._output.write_raw("\n")
        self._ends_in_gap = True

    def picture(self, data: bytes) -> bool:
        """Show a picture where the terminal can; False where nothing was shown."""
        self.settle()
        columns, lines = shutil.get_terminal_size()
        room = Size(min(_PICTURE_COLUMNS, columns - 1), min(_PICTURE_ROWS, lines - 4))
        shown = terminal_picture(data, room, self._environment) if self._output.is_screen else None
        if shown is None:
            return False
        self.gap()
        self._output.write_raw(shown)
        self._ends_in_gap = False
        return True

    def watch(self, describe: Callable[[], str]) -> None:
        """Keep a moving line on standard error up to date, until something else is written. `describe` is called in a thread."""
        if not self._moves:
            return
        self.settle()

        def line() -> Text:
            spinner = _SPINNER[int(time.monotonic() * _FRAMES_PER_SECOND) % len(_SPINNER)]
            return Text(f"{spinner} {describe()}", style="cyan", no_wrap=True, overflow="ellipsis")

        console = Console(file=self._notes.stream, highlight=False, _environ=self._environment)
        self._live = Live(
            console=console,
            get_renderable=line,
            transient=True,
            refresh_per_second=_FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def settle(self) -> None:
        """Take the moving line away and end every line that is open."""
        self._rest()
        self._output.end_line()
        self._notes.end_line()

    def _turn_to(self, pen: "Pen") -> None:
        self._ends_in_gap = False
        if self._is_shared or pen is self._notes:
            self._rest()
        if self._is_shared:
            (self._notes if pen is self._output else self._output).end_line()

    def _rest(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


class Pen:
    """One stream and the column it is in. On a screen, lines are broken between words. One that `may_fail` is not missed."""

    def __init__(self, stream: TextIO, *, may_fail: bool = False) -> None:
        self.stream = stream
        self._may_fail = may_fail
        self.is_screen = stream.isatty()
        self._column = 0

    def write(self, text: str, style: str = "") -> None:
        """Write and flush. `style` is an escape sequence that is undone after it."""
        if not text:
            return
        if self.is_screen:
            text = self._wrapped(printable(text))
        else:
            self._column = 0 if text.endswith("\n") else 1
        self.write_raw(f"{style}{text}\x1b[0m" if style else text)

    def write_raw(self, text: str) -> None:
        """Write as it is and flush."""
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            if not self._may_fail:
                raise

    def end_line(self) -> None:
        """Go to the start of a line, unless there."""
        if self._column:
            self._column = 0
            self.write_raw("\n")

    def _wrapped(self, text: str) -> str:
        width = shutil.get_terminal_size().columns
        pieces = []
        for token in _TOKENS.findall(text):
            piece = token
            if piece == "\n":
                self._column = 0
            else:
                if piece[0].isspace() and self._column + cell_len(piece) > width:
                    piece = piece.lstrip()
                    pieces.append("\n")
                    self._column = 0
                self._column += cell_len(piece)
            pieces.append(piece)
        return "".join(pieces)
