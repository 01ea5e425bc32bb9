"""The contact sheet: what others wrote into it stays text, and it is there whole or not at all."""

from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from or_stream import ConfigurationError, Image, Message, OrStreamError, ServerFailed
from or_stream.batching import BatchItem
from or_stream.batching.records import Journal, Task
from or_stream.cli.batches._sheet import write_sheet

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)> \"'>&amp; \x00\x1b[31m \ud800 \u202eevil"
ALLOWED = {"html", "head", "meta", "title", "style", "body", "header", "h1", "p", "input", "label", "main", "article", "figure"}
ALLOWED |= {"a", "img", "div", "footer", "code", "b", "nav"}


class Parsed(HTMLParser):
    """Its tags, its words, and what its articles are."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag, attribute):
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture
def out(tmp_path):
    (tmp_path / "pictures").mkdir()
    return tmp_path


@pytest.fixture
def write(out):
    """Writes a sheet of these items, in the order in which they ended, and reads it."""

    def make(*items, name="index.html", title="a.txt", **options):
        with Journal(out / "journal.jsonl") as journal:
            for item in items:
                journal.ended(Task(item.index, item.key, "r", item.prompt, item.model, {}), item)
        write_sheet(out / "journal.jsonl", out / name, out / "pictures", title=title, cost=1.5, **options)
        return Parsed(out / name)

    return make


def done(index, prompt="a boat", *, images=(), **message):
    return BatchItem(
        index, f"k{index}", prompt, model="x/y", message=Message(images=list(images), **message), cost=0.04, seconds=2
    )


def failed(index, prompt="a boat", text="no"):
    return BatchItem(index, f"k{index}", prompt, model="x/y", error=ServerFailed(text), attempts=5)


def picture(path, **fields):
    return Image(media_type=fields.pop("media_type", "image/png"), path=path, **fields)


def test_items(out, write):
    """Prompts, answers, models, costs, times and errors with their kind are there, and the head has the sums."""
    page = write(done(0, "a boat", text="Here it is", images=[picture(out / "pictures/k0-0.png")]), failed(1, "a fox", "broken"))
    for word in ("a.txt", "1 done · 1 failed · 1 pictures · $1.50", "a boat", "Here it is", "x/y", "$0.0400", "2.0 s"):
        assert word in page.text
    for word in ("a fox", "ServerFailed", "broken", "5 requests"):
        assert word in page.text
    assert ["done", "failed"] == page.all("article", "class")


def test_pictures(out, write):
    """A picture is a relative link that names the file, whatever is in its name; it is loaded when it comes into view."""
    names = ["k0-0.png", "näme #1?%.png", "a b\"'<>&.png"]
    images = [picture(out / "pictures" / name, width=40, height=30) for name in names]
    page = write(done(0, images=images))
    addresses = page.all("img", "src")
    assert [f"pictures/{name}" for name in names] == [unquote(address) for address in addresses]
    assert not [address for address in addresses if set(address) & set("#? \"'<>")]
    assert addresses == page.all("a", "href")
    assert ["lazy"] * 3 == page.all("img", "loading")
    assert ["40", "40", "40"] == page.all("img", "width")


def test_picture_saved_from_elsewhere(write):
    """Where the folder was when a picture was saved does not matter: it may have been moved since."""
    assert ["pictures/k0-0.png"] == write(done(0, images=[picture("elsewhere/pictures/k0-0.png")])).all("img", "src")


def test_document_as_a_picture(out, write):
    """An SVG is shown, where it cannot run a script, and not linked, where it could."""
    page = write(done(0, images=[picture(out / "pictures/k0-0.svg", media_type="image/svg+xml")]))
    assert (["pictures/k0-0.svg"], []) == (page.all("img", "src"), page.all("a", "href"))


@pytest.mark.parametrize(
    ("address", "links"), [("https://example.com/a.png?x=1&y=2", 1), ("javascript:alert(1)", 0), ("data:text/html,x", 0)]
)
def test_picture_at_an_address(write, address, links):
    """A picture elsewhere is not fetched when the sheet is opened: there is a link, if it is one of the web."""
    page = write(done(0, images=[Image(media_type="image/png", url=address)]))
    assert ([], [address] * links) == (page.all("img", "src"), page.all("a", "href"))


def test_hostile(out, write):
    """Whatever stands in prompts, answers, errors, keys and titles, the page has the tags that it had before."""
    unsendable = BatchItem(2, HOSTILE, HOSTILE, error=ConfigurationError(HOSTILE))
    image = picture(out / "pictures/k0-0.png")
    page = write(
        done(0, HOSTILE, text=HOSTILE.replace("\ud800", ""), images=[image]),
        failed(1, HOSTILE, HOSTILE),
        title=HOSTILE,
        unsendable=[unsendable],
    )
    assert {tag for tag, _ in page.tags} <= ALLOWED
    assert [] == [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in page.text
    assert ["auto"] * 6 == page.all("p", "dir") + page.all("div", "dir")
    assert "default-src 'none'" in page.all("meta", "content")[0]


def test_order(write):
    """Items are in the order of the input, and one that was tried again is there once, as it ended."""
    page = write(done(2, "third"), failed(0, "first"), done(1, "second"), done(0, "first"))
    assert ["first", "second", "third"] == [word for word in page.words if word in ("first", "second", "third")]
    assert "3 done · 0 failed" in page.text


def test_what_was_never_sent(write):
    """A bad line is there with its error, and does not hide an item of the same name."""
    page = write(done(0), unsendable=[BatchItem(0, "k0", None, error=ConfigurationError("line 7 is not JSON"))])
    assert ["done", "failed"] == page.all("article", "class")
    assert "line 7 is not JSON" in page.text


def test_conversation(write):
    """A prompt of which the journal keeps no text has a place all the same."""
    assert "(no text to show)" in write(done(0, [{"role": "user", "content": "hi"}])).text


def test_long_text(write):
    """A long answer does not make a long page."""
    page = write(done(0, text="word " * 100_000))
    assert len(page.text) < 20_000


def test_pages(out, write):
    """What is too much for one page is on several, linked to one another."""
    first = write(*(done(number, f"prompt {number}") for number in range(5)), items_a_page=2)
    links = ["index-page-2.html", "index-page-3.html"]
    assert links == first.all("a", "href")
    pages = [first, *(Parsed(out / name) for name in links)]
    assert [2, 2, 1] == [len(page.all("article", "class")) for page in pages]
    assert ["index.html", "index-page-3.html"] == pages[1].all("a", "href")
    assert all("5 done" in page.text for page in pages)


def test_nothing(write):
    """A run without items has a sheet that says so."""
    assert "0 done · 0 failed" in write().text


def test_only_the_sheet_is_left(out, write):
    """Nothing else is in the folder afterwards."""
    write(done(0))
    assert {"index.html", "journal.jsonl", "pictures"} == {path.name for path in out.iterdir()}


def test_sheet_that_cannot_be_written(out, write):
    """Where the disk does not take it the error says so, and nothing half is left."""
    (out / "index.html").mkdir()
    with pytest.raises(OrStreamError, match=r"index\.html' cannot be written"):
        write(done(0))
    assert {"index.html", "journal.jsonl", "pictures"} == {path.name for path in out.iterdir()}
