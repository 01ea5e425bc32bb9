"""Pictures as escape sequences, byte for byte."""

import base64
import io
import re

import pytest
from PIL import Image

from or_stream.cli.terminal._pictures import (
    Size,
    fitted,
    half_blocks,
    has_true_colour,
    iterm2,
    kitty,
    protocol_of,
    terminal_picture,
)
from or_stream.cli.terminal._png import Pixels
from or_stream.emulator import picture

# One red pixel.
TINY = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC")
TINY_TEXT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
ROOM = Size(10, 10)
RED, GREEN, BLUE, GREY = (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 128, 128)


def test_kitty():
    """A small PNG is one kitty command."""
    assert f"\x1b_Ga=T,f=100,m=0;{TINY_TEXT}\x1b\\" == kitty(TINY)


def test_kitty_within_columns():
    """The columns are part of the first kitty command."""
    assert kitty(TINY, 10).startswith("\x1b_Ga=T,f=100,c=10,m=0;")


def test_kitty_in_pieces():
    """A larger PNG goes in pieces of 4096 characters, all but the last of which say that more comes."""
    data = bytes(range(256)) * 25
    encoded = base64.b64encode(data).decode()
    expected = f"\x1b_Ga=T,f=100,m=1;{encoded[:4096]}\x1b\\\x1b_Gm=1;{encoded[4096:8192]}\x1b\\\x1b_Gm=0;{encoded[8192:]}\x1b\\"
    assert expected == kitty(data)


def test_iterm2():
    """A picture is one iTerm2 command, which says its size in bytes."""
    assert f"\x1b]1337;File=inline=1;size={len(TINY)}:{TINY_TEXT}\x07" == iterm2(TINY)


def test_half_blocks():
    """Two rows of pixels are one row of characters, upper row in front and lower row behind."""
    pixels = Pixels(2, 2, [[RED, GREEN], [BLUE, GREY]])
    expected = "\x1b[38;2;255;0;0;48;2;0;0;255m▀\x1b[38;2;0;255;0;48;2;128;128;128m▀\x1b[0m\n"
    assert expected == half_blocks(pixels)


def test_half_blocks_of_one_colour():
    """A colour that stays is said once."""
    assert "\x1b[38;2;255;0;0;48;2;255;0;0m▀▀\x1b[0m\n" == half_blocks(Pixels(2, 2, [[RED, RED], [RED, RED]]))


def test_half_blocks_of_odd_height():
    """Below the last row of an odd number is the terminal's own background."""
    assert "\x1b[38;2;255;0;0;49m▀\x1b[0m\n" == half_blocks(Pixels(1, 1, [[RED]]))


def test_half_blocks_of_256_colours():
    """A terminal without true colour gets the nearest of its cube and of its greys."""
    assert "\x1b[38;5;196;48;5;244m▀\x1b[0m\n" == half_blocks(Pixels(1, 2, [[RED], [GREY]]), true_colour=False)


@pytest.mark.parametrize(
    ("size", "room", "expected"),
    [
        ((1344, 768), Size(64, 22), (64, 37)),
        ((1000, 4000), Size(64, 20), (10, 40)),
        ((4, 2), Size(64, 20), (4, 2)),
        ((5000, 1), Size(64, 20), (64, 1)),
    ],
)
def test_fitted(size, room, expected):
    """A picture keeps its proportions, stays within the room, is never enlarged and never vanishes."""
    assert expected == fitted(*size, room)


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-ghostty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm2"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "iterm2"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm2"),
        ({"TERM": "xterm-256color"}, "half_blocks"),
        ({"TERM": "tmux-256color", "TMUX": "x", "KITTY_WINDOW_ID": "1"}, "half_blocks"),
        ({"TERM": "screen.xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "half_blocks"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, None),
        ({"TERM": "dumb"}, None),
        ({}, None),
    ],
)
def test_protocol(environment, protocol):
    """The environment tells what a terminal can show."""
    assert protocol == protocol_of(environment)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "Apple_Terminal"}, False),
        ({"TERM": "screen-256color"}, False),
        ({"TERM": "screen-256color", "TMUX": "x"}, True),
        ({"TERM": "screen-256color", "COLORTERM": "truecolor"}, True),
    ],
)
def test_true_colour(environment, expected):
    """True colour is assumed but where it is known to be missing."""
    assert expected == has_true_colour(environment)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-kitty"}, kitty(TINY, 1) + "\n"),
        ({"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}, iterm2(TINY, 1) + "\n"),
        ({"TERM": "xterm"}, "\x1b[38;2;255;0;0;49m▀\x1b[0m\n"),
        ({"TERM": "dumb"}, None),
    ],
)
def test_terminal_picture(environment, expected):
    """Each terminal gets the picture its own way, and the line is ended."""
    assert expected == terminal_picture(TINY, ROOM, environment)


@pytest.mark.parametrize("environment", [{"TERM": "xterm-kitty"}, {"TERM": "xterm", "TERM_PROGRAM": "iTerm.app"}])
def test_tall_picture(environment):
    """A tall picture is made so narrow that its height fits."""
    text = terminal_picture(picture("x", 40, 200), ROOM, environment)
    assert re.search(r"(c|width)=4[,:]", text or "")


def test_jpeg_in_kitty():
    """kitty, which wants PNG, gets a JPEG as one."""
    file = io.BytesIO()
    Image.new("RGB", (2, 2), RED).save(file, "JPEG")
    text = terminal_picture(file.getvalue(), ROOM, {"TERM": "xterm-kitty"})
    assert text is not None
    png = base64.b64decode(text.partition(";")[2].partition("\x1b")[0])
    assert "PNG" == Image.open(io.BytesIO(png)).format


@pytest.mark.parametrize("term", ["xterm", "xterm-kitty"])
def test_unreadable_picture(term):
    """What no decoder reads is not shown."""
    assert terminal_picture(b"no picture", ROOM, {"TERM": term}) is None


def test_no_room():
    """A terminal too small for a picture shows none."""
    assert terminal_picture(TINY, Size(10, -1), {"TERM": "xterm"}) is None
