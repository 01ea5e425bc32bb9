"""Pictures by address: what HTTP says about them, what a store keeps, and what comes of a stream's events."""

import asyncio
import os
import re
import shutil

import pytest

from or_stream.errors import ConfigurationError, OrStreamError
from or_stream.events import ImageDelta, ImageDiscard, ImageEnd, ImagePreview, ImageStart, Restart, StreamEnd, TextDelta
from or_stream.relay.images import Deposit, ImageStore
from or_stream.values import Image, Message

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(250)) * 4
PICTURE = Image.from_bytes(PNG)
SVG = Image.from_bytes(b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>")


class Clock:
    def __init__(self, seconds):
        self.seconds = seconds

    def __call__(self):
        return self.seconds


@pytest.fixture(params=["memory", "folder"])
def store_of(request, tmp_path):
    """Makes stores of either kind."""
    return lambda **options: ImageStore(**({"folder": tmp_path / "pictures"} if request.param == "folder" else {}), **options)


@pytest.fixture
def store(store_of):
    return store_of()


class Answer:
    def __init__(self):
        self.status, self.headers, self.body, self.is_whole = 0, {}, b"", False

    async def send(self, message):
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.body += message["body"]
            self.is_whole = not message.get("more_body", False)


async def fetched(store, address, method="GET", **headers):
    """The answer of the store to one request; `if_range="x"` is a header."""
    answer = Answer()
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await store.asgi_app({"type": "http", "method": method, "path": address, "headers": raw}, None, answer.send)
    return answer


# ---- HTTP


async def test_whole_picture(store):
    """All of it, with its type, its size, and leave to keep it."""
    answer = await fetched(store, store.add(PICTURE))
    assert (answer.status, answer.body, answer.is_whole) == (200, PNG, True)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["accept-ranges"] == "bytes"
    assert re.fullmatch(r"private, max-age=3(600|599), immutable", answer.headers["cache-control"])
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=10-", 10, 1008),
        ("bytes=-8", 1000, 1008),
        ("bytes=1000-9999", 1000, 1008),
        ("BYTES=0-0", 0, 1),
    ],
)
async def test_range(store, wanted, start, stop):
    """A part, and which."""
    answer = await fetched(store, store.add(PICTURE), range=wanted)
    assert (answer.status, answer.body) == (206, PNG[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/1008"
    assert answer.headers["content-length"] == str(stop - start)


@pytest.mark.parametrize("wanted", ["bytes=1008-", "bytes=5000-6000", "bytes=-0"])
async def test_range_outside(store, wanted):
    """There are no such bytes; how many there are is said."""
    answer = await fetched(store, store.add(PICTURE), range=wanted)
    assert (answer.status, answer.body, answer.headers["content-range"]) == (416, b"", "bytes */1008")


@pytest.mark.parametrize("wanted", ["bytes=9-1", "bytes=-", "pages=1-2", "bytes=0-1,5-6", "bytes=x-1", "bytes=" + "9" * 30 + "-"])
async def test_range_that_is_ignored(store, wanted):
    """What is no single range of bytes gets the whole, as the standard allows."""
    assert (await fetched(store, store.add(PICTURE), range=wanted)).status == 200


async def test_if_range(store):
    """A part only of the picture that is meant."""
    address = store.add(PICTURE)
    tag = (await fetched(store, address)).headers["etag"]
    assert (await fetched(store, address, range="bytes=0-1", if_range=tag)).status == 206
    assert (await fetched(store, address, range="bytes=0-1", if_range='"another"')).status == 200


async def test_if_none_match(store):
    """Who has it already gets nothing."""
    address = store.add(PICTURE)
    tag = (await fetched(store, address)).headers["etag"]
    for header in (tag, f'"a", W/{tag}', "*"):
        answer = await fetched(store, address, if_none_match=header)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
    assert (await fetched(store, address, if_none_match='"a"')).status == 200


async def test_head(store):
    """All headers of GET and no body; a range is for GET alone."""
    address = store.add(PICTURE)
    head, get = await fetched(store, address, "HEAD", range="bytes=0-1"), await fetched(store, address)
    assert (head.status, head.body, head.headers) == (200, b"", get.headers)


async def test_slash_behind_the_name(store):
    """Litestar puts one there."""
    assert (await fetched(store, store.add(PICTURE) + "/")).status == 200


async def test_other_methods(store):
    """They are not allowed."""
    answer = await fetched(store, store.add(PICTURE), "DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("name", ["/images/x", "/images/", "/images/../../etc/passwd", f"/images/{'a' * 32}.png", "/images/%00"])
async def test_no_such_picture(store, name):
    """404, which nobody is to keep."""
    answer = await fetched(store, name)
    assert (answer.status, answer.headers["cache-control"]) == (404, "no-store")


async def test_svg_runs_no_scripts(store):
    """It is sandboxed, not sniffed, and downloaded where it is opened by itself."""
    headers = (await fetched(store, store.add(SVG))).headers
    assert headers["content-type"] == "image/svg+xml"
    assert headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment; ")


@pytest.mark.parametrize("claimed", ["text/html", None, "image/svg+xml;charset=x", "application/javascript"])
async def test_what_is_no_picture_is_octets(store, claimed):
    """Whatever an upstream claims, no page and no script is served."""
    headers = (await fetched(store, store.add(Image(media_type=claimed, data=b"<script>")))).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["content-disposition"].startswith("attachment; ")


# ---- under way


async def test_picture_under_way(store):
    """What is there is sent at once, the rest as it comes, and nothing on the way keeps half of it."""
    image = store.begin("image/png")
    store.write(image, PNG[:100])
    answer = Answer()
    scope = {"type": "http", "method": "GET", "path": store.address_of(image), "headers": [(b"range", b"bytes=0-1")]}
    fetching = asyncio.create_task(store.asgi_app(scope, None, answer.send))
    for _ in range(3):
        await asyncio.sleep(0)
    assert (answer.status, answer.body, answer.is_whole) == (200, PNG[:100], False)
    assert answer.headers["cache-control"] == "no-store, no-transform"
    assert "content-length" not in answer.headers
    store.write(image, PNG[100:])
    store.finish(image)
    await fetching
    assert (answer.body, answer.is_whole) == (PNG, True)
    assert (await fetched(store, store.address_of(image))).headers["content-length"] == "1008"


async def test_picture_that_is_cut(store):
    """Whoever is reading it is not told that it was whole."""
    image = store.begin("image/png")
    store.write(image, PNG)
    fetching = asyncio.create_task(fetched(store, store.address_of(image)))
    await asyncio.sleep(0)
    store.discard(image)
    assert not (await fetching).is_whole
    assert (await fetched(store, store.address_of(image))).status == 404


# ---- keeping


def test_addresses_are_secrets(store_of):
    """192 random bits, and the right suffix, behind the application's own address."""
    store = store_of(base_url="https://example.org/pictures/")
    one, other = store.add(PICTURE), store.add(PICTURE)
    assert one != other
    assert re.fullmatch(r"https://example\.org/pictures/[A-Za-z0-9_-]{32}\.png", one)


async def test_expiry(store_of):
    """A picture is gone when its time is over."""
    clock = Clock(2e9)
    store = store_of(expire_seconds=10, clock=clock)
    address = store.add(PICTURE)
    if store._folder is not None:
        [file] = store._folder.iterdir()
        os.utime(file, (clock.seconds, clock.seconds))
    clock.seconds += 9
    assert (await fetched(store, address)).headers["cache-control"] == "private, max-age=1, immutable"
    clock.seconds += 1
    assert (await fetched(store, address)).status == 404
    clock.seconds += 60
    store.add(PICTURE)
    assert len(store._images if store._folder is None else list(store._folder.iterdir())) == 1


async def test_limit(store_of):
    """The oldest make room; what is held never passes the limit."""
    store = store_of(max_bytes=5 * len(PNG))
    addresses = []
    for number in range(12):
        addresses.append(store.add(PICTURE))
        if store._folder is not None:
            os.utime(store._folder / addresses[-1].rpartition("/")[2], (number + 1e9 * 2, number + 1e9 * 2))
        assert store._held_bytes <= 5 * len(PNG)
    statuses = [(await fetched(store, address)).status for address in addresses]
    assert statuses[-1] == 200
    assert statuses == sorted(statuses, reverse=True)
    assert 3 <= statuses.count(200) <= 5


def test_picture_larger_than_the_store(store_of):
    """It is an error, and nothing of it stays."""
    store = store_of(max_bytes=100)
    with pytest.raises(OrStreamError, match="larger than the max_bytes"):
        store.add(PICTURE)
    assert store._held_bytes == 0
    assert not store._images


def test_full_of_pictures_under_way(store_of):
    """They are not dropped for a newer one."""
    store = store_of(max_bytes=1500)
    store.write(store.begin("image/png"), PNG)
    with pytest.raises(OrStreamError, match="under way fill"):
        store.add(PICTURE)


async def test_folder_of_another_process(tmp_path):
    """A finished picture is served by every process that has the folder, and by one that starts later."""
    address = ImageStore(folder=tmp_path).add(PICTURE)
    assert (await fetched(ImageStore(folder=tmp_path), address)).body == PNG


def test_folder_has_other_files(tmp_path):
    """They are neither served nor removed."""
    (tmp_path / "keys.txt").write_text("secret")
    os.utime(tmp_path / "keys.txt", (0, 0))
    store = ImageStore(folder=tmp_path, max_bytes=1100)
    store.add(PICTURE)
    store.add(PICTURE)
    assert store.get("keys.txt") is None
    assert (tmp_path / "keys.txt").exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_disk_that_fails(tmp_path):
    """It is an OrStreamError, which a stream can fail with; half of a picture does not come to look whole."""
    store = ImageStore(folder=tmp_path / "pictures")
    image = store.begin("image/png")
    store.write(image, PNG[:100])
    shutil.rmtree(tmp_path / "pictures")
    with pytest.raises(OrStreamError, match="cannot keep"):
        store.write(image, PNG[100:])
    with pytest.raises(OrStreamError, match="cannot keep"):
        store.finish(image)
    with pytest.raises(OrStreamError, match="cannot keep"):
        store.begin("image/png")


async def test_dropped_while_it_is_read(store_of):
    """Whoever has begun to fetch a picture gets all of it, though newer ones have taken its place."""
    large = Image.from_bytes(PNG * 100)
    store = store_of(max_bytes=large.size * 2)
    address = store.add(large)
    answer, reading, going_on = Answer(), asyncio.Event(), asyncio.Event()

    async def send(message):
        await answer.send(message)
        if answer.body:
            reading.set()
            await going_on.wait()

    fetching = asyncio.create_task(store.asgi_app({"type": "http", "method": "GET", "path": address, "headers": []}, None, send))
    await reading.wait()
    for _ in range(3):
        store.add(large)
    assert store.get(address.rpartition("/")[2]) is None
    going_on.set()
    await fetching
    assert (answer.body == large.data, answer.is_whole) == (True, True)


async def test_time_begins_at_the_end(store_of):
    """A picture that takes longer to make than it is kept is kept from when it is whole, and counted once."""
    clock = Clock(2e9)
    store = store_of(expire_seconds=10, clock=clock)
    image = store.begin("image/png")
    store.write(image, PNG[:100])
    if image.path is not None:
        os.utime(image.path, (0, 0))
    clock.seconds += 100
    store.discard(store.begin("image/png"))
    assert store.get(image.name) is image
    store.write(image, PNG[100:])
    store.finish(image)
    if image.path is not None:
        os.utime(image.path, (clock.seconds, clock.seconds))
    clock.seconds += 9
    assert (await fetched(store, store.address_of(image))).body == PNG
    assert store._held_bytes == len(PNG)


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"expire_seconds": 0}])
def test_bad_options(options):
    """They are refused."""
    with pytest.raises(ConfigurationError):
        ImageStore(**options)


# ---- the events of a stream


def test_memory_holds_a_picture_once():
    """Its bytes and those of the message are the same object."""
    store = ImageStore()
    deposit = Deposit(store)
    _, address = deposit.take(ImageStart(0, "image/png"))
    assert deposit.take(ImageDelta(0, PNG)) == (None, None)
    deposit.take(ImageEnd(0, PICTURE))
    assert store.get(address.rpartition("/")[2])._data is PICTURE.data


async def test_events_by_address(store):
    """No bytes are relayed; the end of the picture and of the stream say the address that its beginning said."""
    deposit = Deposit(store)
    start, address = deposit.take(ImageStart(0, "image/png"))
    assert start == ImageStart(0, "image/png")
    assert deposit.take(ImageDelta(0, PNG)) == (None, None)
    end, _ = deposit.take(ImageEnd(0, PICTURE))
    last, _ = deposit.take(StreamEnd(Message(images=[PICTURE], alternatives=[Message(images=[PICTURE])])))
    for image in (end.image, *last.message.images, *last.message.alternatives[0].images):
        assert (image.url, image.data, image.size, image.media_type) == (address, b"", 1008, "image/png")
    assert (await fetched(store, address)).body == PNG
    assert PICTURE.url is None


async def test_repeat_by_address(store):
    """A repeat is whole, for whoever is fetching it."""
    deposit = Deposit(store)
    _, address = deposit.take(ImageStart(1, "image/png"))
    deposit.take(ImageDelta(1, PNG))
    assert deposit.take(ImageDiscard(1, 0)) == (ImageDiscard(1, 0), None)
    deposit.close()
    answer = await fetched(store, address)
    assert (answer.body, answer.is_whole) == (PNG, True)


async def test_restart_by_address(store):
    """What was under way is cut for whoever is fetching it, though the same index begins again; the store keeps nothing of it."""
    deposit = Deposit(store)
    _, lost = deposit.take(ImageStart(0, "image/png"))
    deposit.take(ImageDelta(0, PNG[:500]))
    fetching = asyncio.create_task(fetched(store, lost))
    await asyncio.sleep(0)
    deposit.take(Restart(2, "why", Message()))
    _, address = deposit.take(ImageStart(0, "image/png"))
    deposit.take(ImageDelta(0, PNG))
    deposit.take(ImageEnd(0, PICTURE))
    answer = await asyncio.wait_for(fetching, 5)
    assert (answer.body, answer.is_whole) == (PNG[:500], False)
    assert (await fetched(store, lost)).status == 404
    assert (await fetched(store, address)).body == PNG


async def test_picture_whose_deltas_are_left_out(store):
    """An application may filter them: the picture is whole all the same."""
    deposit = Deposit(store)
    _, address = deposit.take(ImageStart(0, "image/png"))
    deposit.take(ImageEnd(0, PICTURE))
    answer = await fetched(store, address)
    assert (answer.body, answer.headers["content-length"]) == (PNG, str(len(PNG)))


async def test_preview_by_address(store):
    """It is kept like a finished picture."""
    preview, _ = Deposit(store).take(ImagePreview(0, PICTURE))
    assert (await fetched(store, preview.image.url)).body == PNG


async def test_picture_in_a_file(store, tmp_path):
    """One that the client has written to a folder of its own is kept all the same, with deltas or without."""
    image = Image.from_file(PICTURE.save(tmp_path / "picture"))
    end, _ = Deposit(store).take(ImageEnd(0, image))
    assert (await fetched(store, end.image.url)).body == PNG
    assert end.image.path is None


@pytest.mark.parametrize("event", [TextDelta("x"), ImageStart(0, None), ImageEnd(0, Image(url="https://example.org/x.png"))])
def test_other_events_are_left_alone(store, event):
    """Also a picture that is only an address."""
    assert Deposit(store).take(event) == (event, None)
