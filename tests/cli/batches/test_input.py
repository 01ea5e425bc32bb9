"""Files, pipes and parts: which prompts there are, and that nobody waits for who does not write."""

import asyncio
import itertools
import os
import threading
from pathlib import Path

import pytest

from or_stream import ConfigurationError, OrStreamError
from or_stream.cli.batches._input import Shard, _from_thread, _lines, open_prompts

ALL = Shard()


@pytest.fixture
def written(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def opened(source, named=None, shard=ALL):
    return open_prompts(source, named, shard, ignores_unknown=False)


@pytest.mark.parametrize(
    ("name", "text", "prompts"),
    [
        ("a.jsonl", '"one"\n\n"two"', ["one", "two"]),
        ("a.NDJSON", '"one"', ["one"]),
        ("a.csv", 'prompt\n"one\nand two"\n', [{"prompt": "one\nand two"}]),
        ("a.tsv", "prompt\tseed\none\t1\n", [{"prompt": "one", "seed": 1}]),
        ("a.txt", "one\n\ntwo\n", ["one", "two"]),
    ],
)
def test_format_by_name(written, name, text, prompts):
    """The name of a file says what is in it; it is counted without being kept, and may be read again."""
    file = opened(written(name, text))
    assert (len(prompts), prompts, prompts) == (len(file), list(file), list(file))


def test_format_that_is_named(written):
    """What is named counts more than the name of the file."""
    assert ['"one"'] == list(opened(written("a.jsonl", '"one"'), "lines"))


@pytest.mark.parametrize(("name", "says"), [("a.json", "say --format"), ("missing.txt", "not there"), ("", "a folder")])
def test_file_that_cannot_be_used(tmp_path, name, says):
    """What is no file of prompts is refused at once."""
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(ConfigurationError, match=says):
        opened(str(tmp_path / name))


def test_file_that_is_unreadable_as_a_whole(written):
    """A bad header is found before the first prompt is asked for."""
    with pytest.raises(ConfigurationError, match="one of them `prompt`"):
        opened(written("a.csv", "text\nhi\n"))


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts(written, count):
    """Each prompt is in exactly one part, and no part has much more than its share."""
    source = written("a.txt", "".join(f"prompt {number}\n" for number in range(1000)))
    parts = [opened(source, shard=Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(opened(source)) == sorted(itertools.chain(*parts))
    assert max(map(len, parts)) < 1.3 * 1000 / count
    assert [len(part) for part in parts] == [len(list(part)) for part in parts]


def test_part_of_a_line_stays(written):
    """Lines that are put in front move no other into another part, and equal lines are in one."""
    lines = [f"prompt {number}\n" for number in range(100)]
    before = list(opened(written("a.txt", "".join(lines)), shard=Shard(1, 3)))
    after = opened(written("a.txt", "new\n" + "".join(lines)), shard=Shard(1, 3))
    assert before == [prompt for prompt in after if prompt != "new"]
    assert len(opened(written("b.txt", "same\n" * 9), shard=Shard(1, 3))) in (0, 9)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_bad_lines_have_a_part(written, name):
    """A line that is no prompt is in exactly one part, too."""
    source = written(name, 'prompt\n"a"x\n' if name == "a.csv" else "prompt\n")
    assert 1 == sum(len(opened(source, shard=Shard(number, 4))) for number in range(1, 5))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "-1/2", "1/2/3", "1.5/2"])
def test_part_that_is_none(text):
    """A part is a whole number of those that there are."""
    with pytest.raises(ValueError, match="the second of eight parts"):
        Shard.parse(text)


def test_names_of_a_part():
    """Parts have names of their own, the whole has none."""
    assert ("-2-of-8", "", "") == (Shard.parse(" 2/8 ").suffix, Shard.parse("1/1").suffix, ALL.suffix)


@pytest.fixture
def pipe(tmp_path):
    """A named pipe: what writes into it may take its time."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
async def test_pipe(pipe):
    """A pipe gives each prompt as soon as its line is there, while everything else goes on."""
    opening = asyncio.ensure_future(asyncio.to_thread(opened, str(pipe), "lines"))
    writer = await asyncio.to_thread(pipe.open, "wb", buffering=0)
    with writer:
        writer.write(b"one\ntw")
        prompts = aiter(await opening)
        assert "one" == await anext(prompts)
        second = asyncio.ensure_future(anext(prompts))
        await asyncio.sleep(0)
        assert not second.done()
        writer.write(b"o\n")
        assert "two" == await second
    with pytest.raises(StopAsyncIteration):
        await anext(prompts)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
async def test_pipe_of_much(pipe):
    """More than is read ahead comes through, in order."""
    text = "".join(f"{number}\n" for number in range(2000))
    threading.Thread(target=pipe.write_text, args=(text,), daemon=True).start()
    prompts = opened(str(pipe), "lines")
    assert text.split() == [prompt async for prompt in prompts]
    assert [1, 2000] == [prompts.line_of(0), prompts.line_of(1999)]


async def test_pipe_is_not_read_far_ahead():
    """Of a pipe without end only a little is held in memory."""
    taken, far_ahead = 0, 0

    def numbers():
        nonlocal far_ahead
        for number in range(20_000):
            far_ahead = max(far_ahead, number - taken)
            yield number

    async for number in _from_thread(numbers()):
        assert number == taken
        taken += 1
    assert 20_000 == taken
    assert far_ahead < 300


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes of POSIX")
async def test_pipe_that_cannot_be_read(pipe):
    """What is wrong with a pipe as a whole is raised before anything is made for it."""
    threading.Thread(target=pipe.write_text, args=("text\nhi\n",), daemon=True).start()
    with pytest.raises(ConfigurationError, match="one of them `prompt`"):
        opened(str(pipe), "csv")


@pytest.mark.parametrize(("name", "text", "lines"), [
    ("a.txt", "one\n\n\ntwo\nthree\n", [1, 4, 5]),
    ("a.csv", 'prompt\n"one\nand a half"\n\ntwo\n', [2, 5]),
])  # fmt: skip
def test_lines(written, name, text, lines):
    """Each prompt has the line in which it begins, whatever stands between them, however often they are read."""
    prompts = opened(written(name, text))
    for _ in range(2):
        assert lines == [prompts.line_of(index) for index, _ in enumerate(prompts)]


def test_file_that_breaks_off():
    """A disk that fails in the middle of a file ends the input with an error that says so."""

    class Broken:
        def __iter__(self):
            yield b"one\n"
            raise OSError(5, "Input/output error")

    lines = _lines(Broken(), "a.txt")
    assert b"one\n" == next(lines)
    with pytest.raises(OrStreamError, match=r"'a\.txt' could not be read to its end: Input/output error"):
        next(lines)


def test_file_that_is_gone(written):
    """A file that is taken away before it is read is an error and no traceback."""
    source = written("a.txt", "one")
    prompts = opened(source)
    Path(source).unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(prompts)
