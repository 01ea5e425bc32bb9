"""Base64Decoder of or_stream.protocol._payloads: base64 in any pieces, in JSON's escapes and out of them."""

import base64
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.errors import ProtocolViolation
from or_stream.protocol._payloads import Base64Decoder
from support.feeding import chunkings, cut


def decoded(pieces: Iterable[bytes], *, in_json: bool = True) -> bytes:
    decoder = Base64Decoder(in_json=in_json)
    return b"".join([decoder.feed(piece) for piece in pieces] + [decoder.finish()])


@pytest.mark.parametrize("size", range(10))
def test_every_length_is_decoded(size: int):
    """Bytes of any length come back, with and without the padding of their base64, however it is cut."""
    data = bytes(range(size))
    for text in {base64.b64encode(data), base64.b64encode(data).rstrip(b"=")}:
        for _, pieces in chunkings(text):
            assert decoded(pieces) == data


@pytest.mark.parametrize(
    "text",
    [b"A", b"AAAAA", b"AA=A", b"AA==AA==", b"AAA=AAAA", b"=", b"=AAA", b"A===", b"AA~A", b"A\xc3\xa9A", b"A-_A", b"AA\x00A"],
)
def test_what_is_no_base64_is_a_violation(text: bytes):
    """A single character, padding in the middle and characters of no base64 are refused wherever the text is cut."""
    for _, pieces in chunkings(text):
        if text == b"=" and pieces:
            continue
        with pytest.raises(ProtocolViolation, match="not decodable base64"):
            decoded(pieces)


@pytest.mark.parametrize("text", [b"", b"=", b"=="])
def test_no_characters_are_no_bytes(text: bytes):
    """A text without characters is empty and not wrong: whether that may be is for others to say."""
    assert decoded([text]) == b""


@pytest.mark.parametrize(
    "text",
    [
        rb"\/\/\/\/AAAA",
        rb"////\u002f///",
        rb"\/\n\/\/\/\r\n",
        rb"////\n",
        rb"//8=\n",
        rb"//8\n=",
        rb"//8=\r\n\r\n",
        b"// //",
        rb"//8\u003d",
        rb"\u002F\u002f\u002F\u002f\t",
    ],
)
def test_json_escapes_are_base64_too(text: bytes):
    """Escapes and white space inside a JSON string mean the same base64, wherever they are cut."""
    expected = base64.b64decode(json.loads(b'"%b"' % text))
    for name, pieces in chunkings(text):
        assert decoded(pieces) == expected, name


@pytest.mark.parametrize(
    "text", [b"AAAA\\", rb"AAAA\u00", rb"AAAA\x41", rb"\\AAA", b"AA\nAA", b"AAAA\r\n", rb"\ud83dAAA", rb"AA\u0000A"]
)
def test_what_is_no_json_string_is_no_base64(text: bytes):
    """An escape that is cut off or unknown, and a raw line end, are refused wherever they are cut."""
    for _, pieces in chunkings(text):
        with pytest.raises(ProtocolViolation):
            decoded(pieces)


@pytest.mark.parametrize("text", [rb"QQ\u003d\u003dQUJD", rb"QQ=\u003dQUJD", rb"QUI\u003dQQ=="])
def test_nothing_behind_escaped_padding(text: bytes):
    """Padding ends the base64, escaped or not, wherever it is cut."""
    for _, pieces in chunkings(text):
        with pytest.raises(ProtocolViolation):
            decoded(pieces)


def test_a_text_already_unescaped():
    """Outside JSON, line ends are white space and a backslash is no base64."""
    assert decoded([b"AAEC\r\nAw", b"Q=\n"], in_json=False) == bytes(range(5))
    with pytest.raises(ProtocolViolation):
        decoded([rb"AAE\/"], in_json=False)


@given(st.binary(max_size=60), st.data())
def test_any_base64_in_any_dress(data: bytes, draw: st.DataObject):
    """Base64 with any of its characters escaped, in any pieces, is the bytes it was made of."""
    dresses = {"/": ["/", r"\/", r"\u002f"], "=": ["=", r"\u003d", ""]}
    text = "".join(
        draw.draw(st.sampled_from([*dresses.get(letter, [letter, rf"\u{ord(letter):04x}"]), letter + r"\n"]))
        for letter in base64.b64encode(data).decode()
    ).encode()
    offsets = sorted(draw.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    assert decoded(cut(text, offsets)) == data
