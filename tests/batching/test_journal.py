"""The journal on disk: what survives, what is refused, what can be read meanwhile."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from or_stream import ConfigurationError, Image, Message, OrStreamError, StreamTruncated
from or_stream.batching.records import BatchItem, Journal, read_journal, read_task


def task(key="a", prompt="hi", index=0):
    return read_task({"prompt": prompt, "key": key}, index, "some/model", {})


def done(key="a", text="answer", **fields):
    return BatchItem(0, key, "hi", model="some/model", message=Message(text=text), attempts=1, cost=0.5, **fields)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


def test_finished_item_comes_back(path):
    """What was written down is the same item for the next run."""
    message = Message(text="há\n", images=[Image(path="out/a-0.png", media_type="image/png", known_sha256="ab")])
    with Journal(path) as journal:
        journal.ended(task(), BatchItem(0, "a", "hi", message=message, attempts=2, cost=0.25, seconds=1.5))
    with Journal(path) as journal:
        item = journal.finished(task(index=7))
    assert (item.message, item.attempts, item.cost, item.seconds, item.index) == (message, 2, 0.25, 1.5, 7)
    assert item.is_resumed
    assert item.message.images[0].sha256 == "ab"


def test_other_keys_are_not_finished(path):
    """A key that is not in the journal is not done."""
    with Journal(path) as journal:
        journal.ended(task(), done())
    with Journal(path) as journal:
        assert journal.finished(task("b")) is None


def test_failed_item_is_not_finished(path):
    """An item that failed is tried again."""
    with Journal(path) as journal:
        journal.ended(task(), BatchItem(0, "a", "hi", error=StreamTruncated("cut"), cost=0.5))
    with Journal(path) as journal:
        assert journal.finished(task()) is None
        assert journal.cost == 0.5


def test_key_of_another_request(path):
    """A key that stood for another request is an error, not an old answer."""
    with Journal(path) as journal:
        journal.ended(task(), done())
    with Journal(path) as journal, pytest.raises(ConfigurationError, match="another request"):
        journal.finished(task(prompt="something else"))


@pytest.mark.parametrize("torn", [b"{", b'{"kind":"done","key":"b"', b'{"kind":"begun","key":"b","generation_id":"g"}'])
def test_torn_line(path, torn):
    """A line without its end is cut off, and the next one begins on a line of its own."""
    with Journal(path) as journal:
        journal.ended(task(), done())
    path.write_bytes(path.read_bytes() + torn)
    with Journal(path) as journal:
        assert journal.unsettled == []
        journal.ended(task("c"), done("c"))
    assert [item.key for item in read_journal(path)] == ["a", "c"]


def test_every_torn_end(path):
    """Wherever a kill cuts the file, it opens, and has what was whole."""
    with Journal(path) as journal:
        journal.begun("a", "gen-1")
        journal.ended(task(), done(generation_ids=["gen-1"]))
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with Journal(path) as journal:
            assert len(journal) == (length == len(whole))


def test_readable_while_it_grows(path):
    """Items can be read while the journal is open, up to the last whole line."""
    with Journal(path) as journal:
        journal.ended(task(), done())
        with path.open("ab") as file:
            file.write(b'{"kind":"done"')
        assert [(item.key, item.message.text) for item in read_journal(path)] == [("a", "answer")]


def test_failures_can_be_read(path):
    """An error comes back as one of its class, with what it said."""
    error = OrStreamError("broken")
    error.retryable = True
    with Journal(path) as journal:
        journal.ended(task(), BatchItem(0, "a", "hi", error=error))
    (item,) = read_journal(path)
    assert type(item.error) is OrStreamError
    assert (str(item.error), item.error.retryable, item.error.attempts) == ("broken", True, 0)


def test_unsettled(path):
    """A request that began and did not end is known to the next run, until somebody says what it cost."""
    with Journal(path) as journal:
        journal.begun("a", "gen-1")
        journal.begun("b", "gen-2")
        journal.ended(task("b"), done("b", generation_ids=["gen-2"]))
    with Journal(path) as journal:
        assert journal.unsettled == ["gen-1"]
        journal.settled("gen-1", 0.25)
    with Journal(path) as journal:
        assert (journal.unsettled, journal.cost) == ([], 0.75)


def test_second_run_is_refused(path, monkeypatch):
    """Two runs cannot have one journal at the same time."""
    monkeypatch.setattr("or_stream.batching.records._journal._LOCK_SECONDS", 0)
    with Journal(path), pytest.raises(ConfigurationError, match="in use by another run"):
        Journal(path)
    Journal(path).close()


def test_kill_ends_the_lock(path):
    """A process that is killed leaves no lock behind."""
    script = f"from or_stream.batching.records import Journal; j = Journal({str(path)!r}); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    Journal(path).close()


@pytest.mark.parametrize(
    "text",
    [
        "a prompt",
        '{"kind":"journal","version":2',
        "a prompt\n",
        "{}\n",
        '{"kind":"done"}\n',
        "[]\n",
        '{"kind":"journal","version":1}\n{"kind":"done"}\n',
    ],
)
def test_no_journal(path, text):
    """A file of something else is left as it is."""
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="no line of a journal"):
        Journal(path)
    assert path.read_text() == text


def test_other_version(path):
    """A journal of a format to come is not touched."""
    path.write_text('{"kind":"journal","version":2}\n')
    with pytest.raises(ConfigurationError, match="version 2"):
        Journal(path)


def test_torn_first_line(path):
    """A journal whose run was killed at its first line is begun anew."""
    path.write_text('{"kind":"jour')
    with Journal(path) as journal:
        journal.ended(task(), done())
    assert [item.key for item in read_journal(path)] == ["a"]


def test_line_that_was_changed(path):
    """A line that was changed by hand is an error that says so."""
    with Journal(path) as journal:
        journal.ended(task(), done())
    path.write_text(path.read_text().replace('"text":"answer"', '"images":5'))
    with Journal(path) as journal, pytest.raises(ConfigurationError, match="was changed"):
        journal.finished(task())
    with pytest.raises(ConfigurationError, match="line 2"):
        list(read_journal(path))


def test_no_version(path):
    """A journal without a version is not touched either."""
    path.write_text('{"kind":"journal"}\n')
    with pytest.raises(ConfigurationError, match="version None"):
        Journal(path)


def test_no_place(tmp_path):
    """A journal that cannot be opened says why."""
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        Journal(tmp_path)


def test_full_disk(path):
    """A line that the disk does not take leaves the journal as it was before."""
    with Journal(path) as journal:
        journal.ended(task(), done())
        before = path.read_bytes()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        try:
            with pytest.raises(OrStreamError, match="cannot be written"):
                journal.ended(task("b"), done("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert path.read_bytes() == before
        journal.ended(task("c"), done("c"))
    assert [item.key for item in read_journal(path)] == ["a", "c"]


def test_long_lines(path):
    """A line of megabytes, as of a picture in memory, comes back whole."""
    data = os.urandom(2_000_000)
    with Journal(path) as journal:
        journal.ended(task(), BatchItem(0, "a", "hi", message=Message(images=[Image(data=data, size=len(data))])))
        journal.ended(task("b"), done("b"))
    with Journal(path) as journal:
        assert journal.finished(task()).message.images[0].data == data
        assert journal.finished(task("b")).message.text == "answer"


def test_text_that_looks_like_a_record(path):
    """Nothing in a key or a prompt is taken for the journal's own words."""
    key = ',"message":{"kind":"journal"}\n'
    with Journal(path) as journal:
        journal.ended(task(key), BatchItem(0, key, key, message=Message(text=key)))
    with Journal(path) as journal:
        assert journal.finished(task(key)).message.text == key
