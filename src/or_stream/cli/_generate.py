"""`or-stream generate`: one generation from the command line."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from or_stream.cli._outcome import run
from or_stream.cli.terminal import JsonLines, Renderer, Terminal
from or_stream.client import DEFAULT_MODEL, Client, GenerationOptions, ImageConfig, Timeouts

__all__ = ["generate"]


def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to make. [bold]-[/bold] reads it from standard input.")],
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help=f"Default: $OR_STREAM_MODEL, else {DEFAULT_MODEL}.", show_default=False)
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", "-i", help="A picture to send in: a file or an address. Repeatable.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The folder for pictures, made if missing.", show_default="this one")
    ] = Path(),
    system: Annotated[str | None, typer.Option(help="A system message.")] = None,
    aspect_ratio: Annotated[str | None, typer.Option(help="Of the pictures to make, such as 16:9.")] = None,
    image_size: Annotated[str | None, typer.Option(help="Of the pictures to make, such as 1K, 2K, 4K.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="At most so many tokens of answer.")] = None,
    timeout_total: Annotated[float | None, typer.Option(help="Give up after so many seconds.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events as JSON lines, image bytes in base64. Pictures are written all the same.")
    ] = False,
    no_pictures: Annotated[bool, typer.Option("--no-pictures", help="Show no pictures in the terminal.")] = False,
) -> None:
    """Generate text and pictures.

    Text goes to standard output as it comes, progress to standard error.
    Pictures go to files, and into the terminal where it can show them.
    Needs OPENROUTER_API_KEY in the environment.
    """
    config = ImageConfig()
    if aspect_ratio is not None:
        config["aspect_ratio"] = aspect_ratio
    if image_size is not None:
        config["image_size"] = image_size
    options = GenerationOptions(images=image or [], system=system, image_config=config or None, save_to=output)
    if max_tokens is not None:
        options["max_tokens"] = max_tokens
    run(lambda: _generate(_prompt(prompt), model, options, timeout_total, as_json=as_json, pictures=not no_pictures))


async def _generate(
    prompt: str,
    model: str | None,
    options: GenerationOptions,
    total_seconds: float | None,
    *,
    as_json: bool,
    pictures: bool,
) -> None:
    terminal = Terminal()
    async with Client(timeouts=Timeouts(total=total_seconds)) as client:
        generation = client.stream(prompt, model=model, **options)
        waiting_for = model or os.environ.get("OR_STREAM_MODEL") or DEFAULT_MODEL
        renderer = Renderer(terminal, lambda: generation.stats, waiting_for=waiting_for, pictures=pictures)
        show = JsonLines(terminal).show if as_json else renderer.show
        with nullcontext() if as_json else renderer:
            async for event in generation:
                show(event)


def _prompt(argument: str) -> str:
    if argument != "-":
        return argument
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"standard input is not text: {error}", param_hint="PROMPT") from error
