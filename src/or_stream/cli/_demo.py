"""`or-stream demo`: the whole thing against an emulator in this process, through the public interface."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from or_stream.cli._outcome import run
from or_stream.cli.terminal import Renderer, Terminal, file_size
from or_stream.client import ChatStream, Client
from or_stream.emulator import Emulator
from or_stream.events import StreamEnd

__all__ = ["demo"]

_PROMPT: Final = "Two pictures of a lighthouse: at dusk, and in a starry night"
_WORD_SECONDS: Final = 0.022
_IMAGE_SECONDS: Final = 1.2


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for the pictures, made if missing.")] = Path(
        "or_stream-demo"
    ),
    fast: Annotated[bool, typer.Option("--fast", help="As fast as it goes, not at a pace to watch.")] = False,
) -> None:
    """See it work, without a key.

    An emulator of OpenRouter runs inside this process and answers at a pace to watch:
    text and two pictures, which are written to files.
    """
    run(lambda: _demo(output, fast=fast))


async def _demo(folder: Path, *, fast: bool) -> None:
    terminal = Terminal()
    text_seconds, image_seconds = (0.0, 0.0) if fast else (_WORD_SECONDS, _IMAGE_SECONDS)
    terminal.note(
        "or-stream demo: a stream over HTTP from an emulator of OpenRouter in this process. No key, no cost.", bold=True
    )
    terminal.note(f"prompt: {_PROMPT}")
    terminal.gap()
    async with (
        Emulator(text_delay_seconds=text_seconds, image_seconds=image_seconds) as emulator,
        Client(base_url=emulator.base_url, api_key="demo") as client,
    ):
        generation = client.stream(_PROMPT, image_config={"aspect_ratio": "16:9"}, save_to=folder)
        with Renderer(terminal, lambda: generation.stats, waiting_for="the emulator") as renderer:
            async for event in generation:
                if not isinstance(event, StreamEnd):  # its line would say what the report says
                    renderer.show(event)
    _report(terminal, generation, folder)


def _report(terminal: Terminal, generation: ChatStream, folder: Path) -> None:
    stats, usage = generation.stats, generation.message.usage
    cost = f"${usage.cost:.4f}" if usage and usage.cost is not None else "unknown"
    terminal.gap()
    terminal.note(
        f"measured  first content after {stats.seconds_to_first_content or 0:.2f} s, the end after {stats.seconds:.2f} s\n"
        f"          {stats.events} events from {file_size(stats.bytes)}; cost, as the answer says: {cost}"
    )
    terminal.note(f"pictures  {len(generation.message.images)} files in {folder}{os.sep}")
    terminal.note("next      export OPENROUTER_API_KEY=...   (keys are at https://openrouter.ai/keys)")
    terminal.note('          or-stream generate "a lighthouse at dusk, and a haiku about it"', bold=True)
