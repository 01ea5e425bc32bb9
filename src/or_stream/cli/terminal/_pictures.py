"""Pictures as the text that makes a terminal show them. Pure: bytes and environment variables in, escape sequences out."""

import base64
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from or_stream.cli.terminal._png import Colour, Pixels, as_png, decode
from or_stream.values import Image

__all__ = ["Protocol", "Size", "half_blocks", "iterm2", "kitty", "protocol_of", "terminal_picture"]

Protocol = Literal["kitty", "iterm2", "half_blocks"]

_KITTY_PIECE: Final = 4096  # https://sw.kovidgoyal.net/kitty/graphics-protocol/#remote-client
_CELL_HEIGHT: Final = 2  # a terminal's cell is about twice as high as wide
_ITERM2_PROGRAMS: Final = frozenset({"iTerm.app", "WezTerm", "mintty"})
_KITTY_TERMS: Final = frozenset({"xterm-kitty", "xterm-ghostty"})


class Size(NamedTuple):
    """Cells of a terminal."""

    columns: int
    rows: int


def terminal_picture(data: bytes, room: Size, environment: Mapping[str, str]) -> str | None:
    """The text that shows the picture within `room`, its last line ended; None where this terminal or this picture cannot."""
    if room.columns < 1 or room.rows < 1:
        return None
    match protocol_of(environment):
        case "kitty":
            png = as_png(data)
            return None if png is None else kitty(png, _columns(data, room)) + "\n"
        case "iterm2":
            return iterm2(data, _columns(data, room)) + "\n"
        case "half_blocks":
            pixels = decode(data, lambda width, height: fitted(width, height, room))
            return None if pixels is None else half_blocks(pixels, true_colour=has_true_colour(environment))
        case None:
            return None


def protocol_of(environment: Mapping[str, str]) -> Protocol | None:
    """What the terminal understands, as far as environment variables tell. A multiplexer keeps picture protocols from it."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if term in ("", "dumb"):
        return None
    if not _is_multiplexed(environment):
        if term in _KITTY_TERMS or "KITTY_WINDOW_ID" in environment:
            return "kitty"
        if program in _ITERM2_PROGRAMS or environment.get("LC_TERMINAL") == "iTerm2":
            return "iterm2"
    return None if environment.get("NO_COLOR") else "half_blocks"


def has_true_colour(environment: Mapping[str, str]) -> bool:
    """False for the few terminals in use that have 256 colours; COLORTERM is no help, since ssh does not pass it on."""
    if environment.get("COLORTERM") in ("truecolor", "24bit"):
        return True
    return environment.get("TERM_PROGRAM") != "Apple_Terminal" and not (
        environment.get("TERM", "").startswith("screen") and "TMUX" not in environment
    )


def fitted(width: int, height: int, room: Size) -> tuple[int, int]:
    """The size of a picture of half cells that fits into `room` and is no larger than the picture."""
    scale = min(room.columns / width, room.rows * _CELL_HEIGHT / height, 1)
    return max(1, round(width * scale)), max(1, round(height * scale))


def kitty(png: bytes, columns: int | None = None) -> str:
    """The graphics protocol of kitty: the PNG as it is, in pieces. The terminal keeps the proportions."""
    encoded = base64.b64encode(png).decode()
    pieces = [encoded[at : at + _KITTY_PIECE] for at in range(0, len(encoded), _KITTY_PIECE)]
    width = f"c={columns}," if columns else ""
    heads = [f"a=T,f=100,{width}", *[""] * (len(pieces) - 1)]
    last = len(pieces) - 1
    return "".join(
        f"\x1b_G{head}m={int(number < last)};{piece}\x1b\\"
        for number, (head, piece) in enumerate(zip(heads, pieces, strict=True))
    )


def iterm2(data: bytes, columns: int | None = None) -> str:
    """iTerm2's inline images (https://iterm2.com/documentation-images.html): any format, as it is."""
    width = f";width={columns}" if columns else ""
    return f"\x1b]1337;File=inline=1;size={len(data)}{width}:{base64.b64encode(data).decode()}\x07"


def half_blocks(pixels: Pixels, *, true_colour: bool = True) -> str:
    """Two pixels a character: the upper one is the colour of `▀`, the lower one its background."""
    lines = []
    for top in range(0, pixels.height, 2):
        upper = pixels.rows[top]
        lower: list[Colour | None] = [*pixels.rows[top + 1]] if top + 1 < pixels.height else [None] * pixels.width
        line, before = "", ""
        for above, below in zip(upper, lower, strict=True):
            style = f"38;{_parameters(above, true_colour)};" + (
                "49" if below is None else f"48;{_parameters(below, true_colour)}"
            )
            line += "▀" if style == before else f"\x1b[{style}m▀"
            before = style
        lines.append(f"{line}\x1b[0m\n")
    return "".join(lines)


def _columns(data: bytes, room: Size) -> int:
    image = Image.from_bytes(data)
    return fitted(image.width, image.height, room)[0] if image.width and image.height else room.columns


def _is_multiplexed(environment: Mapping[str, str]) -> bool:
    return "TMUX" in environment or "STY" in environment or environment.get("TERM", "").startswith(("screen", "tmux"))


def _parameters(colour: Colour, true_colour: bool) -> str:
    red, green, blue = colour
    return f"2;{red};{green};{blue}" if true_colour else f"5;{_of_256(colour)}"


def _of_256(colour: Colour) -> int:
    """The nearest of xterm's 6x6x6 cube (levels 0, 95, 135, ... 255), or of its 24 greys where there is no hue."""
    if max(colour) - min(colour) < 10:
        shade = sum(colour) // 3
        return 16 if shade < 4 else 231 if shade > 246 else 232 + min(23, max(0, (shade - 3) // 10))
    red, green, blue = (0 if level < 48 else 1 if level < 115 else (level - 35) // 40 for level in colour)
    return 16 + 36 * red + 6 * green + blue
