"""`or-stream batch`: a file of prompts, made into answers, pictures, a journal and a contact sheet."""

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from or_stream.batching import BatchOptions, BatchRun
from or_stream.cli._outcome import discard_output, outcome, run_loop
from or_stream.cli.batches import FormatName, Progress, Prompts, Shard, Tally, json_line, open_prompts, write_sheet
from or_stream.cli.terminal import Terminal
from or_stream.client import DEFAULT_MODEL, Client, ImageConfig, Timeouts
from or_stream.errors import ConfigurationError, OrStreamError

__all__ = ["batch"]

_PICTURES: Final = "pictures"
_AFTER_CTRL_C: Final = "run the same command again to go on"

_Source = Annotated[str, typer.Argument(metavar="FILE", help="The prompts. [bold]-[/bold] reads them from standard input.")]
_Output = Annotated[Path, typer.Option("--output", "-o", help="The folder for everything that is made, made if missing.")]
_Format = Annotated[
    FormatName | None,
    typer.Option("--format", help="What is in the file.", show_default="by its name: .jsonl .csv .tsv .txt; lines where piped"),
]
_IgnoreUnknown = Annotated[
    bool, typer.Option("--ignore-unknown", help="Leave out fields and columns that are no option, instead of refusing them.")
]
_Shard = Annotated[
    str | None, typer.Option(metavar="I/N", help="Only this part of the prompts, such as 2/8, for N runs on N machines.")
]
_Model = Annotated[
    str | None, typer.Option("--model", "-m", help=f"Default: $OR_STREAM_MODEL, else {DEFAULT_MODEL}.", show_default=False)
]
_Images = Annotated[
    list[str] | None,
    typer.Option("--image", "-i", help="A picture to send in with every prompt: a file or an address. Repeatable."),
]
_Modalities = Annotated[str | None, typer.Option(help="What may come out, such as image,text.", show_default="all it can")]
_Concurrency = Annotated[int, typer.Option(min=1, help="At most so many at once.")]
_Budget = Annotated[float | None, typer.Option(min=0, metavar="USD", help="At most so much, with all earlier runs.")]
_RequestsPerMinute = Annotated[float | None, typer.Option(help="At most so many.", show_default="what the service lets through")]
_TokensPerMinute = Annotated[float | None, typer.Option(help="At most so many, in and out.")]
_Json = Annotated[bool, typer.Option("--json", help="Print every item as a JSON line, also those that earlier runs have done.")]
_Ordered = Annotated[bool, typer.Option("--ordered", help="With --json: in the order of the input.")]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Count and estimate the cost. Asks for no generation and writes nothing.")
]
_Sheet = Annotated[bool, typer.Option("--no-sheet", help="Write no contact sheet.")]


def batch(
    source: _Source,
    *,
    output: _Output,
    named: _Format = None,
    ignore_unknown: _IgnoreUnknown = False,
    shard: _Shard = None,
    model: _Model = None,
    image: _Images = None,
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    modalities: _Modalities = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="Of the pictures to make, such as 16:9.")] = None,
    image_size: Annotated[str | None, typer.Option(help="Of the pictures to make, such as 1K, 2K, 4K.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="At most so many tokens an answer.")] = None,
    timeout_total: Annotated[float | None, typer.Option(help="Give an answer up after so many seconds.")] = None,
    concurrency: _Concurrency = 16,
    budget: _Budget = None,
    requests_per_minute: _RequestsPerMinute = None,
    tokens_per_minute: _TokensPerMinute = None,
    as_json: _Json = False,
    ordered: _Ordered = False,
    dry_run: _DryRun = False,
    no_sheet: _Sheet = False,
) -> None:
    """Generate for many prompts: JSON lines, CSV or plain lines.

    The same command again goes on where it ended, however it ended: nothing that is done is paid for twice.
    What has failed is tried again. The folder gets the pictures, a journal, and a contact sheet, index.html.
    A line of JSON is a text, or an object with a prompt and any option of a request, and a key of its own.
    The first row of a CSV names its columns in the same way. Exit code 1: not everything is done.
    Needs OPENROUTER_API_KEY in the environment.
    """
    options = BatchOptions(
        model=model, system=system, image_config=_image_config(aspect_ratio, image_size), concurrency=concurrency
    )
    options.update(_given(image, modalities, max_tokens))
    options["budget"], options["ordered"], options["skip_finished"] = budget, ordered, not as_json
    options["requests_per_minute"], options["tokens_per_minute"] = requests_per_minute, tokens_per_minute
    part = _parsed(shard)
    places = _Places.of(output, part, has_sheet=not no_sheet)

    with outcome(_AFTER_CTRL_C):  # no loop yet: in one, Ctrl-C would have to wait until the file is counted
        part.check(output)
        prompts = open_prompts(source, named, part, ignores_unknown=ignore_unknown)
        client = Client(timeouts=Timeouts(total=timeout_total))
        if dry_run:
            _count(client, prompts, options, places)
        else:
            _make(client, prompts, options, places, title=source, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Places:
    """What is made, and where. Parts share the pictures and nothing else."""

    journal: Path
    pictures: Path
    sheet: Path | None

    @classmethod
    def of(cls, folder: Path, part: Shard, *, has_sheet: bool) -> "_Places":
        sheet = folder / f"index{part.suffix}.html" if has_sheet else None
        return cls(folder / f"journal{part.suffix}.jsonl", folder / _PICTURES, sheet)


def _make(client: Client, prompts: Prompts, options: BatchOptions, places: _Places, *, title: str, as_json: bool) -> None:
    terminal, tally = Terminal(), Tally(prompts)
    options["journal"], options["save_to"] = places.journal, places.pictures
    running = client.batch(prompts, **options)
    progress = Progress(terminal, lambda: running.stats, concurrency=options["concurrency"])

    async def work() -> None:
        async with client, running, nullcontext() if as_json and terminal.is_shared else progress:
            async for item in running:
                tally.add(item)
                if as_json:
                    terminal.write_line(json_line(item, prompts.line_of(item.index), places.pictures))

    failure: BaseException | None = None
    try:
        run_loop(work())
    except BrokenPipeError:
        discard_output()
        failure = OrStreamError(f"nobody reads the output any more: {_AFTER_CTRL_C}")
    except (OrStreamError, OSError, KeyboardInterrupt) as error:
        if isinstance(error, ConfigurationError | KeyboardInterrupt) and not running.stats.requests:
            raise  # the input or the journal cannot be used, or was not read yet: the sheet is as good as before
        failure = error
    # Outside of the loop, too: of a hundred thousand items it takes a while.
    sheet_failure = _write_sheet(places, running, tally, terminal, title)
    tally.report(terminal, running.stats, places.journal, None if sheet_failure else places.sheet)
    ended_by = failure or sheet_failure
    if ended_by is not None:
        raise ended_by
    if running.stats.failed:
        raise typer.Exit(1)


def _write_sheet(places: _Places, running: BatchRun, tally: Tally, terminal: Terminal, title: str) -> OrStreamError | None:
    """Returns why there is none, which must not hide how the run has ended."""
    if places.sheet is None:
        return None
    terminal.watch(lambda: "writing the contact sheet")
    try:
        write_sheet(
            places.journal,
            places.sheet,
            places.pictures,
            title=title,
            cost=running.stats.cost,
            unsendable=tally.unsendable,
        )
    except OrStreamError as error:
        return error
    finally:
        terminal.settle()
    return None


def _count(client: Client, prompts: Prompts, options: BatchOptions, places: _Places) -> None:
    """The dry run."""
    tally = Tally(prompts)
    options["journal"] = places.journal if places.journal.exists() else None  # a journal that is opened is made
    options["duplicates"], options["dry_run"] = "once", True
    running = client.batch(prompts, **options)

    async def work() -> None:
        async with client, running:
            async for item in running:
                tally.add(item)

    run_loop(work())
    tally.report_dry_run(Terminal(), running.stats)


def _given(images: list[str] | None, modalities: str | None, max_tokens: int | None) -> BatchOptions:
    """What was asked for alone: all of it is part of the key of a prompt."""
    given = BatchOptions()
    if images:
        given["images"] = images
    if modalities is not None:
        given["modalities"] = [name.strip() for name in modalities.split(",") if name.strip()]
    if max_tokens is not None:
        given["max_tokens"] = max_tokens
    return given


def _image_config(aspect_ratio: str | None, image_size: str | None) -> ImageConfig | None:
    config = ImageConfig()
    if aspect_ratio is not None:
        config["aspect_ratio"] = aspect_ratio
    if image_size is not None:
        config["image_size"] = image_size
    return config or None


def _parsed(shard: str | None) -> Shard:
    try:
        return Shard() if shard is None else Shard.parse(shard)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--shard") from None
