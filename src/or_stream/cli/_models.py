"""`or-stream models`: the catalogue, as a table or as JSON."""

import json
import sys
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from or_stream.catalog import Model, ModelFilter
from or_stream.cli._outcome import run
from or_stream.cli.terminal import Terminal, printable
from or_stream.client import Client

__all__ = ["models"]

_COLUMNS_OF_A_FILE: Final = 200
_COLUMNS_WITH_MODALITIES: Final = 110
_UNKNOWN: Final = "-"


def models(
    *,
    output: Annotated[list[str] | None, typer.Option(help="What it must put out: text, image, audio ... Repeatable.")] = None,
    input: Annotated[list[str] | None, typer.Option(help="What it must take in. Repeatable.")] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="What it must support, such as tools or seed. Repeatable.")] = None,
    max_price: Annotated[
        float | None, typer.Option(min=0, help="At most so many dollars for a million tokens, in and out.")
    ] = None,
    free: Annotated[bool, typer.Option("--free", help="Only those that cost nothing.")] = False,
    provider: Annotated[str | None, typer.Option(help="Only those that this provider serves.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array, one model a line.")] = False,
) -> None:
    """List models and what they cost.

    Prices are dollars for a million tokens in and out, and for a picture or a million tokens of pictures.
    Needs OPENROUTER_API_KEY in the environment.
    """
    wanted = ModelFilter(output_modalities=output or (), input_modalities=input or (), supported_parameters=parameter or ())
    if max_price is not None:
        wanted["max_price"] = max_price
    if provider is not None:
        wanted["provider"] = provider
    run(lambda: _models(wanted, free=free, as_json=as_json))


async def _models(wanted: ModelFilter, *, free: bool, as_json: bool) -> None:
    async with Client() as client:
        found = [model for model in await client.models(refresh=True, **wanted) if model.is_free or not free]
    if as_json:
        print("[" + ",\n".join(_json(model) for model in found) + "]")
        return
    if found:
        # In a file, and in a pipe, nothing is cut off.
        console = Console(width=None if sys.stdout.isatty() else _COLUMNS_OF_A_FILE, highlight=False)
        console.print(_table(found, is_wide=console.width >= _COLUMNS_WITH_MODALITIES))
    Terminal().note(f"{len(found)} model{'' if len(found) == 1 else 's'}" if found else "no model has all of that")


def _json(model: Model) -> str:
    return json.dumps(model.model_dump(mode="json", exclude_defaults=True, exclude={"extra"}) | {"extra": model.extra})


def _table(models: list[Model], *, is_wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", no_wrap=True)
    for heading in ("context", "$/M in", "$/M out", "picture"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("in", "out") if is_wide else ():
        table.add_column(heading, overflow="fold")
    for model in models:
        prices = model.pricing
        cells = [
            model.id,
            f"{model.context_length:,}" if model.context_length is not None else _UNKNOWN,
            _per_million(prices.prompt),
            _per_million(prices.completion),
            _picture(model) if "image" in model.output_modalities else "",
            *((" ".join(model.input_modalities), " ".join(model.output_modalities)) if is_wide else ()),
        ]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    return table


def _picture(model: Model) -> str:
    prices = model.pricing
    if prices.usd_per_image is not None:
        return f"${_amount(prices.usd_per_image)}"
    return _UNKNOWN if prices.usd_per_image_token is None else f"${_per_million(prices.usd_per_image_token)}/M"


def _per_million(usd: float | None) -> str:
    return _UNKNOWN if usd is None else _amount(usd * 1e6)


def _amount(usd: float) -> str:
    return "0" if usd == 0 else f"{usd:,.2f}" if usd >= 0.1 else f"{usd:.2g}"
