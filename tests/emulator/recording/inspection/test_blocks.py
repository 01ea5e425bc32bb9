"""A stream cut at its blank lines: places, lengths, and text without base64, however the bytes come."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.emulator.recording.inspection._blocks import Block, Blocks, Shortened
from support.feeding import cut


def blocks_of(pieces: list[bytes]) -> tuple[list[Block], bytes]:
    blocks = Blocks()
    given_back = [part for piece in pieces for part in blocks.feed(piece)]
    last = blocks.finish()
    found = [block for _, block in given_back if block is not None]
    return found + ([last] if last else []), b"".join(data for data, _ in given_back)


def shortened(pieces: list[bytes], bytes_at_most: int = 10_000) -> tuple[bytes, bool]:
    text = Shortened(bytes_at_most)
    for piece in pieces:
        text.feed(piece)
    return text.finish()


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_places(end: bytes):
    """Each block begins where the one before ended, whatever ends its lines."""
    first, second = b"data: 1" + end + end, b": x" + end + b"data: 2" + end + end
    (one, two, rest), _ = blocks_of([first + second + b"data: 3"])
    assert [(0, len(first)), (len(first), len(second))] == [(block.offset, block.length) for block in (one, two)]
    assert (b"data: 3", True, False) == (rest.text, rest.is_open, one.is_open)


@pytest.mark.parametrize(
    "data",
    [
        b"data: 1\n\ndata: 2\n\n\n: 3\n\nrest",
        b"data: 1\r\n\r\ndata: 2\r\n\r\n",
        b"1\r\r2\r\r",
        b"\xef\xbb\xbfdata: 1\n\n",
        b"\n\n\n",
        b"",
    ],
)
def test_cuts_change_nothing(data: bytes):
    """However the bytes come, the blocks are the same and all bytes are given back."""
    whole = blocks_of([data])
    for at in range(len(data)):
        assert whole == blocks_of(cut(data, [at]))
    assert whole == blocks_of([data[at : at + 1] for at in range(len(data))])
    assert data == whole[1]


def test_pieces_end_where_blocks_end():
    """A block comes with the very bytes that end it."""
    parts = [(data, block is not None) for data, block in Blocks().feed(b"a\n\nb\n\nc")]
    assert [(b"a\n\n", True), (b"b\n\n", True), (b"c", False)] == parts


def test_base64_is_left_out():
    """A long run is its beginning and how much more there was; a short one stays."""
    run = b"A" * 1000
    assert b'{"a":"AAAAAAAAAAAAAAAAAAAAAAAA[976 more]"}' == shortened([b'{"a":"' + run + b'"}'])[0]
    assert b'"' + run[:100] + b'"' == shortened([b'"' + run[:100] + b'"'])[0]


TEXTS = st.lists(st.sampled_from(["A" * 119, "B" * 200, r"\/", r"\n", r"\u00e4", r"\"", r"\\", " ", "é", "-_"]), max_size=10)


@given(TEXTS, st.data())
def test_json_stays_json(texts: list[str], data: st.DataObject):
    """What is left of a document is the same however it was cut, and is a document still."""
    document = ('{"a": "' + "".join(texts) + '"}').encode()
    places = data.draw(st.lists(st.integers(0, len(document)), max_size=5).map(sorted))
    text, is_cut = shortened(cut(document, places))
    assert isinstance(json.loads(text)["a"], str)
    assert (text, is_cut) == shortened([document])


def test_text_is_bounded():
    """What is no base64 is cut off."""
    text, is_cut = shortened([b"ab cd " * 1000], bytes_at_most=100)
    assert (100, True) == (len(text), is_cut)
