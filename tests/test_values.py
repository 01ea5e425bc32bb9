"""or_stream.values: pictures, calls and messages as users keep, save, dump and load them."""

import base64
import copy
import hashlib
import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from or_stream.errors import ConfigurationError
from or_stream.values import Audio, Image, Message, ToolCall, Usage

KINDS = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}


def picture(kind: str = "PNG", width: int = 30, height: int = 20) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), (200, 10, 10)).save(file, kind)
    return file.getvalue()


PNG = picture()
ADDRESS = Image(url="https://example.org/a.png")


@pytest.fixture
def png_file(tmp_path: Path) -> Path:
    path = tmp_path / "picture"
    path.write_bytes(PNG)
    return path


# ---- making images


@pytest.mark.parametrize(("kind", "media_type"), KINDS.items())
def test_from_bytes(kind: str, media_type: str):
    """Type, size and pixels of a picture are what its bytes say, whatever is claimed."""
    data = picture(kind)
    image = Image.from_bytes(data, claimed_media_type="image/x-wrong")
    assert (image.media_type, image.size, image.width, image.height, image.data) == (media_type, len(data), 30, 20, data)
    assert image.path is None
    assert image.url is None


@pytest.mark.parametrize(("kind", "media_type"), KINDS.items())
def test_from_file(kind: str, media_type: str, tmp_path: Path):
    """A picture in a file is the same, but for its bytes, which stay there."""
    path = tmp_path / "a"
    path.write_bytes(picture(kind) + bytes(300_000))
    image = Image.from_file(str(path), claimed_media_type="image/x-wrong")
    assert (image.media_type, image.size, image.width, image.height) == (media_type, path.stat().st_size, 30, 20)
    assert (image.path, image.data) == (path, b"")
    assert image.read_bytes() == path.read_bytes()


def test_unknown_bytes():
    """Of bytes of no known kind the claim is all that is known."""
    assert Image.from_bytes(b"?", claimed_media_type="image/x-new").media_type == "image/x-new"
    assert Image.from_bytes(b"?").media_type is None
    assert Image.from_bytes(b"?").width is None


def test_no_file(tmp_path: Path):
    """A file that is not there is an OSError."""
    with pytest.raises(FileNotFoundError):
        Image.from_file(tmp_path / "none")


def test_sha256(png_file: Path):
    """The digest is taken from memory, from the file or from who noted it; an address has none."""
    digest = hashlib.sha256(PNG).hexdigest()
    assert Image.from_bytes(PNG).sha256 == digest
    assert Image.from_file(png_file).sha256 == digest
    assert Image(path=png_file, known_sha256="known").sha256 == "known"
    assert ADDRESS.sha256 is None
    assert Image().sha256 is None


def test_looking_changes_nothing():
    """A picture whose digest was asked for is equal to one whose was not."""
    looked_at = Image.from_bytes(PNG)
    assert looked_at.sha256
    assert looked_at == Image.from_bytes(PNG)
    assert looked_at.model_dump() == Image.from_bytes(PNG).model_dump()


# ---- saving


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("a", "a.png"),
        ("a.jpg", "a.jpg"),
        ("a-2.5", "a-2.5.png"),
        ("new/folder/a", "new/folder/a.png"),
        (".hidden", ".hidden.png"),
    ],
)
def test_save(name: str, saved: str, tmp_path: Path):
    """The suffix is added where there is none, and missing folders are made."""
    assert Image.from_bytes(PNG).save(tmp_path / name) == tmp_path / saved
    assert (tmp_path / saved).read_bytes() == PNG


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp"), ("GIF", ".gif")])
def test_suffix(kind: str, suffix: str, tmp_path: Path):
    """Each kind has its suffix."""
    assert Image.from_bytes(picture(kind)).save(str(tmp_path / "a")).suffix == suffix


def test_suffix_of_the_unknown(tmp_path: Path):
    """A picture of no known kind is saved all the same."""
    assert Image.from_bytes(b"?").save(tmp_path / "a").name == "a.bin"


def test_save_from_a_file(png_file: Path, tmp_path: Path):
    """A picture in a file is copied, also onto itself."""
    image = Image.from_file(png_file)
    assert image.save(tmp_path / "b.png").read_bytes() == PNG
    copied = Image.from_file(tmp_path / "b.png")
    assert copied.save(tmp_path / "b.png").read_bytes() == PNG


def test_save_replaces(tmp_path: Path):
    """A file of that name is replaced, and nothing else stays behind."""
    (tmp_path / "a.png").write_bytes(b"old")
    Image.from_bytes(PNG).save(tmp_path / "a.png")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.png": PNG}


def test_save_is_whole_or_not_at_all(png_file: Path, tmp_path: Path):
    """Where saving fails, the old file stays, and nothing half is left."""
    image = Image.from_file(png_file)
    png_file.unlink()
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(FileNotFoundError):
        image.save(tmp_path / "a.png")
    with pytest.raises(ConfigurationError):
        ADDRESS.save(tmp_path / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match=r"folder\.png"):
        Image.from_bytes(PNG).save(tmp_path / "folder.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "folder.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_save_below_a_file(png_file: Path):
    """A folder that cannot be made is an OSError."""
    with pytest.raises(OSError, match="picture"):
        Image.from_bytes(PNG).save(png_file / "a.png")


# ---- showing


def test_data_url(png_file: Path):
    """A picture as a data URL, from memory and from a file; an address is itself."""
    expected = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert Image.from_bytes(PNG).data_url() == Image.from_file(png_file).data_url() == expected
    assert Image.from_bytes(b"?").data_url() == "data:application/octet-stream;base64,Pw=="
    assert ADDRESS.data_url() == "https://example.org/a.png"


def test_bytes_of_an_address():
    """An address has no bytes, and says what to do; a long one is shortened."""
    with pytest.raises(ConfigurationError, match=r"https://example\.org/a\.png.*fetch_image"):
        ADDRESS.read_bytes()
    with pytest.raises(ConfigurationError) as caught:
        Image(url="https://example.org/" + "x" * 10_000).read_bytes()
    assert len(str(caught.value)) < 250
    with pytest.raises(ConfigurationError):
        Image().read_bytes()


def test_notebooks():
    """Notebooks are given PNG and JPEG."""
    assert Image.from_bytes(PNG)._repr_png_() == PNG
    assert Image.from_bytes(PNG)._repr_jpeg_() is None
    assert Image.from_bytes(picture("JPEG"))._repr_jpeg_() == picture("JPEG")
    assert Image.from_bytes(picture("JPEG"))._repr_png_() is None


def test_repr(png_file: Path):
    """A repr is short and shows what a person wants to know."""
    digest = hashlib.sha256(PNG).hexdigest()[:4]
    assert repr(Image.from_bytes(PNG)) == str(Image.from_bytes(PNG)) == f"<Image png 30x20 0.1 kB sha256:{digest}...>"
    big = PNG + bytes(1_300_000)
    assert "30x20 1.3 MB" in repr(Image.from_bytes(big))
    assert repr(Image.from_file(png_file)) == f"<Image png 30x20 0.1 kB in {png_file}>"
    assert "sha256:abcd..." in repr(Image(path=png_file, known_sha256="abcdef"))
    assert repr(Image.from_bytes(b"?")).startswith("<Image unknown 0.0 kB")
    assert repr(ADDRESS) == "<Image at https://example.org/a.png>"
    assert len(repr(Image(url="https://example.org/" + "x" * 10_000))) < 120
    assert len(repr(Message(images=[Image.from_bytes(big)], audio=Audio(data=big)))) < 1000


# ---- calls


@pytest.mark.parametrize(("arguments", "value"), [("{}", {}), ('{"x": 1}\n', {"x": 1}), ("[]", [])])
def test_arguments(arguments: str, value: Any):
    """The arguments as a value."""
    assert ToolCall(arguments=arguments).json() == value


def test_arguments_that_were_cut():
    """Arguments that are no JSON are a ValueError."""
    with pytest.raises(ValueError, match="Expecting"):
        ToolCall(arguments='{"x":', complete=False).json()


# ---- messages

ONE, TWO = Image.from_bytes(PNG), Image.from_bytes(picture("GIF"))


@pytest.mark.parametrize(
    ("text", "offsets", "parts"),
    [
        ("", [], []),
        ("ab", [], ["ab"]),
        ("ab", [0, 2], [ONE, "ab", TWO]),
        ("ab", [1, 1], ["a", ONE, TWO, "b"]),
        ("ab", [2, 2], ["ab", ONE, TWO]),
        ("", [0, 0], [ONE, TWO]),
        ("ab", [1], ["a", ONE, "b", TWO]),
        ("ab", None, ["ab", ONE, TWO]),
        ("ab", [9, 9], ["ab", ONE, TWO]),
    ],
)
def test_parts(text: str, offsets: list[int] | None, parts: list[Any]):
    """Text and images in the order in which they came; images of an unknown place come last."""
    images = [] if offsets == [] else [ONE, TWO]
    assert [part for part in Message(text=text, images=images, image_offsets=offsets or []).parts if part != ""] == parts


def test_param_of_text():
    """A message of text alone, and one of nothing."""
    assert Message(text="a").to_param() == {"role": "assistant", "content": "a"}
    assert Message().to_param() == {"role": "assistant", "content": ""}


def test_param_of_images(png_file: Path):
    """Images are sent inline, from memory and from files; an address stays one."""
    param = Message(images=[ONE, Image.from_file(png_file), ADDRESS]).to_param()
    assert param["content"] == ""
    assert [entry["image_url"]["url"] for entry in param["images"]] == [
        ONE.data_url(),
        ONE.data_url(),
        "https://example.org/a.png",
    ]
    assert {entry["type"] for entry in param["images"]} == {"image_url"}


def test_param_of_a_lost_image(png_file: Path):
    """An image whose file is gone cannot be sent."""
    message = Message(images=[Image.from_file(png_file)])
    png_file.unlink()
    with pytest.raises(FileNotFoundError):
        message.to_param()


@pytest.mark.parametrize("details", [[], [{"type": "reasoning.text", "text": "a", "signature": "x", "odd": None}]])
def test_param_of_reasoning_details(details: list[dict[str, Any]]):
    """Reasoning details go back untouched, an empty list too; the plain text then does not."""
    param = Message(text="a", reasoning="r", reasoning_details=details).to_param()
    assert param["reasoning_details"] == details
    assert "reasoning" not in param


def test_param_of_plain_reasoning():
    """Reasoning without details goes back as text."""
    param = Message(text="a", reasoning="r").to_param()
    assert param["reasoning"] == "r"
    assert "reasoning_details" not in param


def test_param_of_calls():
    """Calls go back with what else they had, without those that were cut; a message of calls alone has None for its content."""
    whole = ToolCall(id="a", name="f", arguments='{"x":1}', extra={"extra_content": 1})
    cut = ToolCall(id="b", name="g", arguments="{", complete=False)
    assert Message(tool_calls=[whole, cut]).to_param() == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}, "extra_content": 1},
        ],
    }
    assert Message(tool_calls=[cut]).to_param() == {"role": "assistant", "content": ""}
    assert Message(text="a", tool_calls=[whole]).to_param()["content"] == "a"


def test_param_of_the_rest():
    """A refusal and annotations go back, so that a file is not parsed again."""
    param = Message(refusal="no", annotations=[{"type": "file"}]).to_param()
    assert (param["refusal"], param["annotations"]) == ("no", [{"type": "file"}])


FULL = Message(
    id="gen-1",
    text="a\u2028\U0001f600",
    reasoning_details=[],
    images=[ONE, ADDRESS, Image(path=Path("somewhere/a.png"), media_type="image/png", size=3, known_sha256="ab")],
    image_offsets=[0, 1, 3],
    audio=Audio(id="s", data=bytes(range(256)), transcript="t", expires_at=5),
    tool_calls=[ToolCall(id="a", arguments="{", complete=False)],
    usage=Usage(cost=0.1, cost_details={"x": None}, extra={"y": [1]}),
    status="failed",
    alternatives=[Message(text="b", images=[TWO])],
    extra={"logprobs": {"content": []}},
)


def test_through_json():
    """A message is the same after JSON, its images and its sound included."""
    text = FULL.model_dump_json()
    assert Message.model_validate_json(text) == FULL
    assert Message.model_validate(json.loads(text)) == FULL
    assert Message.model_validate_json(text).images[0].sha256 == ONE.sha256


def test_through_python():
    """A message is the same after plain data, a copy and a pickle."""
    assert Message.model_validate(FULL.model_dump()) == FULL
    assert copy.deepcopy(FULL) == FULL
    assert pickle.loads(pickle.dumps(FULL)) == FULL


def test_base64_of_a_dump():
    """Bytes are written as base64."""
    assert json.loads(Image.from_bytes(b"ABC").model_dump_json())["data"] == "QUJD"


LONG_URL = "data:image/png;base64," + "iVBOR" * 10_000


@pytest.mark.parametrize(
    "value",
    [
        Message(text=f"![a]({LONG_URL})", extra={"a": [LONG_URL]}, annotations=[{"url": LONG_URL}]),
        Message(reasoning_details=[{"data": LONG_URL}], alternatives=[Message(refusal=LONG_URL)]),
        Message(audio=Audio(data=b"x" * 10_000)),
        Usage(extra={"a": LONG_URL}),
        ToolCall(arguments=f'{{"image": "{LONG_URL}"}}', extra={"a": LONG_URL}),
        Image(url=LONG_URL),
    ],
    ids=lambda value: type(value).__name__,
)
def test_repr_without_data(value):
    """A data URL is shortened wherever it stands in a value, in `repr` and in `str`, and only there."""
    assert len(repr(value)) < 1500
    assert len(str(value)) < 1500
    assert "iVBOR" * 10 not in repr(value)
    assert value == type(value).model_validate(value.model_dump())
