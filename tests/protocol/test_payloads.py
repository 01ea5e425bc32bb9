"""or_stream.protocol._payloads: payloads out of the byte stream, and nothing else."""

import base64
import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from or_stream.errors import ProtocolViolation
from or_stream.protocol._payloads import TOKEN, JSONPath, PayloadData, PayloadEnd, PayloadLifter, PayloadStart
from support.feeding import chunkings, cut

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HEAD = "data:image/png;base64,"
URL = HEAD + base64.b64encode(PNG).decode()


def is_image(path: JSONPath) -> bool:
    return path[-1:] == ("url",)


class Lifted:
    """What a lifter made of some bytes: those that stayed, with each payload's bytes under its token."""

    def __init__(self, pieces: Iterable[bytes], *, in_lines: bool = True) -> None:
        lifter = PayloadLifter(is_image, in_lines=in_lines)
        rest: list[bytes] = []
        self.payloads: list[bytes] = []
        self.documents: list[Any] = []
        open_payload: list[bytes] | None = None
        for piece in pieces:
            if lifter.failure is not None:
                break
            for item in lifter.feed(piece):
                if isinstance(item, bytes):
                    assert open_payload is None
                    rest.append(item)
                elif isinstance(item, PayloadStart):
                    open_payload = []
                    self.documents.append(item.document)
                elif isinstance(item, PayloadData):
                    assert open_payload is not None
                    assert item.data, "never empty"
                    open_payload.append(item.data)
                else:
                    assert isinstance(item, PayloadEnd)
                    assert open_payload is not None
                    self.payloads.append(b"".join(open_payload))
                    open_payload = None
        self.rest = b"".join(rest)
        self.failure = lifter.failure
        self.is_lifting = lifter.is_lifting

    def put_back(self) -> Any:
        """The JSON document of the one line that was fed, payloads in their places."""
        document = json.loads(self.rest.strip().removeprefix(b"data:"))
        return self._replaced(document)

    def _replaced(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._replaced(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._replaced(item) for item in value]
        if isinstance(value, str) and f";base64,{TOKEN}" in value:
            head, _, number = value.rpartition(TOKEN)
            return head + base64.b64encode(self.payloads[int(number) - 1]).decode()
        return value


def lifted(data: bytes, *, in_lines: bool = True) -> Lifted:
    """What is lifted from the bytes, in whatever pieces they come."""
    whole = Lifted([data], in_lines=in_lines)
    for name, pieces in chunkings(data):
        other = Lifted(pieces, in_lines=in_lines)
        assert (other.rest, other.payloads, other.documents) == (whole.rest, whole.payloads, whole.documents), name
        assert str(other.failure) == str(whole.failure), name
    return whole


def line(document: str) -> bytes:
    return f"data: {document}\n\n".encode()


# ---- what is lifted


def test_payload_is_lifted():
    """A payload leaves a token behind and comes out decoded, with the JSON that was in front of it."""
    result = lifted(line(f'{{"a":[1,{{"url":"{URL}"}}],"b":2}}'))
    assert result.rest == line('{"a":[1,{"url":"data:image/png;base64,#1"}],"b":2}')
    assert result.payloads == [PNG]
    assert result.documents == [{"a": [1, {"url": HEAD}]}]


def test_payloads_of_one_line_are_numbered():
    """Two payloads of a line have different tokens."""
    result = lifted(line(f'[{{"url":"{URL}"}},{{"url":"{HEAD}QUJD"}}]'))
    assert b"#1" in result.rest
    assert b"#2" in result.rest
    assert result.payloads == [PNG, b"ABC"]


def test_escaped_slashes_of_head_and_payload():
    r"""`\/` may stand for each slash, in the media type and in the base64."""
    data = b"\xff\xff\xff\xef\xbe\xff" * 4
    text = f"data:image/png;base64,{base64.b64encode(data).decode()}".replace("/", r"\/")
    result = lifted(line(f'{{"url":"{text}"}}'))
    assert result.payloads == [data]


def test_payload_that_is_only_padding_at_its_end():
    """A payload whose padding comes in another piece is whole."""
    text = line(f'{{"url":"{HEAD}QQ=="}}')
    assert lifted(text).payloads == [b"A"]


@pytest.mark.parametrize(
    "head",
    [
        "data:;base64,",
        "data:image/svg+xml;base64,",
        "data:image/png;charset=utf-8;base64,",
        "data:" + "x" * 100 + ";base64,",
        "data:" + r"\/" * 100 + ";base64,",
    ],
)
def test_heads(head: str):
    """Any media type of up to 100 characters is a head, wherever it is cut."""
    assert lifted(line(f'{{"url":"{head}QUJD"}}')).payloads == [b"ABC"]


@pytest.mark.parametrize(
    "text",
    [
        " data:image/png;base64,QUJD",
        "https://example.org/;base64,QUJD",
        "data:image/png,QUJD",
        "data:a,b;base64,QUJD",
        "DATA:image/png;base64,QUJD",
        "data:" + "x" * 101 + ";base64,QUJD",
        r"\u0064ata:image/png;base64,QUJD",
        r"see \"data:image/png;base64,QUJD\"",
        r"data:image\\png;base64,QUJD",
        ";base64,QUJD",
    ],
)
def test_what_is_left_alone(text: str):
    """A string that is no data URL in the usual form stays as it is, also where a piece ends behind `;base64,`."""
    result = lifted(line(f'{{"url":"{text}"}}'))
    assert result.rest == line(f'{{"url":"{text}"}}')
    assert result.payloads == []


@pytest.mark.parametrize(
    "document",
    [
        f'{{"text":"{URL}"}}',
        f'{{"url":{{"{HEAD}":"x"}}}}',
        f'{{"url":"a","{URL}":1}}',
        f'"{URL}"',
        f'{{"url":["{URL}"]}}',
        f'{{"arguments":"{{\\"url\\":\\"{URL}\\"}}"}}',
        f'{{"url":"no"{URL}',
        f'{{"url":"\\ud83d","url":"{URL}"}}',
    ],
)
def test_places_that_are_no_payload(document: str):
    """A data URL in another place, in a key, inside a text or in what is no JSON stays."""
    result = lifted(line(document))
    assert result.rest == line(document)
    assert result.payloads == []


@pytest.mark.parametrize("prefix", ["", " ", "\t "])
def test_blank_after_the_colon(prefix: str):
    """`data:` with no space, one or several is the beginning of JSON."""
    assert lifted(f'data:{prefix}{{"url":"{HEAD}QUJD"}}\n\n'.encode()).payloads == [b"ABC"]


@pytest.mark.parametrize("name", [": ", "event: ", "id: ", "", "xdata: ", "\ufeffdata: "])
def test_lines_that_hold_no_data(name: str):
    """Only lines of data have payloads; a byte order mark counts on the first line alone."""
    text = f': first\n\n{name}{{"url":"{URL}"}}\n\n'.encode()
    assert lifted(text).rest == text


def test_byte_order_mark():
    """A byte order mark in front of the stream does not hide its first payload, in lines or without."""
    assert lifted(b"\xef\xbb\xbf" + line(f'{{"url":"{URL}"}}')).payloads == [PNG]
    assert lifted(f'\ufeff{{"url":"{URL}"}}'.encode(), in_lines=False).payloads == [PNG]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_second_line_of_an_event_keeps_its_payload(end: str):
    """A document on an event's second line of data is left to the JSON parser: nobody knows yet what the first line says."""
    second = f'data: {{"url":"{HEAD}QUJD"}}{end}'
    text = f'data: {{"a":1}}{end}: comment{end}{second}{end}data: {{"url":"{HEAD}QUJE"}}{end}{end}'.encode()
    result = lifted(text)
    assert result.payloads == [b"ABD"]
    assert second.encode() in result.rest


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_in_three_ways(end: str):
    """Payloads are found behind lines that end with LF, CRLF or CR."""
    text = f': a{end}{end}data: {{"url":"{HEAD}QUJD"}}{end}{end}data: {{"url":"{HEAD}QUJE"}}{end}{end}'.encode()
    assert lifted(text).payloads == [b"ABC", b"ABD"]


def test_one_document_without_lines():
    """Outside SSE, white space in front of the document and line ends inside it are JSON's own."""
    text = f'\n   \n{{\n"url":\n"{URL}"\n}}\n'.encode()
    result = lifted(text, in_lines=False)
    assert result.payloads == [PNG]
    assert result.put_back() == {"url": URL}


def test_payload_behind_much_text_is_left_to_json():
    """What is in front of a payload is not kept beyond 1 MiB; the next line starts anew."""
    long = '"' + "x" * 2**20 + '"'
    small = line(f'{{"url":"{HEAD}QUJD"}}')
    result = Lifted([line(f'{{"a":{long},"url":"{URL}"}}') + small])
    assert result.payloads == [b"ABC"]
    pieces = Lifted(cut(line(f'{{"a":{long},"url":"{URL}"}}') + small, range(1000, 2**20, 1000)))
    assert (pieces.rest, pieces.payloads) == (result.rest, result.payloads)


def test_second_line_behind_a_long_one():
    """A line that was too long to be kept was data all the same."""
    first, second = f'data: {{"a":"{"x" * (2**20 + 200_000)}"}}\n', f'data: {{"url":"{HEAD}QUJD"}}\n'
    data = f"{first}{second}\n".encode()
    for pieces in ([data], cut(data, range(50_000, len(data), 50_000))):
        assert Lifted(pieces).rest == data


def test_many_strings_that_look_like_payloads():
    """After 64 of a line that were none nothing more of it is lifted; the next line starts anew."""
    bait = ",".join(f'"{HEAD}QUJD"' for _ in range(64))
    result = lifted(line(f'{{"a":[{bait}],"url":"{URL}"}}') + line(f'{{"url":"{HEAD}QUJD"}}'))
    assert result.payloads == [b"ABC"]


# ---- failures


@pytest.mark.parametrize("payload", ["~~~~", "QUJD~", "QQ==QQ==", "Q", r"QUJD\"", "QUJD#1", "QU\nJD", "QUJD\n\ndata: {"])
def test_bad_payload_ends_the_lifter(payload: str):
    """What stands in front of a payload that is no base64 comes out; then the lifter says why it is dead."""
    result = lifted(line('{"a":1}') + line(f'{{"url":"{HEAD}{payload}"}}') + line("{}"))
    assert isinstance(result.failure, ProtocolViolation)
    assert result.rest.startswith(line('{"a":1}'))
    assert not result.rest.endswith(line("{}"))


def test_dead_lifter_says_so():
    """Feeding a lifter that has failed raises its failure."""
    lifter = PayloadLifter(is_image)
    lifter.feed(line(f'{{"url":"{HEAD}~~~~"}}'))
    with pytest.raises(ProtocolViolation):
        lifter.feed(line("{}"))


def test_is_lifting_inside_a_payload_only():
    """Whether a payload is under way shows between pieces."""
    assert Lifted([f'data: {{"url":"{HEAD}QUJ'.encode()]).is_lifting
    assert not Lifted([f'data: {{"url":"{HEAD}'.removesuffix(",").encode()]).is_lifting
    assert not Lifted([f'data: {{"url":"{HEAD}QUJD"'.encode()]).is_lifting


# ---- against the JSON parser


def shapes() -> st.SearchStrategy[Any]:
    url = st.binary(min_size=1, max_size=20).map(lambda data: HEAD + base64.b64encode(data).decode())
    odd = st.sampled_from([HEAD, "data:,x", "#1", 'quo"te \\ back', "data:image/png;base64", "\u2028\x00é", "\r\n"])
    leaf = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), url, odd)
    names = st.sampled_from(["url", "text", "images", HEAD, ""])
    return st.recursive(leaf, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)))


@given(shapes(), st.booleans(), st.booleans(), st.lists(st.integers(0, 2000), max_size=6))
def test_lifting_changes_no_document(document: Any, ascii_only: bool, in_lines: bool, offsets: list[int]):
    """Any JSON document is, payloads put back, what the JSON parser makes of the whole line."""
    text = json.dumps({"": document}, ensure_ascii=ascii_only)
    data = line(text) if in_lines else text.encode()
    result = Lifted(cut(data, sorted(offset % (len(data) + 1) for offset in offsets)), in_lines=in_lines)
    if result.failure is None:
        assert result.put_back() == json.loads(text)
    assert not result.is_lifting


# ---- cost


def seconds(data: bytes) -> float:
    lifter = PayloadLifter(is_image)
    start = time.process_time()
    for at in range(0, len(data), 65536):
        lifter.feed(data[at : at + 65536])
    return time.process_time() - start


@pytest.mark.parametrize(
    "bait",
    [
        f'"{HEAD}',
        f'\\"{HEAD}',
        '"data:',
        '"data:' + "x" * 99,
        '"data:' + r"\/" * 99,
        f'{{"url":"{HEAD}QUJD"}},',
        "\r",
        "data\n",
    ],
)
def test_cost_is_linear(bait: str):
    """Twice as much of what only looks like payloads takes at most about twice as long."""
    count = 400_000 // len(bait)
    small = min(seconds(b"data: [" + bait.encode() * count) for _ in range(3))
    large = min(seconds(b"data: [" + bait.encode() * (2 * count)) for _ in range(3))
    assert large < 4 * small + 0.05


def test_cost_of_small_pieces_is_linear():
    """A long line that comes in small pieces is not searched again for each."""

    def feed(size: int) -> float:
        lifter = PayloadLifter(is_image)
        start = time.process_time()
        for _ in range(size // 100):
            lifter.feed(b"x" * 100)
        return time.process_time() - start

    small, large = (min(feed(size) for _ in range(3)) for size in (500_000, 1_000_000))
    assert large < 4 * small + 0.05
