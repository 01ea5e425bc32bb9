"""or_stream.protocol._images: decoded bytes to image events, repeats found by their bytes."""

from pathlib import Path

import pytest

from or_stream.errors import ProtocolViolation
from or_stream.events import Event, ImageDelta, ImageDiscard, ImageEnd, ImageStart
from or_stream.protocol import ImageSink, MemorySink
from or_stream.protocol._images import ImageAssembler
from or_stream.values import Image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(200))


class Sink:
    """A sink that remembers what was done with it. With a folder, its images are in files."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.data = b""
        self.calls: list[str] = []

    def write(self, data: bytes, /) -> None:
        self.data += data

    def finish(self, claimed_media_type: str | None, /) -> Image:
        self.calls.append("finish")
        if self.folder is None:
            return Image.from_bytes(self.data, claimed_media_type=claimed_media_type)
        path = self.folder / str(len(list(self.folder.iterdir())))
        path.write_bytes(self.data)
        return Image.from_file(path)

    def discard(self) -> None:
        self.calls.append("discard")


class Assembly:
    """An assembler and the sinks it opened."""

    def __init__(self, *, max_images: int = 10, max_image_bytes: int = 1000, folder: Path | None = None) -> None:
        self.sinks: list[Sink] = []
        self.folder = folder
        self.assembler = ImageAssembler(self.open_sink, max_images=max_images, max_image_bytes=max_image_bytes)

    def open_sink(self, index: int) -> ImageSink:
        assert index == self.assembler._index
        self.sinks.append(Sink(self.folder))
        return self.sinks[-1]

    def image(self, *pieces: bytes, choice: int = 0, claimed: str | None = "image/png") -> list[Event]:
        self.assembler.begin(choice, claimed)
        events = [event for piece in pieces for event in self.assembler.feed(piece)]
        return events + self.assembler.end()[0]


def test_events_of_an_image():
    """An image begins with what its bytes say, and each event names its index and choice."""
    events = Assembly().image(JPEG[:100], JPEG[100:], choice=2)
    assert events == [
        ImageStart(0, "image/jpeg", 2),
        ImageDelta(0, JPEG[:100], 2),
        ImageDelta(0, JPEG[100:], 2),
        ImageEnd(0, Image.from_bytes(JPEG), 2),
    ]


@pytest.mark.parametrize("size", [1, 3, 63, 64, 65])
def test_start_waits_for_what_tells_the_type(size: int):
    """An image begins as soon as its type can be told, and at its end at the latest."""
    whole = Assembly().image(PNG)
    pieces = [PNG[at : at + size] for at in range(0, len(PNG), size)]
    events = Assembly().image(*pieces)
    assert events[:2] == [whole[0], ImageDelta(0, PNG[: -(-64 // size) * size])]
    assert b"".join(event.data for event in events if isinstance(event, ImageDelta)) == PNG
    assert Assembly().image(PNG[:10]) == [
        ImageStart(0, "image/png"),
        ImageDelta(0, PNG[:10]),
        ImageEnd(0, Image.from_bytes(PNG[:10])),
    ]


def test_unknown_bytes_are_what_was_claimed():
    """Where the bytes do not tell their type, the claim holds."""
    events = Assembly().image(b"?" * 80, claimed="image/x-new")
    assert events[0] == ImageStart(0, "image/x-new")
    assert events[-1] == ImageEnd(0, Image.from_bytes(b"?" * 80, claimed_media_type="image/x-new"))


def test_type_does_not_depend_on_the_cuts():
    """A mark that comes too late to be seen in the first bytes is not seen in more of them either."""
    late = b" " * 70 + b"<svg/>"
    assert Assembly().image(late, claimed=None)[0] == Assembly().image(late[:64], late[64:], claimed=None)[0]


@pytest.mark.parametrize("in_files", [False, True])
def test_repeat_is_discarded(in_files: bool, tmp_path: Path):
    """The same bytes again are a repeat of the first, however they are cut, in memory and in files; its sink forgets them."""
    assembly = Assembly(folder=tmp_path if in_files else None, max_images=300)
    assembly.image(PNG)
    assembly.image(JPEG)
    for cut in range(1, len(PNG)):
        assert assembly.image(PNG[:cut], PNG[cut:])[-1] == ImageDiscard(cut + 1, 0)
    assert [sink.calls for sink in assembly.sinks[:3]] == [["finish"], ["finish"], ["discard"]]
    assert assembly.image(*(PNG[at : at + 1] for at in range(len(PNG))))[-1] == ImageDiscard(len(PNG) + 1, 0)


def test_a_picture_that_was_moved_has_no_repeats(tmp_path: Path):
    """Whoever moved a finished picture gets it again where it is repeated: rather twice than another one not at all."""
    large, assembly = PNG * 30, Assembly(folder=tmp_path, max_image_bytes=10_000)
    end = assembly.image(large)[-1]
    assert isinstance(end, ImageEnd)
    assert end.image.path is not None
    end.image.path.rename(tmp_path / "moved.png")
    assert isinstance(assembly.image(large)[-1], ImageEnd)


def test_another_answer_may_have_the_same_image():
    """The same bytes in another choice are that answer's image, and no repeat."""
    assembly = Assembly()
    assembly.image(PNG)
    assert isinstance(assembly.image(PNG, choice=1)[-1], ImageEnd)
    assert assembly.image(PNG, choice=1)[-1] == ImageDiscard(2, 1, 1)


def test_few_files_are_opened_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of many pictures in files those that begin otherwise are not opened, and of those that begin alike only some."""
    large, assembly = PNG * 30, Assembly(folder=tmp_path, max_images=300, max_image_bytes=20_000)
    for number in range(50):
        assembly.image(large[:4095] + bytes([number]) + large)
        assembly.image(large + bytes([number]))
    opened: list[Path] = []
    read = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *mode: (opened.append(path), read(path, *mode))[1])
    assembly.assembler.begin(0, None)
    assembly.assembler.feed(b"?" * 9000)
    assembly.assembler.begin(0, None)
    assembly.assembler.feed(large[:4096])
    assert opened == []
    assembly.assembler.feed(large[4096:])
    assert len(opened) == 8


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("size", [1, 63, 64, 65, 4095, 4096, 4097])
def test_small_repeats(size: int, in_files: bool, tmp_path: Path):
    """Pictures that are no longer than what tells their type, or than what is kept of them, are compared too."""
    assembly = Assembly(folder=tmp_path if in_files else None, max_image_bytes=10_000)
    large = PNG * 30
    assembly.image(large[:size])
    assert isinstance(assembly.image(large[: size + 1])[-1], ImageEnd)
    assert assembly.image(large[:size])[-1] == ImageDiscard(2, 0)
    assert assembly.image(*(large[at : at + 1] for at in range(size + 1)))[-1] == ImageDiscard(3, 1)


def test_many_that_begin_alike_are_told():
    """Ten pictures of one encoder, whose headers are the same, come twice: each is discarded the second time."""
    assembly = Assembly(max_images=20, max_image_bytes=10_000)
    pictures = [JPEG * 4 + bytes([number]) * 5000 for number in range(10)]
    for picture in pictures:
        assembly.image(picture[:700], picture[700:])
    for number, picture in enumerate(pictures):
        assert assembly.image(picture[:1500], picture[1500:])[-1] == ImageDiscard(10 + number, number)


@pytest.mark.parametrize("in_files", [False, True])
def test_one_byte_makes_another_image(in_files: bool, tmp_path: Path):
    """Pictures that differ in one byte, or have one less or more, are two."""
    assembly = Assembly(folder=tmp_path if in_files else None, max_images=300)
    assembly.image(PNG)
    for other in (*(PNG[:at] + b"~" + PNG[at + 1 :] for at in (0, 70, 150, len(PNG) - 1)), PNG[:-1], PNG + b"\0"):
        assert isinstance(assembly.image(other[:100], other[100:])[-1], ImageEnd)


def test_addresses():
    """An address is an image without bytes, and the same address again a repeat."""
    assembler = Assembly().assembler
    url = "https://example.org/a.png"
    assert assembler.add_address(1, url) == ([ImageStart(0, None, 1), ImageEnd(0, Image(url=url), 1)], Image(url=url))
    assert assembler.add_address(1, url) == ([ImageStart(1, None, 1), ImageDiscard(1, 0, 1)], None)
    assert assembler.add_address(0, url + "?2")[1] == Image(url=url + "?2")
    assert assembler.add_address(0, url)[1] == Image(url=url)  # another answer's


def test_largest_image():
    """An image of exactly the limit is delivered; one byte more is a violation that names the limit."""
    assembly = Assembly(max_image_bytes=100)
    assert isinstance(assembly.image(PNG[:60], PNG[60:100])[-1], ImageEnd)
    with pytest.raises(ProtocolViolation, match="max_image_bytes=100"):
        assembly.image(PNG[:60], PNG[60:101])


def test_most_images():
    """Repeats and addresses count as images; one more than the limit is a violation that names it."""
    assembly = Assembly(max_images=3)
    assembly.image(PNG)
    assembly.image(PNG)
    assembly.assembler.add_address(0, "https://example.org/a.png")
    with pytest.raises(ProtocolViolation, match="max_images=3"):
        assembly.assembler.begin(0, None)
    with pytest.raises(ProtocolViolation, match="max_images=3"):
        assembly.assembler.add_address(0, "https://example.org/b.png")
    assert len(assembly.sinks) == 2


def test_image_without_bytes():
    """An image of no bytes is a violation."""
    with pytest.raises(ProtocolViolation, match="no data"):
        Assembly().image()


def test_close_forgets_an_image_that_is_not_whole():
    """Closing tells the sink of a half image to forget it, once, and leaves a whole one alone."""
    assembly = Assembly()
    assembly.image(PNG)
    assembly.assembler.begin(0, None)
    assembly.assembler.feed(PNG)
    assembly.assembler.close()
    assembly.assembler.close()
    assert [sink.calls for sink in assembly.sinks] == [["finish"], ["discard"]]


def test_memory_sink():
    """A sink in memory makes an image of what was written to it, also after its buffer is gone."""
    sink = MemorySink()
    sink.write(PNG[:5])
    sink.write(PNG[5:])
    image = sink.finish("image/x-wrong")
    sink.discard()
    assert image == Image.from_bytes(PNG)
