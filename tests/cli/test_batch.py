"""`or-stream batch` in this process: what is asked for, what is made, what is said, and the exit codes."""

import asyncio
import csv
import html
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from or_stream.batching import batch, read_journal
from or_stream.batching.pacing import _gate
from or_stream.batching.records import Journal
from or_stream.emulator import picture, scenarios


@pytest.fixture(autouse=True)
def _no_limiters():
    """A server of an earlier test may have had the same port."""
    _gate._limiters.clear()


@pytest.fixture
def asked(served):
    """The bodies of all requests for a generation, so far."""
    return lambda: [request.body for request in served.emulator.requests if request.method == "POST"]


@pytest.fixture
def written(tmp_path):
    """Writes a file of prompts: texts as lines, anything else as JSON lines."""

    def write(*prompts):
        is_text = all(isinstance(prompt, str) for prompt in prompts)
        name = "in.txt" if is_text else "in.jsonl"
        lines = prompts if is_text else [prompt if isinstance(prompt, bytes) else json.dumps(prompt) for prompt in prompts]
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        return name

    return write


REFUSED = {"prompt": "no", "key": "refused", "model": "emulator/refused-400"}


def test_pictures(invoke, written, tmp_path):
    """The folder, which is made, gets whole pictures, a journal, and a sheet that shows them."""
    result = invoke("batch", written("a picture of a boat", "two pictures of a fox"), "-o", "new/out")
    assert 0 == result.exit_code, result.stderr
    out = tmp_path / "new/out"
    assert {"index.html", "journal.jsonl", "pictures"} == {path.name for path in out.iterdir()}
    shown = re.findall(r'<img src="([^"]+)"', (out / "index.html").read_text())
    assert 3 == len(shown)
    for address in shown:
        with Image.open(out / address) as image:
            image.load()


def test_summary(served, invoke, written):
    """Standard error ends with what was done, what it took and cost, and where everything is; standard output is empty."""
    result = invoke("batch", written("hi", "ho"), "-o", "out", "--modalities", "text")
    said = dict(line.split(maxsplit=1) for line in result.stderr.splitlines())
    assert {"done", "took", "cost", "journal", "sheet"} == said.keys()
    assert "2 of 2" == said["done"]
    assert "2 requests" in said["took"]
    assert served.emulator.bill.total == pytest.approx(float(said["cost"].removeprefix("$")), rel=0.1)
    assert (str(Path("out/journal.jsonl")), str(Path("out/index.html"))) == (said["journal"], said["sheet"])
    assert not result.stdout


def test_again(invoke, written, asked, tmp_path):
    """The same command again sends nothing, says what is done, and leaves pictures and sheet as they are."""
    arguments = ("batch", written("a picture of a boat"), "-o", "out")
    assert 0 == invoke(*arguments).exit_code
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    result = invoke(*arguments)
    assert (0, 1) == (result.exit_code, len(asked()))
    assert "1 of 1, 1 of them by earlier runs" in result.stderr
    assert before
    assert before == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.png")}
    assert "<img" in (tmp_path / "out/index.html").read_text()


def test_failed_item(served, invoke, written, tmp_path):
    """An item that fails ends nothing; it is exit code 1, and counted by kind with an example."""
    result = invoke("batch", written({"prompt": "hi"}, REFUSED, {**REFUSED, "key": "other"}, {"prompt": "ho"}), "-o", "out")
    assert 1 == result.exit_code
    assert "done      2 of 4" in result.stderr
    assert "failed    2; the same command tries them again" in result.stderr
    assert re.search(r"^ +2 BadRequest, such as line [23]: HTTP 400", result.stderr, re.MULTILINE)
    assert "BadRequest" in (tmp_path / "out/index.html").read_text()


def test_failed_item_again(served, invoke, written, asked):
    """The same command again asks for what has failed, and for nothing else."""
    served.emulator.play(scenarios.refused(400))
    arguments = ("batch", written("hi", "ho"), "-o", "out", "--modalities", "text", "--concurrency", "1")
    assert 1 == invoke(*arguments).exit_code
    result = invoke(*arguments)
    assert 0 == result.exit_code, result.stderr
    assert ["hi", "ho", "hi"] == [body["messages"][0]["content"] for body in asked()]


def test_bad_line(invoke, written, asked, tmp_path):
    """A line that is no prompt costs nothing and ends nothing; the summary and the sheet say which line it is."""
    result = invoke("batch", written({"prompt": "hi"}, {"prompt": "ho", "temprature": 1}, {"prompt": "hu"}), "-o", "out")
    assert (1, 2) == (result.exit_code, len(asked()))
    assert "failed    1; the input is to be mended" in result.stderr
    assert "1 ConfigurationError, such as line 2: 'temprature'" in result.stderr
    assert "line 2" in (tmp_path / "out/index.html").read_text()


@pytest.mark.parametrize(("given", "says"), [
    ({"images": "in.png"}, "line 1: images must be a list"),
    ({"model": 5}, "line 1: the model must be a name"),
    ({"key": True}, "line 1: a key must be text or a number"),
    ({"images": ["missing.png"]}, "line 1: cannot read the image 'missing.png'"),
    ({"key": 1.5}, "line 1: a key must be text or a number"),
])  # fmt: skip
def test_bad_value_in_a_line(invoke, written, tmp_path, given, says):
    """What only the library can tell of a line is an item, too: the summary, the sheet and the results say which line it is."""
    result = invoke("batch", written({"prompt": "hi", **given}), "-o", "out", "--json")
    assert 1 == result.exit_code
    assert "0 requests" in result.stderr
    assert f"1 ConfigurationError, such as {says}" in result.stderr
    record = json.loads(result.stdout)
    assert record["error"]["text"].startswith(says)
    assert 1 == record["line"]
    assert says in html.unescape((tmp_path / "out/index.html").read_text())


def test_key_twice(invoke, written):
    """The second of two lines with one key is told by its line, and not by its number among the prompts."""
    prompts = written({}, {"prompt": "hi", "key": "a"}, {"prompt": "ho", "key": "a"})
    result = invoke("batch", prompts, "-o", "out", "--json", "--ordered")
    assert json.loads(result.stdout.splitlines()[2])["error"]["text"].startswith("line 3: the key 'a' is that of another one")


def test_unknown_left_out(invoke, written, asked):
    """--ignore-unknown takes files that were made for something else."""
    result = invoke("batch", written({"prompt": "hi", "id": 1}), "-o", "out", "--ignore-unknown")
    assert (0, 1) == (result.exit_code, len(asked()))


@pytest.mark.parametrize(
    ("name", "data", "arguments", "says"),
    [
        ("a.txt", None, (), "'a.txt' is not there"),
        ("a.json", b"[]", (), "say --format"),
        ("a.csv", b"text\nhi\n", (), "one of them `prompt`"),
        ("a.csv", b"prompt,colour\nhi,red\n", (), "column 'colour'"),
        ("a.txt", "hi\n".encode("utf-16"), (), "save it as UTF-8"),
        ("a.txt", b'{"prompt": "hi"}\n', (), "--format jsonl"),
        ("a.txt", b"hi\n", ("--shard", "3/2"), "the second of eight parts"),
        ("a.txt", b"hi\n", ("--budget", "-1"), "--budget"),
        ("a.txt", b"hi\n", ("--concurrency", "0"), "--concurrency"),
        ("a.txt", b"hi\n", ("--requests-per-minute", "0"), "requests_per_minute must be more than 0"),
        ("a.txt", b"hi\n", ("--format", "xml"), "--format"),
        ("a.txt", b"hi\n", ("-i", "missing.png"), "missing.png"),
    ],
)
def test_wrong_usage(invoke, tmp_path, asked, *, name, data, arguments, says):
    """What cannot be meant is exit code 2; nothing is sent, and no folder is made."""
    if data is not None:
        (tmp_path / name).write_bytes(data)
    result = invoke("batch", name, "-o", "out", *arguments)
    assert (2, []) == (result.exit_code, asked()), result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_no_key(invoke, served, written, tmp_path):
    """Without a key nothing is made, and one line says what to do."""
    result = invoke("batch", written("hi"), "-o", "out", env={"OPENROUTER_BASE_URL": served.emulator.base_url})
    (line,) = result.stderr.splitlines()
    assert (2, True) == (result.exit_code, "OPENROUTER_API_KEY" in line)
    assert not (tmp_path / "out").exists()


def test_journal_in_use(invoke, written, asked, tmp_path):
    """A second run on the same folder is refused."""
    with Journal(tmp_path / "out/journal.jsonl"):
        result = invoke("batch", written("hi"), "-o", "out")
    (line,) = result.stderr.splitlines()
    assert (2, []) == (result.exit_code, asked())
    assert "in use by another run" in line


def test_no_journal(invoke, written, asked, tmp_path):
    """A file of that name which is no journal is left alone."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/journal.jsonl").write_text("my own\n")
    result = invoke("batch", written("hi"), "-o", "out")
    assert (2, []) == (result.exit_code, asked())
    assert "my own\n" == (tmp_path / "out/journal.jsonl").read_text()


def test_options_reach_the_request(invoke, written, asked, tmp_path):
    """Every option is in every request; what a line says itself counts more."""
    (tmp_path / "in.png").write_bytes(picture("x", 8, 8))
    options = {"--system": "Be brief", "--aspect-ratio": "16:9", "--image-size": "0.5K", "--max-tokens": "5", "-m": "x/y"}
    own = {"prompt": "ho", "max_tokens": 7, "model": "x/z"}
    arguments = (part for pair in options.items() for part in pair)
    result = invoke(
        "batch", written({"prompt": "hi"}, own), "-o", "out", "--modalities", "image, text", "-i", "in.png", *arguments
    )
    assert 0 == result.exit_code, result.stderr
    first, second = sorted(asked(), key=lambda body: body["model"])
    assert (("x/y", 5), ("x/z", 7)) == ((first["model"], first["max_tokens"]), (second["model"], second["max_tokens"]))
    assert [{"aspect_ratio": "16:9", "image_size": "0.5K"}, ["image", "text"]] == [first["image_config"], first["modalities"]]
    assert {"role": "system", "content": "Be brief"} == first["messages"][0]
    assert ["text", "image_url"] == [part["type"] for part in first["messages"][1]["content"]]


def test_unsaid_options_are_not_sent(invoke, written, asked):
    """What was not asked for is left to the service."""
    invoke("batch", written("hi"), "-o", "out")
    assert {"model", "messages", "modalities", "stream"} == asked()[0].keys()


def test_key_of_the_library(invoke, written, served, monkeypatch, tmp_path):
    """What the command has done, the library finds in its journal."""
    invoke("batch", written("hi"), "-o", "out")
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)

    async def again():
        return await batch(["hi"], journal=tmp_path / "out/journal.jsonl", save_to=tmp_path / "out/pictures").collect()

    assert [True] == [item.is_resumed for item in asyncio.run(again())]


def test_rows(invoke, asked, tmp_path):
    """A CSV as spreadsheets write it, with a BOM and CRLF, is read as it is meant."""
    with (tmp_path / "in.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["key", "prompt", "seed", "aspect_ratio"], ["b", "böat, or\nship", "3", "16:9"]])
    result = invoke("batch", "in.csv", "-o", "out")
    assert 0 == result.exit_code, result.stderr
    (body,) = asked()
    assert (3, {"aspect_ratio": "16:9"}) == (body["seed"], body["image_config"])
    assert "böat, or\nship" == body["messages"][0]["content"]
    assert ["b"] == [item.key for item in read_journal(tmp_path / "out/journal.jsonl")]


def test_json(invoke, written, tmp_path):
    """With --json each item is a line with what a program wants of it, failed ones with their error."""
    result = invoke("batch", written({"prompt": "a picture of a boat", "key": "b"}, REFUSED), "-o", "out", "--json", "--ordered")
    done, refused = map(json.loads, result.stdout.splitlines())
    assert (0, "b", "a picture of a boat", None, 1, False) == tuple(
        done[name] for name in ("index", "key", "prompt", "error", "attempts", "resumed")
    )
    assert "boat" in done["text"]
    assert 0 < done["cost"]
    with Image.open(tmp_path / done["pictures"][0]) as image:
        image.load()
    assert ("BadRequest", None, []) == (refused["error"]["type"], refused["text"], refused["pictures"])


def test_json_again(invoke, written, asked):
    """With --json the results of earlier runs come again, in the order of the input, and nothing is sent."""
    file = written(*(f"number {number}" for number in range(20)))
    invoke("batch", file, "-o", "out", "--modalities", "text")
    result = invoke("batch", file, "-o", "out", "--modalities", "text", "--json", "--ordered")
    items = [json.loads(line) for line in result.stdout.splitlines()]
    assert [f"number {number}" for number in range(20)] == [item["prompt"] for item in items]
    assert (20, True) == (len(asked()), all(item["resumed"] and item["text"] for item in items))


def test_json_of_a_folder_that_was_moved(invoke, written, tmp_path):
    """Pictures of earlier runs are named where they are now."""
    prompts = written("a picture of a boat")
    assert 0 == invoke("batch", prompts, "-o", "out").exit_code
    (tmp_path / "out").rename(tmp_path / "moved")
    (shown,) = json.loads(invoke("batch", prompts, "-o", "moved", "--json").stdout)["pictures"]
    assert (tmp_path / shown).exists()


def test_sheet_alone(invoke, written, asked, tmp_path):
    """With no budget nothing is sent, and the sheet of what is done is written."""
    prompts = written("one", "two")
    arguments = ("batch", prompts, "-o", "out", "--modalities", "text")
    assert 1 == invoke(*arguments, "--budget", "0.00001", "--no-sheet").exit_code
    before = len(asked())
    result = invoke(*arguments, "--budget", "0")
    assert (1, before) == (result.exit_code, len(asked()))
    assert (tmp_path / "out/index.html").exists()


def test_parts(invoke, written, asked, tmp_path):
    """Parts are runs of their own in one folder, and together they are the whole."""
    file = written(*(f"number {number}" for number in range(20)))
    for part in ("1/3", "2/3", "3/3"):
        assert 0 == invoke("batch", file, "-o", "out", "--modalities", "text", "--shard", part).exit_code
    assert {f"number {number}" for number in range(20)} == {body["messages"][0]["content"] for body in asked()}
    assert 20 == len(asked())
    names = {f"{name}-{part}-of-3.{suffix}" for part in (1, 2, 3) for name, suffix in (("journal", "jsonl"), ("index", "html"))}
    assert names | {"pictures"} == {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("first", "second"), [((), ("--shard", "1/2")), (("--shard", "1/2"), ()), (("--shard", "1/2"), ("--shard", "1/3"))]
)
def test_other_parts(invoke, written, asked, first, second):
    """Another division of the same prompts into the same folder is refused: it would pay again for what is done."""
    arguments = ("batch", written("one", "two"), "-o", "out", "--modalities", "text")
    assert 0 == invoke(*arguments, *first).exit_code
    before = len(asked())
    result = invoke(*arguments, *second)
    assert (2, before) == (result.exit_code, len(asked()))
    assert "use the same --shard, or another folder" in result.stderr


def test_budget(invoke, written, served):
    """A run that has spent its budget ends with exit code 1, says so, and goes on with a higher one."""
    arguments = ("batch", written(*(f"number {number}" for number in range(50))), "-o", "out", "--modalities", "text")
    result = invoke(*arguments, "--budget", "0.003", "--concurrency", "1")
    assert 1 == result.exit_code
    assert result.stderr.splitlines()[-1].startswith("or-stream: BudgetExceeded: ")
    assert "cost      $" in result.stderr
    assert 0 < served.emulator.bill.total <= 0.003
    assert 0 == invoke(*arguments, "--budget", "1").exit_code


def test_refused_key(invoke, written, asked):
    """What every request would meet ends the run: exit code 1, and a line that names it."""
    result = invoke("batch", written("hi", "ho"), "-o", "out", "-m", "emulator/refused-401", "--concurrency", "1")
    assert (1, 1) == (result.exit_code, len(asked()))
    assert result.stderr.splitlines()[-1].startswith("or-stream: AuthenticationFailed: ")


def test_dry_run(invoke, written, asked, tmp_path):
    """A dry run counts, estimates the cost, asks for nothing and makes nothing."""
    file = written(
        {"prompt": "a picture of a boat"}, {"prompt": "a picture of a boat"}, {"prompt": "hi", "model": "x/y"}, {"key": 1}
    )
    result = invoke("batch", file, "-o", "out", "--dry-run")
    assert (0, []) == (result.exit_code, asked())
    prompts, unusable, cost, unknown = result.stderr.splitlines()
    assert "prompts   3, 2 would be sent" == prompts
    assert "unusable  1, such as line 4 has no" in unusable
    assert re.fullmatch(r"cost      about \$0\.0\d+, at the prices of the catalogue", cost)
    assert "          1 have a model without a known price" == unknown
    assert not (tmp_path / "out").exists()


def test_dry_run_without_prices(invoke, written):
    """Where no price is known, no cost is made up."""
    result = invoke("batch", written("hi"), "-o", "out", "-m", "x/y", "--dry-run")
    assert ["prompts   1, 1 would be sent", "          1 have a model without a known price"] == result.stderr.splitlines()


def test_dry_run_of_the_rest(invoke, written, asked):
    """A dry run knows what is done already, and what it has cost."""
    file = written("hi", "ho")
    invoke("batch", file, "-o", "out", "--shard", "1/1")
    result = invoke("batch", file, "-o", "out", "--dry-run")
    assert (0, 2) == (result.exit_code, len(asked()))
    assert "prompts   2, 2 are done, 0 would be sent" in result.stderr
    assert "cost      about $0.00, beside the $" in result.stderr


def test_no_sheet(invoke, written, tmp_path):
    """--no-sheet leaves out the sheet, and says nothing of one."""
    result = invoke("batch", written("hi"), "-o", "out", "--no-sheet")
    assert 0 == result.exit_code
    assert "sheet" not in result.stderr
    assert {"journal.jsonl", "pictures"} == {path.name for path in (tmp_path / "out").iterdir()}


def test_sheet_that_cannot_be_written(invoke, written, tmp_path):
    """A sheet that the disk does not take is exit code 1, behind a summary of what was done all the same."""
    (tmp_path / "out/index.html").mkdir(parents=True)
    result = invoke("batch", written("hi"), "-o", "out")
    assert 1 == result.exit_code
    assert "done      1 of 1" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("or-stream: OrStreamError: the sheet ")


def test_duplicates(invoke, written, asked):
    """Equal lines are asked for once, and the summary says that they were there."""
    result = invoke("batch", written("hi", "hi", "ho"), "-o", "out")
    assert (0, 2) == (result.exit_code, len(asked()))
    assert "done      2 of 2, and 1 said the same as another" in result.stderr


def test_hostile_failure(served, invoke, written):
    """What a server says in several lines, or to a terminal, is plain text in one line of the summary."""
    served.emulator.play(scenarios.refused(400, {"error": {"message": f"first\nsecond {'x' * 500}", "code": 400}}))
    result = invoke("batch", written("hi"), "-o", "out")
    (line,) = [line for line in result.stderr.splitlines() if "BadRequest" in line]
    assert "first second xxx" in line
    assert len(line) < 300
