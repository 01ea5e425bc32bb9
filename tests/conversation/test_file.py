"""A conversation as JSON: what is written, what comes back, and what somebody else's file must not do."""

import json
import shutil
from pathlib import Path

import pytest

from or_stream import Client, ConfigurationError, Conversation, Image, Message, Picture, ToolCall, Usage
from or_stream.emulator import picture, scenarios

PNG, OTHER = picture("a lamp", 8, 8), picture("a boat", 9, 9)
ADDRESS = "https://a.example/b.png"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "chat.json"


@pytest.fixture
def chat(conversation):
    """One turn with a picture of each side, in the folder `pictures` beside the file to come."""
    conversation.add("Edit it", Message(text="Here", images=[Image.from_bytes(OTHER)]), images=[Picture(PNG, detail="low")])
    return conversation


def changed(path, change):
    """The file with something else in it."""
    said = json.loads(path.read_text())
    change(said)
    path.write_text(json.dumps(said))


def refusal_of(path):
    with pytest.raises(ConfigurationError) as caught:
        Conversation.load(path)
    return str(caught.value)


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


# ---- there and back


async def test_saved_conversation_goes_on(emulator, client, path, tmp_path):
    """In another process, say: the next request is the one that the first conversation would have sent."""
    body = scenarios.text_and_images().body().replace(b'"content":"Here"', b'"content":"Here","reasoning_details":[{"type":"x"}]')
    emulator.play(scenarios.replay(body))
    conversation = Conversation(client=client, model="a/model", system="You paint.", save_to=tmp_path / "pictures")
    emulator.models.add("a/model")
    await conversation.generate("Draw", images=[Picture(PNG, detail="low"), ADDRESS])
    assert conversation.save(path) == path
    again = Conversation.load(path, client=client)
    await conversation.generate("Again")
    await again.generate("Again")
    assert emulator.requests[1].body == emulator.requests[2].body
    assert emulator.requests[1].body["messages"][2]["reasoning_details"] == [{"type": "x"}]


def test_everything_of_a_message_comes_back(path):
    """What Message has, but for other answers to the same question, and for bytes, which are in files."""
    answer = Message(
        id="gen-1",
        model="a/b",
        provider="P",
        text="Here",
        reasoning="so",
        reasoning_details=[{"type": "reasoning.text", "text": "so", "signature": "x="}],
        images=[Image.from_bytes(PNG), Image(url=ADDRESS)],
        image_offsets=[2, 4],
        tool_calls=[ToolCall(id="a", name="f", arguments='{"x":1}', extra={"y": 1})],
        annotations=[{"type": "file"}],
        usage=Usage(cost=0.5),
        finish_reason="stop",
        created=5,
        alternatives=[Message(text="other")],
        extra={"z": [1]},
    )
    conversation = Conversation()
    conversation.add([{"role": "user", "content": "x"}], answer)
    conversation.save(path)
    (turn,) = Conversation.load(path)
    assert turn.prompt == ({"role": "user", "content": "x"},)
    left = turn.answer.model_dump(exclude={"images", "alternatives"})
    assert left == answer.model_dump(exclude={"images", "alternatives"})
    assert turn.answer.to_param() == answer.to_param()
    assert (turn.answer.images[0].width, turn.answer.images[0].sha256) == (8, answer.images[0].sha256)


def test_pictures_are_named_relative_to_the_file(chat, path):
    """They are not copied, and the whole folder can be moved."""
    chat.save(path)
    assert all(name.startswith("pictures/") for name in names_in(path.parent) if name != "chat.json")
    moved = shutil.copytree(path.parent, path.parent.with_name("moved"))
    (turn,) = Conversation.load(moved / "chat.json")
    assert turn.answer.images[0].read_bytes() == OTHER
    assert turn.images[0].path.is_relative_to(moved)


@pytest.mark.parametrize("is_in_memory", [True, False])
def test_pictures_from_elsewhere_are_written_beside_the_file(tmp_path, is_in_memory):
    """Those in memory and those outside of its folder; once each, and no base64 in the file."""
    conversation = Conversation(**({} if is_in_memory else {"save_to": tmp_path / "elsewhere"}))
    for _ in range(2):
        conversation.add("Edit it", Message(text="Here", images=[Image.from_bytes(OTHER)]), images=[PNG])
    path = tmp_path / "chats" / "one.json"
    for _ in range(2):
        conversation.save(path)
    kept = sorted(Image.from_bytes(data).sha256 for data in (PNG, OTHER))
    assert names_in(path.parent) == [*(f"one-pictures/{digest}.png" for digest in kept), "one.json"]
    assert path.stat().st_size < 2000
    assert [turn.images[0].read_bytes() for turn in Conversation.load(path)] == [PNG, PNG]


def test_file_has_no_key_and_no_options(path):
    """What it has is model, system and turns."""
    client = Client(api_key="sk-or-v1-secret", base_url="http://127.0.0.1:1/v1")
    conversation = Conversation(client=client, system="s", extra_headers={"Authorization": "Bearer other"}, temperature=1)
    conversation.add("x", Message(text="y"))
    conversation.save(path)
    assert json.loads(path.read_text()) == {
        "kind": "conversation",
        "version": 1,
        "model": None,
        "system": "s",
        "turns": [{"prompt": "x", "images": [], "answer": {"text": "y", "images": []}}],
    }


def test_arguments_win_over_the_file(path):
    """Another model, another system message, or none."""
    Conversation(model="a/b", system="s").save(path)
    assert Conversation.load(path).model == "a/b"
    assert Conversation.load(path, model="c/d", system="t")._options["system"] == "t"
    assert Conversation.load(path, system=None)._options["system"] is None


def test_file_is_whole_or_as_it_was(chat, path):
    """What cannot be written leaves the last one, and nothing beside it."""
    chat.save(path)
    before = (path.read_bytes(), names_in(path.parent))
    chat.add([{"role": "user", "content": "x", "odd": object()}], Message(text="y"))
    with pytest.raises(ConfigurationError, match="cannot be written"):
        chat.save(path)
    assert (path.read_bytes(), names_in(path.parent)) == before


def test_place_that_takes_nothing(chat, tmp_path):
    """Where the file, or a picture of it, cannot be written."""
    (tmp_path / "a").touch()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        chat.save(tmp_path / "a" / "chat.json")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        chat.save(tmp_path)


def test_picture_that_is_gone_is_named(chat, tmp_path):
    """Where it would have to be copied."""
    chat.answers[0].images[0].path.unlink()
    with pytest.raises(ConfigurationError, match="of turn 1 cannot be read"):
        chat.save(tmp_path / "chats" / "one.json")


async def test_picture_changed_after_saving_is_not_sent(emulator, client, chat, path):
    """The digest is in the file."""
    chat.save(path)
    chat.answers[0].images[0].path.write_bytes(PNG)
    with pytest.raises(ConfigurationError, match="has changed since it was kept"):
        await Conversation.load(path, client=client).generate("Again")
    assert emulator.requests == []


# ---- what is no conversation


@pytest.mark.parametrize("data", [b"", b"[", b'{"kind":"conversation","version":1,"tur', b"\xff\xfe", b"[" * 100_000])
def test_torn_file(path, data):
    """Says that it is cut short or no JSON."""
    path.write_bytes(data)
    assert "cut short or no JSON" in refusal_of(path)


@pytest.mark.parametrize("data", [b"[]", b"1", b"{}", b'{"kind":"journal","version":1}'])
def test_another_file(path, data):
    """JSON, but no conversation."""
    path.write_bytes(data)
    assert "is no conversation" in refusal_of(path)


def test_another_version(chat, path):
    """Says which it is and which can be read."""
    chat.save(path)
    changed(path, lambda said: said.update(version=2))
    assert "version 2; this or_stream reads 1" in refusal_of(path)


def test_missing_file(path):
    """A refusal like any other."""
    assert "cannot be read" in refusal_of(path)


DAMAGE = [
    lambda said: said.pop("turns"),
    lambda said: said.update(turns={}),
    lambda said: said.update(turns=[5]),
    lambda said: said.update(model=5),
    lambda said: said.update(system=5),
    lambda said: said["turns"][0].pop("answer"),
    lambda said: said["turns"][0].pop("images"),
    lambda said: said["turns"][0].update(prompt=None),
    lambda said: said["turns"][0].update(prompt=[]),
    lambda said: said["turns"][0].update(prompt=[{}]),
    lambda said: said["turns"][0].update(prompt=["x"]),
    lambda said: said["turns"][0]["answer"].update(text=5),
    lambda said: said["turns"][0]["answer"].update(images=[5]),
    lambda said: said["turns"][0]["images"][0].pop("path"),
    lambda said: said["turns"][0]["images"][0].pop("sha256"),
    lambda said: said["turns"][0]["images"][0].update(sha256="../x"),
    lambda said: said["turns"][0]["images"][0].update(sha256=5),
    lambda said: said["turns"][0]["images"][0].update(path=5),
    lambda said: said["turns"][0]["images"][0].update(path="a\0b"),
    lambda said: said["turns"][0]["images"][0].update(width="wide"),
    lambda said: said["turns"][0]["images"][0].update(detail="x"),
    lambda said: said["turns"][0]["images"].append({"url": ""}),
    lambda said: said["turns"][0]["images"][0].update(size=10**400),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file(chat, path, damage):
    """Whatever is not as it was written is refused."""
    chat.save(path)
    changed(path, damage)
    assert refusal_of(path)


# ---- somebody else's file


@pytest.mark.parametrize("place", ["images", "answer"])
@pytest.mark.parametrize("name", ["/etc/hostname", "../secret.png", "pictures/../../secret.png", "link.png", "folder/secret.png"])
def test_file_outside_of_the_folder_is_refused(tmp_path, place, name):
    """By an absolute path, by dots, by a link and by a link to a folder, though the digest be right."""
    folder = tmp_path / "received"
    (folder / "pictures").mkdir(parents=True)
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    (folder / "link.png").symlink_to(secret)
    (folder / "folder").symlink_to(tmp_path)
    image = {"path": name, "sha256": Image.from_bytes(PNG).sha256}
    turn = {"prompt": "x", "images": [], "answer": {"text": "y", "images": []}}
    (turn["images"] if place == "images" else turn["answer"]["images"]).append(image)
    path = folder / "chat.json"
    path.write_text(json.dumps({"kind": "conversation", "version": 1, "turns": [turn]}))
    assert f"{name!r}, outside of its folder" in refusal_of(path)


async def test_links_in_a_circle(client, chat, path):
    """They lead nowhere: found when the file is read, or, since Python 3.13, when the picture is."""
    chat.save(path)
    (path.parent / "a").symlink_to("b")
    (path.parent / "b").symlink_to("a")
    changed(path, lambda said: said["turns"][0]["images"][0].update(path="a/x.png"))
    with pytest.raises(ConfigurationError):
        await Conversation.load(path, client=client).generate("Again")


@pytest.mark.parametrize("hidden", [{"data": "c2VjcmV0"}, {"path": "/etc/hostname"}, {"known_sha256": "x"}])
async def test_picture_in_another_place_of_the_message_is_not_read(emulator, client, chat, path, hidden):
    """Neither in what else an image may have, nor in other answers to the same question."""
    chat.save(path)

    def hide(said):
        answer = said["turns"][0]["answer"]
        answer["alternatives"] = [{"images": [hidden]}]
        answer["images"][0] = {**hidden, **answer["images"][0]}

    changed(path, hide)
    conversation = Conversation.load(path, client=client)
    assert conversation.answers[0].alternatives == []
    await conversation.generate("Again")
    assert conversation.answers[0].images[0].data == b""
    assert len(emulator.requests[0].body["messages"]) == 3


async def test_file_of_the_folder_that_is_no_picture_is_not_sent(emulator, client, chat, path):
    """A digest that somebody knows does not make a picture of it."""
    chat.save(path)
    (path.parent / "notes.txt").write_bytes(b"mine")
    digest = "3c9f8f9d"  # of nothing here
    changed(path, lambda said: said["turns"][0]["images"][0].update(path="notes.txt", sha256=digest.ljust(64, "0")))
    with pytest.raises(ConfigurationError, match="has changed"):
        await Conversation.load(path, client=client).generate("Again")
    assert emulator.requests == []


async def test_address_is_passed_on(emulator, client, chat, path):
    """It is the service that fetches it."""
    chat.save(path)
    changed(path, lambda said: said["turns"][0]["images"].append({"url": ADDRESS}))
    await Conversation.load(path, client=client).generate("Again")
    parts = emulator.requests[0].body["messages"][0]["content"]
    assert parts[-1]["image_url"]["url"] == ADDRESS


@pytest.mark.parametrize("url", ["gs://bucket/b.png", "/b.png", "HTTPS://a.example/b.png"])
def test_address_of_any_kind_comes_back(conversation, path, url):
    """What a server named can be saved, and is loaded as it was: nothing is read here."""
    conversation.add("x", Message(images=[Image(url=url)]))
    assert Conversation.load(conversation.save(path)).answers[0].images == [Image(url=url)]


def test_relative_folder(monkeypatch, tmp_path):
    """Paths that were relative to where the program runs become relative to the file."""
    monkeypatch.chdir(tmp_path)
    conversation = Conversation(save_to="out")
    conversation.add("x", Message(text="y", images=[Image.from_bytes(PNG)]))
    conversation.save("out/chat.json")
    monkeypatch.chdir("/")
    (turn,) = Conversation.load(tmp_path / "out" / "chat.json")
    assert turn.answer.images[0].path == Path(tmp_path, "out", f"{Image.from_bytes(PNG).sha256}.png").resolve()
