"""The table of commands, and what holds for all of them."""

import platform
from importlib import metadata
from typing import Annotated

import typer

from or_stream.cli._batch import batch
from or_stream.cli._demo import demo
from or_stream.cli._emulate import emulate
from or_stream.cli._generate import generate
from or_stream.cli._inspect import inspect
from or_stream.cli._models import models

__all__ = ["application"]


def application() -> typer.Typer:
    """The command, to be called."""
    table = typer.Typer(
        help="Text and images from OpenRouter, streamed. Try [bold]or-stream demo[/bold] first: it needs no key.",
        rich_markup_mode="rich",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    table.callback()(_options)
    table.command()(generate)
    table.command()(batch)
    table.command()(models)
    table.command()(demo)
    table.command()(emulate)
    table.command()(inspect)
    return table


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"or-stream {_version('or-stream')} (Python {platform.python_version()}, aiohttp {_version('aiohttp')})")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "(not installed)"
