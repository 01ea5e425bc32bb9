"""The documents are true: what they say is run, and what they name exists."""

import ast
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from or_stream import Client, NoImageProduced, OrStreamError, RetryPolicy, StreamTimeout, Timeouts, errors
from or_stream.emulator import Emulator, Scenario, scenarios
from support.raw_server import Connection, RawServer

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])

GIVE_UP_SECONDS = 60  # a scenario that never ends must not hold the test up where no clock of the client does
PIECES_AT_MOST = 10_000
NO_WAITING = RetryPolicy(base_seconds=0)
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
HELD = re.compile(r"(.+?)` : `(.+)")  # a cell of docs/wire.md without its outer code marks
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


class Row(NamedTuple):
    """A row of a table, without the code marks of its cells."""

    heading: str
    cells: list[str]


def read_rows(document: str) -> Iterator[Row]:
    """The rows of every table of a document in docs/, header rows left out."""
    heading, is_table = "", False
    for line in (ROOT / "docs" / document).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if is_table and cells:
            yield Row(heading, cells)
        is_table = bool(cells) and (is_table or set("".join(cells)) == {"-"})


def rows_of(heading: str):
    """(scenario, the cells behind it) of each row of one table of docs/errors.md."""
    rows = [row.cells for row in read_rows("errors.md") if row.heading == heading]
    return [pytest.param(cells[1], cells[2:], id=cells[1]) for cells in rows]


def made(scenario: str) -> Scenario:
    return eval(scenario, dict(vars(scenarios)))


async def failure_of(emulator: Emulator, scenario: str, timeouts: Timeouts | None = None, **options) -> OrStreamError:
    """What the default client raises where every request is answered like this."""
    emulator.scenario = made(scenario)
    async with Client(base_url=emulator.base_url, api_key="test", retry=NO_WAITING, timeouts=timeouts) as client:
        with pytest.raises(OrStreamError) as caught:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await client.generate("A lamp", **options)
    return caught.value


def kept_in(error: OrStreamError) -> str:
    return "text" if error.partial.text else "nothing"


@pytest.mark.parametrize(("scenario", "row"), [*rows_of("Before anything was made"), *rows_of("Inside a stream")])
async def test_failure(emulator, scenario, row):
    """A failure is raised, counted and kept as its row in docs/errors.md says."""
    error = await failure_of(emulator, scenario)
    status = str(getattr(error, "status", None) or "")
    assert row == [type(error).__name__, status, str(len(emulator.requests)), kept_in(error)]
    assert error.attempts == len(emulator.requests)
    assert error.partial.status == ("truncated" if row[0] == "StreamTruncated" else "failed")


async def exact_bytes(emulator: Emulator, scenario: str) -> tuple[bytes, bool]:
    """What a server says to one request, byte for byte, and whether it ends with a RST."""
    emulator.scenario = made(scenario)
    address = urlsplit(emulator.base_url)
    body = b'{"model":"google/gemini-2.5-flash-image","messages":[{"role":"user","content":"A lamp"}],"stream":true}'
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    fields = [f"POST {address.path}/chat/completions HTTP/1.1", f"Host: {address.netloc}", "Authorization: Bearer test"]
    fields += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]
    writer.write("\r\n".join([*fields, "", ""]).encode() + body)
    said = bytearray()
    try:
        while data := await reader.read(2**20):
            said += data
    except ConnectionResetError:
        return bytes(said), True
    finally:
        writer.close()
    return bytes(said), False


@pytest.mark.parametrize(("scenario", "row"), [*rows_of("Before anything was made"), *rows_of("Inside a stream")])
@pytest.mark.parametrize("piece_bytes", [2**20, 7])
async def test_failure_on_a_raw_socket(emulator, scenario, row, piece_bytes):
    """The same row, where a bare socket says the same bytes, at once or a few at a time, and ends as the server did."""
    said, is_reset = await exact_bytes(emulator, scenario)
    piece_bytes = max(piece_bytes, len(said) // PIECES_AT_MOST)

    async def play(connection: Connection) -> None:
        await connection.request()
        for start in range(0, len(said), piece_bytes):
            connection.send(said[start : start + piece_bytes])
            await asyncio.sleep(0)
        await connection.reset() if is_reset else connection.finish()

    async with RawServer(play) as server, Client(base_url=server.base_url, api_key="test", retry=NO_WAITING) as client:
        with pytest.raises(OrStreamError) as caught:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await client.generate("A lamp")
    requests = sum(len(connection.requests) for connection in server.connections)
    status = str(getattr(caught.value, "status", None) or "")
    assert row == [type(caught.value).__name__, status, str(requests), kept_in(caught.value)]


@pytest.mark.parametrize(("scenario", "row"), rows_of("Time"))
async def test_time(emulator, scenario, row):
    """A clock that runs out is named, what had come is kept, and nothing is sent again."""
    phase, kept = row
    error = await failure_of(emulator, scenario, Timeouts(**{"first_content": 5, "idle": 5, phase: 0.2}))
    assert isinstance(error, StreamTimeout)
    assert [phase, kept, 1] == [error.phase, kept_in(error), len(emulator.requests)]


@pytest.mark.parametrize(("scenario", "row"), rows_of("What is no failure"))
async def test_no_failure(emulator, scenario, row):
    """What is no failure is a complete message that says what happened."""
    attribute, value = row
    emulator.play(made(scenario))
    async with Client(base_url=emulator.base_url, api_key="test") as client:
        message = await client.generate("A lamp")
    assert message.status == "complete"
    assert eval(f"message.{attribute}", {"message": message}) == ast.literal_eval(value)


async def test_required_image(emulator):
    """An answer without the image that was required is a failure that keeps the text."""
    error = await failure_of(emulator, "image_missing()", require_image=True)
    assert isinstance(error, NoImageProduced)
    assert kept_in(error) == "text"


def test_every_error_has_a_row():
    """No class of error is missing in docs/errors.md."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [] == [name for name in errors.__all__ if name != "TimeoutPhase" and name not in text]


def test_the_tree_is_that_of_the_files():
    """A file that docs/architecture.md names is where its tree or its table of changes says; all folders at the top are named."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree, table = (text.partition(heading)[2].partition("\n## ")[0] for heading in ("## The tree", "## Where a change lands"))
    folders, named = [], []
    for line in tree.partition("```text\n")[2].partition("```")[0].splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        if folder := re.match(r" *([\w/]+)/", line):
            folders[depth:] = [folder[1]]
        named += [Path(*folders[:depth], name) for name in re.findall(r"(?<![\w/])\w+\.py", line) if depth]
    changed = re.findall(r"`([\w/]+\.py)`", table)
    assert len(named) > 50
    assert len(changed) > 10
    assert [] == [path for path in named if not (ROOT / path).exists()]
    assert [] == [path for path in changed if not ((ROOT / "src" / "or_stream" / path).exists() or (ROOT / path).exists())]
    assert [] == [
        path.parent.name for path in ROOT.glob("src/or_stream/*/__init__.py") if f"\n  {path.parent.name}/ " not in tree
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_names_in_a_document_exist(document):
    """Every test that a document names, and every file that it links to, is there."""
    text = document.read_text(encoding="utf-8")
    tests = [f"{path}::{name}" for path, name in NAMED_TEST.findall(text) if not has_test(ROOT / path, name)]
    files = [target for target in LINK.findall(text) if not (document.parent / target).exists()]
    assert [] == tests + files


def has_test(path: Path, name: str) -> bool:
    return path.exists() and f"def {name}(" in path.read_text(encoding="utf-8")


def wire_rows() -> list[Row]:
    return [row for row in read_rows("wire.md") if len(row.cells) == 3]


def wire_checks():
    checks = [HELD.fullmatch(row.cells[2]) for row in wire_rows()]
    return [pytest.param(*check.groups(), id=f"{number}-{check[1]}") for number, check in enumerate(checks) if check]


@pytest.mark.parametrize(("scenario", "condition"), wire_checks())
async def test_wire_fact(emulator, scenario, condition):
    """A fact of docs/wire.md is met as its row says."""
    answers = made(scenario)
    answers = answers if isinstance(answers, tuple) else (answers,)
    emulator.play(*answers[:-1])
    emulator.scenario = answers[-1]
    events, error = [], None
    async with Client(base_url=emulator.base_url, api_key="test", retry=NO_WAITING, timeouts=Timeouts(idle=2)) as client:
        stream = client.stream("A lamp", timeouts=Timeouts(first_content=0.2) if scenario == "silence()" else None)
        try:
            async for event in stream:
                events.append(event)  # noqa: PERF401  # what came before a failure must stay
        except OrStreamError as caught:
            error = caught
    names = {"message": stream.message, "stream": stream, "events": events, "error": error, "TEXT": scenarios.TEXT}
    names["request"] = emulator.requests[-1].body
    # A failure nobody asked about would leave the message of a condition half done.
    assert (error is not None) == ("error." in condition or "(error)" in condition)
    assert eval(condition, names)


def test_every_wire_fact_is_held():
    """Each row of docs/wire.md has something that holds it, and each fact a source."""
    rows = [row.cells for row in wire_rows()]
    assert [] == [cells[0] for cells in rows if not HELD.fullmatch(cells[2]) and not NAMED_TEST.fullmatch(f"`{cells[2]}`")]
    assert [] == [cells[0] for cells in rows if cells[0] and not cells[1]]
    assert len(rows) > 60
