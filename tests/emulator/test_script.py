"""Steps and their bytes."""

import json

import pytest

from or_stream.emulator import Chunk, Close, Comment, Done, Identity, Repeat, Scenario, Send, Stall, Wait
from or_stream.emulator._script import WRITE_BYTES, piece_lengths

IDENTITY = Identity("gen-1-a", 7, "some/model", "Someone")


def test_a_comment_is_a_block_of_its_own():
    """The keep-alive is the recorded one, with a blank line after each."""
    assert Scenario((Comment(count=2),)).body() == b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n"


@pytest.mark.parametrize(
    ("order", "keys"),
    [
        ("2026", ["id", "object", "created", "model", "provider", "choices"]),
        ("2024", ["id", "provider", "model", "object", "created", "choices"]),
    ],
)
def test_a_chunk_has_the_key_order_of_its_year(order, keys):
    """The order of the keys is the recorded one, before and after March 2026."""
    body = Scenario((Chunk({"choices": []}, order=order),)).body(IDENTITY)
    assert list(json.loads(body.removeprefix(b"data: "))) == keys


def test_a_chunk_is_one_line_without_spaces():
    """Compact JSON, one space after the colon, LF, characters as they are."""
    body = Scenario((Chunk({"choices": ["é🗼"]}),)).body(IDENTITY)
    assert body == (
        b'data: {"id":"gen-1-a","object":"chat.completion.chunk","created":7,"model":"some/model","provider":"Someone",'
        b'"choices":["' + "é🗼".encode() + b'"]}\n\n'
    )


def test_escaped_slashes_are_still_the_same_json():
    r"""`\/` changes the bytes and not the value."""
    plain, escaped = (Scenario((Chunk({"url": "a/b"}, escape_slashes=flag),)).body() for flag in (False, True))
    assert b"a\\/b" in escaped
    assert json.loads(escaped.removeprefix(b"data: ")) == json.loads(plain.removeprefix(b"data: "))


def test_a_payload_replaces_fields_of_the_identity():
    """A chunk may say another model than the rest."""
    body = Scenario((Chunk({"model": "other"}),)).body(IDENTITY)
    assert json.loads(body.removeprefix(b"data: "))["model"] == "other"


@pytest.mark.parametrize("last", [Stall(), Close()])
def test_body_stops_where_the_answer_stops(last):
    """What comes after a stall or a cut is never sent."""
    assert Scenario((Send(b"a"), Wait(9), Repeat((Send(b"b"),), 2), last, Done())).body() == b"abb"


def test_piece_lengths_end_in_whole_writes():
    """Lengths are used once, in order; then the rest goes in the largest write."""
    lengths = piece_lengths((3, 5))
    assert [next(lengths) for _ in range(4)] == [3, 5, WRITE_BYTES, WRITE_BYTES]
