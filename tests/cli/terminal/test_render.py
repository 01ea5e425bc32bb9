"""What a person sees on a terminal."""

import io
import re

import pytest

from or_stream.cli.terminal._render import Renderer, file_size, summary
from or_stream.cli.terminal._terminal import Terminal, printable
from or_stream.client import StreamStats
from or_stream.emulator import picture
from or_stream.events import ImageDelta, ImageDiscard, ImageEnd, ImageStart, ReasoningDelta, StreamEnd, TextDelta
from or_stream.values import Image, Message, Usage

XTERM = {"TERM": "xterm-256color"}


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "40")


@pytest.fixture
def image(tmp_path) -> Image:
    path = tmp_path / "a.png"
    path.write_bytes(picture("x", 8, 8))
    return Image.from_file(path)


def rendered(*events, output=None, notes=None, environment=XTERM, pictures=True) -> str:
    """Both streams on one screen, unless given."""
    screen = Screen()
    terminal = Terminal(output or screen, notes or screen, environment)
    with Renderer(terminal, StreamStats, waiting_for="a model", pictures=pictures) as renderer:
        for event in events:
            renderer.show(event)
    return screen.getvalue()


def visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_waiting():
    """While nothing has come, a line says what is waited for."""
    assert "waiting for a model · 0.0 s" in rendered()


def test_waiting_for_the_rest(image):
    """After a picture, a line says that there may be more."""
    assert "4 characters have come · 0.0 s" in rendered(TextDelta("Here"), ImageEnd(0, image))


def test_waiting_leaves_nothing_behind():
    """The moving line is taken away before text stands in its place."""
    assert rendered(TextDelta("Hi")).endswith("\x1b[2KHi\n")


def test_text_is_seen_at_once():
    """Text does not wait in a buffer, neither on a terminal nor on its way to a file."""
    file = io.BytesIO()
    output = io.TextIOWrapper(file)
    Terminal(output, io.StringIO(), XTERM).write("Hi")
    assert b"Hi" == file.getvalue()


def test_nothing_moves_in_a_file():
    """Where standard error is no terminal, no line moves."""
    assert not rendered(output=Screen(), notes=io.StringIO())


def test_text_is_not_changed_in_a_file():
    """Text to a file is as the model said it, however long the line."""
    output = io.StringIO()
    text = "word " * 100 + "\x07\n"
    rendered(TextDelta(text), output=output, notes=io.StringIO())
    assert text == output.getvalue()


def test_lines_break_between_words():
    """On a terminal no word is cut in two."""
    output = Screen()
    rendered(*(TextDelta(word) for word in ["word", *[" word"] * 29]), output=output, notes=io.StringIO())
    assert [" ".join(["word"] * count) for count in (16, 14)] == output.getvalue().splitlines()


def test_model_cannot_steer_the_terminal():
    """Escape sequences in an answer lose their escape."""
    assert "[2Jred\n\tx" == printable("\x1b[2Jred\r\n\tx\x9b\x00")
    assert "\x1b]0;" not in rendered(TextDelta("\x1b]0;title\x07"))


def test_reasoning_is_dimmed_and_apart():
    """Reasoning is dimmed, and the answer begins on a line of its own."""
    text = rendered(ReasoningDelta("Hm"), TextDelta("Yes"))
    assert text.endswith("\x1b[2mHm\x1b[0m\nYes\n")


def test_no_colour():
    """NO_COLOR takes the dimming away."""
    notes = Screen()
    rendered(ReasoningDelta("Hm"), output=io.StringIO(), notes=notes, environment={**XTERM, "NO_COLOR": "1", "TERM": "dumb"})
    assert "Hm\n" == notes.getvalue()


def test_picture_on_a_terminal(image):
    """A picture stands on lines of its own, and the text goes on after one empty line."""
    output = Screen()
    rendered(TextDelta("Here:"), ImageEnd(0, image), TextDelta("\n\nThere."), output=output, notes=Screen())
    assert ["Here:", "", *["▀" * 8] * 4, "", "There."] == visible(output.getvalue()).splitlines()


def test_picture_after_picture(image):
    """One empty line stands between two pictures."""
    output = Screen()
    rendered(ImageEnd(0, image), ImageEnd(1, image), output=output, notes=Screen())
    assert ["", *["▀" * 8] * 4, "", *["▀" * 8] * 4, ""] == visible(output.getvalue()).splitlines()


def test_picture_is_named(image, monkeypatch):
    """Its size and its path are told."""
    monkeypatch.setenv("COLUMNS", "300")
    assert f"\x1b[2mpicture 1 · 8x8 · {image.size} bytes · {image.path}\x1b[0m\n" in rendered(ImageEnd(0, image))


@pytest.mark.parametrize(
    "options",
    [{"pictures": False}, {"output": io.StringIO()}, {"environment": {"TERM": "dumb"}}],
    ids=lambda options: next(iter(options)),
)
def test_no_picture(image, options):
    """No picture is drawn where none is wanted or standard output is no terminal that can; its path is told all the same."""
    notes = Screen()
    output = options.get("output", Screen())
    rendered(ImageEnd(0, image), **{**options, "notes": notes, "output": output})
    assert "▀" not in output.getvalue()
    assert str(image.path) in notes.getvalue()


def test_picture_whose_file_is_gone(image):
    """A file that was taken away is told, not shown, and no failure."""
    image.path.unlink()
    assert "picture 1" in rendered(ImageEnd(0, image))


def test_picture_by_address():
    """A picture that is only an address is told as that."""
    assert "https://example.com/a.png" in rendered(ImageEnd(0, Image(url="https://example.com/a.png")))


def test_arriving():
    """While a picture comes, a line says which one and how much of it is here."""
    shown = rendered(ImageStart(0, "image/png"), ImageDelta(0, b"12"), ImageDiscard(0, 1))
    assert "picture 1 is arriving · PNG · 2 bytes" in shown


def test_summary():
    """The summary leaves out what nobody said."""
    usage = Usage(total_tokens=1290, cost=0.03871)
    stats = StreamStats(seconds=2.0, seconds_to_first_content=0.5)
    assert "done · 2.0 s · first content after 0.50 s · 1,290 tokens · $0.0387 · gen-1" == summary(
        Message(id="gen-1", text="x", usage=usage, finish_reason="stop"), stats
    )
    assert "done, stopped by length: the answer is empty · 0.0 s" == summary(Message(finish_reason="length"), StreamStats())


def test_end():
    """The end of the stream is the summary's line."""
    assert "done · 0.0 s" in rendered(StreamEnd(Message(text="x")))


@pytest.mark.parametrize(("size", "text"), [(0, "0 bytes"), (999, "999 bytes"), (384_400, "384 kB"), (1_300_000, "1.3 MB")])
def test_file_size(size, text):
    """Sizes are in the unit that people use."""
    assert text == file_size(size)
