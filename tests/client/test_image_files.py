"""Images written to a folder while they arrive."""

import asyncio
import gc
import hashlib
import re
import resource
import sys
import weakref
from pathlib import Path

import pytest

from or_stream import (
    Image,
    ImageDelta,
    ImageDiscard,
    ImageEnd,
    ImageNotSaved,
    ImageStart,
    ProtocolViolation,
    RetryPolicy,
    StreamTruncated,
)
from or_stream.client._image_files import FileSink, new_stem
from or_stream.emulator import Chunk, Done, Scenario, Stall, data_url, picture, scenarios
from or_stream.protocol._images import ImageAssembler

PNG = picture("a lamp", 32, 32)
LARGE = 1_000_000  # bytes; more than anything else that is written while a test runs


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def delta(**fields):
    return Chunk({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


def image_delta(data):
    return delta(images=[{"image_url": {"url": data_url(data)}}])


# ---- one file


def test_written_in_pieces(tmp_path):
    """The file has a hidden name until it is whole, then the suffix of its bytes."""
    sink = FileSink(tmp_path, "stem", 3, pytest.fail)
    for start in range(0, len(PNG), 7):
        sink.write(PNG[start : start + 7])
        assert names_in(tmp_path) == [".stem-3.part"]
    image = sink.finish("image/jpeg")
    assert names_in(tmp_path) == ["stem-3.png"]
    assert image.path.read_bytes() == PNG == image.read_bytes()
    assert (image.media_type, image.width, image.height, image.size) == ("image/png", 32, 32, len(PNG))
    assert image.data == b""
    assert image.known_sha256 is None
    assert image.sha256 == hashlib.sha256(PNG).hexdigest()


def test_digest_on_the_way(tmp_path):
    """Where the digest is wanted, it is that of what came, whatever becomes of the file."""
    sink = FileSink(tmp_path, "stem", 0, pytest.fail, takes_digest=True)
    for start in range(0, len(PNG), 7):
        sink.write(PNG[start : start + 7])
    image = sink.finish(None)
    image.path.unlink()
    assert image.sha256 == hashlib.sha256(PNG).hexdigest()


def test_repeats_are_known_by_their_digest(tmp_path):
    """Where the digest is wanted, a repeat is told though the first file was moved, and nothing of it stays."""
    assembler = ImageAssembler(
        lambda index: FileSink(tmp_path, "s", index, pytest.fail, takes_digest=True), max_images=9, max_image_bytes=10**6
    )
    data = PNG + bytes(10_000)

    def image(data):
        assembler.begin(0, None)
        return [*assembler.feed(data[:5000]), *assembler.feed(data[5000:]), *assembler.end()[0]][-1]

    image(data).image.path.rename(tmp_path / "moved.png")
    assert image(data) == ImageDiscard(1, 0)
    assert names_in(tmp_path) == ["moved.png"]
    assert type(image(data[:-1] + b"?")) is ImageEnd


@pytest.mark.parametrize(
    ("data", "claimed", "name"),
    [
        (b"GIF89a" + bytes(60), None, "s-0.gif"),
        (b"who knows", "image/webp", "s-0.webp"),
        (b"who knows", "image/x-new", "s-0.bin"),
        (b"who knows", None, "s-0.bin"),
    ],
)
def test_suffix(tmp_path, data, claimed, name):
    """What the bytes say, else what the server claims, else none at all."""
    sink = FileSink(tmp_path, "s", 0, pytest.fail)
    sink.write(data)
    assert sink.finish(claimed).path == tmp_path / name


def test_discarded(tmp_path):
    """Nothing stays of an image that is not wanted, whole or not, however often it is discarded."""
    begun, whole = FileSink(tmp_path, "a", 0, pytest.fail), FileSink(tmp_path, "a", 1, pytest.fail)
    begun.write(PNG)
    whole.write(PNG)
    whole.finish(None)
    for sink in (begun, whole, begun, whole):
        sink.discard()
    assert names_in(tmp_path) == []


@pytest.fixture
def full_after():
    """Makes files as large as that refuse more, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_folder_is_gone(tmp_path):
    """An image for a folder that was removed meanwhile is kept in memory, and why is told."""
    failures = []
    sink = FileSink(tmp_path / "gone", "a", 0, failures.append)
    sink.write(PNG[:9])
    sink.write(PNG[9:])
    assert sink.finish(None) == Image.from_bytes(PNG)
    assert ["No such file" in str(failure) for failure in failures] == [True]


@pytest.mark.parametrize("piece", [1000, LARGE, 2 * LARGE])
def test_disk_is_full(tmp_path, full_after, piece):
    """What a full disk has taken and what it has not is kept in memory, once, and no file stays."""
    failures = []
    full_after(LARGE)
    sink = FileSink(tmp_path, "a", 0, failures.append)
    data = picture("a lamp", 32, 32, byte_size=2 * LARGE)
    for start in range(0, len(data), piece):
        sink.write(data[start : start + piece])
    assert sink.finish(None) == Image.from_bytes(data)
    assert ["too large" in str(failure) for failure in failures] == [True]
    assert names_in(tmp_path) == []


def test_name_is_taken(tmp_path):
    """An image that cannot get its name is kept in memory."""
    failures = []
    (tmp_path / "a-0.png").mkdir()
    sink = FileSink(tmp_path, "a", 0, failures.append)
    sink.write(PNG)
    assert sink.finish(None) == Image.from_bytes(PNG)
    assert len(failures) == 1
    assert names_in(tmp_path) == ["a-0.png"]


def test_file_is_gone(tmp_path):
    """A file that was removed while it was written is an error at once: the image is lost."""
    sink = FileSink(tmp_path, "a", 0, pytest.fail)
    sink.write(PNG)
    (tmp_path / ".a-0.part").unlink()
    with pytest.raises(ImageNotSaved, match="cannot write"):
        sink.finish(None)
    assert names_in(tmp_path) == []


def test_stems():
    """Names differ, and hold nothing that a file system minds."""
    stems = {new_stem() for _ in range(50)}
    assert len(stems) == 50
    assert all(re.fullmatch(r"[0-9a-f-]+", stem) for stem in stems)


# ---- a stream into a folder


async def test_stream_into_a_folder(client, tmp_path):
    """Each image is a file, none is kept in memory, and the events still carry the bytes."""
    written = {}
    async for event in client.stream("x", model="emulator/image-formats", save_to=tmp_path):
        if isinstance(event, ImageDelta):
            written[event.index] = written.get(event.index, b"") + event.data
        elif isinstance(event, ImageEnd):
            assert event.image.path.read_bytes() == written[event.index]
            assert event.image.data == b""
    assert [name.rpartition("-")[2] for name in names_in(tmp_path)] == ["0.png", "1.jpg", "2.webp", "3.gif"]


async def test_names_of_two_streams(client, tmp_path):
    """Streams into one folder do not overwrite each other."""
    await asyncio.gather(*(client.generate("x", model="emulator/image-only", save_to=tmp_path) for _ in range(20)))
    assert len(names_in(tmp_path)) == 20


async def test_repeat_is_written_once(client, tmp_path):
    """A byte-identical repeat leaves no second file."""
    message = await client.generate("x", model="emulator/image-repeated", save_to=str(tmp_path))
    assert [image.path.name for image in message.images] == names_in(tmp_path)
    assert len(message.images) == 1


@pytest.mark.parametrize(
    ("name", "error"), [("image-cut", StreamTruncated), ("image-not-base64", ProtocolViolation), ("closed", StreamTruncated)]
)
async def test_nothing_is_left_of_a_failure(client, tmp_path, name, error):
    """An image that will never be whole leaves no file."""
    with pytest.raises(error):
        await client.generate("x", model=f"emulator/{name}", save_to=tmp_path, retry=RetryPolicy(attempts=1))
    assert names_in(tmp_path) == []


async def test_whole_images_of_a_failure_are_kept(emulator, client, tmp_path):
    """What came whole before the failure is paid for, written, and named by the error."""
    first = scenarios.image_only().steps[:-3]
    emulator.play(Scenario((*first, *scenarios.image_cut().steps)))
    with pytest.raises(StreamTruncated) as caught:
        await client.generate("x", save_to=tmp_path)
    assert [image.path.name for image in caught.value.partial.images] == names_in(tmp_path)
    assert caught.value.partial.images[0].read_bytes() == scenarios.specimen()


@pytest.mark.parametrize("how", ["break", "aclose", "cancel"])
async def test_nothing_is_left_of_an_abandoned_image(emulator, client, tmp_path, how):
    """Nor does one that nobody waited for."""
    emulator.play(Scenario((*scenarios.image_cut().steps, Stall())))
    stream = client.stream("x", save_to=tmp_path)

    async def read():
        async for event in stream:
            if isinstance(event, ImageStart) and how == "break":
                assert names_in(tmp_path)[0].endswith(".part")
                break

    task = asyncio.create_task(read())
    await emulator.received()
    while not names_in(tmp_path) and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # a file system has no event
    if how == "aclose":
        await stream.aclose()
    elif how == "cancel":
        task.cancel()
    await asyncio.wait([task])
    assert names_in(tmp_path) == []
    assert stream.status == "cancelled"


async def test_killed_while_writing(emulator, tmp_path):
    """SIGKILL in the middle of an image: those before it are whole, and what there is of it has a hidden name."""
    first = scenarios.image_only().steps[:-3]
    emulator.play(Scenario((*first, *scenarios.image_cut().steps, Stall())))
    script = Path(__file__).with_name("killable.py")
    process = await asyncio.create_subprocess_exec(sys.executable, script, emulator.base_url, tmp_path)
    while not (unfinished := [name for name in names_in(tmp_path) if name.endswith("-1.part")]):  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # a file system has no event
    process.kill()
    await process.wait()
    assert unfinished[0].startswith(".")
    (whole,) = set(names_in(tmp_path)) - set(unfinished)
    assert (tmp_path / whole).read_bytes() == scenarios.specimen()


async def test_finished_stream_is_freed(client, tmp_path):
    """With its request, pictures that were sent in among it, when the last reference goes and not when the collector runs."""
    stream = client.stream("x", save_to=tmp_path)
    await stream.final()
    freed = weakref.ref(stream)
    gc.disable()
    try:
        del stream
        assert freed() is None
    finally:
        gc.enable()


async def test_full_disk_loses_nothing(emulator, client, tmp_path, full_after):
    """An image that the disk does not take costs neither the text after it nor another image; the error has them all."""
    small, large = picture("small", 32, 32), picture("large", 32, 32, byte_size=2 * LARGE)
    deltas = [image_delta(small), delta(content="between"), image_delta(large), delta(content=" and after"), image_delta(PNG)]
    emulator.play(Scenario((*deltas, Done())))
    full_after(LARGE)
    stream = client.stream("x", save_to=tmp_path)
    with pytest.raises(ImageNotSaved, match="too large") as caught:
        await stream.final()
    partial = caught.value.partial
    assert (partial.text, partial.status, caught.value.attempts, stream.status) == ("between and after", "failed", 1, "failed")
    assert [image.read_bytes() for image in partial.images] == [small, large, PNG]
    assert [image.path is None for image in partial.images] == [False, True, False]
    assert len(names_in(tmp_path)) == 2


async def test_folder_goes_before_the_first_image(client, tmp_path):
    """All images are in memory where the folder takes none, and the stream is still read to its end."""
    folder = tmp_path / "f"
    stream = client.stream("x", model="emulator/image-with-text", save_to=folder)
    folder.rmdir()
    with pytest.raises(ImageNotSaved, match="cannot write"):
        await stream.final()
    assert stream.message.images[0].data == scenarios.specimen()


async def test_answer_goes_back_from_its_files(client, tmp_path):
    """The next turn sends the pictures that were written."""
    message = await client.generate("x", model="emulator/image-only", save_to=tmp_path)
    assert message.to_param()["images"][0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
