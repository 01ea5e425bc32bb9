"""Lines in, prompts out: what each format takes, and what it says of a line that it cannot take."""

import csv
import itertools

import pytest

from or_stream import ConfigurationError
from or_stream.cli.batches._formats import open_format


def read(name, text, *, is_guessed=False, ignores_unknown=False):
    data = text if isinstance(text, bytes) else text.encode()
    opened = open_format(name, data.splitlines(keepends=True), is_guessed=is_guessed, ignores_unknown=ignores_unknown)
    return [opened.read(record) for record in opened]


def complaint(name, text, **options):
    (error,) = read(name, text, **options)
    assert isinstance(error, ConfigurationError)
    return str(error)


def test_plain_lines():
    """A line is a prompt; empty ones are none, and neither BOM nor line ends are part of one."""
    assert ["a boat", "ein Böötchen", "last"] == read("lines", b"\xef\xbb\xbfa boat\r\n\r\n  \nein B\xc3\xb6\xc3\xb6tchen\nlast")


def test_lines_of_json():
    """A line is a text, a conversation, or an object with any option; empty lines are none."""
    talk = [{"role": "user", "content": "hi"}]
    text = '"a boat"\r\n\n{"prompt": "a fox", "key": "f", "seed": 7}\n[{"role": "user", "content": "hi"}]\n'
    assert ["a boat", {"prompt": "a fox", "key": "f", "seed": 7}, talk] == read("jsonl", text)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("not json", "is not JSON"),
        ('{"prompt": NaN}', "NaN"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 5000, "is not JSON"),
        ("7", "a prompt is a text"),
        ("null", "a prompt is a text"),
        ('{"prompt": {"text": "hi"}}', "a prompt is a text"),
        ('{"key": "a"}', 'has no "prompt"'),
        ('{"prompt": " "}', "the prompt is empty"),
        ("[]", "the prompt is empty"),
        ('{"prompt": "hi", "temprature": 1}', "'temprature' is neither"),
        ('{"prompt": "hi", "client": 1}', "'client' is neither"),
        ('{"prompt": "hi", "save_to": "/"}', "'save_to' cannot be said in a file"),
        (b'"b\xe4d"', "is not UTF-8: there is a byte 0xe4 in it"),
    ],
)
def test_bad_line_of_json(line, says):
    """A line that is no prompt is an error that says which line and why, and the next one is read."""
    data = b'"before"\n\n' + (line if isinstance(line, bytes) else line.encode()) + b'\n"after"\n'
    before, error, after = read("jsonl", data)
    assert ("before", "after") == (before, after)
    assert isinstance(error, ConfigurationError)
    assert "line 3" in str(error)
    assert says in str(error)


def test_bad_byte_in_a_plain_line():
    """A byte that is no UTF-8 spoils its own line and no other."""
    before, error, after = read("lines", b"one\nb\xffd\nthree\n")
    assert ("one", "three") == (before, after)
    assert "line 2 is not UTF-8: there is a byte 0xff in it" in str(error)


def test_unknown_left_out():
    """On demand what is no option is left out, of objects and of rows; what the command decides is refused all the same."""
    assert [{"prompt": "hi"}] == read("jsonl", '{"prompt": "hi", "id": 7}', ignores_unknown=True)
    assert [{"prompt": "hi"}] == read("csv", "id,prompt\n7,hi\n", ignores_unknown=True)
    assert "save_to" in complaint("jsonl", '{"prompt": "hi", "save_to": "x"}', ignores_unknown=True)


@pytest.mark.parametrize("data", ['"a"\n'.encode("utf-16"), '"a"\n'.encode("utf-16-le"), b"\x89PNG\0\0"])
@pytest.mark.parametrize("name", ["jsonl", "csv", "lines"])
def test_no_text(name, data):
    """A file in UTF-16, or of no text, is refused as a whole."""
    with pytest.raises(ConfigurationError, match="save it as UTF-8"):
        read(name, data)


def test_guessed_wrongly():
    """Prompts in JSON are not sent as plain lines by mistake, but are where that was asked for."""
    line = '{"prompt": "hi"}'
    with pytest.raises(ConfigurationError, match="--format jsonl"):
        read("lines", line, is_guessed=True)
    assert [line] == read("lines", line)


@pytest.mark.parametrize("line", ["{draw} a boat", "[1, 2]", '{"a": 1}', "[" * 100_000])
def test_guessed_rightly(line):
    """What only begins like JSON is a prompt."""
    assert [line] == read("lines", line, is_guessed=True)


def test_rows():
    """Cells are texts, numbers, truth values, lists or other JSON, as their column wants; an empty one is not said."""
    text = (
        "prompt,key,model,seed,temperature,require_image,modalities,stop,provider,user,tool_choice\n"
        'a boat,7,x/y,3,0.5,TRUE,image,"[""END"", ""."" ]","{""sort"": ""price""}",42,auto\n'
        '"a, ""b""\nc",,,,,,,,,,\n'
    )
    first, second = read("csv", text)
    assert first == {
        "prompt": "a boat",
        "key": "7",
        "model": "x/y",
        "seed": 3,
        "temperature": 0.5,
        "require_image": True,
        "modalities": ["image"],
        "stop": ["END", "."],
        "provider": {"sort": "price"},
        "user": "42",
        "tool_choice": "auto",
    }
    assert {"prompt": 'a, "b"\nc'} == second


def test_semicolons():
    """A spreadsheet that writes semicolons for commas is read as well; a comma is then a character like others."""
    assert [{"prompt": "a, b", "key": "k"}] == read("csv", "prompt;key\na, b;k\n")


def test_tabs():
    """The same with tabs."""
    assert [{"prompt": "a, b", "seed": 3}] == read("tsv", "prompt\tseed\na, b\t3\n")


def test_columns_of_pictures():
    """What pictures are to be like may have columns of its own, beside or in place of image_config."""
    text = 'prompt,aspect_ratio,image_size,image_config\nhi,16:9,,"{""image_size"": ""2K""}"\nho,,,\n'
    assert [{"prompt": "hi", "image_config": {"image_size": "2K", "aspect_ratio": "16:9"}}, {"prompt": "ho"}] == read("csv", text)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("hi", "line 3 has 1 cells, the first row 3"),
        ("hi,1,,x", "line 3 has 4 cells, the first row 3"),
        (",1,", "line 3: the prompt is empty"),
        ('hi,"0,5",', "line 3: seed must be a number or other JSON, not '0,5'"),
        ("hi,NaN,", "line 3: seed must be a number"),
        (b"h\xffi,1,", "line 3 is not UTF-8: there is a byte 0xff"),
        ('"hi"x,1,', "line 3: not well quoted"),
    ],
)
def test_bad_row(row, says):
    """A row that is no prompt is an error that says which line and why, and the next one is read."""
    data = b"prompt,seed,image_config\n\n" + (row if isinstance(row, bytes) else row.encode()) + b"\nafter,1,\n"
    error, after = read("csv", data)
    assert {"prompt": "after", "seed": 1} == after
    assert says in str(error)


def test_image_config_that_is_none():
    """Columns of pictures need an object to go into."""
    assert "image_config must be a JSON object" in complaint("csv", "prompt,size,image_config\nhi,1x1,7\n")


def test_quote_that_is_not_closed():
    """A quote that is never closed says where it was opened, instead of sending the rest of the file as a prompt."""
    assert "lines 2 to 4: not well quoted" in complaint("csv", 'prompt\n"a\nb\nc\n')


def test_cell_without_end():
    """A quote that swallows very much makes the file unusable: what follows might be sent as prompts and be none."""
    with pytest.raises(ConfigurationError, match="is a quote missing"):
        read("csv", 'prompt\n"a' + "\nxxxxxxxxx" * (csv.field_size_limit() // 10 + 1) + "\nlast\n")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("text,key", "one of them `prompt`: it is 'text, key'"),
        ("prompt,prompt", "two columns are named 'prompt'"),
        ("prompt,colour", "column 'colour' is neither"),
        ("prompt,timeouts", "column 'timeouts' cannot be said in a file"),
        (b"prompt,\xff", "not UTF-8"),
    ],
)
def test_bad_header(header, says):
    """A first row that does not name usable columns makes the file unusable."""
    with pytest.raises(ConfigurationError) as caught:
        read("csv", (header if isinstance(header, bytes) else header.encode()) + b"\nhi,1\n")
    assert says in str(caught.value)


@pytest.mark.parametrize(("name", "lines"), [("lines", [b"a\n"]), ("jsonl", [b'"a"\n']), ("csv", [b"prompt\n", b"a\n"])])
def test_lazily(name, lines):
    """The first prompt is there when its line is: nothing is read ahead."""

    def endless():
        yield from lines
        raise AssertionError("read ahead")

    opened = open_format(name, endless(), is_guessed=False, ignores_unknown=False)
    (record,) = itertools.islice(opened, 1)
    assert opened.read(record) in ("a", {"prompt": "a"})


@pytest.mark.parametrize("name", ["jsonl", "csv", "tsv", "lines"])
def test_nothing(name):
    """An empty file has no prompts."""
    assert [] == read(name, "")
